//! What files can be copied from: a stack of layers, a directory, a few files in memory.
//!
//! Paths are relative bytes without leading `/`, `.` or `..`; `b""` is the root. Nothing here follows a symlink:
//! who wants that calls [`resolve`], which stays inside the tree whatever the links say.
use crate::error::path_error;
use crate::stack::{Found, MAX_LINKS, Parts, components, too_many_links};
use crate::{ContentDigest, FileType, LayerError, Metadata, Stack};
use std::io::{Cursor, Read};
use std::sync::Arc;

/// What a rule says about a path (`.dockerignore`, `--exclude`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The entry takes part.
    Include,
    /// Neither the entry nor anything below it.
    Exclude,
    /// Not by itself, but something below may: the directory appears if anything in it does.
    ExcludeButDescend,
}

/// Decides about a path; the flag says whether it is a directory. The verdict covers what the path's parents say.
pub type Filter = Arc<dyn Fn(&[u8], bool) -> Verdict + Send + Sync>;

/// One entry of a source tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What `stat` shows.
    pub metadata: Metadata,
    /// A symlink's target.
    pub link: Vec<u8>,
    /// Which inode it is.
    pub identity: Identity,
}

/// Tells inodes of one tree apart, and a changed file from the same file unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device of a real file; number of the layer in a stack.
    pub device: u64,
    /// Inode number; nid in a layer.
    pub inode: u64,
    /// Number of names.
    pub links: u32,
    /// Time of the last change of a real file in nanoseconds since 1970 (ctime); 0 elsewhere.
    pub changed: i128,
}

impl Entry {
    /// True for a directory.
    pub fn is_directory(&self) -> bool {
        self.metadata.file_type == FileType::Directory
    }

    /// True for a regular file.
    pub fn is_file(&self) -> bool {
        self.metadata.file_type == FileType::Regular
    }
}

/// A tree that files can be copied from.
///
/// Reading a tree never changes it, but somebody else may: a [`crate::context::ContextDir`] is edited while it is
/// read. [`open`](SourceTree::open) therefore takes the entry that was seen before, and its reader fails at the
/// end of the file if that is not what was read.
pub trait SourceTree: Send + Sync {
    /// The entry at a path; a symlink itself, not its target.
    fn entry(&self, path: &[u8]) -> Result<Option<Entry>, LayerError>;

    /// Names and entries of a directory in byte order.
    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Entry)>, LayerError>;

    /// Everything below a directory: paths relative to it, directories before what is in them, otherwise in byte
    /// order of the components. `filter` is asked with relative paths; it is not asked below an excluded directory.
    fn walk(&self, directory: &[u8], filter: Option<&Filter>) -> Result<Vec<(Vec<u8>, Entry)>, LayerError>;

    /// Content digests of regular files, in the order given.
    fn content_digests(&self, files: &[(&[u8], &Entry)]) -> Result<Vec<ContentDigest>, LayerError>;

    /// A regular file's bytes. Exactly `entry.metadata.size` of them, or an error.
    fn open<'a>(&'a self, path: &[u8], entry: &Entry) -> Result<Box<dyn Read + Send + 'a>, LayerError>;

    /// Tells the tree a digest that was computed while copying, so that it need not be computed again.
    fn remember(&self, _path: &[u8], _entry: &Entry, _digest: ContentDigest) {}
}

/// Follows every symlink in `path`, the last one included, inside the tree: absolute targets begin at its root,
/// `..` does not leave it. `None` if the path leads nowhere.
///
/// # Errors
/// More than 40 links.
pub fn resolve(tree: &dyn SourceTree, path: &[u8]) -> Result<Option<(Vec<u8>, Entry)>, LayerError> {
    let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
    let mut real: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == b".." {
            real.pop();
            continue;
        }
        real.push(name);
        let Some(entry) = tree.entry(&real.join(&b'/'))? else { return Ok(None) };
        match entry.metadata.file_type {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(too_many_links(path));
                }
                real.pop();
                if entry.link.starts_with(b"/") {
                    real.clear();
                }
                pending.extend(components(&entry.link).rev().map(<[u8]>::to_vec));
            }
            FileType::Directory => {}
            _ if pending.is_empty() => {}
            _ => return Ok(None),
        }
    }
    let real = real.join(&b'/');
    Ok(tree.entry(&real)?.map(|entry| (real, entry)))
}

/// Removes the directories that were kept only because something below them might be included, and was not.
/// `entries` are in the order of [`SourceTree::walk`], each with the filter's verdict.
pub(crate) fn drop_hollow(entries: Vec<(Vec<u8>, Entry, Verdict)>) -> Vec<(Vec<u8>, Entry)> {
    let mut kept = Vec::with_capacity(entries.len());
    let mut last: Option<Vec<u8>> = None;
    for (path, entry, verdict) in entries.into_iter().rev() {
        let holds_last = || {
            last.as_ref().is_some_and(|last| last.starts_with(&path) && last.get(path.len()) == Some(&b'/'))
        };
        if verdict == Verdict::Include || (verdict == Verdict::ExcludeButDescend && holds_last()) {
            last = Some(path.clone());
            kept.push((path, entry));
        }
    }
    kept.reverse();
    kept
}

pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        (b"", name) => name.to_vec(),
        (directory, b"") => directory.to_vec(),
        (directory, name) => [directory, b"/", name].concat(),
    }
}

