//! Deletions, as overlayfs must see them (OCI layer spec; `spec/erofs.md` section 7).

use crate::handmade::Raw;
use crate::mounted::{Mounted, may_mount, open, read, scratch, stack_of};
use crate::observe::{Tree, observe};
use std::path::Path;
use strata_layer::{Limits, Stack, ingest};

/// Names that overlayfs shows of layers, bottom first, each index made on what is below it. The stack
/// of the reader must show the same.
fn merged(layers: &[Vec<u8>], scratch: &Path) -> Tree {
    let mut opened = Vec::new();
    let mut mounts = Vec::new();
    for (number, tar) in layers.iter().enumerate() {
        let below = Stack::new(opened.clone());
        let index = read(tar).1.index(Some(&below)).unwrap();
        mounts.push(Mounted::pair(tar, &index, scratch, &format!("layer{number}")));
        opened.push(open(tar, index, scratch));
    }
    let lower: Vec<&Path> = mounts.iter().map(|mount| mount.path.as_path()).collect();
    let overlay = Mounted::overlay(&lower, scratch.join("merged"));
    let tree = observe(&overlay.path);
    let stack = Stack::new(opened);
    assert_eq!(walk(&stack), tree.keys().cloned().collect::<Vec<_>>(), "the reader's view");
    tree
}

fn walk(stack: &Stack) -> Vec<Vec<u8>> {
    let mut paths = vec![Vec::new()];
    let mut next = 0;
    while let Some(path) = paths.get(next).cloned() {
        next += 1;
        let node = stack.lookup(&path).unwrap().unwrap();
        if node.metadata.file_type == strata_layer::FileType::Directory {
            let below = stack.read_dir(&path).unwrap().into_iter().map(|(name, _)| name);
            paths.extend(
                below.map(|name| if path.is_empty() { name } else { [&path[..], b"/", &name].concat() }),
            );
        }
    }
    paths.sort();
    paths
}

fn base() -> Vec<u8> {
    let tar =
        Raw::default().dir("./").dir("d").file("d/x", b"x").file("d/y", b"y").dir("d/s").file("d/s/z", b"z");
    tar.file("f", b"f").dir("e").file("e/old", b"old").end()
}

fn names(tree: &Tree) -> Vec<String> {
    tree.keys().map(|path| String::from_utf8(path.clone()).unwrap()).collect()
}

fn over_base(tar: Raw) -> Tree {
    let scratch = scratch();
    merged(&[base(), tar.end()], scratch.path())
}

#[test]
fn a_whiteout_hides_what_is_below() {
    if !may_mount() {
        return;
    }
    let seen = over_base(
        Raw::default().file(".wh.f", b"").file("d/.wh.x", b"").file("d/.wh.s", b"").file(".wh.none", b""),
    );
    assert_eq!(names(&seen), ["", "d", "d/y", "e", "e/old"]);
}

#[test]
fn whiteouts_never_hide_what_the_same_layer_adds() {
    if !may_mount() {
        return;
    }
    for early in [true, false] {
        let marks = |tar: Raw| tar.file(".wh.f", b"").file(".wh.d", b"").file("e/.wh..wh..opq", b"");
        let adds = |tar: Raw| tar.file("f", b"new").dir("d").file("d/x", b"new").file("e/new", b"new");
        let tar = if early { adds(marks(Raw::default())) } else { marks(adds(Raw::default())) };
        let seen = over_base(tar);
        assert_eq!(names(&seen), ["", "d", "d/x", "e", "e/new", "f"], "whiteouts first: {early}");
        for path in ["d/x", "e/new", "f"] {
            assert_eq!(seen[path.as_bytes()].content, Some(blake3::hash(b"new")));
        }
    }
}

#[test]
fn opaque_directories_show_only_their_own_layer() {
    if !may_mount() {
        return;
    }
    let seen = over_base(Raw::default().dir("d").file("d/.wh..wh..opq", b"").file("d/n", b"n"));
    assert_eq!(names(&seen), ["", "d", "d/n", "e", "e/old", "f"]);
    // One that nothing else names keeps the attributes it has below.
    let seen = over_base(Raw::default().file("d/.wh..wh..opq", b""));
    assert_eq!((names(&seen).len(), seen[&b"d"[..]].mtime), (5, (1000, 0)));
}

