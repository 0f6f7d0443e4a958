//! Brings the target's layers about: from the cache where its keys are known, by the worker where not.
//!
//! First the *probe* (`probe.rs`), alone and cheap: keys forward along every needed stage, look-ups backwards, so that
//! a stage whose last step is known costs one look-up and nothing below it is asked for. Then *stages* are solved on
//! threads of their own (`stage.rs`), each step in turn. A stage that another one copies from is solved once,
//! by whoever demands it first. Records are written behind the steps' backs (`record.rs`), when layers have their
//! DiffIds.
mod assemble;
mod borrow;
mod forecast;
mod lend;
mod named;
mod permits;
mod probe;
mod record;
mod run;
mod stage;
mod trace;
mod vertex;

use crate::key::{Parent, StepKey};
use crate::lower::{InputRef, Plan};
use crate::stages::{Bases, StageBase};
use crate::{
    BuildError, BuildErrorKind, BuildOptions, Builder, Built, CacheIndex, CacheKey, CacheResult, CachedLayer,
    Event, Layer, Origin, StepId, Worker, WorkerError,
};
pub(crate) use forecast::forecast;
use jiff::Timestamp;
use permits::{Once, Permits};
use probe::{Chain, Prober};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// A layer above the base image and when it was made.
#[derive(Clone, Debug)]
struct Made<L> {
    handle: L,
    created: Timestamp,
}

/// What a step gave: all layers up to its own, and whether they are tainted (see [`Solved::tainted`]).
type Outcome<L> = (Vec<Made<L>>, bool);

/// A step being run, for all stages that have the same one.
type Flight<L> = Arc<Once<Outcome<L>>>;

/// The build failed or was stopped; the reason is kept by [`Solver::fail`].
#[derive(Clone, Copy, Debug)]
struct Stop;

/// A stage's result.
#[derive(Debug)]
struct Solved<L> {
    /// Above the base image, bottom first.
    layers: Vec<Made<L>>,
    /// Key of the whole.
    end: Parent,
    /// Something here was not allowed to come from the cache, so nothing on it may.
    fresh: bool,
    /// Something here was run in this build: what is remembered of the files of the stage may be wrong.
    executed: bool,
    /// Something here was made of files that were changing: what its keys say of its content is wrong.
    tainted: bool,
}

/// One build being solved.
struct Solver<'a, W: Worker, C> {
    with: &'a Builder<'a, W, C>,
    options: &'a BuildOptions,
    plan: &'a Plan,
    images: &'a Bases<W::Layer>,
    chains: BTreeMap<usize, Chain<W::Layer>>,
    prober: Prober<'a, W, C>,
    stages: BTreeMap<usize, Once<Arc<Solved<W::Layer>>>>,
    /// Steps by key, so that two stages with the same step run it once.
    flights: Mutex<HashMap<CacheKey, Flight<W::Layer>>>,
    permits: Permits,
    recorder: record::Recorder<W::Layer>,
    /// Keys of steps that were run or found after others had been run, by stage and position.
    traced: Mutex<BTreeMap<(usize, usize), StepKey>>,
    lenders: borrow::Lenders,
    /// What BuildKit calls steps, by stage and position.
    vertices: Mutex<BTreeMap<(usize, usize), vertex::Named>>,
    /// Steps that BuildKit's caches have been told of.
    sighted: Mutex<BTreeSet<CacheKey>>,
    /// Steps told of as cached.
    announced: &'a Announced,
    failure: Mutex<Option<BuildError>>,
}

/// Steps that were told of as cached, by this attempt or an earlier one.
pub(crate) type Announced = Mutex<BTreeSet<StepId>>;

