//! `--cache-to`: what this machine built, for others.
use super::super::cache::StoreCache;
use super::super::{BuildReport, CacheDestination, EventSink};
use super::Aside;
use super::content::Sender;
use crate::transfer::{Recipe, side_by_side};
use crate::{Engine, EngineError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use strata_build::{CacheKey, CacheRecord, CacheResult, CachedLayer, Input, KnownStep};
use strata_cache::{Assembly, Exported, Listings, Location, Packed, Place, PlaceError};
use strata_oci::{Descriptor, DiffId, Digest};

/// Why an export failed.
pub(super) struct Failure(pub(super) Box<dyn std::error::Error + Send + Sync>);

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self(Box::new(error))
    }
}

/// Number of the first export among the asides of a build: imports have those before.
const FIRST: usize = 1 << 16;

/// What is written.
struct Contents {
    steps: Vec<Exported>,
    selections: Vec<(CacheKey, Digest)>,
}

impl Contents {
    /// Every layer, each once, in the order in which the steps name them.
    fn layers(&self) -> Vec<DiffId> {
        let mut seen = BTreeSet::new();
        let all = self
            .steps
            .iter()
            .flat_map(|step| step.root.iter().copied().chain(step.layers.iter().map(|layer| layer.diff_id)));
        all.filter(|layer| seen.insert(*layer)).collect()
    }
}

