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
//! An entry may also say which layer got a copy of the contents, and where in its tar. That is a hint: whoever reads
//! there compares the digest.
//!
//! What a build learns stays in the [`Entries`] that its walks gave, and is written from there.
mod file;
mod record;

use crate::LayerError;
use crate::tree::{Content, Entries, Entry, Listing, Place};
pub(super) use file::Block;
use file::{Loaded, Writer};
use record::Record;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use strata_oci::DiffId;

/// How much older than the recording a file's last change must be.
const MARGIN: Duration = Duration::from_secs(2);

/// What is known, and what this build learns.
pub(super) struct StatCache {
    file: Option<PathBuf>,
    opened: i128,
    loaded: Loaded,
    /// Files that walks found as they were recorded.
    recognized: AtomicUsize,
    /// Files that had to be read.
    hashed: AtomicUsize,
    /// Something is worth being recorded.
    learned: AtomicBool,
    seen: Mutex<Vec<Seen>>,
    /// The layers that a [`Place`] means by its number: those of the file, then those of this build.
    layers: Mutex<Vec<DiffId>>,
}

/// What this build looked at.
struct Seen {
    /// Where it is.
    path: Vec<u8>,
    /// All of a directory, or one file.
    is_walk: bool,
    entries: Arc<Entries>,
}

impl StatCache {
    pub(super) fn load(file: Option<&Path>) -> Self {
        let loaded = file.and_then(Loaded::open).unwrap_or_default();
        Self {
            file: file.map(Path::to_owned),
            opened: now(),
            recognized: AtomicUsize::new(0),
            hashed: AtomicUsize::new(0),
            learned: AtomicBool::new(false),
            seen: Mutex::default(),
            layers: Mutex::new(loaded.layers().collect()),
            loaded,
        }
    }

    /// What is known of the files of a directory.
    pub(super) fn directory(&self, path: &[u8]) -> Block {
        self.loaded.block_of(path).unwrap_or_default()
    }

    /// What is known of a file that has been looked at by itself.
    pub(super) fn lookup(&self, path: &[u8], entry: &Entry) -> Option<Content> {
        let (parent, name) = split(path);
        let record = self.directory(parent).find(name).filter(|record| record.describes(entry))?;
        Some(record.content())
    }

    /// Files had to be read.
    pub(super) fn note_hashed(&self, files: impl Iterator<Item = Entry>) {
        let (mut count, mut settled) = (0, false);
        for entry in files {
            count += 1;
            settled |= self.is_settled(&entry);
        }
        self.hashed.fetch_add(count, Ordering::Relaxed);
        self.learned.fetch_or(settled, Ordering::Relaxed);
    }

    fn is_settled(&self, entry: &Entry) -> bool {
        let modified = nanoseconds(entry.metadata.mtime, entry.metadata.mtime_nsec);
        let latest = modified.max(entry.identity.changed.into());
        latest + MARGIN.as_nanos() as i128 <= self.opened
    }

    /// Keeps what a walk over a directory found until it is written.
    pub(super) fn note_walk(&self, path: &[u8], entries: &Arc<Entries>) {
        self.recognized.fetch_add(entries.known_digests(), Ordering::Relaxed);
        self.lock_seen().push(Seen { path: path.to_vec(), is_walk: true, entries: Arc::clone(entries) });
    }

    /// Keeps what is known of a file that was looked at by itself, unless it belongs to a walk.
    pub(super) fn note_entries(&self, path: &[u8], entries: &Arc<Entries>) {
        let mut seen = self.lock_seen();
        if seen.iter().all(|seen| !Arc::ptr_eq(&seen.entries, entries)) {
            seen.push(Seen { path: path.to_vec(), is_walk: false, entries: Arc::clone(entries) });
        }
    }

    fn lock_seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of files whose digests were not known.
    pub(super) fn hashed(&self) -> usize {
        self.hashed.load(Ordering::Relaxed)
    }

    /// The layer that a place speaks of.
    pub(super) fn layer(&self, place: Place) -> Option<DiffId> {
        self.lock_layers().get(usize::from(place.layer())).copied()
    }

    /// The number of a layer; `None` if there are too many.
    pub(super) fn number_of(&self, layer: &DiffId) -> Option<u16> {
        let mut layers = self.lock_layers();
        let at = layers.iter().position(|known| known == layer).unwrap_or(layers.len());
        let number = u16::try_from(at).ok().filter(|number| *number < u16::MAX)?;
        if at == layers.len() {
            layers.push(*layer);
        }
        self.learned.store(true, Ordering::Relaxed);
        Some(number)
    }

