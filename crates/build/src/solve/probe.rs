//! What the cache already knows: keys forward, look-ups backwards, nothing run.
use super::{Bases, Files, Made, ground, open};
use crate::key::{self, Parent, StepKey};
use crate::lower::{InputRef, Plan, Step};
use crate::stages::StageBase;
use crate::{
    BuildError, BuildErrorKind, BuildOptions, Builder, CacheIndex, CacheResult, Detail, Layer, Selection,
    Worker,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use strata_oci::Digest;

/// What is known of a stage before anything runs.
#[derive(Debug)]
pub(super) struct Chain<L> {
    /// Keys of the first steps, as far as they can be known.
    pub(super) keys: Vec<StepKey>,
    /// Key of the whole stage, if all are known and may come from the cache.
    pub(super) end: Option<Parent>,
    /// The most steps that are in the cache, and their layers above the base image.
    pub(super) hit: Option<Hit<L>>,
}

/// How many steps are cached, and their layers.
pub(super) type Hit<L> = (usize, Vec<Made<L>>);

impl<L> Chain<L> {
    /// Steps that need not run.
    pub(super) fn cached(&self) -> usize {
        self.hit.as_ref().map_or(0, |(steps, _)| *steps)
    }
}

/// Computes keys. Contexts are selected once per build, however often they are asked about.
pub(super) struct Prober<'a, W: Worker, C> {
    with: &'a Builder<'a, W, C>,
    options: &'a BuildOptions,
    plan: &'a Plan,
    images: &'a Bases<W::Layer>,
    selected: Mutex<HashMap<(InputRef, Selection), Digest>>,
}

impl<'a, W: Worker, C: CacheIndex> Prober<'a, W, C> {
    pub(super) fn new(
        with: &'a Builder<'a, W, C>,
        options: &'a BuildOptions,
        plan: &'a Plan,
        images: &'a Bases<W::Layer>,
    ) -> Self {
        Self { with, options, plan, images, selected: Mutex::default() }
    }

    /// Fills in what is known of a stage and of those it stands on or copies from.
    pub(super) fn chain(
        &self,
        stage: usize,
        chains: &mut BTreeMap<usize, Chain<W::Layer>>,
    ) -> Result<(), BuildError> {
        if chains.contains_key(&stage) {
            return Ok(());
        }
        let lowered = &self.plan.stages[&stage];
        if let StageBase::Stage(base) = lowered.base {
            self.chain(base, chains)?;
        }
        for input in lowered.steps.iter().flat_map(|step| &step.inputs) {
            if let InputRef::Stage(other) = input {
                self.chain(*other, chains)?;
            }
        }
        let mut end = match lowered.base {
            StageBase::Stage(base) => chains[&base].end.clone(),
            ref base => ground(base, self.images),
        };
        let mut keys = Vec::new();
        for step in &lowered.steps {
            let known = end.filter(|_| !step.ignore_cache);
            let key = match &known {
                Some(parent) => self.remembered(step, parent, &|stage| chains[&stage].end.clone())?,
                None => None,
            };
            end = key.as_ref().map(|key| Parent::Step(key.chain));
            let Some(key) = key else { break };
            keys.push(key);
        }
        let hit = self.longest(lowered, &keys)?;
        chains.insert(stage, Chain { keys, end, hit });
        Ok(())
    }

    /// The last key that the cache knows: its record holds the layers of all steps before it, too.
    fn longest(
        &self,
        stage: &crate::lower::LoweredStage,
        keys: &[StepKey],
    ) -> Result<Option<Hit<W::Layer>>, BuildError> {
        for (index, key) in keys.iter().enumerate().rev() {
            let site = stage.steps[index].site;
            if let Some(layers) =
                open(self.with, &key.chain).map_err(|e| site.error(BuildErrorKind::Worker(e)))?
            {
                return Ok(Some((index + 1, layers)));
            }
        }
        Ok(None)
    }

    /// The key of a step, with files of other stages as an earlier build found them; `None` if none has. `end` gives
    /// the key of a stage.
    pub(super) fn remembered(
        &self,
        step: &Step,
        parent: &Parent,
        end: &dyn Fn(usize) -> Option<Parent>,
    ) -> Result<Option<StepKey>, BuildError> {
        let mut digests = Vec::new();
        for (index, selection) in key::selections(&step.op) {
            let digest = match &step.inputs[index] {
                InputRef::Stage(stage) => match end(*stage) {
                    Some(end) => self.alias(step, &end, &selection)?,
                    None => None,
                },
                input => Some(self.select(step, input, &selection)?),
            };
            let Some(digest) = digest else { return Ok(None) };
            digests.push(digest);
        }
        Ok(Some(self.key(step, parent, &digests)))
    }

    pub(super) fn key(&self, step: &Step, parent: &Parent, digests: &[Digest]) -> StepKey {
        key::step(step, self.options, parent, digests)
    }

    fn alias(&self, step: &Step, of: &Parent, selection: &Selection) -> Result<Option<Digest>, BuildError> {
        let found = self.with.cache.lookup(&key::selection(of, selection));
        let found = found.map_err(|error| step.site.error(BuildErrorKind::Worker(error)))?;
        Ok(found.and_then(|record| match record.result {
            CacheResult::Selection(digest) => Some(digest),
            CacheResult::Layers(_) => None,
        }))
    }

    /// Digest of files that are there without any stage being solved.
    pub(super) fn select(
        &self,
        step: &Step,
        input: &InputRef,
        selection: &Selection,
    ) -> Result<Digest, BuildError> {
        let memo = (input.clone(), selection.clone());
        let known = self.selected.lock().unwrap_or_else(PoisonError::into_inner).get(&memo).copied();
        if let Some(digest) = known {
            return Ok(digest);
        }
        let files = Files::of(input, self.images).expect("only stages have no files yet");
        let selected = self.with.worker.select(files.origin(), selection, Detail::Digest);
        let digest = selected.map_err(|error| step.unreadable(error))?.digest;
        self.selected.lock().unwrap_or_else(PoisonError::into_inner).insert(memo, digest);
        Ok(digest)
    }
}

/// Stages that will have to be solved whatever happens: they can start at once.
pub(super) fn needed<L: Layer>(
    plan: &Plan,
    chains: &BTreeMap<usize, Chain<L>>,
    stage: usize,
    out: &mut BTreeSet<usize>,
) {
    let (lowered, chain) = (&plan.stages[&stage], &chains[&stage]);
    let cached = chain.cached();
    if cached == lowered.steps.len() && cached > 0 || !out.insert(stage) {
        return;
    }
    if let (StageBase::Stage(base), 0) = (&lowered.base, cached) {
        needed(plan, chains, *base, out);
    }
    // A step whose key is known may still turn out to need nothing.
    for input in lowered.steps.iter().skip(chain.keys.len()).flat_map(|step| &step.inputs) {
        if let InputRef::Stage(other) = input {
            needed(plan, chains, *other, out);
        }
    }
}
