use super::*;

fn entry(file_type: FileType, size: u64) -> Entry {
    Entry {
        metadata: Metadata {
            file_type,
            mode: 0o644,
            uid: 3,
            gid: 4,
            mtime: -5,
            mtime_nsec: 999_999_999,
            size,
            rdev: (0, 0),
            xattrs: Vec::new(),
        },
        link: Vec::new(),
        identity: Identity { device: 7, inode: 8, links: 1, changed: i64::MAX },
    }
}

fn shown(entries: &Entries) -> Vec<String> {
    entries.iter().map(|(path, _)| String::from_utf8(path).unwrap()).collect()
}

#[test]
fn entries_come_back_as_they_were_in_the_order_of_a_walk() {
    let long = vec![b'n'; 300];
    let link = Entry { link: vec![b't'; 20_000], ..entry(FileType::Symlink, 20_000) };
    let mut special = entry(FileType::CharDevice, 0);
    special.metadata.rdev = (5, 6);
    special.metadata.xattrs = vec![Xattr { name: b"user.a".to_vec(), value: vec![1] }];
    let (file, directory) = (entry(FileType::Regular, u64::MAX), entry(FileType::Directory, 0));
    let mut entries = Entries::new();
    entries.begin(Entries::TOP);
    let a = entries.push(b"a", &directory, Verdict::Include, None).unwrap();
    assert!(entries.push(b"a.b", &link, Verdict::Include, None).is_none());
    let z = entries.push(b"z", &directory, Verdict::Include, None).unwrap();
    entries.begin(z);
    entries.push(b"s", &special, Verdict::Include, None);
    entries.begin(a);
    entries.push(&long, &file, Verdict::Include, None);
    let entries = entries.finish();
    let path = [b"a/", &long[..]].concat();
    let expected = [
        (b"a".to_vec(), directory.clone()),
        (path, file),
        (b"a.b".to_vec(), link),
        (b"z".to_vec(), directory),
        (b"z/s".to_vec(), special),
    ];
    assert!(entries.iter().eq(expected));
    assert_eq!(entries.len(), 5);
    let found = entries.find(a, &long).unwrap();
    assert_eq!((entries.name(found), entries.size(found)), (&long[..], u64::MAX));
    assert!(entries.find(a, b"z").is_none() && entries.find(Entries::TOP, b"z").is_some());
}

#[test]
fn directories_that_only_might_hold_something_go_if_they_do_not() {
    let (file, directory) = (entry(FileType::Regular, 1), entry(FileType::Directory, 0));
    let mut entries = Entries::new();
    entries.begin(Entries::TOP);
    let hollow = entries.push(b"hollow", &directory, Verdict::ExcludeButDescend, None).unwrap();
    let holds = entries.push(b"holds", &directory, Verdict::ExcludeButDescend, None).unwrap();
    entries.push(b"plain", &directory, Verdict::Include, None);
    entries.begin(hollow);
    let inner = entries.push(b"inner", &directory, Verdict::ExcludeButDescend, None).unwrap();
    entries.begin(inner);
    entries.begin(holds);
    entries.push(b"file", &file, Verdict::Include, None);
    let entries = entries.finish();
    assert_eq!(shown(&entries), ["holds", "holds/file", "plain"]);
    assert_eq!(entries.len(), 3);
    assert!(entries.find(Entries::TOP, b"hollow").is_none());
}

#[test]
fn places_of_the_layer_being_made_wait_for_its_number() {
    let mut entries = Entries::new();
    entries.begin(Entries::TOP);
    entries.push(b"f", &entry(FileType::Regular, 1), Verdict::Include, None);
    let entries = entries.finish();
    let at = entries.positions().next().unwrap();
    assert_eq!(entries.place(at), None);
    entries.is_written_at(at, 1536);
    assert_eq!(entries.place(at), None, "no layer has it yet");
    entries.were_written_to(3);
    let place = entries.place(at).unwrap();
    assert_eq!((place.layer(), place.offset()), (3, 1536));
    assert_eq!(Place::from_bits(Place::to_bits(Some(place))), Some(place));
    assert_eq!(Place::from_bits(0), None);
    for offset in [0, 100, 1 << 58] {
        assert_eq!(Place::new(0, offset), None);
    }
}

#[test]
fn an_entry_takes_few_bytes() {
    assert!(size_of::<Record>() <= 48 && size_of::<Content>() <= 40);
}
