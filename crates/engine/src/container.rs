//! Looking at containers, stopping and removing them.

mod diff;
mod inspect;
mod list;
mod logs;
mod stop;

pub(crate) use stop::process;

use jiff::Timestamp;
use std::collections::BTreeMap;

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
    /// How many of the mounts are volumes.
    pub volumes: usize,
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
