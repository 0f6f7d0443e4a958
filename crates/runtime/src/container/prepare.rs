//! Everything that allocates, formats, resolves names or can fail with a useful message, before the child exists
//! (`spec/executor.md` A). The result is a [`Plan`].

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};
use rustix::pipe::{PipeFlags, pipe_with};

use super::command::{self, c_string, relative};
use super::devfs::{self, Terminal};
use super::mounts::{self, Mounts, Root};
use super::plan::{Failure, Op, Plan, Step};
use super::{Running, StartError, Stdio, Streams, open_stdio};
use crate::capability::CapabilitySet;
use crate::cgroup::{Cgroup, Devices, Layout};
use crate::process::ProcessIdentity;
use crate::rootdir::{self, TargetKind};
use crate::spec::{ContainerSpec, Network, Rootfs, Seccomp};
use crate::sys::spawn::{Memory, Spawned, spawn};
use crate::user::{self, User};
use crate::{limits, mount, seccomp, sysctl};

pub(super) fn start(spec: &ContainerSpec, stdio: Stdio) -> Result<Running, StartError> {
    let layout = Layout::of_host()?;
    let devices = if spec.privileged { Devices::All } else { Devices::Listed(&spec.devices) };
    let cgroup = Cgroup::create(layout, &spec.id, &spec.limits, devices)?;
    let result = start_in(spec, stdio, layout, &cgroup);
    match result {
        Ok(mut running) => {
            running.cgroup = Some(cgroup);
            Ok(running)
        }
        Err(error) => {
            let _ = cgroup.remove();
            Err(error)
        }
    }
}

fn start_in(
    spec: &ContainerSpec,
    stdio: Stdio,
    layout: &Layout,
    cgroup: &Cgroup,
) -> Result<Running, StartError> {
    let root = open_root(spec, cgroup.devices_restricted)?;
    let user = user::resolve(root.mount.as_fd(), &spec.user, &spec.extra_groups)?;
    let mut mounts = mounts::prepare(spec, &root, layout)?;
    let stubs = std::mem::take(&mut mounts.stubs);
    let upper = root.upper.clone();
    let started = plan_and_spawn(spec, stdio, root, &user, mounts, cgroup);
    match started {
        Ok((spawned, streams)) => Ok(Running {
            identity: ProcessIdentity::of(spawned.pid).ok(),
            pid: spawned.pid,
            pidfd: spawned.pidfd,
            streams,
            cgroup: None,
            stubs,
            remove_stubs_in: spec.cleanup_stubs.then_some(upper),
            ended: None,
        }),
        Err(error) => {
            if spec.cleanup_stubs {
                let _ = stubs.remove(&upper);
            }
            Err(error)
        }
    }
}

fn open_root(spec: &ContainerSpec, devices_restricted: bool) -> Result<Root, StartError> {
    // Without device rules the default CAP_MKNOD must not reach the host's disks.
    let no_devices = !devices_restricted && !spec.privileged;
    let attributes = if no_devices { MountAttrFlags::MOUNT_ATTR_NODEV } else { MountAttrFlags::empty() };
    match &spec.rootfs {
        Rootfs::Overlay(overlay) => {
            Ok(Root { mount: mount::build_overlay(overlay, attributes)?, upper: overlay.upper.clone() })
        }
        Rootfs::Directory(path) => {
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_RECURSIVE;
            let fail =
                |source| StartError::Kernel { what: format!("use {} as root", path.display()), source };
            let mount = open_tree(rustix::fs::CWD, path.as_path(), flags).map_err(fail)?;
            if no_devices {
                let attr = crate::sys::MountAttr { set: libc::MOUNT_ATTR_NODEV, ..Default::default() };
                crate::sys::mount_setattr(mount.as_fd(), true, &attr).map_err(fail)?;
            }
            Ok(Root { mount, upper: path.clone() })
        }
    }
}

