//! The child between clone and exec. It shares the parent's memory, so nothing here allocates, locks or panics: system
//! calls on prepared values only. The order of steps is the parent's ([`super::prepare`]); the reasons are in
//! `spec/executor.md` A.

use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat2};
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use super::plan::{Exec, Failure, NewFs, Op, Plan};
use super::reaper;
use crate::sys::spawn::{ChildMain, exit_now};
use crate::sys::{self, MountAttr};

/// `PROC_SUPER_MAGIC` and the inode number of its root.
const PROC_MAGIC: u64 = 0x9fa0;
const PROC_ROOT_INODE: u64 = 1;

const MS_PRIVATE: u64 = 1 << 18;

/// How often a look-up that raced with a rename is tried again.
const RETRIES: usize = 32;

/// What later steps need from earlier ones.
#[derive(Default)]
struct State {
    proc: Cell<Option<OwnedFd>>,
    empty_used: Cell<bool>,
    entered: Cell<bool>,
}

impl ChildMain for Plan {
    fn run(&self) {
        let state = State::default();
        sys::reset_signal_handlers();
        for (index, step) in self.steps.iter().enumerate() {
            if let Err(errno) = self.step(&step.op, &state) {
                let failure = Failure { step: index as u32, errno: errno.raw_os_error() };
                let _ = rustix::io::write(&self.report, &failure.to_bytes());
                exit_now(127);
            }
        }
    }
}

