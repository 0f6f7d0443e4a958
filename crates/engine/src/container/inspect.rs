//! `inspect` of a container: Docker's document, key by key.
mod host_config;
mod network;

use super::list::status;
use crate::image::ContainerConfig;
use crate::stored::Stored;
use crate::{Engine, EngineError};
use serde_json::{Map, Value, json};
use strata_store::{ContainerRecord, ContainerState};

/// Docker's time of what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// The document of `inspect`.
    pub fn inspect_container(&self, name: &str) -> Result<Value, EngineError> {
        let container = self.store().containers().lookup(name)?;
        let stored = Stored::parse(&container)?;
        let directory = |name: &str| container.directory.join(name).display().to_string();
        let (path, args) =
            stored.spec.args.split_first().map_or(("", &[][..]), |(path, args)| (path.as_str(), args));
        let mut lower = Vec::new();
        for (position, layer) in container.layers.iter().enumerate() {
            let target = self.store().layers().mount_target(layer, &container.layers[..position])?;
            lower.insert(0, target.display().to_string());
        }
        Ok(json!({
            "Id": container.id,
            "Created": container.created.to_string(),
            "Path": path,
            "Args": args,
            "State": state(&container),
            "Image": stored.image_id,
            "ResolvConfPath": directory("resolv.conf"),
            "HostnamePath": directory("hostname"),
            "HostsPath": directory("hosts"),
            "LogPath": container.log().display().to_string(),
            "Name": format!("/{}", container.name),
            "RestartCount": 0,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            // Neither AppArmor nor SELinux is used.
            "AppArmorProfile": "",
            "ExecIDs": null,
            "HostConfig": host_config::host_config(&stored),
            "GraphDriver": {
                "Data": {
                    "LowerDir": lower.join(":"),
                    "MergedDir": container.merged().display().to_string(),
                    "UpperDir": container.upper().display().to_string(),
                    "WorkDir": container.work().display().to_string(),
                },
                "Name": "overlay2",
            },
            "Mounts": stored.mounts,
            "Config": config(&container, &stored),
            "NetworkSettings": network::settings(&container, &stored),
        }))
    }
}

fn state(container: &ContainerRecord) -> Value {
    let (mut pid, mut code, mut oom, mut error) = (0, 0, false, String::new());
    let (mut started_at, mut finished_at) = (NEVER.to_owned(), NEVER.to_owned());
    match &container.state {
        ContainerState::Created => {}
        ContainerState::Running { process, started, .. } => {
            pid = process.pid;
            started_at = started.to_string();
        }
        ContainerState::Exited { code: exit, oom_killed, error: why, started, finished } => {
            (code, oom, error) = (*exit, *oom_killed, why.clone());
            started_at = started.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
            finished_at = finished.to_string();
        }
    }
    json!({
        "Status": status(&container.state),
        "Running": container.state.is_alive(),
        "Paused": false,
        "Restarting": false,
        "OOMKilled": oom,
        "Dead": false,
        "Pid": pid,
        "ExitCode": code,
        "Error": error,
        "StartedAt": started_at,
        "FinishedAt": finished_at,
    })
}

fn config(container: &ContainerRecord, stored: &Stored) -> Value {
    let spec = &stored.spec;
    let ports: Map<String, Value> = stored.exposed.iter().map(|port| (port.clone(), json!({}))).collect();
    let config = ContainerConfig {
        hostname: if spec.hostname.is_empty() {
            container.short_id().to_owned()
        } else {
            spec.hostname.clone()
        },
        user: spec.user.clone(),
        attach_stdin: stored.interactive,
        exposed_ports: ports.into_iter().collect(),
        tty: spec.terminal,
        open_stdin: stored.interactive,
        env: Some(spec.env.iter().filter(|variable| !variable.starts_with("HOSTNAME=")).cloned().collect()),
        cmd: stored.command.clone(),
        image: stored.image.clone(),
        working_dir: spec.cwd.display().to_string(),
        entrypoint: stored.entrypoint.clone(),
        labels: Some(stored.labels.clone()),
        stop_signal: stored.stop_signal.clone(),
        ..Default::default()
    };
    serde_json::to_value(config).unwrap_or_default()
}
