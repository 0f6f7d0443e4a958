//! One loop that stands between a container and whoever talks to it: pumps the standard streams, writes the log, follows
//! the size of the terminal, forwards signals, and ends with the exit status once everything has been read.
//!
//! The same loop serves a command in the foreground (a [`Client`]) and a detached helper (no client, a log).

mod buffer;
mod log;
mod pump;
mod signals;
mod terminal;

use std::os::fd::{BorrowedFd, OwnedFd};

pub use log::{LogError, LogLimits, LogWriter};
pub use terminal::RawMode;

use crate::container::{ExitStatus, Running, WaitError};

/// Which of the two outputs; a terminal has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something that gets a copy of all output, in order: a log, the progress of a build.
pub trait OutputSink {
    /// Takes a piece; pieces end anywhere. Must not block for long.
    ///
    /// # Errors
    /// An error ends the supervision.
    fn output(&mut self, stream: OutputStream, bytes: &[u8]) -> std::io::Result<()>;

    /// A stream has ended; what was held back is to be written.
    ///
    /// # Errors
    /// An error ends the supervision.
    fn end(&mut self, stream: OutputStream) -> std::io::Result<()> {
        let _ = stream;
        Ok(())
    }
}

/// Whoever sits in front of the container. Its files are never made non-blocking: they are shared with its shell.
#[derive(Debug, Default)]
pub struct Client {
    /// Read and passed on; `None` without `-i`.
    pub stdin: Option<OwnedFd>,
    /// Gets standard output, or what a terminal shows.
    pub stdout: Option<OwnedFd>,
    /// Gets standard error.
    pub stderr: Option<OwnedFd>,
}

impl Client {
    /// The streams of this process.
    ///
    /// # Errors
    /// Fails when descriptors run out.
    pub fn own(interactive: bool) -> std::io::Result<Self> {
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned();
        Ok(Self {
            stdin: if interactive { Some(copy(rustix::stdio::stdin())?) } else { None },
            stdout: Some(copy(rustix::stdio::stdout())?),
            stderr: Some(copy(rustix::stdio::stderr())?),
        })
    }
}

/// What to do besides pumping.
#[derive(Default)]
pub struct Options<'a> {
    /// In the foreground: who.
    pub client: Option<Client>,
    /// Copies of the output.
    pub sinks: Vec<&'a mut dyn OutputSink>,
    /// Pass signals on to the container. The signals are blocked in the calling thread meanwhile; other threads must
    /// have them blocked too ([`block_forwarded_signals`] before they start).
    pub forward_signals: bool,
    /// Bytes typed on a terminal that end the supervision and leave the container running; Docker's default is
    /// ctrl-p ctrl-q (`[16, 17]`).
    pub detach_keys: Option<Vec<u8>>,
    /// This process has nothing else to do: while nothing happens it gives memory back, pages of the program among it.
    pub rest: bool,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The process ended and everything it wrote was passed on.
    Exited(ExitStatus),
    /// The detach keys were typed; the process runs on.
    Detached,
}

/// The loop cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The process cannot be waited for.
    #[error(transparent)]
    Wait(#[from] WaitError),
    /// A descriptor failed.
    #[error("cannot {action}: {source}")]
    Io {
        /// What: `watch the container's streams`, ...
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl SuperviseError {
    fn io<E: Into<std::io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Io { action, source: source.into() }
    }
}

/// Blocks the signals that [`supervise`] forwards, for this thread and those it starts. For the beginning of `main`.
///
/// # Errors
/// Fails never in practice.
pub fn block_forwarded_signals() -> std::io::Result<()> {
    signals::block()
}

/// Lets signals through in this thread while `body` runs: what a program does between [`block_forwarded_signals`] and the
/// start of a container can be interrupted.
///
/// # Errors
/// Fails never in practice.
pub fn with_signals<T>(body: impl FnOnce() -> T) -> std::io::Result<T> {
    signals::unblocked(body)
}

/// Runs the loop until the process has ended and its output is passed on, or the client detaches.
///
/// # Errors
/// Fails when a stream, a sink or the process itself fails; the terminal's mode is restored in every case.
pub fn supervise(running: &mut Running, options: Options<'_>) -> Result<Outcome, SuperviseError> {
    pump::Pump::new(running, options)?.run(running)
}
