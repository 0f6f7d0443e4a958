//! Another process in a running container (`spec/executor.md` A, Exec).
//!
//! The joiner's `/proc/<pid>/exe` is the engine until it execs, and the container's root could open it for writing
//! (CVE-2019-5736). Two walls: the engine is not dumpable while it joins, which hides the link from everybody without
//! `CAP_SYS_PTRACE` on the host; and [`helper::seal_executable`](crate::helper::seal_executable), to be called by the
//! command before it gets here, makes the file itself read-only for whoever reaches it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fstat, fstatfs};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use serde::{Deserialize, Serialize};

use crate::capability::CapabilitySet;
use crate::cgroup::{Cgroup, Layout};
use crate::container::plan::{Op, Plan};
use crate::container::prepare::{Process, StepList, read_failure, reap, three};
use crate::container::{Running, StartError, Stdio, Streams, open_peer, open_stdio};
use crate::limits;
use crate::process::ProcessIdentity;
use crate::rootdir;
use crate::spec::Seccomp;
use crate::stubs::Stubs;
use crate::sys;
use crate::sys::spawn::{Memory, Spawned, spawn};
use crate::user::{self, User};

/// `DEVPTS_SUPER_MAGIC`
const DEVPTS_MAGIC: u64 = 0x1cd1;

/// The process to add. Capabilities and filter are those of the container.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Environment: the container's, then what `-e` adds.
    pub env: Vec<String>,
    /// Working directory in the container; must exist.
    pub cwd: PathBuf,
    /// `user[:group]`; empty is `0:0`.
    pub user: String,
    /// Further groups.
    pub extra_groups: Vec<String>,
    /// A pseudo-terminal of the container's devpts.
    pub terminal: bool,
    /// Its first size: columns, rows.
    pub terminal_size: Option<(u16, u16)>,
    /// Bounding set.
    pub capabilities: CapabilitySet,
    /// System call filter.
    pub seccomp: Seccomp,
    /// As for the container.
    pub no_new_privileges: bool,
    /// All capabilities, no filter (`exec --privileged`, or a privileged container).
    pub privileged: bool,
}

impl Default for ExecSpec {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            cwd: PathBuf::from("/"),
            user: String::new(),
            extra_groups: Vec::new(),
            terminal: false,
            terminal_size: None,
            capabilities: CapabilitySet::DOCKER_DEFAULT,
            seccomp: Seccomp::Default,
            no_new_privileges: false,
            privileged: false,
        }
    }
}

/// Starts a process beside the first process `container`, in its namespaces and cgroups. It is a child of this process.
///
/// When the container ends, this process is killed too, and the kernel keeps the container's first process until it has
/// been waited for: whoever watches both must wait for this one first, or from another thread.
///
/// # Errors
/// As [`Container::start`](crate::container::Container::start); [`StartError::NotRunning`] when the container has ended.
pub fn exec(container: &ProcessIdentity, spec: &ExecSpec, stdio: Stdio) -> Result<Running, StartError> {
    let not_running = || StartError::NotRunning { pid: container.pid };
    let pidfd = container.open().ok().flatten().ok_or_else(not_running)?;
    let root = open_root(container.pid)?;
    // The number may have been given away between the check and the look-up in /proc; not if it still lives.
    if !container.is_alive() {
        return Err(not_running());
    }
    let user = user::resolve(root.as_fd(), &spec.user, &spec.extra_groups)?;
    let (stdio, streams) = if spec.terminal {
        let (slave, master) = open_terminal(root.as_fd(), spec, &user)?;
        (three(slave)?, Streams { terminal: Some(master), ..Streams::default() })
    } else {
        let opened = open_stdio(stdio, &open_null(root.as_fd())?)?;
        limits::own_streams(&opened.0, &user);
        opened
    };
    let kernel = |what: &str| {
        let what = what.to_owned();
        move |source: Errno| StartError::Kernel { what, source }
    };
    let cgroup = Cgroup::of_process(&Layout::detect()?, container.pid)?;
    let (report, write_end) = pipe_with(PipeFlags::CLOEXEC).map_err(kernel("make a pipe"))?;
    let steps = steps(spec, &user, container.pid, &pidfd, &cgroup)?;
    let plan = Plan { steps, root: None, stdio, empty: None, report: write_end };
    let group = cgroup.open_v2()?;
    crate::helper::hide_from_containers();
    let spawned = spawn_inside(pidfd.as_fd(), group.as_ref().map(AsFd::as_fd), &plan)
        .map_err(kernel("clone a process into the container"))?;
    let program = spec.args.first().map_or("", String::as_str);
    if let Some((failure, steps)) = read_failure(plan, report) {
        reap(&spawned);
        return Err(StartError::from_failure(failure, &steps, program));
    }
    Ok(Running {
        identity: ProcessIdentity::of(spawned.pid).ok(),
        pid: spawned.pid,
        pidfd: spawned.pidfd,
        streams,
        cgroup: None,
        stubs: Stubs::default(),
        remove_stubs_in: None,
        ended: None,
    })
}

