//! What one layer holds, in memory, on the way from tar to index.
//!
//! # What a member does (OCI layer spec; Docker's `UnpackLayer` where the spec is silent)
//!
//! - The last member of a name wins. A directory over a directory only changes its attributes; anything over
//!   anything else replaces it, a directory with all that is in it.
//! - Missing parents are implied. A parent that is a symlink of this layer leads where it points, inside the root.
//! - A hard link names the entry its target is *then*; a target this layer does not have is a lower layer's file.
//! - `.wh.NAME` hides NAME of the layers below, never what this layer adds: with an entry of the same name in either
//!   order the entry stays, and if it is a directory it is opaque. `.wh..wh..opq` makes its directory opaque. Other
//!   `.wh..wh.` names are AUFS's own: not shown, but hard links may name what is below them. A character
//!   device 0:0 is a whiteout too, since overlayfs would take it for one.
//! - `trusted.overlay.*` and `user.overlay.*` attributes are overlayfs's own and never taken from a tar; attributes
//!   EROFS cannot hold (other than user, trusted, security and POSIX ACLs) are left out of the index.

mod insert;
mod names;
mod places;
mod view;

pub(crate) use insert::{New, SYMLINK_MODE};
pub(crate) use places::{Placed, needs_spool, placed};

use crate::interned::Interned;
use crate::tar::WHITEOUT;
use crate::{ContentDigest, LayerError, Limits, Stack};
use names::Names;
use std::io::Write;
use strata_erofs::{Attributes, Xattr};

/// The tree of one layer with each file's place in the tar: what [`crate::ingest`] and
/// [`crate::LayerBuilder`] know when the tar is finished.
pub struct Contents {
    /// Replaced ones stay in it, unreachable. The root is the first.
    inodes: Vec<Inode>,
    looks: Interned<Look>,
    /// Of regular files.
    digests: Vec<ContentDigest>,
    /// All names, those of each directory sorted by its [`Names`].
    text: Vec<u8>,
    tar_length: u64,
    /// What a tar may still make us remember.
    inodes_left: u64,
    bytes_left: u64,
    chunks_left: u64,
    /// The directory of the last insertion, because neighbours in a tar share it.
    last_parent: (Vec<u8>, u32),
}

struct Inode {
    mtime: i64,
    mtime_nsec: u32,
    /// Number among the looks.
    look: u32,
    body: Body,
}

/// The attributes that many inodes have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Look {
    mode: u16,
    uid: u32,
    gid: u32,
    xattrs: Vec<Xattr>,
}

enum Body {
    Directory(Box<Directory>),
    Regular(File),
    Symlink(Box<[u8]>),
    CharDevice(u32, u32),
    BlockDevice(u32, u32),
    Fifo,
    Whiteout,
    /// The file at this path in the layers below.
    Lower(Box<[u8]>),
}

struct Directory {
    parent: u32,
    names: Names,
    /// No member of its own: its attributes are not known here.
    implied: bool,
    opaque: Opaque,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opaque {
    No,
    /// Cleared by `.wh..wh..opq`: the directory below is still the same one.
    Cleared,
    /// Came together with a whiteout of its name: the one below is gone.
    Replaced,
}

struct File {
    size: u64,
    data: Placed,
    /// Number of its digest.
    digest: u32,
}

const ROOT: u32 = 0;

/// Entries of all chunk tables of sparse files: 128 MiB of index, enough for 64 GiB in pieces of 4 KiB. A few bytes of
/// tar may claim any number.
const MAX_CHUNKS: u64 = 16 << 20;

impl Contents {
    pub(crate) fn new(limits: &Limits) -> Self {
        let root = Directory { parent: ROOT, names: Names::default(), implied: true, opaque: Opaque::No };
        let mut contents = Self {
            inodes: Vec::new(),
            looks: Interned::new(),
            digests: Vec::new(),
            text: Vec::new(),
            tar_length: 0,
            // Inodes are numbered with 32 bits.
            inodes_left: limits.entries.min(u64::from(u32::MAX) - 1),
            bytes_left: limits.metadata,
            chunks_left: MAX_CHUNKS,
            last_parent: (Vec::new(), ROOT),
        };
        let root = contents.inode(implied_attributes(), Body::Directory(Box::new(root)));
        contents.inodes.push(root);
        contents
    }

