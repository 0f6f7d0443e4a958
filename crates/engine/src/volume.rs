//! Volumes.
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use strata_store::{NewVolume, Prune, StoreError, VolumeRecord};

/// A volume.
#[derive(Clone, Debug)]
pub struct VolumeSummary {
    /// Name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Where its files are.
    pub mountpoint: PathBuf,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Made for one container without a name.
    pub anonymous: bool,
    /// Containers that use it.
    pub containers: Vec<String>,
}

impl From<VolumeRecord> for VolumeSummary {
    fn from(record: VolumeRecord) -> Self {
        let VolumeRecord { name, anonymous, labels, created, mountpoint, containers } = record;
        Self { name, created, mountpoint, labels, anonymous, containers }
    }
}

impl Engine {
    /// All volumes by name.
    pub fn volumes(&self) -> Result<Vec<VolumeSummary>, EngineError> {
        Ok(self.store().volumes().list()?.into_iter().map(VolumeSummary::from).collect())
    }

    /// Makes a volume (an existing one is left as it is); gives its name (64 hex digits when none is asked).
    pub fn create_volume(
        &self,
        name: Option<&str>,
        labels: &[(String, String)],
    ) -> Result<String, EngineError> {
        let labels = labels.iter().cloned().collect();
        let (volume, _) =
            self.store().volumes().create(NewVolume { name: name.map(str::to_owned), labels })?;
        Ok(volume.name)
    }

    /// One volume.
    pub fn volume(&self, name: &str) -> Result<VolumeSummary, EngineError> {
        Ok(self.store().volumes().get(name)?.into())
    }

    /// Removes it with its files; `get X: no such volume`, `volume is in use - [id]`.
    pub fn remove_volume(&self, name: &str, force: bool) -> Result<(), EngineError> {
        match self.store().volumes().remove(name) {
            Err(StoreError::NoSuchVolume(_)) if force => Ok(()),
            other => Ok(other?),
        }
    }

    /// Removes unused volumes (`all`: named ones too): names and bytes given back.
    pub fn prune_volumes(&self, all: bool) -> Result<(Vec<String>, u64), EngineError> {
        let sizes: BTreeMap<String, u64> =
            self.store().usage()?.volumes.into_iter().map(|volume| (volume.name, volume.size)).collect();
        let names = self.store().volumes().prune(&Prune { all, ..Default::default() })?;
        let reclaimed = names.iter().filter_map(|name| sizes.get(name)).sum();
        Ok((names, reclaimed))
    }
}
