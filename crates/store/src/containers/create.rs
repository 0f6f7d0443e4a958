//! Making containers.
use super::{ContainerRecord, ContainerState, Containers, random_name};
use crate::StoreError;
use crate::db::{Bytes32, now};
use crate::images::record_layers;
use crate::root::create_directory;
use crate::staging::{Staging, random_bytes};
use fs_err as fs;
use rusqlite::{OptionalExtension as _, Transaction, params};
use strata_oci::{DiffId, ImageId};

/// A container to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewContainer {
    /// Its name; `None` picks a random one that is free.
    pub name: Option<String>,
    /// The image it is made from.
    pub image: Option<ImageId>,
    /// That image's layers, bottom first.
    pub layers: Vec<DiffId>,
    /// JSON that only `engine` reads.
    pub config: String,
    /// Volumes it names; they must exist.
    pub volumes: Vec<String>,
}

impl Containers {
    /// Makes a container in state *created*, which is a use of its image, with its `upper`, `work` and `merged` directories.
    pub fn create(&self, new: NewContainer) -> Result<ContainerRecord, StoreError> {
        let name = new.name.as_deref().map(|name| name.strip_prefix('/').unwrap_or(name));
        if let Some(name) = name.filter(|name| !crate::name::is_valid(name)) {
            return Err(StoreError::ContainerName(name.to_owned()));
        }
        let id = hex::encode(random_bytes::<32>());
        let staging = Staging::new(&self.core.root)?;
        let staged = staging.join("container");
        create_directory(&staged, 0o711)?;
        // overlayfs shows the upper directory's mode as that of `/`.
        for (part, mode) in [("upper", 0o755), ("work", 0o711), ("merged", 0o711)] {
            create_directory(&staged.join(part), mode)?;
        }
        self.core.publish(|| {
            fs::rename(&staged, self.core.root.containers().join(&id))?;
            self.core.db.write(|tx| {
                let name = match name {
                    Some(name) => free_name(tx, name).map(|()| name.to_owned())?,
                    None => pick_name(tx)?,
                };
                record(tx, &id, &name, &new)?;
                self.load(tx, &id)
            })
        })
    }
}

fn record(tx: &Transaction, id: &str, name: &str, new: &NewContainer) -> Result<(), StoreError> {
    let state = super::state::to_column(&ContainerState::Created);
    tx.prepare_cached("INSERT INTO containers VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0)")?.execute(params![
        id,
        name,
        new.image.as_ref().map(Bytes32::from),
        new.config,
        now(),
        state
    ])?;
    record_layers(tx, "container_layers", &id, &new.layers)?;
    if let Some(image) = &new.image {
        crate::images::touch(tx, image)?;
    }
    for volume in &new.volumes {
        if !tx.prepare_cached("SELECT 1 FROM volumes WHERE name = ?1")?.exists([volume])? {
            return Err(StoreError::NoSuchVolume(volume.clone()));
        }
        tx.prepare_cached("INSERT OR IGNORE INTO container_volumes VALUES(?1, ?2)")?.execute([id, volume])?;
    }
    Ok(())
}

pub(super) fn free_name(tx: &Transaction, name: &str) -> Result<(), StoreError> {
    let owner: Option<String> = tx
        .prepare_cached("SELECT id FROM containers WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    match owner {
        Some(container) => Err(StoreError::ContainerNameInUse { name: name.to_owned(), container }),
        None => Ok(()),
    }
}

fn pick_name(tx: &Transaction) -> Result<String, StoreError> {
    for attempt in 0.. {
        let mut name = random_name();
        if attempt > 5 {
            // Many containers: names repeat, a number makes them differ.
            name.push_str(&u32::from_le_bytes(random_bytes()).to_string());
        }
        if free_name(tx, &name).is_ok() {
            return Ok(name);
        }
    }
    unreachable!("an endless loop returns or goes on")
}
