//! `--cache-to type=inline`: the records of an image's own steps, inside the image.
use super::super::BuildRequest;
use super::super::cache::StoreCache;
use super::Known;
use std::collections::BTreeMap;
use strata_build::{CachedLayer, WorkerError};
use strata_cache::{Assembly, Exported, inline};
use strata_oci::{Descriptor, DiffId, ImageConfig, Raw, media_type};

/// Whether the image shall carry its cache.
pub(in super::super) fn wanted(request: &BuildRequest) -> bool {
    request.cache_to.iter().any(|destination| destination.location.is_none())
}

impl Known {
    /// The image with the records of its steps inside. They say nothing that depends on whether a step was run or found:
    /// neither does the image's ID, then.
    pub(in super::super) fn inside(
        &self,
        image: &Raw<ImageConfig>,
        made: &[CachedLayer],
        platform: &str,
        cache: &StoreCache<'_>,
    ) -> Result<Raw<ImageConfig>, WorkerError> {
        let layers = &image.value().rootfs.diff_ids;
        let blob = |layer: &DiffId| Descriptor::new(media_type::OCI_LAYER, *layer.digest(), 0);
        let blobs: BTreeMap<_, _> = layers.iter().map(|layer| (*layer, blob(layer))).collect();
        let mut assembly = Assembly::new(platform.to_owned(), blobs);
        let root = &layers[..layers.len() - made.len()];
        for step in &self.steps {
            step.vertices.iter().for_each(|(key, vertex)| assembly.vertex(*key, &vertex.by_paths()));
        }
        for step in &self.steps {
            let Some(up_to_here) = step.in_image.and_then(|position| made.get(..=position)) else { continue };
            assembly.step(Exported {
                key: step.key,
                below: step.below,
                stage: step.place.stage.clone(),
                position: step.place.position,
                instruction: step.place.instruction.clone(),
                // The history tells already what the steps were; explaining a miss is not worth an image's bytes.
                inputs: Vec::new(),
                root: root.to_vec(),
                layers: up_to_here.to_vec(),
            });
        }
        for (key, files) in self.selected(cache)? {
            assembly.selection(key, files);
        }
        let (config, _) = assembly.finish();
        let mut image = image.value().clone();
        inline::write(&mut image, &config);
        Ok(Raw::new(image))
    }
}
