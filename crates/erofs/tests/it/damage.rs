//! Damaged images: errors, never a panic, never an endless walk.

use crate::generate::Random;
use crate::tree::{Tree, plain};
use std::collections::HashSet;
use strata_erofs::{FileType, Image, Kind, ReadError};

const SUPERBLOCK: usize = 1024;

/// Makes the checksum of a damaged superblock right again, so that the damage behind it is reached.
fn reseal(bytes: &mut [u8]) {
    if bytes.len() >= SUPERBLOCK + 512 {
        bytes[SUPERBLOCK + 4..SUPERBLOCK + 8].fill(0);
        let sum = !crc32c::crc32c(&bytes[SUPERBLOCK..SUPERBLOCK + 512]);
        bytes[SUPERBLOCK + 4..SUPERBLOCK + 8].copy_from_slice(&sum.to_le_bytes());
    }
}

/// Asks everything about an inode; says whether every answer was one.
fn ask(image: &Image<&[u8]>, nid: u64) -> Result<(), ReadError> {
    let inode = image.inode(nid)?;
    image.xattrs(nid)?;
    match inode.file_type {
        FileType::Regular => {
            let regions = image.regions(nid)?;
            let covered: u64 = regions.iter().map(|region| region.length).sum();
            assert_eq!(covered, inode.size);
            assert!(regions.len() as u64 <= image.length());
        }
        FileType::Symlink => assert_eq!(image.read_link(nid)?.len() as u64, inode.size),
        FileType::Directory => {
            image.lookup(nid, b"")?;
            image.lookup(nid, b"m")?;
            for entry in image.entries(nid)? {
                assert_eq!(image.lookup(nid, entry.name)?, Some(entry));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Walks without a memory of its own, as callers do, but makes sure that none is needed.
fn walk(image: &Image<&[u8]>) -> Result<(), ReadError> {
    let mut first = Ok(());
    let mut visited = HashSet::new();
    let mut stack = vec![image.root()];
    while let Some(nid) = stack.pop() {
        assert!(visited.insert(nid), "directory {nid} is reached twice");
        first = first.and(ask(image, nid));
        for entry in image.entries(nid).unwrap_or_default() {
            if entry.file_type == FileType::Directory {
                stack.push(entry.nid);
            } else {
                first = first.and(ask(image, entry.nid));
            }
        }
    }
    first
}

/// Whether anything complained.
fn is_noticed(bytes: &[u8]) -> bool {
    let Ok(image) = Image::open(bytes) else { return true };
    let mut noticed = walk(&image).is_err();
    // Inodes that no directory names, and what only looks like one.
    for nid in 0..image.length() / 32 {
        noticed |= ask(&image, nid).is_err();
    }
    noticed
}

#[test]
fn flipped_bytes_never_panic() {
    let mut noticed = 0;
    for seed in 0..40 {
        let mut random = Random(seed);
        let (valid, _) = random.tree(30).write();
        walk(&Image::open(&valid[..]).unwrap()).unwrap();
        for _ in 0..60 {
            let mut bytes = valid.clone();
            for _ in 0..=random.below(6) {
                let at = SUPERBLOCK + random.below((valid.len() - SUPERBLOCK) as u64) as usize;
                bytes[at] = random.pick(&[0, 1, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at].wrapping_add(1)]);
            }
            if !random.one_in(8) {
                reseal(&mut bytes);
            }
            noticed += u32::from(is_noticed(&bytes));
        }
    }
    assert!(noticed > 500, "only {noticed} damages were noticed");
}

#[test]
fn cut_images_are_refused() {
    let (valid, _) = Random(5).tree(40).write();
    for length in 0..valid.len() {
        assert!(Image::open(&valid[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(1);
    for length in [0, 1, 1023, 1024, 1151, 1152, 1536, 5000] {
        let bytes = random.bytes(length);
        assert!(Image::open(&bytes[..]).is_err());
    }
}

/// Lengths and addresses of 0, all ones and the like in every aligned field.
#[test]
fn absurd_fields_never_panic() {
    let mut random = Random(77);
    let (valid, _) = random.tree(25).write();
    for at in (SUPERBLOCK..valid.len()).step_by(4) {
        for value in [[0; 4], [0xff; 4], [0, 0, 0, 0x80], [0xff, 0xff, 0xff, 0x7f]] {
            let mut bytes = valid.clone();
            bytes[at..at + 4].copy_from_slice(&value);
            reseal(&mut bytes);
            if let Ok(image) = Image::open(&bytes[..]) {
                let _ = walk(&image);
            }
        }
    }
}

fn replace_each(bytes: &[u8], old: u64, new: u64) -> Vec<Vec<u8>> {
    let (old, new) = (old.to_le_bytes(), new.to_le_bytes());
    let places = (0..bytes.len() - 8).filter(|at| bytes[*at..at + 8] == old);
    let damaged = places.map(|at| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + 8].copy_from_slice(&new);
        reseal(&mut bytes);
        bytes
    });
    damaged.collect()
}

#[test]
fn directories_that_form_no_tree_are_refused() {
    let mut tree = Tree::new(1);
    let outer = tree.put(0, "outer", plain(0o755), Kind::Directory);
    let inner = tree.put(outer, "inner", plain(0o755), Kind::Directory);
    let twin = tree.put(outer, "twin", plain(0o755), Kind::Directory);
    let (bytes, nids) = tree.write();
    let mut refused = 0;
    for (old, new) in [(inner, outer), (inner, 0), (inner, twin), (twin, inner), (outer, inner), (outer, 0)] {
        for damaged in replace_each(&bytes, nids[old], nids[new]) {
            let image = Image::open(&damaged[..]).unwrap();
            refused += u32::from(walk(&image).is_err());
        }
    }
    assert!(refused >= 6, "only {refused} were refused");
}
