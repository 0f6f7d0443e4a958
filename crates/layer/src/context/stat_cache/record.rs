//! The bytes of a stat cache.
use crate::ContentDigest;
use crate::tree::Entry;
use std::collections::BTreeMap;

const MAGIC: &[u8; 8] = b"stratSC1";
const HEADER: usize = 16;
const RECORD: usize = 88;
const SEAL: usize = 32;

/// The file has no extended attributes that take part in a build.
const PLAIN: u32 = 1 << 16;

/// How a file looked, and what was in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    size: u64,
    modified: i64,
    changed: i64,
    modified_nsec: u32,
    mode: u32,
    inode: u64,
    device: u64,
    pub(super) digest: ContentDigest,
}

impl Record {
    pub(super) fn new(entry: &Entry, digest: ContentDigest) -> Self {
        let plain = if entry.metadata.xattrs.is_empty() { PLAIN } else { 0 };
        Self {
            size: entry.metadata.size,
            modified: entry.metadata.mtime,
            modified_nsec: entry.metadata.mtime_nsec,
            changed: entry.identity.changed as i64,
            mode: u32::from(entry.metadata.mode) | plain,
            inode: entry.identity.inode,
            device: entry.identity.device,
            digest,
        }
    }

    /// True if the entry looks as the file did.
    pub(super) fn describes(&self, entry: &Entry) -> bool {
        let plain = self.mode & PLAIN;
        Self { mode: self.mode & !PLAIN, ..*self }
            == Self { mode: entry.metadata.mode.into(), ..Self::new(entry, self.digest) }
            && (plain == 0 || entry.metadata.xattrs.is_empty())
            && i128::from(self.changed) == entry.identity.changed
    }

    /// True if the file had no extended attributes.
    pub(super) fn is_plain(&self) -> bool {
        self.mode & PLAIN != 0
    }

    fn encode(&self, path_end: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&path_end.to_le_bytes());
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.modified.to_le_bytes());
        out.extend_from_slice(&self.changed.to_le_bytes());
        out.extend_from_slice(&self.inode.to_le_bytes());
        out.extend_from_slice(&self.device.to_le_bytes());
        out.extend_from_slice(&self.modified_nsec.to_le_bytes());
        out.extend_from_slice(&self.mode.to_le_bytes());
        out.extend_from_slice(&self.digest.0);
    }

    fn decode(bytes: &[u8; RECORD]) -> Self {
        let number = |at: usize| u64::from_le_bytes(part(bytes, at));
        Self {
            size: number(8),
            modified: number(16) as i64,
            changed: number(24) as i64,
            inode: number(32),
            device: number(40),
            modified_nsec: u32::from_le_bytes(part(bytes, 48)),
            mode: u32::from_le_bytes(part(bytes, 52)),
            digest: ContentDigest(part(bytes, 56)),
        }
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}

/// The file as it was read: records are decoded when they are asked for.
#[derive(Default)]
pub(super) struct Loaded {
    bytes: Vec<u8>,
    count: usize,
}

impl Loaded {
    /// `None` if anything about the bytes is wrong.
    pub(super) fn parse(bytes: Vec<u8>) -> Option<Self> {
        let sealed = bytes.len().checked_sub(SEAL)?;
        if sealed < HEADER
            || &bytes[..8] != MAGIC
            || blake3::hash(&bytes[..sealed]).as_bytes() != &bytes[sealed..]
        {
            return None;
        }
        let count = usize::try_from(u64::from_le_bytes(part(&bytes, 8))).ok()?;
        let loaded = Self { bytes, count };
        let paths = sealed.checked_sub(HEADER)?.checked_sub(count.checked_mul(RECORD)?)?;
        let mut last = 0;
        for at in 0..count {
            let end = loaded.path_end(at);
            if end < last || end > paths {
                return None;
            }
            last = end;
        }
        Some(loaded)
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    fn path_end(&self, at: usize) -> usize {
        let end = u64::from_le_bytes(part(&self.bytes, HEADER + at * RECORD));
        usize::try_from(end).unwrap_or(usize::MAX)
    }

    pub(super) fn path(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.path_end(before));
        let paths = HEADER + self.count * RECORD;
        &self.bytes[paths + start..paths + self.path_end(at)]
    }

    pub(super) fn record(&self, at: usize) -> Record {
        Record::decode(&part(&self.bytes, HEADER + at * RECORD))
    }

    /// Where the record of `path` is.
    pub(super) fn position(&self, path: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.path(middle).cmp(path) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// The file's bytes.
pub(super) fn encode(records: &BTreeMap<&[u8], Record>) -> Vec<u8> {
    let paths: usize = records.keys().map(|path| path.len()).sum();
    let mut out = Vec::with_capacity(HEADER + records.len() * RECORD + paths + SEAL);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(records.len() as u64).to_le_bytes());
    let mut end = 0;
    for (path, record) in records {
        end += path.len() as u64;
        record.encode(end, &mut out);
    }
    records.keys().for_each(|path| out.extend_from_slice(path));
    let seal = blake3::hash(&out);
    out.extend_from_slice(seal.as_bytes());
    out
}

pub(super) fn nanoseconds(seconds: i64, nanoseconds: u32) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}
