//! The reader: answers questions about an image in memory.

mod data;
mod directory;
mod error;
mod inode;
#[cfg(test)]
mod tests;
mod xattr;

pub use error::ReadError;

use crate::format::superblock::{self, Superblock};
use crate::format::{NID_UNIT, decode_device, get};
use crate::{Attributes, FileType, Xattr};
use error::damaged;
use std::fmt;

/// An inode's address in an image.
pub type Nid = u64;

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
    /// Device number (major, minor) of device inodes; (0, 0) of others.
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
///
/// Images of this crate's writer can be read, and uncompressed ones of mkfs.erofs. Whoever walks a tree
/// from [`Image::root`] through [`Image::entries`] comes to an end: a directory is listed by no other
/// directory than its `..`, and there once.
#[derive(Clone)]
pub struct Image<B> {
    bytes: B,
    superblock: Superblock,
}

/// Features that change nothing of what is read here, or that are understood.
const KNOWN_FEATURES: u32 =
    superblock::INCOMPAT_LZ4_PADDING | superblock::INCOMPAT_CHUNKED | superblock::INCOMPAT_DEVICES;

impl<B: AsRef<[u8]>> Image<B> {
    /// Checks the superblock (magic, features, checksum), the device table's bounds and the root; bytes
    /// after the image's own length are ignored.
    ///
    /// # Errors
    /// Bytes that are not an EROFS image, an image that is cut short, features this crate cannot read.
    pub fn open(bytes: B) -> Result<Self, ReadError> {
        let all = bytes.as_ref();
        let offset = superblock::OFFSET;
        if all.len() < offset + superblock::SIZE {
            return Err(damaged(all.len() as u64, "too short for a superblock"));
        }
        let superblock = Superblock::decode(&get(all, offset));
        let superblock = superblock.ok_or_else(|| damaged(offset as u64, "not an EROFS superblock"))?;
        check_superblock(&superblock, all)?;
        let image = Self { bytes, superblock };
        let table = u64::from(image.superblock.device_table) * superblock::DEVICE_SLOT_SIZE;
        image.slice(table, u64::from(image.superblock.devices) * superblock::DEVICE_SLOT_SIZE)?;
        let root = image.header(image.root())?;
        if root.file_type != FileType::Directory {
            return Err(damaged(root.at, "the root is not a directory"));
        }
        Ok(image)
    }

    /// Bytes that belong to the image; what follows is the caller's.
    pub fn length(&self) -> u64 {
        u64::from(self.superblock.blocks) << self.superblock.block_bits
    }

    /// The bytes it was opened from, what follows the image included.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }

    /// The root directory.
    pub fn root(&self) -> Nid {
        Nid::from(self.superblock.root_nid)
    }

    /// Number of external devices.
    pub fn devices(&self) -> u16 {
        self.superblock.devices
    }

    /// Length in bytes of the device in `slot` (from 1), rounded up to whole blocks; `None` when there is
    /// no such slot. The kernel does not compare it with the device: who mounts should.
    pub fn device_length(&self, slot: u16) -> Option<u64> {
        if slot == 0 || slot > self.superblock.devices {
            return None;
        }
        let index = u64::from(self.superblock.device_table) + u64::from(slot) - 1;
        let bytes = self.slice(index * superblock::DEVICE_SLOT_SIZE, superblock::DEVICE_SLOT_SIZE).ok()?;
        Some(u64::from(superblock::decode_device_blocks(&get(bytes, 0))) << self.superblock.block_bits)
    }

    /// An inode's attributes.
    ///
    /// # Errors
    /// A nid at which there is no inode that this crate can read.
    pub fn inode(&self, nid: Nid) -> Result<Inode, ReadError> {
        let located = self.header(nid)?;
        let header = &located.header;
        let is_device = matches!(located.file_type, FileType::CharDevice | FileType::BlockDevice);
        Ok(Inode {
            nid,
            file_type: located.file_type,
            attributes: Attributes {
                mode: header.mode & 0o7777,
                uid: header.uid,
                gid: header.gid,
                mtime: header.mtime,
                mtime_nsec: header.mtime_nsec,
                xattrs: Vec::new(),
            },
            size: header.size,
            nlink: header.nlink,
            rdev: if is_device { decode_device(header.union) } else { (0, 0) },
        })
    }

