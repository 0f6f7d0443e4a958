//! A RUN that failed: the state before it, for a shell at once (`--on-error=shell`) or later (`strata debug`).
//!
//! Layers, variables, directory, user and the names of caches are kept, in the build cache like any other result, so that
//! collecting garbage knows of them. What else a step mounts is there in the shell at once, and not later: secrets are
//! written nowhere.
use super::layer::LayerHandle;
use super::worker::{EngineWorker, diff_ids};
use crate::{Engine, EngineError};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::PoisonError;
use strata_build::{BuildError, BuildErrorKind, ExecError, ExecOp, Mount, MountKind, Network, Origin};
use strata_oci::{DiffId, Digest};
use strata_runtime::container::{Container, Stdio};
use strata_runtime::supervise::{Client, Options, Outcome, supervise};

/// What the records of failed steps are filed under in the build cache.
const SLOT: &str = "state before a failed step";
/// Digits of an ID that are shown.
const SHORT: usize = 12;
/// Records looked through for one that was not named in full.
const ENOUGH: usize = 1000;
/// Variable that holds the command of the step.
const COMMAND: &str = "STRATA_STEP";

/// What a shell in the state before a step needs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FailedStep {
    /// Bottom first.
    pub(crate) layers: Vec<DiffId>,
    pub(crate) argv: Vec<String>,
    /// `NAME=value`, without those of secrets.
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) user: String,
    /// `default`, `host` or `none`.
    pub(crate) network: String,
    /// Targets of the step's mounts that are gone: files of contexts and stages, secrets, agents.
    pub(crate) mounts: Vec<String>,
    /// Mounts that are there later, too.
    #[serde(default)]
    pub(crate) lasting: Vec<LastingMount>,
}

/// A mount of a step that can be made again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LastingMount {
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) source: LastingSource,
}

/// What is mounted again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum LastingSource {
    /// A cache: its directory.
    Cache(PathBuf),
    /// An empty directory in memory, with this limit in bytes.
    Tmpfs(Option<u64>),
}

impl FailedStep {
    fn new(op: &ExecOp, layers: Vec<DiffId>, lasting: Vec<LastingMount>) -> Self {
        let network = match op.network {
            Network::Default => "default",
            Network::Host => "host",
            Network::None => "none",
        };
        let mut env: Vec<String> = op.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        env.push(format!("{COMMAND}={}", script(op)));
        Self {
            layers,
            argv: op.argv.clone(),
            env,
            cwd: op.cwd.clone(),
            user: op.user.clone(),
            network: network.to_owned(),
            mounts: op
                .mounts
                .iter()
                .map(|mount| mount.target.clone())
                .filter(|target| lasting.iter().all(|lasting| lasting.target != *target))
                .collect(),
            lasting,
        }
    }

    /// The shell of the step's shell form; `/bin/sh` where there was none.
    pub(crate) fn shell(&self) -> String {
        shell(&self.argv)
    }
}

fn shell(argv: &[String]) -> String {
    let is_shell = argv.len() > 1 && argv[0].ends_with("sh") && argv[1].starts_with('-');
    if is_shell { argv[0].clone() } else { "/bin/sh".to_owned() }
}

/// What to type to run the step again: `eval "$STRATA_STEP"`.
fn script(op: &ExecOp) -> String {
    match &op.argv[..] {
        [shell, flag, script] if shell.ends_with("sh") && flag.starts_with('-') => script.clone(),
        argv => {
            let quoted = |word: &String| match word
                .contains(|c: char| !c.is_ascii_alphanumeric() && !"-_./=:".contains(c))
            {
                true => format!("'{}'", word.replace('\'', "'\\''")),
                false => word.clone(),
            };
            argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
        }
    }
}

/// A failed step with all that it stood on and mounted, as long as the worker lives.
pub(super) struct Broken {
    parents: Vec<LayerHandle>,
    inputs: Vec<Input>,
    op: ExecOp,
}

/// An [`Origin`] that owns its layers.
enum Input {
    Context,
    Named(String),
    Layers(Vec<LayerHandle>),
}

impl Input {
    fn of(origin: &Origin<'_, LayerHandle>) -> Self {
        match origin {
            Origin::Context => Self::Context,
            Origin::Named(name) => Self::Named((*name).to_owned()),
            Origin::Layers(layers) => Self::Layers(layers.to_vec()),
        }
    }

    fn origin(&self) -> Origin<'_, LayerHandle> {
        match self {
            Self::Context => Origin::Context,
            Self::Named(name) => Origin::Named(name),
            Self::Layers(layers) => Origin::Layers(layers),
        }
    }
}

