//! Layers that their makers hand out themselves ("foreign", "non-distributable"): a manifest says where, and nobody else
//! puts them on a registry.
use super::forms::is_for_all;
use super::sender::Sender;
use crate::EngineError;
use crate::transfer::TransferError;
use crate::transfer::documents::parse_manifest;
use strata_oci::{Descriptor, DiffId, media_type};
use strata_store::RemoteBlob;

impl Sender<'_> {
    /// How a new manifest names a layer that was never seen but as a foreign one: as the manifest that it came with does.
    /// `None` for all others.
    ///
    /// # Errors
    /// When that manifest is gone, and with it the addresses.
    pub(super) fn kept_away(&self, layer: &DiffId) -> Result<Option<Descriptor>, EngineError> {
        let remotes = self.store.blobs().remotes(layer)?;
        let foreign: Vec<&RemoteBlob> =
            remotes.iter().filter(|remote| media_type::is_nondistributable(&remote.media_type)).collect();
        if foreign.is_empty() || remotes.iter().any(|remote| is_for_all(&remote.media_type)) {
            return Ok(None);
        }
        let images = self.store.images();
        for image in images.list()?.iter().filter(|image| image.layers.contains(layer)) {
            for known in images.manifests(&image.id)? {
                let Ok(bytes) = self.store.blobs().get(&known.digest) else { continue };
                let manifest = parse_manifest(&known.digest.to_string(), &bytes)?;
                let named = manifest.layers.into_iter().find(|named| {
                    !named.urls.is_empty() && foreign.iter().any(|remote| remote.digest == named.digest)
                });
                if named.is_some() {
                    return Ok(named);
                }
            }
        }
        Err(TransferError::KeptAway(*layer).into())
    }
}
