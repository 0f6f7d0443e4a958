//! Our own tars: canonical, read back by ourselves, GNU tar, and another parser.

use crate::dialects::unpack;
use crate::generate::Random;
use crate::mounted::{Mounted, may_mount, read, scratch};
use crate::observe::{assert_same, observe};
use fs_err as fs;
use std::io::Read;
use strata_layer::{FileType, LayerBuilder, LayerError, Limits, Metadata, Xattr, ingest};

const EMPTY: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

fn metadata(file_type: FileType, mode: u16, size: u64) -> Metadata {
    let xattrs = Vec::new();
    Metadata { file_type, mode, uid: 0, gid: 0, mtime: 1000, mtime_nsec: 0, size, rdev: (0, 0), xattrs }
}

#[test]
fn the_empty_layer_has_the_digest_everybody_knows() {
    let (tar, info, contents) = LayerBuilder::new(Vec::new()).finish().unwrap();
    assert_eq!(tar, [0; 1024]);
    assert_eq!(info.diff_id.to_string(), EMPTY);
    assert_eq!((info.entries, info.content_size, info.tar_length), (0, 0, 1024));
    let (read, other) = read(&tar);
    assert_eq!(read, info);
    assert_eq!(other.index(None).unwrap(), contents.index(None).unwrap());
}

/// A random layer, made with the builder.
fn layer(seed: u64) -> (Vec<u8>, strata_layer::LayerInfo, strata_layer::Contents) {
    let mut random = Random(seed);
    let mut builder = LayerBuilder::new(Vec::new());
    let mut directories = vec![Vec::new()];
    let mut others: Vec<Vec<u8>> = Vec::new();
    builder.add(b"", &random_metadata(FileType::Directory, &mut random), b"").unwrap();
    for number in 0..80 {
        let parent: &Vec<u8> = &directories[random.below(directories.len() as u64) as usize];
        let mut path = if parent.is_empty() { Vec::new() } else { [&parent[..], b"/"].concat() };
        path.extend_from_slice(format!("{number}").as_bytes());
        let padding = [0, 0, 0, 30, 90, 200][random.below(6) as usize];
        let byte = if random.chance(20) { 0xfe } else { b'n' };
        path.extend(std::iter::repeat_n(byte, padding));
        if path.len() > 4000 {
            continue;
        }
        match random.below(10) {
            0..=2 => {
                builder.add(&path, &random_metadata(FileType::Directory, &mut random), b"").unwrap();
                directories.push(path.clone());
                continue;
            }
            3 => {
                let target = random.below(200) as usize;
                let target = [b"../t/", &vec![b't'; target][..]].concat();
                builder.add(&path, &random_metadata(FileType::Symlink, &mut random), &target).unwrap();
            }
            4 if !others.is_empty() => {
                builder.hard_link(&path, &others[random.below(others.len() as u64) as usize]).unwrap();
            }
            5 => {
                let rdev = (1 + random.below(4095) as u32, random.below(1 << 20) as u32);
                let metadata = Metadata { rdev, ..random_metadata(FileType::BlockDevice, &mut random) };
                builder.add(&path, &metadata, b"").unwrap();
            }
            _ => {
                let limit = if random.chance(5) { 700_000 } else { 3000 };
                let length = random.below(limit) as usize;
                let bytes = random.bytes(length);
                let metadata =
                    Metadata { size: bytes.len() as u64, ..random_metadata(FileType::Regular, &mut random) };
                let digest = builder.add_file(&path, &metadata, &mut &bytes[..], None).unwrap();
                assert_eq!(digest.0, *blake3::hash(&bytes).as_bytes());
            }
        }
        others.push(path);
    }
    builder.finish().unwrap()
}

