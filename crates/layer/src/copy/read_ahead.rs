//! Reading files ahead of the writer, by several threads, in bounded memory.
//!
//! The writer takes files in order. Readers take the next unread ones, a [`Batch`] at a time so that locks and wake-ups
//! do not count, read and hash those that are small, and put them down; files too large to hold are left to the writer,
//! who streams them. Readers stop when [`BUDGET`] bytes wait, except that the batch the writer waits for is always
//! read: so nothing can block for good.
use super::batch::{Batch, Content, Job};
use crate::LayerError;
use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that may wait for the writer.
const BUDGET: u64 = 2 << 20;
/// Buffers that are kept for the next batches.
const SPARE: usize = 4;

/// The files in the order of writing.
pub(super) type Jobs<'a> = Box<dyn Iterator<Item = Job<'a>> + Send + 'a>;

struct ReadAhead<'a> {
    state: Mutex<State<'a>>,
    changed: Condvar,
}

struct State<'a> {
    jobs: Peekable<Jobs<'a>>,
    /// Number of the next batch to read.
    next: usize,
    /// Next batch the writer wants.
    wanted: usize,
    ready: HashMap<usize, Batch<'a>>,
    waiting_bytes: u64,
    /// Buffers to read into, made before.
    spare: Vec<Vec<u8>>,
    stopped: bool,
}

/// The writer's end.
pub(super) struct Reading<'s, 'a> {
    shared: &'s ReadAhead<'a>,
    batch: Batch<'a>,
}

/// Reads `jobs` while `write` runs, which must take them with [`Reading::take`] in order. There are `most` at most.
pub(super) fn reading_ahead<'a, T>(
    jobs: Jobs<'a>,
    most: usize,
    write: impl FnOnce(&mut Reading<'_, 'a>) -> T,
) -> T {
    let state = State {
        jobs: jobs.peekable(),
        next: 0,
        wanted: 0,
        ready: HashMap::new(),
        waiting_bytes: 0,
        spare: Vec::new(),
        stopped: false,
    };
    let shared = ReadAhead { state: Mutex::new(state), changed: Condvar::new() };
    // Hashing the tar keeps one core busy; reading needs little more than one other.
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(4).min(most);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| shared.read());
        }
        // Readers must end however the writer does.
        let stop = StopOnDrop(&shared);
        let result = write(&mut Reading { shared: &shared, batch: Batch::default() });
        drop(stop);
        result
    })
}

impl<'a> Reading<'_, 'a> {
    /// The next job and its content. There must be one.
    pub(super) fn take(&mut self) -> Result<(Job<'a>, Content<'_>), LayerError> {
        if self.batch.is_empty() {
            let done = std::mem::take(&mut self.batch);
            self.batch = self.shared.take(done.release());
        }
        let (job, content) = self.batch.take().expect("a batch has at least one job");
        Ok((job, content?))
    }
}

impl<'a> ReadAhead<'a> {
    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'g>(&self, guard: MutexGuard<'g, State<'a>>) -> MutexGuard<'g, State<'a>> {
        self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch, of which there must be one, for the buffer of the one before.
    fn take(&self, buffer: Vec<u8>) -> Batch<'a> {
        let mut state = self.lock();
        if !buffer.is_empty() && state.spare.len() < SPARE {
            state.spare.push(buffer);
        }
        let number = state.wanted;
        let batch = loop {
            match state.ready.remove(&number) {
                Some(done) => break done,
                None => state = self.wait(state),
            }
        };
        state.wanted += 1;
        state.waiting_bytes -= batch.cost();
        drop(state);
        self.changed.notify_all();
        batch
    }

    fn read(&self) {
        let mut state = self.lock();
        while !state.stopped {
            let Some(most) = state.jobs.peek().map(Batch::most_cost) else { return };
            let number = state.next;
            if state.waiting_bytes + most > BUDGET && number != state.wanted {
                state = self.wait(state);
                continue;
            }
            let buffer = state.spare.pop().unwrap_or_default();
            let mut batch = Batch::gather(&mut state.jobs, buffer);
            state.next += 1;
            state.waiting_bytes += batch.cost();
            drop(state);
            batch.read();
            state = self.lock();
            state.ready.insert(number, batch);
            if number == state.wanted {
                self.changed.notify_all();
            }
        }
    }
}

struct StopOnDrop<'s, 'a>(&'s ReadAhead<'a>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.changed.notify_all();
    }
}
