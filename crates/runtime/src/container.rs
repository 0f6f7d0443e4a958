//! Starting a container and waiting for it.
//!
//! ```no_run
//! use strata_runtime::container::{Container, Stdio};
//! use strata_runtime::spec::{ContainerSpec, Rootfs};
//!
//! let spec = ContainerSpec {
//!     id: "example".into(),
//!     rootfs: Rootfs::Directory("/srv/root".into()),
//!     args: vec!["/bin/true".into()],
//!     ..ContainerSpec::default()
//! };
//! let mut running = Container::start(&spec, Stdio::null())?;
//! let status = running.wait()?;
//! assert_eq!(status.exit_code(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The parent prepares everything (`prepare`), the child only walks a list of steps (`plan`, `child`).

pub(crate) mod child;
pub(crate) mod command;
mod devfs;
pub(crate) mod error;
mod mounts;
pub(crate) mod plan;
pub(crate) mod prepare;
mod reaper;
mod running;

use std::os::fd::{AsFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};

pub use error::{StartError, WaitError};
pub use running::{ExitStatus, Running};

use crate::spec::ContainerSpec;

/// Where the three standard streams of a container go. Ignored with a terminal.
#[derive(Debug)]
pub struct Stdio {
    /// Standard input.
    pub stdin: Stream,
    /// Standard output.
    pub stdout: Stream,
    /// Standard error.
    pub stderr: Stream,
}

/// One standard stream.
#[derive(Debug)]
pub enum Stream {
    /// The container's null device.
    Null,
    /// The stream of this process.
    Inherit,
    /// A new pipe, whose other end is in [`Running`].
    Pipe,
    /// This file.
    Fd(OwnedFd),
}

impl Stdio {
    /// Nothing in, nothing out.
    pub fn null() -> Self {
        Self { stdin: Stream::Null, stdout: Stream::Null, stderr: Stream::Null }
    }

    /// The streams of this process.
    pub fn inherit() -> Self {
        Self { stdin: Stream::Inherit, stdout: Stream::Inherit, stderr: Stream::Inherit }
    }

    /// Pipes for output and error, and for input if `interactive`.
    pub fn piped(interactive: bool) -> Self {
        let stdin = if interactive { Stream::Pipe } else { Stream::Null };
        Self { stdin, stdout: Stream::Pipe, stderr: Stream::Pipe }
    }
}

/// The engine's ends of what a container was given as standard streams.
#[derive(Debug, Default)]
pub struct Streams {
    /// The terminal: reads its output, writes its input.
    pub terminal: Option<OwnedFd>,
    /// Write end of standard input.
    pub stdin: Option<OwnedFd>,
    /// Read end of standard output.
    pub stdout: Option<OwnedFd>,
    /// Read end of standard error.
    pub stderr: Option<OwnedFd>,
}

/// Starting containers.
#[derive(Debug)]
pub struct Container;

impl Container {
    /// Starts the container and returns when its program runs.
    ///
    /// The calling thread sleeps until then; other threads go on. The program is a child of this process: this process
    /// must call [`Running::wait`].
    ///
    /// # Errors
    /// Says which part of the specification cannot be met, with Docker's exit code for it
    /// ([`StartError::exit_code`]). Nothing is left running or mounted; stubs in the writable layer are removed if the
    /// specification says so.
    pub fn start(spec: &ContainerSpec, stdio: Stdio) -> Result<Running, StartError> {
        prepare::start(spec, stdio)
    }
}

/// Sets up the container's side of a terminal: returns master and slave.
pub(crate) fn open_peer(
    master: OwnedFd,
    size: Option<(u16, u16)>,
    uid: u32,
) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let terminal = devfs::open_peer(master, size, uid)?;
    Ok((terminal.master, terminal.slave))
}

/// Turns [`Stdio`] into the child's three descriptors and the parent's ends. `null` is the null device to use.
pub(crate) fn open_stdio(stdio: Stdio, null: &OwnedFd) -> Result<([OwnedFd; 3], Streams), StartError> {
    let failed = |source: rustix::io::Errno| StartError::Kernel {
        what: "prepare the standard streams".into(),
        source,
    };
    let mut streams = Streams::default();
    let output = |stream: Stream,
                  own: std::os::fd::BorrowedFd<'_>|
     -> rustix::io::Result<(OwnedFd, Option<OwnedFd>)> {
        Ok(match stream {
            Stream::Null => (rustix::io::fcntl_dupfd_cloexec(null, 3)?, None),
            Stream::Inherit => (rustix::io::fcntl_dupfd_cloexec(own, 3)?, None),
            Stream::Fd(fd) => (fd, None),
            Stream::Pipe => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                (write, Some(read))
            }
        })
    };
    let (stdout, ours) = output(stdio.stdout, std::io::stdout().as_fd()).map_err(failed)?;
    streams.stdout = ours;
    let (stderr, ours) = output(stdio.stderr, std::io::stderr().as_fd()).map_err(failed)?;
    streams.stderr = ours;
    let stdin = match stdio.stdin {
        Stream::Pipe => {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
            streams.stdin = Some(write);
            read
        }
        other => output(other, std::io::stdin().as_fd()).map_err(failed)?.0,
    };
    Ok(([stdin, stdout, stderr], streams))
}
