//! What a container is, as plain data: everything [`Container::start`](crate::container::Container::start) needs and
//! nothing about images. Defaults are Docker's (`spec/engine.md` section 4).

use std::os::fd::RawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::capability::CapabilitySet;

/// One container to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Name of its cgroups: the container's ID. Letters, digits, `_`, `.` and `-` only.
    pub id: String,
    /// Where its files come from.
    pub rootfs: Rootfs,
    /// The root is mounted read-only (`--read-only`); volumes keep their own mode.
    pub read_only: bool,
    /// Program and arguments; the first is searched for in the `PATH` of `env` unless it holds a `/`.
    pub args: Vec<String>,
    /// `NAME=value`; `HOME` is added from the passwd file of the image when absent.
    pub env: Vec<String>,
    /// Working directory, absolute; created when missing.
    pub cwd: PathBuf,
    /// `user[:group]`, names or numbers, resolved in the rootfs; empty is `0:0`.
    pub user: String,
    /// Further groups (`--group-add`), names or numbers.
    pub extra_groups: Vec<String>,
    /// Host name; empty keeps the one of the host.
    pub hostname: String,
    /// A pseudo-terminal on standard input, output and error.
    pub terminal: bool,
    /// Its first size: columns, rows.
    pub terminal_size: Option<(u16, u16)>,
    /// Binds, volumes, tmpfs; in any order: they are mounted by depth of their destination.
    pub mounts: Vec<Mount>,
    /// Devices beside those that every container has.
    pub devices: Vec<Device>,
    /// Where its packets go.
    pub network: Network,
    /// What root in the container may do.
    pub capabilities: CapabilitySet,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// setuid programs and file capabilities give nothing.
    pub no_new_privileges: bool,
    /// No walls but the namespaces: all capabilities, all devices, nothing masked, no filter (`--privileged`).
    pub privileged: bool,
    /// A small process of our own is pid 1, forwards signals and reaps orphans (`--init`).
    pub init: bool,
    /// Resource limits of the processes (`--ulimit`).
    pub rlimits: Vec<Rlimit>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Limits of the group of processes.
    pub limits: Limits,
    /// Hidden from the container: files show nothing, directories are empty. Ignored when privileged.
    pub masked_paths: Vec<PathBuf>,
    /// Can be read but not written. Ignored when privileged.
    pub read_only_paths: Vec<PathBuf>,
    /// Kernel parameters, name with dots and value; only those that belong to the container's own namespaces.
    pub sysctls: Vec<(String, String)>,
    /// `oom_score_adj` of the first process.
    pub oom_score_adj: Option<i32>,
    /// Remove what was created in the upper directory only to mount something on it, once the container has exited
    /// (build steps: `spec/build.md`, mounts of RUN).
    pub cleanup_stubs: bool,
    /// Killed when the thread that started it ends, and with it the process that would have waited for it (build
    /// steps: nobody else knows of them).
    pub dies_with_starter: bool,
}

impl Default for ContainerSpec {
    fn default() -> Self {
        Self {
            id: String::new(),
            rootfs: Rootfs::Directory(PathBuf::new()),
            read_only: false,
            args: Vec::new(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: String::new(),
            extra_groups: Vec::new(),
            hostname: String::new(),
            terminal: false,
            terminal_size: None,
            mounts: Vec::new(),
            devices: Vec::new(),
            network: Network::New,
            capabilities: CapabilitySet::DOCKER_DEFAULT,
            seccomp: Seccomp::Default,
            no_new_privileges: false,
            privileged: false,
            init: false,
            rlimits: Vec::new(),
            shm_size: 64 << 20,
            limits: Limits::default(),
            masked_paths: MASKED_PATHS.iter().map(PathBuf::from).collect(),
            read_only_paths: READ_ONLY_PATHS.iter().map(PathBuf::from).collect(),
            sysctls: DEFAULT_SYSCTLS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            oom_score_adj: None,
            cleanup_stubs: false,
            dies_with_starter: false,
        }
    }
}

/// Paths Docker hides; `thermal_throttle` of every processor is added at start.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths Docker makes read-only.
pub const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Kernel parameters Docker sets in a network namespace of its own; skipped when the host's network is shared.
pub const DEFAULT_SYSCTLS: [(&str, &str); 2] =
    [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 2147483647")];

/// Where the files of a container come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rootfs {
    /// Layers below, one writable directory on top. Mounted for the container only; gone with it.
    #[serde(with = "overlay_serde")]
    Overlay(strata_layer::mount::Overlay),
    /// A directory used as it is.
    Directory(PathBuf),
}

/// Something mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mount {
    /// A file or directory of the host.
    Bind {
        /// On the host; must exist.
        source: PathBuf,
        /// In the container, absolute, not `/`. Created when missing; links are followed inside the root only.
        dest: PathBuf,
        /// Cannot be written through this mount.
        read_only: bool,
        /// Mounts below `source` come along.
        recursive: bool,
        /// How later mounts travel.
        propagation: Propagation,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// In the container.
        dest: PathBuf,
        /// Limit in bytes; `None` is half of the memory.
        size: Option<u64>,
        /// Permissions; `None` is 1777.
        mode: Option<u32>,
        /// Cannot be written.
        read_only: bool,
        /// Programs in it cannot be executed (Docker's default for `--tmpfs`).
        no_exec: bool,
    },
}

