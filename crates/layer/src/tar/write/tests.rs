use super::*;

fn header(path: &[u8]) -> Header<'_> {
    Header {
        path,
        kind: HeaderKind::Regular,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nsec: 0,
        size: 0,
        rdev: (0, 0),
        link: b"",
        xattrs: &[],
    }
}

fn records(header: &Header<'_>) -> String {
    let blocks = header.encode();
    if blocks.len() == 512 {
        return String::new();
    }
    assert_eq!((blocks.len() % 512, blocks[156]), (0, b'x'));
    let end = 512 + blocks[512..].iter().position(|byte| *byte == 0).unwrap_or(blocks.len() - 512);
    blocks[512..end].escape_ascii().to_string()
}

#[test]
fn the_length_of_a_record_counts_itself() {
    assert_eq!(record(b"a", b"b"), b"6 a=b\n");
    for length in (0..120).chain([900, 990, 995, 996, 997, 998, 999, 9990, 99_990]) {
        let record = record(b"k", &vec![b'v'; length]);
        let digits = record.split(|byte| *byte == b' ').next().unwrap();
        assert_eq!(std::str::from_utf8(digits).unwrap(), record.len().to_string());
    }
}

#[test]
fn names_are_split_where_ustar_allows_it() {
    let dir = "d".repeat(60);
    let name = format!("{dir}/{dir}");
    assert_eq!(split(name.as_bytes()), Some((dir.as_bytes(), dir.as_bytes())));
    assert_eq!(split("n".repeat(101).as_bytes()), None);
    assert_eq!(
        split(format!("{}/{}", "p".repeat(155), "n".repeat(100)).as_bytes()).map(|s| s.0.len()),
        Some(155)
    );
    assert_eq!(split(format!("{}/{}", "p".repeat(156), "n".repeat(100)).as_bytes()), None);
    assert_eq!(split(format!("/{}", "n".repeat(100)).as_bytes()), None);
    // The slash that ends a directory is no place to split.
    let directory = format!("{}/", "n".repeat(100));
    assert_eq!(split(directory.as_bytes()), None);
}

#[test]
fn only_what_ustar_cannot_say_becomes_a_record() {
    assert_eq!(records(&header(b"a")), "");
    assert_eq!(
        records(&Header { mtime: MAX_11 as i64, size: MAX_11, uid: MAX_7 as u32, ..header(b"a") }),
        ""
    );
    assert_eq!(records(&Header { mtime_nsec: 120_000_000, ..header(b"a") }), "14 mtime=0.12\\n");
    assert_eq!(records(&Header { mtime: -1, ..header(b"a") }), "12 mtime=-1\\n");
    assert_eq!(records(&Header { mtime: -2, mtime_nsec: 1, ..header(b"a") }), "22 mtime=-1.999999999\\n");
    assert_eq!(records(&Header { size: MAX_11 + 1, ..header(b"a") }), "19 size=8589934592\\n");
    assert_eq!(
        records(&Header { gid: u32::MAX, uid: 2_097_152, ..header(b"a") }),
        "18 gid=4294967295\\n15 uid=2097152\\n"
    );
    assert_eq!(records(&header("ä".as_bytes())), "11 path=\\xc3\\xa4\\n");
    assert_eq!(records(&header(b"\xff")), "21 hdrcharset=BINARY\\n9 path=\\xff\\n");
    let xattrs = [Xattr { name: b"user.a=%".to_vec(), value: b"\n".to_vec() }];
    assert_eq!(records(&Header { xattrs: &xattrs, ..header(b"a") }), "31 SCHILY.xattr.user.a%3D%25=\\n\\n");
}

#[test]
fn the_extension_header_is_plain_whatever_the_name() {
    let path = [b"dir/\xff\x01".to_vec(), vec![b'n'; 150]].concat();
    let blocks = header(&path).encode();
    assert!(blocks[..100].starts_with(b"PaxHeaders.0/__nnn"));
    let sum: u32 =
        blocks[..512].iter().map(|byte| u32::from(*byte)).sum::<u32>() - checksum_field(&blocks) + 8 * 32;
    assert_eq!(&blocks[148..156], format!("{sum:06o}\0 ").as_bytes());
}

fn checksum_field(blocks: &[u8]) -> u32 {
    blocks[148..156].iter().map(|byte| u32::from(*byte)).sum()
}
