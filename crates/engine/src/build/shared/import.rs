//! `--cache-from`: what other machines built.
use super::super::{BuildRequest, CacheSource, Event, EventSink, NoCache};
use super::{Aside, Watching};
use crate::Engine;
use crate::transfer::{Offered, side_by_side};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use strata_build::buildkit::Vertex;
use strata_build::{CacheKey, CacheRecord, CacheResult, CachedLayer, FileEntry, Place as StepPlace};
use strata_cache::{
    CREATED, ConfigError, Form, Found, Listings, Location, Mounts, Place, PlaceError, Step, Steps,
    UNCOMPRESSED, Vertices, inline,
};
use strata_oci::{Descriptor, DiffId, Digest, ImageConfig, Platform, Reference, media_type};

/// What the sources brought. Of several that have a record of a step, the one given first counts.
#[derive(Default)]
pub(in super::super) struct Shared {
    sources: Vec<Imported>,
    /// Which records of BuildKit's, of the sources that have no others, the steps so far are.
    vertices: Vec<(Imported, Mutex<Vertices>)>,
    /// Images that carry no records of ours: they may lend layers.
    images: Vec<Reference>,
    /// By step: which source, and which of its steps.
    steps: HashMap<CacheKey, (usize, usize)>,
    /// By selection: which source, and which of its selections.
    selections: HashMap<CacheKey, (usize, usize)>,
    /// Layers that a source says it has.
    claimed: HashSet<DiffId>,
    /// Layers of records that were asked for.
    offers: Mutex<HashMap<DiffId, Offered>>,
    /// Why layers are not where they were said to be, `None` of those that are; as far as that was asked.
    there: Mutex<HashMap<DiffId, Option<String>>>,
    /// Layers that did not come when they were fetched.
    lost: Mutex<HashSet<DiffId>>,
}

/// What a source turned out to be.
enum Source {
    Cache(Imported),
    /// An image without a cache, or with one of BuildKit's.
    Image(Reference, Option<Imported>),
}

/// A source that could be read.
struct Imported {
    name: String,
    place: Arc<dyn Place>,
    found: Found,
    /// Which cache mounts may be filled from it.
    mounts: Mounts,
    /// The files that its steps copied, once somebody has asked; none if they cannot be had.
    listings: OnceLock<Listings>,
    /// A record of it was taken.
    used: AtomicBool,
}

impl Shared {
    /// Reads all sources, side by side. One that cannot be used is a warning with the reason.
    pub(in super::super) fn import(engine: &Engine, request: &BuildRequest, events: &dyn EventSink) -> Self {
        if request.cache_from.is_empty() || matches!(request.options.no_cache, NoCache::All) {
            return Self::default();
        }
        let platform = &request.options.platform;
        let read: Vec<_> = std::thread::scope(|scope| {
            let read = |(number, source)| scope.spawn(move || read(engine, number, source, platform, events));
            let threads: Vec<_> = request.cache_from.iter().enumerate().map(read).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        });
        let mut shared = Self::default();
        for (source, read) in request.cache_from.iter().zip(read) {
            let usable = |source: Source| match &source {
                Source::Cache(imported) => imported.usable(platform).map(|()| source),
                Source::Image(..) => Ok(source),
            };
            match read.and_then(usable) {
                Ok(Source::Cache(imported)) => shared.add(imported),
                Ok(Source::Image(reference, imported)) => {
                    shared.images.push(reference);
                    imported.into_iter().for_each(|imported| shared.add(imported));
                }
                Err(why) => {
                    let message = format!("--cache-from {}: not used: {why}", source.text);
                    events.event(Event::Warning { message: &message, span: None });
                }
            }
        }
        shared
    }

    fn add(&mut self, imported: Imported) {
        if imported.steps().is_none() {
            let vertices = Vertices::new(&imported.found.config);
            self.vertices.push((imported, Mutex::new(vertices)));
            return;
        }
        let at = self.sources.len();
        if let Some(steps) = imported.steps() {
            for (index, step) in steps.steps.iter().enumerate() {
                let digest = imported.found.config.records[step.record].digest;
                self.steps.entry(CacheKey::from_bytes(*digest.as_bytes())).or_insert((at, index));
            }
            for (index, selected) in steps.selections.iter().enumerate() {
                let key = CacheKey::from_bytes(*selected.key.as_bytes());
                self.selections.entry(key).or_insert((at, index));
            }
        }
        let layers = imported.found.config.layers.iter();
        self.claimed.extend(layers.filter_map(|layer| layer.annotations.as_ref()?.diff_id));
        self.sources.push(imported);
    }

