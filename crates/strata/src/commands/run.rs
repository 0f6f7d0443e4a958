//! `run`.

mod mounts;

use super::arguments::{at_least, has_names, label, parsed};
use super::pull;
use crate::failure::{Failure, Outcome, with_causes};
use crate::global::Global;
use crate::output::emit;
use crate::usage::Invocation;
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use strata_engine::run::{NetworkMode, RunOutcome, RunRequest};
use strata_oci::Platform;

/// Create a container from an image and run a command in it.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub(crate) struct Run {
    /// Run in the background and print the container's ID
    #[arg(short, long)]
    detach: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Set an environment variable; a bare NAME takes the value from here
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// More groups
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// Host name
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,
    /// Label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Bind mount or volume: [SOURCE:]TARGET[:ro]
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// Mount: type=bind|volume|tmpfs,source=...,target=...[,readonly]
    #[arg(long, value_name = "MOUNT")]
    mount: Vec<String>,
    /// Memory file system: PATH[:size=64m,mode=1777]
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Publish a port: [[IP:]HOST_PORT:]PORT[/tcp|udp], ranges as 8000-8010
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Publish all ports the image exposes
    #[arg(short = 'P', long)]
    publish_all: bool,
    /// Network: bridge, host or none
    #[arg(long, visible_alias = "net", default_value = "bridge")]
    network: String,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
    /// DNS server
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// Replace the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// No writing to the root file system
    #[arg(long)]
    read_only: bool,
    /// All capabilities, all devices, no seccomp filter
    #[arg(long)]
    privileged: bool,
    /// Run a small init as process 1 that reaps children and forwards signals
    #[arg(long)]
    init: bool,
    /// Add a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// no-new-privileges[=true], seccomp=unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Memory limit, as 512m
    #[arg(short, long, value_name = "BYTES")]
    memory: Option<String>,
    /// Most processes at once; -1 for no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Processors, as 1.5
    #[arg(long, value_name = "N")]
    cpus: Option<f64>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES")]
    shm_size: Option<String>,
    /// Resource limit: NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
    /// Signal that stops it
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Seconds between the stop signal and KILL
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Write the container's ID to a file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// When to fetch the image: missing, never or always
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: String,
    /// Platform of the image
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Say nothing about the pull
    #[arg(short, long)]
    quiet: bool,
    /// Restart policy: only no
    #[arg(long, value_name = "POLICY", default_value = "no", hide = true)]
    restart: String,
    /// Print the help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
    /// IMAGE [COMMAND] [ARG...]
    #[arg(value_name = "IMAGE [COMMAND] [ARG...]", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Run {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        strata_engine::prepare_process(true)?;
        reject_stray_flag(self.arguments.first())?;
        at_least(&self.arguments, 1)?;
        let policy = self.pull.parse().map_err(|why: String| Failure::run(why, 125))?;
        let quiet = self.quiet;
        let platform = self.platform.as_deref().and_then(|text| text.parse::<Platform>().ok());
        let request = self.request()?;
        let engine = global.engine().map_err(|failure| Failure::run(failure, 125))?;
        if let Err(error) = pull::ensure(&engine, &request.image, policy, platform.as_ref(), quiet) {
            return Err(Failure::run(with_causes(&error), 125));
        }
        let mut notify = |warning: &str| eprintln!("WARNING: {warning}");
        match engine.run(&request, &mut notify) {
            Ok(RunOutcome::Started(id)) => {
                emit(&format!("{id}\n"))?;
                Ok(0)
            }
            Ok(RunOutcome::Exited(code)) => Ok(code),
            Err(error) => Err(Failure::run(with_causes(&error), error.exit_code().unwrap_or(125))),
        }
    }

    fn request(self) -> Result<RunRequest, Failure> {
        let bad = |message: String| Failure::run(message, 125);
        let mut volumes = Vec::new();
        for text in &self.volume {
            volumes.push(mounts::volume(text).map_err(bad)?);
        }
        volumes.extend(parsed("mount", &self.mount, mounts::mount)?);
        let size = |flag: &'static str, text: &Option<String>| {
            parsed(flag, text.as_slice(), bytes).map(|sizes| sizes.first().copied())
        };
        if let Some(path) = self.cidfile.as_ref().filter(|path| path.exists()) {
            let path = path.display();
            return Err(bad(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        self.check_accepted()?;
        has_names("label", &self.label)?;
        Ok(RunRequest {
            image: self.arguments[0].clone(),
            command: self.arguments[1..].to_vec(),
            env: environment(&self.env_file, &self.env)?,
            labels: self.label.iter().map(|text| label(text)).collect(),
            mounts: volumes,
            tmpfs: self.tmpfs.iter().map(|text| mounts::tmpfs(text)).collect(),
            network: network(&self.network).map_err(bad)?,
            add_hosts: parsed("add-host", &self.add_host, host)?,
            memory: size("memory", &self.memory)?,
            shm_size: size("shm-size", &self.shm_size)?,
            ulimits: parsed("ulimit", &self.ulimit, ulimit)?,
            entrypoint: self.entrypoint,
            name: self.name,
            detach: self.detach,
            remove: self.rm,
            interactive: self.interactive,
            tty: self.tty,
            workdir: self.workdir,
            user: self.user,
            groups: self.group_add,
            hostname: self.hostname,
            publish: self.publish,
            publish_all: self.publish_all,
            dns: self.dns,
            read_only: self.read_only,
            privileged: self.privileged,
            init: self.init,
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            security_opt: self.security_opt,
            pids_limit: self.pids_limit,
            cpus: self.cpus,
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout,
            platform: self.platform.as_deref().and_then(|text| text.parse().ok()),
            cidfile: self.cidfile,
        })
    }
}

impl Run {
    /// Flags that are understood, but whose values cannot all be honoured.
    fn check_accepted(&self) -> Result<(), Failure> {
        let bad = |message: String| Err(Failure::run(message, 125));
        let host = Platform::host();
        match self.platform.as_deref().map(str::parse::<Platform>) {
            None => {}
            Some(Err(error)) => return bad(error.to_string()),
            Some(Ok(wanted)) if (&wanted.os, &wanted.architecture) == (&host.os, &host.architecture) => {}
            Some(Ok(wanted)) => {
                return bad(format!("platform {wanted} cannot run here: this machine is {host}"));
            }
        }
        if self.restart != "no" && self.rm {
            return bad("conflicting options: cannot specify both --restart and --rm".to_owned());
        }
        if self.restart != "no" {
            return bad(format!(
                "--restart {}: restart policies are not supported yet: leave it out",
                self.restart
            ));
        }
        if self.interactive && self.tty && !self.detach && !std::io::stdin().is_terminal() {
            return Err(Failure::with_code("the input device is not a TTY", 1));
        }
        Ok(())
    }
}

/// A flag that the parser took for the image's name because it does not know it.
pub(super) fn reject_stray_flag(first: Option<&String>) -> Result<(), Failure> {
    match first {
        Some(flag) if flag.starts_with('-') && flag.len() > 1 => {
            Err(Failure::flag(Invocation::current().unknown_flag(flag, "")))
        }
        _ => Ok(()),
    }
}

/// `--env-file` lines first, then `-e`; a bare name takes the caller's value, and is left out without one.
pub(super) fn environment(files: &[String], variables: &[String]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for path in files {
        let text = fs_err::read_to_string(path).map_err(|error| Failure::run(error, 125))?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let name = line.split('=').next().unwrap_or_default();
            if name.is_empty() || name.contains(char::is_whitespace) {
                let message = format!(
                    "{path}: line {}: variable {name:?} must not be empty or contain blanks",
                    number + 1
                );
                return Err(Failure::run(message, 125));
            }
            all.push(line.to_owned());
        }
    }
    has_names("env", variables)?;
    all.extend(variables.iter().cloned());
    let resolve = |text: String| match text.contains('=') {
        true => Some(text),
        false => std::env::var(&text).ok().map(|value| format!("{text}={value}")),
    };
    Ok(all.into_iter().filter_map(resolve).collect())
}

