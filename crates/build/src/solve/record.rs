//! Writes cache records when layers have their DiffIds, behind the backs of the steps that follow.
use super::{Made, Stop};
use crate::error::Site;
use crate::key;
use crate::{
    BuildError, BuildErrorKind, Builder, CacheIndex, CacheKey, CacheRecord, CacheResult, CachedLayer,
    FileEntry, Input, Layer, Place, Worker, WorkerError,
};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use strata_oci::Digest;

/// Files of a step, under their digest.
pub(super) type Listing = (Digest, Vec<FileEntry>);

/// A step that ran.
pub(super) struct Ran<L> {
    pub(super) keys: Keys,
    pub(super) place: Place,
    pub(super) inputs: Vec<Input>,
    pub(super) files: Vec<Listing>,
    /// All layers above the base image, this step's last.
    pub(super) layers: Vec<Made<L>>,
    pub(super) site: Site,
}

/// Under which keys a step is recorded.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    /// Stands for all the layers.
    pub(super) chain: CacheKey,
    /// With `--link`: stands for the last layer alone.
    pub(super) own: Option<CacheKey>,
}

/// The sending end; closed when the last step is done.
pub(super) struct Recorder<L>(Mutex<Option<Sender<Ran<L>>>>);

impl<L> Recorder<L> {
    pub(super) fn new(sender: Sender<Ran<L>>) -> Self {
        Self(Mutex::new(Some(sender)))
    }

    pub(super) fn send(&self, ran: Ran<L>) {
        if let Some(sender) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // The writer only ends after `close`.
            let _ = sender.send(ran);
        }
    }

    /// Closes when dropped, also by a panic: the writer must not wait for ever.
    pub(super) fn closing(&self) -> Closing<'_, L> {
        Closing(self)
    }
}

pub(super) struct Closing<'a, L>(&'a Recorder<L>);

impl<L> Drop for Closing<'_, L> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Writes until the sender is closed. A layer that cannot be committed fails the build.
pub(super) fn write<W: Worker, C: CacheIndex>(
    with: &Builder<'_, W, C>,
    records: Receiver<Ran<W::Layer>>,
    fail: &dyn Fn(BuildError) -> Stop,
) {
    for ran in records {
        let site = ran.site;
        if let Err(error) = write_one(with, ran) {
            fail(site.error(match error {
                WorkerError::Cancelled => BuildErrorKind::Cancelled,
                error => BuildErrorKind::Worker(error),
            }));
        }
    }
}

fn write_one<W: Worker, C: CacheIndex>(
    with: &Builder<'_, W, C>,
    ran: Ran<W::Layer>,
) -> Result<(), WorkerError> {
    for (digest, files) in ran.files {
        let result = CacheResult::Selection(digest);
        let listing = CacheRecord { place: None, inputs: Vec::new(), files, result };
        with.cache.record(&key::listing(&digest.to_string()), &listing)?;
    }
    let mut layers = Vec::with_capacity(ran.layers.len());
    for made in &ran.layers {
        let committed = made.handle.committed()?;
        layers.push(CachedLayer { diff_id: committed.diff_id, size: committed.size, created: made.created });
    }
    let last = layers.last().copied();
    let result = CacheResult::Layers(layers);
    let mut record = CacheRecord { place: Some(ran.place), inputs: ran.inputs, files: Vec::new(), result };
    with.cache.record(&ran.keys.chain, &record)?;
    if let (Some(own), Some(last)) = (ran.keys.own, last) {
        record.result = CacheResult::Layers(vec![last]);
        with.cache.record(&own, &record)?;
    }
    Ok(())
}
