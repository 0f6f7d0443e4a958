//! `build`: reads the context and the Dockerfile, lets the `build` crate plan and decide, does what it asks for,
//! stores the image and names it. The name is given last: it is the commit point.

mod bases;
mod cache;
mod cache_images;
mod cache_lock;
mod cache_mounts;
mod changes;
mod check;
mod content_digest;
mod context;
mod dry_run;
mod exec;
mod export;
mod failed;
mod files;
mod layer;
mod limits;
mod mounts;
mod remote;
mod reshape;
mod run_inputs;
mod secrets;
mod shared;
mod ssh;
mod tar_context;
mod worker;

pub use cache_mounts::CacheMount;
pub(crate) use changes::apply_changes;
pub use check::{CheckReport, Finding};
pub use context::{ContextError, ContextSource, Contexts};
pub(crate) use export::nameless_file;
pub(crate) use failed::{LastingMount, LastingSource};
pub use limits::StepLimits;
pub use remote::{Remote, RemoteContext, RemoteError, Surroundings, is_remote};
pub use secrets::{Secret, SecretSource};
pub use ssh::{SshForward, SshSource};
pub use strata_build::{
    BuildError, BuildOptions, Cause, DeviceGrant, Entitlement, Event, EventSink, FetchState, Fetching,
    Forecast, NamedContext, Network, NoCache, Reason, StepId, StepInfo, Stream,
};
pub use strata_cache::{Destination as CacheDestination, Source as CacheSource};
pub use strata_dockerfile::outline::{self, Outline, Target};
pub use strata_dockerfile::{Dockerfile, Span, position};
pub use strata_http::Proxies;
pub use tar_context::{TarContext, is_archive};

use crate::archive::LayoutImage;
use crate::{Engine, EngineError};
use jiff::Timestamp;
use shared::{Known, Shared};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use strata_build::Builder;
use strata_dockerfile::Command;
use strata_oci::{ImageConfig, ImageId, Platform, Raw, Reference};
use strata_store::{Lease, NamedManifest};
use worker::EngineWorker;

/// Name of the main context, for `SOURCE_DATE_EPOCH`.
const MAIN_CONTEXT: &str = "context";

/// What is asked of `build`.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The main context.
    pub context: ContextSource,
    /// Path of the Dockerfile inside the context, for its own `.dockerignore`; `None` when it is not in there.
    pub dockerfile_path: Option<PathBuf>,
    /// `--build-context` files.
    pub contexts: BTreeMap<String, ContextSource>,
    /// `--build-context` images of OCI layouts: known to the build by their IDs.
    pub layout_images: Vec<LayoutImage>,
    /// Whether the result becomes an image in the store. Otherwise only its layers are kept, as build cache.
    pub keep_image: bool,
    /// `--pull`: names of base images are looked up on their registries, also those that are here.
    pub pull: bool,
    /// Names for the result.
    pub tags: Vec<Reference>,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// Names of which the manifest has other annotations.
    pub annotated: BTreeMap<Reference, BTreeMap<String, String>>,
    /// What the plan depends on.
    pub options: BuildOptions,
    /// `--secret`.
    pub secrets: Vec<Secret>,
    /// How the network is reached for ADD, and the agents of `--ssh`.
    pub surroundings: Surroundings,
    /// `--add-host`: name and address.
    pub add_hosts: Vec<(String, String)>,
    /// `--shm-size`, bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`: name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// `--memory` and its like.
    pub limits: StepLimits,
    /// Where CDI files are, for `RUN --device`.
    pub device_directories: Vec<PathBuf>,
    /// What is done to the result.
    pub shape: Shape,
    /// Whether the result's layers are wanted here, besides in an image of the store: for a directory, an archive.
    pub needs_layers: bool,
    /// `--cache-from`: caches of other machines.
    pub cache_from: Vec<CacheSource>,
    /// `--cache-to`: where this build's cache goes to, by [`Engine::export_cache`].
    pub cache_to: Vec<CacheDestination>,
}

impl BuildRequest {
    /// What a name of the image stands for, or the image without one.
    fn manifest(&self, name: Option<&Reference>) -> NamedManifest {
        let annotations = name.and_then(|name| self.annotated.get(name)).unwrap_or(&self.annotations);
        NamedManifest::Annotated(annotations.clone())
    }
}

/// What is done to the layers of a finished build. The layers of the base image stay what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// `--squash`: all that is new becomes one layer.
    pub squash: bool,
    /// `rewrite-timestamp=true`: no file of the kept image that is new is younger than `SOURCE_DATE_EPOCH`.
    pub clamp_times: bool,
}

/// What came out of a build.
#[derive(Clone, Debug)]
pub struct BuildReport {
    /// The image.
    pub id: ImageId,
    /// Names it got.
    pub tags: Vec<Reference>,
    /// Whether it is an image in the store.
    pub kept: bool,
    /// Its config.
    pub config: Raw<ImageConfig>,
    /// The time that `SOURCE_DATE_EPOCH` gave everything new.
    pub epoch: Option<Timestamp>,
    /// The image with the times of its files as the steps made them.
    built: reshape::Image,
    /// What it was built for.
    platform: Platform,
    /// What an export of its cache speaks of.
    known: Arc<Known>,
    /// Keeps its layers while somebody looks at the report.
    lease: Lease,
}

