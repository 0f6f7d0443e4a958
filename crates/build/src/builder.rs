//! The entry: one build from options to image.
use crate::buildkit::Vertex;
use crate::check::check;
use crate::lower::{self, Plan};
use crate::scope::{self, Globals};
use crate::stages::{self, Bases};
use crate::{
    BuildError, BuildErrorKind, BuildOptions, CacheImage, CacheIndex, CacheKey, CachedLayer, CommittedLayer,
    Event, EventSink, Forecast, Input, Place, StepId, Worker, WorkerError, solve,
};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use strata_dockerfile::Dockerfile;
use strata_oci::{ImageConfig, Raw};

/// What a build works with. Borrowed for one build; holds no state of its own.
pub struct Builder<'a, W: Worker, C> {
    /// Does real things.
    pub worker: &'a W,
    /// Keeps records.
    pub cache: &'a C,
    /// Images that may have results of steps which the cache does not have.
    pub cache_images: &'a [CacheImage<W::Layer>],
    /// Is told what happens.
    pub events: &'a dyn EventSink,
    /// Says when a layer was made. `SOURCE_DATE_EPOCH` wins over it.
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// Set from outside to stop the build.
    pub cancel: &'a AtomicBool,
}

/// A finished image: all layers are in the store.
#[derive(Debug)]
pub struct Built<L> {
    /// The config; its digest is the image ID.
    pub config: Raw<ImageConfig>,
    /// The layers, bottom first, those of the base included.
    pub layers: Vec<CommittedLayer>,
    /// Their handles.
    pub handles: Vec<L>,
    /// Those above the base image, with the times they were made at: what the steps of the image gave, in their order.
    pub made: Vec<CachedLayer>,
    /// How many of the layers are those of the base image.
    pub base_layers: usize,
    /// The time that `SOURCE_DATE_EPOCH` gave everything new.
    pub epoch: Option<Timestamp>,
    /// Every step of every stage that was looked at, as far as its key is known; stages in the order in which they need
    /// each other.
    pub steps: Vec<KnownStep<L>>,
}

/// A step whose key is known, whether it was run, found, or made unnecessary by one that was found.
#[derive(Clone, Debug)]
pub struct KnownStep<L> {
    /// Stands for all the layers up to the step's.
    pub key: CacheKey,
    /// With `--link`: stands for the step's own layer.
    pub own: Option<CacheKey>,
    /// Key of the step below, unless that is an image or nothing.
    pub below: Option<CacheKey>,
    /// Which step it is.
    pub place: Place,
    /// What went into the key.
    pub inputs: Vec<Input>,
    /// Of the files that it takes from other stages: keys of their content's digests.
    pub selections: Vec<CacheKey>,
    /// The layers of the image that its stage stands on.
    pub root: Vec<L>,
    /// Ids of the cache mounts of a RUN.
    pub cache_mounts: Vec<String>,
    /// Which of the image's own layers ([`Built::made`]) it made, if one of them.
    pub in_image: Option<usize>,
    /// What BuildKit calls the parts of the step, each by a key of ours; the step itself is the last.
    pub vertices: Vec<(CacheKey, Vertex)>,
}

impl<W: Worker, C: CacheIndex> Builder<'_, W, C> {
    /// Builds the target. Independent stages run side by side on threads of this call.
    ///
    /// On failure [`Builder::cancel`] is set, so that a worker stops what else is running.
    pub fn build(
        &self,
        dockerfile: &Dockerfile,
        options: &BuildOptions,
    ) -> Result<Built<W::Layer>, BuildError> {
        let (plan, images) = self.plan(dockerfile, options)?;
        let announced = Mutex::default();
        loop {
            let built = solve::solve(self, options, &plan, &images, &announced).and_then(|built| {
                let finished = self.worker.finish(&built.handles);
                finished.map(|()| built).map_err(|error| BuildError {
                    kind: match error {
                        WorkerError::Cancelled => BuildErrorKind::Cancelled,
                        error => BuildErrorKind::Worker(error),
                    },
                    spans: Vec::new(),
                })
            });
            match built {
                // Once more without what was lost. What was run meanwhile is in the cache.
                Err(error) if error.is_lost() && !self.cancel.load(Ordering::SeqCst) => {}
                built => return built,
            }
        }
    }

    /// Says what [`build`](Self::build) would do with every step that makes a layer, running and recording nothing.
    /// Events tell the plan and its warnings.
    pub fn dry_run(
        &self,
        dockerfile: &Dockerfile,
        options: &BuildOptions,
    ) -> Result<BTreeMap<StepId, Forecast>, BuildError> {
        let (plan, images) = self.plan(dockerfile, options)?;
        solve::forecast(self, options, &plan, &images)
    }

    fn plan(
        &self,
        dockerfile: &Dockerfile,
        options: &BuildOptions,
    ) -> Result<(Plan, Bases<W::Layer>), BuildError> {
        let globals = Globals::settled(dockerfile, options)?;
        let graph = stages::discover(self.worker, dockerfile, options, &globals)?;
        let plan = lower::lower(dockerfile, options, &globals, &graph)?;
        let findings = check(dockerfile, options, &graph)?;
        self.events.event(Event::Planned(&plan.infos));
        for finding in &findings {
            self.events.event(Event::Lint(finding));
        }
        for (message, span) in &plan.warnings {
            self.events.event(Event::Warning { message, span: Some(*span) });
        }
        if let Some(message) = scope::unconsumed(options, &plan.declared) {
            self.events.event(Event::Warning { message: &message, span: None });
        }
        Ok((plan, graph.images))
    }
}
