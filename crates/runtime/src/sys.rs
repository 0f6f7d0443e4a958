//! System calls that no safe wrapper covers. The only place where `unsafe` is allowed.
//!
//! Every function here is a thin, safe face of one system call: arguments are borrowed descriptors, C strings and plain
//! values whose lifetimes the type system checks; each `unsafe` block says why it is sound. [`spawn`] holds the one hard
//! part, starting a child that shares our memory.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod loopdev;
pub(crate) mod memory;
pub(crate) mod spawn;

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

fn check(result: libc::c_long) -> Result<libc::c_long> {
    if result == -1 {
        // SAFETY: __errno_location is valid for the life of the thread. In a CLONE_VM child it is the slot of the
        // suspended parent thread, which nobody else uses meanwhile.
        Err(Errno::from_raw_os_error(unsafe { *libc::__errno_location() }))
    } else {
        Ok(result)
    }
}

/// What [`mount_setattr`] changes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MountAttr {
    /// Attributes switched on (`MOUNT_ATTR_*`).
    pub(crate) set: u64,
    /// Attributes switched off.
    pub(crate) clear: u64,
    /// `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED` or 0.
    pub(crate) propagation: u64,
    /// Only with `MOUNT_ATTR_IDMAP`.
    pub(crate) userns_fd: u64,
}

/// Changes the attributes of the mount behind `mount`, and of all below it if `recursive`.
pub(crate) fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, `attr` has the kernel's layout (v0, 32 bytes) and outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    })?;
    Ok(())
}

/// Describes the mount `id` (as `STATX_MNT_ID_UNIQUE` gives it) in `buffer`, a `struct statmount` with its strings: what of
/// `mask` the kernel knows. Since Linux 6.8.
pub(crate) fn statmount(id: u64, mask: u64, buffer: &mut [u8]) -> Result<()> {
    const SYS_STATMOUNT: libc::c_long = 457;
    /// The kernel's `struct mnt_id_req`, in its first version.
    #[repr(C)]
    struct Request {
        size: u32,
        spare: u32,
        id: u64,
        mask: u64,
    }
    let request = Request { size: size_of::<Request>() as u32, spare: 0, id, mask };
    // SAFETY: `request` has the kernel's layout and says its size; the kernel writes at most `len` bytes into the live
    // buffer.
    check(unsafe {
        libc::syscall(SYS_STATMOUNT, std::ptr::from_ref(&request), buffer.as_mut_ptr(), buffer.len(), 0)
    })?;
    Ok(())
}

/// Moves the calling process into namespaces of `fd` (a namespace file or a pidfd).
pub(crate) fn setns(fd: BorrowedFd<'_>, flags: libc::c_int) -> Result<()> {
    // SAFETY: no memory is passed. The callers are a freshly made single-threaded child, or a thread made for this.
    check(unsafe { libc::syscall(libc::SYS_setns, fd.as_raw_fd(), flags) })?;
    Ok(())
}

/// Leaves namespaces shared with the parent.
pub(crate) fn unshare(flags: libc::c_int) -> Result<()> {
    // SAFETY: no memory is passed; callers never pass CLONE_FILES, whose effect on descriptors would be unsound.
    check(unsafe { libc::syscall(libc::SYS_unshare, flags) })?;
    Ok(())
}

/// Sends any signal, also real-time ones, through a pidfd.
pub(crate) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: the siginfo pointer is null, which the kernel takes as "like kill(2)".
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })?;
    Ok(())
}

/// Gives the calling process a new session keyring, so that the host's is not visible in it.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<()> {
    // SAFETY: the name is a C string.
    check(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })?;
    Ok(())
}

/// One classic BPF instruction, as `seccomp(2)` takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SockFilter {
    pub(crate) code: u16,
    pub(crate) jt: u8,
    pub(crate) jf: u8,
    pub(crate) k: u32,
}

