//! RUN: a container on the parents' layers, whose writable directory becomes the step's layer.
use super::layer::{LayerHandle, Outcome, Place};
use super::ssh::StepSocket;
use super::worker::{EngineWorker, diff_ids};
use crate::network::{Attached, NameFiles, extra_hosts};
use crate::{Engine, EngineError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::Permissions;
use std::io::Read;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use strata_build::{
    CommittedLayer, ExecError, ExecOp, Layer as _, Network as BuildNetwork, Origin, Security, Stream,
    WorkerError,
};
use strata_layer::mount::Overlay;
use strata_oci::{DiffId, Digest};
use strata_runtime::container::{Container, Running, StartError, Stdio};
use strata_runtime::signal::Signal;
use strata_runtime::spec::{ContainerSpec, Mount, Network, Rlimit, Rootfs};
use strata_store::{Ingest, Lease};

/// BuildKit's host name of build containers.
const HOSTNAME: &str = "buildkitsandbox";
/// How often a running step looks whether the build was cancelled.
const CANCEL_TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

impl EngineWorker<'_> {
    /// Runs the process and hands its directory over; packing goes on behind the caller's back.
    pub(super) fn run_process(
        &self,
        parents: &[LayerHandle],
        inputs: &[Origin<'_, LayerHandle>],
        op: &ExecOp,
        output: &(dyn Fn(Stream, &[u8]) + Sync),
    ) -> Result<LayerHandle, ExecError> {
        let mut step = self.prepare_step(parents, inputs, op)?;
        let mut running = Container::start(&step.spec, Stdio::piped(false)).map_err(start_failed)?;
        let status = self.pump(&mut running, output)?;
        step.let_go();
        if self.cancel().load(Ordering::Relaxed) {
            return Err(WorkerError::Cancelled.into());
        }
        if status != 0 {
            return Err(ExecError::Exit(status));
        }
        Ok(self.pack(parents, step.upper, step.scratch))
    }

    /// Everything that a step's container needs, and nothing started yet.
    pub(super) fn prepare_step(
        &self,
        parents: &[LayerHandle],
        inputs: &[Origin<'_, LayerHandle>],
        op: &ExecOp,
    ) -> Result<Prepared, ExecError> {
        crate::open::need_root("RUN").map_err(failed)?;
        if op.network != BuildNetwork::Host {
            crate::open::need_network("RUN with a network of its own").map_err(failed)?;
        }
        let lower = self.lower_directories(parents)?;
        let scratch =
            self.engine().store().layers().begin(self.lease()).map_err(|error| failed(error.into()))?;
        let directory = |name: &str| -> Result<PathBuf, ExecError> {
            let path = scratch.path().join(name);
            fs_err::create_dir(&path).map_err(|error| failed(error.into()))?;
            Ok(path)
        };
        let (upper, work) = (directory("upper")?, directory("work")?);
        let extra = if op.mounts.is_empty() { PathBuf::new() } else { directory("mounts")? };
        // overlayfs shows the upper directory's own mode as that of the root.
        fs_err::set_permissions(&upper, Permissions::from_mode(0o755))
            .map_err(|error| failed(error.into()))?;
        let attached = match op.network {
            BuildNetwork::Default => Some(self.engine().attach_to_bridge().map_err(failed)?),
            BuildNetwork::None | BuildNetwork::Host => None,
        };
        let mut spec = self.container(op, attached.as_ref());
        spec.id =
            scratch.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        spec.rootfs = Rootfs::Overlay(Overlay { lower, upper: upper.clone(), work, volatile: true });
        spec.mounts.extend(self.name_files(op, attached.as_ref()).map_err(failed)?);
        let mounts = self.step_mounts(inputs, op, &extra)?;
        spec.mounts.extend(mounts.mounts.iter().cloned());
        self.devices().give(&op.devices, &mut spec).map_err(|error| failed(error.into()))?;
        Ok(Prepared { spec, upper, scratch, held: Some((mounts, attached)) })
    }

    /// Directories of the layers below, bottom first. What this build ran is its own directory, packed or not: nothing
    /// need be mounted for it. A layer of the store is mounted, which needs the names of all below it.
    fn lower_directories(&self, parents: &[LayerHandle]) -> Result<Vec<PathBuf>, ExecError> {
        let is_stored = |layer: &LayerHandle| matches!(layer.place(), Place::Store);
        let named = parents.iter().rposition(is_stored).map_or(0, |last| last + 1);
        let names = diff_ids(&parents[..named])?;
        let mounted = self
            .engine()
            .mount_layers_where(&names, &|position| is_stored(&parents[position]))
            .map_err(failed)?;
        let mut mounted = mounted.into_iter();
        let directory = |layer: &LayerHandle| match layer.place() {
            Place::Store => mounted.next().expect("one directory for every layer of the store"),
            Place::Directory(path) => path.to_owned(),
        };
        Ok(parents.iter().map(directory).collect())
    }

    fn container(&self, op: &ExecOp, attached: Option<&Attached>) -> ContainerSpec {
        let request = self.request();
        let defaults = ContainerSpec::default();
        let rlimit = |(name, soft, hard): &(String, u64, u64)| Rlimit {
            name: name.clone(),
            soft: *soft,
            hard: *hard,
            explicit: true,
        };
        ContainerSpec {
            args: op.argv.clone(),
            env: self.environment(op),
            cwd: PathBuf::from(&op.cwd),
            user: op.user.clone(),
            hostname: hostname(op).to_owned(),
            network: match (op.network, attached) {
                (BuildNetwork::Host, _) => Network::Host,
                (_, Some(attached)) => Network::PreparedFd(attached.namespace.as_fd().as_raw_fd()),
                (_, None) => Network::New,
            },
            privileged: op.security == Security::Insecure,
            rlimits: request.ulimits.iter().map(rlimit).collect(),
            shm_size: request.shm_size.unwrap_or(defaults.shm_size),
            limits: request.limits.of_container(),
            cleanup_stubs: true,
            dies_with_starter: true,
            ..defaults
        }
    }

    /// Proxy variables give way to the environment, and secrets win over it.
    fn environment(&self, op: &ExecOp) -> Vec<String> {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut set = |name: &str, value: &str| match all.iter_mut().find(|(have, _)| have == name) {
            Some((_, old)) => *old = value.to_owned(),
            None => all.push((name.to_owned(), value.to_owned())),
        };
        op.proxy.iter().chain(&op.env).for_each(|(name, value)| set(name, value));
        for wanted in &op.secret_env {
            let secret = self.request().secrets.iter().find(|secret| secret.id == wanted.id);
            let value = secret.and_then(|secret| secret.read().ok()).unwrap_or_default();
            set(&wanted.name, &String::from_utf8_lossy(&value));
        }
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// `/etc/hosts` and `/etc/resolv.conf`; read-only, as BuildKit has them, so that steps share them.
    fn name_files(&self, op: &ExecOp, attached: Option<&Attached>) -> Result<Vec<Mount>, EngineError> {
        let gateway = attached.map(|attached| attached.endpoint.gateway());
        let extra = extra_hosts(&self.request().add_hosts, gateway)?;
        let files = NameFiles {
            hosts: hosts(hostname(op), &extra),
            ..NameFiles::new(None, &extra, &[], op.network != BuildNetwork::Host)
        };
        let mut written = self.name_file_sets().lock().unwrap_or_else(PoisonError::into_inner);
        let known = written.iter().position(|(have, _)| *have == files);
        let at = match known {
            Some(at) => at,
            None => {
                let place = self.engine().store().layers().begin(self.lease())?;
                fs_err::write(place.path().join("hosts"), &files.hosts)?;
                fs_err::write(place.path().join("resolv.conf"), &files.resolv_conf)?;
                written.push((files, place));
                written.len() - 1
            }
        };
        let directory = written[at].1.path();
        let mount = |name: &str| Mount::bind(directory.join(name), format!("/etc/{name}"), true);
        Ok(vec![mount("hosts"), mount("resolv.conf")])
    }

    /// Reads both streams until they are closed and the process has ended, whichever comes last: a process may close its
    /// streams and go on. Kills it when the build is cancelled.
    fn pump(&self, running: &mut Running, output: &(dyn Fn(Stream, &[u8]) + Sync)) -> Result<i32, ExecError> {
        let streams = std::mem::take(&mut running.streams);
        let mut open: Vec<(Stream, std::fs::File)> = Vec::new();
        open.extend(streams.stdout.map(|fd| (Stream::Stdout, std::fs::File::from(fd))));
        open.extend(streams.stderr.map(|fd| (Stream::Stderr, std::fs::File::from(fd))));
        let mut buffer = vec![0; 64 << 10];
        let mut runs = true;
        while runs || !open.is_empty() {
            let pidfd = running.pidfd();
            let process = runs.then(|| PollFd::new(&pidfd, PollFlags::IN));
            let streams = open.iter().map(|(_, file)| PollFd::new(file, PollFlags::IN));
            let mut polled: Vec<PollFd<'_>> = streams.chain(process).collect();
            match poll(&mut polled, Some(&CANCEL_TICK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(std::io::Error::from(error).into())),
            }
            if self.cancel().load(Ordering::Relaxed) {
                // It may have ended on its own meanwhile.
                let _ = running.kill(Signal::KILL);
            }
            let ready: Vec<bool> = polled.iter().map(|fd| !fd.revents().is_empty()).collect();
            runs = runs && ready.last() != Some(&true);
            let mut ready = ready.into_iter();
            open.retain_mut(|(stream, file)| match ready.next() {
                Some(true) => match file.read(&mut buffer) {
                    Ok(0) | Err(_) => false,
                    Ok(length) => {
                        output(*stream, &buffer[..length]);
                        true
                    }
                },
                _ => true,
            });
        }
        let status = running.wait().map_err(|error| failed(EngineError::runtime(error)))?;
        Ok(status.exit_code())
    }

    /// Packs `upper` on a thread of its own.
    fn pack(&self, parents: &[LayerHandle], upper: PathBuf, scratch: Ingest) -> LayerHandle {
        let outcome = Arc::new(Outcome::default());
        let handle = LayerHandle::packing(upper.clone(), scratch, Arc::clone(&outcome));
        let (layers, lease) = (self.engine().store().layers().clone(), self.lease().clone());
        let parents = parents.to_vec();
        // The handle keeps the directory alive until the thread has read it.
        let keep = handle.clone();
        self.packs(std::thread::spawn(move || {
            outcome.set(pack(&layers, &lease, &upper, &parents));
            // Nobody needs what stands beside the directory any more; what stays goes with it.
            for beside in ["work", "mounts"] {
                let _ = fs_err::remove_dir_all(upper.with_file_name(beside));
            }
            drop((keep, parents));
        }));
        handle
    }
}

/// A step about to run.
pub(super) struct Prepared {
    pub(super) spec: ContainerSpec,
    upper: PathBuf,
    scratch: Ingest,
    /// Locks, secrets and the network: until the process has ended.
    held: Option<(StepMounts, Option<Attached>)>,
}

impl Prepared {
    /// The process has ended.
    fn let_go(&mut self) {
        self.held = None;
    }
}

fn pack(
    layers: &strata_store::Layers,
    lease: &Lease,
    upper: &Path,
    parents: &[LayerHandle],
) -> Result<CommittedLayer, EngineError> {
    let staged = layers.begin(lease)?;
    let mut file = staged.tar_file()?;
    let (info, contents) = strata_layer::pack(upper, &mut file)
        .map_err(|error| EngineError::layer("cannot pack the layer", error))?;
    let below = parents
        .iter()
        .map(|layer| layer.committed().map(|layer| layer.diff_id))
        .collect::<Result<Vec<DiffId>, WorkerError>>()
        .map_err(EngineError::runtime)?;
    let record = staged.commit(info, &contents, &below)?;
    Ok(CommittedLayer { diff_id: record.diff_id, size: record.content_size })
}

fn hostname(op: &ExecOp) -> &str {
    if op.hostname.is_empty() { HOSTNAME } else { &op.hostname }
}

/// BuildKit's `/etc/hosts` of a step.
fn hosts(hostname: &str, extra: &[(String, IpAddr)]) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

/// An error of the engine in the solver's words.
pub(super) fn failed(error: EngineError) -> ExecError {
    ExecError::Worker(super::cache::failed(error))
}

/// A program that is not there is an exit code in a build, as it is in a shell.
fn start_failed(error: StartError) -> ExecError {
    ExecError::Start(format!("{error}"))
}

/// What a step's mounts need as long as it runs.
#[derive(Default)]
pub(super) struct StepMounts {
    pub(super) mounts: Vec<Mount>,
    /// Caches that are held, by identity, with their directories.
    pub(super) caches: Vec<(Digest, PathBuf)>,
    /// Locks of cache mounts.
    pub(super) _held: Vec<OwnedFd>,
    /// Sockets of agents.
    pub(super) _sockets: Vec<StepSocket>,
    /// Secrets, in memory; removed when the step ends.
    pub(super) _secrets: Option<SecretFiles>,
}

/// A directory of secrets in the run directory, which is in memory on every ordinary system.
pub(super) struct SecretFiles(pub(super) PathBuf);

impl Drop for SecretFiles {
    fn drop(&mut self) {
        // The sweep of the run directory takes what cannot be removed now.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

impl Engine {
    /// Where cache mounts live.
    pub(super) fn cache_mounts(&self) -> PathBuf {
        self.store().root().join("mounts")
    }
}
