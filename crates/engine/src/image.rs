//! Looking at images: list, history, inspect; naming and removing them.

mod history;
mod inspect;
mod list;
mod manifest;
mod remove;

pub use history::HistoryRow;
pub use inspect::{
    ContainerConfig, GraphDriver, GraphDriverData, ImageInspect, ImageMetadata, RootFsInspect,
};
pub use list::{ImageFilter, ImageSummary};
pub(crate) use remove::parse_reference;
pub use remove::{Pruned, Removed};
