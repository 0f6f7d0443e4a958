//! Damaged and hostile tars, one by one, with what is said about them.

use crate::handmade::{Raw, record};
use strata_layer::{LayerError, Limits, ingest};

fn try_with(tar: &[u8], limits: Limits) -> Result<u64, LayerError> {
    ingest(&mut &tar[..], &mut std::io::sink(), &limits).map(|(info, _)| info.entries)
}

/// Offset, path and complaint.
fn refused_with(tar: &[u8], limits: Limits) -> (u64, String, String) {
    match try_with(tar, limits) {
        Err(LayerError::Tar { offset, path, what }) => {
            (offset, path.map(|path| path.display().to_string()).unwrap_or_default(), what)
        }
        other => panic!("must be refused as a tar, but: {other:?}"),
    }
}

fn refused(tar: Vec<u8>) -> (u64, String, String) {
    refused_with(&tar, Limits::default())
}

#[track_caller]
fn check(tar: Vec<u8>, offset: u64, path: &str, complaint: &str) {
    let (at, name, what) = refused(tar);
    assert_eq!((at, name.as_str()), (offset, path), "{what}");
    assert!(what.contains(complaint), "{what:?} should say {complaint:?}");
}

fn good() -> Raw {
    Raw::default().file("good", b"1")
}

#[test]
fn the_message_says_where_and_what() {
    let tar = good().file("a/../../b", b"").end();
    let error = try_with(&tar, Limits::default()).unwrap_err().to_string();
    assert_eq!(
        error,
        "bad tar at byte 1024 (a/../../b): its name leads out of the layer; `..` may not pass the root"
    );
}

#[test]
fn messages_cannot_write_on_the_terminal() {
    let tar = good().file("../\u{1b}[31mred\u{9b}", b"").end();
    let message = try_with(&tar, Limits::default()).unwrap_err().to_string();
    assert!(message.contains("(../\\u{1b}[31mred\\u{9b})"), "{message}");
}

#[test]
fn names_out_of_the_root() {
    for name in ["..", "../x", "a/../../x", "./../x"] {
        check(good().file(name, b"").end(), 1024, name, "leads out of the layer");
    }
    check(
        good().pax(b'x', &[("path", b"../../etc/passwd")]).file("x", b"").end(),
        2048,
        "../../etc/passwd",
        "leads out",
    );
    let long = b"../long\0";
    check(
        good().member(b"././@LongLink", b'L', b"", 8, long).file("x", b"").end(),
        2048,
        "../long",
        "leads out",
    );
    check(good().hard_link("h", "../good").end(), 1024, "h", "the target of its hard link is bad");
    check(good().hard_link("h", "a/../../good").end(), 1024, "h", "leads out");
}

#[test]
fn symlinks_may_point_anywhere_but_nothing_follows_them_out() {
    let tar = good().symlink("a", "/etc").symlink("b", "../../..").file("b/x", b"").end();
    assert_eq!(try_with(&tar, Limits::default()).unwrap(), 4);
    check(
        good().symlink("a", "b").symlink("b", "a").file("a/x", b"").end(),
        2048,
        "a/x",
        "more than 40 symlinks",
    );
    check(good().symlink("a", "").end(), 1024, "a", "empty target");
    let long = vec![b'x'; 5000];
    check(good().pax(b'x', &[("linkpath", &long)]).symlink("a", "b").end(), 6656, "a", "5000 bytes long");
}

#[test]
fn links_to_what_cannot_be_linked() {
    check(good().dir("d").hard_link("h", "d").end(), 1536, "h", "a directory");
    check(good().hard_link("h", "").end(), 1024, "h", "a directory");
    check(good().file(".wh.gone", b"").hard_link("h", "gone").end(), 1536, "h", "which this layer deletes");
}

#[test]
fn the_root_and_parents_must_be_directories() {
    check(good().file("./", b"").patch(156, b"2").end(), 1024, "./", "symlink with an empty target");
    check(good().file(".", b"x").end(), 1024, ".", "the root, which must be a directory");
    check(good().file("good/x", b"").end(), 1024, "good/x", "not a directory");
    check(
        good().pax(b'x', &[("path", &[b'n'; 300])]).file("x", b"").end(),
        2048,
        &"n".repeat(300),
        "300 bytes long",
    );
    let long = b"ab/".repeat(2000);
    let shown = format!("{}...", String::from_utf8_lossy(&long[..200]));
    check(good().pax(b'x', &[("path", &long)]).file("x", b"").end(), 7680, &shown, "5999 bytes long");
    check(good().pax(b'x', &[("path", b"a\0b")]).file("x", b"").end(), 2048, "a\0b", "NUL");
}

