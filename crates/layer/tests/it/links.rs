//! Order, repetition, missing parents, links: hand-made tars whose meaning is plain.

use crate::dialects::unpack;
use crate::handmade::Raw;
use crate::mounted::{Mounted, may_mount, open, read, scratch, stack_of};
use crate::observe::{Tree, assert_same, observe};
use fs_err as fs;
use std::io::Read;
use strata_layer::{LayerError, Stack};

/// What the kernel shows of a tar.
fn shown(tar: &[u8]) -> Tree {
    let scratch = scratch();
    observe(&Mounted::tar(tar, scratch.path(), "layer").path)
}

/// The same after GNU tar unpacked it.
fn unpacked(tar: &[u8]) -> Tree {
    let scratch = scratch();
    let file = scratch.path().join("layer.tar");
    fs::write(&file, tar).unwrap();
    let directory = scratch.path().join("unpacked");
    unpack(&file, &directory);
    observe(&directory)
}

fn same_as_gnu(tar: Vec<u8>) -> Tree {
    let seen = shown(&tar);
    assert_same(&seen, &unpacked(&tar), "GNU tar");
    seen
}

fn text(tree: &Tree, path: &str) -> blake3::Hash {
    tree[path.as_bytes()].content.unwrap()
}

#[test]
fn the_last_of_several_members_wins() {
    if !may_mount() {
        return;
    }
    let tar = Raw::default()
        .dir("./")
        .file("a", b"first")
        .hard_link("b", "a")
        .file("a", b"second")
        .hard_link("c", "a")
        .dir("d/")
        .file("d/x", b"x")
        .dir("d/")
        .patch(100, b"0000700\0")
        .file("e", b"e")
        .symlink("e", "nowhere")
        .symlink("f", "gone")
        .file("f", b"f")
        .end();
    let seen = same_as_gnu(tar);
    assert_eq!(text(&seen, "b"), blake3::hash(b"first"));
    assert_eq!(text(&seen, "c"), blake3::hash(b"second"));
    assert_eq!((seen[&b"a"[..]].links, seen[&b"b"[..]].links), (2, 1));
    assert_eq!(seen[&b"d"[..]].mode, 0o040700);
}

#[test]
fn a_file_over_a_directory_replaces_it_and_all_in_it() {
    if !may_mount() {
        return;
    }
    let tar = Raw::default()
        .dir("./")
        .dir("d")
        .file("d/x", b"x")
        .file("d", b"file")
        .file("e", b"")
        .dir("e")
        .file("e/y", b"y");
    let seen = shown(&tar.end());
    let names: Vec<&[u8]> = seen.keys().map(Vec::as_slice).collect();
    assert_eq!(names, [&b""[..], b"d", b"e", b"e/y"]);
    assert_eq!(text(&seen, "d"), blake3::hash(b"file"));
}

#[test]
fn names_are_cleaned_and_re_rooted() {
    if !may_mount() {
        return;
    }
    let tar = Raw::default()
        .dir("./")
        .dir("/abs")
        .file("//abs///f", b"1")
        .file("./abs/./g", b"2")
        .file("abs/../h", b"3")
        .file("/../i", b"4")
        .hard_link("j", "/abs/f")
        .end();
    let seen = shown(&tar);
    let names: Vec<&[u8]> = seen.keys().map(Vec::as_slice).collect();
    assert_eq!(names, [&b""[..], b"abs", b"abs/f", b"abs/g", b"h", b"i", b"j"]);
    assert_eq!(seen[&b"j"[..]].same_as, b"abs/f");
}

#[test]
fn missing_parents_are_root_0755_and_members_may_come_in_any_order() {
    if !may_mount() {
        return;
    }
    let tar = Raw::default().file("a/b/c", b"c").dir("a").patch(100, b"0000711\0").end();
    let seen = shown(&tar);
    assert_eq!((seen[&b""[..]].mode, seen[&b""[..]].mtime), (0o040755, (0, 0)));
    assert_eq!((seen[&b"a"[..]].mode, seen[&b"a"[..]].mtime), (0o040711, (1000, 0)));
    assert_eq!((seen[&b"a/b"[..]].mode, seen[&b"a/b"[..]].owner), (0o040755, (0, 0)));
}

#[test]
fn symlinks_on_the_way_lead_inside_the_layer() {
    if !may_mount() {
        return;
    }
    let tar = Raw::default()
        .dir("./")
        .dir("real")
        .symlink("link", "real")
        .file("link/f", b"f")
        .symlink("real/last", "nowhere")
        .hard_link("again", "link/last");
    // GNU tar gives `real` its time before it writes into it through the symlink.
    same_as_gnu(tar.clone().dir("real").end());
    // GNU tar makes symlinks with `..` last, so that nothing can go through them.
    let tar = tar
        .dir("deep")
        .symlink("deep/up", "../real")
        .file("deep/up/g", b"g")
        .hard_link("deep/up/h", "link/f");
    let seen = shown(&tar.end());
    assert!(seen.contains_key(&b"real/g"[..]));
    assert_eq!(seen[&b"real/h"[..]].same_as, seen[&b"real/f"[..]].same_as);
    assert_eq!(seen[&b"again"[..]].target.as_deref(), Some(&b"nowhere"[..]));
    // What leads out of the root ends at the root.
    let tar = Raw::default()
        .symlink("out", "../../..")
        .file("out/etc/x", b"x")
        .symlink("abs", "/etc")
        .file("abs/y", b"y");
    let seen = shown(&tar.end());
    assert!(seen.contains_key(&b"etc/x"[..]) && seen.contains_key(&b"etc/y"[..]));
}

