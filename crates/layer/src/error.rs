//! Errors.
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Why a layer cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The tar is damaged or hostile.
    #[error("bad tar at byte {offset}{}: {what}", .path.as_ref().map(|path| format!(" ({})", shown(path))).unwrap_or_default())]
    Tar {
        /// Offset of the member's header in the tar.
        offset: u64,
        /// Name of the member, if it has one.
        path: Option<PathBuf>,
        /// What is wrong and what would be right.
        what: String,
    },
    /// The index is damaged.
    #[error("bad layer index: {0}")]
    Index(#[from] strata_erofs::ReadError),
    /// The index's own section, after the image, is damaged.
    #[error("bad layer index: content digests at byte {at}: {what}")]
    Digests {
        /// Offset of the section.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The index cannot be written.
    #[error("cannot write the layer index: {0}")]
    WriteIndex(#[from] strata_erofs::WriteError),
    /// A path does not lead where it should.
    #[error("{}: {what}", shown(.path))]
    Path {
        /// The path, inside the layer or stack.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A path for a message. Names come from strangers: control characters must not reach the terminal.
fn shown(path: &Path) -> String {
    let mut text = String::new();
    for character in path.to_string_lossy().chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// What is wrong with a path of a layer or a tree, shown from its root.
pub(crate) fn path_error(path: &[u8], what: &str) -> LayerError {
    let shown = [b"/", path.strip_prefix(b"/").unwrap_or(path)].concat();
    LayerError::Path { path: PathBuf::from(OsString::from_vec(shown)), what: what.to_owned() }
}