fn random_metadata(file_type: FileType, random: &mut Random) -> Metadata {
    let any = |random: &mut Random| {
        if random.chance(10) { random.next() as u32 - 1 } else { random.below(9000) as u32 }
    };
    // ext4, where GNU tar unpacks, has times from 1901 to 2446.
    let time =
        if random.chance(10) { -(random.below(1 << 31) as i64) } else { random.below(15_000_000_000) as i64 };
    let mut xattrs = Vec::new();
    if matches!(file_type, FileType::Regular | FileType::Directory) {
        for number in 0..random.below(3) {
            let length = random.below(120) as usize;
            xattrs.push(Xattr { name: format!("user.{number}").into_bytes(), value: random.bytes(length) });
        }
    }
    Metadata {
        file_type,
        mode: random.below(0o10000) as u16,
        uid: any(random),
        gid: any(random),
        mtime: time,
        mtime_nsec: if random.chance(50) { random.below(1_000_000_000) as u32 } else { 0 },
        size: 0,
        rdev: (0, 0),
        xattrs,
    }
}

#[test]
fn what_the_builder_writes_ingest_reads_the_same() {
    for seed in 0..60 {
        let (tar, info, contents) = layer(seed);
        let (found, other) = read(&tar);
        assert_eq!(found, info, "seed {seed}");
        assert!(other.index(None).unwrap() == contents.index(None).unwrap(), "index of seed {seed}");
        assert!(tar == layer(seed).0, "the same calls must give the same bytes");
    }
}

#[test]
fn gnu_tar_unpacks_our_tars_as_the_kernel_shows_them() {
    if !may_mount() {
        return;
    }
    for seed in 100..120 {
        let scratch = scratch();
        let (tar, _, contents) = layer(seed);
        let mounted = Mounted::pair(&tar, &contents.index(None).unwrap(), scratch.path(), "mounted");
        let unpacked = scratch.path().join("unpacked");
        unpack(&scratch.path().join("mounted.tar"), &unpacked);
        let (mut found, mut expected) = (observe(&mounted.path), observe(&unpacked));
        for tree in [&mut found, &mut expected] {
            // GNU tar sets a directory's time when it leaves it, and these members jump back and forth.
            let directories = tree.values_mut().filter(|seen| seen.mode & 0o170000 == 0o040000);
            directories.for_each(|seen| seen.mtime = (0, 0));
        }
        assert_same(&found, &expected, &format!("seed {seed}"));
    }
}

#[test]
fn another_parser_reads_our_headers() {
    let mut builder = LayerBuilder::new(Vec::new());
    let long = [b"d/".to_vec(), vec![b'l'; 240]].concat();
    builder.add(b"", &metadata(FileType::Directory, 0o755, 0), b"").unwrap();
    builder.add(b"d", &metadata(FileType::Directory, 0o1777, 0), b"").unwrap();
    let times = Metadata {
        mtime: -2,
        mtime_nsec: 500_000_000,
        uid: 3_000_000,
        ..metadata(FileType::Regular, 0o4755, 5)
    };
    builder.add_file(&long, &times, &mut &b"12345"[..], None).unwrap();
    builder.whiteout(b"d/gone").unwrap();
    builder.opaque(b"d").unwrap();
    builder.add(b"socket", &metadata(FileType::Socket, 0o644, 0), b"").unwrap();
    let (tar, ..) = builder.finish().unwrap();
    let mut archive = ::tar::Archive::new(&tar[..]);
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let records = entry.pax_extensions().unwrap().map(|records| {
            records
                .map(|record| record.unwrap())
                .map(|record| format!("{}={}", record.key().unwrap(), record.value().unwrap()))
                .filter(|record| !record.starts_with("path="))
                .collect::<Vec<_>>()
                .join(",")
        });
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        let path = entry.path().unwrap().display().to_string();
        found.push((path, header.mode().unwrap(), records.unwrap_or_default(), content));
    }
    let member = |path: &str, mode, records: &str, content: &str| {
        (path.to_owned(), mode, records.to_owned(), content.to_owned())
    };
    let long = String::from_utf8(long).unwrap();
    assert_eq!(
        found,
        [
            member("./", 0o755, "", ""),
            member("d/", 0o1777, "", ""),
            member(&long, 0o4755, "mtime=-1.5,uid=3000000", "12345"),
            member("d/.wh.gone", 0o600, "", ""),
            member("d/.wh..wh..opq", 0o600, "", ""),
            member("socket", 0o644, "", ""),
        ]
    );
}

