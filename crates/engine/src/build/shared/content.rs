//! The layers of an export, on their way to a place.
use super::super::CacheDestination;
use super::Known;
use crate::transfer::{Offered, Recipe, bytes_type, crew, is_foreign, media_type_of, oci_type};
use crate::{Engine, EngineError};
use std::io::{self, Read};
use std::sync::atomic::AtomicBool;
use strata_cache::{Content, Place, PlaceError, RegistryPlace};
use strata_layer::compression::{Blocks, Crew};
use strata_oci::{Descriptor, DiffId, Digest, Reference, media_type};
use strata_store::RemoteBlob;

/// So many forms of a layer are asked for before it is sent: each costs a request.
const ASKED: usize = 4;

/// Brings layers to a place, each in the form that costs least.
pub(super) struct Sender<'a> {
    engine: &'a Engine,
    place: &'a dyn Place,
    recipe: Recipe,
    /// Other forms than the recipe's do not count.
    force: bool,
    /// OCI's names of types, or else Docker's.
    oci: bool,
    known: &'a Known,
    crew: Crew,
    cancel: &'a AtomicBool,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        place: &'a dyn Place,
        recipe: Recipe,
        destination: &CacheDestination,
        known: &'a Known,
        cancel: &'a AtomicBool,
    ) -> Self {
        let (force, oci) = (destination.force, destination.form.oci);
        Self { engine, place, recipe, force, oci, known, crew: crew(recipe), cancel }
    }

    /// Gets a layer into the place, and gives its blob there.
    pub(super) fn place(&self, layer: &DiffId) -> Result<Descriptor, EngineError> {
        let mut blob = self.bring(layer)?;
        blob.annotations.clear();
        blob.urls.clear();
        let oci = bytes_type(&blob.media_type);
        blob.media_type = if self.oci { oci } else { docker_type(oci) }.to_owned();
        let blobs = self.engine.store().blobs();
        // A cache has all layers whole; that makes none of them one that images may hand out.
        if let Some(repository) = self.place.repository()
            && self.engine.store().layers().layer(layer)?.is_some()
            && !is_foreign(&blobs.remotes(layer)?)
        {
            let seen = RemoteBlob {
                digest: blob.digest,
                length: blob.size,
                media_type: oci.to_owned(),
                repository: repository.to_string(),
            };
            blobs.remember_remote(layer, &seen)?;
        }
        Ok(blob)
    }

    /// Why a layer that could not be brought cannot be had at all, if that is the reason.
    pub(super) fn lost(&self, layer: &DiffId) -> Option<String> {
        if !matches!(self.engine.store().layers().layer(layer), Ok(None)) {
            return None;
        }
        self.known.offered(layer)?.lost(layer)
    }

    fn bring(&self, layer: &DiffId) -> Result<Descriptor, EngineError> {
        let store = self.engine.store();
        let is_here = store.layers().layer(layer)?.is_some();
        // What is offered has not been read yet. For a layer that is here only forms count that were.
        let offered = if is_here { None } else { self.known.offered(layer) };
        if let Some(offered) = offered.as_ref().filter(|offered| self.force && !self.is_of_recipe(offered)) {
            let lease = store.leases().acquire()?;
            self.engine.fetch_offered(&lease, &[*layer], &[Some(offered)], &|_| {}, self.cancel)?;
            return self.bring(layer);
        }
        let made = store.blobs().compressed(layer, &self.recipe.to_string())?;
        let own = made.map(|(digest, size)| Descriptor::new(media_type_of(self.recipe), digest, size));
        let remotes = if self.force { Vec::new() } else { store.blobs().remotes(layer)? };
        let mut forms: Vec<Descriptor> = own.iter().cloned().collect();
        forms.extend(offered.iter().map(|offered| offered.blob().clone()));
        forms.extend(remotes.iter().filter_map(|remote| {
            Some(Descriptor::new(oci_type(&remote.media_type)?, remote.digest, remote.length))
        }));
        let mut seen = std::collections::BTreeSet::new();
        forms.retain(|form| seen.insert(form.digest));
        for form in forms.iter().take(ASKED) {
            if self.place.has(&form.digest).map_err(failed)? {
                return Ok(form.clone());
            }
        }
        if let Some(forwarded) = self.mounted(&forms, &remotes)? {
            return Ok(forwarded);
        }
        if is_here {
            return self.compress(layer, own.map(|own| (own.digest, own.size)));
        }
        let Some(offered) = offered else {
            return Err(EngineError::Store(strata_store::StoreError::MissingLayer(*layer)));
        };
        let holders = offered.place().repository().map(ToString::to_string).into_iter().collect();
        let forward = Forward { layer: *layer, offered: &offered, holders, cancel: self.cancel };
        self.place.put(&forward).map_err(failed)?;
        Ok(offered.blob().clone())
    }

    fn is_of_recipe(&self, offered: &Offered) -> bool {
        bytes_type(&offered.blob().media_type) == media_type_of(self.recipe)
    }

    /// A registry takes a blob from another of its repositories, without a byte sent.
    fn mounted(
        &self,
        forms: &[Descriptor],
        remotes: &[RemoteBlob],
    ) -> Result<Option<Descriptor>, EngineError> {
        let Some(here) = self.place.repository() else { return Ok(None) };
        for form in forms.iter().take(ASKED) {
            let holds = |remote: &&RemoteBlob| remote.digest == form.digest;
            let names = remotes.iter().filter(holds).filter_map(|remote| {
                let name: Reference = remote.repository.parse().ok()?;
                (name.domain() == here.host() && *remote.repository != here.to_string()).then_some(name)
            });
            for name in names {
                let registries = self.engine.registries().clone();
                let platform = strata_oci::Platform::host();
                let place = RegistryPlace::new(registries, name.clone(), platform, Default::default());
                // The blob may be gone from there.
                if !place.has(&form.digest).unwrap_or(false) {
                    continue;
                }
                let offered = Offered::new(std::sync::Arc::new(place), form.clone());
                let layer = DiffId::new(form.digest);
                let forward =
                    Forward { layer, offered: &offered, holders: vec![name.name()], cancel: self.cancel };
                self.place.put(&forward).map_err(failed)?;
                return Ok(Some(form.clone()));
            }
        }
        Ok(None)
    }

    fn compress(&self, layer: &DiffId, mut known: Option<(Digest, u64)>) -> Result<Descriptor, EngineError> {
        let store = self.engine.store();
        let file = store.layers().open_tar(layer)?;
        let total = file.metadata()?.len();
        let blocks = Blocks::new(self.recipe, file.into_file(), total, &self.crew);
        let mut compressed = Compressed { layer: *layer, blocks: &blocks, known, cancel: self.cancel };
        if known.is_none() && self.known.shared.claims(layer) {
            // Another machine has sent this layer, most likely as these very bytes.
            io::copy(&mut compressed.open(0)?, &mut io::sink())?;
            known = blocks.finished();
            compressed.known = known;
        }
        let there = match known {
            Some((digest, _)) => self.place.has(&digest).map_err(failed)?,
            None => false,
        };
        if !there {
            self.place.put(&compressed).map_err(failed)?;
        }
        let unread = || io::Error::other("the place took a layer that was not read to its end");
        let (digest, size) = blocks.finished().or(known).ok_or_else(unread)?;
        store.blobs().remember_compressed(layer, &self.recipe.to_string(), &digest, size)?;
        Ok(Descriptor::new(media_type_of(self.recipe), digest, size))
    }
}

