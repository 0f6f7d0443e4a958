//! The merged view of a stack of layers.
use crate::{ContentDigest, Layer, LayerError, Metadata};
use std::io::Read;
use std::sync::Arc;

/// Layers, bottom first, seen as the one tree overlayfs would show. Cheap to clone.
#[derive(Clone)]
pub struct Stack {
    _layers: Vec<Arc<Layer>>,
}

/// An entry of the merged tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which layer shows it (0 is the bottom).
    pub layer: usize,
    /// Its inode in that layer's index.
    pub nid: u64,
    /// What `stat` shows.
    pub metadata: Metadata,
}

/// Where a path leads once every symlink in it is followed inside the root.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The real path, relative, without symlinks, `.` or `..`; `b""` is the root.
    pub path: Vec<u8>,
    /// What is there; `None` when the path (or one of its parents) does not exist.
    pub node: Option<Node>,
}

impl Stack {
    /// A stack of `layers`, bottom first; none at all is an empty root directory.
    pub fn new(_layers: Vec<Arc<Layer>>) -> Self {
        todo!()
    }
    /// The entry at a real path (no symlink is followed).
    pub fn lookup(&self, _path: &[u8]) -> Result<Option<Node>, LayerError> {
        todo!()
    }
    /// Follows every symlink on the way, and the last one if `follow_last`; absolute targets and `..` stay
    /// inside the root. Missing components are kept in `path` as they are written. 40 links at most (ELOOP).
    pub fn resolve(&self, _path: &[u8], _follow_last: bool) -> Result<Resolved, LayerError> {
        todo!()
    }
    /// Names and entries of a directory, merged, in byte order.
    pub fn read_dir(&self, _path: &[u8]) -> Result<Vec<(Vec<u8>, Node)>, LayerError> {
        todo!()
    }
    /// A symlink's target.
    pub fn read_link(&self, _node: &Node) -> Result<Vec<u8>, LayerError> {
        todo!()
    }
    /// A regular file's bytes.
    pub fn open<'a>(&'a self, _node: &Node) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
        todo!()
    }
    /// Content digest of a regular file.
    pub fn content_digest(&self, _node: &Node) -> Result<ContentDigest, LayerError> {
        todo!()
    }
}
