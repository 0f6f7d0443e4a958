//! From the tree to the index.
use super::{Body, Contents, Directory, Inode, Opaque, ROOT, implied_attributes, is_overlay_xattr, is_shown};
use crate::error::path_error;
use crate::index::append_digests;
use crate::stack::Node;
use crate::{ContentDigest, FileType, LayerError, Metadata, Stack, Xattr};
use std::collections::HashMap;
use std::io::Read;
use strata_erofs::{Attributes, Builder, Data, InodeId, Kind};

/// Longest file of a lower layer that a hard link copies into the index.
const MAX_COPY: u64 = 64 << 20;

pub(super) fn index(contents: &Contents, parents: Option<&Stack>) -> Result<Vec<u8>, LayerError> {
    let root = Place {
        id: ROOT,
        path: Vec::new(),
        hidden: false,
        opaque: Opaque::No,
        hides: hidden_names(contents, parents)?,
    };
    let attributes = directory_attributes(contents, parents, &root)?;
    let mut emitter = Emitter {
        contents,
        parents,
        builder: Builder::new(attributes),
        ids: HashMap::new(),
        copies: HashMap::new(),
        whiteout: None,
        digests: Vec::new(),
    };
    let mut waiting = vec![(root, emitter.builder.root())];
    while let Some((place, image)) = waiting.pop() {
        emitter.fill(&place, image, &mut waiting)?;
    }
    let mut image = Vec::new();
    let written = emitter.builder.write(&[contents.tar_length], &mut image)?;
    let digests =
        emitter.digests.into_iter().map(|(id, digest)| (written.nids[id.index()], digest)).collect();
    append_digests(&mut image, contents.tar_length, digests);
    Ok(image)
}

struct Emitter<'a> {
    contents: &'a Contents,
    parents: Option<&'a Stack>,
    builder: Builder,
    /// Image inodes of what may have several names.
    ids: HashMap<u32, InodeId>,
    /// Image inodes of lower files, by path.
    copies: HashMap<&'a [u8], InodeId>,
    /// One inode serves all whiteouts.
    whiteout: Option<InodeId>,
    digests: Vec<(InodeId, ContentDigest)>,
}

/// A directory on its way into the image.
struct Place {
    id: u32,
    path: Vec<u8>,
    /// The layers below do not show through here.
    hidden: bool,
    opaque: Opaque,
    /// Names of the layers below that need a whiteout of their own, sorted.
    hides: Vec<Vec<u8>>,
}

impl Place {
    fn child(&self, name: &[u8], id: u32, directory: &Directory) -> Self {
        let path = if self.path.is_empty() { name.to_vec() } else { [&self.path, &b"/"[..], name].concat() };
        let opaque = if self.hides(name) { Opaque::Replaced } else { directory.opaque };
        let hidden = self.hidden || self.opaque != Opaque::No || opaque == Opaque::Replaced;
        Self { id, path, hidden, opaque, hides: Vec::new() }
    }

