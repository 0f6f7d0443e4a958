//! `run`: image config and flags become a container (`design.md`, section 8).

mod debug;
mod helper;
mod plan;
mod start;
mod volumes;

pub use debug::DebugRequest;
pub use helper::helper_main;
pub(crate) use plan::{check_memory, set};
pub(crate) use start::terminal_size;

use crate::{Engine, EngineError};
use std::path::PathBuf;
use strata_oci::{DiffId, ImageId, Platform, Reference, RuntimeConfig};
use strata_store::{ContainerRecord, NewContainer, StoreError};

/// What is asked of `run`.
#[derive(Clone, Debug, Default)]
pub struct RunRequest {
    /// Image name or ID.
    pub image: String,
    /// `--platform`: what the image must be made for.
    pub platform: Option<Platform>,
    /// Command, replacing the image's CMD; empty keeps it.
    pub command: Vec<String>,
    /// `--entrypoint`: `Some("")` clears the image's.
    pub entrypoint: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// `-d`.
    pub detach: bool,
    /// `--rm`.
    pub remove: bool,
    /// `-i`.
    pub interactive: bool,
    /// `-t`.
    pub tty: bool,
    /// `-e` and `--env-file`, in order: `K=V`; a bare `K` has been looked up by the caller.
    pub env: Vec<String>,
    /// `-w`.
    pub workdir: Option<String>,
    /// `-u`.
    pub user: Option<String>,
    /// `--group-add`.
    pub groups: Vec<String>,
    /// `-h`.
    pub hostname: Option<String>,
    /// `-l`.
    pub labels: Vec<(String, String)>,
    /// `-v` and `--mount`.
    pub mounts: Vec<MountRequest>,
    /// `--tmpfs`: path and options (`size=64m,mode=1777`).
    pub tmpfs: Vec<(String, String)>,
    /// `-p`, as written.
    pub publish: Vec<String>,
    /// `-P`.
    pub publish_all: bool,
    /// `--network`.
    pub network: NetworkMode,
    /// `--add-host`: name and address.
    pub add_hosts: Vec<(String, String)>,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--read-only`.
    pub read_only: bool,
    /// `--privileged`.
    pub privileged: bool,
    /// `--init`.
    pub init: bool,
    /// `--cap-add`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`.
    pub cap_drop: Vec<String>,
    /// `--security-opt`, as written.
    pub security_opt: Vec<String>,
    /// `-m`, bytes.
    pub memory: Option<u64>,
    /// `--pids-limit`.
    pub pids_limit: Option<i64>,
    /// `--cpus`.
    pub cpus: Option<f64>,
    /// `--shm-size`, bytes.
    pub shm_size: Option<u64>,
    /// `--ulimit`: name, soft, hard.
    pub ulimits: Vec<(String, u64, u64)>,
    /// `--stop-signal`.
    pub stop_signal: Option<String>,
    /// `--stop-timeout`, seconds.
    pub stop_timeout: Option<u32>,
    /// `--cidfile`.
    pub cidfile: Option<PathBuf>,
}

/// `-v` or `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRequest {
    /// What is mounted.
    pub source: MountSource,
    /// Where: absolute.
    pub target: String,
    /// `ro`.
    pub read_only: bool,
    /// `nocopy`: an empty volume is not filled from the image.
    pub no_copy: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A host path; made as a directory if missing when `create` (`-v`), an error otherwise (`--mount`).
    Bind {
        /// Host path, absolute.
        path: PathBuf,
        /// Make it.
        create: bool,
    },
    /// A named volume, made on first use.
    Volume(String),
    /// A new anonymous volume.
    Anonymous,
    /// Memory: options as `--tmpfs` takes them.
    Tmpfs(String),
}

/// `--network`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The default bridge.
    #[default]
    Bridge,
    /// The host's own network.
    Host,
    /// Loopback only.
    None,
}

