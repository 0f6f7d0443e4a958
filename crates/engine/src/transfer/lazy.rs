//! An image on a registry that a build stands on: its config is here, its layers come when somebody needs one.
use super::documents::{FoundImage, find};
use super::layer::Fetcher;
use super::source::Registered;
use super::{Offered, PullRequest, TransferEvents};
use crate::{Engine, EngineError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use strata_cache::{Form, Place, RegistryPlace};
use strata_oci::{DiffId, ImageConfig, ImageId, Platform, Raw, Reference};
use strata_registry::{Repository, Target};
use strata_store::{Lease, Resolved};

/// A base image that need not be here.
pub(crate) struct LazyImage {
    name: String,
    image: FoundImage,
    fetcher: Fetcher<'static>,
    /// Where its blobs are.
    place: Arc<dyn Place>,
    /// It lends layers to steps, and a build can do without; and one of its layers cannot be had.
    lends: AtomicBool,
    lost: AtomicBool,
    /// How many of its layers have been fetched, or why that failed. Held meanwhile, so that everybody else waits.
    fetched: Mutex<Result<usize, Arc<EngineError>>>,
}

impl Engine {
    /// Finds out what a name means, without fetching a layer: as the store remembers it, or else (and if `ask`) from the
    /// registry.
    pub(crate) fn resolve_lazily(
        &self,
        reference: &Reference,
        platform: &Platform,
        ask: bool,
        lease: &Lease,
        events: &TransferEvents<'_>,
    ) -> Result<LazyImage, EngineError> {
        let (store, repository) = (self.store(), Repository::from(reference));
        let known = if ask { None } else { store.images().resolved(reference, platform)? };
        let image = match known {
            // Documents that cannot be read any more are fetched again.
            Some(known) => FoundImage::remembered(store, repository.clone(), &known).ok(),
            None => None,
        };
        let image = match image {
            Some(image) => image,
            None => {
                let image =
                    find(self.registries(), &repository, &Target::of(reference), Some(platform), events)?;
                image.keep_documents(store, lease)?;
                image.keep_config(store, lease)?;
                let (manifest, digest) = (image.manifest_digest(), image.digest);
                let resolved = Resolved { image: image.id(), manifest, digest };
                store.images().remember_resolved(reference, platform, &resolved)?;
                image
            }
        };
        let place = RegistryPlace::new(
            self.registries().clone(),
            reference.clone(),
            platform.clone(),
            Form::default(),
        );
        let source = Registered::new(self.registries().clone(), repository);
        let fetcher = Fetcher::new(store, lease.clone(), source, PullRequest::MAX_INFLATION);
        let (name, place) = (reference.familiar(), Arc::new(place));
        let (lends, lost) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(LazyImage { name, image, fetcher, place, lends, lost, fetched: Mutex::new(Ok(0)) })
    }
}

impl LazyImage {
    /// Which image it is.
    pub(crate) fn id(&self) -> ImageId {
        self.image.id()
    }

    /// As it was asked for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its config.
    pub(crate) fn config(&self) -> &Raw<ImageConfig> {
        &self.image.config
    }

    /// Its layers, bottom first.
    pub(crate) fn diff_ids(&self) -> &[DiffId] {
        &self.image.config.value().rootfs.diff_ids
    }

    /// A build can do without it.
    pub(crate) fn lend(&self) {
        self.lends.store(true, Ordering::Relaxed);
    }

    /// One that a build can do without turns out not to be complete. True of such a one; `first` if nobody knew.
    pub(crate) fn lose(&self, first: impl FnOnce()) -> bool {
        let lends = self.lends.load(Ordering::Relaxed);
        if lends && !self.lost.swap(true, Ordering::Relaxed) {
            first();
        }
        lends
    }

    /// Whether a layer of it could not be had.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// From where a layer of it can be had.
    pub(crate) fn offered(&self, layer: &DiffId) -> Option<Offered> {
        let position = self.diff_ids().iter().position(|name| name == layer)?;
        let blob = self.image.layers().get(position)?.clone();
        Some(Offered::new(Arc::clone(&self.place), blob))
    }

    /// Fetches whatever is missing of its lowest `count` layers, once; who comes later waits and gets the same answer.
    pub(crate) fn fetch(
        &self,
        count: usize,
        events: &TransferEvents<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), Arc<EngineError>> {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        if *fetched.as_ref().map_err(Arc::clone)? >= count {
            return Ok(());
        }
        let (layers, diff_ids) = (&self.image.manifest.layers, self.diff_ids());
        let count = count.min(layers.len()).min(diff_ids.len());
        let done = self.fetcher.fetch_all(&layers[..count], &diff_ids[..count], events, cancel);
        *fetched = done.map(|()| count).map_err(Arc::new);
        fetched.as_ref().map(|_| ()).map_err(Arc::clone)
    }
}
