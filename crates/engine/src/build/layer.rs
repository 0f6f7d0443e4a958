//! Layer handles: a layer in the store, a RUN's directory that is still being packed, or a layer of a registry's image
//! that nobody has needed yet.
use super::cache::failed;
use crate::EngineError;
use crate::transfer::{LazyImage, Offered, TransferEvents};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use strata_build::{CommittedLayer, Layer, WorkerError};
use strata_oci::DiffId;
use strata_store::Ingest;

/// A layer of a build.
#[derive(Clone)]
pub(super) struct LayerHandle(Arc<State>);

enum State {
    Committed(CommittedLayer),
    Packing(Packing),
    Remote(Remote),
    Shared(CommittedLayer, Offered),
}

/// A layer of an image that nobody has needed yet.
struct Remote {
    layer: DiffId,
    image: Arc<LazyImage>,
    /// How many layers of the image it and those below it are.
    height: usize,
}

/// A RUN's writable directory: the next step's lower one while a thread packs it.
struct Packing {
    upper: PathBuf,
    /// Holds the directory; it goes with the last handle.
    _scratch: Ingest,
    outcome: Arc<Outcome>,
}

/// Filled by the packing thread, waited for by whoever needs the DiffId.
#[derive(Default)]
pub(super) struct Outcome {
    result: Mutex<Option<Result<CommittedLayer, Arc<EngineError>>>>,
    done: Condvar,
}

impl Outcome {
    pub(super) fn set(&self, result: Result<CommittedLayer, EngineError>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result.map_err(Arc::new));
        self.done.notify_all();
    }

    fn wait(&self) -> Result<CommittedLayer, WorkerError> {
        let mut result = self.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*result {
                Some(Ok(layer)) => return Ok(*layer),
                Some(Err(error)) => return Err(failed(Arc::clone(error))),
                None => result = self.done.wait(result).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Where a layer's files are to be had from.
pub(super) enum Place<'a> {
    /// In the store, once the layer has its name.
    Store,
    /// In this directory, as overlayfs left it, for as long as the handle lives.
    Directory(&'a Path),
}

impl LayerHandle {
    pub(super) fn committed_as(layer: CommittedLayer) -> Self {
        Self(Arc::new(State::Committed(layer)))
    }

    pub(super) fn packing(upper: PathBuf, scratch: Ingest, outcome: Arc<Outcome>) -> Self {
        Self(Arc::new(State::Packing(Packing { upper, _scratch: scratch, outcome })))
    }

    /// The layers of an image that are fetched when somebody needs them, bottom first.
    pub(super) fn all_of(image: &Arc<LazyImage>) -> Vec<Self> {
        let layers = image.diff_ids().iter().zip(1..);
        let remote =
            |(layer, height): (&DiffId, usize)| Remote { layer: *layer, image: Arc::clone(image), height };
        layers.map(|numbered| Self(Arc::new(State::Remote(remote(numbered))))).collect()
    }

    /// A layer of a shared cache that is fetched when somebody needs it.
    pub(super) fn shared(layer: CommittedLayer, offered: Offered) -> Self {
        Self(Arc::new(State::Shared(layer, offered)))
    }

    /// From where the layer can be had, if it need not be here.
    pub(super) fn offered(&self) -> Option<Offered> {
        match &*self.0 {
            State::Shared(_, offered) => Some(offered.clone()),
            State::Remote(remote) => remote.image.offered(&remote.layer),
            _ => None,
        }
    }

    /// From where it has to be fetched before it can be used, if a shared cache has it.
    pub(super) fn in_shared_cache(&self) -> Option<&Offered> {
        match &*self.0 {
            State::Shared(_, offered) => Some(offered),
            _ => None,
        }
    }

    /// Whether the layer may have to be fetched before it can be used.
    pub(super) fn is_remote(&self) -> bool {
        matches!(&*self.0, State::Remote(_))
    }

    /// The image that it is fetched with, if it may have to be.
    pub(super) fn image(&self) -> Option<&LazyImage> {
        match &*self.0 {
            State::Remote(remote) => Some(&remote.image),
            _ => None,
        }
    }

    /// Fetches the layer, and those below it, if that is still to be done.
    pub(super) fn fetch(
        &self,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), Arc<EngineError>> {
        match &*self.0 {
            State::Remote(remote) => remote.image.fetch(remote.height, events, cancel),
            _ => Ok(()),
        }
    }

    /// Without waiting.
    pub(super) fn place(&self) -> Place<'_> {
        match &*self.0 {
            State::Committed(_) | State::Remote(_) | State::Shared(..) => Place::Store,
            State::Packing(packing) => Place::Directory(&packing.upper),
        }
    }
}

impl Layer for LayerHandle {
    fn committed(&self) -> Result<CommittedLayer, WorkerError> {
        match &*self.0 {
            State::Committed(layer) | State::Shared(layer, _) => Ok(*layer),
            State::Packing(packing) => packing.outcome.wait(),
            // Its size is nobody's business: what a record says of it is filled in when it is here.
            State::Remote(remote) => Ok(CommittedLayer { diff_id: remote.layer, size: 0 }),
        }
    }

    fn name(&self) -> Option<DiffId> {
        match &*self.0 {
            State::Committed(layer) | State::Shared(layer, _) => Some(layer.diff_id),
            State::Remote(remote) => Some(remote.layer),
            State::Packing(_) => None,
        }
    }
}
