//! Is it still the same process? A pid alone does not say: the kernel uses numbers again.
//!
//! A process is named by its pid, its start time (field 22 of `/proc/<pid>/stat`) and the boot it belongs to. The order
//! of looking matters: first take a pidfd, then compare, then keep the pidfd (`spec/executor.md` E).

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

/// One process of one boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Number in the initial pid namespace of the engine.
    pub pid: i32,
    /// Clock ticks after boot at which it started.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id` of that boot.
    pub boot_id: String,
}

impl ProcessIdentity {
    /// Names the running process `pid`.
    ///
    /// # Errors
    /// Fails when there is no such process.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Self { pid, start_time: start_time(pid)?, boot_id: boot_id()? })
    }

    /// A pidfd of exactly this process, or `None` when it is gone, dead, or its number belongs to another one by now.
    ///
    /// # Errors
    /// Fails when `/proc` cannot be read at all.
    pub fn open(&self) -> io::Result<Option<OwnedFd>> {
        if self.boot_id != boot_id()? {
            return Ok(None);
        }
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        match stat(self.pid) {
            Ok(stat) if stat.start_time == self.start_time && !matches!(stat.state, b'Z' | b'X') => {
                Ok(Some(pidfd))
            }
            _ => Ok(None),
        }
    }

    /// Whether this process still runs.
    pub fn is_alive(&self) -> bool {
        matches!(self.open(), Ok(Some(_)))
    }
}

/// Sends a signal to the process behind `pidfd`.
///
/// # Errors
/// `ESRCH` when it has ended.
pub fn signal(pidfd: &OwnedFd, signal: crate::signal::Signal) -> io::Result<()> {
    Ok(crate::sys::pidfd_send_signal(std::os::fd::AsFd::as_fd(pidfd), signal.number())?)
}

/// Clock ticks after boot at which process `pid` started.
///
/// # Errors
/// Fails when there is no such process.
pub fn start_time(pid: i32) -> io::Result<u64> {
    stat(pid).map(|stat| stat.start_time)
}

/// Identity of the running boot.
///
/// # Errors
/// Fails when `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    Ok(fs_err::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

struct Stat {
    state: u8,
    start_time: u64,
}

fn stat(pid: i32) -> io::Result<Stat> {
    let text = fs_err::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&text).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat has an unknown form")))
}

/// The command name (field 2) may hold spaces and brackets: fields are counted from its last `)`.
fn parse_stat(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|&b| b == b')')?;
    let rest = std::str::from_utf8(text.get(end + 2..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let start_time = fields.nth(18)?.parse().ok()?;
    Some(Stat { state, start_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let text = b"7 (a) R 1) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.state, stat.start_time), (b'S', 98765));
    }

    #[test]
    fn a_dead_process_and_another_boot_are_not_alive() {
        let me = ProcessIdentity::of(std::process::id() as i32).unwrap();
        assert!(me.is_alive());
        assert!(!ProcessIdentity { start_time: me.start_time + 1, ..me.clone() }.is_alive());
        assert!(!ProcessIdentity { boot_id: "other".into(), ..me }.is_alive());
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let identity = ProcessIdentity::of(child.id() as i32);
        child.wait().unwrap();
        if let Ok(identity) = identity {
            assert!(!identity.is_alive());
        }
    }
}
