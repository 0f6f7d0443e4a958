//! A merged tree as ordinary files, over what is there already.
//!
//! Every name is made relative to the handle of its directory, which was opened without following a symlink: neither
//! the image nor what lies in the destination can lead out of it.
use super::{Inode, inode};
use crate::EngineError;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dev, FileType as Kind, Mode, OFlags, Timespec, Timestamps, XattrFlags, makedev};
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use strata_layer::tree::{Entry, SourceTree};
use strata_layer::{FileType, Stack};

pub(super) fn write(tree: &Stack, destination: &Path, epoch: Option<i64>) -> Result<(), EngineError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(destination, flags, Mode::empty())
        .map_err(|error| failed(destination, b"", "open", error))?;
    let mut export = Export { tree, destination, root, epoch, first: HashMap::new() };
    export.fill(b"", None)
}

struct Export<'a> {
    tree: &'a Stack,
    destination: &'a Path,
    root: OwnedFd,
    epoch: Option<i64>,
    /// Where the first name of an inode with several was made.
    first: HashMap<Inode, Vec<u8>>,
}

fn failed(destination: &Path, path: &[u8], what: &str, error: Errno) -> EngineError {
    let path = destination.join(PathBuf::from(std::ffi::OsStr::from_bytes(path)));
    EngineError::Io(std::io::Error::new(error.kind(), format!("{what} {}: {error}", path.display())))
}

impl Export<'_> {
    fn failed(&self, path: &[u8], what: &'static str) -> impl Fn(Errno) -> EngineError {
        let (destination, path) = (self.destination.to_owned(), path.to_vec());
        move |error| failed(&destination, &path, what, error)
    }

    /// Makes everything in one directory.
    fn fill(&mut self, path: &[u8], directory: Option<OwnedFd>) -> Result<(), EngineError> {
        let directory = match directory {
            Some(directory) => directory,
            None => self.root.try_clone()?,
        };
        let unreadable = |error| EngineError::layer("cannot read the file system to export", error);
        for (name, entry) in SourceTree::read_dir(self.tree, path).map_err(unreadable)? {
            let mut below = path.to_vec();
            if !below.is_empty() {
                below.push(b'/');
            }
            below.extend_from_slice(&name);
            if entry.is_directory() {
                let made = self.directory(directory.as_fd(), &name, &below)?;
                let handle = made.try_clone()?;
                self.fill(&below, Some(made))?;
                self.finish(handle.as_fd(), &below, &entry)?;
            } else {
                self.other(directory.as_fd(), &name, &below, &entry)?;
            }
        }
        Ok(())
    }

    /// A directory that is there stays; anything else in its place goes.
    fn directory(&self, parent: BorrowedFd<'_>, name: &[u8], path: &[u8]) -> Result<OwnedFd, EngineError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(there) => return Ok(there),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => {
                rustix::fs::unlinkat(parent, name, AtFlags::empty()).map_err(self.failed(path, "remove"))?;
            }
            Err(error) => return Err(self.failed(path, "open")(error)),
        }
        rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(self.failed(path, "make directory"))?;
        rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(self.failed(path, "open"))
    }

    fn other(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), EngineError> {
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(self.failed(path, "replace")(error)),
        }
        if let Some(target) = inode(entry).and_then(|inode| self.first.get(&inode)) {
            return rustix::fs::linkat(&self.root, target.as_slice(), parent, name, AtFlags::empty())
                .map_err(self.failed(path, "link"));
        }
        match entry.metadata.file_type {
            FileType::Regular | FileType::Socket => self.file(parent, name, path, entry)?,
            FileType::Symlink => {
                rustix::fs::symlinkat(entry.link.as_slice(), parent, name)
                    .map_err(self.failed(path, "link"))?;
                let times = self.times(entry);
                rustix::fs::utimensat(parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(self.failed(path, "set times of"))?;
            }
            special => self.special(parent, name, path, entry, special)?,
        }
        if let Some(inode) = inode(entry) {
            self.first.insert(inode, path.to_vec());
        }
        Ok(())
    }

    fn file(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
    ) -> Result<(), EngineError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(self.failed(path, "create"))?;
        let mut file = File::from(made);
        if entry.is_file() {
            let unreadable = |error| EngineError::layer("cannot read the file system to export", error);
            let mut content = SourceTree::open(self.tree, path, entry).map_err(unreadable)?;
            std::io::copy(&mut content, &mut file)?;
        }
        self.finish(file.as_fd(), path, entry)
    }

    fn special(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        entry: &Entry,
        kind: FileType,
    ) -> Result<(), EngineError> {
        let kind = match kind {
            FileType::CharDevice => Kind::CharacterDevice,
            FileType::BlockDevice => Kind::BlockDevice,
            _ => Kind::Fifo,
        };
        let (major, minor) = entry.metadata.rdev;
        let device: Dev = makedev(major, minor);
        let mode = Mode::from_raw_mode(u32::from(entry.metadata.mode));
        rustix::fs::mknodat(parent, name, kind, mode, device).map_err(self.failed(path, "make device"))
    }

    /// Attributes, mode and times of what is open. Attributes that the destination cannot hold are left out.
    fn finish(&self, file: BorrowedFd<'_>, path: &[u8], entry: &Entry) -> Result<(), EngineError> {
        for xattr in &entry.metadata.xattrs {
            let _ = rustix::fs::fsetxattr(file, xattr.name.as_slice(), &xattr.value, XattrFlags::empty());
        }
        let mode = Mode::from_raw_mode(u32::from(entry.metadata.mode));
        rustix::fs::fchmod(file, mode).map_err(self.failed(path, "set mode of"))?;
        rustix::fs::futimens(file, &self.times(entry)).map_err(self.failed(path, "set times of"))
    }

    fn times(&self, entry: &Entry) -> Timestamps {
        let own = Timespec { tv_sec: entry.metadata.mtime, tv_nsec: entry.metadata.mtime_nsec.into() };
        let time = self.epoch.map_or(own, |epoch| Timespec { tv_sec: epoch, tv_nsec: 0 });
        Timestamps { last_access: time, last_modification: time }
    }
}
