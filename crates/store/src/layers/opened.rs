//! Layers opened for reading, shared while anybody uses them.
use super::ingest::{IndexFile, record_index};
use super::{LayerRecord, Layers, variant, variants};
use crate::StoreError;
use crate::db::Bytes32;
use crate::root::{is_whole, sync_directory};
use crate::staging::Staging;
use fs_err as fs;
use rusqlite::{OptionalExtension as _, Transaction, params};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use strata_layer::{Layer, Limits, Stack};
use strata_oci::{DiffId, Digest};

/// Layers that are open in this process, by DiffId and index variant.
#[derive(Default)]
pub(super) struct Opened(Mutex<Shared>);

#[derive(Default)]
struct Shared {
    layers: HashMap<(DiffId, String), Weak<Layer>>,
    /// The stack opened last stays open: who makes hundreds of layers one on top of the other opens each of them once.
    recent: Vec<(DiffId, Arc<Layer>)>,
}

/// Bytes of indexes that stay in memory for the next who asks, so that small layers do and large ones do not.
const MOST_RECENT: usize = 4 << 20;

impl Shared {
    fn find(&self, key: &(DiffId, String)) -> Option<Arc<Layer>> {
        self.layers.get(key).and_then(Weak::upgrade)
    }

    fn insert(&mut self, key: (DiffId, String), layer: &Arc<Layer>) {
        // Forgets the closed ones now and then: looking at all of them each time adds up.
        if self.layers.len() == self.layers.capacity() {
            self.layers.retain(|_, layer| layer.strong_count() > 0);
        }
        self.layers.insert(key, Arc::downgrade(layer));
    }

    /// Another stack is about to be opened: closes what is not part of it. Each open layer has a file descriptor.
    fn make_room(&mut self, stack: &[LayerRecord]) {
        let wanted: HashSet<&DiffId> = stack.iter().map(|record| &record.diff_id).collect();
        self.recent.retain(|(diff_id, _)| wanted.contains(diff_id));
    }

    fn keep(&mut self, stack: &[LayerRecord], opened: &[Arc<Layer>]) {
        let mut left = MOST_RECENT;
        self.recent.clear();
        for (record, layer) in stack.iter().zip(opened) {
            if let Some(rest) = left.checked_sub(layer.image().bytes().len()) {
                left = rest;
                self.recent.push((record.diff_id, Arc::clone(layer)));
            }
        }
    }
}

impl Opened {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

impl Layers {
    /// The merged view of a stack, bottom first. A missing index is made again from the stored tar.
    pub fn stack(&self, layers: &[DiffId]) -> Result<Stack, StoreError> {
        Ok(Stack::new(self.open_all(layers)?))
    }

    /// One layer on top of `below`.
    pub fn open_layer(&self, diff_id: &DiffId, below: &[DiffId]) -> Result<Arc<Layer>, StoreError> {
        let record = self.layer(diff_id)?.ok_or(StoreError::MissingLayer(*diff_id))?;
        let variant = variant(record.depends_on_parents, below);
        let parents = if variant.is_empty() { Vec::new() } else { self.open_all(below)? };
        self.open_record(&record, variant, &parents)
    }

    fn open_all(&self, layers: &[DiffId]) -> Result<Vec<Arc<Layer>>, StoreError> {
        let records = self.records(layers)?;
        self.opened.lock().make_room(&records);
        let mut opened = Vec::with_capacity(layers.len());
        for (record, variant) in records.iter().zip(variants(&records)) {
            let layer = self.open_record(record, variant, &opened)?;
            opened.push(layer);
        }
        self.opened.lock().keep(&records, &opened);
        Ok(opened)
    }

    fn open_record(
        &self,
        record: &LayerRecord,
        variant: String,
        parents: &[Arc<Layer>],
    ) -> Result<Arc<Layer>, StoreError> {
        let key = (record.diff_id, variant);
        if let Some(layer) = self.opened.lock().find(&key) {
            return Ok(layer);
        }
        let index = self.read_index(record, &key.1, || Stack::new(parents.to_vec()))?;
        let tar = self.checked_tar(record)?.into_parts().0;
        let layer = Layer::open(index, tar).map_err(|error| StoreError::layer(&record.diff_id, error))?;
        let layer = Arc::new(layer);
        self.opened.lock().insert(key, &layer);
        Ok(layer)
    }