/// Installs a system call filter on the calling thread, for good.
pub(crate) fn seccomp_load(program: &[SockFilter]) -> Result<()> {
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const SockFilter,
    }
    let len = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: `program` describes a live slice with the kernel's layout; the kernel copies and verifies it.
    check(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&program))
    })?;
    Ok(())
}

/// Marks every descriptor from `first` on close-on-exec.
pub(crate) fn close_range_on_exec(first: u32) -> Result<()> {
    // SAFETY: only flags of descriptors change; nothing is closed before execve.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(())
}

/// Gives the calling thread the ordinary policy if it has a real-time one. By system calls: musl's functions only fail.
pub(crate) fn schedule_ordinarily() -> Result<()> {
    // SAFETY: 0 is the calling thread; only the policy is returned.
    let policy = check(unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) })? as i32;
    let real_time = [libc::SCHED_FIFO, libc::SCHED_RR];
    if !real_time.contains(&(policy & !libc::SCHED_RESET_ON_FORK)) {
        return Ok(());
    }
    // The kernel's struct sched_param: one int, the priority, 0 for the ordinary policy.
    let priority = 0i32;
    // SAFETY: the pointer is to a live sched_param, which the kernel only reads.
    check(unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_OTHER, std::ptr::from_ref(&priority))
    })?;
    Ok(())
}

/// Marks the interface `lo` of the current network namespace up.
pub(crate) fn loopback_up() -> Result<()> {
    // SAFETY: plain socket(2).
    let raw = check(unsafe {
        libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: the descriptor was just made and has no other owner.
    let socket = unsafe { OwnedFd::from_raw_fd(raw as i32) };
    // SAFETY: ifreq is plain old data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    check(unsafe {
        libc::syscall(libc::SYS_ioctl, socket.as_raw_fd(), libc::SIOCSIFFLAGS, std::ptr::from_ref(&request))
    })?;
    Ok(())
}

/// A set of signals, as the kernel counts them (bit n-1 is signal n).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalSet(pub(crate) u64);

impl SignalSet {
    pub(crate) const ALL: Self = Self(!0);
    pub(crate) const NONE: Self = Self(0);
}

/// Replaces the calling thread's mask of blocked signals and returns the old one.
pub(crate) fn set_signal_mask(set: SignalSet) -> Result<SignalSet> {
    let mut old = 0u64;
    // SAFETY: both pointers are to live 8-byte sets, the size the kernel expects.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            std::ptr::from_ref(&set.0),
            std::ptr::from_mut(&mut old),
            8usize,
        )
    })?;
    Ok(SignalSet(old))
}

/// Gives every signal its default action. Only for a child that has its own handler table and is about to exec.
pub(crate) fn reset_signal_handlers() {
    // The kernel's struct sigaction: handler, flags, restorer, mask. All zero is SIG_DFL.
    let default = [0u64; 4];
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // SAFETY: `default` is as large as the kernel's struct on 64-bit machines; no handler code is installed.
        let _ = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8usize,
            )
        };
    }
}

/// A descriptor that becomes readable when a signal of `set` is pending.
pub(crate) fn signalfd(set: SignalSet) -> Result<OwnedFd> {
    // SAFETY: the set is a live 8-byte value; -1 asks for a new descriptor.
    let raw = check(unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            std::ptr::from_ref(&set.0),
            8usize,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        )
    })?;
    // SAFETY: a new descriptor without another owner.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// Replaces this process by the program behind `file`. Returns only on failure.
pub(crate) fn execveat(file: BorrowedFd<'_>, args: &spawn::CStringArray, env: &spawn::CStringArray) -> Errno {
    // SAFETY: both arrays are null-terminated and own their strings; the path is a C string.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr(),
            env.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    });
    result.err().unwrap_or(Errno::INVAL)
}

