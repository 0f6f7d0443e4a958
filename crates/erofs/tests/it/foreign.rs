//! erofs-utils: its images read here, ours checked there.

use crate::generate::Random;
use crate::mounted::{read_xattrs, scratch};
use fs_err as fs;
use rustix::fs::{AtFlags, Timespec, Timestamps};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use strata_erofs::{FileType, Image, Source};

/// The output of a program, or `None` (said aloud) when it is not installed.
fn run(program: &str, arguments: &[&OsStr]) -> Option<std::process::Output> {
    match Command::new(program).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: {program}: {error}");
            None
        }
    }
}

/// A directory with what an uncompressed mkfs.erofs image stores in different ways.
fn fill(root: &Path) {
    let mut random = Random(11);
    for size in [0, 1, 100, 4000, 4095, 4096, 4097, 50_000] {
        fs::write(root.join(format!("file-{size}")), random.bytes(size)).unwrap();
    }
    fs::create_dir_all(root.join("deep/er/est")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for number in 0..2000 {
        fs::write(root.join(format!("many/{number}")), number.to_string()).unwrap();
    }
    fs::hard_link(root.join("file-100"), root.join("deep/hard")).unwrap();
    symlink("target", root.join("short")).unwrap();
    symlink("t/".repeat(1000), root.join("deep/long")).unwrap();
    if rustix::process::geteuid().is_root() {
        // An attribute that many files have becomes a shared one.
        for number in 0..10 {
            for (name, value) in [
                ("user.all", b"same"),
                ("trusted.each", number.to_string().repeat(4).as_bytes().first_chunk().unwrap()),
            ] {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(root.join(format!("many/{number}")), name, value, flags).unwrap();
            }
        }
    }
}

/// Gives everything below `directory` a time of whole seconds: newer mkfs.erofs may drop the rest.
fn set_times(directory: &Path, seconds: &mut i64) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            set_times(&entry.path(), seconds);
        }
        let time = Timespec { tv_sec: *seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, entry.path(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        *seconds += 1;
    }
}

/// Compares a directory of an image with one on disk, and all below.
fn check_directory(image: &Image<Vec<u8>>, device: &[u8], nid: u64, path: &Path) {
    let entries = image.entries(nid).unwrap();
    let found: BTreeSet<Vec<u8>> = entries.iter().map(|entry| entry.name.to_vec()).collect();
    let expected = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_vec());
    assert_eq!(found, expected.collect(), "{path:?}");
    for entry in entries {
        assert_eq!(image.lookup(nid, entry.name).unwrap(), Some(entry));
        let path = path.join(OsStr::from_bytes(entry.name));
        let (inode, stat) = (image.inode(entry.nid).unwrap(), fs::symlink_metadata(&path).unwrap());
        let shown = &inode.attributes;
        assert_eq!(u32::from(shown.mode), stat.mode() & 0o7777, "{path:?}");
        assert_eq!((shown.uid, shown.gid), (stat.uid(), stat.gid()), "{path:?}");
        assert_eq!((shown.mtime, i64::from(shown.mtime_nsec)), (stat.mtime(), stat.mtime_nsec()), "{path:?}");
        assert_eq!(image.xattrs(entry.nid).unwrap(), read_xattrs(&path), "{path:?}");
        match entry.file_type {
            FileType::Directory => check_directory(image, device, entry.nid, &path),
            FileType::Symlink => {
                assert_eq!(
                    image.read_link(entry.nid).unwrap(),
                    fs::read_link(&path).unwrap().into_os_string().into_vec()
                );
            }
            _ => {
                assert_eq!((inode.size, u64::from(inode.nlink)), (stat.size(), stat.nlink()), "{path:?}");
                assert!(content(image, device, entry.nid) == fs::read(&path).unwrap(), "{path:?}");
            }
        }
    }
}

fn content(image: &Image<Vec<u8>>, device: &[u8], nid: u64) -> Vec<u8> {
    let part = |bytes: &[u8], at: u64, length: u64| bytes[at as usize..(at + length) as usize].to_vec();
    let regions = image.regions(nid).unwrap();
    let parts = regions.iter().map(|region| match region.source {
        Source::Image(at) => part(image.bytes(), at, region.length),
        Source::Device(1, at) => part(device, at, region.length),
        Source::Device(slot, _) => panic!("there is no device {slot}"),
        Source::Hole => vec![0; region.length as usize],
    });
    parts.collect::<Vec<_>>().concat()
}

#[test]
fn images_of_mkfs_erofs_can_be_read() {
    let scratch = scratch();
    let (root, path, blob) =
        (scratch.path().join("root"), scratch.path().join("image"), scratch.path().join("blob"));
    fs::create_dir(&root).unwrap();
    fill(&root);
    set_times(&root, &mut 1_500_000_000);
    let blob_option = [b"--blobdev=", blob.as_os_str().as_bytes()].concat();
    let variants: [&[&OsStr]; 3] = [
        &[],
        &[OsStr::new("--chunksize=4096")],
        &[OsStr::new("--chunksize=4096"), OsStr::from_bytes(&blob_option)],
    ];
    for options in variants {
        let fixed = [OsStr::new("--quiet"), OsStr::new("--preserve-mtime")];
        let arguments = [&fixed, options, &[path.as_os_str(), root.as_os_str()]].concat();
        let Some(output) = run("mkfs.erofs", &arguments) else { return };
        assert!(output.status.success(), "{output:?}");
        let device = if blob.exists() { fs::read(&blob).unwrap() } else { Vec::new() };
        let image = Image::open(fs::read(&path).unwrap()).unwrap();
        assert_eq!(image.devices(), u16::from(blob.exists()));
        check_directory(&image, &device, image.root(), &root);
    }
}

/// `FSCK_EROFS` names another fsck.erofs than the installed one, which may be too old for blocks of 512 bytes.
#[test]
fn fsck_erofs_finds_nothing_wrong() {
    let scratch = scratch();
    let path = scratch.path().join("image");
    for seed in 1000..1030 {
        let tree = Random(seed).tree(100);
        fs::write(&path, tree.write().0).unwrap();
        let mut arguments = vec![b"--extract".to_vec()];
        for (index, device) in tree.devices.iter().enumerate() {
            let device_path = scratch.path().join(format!("device{index}"));
            fs::write(&device_path, device).unwrap();
            arguments.push([b"--device=", device_path.as_os_str().as_bytes()].concat());
        }
        arguments.push(path.as_os_str().as_bytes().to_vec());
        let program = std::env::var("FSCK_EROFS").unwrap_or_else(|_| "fsck.erofs".into());
        let arguments: Vec<&OsStr> = arguments.iter().map(|argument| OsStr::from_bytes(argument)).collect();
        let Some(output) = run(&program, &arguments) else { return };
        let message = String::from_utf8_lossy(&output.stderr);
        if message.contains("blksize 512 isn't supported") {
            println!("skipped: this fsck.erofs knows no blocks of 512 bytes");
            return;
        }
        assert!(output.status.success(), "seed {seed}: {message}");
    }
}
