//! Reading files ahead of the writer, by several threads, in bounded memory.
//!
//! The writer takes files in order. Readers take the next unread one, read and hash it if it is small, and put it
//! down; files too large to hold are left to the writer, who streams them. Readers stop when [`BUDGET`] bytes wait,
//! except that the file the writer waits for is always read: so nothing can block for good.
use crate::tree::{Entry, Place, SourceTree};
use crate::{ContentDigest, LayerError};
use std::collections::HashMap;
use std::io::Read;
use std::iter::Peekable;
use std::os::unix::fs::FileExt;
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
    pub(super) entry: Entry,
    /// What the key was made from.
    pub(super) digest: Option<ContentDigest>,
    /// A copy of it.
    pub(super) place: Option<Place>,
}

/// The files in the order of writing.
pub(super) type Jobs<'a> = Box<dyn Iterator<Item = Job<'a>> + Send + 'a>;

/// What the writer gets.
pub(super) enum Content {
    /// The bytes and their digest.
    Whole(Vec<u8>, ContentDigest),
    /// Too large: open the file yourself.
    Stream,
}

pub(super) struct ReadAhead<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
}

struct State<'a> {
    jobs: Peekable<Jobs<'a>>,
    /// Number of the next job to read.
    next: usize,
    /// Next job the writer wants.
    wanted: usize,
    ready: HashMap<usize, (Job<'a>, Result<Content, LayerError>)>,
    waiting_bytes: u64,
    stopped: bool,
}

impl<'a> ReadAhead<'a> {
    /// Reads `jobs` while `write` runs, which must take them with [`take`](Self::take) in order. There are `most` at most.
    pub(super) fn run<T>(jobs: Jobs<'a>, most: usize, write: impl FnOnce(&Self) -> T) -> T {
        let state = State {
            jobs: jobs.peekable(),
            next: 0,
            wanted: 0,
            ready: HashMap::new(),
            waiting_bytes: 0,
            stopped: false,
        };
        let shared = Self { state: Mutex::new(state), changed: Condvar::new() };
        // Hashing the tar keeps one core busy; reading needs little more than one other.
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(4).min(most);
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

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, State<'a>>) -> MutexGuard<'g, State<'a>> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job and its content.
    pub(super) fn take(&self) -> Result<(Job<'a>, Content), LayerError> {
        let mut state = self.lock();
        let number = state.wanted;
        let (job, content) = loop {
            match state.ready.remove(&number) {
                Some(done) => break done,
                None => state = self.wait(state),
            }
        };
        state.wanted += 1;
        state.waiting_bytes -= job.cost();
        drop(state);
        self.changed.notify_all();
        Ok((job, content?))
    }

    fn read(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let Some(cost) = state.jobs.peek().map(Job::cost) else { return };
            let number = state.next;
            if state.waiting_bytes + cost > BUDGET && number != state.wanted {
                state = self.wait(state);
                continue;
            }
            let job = state.jobs.next().expect("the job that was seen above");
            state.next += 1;
            state.waiting_bytes += cost;
            drop(state);
            let content = read(&job);
            state = self.lock();
            state.ready.insert(number, (job, content));
            if number == state.wanted {
                self.changed.notify_all();
            }
        }
    }
}

impl Job<'_> {
    fn cost(&self) -> u64 {
        let size = self.entry.metadata.size;
        OVERHEAD + if size <= WHOLE { size } else { 0 }
    }
}

struct StopOnDrop<'s, 'a>(&'s ReadAhead<'a>);

impl Drop for StopOnDrop<'_, '_> {
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
    let mut bytes = vec![0; usize::try_from(size).expect("at most a megabyte")];
    if let Some(digest) = read_copy(job, &mut bytes) {
        return Ok(Content::Whole(bytes, digest));
    }
    job.tree.open(&job.path, &job.entry)?.read_exact(&mut bytes)?;
    let digest = ContentDigest(*blake3::hash(&bytes).as_bytes());
    Ok(Content::Whole(bytes, digest))
}

/// Reads a copy of a file that looks as it did when it was copied. `None` if there is none, or not of this content:
/// then the file itself is read.
fn read_copy(job: &Job<'_>, bytes: &mut [u8]) -> Option<ContentDigest> {
    let (digest, place) = (job.digest?, job.place?);
    job.tree.tar_of(place)?.read_exact_at(bytes, place.offset()).ok()?;
    (blake3::hash(bytes).as_bytes() == &digest.0).then_some(digest)
}
