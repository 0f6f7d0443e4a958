//! What files can be copied from: a stack of layers, a directory, a few files in memory.
//!
//! Paths are relative bytes without leading `/`, `.` or `..`; `b""` is the root. Nothing here follows a symlink:
//! who wants that calls [`resolve`], which stays inside the tree whatever the links say.
use crate::error::path_error;
use crate::stack::{Found, MAX_LINKS, Parts, components, too_many_links};
use crate::{ContentDigest, FileType, LayerError, Metadata, Stack};
use std::fs::File;
use std::io::{Cursor, Read};
use std::sync::Arc;
use strata_oci::DiffId;

mod entries;
mod place;

pub(crate) use entries::{Children, Listing};
pub use entries::{Entries, Position, Positions};
pub(crate) use place::Content;
pub use place::Place;

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
    /// Time of the last change of a real file in nanoseconds since 1970 (ctime), at most what 64 bits hold; 0 elsewhere.
    pub changed: i64,
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
    fn walk(&self, directory: &[u8], filter: Option<&Filter>) -> Result<Arc<Entries>, LayerError>;

    /// Finds the content digests that `entries`, which are below `directory`, do not know yet.
    fn fill_digests(&self, directory: &[u8], entries: &Arc<Entries>) -> Result<(), LayerError>;

    /// A regular file's bytes. Exactly `entry.metadata.size` of them, or an error.
    fn open<'a>(&'a self, path: &[u8], entry: &Entry) -> Result<Box<dyn Read + Send + 'a>, LayerError>;

    /// The digest of one of `entries`, which are below `directory`, was found while its file was copied.
    fn note_digest(&self, _directory: &[u8], _entries: &Arc<Entries>, _at: Position) {}

    /// The tar that has a copy of a file's content, if it is still there.
    fn tar_of(&self, _place: Place) -> Option<Arc<File>> {
        None
    }

    /// A layer with copies of files of `entries` is in the store.
    fn were_written_to(&self, _entries: &Entries, _layer: &DiffId) {}
}

/// Follows every symlink in `path`, the last one included, inside the tree: absolute targets begin at its root,
/// `..` does not leave it. `None` if the path leads nowhere.
///
/// # Errors
/// More than 40 links.
pub fn resolve(tree: &dyn SourceTree, path: &[u8]) -> Result<Option<(Vec<u8>, Entry)>, LayerError> {
    let real = follow::<LayerError>(path, |at| {
        let Some(entry) = tree.entry(at)? else { return Ok(Name::Nowhere) };
        Ok(match entry.metadata.file_type {
            FileType::Symlink => Name::Link(entry.link),
            FileType::Directory => Name::Directory,
            _ => Name::Leaf,
        })
    })?;
    let Some(real) = real else { return Ok(None) };
    Ok(tree.entry(&real)?.map(|entry| (real, entry)))
}

/// What a name in a path is to who follows the path.
pub(crate) enum Name {
    /// A symlink with this target.
    Link(Vec<u8>),
    /// What may have names below it.
    Directory,
    /// What has none below it.
    Leaf,
    Nowhere,
}

/// The real path behind `path`: every symlink in it is followed, the last one included; `..` behind one goes back from
/// where it leads, and not above the root. `look` says what is at a real path. `None` if the path leads nowhere.
pub(crate) fn follow<E: From<LayerError>>(
    path: &[u8],
    mut look: impl FnMut(&[u8]) -> Result<Name, E>,
) -> Result<Option<Vec<u8>>, E> {
    let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
    let mut real: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(name) = pending.pop() {
        if name == b".." {
            real.pop();
            continue;
        }
        real.push(name);
        match look(&real.join(&b'/'))? {
            Name::Link(_) if links == MAX_LINKS => return Err(too_many_links(path).into()),
            Name::Link(target) => {
                links += 1;
                real.pop();
                if target.starts_with(b"/") {
                    real.clear();
                }
                pending.extend(components(&target).rev().map(<[u8]>::to_vec));
            }
            Name::Directory => {}
            Name::Leaf if pending.is_empty() => {}
            Name::Leaf | Name::Nowhere => return Ok(None),
        }
    }
    Ok(Some(real.join(&b'/')))
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
        match self.find(path)? {
            // Nothing can be stood on, but it can be copied from: `FROM scratch` alone is an empty directory.
            None if path.is_empty() => Ok(Some(empty_root())),
            found => found.map(|found| self.found_entry(&found)).transpose(),
        }
    }

    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Entry)>, LayerError> {
        let children = self.children(&self.parts(path)?)?;
        children.into_iter().map(|(name, found)| Ok((name, self.found_entry(&found)?))).collect()
    }

    fn walk(&self, directory: &[u8], filter: Option<&Filter>) -> Result<Arc<Entries>, LayerError> {
        let mut entries = Entries::new();
        let mut waiting = vec![(Vec::new(), self.parts(directory)?, Entries::TOP)];
        while let Some((path, parts, listing)) = waiting.pop() {
            entries.begin(listing);
            for (name, found) in self.children(&parts)? {
                let path = join(&path, &name);
                let is_directory = matches!(found, Found::Directory(_));
                let verdict = filter.map_or(Verdict::Include, |filter| filter(&path, is_directory));
                if verdict == Verdict::Include || (is_directory && verdict == Verdict::ExcludeButDescend) {
                    let below = entries.push(&name, &self.found_entry(&found)?, verdict, None);
                    if let (Some(below), Found::Directory(parts)) = (below, found) {
                        waiting.push((path, parts, below));
                    }
                }
            }
        }
        Ok(Arc::new(entries.finish()))
    }

    fn fill_digests(&self, directory: &[u8], entries: &Arc<Entries>) -> Result<(), LayerError> {
        for at in entries.without_digest() {
            let Identity { device, inode, .. } = entries.entry(at).identity;
            let digest = self.layers()[device as usize].content_digest(inode).ok_or_else(|| {
                path_error(
                    &join(directory, &entries.path(at)),
                    "the layer's index has no content digest for it",
                )
            })?;
            entries.set_digest(at, digest);
        }
        Ok(())
    }

    fn open<'a>(&'a self, _path: &[u8], entry: &Entry) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
        Ok(Box::new(self.layers()[entry.identity.device as usize].reader(entry.identity.inode)?))
    }
}

fn empty_root() -> Entry {
    let metadata = Metadata {
        file_type: FileType::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nsec: 0,
        size: 0,
        rdev: (0, 0),
        xattrs: Vec::new(),
    };
    Entry { metadata, link: Vec::new(), identity: Identity { links: 1, ..Identity::default() } }
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

    fn walk(&self, directory: &[u8], filter: Option<&Filter>) -> Result<Arc<Entries>, LayerError> {
        let mut entries = Entries::new();
        entries.begin(Entries::TOP);
        for (name, entry) in self.read_dir(directory)? {
            if filter.is_none_or(|filter| filter(&name, false) == Verdict::Include) {
                let digest = self.files[entry.identity.inode as usize].2;
                entries.push(&name, &entry, Verdict::Include, Some(Content::new(digest, None)));
            }
        }
        Ok(Arc::new(entries.finish()))
    }

    fn fill_digests(&self, _directory: &[u8], entries: &Arc<Entries>) -> Result<(), LayerError> {
        for at in entries.without_digest() {
            entries.set_digest(at, self.files[entries.entry(at).identity.inode as usize].2);
        }
        Ok(())
    }

    fn open<'a>(&'a self, _path: &[u8], entry: &Entry) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
        Ok(Box::new(Cursor::new(self.files[entry.identity.inode as usize].1.as_slice())))
    }
}
