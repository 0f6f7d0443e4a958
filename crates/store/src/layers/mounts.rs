//! Layers as values that `runtime` mounts.
use super::{LayerMode, LayerRecord, Layers, variant, variants};
use crate::StoreError;
use crate::root::{create_directory, mount_name};
use std::path::PathBuf;
use strata_layer::mount::{LayerMount, LayerSource};
use strata_oci::DiffId;

impl Layers {
    /// The directory at which a layer on top of `below` is shown: `overlay2/<id>/diff`. It need not exist yet.
    pub fn mount_target(&self, diff_id: &DiffId, below: &[DiffId]) -> Result<PathBuf, StoreError> {
        let record = self.layer(diff_id)?.ok_or(StoreError::MissingLayer(*diff_id))?;
        let variant = variant(record.depends_on_parents, below);
        Ok(self.core.root.overlay().join(mount_name(diff_id, &variant)).join("diff"))
    }

    /// How each layer of a stack (bottom first) becomes a directory. The targets exist; in tree mode they are
    /// already unpacked. The files' lengths are compared with their records: the kernel would mount a short tar
    /// (`spec/erofs.md`, section 2). Hold a lease or a container record on the layers while using the values.
    pub fn mounts(&self, layers: &[DiffId]) -> Result<Vec<LayerMount>, StoreError> {
        self.mounts_where(layers, &|_| true)
    }

    /// Like [`Self::mounts`], for the layers at some positions only.
    pub fn mounts_where(
        &self,
        layers: &[DiffId],
        wanted: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<LayerMount>, StoreError> {
        let mode = self.known_mode()?;
        let records = self.records(layers)?;
        let all = records.iter().zip(variants(&records)).enumerate();
        all.filter(|(position, _)| wanted(*position))
            .map(|(position, (record, variant))| self.mount(mode, record, &variant, &layers[..position]))
            .collect()
    }

    fn mount(
        &self,
        mode: LayerMode,
        record: &LayerRecord,
        variant: &str,
        below: &[DiffId],
    ) -> Result<LayerMount, StoreError> {
        let diff_id = &record.diff_id;
        self.checked_tar(record)?;
        if !self.has_index(diff_id, variant)? {
            // Opening makes the index.
            self.open_layer(diff_id, below)?;
        }
        let directory = self.core.root.overlay().join(mount_name(diff_id, variant));
        let target = directory.join("diff");
        if mode == LayerMode::Tree {
            self.unpack_once(diff_id, below, &directory)?;
            return Ok(LayerMount { source: LayerSource::Tree, target });
        }
        create_directory(&directory, 0o711)?;
        create_directory(&target, 0o755)?;
        let (index, tar) = (self.core.root.index(diff_id, variant), self.core.root.tar(diff_id));
        let source = match mode {
            LayerMode::Erofs => LayerSource::Erofs { index, tar },
            _ => LayerSource::ErofsLoop { index, tar },
        };
        Ok(LayerMount { source, target })
    }
}