impl Plan {
    fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::BADF)
    }

    fn step(&self, op: &Op, state: &State) -> Result<()> {
        match op {
            Op::Write { file, data } => write_all(file.as_fd(), data),
            Op::OrdinaryScheduling => sys::schedule_ordinarily(),
            Op::UnshareCgroup => sys::unshare(libc::CLONE_NEWCGROUP),
            Op::SetNs { fd, flags } => sys::setns(fd.as_fd(), *flags),
            Op::NewSession => rustix::process::setsid().map(drop),
            Op::SessionKeyring(name) => {
                // Absent, out of quota or forbidden: the old keyring stays; runc goes on as well.
                let _ = sys::join_session_keyring(name);
                Ok(())
            }
            Op::IsolateMounts { slave } => {
                let kind =
                    if *slave { MountPropagationFlags::DOWNSTREAM } else { MountPropagationFlags::PRIVATE };
                mount_change(c"/", kind | MountPropagationFlags::REC)
            }
            Op::AttachRoot { target } => self.attach_root(target),
            Op::Attach { mount, dest, no_links } => {
                attach(mount.as_fd(), self.open(dest, *no_links)?.as_fd())
            }
            Op::MountFs(fs) => self.mount_fs(fs),
            Op::OpenProc => self.open_proc(state),
            Op::Console => self.console(),
            Op::ControllingTerminal => rustix::process::ioctl_tiocsctty(&self.stdio[0]),
            Op::Stdio => self.take_stdio(),
            Op::ProcWrite { path, data, optional } => match self.proc_write(path, data, state) {
                Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) if *optional => Ok(()),
                other => other,
            },
            Op::Hostname(name) => rustix::system::sethostname(name),
            Op::LoopbackUp => sys::loopback_up(),
            Op::RootReadOnly => set_attributes(self.root()?, libc::MOUNT_ATTR_RDONLY),
            Op::Pivot => pivot(),
            Op::ReadOnlyPath(path) => self.read_only_path(path),
            Op::Mask(path) => self.mask(path, state),
            Op::Rlimit { resource, soft, hard } => sys::set_rlimit(*resource, *soft, *hard),
            Op::BoundingSet(keep) => cut_bounding_set(*keep),
            Op::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
            Op::Seccomp(program) => sys::seccomp_load(program),
            Op::Identity { uid, gid, groups, capabilities } => {
                take_identity(*uid, *gid, groups, *capabilities)
            }
            Op::DieWithStarter => {
                rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            }
            Op::WorkingDirectory { last_try: true, .. } if state.entered.get() => Ok(()),
            Op::WorkingDirectory { path, last_try } => match working_directory(path) {
                Err(Errno::ACCESS) if !last_try => Ok(()),
                other => other.map(|()| state.entered.set(true)),
            },
            Op::CloseDescriptors => sys::close_range_on_exec(3),
            Op::StayAsInit { terminal } => reaper::stay_as_init(*terminal),
            Op::Exec(exec) => Err(run(exec)),
        }
    }

    /// Opens a path of the container with `O_PATH`: links stay inside the root, magic links are refused.
    fn open(&self, path: &CStr, no_links: bool) -> Result<OwnedFd> {
        let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if no_links {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        let mut last = Errno::AGAIN;
        for _ in 0..RETRIES {
            match openat2(self.root()?, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(errno @ (Errno::AGAIN | Errno::INTR)) => last = errno,
                other => return other,
            }
        }
        Err(last)
    }

    fn attach_root(&self, target: &CStr) -> Result<()> {
        let root = self.root()?;
        move_mount(root, c"", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        rustix::process::fchdir(root)
    }

    fn mount_fs(&self, fs: &NewFs) -> Result<()> {
        let made = new_fs(fs).and_then(|mount| attach(mount.as_fd(), self.open(&fs.dest, true)?.as_fd()));
        match made {
            Err(Errno::NODEV | Errno::NOENT | Errno::INVAL | Errno::PERM | Errno::BUSY) if fs.optional => {
                Ok(())
            }
            other => other,
        }
    }

    /// A volume or a link over `/proc` must not be taken for it (CVE-2019-16884, -19921).
    fn open_proc(&self, state: &State) -> Result<()> {
        let proc = self.open(c"proc", true)?;
        if fstatfs(&proc)?.f_type as u64 != PROC_MAGIC || fstat(&proc)?.st_ino != PROC_ROOT_INODE {
            return Err(Errno::XDEV);
        }
        state.proc.set(Some(proc));
        Ok(())
    }

    fn proc_write(&self, path: &CStr, data: &[u8], state: &State) -> Result<()> {
        let proc = state.proc.take().ok_or(Errno::BADF)?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&proc, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty(), resolve);
        state.proc.set(Some(proc));
        write_all(file?.as_fd(), data)
    }

    /// By descriptor, never by the path of a slave (CVE-2025-52565).
    fn console(&self) -> Result<()> {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let clone = open_tree(&self.stdio[0], c"", flags)?;
        attach(clone.as_fd(), self.open(c"dev/console", true)?.as_fd())
    }

    fn take_stdio(&self) -> Result<()> {
        for (number, fd) in self.stdio.iter().enumerate() {
            sys::dup_to(fd, number as i32)?;
        }
        Ok(())
    }

    fn read_only_path(&self, path: &CStr) -> Result<()> {
        let target = match self.open(path, true) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_RECURSIVE;
        let clone = open_tree(&target, c"", flags)?;
        let wanted = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC;
        set_attributes(clone.as_fd(), wanted)?;
        attach(clone.as_fd(), target.as_fd())
    }

    /// Files become the null device, directories an empty read-only tmpfs (one, cloned for each).
    fn mask(&self, path: &CStr, state: &State) -> Result<()> {
        let target = match self.open(path, true) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        if FileType::from_raw_mode(fstat(&target)?.st_mode) == FileType::Directory {
            let empty = self.empty.as_ref().ok_or(Errno::BADF)?;
            // Detached mounts can be cloned from Linux 6.15 on, attached ones always.
            if !state.empty_used.replace(true) {
                return attach(empty.as_fd(), target.as_fd());
            }
            return attach(open_tree(empty, c"", flags)?.as_fd(), target.as_fd());
        }
        let null = self.open(c"dev/null", true)?;
        let stat = fstat(&null)?;
        // Something else under this name would be shown instead of the hidden file (CVE-2025-31133).
        if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
            || stat.st_rdev != rustix::fs::makedev(1, 3)
        {
            return Err(Errno::NXIO);
        }
        attach(open_tree(&null, c"", flags)?.as_fd(), target.as_fd())
    }
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

fn set_attributes(mount: BorrowedFd<'_>, set: u64) -> Result<()> {
    sys::mount_setattr(mount, false, &MountAttr { set, propagation: MS_PRIVATE, ..MountAttr::default() })
}

fn new_fs(fs: &NewFs) -> Result<OwnedFd> {
    let context = fsopen(fs.kind.as_c_str(), FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), c"source", fs.kind.as_c_str())?;
    for (key, value) in &fs.options {
        if value.is_empty() {
            fsconfig_set_flag(context.as_fd(), key.as_c_str())?;
        } else {
            fsconfig_set_string(context.as_fd(), key.as_c_str(), value.as_c_str())?;
        }
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(fs.attributes))
}

