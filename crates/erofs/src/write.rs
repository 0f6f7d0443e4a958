//! The writer: a tree is collected, laid out, then streamed.
//!
//! Sizes of inodes and directories do not depend on addresses, so one pass over the tree places
//! everything ([`plan`]) and a second one writes it in order ([`emit`]).

mod chunks;
mod directory;
mod emit;
mod error;
mod plan;

pub use error::WriteError;

use crate::format::{LINK_MAX, NAME_MAX, encode_device, xattr};
use crate::{Attributes, Data, Kind, Xattr};
use directory::{Entry, Names};
use error::shown;
use std::io::Write;

/// An inode added to a [`Builder`].
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
    names: Names,
}

/// An inode of the tree.
#[derive(Debug)]
struct Node {
    /// With sorted xattrs.
    attributes: Attributes,
    kind: Kind,
    /// Of a directory that has a name; the root is its own.
    parent: Option<InodeId>,
    /// Of a directory, unsorted and without `.` and `..` until the tree is laid out.
    entries: Vec<Entry>,
    /// Names that lead here, or for directories 2 and one for each subdirectory.
    nlink: u32,
}

impl InodeId {
    const ROOT: InodeId = InodeId(0);

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
        root.parent = Some(InodeId::ROOT);
        Self { nodes: vec![root], names: Names::new() }
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
        if node.is_directory() {
            if node.parent.is_some() {
                return Err(WriteError::DirectoryLinked { name: shown(name) });
            }
            node.parent = Some(directory);
            self.nodes[directory.index()].nlink += 1;
        } else {
            node.nlink += 1;
        }
        let entry = self.names.store(name, child);
        self.nodes[directory.index()].entries.push(entry);
        Ok(())
    }

    /// Lays the image out and writes it. `device_lengths` are the devices' lengths in bytes, slot 1 first.
    /// The image is streamed: memory holds the tree, not the image.
    ///
    /// # Errors
    /// A tree that is not one ([`WriteError::NameTwice`], [`WriteError::Unreachable`]), extents outside
    /// their devices, limits of the format, and whatever `out` reports.
    pub fn write(mut self, device_lengths: &[u64], out: &mut dyn Write) -> Result<Written, WriteError> {
        check_attributes(&self.nodes[0].attributes)?;
        let plan = plan::Plan::new(&mut self.nodes, &self.names, device_lengths)?;
        let image = emit::Emitter { nodes: &self.nodes, names: &self.names, plan: &plan };
        image.write(out)?;
        let nids = plan.places.iter().map(plan::Place::nid).collect();
        Ok(Written { length: plan.length(), inodes: self.nodes.len() as u64, nids })
    }
}

impl Node {
    fn new(mut attributes: Attributes, kind: Kind) -> Self {
        attributes.xattrs.sort_unstable();
        let nlink = if matches!(kind, Kind::Directory) { 2 } else { 0 };
        Self { attributes, kind, parent: None, entries: Vec::new(), nlink }
    }

    fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }

    fn xattr_size(&self) -> u64 {
        xattr_size(&self.attributes.xattrs)
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
