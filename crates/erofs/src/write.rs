//! The writer.
use crate::{Attributes, Kind};
use std::io::Write;

/// An inode added to a [`Builder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(pub(crate) u32);

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output failed.
    #[error("write the EROFS image")]
    Io(#[from] std::io::Error),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes written, a multiple of 4096.
    pub length: u64,
    /// Number of inodes.
    pub inodes: u64,
    /// nid of each inode, indexed by [`InodeId`] order: `nids[id.index()]`.
    pub nids: Vec<u64>,
}

/// Collects a tree, then writes it. Output is a function of the tree alone (same tree, same bytes).
pub struct Builder {}

impl InodeId {
    /// Position in [`Written::nids`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Builder {
    /// A tree with only its root directory.
    pub fn new(_root: Attributes) -> Self {
        todo!()
    }
    /// The root directory.
    pub fn root(&self) -> InodeId {
        todo!()
    }
    /// Adds an inode that no directory names yet.
    pub fn add(&mut self, _attributes: Attributes, _kind: Kind) -> Result<InodeId, WriteError> {
        todo!()
    }
    /// Names `child` in `directory`; an inode linked twice is a hard link. A name may be used once per directory.
    pub fn link(&mut self, _directory: InodeId, _name: &[u8], _child: InodeId) -> Result<(), WriteError> {
        todo!()
    }
    /// Lays the image out and writes it. `device_lengths` are the devices' lengths in bytes, slot 1 first.
    pub fn write(self, _device_lengths: &[u64], _out: &mut dyn Write) -> Result<Written, WriteError> {
        todo!()
    }
}
