//! A layer as ordinary files (tree mode).
//!
//! Everything is made relative to directory handles that were opened without following a symlink, so nothing a
//! layer says can lead out of the target. Three passes: directories, files and links by several threads, one
//! directory at a time; names of inodes that have several; then the directories' own attributes, deepest first,
//! because making an entry changes its directory's times.
use crate::error::path_error;
use crate::{Layer, LayerError, Metadata};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use strata_erofs::{FileType, Nid, Region, Source};

/// Bytes of a file body moved at a time where the kernel cannot move them itself.
const CHUNK: usize = 256 << 10;

impl Layer {
    /// Unpacks the layer below `directory` exactly as the kernel would show the mounted pair: whiteouts as
    /// char devices 0:0, opaque directories by xattr (tree mode). `directory` must exist and be empty.
    ///
    /// # Errors
    /// The first thing that cannot be made, with its path; what was made before it stays.
    pub fn unpack(&self, directory: &Path) -> Result<(), LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|error| LayerError::Path { path: directory.to_owned(), what: error.to_string() })?;
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
        let unpacker =
            Unpacker { layer: self, root: root.as_fd(), queue: Mutex::default(), wake: Condvar::new() };
        unpacker.queue().waiting.push((Vec::new(), self.image().root()));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| unpacker.work());
            }
            unpacker.work();
        });
        let queue = unpacker.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        queue.failed.map_or(Ok(()), Err)?;
        link_names(self, root.as_fd(), queue.shared)?;
        finish_directories(self, root.as_fd(), queue.done)
    }
}

/// What the threads share.
#[derive(Default)]
struct Queue {
    /// Directories that exist but are still empty.
    waiting: Vec<(Vec<u8>, Nid)>,
    /// Threads at work, which may find more.
    busy: usize,
    /// Directories that are filled.
    done: Vec<(Vec<u8>, Nid)>,
    /// Names of inodes that have more than one.
    shared: Vec<(Vec<u8>, Nid)>,
    failed: Option<LayerError>,
}

struct Unpacker<'a> {
    layer: &'a Layer,
    root: BorrowedFd<'a>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl Unpacker<'_> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.queue();
        loop {
            if queue.failed.is_some() || (queue.waiting.is_empty() && queue.busy == 0) {
                self.wake.notify_all();
                return;
            }
            let Some((path, nid)) = queue.waiting.pop() else {
                queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.busy += 1;
            drop(queue);
            let filled = self.fill(&path, nid);
            queue = self.queue();
            queue.busy -= 1;
            match filled {
                Ok(found) => {
                    queue.waiting.extend(found.directories);
                    queue.shared.extend(found.shared);
                    queue.done.push((path, nid));
                }
                Err(error) => queue.failed = queue.failed.take().or(Some(error)),
            }
            self.wake.notify_all();
        }
    }

    /// Makes everything in one directory, its subdirectories empty.
    fn fill(&self, path: &[u8], nid: Nid) -> Result<Filled, LayerError> {
        let directory = open_directory(self.root, path).map_err(|error| failed(path, "open", error))?;
        let mut found = Filled::default();
        for entry in self.layer.image().entries(nid)? {
            let path = join(path, entry.name);
            if entry.file_type == FileType::Directory {
                rustix::fs::mkdirat(&directory, entry.name, Mode::RWXU)
                    .map_err(|error| failed(&path, "mkdir", error))?;
                found.directories.push((path, entry.nid));
            } else if self.layer.image().inode(entry.nid)?.nlink > 1 {
                found.shared.push((path, entry.nid));
            } else {
                create(self.layer, directory.as_fd(), entry.name, &path, entry.nid)?;
            }
        }
        Ok(found)
    }
}

/// What [`Unpacker::fill`] leaves to others.
#[derive(Default)]
struct Filled {
    directories: Vec<(Vec<u8>, Nid)>,
    shared: Vec<(Vec<u8>, Nid)>,
}

/// Makes inodes with several names: the first name in byte order, then links to it.
fn link_names(layer: &Layer, root: BorrowedFd<'_>, mut names: Vec<(Vec<u8>, Nid)>) -> Result<(), LayerError> {
    names.sort_unstable();
    let mut first: HashMap<Nid, Vec<u8>> = HashMap::new();
    for (path, nid) in names {
        let (parent, name) = split(&path);
        let directory = open_directory(root, parent).map_err(|error| failed(parent, "open", error))?;
        if let Some(target) = first.get(&nid) {
            let (parent, target) = split(target);
            let source = open_directory(root, parent).map_err(|error| failed(parent, "open", error))?;
            rustix::fs::linkat(&source, target, &directory, name, AtFlags::empty())
                .map_err(|error| failed(&path, "link", error))?;
        } else {
            create(layer, directory.as_fd(), name, &path, nid)?;
            first.insert(nid, path);
        }
    }
    Ok(())
}

fn finish_directories(
    layer: &Layer,
    root: BorrowedFd<'_>,
    mut directories: Vec<(Vec<u8>, Nid)>,
) -> Result<(), LayerError> {
    directories.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    for (path, nid) in directories {
        let directory = open_directory(root, &path).map_err(|error| failed(&path, "open", error))?;
        set_attributes(directory.as_fd(), &path, &layer.metadata(nid)?)?;
    }
    Ok(())
}

