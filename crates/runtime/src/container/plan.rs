//! What the child does between clone and exec, as data: a list of steps with everything they need already opened,
//! formatted and allocated. The parent writes it, the child ([`super::child`]) walks it.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use crate::sys::SockFilter;
use crate::sys::spawn::CStringArray;

/// A step and what to call it in an error.
pub(crate) struct Step {
    pub(crate) op: Op,
    /// Completes `cannot …`; the path, name or value is part of it.
    pub(crate) what: String,
}

/// One thing the child does. Paths are relative to the container's root, without a leading `/`.
pub(crate) enum Op {
    /// Leave the real-time policy of whoever started the engine: a container has none, as with Docker, and version 1
    /// groups of the cpu controller take no real-time task.
    OrdinaryScheduling,
    /// Write bytes to an open file: `0` to a cgroup's `tasks`.
    Write { file: OwnedFd, data: Box<[u8]> },
    /// Leave the engine's cgroup namespace, now that the process is in its own cgroup.
    UnshareCgroup,
    /// Enter prepared namespaces.
    SetNs { fd: OwnedFd, flags: i32 },
    /// A new session, without a terminal.
    NewSession,
    /// A keyring of its own; kernels without keyrings do not matter.
    SessionKeyring(CString),
    /// Stop mounts from reaching the host (`MS_PRIVATE` or `MS_SLAVE`).
    IsolateMounts { slave: bool },
    /// Attach the root file system over a directory of the engine and make it the current directory.
    AttachRoot { target: CString },
    /// Attach a detached mount inside the root.
    Attach { mount: OwnedFd, dest: CString, no_links: bool },
    /// Mount a file system that belongs to one of the new namespaces.
    MountFs(NewFs),
    /// Remember `/proc`, after checking that it is one.
    OpenProc,
    /// Bind the terminal on `/dev/console`.
    Console,
    /// Make the terminal (`Plan::stdio`) the controlling one.
    ControllingTerminal,
    /// Standard input, output and error from `Plan::stdio`.
    Stdio,
    /// Write below `/proc`, through the remembered descriptor.
    ProcWrite { path: CString, data: Box<[u8]>, optional: bool },
    /// UTS name.
    Hostname(Box<[u8]>),
    /// `lo` up in the new network namespace.
    LoopbackUp,
    /// The root itself read-only; volumes keep their mode.
    RootReadOnly,
    /// Make the root the root, and let go of the host's.
    Pivot,
    /// Bind a path on itself, read-only.
    ReadOnlyPath(CString),
    /// Hide a path.
    Mask(CString),
    /// A resource limit.
    Rlimit { resource: u32, soft: u64, hard: u64 },
    /// Cut the bounding set to this mask.
    BoundingSet(u64),
    /// No new privileges from here on.
    NoNewPrivileges,
    /// The system call filter.
    Seccomp(Box<[SockFilter]>),
    /// Groups, gid, uid; then exactly the capabilities of this mask as permitted and effective ones.
    Identity { uid: u32, gid: u32, groups: Box<[u32]>, capabilities: u64 },
    /// Be killed with the thread that started this. After the identity: a change of it takes the wish back.
    DieWithStarter,
    /// Working directory; must lie below the root. Once before and once after the identity: a file system may refuse
    /// root and accept the user.
    WorkingDirectory { path: CString, last_try: bool },
    /// Every descriptor from 3 on goes away at exec.
    CloseDescriptors,
    /// Fork; the parent of the two stays as a reaper, the child goes on with the next step.
    StayAsInit { terminal: bool },
    /// Run the first candidate that exists.
    Exec(Exec),
}

/// A file system made inside the new namespaces.
pub(crate) struct NewFs {
    pub(crate) kind: CString,
    /// Option and value; an empty value is a flag.
    pub(crate) options: Vec<(CString, CString)>,
    /// `MOUNT_ATTR_*`
    pub(crate) attributes: u32,
    pub(crate) dest: CString,
    /// A kernel without it does not matter (mqueue, cgroup views).
    pub(crate) optional: bool,
}

/// The last step.
pub(crate) struct Exec {
    /// Full paths in the order to try.
    pub(crate) candidates: Vec<CString>,
    pub(crate) args: CStringArray,
    pub(crate) env: CStringArray,
}

/// Everything the child uses.
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// The detached mount of the root, or for exec the opened root of the container.
    pub(crate) root: Option<OwnedFd>,
    /// Standard input, output, error; the terminal three times for a terminal.
    pub(crate) stdio: [OwnedFd; 3],
    /// A detached read-only tmpfs, for masking directories.
    pub(crate) empty: Option<OwnedFd>,
    /// Where a failure is written to.
    pub(crate) report: OwnedFd,
}

/// What a failed child writes: 8 bytes, step and errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: u32,
    pub(crate) errno: i32,
}

impl Failure {
    pub(crate) const SIZE: usize = 8;

    pub(crate) fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..4].copy_from_slice(&self.step.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.errno.to_ne_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self { step: u32::from_ne_bytes([a, b, c, d]), errno: i32::from_ne_bytes([e, f, g, h]) }
    }
}
