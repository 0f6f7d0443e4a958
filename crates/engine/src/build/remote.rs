//! What a build takes from elsewhere: files by HTTP, repositories by git.
//!
//! Everything fetched is stored as a layer of its own, with a record of how to ask whether it is still the newest. The
//! layer stays as long as the record does, so that a repeated build asks ("has it changed?") and downloads nothing.

mod context;
mod git;
mod http;
mod program;
mod record;

use super::ssh::{Agents, SshForward};
use super::{BuildRequest, Secret};
use crate::{Engine, EngineError};
pub use context::{Remote, RemoteContext, is_remote};
pub(super) use program::find;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use strata_build::{CopySource, GitSource};
use strata_http::{Client, Options, Proxies};
use strata_layer::Stack;
use strata_oci::{DiffId, Digest};
use strata_store::Lease;

/// How the network is reached, and as whom. Taken from the user's environment by the caller; nothing here reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Proxies.
    pub proxies: Proxies,
    /// `PATH`: where `git`, `ssh` and `ssh-agent` are.
    pub search_path: Option<OsString>,
    /// `HOME`: where `.ssh/known_hosts` is.
    pub home: Option<PathBuf>,
    /// `SSL_CERT_FILE`, for `git`.
    pub certificates: Option<PathBuf>,
    /// `--ssh`.
    pub ssh: Vec<SshForward>,
}

/// Where programs are when the caller does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Surroundings {
    pub(super) fn search_path(&self) -> &OsStr {
        self.search_path.as_deref().unwrap_or_else(|| OsStr::new(DEFAULT_PATH))
    }
}

/// Why something was not fetched. Addresses are shown without credentials.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// There was no answer, or it broke off.
    #[error(transparent)]
    Http(#[from] strata_http::Error),
    /// The answer was no.
    #[error("{url}: invalid response status {status}{}", status_hint(*.status))]
    Status {
        /// What was asked for.
        url: String,
        /// 404
        status: u16,
    },
    /// Not the file that `--checksum` means.
    #[error("{url}: digest mismatch: expected {wanted}, got {found}")]
    Checksum {
        /// What was asked for.
        url: String,
        /// As the instruction has it.
        wanted: Digest,
        /// As it came.
        found: Digest,
    },
    /// Too large for a Dockerfile.
    #[error("{url}: more than {limit} bytes: neither an archive nor a Dockerfile")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// How much is read.
        limit: u64,
    },
    /// Too large for the disk.
    #[error("{url}: {needed} bytes do not fit: {free} bytes are free in the store")]
    NoRoom {
        /// What was asked for.
        url: String,
        /// Its size.
        needed: u64,
        /// What is left.
        free: u64,
    },
    /// A program that is needed is not installed.
    #[error("{what} needs the program {program}, which was not found: install {package}")]
    Program {
        /// `a git repository`
        what: &'static str,
        /// `git`
        program: &'static str,
        /// What brings it.
        package: &'static str,
    },
    /// `git` failed.
    #[error("{url}: failed to {what}: {message}")]
    Git {
        /// The repository.
        url: String,
        /// `fetch`
        what: &'static str,
        /// What git said.
        message: String,
    },
    /// No such branch or tag.
    #[error("{url}: repository does not contain ref {reference}")]
    NoReference {
        /// The repository.
        url: String,
        /// As asked for.
        reference: String,
    },
    /// Not the commit that was meant.
    #[error("{url}: expected checksum to match {wanted}, got {found}")]
    Commit {
        /// The repository.
        url: String,
        /// Beginning of a hash.
        wanted: String,
        /// What the reference means.
        found: String,
    },
    /// The subdirectory is not there, or is none.
    #[error("{url}: {subdir} is not a directory of the repository at {commit}")]
    Subdir {
        /// The repository.
        url: String,
        /// As asked for.
        subdir: String,
        /// Where it was looked for.
        commit: String,
    },
    /// An SSH agent.
    #[error("--ssh {id}: {why}")]
    Ssh {
        /// Which.
        id: String,
        /// What is wrong.
        why: String,
    },
    /// Told to stop.
    #[error("canceled")]
    Cancelled,
}

fn status_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            " (give credentials with --secret id=HTTP_AUTH_TOKEN_<host>,… or id=HTTP_AUTH_HEADER_<host>,…)"
        }
        _ => "",
    }
}

