//! Writing a plan.
use super::CopyError;
use super::archive::write_members;
use super::error::shown;
use super::plan::{Body, Finished, MemberId, Node, Planned};
use super::read_ahead::{Content, Job, ReadAhead};
use super::select::{Item, Selection};
use crate::tree::{Entry, SourceTree};
use crate::{ContentDigest, LayerBuilder, Metadata, Stack};
use std::collections::HashMap;
use std::io::Write;

/// Writes every planned entry in byte order of the paths; a parent's path is a prefix of its children's, so it
/// comes before them. Files from archives follow, in the archives' order: their bytes come in no other.
pub(super) fn emit<W: Write>(
    plan: Finished,
    selections: &[&Selection],
    below: Option<&Stack>,
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let sources = Sources { selections, below, lower: &plan.lower };
    let (links, members) = inodes(&plan.nodes, &sources);
    let is_file = |path: &[u8]| !links.contains_key(path);
    let jobs: Vec<Job<'_>> = plan
        .nodes
        .iter()
        .filter(|(path, _)| is_file(path))
        .filter_map(|(_, node)| sources.job(node))
        .collect();
    ReadAhead::run(&jobs, |reading| {
        for (path, node) in &plan.nodes {
            match (links.get(path.as_slice()), node.body) {
                (Some(target), _) => builder.hard_link(path, target)?,
                (None, Body::Member(_)) => {}
                (None, Body::None) => {
                    builder.add(path, &node.metadata, &node.link)?;
                    if node.opaque {
                        builder.opaque(path)?;
                    }
                }
                (None, Body::Item { .. } | Body::Below(_)) => {
                    write_file(path, node, &sources, reading, builder)?;
                }
            }
        }
        Ok::<_, CopyError>(())
    })?;
    write_members(&members, selections, builder)
}

/// Where bodies are found.
struct Sources<'a> {
    selections: &'a [&'a Selection],
    below: Option<&'a Stack>,
    lower: &'a [(Vec<u8>, Entry)],
}

impl<'a> Sources<'a> {
    fn item(&self, body: Body) -> Option<(&'a Selection, Vec<u8>, &'a Item)> {
        let Body::Item { selection, root, item } = body else { return None };
        let selection = self.selections[selection];
        let root = &selection.roots[root];
        let item = &root.items[item];
        Some((selection, root.source_path(item), item))
    }

    fn job(&self, node: &Node) -> Option<Job<'a>> {
        if let (Body::Below(number), Some(below)) = (node.body, self.below) {
            let (path, entry) = &self.lower[number];
            return Some(Job { tree: below, path: path.clone(), entry });
        }
        let (selection, path, item) = self.item(node.body)?;
        Some(Job { tree: &*selection.tree, path, entry: &item.entry })
    }
}

/// An inode of the new layer.
#[derive(PartialEq, Eq, Hash)]
enum Inode {
    /// Of a source: names belong together within one source only.
    Item {
        selection: usize,
        root: usize,
        device: u64,
        inode: u64,
    },
    Below(usize),
}

type Links<'a> = HashMap<&'a [u8], &'a [u8]>;
type Members<'a> = HashMap<MemberId, Vec<(&'a [u8], &'a Metadata)>>;

/// Finds the names that belong together: further names with the one that is written as the file, and the names of
/// each archive member.
fn inodes<'a>(planned: &'a Planned, sources: &Sources<'_>) -> (Links<'a>, Members<'a>) {
    let mut first: HashMap<Inode, &[u8]> = HashMap::new();
    let (mut links, mut members) = (Links::new(), Members::new());
    for (path, node) in planned {
        let inode = match node.body {
            Body::None => continue,
            Body::Member(id) => {
                members.entry(id).or_default().push((path.as_slice(), &node.metadata));
                continue;
            }
            Body::Below(number) => Inode::Below(number),
            Body::Item { selection, root, .. } => match sources.item(node.body) {
                Some((.., item)) if item.entry.identity.links > 1 => {
                    let identity = item.entry.identity;
                    Inode::Item { selection, root, device: identity.device, inode: identity.inode }
                }
                _ => continue,
            },
        };
        let target = first.entry(inode).or_insert(path);
        if *target != path.as_slice() {
            links.insert(path.as_slice(), *target);
        }
    }
    (links, members)
}

fn write_file<W: Write>(
    path: &[u8],
    node: &Node,
    sources: &Sources<'_>,
    reading: &ReadAhead<'_>,
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let Some(Job { tree, path: source, entry }) = sources.job(node) else { return Ok(()) };
    let item = sources.item(node.body).map(|(.., item)| item);
    let known = item.and_then(|item| item.digest.get().copied());
    let digest = match reading.take()? {
        Content::Whole(bytes, digest) => {
            check(known, digest, &source)?;
            builder.add_file(path, &node.metadata, &mut bytes.as_slice(), Some(digest))?
        }
        Content::Stream => {
            let mut content = tree.open(&source, entry)?;
            let digest = builder.add_file(path, &node.metadata, &mut content, None)?;
            check(known, digest, &source)?;
            digest
        }
    };
    if let (Some(item), None) = (item, known) {
        let _ = item.digest.set(digest);
        SourceTree::remember(tree, &source, entry, digest);
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
