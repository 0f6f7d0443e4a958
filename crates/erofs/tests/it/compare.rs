//! An image as this crate's reader sees it, against the tree it was built from.

use crate::tree::Tree;
use strata_erofs::{Attributes, Image, Kind, Region, Source};

/// Compares everything the reader can tell.
pub(crate) fn check_reader(tree: &Tree, bytes: &[u8], nids: &[u64]) {
    let image = Image::open(bytes).unwrap();
    assert_eq!(image.length(), bytes.len() as u64);
    assert_eq!(image.root(), nids[0]);
    assert_eq!(usize::from(image.devices()), tree.devices.len());
    let counts = tree.link_counts();
    for (index, node) in tree.nodes.iter().enumerate() {
        let nid = nids[index];
        let inode = image.inode(nid).unwrap();
        let expected = Attributes { xattrs: Vec::new(), ..node.attributes.clone() };
        assert_eq!((&inode.attributes, inode.nlink), (&expected, counts[index]), "node {index}");
        assert_eq!(inode.file_type, node.kind.file_type());
        let mut xattrs = node.attributes.xattrs.clone();
        xattrs.sort();
        assert_eq!(image.xattrs(nid).unwrap(), xattrs, "xattrs of node {index}");
        match &node.kind {
            Kind::Directory => check_directory(tree, &image, index, nids),
            Kind::Regular { size, .. } => {
                assert_eq!(inode.size, *size);
                assert_eq!(read(tree, &image, nid), node.content, "content of node {index}");
            }
            Kind::Symlink(target) => assert_eq!(&image.read_link(nid).unwrap(), target),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                assert_eq!(inode.rdev, (*major, *minor));
            }
            Kind::Fifo | Kind::Socket => assert_eq!((inode.size, inode.rdev), (0, (0, 0))),
        }
    }
}

fn check_directory(tree: &Tree, image: &Image<&[u8]>, index: usize, nids: &[u64]) {
    let entries = image.entries(nids[index]).unwrap();
    let found: Vec<(&[u8], u64)> = entries.iter().map(|entry| (entry.name, entry.nid)).collect();
    let expected = tree.nodes[index].entries.iter().map(|(name, child)| (&name[..], nids[*child]));
    assert_eq!(found, expected.collect::<Vec<_>>(), "directory {index}");
    for entry in entries {
        assert_eq!(image.lookup(nids[index], entry.name).unwrap(), Some(entry));
        let longer = [entry.name, b"\x01"].concat();
        if !tree.nodes[index].entries.contains_key(&longer) {
            assert_eq!(image.lookup(nids[index], &longer).unwrap(), None);
        }
    }
}

/// A file's content, put together from its regions.
pub(crate) fn read(tree: &Tree, image: &Image<&[u8]>, nid: u64) -> Vec<u8> {
    let mut content = Vec::new();
    for Region { logical, length, source } in image.regions(nid).unwrap() {
        assert_eq!(logical, content.len() as u64);
        let part = |bytes: &[u8], at: u64| bytes[at as usize..(at + length) as usize].to_vec();
        content.extend(match source {
            Source::Device(slot, at) => part(&tree.devices[usize::from(slot) - 1], at),
            Source::Image(at) => part(image.bytes(), at),
            Source::Hole => vec![0; length as usize],
        });
    }
    content
}
