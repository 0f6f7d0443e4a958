//! Layers: the tar named by its DiffId, and its indexes.
mod ingest;
mod mode;
mod mounts;
mod opened;
mod tree;
mod writeback;

pub use ingest::Ingest;
pub use mode::{LayerMode, LayerModeRecord};
pub use writeback::TarFile;

use crate::core::Core;
use crate::db::{Bytes32, Time};
use crate::root::open_whole;
use crate::{Lease, StoreError};
use fs_err as fs;
use jiff::Timestamp;
use opened::Opened;
use rusqlite::{OptionalExtension as _, Row, Transaction};
use std::sync::Arc;
use strata_oci::{ChainId, DiffId};

/// The layers of the store.
#[derive(Clone, Debug)]
pub struct Layers {
    core: Arc<Core>,
    opened: Arc<Opened>,
    mode: Arc<mode::Mode>,
}

/// What is recorded of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRecord {
    /// Its name.
    pub diff_id: DiffId,
    /// Length of its tar in bytes.
    pub tar_length: u64,
    /// Sum of the lengths of its regular files: the size Docker shows.
    pub content_size: u64,
    /// Number of tar members.
    pub entries: u64,
    /// True when its index depends on the layers below it.
    pub depends_on_parents: bool,
    /// When it came into this store.
    pub created: Timestamp,
}

impl LayerRecord {
    fn damaged(&self, what: String) -> StoreError {
        StoreError::DamagedLayer { diff_id: self.diff_id, what }
    }

    fn from_row(row: &Row) -> rusqlite::Result<Self> {
        Ok(Self {
            diff_id: row.get::<_, Bytes32>(0)?.diff_id(),
            tar_length: row.get(1)?,
            content_size: row.get(2)?,
            entries: row.get(3)?,
            depends_on_parents: row.get(4)?,
            created: row.get::<_, Time>(5)?.0,
        })
    }
}

const COLUMNS: &str = "diff_id, tar_length, content_size, entries, depends_on_parents, created";

impl Layers {
    pub(crate) fn new(core: Arc<Core>, forced: Option<LayerMode>) -> Self {
        let mode = Arc::new(mode::Mode::new(&core.root, forced));
        Self { core, opened: Arc::default(), mode }
    }

    /// Starts a new layer. `lease` keeps it once it is committed.
    pub fn begin(&self, lease: &Lease) -> Result<Ingest, StoreError> {
        Ingest::new(self.clone(), lease.clone())
    }

    /// The record of a layer; `None` when it is not here.
    pub fn layer(&self, diff_id: &DiffId) -> Result<Option<LayerRecord>, StoreError> {
        self.core.db.read(|tx| find(tx, diff_id))
    }

    /// The records of a stack, bottom first; an error names the first layer that is not here.
    pub fn records(&self, layers: &[DiffId]) -> Result<Vec<LayerRecord>, StoreError> {
        self.core.db.read(|tx| records(tx, layers))
    }

    /// Every layer, in the order of their names.
    pub fn list(&self) -> Result<Vec<LayerRecord>, StoreError> {
        self.core.db.read(|tx| {
            let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM layers"))?;
            let rows = statement.query_map([], LayerRecord::from_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The tar, for save, push and verify. Its length is compared with the record's.
    pub fn open_tar(&self, diff_id: &DiffId) -> Result<fs::File, StoreError> {
        let record = self.layer(diff_id)?.ok_or(StoreError::MissingLayer(*diff_id))?;
        self.checked_tar(&record)
    }

    /// Hashes the tar again; an error says what is wrong with it.
    pub fn verify(&self, diff_id: &DiffId) -> Result<(), StoreError> {
        let mut tar = self.open_tar(diff_id)?;
        let actual = crate::blobs::hash(&mut tar)?;
        if actual != *diff_id.digest() {
            let what = format!("{} has digest {actual}", self.core.root.tar(diff_id).display());
            return Err(StoreError::DamagedLayer { diff_id: *diff_id, what });
        }
        Ok(())
    }

    fn checked_tar(&self, record: &LayerRecord) -> Result<fs::File, StoreError> {
        let path = self.core.root.tar(&record.diff_id);
        open_whole(&path, record.tar_length)?.map_err(|what| record.damaged(what))
    }
}

pub(crate) fn find(tx: &Transaction, diff_id: &DiffId) -> Result<Option<LayerRecord>, StoreError> {
    let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM layers WHERE diff_id = ?1"))?;
    Ok(statement.query_row([Bytes32::from(diff_id)], LayerRecord::from_row).optional()?)
}

fn records(tx: &Transaction, layers: &[DiffId]) -> Result<Vec<LayerRecord>, StoreError> {
    layers.iter().map(|id| find(tx, id)?.ok_or(StoreError::MissingLayer(*id))).collect()
}

/// Which index shows a layer on top of `below`: empty unless it depends on the layers there.
fn variant(depends_on_parents: bool, below: &[DiffId]) -> String {
    if depends_on_parents { variant_on(ChainId::of(below)) } else { String::new() }
}

fn variant_on(below: Option<ChainId>) -> String {
    below.map_or_else(String::new, |chain| chain.short())
}

/// The same for each layer of a stack, bottom first, in time that grows with their number only.
fn variants(stack: &[LayerRecord]) -> impl Iterator<Item = String> + '_ {
    stack.iter().scan(None, |below, record| {
        let variant = if record.depends_on_parents { variant_on(*below) } else { String::new() };
        *below = Some(ChainId::extend(*below, record.diff_id));
        Some(variant)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_oci::Digest;

    #[test]
    fn variants_of_a_stack_are_those_of_its_layers() {
        let record = |number: u8| LayerRecord {
            diff_id: DiffId::new(Digest::of(&[number])),
            tar_length: 0,
            content_size: 0,
            entries: 0,
            depends_on_parents: number % 3 != 1,
            created: Timestamp::UNIX_EPOCH,
        };
        let stack: Vec<LayerRecord> = (0..9).map(record).collect();
        let layers: Vec<DiffId> = stack.iter().map(|record| record.diff_id).collect();
        for (at, found) in variants(&stack).enumerate() {
            assert_eq!(found, variant(stack[at].depends_on_parents, &layers[..at]), "layer {at}");
        }
        assert_eq!(variants(&stack).count(), stack.len());
    }
}