/// Makes anything but a directory.
fn create(layer: &Layer, at: BorrowedFd<'_>, name: &[u8], path: &[u8], nid: Nid) -> Result<(), LayerError> {
    let metadata = layer.metadata(nid)?;
    match metadata.file_type {
        FileType::Regular => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(at, name, flags, Mode::RUSR | Mode::WUSR)
                .map_err(|error| failed(path, "create", error))?;
            write_body(layer, &file, nid, metadata.size).map_err(|error| failed(path, "write", error))?;
            return set_attributes(file.as_fd(), path, &metadata);
        }
        FileType::Symlink => rustix::fs::symlinkat(layer.image().read_link(nid)?, at, name),
        file_type => {
            let device = rustix::fs::makedev(metadata.rdev.0, metadata.rdev.1);
            rustix::fs::mknodat(
                at,
                name,
                kind_of(file_type),
                Mode::from_raw_mode(metadata.mode.into()),
                device,
            )
        }
    }
    .map_err(|error| failed(path, "create", error))?;
    set_attributes_at(at, name, path, &metadata)
}

fn kind_of(file_type: FileType) -> rustix::fs::FileType {
    match file_type {
        FileType::Regular => rustix::fs::FileType::RegularFile,
        FileType::Directory => rustix::fs::FileType::Directory,
        FileType::CharDevice => rustix::fs::FileType::CharacterDevice,
        FileType::BlockDevice => rustix::fs::FileType::BlockDevice,
        FileType::Fifo => rustix::fs::FileType::Fifo,
        FileType::Socket => rustix::fs::FileType::Socket,
        FileType::Symlink => rustix::fs::FileType::Symlink,
    }
}

/// Copies a file's regions; holes stay holes.
fn write_body(layer: &Layer, file: &OwnedFd, nid: Nid, size: u64) -> Result<(), Errno> {
    let regions = layer.image().regions(nid).map_err(|_| Errno::IO)?;
    if regions.iter().any(|region| region.source == Source::Hole) {
        rustix::fs::ftruncate(file, size)?;
    }
    regions.iter().try_for_each(|region| write_region(layer, file, region))
}

fn write_region(layer: &Layer, file: &OwnedFd, region: &Region) -> Result<(), Errno> {
    match region.source {
        Source::Hole => Ok(()),
        Source::Image(start) => {
            let range =
                usize::try_from(start).and_then(|start| Ok(start..start + usize::try_from(region.length)?));
            let bytes = range.ok().and_then(|range| layer.image().bytes().get(range)).ok_or(Errno::IO)?;
            write_all(file, bytes, region.logical)
        }
        Source::Device(_, start) => {
            let mut moved = 0;
            while moved < region.length {
                let (mut from, mut to) = (start + moved, region.logical + moved);
                let length = usize::try_from(region.length - moved).unwrap_or(usize::MAX);
                match rustix::fs::copy_file_range(layer.tar(), Some(&mut from), file, Some(&mut to), length) {
                    Ok(0) => return Err(Errno::IO),
                    Ok(count) => moved += count as u64,
                    Err(Errno::INTR) => {}
                    // Other file systems, or a kernel that will not: move the bytes ourselves.
                    Err(_) => return copy_bytes(layer, file, region, moved),
                }
            }
            Ok(())
        }
    }
}

fn copy_bytes(layer: &Layer, file: &OwnedFd, region: &Region, mut moved: u64) -> Result<(), Errno> {
    let Source::Device(_, start) = region.source else { return Ok(()) };
    let mut buffer = vec![0; CHUNK.min(usize::try_from(region.length).unwrap_or(CHUNK))];
    while moved < region.length {
        let length = buffer.len().min(usize::try_from(region.length - moved).unwrap_or(usize::MAX));
        let read = layer.tar().read_at(&mut buffer[..length], start + moved);
        let read = read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if read == 0 {
            return Err(Errno::IO);
        }
        write_all(file, &buffer[..read], region.logical + moved)?;
        moved += read as u64;
    }
    Ok(())
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Owner first (it clears setuid and capabilities), then mode, xattrs and times.
fn set_attributes(file: BorrowedFd<'_>, path: &[u8], metadata: &Metadata) -> Result<(), LayerError> {
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|error| failed(path, "chown", error))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(metadata.mode.into()))
        .map_err(|error| failed(path, "chmod", error))?;
    for xattr in &metadata.xattrs {
        rustix::fs::fsetxattr(file, xattr.name.as_slice(), &xattr.value, XattrFlags::empty())
            .map_err(|error| failed(path, &format!("set {}", xattr.name.escape_ascii()), error))?;
    }
    rustix::fs::futimens(file, &times(metadata)).map_err(|error| failed(path, "set the times", error))
}

/// The same for what cannot be opened: symlinks and devices.
fn set_attributes_at(
    at: BorrowedFd<'_>,
    name: &[u8],
    path: &[u8],
    metadata: &Metadata,
) -> Result<(), LayerError> {
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    rustix::fs::chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failed(path, "chown", error))?;
    if metadata.file_type != FileType::Symlink {
        // mknod's mode went through the umask. The entry is ours and new: nobody can have put a link there.
        rustix::fs::chmodat(at, name, Mode::from_raw_mode(metadata.mode.into()), AtFlags::empty())
            .map_err(|error| failed(path, "chmod", error))?;
    }
    for xattr in &metadata.xattrs {
        let path_to_it = crate::xattr::by_descriptor(at, name);
        rustix::fs::lsetxattr(path_to_it, xattr.name.as_slice(), &xattr.value, XattrFlags::empty())
            .map_err(|error| failed(path, &format!("set {}", xattr.name.escape_ascii()), error))?;
    }
    rustix::fs::utimensat(at, name, &times(metadata), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| failed(path, "set the times", error))
}

fn times(metadata: &Metadata) -> Timestamps {
    let time = Timespec { tv_sec: metadata.mtime, tv_nsec: metadata.mtime_nsec.into() };
    Timestamps { last_access: time, last_modification: time }
}

fn open_directory(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn failed(path: &[u8], what: &str, error: Errno) -> LayerError {
    path_error(path, &format!("{what}: {error}"))
}
