//! What a step does: the closed set of operations that lowering gives and the worker does.
use crate::GitSource;
use jiff::Timestamp;
use strata_oci::Digest;

/// Which files of an origin are meant (`spec/build.md` 2.1, 2.2). Decides the content part of a cache key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// Paths or patterns, expanded, as written: rooted at the origin whether or not they begin with `/`.
    pub paths: Vec<String>,
    /// URLs and repositories of an ADD: their bytes count, not their address.
    pub remote: Vec<CopySource>,
    /// False for a mount's source: `*` and `?` are then ordinary characters, and the root's own header counts.
    pub wildcards: bool,
    /// `--parents`: keep the directories of the source below the destination.
    pub parents: bool,
    /// `--exclude`, ignore-style.
    pub exclude: Vec<String>,
}

/// A step that makes a layer of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOp {
    /// COPY or ADD.
    Copy(CopyOp),
    /// WORKDIR: the directory and its parents, made if missing; the layer may be empty.
    Workdir {
        /// Absolute and clean.
        path: String,
        /// `USER` in force, owner of what is made; empty: root.
        owner: String,
        /// Time of what is made, when `SOURCE_DATE_EPOCH` fixes it.
        epoch: Option<Timestamp>,
    },
}

/// COPY or ADD (`spec/build.md` section 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyOp {
    /// What is copied, in order.
    pub sources: Vec<CopySource>,
    /// Absolute; a trailing `/` (or `/.`) says that it is a directory.
    pub destination: String,
    /// `--chown`, expanded: `user[:group]`, names or numbers.
    pub chown: Option<String>,
    /// `--chmod`, expanded and checked: octal or symbolic.
    pub chmod: Option<String>,
    /// `--link`: on an empty root, whatever lies below.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude`.
    pub exclude: Vec<String>,
    /// Archives are unpacked: ADD without `--unpack=false`. For URLs only when written.
    pub unpack: bool,
    /// Time of implied parents, when `SOURCE_DATE_EPOCH` fixes it.
    pub epoch: Option<Timestamp>,
}

/// One source of a COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CopySource {
    /// A path or pattern in the origin.
    Path(String),
    /// A heredoc: mode 0644, root.
    Inline {
        /// File name.
        name: String,
        /// Content.
        content: Vec<u8>,
    },
    /// ADD of an http(s) URL.
    Http {
        /// Address.
        url: String,
        /// What the file is called: the last part of the URL's path.
        name: String,
        /// `--checksum`, expanded.
        checksum: Option<Digest>,
    },
    /// ADD of a git repository.
    Git {
        /// As written.
        url: String,
        /// What it means, flags included.
        source: GitSource,
    },
}

/// RUN (`spec/build.md` section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOp {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment in order: image ENV and declared ARGs.
    pub env: Vec<(String, String)>,
    /// Working directory, absolute.
    pub cwd: String,
    /// `USER`; empty: root.
    pub user: String,
    /// `BUILDKIT_SANDBOX_HOSTNAME`; empty: the worker's own choice.
    pub hostname: String,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// `--device`: full names of devices that are there.
    pub devices: Vec<String>,
    /// `--mount`, in order, and the scripts of heredocs.
    pub mounts: Vec<Mount>,
    /// Secrets given as variables; they win over `env`.
    pub secret_env: Vec<SecretEnv>,
    /// Proxy variables, both spellings; the environment wins. Never part of a key.
    pub proxy: Vec<(String, String)>,
}

/// Network of a RUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// The build's network.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
}

/// Security mode of a RUN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Docker's default capabilities and filter.
    #[default]
    Sandbox,
    /// Privileged.
    Insecure,
}

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where: absolute and clean.
    pub target: String,
    /// `ro`.
    pub read_only: bool,
    /// What.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountKind {
    /// Files of a context, stage or image. Writes are discarded.
    Bind {
        /// Index into the inputs given to the worker.
        input: usize,
        /// Path within the input.
        source: String,
    },
    /// A directory that outlives the build.
    Cache {
        /// Name shared between steps.
        id: String,
        /// Who may use it at once.
        sharing: Sharing,
        /// First content: index into the inputs, and a path within.
        seed: Option<(usize, String)>,
        /// Path within a cache that has no seed: what of it is mounted. `/` is all.
        path: String,
        /// Mode of a new one.
        mode: u32,
        /// Owner of a new one.
        uid: u32,
        /// Group of a new one.
        gid: u32,
    },
    /// Memory.
    Tmpfs {
        /// Limit in bytes.
        size: Option<u64>,
    },
    /// A secret as a file.
    Secret {
        /// Which.
        id: String,
        /// Fail without it.
        required: bool,
        /// Mode of the file.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// An SSH agent's socket.
    Ssh {
        /// Which.
        id: String,
        /// Fail without it.
        required: bool,
        /// Mode of the socket.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// A file written in the Dockerfile: the script of a heredoc that begins with `#!`, mode 0755.
    Script {
        /// Content.
        content: Vec<u8>,
    },
}

/// Who may use a cache mount at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Anyone.
    #[default]
    Shared,
    /// One; others get another directory.
    Private,
    /// One; others wait.
    Locked,
}

/// A secret given as a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEnv {
    /// Variable.
    pub name: String,
    /// Which secret.
    pub id: String,
    /// Fail without it; otherwise the variable is empty.
    pub required: bool,
}
