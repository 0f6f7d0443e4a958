//! All layers of an image.
use super::layer::{Fetcher, Wanted};
use super::{PARALLEL, Progress, Status, TransferError, TransferEvents};
use crate::EngineError;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use strata_oci::{Descriptor, DiffId};

impl Fetcher<'_> {
    /// Fetches what is missing of an image, several layers at once. The lease keeps all of it.
    pub(super) fn fetch_all(
        &self,
        layers: &[Descriptor],
        diff_ids: &[DiffId],
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        let missing = self.lease.hold(diff_ids)?;
        let mut seen = BTreeSet::new();
        let mut wanted = Vec::new();
        for (position, (layer, diff_id)) in layers.iter().zip(diff_ids).enumerate() {
            // A layer may stand in an image twice, and even in two compressed forms: one will do.
            let fetched = missing.contains(diff_id) && seen.insert(*diff_id);
            let status = if fetched { Status::PullingFsLayer } else { Status::AlreadyExists };
            if fetched || !missing.contains(diff_id) {
                events(Progress::Layer { id: &layer.digest.short(), status });
            }
            if fetched {
                wanted.push(Wanted { layer, diff_id: *diff_id, below: &diff_ids[..position] });
            }
        }
        side_by_side(&wanted, cancel, |wanted, cancel| self.fetch(wanted, events, cancel))
    }
}

/// Does something to all of them, a few at a time. The first failure stops the rest, and is the one that is told.
pub(crate) fn side_by_side<T: Sync>(
    all: &[T],
    cancel: &AtomicBool,
    work: impl Fn(&T, &AtomicBool) -> Result<(), EngineError> + Sync,
) -> Result<(), EngineError> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failure: Mutex<Option<EngineError>> = Mutex::new(None);
    let run = || {
        while let Some(item) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            if cancel.load(Ordering::Relaxed) {
                stop.store(true, Ordering::Relaxed);
            }
            let done = super::layer::check(&stop).and_then(|()| work(item, &stop));
            if let Err(error) = done {
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                let cancelled =
                    |error: &EngineError| matches!(error, EngineError::Transfer(TransferError::Cancelled));
                if failure.as_ref().is_none_or(|first| cancelled(first) && !cancelled(&error)) {
                    *failure = Some(error);
                }
                stop.store(true, Ordering::Relaxed);
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..all.len().min(PARALLEL) {
            scope.spawn(run);
        }
        if !all.is_empty() {
            run();
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}
