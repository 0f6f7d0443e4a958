//! Layers as overlayfs combines them.

use crate::mounted::{Mounted, may_mount, scratch};
use crate::tree::{Tree, plain};
use fs_err as fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use strata_erofs::{Attributes, Kind, Xattr};

const WHITEOUT: Kind = Kind::CharDevice { major: 0, minor: 0 };

fn with(name: &str, value: &str) -> Attributes {
    Attributes { xattrs: vec![Xattr { name: name.into(), value: value.into() }], ..plain(0o755) }
}

fn lower() -> Tree {
    let mut tree = Tree::new(1);
    tree.inline(0, "gone", plain(0o644), b"lower");
    tree.inline(0, "changed", plain(0o644), b"lower");
    tree.file(0, "kept", plain(0o644), 600, &[(1, 0, vec![b'k'; 600])]);
    for name in ["merged", "opaque"] {
        let directory = tree.put(0, name, plain(0o755), Kind::Directory);
        tree.inline(directory, "old", plain(0o644), b"lower");
        tree.inline(directory, "stays", plain(0o644), b"lower");
    }
    tree
}

fn upper() -> Tree {
    let mut tree = Tree::new(1);
    tree.put(0, "gone", plain(0), WHITEOUT);
    tree.file(0, "changed", plain(0o644), 5, &[(1, 0, b"upper".to_vec())]);
    // overlayfs filters whiteouts out of a listing that it does not merge only where this attribute is.
    let origin = with("trusted.overlay.origin", "");
    let merged = tree.put(0, "merged", origin.clone(), Kind::Directory);
    tree.put(merged, "old", plain(0), WHITEOUT);
    tree.inline(merged, "new", plain(0o644), b"upper");
    let opaque = tree.put(0, "opaque", with("trusted.overlay.opaque", "y"), Kind::Directory);
    tree.inline(opaque, "new", plain(0o644), b"upper");
    let fresh = tree.put(0, "fresh", origin, Kind::Directory);
    tree.put(fresh, "never", plain(0), WHITEOUT);
    tree.inline(fresh, "new", plain(0o644), b"upper");
    tree
}

fn list(path: &Path) -> Vec<String> {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_vec());
    let mut names: Vec<String> = names.map(|name| String::from_utf8(name).unwrap()).collect();
    names.sort();
    names
}

fn check_merged(root: &Path) {
    assert_eq!(list(root), ["changed", "fresh", "kept", "merged", "opaque"]);
    assert_eq!(list(&root.join("merged")), ["new", "stays"]);
    assert_eq!(list(&root.join("opaque")), ["new"]);
    assert_eq!(list(&root.join("fresh")), ["new"]);
    assert!(!root.join("gone").exists() && !root.join("merged/old").exists());
    assert_eq!(fs::read(root.join("changed")).unwrap(), b"upper");
    assert_eq!(fs::read(root.join("kept")).unwrap(), [b'k'; 600]);
    assert_eq!(fs::read(root.join("merged/stays")).unwrap(), b"lower");
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let [low, up] = [("low", lower()), ("up", upper())]
        .map(|(name, tree)| Mounted::tree(&tree, &tree.write().0, scratch.path(), name));
    let option = |key: &str, path: &Path| [key.as_bytes(), b"=", path.as_os_str().as_bytes()].concat();
    let lowerdir = [option("lowerdir", &up.path), low.path.as_os_str().as_bytes().to_vec()].join(&b':');

    let merged =
        Mounted::new("overlay", Path::new("overlay"), &scratch.path().join("merged"), &lowerdir).unwrap();
    check_merged(&merged.path);
    drop(merged);

    let (top, work) = (scratch.path().join("top"), scratch.path().join("work"));
    fs::create_dir(&top).unwrap();
    fs::create_dir(&work).unwrap();
    let options = [lowerdir, option("upperdir", &top), option("workdir", &work)].join(&b',');
    let merged =
        Mounted::new("overlay", Path::new("overlay"), &scratch.path().join("merged"), &options).unwrap();
    check_merged(&merged.path);
}
