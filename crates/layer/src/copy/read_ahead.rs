//! Reading files ahead of the writer, by several threads, in bounded memory.
//!
//! The writer takes files in order. Readers take the next unread one, read and hash it if it is small, and put it
//! down; files too large to hold are left to the writer, who streams them. Readers stop when [`BUDGET`] bytes wait,
//! except that the file the writer waits for is always read: so nothing can block for good.
use crate::tree::{Entry, SourceTree};
use crate::{ContentDigest, LayerError};
use std::collections::HashMap;
use std::io::Read;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Files up to this size are read whole.
const WHOLE: u64 = 1 << 20;
/// Bytes that may wait for the writer.
const BUDGET: u64 = 4 << 20;
/// What a file that waits costs besides its bytes.
const OVERHEAD: u64 = 256;

/// A file to read.
pub(super) struct Job<'a> {
    pub(super) tree: &'a dyn SourceTree,
    pub(super) path: Vec<u8>,
    pub(super) entry: &'a Entry,
}

/// What the writer gets.
pub(super) enum Content {
    /// The bytes and their digest.
    Whole(Vec<u8>, ContentDigest),
    /// Too large: open the file yourself.
    Stream,
}

pub(super) struct ReadAhead<'a> {
    jobs: &'a [Job<'a>],
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Next job to read.
    next: usize,
    /// Next job the writer wants.
    wanted: usize,
    ready: HashMap<usize, Result<Content, LayerError>>,
    waiting_bytes: u64,
    stopped: bool,
}

impl<'a> ReadAhead<'a> {
    /// Reads `jobs` while `write` runs, which must take them with [`take`](Self::take) in order.
    pub(super) fn run<T>(jobs: &'a [Job<'a>], write: impl FnOnce(&Self) -> T) -> T {
        let shared = Self { jobs, state: Mutex::default(), changed: Condvar::new() };
        // Hashing the tar keeps one core busy; reading needs little more than one other.
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(4).min(jobs.len());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| shared.read());
            }
            // Readers must end however the writer does.
            let stop = StopOnDrop(&shared);
            let result = write(&shared);
            drop(stop);
            result
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, State>) -> MutexGuard<'g, State> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// The content of the next job.
    pub(super) fn take(&self) -> Result<Content, LayerError> {
        let mut state = self.lock();
        let number = state.wanted;
        let content = loop {
            match state.ready.remove(&number) {
                Some(content) => break content,
                None => state = self.wait(state),
            }
        };
        state.wanted += 1;
        state.waiting_bytes -= self.cost(number);
        drop(state);
        self.changed.notify_all();
        content
    }

    fn cost(&self, number: usize) -> u64 {
        let size = self.jobs[number].entry.metadata.size;
        OVERHEAD + if size <= WHOLE { size } else { 0 }
    }

    fn read(&self) {
        let mut state = self.lock();
        while !state.stopped && state.next < self.jobs.len() {
            let number = state.next;
            let cost = self.cost(number);
            if state.waiting_bytes + cost > BUDGET && number != state.wanted {
                state = self.wait(state);
                continue;
            }
            state.next += 1;
            state.waiting_bytes += cost;
            drop(state);
            let content = read(&self.jobs[number]);
            state = self.lock();
            state.ready.insert(number, content);
            if number == state.wanted {
                self.changed.notify_all();
            }
        }
    }
}

struct StopOnDrop<'a>(&'a ReadAhead<'a>);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}

fn read(job: &Job<'_>) -> Result<Content, LayerError> {
    let size = job.entry.metadata.size;
    if size > WHOLE {
        return Ok(Content::Stream);
    }
    let mut reader = job.tree.open(&job.path, job.entry)?;
    let mut bytes = vec![0; usize::try_from(size).expect("at most a megabyte")];
    reader.read_exact(&mut bytes)?;
    let digest = ContentDigest(*blake3::hash(&bytes).as_bytes());
    Ok(Content::Whole(bytes, digest))
}
