//! Layers made of layers: times cut off, several as one.
use crate::scene::Scene;
use std::io::{Cursor, Read};
use strata_layer::tree::SourceTree;
use strata_layer::{FileType, Layer, LayerBuilder, LayerError, Metadata, Stack, clamp_times, difference};

fn metadata(file_type: FileType, mode: u16, mtime: i64, size: u64) -> Metadata {
    let mtime_nsec = if mtime % 2 == 1 { 5 } else { 0 };
    Metadata { file_type, mode, uid: 1, gid: 2, mtime, mtime_nsec, size, rdev: (0, 0), xattrs: Vec::new() }
}

fn file<W: std::io::Write>(
    builder: &mut LayerBuilder<W>,
    path: &str,
    mtime: i64,
    content: &[u8],
) -> Result<(), LayerError> {
    let metadata = metadata(FileType::Regular, 0o644, mtime, content.len() as u64);
    builder.add_file(path.as_bytes(), &metadata, &mut Cursor::new(content), None).map(drop)
}

fn directory<W: std::io::Write>(
    builder: &mut LayerBuilder<W>,
    path: &str,
    mtime: i64,
) -> Result<(), LayerError> {
    builder.add(path.as_bytes(), &metadata(FileType::Directory, 0o755, mtime, 0), b"")
}

/// Path, attributes, link target and content of everything; hard links as the number of names.
fn observe(stack: &Stack) -> Vec<String> {
    let entries = stack.walk(b"", None).unwrap();
    let line = |(path, entry): (Vec<u8>, strata_layer::tree::Entry)| {
        let mut content = Vec::new();
        if entry.is_file() {
            SourceTree::open(stack, &path, &entry).unwrap().read_to_end(&mut content).unwrap();
        }
        let (m, path) = (&entry.metadata, path.escape_ascii());
        let (link, content) = (entry.link.escape_ascii(), content.escape_ascii());
        format!("{path} {:?} {:o} {}.{} {link} {content}", m.file_type, m.mode, m.mtime, m.mtime_nsec)
    };
    entries.iter().map(line).collect()
}

fn open(scene: &Scene, name: &str, tar: Vec<u8>, index: Vec<u8>) -> Layer {
    let path = scene.path(name);
    fs_err::write(&path, tar).unwrap();
    Layer::open(index, fs_err::File::open(path).unwrap().into_file()).unwrap()
}

#[test]
fn times_after_the_epoch_are_the_epoch() {
    let mut scene = Scene::new();
    scene.add(|builder| file(builder, "below", 1, b"x")).unwrap();
    let before = scene.stack();
    scene
        .add(|builder| {
            directory(builder, "d", 2001)?;
            builder.opaque(b"d")?;
            file(builder, "d/new", 2000, b"new")?;
            file(builder, "d/old", 999, b"old")?;
            file(builder, "d/same", 1000, b"same")?;
            builder.hard_link(b"d/zlink", b"d/new")?;
            builder.add(b"link", &metadata(FileType::Symlink, 0o777, 3001, 0), b"d/new")?;
            builder.whiteout(b"below")
        })
        .unwrap();
    let mut tar = fs_err::File::open(scene.path("1.tar")).map(std::io::BufReader::new).unwrap();
    let mut out = Vec::new();
    let (info, contents) = clamp_times(&mut tar, 1000, &mut out).unwrap();
    let index = contents.index(Some(&before)).unwrap();
    let mut layers = before.layers().to_vec();
    layers.push(open(&scene, "clamped", out.clone(), index).into());
    let clamped = observe(&Stack::new(layers));
    assert_eq!(
        clamped,
        [
            "d Directory 755 1000.0  ",
            "d/new Regular 644 1000.0  new",
            "d/old Regular 644 999.5  old",
            "d/same Regular 644 1000.0  same",
            "d/zlink Regular 644 1000.0  new",
            "link Symlink 777 1000.0 d/new ",
        ]
    );
    // What has no later time any more stays as it is, byte for byte.
    let mut again = Vec::new();
    let (same, _) = clamp_times(&mut Cursor::new(&out), 1000, &mut again).unwrap();
    assert_eq!((same.diff_id, again == out), (info.diff_id, true));
}

#[test]
fn one_layer_stands_for_several() {
    let mut scene = Scene::new();
    scene
        .add(|builder| {
            for path in ["keep", "kind", "gone"] {
                directory(builder, path, 10)?;
                file(builder, &format!("{path}/x"), 10, b"base")?;
                file(builder, &format!("{path}/y"), 10, b"base")?;
            }
            file(builder, "plain", 10, b"a file")
        })
        .unwrap();
    let base = scene.stack();
    scene
        .add(|builder| {
            file(builder, "keep/x", 20, b"changed")?;
            file(builder, "short-lived", 20, &[b'x'; 9000])?;
            directory(builder, "kind", 20)?;
            builder.opaque(b"kind")?;
            file(builder, "kind/z", 20, b"new")?;
            builder.whiteout(b"gone")?;
            builder.whiteout(b"plain")
        })
        .unwrap();
    scene
        .add(|builder| {
            builder.whiteout(b"short-lived")?;
            directory(builder, "plain", 30)?;
            file(builder, "plain/file", 30, b"in a directory now")?;
            builder.hard_link(b"plain/second", b"plain/file")?;
            file(builder, "gone", 30, b"a file now")
        })
        .unwrap();
    let top = scene.stack();
    let mut tar = Vec::new();
    let (info, contents) = difference(&base, &top, &mut tar).unwrap();
    assert!(info.tar_length < 9000, "what no layer shows is not in it: {}", info.tar_length);
    let mut layers = base.layers().to_vec();
    layers.push(open(&scene, "squashed", tar, contents.index(Some(&base)).unwrap()).into());
    let squashed = Stack::new(layers);
    assert_eq!(observe(&squashed), observe(&top));
    assert!(squashed.lookup(b"keep/y").unwrap().is_some_and(|node| node.layer == 0), "kept, not copied");
    assert_eq!(squashed.lookup(b"plain/second").unwrap().unwrap().nid, {
        squashed.lookup(b"plain/file").unwrap().unwrap().nid
    });
    // Nothing but the base: nothing at all.
    let (empty, _) = difference(&base, &base, &mut Vec::new()).unwrap();
    assert_eq!(empty.entries, 0);
}
