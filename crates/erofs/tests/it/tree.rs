//! The trees of the tests: what an image is built from, and what it must show.

use std::collections::BTreeMap;
use strata_erofs::{Attributes, BLOCK, Builder, Data, Extent, InodeId, Kind, Written};

/// A tree; node 0 is the root.
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Contents of the devices, slot 1 first.
    pub(crate) devices: Vec<Vec<u8>>,
}

pub(crate) struct Node {
    pub(crate) attributes: Attributes,
    pub(crate) kind: Kind,
    /// Of a directory.
    pub(crate) entries: BTreeMap<Vec<u8>, usize>,
    /// Of a regular file.
    pub(crate) content: Vec<u8>,
}

impl Tree {
    pub(crate) fn new(devices: usize) -> Self {
        let mut tree = Tree { nodes: Vec::new(), devices: vec![vec![0xEE; BLOCK as usize]; devices] };
        tree.push(plain(0o755), Kind::Directory);
        tree
    }

    /// Adds a node without a name.
    pub(crate) fn push(&mut self, attributes: Attributes, kind: Kind) -> usize {
        self.nodes.push(Node { attributes, kind, entries: BTreeMap::new(), content: Vec::new() });
        self.nodes.len() - 1
    }

    /// Adds a node with a name.
    pub(crate) fn put(
        &mut self,
        directory: usize,
        name: impl Into<Vec<u8>>,
        attributes: Attributes,
        kind: Kind,
    ) -> usize {
        let node = self.push(attributes, kind);
        self.name(directory, name, node);
        node
    }

    pub(crate) fn name(&mut self, directory: usize, name: impl Into<Vec<u8>>, node: usize) {
        assert!(self.nodes[directory].entries.insert(name.into(), node).is_none());
    }

    /// Adds a regular file whose segments (offset, bytes) are appended to the devices, as tars pad them.
    pub(crate) fn file(
        &mut self,
        directory: usize,
        name: impl Into<Vec<u8>>,
        attributes: Attributes,
        size: u64,
        segments: &[(u16, u64, Vec<u8>)],
    ) -> usize {
        let mut content = vec![0; size as usize];
        let mut extents = Vec::new();
        for (device, logical, bytes) in segments {
            let end = *logical as usize + bytes.len();
            content[*logical as usize..end].copy_from_slice(bytes);
            let target = &mut self.devices[usize::from(*device) - 1];
            let offset = target.len() as u64;
            extents.push(Extent { logical: *logical, length: bytes.len() as u64, device: *device, offset });
            target.extend_from_slice(bytes);
            // What follows the end of a file must not show; what follows an inner end must be zeros.
            let padding = if end as u64 == size { 0xDD } else { 0 };
            target.resize(target.len().next_multiple_of(BLOCK as usize), padding);
        }
        let node =
            self.put(directory, name, attributes, Kind::Regular { size, data: Data::External(extents) });
        self.nodes[node].content = content;
        node
    }

    /// Adds a regular file whose content is in the image.
    pub(crate) fn inline(
        &mut self,
        directory: usize,
        name: impl Into<Vec<u8>>,
        attributes: Attributes,
        bytes: &[u8],
    ) -> usize {
        let kind = Kind::Regular { size: bytes.len() as u64, data: Data::Inline(bytes.to_vec()) };
        let node = self.put(directory, name, attributes, kind);
        self.nodes[node].content = bytes.to_vec();
        node
    }

    /// How many names and subdirectories make up each node's link count.
    pub(crate) fn link_counts(&self) -> Vec<u32> {
        let directory = |node: usize| matches!(self.nodes[node].kind, Kind::Directory);
        let mut counts: Vec<u32> =
            (0..self.nodes.len()).map(|node| if directory(node) { 2 } else { 0 }).collect();
        for (parent, node) in self.nodes.iter().enumerate() {
            for &child in node.entries.values() {
                counts[if directory(child) { parent } else { child }] += 1;
            }
        }
        counts
    }

    pub(crate) fn device_lengths(&self) -> Vec<u64> {
        self.devices.iter().map(|device| device.len() as u64).collect()
    }

    /// Adds everything to a builder, in the order of the nodes.
    pub(crate) fn builder(&self) -> (Builder, Vec<InodeId>) {
        self.builder_in_order(0..self.nodes.len())
    }

    /// Adds the nodes in another order. The ids are indexed by node.
    pub(crate) fn builder_in_order(
        &self,
        order: impl DoubleEndedIterator<Item = usize> + Clone,
    ) -> (Builder, Vec<InodeId>) {
        let mut builder = Builder::new(self.nodes[0].attributes.clone());
        let mut ids = vec![builder.root(); self.nodes.len()];
        for node in order.clone().filter(|node| *node != 0) {
            let Node { attributes, kind, .. } = &self.nodes[node];
            ids[node] = builder.add(attributes.clone(), kind.clone()).unwrap();
        }
        for node in order {
            for (name, child) in &self.nodes[node].entries {
                builder.link(ids[node], name, ids[*child]).unwrap();
            }
        }
        (builder, ids)
    }

    /// The image, and the nid of each node.
    pub(crate) fn write(&self) -> (Vec<u8>, Vec<u64>) {
        let (builder, ids) = self.builder();
        let mut image = Vec::new();
        let Written { length, inodes, nids } = builder.write(&self.device_lengths(), &mut image).unwrap();
        assert_eq!((length, inodes), (image.len() as u64, self.nodes.len() as u64));
        assert_eq!(length % 4096, 0);
        (image, ids.iter().map(|id| nids[id.index()]).collect())
    }
}

/// Attributes with nothing special.
pub(crate) fn plain(mode: u16) -> Attributes {
    Attributes { mode, mtime: 1_700_000_000, ..Attributes::default() }
}