impl Engine {
    /// Writes the cache of a build to each of these places. The layers go as they go in a push: what a place has is not
    /// sent, and what need not be here goes from place to place.
    ///
    /// # Errors
    /// [`EngineError::CacheExport`] of the first place that did not take it and whose failure is not to be ignored.
    pub fn export_cache(
        &self,
        report: &BuildReport,
        destinations: &[CacheDestination],
        events: &dyn EventSink,
        cancel: &AtomicBool,
    ) -> Result<(), EngineError> {
        let mut first = None;
        for (number, destination) in destinations.iter().enumerate() {
            let Some(location) = &destination.location else { continue };
            let kind = match location {
                Location::Registry(_) | Location::Image(_) => "registry",
                Location::Local(_) => "client directory",
                Location::S3(_) => "S3",
            };
            let name = format!("exporting cache to {kind}");
            let aside = Aside::begin(events, FIRST + number, name);
            let done = self.export_to(report, destination, location, &aside, cancel);
            aside.end(done.is_ok());
            let Err(Failure(source)) = done else { continue };
            let error = EngineError::CacheExport { to: destination.text.clone(), source };
            if destination.ignore_error {
                let message = format!("{error} (ignored)");
                events.event(super::Event::Warning { message: &message, span: None });
            } else {
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    fn export_to(
        &self,
        report: &BuildReport,
        destination: &CacheDestination,
        location: &Location,
        aside: &Aside<'_>,
        cancel: &AtomicBool,
    ) -> Result<(), Failure> {
        let place = self.cache_place(location, &report.platform, destination.form)?;
        aside.line("preparing build cache for export");
        let mut contents = self.contents(report, destination.max)?;
        let recipe = match &destination.compression {
            Some(compression) => Recipe::new(compression, destination.level),
            None if destination.level.is_some() => Recipe::new("gzip", destination.level),
            None => Ok(Recipe::default()),
        };
        let recipe = recipe.map_err(|error| Failure(error.into()))?;
        let sender = Sender::new(self, &*place, recipe, destination, &report.known, cancel);
        let mut layers = contents.layers();
        let mut mounts = self.pack_mounts(report, &destination.mounts, aside, cancel)?;
        let of_mounts: BTreeSet<DiffId> = mounts.iter().map(|mount| mount.layer).collect();
        layers.extend(of_mounts.into_iter().filter(|layer| !layers.contains(layer)).collect::<Vec<_>>());
        let placed = place_layers(&layers, &sender, aside, cancel)?;
        contents.steps.retain(|step| {
            let own = step.layers.iter().map(|layer| &layer.diff_id);
            step.root.iter().chain(own).all(|layer| placed.contains_key(layer))
        });
        mounts.retain(|mount| placed.contains_key(&mount.layer));
        let mut assembly = Assembly::new(report.platform.to_string(), placed);
        for step in &report.known.steps {
            // The same bytes whoever writes them: whether a stage was made here must not show.
            step.vertices.iter().for_each(|(key, vertex)| assembly.vertex(*key, &vertex.by_paths()));
        }
        let listings = self.put_listings(report, &contents.steps, &*place, aside)?;
        for step in contents.steps {
            assembly.step(step);
        }
        for (key, files) in contents.selections {
            assembly.selection(key, files);
        }
        listings.iter().for_each(|listings| assembly.listings(listings));
        for mount in mounts {
            assembly.mount(mount.id, mount.name, mount.layer);
        }
        let (config, blobs) = assembly.finish();
        place.publish(&config, &blobs).map_err(|error| Failure(error.into()))?;
        aside.line(&format!("writing cache manifest {place} done"));
        Ok(())
    }

    /// Gets a list of the files that these steps copied into the place, as far as they are remembered here or where the
    /// steps came from: then a miss elsewhere is told with the names of the files.
    fn put_listings(
        &self,
        report: &BuildReport,
        steps: &[Exported],
        place: &dyn Place,
        aside: &Aside<'_>,
    ) -> Result<Option<Packed>, Failure> {
        let cache = StoreCache::new(self.store(), &report.known.shared);
        let digests: BTreeSet<Digest> =
            steps.iter().flat_map(|step| &step.inputs).filter_map(Input::files).collect();
        let mut listings = Listings::default();
        for digest in digests {
            listings.add(digest, cache.files(&digest).map_err(|error| Failure(error.into()))?);
        }
        let Some(packed) = listings.pack() else { return Ok(None) };
        if packed.left_out > 0 {
            aside.line(&format!("{} lists of files are too long and left out", packed.left_out));
        }
        let failed = |error: PlaceError| Failure(error.into());
        if !place.has(&packed.descriptor().digest).map_err(failed)? {
            place.put(&packed).map_err(failed)?;
        }
        Ok(Some(packed))
    }

    /// The records of a build: of the image's own steps, or (`max`) of all. What files other stages were found to have is
    /// told in either case: without it nobody can know that those stages need not be made.
    fn contents(&self, report: &BuildReport, max: bool) -> Result<Contents, Failure> {
        let known = &report.known;
        let cache = StoreCache::new(self.store(), &known.shared);
        let find = |key: &CacheKey| cache.peek(key).map_err(|error| Failure(error.into()));
        let mut steps = Vec::new();
        for step in known.steps.iter().filter(|step| max || step.in_image.is_some()) {
            for (key, alone) in std::iter::once((step.key, false)).chain(step.own.map(|own| (own, true))) {
                if let Some(CacheRecord { result: CacheResult::Layers(layers), .. }) = find(&key)? {
                    steps.push(exported(step, key, alone, layers));
                }
            }
        }
        let selections = known.selected(&cache).map_err(|error| Failure(error.into()))?;
        Ok(Contents { steps, selections })
    }
}

/// Gets layers into a place, several at once; gives their blobs there.
fn place_layers(
    layers: &[DiffId],
    sender: &Sender<'_>,
    aside: &Aside<'_>,
    cancel: &AtomicBool,
) -> Result<BTreeMap<DiffId, Descriptor>, EngineError> {
    let placed = Mutex::new(BTreeMap::new());
    side_by_side(layers, cancel, |layer, _| {
        match sender.place(layer) {
            Ok(blob) => {
                aside.line(&format!("writing layer {} done", blob.digest));
                placed.lock().unwrap_or_else(PoisonError::into_inner).insert(*layer, blob);
            }
            // Nobody needed it here, and nobody will find it there: what stands on it is not told of.
            Err(error) => match sender.lost(layer) {
                Some(why) => aside.line(&format!("left out what needs {why}")),
                None => return Err(error),
            },
        }
        Ok(())
    })?;
    Ok(placed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// `alone`: the layer stands on nothing, as `--link` makes it.
fn exported(step: &KnownStep<DiffId>, key: CacheKey, alone: bool, layers: Vec<CachedLayer>) -> Exported {
    Exported {
        key,
        below: step.below.filter(|_| !alone),
        stage: step.place.stage.clone(),
        position: step.place.position,
        instruction: step.place.instruction.clone(),
        inputs: step.inputs.clone(),
        root: if alone { Vec::new() } else { step.root.clone() },
        layers,
    }
}
