//! Content digests of files that look as they did.
//!
//! # When an entry is trusted
//!
//! An entry says: the file at this path, with this size, mtime, ctime, inode and mode, has these contents. The
//! kernel sets ctime from its clock whenever a file is written, and nobody can set it back; so a file that looks the
//! same has the same contents, except when it was written twice within one tick of that clock, once before we
//! read it and once after. An entry is therefore recorded only if the file's ctime and mtime are at least
//! [`MARGIN`] older than the moment the context was opened: then every write after our reading gets a later ctime.
//! What is younger is read again by the next build, and recorded then. Two seconds cover the coarsest stamps in use
//! (FAT's). A file server whose clock lags behind ours by more than that is outside this rule.
//!
//! # The file
//!
//! Little endian: magic (8), number of records (8), records of 88 bytes sorted by path, the paths, BLAKE3 of all
//! before (32). Whatever does not fit in every respect is an empty cache. It is written beside its place and
//! renamed over it.
mod record;

use crate::tree::Entry;
use crate::{ContentDigest, LayerError};
use record::{Loaded, Record, encode, nanoseconds};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How much older than the recording a file's last change must be.
pub(super) const MARGIN: Duration = Duration::from_secs(2);

/// What is known, and what this build learns.
pub(super) struct StatCache {
    file: Option<PathBuf>,
    opened: i128,
    loaded: Loaded,
    /// For each loaded record: has a file been seen at its path?
    seen: Vec<AtomicBool>,
    learned: Mutex<Learned>,
}

#[derive(Default)]
struct Learned {
    records: BTreeMap<Vec<u8>, Record>,
    /// Directories that were walked: what was not seen below them is gone.
    walked: Vec<Vec<u8>>,
    hashed: usize,
}

impl StatCache {
    pub(super) fn load(file: Option<&Path>) -> Self {
        let loaded =
            file.and_then(|file| fs_err::read(file).ok()).and_then(Loaded::parse).unwrap_or_default();
        Self {
            file: file.map(Path::to_owned),
            opened: now(),
            seen: (0..loaded.count()).map(|_| AtomicBool::new(false)).collect(),
            loaded,
            learned: Mutex::default(),
        }
    }

    fn learn(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, path: &[u8], entry: &Entry) -> Option<Record> {
        let at = self.loaded.position(path)?;
        self.seen[at].store(true, Ordering::Relaxed);
        let record = self.loaded.record(at);
        record.describes(entry).then_some(record)
    }

    /// True for a file that is known and has no extended attributes.
    pub(super) fn is_known_plain(&self, path: &[u8], entry: &Entry) -> bool {
        self.find(path, entry).is_some_and(|record| record.is_plain())
    }

    pub(super) fn lookup(&self, path: &[u8], entry: &Entry) -> Option<ContentDigest> {
        let fresh = || self.learn().records.get(path).copied().filter(|record| record.describes(entry));
        self.find(path, entry).or_else(fresh).map(|record| record.digest)
    }

    pub(super) fn remember(&self, path: &[u8], entry: &Entry, digest: ContentDigest) {
        let mut learned = self.learn();
        learned.hashed += 1;
        let modified = nanoseconds(entry.metadata.mtime, entry.metadata.mtime_nsec);
        let latest = modified.max(entry.identity.changed);
        if latest + MARGIN.as_nanos() as i128 <= self.opened {
            learned.records.insert(path.to_vec(), Record::new(entry, digest));
        }
    }

    pub(super) fn walked(&self, directory: &[u8]) {
        self.learn().walked.push(directory.to_vec());
    }

    /// Number of digests that were not known.
    pub(super) fn learned(&self) -> usize {
        self.learn().hashed
    }

    pub(super) fn save(&self) -> Result<(), LayerError> {
        let Some(file) = &self.file else { return Ok(()) };
        let learned = self.learn();
        let is_gone = |at: usize| {
            let below = |directory: &Vec<u8>| {
                let path = self.loaded.path(at);
                directory.is_empty()
                    || (path.starts_with(directory) && path.get(directory.len()) == Some(&b'/'))
            };
            !self.seen[at].load(Ordering::Relaxed) && learned.walked.iter().any(below)
        };
        let old = (0..self.loaded.count()).filter(|at| !is_gone(*at)).collect::<Vec<_>>();
        if learned.records.is_empty() && old.len() == self.loaded.count() {
            return Ok(());
        }
        let mut records: BTreeMap<&[u8], Record> =
            old.into_iter().map(|at| (self.loaded.path(at), self.loaded.record(at))).collect();
        records.extend(learned.records.iter().map(|(path, record)| (path.as_slice(), *record)));
        replace(file, &encode(&records))
    }
}

/// Writes beside `file` and renames. No fsync: a torn file is an empty cache.
fn replace(file: &Path, bytes: &[u8]) -> Result<(), LayerError> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.{serial}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = fs_err::File::create(&temporary).and_then(|mut out| out.write_all(bytes));
    let renamed = written.and_then(|()| fs_err::rename(&temporary, file));
    renamed.inspect_err(|_| drop(fs_err::remove_file(&temporary))).map_err(LayerError::Io)
}

fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128)
}
