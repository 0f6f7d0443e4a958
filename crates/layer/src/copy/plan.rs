//! Where everything goes: the tree that the new layer will hold, before a byte of it is written.
//!
//! The plan knows every directory it touched, its own and those of the layers below, so each path component is asked
//! for below at most once, and never under a directory that is new. Files of a source directory are planned together
//! as a [`Block`], unless an archive is unpacked beside them, whose members may do anything to them.
use super::error::shown;
use super::select::Selection;
use super::{CopyError, CopyOptions};
use crate::stack::Found;
use crate::tree::{Entry, Listing, Name, Position, SourceTree, follow, join};
use crate::{FileType, Metadata, Stack};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Entries of the new layer by path, in the order in which they are written.
pub(super) type Planned = BTreeMap<Vec<u8>, Node>;

/// One entry.
pub(super) struct Node {
    pub(super) metadata: Metadata,
    /// A symlink's target.
    pub(super) link: Vec<u8>,
    pub(super) body: Body,
    /// A directory in which the layers below have (or may have) entries that show through.
    pub(super) shows_below: bool,
    /// A directory that stands where the layers below had something that must not show through.
    pub(super) opaque: bool,
    /// Part of the layer; otherwise only known.
    pub(super) kept: bool,
}

/// Where a regular file's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Not a regular file.
    None,
    /// Numbers of the selection and its root, and which item of it.
    Item { selection: usize, root: usize, item: Position },
    /// A member of an archive; nodes with the same one are hard links.
    Member(MemberId),
    /// A file of the layers below: number in [`Plan::lower`].
    Below(usize),
}

/// Everything in one source directory but its subdirectories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Numbers of the selection and its root.
    pub(super) selection: usize,
    pub(super) root: usize,
    pub(super) listing: Listing,
}

/// By the directory that they go into; of two files with one name the later block's is meant, and a node of the plan
/// before both.
pub(super) type Blocks = BTreeMap<Vec<u8>, Vec<Block>>;

/// A member of an archive that a source names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MemberId {
    pub(super) selection: usize,
    pub(super) root: usize,
    /// Counted from the archive's first.
    pub(super) number: usize,
}

pub(super) struct Plan<'a> {
    pub(super) selections: &'a [&'a Selection],
    below: Option<&'a Stack>,
    pub(super) options: &'a CopyOptions,
    pub(super) nodes: Planned,
    pub(super) blocks: Blocks,
    /// No blocks: an archive is among the sources.
    one_by_one: bool,
    /// What the files of archives look like in the end.
    pub(super) members: HashMap<MemberId, Metadata>,
    /// Files of the layers below that become part of this one.
    lower: Vec<(Vec<u8>, Entry)>,
    /// Directories below that something else replaced: one made there again must not show what they held.
    pub(super) hidden: HashSet<Vec<u8>>,
}

