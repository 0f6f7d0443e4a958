//! Starting a created container and staying with it until it ends: in the foreground, or in its helper.
use crate::network::{Attached, NameFiles, extra_hosts};
use crate::stored::{Stored, StoredEndpoint};
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use strata_layer::mount::Overlay;
use strata_runtime::container::{Container, ExitStatus, Running, StartError, Stdio, Stream};
use strata_runtime::net::{Published, publish};
use strata_runtime::process::ProcessIdentity;
use strata_runtime::spec::{Mount, Network, Rootfs};
use strata_runtime::supervise::{Client, LogLimits, LogWriter, Options, Outcome, supervise};
use strata_store::{ContainerRecord, ContainerState, ProcessId};

/// A container that runs, with everything that must live as long as it does.
pub(super) struct Started {
    running: Running,
    stored: Stored,
    started: Timestamp,
    published: Option<Published>,
    /// The namespace lives in the container's process; this one lets go of it at the end.
    _attached: Option<Attached>,
}

impl Engine {
    /// Starts the container with this process' streams and waits for it; its exit code.
    pub(super) fn start_attached(&self, container: &ContainerRecord) -> Result<i32, EngineError> {
        let started = match self.start(container, ProcessId::current()) {
            Ok(started) => started,
            Err(error) => return Err(self.not_started(container, error)),
        };
        let client = Client::own(started.stored.interactive)?;
        self.supervise(container, started, Some(client))
    }

    /// Starts the process. `watcher` is who will record its end: the helper, or the `run` in the foreground.
    pub(super) fn start(
        &self,
        container: &ContainerRecord,
        watcher: Option<ProcessId>,
    ) -> Result<Started, EngineError> {
        let mut stored = Stored::parse(container)?;
        let attached = match stored.network.as_str() {
            "bridge" => Some(self.attach_to_bridge()?),
            _ => None,
        };
        let mut spec = stored.spec.clone();
        spec.id = container.id.clone();
        if spec.hostname.is_empty() && stored.network != "host" {
            spec.hostname = container.short_id().to_owned();
        }
        set_hostname(&mut spec.env, &spec.hostname);
        spec.network = match (&attached, stored.network.as_str()) {
            (Some(attached), _) => Network::PreparedFd(attached.namespace.as_fd().as_raw_fd()),
            (None, "host") => Network::Host,
            (None, _) => Network::New,
        };
        spec.terminal_size = terminal_size();
        spec.rootfs = Rootfs::Overlay(Overlay {
            lower: self.mount_layers(&container.layers)?,
            upper: container.upper(),
            work: container.work(),
            volatile: stored.remove,
        });
        let files = name_files(&stored, &spec.hostname, attached.as_ref())?;
        let mounted: Vec<_> = spec.mounts.iter().map(|mount| mount.dest().to_owned()).collect();
        for (name, text) in [("hosts", &files.0), ("resolv.conf", &files.1), ("hostname", &files.2)] {
            let path = container.directory.join(name);
            fs_err::write(&path, text)?;
            // What the user mounts there himself wins.
            if !mounted.iter().any(|dest| dest == &Path::new("/etc").join(name)) {
                spec.mounts.push(Mount::bind(path, format!("/etc/{name}"), false));
            }
        }
        let published = match &attached {
            Some(attached) if !stored.publish.is_empty() => {
                let address = attached.endpoint.address();
                let mappings: Vec<_> = stored.publish.iter().map(|spec| spec.to(address)).collect();
                Some(publish(&attached.bridge, &mappings).map_err(EngineError::runtime)?)
            }
            _ => None,
        };
        stored.endpoint = attached.as_ref().map(|attached| endpoint(attached, published.as_ref()));
        let stdin = if stored.interactive { Stream::Pipe } else { Stream::Null };
        let stdio = Stdio { stdin, stdout: Stream::Pipe, stderr: Stream::Pipe };
        let running = Container::start(&spec, stdio).map_err(start_failed)?;
        let started = Timestamp::now();
        let config = stored.to_json();
        let config = (config != container.config).then_some(config.as_str());
        let state = running.identity().map(|process| ContainerState::Running {
            process: process_id(process),
            watcher,
            started,
            paused: false,
        });
        self.store().containers().update(&container.id, config, state.as_ref())?;
        Ok(Started { running, stored, started, published, _attached: attached })
    }

