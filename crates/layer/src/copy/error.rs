//! Why a copy fails. The sentences are BuildKit's where it has one.
use crate::LayerError;
use std::path::PathBuf;

/// Why files cannot be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A source path without wildcards that leads nowhere.
    #[error("\"{}\": not found", .0.display())]
    NotFound(PathBuf),
    /// A source pattern with an open bracket or a trailing backslash.
    #[error("syntax error in pattern {:?}", .0)]
    Pattern(String),
    /// A directory would have to be where something else is.
    #[error("cannot copy to non-directory: {}", .0.display())]
    NotDirectory(PathBuf),
    /// A file would have to be where a directory is.
    #[error("cannot replace to directory {} with file", .0.display())]
    ReplaceDirectory(PathBuf),
    /// A name that means something else in a layer.
    #[error("cannot copy {}: names that begin with .wh. mark deletions in layers; rename it or exclude it", .0.display())]
    WhiteoutName(PathBuf),
    /// A file that was read twice, for its digest and for the layer, and differed.
    #[error("{} changed while it was being copied; build again when nothing writes to the context", .0.display())]
    Changed(PathBuf),
    /// An archive that ADD should unpack is damaged.
    #[error("cannot unpack {}: {what}", .archive.display())]
    Archive {
        /// The archive, below the source root.
        archive: PathBuf,
        /// What is wrong, and with which member.
        what: String,
    },
    /// `--chown` or USER names an account where there is no root file system that could know it.
    #[error(
        "invalid user index: -1: {0:?} is a name, and there is no file system to look it up in; give its number"
    )]
    NoAccounts(String),
    /// Reading a tree or writing the layer failed.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl From<std::io::Error> for CopyError {
    fn from(error: std::io::Error) -> Self {
        Self::Layer(LayerError::Io(error))
    }
}

/// A path as messages show it: absolute within its root.
pub(super) fn shown(path: &[u8]) -> PathBuf {
    let absolute = [b"/", path.strip_prefix(b"/").unwrap_or(path)].concat();
    PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(absolute))
}
