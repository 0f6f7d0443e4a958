//! `strata debug`: a shell in the state before a build step that failed.
use super::{MadeFrom, MountRequest, MountSource, NetworkMode, RunRequest};
use crate::build::{LastingMount, LastingSource};
use crate::{Engine, EngineError};
use strata_oci::RuntimeConfig;

/// What is asked of `debug`.
#[derive(Clone, Debug, Default)]
pub struct DebugRequest {
    /// Beginning of the ID that the failed build has printed; `None` for the step that failed last.
    pub step: Option<String>,
    /// What to run; empty: the step's shell.
    pub command: Vec<String>,
    /// With a terminal.
    pub tty: bool,
}

impl Engine {
    /// Runs a container on the layers that a failed RUN stood on, with its variables, directory, user and network, and
    /// removes it. Gives its exit code. `notify` gets what is not as it was in the step.
    pub fn debug(&self, request: &DebugRequest, notify: &mut dyn FnMut(&str)) -> Result<u8, EngineError> {
        crate::open::need_root("a shell in a failed step")?;
        let lease = self.store().leases().acquire()?;
        let step = self.failed_step(request.step.as_deref(), &lease)?;
        if !step.mounts.is_empty() {
            notify(&format!(
                "what the step mounted is not here: {}; build --on-error=shell has it",
                step.mounts.join(", ")
            ));
        }
        let mounts = step.lasting.iter().filter_map(|mount| again(mount, notify)).collect();
        let command = match &request.command[..] {
            [] => vec![step.shell()],
            command => command.to_vec(),
        };
        let run = RunRequest {
            image: "<failed step>".to_owned(),
            command,
            remove: true,
            interactive: true,
            tty: request.tty,
            mounts,
            network: match step.network.as_str() {
                "host" => NetworkMode::Host,
                "none" => NetworkMode::None,
                _ => NetworkMode::Bridge,
            },
            ..RunRequest::default()
        };
        let config = RuntimeConfig {
            env: step.env.clone(),
            working_dir: step.cwd.clone(),
            user: step.user.clone(),
            ..RuntimeConfig::default()
        };
        let container =
            self.create_from(&run, &MadeFrom { image: None, config: &config, layers: step.layers }, notify)?;
        drop(lease);
        let code = self.start_attached(&container)?;
        Ok(u8::try_from(code).unwrap_or(255))
    }
}

/// A mount of the step as one of a container; `None`, with a word about it, if its cache was pruned.
fn again(mount: &LastingMount, notify: &mut dyn FnMut(&str)) -> Option<MountRequest> {
    let source = match &mount.source {
        LastingSource::Cache(path) if !path.is_dir() => {
            notify(&format!("the cache that the step mounted at {} was pruned", mount.target));
            return None;
        }
        LastingSource::Cache(path) => MountSource::Bind { path: path.clone(), create: false },
        LastingSource::Tmpfs(None) => MountSource::Tmpfs("exec".to_owned()),
        LastingSource::Tmpfs(Some(size)) => MountSource::Tmpfs(format!("exec,size={size}")),
    };
    Some(MountRequest { source, target: mount.target.clone(), read_only: mount.read_only, no_copy: true })
}