    /// Whether a source says that it has this layer in some form.
    pub(super) fn claims(&self, layer: &DiffId) -> bool {
        self.claimed.contains(layer)
    }

    /// Whether a source has records of BuildKit's alone.
    pub(in super::super) fn has_vertices(&self) -> bool {
        !self.vertices.is_empty()
    }

    /// The layers above an image that a record of BuildKit's gives for a step.
    pub(in super::super) fn find_vertex(
        &self,
        key: &CacheKey,
        vertex: &Vertex,
        root: &[DiffId],
    ) -> Option<Vec<CachedLayer>> {
        let mut found = None;
        // Every source is told, whoever has it: what comes next may stand on it.
        for (source, vertices) in &self.vertices {
            let mut vertices = vertices.lock().unwrap_or_else(PoisonError::into_inner);
            let records = vertices.find(&source.found.config, key, vertex);
            let mut stacks = records.iter().flat_map(|record| source.found.config.results(*record));
            if found.is_none() {
                found = stacks.find_map(|stack| source.above(root, &stack)).map(|layers| (source, layers));
            }
        }
        let (source, layers) = found?;
        source.used.store(true, Ordering::Relaxed);
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        for (layer, offered) in &layers {
            offers.entry(layer.diff_id).or_insert_with(|| offered.clone());
        }
        Some(layers.into_iter().map(|(layer, _)| layer).collect())
    }

    /// Images that may lend layers.
    pub(in super::super) fn images(&self) -> &[Reference] {
        &self.images
    }

    /// The record of a key, if a source has it with all its layers.
    pub(in super::super) fn lookup(&self, key: &CacheKey) -> Option<CacheRecord> {
        self.find(key).map(|(_, record)| record)
    }

    /// Like [`Self::lookup`], for a step that will take it.
    pub(in super::super) fn take(&self, key: &CacheKey) -> Option<CacheRecord> {
        let (source, record) = self.find(key)?;
        source.used.store(true, Ordering::Relaxed);
        Some(record)
    }

    fn find(&self, key: &CacheKey) -> Option<(&Imported, CacheRecord)> {
        if let Some((source, index)) = self.selections.get(key) {
            let source = &self.sources[*source];
            let result = CacheResult::Selection(source.steps()?.selections[*index].files);
            return Some((
                source,
                CacheRecord { place: None, inputs: Vec::new(), files: Vec::new(), result },
            ));
        }
        let (source, index) = self.steps.get(key)?;
        let source = &self.sources[*source];
        let steps = source.steps()?;
        let step = &steps.steps[*index];
        let layers: Option<Vec<(CachedLayer, Offered)>> =
            steps.stack(step.made).into_iter().map(|made| source.layer(made)).collect();
        let layers = layers?;
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        for (layer, offered) in &layers {
            offers.entry(layer.diff_id).or_insert_with(|| offered.clone());
        }
        let result = CacheResult::Layers(layers.into_iter().map(|(layer, _)| layer).collect());
        Some((source, record(step, "", result)))
    }

