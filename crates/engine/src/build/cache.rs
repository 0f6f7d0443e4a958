//! The build cache on the store, and behind it what other machines share.
use super::shared::Shared;
use std::sync::{Mutex, PoisonError};
use strata_build::buildkit::Vertex;
use strata_build::{
    CacheIndex, CacheKey, CacheRecord, CacheResult, CachedLayer, FileEntry, Place, WorkerError,
};
use strata_oci::{DiffId, Digest};
use strata_store::{Store, StoreError};

/// Slot of the listings of files, which belong to no step. No stage has such a name.
const LISTINGS: &str = "listings of files";

/// So many listings are kept; a difference from older ones is explained without the names of the files.
const MOST_LISTINGS: usize = 64;

/// Keeps records in the store's database. What is not there may be in a shared cache.
pub(super) struct StoreCache<'a> {
    store: &'a Store,
    shared: &'a Shared,
    /// What was a hit, to be noted in one transaction at the end.
    used: Mutex<Vec<[u8; 32]>>,
    /// Records of which a layer is not here yet.
    waiting: Mutex<Vec<(CacheKey, CacheRecord)>>,
}

impl<'a> StoreCache<'a> {
    pub(super) fn new(store: &'a Store, shared: &'a Shared) -> Self {
        Self { store, shared, used: Mutex::default(), waiting: Mutex::default() }
    }

    /// What the shared caches have.
    pub(super) fn shared(&self) -> &'a Shared {
        self.shared
    }

    /// The layers of the build are here now, or as many of them as will come: keeps what had to wait for them, and, of
    /// these keys, what only a shared cache had, as if the steps had been run here.
    pub(super) fn settle(&self, scope: &str, keys: &[CacheKey]) -> Result<(), WorkerError> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for (key, record) in waiting {
            self.keep(&key, &record)?;
        }
        for key in keys {
            let Some(record) = self.shared.lookup(key) else { continue };
            if self.store.cache().get(key.as_bytes()).map_err(failed)?.is_some()
                || !self.is_proven(&record)?
            {
                continue;
            }
            let place = record.place.map(|place| Place { scope: scope.to_owned(), ..place });
            self.keep(key, &CacheRecord { place, ..record })?;
        }
        Ok(())
    }

    /// Whether the cache that a record comes from has those of its layers that are here already. They would not be
    /// fetched, and so whoever writes a cache could get any layer of this machine into an image by its mere name.
    fn is_proven(&self, record: &CacheRecord) -> Result<bool, WorkerError> {
        let CacheResult::Layers(layers) = &record.result else { return Ok(true) };
        let names: Vec<DiffId> = layers.iter().map(|layer| layer.diff_id).collect();
        for (layer, offered) in self.shared.offered(&names) {
            // An image of this store has its layers, and no blobs.
            let is_here = self.store.layers().layer(&layer).map_err(failed)?.is_some();
            if !is_here || offered.blob().size == 0 || offered.is_known(self.store, &layer).map_err(failed)? {
                continue;
            }
            if !offered.is(&layer).unwrap_or(false) {
                return Ok(false);
            }
            offered.remember(self.store, &layer).map_err(failed)?;
        }
        Ok(true)
    }

    /// False when a layer of the record is not here.
    fn keep(&self, key: &CacheKey, record: &CacheRecord) -> Result<bool, WorkerError> {
        let record = &self.sized(record)?;
        let value = serde_json::to_string(record).map_err(failed)?;
        let layers: Vec<DiffId> = match &record.result {
            CacheResult::Layers(layers) => layers.iter().map(|layer| layer.diff_id).collect(),
            CacheResult::Selection(_) => Vec::new(),
        };
        let is_listing = !record.files.is_empty();
        let slot = match &record.place {
            Some(place) => slot(&place.scope, &place.stage),
            None if is_listing => LISTINGS.to_owned(),
            None => String::new(),
        };
        match self.store.cache().put(key.as_bytes(), &slot, &value, &layers) {
            Err(StoreError::MissingLayer(_)) => return Ok(false),
            Err(error) => return Err(failed(error)),
            Ok(()) if is_listing => {
                self.store.cache().keep_newest(LISTINGS, MOST_LISTINGS).map_err(failed)?;
            }
            Ok(()) => {}
        }
        Ok(true)
    }

    /// A layer that an image lent has its size only when it is here.
    fn sized(&self, record: &CacheRecord) -> Result<CacheRecord, WorkerError> {
        let mut record = record.clone();
        if let CacheResult::Layers(layers) = &mut record.result {
            for layer in layers.iter_mut().filter(|layer| layer.size == 0) {
                let here = self.store.layers().layer(&layer.diff_id).map_err(failed)?;
                layer.size = here.map_or(0, |here| here.content_size);
            }
        }
        Ok(record)
    }

    /// The record of a key, wherever it is, without counting it as used.
    pub(super) fn peek(&self, key: &CacheKey) -> Result<Option<CacheRecord>, WorkerError> {
        Ok(self.here(key)?.or_else(|| self.shared.lookup(key)))
    }

    /// The files that a digest stands for, from here or from a shared cache.
    pub(super) fn files(&self, digest: &Digest) -> Result<Vec<FileEntry>, WorkerError> {
        let here = self.here(&CacheKey::of_listing(digest))?.map(|record| record.files);
        Ok(here.filter(|files| !files.is_empty()).unwrap_or_else(|| self.shared.listing(digest)))
    }

    /// To be noted when the build ends; nothing where there is no such record.
    fn uses(&self, key: &CacheKey) {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(*key.as_bytes());
    }

    /// What the store remembers under a key.
    fn here(&self, key: &CacheKey) -> Result<Option<CacheRecord>, WorkerError> {
        let found = self.store.cache().get(key.as_bytes()).map_err(failed)?;
        // A record that cannot be read was written by another version: as good as none.
        Ok(found.and_then(|found| serde_json::from_str(&found.value).ok()))
    }
}