impl EngineWorker<'_> {
    /// Keeps the first step whose process failed; what failed because of it is of no interest.
    pub(super) fn note_failure(
        &self,
        parents: &[LayerHandle],
        inputs: &[Origin<'_, LayerHandle>],
        op: &ExecOp,
        error: &ExecError,
    ) {
        if !matches!(error, ExecError::Exit(_) | ExecError::Start(_)) {
            return;
        }
        let mut broken = self.broken().lock().unwrap_or_else(PoisonError::into_inner);
        broken.get_or_insert_with(|| Broken {
            parents: parents.to_vec(),
            inputs: inputs.iter().map(Input::of).collect(),
            op: op.clone(),
        });
    }

    /// Turns the error of a build into one that says how to get to the state before the failed step. With `on_error` a
    /// shell is opened there first.
    pub(super) fn explain_failure(
        &self,
        error: BuildError,
        on_error: Option<&(dyn Fn(&BuildError) + '_)>,
    ) -> EngineError {
        let broken = self.broken().lock().unwrap_or_else(PoisonError::into_inner).take();
        let (Some(broken), BuildErrorKind::Process { .. }) = (broken, &error.kind) else {
            return error.into();
        };
        // Whatever goes wrong from here on, the step's own failure is what the user must hear of.
        let state = self.keep(&broken).ok();
        self.settle();
        if let Some(prepare) = on_error {
            prepare(&error);
            if let Err(why) = self.open_shell(&broken) {
                self.warn(&format!("no shell could be opened: {why}"));
            }
        }
        EngineError::Step { source: Box::new(error), state }
    }

    /// Records the state in the build cache; its ID.
    fn keep(&self, broken: &Broken) -> Result<String, EngineError> {
        let layers = diff_ids(&broken.parents).map_err(EngineError::runtime)?;
        let step = FailedStep::new(&broken.op, layers, self.lasting_mounts(broken));
        let value = serde_json::to_string(&step).map_err(EngineError::runtime)?;
        let id = Digest::of(value.as_bytes());
        self.engine().store().cache().put(id.as_bytes(), SLOT, &value, &step.layers)?;
        Ok(id.hex()[..SHORT].to_owned())
    }

    /// Caches as a whole, and memory.
    fn lasting_mounts(&self, broken: &Broken) -> Vec<LastingMount> {
        let source = |mount: &Mount| match &mount.kind {
            MountKind::Tmpfs { size } => Some(LastingSource::Tmpfs(*size)),
            MountKind::Cache { id, seed, path, mode, uid, gid, .. } if path == "/" => {
                let seed =
                    seed.as_ref().map(|(input, source)| (broken.inputs[*input].origin(), source.as_str()));
                let name = self.cache_identity(id, seed, (*mode, *uid, *gid)).ok()?.hex();
                Some(LastingSource::Cache(self.engine().cache_mounts().join(name).join("data")))
            }
            _ => None,
        };
        let lasting = |mount: &Mount| {
            let (target, read_only) = (mount.target.clone(), mount.read_only);
            Some(LastingMount { target, read_only, source: source(mount)? })
        };
        broken.op.mounts.iter().filter_map(lasting).collect()
    }

    /// A shell with everything that the step had, on this process' terminal, until the user leaves it.
    fn open_shell(&self, broken: &Broken) -> Result<(), EngineError> {
        let mut op = broken.op.clone();
        op.env.push((COMMAND.to_owned(), script(&op)));
        op.env.push(("TERM".to_owned(), "xterm".to_owned()));
        op.argv = vec![shell(&op.argv)];
        let inputs: Vec<_> = broken.inputs.iter().map(Input::origin).collect();
        let mut step = self.prepare_step(&broken.parents, &inputs, &op).map_err(EngineError::runtime)?;
        step.spec.terminal = true;
        step.spec.terminal_size = crate::run::terminal_size();
        let stdio = Stdio::piped(true);
        let mut running = Container::start(&step.spec, stdio).map_err(EngineError::runtime)?;
        let options =
            Options { client: Some(Client::own(true)?), forward_signals: true, ..Options::default() };
        match supervise(&mut running, options).map_err(EngineError::runtime)? {
            Outcome::Exited(_) | Outcome::Detached => Ok(()),
        }
    }
}

impl Engine {
    /// The failed step of which the ID begins like this; without one, that which failed last. Its layers are held by
    /// `lease`.
    pub(crate) fn failed_step(
        &self,
        id: Option<&str>,
        lease: &strata_store::Lease,
    ) -> Result<FailedStep, EngineError> {
        let records = self.store().cache().nearest(SLOT, ENOUGH)?;
        let found = match id {
            None => records.first(),
            Some(id) => records.iter().find(|record| hex::encode(record.key).starts_with(id)),
        };
        let record = found.ok_or_else(|| {
            EngineError::Invalid(match id {
                None => "no build has failed in a RUN yet, or its state was pruned".to_owned(),
                Some(id) => format!("no failed step has the ID {id}, or its state was pruned: build again"),
            })
        })?;
        let step: FailedStep = serde_json::from_str(&record.value).map_err(EngineError::runtime)?;
        if let Some(missing) = lease.hold(&step.layers)?.first() {
            return Err(EngineError::Invalid(format!(
                "layer {missing} of the failed step was pruned: build again"
            )));
        }
        Ok(step)
    }
}
