use super::*;
use crate::{Builder, Data, Extent, Kind, Xattr};

fn attributes(mode: u16) -> Attributes {
    Attributes { mode, mtime: 1_600_000_000, mtime_nsec: 5, ..Attributes::default() }
}

fn sample() -> (Vec<u8>, Vec<u64>) {
    let mut builder = Builder::new(attributes(0o755));
    let root = builder.root();
    let extent = Extent { logical: 0, length: 1000, device: 1, offset: 512 };
    let kind = Kind::Regular { size: 1000, data: Data::External(vec![extent]) };
    let xattrs = vec![
        Xattr { name: b"user.b".to_vec(), value: b"2".to_vec() },
        Xattr { name: b"security.capability".to_vec(), value: vec![0; 20] },
    ];
    let file = builder.add(Attributes { xattrs, ..attributes(0o4755) }, kind).unwrap();
    let link = builder.add(attributes(0o777), Kind::Symlink(b"file".to_vec())).unwrap();
    let directory = builder.add(attributes(0o700), Kind::Directory).unwrap();
    let content = Data::Inline(vec![7; 1300]);
    let inline = builder.add(attributes(0o644), Kind::Regular { size: 1300, data: content }).unwrap();
    let device = builder.add(attributes(0o600), Kind::CharDevice { major: 4095, minor: 1_048_575 }).unwrap();
    builder.link(root, b"file", file).unwrap();
    builder.link(directory, b"again", file).unwrap();
    builder.link(root, b"link", link).unwrap();
    builder.link(root, b"directory", directory).unwrap();
    builder.link(directory, b"inline", inline).unwrap();
    builder.link(directory, b"!device", device).unwrap();
    let mut bytes = Vec::new();
    let written = builder.write(&[4096], &mut bytes).unwrap();
    assert_eq!(written.length, bytes.len() as u64);
    assert_eq!(written.inodes, 6);
    (bytes, written.nids)
}

#[test]
fn reads_what_was_written() {
    let (bytes, nids) = sample();
    let image = Image::open(&bytes).unwrap();
    assert_eq!(image.root(), nids[0]);
    assert_eq!((image.devices(), image.device_length(1), image.device_length(2)), (1, Some(4096), None));
    let names: Vec<&[u8]> = image.entries(image.root()).unwrap().iter().map(|entry| entry.name).collect();
    assert_eq!(names, [&b"directory"[..], b"file", b"link"]);

    let file = image.lookup(image.root(), b"file").unwrap().unwrap();
    assert_eq!((file.nid, file.file_type), (nids[1], FileType::Regular));
    let inode = image.inode(file.nid).unwrap();
    assert_eq!((inode.attributes, inode.size, inode.nlink), (attributes(0o4755), 1000, 2));
    assert_eq!(
        image.regions(file.nid).unwrap(),
        [Region { logical: 0, length: 1000, source: Source::Device(1, 512) }]
    );
    let xattrs = image.xattrs(file.nid).unwrap();
    assert_eq!(
        xattrs.iter().map(|xattr| &*xattr.name).collect::<Vec<_>>(),
        [&b"security.capability"[..], b"user.b"]
    );
    assert_eq!(image.read_link(nids[2]).unwrap(), b"file");

    let directory = image.lookup(image.root(), b"directory").unwrap().unwrap();
    assert_eq!(image.lookup(directory.nid, b"again").unwrap().unwrap().nid, file.nid);
    assert_eq!(image.lookup(directory.nid, b"..").unwrap().unwrap().nid, image.root());
    assert!(image.lookup(directory.nid, b"nothing").unwrap().is_none());
    let device = image.lookup(directory.nid, b"!device").unwrap().unwrap();
    assert_eq!(image.inode(device.nid).unwrap().rdev, (4095, 1_048_575));

    let inline = image.lookup(directory.nid, b"inline").unwrap().unwrap();
    let mut content = Vec::new();
    for region in image.regions(inline.nid).unwrap() {
        let Source::Image(at) = region.source else { panic!("{region:?} is not in the image") };
        content.extend_from_slice(&bytes[at as usize..(at + region.length) as usize]);
    }
    assert_eq!(content, vec![7; 1300]);
}

#[test]
fn bytes_behind_the_image_are_the_callers() {
    let (mut bytes, _) = sample();
    let length = bytes.len() as u64;
    bytes.extend_from_slice(b"a section of the caller's");
    assert_eq!(Image::open(&bytes).unwrap().length(), length);
}

#[test]
fn refuses_a_cut_image_and_a_wrong_checksum() {
    let (mut bytes, _) = sample();
    assert!(Image::open(&bytes[..bytes.len() - 1]).is_err());
    assert!(Image::open(&bytes[..100]).is_err());
    bytes[superblock::OFFSET + 60] ^= 1;
    let error = Image::open(&bytes).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn questions_to_the_wrong_type_are_errors() {
    let (bytes, nids) = sample();
    let image = Image::open(&bytes).unwrap();
    assert!(matches!(image.lookup(nids[1], b"x"), Err(ReadError::WrongType { .. })));
    assert!(matches!(image.entries(nids[2]), Err(ReadError::WrongType { .. })));
    assert!(matches!(image.regions(nids[0]), Err(ReadError::WrongType { .. })));
    assert!(matches!(image.read_link(nids[1]), Err(ReadError::WrongType { .. })));
}
