//! What cannot be written is refused, by name.

use crate::tree::plain;
use strata_erofs::{Attributes, Builder, Data, Extent, Image, Kind, WriteError, Xattr};

fn builder() -> Builder {
    Builder::new(plain(0o755))
}

/// Asserts that an expression is an error of a variant.
macro_rules! refused {
    ($result:expr, $variant:pat $(if $guard:expr)?) => {
        match $result {
            Err($variant) $(if $guard)? => {}
            other => panic!("{other:?} is not {}", stringify!($variant $(if $guard)?)),
        }
    };
}

#[test]
fn names() {
    let mut builder = builder();
    let root = builder.root();
    let file = builder.add(plain(0o644), Kind::Fifo).unwrap();
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0", &[b'x'; 256]] {
        refused!(builder.link(root, name, file), WriteError::Name { .. });
    }
    builder.link(root, &[b'x'; 255], file).unwrap();
    refused!(builder.link(file, b"a", file), WriteError::NotADirectory { .. });
    builder.link(root, b"twice", file).unwrap();
    builder.link(root, b"twice", file).unwrap();
    match builder.write(&[], &mut Vec::new()) {
        Err(error @ WriteError::NameTwice { .. }) => assert!(error.to_string().contains("twice"), "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn trees() {
    let mut first = builder();
    let directory = first.add(plain(0o755), Kind::Directory).unwrap();
    let root = first.root();
    first.link(root, b"a", directory).unwrap();
    refused!(first.link(root, b"b", directory), WriteError::DirectoryLinked { .. });
    refused!(first.link(directory, b"up", root), WriteError::DirectoryLinked { .. });

    let mut other = builder();
    refused!(other.link(root, b"a", directory), WriteError::UnknownInode(id) if id == directory);
    refused!(other.link(directory, b"a", root), WriteError::UnknownInode(id) if id == directory);
    let lonely = other.add(plain(0o644), Kind::Fifo).unwrap();
    refused!(other.write(&[], &mut Vec::new()), WriteError::Unreachable(id) if id == lonely);

    let mut ring = builder();
    let [one, two] = [(); 2].map(|()| ring.add(plain(0o755), Kind::Directory).unwrap());
    ring.link(one, b"two", two).unwrap();
    ring.link(two, b"one", one).unwrap();
    refused!(ring.write(&[], &mut Vec::new()), WriteError::Unreachable(_));
}

#[test]
fn attributes() {
    let mut builder = builder();
    let mut add = |attributes: Attributes| builder.add(attributes, Kind::Fifo);
    refused!(add(plain(0o10000)), WriteError::Mode(0o10000));
    refused!(add(Attributes { mtime_nsec: 1_000_000_000, ..plain(0) }), WriteError::Nanoseconds(_));
    let xattr = |name: &[u8], length| Xattr { name: name.to_vec(), value: vec![0; length] };
    let with = |xattrs| Attributes { xattrs, ..plain(0) };
    let long = [b"user.", &[b'x'; 251][..]].concat();
    for name in [
        &b"lustre.x"[..],
        b"system.other",
        b"system.posix_acl_accessx",
        b"user.",
        b"user",
        b"",
        b"user.\0",
        &long,
    ] {
        assert!(!xattr(name, 0).is_representable());
        refused!(add(with(vec![xattr(name, 0)])), WriteError::XattrName { .. });
    }
    assert!(xattr(&long[..255], 65_535).is_representable());
    refused!(add(with(vec![xattr(b"user.x", 65_536)])), WriteError::XattrValue { length: 65_536, .. });
    refused!(add(with(vec![xattr(b"user.x", 1), xattr(b"user.x", 2)])), WriteError::XattrTwice { .. });
    let five = (0..5).map(|number| xattr(&[b"user.", &[b'0' + number][..]].concat(), 60_000)).collect();
    refused!(add(with(five)), WriteError::XattrsTooLong { .. });
    let root = Builder::new(plain(0o70000));
    refused!(root.write(&[], &mut Vec::new()), WriteError::Mode(0o70000));
}

#[test]
fn special_files() {
    let mut builder = builder();
    for (major, minor) in [(4096, 0), (0, 1 << 20), (u32::MAX, u32::MAX)] {
        refused!(builder.add(plain(0), Kind::CharDevice { major, minor }), WriteError::DeviceNumber { .. });
        refused!(builder.add(plain(0), Kind::BlockDevice { major, minor }), WriteError::DeviceNumber { .. });
    }
    for target in [&b""[..], b"a\0b", &[b'x'; 4096]] {
        refused!(builder.add(plain(0), Kind::Symlink(target.to_vec())), WriteError::SymlinkTarget { .. });
    }
}

fn add(size: u64, extents: &[(u64, u64, u64)]) -> Result<Builder, WriteError> {
    let extent = |&(logical, length, offset)| Extent { logical, length, device: 1, offset };
    let mut builder = builder();
    let kind = Kind::Regular { size, data: Data::External(extents.iter().map(extent).collect()) };
    let id = builder.add(plain(0o644), kind)?;
    builder.link(builder.root(), b"file", id)?;
    Ok(builder)
}

#[test]
fn extents() {
    refused!(add(600, &[(0, 600, 1)]), WriteError::UnalignedExtent { offset: 1, .. });
    refused!(add(600, &[(1, 599, 512)]), WriteError::UnalignedExtent { logical: 1, .. });
    refused!(add(600, &[(0, 601, 512)]), WriteError::ExtentOrder { logical: 0 });
    refused!(add(2048, &[(1024, 512, 0), (0, 512, 1024)]), WriteError::ExtentOrder { logical: 0 });
    refused!(add(2048, &[(0, 1024, 0), (512, 512, 1024)]), WriteError::ExtentOrder { logical: 512 });
    refused!(add(u64::MAX, &[]), WriteError::FileSize(u64::MAX));
    refused!(add(1024, &[(512, u64::MAX, 0)]), WriteError::ExtentOrder { logical: 512 });
    refused!(add(1 << 62, &[(0, 1 << 62, u64::MAX - 511)]), WriteError::OutsideDevice { .. });
    let absent = add(600, &[(0, 600, 512)]).unwrap();
    refused!(
        absent.write(&[], &mut Vec::new()),
        WriteError::OutsideDevice { device: 1, device_length: 0, .. }
    );
    // The kernel reads whole blocks: one that the device lacks the end of would be an I/O error.
    let short = add(600, &[(0, 600, 512)]).unwrap();
    refused!(
        short.write(&[1535], &mut Vec::new()),
        WriteError::OutsideDevice { end: 1536, device_length: 1535, .. }
    );
    let exact = add(600, &[(0, 0, 0), (0, 600, 512)]).unwrap();
    exact.write(&[1536], &mut Vec::new()).unwrap();
    let data = Data::Inline(vec![0; 3]);
    refused!(
        builder().add(plain(0), Kind::Regular { size: 4, data }),
        WriteError::InlineSize { size: 4, found: 3 }
    );
}

/// A small tar could declare a sparse file that needs terabytes of index.
#[test]
fn sparse_bombs() {
    let bomb = add(1 << 50, &[(512, 512, 0)]).unwrap();
    refused!(bomb.write(&[512], &mut Vec::new()), WriteError::TooManyChunks { .. });
}

#[test]
fn devices() {
    refused!(builder().write(&[1 << 41], &mut Vec::new()), WriteError::DeviceTooLong { slot: 1, .. });
    refused!(builder().write(&vec![512; 65_536], &mut Vec::new()), WriteError::TooManyDevices(65_536));
    refused!(builder().write(&vec![512; 20_000], &mut Vec::new()), WriteError::TooManyDevices(20_000));
    let mut bytes = Vec::new();
    builder().write(&vec![512; 16_000], &mut bytes).unwrap();
    assert_eq!(Image::open(&bytes).unwrap().device_length(16_000), Some(512));
}

#[test]
fn a_failing_output_is_reported() {
    let mut small = [0; 100];
    refused!(builder().write(&[], &mut &mut small[..]), WriteError::Io(_));
}
