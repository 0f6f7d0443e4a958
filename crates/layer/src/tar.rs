//! Tar members: ustar, v7, PAX, GNU, sparse. The hot path is our own.
//!
//! [`Reader`] streams the members of any dialect from a [`std::io::BufRead`] without copying their data; it never
//! seeks and never trusts a number. [`crate::ingest`] is the reader plus hashing; `load` and ADD use it directly.
//! Names are bytes. What a member means for a layer (whiteouts, implied parents) is [`crate::Contents`]' business.
//!
//! Where dialects contradict each other the reader does what GNU tar does, except that members without
//! data (links, devices, directories) have none whatever their size field says, as in Docker.

mod hasher;
mod header;
mod member;
mod name;
mod number;
mod output;
mod pax;
mod reader;
mod sparse;
mod write;

pub use member::{Member, MemberKind, Segment};
pub use reader::Reader;

pub(crate) use hasher::StreamHasher;
pub(crate) use member::{MAX_MAJOR, MAX_MINOR, symlink_target};
pub(crate) use name::{MAX_PATH, OPAQUE, WHITEOUT, clean};
pub(crate) use output::{BUFFER, Output};
pub(crate) use write::{Header, HeaderKind};

/// Tar's unit: headers are one block, data are padded to whole blocks.
pub(crate) const BLOCK: u64 = 512;

/// Bytes from `length` to the next block boundary.
pub(crate) const fn padding(length: u64) -> u64 {
    length.wrapping_neg() % BLOCK
}
