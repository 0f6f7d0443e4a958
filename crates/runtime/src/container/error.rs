//! Why a container did not start or cannot be waited for, with Docker's words and exit codes.

use std::path::PathBuf;

use rustix::io::Errno;

use super::plan::{Failure, Op, Step};
use crate::cgroup::CgroupError;
use crate::mount::MountError;
use crate::user::UserError;

/// The container's program did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No program of that name in `PATH`.
    #[error("exec: {program:?}: executable file not found in $PATH{}", hint(*forbidden))]
    NotInPath {
        /// As given.
        program: String,
        /// A file of this name is there, and may not be executed.
        forbidden: bool,
    },
    /// The program, given with a path, is not there.
    #[error("exec: {program:?}: stat {program}: {reason}")]
    NotFound {
        /// As given.
        program: String,
        /// `no such file or directory`, `not a directory`.
        reason: &'static str,
    },
    /// The program is there, and what runs it is not.
    #[error(
        "exec: {0:?}: no such file or directory: the file is there, but not the interpreter that its first line or its ELF header names"
    )]
    NoInterpreter(String),
    /// The program exists and cannot be executed.
    #[error("exec: {program:?}: {reason}")]
    NotExecutable {
        /// As given.
        program: String,
        /// `permission denied`, `is a directory: permission denied`, `exec format error`.
        reason: &'static str,
    },
    /// No program was given.
    #[error("no command specified")]
    NoCommand,
    /// An argument, variable or path with a NUL byte in it.
    #[error("{what} {value:?} contains a NUL byte")]
    NulByte {
        /// Which part.
        what: &'static str,
        /// Its value.
        value: String,
    },
    /// The user or a group is unknown.
    #[error(transparent)]
    User(#[from] UserError),
    /// The working directory cannot be entered.
    #[error("cannot enter the working directory {}: {source}", path.display())]
    WorkingDirectory {
        /// In the container.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// The working directory leads through a descriptor of a process, or in circles.
    #[error(
        "cannot enter the working directory {}: it is not a directory of the container's file system, but a link to an open file or to itself",
        path.display()
    )]
    WorkingDirectoryOutside {
        /// In the container.
        path: PathBuf,
    },
    /// The root file system cannot be mounted.
    #[error(transparent)]
    Rootfs(#[from] MountError),
    /// A mount of the specification cannot be made.
    #[error("cannot mount {source_text} at {}: {reason}", dest.display())]
    Mount {
        /// What was to be mounted.
        source_text: String,
        /// Where, in the container.
        dest: PathBuf,
        /// Why.
        reason: String,
    },
    /// A limit, or the groups themselves.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A kernel parameter that does not belong to the container.
    #[error("sysctl {name:?} is not allowed: {reason}")]
    Sysctl {
        /// As given.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// A resource limit that this process may not give.
    #[error("cannot set ulimit {name}: {reason}")]
    Rlimit {
        /// As given.
        name: String,
        /// Why.
        reason: String,
    },
    /// The container to join has ended.
    #[error("the container is not running (process {pid})")]
    NotRunning {
        /// Its first process.
        pid: i32,
    },
    /// Any other step.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What.
        what: String,
        /// Why.
        source: Errno,
    },
}

impl StartError {
    /// Docker's exit code: 127 not found, 126 not executable, 125 everything before the program.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NotInPath { .. } | Self::NotFound { .. } | Self::NoInterpreter(_) => 127,
            Self::WorkingDirectory { source: Errno::NOENT, .. } => 127,
            Self::NotExecutable { .. }
            | Self::WorkingDirectory { .. }
            | Self::WorkingDirectoryOutside { .. } => 126,
            _ => 125,
        }
    }

    /// What a failure of the child means.
    pub(crate) fn from_failure(failure: Failure, steps: &[Step], program: &str) -> Self {
        let source = Errno::from_raw_os_error(failure.errno);
        let Some(step) = steps.get(failure.step as usize) else {
            return Self::Kernel { what: "start the container".into(), source };
        };
        match &step.op {
            Op::Exec(_) => Self::from_exec(program, source),
            Op::WorkingDirectory { path, .. } => {
                let path = std::ffi::OsStr::new(&*path.to_string_lossy()).into();
                match source {
                    Errno::LOOP | Errno::XDEV => Self::WorkingDirectoryOutside { path },
                    source => Self::WorkingDirectory { path, source },
                }
            }
            Op::OpenProc | Op::MountFs(_) | Op::Attach { no_links: true, .. }
                if matches!(source, Errno::LOOP | Errno::NOTDIR | Errno::XDEV) =>
            {
                Self::Mount {
                    source_text: "a file system".into(),
                    dest: PathBuf::from(step.what.clone()),
                    reason: "it must be an ordinary directory of the image, not a link or a volume".into(),
                }
            }
            _ => Self::Kernel { what: step.what.clone(), source },
        }
    }

    fn from_exec(program: &str, source: Errno) -> Self {
        let named = program.to_owned();
        if !program.contains('/')
            && matches!(source, Errno::NOENT | Errno::NOTDIR | Errno::ISDIR | Errno::ACCESS)
        {
            return Self::NotInPath { program: named, forbidden: source == Errno::ACCESS };
        }
        let reason = match source {
            Errno::NOENT => return Self::NotFound { program: named, reason: "no such file or directory" },
            Errno::NOTDIR => return Self::NotFound { program: named, reason: "not a directory" },
            Errno::LIBACC => return Self::NoInterpreter(named),
            Errno::ACCESS | Errno::PERM => "permission denied",
            Errno::ISDIR => "is a directory: permission denied",
            Errno::NOEXEC => "exec format error",
            Errno::TOOBIG => "argument list too long",
            Errno::LOOP => "too many levels of symbolic links",
            Errno::TXTBSY => "text file busy",
            _ => return Self::Kernel { what: format!("execute {program:?}"), source },
        };
        Self::NotExecutable { program: named, reason }
    }
}

fn hint(forbidden: bool) -> &'static str {
    if forbidden { " (there is a file of this name, but it is not executable)" } else { "" }
}

/// Waiting for a container failed.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The process is not a child of this one, or was waited for already.
    #[error("cannot wait for process {pid}: {source}")]
    Wait {
        /// Its number.
        pid: i32,
        /// Why.
        source: Errno,
    },
    /// A signal could not be sent.
    #[error("cannot send {signal} to process {pid}: {source}")]
    Signal {
        /// Which.
        signal: crate::signal::Signal,
        /// To whom.
        pid: i32,
        /// Why.
        source: Errno,
    },
    /// Mount targets of a build step are left in its layer.
    #[error(transparent)]
    Stub(#[from] crate::stubs::StubError),
}
