//! Shapes that random trees do not reach, shown by the kernel and by the reader.

use crate::compare::check_reader;
use crate::generate::{Random, acl};
use crate::mounted::{Mounted, check_mount, may_mount, scratch};
use crate::tree::{Tree, plain};
use fs_err as fs;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use strata_erofs::{Attributes, Builder, Data, Extent, Image, Kind, Region, Source, Xattr};

fn check(tree: &Tree) {
    let (image, nids) = tree.write();
    check_reader(tree, &image, &nids);
    if may_mount() {
        let scratch = scratch();
        let mounted = Mounted::tree(tree, &image, scratch.path(), "mount");
        check_mount(tree, &nids, &mounted.path);
    }
}

#[test]
fn directories_of_any_size() {
    let mut tree = Tree::new(1);
    let mut random = Random(7);
    for count in [0, 1, 2, 37, 38, 39, 3000] {
        let directory = tree.put(0, format!("of-{count}"), plain(0o755), Kind::Directory);
        for number in 0..count {
            let kind = if number % 3 == 0 { Kind::Directory } else { Kind::Fifo };
            tree.put(directory, format!("{:x}-{number}", random.next() >> 40), plain(0o600), kind);
        }
    }
    check(&tree);
}

/// One block holds exactly 512 bytes: the last block is full, one byte short of it, or one over.
#[test]
fn directories_that_just_fit_a_block() {
    let mut tree = Tree::new(1);
    for length in 1..=255u16 {
        let directory = tree.put(0, format!("{length}"), plain(0o755), Kind::Directory);
        // `.` and `..` take 27 bytes.
        tree.put(directory, vec![b'a'; 206], plain(0o600), Kind::Fifo);
        tree.put(directory, vec![b'b'; usize::from(length)], plain(0o600), Kind::Fifo);
    }
    check(&tree);
}

#[test]
fn names_of_any_bytes_and_length() {
    let mut tree = Tree::new(1);
    for byte in (1..=255u8).filter(|byte| !b"/.".contains(byte)) {
        tree.put(0, [byte], plain(0o600), Kind::Fifo);
        tree.put(0, vec![byte; 255], plain(0o600), Kind::Socket);
    }
    for name in [&b".-"[..], b"...", b"..a", b".a", b"\xff\xfe", b"a\xc3", b"\n"] {
        if !tree.nodes[0].entries.contains_key(name) {
            tree.put(0, name, plain(0o755), Kind::Directory);
        }
    }
    check(&tree);
}

#[test]
fn symlinks_of_any_length() {
    let mut tree = Tree::new(1);
    let lengths = (1..=40).chain(440..=520).chain([1023, 1024, 1025, 3583, 3584, 3585, 4000, 4094, 4095]);
    for length in lengths {
        tree.put(0, format!("{length}"), plain(0o777), Kind::Symlink(vec![b'x'; length]));
        // An odd xattr length shifts the inline tail.
        let xattrs = vec![Xattr { name: b"trusted.x".to_vec(), value: vec![1; length % 29] }];
        let attributes = Attributes { xattrs, ..plain(0o777) };
        tree.put(0, format!("{length}-with"), attributes, Kind::Symlink(vec![b'y'; length]));
    }
    check(&tree);
}

#[test]
fn files_in_the_image_around_block_borders() {
    let mut tree = Tree::new(1);
    let mut random = Random(3);
    for size in (0..=70).chain(400..=600).chain([1023, 1024, 1025, 4095, 4096, 4097, 100_000]) {
        let bytes = random.bytes(size);
        tree.inline(0, format!("image-{size}"), plain(0o644), &bytes);
        tree.file(0, format!("device-{size}"), plain(0o644), size, &[(1, 0, bytes)]);
    }
    check(&tree);
}

#[test]
fn many_and_long_xattrs() {
    let mut tree = Tree::new(1);
    let xattr = |name: String, value: Vec<u8>| Xattr { name: name.into(), value };
    let with = |xattrs| Attributes { xattrs, ..plain(0o644) };
    let many = (0..2000).map(|number| xattr(format!("user.{number}"), number.to_string().into())).collect();
    tree.inline(0, "many", with(many), b"content");
    tree.inline(0, "long", with(vec![xattr("user.long".into(), vec![9; 65_535])]), b"content");
    let wide = (0..4).map(|number| xattr(format!("user.{number}"), vec![number; 60_000])).collect();
    tree.file(0, "wide", with(wide), 5000, &[(1, 0, vec![1; 5000])]);
    tree.inline(0, "name", with(vec![xattr(format!("user.{}", "n".repeat(250)), Vec::new())]), b"");
    let access = xattr("system.posix_acl_access".into(), acl(1000));
    let default = xattr("system.posix_acl_default".into(), acl(1001));
    tree.put(
        0,
        "acl",
        with(vec![default, access, xattr("security.other".into(), b"s".to_vec())]),
        Kind::Directory,
    );
    check(&tree);
}

