//! The writer: a tree is laid out, then streamed. It is one that a [`Builder`] collects, or any other [`Tree`].
//!
//! Sizes of inodes and directories do not depend on addresses, so one pass over the tree places
//! everything ([`plan`]) and a second one writes it in order ([`emit`]).

mod chunks;
mod directory;
mod emit;
mod error;
mod plan;
mod tree;

pub use error::WriteError;
pub use tree::Tree;

use crate::format::{LINK_MAX, NAME_MAX, encode_device, xattr};
use crate::{Attributes, Data, FileType, Kind, Xattr};
use error::shown;
use std::borrow::Cow;
use std::io::Write;
use tree::Nodes;

/// An inode of a tree that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InodeId(pub(crate) u32);

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes written, a multiple of 4096.
    pub length: u64,
    /// Number of inodes.
    pub inodes: u64,
    /// nid of each inode, indexed by [`InodeId`] order: `nids[id.index()]`.
    pub nids: Vec<u64>,
}

/// Collects a tree, then writes it. Output is a function of the tree alone: the same tree gives the same
/// bytes, whatever the order in which its parts were added.
#[derive(Debug)]
pub struct Builder {
    nodes: Vec<Node>,
    /// The names of all directories, one after the other.
    names: Vec<u8>,
}

/// An inode of the tree.
#[derive(Debug)]
struct Node {
    /// With sorted xattrs.
    attributes: Attributes,
    kind: Kind,
    /// Some name leads here.
    is_named: bool,
    /// Of a directory: where the name stands, how long it is, and what it leads to.
    entries: Vec<(usize, u8, InodeId)>,
}

impl InodeId {
    /// The root directory's.
    pub const ROOT: InodeId = InodeId(0);

    /// The inode with a number.
    pub fn new(number: u32) -> Self {
        Self(number)
    }

    /// Position in [`Written::nids`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Xattr {
    /// Whether the format can hold this attribute. [`Builder::add`] refuses one that it cannot.
    pub fn is_representable(&self) -> bool {
        check_xattr(self).is_ok()
    }
}

impl Builder {
    /// A tree with only its root directory. Attributes that cannot be represented are reported by
    /// [`Builder::write`].
    pub fn new(root: Attributes) -> Self {
        let mut root = Node::new(root, Kind::Directory);
        root.is_named = true;
        Self { nodes: vec![root], names: Vec::new() }
    }

    /// The root directory.
    pub fn root(&self) -> InodeId {
        InodeId::ROOT
    }

    /// Adds an inode that no directory names yet. It must have a name by the time of [`Builder::write`].
    ///
    /// # Errors
    /// Attributes, extents or a target that the format cannot hold. Whether extents lie inside their
    /// devices is checked by [`Builder::write`].
    pub fn add(&mut self, attributes: Attributes, kind: Kind) -> Result<InodeId, WriteError> {
        check_attributes(&attributes)?;
        let kind = checked_kind(kind)?;
        let id = u32::try_from(self.nodes.len()).map_err(|_| WriteError::TooManyInodes)?;
        self.nodes.push(Node::new(attributes, kind));
        Ok(InodeId(id))
    }

    /// Names `child` in `directory`; an inode linked twice is a hard link. A name may be used once per
    /// directory, which [`Builder::write`] checks, and a directory may have one name.
    ///
    /// # Errors
    /// A name that is empty, `.`, `..`, longer than 255 bytes, or has a `/` or NUL; a `directory` that is
    /// none; a directory that has a name already.
    pub fn link(&mut self, directory: InodeId, name: &[u8], child: InodeId) -> Result<(), WriteError> {
        if let Some(why) = name_fault(name) {
            return Err(WriteError::Name { name: shown(name), why });
        }
        let parent = self.nodes.get(directory.index()).ok_or(WriteError::UnknownInode(directory))?;
        if !parent.is_directory() {
            return Err(WriteError::NotADirectory { name: shown(name), inode: directory });
        }
        let node = self.nodes.get_mut(child.index()).ok_or(WriteError::UnknownInode(child))?;
        if std::mem::replace(&mut node.is_named, true) && node.is_directory() {
            return Err(WriteError::DirectoryLinked { name: shown(name) });
        }
        let start = self.names.len();
        self.names.extend_from_slice(name);
        self.nodes[directory.index()].entries.push((start, name.len() as u8, child));
        Ok(())
    }

    /// Lays the image out and writes it. `device_lengths` are the devices' lengths in bytes, slot 1 first.
    /// The image is streamed: memory holds the tree, not the image.
    ///
    /// # Errors
    /// A tree that is not one ([`WriteError::NameTwice`], [`WriteError::Unreachable`]), extents outside
    /// their devices, limits of the format, and whatever `out` reports.
    pub fn write(self, device_lengths: &[u64], out: &mut dyn Write) -> Result<Written, WriteError> {
        let mut nids = vec![None; self.nodes.len()];
        let length = write(&self, device_lengths, out, |id, nid| nids[id.index()] = Some(nid))?;
        let unreachable = nids.iter().position(Option::is_none);
        if let Some(index) = unreachable {
            return Err(WriteError::Unreachable(InodeId(index as u32)));
        }
        Ok(Written { length, inodes: self.nodes.len() as u64, nids: nids.into_iter().flatten().collect() })
    }
}

