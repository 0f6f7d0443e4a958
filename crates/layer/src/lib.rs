//! Layers: tar in and out, whiteouts, the index, the merged view of a stack, packing an upper directory.
//!
//! # What a layer is
//!
//! One immutable file, its uncompressed tar, named by its [`DiffId`](strata_oci::DiffId); beside it an *index*:
//! an EROFS image whose inodes point into the tar, followed by a section of ours with one content digest per
//! regular file. Three things make a layer, all give a [`LayerInfo`] and its [`Contents`]:
//!
//! - [`ingest`]: any tar from outside, kept byte for byte (pull, load, import);
//! - [`LayerBuilder`]: a canonical tar of our own (COPY, WORKDIR, pack);
//! - [`pack()`]: an overlayfs upper directory (RUN, commit).
//!
//! [`Contents::index`] then writes the index. What depends on the layers below (implied parent directories,
//! hard links to a lower layer's files) is only in the index; [`Contents::depends_on_parents`] says so.
//!
//! A [`Layer`] is the opened pair, a [`Stack`] several of them bottom first: look-ups, listings and byte ranges
//! over the merged tree without mounting anything.

#![forbid(unsafe_code)]

mod builder;
mod compare;
pub mod compression;
mod contents;
pub mod context;
pub mod copy;
mod error;
mod index;
mod ingest;
mod interned;
mod layer;
pub mod mount;
mod pack;
mod rewrite;
mod stack;
pub mod tar;
pub mod tree;
mod unpack;
mod xattr;

pub use builder::LayerBuilder;
pub use compare::same_files;
pub use contents::Contents;
pub use error::LayerError;
pub use ingest::{Limits, ingest};
pub use layer::Layer;
pub use pack::pack;
pub use rewrite::{clamp_times, difference};
pub use stack::{Node, Resolved, Stack};
pub use strata_erofs::{FileType, Xattr};

use strata_oci::DiffId;

/// BLAKE3 digest of a regular file's bytes: for cache keys and the stat cache, never leaves the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentDigest(pub [u8; 32]);

/// What `stat` shows of an entry, besides its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Type.
    pub file_type: FileType,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds of it.
    pub mtime_nsec: u32,
    /// Length of a regular file or of a symlink's target; 0 otherwise.
    pub size: u64,
    /// Major and minor number of a device; 0, 0 otherwise.
    pub rdev: (u32, u32),
    /// Extended attributes that belong into a layer, sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// What is known of a finished layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// SHA-256 of the tar.
    pub diff_id: DiffId,
    /// Length of the tar in bytes.
    pub tar_length: u64,
    /// Sum of the lengths of the regular files, each inode once: the size Docker shows.
    pub content_size: u64,
    /// Number of tar members.
    pub entries: u64,
}
