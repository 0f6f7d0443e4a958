//! The merged view of a stack of layers.
//!
//! The rules are overlayfs's, because the kernel shows the same layers to containers: the highest layer that has
//! a name decides; a char device 0:0 hides the name below; directories of the same path are merged downwards until
//! one is opaque or something else than a directory is met. A look-up is one binary search per path component and
//! layer that still takes part; no directory is listed for it, nothing is cached.
use crate::error::path_error;
use crate::layer::Layer;
use crate::{ContentDigest, LayerError, Metadata};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use strata_erofs::{FileType, Nid};

/// As many symlinks as Linux follows in one path (`MAXSYMLINKS`).
pub(crate) const MAX_LINKS: usize = 40;

/// Layers, bottom first, seen as the one tree overlayfs would show. Cheap to clone.
#[derive(Clone, Default)]
pub struct Stack {
    layers: Arc<[Arc<Layer>]>,
}

/// An entry of the merged tree.
#[derive(Clone, Debug)]
pub struct Node {
    /// Which layer shows it (0 is the bottom).
    pub layer: usize,
    /// Its inode in that layer's index.
    pub nid: u64,
    /// What `stat` shows.
    pub metadata: Metadata,
}

/// Where a path leads once every symlink in it is followed inside the root.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The real path, relative, without symlinks, `.` or `..`; `b""` is the root.
    pub path: Vec<u8>,
    /// What is there; `None` when the path (or one of its parents) does not exist.
    pub node: Option<Node>,
}

/// The directories, top first, that one directory of the merged tree is made of.
pub(crate) type Parts = Vec<(usize, Nid)>;

/// What a name stands for in the merged tree.
#[derive(Clone)]
pub(crate) enum Found {
    /// A directory, merged of at least one part.
    Directory(Parts),
    /// Anything else.
    Other { layer: usize, nid: Nid, file_type: FileType },
}

impl Stack {
    /// A stack of `layers`, bottom first; none at all is an empty root directory.
    pub fn new(layers: Vec<Arc<Layer>>) -> Self {
        Self { layers: layers.into() }
    }

    /// The layers, bottom first.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// The entry at a real path (no symlink is followed). The root of a stack without layers is `None`.
    pub fn lookup(&self, path: &[u8]) -> Result<Option<Node>, LayerError> {
        self.find(path)?.map(|found| self.node(&found)).transpose()
    }

