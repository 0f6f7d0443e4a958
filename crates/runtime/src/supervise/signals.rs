//! Signals as readable events.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::signal::Signal;
use crate::sys::{self, SignalSet};

/// Not forwarded: those nobody can catch, those that tell of our own faults, those that are about us (children, pipes,
/// terminal stops).
const OWN: [i32; 15] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGCHLD,
    libc::SIGPIPE,
    libc::SIGURG,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

fn forwarded() -> SignalSet {
    // 32 and 33 belong to the C library.
    let own = OWN.iter().chain(&[32, 33]).fold(0, |set, signal| set | 1 << (signal - 1));
    SignalSet(!own)
}

/// Blocks what [`Signals`] takes over.
pub(super) fn block() -> std::io::Result<()> {
    let old = sys::set_signal_mask(forwarded())?;
    sys::set_signal_mask(SignalSet(old.0 | forwarded().0))?;
    Ok(())
}

/// Runs something with nothing blocked in this thread.
pub(super) fn unblocked<T>(body: impl FnOnce() -> T) -> std::io::Result<T> {
    let old = sys::set_signal_mask(SignalSet(0))?;
    let value = body();
    sys::set_signal_mask(old)?;
    Ok(value)
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The terminal has a new size.
    Resize,
    /// For the container.
    Forward(Signal),
}

/// Signals blocked in this thread and read from a descriptor, until dropped.
#[derive(Debug)]
pub(super) struct Signals {
    fd: OwnedFd,
    old: SignalSet,
}

impl Signals {
    pub(super) fn take() -> std::io::Result<Self> {
        let fd = sys::signalfd(forwarded())?;
        let old = sys::set_signal_mask(forwarded())?;
        Ok(Self { fd, old })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next signal that is pending.
    pub(super) fn next(&self) -> Option<Received> {
        // struct signalfd_siginfo: 128 bytes, the number first.
        let mut info = [0u8; 128];
        loop {
            match rustix::io::read(&self.fd, &mut info) {
                Ok(128) => {}
                _ => return None,
            }
            let number = i32::from_ne_bytes([info[0], info[1], info[2], info[3]]);
            match Signal::from_number(number) {
                Some(Signal::WINCH) => return Some(Received::Resize),
                Some(signal) => return Some(Received::Forward(signal)),
                None => {}
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = sys::set_signal_mask(self.old);
    }
}
