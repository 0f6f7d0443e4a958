//! How layers become directories here: found out once per boot, or forced.
use crate::StoreError;
use crate::process::boot_id;
use crate::root::Root;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::str::FromStr;

/// How a layer becomes a directory (`design.md`, section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerMode {
    /// The kernel mounts index and tar, plain files.
    Erofs,
    /// The kernel mounts them through two read-only loop devices.
    ErofsLoop,
    /// The layer is unpacked once.
    Tree,
}

impl LayerMode {
    /// `erofs`, `erofs-loop` or `tree`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Erofs => "erofs",
            Self::ErofsLoop => "erofs-loop",
            Self::Tree => "tree",
        }
    }
}

impl FromStr for LayerMode {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        match text {
            "erofs" => Ok(Self::Erofs),
            "erofs-loop" => Ok(Self::ErofsLoop),
            "tree" => Ok(Self::Tree),
            other => Err(StoreError::LayerModeName(other.to_owned())),
        }
    }
}

/// The mode in use, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerModeRecord {
    /// The mode.
    pub mode: LayerMode,
    /// Why this one, for `strata info`.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
struct Probed {
    boot_id: String,
    #[serde(flatten)]
    record: LayerModeRecord,
}

#[derive(Debug)]
pub(super) struct Mode {
    root: PathBuf,
    file: PathBuf,
    forced: Option<LayerMode>,
}

impl Mode {
    pub(super) fn new(root: &Root, forced: Option<LayerMode>) -> Self {
        // Two stores may share a run directory; each has a file system, and so a mode, of its own.
        let name = strata_oci::Digest::of(root.root.as_os_str().as_encoded_bytes()).short();
        Self { root: root.root.clone(), file: root.run.join(format!("layer-mode-{name}.json")), forced }
    }
}

impl super::Layers {
    /// The mode in use: what was forced, else what this boot's probe found. `None`: probe, then
    /// [`Self::set_layer_mode`].
    pub fn layer_mode(&self) -> Option<LayerModeRecord> {
        if let Some(mode) = self.mode.forced {
            return Some(LayerModeRecord { mode, reason: "forced".to_owned() });
        }
        let text = fs::read(&self.mode.file).ok()?;
        let probed: Probed = serde_json::from_slice(&text).ok()?;
        (probed.boot_id == boot_id()).then_some(probed.record)
    }

    /// Remembers what the probe found, until the next boot.
    pub fn set_layer_mode(&self, mode: LayerMode, reason: &str) -> Result<(), StoreError> {
        let record = LayerModeRecord { mode, reason: reason.to_owned() };
        let probed = Probed { boot_id: boot_id().to_owned(), record };
        let text = serde_json::to_vec(&probed).expect("plain strings always serialise");
        let temporary = self.mode.file.with_extension(crate::staging::random_name());
        fs::write(&temporary, text)?;
        Ok(fs::rename(temporary, &self.mode.file)?)
    }

    pub(super) fn known_mode(&self) -> Result<LayerMode, StoreError> {
        let unknown = || StoreError::LayerModeUnknown { root: self.mode.root.clone() };
        Ok(self.layer_mode().ok_or_else(unknown)?.mode)
    }
}
