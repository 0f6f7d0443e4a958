//! Paths inside a container's root, never outside: every look-up goes through `openat2` with `RESOLVE_IN_ROOT`, so
//! that absolute links and `..` end at the root as they would for a process in the container (`spec/engine.md`
//! section 4, Paths).

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// A rename somewhere below can make the kernel give up a look-up; it asks to try again.
const RETRIES: usize = 32;

/// Longest chain of dangling links followed while making a directory, as the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Opens `path` below `root`; links resolve inside the root, magic links (`/proc/self/fd`) not at all.
pub(crate) fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    open_with(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

fn open_with(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut last = Errno::AGAIN;
    for _ in 0..RETRIES {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(errno @ (Errno::AGAIN | Errno::INTR)) => last = errno,
            other => return other,
        }
    }
    Err(last)
}

/// Reads a regular file of at most `limit` bytes; `None` when it does not exist.
///
/// # Errors
/// `INVAL` when it is not a regular file, `FBIG` when it is larger.
pub(crate) fn read_file(root: BorrowedFd<'_>, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    // NONBLOCK: an image may put a FIFO here.
    let fd = match open_in_root(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::INVAL.into());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(Errno::FBIG.into());
    }
    Ok(Some(bytes))
}

/// What a mount target must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetKind {
    Directory,
    File,
}

/// Something made only so that a mount has a place: path below the root, real (no links in it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) path: PathBuf,
    pub(crate) kind: TargetKind,
}

/// Makes sure that `path` exists below `root` as `kind`, creating directories (0755) and an empty file (0644) on the
/// way, following links (also dangling ones) inside the root. Returns what was made, parents first.
///
/// `before` is called with the real path of every directory that is about to get a new entry.
pub(crate) fn ensure_target(
    root: BorrowedFd<'_>,
    path: &Path,
    kind: TargetKind,
    before: &mut dyn FnMut(&Path, BorrowedFd<'_>),
) -> Result<Vec<Made>, Errno> {
    if let Ok(fd) = open_in_root(root, path, OFlags::PATH) {
        return check_kind(fd.as_fd(), kind).map(|()| Vec::new());
    }
    let mut made = Vec::new();
    let mut todo: Vec<PathBuf> = components_reversed(path);
    let mut here = PathBuf::new();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name.as_os_str() == ".." {
            here.pop();
            continue;
        }
        let wanted = if todo.is_empty() { kind } else { TargetKind::Directory };
        let parent = open_with(
            root,
            &here,
            OFlags::PATH | OFlags::DIRECTORY,
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
        )?;
        let stat = rustix::fs::statat(&parent, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        match stat {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&parent, &name, Vec::new())?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                if target.is_absolute() {
                    here = PathBuf::new();
                }
                todo.extend(components_reversed(target));
            }
            Ok(_) => here.push(name),
            Err(Errno::NOENT) => {
                before(&here, parent.as_fd());
                make(parent.as_fd(), &name, wanted)?;
                here.push(name);
                made.push(Made { path: here.clone(), kind: wanted });
            }
            Err(errno) => return Err(errno),
        }
    }
    let fd = open_in_root(root, path, OFlags::PATH)?;
    check_kind(fd.as_fd(), kind)?;
    Ok(made)
}

fn make(parent: BorrowedFd<'_>, name: &Path, kind: TargetKind) -> Result<(), Errno> {
    match kind {
        TargetKind::Directory => {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
            // The umask of the engine is not the image's business.
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(0o755), rustix::fs::AtFlags::empty())
        }
        TargetKind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
            rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o644))
        }
    }
}

fn check_kind(fd: BorrowedFd<'_>, kind: TargetKind) -> Result<(), Errno> {
    let is_dir = FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory;
    match (kind, is_dir) {
        (TargetKind::Directory, false) => Err(Errno::NOTDIR),
        (TargetKind::File, true) => Err(Errno::ISDIR),
        _ => Ok(()),
    }
}

fn components_reversed(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Opens a host path with `O_PATH`.
pub(crate) fn open_host(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}