/// How `run` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunOutcome {
    /// Detached: the container's ID.
    Started(String),
    /// In the foreground: the container's exit code.
    Exited(u8),
}

/// What a container begins with.
struct MadeFrom<'a> {
    image: Option<ImageId>,
    config: &'a RuntimeConfig,
    /// Bottom first.
    layers: Vec<DiffId>,
}

/// Whether `--ulimit` knows a limit of this name.
pub fn is_ulimit(name: &str) -> bool {
    strata_runtime::spec::Rlimit::is_name(name)
}

impl Engine {
    /// Creates and starts a container. In the foreground the calling process' standard streams are the
    /// container's until it ends. `notify` gets warnings.
    pub fn run(&self, request: &RunRequest, notify: &mut dyn FnMut(&str)) -> Result<RunOutcome, EngineError> {
        crate::open::need_root("running a container")?;
        let container = self.create_container(request, notify)?;
        if let Some(path) = &request.cidfile {
            fs_err::write(path, &container.id)?;
        }
        if request.detach {
            helper::start_detached(self, &container)?;
            return Ok(RunOutcome::Started(container.id));
        }
        let code = self.start_attached(&container)?;
        Ok(RunOutcome::Exited(u8::try_from(code).unwrap_or(255)))
    }

    /// The image by name or ID; `run` does not fetch yet what is not here.
    fn local_image(&self, name: &str) -> Result<ImageId, EngineError> {
        match self.store().images().resolve(name) {
            Ok(id) => Ok(id),
            Err(StoreError::NoSuchImage(_)) => {
                let full = name.parse::<Reference>().map(|reference| reference.familiar());
                Err(self.not_local(&full.unwrap_or_else(|_| name.to_owned())))
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Everything that can go wrong without a process goes wrong here. The record exists before anything starts.
    fn create_container(
        &self,
        request: &RunRequest,
        notify: &mut dyn FnMut(&str),
    ) -> Result<ContainerRecord, EngineError> {
        let id = self.local_image(&request.image)?;
        let config = self.store().images().config(&id)?;
        unfit(&config.value().platform, request)?.iter().for_each(|warning| notify(warning));
        let layers = config.value().rootfs.diff_ids.clone();
        let from = MadeFrom { image: Some(id), config: &config.value().config, layers };
        self.create_from(request, &from, notify)
    }

    fn create_from(
        &self,
        request: &RunRequest,
        from: &MadeFrom<'_>,
        notify: &mut dyn FnMut(&str),
    ) -> Result<ContainerRecord, EngineError> {
        let mut plan = plan::plan(from.config, request)?;
        plan.stored.image = request.image.clone();
        plan.stored.image_id = from.image.map(|id| id.to_string()).unwrap_or_default();
        let mounts = self.prepare_mounts(request, from.config, &from.layers)?;
        plan.stored.spec.mounts.extend(mounts.mounts);
        plan.stored.mounts = mounts.shown;
        let new = NewContainer {
            name: request.name.clone(),
            image: from.image,
            layers: from.layers.clone(),
            config: plan.stored.to_json(),
            volumes: mounts.volumes,
        };
        let container = self.store().containers().create(new)?;
        plan.warnings.iter().for_each(|warning| notify(warning));
        Ok(container)
    }
}

/// The image is made for another platform than was asked for: an error; than this machine: a warning, as its program
/// may be a script, or the kernel may know an emulator.
fn unfit(image: &Platform, request: &RunRequest) -> Result<Option<String>, EngineError> {
    let host = Platform::host();
    match &request.platform {
        Some(wanted) if wanted.suits(image).is_none() => Err(EngineError::Invalid(format!(
            "image with reference {} was found but does not match the specified platform: wanted {wanted}, actual: {image}",
            request.image
        ))),
        None if !image.os.is_empty() && host.suits(image).is_none() => Ok(Some(format!(
            "The requested image's platform ({image}) does not match the detected host platform ({host}) and no specific platform was requested"
        ))),
        _ => Ok(None),
    }
}
