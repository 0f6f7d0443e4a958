//! A directory tree as programs see it.

use fs_err as fs;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Everything `stat`, `read`, `readlink` and `getxattr` tell of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    /// Of anything but directories, whose size is the file system's business.
    pub(crate) size: Option<u64>,
    pub(crate) links: u64,
    /// The first path of the same inode.
    pub(crate) same_as: Vec<u8>,
    pub(crate) device: Option<u64>,
    pub(crate) content: Option<blake3::Hash>,
    pub(crate) target: Option<Vec<u8>>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(crate) type Tree = BTreeMap<Vec<u8>, Seen>;

/// The tree below `root`, the root itself as an empty path.
pub(crate) fn observe(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut first = HashMap::new();
    let mut waiting = vec![Vec::new()];
    while let Some(path) = waiting.pop() {
        let full = root.join(OsStr::from_bytes(&path));
        let seen = look(&full, &path, &mut first);
        if seen.mode & 0o170000 == 0o040000 {
            let mut names: Vec<_> =
                fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort_by(|a, b| b.cmp(a));
            let below = |name: std::ffi::OsString| {
                let name = name.into_vec();
                if path.is_empty() { name } else { [&path[..], b"/", &name].concat() }
            };
            waiting.extend(names.into_iter().map(below));
        }
        tree.insert(path, seen);
    }
    tree
}

fn look(full: &Path, path: &[u8], first: &mut HashMap<(u64, u64), Vec<u8>>) -> Seen {
    let stat = fs::symlink_metadata(full).unwrap();
    let kind = stat.file_type();
    let device = kind.is_char_device() || kind.is_block_device();
    Seen {
        mode: stat.mode(),
        owner: (stat.uid(), stat.gid()),
        mtime: (stat.mtime(), stat.mtime_nsec()),
        size: (!kind.is_dir()).then(|| stat.size()),
        links: stat.nlink(),
        same_as: first.entry((stat.dev(), stat.ino())).or_insert_with(|| path.to_vec()).clone(),
        device: device.then(|| stat.rdev()),
        content: kind.is_file().then(|| hash(full)),
        target: kind.is_symlink().then(|| fs::read_link(full).unwrap().into_os_string().into_vec()),
        xattrs: xattrs(full),
    }
}

fn hash(path: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(fs::File::open(path).unwrap()).unwrap();
    hasher.finalize()
}

fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut xattrs = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0u8; 1 << 16];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        xattrs.push((name.to_vec(), value));
    }
    xattrs.sort();
    xattrs
}

/// Fails with the first differences.
pub(crate) fn assert_same(found: &Tree, expected: &Tree, what: &str) {
    let mut differences = Vec::new();
    for (path, wanted) in expected {
        match found.get(path) {
            None => differences.push(format!("{}: missing", path.escape_ascii())),
            Some(seen) if seen != wanted => {
                differences
                    .push(format!("{}:\n  found    {seen:?}\n  expected {wanted:?}", path.escape_ascii()));
            }
            Some(_) => {}
        }
    }
    for path in found.keys().filter(|path| !expected.contains_key(*path)) {
        differences.push(format!("{}: not expected", path.escape_ascii()));
    }
    let short = |text: &String| {
        text.lines().map(|line| line.chars().take(400).collect::<String>()).collect::<Vec<_>>().join("\n")
    };
    let shown = differences.iter().take(5).map(short).collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "{what}: {} differences\n{shown}", differences.len());
}

/// Without what overlayfs itself needs: the tests that are about contents only.
pub(crate) fn without_overlay_xattrs(mut tree: Tree) -> Tree {
    for seen in tree.values_mut() {
        seen.xattrs.retain(|(name, _)| !name.starts_with(b"trusted.overlay."));
    }
    tree
}
