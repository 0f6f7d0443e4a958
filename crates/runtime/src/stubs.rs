//! Places made in a writable layer only so that something could be mounted on them: `/proc`, `/etc/hosts`, the target of
//! a secret. They are no part of what a build step did and go again when it has run (`spec/build.md`, mounts of RUN).

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps, openat2, statat, unlinkat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::rootdir::{self, Made, TargetKind};

/// What was made, and how the directories around it looked before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stubs {
    made: Vec<Stub>,
    parents: Vec<Parent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stub {
    path: PathBuf,
    directory: bool,
}

/// A directory that got a stub.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parent {
    path: PathBuf,
    /// It was in the writable layer already; otherwise our stub copied it up.
    was_in_upper: bool,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, i64),
}

/// A stub could not be removed again.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove the mount target {} from the layer: {source}", path.display())]
pub struct StubError {
    /// Path below the root.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

impl Stubs {
    /// Whether nothing had to be made.
    pub fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Paths of the stubs, relative to the root, parents first.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.made.iter().map(|stub| stub.path.as_path())
    }

    /// Makes sure that `path` exists below `root`, whose writable directory on the host is `upper`. The times of the
    /// directories around stay as they were.
    pub(crate) fn ensure(
        &mut self,
        root: BorrowedFd<'_>,
        upper: &Path,
        path: &Path,
        kind: TargetKind,
    ) -> Result<(), Errno> {
        let mut touched: Vec<(OwnedFd, Stat)> = Vec::new();
        let result = rootdir::ensure_target(root, path, kind, &mut |parent, fd| {
            if let (Ok(stat), Ok(fd)) = (rustix::fs::fstat(fd), fd.try_clone_to_owned()) {
                self.remember(parent, upper, &stat);
                touched.push((fd, stat));
            }
        });
        for (fd, stat) in &touched {
            let _ = set_times(fd, stat);
        }
        for Made { path, kind } in result? {
            self.made.push(Stub { path, directory: kind == TargetKind::Directory });
        }
        Ok(())
    }

    fn remember(&mut self, parent: &Path, upper: &Path, stat: &Stat) {
        let ours = self.made.iter().any(|stub| stub.path == parent);
        if ours || self.parents.iter().any(|known| known.path == parent) {
            return;
        }
        self.parents.push(Parent {
            path: parent.to_owned(),
            was_in_upper: fs_err::symlink_metadata(upper.join(parent)).is_ok(),
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, stat.st_mtime_nsec as i64),
        });
    }

    /// Removes from the writable directory `upper` what is still empty, and the directories that were copied up for it
    /// and not changed since. Call it when no process of the container runs any more.
    ///
    /// # Errors
    /// Fails on the first stub that is empty and cannot be removed.
    pub fn remove(&self, upper: &Path) -> Result<(), StubError> {
        if self.made.is_empty() {
            return Ok(());
        }
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |errno: Errno| StubError { path, source: errno.into() }
        };
        let root = rootdir::open_host(upper, OFlags::DIRECTORY).map_err(fail(Path::new("/")))?;
        for stub in self.made.iter().rev() {
            remove_empty(&root, stub).map_err(fail(&stub.path))?;
        }
        let mut parents: Vec<_> = self.parents.iter().filter(|parent| !parent.was_in_upper).collect();
        parents.sort_by_key(|parent| std::cmp::Reverse(parent.path.components().count()));
        for parent in parents {
            remove_copy_up(&root, parent).map_err(fail(&parent.path))?;
        }
        Ok(())
    }
}

fn remove_empty(root: &OwnedFd, stub: &Stub) -> Result<(), Errno> {
    let Some((parent, name)) = open_parent(root, &stub.path)? else { return Ok(()) };
    let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let flags = match (stub.directory, kind) {
        (true, FileType::Directory) => AtFlags::REMOVEDIR,
        (false, FileType::RegularFile) if stat.st_size == 0 => AtFlags::empty(),
        // The step put something of its own there.
        _ => return Ok(()),
    };
    unlink_keeping_times(&parent, name, flags)
}

/// A directory that is in the layer only because a stub was made in it: nothing in it, nothing about it changed.
fn remove_copy_up(root: &OwnedFd, before: &Parent) -> Result<(), Errno> {
    let Some((parent, name)) = open_parent(root, &before.path)? else { return Ok(()) };
    let stat = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let same = (stat.st_mode, stat.st_uid, stat.st_gid, (stat.st_mtime, stat.st_mtime_nsec as i64))
        == (before.mode, before.uid, before.gid, before.mtime);
    if !same || has_own_attributes(root, &before.path)? {
        return Ok(());
    }
    unlink_keeping_times(&parent, name, AtFlags::REMOVEDIR)
}

/// Opaque marks and attributes of the image are content; overlayfs's note of the origin is not.
fn has_own_attributes(root: &OwnedFd, path: &Path) -> Result<bool, Errno> {
    let directory =
        openat2(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), BELOW)?;
    let mut names = vec![0u8; 64 << 10];
    let length = rustix::fs::flistxattr(&directory, &mut names[..])?;
    let harmless = ["trusted.overlay.origin", "trusted.overlay.impure", "trusted.overlay.uuid"];
    Ok(names[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
        .any(|name| !harmless.iter().any(|known| known.as_bytes() == name)))
}

const BELOW: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// The directory that holds `path`, opened without following any link (CVE-2024-23652), and the last name.
fn open_parent<'a>(root: &OwnedFd, path: &'a Path) -> Result<Option<(OwnedFd, &'a Path)>, Errno> {
    let Some(name) = path.file_name() else { return Ok(None) };
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match openat2(root, parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), BELOW) {
        Ok(fd) => Ok(Some((fd, Path::new(name)))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn unlink_keeping_times(parent: &OwnedFd, name: &Path, flags: AtFlags) -> Result<(), Errno> {
    let before = rustix::fs::fstat(parent)?;
    match unlinkat(parent, name, flags) {
        Ok(()) => set_times(parent, &before),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn set_times(directory: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    let time =
        |seconds, nanoseconds: u64| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    utimensat(directory, ".", &times, AtFlags::empty())
}
