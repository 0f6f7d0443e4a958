//! Any bytes as an image: every question has an answer or an error. `cargo +nightly fuzz run image`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strata_erofs::{FileType, Image};

const SUPERBLOCK: usize = 1024;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    // A checksum that is right lets the fuzzer past the superblock.
    if let Some(covered) = bytes.get_mut(SUPERBLOCK..SUPERBLOCK + 512) {
        covered[4..8].fill(0);
        let sum = !crc32c::crc32c(covered);
        covered[4..8].copy_from_slice(&sum.to_le_bytes());
    }
    let Ok(image) = Image::open(&bytes[..]) else { return };
    let mut directories = vec![image.root()];
    while let Some(nid) = directories.pop() {
        for entry in image.entries(nid).unwrap_or_default() {
            let _ = image.xattrs(entry.nid);
            match entry.file_type {
                FileType::Directory => directories.push(entry.nid),
                FileType::Regular => drop(image.regions(entry.nid)),
                FileType::Symlink => drop(image.read_link(entry.nid)),
                _ => drop(image.inode(entry.nid)),
            }
            assert_eq!(image.lookup(nid, entry.name).ok().flatten(), Some(entry));
        }
    }
});