#[test]
fn sizes_that_lie() {
    check(good().file("f", b"").patch(124, &[0xff; 12]).end(), 1024, "f", "its size is negative (-1)");
    check(good().pax(b'x', &[("size", b"-5")]).file("f", b"").end(), 2048, "f", "its size is negative (-5)");
    check(good().file("f", b"").patch(124, b"77777777777\0").end(), 1024, "f", "it is cut off");
    let huge = [0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    check(good().file("f", b"").patch(124, &huge).end(), 1024, "f", "the longest tar allowed");
    check(good().file("f", b"").patch(124, b"0000000008z\0").end(), 1024, "f", "not an octal number");
}

#[test]
fn tars_that_are_cut_off_anywhere() {
    let tar = good().pax(b'x', &[("mtime", b"1.5")]).file("f", &[1; 3000]).end();
    for length in (1..tar.len() - 1024).filter(|length| length % 512 < 3 || length % 29 == 0) {
        let result = try_with(&tar[..length], Limits::default());
        let whole = length % 512 == 0 && (length == 1024 || length == tar.len() - 1024);
        match result {
            Ok(_) => assert!(whole, "cut at {length} must not pass"),
            Err(LayerError::Tar { .. }) => assert!(!whole, "cut at {length}"),
            Err(other) => panic!("cut at {length}: {other}"),
        }
    }
}

#[test]
fn headers_that_are_no_headers() {
    let mut tar = good().file("f", b"").end();
    tar[1024 + 5] ^= 1;
    check(tar, 1024, "", "checksum");
    check(b"this is no tar at all".repeat(100), 0, "", "not a tar");
    check(good().file("f", b"").patch(156, b"Z").end(), 1024, "f", "its type is 'Z'");
    check(good().file("f", b"").patch(156, b"M").end(), 1024, "f", "earlier volume");
    check(good().pax(b'x', &[("mtime", b"1")]).end(), 2048, "", "a member must follow");
}

#[test]
fn numbers_beyond_linux() {
    let device = |major: &[u8], minor: &[u8]| {
        good().member(b"d", b'4', b"", 0, b"").patch(329, major).patch(337, minor).end()
    };
    check(device(b"0010000\0", b"0000000\0"), 1024, "d", "major number is 4096; Linux knows 0 to 4095");
    check(device(b"0000001\0", b"4000000\0"), 1024, "d", "minor number is 1048576");
    check(device(&[0xff; 8], b"0000000\0"), 1024, "d", "major number is -1");
    check(
        good().pax(b'x', &[("uid", b"4294967296")]).file("f", b"").end(),
        2048,
        "f",
        "its uid is 4294967296",
    );
    check(good().file("f", b"").patch(116, &[0xff; 8]).end(), 1024, "f", "its gid is -1");
    check(good().pax(b'x', &[("mtime", b"1e9")]).file("f", b"").end(), 1024, "", "mtime");
}

#[test]
fn extension_headers_that_are_malformed_or_bombs() {
    for body in [&b"5 a=b\n"[..], b"99 path=x\n", b"path=x\n", b"9 path=xy", b"7 =abc\n"] {
        let tar = good().member(b"x", b'x', b"", body.len() as u64, body).file("f", b"").end();
        check(tar, 1024, "", "PAX record");
    }
    let limits = Limits { header: 1000, ..Limits::default() };
    for flag in *b"xgLK" {
        let tar = good().member(b"x", flag, b"", 5000, &[b'a'; 5000]).file("f", b"").end();
        assert!(refused_with(&tar, limits).2.contains("claims 5000 bytes; at most 1000"));
        let tar = good().member(b"x", flag, b"", 0, b"").patch(124, b"77777777777\0").end();
        assert!(refused(tar).2.contains("at most 67108864"));
    }
}

#[test]
fn too_much_of_anything() {
    let entries = Limits { entries: 10, ..Limits::default() };
    let many = (0..11).fold(Raw::default(), |tar, number| tar.file(&format!("{number}"), b"")).end();
    assert!(refused_with(&many, entries).2.contains("more than 10 members"));
    let deep = Raw::default().file(&"a/".repeat(40), b"").end();
    assert!(refused_with(&deep, entries).2.contains("more entries than allowed"));
    let long = Limits { tar_length: 4096, ..Limits::default() };
    assert!(refused_with(&good().raw(&[0; 20_000]).bytes, long).2.contains("past byte 4096"));
    let directories = (0..20).fold(Raw::default(), |tar, number| tar.dir(&format!("{number}"))).end();
    assert!(refused_with(&directories, long).2.contains("past byte 4096"));
    let metadata = Limits { metadata: 1000, ..Limits::default() };
    let heavy = Raw::default().pax(b'x', &[("SCHILY.xattr.user.a", &[1; 2000])]).file("f", b"").end();
    assert!(refused_with(&heavy, metadata).2.contains("need more memory than allowed"));
}

#[test]
fn attributes_beyond_linux() {
    let with = |name: &str, value: &[u8]| {
        good().pax(b'x', &[(&format!("SCHILY.xattr.{name}"), value)]).file("f", b"").end()
    };
    assert!(refused(with("user.big", &vec![1; 65536])).2.contains("65536 bytes; Linux takes 65535"));
    assert!(refused(with(&format!("user.{}", "n".repeat(251)), b"")).2.contains("longer than 255"));
    assert!(refused(with("user.a\0b", b"")).2.contains("NUL"));
    let body: Vec<u8> = (0..5)
        .flat_map(|number| record(format!("SCHILY.xattr.user.{number}").as_bytes(), &vec![1; 60_000]))
        .collect();
    let tar = good().member(b"x", b'x', b"", body.len() as u64, &body).file("f", b"").end();
    assert!(refused(tar).2.contains("bytes together"));
}

#[test]
fn sparse_maps_that_lie() {
    let sparse = |records: &[(&str, &[u8])], data: &[u8]| good().pax(b'x', records).file("f", data).end();
    let map = |map: &'static [u8], size: &'static [u8], data: &[u8]| {
        refused(sparse(&[("GNU.sparse.map", map), ("GNU.sparse.size", size)], data)).2
    };
    assert!(map(b"0,10,5,10", b"100", &[1; 20]).contains("in order"));
    assert!(map(b"90,20", b"100", &[1; 20]).contains("inside the file's 100 bytes"));
    assert!(map(b"0,18446744073709551615", b"100", &[1; 20]).contains("inside the file"));
    assert!(map(b"0,10", b"100", &[1; 20]).contains("covers 10 bytes, but 20"));
    assert!(map(b"0", b"100", b"").contains("offset without a length"));
    assert!(map(b"1,1024", b"1000000000", &[1; 1024]).contains("must be copied into the index"));
    assert!(map(b"512,512", b"9000000000000000000", &[1; 512]).contains("in all are allowed"));
    assert!(refused(sparse(&[("GNU.sparse.map", b"0,1")], &[1])).2.contains("without the file's real size"));
    let new = |data: &[u8]| {
        let records =
            [("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"100")];
        refused(sparse(&records, data)).2
    };
    assert!(new(b"").contains("end inside its sparse map"));
    assert!(new(&[b'9'; 512]).contains("not a number"));
    assert!(new(&[&b"18446744073709551615\n"[..], &[0; 491]].concat()).contains("too many segments"));
    assert!(new(&[b"99\n".to_vec(), vec![0; 509]].concat()).contains("not a number"));
    let records = [("GNU.sparse.major", &b"2"[..]), ("GNU.sparse.realsize", b"100")];
    assert!(refused(sparse(&records, b"")).2.contains("format 2.0 is unknown"));
    let old = good().member(b"f", b'S', b"", 0, b"").patch(482, &[1]).bytes;
    assert!(refused(old).2.contains("ends inside its sparse map"));
}

#[test]
fn exabytes_of_holes_cost_nothing() {
    let started = std::time::Instant::now();
    let holes = |size: u64| {
        let size = size.to_string();
        let records = [("GNU.sparse.map", &b"0,0"[..]), ("GNU.sparse.size", size.as_bytes())];
        good().pax(b'x', &records).file("f", b"")
    };
    assert_eq!(try_with(&holes(1_000_000_000_000_000).end(), Limits::default()).unwrap(), 2);
    check(holes(1 << 63).end(), 2048, "f", "its real size is 9223372036854775808");
    let three = holes(i64::MAX as u64).bytes.repeat(3);
    let (_, path, what) = refused(three);
    assert!(path == "f" && what.contains("would have 8388608 entries"), "{what}");
    assert!(started.elapsed().as_secs() < 10, "took {:?}", started.elapsed());
}

#[test]
fn a_failing_source_is_not_a_bad_tar() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("line is dead"))
        }
    }
    let error = ingest(&mut Failing, &mut std::io::sink(), &Limits::default()).err().unwrap();
    assert!(matches!(error, LayerError::Io(_)) && error.to_string() == "line is dead");
}
