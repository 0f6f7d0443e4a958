//! `ps`.
use super::{ContainerFilter, ContainerState, ContainerSummary};
use crate::stored::Listed;
use crate::{Engine, EngineError};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use strata_oci::ImageId;
use strata_store::{ContainerRecord, ContainerState as Recorded};

/// What `--filter status=` can be.
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

impl Engine {
    /// Containers, newest first.
    pub fn containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerSummary>, EngineError> {
        let containers = self.store().containers();
        let by_status = filter.filters.iter().any(|(key, _)| matches!(key.as_str(), "status" | "exited"));
        let mut records = match filter.last {
            None if !filter.all && !by_status => containers.list_alive()?,
            _ => containers.list()?,
        };
        records.truncate(filter.last.unwrap_or(usize::MAX));
        let tests = self.tests(&filter.filters)?;
        let mut found = Vec::new();
        let mut names = ImageNames::new();
        for record in records {
            let stored = Listed::parse(&record)?;
            if tests.iter().all(|test| test(&record, &stored)) {
                // Many containers have one image: it is looked for once.
                let image = match names.entry((record.image, stored.image.clone())) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(new) => new.insert(self.image_name(&record, &stored)?).clone(),
                };
                found.push(summary(record, stored, image));
            }
        }
        Ok(found)
    }

    /// Bytes in the container's own layer, and in its image.
    pub fn container_size(&self, name: &str) -> Result<(u64, u64), EngineError> {
        let record = self.store().containers().lookup(name)?;
        let layers: BTreeSet<_> = record.layers.iter().copied().collect();
        let layers: Vec<_> = layers.into_iter().collect();
        let image = self.store().layers().records(&layers)?.iter().map(|layer| layer.content_size).sum();
        Ok((self.store().container_size(&record.id)?, image))
    }

    /// The name it was made with, as long as that still means the same image; its short ID afterwards.
    fn image_name(&self, record: &ContainerRecord, stored: &Listed) -> Result<String, EngineError> {
        let Some(id) = record.image else { return Ok(stored.image.clone()) };
        let named = stored
            .image
            .parse()
            .ok()
            .map(|reference| self.store().images().lookup(&reference))
            .transpose()?;
        let is_id = id.hex().starts_with(stored.image.trim_start_matches("sha256:"));
        if named.flatten() == Some(id) && !is_id {
            return Ok(stored.image.clone());
        }
        let tags = self.store().images().get(&id)?.map(|image| image.tags).unwrap_or_default();
        match tags.first() {
            Some(tag) if is_id => Ok(tag.familiar()),
            _ => Ok(id.short()),
        }
    }

    fn tests(&self, filters: &[(String, String)]) -> Result<Vec<Test>, EngineError> {
        let mut tests: Vec<Test> = Vec::new();
        for key in filters.iter().map(|(key, _)| key.as_str()).collect::<BTreeSet<_>>() {
            let values: Vec<String> =
                filters.iter().filter(|(k, _)| k == key).map(|(_, value)| value.clone()).collect();
            tests.push(self.test(key, values)?);
        }
        Ok(tests)
    }

    /// Values of one key are alternatives (labels: all must hold).
    fn test(&self, key: &str, values: Vec<String>) -> Result<Test, EngineError> {
        let containers = self.store().containers();
        Ok(match key {
            "id" => Box::new(move |record, _| values.iter().any(|value| record.id.starts_with(value))),
            "name" => {
                let patterns =
                    values.iter().map(|value| name_pattern(value)).collect::<Result<Vec<_>, _>>()?;
                Box::new(move |record, _| {
                    let slashed = format!("/{}", record.name);
                    patterns
                        .iter()
                        .any(|pattern| pattern.is_match(&record.name) || pattern.is_match(&slashed))
                })
            }
            "status" if values.iter().any(|value| !STATES.contains(&value.as_str())) => {
                return Err(EngineError::Invalid(format!(
                    "invalid filter 'status={}': use {}",
                    values.join(","),
                    STATES.join(", ")
                )));
            }
            "status" => Box::new(move |record, _| values.iter().any(|value| value == status(&record.state))),
            "exited" => Box::new(move |record, _| match &record.state {
                Recorded::Exited { code, .. } => values.iter().any(|value| *value == code.to_string()),
                _ => false,
            }),
            "label" => Box::new(move |_, stored| {
                values.iter().all(|value| match value.split_once('=') {
                    Some((key, value)) => stored.labels.get(key).is_some_and(|have| have == value),
                    None => stored.labels.contains_key(value),
                })
            }),
            "ancestor" => {
                let ids: Vec<ImageId> =
                    values.iter().filter_map(|value| self.store().images().resolve(value).ok()).collect();
                Box::new(move |record, _| record.image.is_some_and(|image| ids.contains(&image)))
            }
            "before" | "since" => {
                let mut times = Vec::new();
                for value in &values {
                    times.push(containers.lookup(value)?.created);
                }
                let before = key == "before";
                Box::new(move |record, _| {
                    times
                        .iter()
                        .all(|time| if before { record.created < *time } else { record.created > *time })
                })
            }
            "volume" => Box::new(move |_, stored| {
                values.iter().any(|value| {
                    stored.mounts.iter().any(|mount| mount.name == *value || mount.destination == *value)
                })
            }),
            "network" => Box::new(move |_, stored| values.contains(&stored.network)),
            "publish" => Box::new(move |_, stored| {
                let bindings = stored.endpoint.iter().flat_map(|endpoint| &endpoint.bindings);
                let ports: Vec<String> = bindings.map(|binding| binding.host_port.to_string()).collect();
                values
                    .iter()
                    .any(|value| ports.contains(&value.split('/').next().unwrap_or_default().to_owned()))
            }),
            other => {
                return Err(EngineError::Invalid(format!(
                    "invalid filter '{other}': use id, name, label, status, exited, ancestor, before, since, volume, network or publish"
                )));
            }
        })
    }
}

