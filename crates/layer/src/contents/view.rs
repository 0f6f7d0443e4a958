//! The tree of an index: contents as an image shows them on top of the layers below.
use super::{Body, Contents, Directory, Opaque, ROOT, implied_attributes, is_overlay_xattr};
use crate::error::path_error;
use crate::index::Sealer;
use crate::stack::Node;
use crate::{ContentDigest, FileType, LayerError, Metadata, Stack, Xattr};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{Read, Write};
use strata_erofs::{Attributes, Data, InodeId, Kind, Tree};

/// Longest file of a lower layer that a hard link copies into the index.
const MAX_COPY: u64 = 64 << 20;

pub(super) fn write_index(
    contents: &Contents,
    parents: Option<&Stack>,
    out: &mut dyn Write,
) -> Result<(), LayerError> {
    let view = View::new(contents, parents)?;
    let mut sealer = Sealer::new(out);
    let mut files: Vec<(u64, InodeId)> = Vec::new();
    strata_erofs::write(&view, &[contents.tar_length], &mut sealer, |id, nid| {
        if view.digest(id).is_some() {
            files.push((nid, id));
        }
    })?;
    let digests = files.iter().filter_map(|(nid, id)| Some((*nid, view.digest(*id)?)));
    sealer.finish(contents.tar_length, files.len() as u64, digests)
}

/// Inodes have the numbers that they have in the contents; those that only the image has follow.
struct View<'a> {
    contents: &'a Contents,
    parents: Option<&'a Stack>,
    /// Attributes of the directories that the layer does not describe as they are shown.
    directories: HashMap<u32, Attributes>,
    /// What hard links to lower files, and to what came later in the tar, lead to.
    aliases: HashMap<u32, InodeId>,
    /// Image inodes of lower files, by path.
    copies: HashMap<&'a [u8], InodeId>,
    added: Vec<Added>,
    /// One inode serves all whiteouts.
    whiteout: InodeId,
    /// What an opaque root hides, sorted.
    hides: Vec<Vec<u8>>,
}

/// An inode that the contents do not have.
struct Added {
    attributes: Attributes,
    kind: Kind,
    digest: Option<ContentDigest>,
}

/// A directory on its way into the image.
struct Place {
    id: u32,
    path: Vec<u8>,
    /// The layers below do not show through here.
    hidden: bool,
    opaque: Opaque,
}

impl<'a> View<'a> {
    fn new(contents: &'a Contents, parents: Option<&'a Stack>) -> Result<Self, LayerError> {
        let whiteout = Added {
            attributes: Attributes::default(),
            kind: Kind::CharDevice { major: 0, minor: 0 },
            digest: None,
        };
        let mut view = Self {
            contents,
            parents,
            directories: HashMap::new(),
            aliases: HashMap::new(),
            copies: HashMap::new(),
            added: Vec::new(),
            whiteout: InodeId::ROOT,
            hides: hidden_names(contents, parents)?,
        };
        view.whiteout = view.add(whiteout);
        let mut waiting = vec![Place { id: ROOT, path: Vec::new(), hidden: false, opaque: Opaque::No }];
        while let Some(place) = waiting.pop() {
            view.look_into(&place, &mut waiting)?;
        }
        Ok(view)
    }

    fn add(&mut self, added: Added) -> InodeId {
        let number = self.contents.inodes.len() + self.added.len();
        self.added.push(added);
        InodeId::new(number as u32)
    }

    fn added(&self, id: InodeId) -> Option<&Added> {
        self.added.get(id.index().checked_sub(self.contents.inodes.len())?)
    }

    fn digest(&self, id: InodeId) -> Option<ContentDigest> {
        match self.added(id) {
            Some(added) => added.digest,
            None => self.contents.digest(id.index() as u32),
        }
    }

