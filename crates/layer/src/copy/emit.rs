//! Writing a plan.
use super::CopyError;
use super::error::shown;
use super::plan::{Body, Node, Planned};
use super::read_ahead::{Content, Job, ReadAhead};
use super::select::{Item, Selection};
use crate::{ContentDigest, FileType, LayerBuilder};
use std::collections::HashMap;
use std::io::Write;

/// Writes every planned entry in byte order of the paths; a parent's path is a prefix of its children's, so it
/// comes before them.
pub(super) fn emit<W: Write>(
    planned: Planned,
    selections: &[Selection],
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let links = hard_links(&planned, selections);
    let jobs: Vec<Job<'_>> = planned
        .iter()
        .filter(|(path, _)| !links.contains_key(path.as_slice()))
        .filter_map(|(_, node)| job(node, selections))
        .collect();
    ReadAhead::run(&jobs, |reading| {
        for (path, node) in &planned {
            match links.get(path.as_slice()) {
                Some(target) => builder.hard_link(path, target)?,
                None => write(path, node, selections, reading, builder)?,
            }
        }
        Ok(())
    })
}

fn item(body: Body, selections: &[Selection]) -> Option<(&Selection, Vec<u8>, &Item)> {
    let Body::Item { selection, root, item } = body else { return None };
    let selection = &selections[selection];
    let root = &selection.roots[root];
    let item = &root.items[item];
    Some((selection, root.source_path(item), item))
}

fn job<'a>(node: &Node, selections: &'a [Selection]) -> Option<Job<'a>> {
    let (selection, path, item) = item(node.body, selections)?;
    Some(Job { tree: &*selection.tree, path, entry: &item.entry })
}

/// Paths that are further names of an inode, with the path that is written as the file. Names belong together
/// within one source only.
fn hard_links<'a>(planned: &'a Planned, selections: &[Selection]) -> HashMap<&'a [u8], &'a [u8]> {
    let mut first: HashMap<(usize, usize, u64, u64), &[u8]> = HashMap::new();
    let mut links = HashMap::new();
    for (path, node) in planned {
        let Body::Item { selection, root, .. } = node.body else { continue };
        let Some((.., item)) = item(node.body, selections) else { continue };
        let identity = item.entry.identity;
        if identity.links < 2 {
            continue;
        }
        let target = first.entry((selection, root, identity.device, identity.inode)).or_insert(path);
        if *target != path.as_slice() {
            links.insert(path.as_slice(), *target);
        }
    }
    links
}

fn write<W: Write>(
    path: &[u8],
    node: &Node,
    selections: &[Selection],
    reading: &ReadAhead<'_>,
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let Some((selection, source, item)) = item(node.body, selections) else {
        builder.add(path, &node.metadata, &node.link)?;
        if node.opaque {
            builder.opaque(path)?;
        }
        return Ok(());
    };
    debug_assert_eq!(node.metadata.file_type, FileType::Regular);
    let known = item.digest.get().copied();
    let digest = match reading.take()? {
        Content::Whole(bytes, digest) => {
            check(known, digest, &source)?;
            builder.add_file(path, &node.metadata, &mut bytes.as_slice(), Some(digest))?
        }
        Content::Stream => {
            let mut content = selection.tree.open(&source, &item.entry)?;
            let digest = builder.add_file(path, &node.metadata, &mut content, None)?;
            check(known, digest, &source)?;
            digest
        }
    };
    if known.is_none() {
        let _ = item.digest.set(digest);
        selection.tree.remember(&source, &item.entry, digest);
    }
    Ok(())
}

/// The key was made from what the file held then: a layer with something else must not be filed under it.
fn check(known: Option<ContentDigest>, read: ContentDigest, source: &[u8]) -> Result<(), CopyError> {
    match known {
        Some(known) if known != read => Err(CopyError::Changed(shown(source))),
        _ => Ok(()),
    }
}
