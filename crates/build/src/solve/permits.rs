//! Waiting for one another: a bounded number of steps at once, and results that are made once.
use super::Stop;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many steps may run at once.
#[derive(Debug)]
pub(super) struct Permits {
    free: Mutex<usize>,
    freed: Condvar,
}

/// One running step.
pub(super) struct Permit<'a>(&'a Permits);

impl Permits {
    pub(super) fn new(jobs: usize) -> Self {
        Self { free: Mutex::new(jobs.max(1)), freed: Condvar::new() }
    }

    pub(super) fn acquire(&self) -> Permit<'_> {
        let mut free = lock(&self.free);
        while *free == 0 {
            free = self.freed.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *lock(&self.0.free) += 1;
        self.0.freed.notify_one();
    }
}

/// A value made by the first who asks for it; others wait.
#[derive(Debug)]
pub(super) struct Once<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Idle,
    Busy,
    Done(T),
    Failed,
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State::Idle), changed: Condvar::new() }
    }
}

impl<T: Clone> Once<T> {
    /// Whether nobody has asked yet.
    pub(super) fn is_idle(&self) -> bool {
        matches!(*lock(&self.state), State::Idle)
    }

    /// The value. `make` is called at most once over all callers; its failure is everyone's.
    pub(super) fn get(&self, make: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Idle => break,
                State::Busy => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                State::Done(value) => return Ok(value.clone()),
                State::Failed => return Err(Stop),
            }
        }
        *state = State::Busy;
        drop(state);
        // Should `make` panic, the others must not wait for ever.
        let mut outcome = Outcome { once: self, value: None };
        let value = make()?;
        outcome.value = Some(value.clone());
        Ok(value)
    }
}

/// Publishes the value when dropped, or the failure if there is none.
struct Outcome<'a, T> {
    once: &'a Once<T>,
    value: Option<T>,
}

impl<T> Drop for Outcome<'_, T> {
    fn drop(&mut self) {
        *lock(&self.once.state) = self.value.take().map_or(State::Failed, State::Done);
        self.once.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
