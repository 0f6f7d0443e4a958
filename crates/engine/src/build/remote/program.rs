//! Running `git`: in an environment of its own, without the user's configuration, hooks and prompts, and only to where
//! BuildKit's git would go.
use super::{Fetcher, RemoteError};
use crate::EngineError;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// `file://` and everything that names a program (`ext::`) stay outside, for submodules as well.
const PROTOCOLS: &str = "http:https:git:ssh";
const SILENCE: &str = "60";

/// What a `git` said.
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// One repository being fetched: where, and with what settings.
pub(super) struct Git<'a> {
    fetcher: &'a Fetcher<'a>,
    directory: PathBuf,
    config: Vec<(String, String)>,
    environment: Vec<(&'static str, std::ffi::OsString)>,
}

impl<'a> Git<'a> {
    pub(super) fn new(fetcher: &'a Fetcher<'a>, directory: &Path, remote: &str) -> Result<Self, EngineError> {
        find(fetcher.access.search_path(), "git").ok_or(RemoteError::Program {
            what: "a git repository",
            program: "git",
            package: "git",
        })?;
        let mut git =
            Self { fetcher, directory: directory.to_owned(), config: Vec::new(), environment: Vec::new() };
        git.settings();
        git.authorize(remote)?;
        git.ways(remote)?;
        Ok(git)
    }

    fn settings(&mut self) {
        let fixed = [
            ("core.hooksPath", "/dev/null"),
            ("core.autocrlf", "false"),
            ("core.symlinks", "true"),
            ("core.fsmonitor", "false"),
            ("credential.helper", ""),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
            ("advice.detachedHead", "false"),
            ("init.defaultBranch", "master"),
            ("safe.directory", "*"),
            // A server that falls silent is given up.
            ("http.lowSpeedLimit", "1"),
            ("http.lowSpeedTime", SILENCE),
        ];
        self.config.extend(fixed.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    /// `GIT_AUTH_TOKEN` and `GIT_AUTH_HEADER`, with `.host` for one host only, given as secrets.
    fn authorize(&mut self, remote: &str) -> Result<(), EngineError> {
        use base64::Engine;
        let Ok(url) = strata_http::Url::parse(remote) else { return Ok(()) };
        let (true, Some(host)) = (matches!(url.scheme(), "http" | "https"), url.host_str()) else {
            return Ok(());
        };
        let secret = |name: &str| -> Result<Option<String>, EngineError> {
            match self.fetcher.secret(&format!("{name}.{host}"))? {
                Some(value) => Ok(Some(value)),
                None => self.fetcher.secret(name),
            }
        };
        let header = match (secret("GIT_AUTH_HEADER")?, secret("GIT_AUTH_TOKEN")?) {
            (Some(header), _) => header,
            (None, Some(token)) => {
                let login = format!("x-access-token:{token}");
                format!("basic {}", base64::prelude::BASE64_STANDARD.encode(login))
            }
            (None, None) => return Ok(()),
        };
        let origin = url.origin().ascii_serialization();
        self.config.push((format!("http.{origin}/.extraheader"), format!("Authorization: {header}")));
        Ok(())
    }

    /// Proxies, certificates, the agent and known hosts of `ssh`.
    fn ways(&mut self, remote: &str) -> Result<(), EngineError> {
        let access = self.fetcher.access;
        let proxies = &access.proxies;
        let values = [
            ("http_proxy", proxies.http.as_deref()),
            ("https_proxy", proxies.https.as_deref()),
            ("no_proxy", Some(proxies.none.as_str()).filter(|none| !none.is_empty())),
        ];
        self.environment.extend(values.iter().filter_map(|(name, value)| Some((*name, (*value)?.into()))));
        self.environment.extend(access.certificates.iter().map(|file| ("SSL_CERT_FILE", file.into())));
        let is_http = remote.starts_with("http://") || remote.starts_with("https://");
        if is_http || remote.starts_with("git://") {
            return Ok(());
        }
        find(self.fetcher.access.search_path(), "ssh").ok_or(RemoteError::Program {
            what: "a git repository over SSH",
            program: "ssh",
            package: "openssh-client",
        })?;
        if let Some(socket) = self.fetcher.agents().socket("default")? {
            self.environment.push(("SSH_AUTH_SOCK", socket.into()));
        }
        self.environment.push(("GIT_SSH_COMMAND", self.ssh_command().into()));
        self.environment.push(("GIT_SSH_VARIANT", "ssh".into()));
        Ok(())
    }

    /// Without the user's configuration. A host that is not known yet is believed, as BuildKit's key scan believes it; one
    /// that is known and has another key is refused.
    fn ssh_command(&self) -> String {
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
        let own = self.directory.with_extension("known_hosts");
        let mut files = vec![own];
        files.extend(self.fetcher.access.home.iter().map(|home| home.join(".ssh/known_hosts")));
        let known: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        let option = PathBuf::from(format!("UserKnownHostsFile={}", known.join(" ")));
        format!(
            "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ConnectTimeout=30 \
             -o ServerAliveInterval=20 -o {}",
            quoted(&option)
        )
    }

    /// Runs `git` in the repository's directory.
    pub(super) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Said, EngineError> {
        self.fetcher.check_cancelled()?;
        // Files of a checkout have the modes that umask leaves: they must not depend on the user's.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "umask 022; exec git \"$@\"", "git"]).args(arguments);
        command
            .current_dir(&self.directory)
            .env_clear()
            .env("PATH", self.fetcher.access.search_path())
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "true")
            .env("SSH_ASKPASS", "true")
            .env("GIT_ALLOW_PROTOCOL", PROTOCOLS)
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_CONFIG_COUNT", self.config.len().to_string())
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // Not as arguments, which every user of the machine can read.
        for (number, (name, value)) in self.config.iter().enumerate() {
            command.env(format!("GIT_CONFIG_KEY_{number}"), name);
            command.env(format!("GIT_CONFIG_VALUE_{number}"), value);
        }
        self.wait(command.spawn()?)
    }

    /// Reads both streams to their ends; kills `git` and what it started when the build is cancelled.
    fn wait(&self, mut child: Child) -> Result<Said, EngineError> {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let group = rustix::process::Pid::from_child(&child);
        std::thread::scope(|threads| {
            let out = threads.spawn(|| text(stdout));
            let err = threads.spawn(|| text(stderr));
            let status = loop {
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                if self.fetcher.cancel.load(Ordering::Relaxed) {
                    // It may have ended meanwhile.
                    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            self.fetcher.check_cancelled()?;
            let joined = |thread: std::thread::ScopedJoinHandle<'_, String>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            Ok(Said { success: status.success(), stdout: joined(out), stderr: joined(err) })
        })
    }
}

/// What a stream holds, bounded: listings of references and messages.
fn text(stream: Option<impl Read>) -> String {
    const MOST: u64 = 64 << 20;
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let mut stream = stream.take(MOST);
        // What cannot be read is missing in a message.
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program in a search path.
pub(in super::super) fn find(search_path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(search_path).map(|directory| directory.join(program)).find(|path| path.is_file())
}