/// Solves a plan and assembles the image.
pub(crate) fn solve<W: Worker, C: CacheIndex>(
    with: &Builder<'_, W, C>,
    options: &BuildOptions,
    plan: &Plan,
    images: &Bases<W::Layer>,
    announced: &Announced,
) -> Result<Built<W::Layer>, BuildError> {
    let prober = Prober::new(with, options, plan, images);
    let mut chains = BTreeMap::new();
    prober.chain(plan.target, &mut chains)?;
    let mut eager = BTreeSet::new();
    probe::needed(plan, &chains, plan.target, &mut eager);
    let (recorder, records) = mpsc::channel();
    let solver = Solver {
        with,
        options,
        plan,
        images,
        chains,
        prober,
        stages: plan.stages.keys().map(|stage| (*stage, Once::default())).collect(),
        flights: Mutex::default(),
        permits: Permits::new(options.jobs),
        recorder: record::Recorder::new(recorder),
        traced: Mutex::default(),
        lenders: borrow::Lenders::new(with.cache_images.len()),
        vertices: Mutex::default(),
        sighted: Mutex::default(),
        announced,
        failure: Mutex::default(),
    };
    let solved = std::thread::scope(|scope| {
        let solver = &solver;
        let writer = scope.spawn(move || record::write(solver.with, records, &|error| solver.fail(error)));
        let closing = solver.recorder.closing();
        let others: Vec<_> = eager.iter().filter(|stage| **stage != plan.target).collect();
        let threads: Vec<_> = others.into_iter().map(|stage| scope.spawn(|| solver.demand(*stage))).collect();
        let solved = solver.demand(plan.target);
        for thread in threads {
            // A stage that failed has said so in `failure`; a panic goes on in this thread.
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
        drop(closing);
        writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        solved
    });
    solver.tell_lenders();
    let failure = solver.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (failure, solved) {
        (None, Ok(solved)) => solver.assemble(&solved),
        (Some(error), _) => Err(error),
        (None, Err(Stop)) => Err(BuildError { kind: BuildErrorKind::Cancelled, spans: Vec::new() }),
    }
}

impl<'a, W: Worker, C: CacheIndex> Solver<'a, W, C> {
    /// The result of a stage, which is solved now if nobody has begun to.
    fn demand(&self, stage: usize) -> Result<Arc<Solved<W::Layer>>, Stop> {
        self.stages[&stage].get(|| self.stage(stage).map(Arc::new))
    }

    /// Keeps the first error and stops everything else; not for something that the build can do without: what other stages
    /// do meanwhile is not lost.
    fn fail(&self, error: BuildError) -> Stop {
        let is_lost = error.is_lost();
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.as_ref().is_none_or(|first| first.is_lost() && !is_lost) {
            *failure = Some(error);
        }
        if !is_lost {
            self.with.cancel.store(true, Ordering::SeqCst);
        }
        Stop
    }

    fn event(&self, event: Event<'_>) {
        self.with.events.event(event);
    }

    /// Tells once of a step that need not run.
    fn cached(&self, id: StepId) {
        if self.announced.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            self.event(Event::Cached(id));
        }
    }

    fn is_cached(&self, stage: usize) -> bool {
        self.chains[&stage].end.is_some()
            && self.chains[&stage].cached() == self.plan.stages[&stage].steps.len()
    }

    /// Tells of the cached steps of a stage, after those of the stages that they made unnecessary.
    fn announce(&self, stage: usize) {
        let lowered = &self.plan.stages[&stage];
        let cached = &lowered.steps[..self.chains[&stage].cached()];
        let below = match lowered.base {
            StageBase::Stage(base) if !cached.is_empty() => Some(base),
            _ => None,
        };
        let sources = cached.iter().flat_map(|step| &step.inputs).filter_map(|input| match input {
            InputRef::Stage(stage) => Some(*stage),
            _ => None,
        });
        below
            .into_iter()
            .chain(sources)
            .filter(|stage| self.is_cached(*stage))
            .for_each(|s| self.announce(s));
        if matches!(lowered.base, StageBase::Image(_)) {
            self.cached(lowered.from);
        }
        cached.iter().for_each(|step| self.cached(step.id));
    }

    /// Config of the image at the bottom of a stage.
    fn root_config(&self, stage: usize) -> Option<&'a strata_oci::ImageConfig> {
        let root = self.plan.stages[&stage].image.root.as_ref()?;
        Some(self.images[root].config.value())
    }

    /// Layers of the image at the bottom of a stage.
    fn root(&self, stage: usize) -> &'a [W::Layer] {
        let root = self.plan.stages[&stage].image.root.as_ref();
        root.map_or(&[], |key| &self.images[key].layers)
    }

    /// A stage's result as a stack of layers.
    fn stack(&self, stage: usize, layers: &[Made<W::Layer>]) -> Vec<W::Layer> {
        self.root(stage).iter().cloned().chain(layers.iter().map(|made| made.handle.clone())).collect()
    }
}

/// Where an input's files come from, the layers being at hand.
#[derive(Clone, Debug)]
enum Files<L> {
    Context,
    Named(String),
    Layers(Vec<L>),
}

impl<L> Files<L> {
    fn origin(&self) -> Origin<'_, L> {
        match self {
            Self::Context => Origin::Context,
            Self::Named(name) => Origin::Named(name),
            Self::Layers(layers) => Origin::Layers(layers),
        }
    }

    /// For everything but stages, which must be solved first.
    fn of(input: &InputRef, images: &Bases<L>) -> Option<Self>
    where
        L: Layer,
    {
        Some(match input {
            InputRef::Nothing => Self::Layers(Vec::new()),
            InputRef::Context => Self::Context,
            InputRef::Named(name) => Self::Named(name.clone()),
            InputRef::Image(key) => Self::Layers(images[key].layers.clone()),
            InputRef::Stage(_) => return None,
        })
    }
}

/// Records whose layers are all still there, as handles.
fn open<W: Worker, C: CacheIndex>(
    with: &Builder<'_, W, C>,
    key: &CacheKey,
) -> Result<Option<Vec<Made<W::Layer>>>, WorkerError> {
    let Some(record) = with.cache.lookup(key)? else { return Ok(None) };
    let CacheResult::Layers(layers) = record.result else { return Ok(None) };
    let Some(handles) = with.worker.open(&layers)? else { return Ok(None) };
    let made = |(handle, CachedLayer { created, .. })| Made { handle, created };
    Ok(Some(handles.into_iter().zip(layers).map(made).collect()))
}

/// The parent of a stage's first step, for stages that stand on an image or on nothing.
fn ground<L>(base: &StageBase, images: &Bases<L>) -> Option<Parent> {
    match base {
        StageBase::Scratch => Some(crate::key::scratch()),
        StageBase::Image(key) => Some(Parent::Base(images[key].image_id.to_string())),
        StageBase::Stage(_) => None,
    }
}