#[test]
fn an_opaque_root_hides_everything() {
    if !may_mount() {
        return;
    }
    let seen =
        over_base(Raw::default().file(".wh..wh..opq", b"").dir("d").file("d/n", b"n").file("new", b""));
    assert_eq!(names(&seen), ["", "d", "d/n", "new"]);
}

#[test]
fn whiteouts_never_show_in_listings() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    // In a directory that is not below, in an opaque one, in one that only the middle layer has.
    let middle = Raw::default()
        .file("new/.wh.a", b"")
        .file("d/.wh..wh..opq", b"")
        .file("d/.wh.x", b"")
        .file("m/n", b"n")
        .end();
    let top = Raw::default().file("m/.wh.n", b"").file("m/.wh.other", b"").end();
    let seen = merged(&[base(), middle.clone(), top], scratch.path());
    assert_eq!(names(&seen), ["", "d", "e", "e/old", "f", "m", "new"]);
    let alone = merged(&[middle], scratch.path());
    assert_eq!(names(&alone), ["", "d", "m", "m/n", "new"]);
}

#[test]
fn a_type_may_change_between_layers() {
    if !may_mount() {
        return;
    }
    let seen =
        over_base(Raw::default().file("d", b"file now").dir("f").file("f/in", b"in").symlink("e", "f"));
    assert_eq!(names(&seen), ["", "d", "e", "f", "f/in"]);
}

#[test]
fn overlay_attributes_of_a_tar_mean_nothing() {
    if !may_mount() {
        return;
    }
    let records: &[(&str, &[u8])] = &[
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/f"),
        ("SCHILY.xattr.user.overlay.opaque", b"y"),
        ("SCHILY.xattr.system.unknown", b"1"),
        ("SCHILY.xattr.user.kept", b"1"),
    ];
    let seen = over_base(Raw::default().pax(b'x', records).dir("d"));
    assert_eq!(names(&seen), names(&over_base(Raw::default())));
    assert_eq!(seen[&b"d"[..]].xattrs, [(b"user.kept".to_vec(), b"1".to_vec())]);
}

#[test]
fn aufs_leftovers_are_not_shown_but_may_be_linked_to() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let tar = Raw::default()
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/12.34", b"linked")
        .file(".wh..wh.aufs", b"")
        .hard_link("a", ".wh..wh.plnk/12.34")
        .hard_link("b", ".wh..wh.plnk/12.34")
        .end();
    let seen = merged(std::slice::from_ref(&tar), scratch.path());
    assert_eq!(names(&seen), ["", "a", "b"]);
    assert_eq!((seen[&b"a"[..]].content, seen[&b"a"[..]].links), (Some(blake3::hash(b"linked")), 2));
    assert_eq!(read(&tar).0.content_size, 6);
}

#[test]
fn a_device_0_0_is_a_whiteout_too() {
    if !may_mount() {
        return;
    }
    let seen = over_base(Raw::default().member(b"f", b'3', b"", 0, b"").member(b"new/g", b'3', b"", 0, b""));
    assert_eq!(names(&seen), ["", "d", "d/s", "d/s/z", "d/x", "d/y", "e", "e/old", "new"]);
}

#[test]
fn whiteouts_that_name_nothing_are_refused() {
    for name in [".wh.", "d/.wh.", ".wh..", "d/.wh...", ".wh.a/b"] {
        let tar = Raw::default().file(name, b"").end();
        let error = ingest(&mut &tar[..], &mut Vec::new(), &Limits::default()).err().unwrap().to_string();
        assert!(error.contains(".wh."), "{name}: {error}");
    }
}

#[test]
fn a_whiteout_of_the_longest_name_fits() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let name = "n".repeat(255);
    let below = Raw::default().dir("./").pax(b'x', &[("path", name.as_bytes())]).file("x", b"x").end();
    let whiteout = format!(".wh.{name}");
    let above = Raw::default().dir("./").pax(b'x', &[("path", whiteout.as_bytes())]).file("x", b"").end();
    assert_eq!(merged(&[below.clone(), above], scratch.path()).len(), 1);
    assert_eq!(walk(&stack_of(&below, scratch.path())).len(), 2);
}