/// Parses a Dockerfile.
pub fn parse(text: &str) -> Result<Dockerfile, EngineError> {
    Ok(strata_dockerfile::parse(text)?)
}

impl Engine {
    /// Opens the directories that a build reads.
    pub fn open_contexts(&self, request: &BuildRequest) -> Result<Contexts, EngineError> {
        Contexts::open(self, request)
    }

    /// Builds an image from the contexts of the request. Events go to `events` from several threads; `cancel` stops the
    /// build from outside.
    pub fn build(
        &self,
        request: &BuildRequest,
        contexts: &Contexts,
        dockerfile: &Dockerfile,
        events: &dyn EventSink,
        cancel: &AtomicBool,
    ) -> Result<BuildReport, EngineError> {
        self.build_or_debug(request, contexts, dockerfile, events, cancel, None)
    }

    /// Like [`Self::build`]. When a RUN has failed and everything else has stopped, `on_error` is told of it, and then a
    /// shell with all that the step had is opened on this process' terminal.
    pub fn build_or_debug(
        &self,
        request: &BuildRequest,
        contexts: &Contexts,
        dockerfile: &Dockerfile,
        events: &dyn EventSink,
        cancel: &AtomicBool,
        on_error: Option<&dyn Fn(&BuildError)>,
    ) -> Result<BuildReport, EngineError> {
        let lease = self.store().leases().acquire()?;
        let shared = Arc::new(Shared::import(self, request, events));
        let watching = shared::Watching::new(events);
        let events = &watching;
        let cache = cache::StoreCache::new(self.store(), &shared);
        let worker = EngineWorker::new(self, request, contexts, lease.clone(), &cache, events, cancel);
        let options = options(request, contexts, dockerfile, &worker)?;
        warn_of_faults(dockerfile, &worker);
        let cache_images = worker.cache_images();
        let clock = || crate::build::now();
        let builder = Builder {
            worker: &worker,
            cache: &cache,
            cache_images: &cache_images,
            events,
            clock: &clock,
            cancel,
        };
        let outcome = builder.build(dockerfile, &options);
        // What was hashed is worth keeping even when a later step failed.
        contexts.save();
        let outcome = outcome.map_err(|error| worker.explain_failure(error, on_error))?;
        shared.tell_unused(&watching);
        let known = Known::of(&worker, &outcome, &shared);
        let kept = cache.settle(&request.options.scope, &known.keys());
        kept.map_err(|error| EngineError::Cache(error.into()))?;
        let epoch = outcome.epoch;
        let made = outcome.made.clone();
        let mut built = reshape::Image::from(outcome);
        if request.shape.squash {
            built = self.squash(&built, &lease)?;
        }
        if shared::inline::wanted(request) {
            let platform = request.options.platform.to_string();
            let inside = known.inside(&built.config, &made, &platform, &cache);
            built.config = inside.map_err(|error| EngineError::Cache(error.into()))?;
        }
        let config = built.config.clone();
        let id = ImageId::new(*config.digest());
        let (known, platform) = (Arc::new(known), request.options.platform.clone());
        let plain =
            BuildReport { id, tags: Vec::new(), kept: false, config, epoch, built, platform, known, lease };
        if !request.keep_image {
            return Ok(plain);
        }
        let report = self.with_times(&plain, request.shape.clamp_times)?;
        let names: Vec<_> =
            request.tags.iter().map(|tag| (tag.clone(), request.manifest(Some(tag)))).collect();
        let id = self.store().images().publish_as(&report.config, &names, &request.manifest(None))?;
        Ok(BuildReport { id, tags: request.tags.clone(), kept: true, ..report })
    }
}

/// When what the contexts hold was made, as far as that is known.
fn context_times(request: &BuildRequest) -> BTreeMap<String, Timestamp> {
    let main = std::iter::once((MAIN_CONTEXT, &request.context));
    let named = request.contexts.iter().map(|(name, source)| (name.as_str(), source));
    let time = |(name, source): (&str, &ContextSource)| match source {
        ContextSource::Tar(tar) => Some((name.to_owned(), tar.time()?)),
        ContextSource::Directory(_) | ContextSource::Empty => None,
    };
    named.chain(main).filter_map(time).collect()
}

/// What the plan depends on, with what only the engine knows.
fn options(
    request: &BuildRequest,
    contexts: &Contexts,
    dockerfile: &Dockerfile,
    worker: &EngineWorker<'_>,
) -> Result<BuildOptions, EngineError> {
    let mut context_times = context_times(request);
    if let Some((name, source)) = strata_build::epoch_source(dockerfile, &request.options)?
        && let Some(time) = worker.remote().time_of(&source)?
    {
        context_times.insert(name, time);
    }
    Ok(BuildOptions {
        ignore: contexts.ignore().cloned(),
        context_times,
        devices: worker.devices().known(),
        run_inputs: run_inputs::of(request),
        vertices: !request.cache_to.is_empty(),
        ..request.options.clone()
    })
}

/// Files about devices that cannot be read concern only those who want a device.
fn warn_of_faults(dockerfile: &Dockerfile, worker: &EngineWorker<'_>) {
    let mut instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    if instructions.any(|one| matches!(&one.command, Command::Run(run) if !run.devices.is_empty())) {
        worker
            .devices()
            .faults()
            .iter()
            .for_each(|fault| worker.warn(&format!("CDI file left out: {fault}")));
    }
}

/// The clock of builds: microseconds, so that every reader of the config can represent it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
