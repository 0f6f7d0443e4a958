//! `stop`, `kill`, `rm`, `wait`.
use crate::stored::Stored;
use crate::{Engine, EngineError};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use strata_runtime::process::ProcessIdentity;
use strata_runtime::signal::Signal;
use strata_store::{ContainerRecord, ContainerState, ProcessId};

/// Seconds between the stop signal and KILL.
const STOP_TIMEOUT: u32 = 10;
/// How long a killed process and its watcher may take.
const GRACE: Duration = Duration::from_secs(10);

impl Engine {
    /// Sends the stop signal, then KILL after `timeout` seconds (`None`: the container's, 10 by default).
    pub fn stop(&self, name: &str, signal: Option<&str>, timeout: Option<u32>) -> Result<(), EngineError> {
        let container = self.store().containers().lookup(name)?;
        let stored = Stored::parse(&container)?;
        let signal = parse(signal.or(stored.stop_signal.as_deref()).unwrap_or("TERM"))?;
        let Some(process) = process(&container) else { return Ok(()) };
        let timeout = timeout.or(stored.stop_timeout).unwrap_or(STOP_TIMEOUT);
        let limit = (timeout != u32::MAX).then(|| Duration::from_secs(u64::from(timeout)));
        if let Some(pidfd) = process.open()? {
            send(&pidfd, signal)?;
            if !ended_within(&pidfd, limit)? {
                send(&pidfd, Signal::KILL)?;
                ended_within(&pidfd, Some(GRACE))?;
            }
        }
        self.wait_until_recorded(&container.id)?;
        Ok(())
    }

    /// Sends a signal.
    pub fn kill(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        let container = self.store().containers().lookup(name)?;
        let signal = parse(signal)?;
        let not_running = || {
            EngineError::Invalid(format!(
                "cannot kill container: {name}: container {} is not running",
                container.id
            ))
        };
        let process = process(&container).ok_or_else(not_running)?;
        let pidfd = process.open()?.ok_or_else(not_running)?;
        send(&pidfd, signal)?;
        if signal == Signal::KILL {
            ended_within(&pidfd, Some(GRACE))?;
            self.wait_until_recorded(&container.id)?;
        }
        Ok(())
    }

    /// Removes a container; a running one only with `force`. `volumes`: its anonymous volumes too.
    pub fn remove_container(&self, name: &str, force: bool, volumes: bool) -> Result<(), EngineError> {
        let container = self.store().containers().lookup(name)?;
        if container.state.is_alive() {
            if !force {
                return Err(EngineError::Invalid(format!(
                    "cannot remove container {name:?}: container is running: stop the container before removing or force remove"
                )));
            }
            match self.kill(&container.id, "KILL") {
                // It may have ended, and with --rm gone, by itself.
                Ok(()) | Err(EngineError::Invalid(_) | EngineError::NoSuchContainer(_)) => {}
                Err(other) => return Err(other),
            }
        }
        match self.store().containers().remove(&container.id, volumes) {
            Err(strata_store::StoreError::NoSuchContainer(_)) => {}
            other => other?,
        }
        // A supervisor that was killed could not remove the groups.
        crate::open::discard_groups(&container.id);
        self.collect_garbage(false)?;
        Ok(())
    }

    /// Waits until it is not running and gives its exit code.
    pub fn wait(&self, name: &str) -> Result<i32, EngineError> {
        let container = self.store().containers().lookup(name)?;
        if let Some(pidfd) = process(&container).map(|process| process.open()).transpose()?.flatten() {
            ended_within(&pidfd, None)?;
        }
        Ok(self.wait_until_recorded(&container.id)?.unwrap_or(0))
    }

    /// Removes all that are not running: IDs and bytes given back.
    pub fn prune_containers(&self) -> Result<(Vec<String>, u64), EngineError> {
        let (mut ids, mut bytes) = (Vec::new(), 0);
        for container in self.store().containers().list()? {
            if !container.state.is_alive() {
                bytes += self.store().container_size(&container.id)?;
                self.remove_container(&container.id, false, false)?;
                ids.push(container.id);
            }
        }
        Ok((ids, bytes))
    }

    /// After the process: its watcher records the exit code. A dead watcher is noticed by the store, which then
    /// records 255. `None`: the container is gone (`--rm`).
    fn wait_until_recorded(&self, id: &str) -> Result<Option<i32>, EngineError> {
        let deadline = Instant::now() + GRACE;
        let mut pause = Duration::from_millis(1);
        loop {
            let container = match self.store().containers().lookup(id) {
                Err(strata_store::StoreError::NoSuchContainer(_)) => return Ok(None),
                other => other?,
            };
            match &container.state {
                ContainerState::Created => return Ok(Some(0)),
                ContainerState::Exited { code, .. } => return Ok(Some(*code)),
                ContainerState::Running { watcher, .. } => {
                    let watched = watcher.as_ref().map(ProcessId::is_alive);
                    if watched == Some(false) || Instant::now() > deadline && watched.is_none() {
                        self.store().containers().reap()?;
                    } else if Instant::now() > deadline + GRACE {
                        return Err(EngineError::Invalid(format!(
                            "container {} ended, but its helper has not recorded it yet; try again",
                            container.short_id()
                        )));
                    }
                }
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

fn parse(signal: &str) -> Result<Signal, EngineError> {
    signal.parse().map_err(|_| EngineError::Invalid(format!("invalid signal: {signal}")))
}

/// The container's first process, if it is recorded as running.
pub(crate) fn process(container: &ContainerRecord) -> Option<ProcessIdentity> {
    match &container.state {
        ContainerState::Running { process, .. } => Some(ProcessIdentity {
            pid: i32::try_from(process.pid).ok()?,
            start_time: process.start_time,
            boot_id: process.boot_id.clone(),
        }),
        _ => None,
    }
}

fn send(pidfd: &OwnedFd, signal: Signal) -> Result<(), EngineError> {
    match strata_runtime::process::signal(pidfd, signal) {
        // Ended meanwhile: what was wanted.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => Ok(()),
        other => Ok(other?),
    }
}

/// Waits for the process' end; false when the time is over.
fn ended_within(pidfd: &OwnedFd, limit: Option<Duration>) -> Result<bool, EngineError> {
    let deadline = limit.map(|limit| Instant::now() + limit);
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left
            .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
}