fn plan_and_spawn(
    spec: &ContainerSpec,
    stdio: Stdio,
    root: Root,
    user: &User,
    mounts: Mounts,
    cgroup: &Cgroup,
) -> Result<(Spawned, Streams), StartError> {
    make_working_directory(&root, &spec.cwd, &mounts)?;
    let kernel = |what: &str| {
        let what = what.to_owned();
        move |source: Errno| StartError::Kernel { what, source }
    };
    let (stdio, streams) = match &mounts.devpts {
        Some(devpts) if spec.terminal => {
            let Terminal { master, slave } =
                devfs::terminal(devpts, spec.terminal_size, user.uid).map_err(kernel("open a terminal"))?;
            (three(slave)?, Streams { terminal: Some(master), ..Streams::default() })
        }
        _ if spec.terminal => return Err(kernel("open a terminal without a /dev of its own")(Errno::NOTTY)),
        _ => open_stdio(stdio, &mounts.null)?,
    };
    if !spec.terminal {
        limits::own_streams(&stdio, user);
    }
    let (report, write_end) = pipe_with(PipeFlags::CLOEXEC).map_err(kernel("make a pipe"))?;
    let empty =
        devfs::detached("tmpfs", &[("nr_inodes", "2"), ("size", "4k"), ("mode", "755")], EMPTY_ATTRIBUTES)
            .map_err(kernel("make an empty directory"))?;
    let steps = steps(spec, &root, user, mounts, cgroup)?;
    let plan = Plan { steps, root: Some(root.mount), stdio, empty: Some(empty), report: write_end };
    let group = cgroup.open_v2()?;
    crate::helper::hide_from_containers();
    let memory = if spec.init { Memory::Copied } else { Memory::Shared };
    let spawned = spawn(namespaces(spec), memory, group.as_ref().map(AsFd::as_fd), &plan)
        .map_err(kernel("clone the container's first process"))?;
    let program = spec.args.first().map_or("", String::as_str);
    match read_failure(plan, report) {
        None => Ok((spawned, streams)),
        Some((failure, steps)) => {
            reap(&spawned);
            Err(StartError::from_failure(failure, &steps, program))
        }
    }
}

const EMPTY_ATTRIBUTES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// `None` when the program runs: the child's end of the pipe closed at exec.
pub(crate) fn read_failure(plan: Plan, report: OwnedFd) -> Option<(Failure, Vec<Step>)> {
    let Plan { steps, report: write_end, .. } = plan;
    drop(write_end);
    let mut bytes = [0u8; Failure::SIZE];
    loop {
        match rustix::io::read(&report, &mut bytes) {
            Err(Errno::INTR) => {}
            Ok(length) if length == Failure::SIZE => return Some((Failure::from_bytes(bytes), steps)),
            _ => return None,
        }
    }
}

pub(crate) fn reap(spawned: &Spawned) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    while let Err(Errno::INTR) = waitid(WaitId::PidFd(spawned.pidfd.as_fd()), WaitIdOptions::EXITED) {}
}

pub(crate) fn three(slave: OwnedFd) -> Result<[OwnedFd; 3], StartError> {
    let copy = || {
        rustix::io::fcntl_dupfd_cloexec(&slave, 3)
            .map_err(|source| StartError::Kernel { what: "prepare the standard streams".into(), source })
    };
    Ok([copy()?, copy()?, slave])
}

fn namespaces(spec: &ContainerSpec) -> u64 {
    let mut flags = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC;
    flags |= libc::CLONE_NEWUTS;
    if spec.network == Network::New {
        flags |= libc::CLONE_NEWNET;
    }
    flags as u64
}

/// `WORKDIR` is made when missing, in the root; below a mount it must exist.
fn make_working_directory(root: &Root, cwd: &Path, mounts: &Mounts) -> Result<(), StartError> {
    let path = relative(cwd);
    if path == Path::new(".") || mounts.covers(path) {
        return Ok(());
    }
    rootdir::ensure_target(root.mount.as_fd(), path, TargetKind::Directory, &mut |_, _| {})
        .map(drop)
        .map_err(|source| StartError::WorkingDirectory { path: cwd.to_owned(), source })
}

