//! Downloads: blobs that are not here to their end yet, kept across commands and shared between processes.
//!
//! One file per blob below `downloads/`, named by its digest and held by `flock` while somebody fetches it. What is in
//! it is the beginning of the blob as far as anybody knows: nothing is hashed again before the whole is there, so its
//! reader hashes from the first byte, and throws the file away when the digest turns out wrong.
//!
//! Who finds a file held waits for its holder and then looks whether the layer has come; who finds one that nobody
//! holds goes on where it ends. Such leftovers are counted with everything else below the root, and collected by
//! [`Store::gc`](crate::Store::gc): after a day, and the oldest first beyond [`KEEP`].
use crate::StoreError;
use crate::core::Core;
use crate::root::create_directory;
use crate::staging::claim;
use fs_err as fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use strata_oci::Digest;

/// Leftovers older than this are collected: whoever was cut off has tried again by then, or never will.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// Leftovers may take so many bytes together.
const KEEP: u64 = 4 << 30;

/// The unfinished blobs of the store.
#[derive(Clone, Debug)]
pub struct Downloads {
    core: Arc<Core>,
}

/// A blob being fetched, by this process alone. Dropped, it leaves what it has for the next one who wants the blob.
#[derive(Debug)]
pub struct Download {
    digest: Digest,
    path: PathBuf,
    file: fs::File,
    length: u64,
    finished: bool,
    /// Held as long as this lives.
    _lock: std::fs::File,
}

impl Downloads {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Takes a blob in hand. `None`: another process, or another thread of this one, is fetching it.
    pub fn begin(&self, digest: &Digest) -> Result<Option<Download>, StoreError> {
        let directory = self.core.root.downloads();
        // Stores made before there were downloads have none.
        create_directory(&directory, 0o700)?;
        let path = directory.join(digest.hex());
        let mut options = fs::OpenOptions::new();
        options.append(true).create(true);
        options.open(&path)?;
        // `None` as well when its holder finished and unlinked it meanwhile: the caller looks again.
        let Some(lock) = claim(&path)? else { return Ok(None) };
        // Only a holder unlinks: from here on it is the file that is locked.
        let file = options.open(&path)?;
        let length = file.metadata()?.len();
        Ok(Some(Download { digest: *digest, path, file, length, finished: false, _lock: lock }))
    }

    /// Bytes of unfinished blobs.
    pub fn usage(&self) -> Result<u64, StoreError> {
        Ok(self.leftovers()?.iter().map(|leftover| leftover.length).sum())
    }

    /// Deletes what nobody is fetching: all of it, or what is old or too much. Returns the bytes given back.
    pub fn collect(&self, all: bool) -> Result<u64, StoreError> {
        self.collect_beyond(if all { 0 } else { KEEP }, MAX_AGE)
    }

    fn collect_beyond(&self, mut keep: u64, max_age: Duration) -> Result<u64, StoreError> {
        let mut leftovers = self.leftovers()?;
        leftovers.sort_by_key(|leftover| std::cmp::Reverse(leftover.modified));
        let (now, mut freed) = (SystemTime::now(), 0);
        for leftover in leftovers {
            let age = now.duration_since(leftover.modified).unwrap_or_default();
            if age <= max_age && leftover.length <= keep {
                keep -= leftover.length;
                continue;
            }
            // Whoever holds it is at work.
            if let Some(_lock) = claim(&leftover.path)? {
                fs::remove_file(&leftover.path)?;
                freed += leftover.length;
            }
        }
        Ok(freed)
    }

    fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        let entries = match fs::read_dir(self.core.root.downloads()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut leftovers = Vec::new();
        for entry in entries {
            let entry = entry?;
            // Finished meanwhile is as good as not there.
            let Ok(metadata) = entry.metadata() else { continue };
            let modified = metadata.modified()?;
            leftovers.push(Leftover { path: entry.path(), length: metadata.len(), modified });
        }
        Ok(leftovers)
    }
}

struct Leftover {
    path: PathBuf,
    length: u64,
    modified: SystemTime,
}

impl Download {
    /// Which blob.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Bytes that are here: the next one to ask for.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Adds the bytes that follow.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// What is here, to be read with positions of one's own while it grows.
    pub fn reader(&self) -> Result<fs::File, StoreError> {
        Ok(fs::File::open(&self.path)?)
    }

    /// Forgets everything: it was not the beginning of this blob.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.file.set_len(0)?;
        self.length = 0;
        Ok(())
    }

    /// The blob is where it belongs, or will never be: nothing is left for others.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.finished = true;
        Ok(fs::remove_file(&self.path)?)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.length == 0 && !self.finished {
            // Nothing anybody could go on with.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests;
