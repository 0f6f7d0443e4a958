//! Opening the engine.
use crate::EngineError;
use std::path::PathBuf;
use std::str::FromStr;

/// How layers are shown to containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerMode {
    /// The kernel mounts tar and index.
    Erofs,
    /// Unpacked into a directory.
    Tree,
}

impl FromStr for LayerMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "erofs" => Ok(Self::Erofs),
            "tree" => Ok(Self::Tree),
            other => Err(format!("unknown layer mode {other:?}: use erofs or tree")),
        }
    }
}

/// Where the engine keeps things.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The store.
    pub root: PathBuf,
    /// Locks, sockets, helper state: need not survive a reboot.
    pub run_dir: PathBuf,
    /// Forces a layer mode.
    pub layer_mode: Option<LayerMode>,
}

/// The parts, wired together.
pub struct Engine {}

impl Engine {
    /// Opens (and on first use makes) the store, and sweeps what dead processes left.
    pub fn open(_options: EngineOptions) -> Result<Self, EngineError> {
        todo!()
    }
}

/// The hook every program that uses the engine calls first: when this process was started as one of the
/// engine's helpers it does that job and gives the exit code; otherwise `None`.
pub fn helper_main() -> Option<u8> {
    None
}
