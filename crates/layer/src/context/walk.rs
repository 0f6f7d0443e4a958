//! Walking a context by several threads.
use super::{ContextDir, threads};
use crate::LayerError;
use crate::tree::{Content, Entries, Entry, Filter, Listing, Verdict, join};
use rustix::fd::AsFd;
use rustix::fs::RawDir;
use std::mem::MaybeUninit;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// One name of a directory that takes part.
pub(super) struct Listed {
    pub(super) name: Vec<u8>,
    pub(super) entry: Entry,
    pub(super) verdict: Verdict,
    /// What is known of its content.
    pub(super) known: Option<Content>,
}

/// Directories to list, and what was found in the others.
struct Queue {
    /// With their paths relative to the walk's start.
    waiting: Vec<(Listing, Vec<u8>)>,
    busy: usize,
    found: Entries,
    failed: Option<LayerError>,
}

impl ContextDir {
    /// Everything below `start`.
    pub(super) fn walk_all(&self, start: &[u8], filter: Option<&Filter>) -> Result<Entries, LayerError> {
        let waiting = vec![(Entries::TOP, Vec::new())];
        let queue = Mutex::new(Queue { waiting, busy: 0, found: Entries::new(), failed: None });
        let wake = Condvar::new();
        std::thread::scope(|scope| {
            for _ in 0..threads() {
                scope.spawn(|| {
                    own_descriptor_table();
                    self.list_waiting(start, filter, &queue, &wake);
                });
            }
        });
        let mut queue = queue.into_inner().unwrap_or_else(PoisonError::into_inner);
        queue.failed.take().map_or_else(|| Ok(queue.found.finish()), Err)
    }

    fn list_waiting(&self, start: &[u8], filter: Option<&Filter>, shared: &Mutex<Queue>, wake: &Condvar) {
        let lock = || -> MutexGuard<'_, Queue> { shared.lock().unwrap_or_else(PoisonError::into_inner) };
        let mut queue = lock();
        loop {
            if queue.failed.is_some() || (queue.waiting.is_empty() && queue.busy == 0) {
                wake.notify_all();
                return;
            }
            let Some((listing, path)) = queue.waiting.pop() else {
                queue = wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            queue.busy += 1;
            drop(queue);
            let listed = self.list(start, &path, filter);
            queue = lock();
            queue.busy -= 1;
            match listed {
                Ok(listed) => {
                    let Queue { waiting, found, .. } = &mut *queue;
                    let before = waiting.len();
                    found.begin(listing);
                    for Listed { name, entry, verdict, known } in listed {
                        let below = found.push(&name, &entry, verdict, known);
                        waiting.extend(below.map(|below| (below, join(&path, &name))));
                    }
                    if waiting.len() > before + 1 {
                        wake.notify_all();
                    }
                }
                Err(error) => queue.failed = queue.failed.take().or(Some(error)),
            }
        }
    }

    /// What takes part of the directory `path` below `start`, in byte order.
    pub(super) fn list(
        &self,
        start: &[u8],
        path: &[u8],
        filter: Option<&Filter>,
    ) -> Result<Vec<Listed>, LayerError> {
        let whole = join(start, path);
        let directory = self.open_directory(&whole).map_err(|error| self.failed(&whole, "open", error))?;
        let records = self.cache.directory(&whole);
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut names = RawDir::new(directory.as_fd(), &mut buffer);
        let mut listed = Vec::new();
        while let Some(found) = names.next() {
            let found = found.map_err(|error| self.failed(&whole, "list", error))?;
            let name = found.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = found.file_type();
            let known =
                (kind != rustix::fs::FileType::Unknown).then_some(kind == rustix::fs::FileType::Directory);
            // An excluded entry need not be looked at, if the directory tells what it is.
            let verdict = |is_directory| self.both(&whole, path, name, is_directory, filter);
            if known.is_some_and(|is_directory| !takes_part(verdict(is_directory), is_directory)) {
                continue;
            }
            let found = self.stat(directory.as_fd(), name, &join(&whole, name), &records)?;
            let Some((entry, known)) = found else { continue };
            let verdict = verdict(entry.is_directory());
            if takes_part(verdict, entry.is_directory()) {
                listed.push(Listed { name: name.to_vec(), entry, verdict, known });
            }
        }
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    /// What the context's own filter and the walk's say together.
    fn both(
        &self,
        whole: &[u8],
        path: &[u8],
        name: &[u8],
        is_directory: bool,
        filter: Option<&Filter>,
    ) -> Verdict {
        let own = match &self.filter {
            Some(own) => own(&join(whole, name), is_directory),
            None => Verdict::Include,
        };
        match (own, filter) {
            (Verdict::Exclude, _) | (_, None) => own,
            (own, Some(filter)) => match (own, filter(&join(path, name), is_directory)) {
                (_, Verdict::Exclude) => Verdict::Exclude,
                (Verdict::Include, Verdict::Include) => Verdict::Include,
                _ => Verdict::ExcludeButDescend,
            },
        }
    }
}

fn takes_part(verdict: Verdict, is_directory: bool) -> bool {
    verdict == Verdict::Include || (is_directory && verdict == Verdict::ExcludeButDescend)
}

/// Gives the calling thread its own table of file descriptors. With a shared table every `statx` on a directory
/// handle counts references in memory that all threads write, and two threads are no faster than one (measured:
/// 95 ms against 190 for 40,000 entries). The thread must be one of ours that ends after the walk, and must open
/// and close only its own descriptors.
fn own_descriptor_table() {
    #[expect(deprecated, reason = "its successor differs only in being unsafe, for the rule stated above")]
    let _ = rustix::thread::unshare(rustix::thread::UnshareFlags::FILES);
}