#[test]
fn old_directories_end_in_a_slash_and_links_have_no_data() {
    if !may_mount() {
        return;
    }
    let tar = Raw::default()
        .dir("./")
        .member(b"old/", 0, b"", 0, b"")
        .patch(100, b"0000755\0")
        .file("f", b"12345")
        .hard_link("g", "f")
        .patch(124, b"00000000005\0")
        .file("h", b"next")
        .end();
    let seen = same_as_gnu(tar);
    assert_eq!(seen[&b"old"[..]].mode, 0o040755);
    assert_eq!(text(&seen, "h"), blake3::hash(b"next"));
}

#[test]
fn a_global_header_holds_until_another_one_changes_it() {
    if !may_mount() {
        return;
    }
    let tar = Raw::default()
        .dir("./")
        .pax(b'g', &[("mtime", b"77.25"), ("comment", b"x")])
        .file("a", b"a")
        .pax(b'x', &[("mtime", b"-1.5")])
        .file("b", b"b")
        .file("c", b"c")
        .pax(b'g', &[("mtime", b"")])
        .file("d", b"d")
        .end();
    let seen = shown(&tar);
    let times = ["a", "b", "c", "d"].map(|path| seen[path.as_bytes()].mtime);
    assert_eq!(times, [(77, 250_000_000), (-2, 500_000_000), (77, 250_000_000), (1000, 0)]);
}

#[test]
fn the_archive_ends_at_zeros_and_what_follows_is_kept() {
    let files = Raw::default().file("a", b"a");
    for (tar, members) in [
        (files.clone().end(), 1),
        (files.clone().raw(&[0; 512]).bytes, 1),
        (files.clone().bytes, 1),
        (files.clone().raw(&[0; 1024]).raw(b"rubbish").bytes, 1),
        (files.raw(&[0; 10240]).file("b", b"b").end(), 1),
        (Vec::new(), 0),
        (vec![0; 1024], 0),
    ] {
        assert_eq!(read(&tar).0.entries, members);
    }
}

#[test]
fn sizes_count_each_inode_once_and_what_was_replaced_not_at_all() {
    let tar = Raw::default()
        .file("a", &[1; 100])
        .file("a", &[2; 30])
        .hard_link("b", "a")
        .dir("d")
        .file("d/x", &[3; 5000])
        .file("d", &[4; 7])
        .symlink("s", "a")
        .end();
    let (info, _) = read(&tar);
    assert_eq!((info.content_size, info.entries), (37, 7));
}

#[test]
fn hard_links_may_name_files_of_lower_layers() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let below = Raw::default()
        .dir("./")
        .dir("d")
        .pax(b'x', &[("SCHILY.xattr.user.k", b"v"), ("mtime", b"5.5")])
        .file("d/lower", b"lower bytes")
        .symlink("d/link", "lower")
        .end();
    let parents = stack_of(&below, scratch.path());
    let above =
        Raw::default().hard_link("x", "d/lower").hard_link("y", "/d/lower").hard_link("z", "d/link").end();
    let (_, contents) = read(&above);
    assert!(contents.depends_on_parents());
    let index = contents.index(Some(&parents)).unwrap();
    let mounted = Mounted::pair(&above, &index, scratch.path(), "above");
    let seen = observe(&mounted.path);
    let x = &seen[&b"x"[..]];
    assert_eq!((x.content, x.links, x.mtime), (Some(blake3::hash(b"lower bytes")), 2, (5, 500_000_000)));
    assert_eq!(x.xattrs, [(b"user.k".to_vec(), b"v".to_vec())]);
    assert_eq!(seen[&b"y"[..]].same_as, b"x");
    assert_eq!(seen[&b"z"[..]].target.as_deref(), Some(&b"lower"[..]));
    let LayerError::Path { path, what } = contents.index(None).unwrap_err() else {
        panic!("a path is to blame")
    };
    assert_eq!(path.to_str(), Some("/d/lower"));
    assert!(what.contains("neither this layer nor those below"), "{what}");
    drop(mounted);
}

#[test]
fn a_hard_link_may_come_before_its_target() {
    if !may_mount() {
        return;
    }
    let tar = Raw::default().hard_link("early", "late").file("late", b"late").end();
    let seen = shown(&tar);
    assert_eq!((seen[&b"late"[..]].links, &seen[&b"late"[..]].same_as[..]), (2, &b"early"[..]));
}