/// Replaces this process by the program at `path`. Returns only on failure.
pub(crate) fn execve(path: &CStr, args: &spawn::CStringArray, env: &spawn::CStringArray) -> Errno {
    // SAFETY: the path is a C string, both arrays are null-terminated and own their strings.
    let result =
        check(unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), args.as_ptr(), env.as_ptr()) });
    result.err().unwrap_or(Errno::INVAL)
}

/// The current directory as the kernel names it, into `buffer`; its length without the final zero.
///
/// The raw call, unlike the C library's, shows `(unreachable)` paths instead of hiding them (`spec/executor.md` A.21).
pub(crate) fn getcwd(buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes into the live buffer.
    let length = check(unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) })?;
    Ok((length as usize).saturating_sub(1))
}

/// A copy, in ownership, of a descriptor known only by number.
pub(crate) fn duplicate_fd(raw: i32) -> Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC passes no memory and fails on a closed number.
    let new = check(unsafe { libc::syscall(libc::SYS_fcntl, raw, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: a new descriptor without another owner.
    Ok(unsafe { OwnedFd::from_raw_fd(new as i32) })
}

/// Sets both limits of one resource of the calling process.
pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: a live rlimit64; the old value is not asked for; pid 0 is the caller.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::from_ref(&limit),
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    })?;
    Ok(())
}

/// Both limits of one resource of the calling process.
pub(crate) fn rlimit(resource: u32) -> Result<(u64, u64)> {
    rlimit_of(0, resource)
}

/// Both limits of one resource of a process; 0 is the caller.
pub(crate) fn rlimit_of(pid: i32, resource: u32) -> Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel fills the live rlimit64; no new value is set.
    check(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            std::ptr::from_mut(&mut limit),
        )
    })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Makes `fd` the descriptor number `target` of this process (not close-on-exec).
pub(crate) fn dup_to(fd: impl AsFd, target: i32) -> Result<()> {
    let fd = fd.as_fd().as_raw_fd();
    if fd == target {
        // SAFETY: F_SETFD passes no memory.
        check(unsafe { libc::syscall(libc::SYS_fcntl, fd, libc::F_SETFD, 0) })?;
    } else {
        // SAFETY: passes no memory. Callers target 0 to 2 in a child about to exec, where no owner of those exists.
        check(unsafe { libc::syscall(libc::SYS_dup3, fd, target, 0) })?;
    }
    Ok(())
}

/// Waits for a child by its number: raw wait status, or `None` with `WNOHANG` while it runs. -1 is any child.
pub(crate) fn wait_child(pid: i32, no_hang: bool) -> Result<Option<(i32, i32)>> {
    let mut status = 0i32;
    let options = if no_hang { libc::WNOHANG } else { 0 };
    // SAFETY: the kernel writes one int; no resource usage is asked for.
    let found = check(unsafe {
        libc::syscall(
            libc::SYS_wait4,
            pid,
            std::ptr::from_mut(&mut status),
            options,
            std::ptr::null_mut::<libc::rusage>(),
        )
    })?;
    Ok((found != 0).then_some((found as i32, status)))
}

/// Closes every descriptor from `first` on. Only for a process that owns no Rust values any more (the init reaper).
pub(crate) fn close_from(first: u32) -> Result<()> {
    // SAFETY: the caller's process never returns into code that owns descriptors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) })?;
    Ok(())
}

/// Waits until one of the (blocked) signals of `set` is pending and takes it.
pub(crate) fn wait_signal(set: SignalSet) -> Result<i32> {
    // SAFETY: a live 8-byte set; neither details nor a time limit are asked for.
    let signal = check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            std::ptr::from_ref(&set.0),
            std::ptr::null_mut::<libc::siginfo_t>(),
            std::ptr::null::<libc::timespec>(),
            8usize,
        )
    })?;
    Ok(signal as i32)
}

/// Sends a signal to a child that has not been waited for.
pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: passes no memory.
    unsafe { libc::syscall(libc::SYS_kill, pid, signal) };
}