impl Mount {
    /// A private recursive bind: what `-v source:dest[:ro]` means.
    pub fn bind(source: impl Into<PathBuf>, dest: impl Into<PathBuf>, read_only: bool) -> Self {
        Self::Bind {
            source: source.into(),
            dest: dest.into(),
            read_only,
            recursive: true,
            propagation: Propagation::Private,
        }
    }

    /// Where it appears in the container.
    pub fn dest(&self) -> &std::path::Path {
        match self {
            Self::Bind { dest, .. } | Self::Tmpfs { dest, .. } => dest,
        }
    }
}

/// A device of the host that a container may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where it appears, absolute. Below `/dev` a node is made there; anywhere else the host's own is bound.
    pub path: PathBuf,
    /// The host's node.
    pub host_path: PathBuf,
    /// A block device; otherwise a character device.
    pub block: bool,
    /// Number.
    pub major: u32,
    /// Number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What may be done with it.
    pub access: DeviceAccess,
}

/// What a container may do with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct DeviceAccess {
    pub read: bool,
    pub write: bool,
    /// Make further nodes of it.
    pub make: bool,
}

/// Whether mounts made later on one side appear on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Neither way (`rprivate`).
    #[default]
    Private,
    /// From the host to the container (`rslave`).
    Slave,
    /// Both ways (`rshared`).
    Shared,
}

/// The network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The host's.
    Host,
    /// A new one with nothing but the loopback interface.
    New,
    /// The namespace behind this open descriptor (`/proc/<pid>/ns/net`).
    PreparedFd(RawFd),
    /// The namespace of this process.
    PreparedPid(i32),
}

/// The system call filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// Docker's default profile, for the container's capabilities.
    #[default]
    Default,
    /// None.
    Unconfined,
}

/// One resource limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Name as `--ulimit` takes it: `nofile`, `nproc`, `core`, ...
    pub name: String,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
    /// The user asked for it: a limit that cannot be set is an error. Otherwise it is clamped.
    pub explicit: bool,
}

impl Rlimit {
    /// Whether `--ulimit` may name it so.
    pub fn is_name(name: &str) -> bool {
        crate::resource::is_name(name)
    }
}

/// Limits of the container's cgroup. `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory (`-m`).
    pub memory: Option<u64>,
    /// Bytes of memory and swap together (`--memory-swap`); -1 is no limit. Unset: twice the memory.
    pub memory_swap: Option<i64>,
    /// Number of tasks (`--pids-limit`).
    pub pids: Option<u64>,
    /// Processors, 1.5 is one and a half (`--cpus`).
    pub cpus: Option<f64>,
    /// Relative weight, 1024 is normal (`--cpu-shares`).
    pub cpu_shares: Option<u64>,
}

mod overlay_serde {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use strata_layer::mount::Overlay;

    #[derive(Serialize, Deserialize)]
    struct Fields {
        lower: Vec<PathBuf>,
        upper: PathBuf,
        work: PathBuf,
        volatile: bool,
    }

    pub(super) fn serialize<S: Serializer>(overlay: &Overlay, serializer: S) -> Result<S::Ok, S::Error> {
        let Overlay { lower, upper, work, volatile } = overlay.clone();
        Fields { lower, upper, work, volatile }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Overlay, D::Error> {
        let Fields { lower, upper, work, volatile } = Fields::deserialize(deserializer)?;
        Ok(Overlay { lower, upper, work, volatile })
    }
}