fn open_root(pid: i32) -> Result<OwnedFd, StartError> {
    rootdir::open_host(Path::new(&format!("/proc/{pid}/root")), OFlags::DIRECTORY)
        .map_err(|source| StartError::Kernel { what: "open the container's root".into(), source })
}

/// Entering a pid namespace counts for children made afterwards by the same thread, so a thread of its own does it.
fn spawn_inside(
    pidfd: BorrowedFd<'_>,
    group: Option<BorrowedFd<'_>>,
    plan: &Plan,
) -> rustix::io::Result<Spawned> {
    std::thread::scope(|scope| {
        let joiner = scope.spawn(move || {
            sys::setns(pidfd, libc::CLONE_NEWPID)?;
            spawn(0, Memory::Shared, group, plan)
        });
        joiner.join().unwrap_or(Err(Errno::AGAIN))
    })
}

fn steps(
    spec: &ExecSpec,
    user: &User,
    container: i32,
    pidfd: &OwnedFd,
    cgroup: &Cgroup,
) -> Result<Vec<crate::container::plan::Step>, StartError> {
    let mut list = StepList::default();
    list.add(Op::OrdinaryScheduling, "leave the real-time scheduling policy");
    for tasks in cgroup.open_tasks()? {
        list.add(Op::Write { file: tasks, data: Box::from(&b"0"[..]) }, "join the container's cgroup");
    }
    let fd = pidfd
        .try_clone()
        .map_err(|_| StartError::Kernel { what: "copy a descriptor".into(), source: Errno::MFILE })?;
    let flags = libc::CLONE_NEWNS
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWCGROUP;
    list.add(Op::SetNs { fd, flags }, "enter the container's namespaces");
    list.add(Op::NewSession, "start a session");
    list.add(Op::SessionKeyring(c"strata-exec".to_owned()), "make a session keyring");
    let last_limits = limits::add_rlimits(&mut list.steps, &limits::rlimits_of(container))?;
    list.add(Op::Stdio, "set up the standard streams");
    if spec.terminal {
        list.add(Op::ControllingTerminal, "take the terminal");
    }
    let process = Process {
        args: &spec.args,
        env: &spec.env,
        cwd: &spec.cwd,
        user,
        capabilities: if spec.privileged { CapabilitySet::ALL } else { spec.capabilities },
        seccomp: if spec.privileged { Seccomp::Unconfined } else { spec.seccomp },
        no_new_privileges: spec.no_new_privileges,
        dies_with_starter: false,
        init: false,
        terminal: spec.terminal,
    };
    list.finish(&process, last_limits)?;
    Ok(list.steps)
}

/// A terminal of the container's devpts, after making sure that it is one: the container may have put anything there.
fn open_terminal(
    root: BorrowedFd<'_>,
    spec: &ExecSpec,
    user: &User,
) -> Result<(OwnedFd, OwnedFd), StartError> {
    let failed =
        |source: Errno| StartError::Kernel { what: "open a terminal in the container".into(), source };
    let path = rootdir::open_in_root(root, Path::new("dev/pts/ptmx"), OFlags::PATH | OFlags::NOFOLLOW)
        .map_err(failed)?;
    let stat = fstat(&path).map_err(failed)?;
    let magic = fstatfs(&path).map_err(failed)?.f_type as u64;
    if magic != DEVPTS_MAGIC || stat.st_rdev != rustix::fs::makedev(5, 2) {
        return Err(failed(Errno::NXIO));
    }
    // The checked file itself, not the path again.
    let master = reopen(&path, OFlags::RDWR | OFlags::NOCTTY).map_err(failed)?;
    let (master, slave) = open_peer(master, spec.terminal_size, user.uid).map_err(failed)?;
    Ok((slave, master))
}

fn open_null(root: BorrowedFd<'_>) -> Result<OwnedFd, StartError> {
    let failed = |source: Errno| StartError::Kernel { what: "open the null device".into(), source };
    let own = rootdir::open_in_root(root, Path::new("dev/null"), OFlags::PATH | OFlags::NOFOLLOW);
    if let Ok(own) = own
        && fstat(&own).is_ok_and(|stat| stat.st_rdev == rustix::fs::makedev(1, 3))
    {
        return reopen(&own, OFlags::RDWR).map_err(failed);
    }
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(rustix::fs::CWD, "/dev/null", flags, rustix::fs::Mode::empty()).map_err(failed)
}

fn reopen(file: &OwnedFd, flags: OFlags) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::openat(rustix::fs::CWD, path, flags | OFlags::CLOEXEC, rustix::fs::Mode::empty())
}