    /// Pumps streams and log until the process has ended; records its end.
    pub(super) fn supervise(
        &self,
        container: &ContainerRecord,
        mut started: Started,
        client: Option<Client>,
    ) -> Result<i32, EngineError> {
        if let Some(published) = &mut started.published {
            published.serve().map_err(EngineError::runtime)?;
        }
        let mut log =
            LogWriter::open(&container.log(), LogLimits::default()).map_err(EngineError::runtime)?;
        let forward_signals = client.is_some();
        // Only a helper has no client.
        let rest = client.is_none();
        let options = Options { client, sinks: vec![&mut log], forward_signals, detach_keys: None, rest };
        let outcome = supervise(&mut started.running, options).map_err(EngineError::runtime);
        let status = match outcome {
            Ok(Outcome::Exited(status)) => status,
            // Without detach keys nobody can type them.
            Ok(Outcome::Detached) => return Ok(0),
            Err(error) => {
                let _ = started.running.kill(strata_runtime::signal::Signal::KILL);
                let ended = started.running.wait().map_err(EngineError::runtime)?;
                self.ended(container, &mut started, &ended)?;
                return Err(error);
            }
        };
        self.ended(container, &mut started, &status)?;
        Ok(status.exit_code())
    }

    fn ended(
        &self,
        container: &ContainerRecord,
        started: &mut Started,
        status: &ExitStatus,
    ) -> Result<(), EngineError> {
        // Ports first: a packet must never go to an address that has no container any more.
        let closed = started.published.take().map_or(Ok(()), Published::close);
        if started.stored.remove {
            self.store().containers().remove_ended(&container.id, true)?;
        } else {
            let state = ContainerState::Exited {
                code: status.exit_code(),
                oom_killed: status.oom_killed,
                error: String::new(),
                started: Some(started.started),
                finished: Timestamp::now(),
            };
            self.store().containers().set_state(&container.id, &state)?;
        }
        closed.map_err(EngineError::runtime)
    }

    /// A container that did not start is removed with `--rm`, and shown by `ps -a` otherwise, as Docker does it.
    pub(super) fn not_started(&self, container: &ContainerRecord, error: EngineError) -> EngineError {
        let remove = Stored::parse(container).is_ok_and(|stored| stored.remove);
        let recorded = if remove {
            self.store().containers().remove(&container.id, true)
        } else {
            let state = ContainerState::Exited {
                code: i32::from(error.exit_code().unwrap_or(128)),
                oom_killed: false,
                error: error.to_string(),
                started: None,
                finished: Timestamp::now(),
            };
            self.store().containers().set_state(&container.id, &state)
        };
        // The first error is the one that matters.
        drop(recorded);
        error
    }
}

/// Docker's words around the runtime's.
fn start_failed(error: StartError) -> EngineError {
    let code = u8::try_from(error.exit_code()).unwrap_or(125);
    let message = match code {
        126 | 127 => format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: \
             unable to start container process: {error}"
        ),
        _ => error.to_string(),
    };
    EngineError::Start { message, code }
}

pub(crate) fn process_id(process: &ProcessIdentity) -> ProcessId {
    ProcessId { pid: process.pid as u32, start_time: process.start_time, boot_id: process.boot_id.clone() }
}

fn set_hostname(env: &mut Vec<String>, hostname: &str) {
    match env.iter().position(|variable| variable == "HOSTNAME=") {
        Some(at) if hostname.is_empty() => drop(env.remove(at)),
        Some(at) => env[at] = format!("HOSTNAME={hostname}"),
        None => {}
    }
}

/// Columns and rows of this process' terminal.
pub(crate) fn terminal_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// `/etc/hosts`, `/etc/resolv.conf` and `/etc/hostname`.
fn name_files(
    stored: &Stored,
    hostname: &str,
    attached: Option<&Attached>,
) -> Result<(String, String, String), EngineError> {
    if stored.network == "host" {
        let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
        return Ok((read("/etc/hosts"), read("/etc/resolv.conf"), read("/etc/hostname")));
    }
    let dns: Vec<IpAddr> = stored
        .dns
        .iter()
        .map(|text| text.parse().map_err(|_| EngineError::Invalid(format!("invalid DNS server {text:?}"))))
        .collect::<Result<_, _>>()?;
    let extra = extra_hosts(&stored.add_hosts, attached.map(|attached| attached.endpoint.gateway()))?;
    let names = [hostname];
    let own = attached.map(|attached| (IpAddr::V4(attached.endpoint.address()), &names[..]));
    let files = NameFiles::new(own, &extra, &dns, true);
    Ok((files.hosts, files.resolv_conf, strata_runtime::net::hostname_file(hostname)))
}

fn endpoint(attached: &Attached, published: Option<&Published>) -> StoredEndpoint {
    let endpoint = &attached.endpoint;
    let mac: Vec<String> = endpoint.mac().iter().map(|byte| format!("{byte:02x}")).collect();
    StoredEndpoint {
        bridge: attached.bridge.name().to_owned(),
        address: endpoint.address().to_string(),
        prefix: endpoint.prefix(),
        gateway: endpoint.gateway().to_string(),
        mac: mac.join(":"),
        bindings: published.map(|published| published.bindings().to_vec()).unwrap_or_default(),
    }
}