    fn lock_layers(&self) -> MutexGuard<'_, Vec<DiffId>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn save(&self) -> Result<(), LayerError> {
        let Some(file) = &self.file else { return Ok(()) };
        let seen = self.lock_seen();
        let is_walked = |path: &[u8]| seen.iter().any(|seen| seen.is_walk && is_below(path, &seen.path));
        let known = (0..self.loaded.count()).filter(|at| is_walked(self.loaded.path(*at)));
        let known: usize = known.map(|at| self.loaded.records(at)).sum();
        let is_gone = known > self.recognized.load(Ordering::Relaxed);
        if !is_gone && !self.learned.load(Ordering::Relaxed) {
            return Ok(());
        }
        let layers = self.lock_layers().clone();
        replace(file, |out| {
            let mut writer = Writer::new(out, &layers)?;
            self.write_all(&fresh(&seen), &is_walked, &mut writer)?;
            writer.finish()
        })
    }

    /// Writes the directories of the file and those of this build, merged.
    fn write_all(
        &self,
        fresh: &[Fresh<'_>],
        is_walked: &dyn Fn(&[u8]) -> bool,
        writer: &mut Writer<'_>,
    ) -> Result<(), LayerError> {
        let mut old = (0..self.loaded.count()).peekable();
        let mut groups = fresh.chunk_by(|a, b| a.directory == b.directory).peekable();
        loop {
            let next_old = old.peek().map(|at| self.loaded.path(*at));
            let next_new = groups.peek().map(|group| group[0].directory.as_slice());
            let path = match (next_old, next_new) {
                (None, None) => return Ok(()),
                (Some(old), None) => old,
                (None, Some(new)) => new,
                (Some(old), Some(new)) => old.min(new),
            };
            let block = (next_old == Some(path)).then(|| old.next()).flatten();
            let block = block.filter(|_| !is_walked(path)).and_then(|at| self.loaded.block(at));
            let group = if next_new == Some(path) { groups.next() } else { None };
            let mut files: BTreeMap<&[u8], Record> = block.iter().flat_map(Block::iter).collect();
            for fresh in group.unwrap_or_default() {
                files.extend(self.records(fresh));
            }
            writer.directory(path, &files.into_iter().collect::<Vec<_>>())?;
        }
    }

    /// What is to be recorded of a directory.
    fn records<'a>(&'a self, fresh: &'a Fresh<'a>) -> impl Iterator<Item = (&'a [u8], Record)> {
        let entries = &fresh.seen.entries;
        entries.children(fresh.listing).filter_map(move |at| {
            let digest = entries.digest(at)?;
            let entry = entries.entry(at);
            let record = Record::new(&entry, digest, entries.place(at));
            let name = fresh.name.unwrap_or_else(|| entries.name(at));
            (entry.is_file() && self.is_settled(&entry)).then_some((name, record))
        })
    }
}

/// A directory that this build has looked into.
struct Fresh<'a> {
    directory: Vec<u8>,
    seen: &'a Seen,
    listing: Listing,
    /// Of a file that was looked at by itself.
    name: Option<&'a [u8]>,
}

/// All directories that were looked into, sorted by path.
fn fresh(seen: &[Seen]) -> Vec<Fresh<'_>> {
    let mut fresh = Vec::new();
    for seen in seen {
        if seen.is_walk {
            fresh.extend(seen.entries.listings().map(|(path, listing)| {
                let directory = crate::tree::join(&seen.path, &path);
                Fresh { directory, seen, listing, name: None }
            }));
        } else {
            let (parent, name) = split(&seen.path);
            fresh.push(Fresh { directory: parent.to_vec(), seen, listing: Entries::TOP, name: Some(name) });
        }
    }
    fresh.sort_by(|a, b| a.directory.cmp(&b.directory));
    fresh
}

fn is_below(path: &[u8], directory: &[u8]) -> bool {
    directory.is_empty()
        || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Writes beside `file` and renames. No fsync: a torn file is an empty cache.
fn replace(
    file: &Path,
    write: impl FnOnce(fs_err::File) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.{serial}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = fs_err::File::create(&temporary).map_err(LayerError::Io).and_then(write);
    let renamed = written.and_then(|()| Ok(fs_err::rename(&temporary, file)?));
    renamed.inspect_err(|_| drop(fs_err::remove_file(&temporary)))
}

fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128)
}

fn nanoseconds(seconds: i64, nanoseconds: u32) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}