    fn read_index(
        &self,
        record: &LayerRecord,
        variant: &str,
        parents: impl FnOnce() -> Stack,
    ) -> Result<Vec<u8>, StoreError> {
        let diff_id = &record.diff_id;
        match self.sound_index(diff_id, variant)? {
            Some(bytes) => Ok(bytes),
            None => self.rebuild_index(record, variant, &parents()),
        }
    }

    /// The index's bytes, unless they are missing or not those that were recorded.
    fn sound_index(&self, diff_id: &DiffId, variant: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let digest: Option<Bytes32> = self.core.db.read(|tx| {
            let mut statement =
                tx.prepare_cached("SELECT digest FROM layer_indexes WHERE diff_id = ?1 AND variant = ?2")?;
            Ok(statement.query_row(params![Bytes32::from(diff_id), variant], |row| row.get(0)).optional()?)
        })?;
        let Some(digest) = digest else { return Ok(None) };
        let bytes = fs::read(self.core.root.index(diff_id, variant)).ok();
        Ok(bytes.filter(|bytes| Digest::of(bytes) == digest.digest()))
    }

    /// Makes damaged indexes of a stack again, which [`Self::mounts`] tells by their length only; how many there
    /// were. For when the kernel refuses to mount one.
    pub fn repair_indexes(&self, layers: &[DiffId]) -> Result<usize, StoreError> {
        let mut repaired = 0;
        let records = self.records(layers)?;
        for (position, (record, variant)) in records.iter().zip(variants(&records)).enumerate() {
            if self.sound_index(&record.diff_id, &variant)?.is_none() {
                // Opening makes the index.
                self.open_layer(&record.diff_id, &layers[..position])?;
                repaired += 1;
            }
        }
        Ok(repaired)
    }

    /// Reads the tar once more to make an index that is missing or damaged.
    fn rebuild_index(
        &self,
        record: &LayerRecord,
        variant: &str,
        parents: &Stack,
    ) -> Result<Vec<u8>, StoreError> {
        let diff_id = &record.diff_id;
        let failed = |error| StoreError::layer(diff_id, error);
        let mut tar = self.checked_tar(record)?;
        let (info, contents) =
            strata_layer::ingest(&mut tar, &mut std::io::sink(), &Limits::default()).map_err(failed)?;
        if info.diff_id != *diff_id {
            let what = format!("{} has digest {}", self.core.root.tar(diff_id).display(), info.diff_id);
            return Err(StoreError::DamagedLayer { diff_id: *diff_id, what });
        }
        let parents = (!variant.is_empty()).then_some(parents);
        let staging = Staging::new(&self.core.root)?;
        let staged = staging.join("index");
        let index = IndexFile::write(&staged, diff_id, &contents, parents)?;
        let bytes = fs::read(&staged)?;
        self.core.publish(|| {
            fs::rename(&staged, self.core.root.index(diff_id, variant))?;
            sync_directory(&self.core.root.layers())?;
            self.core.db.write(|tx| {
                super::find(tx, diff_id)?.ok_or(StoreError::MissingLayer(*diff_id))?;
                record_index(tx, diff_id, variant, &index)
            })
        })?;
        Ok(bytes)
    }

    /// Length of an index by its record.
    pub(super) fn index_length(&self, diff_id: &DiffId, variant: &str) -> Result<Option<u64>, StoreError> {
        self.core.db.read(|tx| index_length(tx, diff_id, variant))
    }

    /// True when the index is recorded and its file has the recorded length.
    pub(super) fn has_index(&self, diff_id: &DiffId, variant: &str) -> Result<bool, StoreError> {
        let Some(length) = self.index_length(diff_id, variant)? else { return Ok(false) };
        Ok(is_whole(&self.core.root.index(diff_id, variant), length)?.is_ok())
    }
}

/// Length of an index by its record.
pub(super) fn index_length(
    tx: &Transaction,
    diff_id: &DiffId,
    variant: &str,
) -> Result<Option<u64>, StoreError> {
    let mut statement =
        tx.prepare_cached("SELECT length FROM layer_indexes WHERE diff_id = ?1 AND variant = ?2")?;
    Ok(statement.query_row(params![Bytes32::from(diff_id), variant], |row| row.get(0)).optional()?)
}
