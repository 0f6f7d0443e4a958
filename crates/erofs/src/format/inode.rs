//! Inode headers (`spec/erofs.md`, section 3).

use super::{get, put};

/// Size of a compact header.
pub(crate) const COMPACT_SIZE: u64 = 32;
/// Size of an extended header.
pub(crate) const EXTENDED_SIZE: u64 = 64;
const EXTENDED_BIT: u16 = 1;

/// How an inode's data lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Whole blocks, one after the other.
    Plain,
    /// Whole blocks, then the rest right after the inode.
    Inline,
    /// An array after the inode says where each chunk is.
    Chunked,
}

impl Layout {
    fn code(self) -> u16 {
        match self {
            Layout::Plain => 0,
            Layout::Inline => 2,
            Layout::Chunked => 4,
        }
    }

    fn from_code(code: u16) -> Option<Self> {
        [Layout::Plain, Layout::Inline, Layout::Chunked].into_iter().find(|layout| layout.code() == code)
    }
}

/// An inode header. `mtime` and `mtime_nsec` are not stored in compact ones.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) extended: bool,
    pub(crate) layout: Layout,
    pub(crate) xattr_count: u16,
    /// With the type bits.
    pub(crate) mode: u16,
    pub(crate) size: u64,
    /// First block, chunk format or device number.
    pub(crate) union: u32,
    /// Serial number; the kernel shows the nid instead.
    pub(crate) serial: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: i64,
    pub(crate) mtime_nsec: u32,
    pub(crate) nlink: u32,
}

/// Why a header cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undecodable {
    /// Compressed data, or a layout that does not exist.
    Layout,
    /// Format bits that this crate does not know.
    Format,
    /// A time outside the range of the clock.
    Time,
}

/// The size of the header that starts with `format`.
pub(crate) fn size(format: [u8; 2]) -> u64 {
    if u16::from_le_bytes(format) & EXTENDED_BIT != 0 { EXTENDED_SIZE } else { COMPACT_SIZE }
}

impl Header {
    pub(crate) fn size_on_disk(&self) -> u64 {
        if self.extended { EXTENDED_SIZE } else { COMPACT_SIZE }
    }

    /// Appends the header. The caller has made sure that a compact one loses nothing.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.size_on_disk() as usize, 0);
        let bytes = &mut out[start..];
        let format = self.layout.code() << 1 | u16::from(self.extended);
        put(bytes, 0, format.to_le_bytes());
        put(bytes, 2, self.xattr_count.to_le_bytes());
        put(bytes, 4, self.mode.to_le_bytes());
        put(bytes, 16, self.union.to_le_bytes());
        put(bytes, 20, self.serial.to_le_bytes());
        if self.extended {
            put(bytes, 8, self.size.to_le_bytes());
            put(bytes, 24, self.uid.to_le_bytes());
            put(bytes, 28, self.gid.to_le_bytes());
            put(bytes, 32, self.mtime.to_le_bytes());
            put(bytes, 40, self.mtime_nsec.to_le_bytes());
            put(bytes, 44, self.nlink.to_le_bytes());
        } else {
            put(bytes, 6, (self.nlink as u16).to_le_bytes());
            put(bytes, 8, (self.size as u32).to_le_bytes());
            put(bytes, 24, (self.uid as u16).to_le_bytes());
            put(bytes, 26, (self.gid as u16).to_le_bytes());
        }
    }

    /// Decodes `bytes`, as many as [`size`] says. Compact inodes count their time from (`epoch`, `nsec`).
    pub(crate) fn decode(bytes: &[u8], epoch: i64, nsec: u32) -> Result<Self, Undecodable> {
        let format = u16::from_le_bytes(get(bytes, 0));
        if format >> 4 != 0 {
            return Err(Undecodable::Format);
        }
        let extended = format & EXTENDED_BIT != 0;
        let word = |at| u32::from_le_bytes(get(bytes, at));
        let half = |at| u16::from_le_bytes(get(bytes, at));
        let mtime = if extended {
            i64::from_le_bytes(get(bytes, 32))
        } else {
            epoch.checked_add(i64::from(word(12))).ok_or(Undecodable::Time)?
        };
        let mtime_nsec = if extended { word(40) } else { nsec };
        if mtime_nsec >= 1_000_000_000 {
            return Err(Undecodable::Time);
        }
        Ok(Self {
            extended,
            layout: Layout::from_code((format >> 1) & 7).ok_or(Undecodable::Layout)?,
            xattr_count: half(2),
            mode: half(4),
            size: if extended { u64::from_le_bytes(get(bytes, 8)) } else { u64::from(word(8)) },
            union: word(16),
            serial: word(20),
            uid: if extended { word(24) } else { u32::from(half(24)) },
            gid: if extended { word(28) } else { u32::from(half(26)) },
            mtime,
            mtime_nsec,
            nlink: if extended { word(44) } else { u32::from(half(6)) },
        })
    }
}
