//! `rmi` and `image prune`.
use strata_oci::{DiffId, ImageId, Reference};

/// One line of `rmi`'s report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(Reference),
    /// The image is gone.
    Image(ImageId),
    /// A layer that only it used is gone.
    Layer(DiffId),
}

/// What a prune removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// In order.
    pub removed: Vec<Removed>,
    /// Bytes given back on disk.
    pub reclaimed: u64,
}

impl crate::Engine {
    /// Gives `source` another name.
    pub fn tag(&self, _source: &str, _target: &str) -> Result<(), crate::EngineError> {
        todo!()
    }
    /// Takes a name away, and with the last one the image. `no_prune` keeps untagged parents.
    pub fn remove_image(&self, _name: &str, _force: bool, _no_prune: bool) -> Result<Vec<Removed>, crate::EngineError> {
        todo!()
    }
    /// Removes dangling images, or with `all` every image without a container. Filters: `until`, `label`, `label!`.
    pub fn prune_images(&self, _all: bool, _filters: &[(String, String)]) -> Result<Pruned, crate::EngineError> {
        todo!()
    }
}
