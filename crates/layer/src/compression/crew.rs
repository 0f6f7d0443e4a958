//! Who compresses.
use super::recipe::{Recipe, Worker};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Finished blocks that may wait for their readers, beyond one for each that is being made; of all layers together.
const AHEAD: usize = 2;

/// So many blocks are compressed at once, however many layers are on their way: memory is bounded by that. Clones share
/// the places.
#[derive(Clone)]
pub struct Crew(Arc<Shared>);

struct Shared {
    size: usize,
    /// Layers on their way.
    readers: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    free: usize,
    /// Compressors at rest: their tables take up to some megabytes, and are not made anew for every block.
    idle: Vec<(Recipe, Worker)>,
}

impl Crew {
    /// A crew of this size; at least one.
    pub fn new(size: usize) -> Self {
        let size = size.max(1);
        let state = Mutex::new(State { free: size, idle: Vec::new() });
        Self(Arc::new(Shared { size, readers: AtomicUsize::new(0), state, changed: Condvar::new() }))
    }

    /// How many blocks it compresses at once.
    pub(super) fn size(&self) -> usize {
        self.0.size
    }

    /// A layer more, or one less.
    pub(super) fn readers_changed(&self, more: bool) {
        match more {
            true => self.0.readers.fetch_add(1, Ordering::Relaxed),
            false => self.0.readers.fetch_sub(1, Ordering::Relaxed),
        };
    }

    /// How far ahead of its reader a layer may be compressed, in blocks: a share of what all of them may. Two at least:
    /// one that is being read for, and one that is made meanwhile.
    pub(super) fn window(&self) -> usize {
        let readers = self.0.readers.load(Ordering::Relaxed).max(1);
        (self.0.size + AHEAD).div_ceil(readers).max(2)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compresses the block that `read` fills a buffer with, as soon as somebody is free.
    pub(super) fn compress(
        &self,
        recipe: Recipe,
        read: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let mut state = self.lock();
        while state.free == 0 {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.free -= 1;
        let known = state.idle.iter().position(|(idle, _)| *idle == recipe);
        let known = known.map(|at| state.idle.swap_remove(at).1);
        // Those of another recipe are of no use as long as this one is worked with.
        state.idle.retain(|(idle, _)| *idle == recipe);
        drop(state);
        let result = known.map_or_else(|| recipe.worker(), Ok).and_then(|mut worker| {
            let made = worker.compress(read);
            self.lock().idle.push((recipe, worker));
            made
        });
        self.lock().free += 1;
        self.0.changed.notify_one();
        result
    }
}