impl SourceTree for Stack {
    fn entry(&self, path: &[u8]) -> Result<Option<Entry>, LayerError> {
        self.find(path)?.map(|found| self.found_entry(&found)).transpose()
    }

    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Entry)>, LayerError> {
        let children = self.children(&self.parts(path)?)?;
        children.into_iter().map(|(name, found)| Ok((name, self.found_entry(&found)?))).collect()
    }

    fn walk(&self, directory: &[u8], filter: Option<&Filter>) -> Result<Vec<(Vec<u8>, Entry)>, LayerError> {
        let mut entries = Vec::new();
        let mut waiting = vec![(Vec::new(), Found::Directory(self.parts(directory)?), Verdict::Include)];
        while let Some((path, found, verdict)) = waiting.pop() {
            if !path.is_empty() {
                entries.push((path.clone(), self.found_entry(&found)?, verdict));
            }
            let Found::Directory(parts) = found else { continue };
            // Popped from the end: pushed in reverse, so that the first name comes next.
            for (name, found) in self.children(&parts)?.into_iter().rev() {
                let path = join(&path, &name);
                let is_directory = matches!(found, Found::Directory(_));
                let verdict = filter.map_or(Verdict::Include, |filter| filter(&path, is_directory));
                if verdict == Verdict::Include || (is_directory && verdict == Verdict::ExcludeButDescend) {
                    waiting.push((path, found, verdict));
                }
            }
        }
        Ok(drop_hollow(entries))
    }

    fn content_digests(&self, files: &[(&[u8], &Entry)]) -> Result<Vec<ContentDigest>, LayerError> {
        let digest = |(path, entry): &(&[u8], &Entry)| {
            let layer = &self.layers()[entry.identity.device as usize];
            let digest = layer.content_digest(entry.identity.inode);
            digest.ok_or_else(|| path_error(path, "the layer's index has no content digest for it"))
        };
        files.iter().map(digest).collect()
    }

    fn open<'a>(&'a self, _path: &[u8], entry: &Entry) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
        Ok(Box::new(self.layers()[entry.identity.device as usize].reader(entry.identity.inode)?))
    }
}

impl Stack {
    fn parts(&self, path: &[u8]) -> Result<Parts, LayerError> {
        match self.find(path)? {
            Some(Found::Directory(parts)) => Ok(parts),
            None if path.is_empty() => Ok(Parts::new()),
            _ => Err(path_error(path, "not a directory")),
        }
    }

    pub(crate) fn found_entry(&self, found: &Found) -> Result<Entry, LayerError> {
        let node = self.node(found)?;
        let image = self.layers()[node.layer].image();
        let is_link = node.metadata.file_type == FileType::Symlink;
        Ok(Entry {
            link: if is_link { image.read_link(node.nid)? } else { Vec::new() },
            identity: Identity {
                device: node.layer as u64,
                inode: node.nid,
                links: image.inode(node.nid)?.nlink,
                changed: 0,
            },
            metadata: node.metadata,
        })
    }
}

/// A few regular files in memory, all in the root directory: heredocs. Root's, mode 0644.
pub struct InlineFiles {
    /// Name, content and digest, sorted by name.
    files: Vec<(Vec<u8>, Vec<u8>, ContentDigest)>,
    mtime: (i64, u32),
}

impl InlineFiles {
    /// Of names and contents; of two files with one name the later is kept. `mtime` is seconds and nanoseconds.
    pub fn new(files: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, mtime: (i64, u32)) -> Self {
        let files: std::collections::BTreeMap<_, _> = files.into_iter().collect();
        let digested = |(name, content): (Vec<u8>, Vec<u8>)| {
            let digest = ContentDigest(*blake3::hash(&content).as_bytes());
            (name, content, digest)
        };
        Self { files: files.into_iter().map(digested).collect(), mtime }
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.files.binary_search_by(|(candidate, ..)| candidate.as_slice().cmp(name)).ok()
    }

    fn make_entry(&self, file_type: FileType, mode: u16, size: usize, inode: usize) -> Entry {
        Entry {
            metadata: Metadata {
                file_type,
                mode,
                uid: 0,
                gid: 0,
                mtime: self.mtime.0,
                mtime_nsec: self.mtime.1,
                size: size as u64,
                rdev: (0, 0),
                xattrs: Vec::new(),
            },
            link: Vec::new(),
            identity: Identity { inode: inode as u64, links: 1, ..Identity::default() },
        }
    }
}

impl SourceTree for InlineFiles {
    fn entry(&self, path: &[u8]) -> Result<Option<Entry>, LayerError> {
        if path.is_empty() {
            return Ok(Some(self.make_entry(FileType::Directory, 0o755, 0, self.files.len())));
        }
        Ok(self.find(path).map(|at| self.make_entry(FileType::Regular, 0o644, self.files[at].1.len(), at)))
    }

    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Entry)>, LayerError> {
        if !path.is_empty() {
            return Err(path_error(path, "not a directory"));
        }
        let entry = |(at, file): (usize, &(Vec<u8>, Vec<u8>, _))| {
            (file.0.clone(), self.make_entry(FileType::Regular, 0o644, file.1.len(), at))
        };
        Ok(self.files.iter().enumerate().map(entry).collect())
    }

    fn walk(&self, directory: &[u8], filter: Option<&Filter>) -> Result<Vec<(Vec<u8>, Entry)>, LayerError> {
        let mut entries = self.read_dir(directory)?;
        entries.retain(|(name, _)| filter.is_none_or(|filter| filter(name, false) == Verdict::Include));
        Ok(entries)
    }

    fn content_digests(&self, files: &[(&[u8], &Entry)]) -> Result<Vec<ContentDigest>, LayerError> {
        Ok(files.iter().map(|(_, entry)| self.files[entry.identity.inode as usize].2).collect())
    }

    fn open<'a>(&'a self, _path: &[u8], entry: &Entry) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
        Ok(Box::new(Cursor::new(self.files[entry.identity.inode as usize].1.as_slice())))
    }
}
