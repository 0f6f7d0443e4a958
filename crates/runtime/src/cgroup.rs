//! cgroups: limits, device rules and the certainty that all processes of a container are gone. All three layouts work:
//! version 2 alone, version 1, and the hybrid of both (`spec/executor.md` B).
//!
//! Groups are `strata/<id>` in every hierarchy (`strata-privileged/<id>` where devices are not restricted). Device rules
//! are set once, on the parent: its children inherit them. Whoever makes the groups of an ID holds a lock on one of them
//! ([`owner`]), so that any engine can tell what nobody will remove.

mod devices;
mod layout;
mod owner;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

pub use layout::Layout;
pub use owner::sweep;

use crate::spec::{Device, Limits};

/// A cgroup could not be made, limited or removed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file or directory of a hierarchy.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The user asked for a limit whose controller this host does not offer.
    #[error("this host has no usable {controller} cgroup controller, which {option} needs")]
    NoController {
        /// `memory`, `pids`, `cpu`.
        controller: &'static str,
        /// The limit.
        option: &'static str,
    },
    /// The ID would be a path.
    #[error("container ID {0:?} cannot name a cgroup")]
    BadId(String),
}

/// Which devices the processes of a group may open.
#[derive(Clone, Copy, Debug)]
pub enum Devices<'a> {
    /// All (`--privileged`).
    All,
    /// Docker's list, and these.
    Listed(&'a [Device]),
}

/// The cgroups of one container.
#[derive(Debug)]
pub struct Cgroup {
    /// Directories in version 1 hierarchies, with their controllers.
    v1: Vec<(Vec<String>, PathBuf)>,
    /// Directory in the version 2 hierarchy.
    v2: Option<PathBuf>,
    /// The device rules hold.
    pub(crate) devices_restricted: bool,
    /// Tells other engines that somebody cares for the groups.
    _owned: Option<OwnedFd>,
}

/// The groups that containers' groups stand in.
const PARENTS: [&str; 2] = ["strata", "strata-privileged"];