/// Fetches for one build.
pub(super) struct Fetcher<'a> {
    pub(super) engine: &'a Engine,
    access: &'a Surroundings,
    secrets: &'a [Secret],
    cancel: &'a AtomicBool,
    lease: Lease,
    client: OnceLock<Client>,
    agents: Agents,
    /// What this build has already: each source is asked for once, however many steps want it.
    fetched: Mutex<HashMap<CopySource, Slot>>,
}

type Slot = Arc<Mutex<Option<Fetched>>>;

/// A source, stored.
#[derive(Clone)]
pub(super) struct Fetched {
    /// Its layer.
    pub(super) diff_id: DiffId,
    /// The files of the layer.
    pub(super) files: Arc<Stack>,
    /// What of it is meant: a file's name, or everything.
    pub(super) path: String,
    /// Stands for the content in a cache key where the bytes do not: a `.git` is never the same twice.
    pub(super) identity: Option<Digest>,
}

impl<'a> Fetcher<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        access: &'a Surroundings,
        secrets: &'a [Secret],
        lease: Lease,
        cancel: &'a AtomicBool,
    ) -> Self {
        let agents = Agents::new(engine.store().run_dir(), access);
        Self {
            engine,
            access,
            secrets,
            cancel,
            lease,
            client: OnceLock::new(),
            agents,
            fetched: Mutex::default(),
        }
    }

    pub(super) fn of(
        engine: &'a Engine,
        request: &'a BuildRequest,
        lease: Lease,
        cancel: &'a AtomicBool,
    ) -> Self {
        Self::new(engine, &request.surroundings, &request.secrets, lease, cancel)
    }

    /// A source of an ADD, fetched unless this build or the store has it.
    pub(super) fn fetch(&self, source: &CopySource) -> Result<Fetched, EngineError> {
        let slot = {
            let mut all = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(source.clone()).or_default())
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetched) = &*slot {
            return Ok(fetched.clone());
        }
        let fetched = match source {
            CopySource::Http { url, name, checksum } => self.file(url, name, checksum.as_ref())?,
            CopySource::Git { source, .. } => self.repository(source)?,
            CopySource::Path(_) | CopySource::Inline { .. } => {
                return Err(EngineError::Invalid("not a remote source".to_owned()));
            }
        };
        Ok(slot.insert(fetched).clone())
    }

    /// The agents that `--ssh` gives.
    pub(super) fn agents(&self) -> &Agents {
        &self.agents
    }

    fn client(&self) -> Result<&Client, EngineError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let options = Options { proxies: self.access.proxies.clone(), ..Options::default() };
        let client = Client::new(options).map_err(RemoteError::Http)?;
        Ok(self.client.get_or_init(|| client))
    }

    fn check_cancelled(&self) -> Result<(), RemoteError> {
        if self.cancel.load(Ordering::Relaxed) { Err(RemoteError::Cancelled) } else { Ok(()) }
    }

    /// Sleeps, but not through a cancellation.
    fn pause(&self, pause: Duration) -> Result<(), RemoteError> {
        let end = Instant::now() + pause;
        while Instant::now() < end {
            self.check_cancelled()?;
            let left = end.saturating_duration_since(Instant::now());
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
        Ok(())
    }

    /// Does something that waits for the network, and ends it when the build is cancelled.
    fn interruptible<T: Send>(&self, client: &Client, work: impl FnOnce() -> T + Send) -> T {
        let here = std::thread::current();
        std::thread::scope(|threads| {
            let worker = threads.spawn(move || {
                let outcome = work();
                here.unpark();
                outcome
            });
            while !worker.is_finished() {
                if self.cancel.load(Ordering::Relaxed) {
                    client.shut_down();
                }
                std::thread::park_timeout(Duration::from_millis(50));
            }
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The bytes of a secret, if it was given.
    fn secret(&self, id: &str) -> Result<Option<String>, EngineError> {
        let Some(secret) = self.secrets.iter().find(|secret| secret.id == id) else { return Ok(None) };
        let text = String::from_utf8_lossy(&secret.read()?).trim_end_matches(['\r', '\n']).to_owned();
        Ok(Some(text))
    }
}

/// A repository's address as messages and records have it.
fn shown(source: &GitSource) -> String {
    strata_http::redact(&source.remote)
}