/// Makes an image of a tree, which is streamed: memory holds a few bytes for each inode. `placed` is told the nid of
/// each inode afterwards, in the order of the nids. `device_lengths` are the devices' lengths in bytes, slot 1 first.
/// Returns the image's length.
///
/// # Errors
/// What the format cannot hold, and whatever `out` reports.
pub fn write(
    tree: &dyn Tree,
    device_lengths: &[u64],
    out: &mut dyn Write,
    mut placed: impl FnMut(InodeId, u64),
) -> Result<u64, WriteError> {
    let nodes = Nodes(tree);
    let plan = plan::Plan::new(nodes, device_lengths)?;
    emit::Emitter { nodes, plan: &plan }.write(out)?;
    plan.order.iter().for_each(|id| placed(*id, plan.place(*id).nid()));
    Ok(plan.length())
}

impl Tree for Builder {
    fn count(&self) -> usize {
        self.nodes.len()
    }

    fn attributes(&self, inode: InodeId) -> Cow<'_, Attributes> {
        Cow::Borrowed(&self.nodes[inode.index()].attributes)
    }

    fn kind(&self, inode: InodeId) -> Cow<'_, Kind> {
        Cow::Borrowed(&self.nodes[inode.index()].kind)
    }

    fn file_type(&self, inode: InodeId) -> FileType {
        self.nodes[inode.index()].kind.file_type()
    }

    fn entries(&self, directory: InodeId) -> Vec<(&[u8], InodeId)> {
        let name = |&(start, length, child)| (&self.names[start..start + usize::from(length)], child);
        self.nodes[directory.index()].entries.iter().map(name).collect()
    }
}

impl Node {
    fn new(mut attributes: Attributes, kind: Kind) -> Self {
        attributes.xattrs.sort_unstable();
        Self { attributes, kind, is_named: false, entries: Vec::new() }
    }

    fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}

fn xattr_size(xattrs: &[Xattr]) -> u64 {
    xattr::body_size(xattrs.iter().filter_map(|xattr| {
        let (_, rest) = xattr::split_name(&xattr.name)?;
        Some((rest, xattr.value.len()))
    }))
}

fn check_attributes(attributes: &Attributes) -> Result<(), WriteError> {
    if attributes.mode & !0o7777 != 0 {
        return Err(WriteError::Mode(attributes.mode));
    }
    if attributes.mtime_nsec >= 1_000_000_000 {
        return Err(WriteError::Nanoseconds(attributes.mtime_nsec));
    }
    attributes.xattrs.iter().try_for_each(check_xattr)?;
    let mut names: Vec<&[u8]> = attributes.xattrs.iter().map(|xattr| &*xattr.name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(WriteError::XattrTwice { name: shown(pair[0]) });
    }
    let length = xattr_size(&attributes.xattrs);
    if length > xattr::BODY_MAX {
        return Err(WriteError::XattrsTooLong { length, limit: xattr::BODY_MAX });
    }
    Ok(())
}

fn check_xattr(attribute: &Xattr) -> Result<(), WriteError> {
    if xattr::split_name(&attribute.name).is_none() {
        return Err(WriteError::XattrName { name: shown(&attribute.name) });
    }
    if attribute.value.len() > xattr::VALUE_MAX {
        return Err(WriteError::XattrValue { name: shown(&attribute.name), length: attribute.value.len() });
    }
    Ok(())
}

fn checked_kind(kind: Kind) -> Result<Kind, WriteError> {
    match kind {
        Kind::Regular { size, .. } if i64::try_from(size).is_err() => Err(WriteError::FileSize(size)),
        Kind::Regular { size, data: Data::External(extents) } => {
            Ok(Kind::Regular { size, data: Data::External(chunks::normalize(size, extents)?) })
        }
        Kind::Regular { size, data: Data::Inline(ref bytes) } if bytes.len() as u64 != size => {
            Err(WriteError::InlineSize { size, found: bytes.len() as u64 })
        }
        Kind::Symlink(ref target) => match target_fault(target) {
            Some(why) => Err(WriteError::SymlinkTarget { length: target.len(), why }),
            None => Ok(kind),
        },
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            encode_device(major, minor).map(|_| kind).ok_or(WriteError::DeviceNumber { major, minor })
        }
        Kind::Regular { .. } | Kind::Directory | Kind::Fifo | Kind::Socket => Ok(kind),
    }
}

fn name_fault(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("is empty"),
        b"." | b".." => Some("is reserved"),
        _ if name.len() > NAME_MAX => Some("is longer than 255 bytes"),
        _ if name.contains(&b'/') => Some("has a slash"),
        _ if name.contains(&0) => Some("has a NUL byte"),
        _ => None,
    }
}

fn target_fault(target: &[u8]) -> Option<&'static str> {
    match target {
        b"" => Some("is empty"),
        _ if target.len() > LINK_MAX => Some("is longer than 4095 bytes"),
        _ if target.contains(&0) => Some("has a NUL byte"),
        _ => None,
    }
}
