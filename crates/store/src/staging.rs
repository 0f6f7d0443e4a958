//! Staging directories below `ingest/`, and the locks that go with them.
use crate::StoreError;
use crate::error::at;
use crate::root::Root;
use fs_err as fs;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A directory of one operation in progress. Held by `flock` until dropped, then removed with all it holds.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    _lock: File,
}

impl Staging {
    pub(crate) fn new(root: &Root) -> Result<Self, StoreError> {
        loop {
            let path = root.ingest().join(random_name());
            // The mode comes with the directory: a sweep may take it away before it is locked.
            if let Err(error) = std::fs::DirBuilder::new().mode(0o700).create(&path) {
                let text = format!("create directory {}: {error}", path.display());
                return Err(std::io::Error::new(error.kind(), text).into());
            }
            if let Some(lock) = claim(&path)? {
                return Ok(Self { path, _lock: lock });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next open: the lock goes with this process.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks what was just created. `None`: a sweep saw it unlocked and took it away; try another name.
pub(crate) fn claim(path: &Path) -> Result<Option<File>, StoreError> {
    let Ok(file) = fs::File::open(path) else { return Ok(None) };
    let file = file.into_parts().0;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(at("lock", path, error).into()),
    }
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => Ok(Some(file)),
        _ => Ok(None),
    }
}

/// Locks what another process may hold. `None`: somebody alive does (or it is gone).
pub(crate) fn seize(path: &Path) -> Result<Option<File>, StoreError> {
    match fs::symlink_metadata(path) {
        Ok(_) => claim(path),
        Err(_) => Ok(None),
    }
}

/// How the store is held while something appears in it or disappears from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Publishing: rename into place, then record. Many at once.
    Publish,
    /// Removing: look whether a record names it, then rename it into the trash. Alone.
    Remove,
}

/// Locks the store's places (not its database) until the file is dropped. Never wait for this inside a database
/// transaction: the holder may be waiting for one.
pub(crate) fn hold(root: &Root, how: Hold) -> Result<File, StoreError> {
    lock_directory(&root.ingest(), how == Hold::Publish)
}

/// Waits for the lock of a directory.
pub(crate) fn lock_directory(directory: &Path, shared: bool) -> Result<File, StoreError> {
    let file = fs::File::open(directory)?.into_parts().0;
    let operation = if shared { FlockOperation::LockShared } else { FlockOperation::LockExclusive };
    loop {
        match rustix::fs::flock(&file, operation) {
            Ok(()) => return Ok(file),
            Err(Errno::INTR) => {}
            Err(error) => return Err(at("lock", directory, error).into()),
        }
    }
}

/// 64 random bits in hexadecimal.
pub(crate) fn random_name() -> String {
    hex::encode(random_bytes::<8>())
}

/// Random bytes from the kernel.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    use std::hash::{BuildHasher as _, Hasher as _};
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            // Without getrandom (seccomp), the hasher's process-wide seed plus the clock still never repeats.
            Err(_) => {
                let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
                hasher.write_i128(jiff::Timestamp::now().as_nanosecond());
                bytes[filled] = hasher.finish() as u8;
                filled += 1;
            }
        }
    }
    bytes
}
