//! Image config and flags merged: a pure function.
use super::{NetworkMode, RunRequest};
use crate::EngineError;
use crate::stored::{Asked, Stored};
use std::path::PathBuf;
use strata_oci::RuntimeConfig;
use strata_runtime::capability::{Capability, CapabilitySet};
use strata_runtime::net::{Protocol, PublishSpec, parse_publish};
use strata_runtime::signal::Signal;
use strata_runtime::spec::{ContainerSpec, Limits, Mount, Rlimit, Seccomp};

/// PATH of an image that sets none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Docker's least memory limit.
const LEAST_MEMORY: u64 = 6 << 20;

/// What will be stored, and what the user should know.
pub(super) struct Plan {
    pub(super) stored: Stored,
    pub(super) warnings: Vec<String>,
}

/// Merges. Everything about the request that cannot work is refused here.
pub(super) fn plan(image: &RuntimeConfig, request: &RunRequest) -> Result<Plan, EngineError> {
    let (entrypoint, command) = command(image, request);
    let args: Vec<String> = entrypoint.iter().flatten().chain(command.iter().flatten()).cloned().collect();
    if args.is_empty() {
        return Err(EngineError::Invalid("no command specified".to_owned()));
    }
    let cwd = working_directory(image, request)?;
    let (seccomp, no_new_privileges) = security(request)?;
    let stop_signal = request.stop_signal.clone().or_else(|| image.stop_signal.clone());
    if let Some(signal) = &stop_signal {
        signal.parse::<Signal>().map_err(|error| EngineError::Invalid(error.to_string()))?;
    }
    let mut labels = image.labels.clone();
    labels.extend(request.labels.iter().cloned());
    let spec = ContainerSpec {
        read_only: request.read_only,
        args,
        env: environment(image, request),
        cwd,
        user: request.user.clone().unwrap_or_else(|| image.user.clone()),
        extra_groups: request.groups.clone(),
        hostname: request.hostname.clone().unwrap_or_default(),
        terminal: request.tty,
        mounts: tmpfs(request)?,
        capabilities: capabilities(request)?,
        seccomp,
        no_new_privileges,
        privileged: request.privileged,
        init: request.init,
        rlimits: request
            .ulimits
            .iter()
            .map(|(name, soft, hard)| Rlimit { name: name.clone(), soft: *soft, hard: *hard, explicit: true })
            .collect(),
        shm_size: request.shm_size.unwrap_or(64 << 20),
        limits: limits(request)?,
        ..ContainerSpec::default()
    };
    let mut warnings = Vec::new();
    let publish = publish(image, request, &mut warnings)?;
    let stored = Stored {
        spec,
        labels,
        network: network_name(&request.network).to_owned(),
        publish,
        exposed: image.exposed_ports.keys().cloned().collect(),
        add_hosts: request.add_hosts.clone(),
        dns: request.dns.clone(),
        asked: Asked {
            cap_add: request.cap_add.clone(),
            cap_drop: request.cap_drop.clone(),
            security_opt: request.security_opt.clone(),
            tmpfs: request.tmpfs.iter().cloned().collect(),
            publish_all: request.publish_all,
            cidfile: request.cidfile.as_ref().map_or_else(String::new, |path| path.display().to_string()),
        },
        entrypoint,
        command,
        stop_signal,
        stop_timeout: request.stop_timeout,
        remove: request.remove,
        interactive: request.interactive,
        ..Stored::default()
    };
    Ok(Plan { stored, warnings })
}

fn network_name(mode: &NetworkMode) -> &'static str {
    match mode {
        NetworkMode::Bridge => "bridge",
        NetworkMode::Host => "host",
        NetworkMode::None => "none",
    }
}

/// A new entry point takes the image's command away with the image's entry point.
fn command(image: &RuntimeConfig, request: &RunRequest) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let given = (!request.command.is_empty()).then(|| request.command.clone());
    match request.entrypoint.as_deref() {
        None => (image.entrypoint.clone(), given.or_else(|| image.cmd.clone())),
        Some("") => (None, given),
        Some(program) => (Some(vec![program.to_owned()]), given),
    }
}

fn working_directory(image: &RuntimeConfig, request: &RunRequest) -> Result<PathBuf, EngineError> {
    match request.workdir.as_deref() {
        Some(path) if !path.starts_with('/') => Err(EngineError::Invalid(format!(
            "the working directory '{path}' is invalid, it needs to be an absolute path"
        ))),
        Some(path) => Ok(path.into()),
        None if image.working_dir.is_empty() => Ok("/".into()),
        None => Ok(PathBuf::from("/").join(&image.working_dir)),
    }
}

/// Docker's order: PATH, TERM, the image's, the user's. HOSTNAME is added when the name is known.
fn environment(image: &RuntimeConfig, request: &RunRequest) -> Vec<String> {
    let mut all: Vec<String> = vec![DEFAULT_PATH.to_owned(), "HOSTNAME=".to_owned()];
    if request.tty {
        all.push("TERM=xterm".to_owned());
    }
    for variable in image.env.iter().chain(&request.env) {
        set(&mut all, variable);
    }
    all
}

/// Sets `NAME=value`, in the place of an older value.
pub(crate) fn set(all: &mut Vec<String>, variable: &str) {
    let name = variable.split('=').next().unwrap_or_default();
    match all.iter_mut().find(|have| have.split('=').next() == Some(name)) {
        Some(old) => *old = variable.to_owned(),
        None => all.push(variable.to_owned()),
    }
}

