//! `--dry-run`: what a build would do, and why.
use super::context::Contexts;
use super::shared::Shared;
use super::worker::EngineWorker;
use super::{BuildRequest, Dockerfile, EventSink, StepId, cache};
use crate::{Engine, EngineError};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use strata_build::{Builder, Forecast};

impl Engine {
    /// Looks up every step of a build. Runs, records and names nothing; what was hashed of the context is kept.
    pub fn dry_run(
        &self,
        request: &BuildRequest,
        dockerfile: &Dockerfile,
        events: &dyn EventSink,
        cancel: &AtomicBool,
    ) -> Result<BTreeMap<StepId, Forecast>, EngineError> {
        let lease = self.store().leases().acquire()?;
        let contexts = Contexts::open(self, request)?;
        let shared = Shared::import(self, request, events);
        let cache = cache::StoreCache::new(self.store(), &shared);
        let worker = EngineWorker::new(self, request, &contexts, lease.clone(), &cache, events, cancel);
        let clock = || super::now();
        let builder =
            Builder { worker: &worker, cache: &cache, cache_images: &[], events, clock: &clock, cancel };
        let options = super::options(request, &contexts, dockerfile, &worker)?;
        let forecasts = builder.dry_run(dockerfile, &options);
        contexts.save();
        Ok(forecasts?)
    }
}
