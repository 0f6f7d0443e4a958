//! Images between the store and registries.
//!
//! # How a layer comes
//!
//! One thread reads the network, hashes, and appends to the blob's file below `downloads/`; another reads that file as it
//! grows, inflates it, and writes, hashes and indexes the tar ([`strata_layer::ingest`]). So the network never waits for
//! the disk's other work, memory stays at a few buffers, and whatever ends the command leaves the bytes that came for the
//! next one. The layer is published when both digests are right: that of the compressed bytes, which the manifest names,
//! and the DiffId, which the config names. The config is fetched first, so that a layer which is here under any name is
//! not fetched at all, and what two commands want at the same time is fetched by one of them.
//!
//! # How a layer goes
//!
//! Nothing compressed is kept. A layer is compressed while it is sent, by all cores and so that the same recipe always
//! gives the same bytes; its digest is remembered, so that the next push asks for it instead. Before that, every form of
//! the layer that the registry may have is looked for: in the repository, then in others of the registry, which it can be
//! mounted from. What was pulled and not changed keeps its manifest: of a layer whose compressed bytes cannot be made
//! here again, they go from the registry that has them to the one that wants them, without touching the disk.

mod choose;
mod documents;
mod error;
mod event;
mod fetch;
mod growing;
mod layer;
mod lazy;
mod offered;
mod pull;
mod push;
mod source;

pub(crate) use documents::{FoundImage, registry_error};
pub use error::TransferError;
pub use event::{Progress, Status, TransferEvents};
pub(crate) use fetch::side_by_side;
pub(crate) use layer::check;
pub(crate) use lazy::LazyImage;
pub(crate) use offered::Offered;
pub use pull::{PullRequest, Pulled};
pub(crate) use push::{Outgoing, bytes_type, crew, is_foreign, media_type_of, oci_type};
pub use push::{PushForm, PushRequest, Pushed};
pub(crate) use source::LayerSource;
pub use strata_layer::compression::{Recipe, RecipeError};

/// Layers on their way at once. Docker has three downloads and five uploads; more of either only share the line.
const PARALLEL: usize = 3;