    /// Follows every symlink on the way, and the last one if `follow_last`; absolute targets and `..` stay
    /// inside the root. Missing components are kept in `path` as they are written. 40 links at most (ELOOP).
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved, LayerError> {
        let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        let mut steps: Vec<(Vec<u8>, Option<Found>)> = Vec::new();
        let root = self.root();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            if name == b".." {
                steps.pop();
                continue;
            }
            let found = match steps.last() {
                None => self.child(&root, &name)?,
                Some((_, Some(Found::Directory(parts)))) => self.child(parts, &name)?,
                Some(_) => None,
            };
            match found {
                Some(Found::Other { layer, nid, file_type: FileType::Symlink })
                    if follow_last || !pending.is_empty() =>
                {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(too_many_links(path));
                    }
                    let target = self.layers[layer].image().read_link(nid)?;
                    if target.starts_with(b"/") {
                        steps.clear();
                    }
                    pending.extend(components(&target).rev().map(<[u8]>::to_vec));
                }
                found => steps.push((name, found)),
            }
        }
        let node = match steps.last() {
            None => self.find(b"")?,
            Some((_, found)) => found.clone(),
        };
        let path = steps.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(&b'/');
        Ok(Resolved { path, node: node.map(|found| self.node(&found)).transpose()? })
    }

    /// Names and entries of a directory, merged, in byte order.
    ///
    /// # Errors
    /// [`LayerError::Path`] if `path` is not a directory.
    pub fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Node)>, LayerError> {
        let parts = match self.find(path)? {
            Some(Found::Directory(parts)) => parts,
            None if components(path).next().is_none() => Parts::new(),
            _ => return Err(path_error(path, "not a directory")),
        };
        self.children(&parts)?.into_iter().map(|(name, found)| Ok((name, self.node(&found)?))).collect()
    }

    /// A symlink's target.
    pub fn read_link(&self, node: &Node) -> Result<Vec<u8>, LayerError> {
        Ok(self.layers[node.layer].image().read_link(node.nid)?)
    }

    /// A regular file's bytes.
    pub fn open<'a>(&'a self, node: &Node) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
        Ok(Box::new(self.layers[node.layer].reader(node.nid)?))
    }

    /// Content digest of a regular file.
    pub fn content_digest(&self, node: &Node) -> Result<ContentDigest, LayerError> {
        self.layers[node.layer].content_digest(node.nid).ok_or_else(|| LayerError::Path {
            path: PathBuf::from(format!("inode {} of layer {}", node.nid, node.layer)),
            what: "the index has no content digest for it".to_owned(),
        })
    }

    /// The root directory's parts.
    fn root(&self) -> Parts {
        // overlayfs merges the roots of all layers and never asks whether one of them is opaque.
        self.layers.iter().enumerate().rev().map(|(at, layer)| (at, layer.image().root())).collect()
    }

    /// What is at a real path.
    pub(crate) fn find(&self, path: &[u8]) -> Result<Option<Found>, LayerError> {
        let mut at = self.root();
        if at.is_empty() {
            return Ok(None);
        }
        let mut names = components(path).peekable();
        while let Some(name) = names.next() {
            match self.child(&at, name)? {
                Some(Found::Directory(parts)) => at = parts,
                found if names.peek().is_none() => return Ok(found),
                _ => return Ok(None),
            }
        }
        Ok(Some(Found::Directory(at)))
    }

    /// What `name` stands for in the directory made of `parts`.
    pub(crate) fn child(&self, parts: &[(usize, Nid)], name: &[u8]) -> Result<Option<Found>, LayerError> {
        let mut merged = Parts::new();
        for (at, &(layer, directory)) in parts.iter().enumerate() {
            let Some(entry) = self.layers[layer].image().lookup(directory, name)? else { continue };
            if entry.file_type != FileType::Directory {
                if merged.is_empty() && !self.layers[layer].is_whiteout(entry.nid, entry.file_type)? {
                    return Ok(Some(Found::Other { layer, nid: entry.nid, file_type: entry.file_type }));
                }
                break;
            }
            merged.push((layer, entry.nid));
            if at + 1 < parts.len() && self.layers[layer].is_opaque(entry.nid)? {
                break;
            }
        }
        Ok((!merged.is_empty()).then_some(Found::Directory(merged)))
    }

    /// Everything in the directory made of `parts`, in byte order.
    pub(crate) fn children(&self, parts: &[(usize, Nid)]) -> Result<Vec<(Vec<u8>, Found)>, LayerError> {
        let mut names: BTreeMap<&[u8], (usize, Nid, FileType)> = BTreeMap::new();
        for &(layer, directory) in parts {
            for entry in self.layers[layer].image().entries(directory)? {
                names.entry(entry.name).or_insert((layer, entry.nid, entry.file_type));
            }
        }
        let mut children = Vec::with_capacity(names.len());
        for (name, (layer, nid, file_type)) in names {
            let found = match file_type {
                FileType::Directory if parts.len() == 1 => Some(Found::Directory(vec![(layer, nid)])),
                FileType::Directory => self.child(parts, name)?,
                _ if self.layers[layer].is_whiteout(nid, file_type)? => None,
                _ => Some(Found::Other { layer, nid, file_type }),
            };
            children.extend(found.map(|found| (name.to_vec(), found)));
        }
        Ok(children)
    }

    /// What `stat` shows of what was found; a merged directory is shown by its highest part.
    pub(crate) fn node(&self, found: &Found) -> Result<Node, LayerError> {
        let (layer, nid) = match found {
            Found::Directory(parts) => parts[0],
            Found::Other { layer, nid, .. } => (*layer, *nid),
        };
        let mut metadata = self.layers[layer].metadata(nid)?;
        // overlayfs keeps its own notes to itself.
        metadata.xattrs.retain(|xattr| !xattr.name.starts_with(b"trusted.overlay."));
        Ok(Node { layer, nid, metadata })
    }
}

/// The components of a path, without empty ones and `.`.
pub(crate) fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

pub(crate) fn too_many_links(path: &[u8]) -> LayerError {
    path_error(path, "too many levels of symbolic links")
}