impl Cgroup {
    /// Makes the groups of container `id` and sets `limits`. A hierarchy that cannot be used is left out unless a limit
    /// needs it.
    ///
    /// # Errors
    /// Fails when a limit that was asked for cannot be set; what was made is removed again.
    pub fn create(
        layout: &Layout,
        id: &str,
        limits: &Limits,
        devices: Devices<'_>,
    ) -> Result<Self, CgroupError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        if id.is_empty() || id.starts_with('.') || !id.bytes().all(plain) {
            return Err(CgroupError::BadId(id.to_owned()));
        }
        // A group can have less than its parent, never more.
        let (parent, own) = match devices {
            Devices::All => ("strata-privileged", None),
            Devices::Listed([]) => ("strata", None),
            Devices::Listed(also) => ("strata-privileged", Some(also)),
        };
        let inherits = matches!(devices, Devices::Listed([]));
        let _owned = layout.first().and_then(|root| owner::own(&root.join(parent), id));
        let mut group = Self { v1: Vec::new(), v2: None, devices_restricted: false, _owned };
        for hierarchy in &layout.v1 {
            let parent = hierarchy.mount_point.join(parent);
            let devices = hierarchy.controllers.iter().any(|name| name == "devices");
            if devices && inherits {
                group.devices_restricted = devices::restrict_v1(&parent).is_ok();
            }
            if let Some(path) = make_group(&parent, id) {
                if let Some(also) = own.filter(|_| devices) {
                    group.devices_restricted = devices::restrict_group_v1(&path, also).is_ok();
                }
                group.v1.push((hierarchy.controllers.clone(), path));
            }
        }
        if let Some(root) = &layout.v2 {
            let parent = root.join(parent);
            layout::enable_controllers(root, &parent);
            group.v2 = make_group(&parent, id);
            if !group.devices_restricted && inherits {
                group.devices_restricted = devices::restrict_v2(&parent).is_ok();
            }
            if let (Some(also), Some(path), false) = (own, &group.v2, group.devices_restricted) {
                group.devices_restricted = devices::restrict_group_v2(path, also).is_ok();
            }
        }
        if let Err(error) = group.set_limits(limits) {
            let _ = group.remove();
            return Err(error);
        }
        Ok(group)
    }

    /// The groups process `pid` is in: to put another process beside it.
    ///
    /// # Errors
    /// Fails when there is no such process.
    pub fn of_process(layout: &Layout, pid: i32) -> Result<Self, CgroupError> {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = fs_err::read_to_string(&path).map_err(|source| CgroupError::File {
            action: "read",
            path: path.clone(),
            source,
        })?;
        Ok(layout.groups_of(&text))
    }

    pub(super) fn from_parts(v1: Vec<(Vec<String>, PathBuf)>, v2: Option<PathBuf>) -> Self {
        Self { v1, v2, devices_restricted: false, _owned: None }
    }

    /// The `tasks` file of every version 1 group, opened for writing: a thread that writes `0` moves itself, without
    /// the system-wide lock that moving a process takes (0.08 instead of 7.8 ms).
    pub(crate) fn open_tasks(&self) -> Result<Vec<OwnedFd>, CgroupError> {
        self.v1.iter().map(|(_, directory)| open(&directory.join("tasks"), OFlags::WRONLY)).collect()
    }

    /// The directory of the version 2 group, for `CLONE_INTO_CGROUP`.
    pub(crate) fn open_v2(&self) -> Result<Option<OwnedFd>, CgroupError> {
        self.v2.as_deref().map(|path| open(path, OFlags::RDONLY | OFlags::DIRECTORY)).transpose()
    }

    fn v1_directory(&self, controller: &str) -> Option<&Path> {
        self.v1
            .iter()
            .find(|(controllers, _)| controllers.iter().any(|name| name == controller))
            .map(|(_, path)| path.as_path())
    }

    fn set_limits(&self, limits: &Limits) -> Result<(), CgroupError> {
        if let Some(memory) = limits.memory {
            self.limit_memory(memory, limits.memory_swap)?;
        }
        if let Some(pids) = limits.pids {
            let value = if pids == 0 { "max".to_owned() } else { pids.to_string() };
            self.set("pids", "--pids-limit", &[("pids.max", value.clone())], &[("pids.max", value)])?;
        }
        if let Some(cpus) = limits.cpus {
            let quota = ((cpus * 100_000.0).round() as u64).max(1000);
            let v1 = [("cpu.cfs_period_us", "100000".to_owned()), ("cpu.cfs_quota_us", quota.to_string())];
            self.set("cpu", "--cpus", &v1, &[("cpu.max", format!("{quota} 100000"))])?;
        }
        if let Some(shares) = limits.cpu_shares {
            let v1 = [("cpu.shares", shares.to_string())];
            self.set("cpu", "--cpu-shares", &v1, &[("cpu.weight", cpu_weight(shares).to_string())])?;
        }
        Ok(())
    }

    /// The limit first, then memory and swap: the kernel keeps the latter at least as large.
    fn limit_memory(&self, memory: u64, memory_swap: Option<i64>) -> Result<(), CgroupError> {
        let v1 = [("memory.limit_in_bytes", memory.to_string())];
        self.set("memory", "--memory", &v1, &[("memory.max", memory.to_string())])?;
        let both = memory_swap.unwrap_or_else(|| i64::try_from(memory.saturating_mul(2)).unwrap_or(-1));
        let swap_only = match u64::try_from(both) {
            Ok(both) => both.saturating_sub(memory).to_string(),
            Err(_) => "max".to_owned(),
        };
        let v1 = [("memory.memsw.limit_in_bytes", both.to_string())];
        match self.set("memory", "--memory-swap", &v1, &[("memory.swap.max", swap_only)]) {
            // Kernels without swap accounting have no such file; nobody asked.
            Err(CgroupError::File { source, .. })
                if memory_swap.is_none() || source.kind() == io::ErrorKind::NotFound =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn set(
        &self,
        controller: &'static str,
        option: &'static str,
        v1: &[(&str, String)],
        v2: &[(&str, String)],
    ) -> Result<(), CgroupError> {
        let in_v2 = |path: &&Path| {
            fs_err::read_to_string(path.join("cgroup.controllers"))
                .is_ok_and(|list| list.split_ascii_whitespace().any(|name| name == controller))
        };
        let (directory, values) = if let Some(directory) = self.v1_directory(controller) {
            (directory, v1)
        } else if let Some(directory) = self.v2.as_deref().filter(in_v2) {
            (directory, v2)
        } else {
            return Err(CgroupError::NoController { controller, option });
        };
        for (name, value) in values {
            write_value(&directory.join(name), value)?;
        }
        Ok(())
    }

    /// How often the kernel killed a process of the group for lack of memory. Read before [`Cgroup::remove`].
    pub fn oom_kills(&self) -> u64 {
        let text = if let Some(directory) = self.v1_directory("memory") {
            fs_err::read_to_string(directory.join("memory.oom_control"))
        } else if let Some(directory) = &self.v2 {
            fs_err::read_to_string(directory.join("memory.events"))
        } else {
            return 0;
        };
        text.ok()
            .and_then(|text| {
                text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            })
            .unwrap_or(0)
    }

    /// Kills whatever is still in the group.
    pub fn kill_all(&self) {
        if let Some(directory) = &self.v2
            && fs_err::write(directory.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for (_, directory) in &self.v1 {
            let Ok(pids) = fs_err::read_to_string(directory.join("cgroup.procs")) else { continue };
            for pid in
                pids.lines().filter_map(|line| line.parse().ok()).filter_map(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Removes the groups. Their processes must have ended; the kernel needs a moment to forget them.
    ///
    /// # Errors
    /// Fails when a group is still in use after some 250 ms.
    pub fn remove(&self) -> Result<(), CgroupError> {
        let mut result = Ok(());
        for directory in self.v1.iter().map(|(_, path)| path).chain(&self.v2) {
            if let Err(error) = remove_group(directory) {
                result = Err(error);
            }
        }
        result
    }
}

/// Ends and removes what a killed engine left of group `id`. `false`: a process of it has not ended yet.
pub fn discard(layout: &Layout, id: &str) -> bool {
    PARENTS.into_iter().all(|parent| {
        let left = |root: &Path| Some(root.join(parent).join(id)).filter(|path| path.is_dir());
        let v1 = layout
            .v1
            .iter()
            .filter_map(|hierarchy| Some((hierarchy.controllers.clone(), left(&hierarchy.mount_point)?)));
        let group = Cgroup::from_parts(v1.collect(), layout.v2.as_deref().and_then(left));
        group.kill_all();
        group.remove().is_ok()
    })
}

/// runc's newer mapping: 1024 shares are weight 100.
fn cpu_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let l = (shares as f64).log2();
    10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0).ceil() as u64
}

fn make_group(parent: &Path, id: &str) -> Option<PathBuf> {
    let path = parent.join(id);
    match fs_err::create_dir(&path) {
        Ok(()) => Some(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Some(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs_err::create_dir_all(&path).ok().map(|()| path)
        }
        Err(_) => None,
    }
}

fn remove_group(directory: &Path) -> Result<(), CgroupError> {
    let mut pause = std::time::Duration::from_millis(1);
    for _ in 0..9 {
        match rustix::fs::rmdir(directory) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(std::time::Duration::from_millis(64));
            }
            Err(errno) => {
                return Err(CgroupError::File {
                    action: "remove",
                    path: directory.to_owned(),
                    source: errno.into(),
                });
            }
        }
        remove_children(directory);
    }
    Err(CgroupError::File { action: "remove", path: directory.to_owned(), source: Errno::BUSY.into() })
}

/// Groups that processes of the container made below their own (only with a writable cgroup view).
fn remove_children(directory: &Path) {
    let Ok(entries) = fs_err::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_children(&entry.path());
        let _ = rustix::fs::rmdir(entry.path());
    }
}

fn write_value(path: &Path, value: &str) -> Result<(), CgroupError> {
    let fail = |source| CgroupError::File { action: "set", path: path.to_owned(), source };
    let file = openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| fail(errno.into()))?;
    rustix::io::write(&file, value.as_bytes()).map(drop).map_err(|errno| fail(errno.into()))
}

fn open(path: &Path, flags: OFlags) -> Result<OwnedFd, CgroupError> {
    openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| CgroupError::File {
        action: "open",
        path: path.to_owned(),
        source: errno.into(),
    })
}

fn lock(directory: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        match rustix::fs::flock(directory, rustix::fs::FlockOperation::LockExclusive) {
            Err(Errno::INTR) => {}
            other => return other.map_err(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_shares_map_to_weights() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
    }
}