/// As Docker: a regular expression anywhere in the name, which may be written with its slash.
fn name_pattern(text: &str) -> Result<regex_lite::Regex, EngineError> {
    regex_lite::Regex::new(text)
        .map_err(|error| EngineError::Invalid(format!("invalid filter 'name={text}': {error}")))
}

type Test = Box<dyn Fn(&ContainerRecord, &Listed) -> bool>;

/// What containers show as the name of their image, by its ID and the name that they were made with.
type ImageNames = HashMap<(Option<ImageId>, String), String>;

fn summary(record: ContainerRecord, stored: Listed, image: String) -> ContainerSummary {
    ContainerSummary {
        image,
        ports: ports(&stored, record.state.is_alive()),
        state: state(&record.state),
        id: record.id,
        name: record.name,
        created: record.created,
        image_id: stored.image_id,
        command: stored.spec.args,
        labels: stored.labels,
        volumes: stored.mounts.iter().filter(|mount| !mount.name.is_empty()).count(),
        mounts: stored
            .mounts
            .into_iter()
            .map(|mount| if mount.name.is_empty() { mount.source } else { mount.name })
            .collect(),
        networks: vec![stored.network],
    }
}

pub(super) fn status(state: &Recorded) -> &'static str {
    match state {
        Recorded::Created => "created",
        Recorded::Running { paused: true, .. } => "paused",
        Recorded::Running { .. } => "running",
        Recorded::Exited { started: None, .. } => "created",
        Recorded::Exited { .. } => "exited",
    }
}

fn state(state: &Recorded) -> ContainerState {
    match state {
        Recorded::Created | Recorded::Exited { started: None, .. } => ContainerState::Created,
        Recorded::Running { process, started, .. } => {
            ContainerState::Running { pid: i32::try_from(process.pid).unwrap_or(0), started: *started }
        }
        Recorded::Exited { code, finished, oom_killed, .. } => {
            ContainerState::Exited { code: *code, finished: *finished, oom: *oom_killed }
        }
    }
}

/// `0.0.0.0:80->80/tcp, [::]:80->80/tcp`, and exposed ports that are not published, of a running container.
fn ports(stored: &Listed, alive: bool) -> Vec<String> {
    // Without a network of its own it has no ports to show.
    let Some(endpoint) = stored.endpoint.as_ref().filter(|_| alive) else { return Vec::new() };
    let bindings: Vec<_> = endpoint.bindings.iter().collect();
    let mut shown: Vec<String> = bindings
        .iter()
        .map(|binding| {
            let host = match binding.host_ip {
                std::net::IpAddr::V4(ip) => ip.to_string(),
                std::net::IpAddr::V6(ip) => format!("[{ip}]"),
            };
            format!("{host}:{}->{}/{}", binding.host_port, binding.container_port, binding.protocol)
        })
        .collect();
    for port in &stored.exposed {
        let published = bindings
            .iter()
            .any(|binding| format!("{}/{}", binding.container_port, binding.protocol) == *port);
        if !published {
            shown.push(port.clone());
        }
    }
    shown
}
