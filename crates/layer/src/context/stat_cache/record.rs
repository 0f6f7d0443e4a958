//! What a stat cache knows of one file.
use crate::ContentDigest;
use crate::tree::{Content, Entry, Place};

/// Length of a record in bytes.
pub(super) const RECORD: usize = 96;

/// The file has no extended attributes that take part in a build.
const PLAIN: u32 = 1 << 16;

/// How a file looked, and what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::context) struct Record {
    size: u64,
    modified: i64,
    changed: i64,
    modified_nsec: u32,
    mode: u32,
    inode: u64,
    device: u64,
    digest: ContentDigest,
    /// A layer that has the content, numbered by the file that the record is in.
    pub(super) place: Option<Place>,
}

impl Record {
    pub(super) fn new(entry: &Entry, digest: ContentDigest, place: Option<Place>) -> Self {
        let plain = if entry.metadata.xattrs.is_empty() { PLAIN } else { 0 };
        Self {
            size: entry.metadata.size,
            modified: entry.metadata.mtime,
            modified_nsec: entry.metadata.mtime_nsec,
            changed: entry.identity.changed,
            mode: u32::from(entry.metadata.mode) | plain,
            inode: entry.identity.inode,
            device: entry.identity.device,
            digest,
            place,
        }
    }

    /// True if the entry looks as the file did.
    pub(in crate::context) fn describes(&self, entry: &Entry) -> bool {
        let plain = self.mode & PLAIN;
        Self { mode: self.mode & !PLAIN, ..*self }
            == Self { mode: entry.metadata.mode.into(), ..Self::new(entry, self.digest, self.place) }
            && (plain == 0 || entry.metadata.xattrs.is_empty())
    }

    /// True if the file had no extended attributes.
    pub(in crate::context) fn is_plain(&self) -> bool {
        self.mode & PLAIN != 0
    }

    pub(in crate::context) fn content(&self) -> Content {
        Content::new(self.digest, self.place)
    }

    pub(super) fn with_place(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }

    /// `name_end` is where the file's name ends among those of its directory.
    pub(super) fn encode(&self, name_end: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&name_end.to_le_bytes());
        out.extend_from_slice(&self.mode.to_le_bytes());
        out.extend_from_slice(&self.modified_nsec.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.modified.to_le_bytes());
        out.extend_from_slice(&self.changed.to_le_bytes());
        out.extend_from_slice(&self.inode.to_le_bytes());
        out.extend_from_slice(&self.device.to_le_bytes());
        out.extend_from_slice(&Place::to_bits(self.place).to_le_bytes());
        out.extend_from_slice(&self.digest.0);
    }

    pub(super) fn decode(bytes: &[u8; RECORD]) -> Self {
        let number = |at: usize| u64::from_le_bytes(part(bytes, at));
        Self {
            mode: u32::from_le_bytes(part(bytes, 4)),
            modified_nsec: u32::from_le_bytes(part(bytes, 8)),
            size: number(16),
            modified: number(24) as i64,
            changed: number(32) as i64,
            inode: number(40),
            device: number(48),
            place: Place::from_bits(number(56)),
            digest: ContentDigest(part(bytes, 64)),
        }
    }
}

/// The `N` bytes at `at`; the caller has checked that they exist.
pub(super) fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}
