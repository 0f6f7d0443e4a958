//! What an export speaks of: the steps of a build, and where their layers are.
use super::super::cache::StoreCache;
use super::super::layer::LayerHandle;
use super::super::worker::EngineWorker;
use super::Shared;
use crate::transfer::Offered;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use strata_build::{Built, CacheKey, CacheRecord, CacheResult, KnownStep, Layer as _, WorkerError};
use strata_oci::{DiffId, Digest};

/// The steps of a build.
pub(in super::super) struct Known {
    pub(super) steps: Vec<KnownStep<DiffId>>,
    /// Keys of the digests of images' files.
    pub(super) selections: BTreeSet<CacheKey>,
    /// Layers of base images that need not be here.
    pub(super) offers: HashMap<DiffId, Offered>,
    pub(super) shared: Arc<Shared>,
}

impl Known {
    pub(in super::super) fn of(
        worker: &EngineWorker<'_>,
        built: &Built<LayerHandle>,
        shared: &Arc<Shared>,
    ) -> Self {
        let mut offers = HashMap::new();
        let mut root = |handles: &[LayerHandle]| -> Vec<DiffId> {
            let named = handles.iter().filter_map(|handle| {
                let name = handle.name()?;
                offers.extend(handle.offered().map(|offered| (name, offered)));
                Some(name)
            });
            named.collect()
        };
        let steps = built.steps.iter().map(|step| KnownStep {
            root: root(&step.root),
            key: step.key,
            own: step.own,
            below: step.below,
            place: step.place.clone(),
            inputs: step.inputs.clone(),
            selections: step.selections.clone(),
            in_image: step.in_image,
            cache_mounts: step.cache_mounts.clone(),
            vertices: step.vertices.clone(),
        });
        let steps = steps.collect();
        // An image may have no step of its own.
        root(&built.handles);
        Self { steps, selections: worker.selections().clone(), offers, shared: Arc::clone(shared) }
    }

    /// What the files are that steps took from other stages and images, as far as that is remembered.
    pub(super) fn selected(&self, cache: &StoreCache<'_>) -> Result<Vec<(CacheKey, Digest)>, WorkerError> {
        let of_steps = self.steps.iter().flat_map(|step| &step.selections);
        let keys: BTreeSet<&CacheKey> = of_steps.chain(&self.selections).collect();
        let mut selections = Vec::new();
        for key in keys {
            if let Some(CacheRecord { result: CacheResult::Selection(files), .. }) = cache.peek(key)? {
                selections.push((*key, files));
            }
        }
        Ok(selections)
    }

    /// Where a layer can be had that need not be here.
    pub(in super::super) fn offered(&self, layer: &DiffId) -> Option<Offered> {
        let of_cache = || self.shared.offered(&[*layer]).remove(layer);
        self.offers.get(layer).cloned().or_else(of_cache)
    }

    /// All keys that records may stand under.
    pub(in super::super) fn keys(&self) -> Vec<CacheKey> {
        let of_steps = self.steps.iter().flat_map(|step| {
            std::iter::once(step.key).chain(step.own).chain(step.selections.iter().copied())
        });
        of_steps.chain(self.selections.iter().copied()).collect()
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("steps", &self.steps.len()).finish_non_exhaustive()
    }
}