fn network(text: &str) -> Result<NetworkMode, String> {
    match text {
        "bridge" | "default" => Ok(NetworkMode::Bridge),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        other => Err(format!("network {other} not found: use bridge, host or none")),
    }
}

pub(super) fn host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| format!("bad format for add-host: {text:?}"))?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if address != "host-gateway" && address.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address in add-host: {address:?}"));
    }
    Ok((name.to_owned(), address.to_owned()))
}

pub(super) fn ulimit(text: &str) -> Result<(String, u64, u64), String> {
    let bad = || format!("invalid ulimit argument: {text}");
    let (name, values) = text.split_once('=').ok_or_else(bad)?;
    let number =
        |text: &str| if text == "-1" { Ok(u64::MAX) } else { text.parse::<u64>().map_err(|_| bad()) };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    if !strata_engine::run::is_ulimit(name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = (number(soft)?, number(hard)?);
    if soft > hard {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok((name.to_owned(), soft, hard))
}

/// `512m`, `1g`, `100`: binary units, as Docker reads them.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1u64 << 40,
        _ => return Err(format!("invalid size: '{text}'")),
    };
    let number: f64 = digits.trim().parse().map_err(|_| format!("invalid size: '{text}'"))?;
    if number < 0.0 {
        return Err(format!("invalid size: '{text}'"));
    }
    Ok((number * factor as f64) as u64)
}
