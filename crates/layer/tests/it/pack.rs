//! Upper directories of a real overlayfs, packed.

use crate::dialects::gnu_tar;
use crate::generate::{self, CAPABILITY, Random, Shape};
use crate::handmade::Raw;
use crate::mounted::{Mounted, may_mount, open, read, scratch};
use crate::observe::{Tree, assert_same, observe, without_overlay_xattrs};
use fs_err as fs;
use fs_err::os::unix::fs::symlink;
use rustix::fs::{Mode, XattrFlags};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use strata_layer::{LayerError, Stack, pack};

fn base() -> Vec<u8> {
    let mut tar = Raw::default()
        .dir("./")
        .dir("etc")
        .file("etc/passwd", b"root")
        .file("etc/hosts", b"localhost")
        .dir("old");
    for number in 0..50 {
        tar = tar.file(&format!("old/{number}"), format!("{number}").as_bytes());
    }
    let tar = tar
        .dir("gone")
        .file("gone/a", b"a")
        .dir("gone/deep")
        .file("gone/deep/b", b"b")
        .dir("swap")
        .file("swap/s", b"s");
    let tar = tar
        .file("target", b"t")
        .symlink("link", "target")
        .dir("cleared")
        .file("cleared/was", b"was")
        .dir("renamed");
    tar.file("renamed/in", b"in").end()
}

/// What a RUN may do to a file system.
fn change(root: &Path) {
    fs::write(root.join("etc/passwd"), b"root and more").unwrap();
    fs::remove_file(root.join("etc/hosts")).unwrap();
    fs::remove_dir_all(root.join("gone")).unwrap();
    for number in (0..50).step_by(3) {
        fs::remove_file(root.join(format!("old/{number}"))).unwrap();
    }
    fs::remove_dir_all(root.join("swap")).unwrap();
    fs::write(root.join("swap"), b"a file now").unwrap();
    fs::remove_file(root.join("target")).unwrap();
    fs::create_dir(root.join("target")).unwrap();
    fs::write(root.join("target/inside"), b"inside").unwrap();
    fs::remove_dir_all(root.join("cleared")).unwrap();
    fs::create_dir(root.join("cleared")).unwrap();
    fs::write(root.join("cleared/is"), b"is").unwrap();
    fs::rename(root.join("old/1"), root.join("old/moved")).unwrap();
    add(root);
}