fn steps(
    spec: &ContainerSpec,
    root: &Root,
    user: &User,
    mounts: Mounts,
    cgroup: &Cgroup,
) -> Result<Vec<Step>, StartError> {
    let mut list = StepList::default();
    list.add(Op::OrdinaryScheduling, "leave the real-time scheduling policy");
    for tasks in cgroup.open_tasks()? {
        list.add(Op::Write { file: tasks, data: Box::from(&b"0"[..]) }, "join the container's cgroup");
    }
    list.add(Op::UnshareCgroup, "make a cgroup namespace");
    if let Some(fd) = network_namespace(spec.network)? {
        list.add(Op::SetNs { fd, flags: libc::CLONE_NEWNET }, "enter the network namespace");
    }
    list.add(Op::NewSession, "start a session");
    list.add(Op::SessionKeyring(c_string("container ID", &spec.id)?), "make a session keyring");
    list.add(
        Op::IsolateMounts { slave: mounts.any_shared },
        "separate the container's mounts from the host's",
    );
    list.add(Op::AttachRoot { target: c_string("root", &root.upper)? }, "attach the root file system");
    let (own_dev, mount_steps) = (mounts.own_dev, mounts.steps);
    list.steps.extend(mount_steps);
    if spec.terminal && own_dev {
        list.add(Op::Console, "mount the terminal at /dev/console");
    }
    for (name, value) in sysctl::plan(spec)? {
        list.steps.push(value.into_step(&name)?);
    }
    if !spec.hostname.is_empty() {
        list.add(Op::Hostname(spec.hostname.as_bytes().into()), "set the host name");
    }
    if spec.network == Network::New {
        list.add(Op::LoopbackUp, "bring the loopback interface up");
    }
    if let Some(score) = spec.oom_score_adj {
        let op = Op::ProcWrite {
            path: c"self/oom_score_adj".to_owned(),
            data: score.to_string().into_bytes().into(),
            optional: false,
        };
        list.add(op, "set oom_score_adj");
    }
    if spec.read_only {
        list.add(Op::RootReadOnly, "make the root read-only");
    }
    list.add(Op::Pivot, "change the root");
    list.walls(spec)?;
    let last_limits = limits::add_rlimits(&mut list.steps, &spec.rlimits)?;
    list.add(Op::Stdio, "set up the standard streams");
    if spec.terminal {
        list.add(Op::ControllingTerminal, "take the terminal");
    }
    list.finish(&Process::of_container(spec, user)?, last_limits)?;
    Ok(list.steps)
}

fn network_namespace(network: Network) -> Result<Option<OwnedFd>, StartError> {
    let failed = |source| StartError::Kernel { what: "open the network namespace".into(), source };
    match network {
        Network::Host | Network::New => Ok(None),
        Network::PreparedFd(raw) => crate::sys::duplicate_fd(raw).map(Some).map_err(failed),
        Network::PreparedPid(pid) => {
            let path = format!("/proc/{pid}/ns/net");
            rustix::fs::openat(
                rustix::fs::CWD,
                path,
                OFlags::RDONLY | OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .map(Some)
            .map_err(failed)
        }
    }
}

/// What the last steps need, for a container's first process and for an added one.
pub(crate) struct Process<'a> {
    pub(crate) args: &'a [String],
    pub(crate) env: &'a [String],
    pub(crate) cwd: &'a Path,
    pub(crate) user: &'a User,
    pub(crate) capabilities: CapabilitySet,
    pub(crate) seccomp: Seccomp,
    pub(crate) no_new_privileges: bool,
    pub(crate) dies_with_starter: bool,
    pub(crate) init: bool,
    pub(crate) terminal: bool,
}

impl<'a> Process<'a> {
    fn of_container(spec: &'a ContainerSpec, user: &'a User) -> Result<Self, StartError> {
        Ok(Self {
            args: &spec.args,
            env: &spec.env,
            cwd: &spec.cwd,
            user,
            capabilities: if spec.privileged { CapabilitySet::ALL } else { spec.capabilities },
            seccomp: if spec.privileged { Seccomp::Unconfined } else { spec.seccomp },
            no_new_privileges: spec.no_new_privileges,
            dies_with_starter: spec.dies_with_starter,
            init: spec.init,
            terminal: spec.terminal,
        })
    }
}

