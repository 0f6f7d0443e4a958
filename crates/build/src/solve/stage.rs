//! One stage, step by step.
use super::{Files, Made, Solved, Solver, Stop, ground, open};
use crate::key::{self, Parent, StepKey};
use crate::lower::{InputRef, LoweredStage, Step};
use crate::stages::StageBase;
use crate::{
    BuildError, BuildErrorKind, CacheIndex, CacheKey, CacheRecord, CacheResult, Detail, Origin, Selection,
    Worker,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use strata_oci::Digest;

/// A stage on its way: what the next step stands on.
pub(super) struct Progress<L> {
    pub(super) layers: Vec<Made<L>>,
    parent: Parent,
    pub(super) fresh: bool,
    executed: bool,
    /// Files of a context changed while they were read: neither this nor anything on it may be recorded.
    pub(super) tainted: bool,
    /// Earlier records of the stage, read at its first miss.
    pub(super) earlier: Option<Vec<CacheRecord>>,
}

impl<L> Progress<L> {
    /// The next step stands on the one with this key.
    pub(super) fn stands_on(&mut self, key: CacheKey) {
        self.parent = Parent::Step(key);
    }
}

/// A step and where it stands.
#[derive(Clone, Copy)]
pub(super) struct At<'s> {
    pub(super) stage: usize,
    /// In its stage.
    pub(super) position: usize,
    pub(super) step: &'s Step,
}

/// A step with its inputs at hand.
pub(super) struct Ready<L> {
    pub(super) files: Vec<Files<L>>,
    pub(super) key: StepKey,
    /// Of the selections in the key, in their order.
    pub(super) digests: Vec<Digest>,
}

