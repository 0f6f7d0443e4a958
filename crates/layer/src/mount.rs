//! Mounts as data. `runtime` performs them; nothing else does.
use std::path::PathBuf;

/// How a layer's directory comes to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerSource {
    /// The kernel mounts the pair of plain files (6.12 and later).
    Erofs {
        /// The index.
        index: PathBuf,
        /// The tar.
        tar: PathBuf,
    },
    /// The same pair through two read-only loop devices.
    ErofsLoop {
        /// The index.
        index: PathBuf,
        /// The tar.
        tar: PathBuf,
    },
    /// Already unpacked at the target (tree mode): nothing to mount.
    Tree,
}

/// One layer to be made visible at `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerMount {
    /// Where from.
    pub source: LayerSource,
    /// Where to: `<root>/overlay2/<id>/diff`.
    pub target: PathBuf,
}

/// A root file system: layers below, one writable directory on top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Layer directories, bottom first.
    pub lower: Vec<PathBuf>,
    /// The writable layer.
    pub upper: PathBuf,
    /// overlayfs's work directory, on the same file system.
    pub work: PathBuf,
    /// No fsync of the upper: for `--rm` and build steps, whose upper is packed or thrown away.
    pub volatile: bool,
}