#[test]
fn plain_entries_are_plain_ustar() {
    let mut builder = LayerBuilder::new(Vec::new());
    builder.add(b"d", &metadata(FileType::Directory, 0o755, 0), b"").unwrap();
    builder.add_file(b"d/f", &metadata(FileType::Regular, 0o644, 3), &mut &b"abc"[..], None).unwrap();
    let (tar, info, _) = builder.finish().unwrap();
    assert_eq!((tar.len(), info.entries, info.content_size), (512 * 3 + 1024, 2, 3));
    // Written down once from GNU tar --format=ustar --numeric-owner with the same entries.
    let header = &tar[512..1024];
    assert_eq!(&header[..8], b"d/f\0\0\0\0\0");
    assert_eq!(
        &header[100..157],
        b"0000644\x000000000\x000000000\x0000000000003\x0000000001750\x00007606\0 0".as_slice()
    );
    assert_eq!(&header[257..265], b"ustar\x0000");
    assert!(header[265..329].iter().all(|byte| *byte == 0));
}

#[test]
fn files_that_change_while_they_are_read_are_named() {
    let fails = |size: u64, content: &[u8]| {
        let mut builder = LayerBuilder::new(Vec::new());
        let metadata = metadata(FileType::Regular, 0o644, size);
        builder.add_file(b"d/file", &metadata, &mut &content[..], None).unwrap_err().to_string()
    };
    assert_eq!(fails(5, b"123"), "d/file: it changed while it was read: it had 5 bytes, then 3");
    assert_eq!(fails(5, b"123456"), "d/file: it changed while it was read: it had 5 bytes, then more");
}

type Work<'a> = &'a dyn Fn(&mut LayerBuilder<Vec<u8>>) -> Result<(), LayerError>;

#[test]
fn the_builder_refuses_what_no_layer_holds() {
    let directory = metadata(FileType::Directory, 0o755, 0);
    let file = metadata(FileType::Regular, 0o644, 0);
    let refused = |work: Work| {
        let error = work(&mut LayerBuilder::new(Vec::new())).unwrap_err();
        assert!(matches!(error, LayerError::Path { .. }), "{error:?}");
        error.to_string()
    };
    for path in [&b"/a"[..], b"a/", b"./a", b"a//b", b"a/../b", b".."] {
        refused(&|builder| builder.add(path, &directory, b""));
    }
    assert!(
        refused(&|builder| builder.add(b".wh.x", &file, b"")).contains("whiteouts in every image format")
    );
    assert!(refused(&|builder| builder.hard_link(b"a", b"b")).contains("must be added before"));
    assert!(refused(&|builder| builder.whiteout(b"")).contains("make it opaque"));
    assert!(refused(&|builder| builder.add(b"", &file, b"")).contains("must be a directory"));
    assert!(
        refused(&|builder| builder.add(b"s", &metadata(FileType::Symlink, 0o777, 0), b""))
            .contains("empty target")
    );
    let device = Metadata { rdev: (4096, 0), ..metadata(FileType::CharDevice, 0o600, 0) };
    assert!(refused(&|builder| builder.add(b"c", &device, b"")).contains("4096:0"));
}

#[test]
fn long_streams_are_hashed_beside_and_short_ones_in_place() {
    for length in [0usize, 1, 511, 512, 262_143 - 512, 262_144 - 512, 262_145, 3_000_000] {
        let bytes = Random(length as u64).bytes(length);
        let mut builder = LayerBuilder::new(Vec::new());
        builder
            .add_file(b"f", &metadata(FileType::Regular, 0o644, length as u64), &mut &bytes[..], None)
            .unwrap();
        let (tar, info, _) = builder.finish().unwrap();
        assert_eq!(info.diff_id.digest(), &strata_oci::Digest::of(&tar), "{length}");
        let (found, _) = ingest(&mut &tar[..], &mut std::io::sink(), &Limits::default()).unwrap();
        assert_eq!(found, info, "{length}");
        assert!(tar[512..512 + length] == bytes);
    }
    let scratch = scratch();
    let path = scratch.path().join("layer");
    let mut builder = LayerBuilder::new(fs::File::create(&path).unwrap());
    builder.add(b"d", &metadata(FileType::Directory, 0o755, 0), b"").unwrap();
    let (_, info, _) = builder.finish().unwrap();
    assert_eq!(info.diff_id.digest(), &strata_oci::Digest::of(&fs::read(&path).unwrap()));
}