impl Drop for StoreCache<'_> {
    /// However the build ended, hits were hits. A note that cannot be taken (a full disk) only makes the record seem older.
    fn drop(&mut self) {
        let used = std::mem::take(self.used.get_mut().unwrap_or_else(PoisonError::into_inner));
        let _ = self.store.cache().touch(&used);
    }
}

pub(super) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> WorkerError {
    WorkerError::Failed(Box::new(error))
}

impl CacheIndex for StoreCache<'_> {
    fn lookup(&self, key: &CacheKey) -> Result<Option<CacheRecord>, WorkerError> {
        let record = self.here(key)?;
        if record.is_some() {
            self.uses(key);
            return Ok(record);
        }
        match self.shared.take(key) {
            Some(record) if self.is_proven(&record)? => Ok(Some(record)),
            _ => Ok(None),
        }
    }

    fn record(&self, key: &CacheKey, record: &CacheRecord) -> Result<(), WorkerError> {
        // A layer of a shared cache that has not come yet, or one that another process removed meanwhile.
        if !self.keep(key, record)? {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.push((*key, record.clone()));
        }
        Ok(())
    }

    fn listing(&self, files: &Digest) -> Result<Vec<FileEntry>, WorkerError> {
        // What explains a miss is used: it stays as long as what is hit.
        self.uses(&CacheKey::of_listing(files));
        self.files(files)
    }

    fn has_vertices(&self) -> bool {
        self.shared.has_vertices()
    }

    fn find_vertex(&self, key: &CacheKey, vertex: &Vertex, root: &[DiffId]) -> Option<Vec<CachedLayer>> {
        self.shared.find_vertex(key, vertex, root)
    }

    fn earlier(&self, scope: &str, stage: &str) -> Result<Vec<CacheRecord>, WorkerError> {
        const ENOUGH: usize = 512;
        let mut found = self.store.cache().nearest(&slot(scope, stage), ENOUGH).map_err(failed)?;
        if found.is_empty() {
            let shared = self.shared.earlier(scope, stage);
            if !shared.is_empty() {
                return Ok(shared);
            }
            // This Dockerfile is new; perhaps it is the copy of another one. Whether it is related, `build` decides.
            found = self.store.cache().nearest_elsewhere(stage, ENOUGH).map_err(failed)?;
            return Ok(found.iter().filter_map(|found| serde_json::from_str(&found.value).ok()).collect());
        }
        let mut newest: Vec<CacheRecord> = Vec::new();
        for record in found.iter().filter_map(|found| serde_json::from_str::<CacheRecord>(&found.value).ok())
        {
            if newest.iter().all(|have| position(have) != position(&record)) {
                newest.push(record);
            }
        }
        newest.sort_by_key(position);
        // What another machine built last may be nearer.
        newest.extend(self.shared.earlier(scope, stage));
        Ok(newest)
    }
}

fn slot(scope: &str, stage: &str) -> String {
    format!("{scope}\n{stage}")
}

fn position(record: &CacheRecord) -> Option<u32> {
    record.place.as_ref().map(|place| place.position)
}
