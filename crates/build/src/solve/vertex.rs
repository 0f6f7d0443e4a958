//! Steps as BuildKit names them: for looking into its caches, and for exports that it reads.
use super::stage::{At, Progress, Ready};
use super::{Files, Made, Solver, Stop};
use crate::buildkit::Vertex;
use crate::key::StepKey;
use crate::lower::InputRef;
use crate::stages::StageBase;
use crate::{BuildErrorKind, CacheIndex, CacheKey, CachedLayer, Worker, WorkerError};
use std::sync::PoisonError;
use strata_oci::DiffId;

/// What BuildKit calls the parts of a step, each by a key of ours, the step itself last; nothing for one without a name.
/// A COPY with `--link` has two parts: the copy, and what lays it on the layers below.
pub(super) type Named = Vec<(CacheKey, Vertex)>;

/// What a cache has of a step.
enum Found {
    /// All layers above the stage's image, up to the step's own.
    All(Vec<CachedLayer>),
    /// The step's own layer.
    Own(Vec<CachedLayer>),
}

impl<W: Worker, C: CacheIndex> Solver<'_, W, C> {
    /// Takes a step from a cache of BuildKit's, if one has it.
    pub(super) fn take_vertex(
        &self,
        at: At<'_>,
        ready: &Ready<W::Layer>,
        progress: &mut Progress<W::Layer>,
    ) -> Result<bool, Stop> {
        let At { stage, position, step } = at;
        // BuildKit fixes times when it writes the image, if at all: what is in its cache is of another.
        let asks = self.with.cache.has_vertices() && self.plan.epoch.is_none();
        if !asks || progress.fresh || progress.tainted || !self.options.run_inputs.is_empty() {
            return Ok(false);
        }
        let failed = |error| match error {
            WorkerError::Cancelled => self.fail(step.site.error(BuildErrorKind::Cancelled)),
            error => self.fail(step.site.error(BuildErrorKind::Worker(error))),
        };
        let named = self.name(stage, position, &ready.key, &ready.files).map_err(failed)?;
        if named.is_empty() {
            return Ok(false);
        }
        self.sight(stage, position).map_err(failed)?;
        for input in &step.inputs {
            if let InputRef::Stage(other) = input {
                self.sight(*other, usize::MAX).map_err(failed)?;
            }
        }
        let (layers, is_own) = match self.find(stage, &named) {
            None => return Ok(false),
            Some(Found::All(layers)) => (layers, false),
            Some(Found::Own(layers)) => (layers, true),
        };
        let Some(handles) = self.with.worker.open(&layers).map_err(failed)? else { return Ok(false) };
        let made = handles.into_iter().zip(&layers);
        let made = made.map(|(handle, layer)| Made { handle, created: layer.created });
        if is_own {
            progress.layers.extend(made);
        } else {
            progress.layers = made.collect();
        }
        progress.stands_on(ready.key.chain);
        self.cached(step.id);
        self.lenders.used();
        self.keep(at, ready.key.clone(), Vec::new(), &progress.layers);
        Ok(true)
    }

    /// The layers of a step, or of one with `--link` at least its own, that a cache of BuildKit's has.
    fn find(&self, stage: usize, named: &Named) -> Option<Found> {
        let root = self.root_config(stage).map_or(&[][..], |config| &config.rootfs.diff_ids);
        let (last, parts) = named.split_last()?;
        let ask = |(key, vertex): &(CacheKey, Vertex), root: &[DiffId]| {
            let found = self.with.cache.find_vertex(key, vertex, root);
            found.filter(|layers| !layers.is_empty())
        };
        let own = parts.first().and_then(|own| ask(own, &[]));
        ask(last, root).map(Found::All).or_else(|| own.map(Found::Own))
    }

    /// What BuildKit calls a step, told once and remembered. Files of other stages are named by their content only if
    /// those are at hand.
    pub(super) fn name(
        &self,
        stage: usize,
        position: usize,
        key: &StepKey,
        files: &[Files<W::Layer>],
    ) -> Result<Named, WorkerError> {
        let known = || self.vertices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(named) = known().get(&(stage, position)) {
            return Ok(named.clone());
        }
        let named = match self.below(stage, position) {
            Some(below) => self.named_on(stage, position, below, key, files)?,
            None => Named::new(),
        };
        known().insert((stage, position), named.clone());
        Ok(named)
    }

    /// Tells the caches of all steps of a stage before a position, so that they know what stands on what.
    fn sight(&self, stage: usize, before: usize) -> Result<(), WorkerError> {
        let lowered = &self.plan.stages[&stage];
        if let StageBase::Stage(base) = lowered.base {
            self.sight(base, usize::MAX)?;
        }
        for position in 0..before.min(lowered.steps.len()) {
            let Some(key) = self.traced(stage, position) else { return Ok(()) };
            if !self.sighted.lock().unwrap_or_else(PoisonError::into_inner).insert(key.chain) {
                continue;
            }
            let named = self.name(stage, position, &key, &[])?;
            self.find(stage, &named);
        }
        Ok(())
    }
}
