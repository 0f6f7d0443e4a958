//! Leases: layers and blobs of work in progress are not collected.
use crate::StoreError;
use crate::core::Core;
use crate::db::Bytes32;
use crate::root::Root;
use crate::staging::{claim, random_name, seize};
use fs_err as fs;
use rusqlite::{Transaction, params};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use strata_oci::DiffId;

/// Gives out leases.
#[derive(Clone, Debug)]
pub struct Leases {
    core: Arc<Core>,
}

/// Keeps what it names from being collected, until the last clone is dropped or the process ends, however it ends.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Held>);

#[derive(Debug)]
struct Held {
    id: String,
    path: PathBuf,
    core: Arc<Core>,
    _lock: File,
}

impl Leases {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// A new lease, empty.
    pub fn acquire(&self) -> Result<Lease, StoreError> {
        loop {
            let id = random_name();
            let path = lease_path(&self.core.root, &id);
            fs::File::create(&path)?;
            // The lock comes before the row: a row whose file nobody holds is dead.
            let Some(lock) = claim(&path)? else { continue };
            let held = Held { id, path, core: Arc::clone(&self.core), _lock: lock };
            self.core
                .db
                .write(|tx| Ok(tx.prepare_cached("INSERT INTO leases VALUES(?1)")?.execute([&held.id])?))?;
            return Ok(Lease(Arc::new(held)));
        }
    }
}

impl Lease {
    /// Keeps these layers from now on. Returns those that are not in the store: they are kept as soon as they come.
    pub fn hold(&self, layers: &[DiffId]) -> Result<Vec<DiffId>, StoreError> {
        self.0.core.db.write(|tx| {
            let mut missing = Vec::new();
            for diff_id in layers {
                self.hold_layer(tx, diff_id)?;
                let mut present = tx.prepare_cached("SELECT 1 FROM layers WHERE diff_id = ?1")?;
                if !present.exists([Bytes32::from(diff_id)])? {
                    missing.push(*diff_id);
                }
            }
            Ok(missing)
        })
    }

    pub(crate) fn hold_layer(&self, tx: &Transaction, diff_id: &DiffId) -> Result<(), StoreError> {
        let mut statement = tx.prepare_cached("INSERT OR IGNORE INTO lease_layers VALUES(?1, ?2)")?;
        statement.execute(params![self.0.id, Bytes32::from(diff_id)])?;
        Ok(())
    }

    pub(crate) fn hold_blob(&self, tx: &Transaction, digest: Bytes32) -> Result<(), StoreError> {
        let mut statement = tx.prepare_cached("INSERT OR IGNORE INTO lease_blobs VALUES(?1, ?2)")?;
        statement.execute(params![self.0.id, digest])?;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Both are swept by the next open if they cannot be removed now.
        let _ = self.core.db.write(|tx| Ok(tx.execute("DELETE FROM leases WHERE id = ?1", [&self.id])?));
        let _ = fs::remove_file(&self.path);
    }
}

fn lease_path(root: &Root, id: &str) -> PathBuf {
    root.ingest().join(format!("{id}.lease"))
}

/// Deletes the leases of dead processes. Returns how many there were.
pub(crate) fn expire(root: &Root, tx: &Transaction) -> Result<usize, StoreError> {
    let ids: Vec<String> = tx
        .prepare_cached("SELECT id FROM leases")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut count = 0;
    for id in ids {
        let path = lease_path(root, &id);
        let lock = seize(&path)?;
        if lock.is_some() || !path.exists() {
            tx.prepare_cached("DELETE FROM leases WHERE id = ?1")?.execute([&id])?;
            let _ = fs::remove_file(&path);
            count += 1;
        }
    }
    Ok(count)
}
