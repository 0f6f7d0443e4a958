//! `--init`: a pid 1 that forwards signals and reaps orphans, built into the engine (`spec/engine.md` section 4).
//!
//! It is the container's first process itself, a copy of the engine's memory that never execs, so that it needs no file
//! in the image. It runs the same kind of code as [`super::child`]: no allocation, system calls only.

use rustix::io::{Errno, Result};

use crate::sys::spawn::{exit_now, fork};
use crate::sys::{self, SignalSet};

/// Signals that say something about ourselves rather than about the container: not forwarded.
const SYNCHRONOUS: [i32; 7] =
    [libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS];

/// Forks. Returns in the child, which is to become the container's program; the caller stays here until that ends.
pub(super) fn stay_as_init(terminal: bool) -> Result<()> {
    let child = fork()?;
    if child == 0 {
        // Its own group, so that a terminal's ctrl-c reaches the program and not us.
        let _ = rustix::process::setpgid(None, None);
        if terminal {
            let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid());
        }
        return Ok(());
    }
    // The pipe that reports failures must close when the program execs; nothing of the engine may stay open.
    let _ = sys::close_from(3);
    let _ = rustix::thread::set_name(c"strata-init");
    let code = watch(child);
    exit_now(code)
}

fn watch(child: i32) -> i32 {
    loop {
        let signal = match sys::wait_signal(SignalSet::ALL) {
            Ok(signal) => signal,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            Err(_) => return 255,
        };
        if signal != libc::SIGCHLD {
            if !SYNCHRONOUS.contains(&signal) {
                sys::kill(child, signal);
            }
            continue;
        }
        while let Ok(Some((pid, status))) = sys::wait_child(-1, true) {
            if pid == child && (libc::WIFEXITED(status) || libc::WIFSIGNALED(status)) {
                return if libc::WIFEXITED(status) {
                    libc::WEXITSTATUS(status)
                } else {
                    128 + libc::WTERMSIG(status)
                };
            }
        }
    }
}
