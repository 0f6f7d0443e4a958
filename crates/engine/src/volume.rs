//! Volumes.
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;

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

impl Engine {
    /// All volumes by name.
    pub fn volumes(&self) -> Result<Vec<VolumeSummary>, EngineError> {
        todo!()
    }
    /// Makes a volume (an existing one is left as it is); gives its name (64 hex digits when none is asked).
    pub fn create_volume(&self, _name: Option<&str>, _labels: &[(String, String)]) -> Result<String, EngineError> {
        todo!()
    }
    /// One volume.
    pub fn volume(&self, _name: &str) -> Result<VolumeSummary, EngineError> {
        todo!()
    }
    /// Removes it with its files; `get X: no such volume`, `volume is in use - [id]`.
    pub fn remove_volume(&self, _name: &str, _force: bool) -> Result<(), EngineError> {
        todo!()
    }
    /// Removes unused volumes (`all`: named ones too): names and bytes given back.
    pub fn prune_volumes(&self, _all: bool) -> Result<(Vec<String>, u64), EngineError> {
        todo!()
    }
    /// Bytes of files in a volume.
    pub fn volume_size(&self, _name: &str) -> Result<u64, EngineError> {
        todo!()
    }
}