/// A finished plan.
pub(super) struct Finished<'a> {
    pub(super) nodes: Planned,
    pub(super) blocks: Blocks,
    /// What [`Body::Below`] counts: real paths and entries.
    pub(super) lower: Vec<(Vec<u8>, Entry)>,
    pub(super) selections: &'a [&'a Selection],
    pub(super) options: &'a CopyOptions,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        selections: &'a [&'a Selection],
        below: Option<&'a Stack>,
        options: &'a CopyOptions,
    ) -> Self {
        let mut plan = Self {
            selections,
            below,
            options,
            nodes: Planned::new(),
            blocks: Blocks::new(),
            one_by_one: false,
            members: HashMap::new(),
            lower: Vec::new(),
            hidden: HashSet::new(),
        };
        let root = Node { shows_below: below.is_some(), ..plan.new_directory() };
        plan.nodes.insert(Vec::new(), root);
        plan
    }

    /// Plans each file by itself, so that members of archives can replace and link to it.
    pub(super) fn one_by_one(self) -> Self {
        Self { one_by_one: true, ..self }
    }

    /// What the layer holds. The root itself stays as it is.
    pub(super) fn finish(mut self) -> Finished<'a> {
        self.nodes.retain(|path, node| node.kept && !path.is_empty());
        for node in self.nodes.values_mut() {
            if let Body::Member(id) = &node.body
                && let Some(metadata) = self.members.get(id)
            {
                node.metadata = metadata.clone();
            }
        }
        let Self { nodes, blocks, lower, selections, options, .. } = self;
        Finished { nodes, blocks, lower, selections, options }
    }

    /// Plans one source as it is (BuildKit's rules: `spec/build.md` 2.1, 2.3, 2.4).
    pub(super) fn place(
        &mut self,
        selection: usize,
        root: usize,
        destination: &[u8],
    ) -> Result<(), CopyError> {
        let source = &self.selections[selection].roots[root];
        let is_directory_path = is_directory_path(destination);
        let mut target = self.resolve(b"", destination)?;
        if is_directory_path {
            self.make_directories(&target)?;
        }
        let existing = self.lookup(&target)?;
        if source.entry.is_directory() {
            return match existing {
                Some(FileType::Directory) | None => self.place_contents(selection, root, &target),
                Some(_) => Err(CopyError::NotDirectory(shown(&target))),
            };
        }
        if existing == Some(FileType::Directory) {
            target = join(&target, &source.name);
        }
        self.make_directories(parent(&target))?;
        match source.items.positions().next() {
            Some(item) => self.add(&target, source.items.entry(item), Body::Item { selection, root, item }),
            None => Ok(()),
        }
    }

    /// A directory's contents go into `target`, which keeps its owner and mode if it is there already, and is
    /// made like an implied parent if not. Either way it takes the source's time.
    fn place_contents(&mut self, selection: usize, root: usize, target: &[u8]) -> Result<(), CopyError> {
        let source = &self.selections[selection].roots[root];
        self.make_directories(target)?;
        if let Some(node) = self.nodes.get_mut(target) {
            node.metadata.mtime = source.entry.metadata.mtime;
            node.metadata.mtime_nsec = source.entry.metadata.mtime_nsec;
        }
        self.keep(target);
        if !self.one_by_one {
            return self.place_listings(selection, root, target);
        }
        for item in source.items.positions() {
            let path = join(target, &source.items.path(item));
            self.add(&path, source.items.entry(item), Body::Item { selection, root, item })?;
        }
        Ok(())
    }

    /// Plans one entry; its parent must be planned.
    pub(super) fn add(&mut self, path: &[u8], entry: Entry, body: Body) -> Result<(), CopyError> {
        if name(path).starts_with(b".wh.") {
            return Err(CopyError::WhiteoutName(shown(path)));
        }
        let existing = self.lookup(path)?;
        let (is_directory, is_file) = (entry.is_directory(), entry.is_file());
        let metadata = dressed(self.options, entry.metadata);
        if is_directory {
            return match existing {
                None => {
                    let node = Node { metadata, ..self.new_directory() };
                    self.insert(path, node);
                    Ok(())
                }
                Some(FileType::Directory) => {
                    if let Some(node) = self.nodes.get_mut(path) {
                        node.metadata = metadata;
                    }
                    self.keep(path);
                    Ok(())
                }
                Some(_) => Err(CopyError::NotDirectory(shown(path))),
            };
        }
        if existing == Some(FileType::Directory) {
            return Err(CopyError::ReplaceDirectory(shown(path)));
        }
        let body = if is_file { body } else { Body::None };
        let link = entry.link;
        self.insert(path, Node { metadata, link, body, shows_below: false, opaque: false, kept: true });
        Ok(())
    }

    pub(super) fn insert(&mut self, path: &[u8], node: Node) {
        self.nodes.insert(path.to_vec(), node);
        self.keep(parent(path));
    }

    /// Makes a known directory and its parents part of the layer.
    pub(super) fn keep(&mut self, mut path: &[u8]) {
        while let Some(node) = self.nodes.get_mut(path) {
            if std::mem::replace(&mut node.kept, true) || path.is_empty() {
                return;
            }
            path = parent(path);
        }
    }

    /// A directory that no source describes: 0755 and root's, or what `--chown` and an octal `--chmod` say.
    pub(super) fn new_directory(&self) -> Node {
        let (uid, gid) = self.options.owner.unwrap_or_default();
        let chmod = self.options.chmod.as_ref().and_then(super::Chmod::implied_directory);
        Node {
            metadata: Metadata {
                file_type: FileType::Directory,
                mode: chmod.unwrap_or(0o755),
                uid,
                gid,
                mtime: self.options.created.0,
                mtime_nsec: self.options.created.1,
                size: 0,
                rdev: (0, 0),
                xattrs: Vec::new(),
            },
            link: Vec::new(),
            body: Body::None,
            shows_below: false,
            opaque: false,
            kept: true,
        }
    }

    /// Makes the directory at a real path, and its parents.
    pub(super) fn make_directories(&mut self, path: &[u8]) -> Result<(), CopyError> {
        let metadata = self.new_directory().metadata;
        self.make_directories_like(path, &metadata)
    }

    pub(super) fn make_directories_like(
        &mut self,
        path: &[u8],
        metadata: &Metadata,
    ) -> Result<(), CopyError> {
        for end in ends(path) {
            let directory = &path[..end];
            match self.lookup(directory)? {
                Some(FileType::Directory) => {}
                Some(_) => return Err(CopyError::NotDirectory(shown(directory))),
                None => {
                    let opaque = self.hidden.contains(directory);
                    let node = Node { metadata: metadata.clone(), opaque, ..self.new_directory() };
                    self.insert(directory, node);
                }
            }
        }
        Ok(())
    }

    /// The type of what is at a real path, planned or below. Directories below become known.
    pub(super) fn lookup(&mut self, path: &[u8]) -> Result<Option<FileType>, CopyError> {
        for end in ends(path) {
            let at = &path[..end];
            let is_last = end == path.len();
            match self.nodes.get(at) {
                Some(node) if is_last => return Ok(Some(node.metadata.file_type)),
                Some(node) if node.metadata.file_type == FileType::Directory => {}
                Some(_) => return Ok(None),
                None if let Some((items, file)) = self.in_block(at) => {
                    return Ok(is_last.then(|| items.file_type(file)));
                }
                None => match self.find_below(at)? {
                    Some((FileType::Directory, metadata)) => self.know(at, metadata),
                    Some((file_type, _)) if is_last => return Ok(Some(file_type)),
                    _ => return Ok(None),
                },
            }
        }
        Ok(Some(FileType::Directory))
    }

    fn know(&mut self, path: &[u8], metadata: Metadata) {
        let node = Node { metadata, shows_below: true, kept: false, ..self.new_directory() };
        self.nodes.insert(path.to_vec(), node);
    }

    /// What the layers below show at `path`, unless its parent hides them.
    pub(super) fn find_below(&self, path: &[u8]) -> Result<Option<(FileType, Metadata)>, CopyError> {
        let Some(below) = self.below else { return Ok(None) };
        if !self.nodes.get(parent(path)).is_some_and(|parent| parent.shows_below) {
            return Ok(None);
        }
        let Some(found) = below.find(path)? else { return Ok(None) };
        let metadata = below.node(&found)?.metadata;
        Ok(Some((metadata.file_type, metadata)))
    }

    /// Makes a file of the layers below part of this one, so that it can get further names.
    pub(super) fn take_from_below(&mut self, path: &[u8]) -> Result<(), CopyError> {
        let Some(below) = self.below else { return Ok(()) };
        let Some(entry) = SourceTree::entry(below, path)? else { return Ok(()) };
        let node = Node {
            metadata: entry.metadata.clone(),
            link: Vec::new(),
            body: Body::Below(self.lower.len()),
            shows_below: false,
            opaque: false,
            kept: true,
        };
        self.lower.push((path.to_vec(), entry));
        self.insert(path, node);
        Ok(())
    }

    /// Follows the symlinks in `path`, the last one included, inside the directory `root` of the layer. What does
    /// not exist is kept as written; `..` behind it goes back.
    pub(super) fn resolve(&mut self, root: &[u8], path: &[u8]) -> Result<Vec<u8>, CopyError> {
        let real = follow(path, |at| {
            let at = join(root, at);
            Ok::<_, CopyError>(match self.lookup(&at)? {
                Some(FileType::Symlink) => Name::Link(self.read_link(&at)?),
                _ => Name::Directory,
            })
        })?;
        Ok(join(root, &real.expect("only what is looked up can lead nowhere")))
    }

    fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, CopyError> {
        if let Some(node) = self.nodes.get(path) {
            return Ok(node.link.clone());
        }
        if let Some((items, at)) = self.in_block(path) {
            return Ok(items.entry(at).link);
        }
        let Some(below) = self.below else { return Ok(Vec::new()) };
        match below.find(path)? {
            Some(found @ Found::Other { .. }) => Ok(below.read_link(&below.node(&found)?)?),
            _ => Ok(Vec::new()),
        }
    }
}

/// Metadata as `--chown` and `--chmod` leave them.
pub(super) fn dressed(options: &CopyOptions, mut metadata: Metadata) -> Metadata {
    if let Some((uid, gid)) = options.owner {
        (metadata.uid, metadata.gid) = (uid, gid);
    }
    match (&options.chmod, metadata.file_type) {
        (_, FileType::Symlink) => metadata.mode = 0o777,
        (Some(chmod), file_type) => {
            metadata.mode = chmod.apply(metadata.mode, file_type == FileType::Directory);
        }
        (None, _) => {}
    }
    metadata
}

/// True if the path as written says that it is a directory.
fn is_directory_path(path: &[u8]) -> bool {
    path.is_empty() || path == b"." || path.ends_with(b"/") || path.ends_with(b"/.")
}

/// Where the prefixes of a path end, the whole path last: `a/b/c` gives 1, 3, 5.
fn ends(path: &[u8]) -> impl Iterator<Item = usize> {
    let inner = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    inner.chain((!path.is_empty()).then_some(path.len()))
}

pub(super) fn parent(path: &[u8]) -> &[u8] {
    path.iter().rposition(|byte| *byte == b'/').map_or(b"", |slash| &path[..slash])
}

pub(super) fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
}
