//! The EROFS on-disk format, as far as a metadata image with external data devices needs it.
//!
//! An image written here holds inodes, directories, symlink targets and xattrs; the contents of regular
//! files stay in *devices* (layer tars) and are named by [`Extent`]s. The kernel mounts the pair with
//! `mount -t erofs -o device=<tar> <image>`. Facts and limits: `spec/erofs.md`.
//!
//! This crate does no I/O of its own: the writer fills a `Write`, the reader reads from bytes in memory.

#![forbid(unsafe_code)]

mod format;
mod read;
mod write;

pub use read::{DirEntry, Image, Inode, Nid, ReadError, Region, Source};
pub use write::{Builder, InodeId, Tree, WriteError, Written, write};

/// Size in bytes of the blocks this crate reads and writes; tar members start on the same boundary.
pub const BLOCK: u64 = 512;

/// One extended attribute: the full name (`user.x`, `security.capability`) and its value as `getxattr` gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xattr {
    /// Full name, prefix included.
    pub name: Vec<u8>,
    /// Raw value.
    pub value: Vec<u8>,
}

/// What `stat` shows of an inode, besides its type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most. The type is in [`Kind`].
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970; may be negative.
    pub mtime: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub mtime_nsec: u32,
    /// Extended attributes, in any order, names unique.
    pub xattrs: Vec<Xattr>,
}

/// A run of a file's bytes in an external device.
///
/// The kernel reads whole blocks. So the device must hold the rest of an extent's last block too; where an
/// extent ends inside the file, that rest must be zeros, as it shows in the file; and at the end of the file it
/// shows in the last page of a memory map. Tars pad members this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file, bytes.
    pub logical: u64,
    /// Length in bytes.
    pub length: u64,
    /// Device slot, counted from 1. 0 is not allowed here.
    pub device: u16,
    /// Offset in the device, bytes; a multiple of [`BLOCK`] (the writer refuses others).
    pub offset: u64,
}

/// Where a regular file's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// In external devices; what no extent covers is a hole. Sorted by `logical`, not overlapping.
    External(Vec<Extent>),
    /// In the image itself (what cannot point into a tar).
    Inline(Vec<u8>),
}

/// The type of an inode, with what only that type has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory; entries are added with [`Builder::link`].
    Directory,
    /// A regular file of `size` bytes.
    Regular {
        /// Length in bytes, holes included.
        size: u64,
        /// Where the bytes are.
        data: Data,
    },
    /// A symbolic link.
    Symlink(Vec<u8>),
    /// A character device; 0:0 is an overlayfs whiteout.
    CharDevice {
        /// 12-bit major number.
        major: u32,
        /// 20-bit minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// 12-bit major number.
        major: u32,
        /// 20-bit minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl Kind {
    /// The type alone.
    pub fn file_type(&self) -> FileType {
        match self {
            Kind::Directory => FileType::Directory,
            Kind::Regular { .. } => FileType::Regular,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::CharDevice { .. } => FileType::CharDevice,
            Kind::BlockDevice { .. } => FileType::BlockDevice,
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
        }
    }
}

/// An inode's type alone, as a directory entry stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Symbolic link.
    Symlink,
}
