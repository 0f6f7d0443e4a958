//! `build`: reads the context and the Dockerfile, lets the `build` crate plan and decide, does what it asks for,
//! stores the image and names it. The name is given last: it is the commit point.

mod cache;
mod changes;
mod context;
mod exec;
mod files;
mod layer;
mod mounts;
mod secrets;
mod worker;

pub(crate) use changes::apply_changes;
pub use context::{ContextError, ContextSource};
pub use secrets::{Secret, SecretSource};
pub use strata_build::{
    BuildOptions, Event, EventSink, NamedContext, Network, NoCache, Reason, StepId, StepInfo, Stream,
};
pub use strata_dockerfile::{Dockerfile, Span, position};

use crate::{Engine, EngineError};
use context::Contexts;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use strata_build::{Builder, Input};
use strata_oci::{ImageId, Reference};
use worker::EngineWorker;

/// What is asked of `build`.
#[derive(Debug)]
pub struct BuildRequest {
    /// The main context.
    pub context: ContextSource,
    /// Path of the Dockerfile inside the context, for its own `.dockerignore`; `None` when it is not in there.
    pub dockerfile_path: Option<PathBuf>,
    /// `--build-context` directories.
    pub contexts: BTreeMap<String, PathBuf>,
    /// Names for the result.
    pub tags: Vec<Reference>,
    /// What the plan depends on.
    pub options: BuildOptions,
    /// `--secret`.
    pub secrets: Vec<Secret>,
    /// `--add-host`: name and address.
    pub add_hosts: Vec<(String, String)>,
    /// `--shm-size`, bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`: name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
}

/// What came out of a build.
#[derive(Clone, Debug)]
pub struct BuildReport {
    /// The image.
    pub id: ImageId,
    /// Names it got.
    pub tags: Vec<Reference>,
}

/// Parses a Dockerfile.
pub fn parse(text: &str) -> Result<Dockerfile, EngineError> {
    Ok(strata_dockerfile::parse(text)?)
}

impl Engine {
    /// Builds an image. Events go to `events` from several threads; `cancel` stops the build from outside.
    pub fn build(
        &self,
        request: &BuildRequest,
        dockerfile: &Dockerfile,
        events: &dyn EventSink,
        cancel: &AtomicBool,
    ) -> Result<BuildReport, EngineError> {
        let lease = self.store().leases().acquire()?;
        let contexts = Contexts::open(self, request)?;
        let worker = EngineWorker::new(self, request, &contexts, lease.clone(), cancel);
        let cache = cache::StoreCache::new(self.store());
        let builder =
            Builder { worker: &worker, cache: &cache, events, clock: &|| crate::build::now(), cancel };
        let options = BuildOptions {
            ignore: contexts.ignore().cloned(),
            run_inputs: run_inputs(request),
            ..request.options.clone()
        };
        let outcome = builder.build(dockerfile, &options);
        // What was hashed is worth keeping even when a later step failed.
        contexts.save();
        let built = outcome?;
        let id = self.store().images().publish(&built.config, &request.tags)?;
        Ok(BuildReport { id, tags: request.tags.clone() })
    }
}

impl Engine {
    /// Bytes of the context after `.dockerignore`; `None` when it cannot be read (the build will say why).
    pub fn context_size(&self, request: &BuildRequest) -> Option<u64> {
        let contexts = Contexts::open(self, request).ok()?;
        let entries = contexts.main().walk(b"", None).ok()?;
        Some(entries.iter().filter(|(_, entry)| entry.is_file()).map(|(_, entry)| entry.metadata.size).sum())
    }
}

/// What decides the result of a RUN beside its operation: limits, and which names `--add-host` made known (where they
/// lead is not asked, `spec/build.md` 4.1).
fn run_inputs(request: &BuildRequest) -> Vec<Input> {
    let limits = request.ulimits.iter().map(|(name, soft, hard)| Input {
        name: format!("ulimit {name}"),
        value: format!("{soft}:{hard}"),
    });
    let hosts = request.add_hosts.iter();
    let hosts = hosts.map(|(name, _)| Input { name: format!("host {name}"), value: String::new() });
    let mut inputs: Vec<Input> = limits.chain(hosts).collect();
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    inputs
}

/// The clock of builds: microseconds, so that every reader of the config can represent it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