#[test]
fn more_links_than_a_compact_inode_counts() {
    let mut tree = Tree::new(1);
    let file = tree.inline(0, "first", plain(0o644), b"shared");
    for number in 0..70_000 {
        tree.name(0, format!("{number}"), file);
    }
    check(&tree);
}

#[test]
fn a_tree_too_deep_for_recursion() {
    const DEPTH: usize = 100_000;
    let mut builder = Builder::new(plain(0o755));
    let mut directory = builder.root();
    for _ in 0..DEPTH {
        let child = builder.add(plain(0o755), Kind::Directory).unwrap();
        builder.link(directory, b"d", child).unwrap();
        directory = child;
    }
    let mut bytes = Vec::new();
    let written = builder.write(&[], &mut bytes).unwrap();
    let image = Image::open(&bytes).unwrap();
    let mut nid = image.root();
    for _ in 0..DEPTH {
        nid = image.lookup(nid, b"d").unwrap().unwrap().nid;
    }
    assert_eq!(Some(&nid), written.nids.last());
    assert!(image.entries(nid).unwrap().is_empty());
}

const GIB: u64 = 1 << 30;

/// Three files over a device of 6 GiB: one continuous, one of two parts with a hole between, one all hole.
fn write_large(path: &Path, device_length: u64) -> Vec<u64> {
    let mut builder = Builder::new(plain(0o755));
    let extent = |logical, length, offset| Extent { logical, length, device: 1, offset };
    let files: [(&[u8], u64, Vec<Extent>); 3] = [
        (b"continuous", 5 * GIB + 17, vec![extent(0, 5 * GIB + 17, 512)]),
        (b"parts", 9 * GIB, vec![extent(GIB, 4096, 5 * GIB), extent(8 * GIB, GIB, 4096)]),
        (b"hole", 5000 * GIB + 1, Vec::new()),
    ];
    let mut ids = Vec::new();
    for (name, size, extents) in files {
        let kind = Kind::Regular { size, data: Data::External(extents) };
        ids.push(builder.add(plain(0o644), kind).unwrap());
        builder.link(builder.root(), name, ids[ids.len() - 1]).unwrap();
    }
    let mut out = fs::File::create(path).unwrap();
    let written = builder.write(&[device_length], &mut out).unwrap();
    ids.into_iter().map(|id| written.nids[id.index()]).collect()
}

#[test]
fn files_over_four_gib() {
    let scratch = scratch();
    let (image, device) = (scratch.path().join("image"), scratch.path().join("device"));
    let length = 6 * GIB;
    let contents = fs::File::create(&device).unwrap();
    contents.set_len(length).unwrap();
    for (offset, mark) in [(512, b"start"), (4096, b"block"), (4 * GIB + 512, b"4 gib"), (5 * GIB, b"5 gib")]
    {
        contents.file().write_all_at(mark, offset).unwrap();
    }
    let nids = write_large(&image, length);

    let bytes = fs::read(&image).unwrap();
    let reader = Image::open(&bytes).unwrap();
    let region = |logical, length, source| Region { logical, length, source };
    assert_eq!(reader.regions(nids[0]).unwrap(), [region(0, 5 * GIB + 17, Source::Device(1, 512))]);
    assert_eq!(
        reader.regions(nids[1]).unwrap(),
        [
            region(0, GIB, Source::Hole),
            region(GIB, 4096, Source::Device(1, 5 * GIB)),
            region(GIB + 4096, 7 * GIB - 4096, Source::Hole),
            region(8 * GIB, GIB, Source::Device(1, 4096)),
        ]
    );
    assert_eq!(reader.regions(nids[2]).unwrap(), [region(0, 5000 * GIB + 1, Source::Hole)]);

    if may_mount() {
        let mounted = Mounted::image(&image, &[device], &scratch.path().join("mount"));
        let probe = |name: &str, size: u64, marks: &[(u64, &[u8; 5])]| {
            let mut file = fs::File::open(mounted.path.join(name)).unwrap();
            assert_eq!(file.metadata().unwrap().size(), size);
            for (offset, mark) in marks {
                let mut found = [0; 5];
                file.seek(SeekFrom::Start(*offset)).unwrap();
                file.read_exact(&mut found).unwrap();
                assert_eq!(&found, *mark, "{name} at {offset}");
            }
        };
        let marks: [(u64, &[u8; 5]); 3] = [(0, b"start"), (4 * GIB, b"4 gib"), (5 * GIB - 512, b"5 gib")];
        probe("continuous", 5 * GIB + 17, &marks);
        probe("parts", 9 * GIB, &[(0, &[0; 5]), (GIB, b"5 gib"), (GIB + 4096, &[0; 5]), (8 * GIB, b"block")]);
        probe("hole", 5000 * GIB + 1, &[(0, &[0; 5]), (4999 * GIB, &[0; 5])]);
    }
}
