//! Layers that their makers hand out themselves ("foreign", "non-distributable"): a manifest says where, and nobody else
//! puts them on a registry.
use super::forms::{is_foreign, oci_type};
use super::sender::Sender;
use crate::EngineError;
use crate::transfer::TransferError;
use crate::transfer::documents::parse_manifest;
use strata_oci::{Descriptor, DiffId, media_type};
use strata_store::BlobKind;

impl Sender<'_> {
    /// How a new manifest names a layer that was never seen but as a foreign one: as the base of a build or the manifest that
    /// it came with does. `None` for all others.
    ///
    /// # Errors
    /// When that manifest is gone, and with it the addresses.
    pub(super) fn kept_away(&self, layer: &DiffId) -> Result<Option<Descriptor>, EngineError> {
        let seen = self.store.blobs().remotes(layer)?;
        if seen.iter().any(|remote| oci_type(&remote.media_type).is_some()) {
            return Ok(None);
        }
        // It need not be here for that.
        let offered = (self.offers)(layer).map(|offered| offered.blob().clone());
        let foreign =
            |named: &Descriptor| media_type::is_nondistributable(&named.media_type) && !named.urls.is_empty();
        if let Some(named) = offered.filter(foreign) {
            return Ok(Some(named));
        }
        if !is_foreign(&seen) {
            return Ok(None);
        }
        let blobs = self.store.blobs();
        for known in blobs.list()?.iter().filter(|known| known.kind == BlobKind::Manifest) {
            // Indexes are no manifests of images.
            let Ok(manifest) = parse_manifest("", &blobs.get(&known.digest).unwrap_or_default()) else {
                continue;
            };
            let is_it = |named: &Descriptor| seen.iter().any(|remote| remote.digest == named.digest);
            if let Some(named) = manifest.layers.into_iter().find(|named| foreign(named) && is_it(named)) {
                return Ok(Some(named));
            }
        }
        Err(TransferError::KeptAway(*layer).into())
    }
}
