//! The annotations of the manifest that an image is called by.
use crate::Engine;
use serde::Deserialize;
use std::collections::BTreeMap;
use strata_oci::Digest;
use strata_store::NamedManifest;

impl Engine {
    /// The annotations that go with a name; none where nothing was said of it.
    pub(crate) fn annotations(&self, named: NamedManifest) -> BTreeMap<String, String> {
        match named {
            NamedManifest::Any => BTreeMap::new(),
            NamedManifest::Annotated(annotations) => annotations,
            NamedManifest::Pulled(digest) => self.annotations_of(&digest).unwrap_or_default(),
        }
    }

    /// The annotations of a manifest of the store; `None` if it cannot be read.
    pub(crate) fn annotations_of(&self, manifest: &Digest) -> Option<BTreeMap<String, String>> {
        #[derive(Deserialize)]
        struct Annotated {
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        let bytes = self.store().blobs().get(manifest).ok()?;
        serde_json::from_slice::<Annotated>(&bytes).ok().map(|manifest| manifest.annotations)
    }
}
