//! Containers: records, state, and the directory of each.
mod create;
mod names;
mod state;

pub use create::NewContainer;
pub use names::random_name;
pub use state::ContainerState;
pub(crate) use state::reap;

use crate::core::Core;
use crate::db::{Bytes32, Time};
use crate::trash::doom;
use crate::{StoreError, volumes};
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use std::path::PathBuf;
use std::sync::Arc;
use strata_oci::{DiffId, ImageId};

/// The containers of the store.
#[derive(Clone, Debug)]
pub struct Containers {
    core: Arc<Core>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique name, without `/`.
    pub name: String,
    /// The image it was made from, which may be gone.
    pub image: Option<ImageId>,
    /// Its read-only layers, bottom first; kept while the container is.
    pub layers: Vec<DiffId>,
    /// JSON that only `engine` reads.
    pub config: String,
    /// When it was made.
    pub created: Timestamp,
    /// What it does.
    pub state: ContainerState,
    /// Volumes it names.
    pub volumes: Vec<String>,
    /// `containers/<id>`.
    pub directory: PathBuf,
}

impl ContainerRecord {
    /// The first 12 digits.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    /// Its writable layer.
    pub fn upper(&self) -> PathBuf {
        self.directory.join("upper")
    }

    /// overlayfs's work directory.
    pub fn work(&self) -> PathBuf {
        self.directory.join("work")
    }

    /// Mount point of its root file system.
    pub fn merged(&self) -> PathBuf {
        self.directory.join("merged")
    }

    /// Its log, `<id>-json.log`; rotated ones have `.1`, `.2` added.
    pub fn log(&self) -> PathBuf {
        self.directory.join(format!("{}-json.log", self.id))
    }
}

const COLUMNS: &str = "id, name, image, config, created, state";

impl Containers {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// All containers, newest first.
    pub fn list(&self) -> Result<Vec<ContainerRecord>, StoreError> {
        self.list_where("1")
    }

    /// The running ones among them, without looking at the others.
    pub fn list_alive(&self) -> Result<Vec<ContainerRecord>, StoreError> {
        self.list_where("alive")
    }

    fn list_where(&self, condition: &str) -> Result<Vec<ContainerRecord>, StoreError> {
        self.core.db.read(|tx| {
            let query =
                format!("SELECT {COLUMNS} FROM containers WHERE {condition} ORDER BY created DESC, id");
            let mut statement = tx.prepare_cached(&query)?;
            let rows = statement.query_map([], |row| self.record(row))?;
            rows.map(|container| with_details(tx, container?)).collect()
        })
    }

    /// The container that `text` names: full ID, then name (with or without `/`), then a unique prefix of an ID
    /// (`spec/engine.md`, section 4, "IDs").
    pub fn lookup(&self, text: &str) -> Result<ContainerRecord, StoreError> {
        self.core.db.read(|tx| {
            let id = resolve(tx, text)?;
            self.load(tx, &id)
        })
    }

