//! Pairs of tar and index as the kernel shows them.

use fs_err as fs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use strata_layer::{Contents, LayerInfo, Limits, Stack, ingest};
use tempfile::TempDir;

/// Whether this process may mount. Says why not.
pub(crate) fn may_mount() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("skipped: mounting needs root");
    }
    root
}

/// A directory on a file system whose files the kernel mounts (not tmpfs).
pub(crate) fn scratch() -> TempDir {
    tempfile::Builder::new().prefix("strata-layer-").tempdir_in("/var/tmp").unwrap()
}

/// Something mounted, until dropped.
pub(crate) struct Mounted {
    pub(crate) path: PathBuf,
}

impl Mounted {
    fn new(file_system: &str, source: &Path, target: PathBuf, flags: MountFlags, options: Vec<u8>) -> Self {
        fs::create_dir_all(&target).unwrap();
        let options = CString::new(options).unwrap();
        mount(source, &target, file_system, flags, &*options)
            .unwrap_or_else(|error| panic!("mount {file_system} {options:?} at {target:?}: {error}"));
        Self { path: target }
    }

    /// Writes the pair into `scratch` and mounts it at `scratch/NAME`.
    pub(crate) fn pair(tar: &[u8], index: &[u8], scratch: &Path, name: &str) -> Self {
        let tar_path = scratch.join(format!("{name}.tar"));
        let index_path = scratch.join(format!("{name}.index"));
        fs::write(&tar_path, tar).unwrap();
        fs::write(&index_path, index).unwrap();
        let options = [b"device=", tar_path.as_os_str().as_bytes()].concat();
        Self::new("erofs", &index_path, scratch.join(name), MountFlags::RDONLY, options)
    }

    /// Ingests a tar that needs no layers below and mounts it.
    pub(crate) fn tar(tar: &[u8], scratch: &Path, name: &str) -> Self {
        let (_, contents) = read(tar);
        Self::pair(tar, &contents.index(None).unwrap(), scratch, name)
    }

    /// An overlayfs of directories, bottom first, read-only.
    pub(crate) fn overlay(lower: &[&Path], target: PathBuf) -> Self {
        // One directory alone is refused.
        let empty = target.with_extension("empty");
        fs::create_dir_all(&empty).unwrap();
        let lower = [&[empty.as_path()], lower].concat();
        Self::new("overlay", Path::new("overlay"), target, MountFlags::RDONLY, lower_option(&lower))
    }

    /// An overlayfs with an upper directory, as containers have it.
    pub(crate) fn writable(lower: &[&Path], upper: &Path, work: &Path, target: PathBuf) -> Self {
        fs::create_dir_all(upper).unwrap();
        fs::create_dir_all(work).unwrap();
        let mut options = lower_option(lower);
        for (key, path) in [(",upperdir=", upper), (",workdir=", work)] {
            options.extend_from_slice(key.as_bytes());
            options.extend_from_slice(path.as_os_str().as_bytes());
        }
        options.extend_from_slice(b",redirect_dir=off,metacopy=off,index=off");
        Self::new("overlay", Path::new("overlay"), target, MountFlags::empty(), options)
    }
}

/// overlayfs wants the top first.
fn lower_option(lower: &[&Path]) -> Vec<u8> {
    let top_first: Vec<&[u8]> = lower.iter().rev().map(|path| path.as_os_str().as_bytes()).collect();
    [&b"lowerdir="[..], &top_first.join(&b":"[..])].concat()
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if unmount(&self.path, UnmountFlags::empty()).is_err() {
            let detached = unmount(&self.path, UnmountFlags::DETACH);
            assert!(detached.is_ok() || std::thread::panicking(), "{:?} stays mounted", self.path);
        }
    }
}

/// Ingests a tar that must be good; checks that it was kept byte for byte.
pub(crate) fn read(tar: &[u8]) -> (LayerInfo, Contents) {
    let mut kept = Vec::new();
    let (info, contents) = ingest(&mut &tar[..], &mut kept, &Limits::default()).unwrap();
    assert!(kept == tar, "the tar must be kept as it is");
    assert_eq!(info.tar_length, tar.len() as u64);
    assert_eq!(info.diff_id.digest(), &strata_oci::Digest::of(tar));
    (info, contents)
}

/// An opened layer of a tar, its index made on `parents`.
pub(crate) fn open(tar: &[u8], index: Vec<u8>, scratch: &Path) -> std::sync::Arc<strata_layer::Layer> {
    let path = tempfile::NamedTempFile::new_in(scratch).unwrap();
    fs::write(path.path(), tar).unwrap();
    std::sync::Arc::new(strata_layer::Layer::open(index, path.reopen().unwrap()).unwrap())
}

/// A stack of one layer that needs nothing below.
pub(crate) fn stack_of(tar: &[u8], scratch: &Path) -> Stack {
    let (_, contents) = read(tar);
    Stack::new(vec![open(tar, contents.index(None).unwrap(), scratch)])
}