    fn hides(&self, name: &[u8]) -> bool {
        self.hides.binary_search_by(|hidden| hidden.as_slice().cmp(name)).is_ok()
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

impl<'a> Emitter<'a> {
    /// Adds and names everything in one directory; directories in it are left to be filled.
    fn fill(
        &mut self,
        place: &Place,
        image: InodeId,
        waiting: &mut Vec<(Place, InodeId)>,
    ) -> Result<(), LayerError> {
        let contents = self.contents;
        let Some(directory) = contents.directory(place.id) else {
            unreachable!("only directories are filled")
        };
        for (name, &id) in directory.names.iter().filter(|(name, _)| is_shown(name)) {
            let child = match &contents.inodes[id as usize].body {
                Body::Directory(below) => {
                    let below = place.child(name, id, below);
                    let attributes = directory_attributes(contents, self.parents, &below)?;
                    let child = self.builder.add(attributes, Kind::Directory)?;
                    waiting.push((below, child));
                    child
                }
                Body::Whiteout => self.whiteout()?,
                _ => self.file(id)?,
            };
            self.builder.link(image, name, child)?;
        }
        for name in place.hides.iter().filter(|name| !directory.names.contains_key(name.as_slice())) {
            let whiteout = self.whiteout()?;
            self.builder.link(image, name, whiteout)?;
        }
        Ok(())
    }

    fn whiteout(&mut self) -> Result<InodeId, LayerError> {
        if let Some(id) = self.whiteout {
            return Ok(id);
        }
        let id = self.builder.add(Attributes::default(), Kind::CharDevice { major: 0, minor: 0 })?;
        self.whiteout = Some(id);
        Ok(id)
    }

    /// The image inode of anything but a directory.
    fn file(&mut self, id: u32) -> Result<InodeId, LayerError> {
        if let Some(&known) = self.ids.get(&id) {
            return Ok(known);
        }
        let Inode { attributes, body } = &self.contents.inodes[id as usize];
        let (kind, digest) = match body {
            Body::Regular(file) => {
                let data = file.data.to_data(file.size);
                (Kind::Regular { size: file.size, data }, Some(file.digest))
            }
            Body::Symlink(target) => (Kind::Symlink(target.to_vec()), None),
            &Body::CharDevice(major, minor) => (Kind::CharDevice { major, minor }, None),
            &Body::BlockDevice(major, minor) => (Kind::BlockDevice { major, minor }, None),
            Body::Fifo => (Kind::Fifo, None),
            Body::Lower(target) => {
                let image = self.lower(target)?;
                self.ids.insert(id, image);
                return Ok(image);
            }
            Body::Directory(_) | Body::Whiteout => unreachable!("told apart by the caller"),
        };
        let image = self.add(attributes.clone(), kind, digest)?;
        self.ids.insert(id, image);
        Ok(image)
    }

    fn add(
        &mut self,
        attributes: Attributes,
        kind: Kind,
        digest: Option<ContentDigest>,
    ) -> Result<InodeId, LayerError> {
        let image = self.builder.add(attributes, kind)?;
        self.digests.extend(digest.map(|digest| (image, digest)));
        Ok(image)
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
            (Some(node), Some(parents)) => self.copy(target, &node, parents)?,
            _ => self.later(target)?,
        };
        self.copies.insert(target, image);
        Ok(image)
    }

    fn later(&mut self, target: &[u8]) -> Result<InodeId, LayerError> {
        let missing = || {
            path_error(
                target,
                "a hard link of this layer names it, but neither this layer nor those below have it",
            )
        };
        let id = self.contents.find(target).ok().flatten().ok_or_else(missing)?;
        match self.contents.inodes[id as usize].body {
            Body::Directory(_) | Body::Whiteout | Body::Lower(_) => Err(missing()),
            _ => self.file(id),
        }
    }

    fn copy(&mut self, path: &[u8], node: &Node, parents: &Stack) -> Result<InodeId, LayerError> {
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
        self.add(without_overlay(metadata), kind, digest)
    }
}

/// Attributes of a directory, with what overlayfs needs to know of it (`spec/erofs.md` section 7).
fn directory_attributes(
    contents: &Contents,
    parents: Option<&Stack>,
    place: &Place,
) -> Result<Attributes, LayerError> {
    let inode = &contents.inodes[place.id as usize];
    let Body::Directory(directory) = &inode.body else { unreachable!("only directories have places") };
    let mut attributes = match parents {
        _ if !directory.implied => inode.attributes.clone(),
        Some(parents) if !place.hidden => match parents.lookup(&place.path)? {
            Some(below) if below.metadata.file_type == FileType::Directory => {
                without_overlay(&below.metadata)
            }
            _ => implied_attributes(),
        },
        _ => implied_attributes(),
    };
    let mut mark = |name: &[u8], value: &[u8]| {
        attributes.xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
    };
    if place.opaque != Opaque::No {
        mark(b"trusted.overlay.opaque", b"y");
    }
    // Without it the whiteouts of a directory that overlayfs has nothing to merge with are listed as devices.
    if holds_whiteouts(contents, directory)
        || place.hides.iter().any(|name| !directory.names.contains_key(name.as_slice()))
    {
        mark(b"trusted.overlay.origin", b"");
    }
    Ok(attributes)
}

fn holds_whiteouts(contents: &Contents, directory: &Directory) -> bool {
    directory.names.values().any(|&id| matches!(contents.inodes[id as usize].body, Body::Whiteout))
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
