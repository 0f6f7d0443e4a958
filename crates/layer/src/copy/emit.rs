//! Writing a plan.
use super::CopyError;
use super::archive::write_members;
use super::batch::{Content, Job};
use super::error::shown;
use super::plan::{Body, Finished, MemberId};
use super::read_ahead::reading_ahead;
use super::select::{Root, Selection};
use super::steps::Step;
use crate::tree::{Identity, Position};
use crate::{ContentDigest, LayerBuilder, Metadata, Stack};
use std::collections::HashMap;
use std::io::Write;

/// Writes every planned entry in byte order of the paths. Files from archives follow, in the archives' order: their
/// bytes come in no other.
pub(super) fn emit<W: Write>(
    plan: Finished<'_>,
    selections: &[&Selection],
    below: Option<&Stack>,
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let sources = Sources { selections, below, plan: &plan };
    let links = sources.links();
    let is_file = |step: &Step| !links.contains_key(&step.path);
    let jobs = plan.steps().filter(is_file).filter_map(|step| sources.job(step.body));
    let most = selections.iter().map(|selection| selection.len()).sum::<usize>() + plan.lower.len();
    reading_ahead(Box::new(jobs), most, |reading| {
        for step in plan.steps() {
            let Step { path, metadata, link, body, opaque } = &step;
            match (links.get(path), body) {
                (Some(target), _) => builder.hard_link(path, target)?,
                (None, Body::Member(_)) => {}
                (None, Body::None) => {
                    builder.add(path, metadata, link)?;
                    if *opaque {
                        builder.opaque(path)?;
                    }
                }
                (None, Body::Item { .. } | Body::Below(_)) => {
                    let (job, content) = reading.take()?;
                    write_file(path, metadata, &job, content, sources.item(*body), builder)?;
                }
            }
        }
        Ok::<_, CopyError>(())
    })?;
    write_members(&sources.members(), selections, builder)
}

/// Where bodies are found.
struct Sources<'a> {
    selections: &'a [&'a Selection],
    below: Option<&'a Stack>,
    plan: &'a Finished<'a>,
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

/// Further names with the one that is written as the file.
type Links = HashMap<Vec<u8>, Vec<u8>>;
/// The names of archive members.
type Members<'a> = HashMap<MemberId, Vec<(&'a [u8], &'a Metadata)>>;

impl<'a> Sources<'a> {
    fn item(&self, body: Body) -> Option<(&'a Root, Position)> {
        let Body::Item { selection, root, item } = body else { return None };
        Some((&self.selections[selection].roots[root], item))
    }

    fn job(&self, body: Body) -> Option<Job<'a>> {
        if let (Body::Below(number), Some(below)) = (body, self.below) {
            let (path, entry) = &self.plan.lower[number];
            return Some(Job {
                tree: below,
                path: path.clone(),
                entry: entry.clone(),
                digest: None,
                place: None,
            });
        }
        let Body::Item { selection, root, item } = body else { return None };
        let selection = self.selections[selection];
        let root = &selection.roots[root];
        Some(Job {
            tree: &*selection.tree,
            path: root.source_path(item),
            entry: root.items.entry(item),
            digest: root.items.digest(item),
            place: root.items.place(item),
        })
    }

    fn inode(&self, body: Body) -> Option<Inode> {
        match body {
            Body::None | Body::Member(_) => None,
            Body::Below(number) => Some(Inode::Below(number)),
            Body::Item { selection, root, .. } => {
                let (source, at) = self.item(body)?;
                let Identity { device, inode, links, .. } = source.items.entry(at).identity;
                (links > 1).then_some(Inode::Item { selection, root, device, inode })
            }
        }
    }

    /// Finds the names that belong together.
    fn links(&self) -> Links {
        let mut roots = self.selections.iter().flat_map(|selection| &selection.roots);
        if self.plan.lower.is_empty() && !roots.any(|root| root.items.has_hard_links()) {
            return Links::new();
        }
        let mut first: HashMap<Inode, Vec<u8>> = HashMap::new();
        let mut links = Links::new();
        for step in self.plan.steps() {
            let Some(inode) = self.inode(step.body) else { continue };
            match first.get(&inode) {
                Some(target) => drop(links.insert(step.path, target.clone())),
                None => drop(first.insert(inode, step.path)),
            }
        }
        links
    }

    fn members(&self) -> Members<'a> {
        let mut members = Members::new();
        for (path, node) in &self.plan.nodes {
            if let Body::Member(id) = node.body {
                members.entry(id).or_default().push((path.as_slice(), &node.metadata));
            }
        }
        members
    }
}

fn write_file<W: Write>(
    path: &[u8],
    metadata: &Metadata,
    job: &Job<'_>,
    content: Content<'_>,
    item: Option<(&Root, Position)>,
    builder: &mut LayerBuilder<W>,
) -> Result<(), CopyError> {
    let digest = match content {
        Content::Whole(mut bytes, digest) => {
            check(job, digest)?;
            builder.add_file(path, metadata, &mut bytes, Some(digest))?
        }
        Content::Stream => {
            let mut content = job.tree.open(&job.path, &job.entry)?;
            let digest = builder.add_file(path, metadata, &mut content, None)?;
            check(job, digest)?;
            digest
        }
    };
    if let Some((Root { path, items, .. }, at)) = item {
        items.is_written_at(at, builder.content_offset(metadata.size));
        if job.digest.is_none() {
            items.set_digest(at, digest);
            job.tree.note_digest(path, items, at);
        }
    }
    Ok(())
}

/// The key was made from what the file held then: a layer with something else must not be filed under it.
fn check(job: &Job<'_>, read: ContentDigest) -> Result<(), CopyError> {
    match job.digest {
        Some(known) if known != read => Err(CopyError::Changed(shown(&job.path))),
        _ => Ok(()),
    }
}
