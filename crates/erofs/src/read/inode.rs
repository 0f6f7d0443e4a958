//! Finding inodes.

use super::error::damaged;
use super::{Image, Nid, ReadError};
use crate::FileType;
use crate::format::inode::{self, Header, Undecodable};
use crate::format::{get, xattr};

/// An inode header and where it stands.
pub(super) struct Located {
    pub(super) at: u64,
    pub(super) header: Header,
    pub(super) file_type: FileType,
}

impl Located {
    /// Where the xattr body begins.
    pub(super) fn xattrs_at(&self) -> u64 {
        self.at + self.header.size_on_disk()
    }

    /// Where inline data or the chunk index begin.
    pub(super) fn data_at(&self) -> u64 {
        self.xattrs_at() + xattr::body_size_of_count(self.header.xattr_count)
    }
}

impl<B: AsRef<[u8]>> Image<B> {
    pub(super) fn header(&self, nid: Nid) -> Result<Located, ReadError> {
        let at = self.inode_offset(nid).ok_or_else(|| damaged(u64::MAX, "inode number is absurd"))?;
        let size = inode::size(get(self.slice(at, 2)?, 0));
        let bytes = self.slice(at, size)?;
        let header = Header::decode(bytes, self.superblock.epoch, self.superblock.fixed_nsec);
        let header = header.map_err(|fault| damaged(at, fault.describe()))?;
        if i64::try_from(header.size).is_err() {
            return Err(damaged(at + 8, "file size is over 2^63 - 1"));
        }
        let file_type = FileType::from_mode(header.mode);
        let file_type = file_type.ok_or_else(|| damaged(at + 4, "mode has no file type"))?;
        Ok(Located { at, header, file_type })
    }

    /// The inode, if it is a `wanted`.
    pub(super) fn header_of(
        &self,
        nid: Nid,
        wanted: FileType,
        expected: &'static str,
    ) -> Result<Located, ReadError> {
        let located = self.header(nid)?;
        if located.file_type == wanted { Ok(located) } else { Err(ReadError::WrongType { nid, expected }) }
    }
}

impl Undecodable {
    fn describe(self) -> &'static str {
        match self {
            Undecodable::Layout => "inode is compressed or has no known data layout",
            Undecodable::Format => "inode has unknown format bits",
            Undecodable::Time => "inode has an impossible time",
        }
    }
}
