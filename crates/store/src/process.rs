//! Which process, across reuse of its number and across boots.
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// A process that cannot be confused with a later one of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process number in the initial PID namespace (the one the store's user sees).
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/<pid>/stat`, field 22).
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

impl ProcessId {
    /// A process of now. `None` when it is already gone.
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start_time: start_time(pid)?, boot_id: boot_id().to_owned() })
    }

    /// The calling process.
    pub fn current() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// True while the process exists, also as a zombie: whoever waits for it has not seen its exit code yet.
    pub fn is_alive(&self) -> bool {
        self.boot_id == boot_id() && start_time(self.pid) == Some(self.start_time)
    }

    /// True while the process runs; a zombie does not.
    pub(crate) fn is_running(&self) -> bool {
        self.is_alive() && fields(self.pid).is_some_and(|fields| !fields.starts_with(['Z', 'X']))
    }
}

fn start_time(pid: u32) -> Option<u64> {
    fields(pid)?.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// `/proc/<pid>/stat` from the third field, the state, on.
fn fields(pid: u32) -> Option<String> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces and parentheses; the fields count from after the last one.
    let after = text.iter().rposition(|byte| *byte == b')')? + 2;
    String::from_utf8(text.get(after..)?.to_vec()).ok()
}

/// This boot's ID; empty where the kernel does not tell.
pub(crate) fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
    })
}
