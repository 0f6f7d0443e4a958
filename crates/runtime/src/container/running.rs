//! A container that runs: its process, its streams, its end.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{Streams, WaitError};
use crate::cgroup::Cgroup;
use crate::process::ProcessIdentity;
use crate::signal::Signal;
use crate::stubs::Stubs;
use crate::sys;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// Its code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed a process of the container for lack of memory, and the first process died of `SIGKILL`.
    pub oom_killed: bool,
}

impl ExitStatus {
    /// As a shell and Docker count: the code, or 128 + signal.
    pub fn exit_code(&self) -> i32 {
        self.code.unwrap_or_else(|| 128 + self.signal.unwrap_or(0))
    }
}

/// A started process: the first one of a container, or one added by [`exec`](crate::exec::exec).
///
/// Dropping it neither kills the process nor removes its cgroups: call [`Running::wait`].
#[derive(Debug)]
pub struct Running {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) identity: Option<ProcessIdentity>,
    /// The engine's ends of the standard streams; take them.
    pub streams: Streams,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) stubs: Stubs,
    /// Where stubs are to be removed from at the end.
    pub(crate) remove_stubs_in: Option<PathBuf>,
    pub(crate) ended: Option<ExitStatus>,
}

impl Running {
    /// Number of the process in this process's pid namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Readable (for poll) when the process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// What to store to find the process again: pid, start time, boot. `None` if it had ended before it could be asked.
    pub fn identity(&self) -> Option<&ProcessIdentity> {
        self.identity.as_ref()
    }

    /// What had to be made in the writable layer to mount things on.
    pub fn stubs(&self) -> &Stubs {
        &self.stubs
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// Fails when it has ended already (`SRCH`).
    pub fn kill(&self, signal: Signal) -> Result<(), WaitError> {
        sys::pidfd_send_signal(self.pidfd.as_fd(), signal.number()).map_err(|source| WaitError::Signal {
            signal,
            pid: self.pid,
            source,
        })
    }

    /// Sleeps until the process has ended; then removes cgroups and, if asked for, stubs. Can be called again.
    ///
    /// # Errors
    /// Fails when the process is not ours to wait for, or when stubs cannot be removed.
    pub fn wait(&mut self) -> Result<ExitStatus, WaitError> {
        match self.wait_with(WaitIdOptions::EXITED)? {
            Some(status) => Ok(status),
            None => Err(WaitError::Wait { pid: self.pid, source: Errno::AGAIN }),
        }
    }

    /// As [`Running::wait`], but `None` while the process runs.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, WaitError> {
        self.wait_with(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    fn wait_with(&mut self, options: WaitIdOptions) -> Result<Option<ExitStatus>, WaitError> {
        if let Some(status) = self.ended {
            return Ok(Some(status));
        }
        let status = loop {
            match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
                Err(Errno::INTR) => {}
                Err(source) => return Err(WaitError::Wait { pid: self.pid, source }),
                Ok(None) => return Ok(None),
                Ok(Some(status)) => break status,
            }
        };
        let mut status =
            ExitStatus { code: status.exit_status(), signal: status.terminating_signal(), oom_killed: false };
        if let Some(cgroup) = self.cgroup.take() {
            status.oom_killed = status.exit_code() == 128 + libc::SIGKILL && cgroup.oom_kills() > 0;
            // All processes died with the pid namespace; a group still busy is left for the next sweep.
            let _ = cgroup.remove();
        }
        self.ended = Some(status);
        if let Some(upper) = self.remove_stubs_in.take() {
            self.stubs.remove(&upper)?;
        }
        Ok(Some(status))
    }
}
