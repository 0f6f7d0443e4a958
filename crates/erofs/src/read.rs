//! The reader.
use crate::{Attributes, FileType, Xattr};

/// An inode's address in an image.
pub type Nid = u64;

/// Why bytes are not a readable image, and where.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not what the format allows.
    #[error("damaged EROFS image at byte {at}: {what}")]
    Damaged {
        /// Byte offset.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Where a run of a file's bytes lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a device (slot from 1), at a byte offset.
    Device(u16, u64),
    /// In the image itself, at a byte offset.
    Image(u64),
    /// Nowhere: zeros.
    Hole,
}

/// A run of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Offset in the file.
    pub logical: u64,
    /// Length in bytes.
    pub length: u64,
    /// Where the bytes are.
    pub source: Source,
}

/// What `stat` shows, without xattrs (see [`Image::xattrs`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Address.
    pub nid: Nid,
    /// Type.
    pub file_type: FileType,
    /// Mode bits, owner, times; `xattrs` is left empty.
    pub attributes: Attributes,
    /// Bytes of content (directories: of their entry blocks).
    pub size: u64,
    /// Link count.
    pub nlink: u32,
    /// Device number (major, minor) of device inodes.
    pub rdev: (u32, u32),
}

/// One name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name, without `/`.
    pub name: &'a [u8],
    /// The inode it names.
    pub nid: Nid,
    /// Its type.
    pub file_type: FileType,
}

/// An image in memory. Every access is bounds-checked: damaged bytes give an error, never a panic.
pub struct Image<B> {
    _bytes: B,
}

impl<B: AsRef<[u8]>> Image<B> {
    /// Checks the superblock (magic, features, checksum); bytes after the image's own length are ignored.
    pub fn open(_bytes: B) -> Result<Self, ReadError> {
        todo!()
    }
    /// Bytes that belong to the image; what follows is the caller's.
    pub fn length(&self) -> u64 {
        todo!()
    }
    /// The bytes it was opened from, what follows the image included.
    pub fn bytes(&self) -> &[u8] {
        self._bytes.as_ref()
    }
    /// The root directory.
    pub fn root(&self) -> Nid {
        todo!()
    }
    /// Number of external devices.
    pub fn devices(&self) -> u16 {
        todo!()
    }
    /// An inode's attributes.
    pub fn inode(&self, _nid: Nid) -> Result<Inode, ReadError> {
        todo!()
    }
    /// Binary search for `name` in a directory.
    pub fn lookup(&self, _directory: Nid, _name: &[u8]) -> Result<Option<DirEntry<'_>>, ReadError> {
        todo!()
    }
    /// All entries in order, without `.` and `..`.
    pub fn entries(&self, _directory: Nid) -> Result<Vec<DirEntry<'_>>, ReadError> {
        todo!()
    }
    /// A symlink's target.
    pub fn read_link(&self, _nid: Nid) -> Result<Vec<u8>, ReadError> {
        todo!()
    }
    /// Extended attributes, sorted by name.
    pub fn xattrs(&self, _nid: Nid) -> Result<Vec<Xattr>, ReadError> {
        todo!()
    }
    /// Where a regular file's bytes lie, in order, covering 0..size.
    pub fn regions(&self, _nid: Nid) -> Result<Vec<Region>, ReadError> {
        todo!()
    }
}