    /// Binary search for `name` in a directory. `.` and `..` are found too.
    ///
    /// # Errors
    /// [`ReadError::WrongType`] when `directory` is none; damage on the way to the name.
    pub fn lookup(&self, directory: Nid, name: &[u8]) -> Result<Option<DirEntry<'_>>, ReadError> {
        directory::lookup(self, directory, name)
    }

    /// All entries in order, without `.` and `..`.
    ///
    /// # Errors
    /// [`ReadError::WrongType`] when `directory` is none; names that are unsorted or cannot be names;
    /// subdirectories that belong to another directory or are listed twice.
    pub fn entries(&self, directory: Nid) -> Result<Vec<DirEntry<'_>>, ReadError> {
        directory::entries(self, directory)
    }

    /// A symlink's target.
    ///
    /// # Errors
    /// [`ReadError::WrongType`] when `nid` is no symlink; a target that is empty or over 4095 bytes.
    pub fn read_link(&self, nid: Nid) -> Result<Vec<u8>, ReadError> {
        data::read_link(self, nid)
    }

    /// Extended attributes, sorted by name.
    ///
    /// # Errors
    /// Entries that pass their end, and name prefixes that the kernel does not know.
    pub fn xattrs(&self, nid: Nid) -> Result<Vec<Xattr>, ReadError> {
        xattr::xattrs(self, nid)
    }

    /// Where a regular file's bytes lie, in order, covering 0..size. Neighbours that continue each other
    /// are joined.
    ///
    /// # Errors
    /// [`ReadError::WrongType`] when `nid` is no regular file; devices that do not exist; places outside
    /// the image.
    pub fn regions(&self, nid: Nid) -> Result<Vec<Region>, ReadError> {
        data::regions(self, nid)
    }

    /// `length` bytes of the image at `at`.
    fn slice(&self, at: u64, length: u64) -> Result<&[u8], ReadError> {
        let end = at.checked_add(length).filter(|end| *end <= self.length());
        end.and_then(|end| self.bytes.as_ref().get(usize::try_from(at).ok()?..usize::try_from(end).ok()?))
            .ok_or_else(|| damaged(at, "refers to bytes outside the image"))
    }

    fn block_size(&self) -> u64 {
        1 << self.superblock.block_bits
    }

    /// Byte offset of an inode.
    fn inode_offset(&self, nid: Nid) -> Option<u64> {
        let base = u64::from(self.superblock.meta_block) << self.superblock.block_bits;
        nid.checked_mul(NID_UNIT)?.checked_add(base)
    }
}

impl<B> fmt::Debug for Image<B> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Image").field("superblock", &self.superblock).finish_non_exhaustive()
    }
}

fn check_superblock(superblock: &Superblock, all: &[u8]) -> Result<(), ReadError> {
    let offset = superblock::OFFSET as u64;
    if !(9..=16).contains(&superblock.block_bits) {
        return Err(damaged(offset + 12, "block size is not between 512 bytes and 64 KiB"));
    }
    if superblock.incompat & !KNOWN_FEATURES != 0 {
        return Err(damaged(offset + 80, "has features that this reader does not know"));
    }
    if superblock.directory_block_bits != 0 {
        return Err(damaged(offset + 90, "has directory blocks of another size"));
    }
    if (u64::from(superblock.blocks) << superblock.block_bits) > all.len() as u64 {
        return Err(damaged(all.len() as u64, "is shorter than its superblock says"));
    }
    if superblock.compat & superblock::COMPAT_CHECKSUM != 0 {
        let end = superblock::OFFSET + superblock::checksum_length(superblock.block_bits);
        let covered = all.get(superblock::OFFSET..end);
        let covered = covered.ok_or_else(|| damaged(offset, "too short for its checksum"))?;
        if superblock::checksum(covered) != superblock.checksum {
            return Err(damaged(offset + 4, "superblock checksum does not match"));
        }
    }
    Ok(())
}
