//! An image as the kernel shows it.

use crate::tree::{Node, Tree};
use fs_err as fs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use strata_erofs::{FileType, Kind, Xattr};
use tempfile::TempDir;

/// Whether this process may mount. Says why not.
pub(crate) fn may_mount() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: mounting EROFS needs root");
    }
    root
}

/// A directory on a file system whose files the kernel mounts (not tmpfs).
pub(crate) fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("strata-erofs-").tempdir_in("/var/tmp").unwrap()
}

/// Something mounted, until dropped.
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
}

impl Mounted {
    pub(crate) fn new(
        file_system: &str,
        source: &Path,
        target: &Path,
        options: &[u8],
    ) -> std::io::Result<Self> {
        fs::create_dir_all(target)?;
        let options = CString::new(options).unwrap();
        mount(source, target, file_system, MountFlags::RDONLY, &*options)?;
        Ok(Self { path: target.to_owned() })
    }

    /// Writes the image and the devices of `tree` to `scratch` and mounts them at `scratch/NAME`.
    pub(crate) fn tree(tree: &Tree, image: &[u8], scratch: &Path, name: &str) -> Self {
        let image_path = scratch.join(format!("{name}.image"));
        fs::write(&image_path, image).unwrap();
        let mut devices = Vec::new();
        for (index, device) in tree.devices.iter().enumerate() {
            let path = scratch.join(format!("{name}.device{index}"));
            fs::write(&path, device).unwrap();
            devices.push(path);
        }
        Self::image(&image_path, &devices, &scratch.join(name))
    }

    pub(crate) fn image(image: &Path, devices: &[PathBuf], target: &Path) -> Self {
        let options: Vec<Vec<u8>> =
            devices.iter().map(|path| [b"device=", path.as_os_str().as_bytes()].concat()).collect();
        Self::new("erofs", image, target, &options.join(&b","[..])).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if unmount(&self.path, UnmountFlags::empty()).is_err() {
            let detached = unmount(&self.path, UnmountFlags::DETACH);
            assert!(detached.is_ok() || std::thread::panicking(), "{:?} stays mounted", self.path);
        }
    }
}

/// Compares every entry with what was built.
pub(crate) fn check_mount(tree: &Tree, nids: &[u64], root: &Path) {
    let counts = tree.link_counts();
    let mut stack = vec![(root.to_owned(), 0)];
    while let Some((path, index)) = stack.pop() {
        let node = &tree.nodes[index];
        check_stat(node, &path, nids[index], counts[index]);
        assert_eq!(read_xattrs(&path), sorted(&node.attributes.xattrs), "xattrs of {path:?}");
        match &node.kind {
            Kind::Regular { .. } => assert!(fs::read(&path).unwrap() == node.content, "content of {path:?}"),
            Kind::Symlink(target) => {
                assert_eq!(fs::read_link(&path).unwrap().into_os_string().into_vec(), *target, "{path:?}");
            }
            Kind::Directory => {
                assert_eq!(list(&path), expected_list(tree, node), "{path:?}");
                let children = node.entries.iter();
                stack.extend(children.map(|(name, child)| (path.join(OsStr::from_bytes(name)), *child)));
            }
            _ => {}
        }
    }
}

fn check_stat(node: &Node, path: &Path, nid: u64, nlink: u32) {
    let stat = fs::symlink_metadata(path).unwrap();
    let wanted = &node.attributes;
    assert_eq!(stat.mode() & 0o7777, u32::from(wanted.mode), "mode of {path:?}");
    assert_eq!(Some(node.kind.file_type()), file_type(stat.file_type()), "type of {path:?}");
    assert_eq!((stat.uid(), stat.gid()), (wanted.uid, wanted.gid), "owner of {path:?}");
    assert_eq!(
        (stat.mtime(), stat.mtime_nsec()),
        (wanted.mtime, i64::from(wanted.mtime_nsec)),
        "mtime of {path:?}"
    );
    assert_eq!((stat.ino(), stat.nlink()), (nid, u64::from(nlink)), "inode and link count of {path:?}");
    match &node.kind {
        Kind::Regular { size, .. } => assert_eq!(stat.size(), *size, "size of {path:?}"),
        Kind::Symlink(target) => assert_eq!(stat.size(), target.len() as u64, "size of {path:?}"),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            let rdev = (rustix::fs::major(stat.rdev()), rustix::fs::minor(stat.rdev()));
            assert_eq!(rdev, (*major, *minor), "device number of {path:?}");
        }
        _ => {}
    }
}

fn file_type(found: std::fs::FileType) -> Option<FileType> {
    let types: [(bool, FileType); 7] = [
        (found.is_file(), FileType::Regular),
        (found.is_dir(), FileType::Directory),
        (found.is_symlink(), FileType::Symlink),
        (found.is_char_device(), FileType::CharDevice),
        (found.is_block_device(), FileType::BlockDevice),
        (found.is_fifo(), FileType::Fifo),
        (found.is_socket(), FileType::Socket),
    ];
    types.into_iter().find_map(|(is, file_type)| is.then_some(file_type))
}

/// Names with the types that `getdents` gives.
fn list(path: &Path) -> BTreeMap<Vec<u8>, Option<FileType>> {
    let entries = fs::read_dir(path).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_vec(), file_type(entry.file_type().unwrap()))).collect()
}

fn expected_list(tree: &Tree, node: &Node) -> BTreeMap<Vec<u8>, Option<FileType>> {
    let entries = node.entries.iter();
    entries.map(|(name, child)| (name.clone(), Some(tree.nodes[*child].kind.file_type()))).collect()
}

/// Everything that `listxattr` and `getxattr` give, sorted.
pub(crate) fn read_xattrs(path: &Path) -> Vec<Xattr> {
    let mut names = vec![0u8; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let mut xattrs = Vec::new();
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let name = std::ffi::CStr::from_bytes_with_nul(name).unwrap();
        let mut value = vec![0u8; 1 << 16];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])
            .unwrap_or_else(|error| panic!("{name:?} of {path:?}: {error}"));
        value.truncate(length);
        xattrs.push(Xattr { name: name.to_bytes().to_vec(), value });
    }
    sorted(&xattrs)
}

fn sorted(xattrs: &[Xattr]) -> Vec<Xattr> {
    let mut xattrs = xattrs.to_vec();
    xattrs.sort();
    xattrs
}
