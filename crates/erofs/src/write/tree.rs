//! The tree that is written, wherever it is kept.

use super::chunks::normalize;
use super::{InodeId, WriteError, check_attributes, checked_kind};
use crate::{Attributes, Data, FileType, Kind};
use std::borrow::Cow;

/// A tree that stays where it is while [`write`](super::write) makes an image of it. It is asked several times for
/// each inode, and must always give the same answer.
pub trait Tree {
    /// One more than the greatest number of an inode. Number 0 is the root directory; what no name leads to is left out.
    fn count(&self) -> usize;

    /// What `stat` shows of an inode.
    fn attributes(&self, inode: InodeId) -> Cow<'_, Attributes>;

    /// Its type, with what only that type has.
    fn kind(&self, inode: InodeId) -> Cow<'_, Kind>;

    /// Its type alone.
    fn file_type(&self, inode: InodeId) -> FileType;

    /// Names in a directory and the inodes that they lead to, in any order.
    fn entries(&self, directory: InodeId) -> Vec<(&[u8], InodeId)>;
}

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// At most 255 bytes.
    pub(super) name: &'a [u8],
    pub(super) child: InodeId,
}

/// A tree as the format wants it: attributes and names sorted, extents joined.
#[derive(Clone, Copy)]
pub(super) struct Nodes<'a>(pub(super) &'a dyn Tree);

impl<'a> Nodes<'a> {
    pub(super) fn count(self) -> usize {
        self.0.count()
    }

    pub(super) fn file_type(self, id: InodeId) -> FileType {
        self.0.file_type(id)
    }

    pub(super) fn is_directory(self, id: InodeId) -> bool {
        self.file_type(id) == FileType::Directory
    }

    /// Makes sure that the format can hold an inode.
    pub(super) fn check(self, id: InodeId) -> Result<(), WriteError> {
        check_attributes(&self.0.attributes(id))?;
        match &*self.0.kind(id) {
            Kind::Regular { size, data: Data::Inline(bytes) } if bytes.len() as u64 == *size => Ok(()),
            kind => checked_kind(kind.clone()).map(drop),
        }
    }

    pub(super) fn attributes(self, id: InodeId) -> Cow<'a, Attributes> {
        let mut attributes = self.0.attributes(id);
        if !attributes.xattrs.is_sorted() {
            attributes.to_mut().xattrs.sort_unstable();
        }
        attributes
    }

    pub(super) fn kind(self, id: InodeId) -> Cow<'a, Kind> {
        match self.0.kind(id) {
            Cow::Owned(Kind::Regular { size, data: Data::External(extents) }) => {
                let extents = normalize(size, extents).expect("the plan has checked every inode");
                Cow::Owned(Kind::Regular { size, data: Data::External(extents) })
            }
            kind => kind,
        }
    }

    /// What a directory holds, `.` and `..` included, sorted by name.
    pub(super) fn listing(self, id: InodeId, parent: InodeId) -> Vec<Entry<'a>> {
        let mut entries: Vec<Entry<'a>> =
            self.0.entries(id).into_iter().map(|(name, child)| Entry { name, child }).collect();
        entries.extend([Entry { name: b".", child: id }, Entry { name: b"..", child: parent }]);
        entries.sort_unstable_by_key(|entry| entry.name);
        entries
    }
}