fn security(request: &RunRequest) -> Result<(Seccomp, bool), EngineError> {
    let (mut seccomp, mut no_new_privileges) = (Seccomp::Default, false);
    for option in &request.security_opt {
        let (key, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (key, value) {
            ("no-new-privileges", "" | "true") => no_new_privileges = true,
            ("no-new-privileges", "false") => no_new_privileges = false,
            ("seccomp", "unconfined") => seccomp = Seccomp::Unconfined,
            ("seccomp", "builtin") => seccomp = Seccomp::Default,
            // No AppArmor profile and no SELinux label is ever set here.
            ("apparmor", "unconfined") | ("label", "disable") => {}
            _ => {
                return Err(EngineError::Invalid(format!(
                    "invalid --security-opt: {option:?}: use no-new-privileges, seccomp=unconfined or seccomp=builtin"
                )));
            }
        }
    }
    Ok((seccomp, no_new_privileges))
}

fn capabilities(request: &RunRequest) -> Result<CapabilitySet, EngineError> {
    let parse = |field: &str, text: &String| {
        text.parse::<Capability>().map_err(|_| {
            EngineError::Invalid(format!(
                "invalid {field}: unknown capability: \"CAP_{}\"",
                text.to_uppercase()
            ))
        })
    };
    let is_all = |text: &String| text.eq_ignore_ascii_case("all");
    let mut set = match (request.cap_add.iter().any(is_all), request.cap_drop.iter().any(is_all)) {
        (true, _) => CapabilitySet::ALL,
        (false, true) => CapabilitySet::EMPTY,
        (false, false) => CapabilitySet::DOCKER_DEFAULT,
    };
    for name in request.cap_add.iter().filter(|text| !is_all(text)) {
        set = set.with(parse("CapAdd", name)?);
    }
    for name in request.cap_drop.iter().filter(|text| !is_all(text)) {
        set = set.without(parse("CapDrop", name)?);
    }
    Ok(set)
}

/// A container needs some memory to start.
pub(crate) fn check_memory(limit: Option<u64>) -> Result<(), EngineError> {
    if limit.is_some_and(|bytes| bytes != 0 && bytes < LEAST_MEMORY) {
        return Err(EngineError::Invalid("Minimum memory limit allowed is 6MB".to_owned()));
    }
    Ok(())
}

fn limits(request: &RunRequest) -> Result<Limits, EngineError> {
    check_memory(request.memory)?;
    let there = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count());
    if request.cpus.is_some_and(|cpus| cpus < 0.0 || cpus > f64::from(there)) {
        return Err(EngineError::Invalid(format!(
            "range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available"
        )));
    }
    Ok(Limits {
        memory: request.memory.filter(|bytes| *bytes != 0),
        pids: request.pids_limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit != 0),
        cpus: request.cpus.filter(|cpus| *cpus > 0.0),
        ..Limits::default()
    })
}

fn tmpfs(request: &RunRequest) -> Result<Vec<Mount>, EngineError> {
    request.tmpfs.iter().map(|(path, options)| tmpfs_mount(path, options)).collect()
}

/// `size=64m,mode=1777,ro,exec`.
pub(super) fn tmpfs_mount(path: &str, options: &str) -> Result<Mount, EngineError> {
    let bad = |option: &str| EngineError::Invalid(format!("invalid tmpfs option {option:?} for {path}"));
    if !path.starts_with('/') {
        return Err(EngineError::Invalid(format!(
            "invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    let (mut size, mut mode, mut read_only, mut no_exec) = (None, None, false, true);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => {
                let bytes =
                    strata_dockerfile::ram_in_bytes(value).and_then(|bytes| u64::try_from(bytes).ok());
                size = Some(bytes.ok_or_else(|| bad(option))?);
            }
            Some(("mode", value)) => mode = Some(u32::from_str_radix(value, 8).map_err(|_| bad(option))?),
            Some(_) => return Err(bad(option)),
            None => match option {
                "ro" => read_only = true,
                "exec" => no_exec = false,
                "noexec" | "rw" | "nosuid" | "nodev" => {}
                _ => return Err(bad(option)),
            },
        }
    }
    Ok(Mount::Tmpfs { dest: path.into(), size, mode, read_only, no_exec })
}

/// `-p`, and with `-P` every exposed port that `-p` does not name.
fn publish(
    image: &RuntimeConfig,
    request: &RunRequest,
    warnings: &mut Vec<String>,
) -> Result<Vec<PublishSpec>, EngineError> {
    let mut all = Vec::new();
    for text in &request.publish {
        all.extend(parse_publish(text).map_err(|error| EngineError::Invalid(error.to_string()))?);
    }
    if request.publish_all {
        for port in image.exposed_ports.keys() {
            let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => continue,
            };
            let Ok(number) = number.parse() else { continue };
            if !all
                .iter()
                .any(|spec: &PublishSpec| spec.container_port == number && spec.protocol == protocol)
            {
                all.push(PublishSpec::ephemeral(number, protocol));
            }
        }
    }
    if !all.is_empty() && request.network != NetworkMode::Bridge {
        warnings.push(format!(
            "Published ports are discarded when using {} network mode",
            network_name(&request.network)
        ));
        all.clear();
    }
    Ok(all)
}
