//! `--cache-from IMAGE`: images of the store or of registries whose layers may be results of steps.
use super::cache::failed;
use super::layer::LayerHandle;
use super::worker::EngineWorker;
use crate::EngineError;
use crate::transfer::LazyImage;
use strata_build::{CacheImage, Layer as _, WorkerError};
use strata_oci::{DiffId, Reference};

impl EngineWorker<'_> {
    /// The images of the request that can be had. Only manifests and configs are fetched. An image that cannot be had is
    /// told, and fails nothing.
    pub(super) fn cache_images(&self) -> Vec<CacheImage<LayerHandle>> {
        let find = |reference: &Reference| {
            let platform = &self.request().options.platform;
            let name = reference.familiar();
            let found = match self.local(reference, platform) {
                Ok(Some(image)) => Ok(image),
                Ok(None) => self.elsewhere(reference, platform, true),
                Err(error) => Err(error),
            };
            match found {
                Ok(image) => {
                    image.layers.iter().filter_map(LayerHandle::image).for_each(LazyImage::lend);
                    Some(CacheImage { name, image })
                }
                Err(error) => {
                    self.warn(&format!("--cache-from {name}: not used: {error}"));
                    None
                }
            }
        };
        self.cache().shared().images().iter().filter_map(find).collect()
    }

    /// Whether two layers on the same parents show the same files. Fetches what is missing.
    pub(super) fn compare(
        &self,
        parents: &[LayerHandle],
        ours: &LayerHandle,
        theirs: &LayerHandle,
    ) -> Result<bool, WorkerError> {
        self.bring(parents)?;
        self.bring(std::slice::from_ref(theirs))?;
        let below: Vec<DiffId> =
            parents.iter().map(|layer| Ok(layer.committed()?.diff_id)).collect::<Result<_, WorkerError>>()?;
        let layers = self.engine().store().layers();
        let stored = |error: strata_store::StoreError| failed(EngineError::from(error));
        let stack = layers.stack(&below).map_err(stored)?;
        let open =
            |layer: &LayerHandle| layers.open_layer(&layer.committed()?.diff_id, &below).map_err(stored);
        let same = strata_layer::same_files(&stack, &open(ours)?, &open(theirs)?);
        same.map_err(|error| failed(EngineError::layer("cannot compare layers", error)))
    }
}
