//! The upper directory, read by descriptors.
use crate::{FileType, LayerError, Metadata, Xattr, xattr};
use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Room for names from one getdents call.
const DIRENTS: usize = 32 << 10;

/// An open directory below the upper directory.
pub(super) struct Directory {
    fd: OwnedFd,
    /// For messages: where it is on the host.
    host: PathBuf,
}

/// A name in a directory, with its type if the file system tells it there.
pub(super) struct Name {
    pub(super) name: Vec<u8>,
    pub(super) file_type: Option<FileType>,
}

/// What `statx` says of an inode.
pub(super) struct Stat {
    pub(super) metadata: Metadata,
    /// Device and inode number.
    pub(super) inode: (u64, u64),
    /// Hard links.
    pub(super) links: u32,
}

/// Extended attributes, sorted by their use.
#[derive(Default)]
pub(super) struct Attributes {
    /// Those that belong into a layer, by name.
    pub(super) kept: Vec<Xattr>,
    /// `overlay.opaque` is `y`.
    pub(super) opaque: bool,
    /// `overlay.whiteout` is there.
    pub(super) whiteout: bool,
    /// `overlay.redirect` or `overlay.metacopy` is there: the bytes are elsewhere.
    elsewhere: bool,
}

impl Directory {
    pub(super) fn top(upper: &Path) -> Result<Self, LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(upper, flags, Mode::empty()).map_err(|error| at(upper, "open", error))?;
        Ok(Self { fd, host: upper.to_owned() })
    }

    /// A directory below this one, on the same file system, reached without any symlink.
    pub(super) fn beneath(&self, path: &[u8]) -> Result<Self, LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let host = self.host_path(path);
        let relative = if path.is_empty() { b"." } else { path };
        let fd = rustix::fs::openat2(&self.fd, relative, flags, Mode::empty(), resolve)
            .map_err(|error| at(&host, "open", error))?;
        Ok(Self { fd, host })
    }

    /// All names in byte order.
    pub(super) fn names(&self) -> Result<Vec<Name>, LayerError> {
        let mut names = Vec::new();
        let mut buffer = Vec::with_capacity(DIRENTS);
        let mut entries = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| at(&self.host, "list", error))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let regular = entry.file_type() == rustix::fs::FileType::RegularFile;
                names.push(Name { name: name.to_vec(), file_type: regular.then_some(FileType::Regular) });
            }
        }
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(names)
    }

    /// What is at a name, symlinks not followed.
    pub(super) fn stat(&self, name: &[u8]) -> Result<Stat, LayerError> {
        stat(self.fd.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW, &self.host_path(name))
    }

    /// What this directory itself is.
    pub(super) fn own_stat(&self) -> Result<Stat, LayerError> {
        stat(self.fd.as_fd(), b"", AtFlags::EMPTY_PATH, &self.host)
    }

    /// Attributes of this directory itself.
    pub(super) fn attributes(&self) -> Result<Attributes, LayerError> {
        attributes_of(&self.fd, self.host.as_os_str().as_bytes())
    }

    /// Attributes of something that must not be opened.
    pub(super) fn attributes_at(&self, name: &[u8]) -> Result<Attributes, LayerError> {
        let path = xattr::by_descriptor(self.fd.as_fd(), name);
        read_attributes(
            |buffer| rustix::fs::llistxattr(path.as_slice(), spare_capacity(buffer)),
            |key, buffer| rustix::fs::lgetxattr(path.as_slice(), key, spare_capacity(buffer)),
        )
        .map_err(|error| at(&self.host_path(name), "read the attributes of", error))
    }

    /// A regular file, opened for reading. What it is must be looked at afterwards; a FIFO does not block.
    pub(super) fn open_file(&self, name: &[u8]) -> Result<OwnedFd, LayerError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |flags| rustix::fs::openat(&self.fd, name, flags, Mode::empty());
        // Reading must not dirty thousands of inodes; only owners may ask for that.
        let fd = match open(flags | OFlags::NOATIME) {
            Err(Errno::PERM) => open(flags),
            result => result,
        };
        fd.map_err(|error| at(&self.host_path(name), "open", error))
    }

    pub(super) fn read_link(&self, name: &[u8]) -> Result<Vec<u8>, LayerError> {
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new());
        Ok(target.map_err(|error| at(&self.host_path(name), "read the symlink", error))?.into_bytes())
    }

    fn host_path(&self, below: &[u8]) -> PathBuf {
        if below.is_empty() { self.host.clone() } else { self.host.join(std::ffi::OsStr::from_bytes(below)) }
    }
}

