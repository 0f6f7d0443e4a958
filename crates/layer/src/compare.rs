//! Whether two layers show the same files on the same stack.
use crate::error::path_error;
use crate::tree::{Entry, SourceTree, join};
use crate::{FileType, Layer, LayerError, Stack, xattr};
use std::collections::BTreeSet;
use std::sync::Arc;
use strata_erofs::Nid;

/// Whether overlayfs would show the same with `a` or with `b` on top of `below`: names, types, modes, owners, contents,
/// link targets, device numbers and attributes; not times, nor which names are links of one file. A layer that
/// hides something of those below is taken for another.
///
/// # Errors
/// A damaged index.
pub fn same_files(below: &Stack, a: &Arc<Layer>, b: &Arc<Layer>) -> Result<bool, LayerError> {
    let mut paths = BTreeSet::new();
    if !list(a, &mut paths)? || !list(b, &mut paths)? {
        return Ok(false);
    }
    let on = |layer: &Arc<Layer>| {
        Stack::new(below.layers().iter().chain(std::iter::once(layer)).map(Arc::clone).collect())
    };
    let (a, b) = (on(a), on(b));
    for path in paths {
        let same = match (a.entry(&path)?, b.entry(&path)?) {
            (Some(left), Some(right)) => {
                same_entry(&left, &right) && same_content(&path, (&a, &left), (&b, &right))?
            }
            _ => false,
        };
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Adds every path that a layer has; false if it hides any.
fn list(layer: &Layer, paths: &mut BTreeSet<Vec<u8>>) -> Result<bool, LayerError> {
    let mut waiting: Vec<(Vec<u8>, Nid)> = vec![(Vec::new(), layer.image().root())];
    while let Some((directory, nid)) = waiting.pop() {
        if layer.is_opaque(nid)? {
            return Ok(false);
        }
        for entry in layer.image().entries(nid)? {
            let path = join(&directory, entry.name);
            if layer.is_whiteout(entry.nid, entry.file_type)? {
                return Ok(false);
            }
            if entry.file_type == FileType::Directory {
                waiting.push((path.clone(), entry.nid));
            }
            paths.insert(path);
        }
    }
    Ok(true)
}

fn same_entry(a: &Entry, b: &Entry) -> bool {
    let (left, right) = (&a.metadata, &b.metadata);
    let is_link = left.file_type == FileType::Symlink;
    let attributes = |entry: &Entry| {
        let kept = entry.metadata.xattrs.iter().filter(|xattr| xattr::is_content(&xattr.name));
        kept.map(|xattr| (xattr.name.clone(), xattr.value.clone())).collect::<BTreeSet<_>>()
    };
    left.file_type == right.file_type
        && (is_link || left.mode == right.mode)
        && (left.uid, left.gid) == (right.uid, right.gid)
        && left.rdev == right.rdev
        && a.link == b.link
        && (!a.is_file() || left.size == right.size)
        && attributes(a) == attributes(b)
}

fn same_content(
    path: &[u8],
    (a, left): (&Stack, &Entry),
    (b, right): (&Stack, &Entry),
) -> Result<bool, LayerError> {
    let digest = |stack: &Stack, entry: &Entry| {
        let layer = &stack.layers()[entry.identity.device as usize];
        let digest = layer.content_digest(entry.identity.inode);
        digest.ok_or_else(|| path_error(path, "the layer's index has no content digest for it"))
    };
    Ok(!left.is_file() || digest(a, left)? == digest(b, right)?)
}
