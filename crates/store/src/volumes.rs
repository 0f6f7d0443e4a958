//! Volumes: `volumes/<name>/_data`.
use crate::core::Core;
use crate::db::{Time, now};
use crate::root::{Root, create_directory, sync_directory};
use crate::staging::{Staging, random_bytes};
use crate::trash::{doom, spare};
use crate::{Prune, StoreError};
use fs_err as fs;
use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The volumes of the store.
#[derive(Clone, Debug)]
pub struct Volumes {
    core: Arc<Core>,
}

/// A volume to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewVolume {
    /// Its name; `None` makes an anonymous volume named by 64 random digits.
    pub name: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Its name.
    pub name: String,
    /// Made without a name: removed with its container and pruned by default.
    pub anonymous: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created: Timestamp,
    /// Its data directory on the host.
    pub mountpoint: PathBuf,
    /// Containers that name it, running or not.
    pub containers: Vec<String>,
}

impl Volumes {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Makes a volume, or returns the one of that name. The boolean is true when it is new, and so has still to be
    /// filled from the image.
    pub fn create(&self, new: NewVolume) -> Result<(VolumeRecord, bool), StoreError> {
        let anonymous = new.name.is_none();
        let name = new.name.unwrap_or_else(|| hex::encode(random_bytes::<32>()));
        if !crate::name::is_valid(&name) {
            return Err(StoreError::VolumeName(name));
        }
        let labels = serde_json::to_string(&new.labels).expect("a map of strings always serialises");
        let staging = Staging::new(&self.core.root)?;
        create_directory(&staging.join("volume"), 0o711)?;
        create_directory(&staging.join("volume/_data"), 0o755)?;
        self.core.publish(|| {
            if let Some(volume) = self.find(&name)? {
                return Ok((volume, false));
            }
            let path = self.core.root.volumes().join(&name);
            // Data whose record was lost are adopted.
            if !path.join("_data").is_dir() {
                fs::rename(staging.join("volume"), &path)?;
                sync_directory(&self.core.root.volumes())?;
            }
            self.core.db.write(|tx| {
                spare(tx, &format!("volumes/{name}"))?;
                let mut statement =
                    tx.prepare_cached("INSERT OR IGNORE INTO volumes VALUES(?1, ?2, ?3, ?4)")?;
                let inserted = statement.execute(params![name, anonymous, labels, now()])? > 0;
                Ok((find(tx, &self.core.root, &name)?.ok_or(StoreError::NoSuchVolume(name))?, inserted))
            })
        })
    }

    /// A volume by name.
    pub fn get(&self, name: &str) -> Result<VolumeRecord, StoreError> {
        self.find(name)?.ok_or_else(|| StoreError::NoSuchVolume(name.to_owned()))
    }

    /// All volumes by name.
    pub fn list(&self) -> Result<Vec<VolumeRecord>, StoreError> {
        self.core.db.read(|tx| list(tx, &self.core.root))
    }

    /// Removes a volume that no container names.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        self.core.db.write_durably(|tx| {
            let volume =
                find(tx, &self.core.root, name)?.ok_or_else(|| StoreError::NoSuchVolume(name.to_owned()))?;
            if volume.containers.is_empty() {
                return forget(tx, name);
            }
            Err(StoreError::VolumeInUse { name: name.to_owned(), containers: volume.containers })
        })?;
        self.core.bury().map(drop)
    }

    /// Removes anonymous volumes (with `all` every one) that no container names. Returns their names.
    pub fn prune(&self, prune: &Prune) -> Result<Vec<String>, StoreError> {
        let names = self.core.db.write_durably(|tx| {
            let mut volumes = list(tx, &self.core.root)?;
            volumes.retain(|volume| {
                let wanted = volume.anonymous || prune.all;
                wanted && volume.containers.is_empty() && prune.matches(Some(volume.created), &volume.labels)
            });
            volumes.iter().try_for_each(|volume| forget(tx, &volume.name))?;
            Ok(volumes.into_iter().map(|volume| volume.name).collect())
        })?;
        self.core.bury()?;
        Ok(names)
    }

    fn find(&self, name: &str) -> Result<Option<VolumeRecord>, StoreError> {
        self.core.db.read(|tx| find(tx, &self.core.root, name))
    }
}

/// Deletes the record and dooms the data.
pub(crate) fn forget(tx: &Transaction, name: &str) -> Result<(), StoreError> {
    tx.prepare_cached("DELETE FROM volumes WHERE name = ?1")?.execute([name])?;
    doom(tx, &format!("volumes/{name}"))
}

const COLUMNS: &str = "name, anonymous, labels, created";

fn find(tx: &Transaction, root: &Root, name: &str) -> Result<Option<VolumeRecord>, StoreError> {
    let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM volumes WHERE name = ?1"))?;
    let volume = statement.query_row([name], |row| from_row(row, &root.volumes())).optional()?;
    volume.map(|volume| with_containers(tx, volume)).transpose()
}

fn list(tx: &Transaction, root: &Root) -> Result<Vec<VolumeRecord>, StoreError> {
    let mut statement = tx.prepare_cached(&format!("SELECT {COLUMNS} FROM volumes ORDER BY name"))?;
    let volumes = statement.query_map([], |row| from_row(row, &root.volumes()))?;
    volumes.map(|volume| with_containers(tx, volume?)).collect()
}

fn from_row(row: &Row, area: &Path) -> rusqlite::Result<VolumeRecord> {
    let (name, labels): (String, String) = (row.get(0)?, row.get(2)?);
    Ok(VolumeRecord {
        mountpoint: area.join(&name).join("_data"),
        name,
        anonymous: row.get(1)?,
        labels: serde_json::from_str(&labels).unwrap_or_default(),
        created: row.get::<_, Time>(3)?.0,
        containers: Vec::new(),
    })
}

fn with_containers(tx: &Transaction, mut volume: VolumeRecord) -> Result<VolumeRecord, StoreError> {
    let mut statement = tx.prepare_cached("SELECT container FROM container_volumes WHERE volume = ?1")?;
    volume.containers = statement.query_map([&volume.name], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(volume)
}