impl<W: Worker, C: CacheIndex> Solver<'_, W, C> {
    /// Solves a stage: the cached steps first, then one by one.
    pub(super) fn stage(&self, index: usize) -> Result<Solved<W::Layer>, Stop> {
        let stage = &self.plan.stages[&index];
        let cached = self.chains[&index].cached();
        let mut progress = self.begin(index, stage)?;
        self.announce(index);
        for (position, step) in stage.steps.iter().enumerate().skip(cached) {
            if self.with.cancel.load(Ordering::SeqCst) {
                return Err(self.fail(step.site.error(BuildErrorKind::Cancelled)));
            }
            progress.fresh |= step.ignore_cache;
            self.step(At { stage: index, position, step }, &mut progress)?;
        }
        let Progress { layers, parent, fresh, executed, tainted, .. } = progress;
        Ok(Solved { layers, end: parent, fresh, executed, tainted })
    }

    fn begin(&self, index: usize, stage: &LoweredStage) -> Result<Progress<W::Layer>, Stop> {
        let chain = &self.chains[&index];
        let progress = |layers, parent| Progress {
            layers,
            parent,
            fresh: false,
            executed: false,
            tainted: false,
            earlier: None,
        };
        if let Some((steps, layers)) = &chain.hit {
            return Ok(progress(layers.clone(), Parent::Step(chain.keys[steps - 1].chain)));
        }
        match stage.base {
            StageBase::Stage(base) => {
                let below = self.demand(base)?;
                let mut progress = progress(below.layers.clone(), below.end.clone());
                (progress.fresh, progress.executed) = (below.fresh, below.executed);
                progress.tainted = below.tainted;
                Ok(progress)
            }
            ref base => {
                let parent = ground(base, self.images).expect("an image or nothing");
                Ok(progress(Vec::new(), parent))
            }
        }
    }

    /// One step: looked up, or run.
    fn step(&self, at: At<'_>, progress: &mut Progress<W::Layer>) -> Result<(), Stop> {
        let At { stage, position, step } = at;
        let probed = self.chains[&stage].keys.get(position).map(|key| key.chain);
        if !progress.fresh {
            let guess = self.guess(step, &progress.parent).map_err(|error| self.fail(error))?;
            // The probe has asked for this very key, and in vain.
            let new = guess.filter(|key| Some(key.chain) != probed || key.own != key.chain);
            if let Some(key) = new
                && self.take(step, key.clone(), progress)?
            {
                self.trace(stage, position, key);
                return Ok(());
            }
        }
        let ready = self.ready(step, &progress.parent)?;
        let alone = step.inputs.iter().all(|input| !matches!(input, InputRef::Stage(_)));
        let asked = alone && Some(ready.key.chain) == probed;
        let key = ready.key.clone();
        if !progress.fresh && !asked && self.take(step, key.clone(), progress)? {
            self.trace(stage, position, key);
            return Ok(());
        }
        if self.take_vertex(at, &ready, progress)? || self.borrow(at, &ready, progress)? {
            self.trace(stage, position, key);
            return Ok(());
        }
        let files = ready.files.clone();
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(flights.entry(ready.key.chain).or_default())
        };
        let chain = key.chain;
        let mut ran = false;
        (progress.layers, progress.tainted) = flight.get(|| {
            ran = true;
            self.execute(at, ready, progress)
        })?;
        if !ran {
            self.cached(step.id);
        }
        if !progress.tainted {
            if self.options.vertices {
                // Now, because the files of other stages are at hand.
                let failed = |error| self.fail(step.site.error(BuildErrorKind::Worker(error)));
                self.name(stage, position, &key, &files).map_err(failed)?;
            }
            self.trace(stage, position, key);
        }
        progress.executed = true;
        progress.parent = Parent::Step(chain);
        Ok(())
    }

    /// The key with what is remembered of other stages' files. What is remembered of a stage that this build solves
    /// anyway may just be becoming wrong.
    fn guess(&self, step: &Step, parent: &Parent) -> Result<Option<StepKey>, BuildError> {
        let trusted = |stage: &usize| self.stages[stage].is_idle() || self.is_cached(*stage);
        let end = |stage| self.chains[&stage].end.clone().filter(|_| trusted(&stage));
        self.prober.remembered(step, parent, &end)
    }

    /// Takes a step from the cache, if it is there.
    fn take(&self, step: &Step, key: StepKey, progress: &mut Progress<W::Layer>) -> Result<bool, Stop> {
        let failed = |error| self.fail(step.site.error(BuildErrorKind::Worker(error)));
        if let Some(layers) = open(self.with, &key.chain).map_err(failed)? {
            progress.layers = layers;
        } else if key.own != key.chain {
            let Some(own) = open(self.with, &key.own).map_err(failed)? else { return Ok(false) };
            progress.layers.extend(own);
        } else {
            return Ok(false);
        }
        progress.parent = Parent::Step(key.chain);
        self.cached(step.id);
        Ok(true)
    }

    /// Solves the stages that a step takes files from, and computes its key from what they really hold.
    fn ready(&self, step: &Step, parent: &Parent) -> Result<Ready<W::Layer>, Stop> {
        let mut files = Vec::new();
        let mut stages = Vec::new();
        for input in &step.inputs {
            let solved = match input {
                InputRef::Stage(stage) => {
                    let solved = self.demand(*stage)?;
                    files.push(Files::Layers(self.stack(*stage, &solved.layers)));
                    Some(solved)
                }
                input => {
                    files.push(Files::of(input, self.images).expect("stages are handled above"));
                    None
                }
            };
            stages.push(solved);
        }
        let mut digests = Vec::new();
        for (index, selection) in key::selections(&step.op) {
            let digest = match &stages[index] {
                Some(solved) => self.measure(step, files[index].origin(), solved, &selection),
                None => self.prober.select(step, &step.inputs[index], &selection),
            };
            digests.push(digest.map_err(|error| self.fail(error))?);
        }
        Ok(Ready { files, key: self.prober.key(step, parent, &digests), digests })
    }

    /// Digest of files of a solved stage, remembered for builds that need not solve it.
    fn measure(
        &self,
        step: &Step,
        origin: Origin<'_, W::Layer>,
        solved: &Solved<W::Layer>,
        selection: &Selection,
    ) -> Result<Digest, BuildError> {
        let selected = self.with.worker.select(origin, selection, Detail::Digest);
        let digest = selected.map_err(|error| step.unreadable(error))?.digest;
        if solved.tainted {
            return Ok(digest);
        }
        let result = CacheResult::Selection(digest);
        let record = CacheRecord { place: None, inputs: Vec::new(), files: Vec::new(), result };
        let written = self.with.cache.record(&key::selection(&solved.end, selection), &record);
        written.map_err(|error| step.site.error(BuildErrorKind::Worker(error)))?;
        Ok(digest)
    }
}