impl Attributes {
    /// Refuses what stands for bytes of another place.
    pub(super) fn refuse_shared(&self, path: &[u8]) -> Result<(), LayerError> {
        if self.elsewhere {
            let what = "overlayfs keeps a part of it in the layers below; the overlay must be mounted with redirect_dir=off and metacopy=off";
            return Err(refuse(path, what));
        }
        Ok(())
    }

    fn sort_in(&mut self, name: &[u8], value: Vec<u8>) {
        let own = [&b"trusted.overlay."[..], b"user.overlay."];
        match own.iter().find_map(|prefix| name.strip_prefix(*prefix)) {
            Some(b"opaque") => self.opaque |= value == b"y",
            Some(b"whiteout") => self.whiteout = true,
            Some(b"redirect" | b"metacopy") => self.elsewhere = true,
            Some(_) => {}
            None => self.kept.push(Xattr { name: name.to_vec(), value }),
        }
    }
}

/// What an open file is.
pub(super) fn stat_of(file: &OwnedFd, path: &[u8]) -> Result<Stat, LayerError> {
    stat(file.as_fd(), b"", AtFlags::EMPTY_PATH, &host(path))
}

/// Attributes of an open file.
pub(super) fn attributes_of(file: &OwnedFd, path: &[u8]) -> Result<Attributes, LayerError> {
    read_attributes(
        |buffer| rustix::fs::flistxattr(file, spare_capacity(buffer)),
        |key, buffer| rustix::fs::fgetxattr(file, key, spare_capacity(buffer)),
    )
    .map_err(|error| at(&host(path), "read the attributes of", error))
}

/// An error for a file that somebody changes.
pub(super) fn changed(path: &[u8], what: &str) -> LayerError {
    refuse(path, &format!("it changed while it was read: {what}"))
}

fn stat(fd: BorrowedFd<'_>, name: &[u8], flags: AtFlags, host: &Path) -> Result<Stat, LayerError> {
    let stat = rustix::fs::statx(fd, name, flags, StatxFlags::BASIC_STATS)
        .map_err(|error| at(host, "stat", error))?;
    let metadata = super::to_metadata(&stat).ok_or_else(|| at(host, "stat", Errno::INVAL))?;
    let device = u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor);
    Ok(Stat { metadata, inode: (device, stat.stx_ino), links: stat.stx_nlink })
}

/// True for what must be looked at: overlayfs's own attributes and those that belong into a layer.
fn matters(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.overlay.")
        || matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
}

fn read_attributes(
    list: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>,
    mut get: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, Errno>,
) -> Result<Attributes, Errno> {
    let mut attributes = Attributes::default();
    let names = match fill(list) {
        Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(attributes),
        names => names?,
    };
    for name in names.split(|byte| *byte == 0).filter(|name| matters(name)) {
        match fill(|buffer| get(name, buffer)) {
            Ok(value) => attributes.sort_in(name, value),
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error),
        }
    }
    attributes.kept.sort_unstable();
    Ok(attributes)
}

/// Calls until the buffer is large enough: the value may grow between two calls.
fn fill(mut call: impl FnMut(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = Vec::with_capacity(256);
    loop {
        match call(&mut buffer) {
            Ok(_) => return Ok(buffer),
            Err(Errno::RANGE) => buffer.reserve(buffer.capacity() * 4),
            Err(error) => return Err(error),
        }
    }
}

fn host(path: &[u8]) -> PathBuf {
    OsString::from_vec(path.to_vec()).into()
}

fn refuse(path: &[u8], what: &str) -> LayerError {
    LayerError::Path { path: host(path), what: what.to_owned() }
}

fn at(path: &Path, action: &str, error: Errno) -> LayerError {
    let error = std::io::Error::from(error);
    LayerError::Io(std::io::Error::new(error.kind(), format!("cannot {action} {}: {error}", path.display())))
}
