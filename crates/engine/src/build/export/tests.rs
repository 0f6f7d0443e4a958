//! A stack of two layers, written out both ways.
use super::*;
use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;
use strata_layer::{FileType, Layer, Limits, Metadata, ingest};

fn metadata(file_type: FileType, mode: u16, size: u64) -> Metadata {
    Metadata {
        file_type,
        mode,
        uid: 0,
        gid: 0,
        mtime: 1_000_000,
        mtime_nsec: 5,
        size,
        rdev: (0, 0),
        xattrs: Vec::new(),
    }
}

fn layer(
    directory: &Path,
    name: &str,
    below: Option<&Stack>,
    fill: impl FnOnce(&mut LayerBuilder<File>),
) -> Arc<Layer> {
    let tar = directory.join(name);
    let mut builder = LayerBuilder::new(fs_err::File::create(&tar).unwrap().into_file());
    fill(&mut builder);
    let (_, info, contents) = builder.finish().unwrap();
    assert!(info.entries > 0);
    Arc::new(
        Layer::open(contents.index(below).unwrap(), fs_err::File::open(&tar).unwrap().into_file()).unwrap(),
    )
}

fn file(builder: &mut LayerBuilder<File>, path: &str, mode: u16, text: &str) {
    let metadata = metadata(FileType::Regular, mode, text.len() as u64);
    builder.add_file(path.as_bytes(), &metadata, &mut text.as_bytes(), None).unwrap();
}

fn stack(directory: &Path) -> Stack {
    let bottom = layer(directory, "bottom", None, |builder| {
        builder.add(b"d", &metadata(FileType::Directory, 0o750, 0), b"").unwrap();
        file(builder, "d/gone", 0o644, "gone");
        file(builder, "d/kept", 0o4755, "kept");
        builder.hard_link(b"d/twin", b"d/kept").unwrap();
    });
    // A whiteout implies its directory, which keeps what the layer below says of it.
    let below = Stack::new(vec![Arc::clone(&bottom)]);
    let top = layer(directory, "top", Some(&below), |builder| {
        builder.whiteout(b"d/gone").unwrap();
        builder.add(b"link", &metadata(FileType::Symlink, 0o777, 4), b"d/..").unwrap();
        file(builder, "new", 0o600, "new");
    });
    Stack::new(vec![bottom, top])
}

#[test]
fn a_directory_shows_the_merged_tree() {
    let scratch = tempfile::tempdir().unwrap();
    let stack = stack(scratch.path());
    let out = scratch.path().join("out");
    let elsewhere = scratch.path().join("elsewhere");
    fs_err::create_dir_all(&elsewhere).unwrap();
    fs_err::create_dir_all(&out).unwrap();
    // What lies in the destination must not lead out of it.
    std::os::unix::fs::symlink(&elsewhere, out.join("d")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("new"), out.join("new")).unwrap();
    fs_err::write(out.join("other"), "stays").unwrap();
    directory::write(&stack, &out, None).unwrap();

    assert_eq!(fs_err::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(!out.join("d/gone").exists());
    assert_eq!(fs_err::read_to_string(out.join("other")).unwrap(), "stays");
    assert_eq!(fs_err::read_to_string(out.join("new")).unwrap(), "new");
    assert_eq!(fs_err::read_link(out.join("link")).unwrap(), Path::new("d/.."));
    let (kept, twin) =
        (fs_err::metadata(out.join("d/kept")).unwrap(), fs_err::metadata(out.join("d/twin")).unwrap());
    assert_eq!(kept.ino(), twin.ino());
    assert_eq!(kept.permissions().mode() & 0o7777, 0o4755);
    assert_eq!((kept.mtime(), kept.mtime_nsec()), (1_000_000, 5));
    let directory = fs_err::metadata(out.join("d")).unwrap();
    assert_eq!((directory.permissions().mode() & 0o7777, directory.mtime()), (0o750, 1_000_000));
    // Once more, over itself; now with one time for all.
    directory::write(&stack, &out, Some(7)).unwrap();
    assert_eq!(fs_err::metadata(out.join("new")).unwrap().mtime(), 7);
}

#[test]
fn a_tar_shows_the_merged_tree() {
    let scratch = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    write_tar(&stack(scratch.path()), &mut out, None).unwrap();
    let mut archive = tar::Archive::new(Cursor::new(&out));
    let mut found = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let kind = entry.header().entry_type();
        found.insert(entry.path().unwrap().display().to_string(), (kind, entry.header().mode().unwrap()));
    }
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["d/", "d/kept", "d/twin", "link", "new"]);
    assert_eq!(found["d/kept"], (tar::EntryType::Regular, 0o4755));
    assert_eq!(found["d/twin"].0, tar::EntryType::Link);
    assert_eq!(found["link"].0, tar::EntryType::Symlink);
    // The same tree gives the same bytes, and any reader of layers takes them.
    let mut again = Vec::new();
    write_tar(&stack(scratch.path()), &mut again, None).unwrap();
    assert_eq!(out, again);
    let (info, _) = ingest(&mut Cursor::new(&out), &mut std::io::sink(), &Limits::default()).unwrap();
    assert_eq!(info.entries, 5);
}