fn add(root: &Path) {
    let name = "ü-".repeat(80);
    fs::create_dir(root.join("new")).unwrap();
    fs::write(root.join("new").join(&name), vec![7; 1_000_000]).unwrap();
    fs::write(root.join("new/a"), b"linked").unwrap();
    fs::hard_link(root.join("new/a"), root.join("new/b")).unwrap();
    fs::hard_link(root.join("new/a"), root.join("c")).unwrap();
    symlink("../../nowhere", root.join("new/out")).unwrap();
    fs::hard_link(root.join("new/out"), root.join("new/out2")).unwrap();
    fs::set_permissions(root.join("new/a"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    let cwd = rustix::fs::CWD;
    let mode = Mode::from_raw_mode(0o620);
    rustix::fs::mknodat(cwd, root.join("new/fifo"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let device = rustix::fs::makedev(200, 70_000);
    rustix::fs::mknodat(cwd, root.join("new/block"), rustix::fs::FileType::BlockDevice, mode, device)
        .unwrap();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    set("new/b", "security.capability", &CAPABILITY);
    set("new", "user.binary", b"\0\xff\n=");
    set("new/a", "user.with=sign%", b"x");
    set("new", "system.posix_acl_default", &acl());
    let sparse = fs::File::create(root.join("new/sparse")).unwrap();
    sparse.set_len(300_000).unwrap();
    sparse.file().write_all_at(b"x", 200_000).unwrap();
}

/// `user::rwx,user:1000:r-x,group::r-x,mask::rwx,other::r-x` in the kernel's form.
fn acl() -> Vec<u8> {
    let entries =
        [(1u16, 7u16, u32::MAX), (2, 5, 1000), (4, 5, u32::MAX), (16, 7, u32::MAX), (32, 5, u32::MAX)];
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// Changes a tree through overlayfs, packs the upper directory, mounts the packed layer on the same base: the tree must be
/// the same. Gives that tree.
fn assert_packs(base: &[u8], what: &str, change: impl FnOnce(&Path)) -> Tree {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let lower = Mounted::tar(base, scratch.path(), "base");
    let (upper, work) = (at("upper"), at("work"));
    let overlay = Mounted::writable(&[&lower.path], &upper, &work, at("merged"));
    change(&overlay.path);
    // The packed layer does not hold the root itself, so compare with a root as it is below.
    let mut expected = without_overlay_xattrs(observe(&overlay.path));
    drop(overlay);

    let mut tar = Vec::new();
    let (info, contents) = pack(&upper, &mut tar).unwrap();
    assert_eq!(read(&tar).0, info, "{what}: ingest must see what pack wrote");
    let parents = Stack::new(vec![open(base, read(base).1.index(None).unwrap(), scratch.path())]);
    let index = contents.index(Some(&parents)).unwrap();
    assert!(read(&tar).1.index(Some(&parents)).unwrap() == index, "{what}: both indexes must be the same");
    let top = Mounted::pair(&tar, &index, scratch.path(), "top");
    let again = Mounted::overlay(&[&lower.path, &top.path], at("again"));
    let mut found = without_overlay_xattrs(observe(&again.path));
    for tree in [&mut expected, &mut found] {
        tree.remove(&b""[..]);
        tree.values_mut().for_each(|seen| {
            // overlayfs shows 1 for merged directories, and other numbers for pure ones on ext4.
            if seen.mode & 0o170000 == 0o040000 {
                seen.links = 0;
            }
        });
    }
    assert_same(&found, &expected, what);
    expected
}

#[test]
fn a_packed_upper_shows_the_same_tree_again() {
    if !may_mount() {
        return;
    }
    let tree = assert_packs(&base(), "packed upper", change);
    assert_eq!(tree[&b"new/b"[..]].xattrs.len(), 2);
    assert_eq!(tree[&b"new"[..]].xattrs.len(), 2);
}

/// Packing is the inverse of applying, whatever a step does: random trees, random changes.
#[test]
fn random_changes_of_random_trees_are_packed_and_applied_again() {
    if !may_mount() {
        return;
    }
    for seed in 0..6 {
        let mut random = Random(seed);
        let source = scratch();
        let tree = source.path().join("tree");
        fs::create_dir(&tree).unwrap();
        generate::tree(&tree, SHAPE, &mut random);
        let tar = source.path().join("base.tar");
        gnu_tar(
            &["-c", "--format=pax", "--xattrs", "--xattrs-include=*", "--numeric-owner", "."],
            &tree,
            &tar,
        );
        assert_packs(&fs::read(&tar).unwrap(), &format!("seed {seed}"), |root| {
            (0..40).for_each(|_| disturb(root, &mut random));
        });
    }
}

const SHAPE: Shape = Shape {
    entries: 60,
    long_names: true,
    any_bytes: true,
    specials: true,
    xattrs: true,
    any_time: true,
    any_owner: true,
    holes: true,
};

/// One change somewhere. What the kernel refuses (a directory of the layer below cannot be renamed) is left undone.
fn disturb(root: &Path, random: &mut Random) {
    let mut all: Vec<PathBuf> = observe(root)
        .into_keys()
        .filter(|path| !path.is_empty())
        .map(|path| root.join(OsStr::from_bytes(&path)))
        .collect();
    all.push(root.join("first"));
    let any = |random: &mut Random| all[random.below(all.len() as u64) as usize].clone();
    let (one, other) = (any(random), any(random));
    let new = other.parent().unwrap().join(format!("new{}", random.below(30)));
    let is_directory = fs::symlink_metadata(&one).is_ok_and(|found| found.is_dir());
    let content = {
        let length = random.below(5000) as usize;
        random.bytes(length)
    };
    let _ = match random.below(11) {
        0 if is_directory => fs::remove_dir_all(&one),
        0 => fs::remove_file(&one),
        1 => fs::rename(&one, &new),
        2 => fs::rename(&one, &other),
        3 => fs::create_dir_all(new.join("in")),
        4 => fs::write(&new, content),
        5 => {
            // Another kind of thing at the same place.
            let _ = if is_directory { fs::remove_dir_all(&one) } else { fs::remove_file(&one) };
            if is_directory { fs::write(&one, content) } else { fs::create_dir(&one) }
        }
        6 => fs::hard_link(&one, &new),
        7 => symlink(&other, &new),
        8 if !fs::symlink_metadata(&one).is_ok_and(|found| found.is_symlink()) => {
            fs::set_permissions(&one, std::fs::Permissions::from_mode(random.below(0o10000) as u32))
        }
        9 => std::os::unix::fs::lchown(&one, Some(random.below(70_000) as u32), Some(7)),
        _ => {
            let value = content.get(..20).unwrap_or_default();
            rustix::fs::lsetxattr(&one, "user.changed", value, XattrFlags::empty()).map_err(Into::into)
        }
    };
}

#[test]
fn the_tar_of_a_packed_upper_is_canonical() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let upper = scratch.path().join("upper");
    fs::create_dir(&upper).unwrap();
    fs::create_dir(upper.join("b")).unwrap();
    fs::write(upper.join("b/z"), b"1").unwrap();
    fs::write(upper.join("b!"), b"2").unwrap();
    fs::write(upper.join("a"), b"3").unwrap();
    std::os::unix::net::UnixListener::bind(upper.join("socket")).unwrap();
    let cwd = rustix::fs::CWD;
    rustix::fs::mknodat(cwd, upper.join("gone"), rustix::fs::FileType::CharacterDevice, Mode::empty(), 0)
        .unwrap();
    rustix::fs::lsetxattr(upper.join("b"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    rustix::fs::lsetxattr(upper.join("b"), "trusted.overlay.impure", b"y", XattrFlags::empty()).unwrap();
    rustix::fs::lsetxattr(upper.join("b"), "trusted.other", b"y", XattrFlags::empty()).unwrap();
    let mut tar = Vec::new();
    pack(&upper, &mut tar).unwrap();
    let mut archive = ::tar::Archive::new(&tar[..]);
    let paths: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(paths, ["a", "b/", "b/.wh..wh..opq", "b/z", "b!", ".wh.gone"]);
    assert!(!tar.windows(7).any(|bytes| bytes == b"trusted"), "no attribute of this machine's");
    let mut again = Vec::new();
    pack(&upper, &mut again).unwrap();
    assert!(tar == again);
}

#[test]
fn directories_may_be_deeper_than_descriptors_last() {
    let scratch = scratch();
    let upper = scratch.path().join("upper");
    let mut path = upper.clone();
    for level in 0..300 {
        path.push(format!("{level}"));
    }
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), b"deep").unwrap();
    fs::write(upper.join("0/1/2/last"), b"last").unwrap();
    let mut tar = Vec::new();
    let (info, _) = pack(&upper, &mut tar).unwrap();
    assert_eq!((info.entries, info.content_size), (302, 8));
}

#[test]
fn names_and_attributes_that_no_layer_can_hold_are_refused() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let upper = scratch.path().join("upper");
    fs::create_dir_all(upper.join("d")).unwrap();
    let refused = || {
        let error = pack(&upper, &mut Vec::new()).err().unwrap();
        assert!(matches!(error, LayerError::Path { .. }), "{error:?}");
        error.to_string()
    };
    fs::write(upper.join("d/.wh.x"), b"").unwrap();
    assert!(refused().starts_with("d/.wh.x: names that begin with `.wh.`"));
    fs::remove_file(upper.join("d/.wh.x")).unwrap();
    rustix::fs::lsetxattr(upper.join("d"), "trusted.overlay.redirect", b"/x", XattrFlags::empty()).unwrap();
    assert!(refused().contains("redirect_dir=off"));
}

#[test]
fn a_full_disk_is_an_error_that_keeps_its_kind() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(rustix::io::Errno::NOSPC.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let scratch = scratch();
    fs::write(scratch.path().join("f"), b"f").unwrap();
    let LayerError::Io(error) = pack(scratch.path(), &mut Full).err().unwrap() else {
        panic!("an I/O error")
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn a_missing_upper_directory_is_named() {
    let error = pack(Path::new("/nonexistent/upper"), &mut Vec::new()).err().unwrap().to_string();
    assert!(error.contains("/nonexistent/upper"), "{error}");
}