    /// Lets a layer be had that no record names.
    pub(super) fn offer(&self, layer: DiffId, offered: Offered) {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner).entry(layer).or_insert(offered);
    }

    /// What a source has of a cache mount: its files as a layer, and where that is.
    pub(in super::super) fn kept_mount(&self, name: &Digest) -> Option<(DiffId, Offered)> {
        self.sources.iter().find_map(|source| {
            let mount = source.steps()?.mounts.iter().find(|mount| mount.name == *name)?;
            let offered = source.mounts.include(&mount.id).then(|| source.offer(mount.layer)).flatten()?;
            source.used.store(true, Ordering::Relaxed);
            Some(offered)
        })
    }

    /// The cache mounts that a source has of those with this id.
    pub(super) fn kept_mounts(&self, id: &str) -> Vec<(Digest, DiffId, Offered)> {
        let mut found: BTreeMap<Digest, (DiffId, Offered)> = BTreeMap::new();
        for source in self.sources.iter().filter(|source| source.mounts.include(id)) {
            let mounts = source.steps().map_or(&[][..], |steps| &steps.mounts);
            for mount in mounts.iter().filter(|mount| mount.id == id) {
                if let Some(offered) = source.offer(mount.layer) {
                    found.entry(mount.name).or_insert(offered);
                }
            }
        }
        found.into_iter().map(|(name, (layer, offered))| (name, layer, offered)).collect()
    }

    /// Where these layers can be had, those of them that a source has.
    pub(in super::super) fn offered(&self, layers: &[DiffId]) -> HashMap<DiffId, Offered> {
        let offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        layers.iter().filter_map(|layer| Some((*layer, offers.get(layer)?.clone()))).collect()
    }

    /// Like [`Self::offered`], but of a bucket or a directory only what is there still: things get deleted there, while
    /// a registry keeps what a manifest names.
    pub(in super::super) fn available(&self, layers: &[DiffId]) -> HashMap<DiffId, Offered> {
        let mut offered = self.offered(layers);
        let asked: Vec<_> = offered
            .iter()
            .filter(|(_, offered)| offered.place().repository().is_none() && offered.blob().size > 0)
            .map(|(layer, offered)| (*layer, offered.clone()))
            .collect();
        let lock = || self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = |(layer, offered): &(DiffId, Offered), _: &AtomicBool| {
            if !lock().contains_key(layer) {
                lock().insert(*layer, offered.missing());
            }
            Ok(())
        };
        // Nobody waits for the others: none of them fails.
        let _ = side_by_side(&asked, &AtomicBool::new(false), ask);
        let (there, lost) = (lock(), self.lost.lock().unwrap_or_else(PoisonError::into_inner));
        offered.retain(|layer, _| !matches!(there.get(layer), Some(Some(_))) && !lost.contains(layer));
        offered
    }

    /// A layer cannot be had, whatever was said of it. False if that is known.
    pub(in super::super) fn lose(&self, layer: &DiffId) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(*layer)
    }

    /// The steps of a stage as a source has them, for explaining a miss.
    pub(in super::super) fn earlier(&self, scope: &str, stage: &str) -> Vec<CacheRecord> {
        let of_stage = |source: &Imported| -> Vec<CacheRecord> {
            let steps = source.steps().map_or(&[][..], |steps| &steps.steps);
            let nothing = || CacheResult::Layers(Vec::new());
            let found = steps.iter().filter(|step| step.stage == stage);
            found.map(|step| record(step, scope, nothing())).collect()
        };
        self.sources.iter().map(of_stage).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The files that a digest stands for, if a source has a step that copied them and tells which they were.
    pub(in super::super) fn listing(&self, files: &Digest) -> Vec<FileEntry> {
        let found = self.sources.iter().find_map(|source| source.listing(files));
        found.map_or_else(Vec::new, <[_]>::to_vec)
    }

    /// Warns of every source of whose records none suited, if a step had to run for want of one.
    pub(in super::super) fn tell_unused(&self, watching: &Watching<'_>) {
        let there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<&String> = there.values().flatten().collect();
        if let Some(why) = gone.first() {
            let count = gone.len();
            let what = if count == 1 { "a layer is" } else { &format!("{count} layers are") };
            let message = format!(
                "--cache-from: {what} no longer where the cache says ({why}): what needs that was run"
            );
            watching.event(Event::Warning { message: &message, span: None });
        }
        drop(there);
        let Some(missed) = watching.first_run() else { return };
        // An image of which no layer could be used says so itself.
        let others = self.vertices.iter().map(|(source, _)| source).filter(|source| !source.found.in_image);
        let unused = self.sources.iter().chain(others).filter(|source| !source.used.load(Ordering::Relaxed));
        for source in unused {
            let config = &source.found.config;
            let records = source.steps().map_or(config.records.len(), |steps| steps.steps.len());
            let message = format!(
                "--cache-from {}: none of its {records} records suited this build: {missed}",
                source.name
            );
            watching.event(Event::Warning { message: &message, span: None });
        }
    }
}

impl Imported {
    fn new(source: &CacheSource, place: Arc<dyn Place>, found: Found) -> Self {
        let (name, mounts) = (source.text.clone(), source.mounts.clone());
        let (listings, used) = (OnceLock::new(), AtomicBool::new(false));
        Self { name, place, found, mounts, listings, used }
    }

    /// A cache inside an image that is none of ours says less than the image does.
    fn or_image(self, location: &Location) -> Source {
        match location {
            Location::Registry(reference) | Location::Image(reference)
                if self.found.in_image && self.steps().is_none() =>
            {
                Source::Image(reference.clone(), Some(self))
            }
            _ => Source::Cache(self),
        }
    }

    fn steps(&self) -> Option<&Steps> {
        self.found.config.steps.as_ref()
    }

    /// Fetched once, and only if a step speaks of these files. What cannot be had explains a little less.
    fn listing(&self, files: &Digest) -> Option<&[FileEntry]> {
        let steps = self.steps()?;
        let copied =
            steps.steps.iter().flat_map(|step| &step.inputs).any(|input| input.files() == Some(*files));
        let listings = steps.listings.filter(|_| copied)?;
        let fetch = || {
            let (_, offered) = self.offer(listings)?;
            Listings::read(offered.blob(), offered.open(0).ok()?).ok()
        };
        self.listings.get_or_init(|| fetch().unwrap_or_default()).get(files)
    }

