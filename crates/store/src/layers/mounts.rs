//! Layers as values that `runtime` mounts.
use super::opened::index_length;
use super::{LayerMode, LayerRecord, Layers, records, variant, variants};
use crate::StoreError;
use crate::root::{create_directory, is_whole, mount_name};
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
        let stack = self.core.db.read(|tx| {
            let records = records(tx, layers)?;
            let variants: Vec<String> = variants(&records).collect();
            let stack = records.into_iter().zip(variants).map(|(record, variant)| {
                let index = index_length(tx, &record.diff_id, &variant)?;
                Ok(Member { record, variant, index })
            });
            stack.collect::<Result<Vec<_>, StoreError>>()
        })?;
        let wanted = stack.iter().enumerate().filter(|(position, _)| wanted(*position));
        wanted.map(|(position, member)| self.mount(mode, member, &layers[..position])).collect()
    }

    fn mount(&self, mode: LayerMode, member: &Member, below: &[DiffId]) -> Result<LayerMount, StoreError> {
        let Member { record, variant, index } = member;
        let diff_id = &record.diff_id;
        let (index_path, tar) = (self.core.root.index(diff_id, variant), self.core.root.tar(diff_id));
        is_whole(&tar, record.tar_length)?.map_err(|what| record.damaged(what))?;
        let has_index = match index {
            Some(length) => is_whole(&index_path, *length)?.is_ok(),
            None => false,
        };
        if !has_index {
            // Opening makes the index.
            self.open_layer(diff_id, below)?;
        }
        let directory = self.core.root.overlay().join(mount_name(diff_id, variant));
        let target = directory.join("diff");
        if mode == LayerMode::Tree {
            self.unpack_once(diff_id, below, &directory)?;
            return Ok(LayerMount { source: LayerSource::Tree, target });
        }
        // Looking is cheaper than trying, and a stack of hundreds is mostly there.
        if !target.is_dir() {
            create_directory(&directory, 0o711)?;
            create_directory(&target, 0o755)?;
        }
        let source = match mode {
            LayerMode::Erofs => LayerSource::Erofs { index: index_path, tar },
            _ => LayerSource::ErofsLoop { index: index_path, tar },
        };
        Ok(LayerMount { source, target })
    }
}

/// A layer of a stack that is to be mounted.
struct Member {
    record: LayerRecord,
    variant: String,
    /// Length of the index, if there is a record of it.
    index: Option<u64>,
}
