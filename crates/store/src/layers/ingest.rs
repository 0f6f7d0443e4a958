//! A layer on its way into the store.
use super::writeback::{TarFile, Writeback};
use super::{LayerRecord, Layers, find, variant};
use crate::db::{Bytes32, now};
use crate::root::{index_name, mount_name, sync_directory};
use crate::staging::Staging;
use crate::trash::spare;
use crate::{Lease, StoreError};
use fs_err as fs;
use rusqlite::{Transaction, params};
use sha2::{Digest as _, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use strata_layer::{Contents, LayerInfo, Stack};
use strata_oci::{DiffId, Digest};

/// A layer in progress, in a staging directory of its own. Dropped without commit, it leaves nothing behind.
#[derive(Debug)]
pub struct Ingest {
    layers: Layers,
    lease: Lease,
    // Before the directory that it writes in.
    writeback: Writeback,
    staging: Staging,
}

impl Ingest {
    pub(super) fn new(layers: Layers, lease: Lease) -> Result<Self, StoreError> {
        let staging = Staging::new(&layers.core.root)?;
        Ok(Self { layers, lease, writeback: Writeback::default(), staging })
    }

    /// The staging directory, for whatever else the layer's making needs on the same file system.
    pub fn path(&self) -> &Path {
        self.staging.path()
    }

    /// The file to write the tar into, empty. There is one.
    pub fn tar_file(&self) -> Result<TarFile, StoreError> {
        Ok(self.writeback.writer(self.spool_file()?))
    }

    /// The same, as a file that can be read, too, for a layer that is not to be committed.
    pub fn spool_file(&self) -> Result<fs::File, StoreError> {
        let mut options = fs::OpenOptions::new();
        Ok(options.read(true).write(true).create(true).truncate(true).open(self.tar_path())?)
    }

    fn tar_path(&self) -> PathBuf {
        self.staging.join("layer")
    }

    /// Publishes the tar together with the index that shows it on top of `below` (bottom first). If the layer is
    /// already here, that one is used and this one dropped.
    ///
    /// When the index needs layers below that are not here yet (a pull commits in any order), it is left out;
    /// [`Layers::stack`] and [`Layers::mounts`] make it when they need it.
    pub fn commit(
        self,
        info: LayerInfo,
        contents: &Contents,
        below: &[DiffId],
    ) -> Result<LayerRecord, StoreError> {
        let record = LayerRecord {
            diff_id: info.diff_id,
            tar_length: info.tar_length,
            content_size: info.content_size,
            entries: info.entries,
            depends_on_parents: contents.depends_on_parents(),
            created: now().0,
        };
        let here = self.reuse(&info.diff_id)?;
        let variant = variant(record.depends_on_parents, below);
        if let Some(here) = &here
            && self.layers.has_index(&here.diff_id, &variant)?
        {
            return Ok(here.clone());
        }
        let index = std::thread::scope(|scope| {
            // The disk takes the tar while the index is made, and both in one go if it can.
            let tar = here.is_none().then(|| scope.spawn(|| self.sync_tar(&info)));
            let index = self.stage_index(&info.diff_id, contents, &variant, below);
            tar.map_or(Ok(()), |tar| tar.join().expect("syncing a file does not panic"))?;
            index
        })?;
        self.publish(&record, here.is_none(), &variant, index.as_ref())?;
        Ok(here.unwrap_or(record))
    }

    /// Writes the index beside the tar, unless layers that it needs are not here yet.
    fn stage_index(
        &self,
        diff_id: &DiffId,
        contents: &Contents,
        variant: &str,
        below: &[DiffId],
    ) -> Result<Option<IndexFile>, StoreError> {
        let Some(parents) = self.parents(variant, below)? else { return Ok(None) };
        IndexFile::write(&self.staging.join("index"), diff_id, contents, parents.as_ref()).map(Some)
    }

    /// The layer if it is already here with a tar of the right length; the lease keeps it from then on.
    fn reuse(&self, diff_id: &DiffId) -> Result<Option<LayerRecord>, StoreError> {
        let record = self.layers.core.db.write(|tx| {
            self.lease.hold_layer(tx, diff_id)?;
            find(tx, diff_id)
        })?;
        Ok(record.filter(|record| self.layers.checked_tar(record).is_ok()))
    }

    fn sync_tar(&self, info: &LayerInfo) -> Result<(), StoreError> {
        self.writeback.finish()?;
        let path = self.tar_path();
        let tar = fs::File::open(&path)?;
        let actual = tar.metadata()?.len();
        if actual != info.tar_length {
            return Err(StoreError::IngestLength { path, expected: info.tar_length, actual });
        }
        Ok(tar.sync_all()?)
    }

    /// What the index needs below it: `None` when that is not here yet, `Some(None)` when it is nothing.
    fn parents(&self, variant: &str, below: &[DiffId]) -> Result<Option<Option<Stack>>, StoreError> {
        if variant.is_empty() {
            return Ok(Some(None));
        }
        match self.layers.stack(below) {
            Ok(stack) => Ok(Some(Some(stack))),
            Err(StoreError::MissingLayer(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn publish(
        &self,
        record: &LayerRecord,
        new_tar: bool,
        variant: &str,
        index: Option<&IndexFile>,
    ) -> Result<(), StoreError> {
        let layers = &self.layers;
        let diff_id = &record.diff_id;
        let core = &layers.core;
        core.publish(|| {
            if new_tar {
                fs::rename(self.tar_path(), core.root.tar(diff_id))?;
            }
            if index.is_some() {
                fs::rename(self.staging.join("index"), core.root.index(diff_id, variant))?;
            }
            sync_directory(&core.root.layers())?;
            core.db.write(|tx| {
                record_layer(tx, record)?;
                spare(tx, &format!("layers/sha256/{}", diff_id.hex()))?;
                self.lease.hold_layer(tx, diff_id)?;
                index.map_or(Ok(()), |index| record_index(tx, diff_id, variant, index))
            })
        })
    }
}

/// An index that is on the disk.
pub(super) struct IndexFile {
    length: u64,
    digest: Digest,
}

impl IndexFile {
    /// Writes the index of `contents` on top of `parents` straight into a file: it has a few per cent of the layer.
    pub(super) fn write(
        path: &Path,
        diff_id: &DiffId,
        contents: &Contents,
        parents: Option<&Stack>,
    ) -> Result<Self, StoreError> {
        let file = fs::File::create(path)?;
        let mut out = Hashed { file, length: 0, hash: Sha256::new() };
        contents.write_index(parents, &mut out).map_err(|error| StoreError::layer(diff_id, error))?;
        out.file.sync_all()?;
        Ok(Self { length: out.length, digest: Digest::from_bytes(out.hash.finalize().into()) })
    }
}

/// A file that knows the length and digest of what was written into it.
struct Hashed {
    file: fs::File,
    length: u64,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.length += length as u64;
        self.hash.update(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn record_layer(tx: &Transaction, record: &LayerRecord) -> Result<(), StoreError> {
    tx.prepare_cached("INSERT OR IGNORE INTO layers VALUES(?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        Bytes32::from(&record.diff_id),
        record.tar_length,
        record.content_size,
        record.entries,
        record.depends_on_parents,
        crate::db::Time(record.created),
    ])?;
    Ok(())
}

pub(super) fn record_index(
    tx: &Transaction,
    diff_id: &DiffId,
    variant: &str,
    index: &IndexFile,
) -> Result<(), StoreError> {
    spare(tx, &format!("layers/sha256/{}", index_name(diff_id, variant)))?;
    spare(tx, &format!("overlay2/{}", mount_name(diff_id, variant)))?;
    tx.prepare_cached("INSERT OR REPLACE INTO layer_indexes VALUES(?1, ?2, ?3, ?4)")?.execute(params![
        Bytes32::from(diff_id),
        variant,
        index.length,
        Bytes32::from(&index.digest),
    ])?;
    Ok(())
}