    /// Gives a container another name.
    pub fn rename(&self, id: &str, name: &str) -> Result<(), StoreError> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if !crate::name::is_valid(name) {
            return Err(StoreError::ContainerName(name.to_owned()));
        }
        self.core.db.write(|tx| {
            create::free_name(tx, name)?;
            let changed = tx
                .prepare_cached("UPDATE containers SET name = ?2 WHERE id = ?1")?
                .execute(params![id, name])?;
            if changed == 0 { Err(StoreError::NoSuchContainer(id.to_owned())) } else { Ok(()) }
        })
    }

    /// Replaces the engine's JSON, and records a new state, both where given.
    pub fn update(
        &self,
        id: &str,
        config: Option<&str>,
        state: Option<&ContainerState>,
    ) -> Result<(), StoreError> {
        if config.is_none() && state.is_none() {
            return Ok(());
        }
        self.core.db.write(|tx| {
            if let Some(config) = config {
                let changed = tx
                    .prepare_cached("UPDATE containers SET config = ?2 WHERE id = ?1")?
                    .execute(params![id, config])?;
                if changed == 0 {
                    return Err(StoreError::NoSuchContainer(id.to_owned()));
                }
            }
            state.map_or(Ok(()), |state| state::set(tx, id, state))
        })
    }

    /// Removes a container that does not run, with its directory; with `anonymous_volumes` also the anonymous
    /// volumes that no other container names. Whoever forces removal stops the container first.
    pub fn remove(&self, id: &str, anonymous_volumes: bool) -> Result<(), StoreError> {
        self.remove_where(id, anonymous_volumes, false)
    }

    /// As [`Self::remove`], for whoever has just seen the container's process end and need not record how.
    pub fn remove_ended(&self, id: &str, anonymous_volumes: bool) -> Result<(), StoreError> {
        self.remove_where(id, anonymous_volumes, true)
    }

    fn remove_where(&self, id: &str, anonymous_volumes: bool, ended: bool) -> Result<(), StoreError> {
        // Only volumes' data must not go before their records are off the disk: after a power cut, a container's record
        // whose directory is gone is dropped by the sweep. The volumes of a container never change.
        let has_volumes = || -> Result<bool, StoreError> {
            self.core.db.read(|tx| {
                let mut named = tx.prepare_cached("SELECT 1 FROM container_volumes WHERE container = ?1")?;
                Ok(named.exists([id])?)
            })
        };
        if anonymous_volumes && has_volumes()? {
            self.core.db.write_durably(|tx| self.forget(tx, id, true, ended))?;
        } else {
            self.core.db.write(|tx| self.forget(tx, id, anonymous_volumes, ended))?;
        }
        self.core.bury().map(drop)
    }

    fn forget(
        &self,
        tx: &Transaction,
        id: &str,
        anonymous_volumes: bool,
        ended: bool,
    ) -> Result<(), StoreError> {
        let container = self.load(tx, id)?;
        if container.state.is_alive() && !ended {
            return Err(StoreError::ContainerRunning(container.name));
        }
        tx.prepare_cached("DELETE FROM containers WHERE id = ?1")?.execute([id])?;
        doom(tx, &format!("containers/{id}"))?;
        let unused = "SELECT 1 FROM volumes WHERE name = ?1 AND anonymous
                      AND NOT EXISTS (SELECT 1 FROM container_volumes WHERE volume = ?1)";
        for volume in container.volumes.iter().filter(|_| anonymous_volumes) {
            if tx.prepare_cached(unused)?.exists([volume])? {
                volumes::forget(tx, volume)?;
            }
        }
        Ok(())
    }

    pub(super) fn load(&self, tx: &Transaction, id: &str) -> Result<ContainerRecord, StoreError> {
        let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM containers WHERE id = ?1"))?;
        let container = statement.query_row([id], |row| self.record(row)).optional()?;
        with_details(tx, container.ok_or_else(|| StoreError::NoSuchContainer(id.to_owned()))?)
    }

    fn record(&self, row: &Row) -> rusqlite::Result<ContainerRecord> {
        let id: String = row.get(0)?;
        Ok(ContainerRecord {
            directory: self.core.root.containers().join(&id),
            id,
            name: row.get(1)?,
            image: row.get::<_, Option<Bytes32>>(2)?.map(Bytes32::image_id),
            layers: Vec::new(),
            config: row.get(3)?,
            created: row.get::<_, Time>(4)?.0,
            state: state::from_column(row, 5)?,
            volumes: Vec::new(),
        })
    }
}

fn with_details(tx: &Transaction, mut container: ContainerRecord) -> Result<ContainerRecord, StoreError> {
    let layers = "SELECT diff_id FROM container_layers WHERE container = ?1 ORDER BY position";
    let volumes = "SELECT volume FROM container_volumes WHERE container = ?1 ORDER BY volume";
    container.layers = tx
        .prepare_cached(layers)?
        .query_map([&container.id], |row| Ok(row.get::<_, Bytes32>(0)?.diff_id()))?
        .collect::<Result<_, _>>()?;
    container.volumes = tx
        .prepare_cached(volumes)?
        .query_map([&container.id], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(container)
}

fn resolve(tx: &Transaction, text: &str) -> Result<String, StoreError> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let exact = "SELECT id FROM containers WHERE id = ?1 OR name = ?2 ORDER BY id <> ?1 LIMIT 1";
    let found = tx.prepare_cached(exact)?.query_row([text, name], |row| row.get(0)).optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    let missing = || StoreError::NoSuchContainer(text.to_owned());
    if text.is_empty() || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(missing());
    }
    // 'g' follows every hexadecimal digit.
    let prefix = "SELECT id FROM containers WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 2";
    let mut found: Vec<String> =
        tx.prepare_cached(prefix)?.query_map([text], |row| row.get(0))?.collect::<Result<_, _>>()?;
    match found.len() {
        0 => Err(missing()),
        1 => Ok(found.remove(0)),
        _ => Err(StoreError::AmbiguousContainer(text.to_owned())),
    }
}