    /// Finds out how a directory is shown, and what the hard links in it lead to.
    fn look_into(&mut self, place: &Place, waiting: &mut Vec<Place>) -> Result<(), LayerError> {
        let contents = self.contents;
        let Some(directory) = contents.directory(place.id) else {
            unreachable!("only directories are looked into")
        };
        if let Some(attributes) = self.directory_attributes(place, directory)? {
            self.directories.insert(place.id, attributes);
        }
        for (name, id) in contents.names(directory) {
            match &contents.inodes[id as usize].body {
                Body::Directory(below) => waiting.push(self.child(place, name, id, below)),
                Body::Lower(target) if !self.aliases.contains_key(&id) => {
                    let image = self.lower(target)?;
                    self.aliases.insert(id, image);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn child(&self, place: &Place, name: &[u8], id: u32, directory: &Directory) -> Place {
        let path = crate::tree::join(&place.path, name);
        let hides = place.id == ROOT && self.hides.binary_search_by(|hidden| (**hidden).cmp(name)).is_ok();
        let opaque = if hides { Opaque::Replaced } else { directory.opaque };
        let hidden = place.hidden || place.opaque != Opaque::No || opaque == Opaque::Replaced;
        Place { id, path, hidden, opaque }
    }

    /// Names of the layers below that need a whiteout of their own.
    fn hidden_in(&self, id: u32, directory: &'a Directory) -> impl Iterator<Item = &[u8]> {
        let hides = if id == ROOT { &self.hides[..] } else { &[] };
        hides.iter().map(Vec::as_slice).filter(|name| self.contents.name(directory, name).is_none())
    }

    /// Attributes of a directory, with what overlayfs needs to know of it (`spec/erofs.md` section 7); `None` if they
    /// are those of its member.
    fn directory_attributes(
        &self,
        place: &Place,
        directory: &'a Directory,
    ) -> Result<Option<Attributes>, LayerError> {
        let contents = self.contents;
        let below = match self.parents {
            Some(parents) if directory.implied && !place.hidden => parents.lookup(&place.path)?,
            _ => None,
        };
        let mut attributes = match below {
            _ if !directory.implied => contents.attributes_of(place.id),
            Some(below) if below.metadata.file_type == FileType::Directory => {
                without_overlay(&below.metadata)
            }
            _ => implied_attributes(),
        };
        let is_whiteout = |(_, id): (_, u32)| matches!(contents.inodes[id as usize].body, Body::Whiteout);
        // Without this the whiteouts of a directory that overlayfs has nothing to merge with are listed as devices.
        let holds_whiteouts = contents.all_names(directory).any(is_whiteout)
            || self.hidden_in(place.id, directory).next().is_some();
        let marks = [
            (place.opaque != Opaque::No, &b"trusted.overlay.opaque"[..], &b"y"[..]),
            (holds_whiteouts, b"trusted.overlay.origin", b""),
        ];
        for (_, name, value) in marks.iter().filter(|(is_set, ..)| *is_set) {
            attributes.xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
        }
        let is_own = !directory.implied && marks.iter().all(|(is_set, ..)| !is_set);
        Ok((!is_own).then_some(attributes))
    }

    /// A hard link to what this layer does not have: a copy of the lower file, or an entry that came later in the tar.
    fn lower(&mut self, target: &'a [u8]) -> Result<InodeId, LayerError> {
        if let Some(&known) = self.copies.get(target) {
            return Ok(known);
        }
        let node = match self.parents {
            Some(parents) => parents.lookup(target)?,
            None => None,
        };
        let image = match (node, self.parents) {
            (Some(node), Some(parents)) => {
                let copy = copy(target, &node, parents)?;
                self.add(copy)
            }
            _ => self.later(target)?,
        };
        self.copies.insert(target, image);
        Ok(image)
    }

    fn later(&self, target: &[u8]) -> Result<InodeId, LayerError> {
        let missing = || {
            path_error(
                target,
                "a hard link of this layer names it, but neither this layer nor those below have it",
            )
        };
        let id = self.contents.find(target).ok().flatten().ok_or_else(missing)?;
        match self.contents.inodes[id as usize].body {
            Body::Directory(_) | Body::Whiteout | Body::Lower(_) => Err(missing()),
            _ => Ok(InodeId::new(id)),
        }
    }
}

impl Tree for View<'_> {
    fn count(&self) -> usize {
        self.contents.inodes.len() + self.added.len()
    }

    fn attributes(&self, inode: InodeId) -> Cow<'_, Attributes> {
        if let Some(added) = self.added(inode) {
            return Cow::Borrowed(&added.attributes);
        }
        let id = inode.index() as u32;
        match self.directories.get(&id) {
            Some(shown) => Cow::Borrowed(shown),
            None => Cow::Owned(self.contents.attributes_of(id)),
        }
    }

    fn kind(&self, inode: InodeId) -> Cow<'_, Kind> {
        if let Some(added) = self.added(inode) {
            return Cow::Borrowed(&added.kind);
        }
        Cow::Owned(match &self.contents.inodes[inode.index()].body {
            Body::Directory(_) => Kind::Directory,
            Body::Regular(file) => Kind::Regular { size: file.size, data: file.data.to_data(file.size) },
            Body::Symlink(target) => Kind::Symlink(target.to_vec()),
            &Body::CharDevice(major, minor) => Kind::CharDevice { major, minor },
            &Body::BlockDevice(major, minor) => Kind::BlockDevice { major, minor },
            Body::Fifo => Kind::Fifo,
            Body::Whiteout | Body::Lower(_) => unreachable!("names lead to what stands for them"),
        })
    }

    fn file_type(&self, inode: InodeId) -> FileType {
        if let Some(added) = self.added(inode) {
            return added.kind.file_type();
        }
        match &self.contents.inodes[inode.index()].body {
            Body::Directory(_) => FileType::Directory,
            Body::Regular(_) | Body::Lower(_) => FileType::Regular,
            Body::Symlink(_) => FileType::Symlink,
            Body::CharDevice(..) | Body::Whiteout => FileType::CharDevice,
            Body::BlockDevice(..) => FileType::BlockDevice,
            Body::Fifo => FileType::Fifo,
        }
    }

    fn entries(&self, directory: InodeId) -> Vec<(&[u8], InodeId)> {
        let id = directory.index() as u32;
        let Some(directory) = self.contents.directory(id) else { return Vec::new() };
        let leads_to = |id: u32| match &self.contents.inodes[id as usize].body {
            Body::Whiteout => self.whiteout,
            Body::Lower(_) => self.aliases[&id],
            _ => InodeId::new(id),
        };
        let own = self.contents.names(directory).map(|(name, id)| (name, leads_to(id)));
        own.chain(self.hidden_in(id, directory).map(|name| (name, self.whiteout))).collect()
    }
}

/// What an opaque root hides, name by name: overlayfs merges roots whatever attributes they have.
fn hidden_names(contents: &Contents, parents: Option<&Stack>) -> Result<Vec<Vec<u8>>, LayerError> {
    match (contents.directory(ROOT), parents) {
        (Some(root), Some(parents)) if root.opaque != Opaque::No => {
            Ok(parents.read_dir(b"")?.into_iter().map(|(name, _)| name).collect())
        }
        _ => Ok(Vec::new()),
    }
}

fn copy(path: &[u8], node: &Node, parents: &Stack) -> Result<Added, LayerError> {
    let metadata = &node.metadata;
    let (major, minor) = metadata.rdev;
    let (kind, digest) = match metadata.file_type {
        FileType::Regular if metadata.size > MAX_COPY => {
            let what = format!(
                "a hard link of this layer names it in a layer below, where it has {} bytes; at most {MAX_COPY} are copied into an index",
                metadata.size
            );
            return Err(path_error(path, &what));
        }
        FileType::Regular => {
            let mut bytes = Vec::new();
            parents.open(node)?.read_to_end(&mut bytes)?;
            let digest = ContentDigest(*blake3::hash(&bytes).as_bytes());
            (Kind::Regular { size: bytes.len() as u64, data: Data::Inline(bytes) }, Some(digest))
        }
        FileType::Symlink => (Kind::Symlink(parents.read_link(node)?), None),
        FileType::CharDevice => (Kind::CharDevice { major, minor }, None),
        FileType::BlockDevice => (Kind::BlockDevice { major, minor }, None),
        FileType::Fifo => (Kind::Fifo, None),
        FileType::Socket => (Kind::Socket, None),
        FileType::Directory => {
            return Err(path_error(path, "a hard link of this layer names it, but it is a directory"));
        }
    };
    Ok(Added { attributes: without_overlay(metadata), kind, digest })
}

fn without_overlay(metadata: &Metadata) -> Attributes {
    let xattrs = metadata.xattrs.iter().filter(|xattr| !is_overlay_xattr(&xattr.name));
    Attributes {
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        mtime: metadata.mtime,
        mtime_nsec: metadata.mtime_nsec,
        xattrs: xattrs.cloned().collect(),
    }
}
