//! Who compresses.
use super::recipe::{Recipe, Worker};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// So many blocks are compressed at once, however many layers are on their way: memory is bounded by that. Clones share
/// the places.
#[derive(Clone)]
pub struct Crew(Arc<Shared>);

struct Shared {
    size: usize,
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
        Self(Arc::new(Shared { size, state, changed: Condvar::new() }))
    }

    /// How many blocks it compresses at once.
    pub(super) fn size(&self) -> usize {
        self.0.size
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compresses the block that `read` gives, as soon as somebody is free.
    pub(super) fn compress(
        &self,
        recipe: Recipe,
        read: impl FnOnce() -> io::Result<Vec<u8>>,
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
            let made = read().and_then(|block| worker.compress(block));
            self.lock().idle.push((recipe, worker));
            made
        });
        self.lock().free += 1;
        self.0.changed.notify_one();
        result
    }
}
