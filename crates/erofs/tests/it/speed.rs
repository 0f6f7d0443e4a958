//! Large trees. The times are printed, not judged: a busy machine proves nothing.

use crate::tree::plain;
use std::time::Instant;
use strata_erofs::{Attributes, Builder, Data, Extent, FileType, Image, Kind};

/// `files` files of 4 KiB in directories of 100, with differing times.
fn build(files: u64) -> Builder {
    let mut builder = Builder::new(plain(0o755));
    let mut directory = builder.root();
    for number in 0..files {
        if number % 100 == 0 {
            directory = builder.add(plain(0o755), Kind::Directory).unwrap();
            builder.link(builder.root(), format!("directory-{number}").as_bytes(), directory).unwrap();
        }
        let extent = Extent { logical: 0, length: 4096, device: 1, offset: 512 + number * 4608 };
        let attributes = Attributes { mtime_nsec: (number % 1000) as u32, ..plain(0o644) };
        let kind = Kind::Regular { size: 4096, data: Data::External(vec![extent]) };
        let file = builder.add(attributes, kind).unwrap();
        builder.link(directory, format!("file-{number}.txt").as_bytes(), file).unwrap();
    }
    builder
}

fn measure(files: u64) {
    let start = Instant::now();
    let builder = build(files);
    let built = start.elapsed();
    let mut bytes = Vec::new();
    let written = builder.write(&[512 + files * 4608], &mut bytes).unwrap();
    let wrote = start.elapsed() - built;
    let image = Image::open(&bytes).unwrap();
    let mut found = 0;
    for directory in image.entries(image.root()).unwrap() {
        for entry in image.entries(directory.nid).unwrap() {
            assert_eq!(entry.file_type, FileType::Regular);
            assert_eq!(image.regions(entry.nid).unwrap().len(), 1);
            found += 1;
        }
    }
    let read = start.elapsed() - built - wrote;
    assert_eq!((found, written.inodes), (files, files + files / 100 + 1));
    println!("{files} files: add {built:?}, write {wrote:?}, read {read:?}, {} bytes", bytes.len());
}

#[test]
fn twenty_thousand_files() {
    measure(20_000);
}

#[test]
fn two_hundred_thousand_files() {
    measure(200_000);
}