/// The old root ends up stacked on the new one, where `.` still reaches it: no directory for it is needed.
fn pivot() -> Result<()> {
    rustix::process::pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

fn write_all(fd: BorrowedFd<'_>, data: &[u8]) -> Result<()> {
    // Kernel files take a value in one write or not at all.
    if rustix::io::write(fd, data)? == data.len() { Ok(()) } else { Err(Errno::IO) }
}

fn cut_bounding_set(keep: u64) -> Result<()> {
    for number in 0..64 {
        if keep & (1 << number) != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
            1 << number,
        )) {
            // Beyond the kernel's last one.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// Groups before gid before uid, since each needs the privileges the next one takes away. Groups are set even when
/// there are none, or those of the engine would stay (CVE-2022-36109). Inheritable and ambient sets stay empty
/// (CVE-2022-24769).
fn take_identity(uid: u32, gid: u32, groups: &[u32], capabilities: u64) -> Result<()> {
    rustix::thread::set_keep_capabilities(true)?;
    set_groups(groups)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    rustix::thread::set_keep_capabilities(false)?;
    match rustix::thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    let own = rustix::thread::capabilities(None)?;
    let wanted = CapabilitySet::from_bits_retain(capabilities);
    // A limit of the engine itself is a limit of its containers.
    let kept = CapabilitySet::from_bits_retain(own.permitted.bits() & wanted.bits());
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

fn set_groups(groups: &[u32]) -> Result<()> {
    const MOST: usize = 256;
    let mut list = [Gid::ROOT; MOST];
    let list = list.get_mut(..groups.len()).ok_or(Errno::INVAL)?;
    for (slot, group) in list.iter_mut().zip(groups) {
        *slot = Gid::from_raw(*group);
    }
    rustix::thread::set_thread_groups(list)
}

/// Magic links (`/proc/self/fd/7`) lead to files that the engine still has open, so none is followed; should a directory
/// outside the root be reached all the same, the raw getcwd shows it (CVE-2024-21626).
fn working_directory(path: &CStr) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat2(rustix::fs::CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    rustix::process::fchdir(&directory)?;
    let mut buffer = [0u8; 4096];
    let length = sys::getcwd(&mut buffer)?;
    if length == 0 || buffer[0] != b'/' {
        return Err(Errno::XDEV);
    }
    Ok(())
}

/// Like execvp: goes on after `ENOENT`, prefers to report a file that exists but cannot be run. `EISDIR` and `ELIBACC` stand
/// for what execve calls `EACCES` and `ENOENT`: a directory, and a program whose interpreter is not there.
fn run(exec: &Exec) -> Errno {
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let _ = sys::set_signal_mask(sys::SignalSet::NONE);
    let mut found = Errno::NOENT;
    for candidate in &exec.candidates {
        let errno = sys::execve(candidate, &exec.args, &exec.env);
        let kind = rustix::fs::stat(candidate.as_c_str()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match (errno, kind) {
            (Errno::NOENT, Ok(_)) => return Errno::LIBACC,
            (Errno::NOENT, Err(_)) => {}
            (Errno::NOTDIR, _) => found = if found == Errno::NOENT { errno } else { found },
            (Errno::ACCESS, Ok(FileType::Directory)) if found != Errno::ACCESS => found = Errno::ISDIR,
            (Errno::ACCESS, _) => found = Errno::ACCESS,
            (other, _) => return other,
        }
    }
    found
}
