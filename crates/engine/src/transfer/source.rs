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
        let blob = self.registries.blob(&self.repository, &layer.digest, layer.size, offset);
        let lost = blob.as_ref().is_err_and(strata_registry::Error::is_not_found);
        if lost && let Some(foreign) = foreign(&self.registries, &self.repository, layer, offset) {
            return foreign;
        }
        Ok(Box::new(blob?))
    }

    fn name(&self) -> String {
        self.repository.to_string()
    }

    fn repository(&self) -> Option<&Repository> {
        Some(&self.repository)
    }
}

/// A layer that need not be on a registry, from where its descriptor says it is: the first place that has it. `None` for
/// a layer that names no such place.
pub(crate) fn foreign<'a>(
    registries: &Registries,
    repository: &Repository,
    layer: &Descriptor,
    offset: u64,
) -> Option<Result<Box<dyn Read + 'a>, EngineError>> {
    let mut first = None;
    for url in &layer.urls {
        match registries.foreign_blob(repository, url, &layer.digest, layer.size, offset) {
            Ok(blob) => return Some(Ok(Box::new(blob))),
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    first.map(|error| Err(error.into()))
}
