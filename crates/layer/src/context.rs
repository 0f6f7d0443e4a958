//! A build context that is read where it is.
//!
//! Nothing is copied to find out that nothing changed: a walk asks for metadata only, and the [`StatCache`] knows the
//! content digests of files that look as they did. Access is relative to a handle on the root with symlinks refused
//! on the way, so no name in a context can lead outside, whoever changes it meanwhile.
//!
//! A context says nothing about owners: everything in it belongs to root (`spec/build.md` 2.4). Sockets appear
//! as empty files, as BuildKit makes of them.

mod read;
mod stat_cache;
mod walk;

use crate::error::path_error;
use crate::tree::{Content, Entries, Entry, Filter, Identity, Place, Position, SourceTree, Verdict, join};
use crate::{FileType, LayerError, Metadata, xattr};
use read::CheckedFile;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;
use stat_cache::{Block, StatCache};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use strata_oci::DiffId;

/// Opens the tar of a layer, if it is there.
pub type OpenTar = Arc<dyn Fn(&DiffId) -> Option<File> + Send + Sync>;

/// A directory seen through an ignore filter.
pub struct ContextDir {
    root: OwnedFd,
    /// Where it is, for messages.
    path: PathBuf,
    filter: Option<Filter>,
    cache: StatCache,
    /// All of it, walked ahead for its size and not asked for yet.
    ahead: Mutex<Option<Arc<Entries>>>,
    /// Finds the layers that may have copies of files, and those that were found.
    open_tar: Option<OpenTar>,
    tars: Mutex<HashMap<DiffId, Option<Arc<File>>>>,
}

impl ContextDir {
    /// Opens `directory`. `filter` is asked with paths relative to it (`.dockerignore`); `stat_cache` is the file
    /// that remembers content digests between builds, made by [`save`](Self::save). A missing or damaged one is
    /// an empty one.
    ///
    /// # Errors
    /// `directory` cannot be opened.
    pub fn open(
        directory: &Path,
        filter: Option<Filter>,
        stat_cache: Option<&Path>,
    ) -> Result<Self, LayerError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())
            .map_err(|error| LayerError::Path { path: directory.to_owned(), what: error.to_string() })?;
        Ok(Self {
            root,
            path: directory.to_owned(),
            filter,
            cache: StatCache::load(stat_cache),
            ahead: Mutex::default(),
            open_tar: None,
            tars: Mutex::default(),
        })
    }

    /// Files that have not changed are then read from the layer that got them last, if it is still there: one file
    /// instead of thousands.
    pub fn with_tars(self, open_tar: OpenTar) -> Self {
        Self { open_tar: Some(open_tar), ..self }
    }

    /// Writes the stat cache if it learned anything. Builds that save at the same time do not disturb each other;
    /// the last one's knowledge stays.
    ///
    /// # Errors
    /// The file cannot be written. The build itself is not affected.
    pub fn save(&self) -> Result<(), LayerError> {
        self.cache.save()
    }

    /// Sum of the lengths of the regular files that the filter lets through. What was walked for it is kept for the
    /// first [`walk`](SourceTree::walk) over everything.
    ///
    /// # Errors
    /// Some directory cannot be read.
    pub fn size(&self) -> Result<u64, LayerError> {
        let entries = self.walk(b"", None)?;
        let files = entries.positions().filter(|at| entries.file_type(*at) == FileType::Regular);
        let size = files.map(|at| entries.size(at)).sum();
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = Some(entries);
        Ok(size)
    }

    /// Number of files that were hashed because the stat cache did not know them.
    pub fn hashed_files(&self) -> usize {
        self.cache.hashed()
    }

    fn verdict(&self, path: &[u8], is_directory: bool) -> Verdict {
        match &self.filter {
            Some(filter) if !path.is_empty() => filter(path, is_directory),
            _ => Verdict::Include,
        }
    }

    /// The directory at `path`, opened; no symlink is followed.
    fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }

    /// The entry `name` in an open directory, of whose files `known` tells, and what is known of its content; `path`
    /// is its whole path.
    fn stat(
        &self,
        directory: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        known: &Block,
    ) -> Result<Option<(Entry, Option<Content>)>, LayerError> {
        let wanted = StatxFlags::BASIC_STATS;
        let status = match rustix::fs::statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, wanted) {
            Ok(status) => status,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.failed(path, "stat", error)),
        };
        let Some(mut entry) = to_entry(&status) else {
            return Err(path_error(path, "of a type that no layer can hold"));
        };
        if entry.metadata.file_type == FileType::Symlink {
            let link = rustix::fs::readlinkat(directory, name, Vec::new());
            entry.link = link.map_err(|error| self.failed(path, "read the link", error))?.into_bytes();
            entry.metadata.size = entry.link.len() as u64;
        }
        // Only these may carry attributes of a user; a file known from the stat cache carries none (setting one
        // would have changed its ctime).
        let is_file = entry.is_file();
        let record = known.find(name).filter(|record| is_file && record.describes(&entry));
        if entry.is_directory() || (is_file && !record.is_some_and(|record| record.is_plain())) {
            entry.metadata.xattrs = xattr::read(&xattr::by_descriptor(directory, name))
                .map_err(|error| self.failed(path, "read the extended attributes", error))?;
        }
        Ok(Some((entry, record.map(|record| record.content()))))
    }

    fn failed(&self, path: &[u8], what: &str, error: Errno) -> LayerError {
        let path = self.path.join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path));
        LayerError::Path { path, what: format!("{what}: {error}") }
    }
}