fn failed(error: PlaceError) -> EngineError {
    EngineError::Shared(Box::new(error))
}

/// Docker's name of a layer's type.
fn docker_type(oci: &str) -> &'static str {
    match oci {
        media_type::OCI_LAYER => media_type::DOCKER_LAYER,
        media_type::OCI_LAYER_ZSTD => media_type::DOCKER_LAYER_ZSTD,
        _ => media_type::DOCKER_LAYER_GZIP,
    }
}

/// A layer of the store, compressed while it is read.
struct Compressed<'a> {
    layer: DiffId,
    blocks: &'a Blocks,
    known: Option<(Digest, u64)>,
    cancel: &'a AtomicBool,
}

impl Content for Compressed<'_> {
    fn name(&self) -> &Digest {
        self.layer.digest()
    }

    fn known(&self) -> Option<(Digest, u64)> {
        self.known.or_else(|| self.blocks.finished())
    }

    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Stoppable { inner: self.blocks.read_from(offset)?, cancel: self.cancel }))
    }
}

/// A blob that another place has.
struct Forward<'a> {
    layer: DiffId,
    offered: &'a Offered,
    holders: Vec<String>,
    cancel: &'a AtomicBool,
}

impl Content for Forward<'_> {
    fn name(&self) -> &Digest {
        self.layer.digest()
    }

    fn known(&self) -> Option<(Digest, u64)> {
        Some((self.offered.blob().digest, self.offered.blob().size))
    }

    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(Stoppable { inner: self.offered.open(offset)?, cancel: self.cancel }))
    }

    fn holders(&self) -> &[String] {
        &self.holders
    }
}

/// A reader that ends with an error when the command is told to stop.
struct Stoppable<'a, R> {
    inner: R,
    cancel: &'a AtomicBool,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::transfer::check(self.cancel).map_err(io::Error::other)?;
        self.inner.read(buffer)
    }
}