    /// True when the index needs the layers below: implied parent directories (the root among them) take the metadata
    /// of the directory that is already there, hard links may name a lower layer's file, and an opaque root is
    /// written as whiteouts of what it hides, because overlayfs always merges roots.
    pub fn depends_on_parents(&self) -> bool {
        if self.directory(ROOT).is_some_and(|root| root.opaque != Opaque::No) {
            return true;
        }
        let mut depends = false;
        self.walk(|_, inode| {
            depends |= match &inode.body {
                Body::Directory(directory) => directory.implied && directory.opaque != Opaque::Replaced,
                Body::Lower(_) => true,
                _ => false,
            };
        });
        depends
    }

    /// Writes the index: the EROFS image, then the section of content digests. `parents` is the merged view
    /// below this layer (`None`: nothing below, or nothing needed).
    ///
    /// A hard link to a lower layer's file becomes a file of its own whose bytes stand in the index, as its inode can
    /// point into this layer's tar only; so do bytes of sparse members that are not aligned to blocks.
    ///
    /// # Errors
    /// [`LayerError::Path`] for a hard link whose target neither this layer nor those below have, or whose
    /// target in a lower layer is longer than 64 MiB.
    pub fn write_index(&self, parents: Option<&Stack>, out: &mut dyn Write) -> Result<(), LayerError> {
        view::write_index(self, parents, out)
    }

    /// The same in memory.
    ///
    /// # Errors
    /// Those of [`Self::write_index`].
    pub fn index(&self, parents: Option<&Stack>) -> Result<Vec<u8>, LayerError> {
        let mut index = Vec::new();
        self.write_index(parents, &mut index)?;
        Ok(index)
    }

    /// The tar is complete: notes its length and counts the bytes of its regular files, each inode once.
    pub(crate) fn finish(&mut self, tar_length: u64) -> u64 {
        self.tar_length = tar_length;
        let mut size = 0u64;
        self.walk(|_, inode| {
            if let Body::Regular(file) = &inode.body {
                size = size.saturating_add(file.size);
            }
        });
        size
    }

    /// Every inode that is shown, once.
    fn walk<'a>(&'a self, mut each: impl FnMut(u32, &'a Inode)) {
        let mut seen = vec![false; self.inodes.len()];
        let mut waiting = vec![ROOT];
        while let Some(id) = waiting.pop() {
            let inode = &self.inodes[id as usize];
            each(id, inode);
            let Body::Directory(directory) = &inode.body else { continue };
            for (_, child) in self.names(directory) {
                if !std::mem::replace(&mut seen[child as usize], true) {
                    waiting.push(child);
                }
            }
        }
    }

    fn inode(&mut self, attributes: Attributes, body: Body) -> Inode {
        let Attributes { mode, uid, gid, mtime, mtime_nsec, xattrs } = attributes;
        Inode { mtime, mtime_nsec, look: self.looks.number(Look { mode, uid, gid, xattrs }), body }
    }

    fn attributes_of(&self, id: u32) -> Attributes {
        let Inode { mtime, mtime_nsec, look, .. } = self.inodes[id as usize];
        let Look { mode, uid, gid, xattrs } = self.looks[look].clone();
        Attributes { mode, uid, gid, mtime, mtime_nsec, xattrs }
    }

    /// Digest of a regular file's content.
    fn digest(&self, id: u32) -> Option<ContentDigest> {
        match &self.inodes[id as usize].body {
            Body::Regular(file) => Some(self.digests[file.digest as usize]),
            _ => None,
        }
    }

    /// Names and inodes in a directory that are shown, sorted by name.
    fn names<'a>(&'a self, directory: &'a Directory) -> impl Iterator<Item = (&'a [u8], u32)> {
        self.all_names(directory).filter(|(name, _)| is_shown(name))
    }

    /// The same with AUFS's own.
    fn all_names<'a>(&'a self, directory: &'a Directory) -> impl Iterator<Item = (&'a [u8], u32)> {
        directory.names.iter(&self.text)
    }

    /// The inode that a name in a directory leads to.
    fn name(&self, directory: &Directory, name: &[u8]) -> Option<u32> {
        directory.names.get(&self.text, name)
    }

    fn directory(&self, id: u32) -> Option<&Directory> {
        match &self.inodes[id as usize].body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }
}

/// False for AUFS's own names.
fn is_shown(name: &[u8]) -> bool {
    !name.strip_prefix(WHITEOUT).is_some_and(|rest| rest.starts_with(WHITEOUT))
}

/// What a directory has that nothing describes: as Docker makes it, at the beginning of time.
fn implied_attributes() -> Attributes {
    Attributes { mode: 0o755, ..Attributes::default() }
}

/// True for attributes that mean something to overlayfs itself.
pub(crate) fn is_overlay_xattr(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}
