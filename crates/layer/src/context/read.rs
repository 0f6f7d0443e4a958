//! File contents of a context: checked against what was seen, hashed by several threads.
use super::{ContextDir, threads, to_entry};
use crate::error::path_error;
use crate::tree::{Entries, Entry, Position, SourceTree, join};
use crate::{ContentDigest, LayerError};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file that must be, from the first byte to the last, the one that was seen.
///
/// The file is asked for its metadata when it is opened and again at its end: a size, inode, mtime or ctime other
/// than before is an error. An edit within one tick of the clock after the last check goes unnoticed here; the copy
/// is then consistent with the digest all the same, because both come from the bytes that were read.
pub(super) struct CheckedFile {
    file: OwnedFd,
    path: Vec<u8>,
    seen: Entry,
    remaining: u64,
}

impl CheckedFile {
    pub(super) fn open(context: &ContextDir, path: &[u8], entry: &Entry) -> Result<Self, LayerError> {
        // NONBLOCK: a FIFO that has taken the file's place must not hang the build.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = match rustix::fs::openat2(&context.root, path, flags, Mode::empty(), resolve) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => {
                return Err(path_error(path, CHANGED));
            }
            Err(error) => return Err(context.failed(path, "open", error)),
        };
        let checked = Self { file, path: path.to_vec(), seen: entry.clone(), remaining: entry.metadata.size };
        if checked.is_unchanged()? { Ok(checked) } else { Err(path_error(path, CHANGED)) }
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        let status = rustix::fs::statx(&self.file, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
        Ok(to_entry(&status).is_some_and(|now| same_file(&now, &self.seen)))
    }

    fn changed(&self) -> io::Error {
        io::Error::other(path_error(&self.path, CHANGED))
    }
}

const CHANGED: &str = "changed while it was being read; build again when nothing writes to the context";

/// True when two looks at a path saw the same file in the same state.
pub(super) fn same_file(a: &Entry, b: &Entry) -> bool {
    a.identity.inode == b.identity.inode
        && a.identity.device == b.identity.device
        && a.identity.changed == b.identity.changed
        && a.metadata.file_type == b.metadata.file_type
        && a.metadata.size == b.metadata.size
        && a.metadata.mode == b.metadata.mode
        && (a.metadata.mtime, a.metadata.mtime_nsec) == (b.metadata.mtime, b.metadata.mtime_nsec)
}

impl Read for CheckedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let length = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        let count = rustix::io::read(&self.file, &mut buffer[..length])?;
        self.remaining -= count as u64;
        // The check comes before the last bytes are handed out: who has them all has them right.
        if count == 0 || (self.remaining == 0 && !self.is_unchanged()?) {
            return Err(self.changed());
        }
        Ok(count)
    }
}

impl ContextDir {
    /// Hashes files of `entries` by several threads, and notes the digests there.
    pub(super) fn hash_all(
        &self,
        directory: &[u8],
        entries: &Entries,
        files: &[Position],
    ) -> Result<(), LayerError> {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(at) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let digest = self.hash(&join(directory, &entries.path(*at)), &entries.entry(*at))?;
                entries.set_digest(*at, digest);
            }
            Ok::<_, LayerError>(())
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads().min(files.len())).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = others.into_iter().map(|other| other.join());
            others.fold(own, |all, other| {
                all.and(other.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            })
        })?;
        self.cache.note_hashed(files.iter().map(|at| entries.entry(*at)));
        Ok(())
    }

    fn hash(&self, path: &[u8], entry: &Entry) -> Result<ContentDigest, LayerError> {
        let mut reader = SourceTree::open(self, path, entry)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer =
            vec![0; usize::try_from(entry.metadata.size).unwrap_or(usize::MAX).clamp(1, 1 << 18)];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(ContentDigest(*hasher.finalize().as_bytes())),
                count => hasher.update(&buffer[..count]),
            };
        }
    }
}