    /// Why none of its records can suit, whatever is built.
    fn usable(&self, platform: &Platform) -> Result<(), String> {
        let Some(steps) = self.steps() else { return Ok(()) };
        if steps.platform != platform.to_string() {
            return Err(format!("it was built for {}, not for {platform}", steps.platform));
        }
        Ok(())
    }

    /// The layers of a stack that are above an image; `None` if it does not stand on it.
    fn above(&self, root: &[DiffId], stack: &[usize]) -> Option<Vec<(CachedLayer, Offered)>> {
        let made = |layer: &usize| {
            let known = &self.found.config.layers[*layer];
            let told = || self.found.blobs.get(&known.blob)?.annotations.get(CREATED)?.parse().ok();
            let at = known.annotations.as_ref().and_then(|known| known.created_at).or_else(told);
            // How large it is shows when it is here.
            let made =
                strata_cache::Made { layer: *layer, below: None, size: 0, created: at.unwrap_or_default() };
            self.layer(made)
        };
        let layers: Vec<_> = stack.iter().map(made).collect::<Option<_>>()?;
        let stands = layers.len() > root.len()
            && layers.iter().zip(root).all(|((layer, _), root)| layer.diff_id == *root);
        stands.then(|| layers[root.len()..].to_vec())
    }

    /// A layer with where it is; `None` for one that the place does not have, or does not know by name.
    fn layer(&self, made: strata_cache::Made) -> Option<(CachedLayer, Offered)> {
        let (diff_id, offered) = self.offer(made.layer)?;
        Some((CachedLayer { diff_id, size: made.size, created: made.created }, offered))
    }

    /// A layer of the config by its index; `None` likewise.
    fn offer(&self, layer: usize) -> Option<(DiffId, Offered)> {
        let layer = &self.found.config.layers[layer];
        let blob = self.found.blobs.get(&layer.blob)?.clone();
        // BuildKit tells it in the manifest alone.
        let told = || blob.annotations.get(UNCOMPRESSED)?.parse().ok();
        let diff_id = layer.annotations.as_ref().and_then(|known| known.diff_id).or_else(told)?;
        Some((diff_id, Offered::new(Arc::clone(&self.place), blob)))
    }
}

fn record(step: &Step, scope: &str, result: CacheResult) -> CacheRecord {
    let place = StepPlace {
        scope: scope.to_owned(),
        stage: step.stage.clone(),
        position: step.position,
        instruction: step.instruction.clone(),
    };
    CacheRecord { place: Some(place), inputs: step.inputs.clone(), files: Vec::new(), result }
}

/// The cache inside an image of the store. Its layers are here: nobody will ask for their blobs.
fn inside(image: &ImageConfig) -> Result<Option<Found>, ConfigError> {
    let layers = image.rootfs.diff_ids.iter();
    let blobs: Vec<_> =
        layers.map(|layer| Descriptor::new(media_type::OCI_LAYER, *layer.digest(), 0)).collect();
    inline::read(image, &blobs)
}

fn read(
    engine: &Engine,
    number: usize,
    source: &CacheSource,
    platform: &Platform,
    events: &dyn EventSink,
) -> Result<Source, String> {
    let place = engine.cache_place(&source.location, platform, Form::default());
    let place = place.map_err(|error| error.to_string())?;
    if let Location::Image(reference) = &source.location
        && let Some(id) = engine.store().images().lookup(reference).map_err(|error| error.to_string())?
    {
        let config = engine.store().images().config(&id).map_err(|error| error.to_string())?;
        let found = inside(config.value()).map_err(|error| error.to_string())?;
        let imported = found.map(|found| Imported::new(source, place, found));
        return Ok(match imported {
            Some(imported) => imported.or_image(&source.location),
            None => Source::Image(reference.clone(), None),
        });
    }
    let aside = Aside::begin(events, number, format!("importing cache manifest from {place}"));
    let found = place.config();
    // An image without a cache was found, too: it lends layers.
    aside.end(matches!(found, Ok(Some(_)) | Err(PlaceError::PlainImage { .. })));
    match found {
        Ok(Some(found)) => Ok(Imported::new(source, place, found).or_image(&source.location)),
        Ok(None) => Err("nothing of that name is there yet".to_owned()),
        Err(error) => match (&error, &source.location) {
            (PlaceError::PlainImage { .. }, Location::Registry(reference) | Location::Image(reference)) => {
                Ok(Source::Image(reference.clone(), None))
            }
            _ => Err(with_causes(&error)),
        },
    }
}

/// An error with what is behind it, as far as that says more.
fn with_causes(error: &PlaceError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