#[test]
fn implied_directories_look_as_they_do_below() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let below = Raw::default()
        .dir("./")
        .patch(100, b"0000750\0")
        .pax(b'x', &[("SCHILY.xattr.user.k", b"v"), ("uid", b"5000"), ("mtime", b"9.125")])
        .dir("a")
        .patch(100, b"0001777\0")
        .symlink("l", "a")
        .end();
    let parents = stack_of(&below, scratch.path());
    let above = Raw::default().file("a/f", b"f").file("l/g", b"g").file("new/h", b"h").end();
    let index = read(&above).1.index(Some(&parents)).unwrap();
    let mounted = Mounted::pair(&above, &index, scratch.path(), "above");
    let seen = observe(&mounted.path);
    let a = &seen[&b"a"[..]];
    assert_eq!((a.mode, a.owner, a.mtime), (0o041777, (5000, 0), (9, 125_000_000)));
    assert_eq!(a.xattrs, [(b"user.k".to_vec(), b"v".to_vec())]);
    assert_eq!(seen[&b""[..]].mode, 0o040750);
    // Not a directory below: as Docker unpacks it.
    assert_eq!((seen[&b"l"[..]].mode, seen[&b"new"[..]].mode), (0o040755, 0o040755));
    let explicit = Raw::default().dir("./").dir("a").file("a/f", b"f").end();
    assert!(!read(&explicit).1.depends_on_parents() && read(&above).1.depends_on_parents());
}

#[test]
fn content_digests_are_those_of_the_bytes() {
    let scratch = scratch();
    let map = b"GNU.sparse.map";
    let tar = Raw::default()
        .dir("./")
        .file("plain", b"plain")
        .file("empty", b"")
        .pax(b'x', &[(std::str::from_utf8(map).unwrap(), b"512,512,2000,0"), ("GNU.sparse.size", b"2000")])
        .file("sparse", &[7; 512])
        .end();
    let layers = open(&tar, read(&tar).1.index(None).unwrap(), scratch.path());
    let stack = Stack::new(vec![layers]);
    let sparse = [&[0u8; 512][..], &[7; 512], &[0; 976]].concat();
    for (path, bytes) in [("plain", &b"plain"[..]), ("empty", b""), ("sparse", &sparse)] {
        let node = stack.lookup(path.as_bytes()).unwrap().unwrap();
        assert_eq!(stack.content_digest(&node).unwrap().0, *blake3::hash(bytes).as_bytes(), "{path}");
        let mut read = Vec::new();
        stack.open(&node).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == bytes, "{path}");
    }
}

#[test]
fn sparse_pieces_that_are_not_aligned_are_read_right() {
    if !may_mount() {
        return;
    }
    let sparse = |map: &[u8], size: &[u8], data: &[u8]| {
        let records = [("GNU.sparse.map", map), ("GNU.sparse.size", size)];
        Raw::default().dir("./").pax(b'x', &records).file("f", data).end()
    };
    for (map, size, data, expected) in [
        // Odd begin in the file.
        (&b"100,50"[..], 1000, vec![1u8; 50], [vec![0; 100], vec![1; 50], vec![0; 850]].concat()),
        // Odd end in the file, zeros behind it.
        (b"0,50", 3000, vec![1; 50], [vec![1; 50], vec![0; 2950]].concat()),
        // Back to back.
        (
            b"0,50,1024,60",
            3000,
            vec![1; 110],
            [vec![1; 50], vec![0; 974], vec![1; 60], vec![0; 1916]].concat(),
        ),
        // All of it.
        (b"0,1000", 1000, vec![1; 1000], vec![1; 1000]),
        (b"", 5000, vec![], vec![0; 5000]),
    ] {
        let tar = sparse(map, size.to_string().as_bytes(), &data);
        assert_eq!(text(&shown(&tar), "f"), blake3::hash(&expected), "{}", map.escape_ascii());
    }
    // Bytes behind an odd end, where the file has zeros.
    let mut dirty = sparse(b"0,50", b"3000", &[1; 50]);
    let end = dirty.len() - 1024;
    dirty[end - 300..end].fill(9);
    assert_eq!(text(&shown(&dirty), "f"), blake3::hash(&[vec![1; 50], vec![0; 2950]].concat()));
}

#[test]
fn rubbish_in_the_padding_is_not_mapped_into_memory() {
    if !may_mount() {
        return;
    }
    let mut tar = Raw::default().dir("./").file("f", b"12345").end();
    let end = tar.len() - 1024;
    tar[end - 507..end].fill(b'#');
    let seen = shown(&tar);
    assert_eq!(text(&seen, "f"), blake3::hash(b"12345"));
    let index = read(&tar).1.index(None).unwrap();
    assert!(index.windows(5).any(|bytes| bytes == b"12345"), "the content must stand in the index");
}