/// Steps in the making.
#[derive(Default)]
pub(crate) struct StepList {
    pub(crate) steps: Vec<Step>,
}

impl StepList {
    pub(crate) fn add(&mut self, op: Op, what: &str) {
        self.steps.push(Step { op, what: what.to_owned() });
    }

    /// Read-only and hidden paths.
    fn walls(&mut self, spec: &ContainerSpec) -> Result<(), StartError> {
        if spec.privileged {
            return Ok(());
        }
        for path in &spec.read_only_paths {
            let op = Op::ReadOnlyPath(c_string("read-only path", relative(path))?);
            self.add(op, &format!("make {} read-only", path.display()));
        }
        for path in spec.masked_paths.iter().chain(thermal_throttle()) {
            let op = Op::Mask(c_string("masked path", relative(path))?);
            self.add(op, &format!("hide {}", path.display()));
        }
        Ok(())
    }

    /// Privileges down, then the program. A filter without no-new-privileges can only be loaded while the process still
    /// may everything.
    pub(crate) fn finish(&mut self, process: &Process<'_>, last_limits: Vec<Step>) -> Result<(), StartError> {
        let filter = match process.seccomp {
            Seccomp::Default => Some(seccomp::default_filter(process.capabilities)),
            Seccomp::Unconfined => None,
        };
        let enter = |last_try| -> Result<Op, StartError> {
            Ok(Op::WorkingDirectory { path: c_string("working directory", process.cwd)?, last_try })
        };
        let capabilities = process.capabilities.bits();
        self.add(Op::BoundingSet(capabilities), "limit capabilities");
        self.add(enter(false)?, "enter the working directory");
        let (early, late) = if process.no_new_privileges { (None, filter) } else { (filter, None) };
        if let Some(filter) = early {
            self.add(Op::Seccomp(filter), "load the seccomp filter");
        }
        let identity = Op::Identity {
            uid: process.user.uid,
            gid: process.user.gid,
            groups: process.user.groups.clone().into(),
            // Docker gives other users the bounding set only.
            capabilities: if process.user.uid == 0 { capabilities } else { 0 },
        };
        self.add(identity, "become the container's user");
        self.add(enter(true)?, "enter the working directory");
        if process.no_new_privileges {
            self.add(Op::NoNewPrivileges, "set no_new_privs");
        }
        if let Some(filter) = late {
            self.add(Op::Seccomp(filter), "load the seccomp filter");
        }
        if process.dies_with_starter {
            self.add(Op::DieWithStarter, "ask to be killed with the starter");
        }
        self.steps.extend(last_limits);
        self.add(Op::CloseDescriptors, "close the engine's files");
        if process.init {
            self.add(Op::StayAsInit { terminal: process.terminal }, "fork the init process");
        }
        let exec = command::exec(process.args, process.env, process.cwd, &process.user.home)?;
        self.add(Op::Exec(exec), "execute the program");
        Ok(())
    }
}

/// Side channels of the processors, where they have them; looked for once.
fn thermal_throttle() -> &'static [PathBuf] {
    static PATHS: std::sync::OnceLock<Vec<PathBuf>> = std::sync::OnceLock::new();
    PATHS.get_or_init(|| {
        let Ok(cpus) = fs_err::read_dir("/sys/devices/system/cpu") else { return Vec::new() };
        // `cpu0`, not `cpufreq`.
        let is_cpu =
            |name: &[u8]| name.strip_prefix(b"cpu").is_some_and(|rest| rest.iter().all(u8::is_ascii_digit));
        cpus.flatten()
            .filter(|entry| is_cpu(entry.file_name().as_encoded_bytes()))
            .map(|cpu| cpu.path().join("thermal_throttle"))
            .filter(|path| path.exists())
            .collect()
    })
}
