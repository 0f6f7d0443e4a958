//! Where the layers of an image come from.
use crate::EngineError;
use std::io::Read;
use strata_oci::Descriptor;
use strata_registry::{Registries, Repository};

/// Gives out the blobs of an image. Whoever reads them checks digest and length.
pub(crate) trait LayerSource: Send + Sync {
    /// The compressed bytes of a layer from `offset` on.
    fn open(&self, layer: &Descriptor, offset: u64) -> Result<Box<dyn Read + '_>, EngineError>;
    /// As messages call it.
    fn name(&self) -> String;
    /// The repository that can be remembered to hold the blobs.
    fn repository(&self) -> Option<&Repository>;
}

/// A repository of a registry.
pub(super) struct Registered {
    registries: Registries,
    repository: Repository,
}

impl Registered {
    pub(super) fn new(registries: Registries, repository: Repository) -> Self {
        Self { registries, repository }
    }
}

impl LayerSource for Registered {
    fn open(&self, layer: &Descriptor, offset: u64) -> Result<Box<dyn Read + '_>, EngineError> {
        Ok(Box::new(self.registries.layer(&self.repository, layer, offset)?))
    }

    fn name(&self) -> String {
        self.repository.to_string()
    }

    fn repository(&self) -> Option<&Repository> {
        Some(&self.repository)
    }
}
