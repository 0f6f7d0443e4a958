//! Looking at containers, stopping and removing them.
use crate::{Engine, EngineError};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::io::Write;

/// Which containers a list shows.
#[derive(Clone, Debug, Default)]
pub struct ContainerFilter {
    /// `-a`: not only running ones.
    pub all: bool,
    /// `-n`: the last n created (any state).
    pub last: Option<usize>,
    /// `-f key=value`: id, name, label, status, exited, ancestor, before, since, volume, network, publish.
    pub filters: Vec<(String, String)>,
}

/// One container in a list.
#[derive(Clone, Debug)]
pub struct ContainerSummary {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without `/`.
    pub name: String,
    /// Image as it was named; short ID once the name moved on.
    pub image: String,
    /// Image ID.
    pub image_id: String,
    /// argv.
    pub command: Vec<String>,
    /// When it was created.
    pub created: Timestamp,
    /// State.
    pub state: ContainerState,
    /// Published and exposed ports, as `ps` shows them: `0.0.0.0:80->80/tcp`.
    pub ports: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Volume names and bind sources.
    pub mounts: Vec<String>,
    /// Networks.
    pub networks: Vec<String>,
}

/// State of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Never started.
    Created,
    /// Running.
    Running {
        /// Host pid of its first process.
        pid: i32,
        /// Since.
        started: Timestamp,
    },
    /// Ended.
    Exited {
        /// Exit code.
        code: i32,
        /// When.
        finished: Timestamp,
        /// Killed for want of memory.
        oom: bool,
    },
}

/// `logs`.
#[derive(Clone, Debug, Default)]
pub struct LogsRequest {
    /// `-f`.
    pub follow: bool,
    /// `-n`.
    pub tail: Option<usize>,
    /// `-t`.
    pub timestamps: bool,
    /// `--since`.
    pub since: Option<Timestamp>,
    /// `--until`.
    pub until: Option<Timestamp>,
}

/// One line of `diff`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Absolute path in the container; may not be UTF-8.
    pub path: Vec<u8>,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// `A`
    Added,
    /// `C`
    Changed,
    /// `D`
    Deleted,
}

impl Engine {
    /// Containers, newest first.
    pub fn containers(&self, _filter: &ContainerFilter) -> Result<Vec<ContainerSummary>, EngineError> {
        todo!()
    }
    /// Bytes in the container's own layer, and in its image.
    pub fn container_size(&self, _id: &str) -> Result<(u64, u64), EngineError> {
        todo!()
    }
    /// The document of `inspect`.
    pub fn inspect_container(&self, _name: &str) -> Result<serde_json::Value, EngineError> {
        todo!()
    }
    /// Copies the log to the two streams; with `follow` until the container ends.
    pub fn logs(
        &self,
        _name: &str,
        _request: &LogsRequest,
        _stdout: &mut dyn Write,
        _stderr: &mut dyn Write,
    ) -> Result<(), EngineError> {
        todo!()
    }
    /// Sends the stop signal, then KILL after `timeout` seconds (`None`: the container's, 10 by default).
    pub fn stop(&self, _name: &str, _signal: Option<&str>, _timeout: Option<u32>) -> Result<(), EngineError> {
        todo!()
    }
    /// Sends a signal (`KILL` by default).
    pub fn kill(&self, _name: &str, _signal: &str) -> Result<(), EngineError> {
        todo!()
    }
    /// Removes a container; a running one only with `force`. `volumes`: its anonymous volumes too.
    pub fn remove_container(&self, _name: &str, _force: bool, _volumes: bool) -> Result<(), EngineError> {
        todo!()
    }
    /// Waits until it is not running and gives its exit code.
    pub fn wait(&self, _name: &str) -> Result<i32, EngineError> {
        todo!()
    }
    /// What it changed, sorted by path.
    pub fn diff(&self, _name: &str) -> Result<Vec<Change>, EngineError> {
        todo!()
    }
    /// Removes all that are not running: IDs and bytes given back.
    pub fn prune_containers(&self) -> Result<(Vec<String>, u64), EngineError> {
        todo!()
    }
}
