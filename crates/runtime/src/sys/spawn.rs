//! A child that shares our memory until it execs: `clone3` with `CLONE_VM | CLONE_VFORK` and its own stack.
//!
//! The calling thread sleeps until the child has exec'ed or ended; the other threads go on. So the child may read
//! everything the parent prepared, without copying a page table, and may report a failure by writing into shared memory.
//! What it must not do: allocate (another thread may hold the allocator's lock when the child is killed), unwind,
//! touch locks, or drop what the parent owns.

use std::ffi::{CString, c_char, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::{Errno, Result};

use super::{SignalSet, set_signal_mask};

/// Strings for execve: the pointers the kernel wants and the owner of what they point to.
#[derive(Debug)]
pub(crate) struct CStringArray {
    /// Owner of what `pointers` points to.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers point into `strings`' heap memory, which is never changed after construction.
unsafe impl Send for CStringArray {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for CStringArray {}

impl CStringArray {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }

    /// Null-terminated array of C strings, valid as long as `self`.
    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }

    #[cfg(test)]
    pub(crate) fn strings(&self) -> &[CString] {
        &self._strings
    }
}

/// The kernel's `struct clone_args`, version 2.
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// 256 KiB: unoptimised builds have large frames. Untouched pages cost nothing.
const STACK: usize = 256 << 10;
const GUARD: usize = 64 << 10;

/// A stack with an inaccessible page range below it.
struct Stack {
    base: *mut c_void,
}

impl Stack {
    fn new() -> Result<Self> {
        // SAFETY: an anonymous private mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                GUARD + STACK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(Errno::NOMEM);
        }
        let stack = Self { base };
        // SAFETY: the range is the lower part of the mapping made above.
        if unsafe { libc::mprotect(base, GUARD, libc::PROT_NONE) } != 0 {
            return Err(Errno::NOMEM);
        }
        Ok(stack)
    }

    fn lowest(&self) -> u64 {
        self.base as u64 + GUARD as u64
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`; the child has left it (vfork: it has exec'ed or ended).
        unsafe { libc::munmap(self.base, GUARD + STACK) };
    }
}

/// A child just started.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// What the child runs: must exec or return (then it exits with 127). See the module for what it must not do.
pub(crate) trait ChildMain: Sync {
    fn run(&self);
}

struct Entry<'a> {
    main: &'a dyn ChildMain,
}

extern "C" fn child_entry(argument: *const c_void) -> ! {
    // SAFETY: `spawn` passes a pointer to an `Entry` on the stack of the thread that sleeps until we exec or exit.
    let entry = unsafe { &*argument.cast::<Entry<'_>>() };
    entry.main.run();
    exit_now(127)
}

/// Ends the process at once: no destructors, no atexit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    loop {
        // SAFETY: exit_group passes no memory and does not return.
        unsafe { libc::syscall(libc::SYS_exit_group, code) };
    }
}

/// Whose memory the child works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The parent's, which waits until the child execs: the fast way.
    Shared,
    /// A copy, for a child that may never exec (the init reaper).
    Copied,
}

/// Starts `main` in a child made with `flags` (namespaces), in the version 2 cgroup `cgroup` if given. All signals are
/// blocked in the child when `main` begins.
pub(crate) fn spawn(
    flags: u64,
    memory: Memory,
    cgroup: Option<BorrowedFd<'_>>,
    main: &dyn ChildMain,
) -> Result<Spawned> {
    let memory = match memory {
        Memory::Shared => libc::CLONE_VM | libc::CLONE_VFORK,
        Memory::Copied => 0,
    };
    let stack = Stack::new()?;
    let mut pidfd: i32 = -1;
    let entry = Entry { main };
    let args = CloneArgs {
        flags: flags
            | (memory | libc::CLONE_PIDFD) as u64
            | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.lowest(),
        stack_size: STACK as u64,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    // A handler that ran in the child would work on the parent's memory.
    let old_mask = set_signal_mask(SignalSet::ALL)?;
    // SAFETY: `args` is valid for its size; the child has the stack to itself: shared memory comes with vfork, which
    // keeps us here until the child is done, copied memory has its own stack and `entry`. `child_entry` never returns,
    // so the child never uses this frame.
    let result = unsafe { clone3(&args, ptr::from_ref(&entry).cast()) };
    let restored = set_signal_mask(old_mask);
    drop(stack);
    if result < 0 {
        return Err(Errno::from_raw_os_error(-result as i32));
    }
    restored?;
    // SAFETY: the kernel stored a new descriptor there because of CLONE_PIDFD.
    Ok(Spawned { pid: result as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
}

/// clone3; the child calls `child_entry(argument)` on its new stack.
#[cfg(target_arch = "x86_64")]
unsafe fn clone3(args: &CloneArgs, argument: *const c_void) -> isize {
    let result: isize;
    // SAFETY: contract of the caller. In the child rsp is the 16-byte aligned top of the new stack.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") ptr::from_ref(args),
            in("rsi") size_of::<CloneArgs>(),
            in("r12") argument,
            in("r13") child_entry as extern "C" fn(*const c_void) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// clone3; the child calls `child_entry(argument)` on its new stack.
#[cfg(target_arch = "aarch64")]
unsafe fn clone3(args: &CloneArgs, argument: *const c_void) -> isize {
    let result: isize;
    // SAFETY: contract of the caller. In the child sp is the 16-byte aligned top of the new stack.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x20",
            "blr x21",
            "brk 1",
            "2:",
            inlateout("x0") ptr::from_ref(args) as isize => result,
            in("x1") size_of::<CloneArgs>(),
            in("x8") libc::SYS_clone3,
            in("x20") argument,
            in("x21") child_entry as extern "C" fn(*const c_void) -> !,
        );
    }
    result
}

/// Forks the calling process, which must have a single thread: 0 in the child.
pub(crate) fn fork() -> Result<i32> {
    // SAFETY: a plain fork through clone: no shared memory, no new stack. The caller is single-threaded (a child of
    // `spawn` with copied memory), so no lock of another thread is left taken in the copy.
    let result = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    super::check(result).map(|pid| pid as i32)
}
