//! The images that a build stands on: those of the store, and those of registries, whose layers come when a step needs
//! them.
use super::cache::failed;
use super::layer::LayerHandle;
use super::worker::EngineWorker;
use crate::EngineError;
use crate::transfer::{Offered, Progress, Status, TransferEvents, side_by_side};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use strata_build::{
    Base, CacheIndex as _, CacheKey, CacheRecord, CacheResult, CommittedLayer, Event, FetchState, Fetching,
    Layer as _, Origin, Selection, WorkerError,
};
use strata_oci::{DiffId, Digest, ImageConfig, ImageId, Platform, Raw, Reference};

impl EngineWorker<'_> {
    /// An image of the store: by name, if it is one for the platform and need not be asked for again; or by its ID or the
    /// beginning of it, as `FROM 9b625cead5fc`.
    pub(super) fn local(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Base<LayerHandle>>, EngineError> {
        let images = self.engine().store().images();
        let named = if self.request().pull { None } else { images.lookup(reference)? };
        if let Some(id) = named {
            let base = self.stored(id)?;
            // An image that says of no platform that it is its own serves all.
            let own = &base.config.value().platform;
            if own.architecture.is_empty() || platform.suits(own).is_some() {
                return Ok(Some(base));
            }
        }
        // Only what can be nothing but an ID: names come first, and a registry may have this one.
        let name = reference.familiar_name();
        let layouts = self.request().layout_images.iter();
        if let Some(image) = layouts.into_iter().find(|image| image.id().short() == name) {
            return self.held(image.config().clone()).map(Some);
        }
        let by_id = named.is_none() && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match by_id.then(|| images.resolve(&name)) {
            Some(Ok(id)) => Ok(Some(self.stored(id)?)),
            _ => Ok(None),
        }
    }

    fn stored(&self, id: ImageId) -> Result<Base<LayerHandle>, EngineError> {
        self.held(self.engine().store().images().config(&id)?)
    }

    /// An image of which all layers are in the store.
    fn held(&self, config: Raw<ImageConfig>) -> Result<Base<LayerHandle>, EngineError> {
        let store = self.engine().store();
        let image_id = ImageId::new(*config.digest());
        let layers = &config.value().rootfs.diff_ids;
        self.lease().hold(layers)?;
        let handles = store.layers().records(layers)?.into_iter().map(|layer| {
            LayerHandle::committed_as(CommittedLayer { diff_id: layer.diff_id, size: layer.content_size })
        });
        let layers = handles.collect();
        Ok(Base { image_id, config, layers })
    }

    /// An image of a registry. Only its config is fetched, and not even that if it was before, unless `ask`.
    pub(super) fn elsewhere(
        &self,
        reference: &Reference,
        platform: &Platform,
        ask: bool,
    ) -> Result<Base<LayerHandle>, EngineError> {
        let events = |progress: Progress<'_>| {
            if let Progress::Warning(message) = progress {
                self.warn(message);
            }
        };
        let image = self.engine().resolve_lazily(reference, platform, ask, self.lease(), &events);
        let image = Arc::new(image.map_err(|error| self.engine().not_pulled(&reference.familiar(), error))?);
        let layers = LayerHandle::all_of(&image);
        Ok(Base { image_id: image.id(), config: image.config().clone(), layers })
    }

    /// Fetches what is missing of the images that these layers belong to.
    pub(super) fn bring(&self, handles: &[LayerHandle]) -> Result<(), WorkerError> {
        // From the top: an image is then fetched once, with all its layers side by side.
        for handle in handles.iter().rev() {
            let Some(image) = handle.image() else { continue };
            let fetched = self.telling(image.name(), |events| handle.fetch(events, self.cancel()));
            fetched.or_else(|error| {
                self.check_cancelled()?;
                let tell = || self.warn(&format!("--cache-from {}: not used: {error}", image.name()));
                let is_elsewhere = error.is_elsewhere();
                Err(if is_elsewhere && image.lose(tell) { lost(error) } else { failed(error) })
            })?;
        }
        self.bring_shared(handles)
    }

    /// Fetches something, and tells the build's observer how far it is.
    fn telling<E>(
        &self,
        what: &str,
        fetch: impl FnOnce(&TransferEvents<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (started, missing) = (Instant::now(), AtomicBool::new(false));
        fetch(&|progress: Progress<'_>| {
            let Progress::Layer { id, status } = progress else { return };
            let Some(state) = fetch_state(status) else { return };
            missing.store(true, Ordering::Relaxed);
            self.events().event(Event::Fetching(Fetching { image: what, layer: id, state }));
        })?;
        if missing.into_inner() {
            self.events().event(Event::Fetched(what, started.elapsed()));
        }
        Ok(())
    }

    /// Fetches what a shared cache has of these layers, bottom first, and the store has not.
    fn bring_shared(&self, handles: &[LayerHandle]) -> Result<(), WorkerError> {
        if handles.iter().all(|handle| handle.in_shared_cache().is_none()) {
            return Ok(());
        }
        let names = super::worker::diff_ids(handles)?;
        let offers: Vec<_> = handles.iter().map(LayerHandle::in_shared_cache).collect();
        let fetched = self.telling("layers of the shared cache", |events| {
            self.engine().fetch_offered(self.lease(), &names, &offers, events, self.cancel())
        });
        fetched.or_else(|error| {
            self.check_cancelled()?;
            let EngineError::Lost { layer, source } = &error else { return Err(failed(error)) };
            let position = names.iter().position(|name| name == layer);
            self.lose(layer, position.and_then(|position| offers[position]), &source.to_string());
            Err(lost(error))
        })
    }

    /// A layer of a shared cache cannot be had: whatever needs it is made here.
    fn lose(&self, layer: &DiffId, place: Option<&Offered>, why: &str) {
        if self.cache().shared().lose(layer) {
            let place = place.map(|offered| format!(" {}", offered.place())).unwrap_or_default();
            self.warn(&format!("--cache-from{place}: {why}; what needs this layer is run"));
        }
    }

    /// Makes sure that the layers of shared caches which are to be passed on, without being here, are where they were
    /// said to be.
    pub(super) fn confirm(&self, handles: &[LayerHandle]) -> Result<(), WorkerError> {
        let stored = |error: strata_store::StoreError| failed(EngineError::from(error));
        let names = super::worker::diff_ids(handles)?;
        let missing = self.lease().hold(&names).map_err(stored)?;
        let offers: Vec<_> = handles.iter().map(LayerHandle::in_shared_cache).collect();
        let asked: Vec<(DiffId, &Offered)> = (names.iter().zip(&offers))
            .filter(|(name, _)| missing.contains(name))
            .filter_map(|(name, offered)| Some((*name, (*offered)?)))
            .collect();
        let first = Mutex::new(None);
        side_by_side(&asked, self.cancel(), |(layer, offered), _| {
            if let Some(why) = offered.missing() {
                self.lose(layer, Some(*offered), &why);
                first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            }
            Ok(())
        })
        .map_err(failed)?;
        match first.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(WorkerError::Lost(why.into())),
            None => Ok(()),
        }
    }

    /// The key and, if it was recorded, the digest of what a selection finds in the layers of a registry's image: a build
    /// that takes everything from the cache need not fetch them to know. Layers never change, so neither does this.
    pub(super) fn remembered(
        &self,
        origin: Origin<'_, LayerHandle>,
        selection: &Selection,
    ) -> Option<(CacheKey, Option<Digest>)> {
        let Origin::Layers(handles) = origin else { return None };
        // Who exports the cache spares others the fetching.
        if self.request().cache_to.is_empty() {
            handles.iter().find(|handle| handle.is_remote())?;
        }
        let names = handles.iter().map(LayerHandle::name).collect::<Option<Vec<_>>>()?;
        let mut hasher = blake3::Hasher::new_derive_key("strata 2026 selection of the files of given layers");
        for name in names {
            hasher.update(name.digest().as_bytes());
        }
        hasher.update(format!("{selection:?}").as_bytes());
        let key = CacheKey::from_bytes(*hasher.finalize().as_bytes());
        let record = self.cache().lookup(&key).ok()?;
        self.selections().insert(key);
        let digest = record.and_then(|record| match record.result {
            CacheResult::Selection(digest) => Some(digest),
            CacheResult::Layers(_) => None,
        });
        Some((key, digest))
    }

    pub(super) fn remember(&self, key: &CacheKey, digest: Digest) -> Result<(), WorkerError> {
        let result = CacheResult::Selection(digest);
        let record = CacheRecord { place: None, inputs: Vec::new(), files: Vec::new(), result };
        self.cache().record(key, &record)
    }
}

fn lost(error: impl std::error::Error + Send + Sync + 'static) -> WorkerError {
    WorkerError::Lost(Box::new(error))
}

/// A status as a build tells it; `None` of a layer that was here all the time.
fn fetch_state(status: Status<'_>) -> Option<FetchState> {
    Some(match status {
        Status::PullingFsLayer | Status::Waiting => FetchState::Waiting,
        Status::Downloading { done, total } => FetchState::Downloading { done, total },
        Status::DownloadComplete => FetchState::Downloaded,
        Status::Extracting { .. } => FetchState::Unpacking,
        Status::PullComplete => FetchState::Done,
        _ => return None,
    })
}
