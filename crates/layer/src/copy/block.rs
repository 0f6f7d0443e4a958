//! Blocks: the files of one source directory that go into one directory of the layer. They are planned together, so
//! that a plan has an entry for each directory and none for each file.
use super::CopyError;
use super::error::shown;
use super::plan::{Block, Body, Plan, name, parent};
use super::select::Selection;
use crate::FileType;
use crate::tree::{Entries, Listing, Position, join};

impl Block {
    pub(super) fn items<'a>(&self, selections: &[&'a Selection]) -> &'a Entries {
        &selections[self.selection].roots[self.root].items
    }

    /// The file with a name.
    pub(super) fn find<'a>(
        &self,
        selections: &[&'a Selection],
        name: &[u8],
    ) -> Option<(&'a Entries, Position)> {
        let items = self.items(selections);
        items.find(self.listing, name).filter(|at| items.listing(*at).is_none()).map(|at| (items, at))
    }
}

impl Plan<'_> {
    /// Plans a source directory's contents in `target`, which is planned.
    pub(super) fn place_listings(
        &mut self,
        selection: usize,
        root: usize,
        target: &[u8],
    ) -> Result<(), CopyError> {
        let items = &*self.selections[selection].roots[root].items;
        let enter = |path: Vec<u8>, listing: Listing| {
            (path, Block { selection, root, listing }, items.children(listing))
        };
        let mut open = vec![enter(target.to_vec(), Entries::TOP)];
        while let Some((directory, block, children)) = open.last_mut() {
            let Some(at) = children.next() else {
                open.pop();
                continue;
            };
            let path = join(directory, items.name(at));
            if let Some(below) = items.listing(at) {
                self.add(&path, items.entry(at), Body::None)?;
                open.push(enter(path, below));
            } else {
                let block = *block;
                self.add_to_block(&path, block)?;
            }
        }
        Ok(())
    }

    /// Plans a file of a block.
    fn add_to_block(&mut self, path: &[u8], block: Block) -> Result<(), CopyError> {
        if name(path).starts_with(b".wh.") {
            return Err(CopyError::WhiteoutName(shown(path)));
        }
        // Its directory is planned: only the last component is a question. The block itself has all its files as soon as it has
        // one; what was there before is asked of the others.
        let mut others =
            self.blocks.get(parent(path)).into_iter().flatten().rev().filter(|other| **other != block);
        let other = others.find_map(|other| other.find(self.selections, name(path)));
        let existing = match (self.nodes.get(path), other) {
            (Some(node), _) => Some(node.metadata.file_type),
            (None, Some((items, at))) => Some(items.file_type(at)),
            (None, None) => self.find_below(path)?.map(|(file_type, _)| file_type),
        };
        if existing == Some(FileType::Directory) {
            return Err(CopyError::ReplaceDirectory(shown(path)));
        }
        self.nodes.remove(path);
        match self.blocks.get_mut(parent(path)) {
            Some(blocks) if blocks.last() == Some(&block) => {}
            Some(blocks) => blocks.push(block),
            None => drop(self.blocks.insert(parent(path).to_vec(), vec![block])),
        }
        Ok(())
    }

    /// The file that a block puts at a path.
    pub(super) fn in_block(&self, path: &[u8]) -> Option<(&Entries, Position)> {
        let blocks = self.blocks.get(parent(path))?;
        blocks.iter().rev().find_map(|block| block.find(self.selections, name(path)))
    }
}