impl SourceTree for ContextDir {
    fn entry(&self, path: &[u8]) -> Result<Option<Entry>, LayerError> {
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], if path.is_empty() { &b"."[..] } else { path }),
        };
        let directory = match self.open_directory(parent) {
            Ok(directory) => directory,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(self.failed(parent, "open", error)),
        };
        let known = self.cache.directory(parent);
        let Some((entry, _)) = self.stat(directory.as_fd(), name, path, &known)? else { return Ok(None) };
        let shown = match self.verdict(path, entry.is_directory()) {
            Verdict::Include => true,
            Verdict::ExcludeButDescend => entry.is_directory() && !self.walk_all(path, None)?.is_empty(),
            Verdict::Exclude => false,
        };
        Ok(shown.then_some(entry))
    }

    fn read_dir(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, Entry)>, LayerError> {
        let mut entries = Vec::new();
        for found in self.list(path, b"", None)? {
            let hollow = found.verdict == Verdict::ExcludeButDescend
                && self.walk_all(&join(path, &found.name), None)?.is_empty();
            if !hollow {
                entries.push((found.name, found.entry));
            }
        }
        Ok(entries)
    }

    fn walk(&self, directory: &[u8], filter: Option<&Filter>) -> Result<Arc<Entries>, LayerError> {
        if directory.is_empty()
            && filter.is_none()
            && let Some(entries) = self.ahead.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            return Ok(entries);
        }
        let entries = Arc::new(self.walk_all(directory, filter)?);
        self.cache.note_walk(directory, &entries);
        Ok(entries)
    }

    fn fill_digests(&self, directory: &[u8], entries: &Arc<Entries>) -> Result<(), LayerError> {
        self.cache.note_entries(directory, entries);
        let mut unknown = Vec::new();
        for at in entries.without_digest() {
            match self.cache.lookup(&join(directory, &entries.path(at)), &entries.entry(at)) {
                Some(content) => entries.set_content(at, content),
                None => unknown.push(at),
            }
        }
        self.hash_all(directory, entries, &unknown)
    }

    fn open<'a>(&'a self, path: &[u8], entry: &Entry) -> Result<Box<dyn Read + Send + 'a>, LayerError> {
        if entry.metadata.size == 0 {
            // Sockets among them, which cannot be opened.
            return Ok(Box::new(std::io::empty()));
        }
        Ok(Box::new(CheckedFile::open(self, path, entry)?))
    }

    fn note_digest(&self, directory: &[u8], entries: &Arc<Entries>, at: Position) {
        self.cache.note_entries(directory, entries);
        self.cache.note_hashed(std::iter::once(entries.entry(at)));
    }

    fn tar_of(&self, place: Place) -> Option<Arc<File>> {
        let open_tar = self.open_tar.as_ref()?;
        let layer = self.cache.layer(place)?;
        let mut tars = self.tars.lock().unwrap_or_else(PoisonError::into_inner);
        tars.entry(layer).or_insert_with(|| open_tar(&layer).map(Arc::new)).clone()
    }

    fn were_written_to(&self, entries: &Entries, layer: &DiffId) {
        if self.open_tar.is_some()
            && let Some(number) = self.cache.number_of(layer)
        {
            entries.were_written_to(number);
        }
    }
}

/// Threads for work that waits for the kernel or hashes.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get().min(8))
}

/// `None` for a type that neither Linux nor a layer knows.
fn to_entry(status: &Statx) -> Option<Entry> {
    use rustix::fs::FileType as Kind;
    let file_type = match Kind::from_raw_mode(status.stx_mode.into()) {
        Kind::RegularFile | Kind::Socket => FileType::Regular,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::CharacterDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
        Kind::Unknown => return None,
    };
    let is_device = matches!(file_type, FileType::CharDevice | FileType::BlockDevice);
    let changed = status.stx_ctime.tv_sec.saturating_mul(1_000_000_000);
    let changed = changed.saturating_add(status.stx_ctime.tv_nsec.into());
    Some(Entry {
        metadata: Metadata {
            file_type,
            mode: status.stx_mode & 0o7777,
            uid: 0,
            gid: 0,
            mtime: status.stx_mtime.tv_sec,
            mtime_nsec: status.stx_mtime.tv_nsec,
            size: if file_type == FileType::Regular { status.stx_size } else { 0 },
            rdev: if is_device { (status.stx_rdev_major, status.stx_rdev_minor) } else { (0, 0) },
            xattrs: Vec::new(),
        },
        link: Vec::new(),
        identity: Identity {
            device: rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor),
            inode: status.stx_ino,
            links: status.stx_nlink,
            changed,
        },
    })
}
