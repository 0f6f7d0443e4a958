//! A finished plan, entry by entry in byte order of the paths: the order in which a layer is written.
use super::plan::{self, Block, Body, Finished, Node, dressed};
use crate::tree::{Children, Entries, Entry, Position, join};
use crate::{FileType, Metadata};
use std::collections::btree_map;
use std::iter::Peekable;

/// One entry of the new layer.
pub(super) struct Step {
    pub(super) path: Vec<u8>,
    pub(super) metadata: Metadata,
    /// A symlink's target.
    pub(super) link: Vec<u8>,
    pub(super) body: Body,
    pub(super) opaque: bool,
}

impl Finished<'_> {
    /// Everything, in byte order of the paths; a parent's path is a prefix of its children's, so it comes before them.
    pub(super) fn steps(&self) -> Steps<'_> {
        let mut steps = Steps { plan: self, nodes: self.nodes.iter().peekable(), open: Vec::new() };
        // The root has no entry of its own.
        steps.open(b"");
        steps
    }
}

/// See [`Finished::steps`].
pub(super) struct Steps<'a> {
    plan: &'a Finished<'a>,
    nodes: Peekable<btree_map::Iter<'a, Vec<u8>, Node>>,
    /// Blocks of the directories on the way that have files left.
    open: Vec<Open<'a>>,
}

/// A block with its next file.
struct Open<'a> {
    directory: &'a [u8],
    block: Block,
    /// Those of the same directory that come after it.
    later: &'a [Block],
    items: &'a Entries,
    rest: Children<'a>,
    at: Position,
    path: Vec<u8>,
}

impl<'a> Steps<'a> {
    /// The files of a directory come now.
    fn open(&mut self, directory: &[u8]) {
        let Some((directory, blocks)) = self.plan.blocks.get_key_value(directory) else { return };
        for (number, block) in blocks.iter().enumerate() {
            let items = block.items(self.plan.selections);
            let mut rest = items.children(block.listing);
            if let Some(at) = next_file(items, &mut rest) {
                let path = join(directory, items.name(at));
                let later = &blocks[number + 1..];
                self.open.push(Open { directory, block: *block, later, items, rest, at, path });
            }
        }
    }

    /// Goes on to the next file of an open block; what the last one was.
    fn advance(&mut self, number: usize) -> (Vec<u8>, Position) {
        let open = &mut self.open[number];
        let at = open.at;
        let Some(next) = next_file(open.items, &mut open.rest) else {
            return (self.open.swap_remove(number).path, at);
        };
        open.at = next;
        let path = join(open.directory, open.items.name(next));
        (std::mem::replace(&mut open.path, path), at)
    }
}

fn next_file(items: &Entries, rest: &mut Children<'_>) -> Option<Position> {
    rest.find(|at| items.listing(*at).is_none())
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        loop {
            // Few are open: those of a directory and its parents.
            let first = (0..self.open.len()).min_by(|a, b| self.open[*a].path.cmp(&self.open[*b].path));
            let file = first.map(|number| &self.open[number].path);
            let node = self.nodes.peek().map(|(path, _)| *path);
            if let Some(number) = first
                && (node.is_none() || file <= node)
            {
                let Open { block, later, items, .. } = self.open[number];
                let is_planned = file == node;
                let (path, at) = self.advance(number);
                let is_replaced = || {
                    later.iter().any(|later| later.find(self.plan.selections, plan::name(&path)).is_some())
                };
                if is_planned || is_replaced() {
                    continue;
                }
                let Entry { metadata, link, .. } = items.entry(at);
                let is_file = metadata.file_type == FileType::Regular;
                let Block { selection, root, .. } = block;
                let body = if is_file { Body::Item { selection, root, item: at } } else { Body::None };
                let metadata = dressed(self.plan.options, metadata);
                return Some(Step { path, metadata, link, body, opaque: false });
            }
            let (path, node) = self.nodes.next()?;
            if node.metadata.file_type == FileType::Directory {
                self.open(path);
            }
            let Node { metadata, link, body, opaque, .. } = node;
            let (metadata, link) = (metadata.clone(), link.clone());
            return Some(Step { path: path.clone(), metadata, link, body: *body, opaque: *opaque });
        }
    }
}
