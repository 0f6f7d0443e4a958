//! The content part of a cache key (`spec/build.md` 4.1).
//!
//! A versioned encoding, hashed: every field has a fixed length or its length in front, so no two different
//! selections give the same bytes. Changing anything here changes every key: raise [`VERSION`] then.
use super::CopyError;
use super::select::{Root, Selection};
use crate::tree::{Entries, Entry, Position};
use crate::{ContentDigest, FileType, xattr};

const VERSION: &[u8] = b"strata selection 1\n";

impl Selection {
    /// The content part of a cache key: what the files are, never when they were changed, and the same for every
    /// tree that holds them. Reads the files whose digests are not known.
    pub fn digest(&self) -> Result<ContentDigest, CopyError> {
        self.fill_digests()?;
        let mut encoder = Encoder { hasher: blake3::Hasher::new(), buffer: Vec::with_capacity(1 << 16) };
        encoder.buffer.extend_from_slice(VERSION);
        encoder.number(self.roots.len() as u64);
        for root in &self.roots {
            encoder.root(root, !self.options.wildcards && !self.options.parents);
        }
        encoder.flush();
        Ok(ContentDigest(*encoder.hasher.finalize().as_bytes()))
    }
}

struct Encoder {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Encoder {
    /// A root's name counts only if a pattern chose it: otherwise it is in the step's own part of the key. A
    /// directory's own header does not reach the layer, but it shows in a mount.
    fn root(&mut self, root: &Root, with_header: bool) {
        self.bytes(if root.matched { &root.name } else { b"" });
        self.buffer.push(u8::from(root.entry.is_directory()));
        if root.entry.is_directory() && with_header {
            self.entry(&root.entry);
        }
        self.number(root.items.len() as u64);
        for at in root.items.positions() {
            self.item(&root.items, at);
        }
    }

    fn item(&mut self, items: &Entries, at: Position) {
        self.bytes(&items.path(at));
        self.entry(&items.entry(at));
        // Digests of regular files are filled in before a key is made.
        self.bytes(items.digest(at).as_ref().map_or(&[][..], |digest| &digest.0));
        if self.buffer.len() > 1 << 15 {
            self.flush();
        }
    }

    fn entry(&mut self, entry: &Entry) {
        let metadata = &entry.metadata;
        self.buffer.push(match metadata.file_type {
            FileType::Regular | FileType::Socket => 1,
            FileType::Directory => 2,
            FileType::CharDevice => 3,
            FileType::BlockDevice => 4,
            FileType::Fifo => 5,
            FileType::Symlink => 6,
        });
        // A link's mode means nothing, and trees disagree about it.
        let mode = if metadata.file_type == FileType::Symlink { 0 } else { metadata.mode };
        self.buffer.extend_from_slice(&mode.to_le_bytes());
        self.buffer.extend_from_slice(&metadata.uid.to_le_bytes());
        self.buffer.extend_from_slice(&metadata.gid.to_le_bytes());
        self.number(if entry.is_file() { metadata.size } else { 0 });
        self.buffer.extend_from_slice(&metadata.rdev.0.to_le_bytes());
        self.buffer.extend_from_slice(&metadata.rdev.1.to_le_bytes());
        self.bytes(&entry.link);
        let xattrs = || metadata.xattrs.iter().filter(|xattr| xattr::is_content(&xattr.name));
        self.number(xattrs().count() as u64);
        for xattr in xattrs() {
            self.bytes(&xattr.name);
            self.bytes(&xattr.value);
        }
    }

    fn number(&mut self, number: u64) {
        self.buffer.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.buffer.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.hasher.update(&self.buffer);
        self.buffer.clear();
    }
}
