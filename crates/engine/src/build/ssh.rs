//! `--ssh`: agents that steps and git may use. A step gets a socket of its own, with the owner it asked for, behind which
//! an agent lists keys and signs, and does nothing else.
use super::remote::{RemoteError, Surroundings, find};
use crate::EngineError;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One `--ssh`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshForward {
    /// What `--mount=type=ssh,id=` calls it.
    pub id: String,
    /// What it stands for.
    pub source: SshSource,
}

/// Where signatures come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SshSource {
    /// The socket of an agent that runs.
    Agent(PathBuf),
    /// Private keys; an agent is started for them.
    Keys(Vec<PathBuf>),
}

/// The agents of one build.
pub(super) struct Agents {
    run_dir: PathBuf,
    search_path: OsString,
    forwards: Vec<SshForward>,
    started: Mutex<BTreeMap<String, KeyAgent>>,
}

/// An `ssh-agent` of ours. It ends with this process, however that ends.
struct KeyAgent {
    process: Child,
    directory: PathBuf,
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        // The shell that watches over it reads the end of its input, and ends it.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
        let _ = fs_err::remove_dir_all(&self.directory);
    }
}

impl Agents {
    pub(super) fn new(run_dir: &Path, surroundings: &Surroundings) -> Self {
        Self {
            run_dir: run_dir.to_owned(),
            search_path: surroundings.search_path().to_owned(),
            forwards: surroundings.ssh.clone(),
            started: Mutex::default(),
        }
    }

    /// The socket of an agent; `None` if `--ssh` does not give one of this name.
    pub(super) fn socket(&self, id: &str) -> Result<Option<PathBuf>, EngineError> {
        let Some(forward) = self.forwards.iter().find(|forward| forward.id == id) else { return Ok(None) };
        let keys = match &forward.source {
            SshSource::Agent(socket) => return Ok(Some(socket.clone())),
            SshSource::Keys(keys) => keys,
        };
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if !started.contains_key(id) {
            started.insert(id.to_owned(), self.start(id, keys)?);
        }
        Ok(started.get(id).map(|agent| agent.directory.join("agent")))
    }

    fn start(&self, id: &str, keys: &[PathBuf]) -> Result<KeyAgent, EngineError> {
        for program in ["ssh-agent", "ssh-add"] {
            find(&self.search_path, program).ok_or(RemoteError::Program {
                what: "--ssh with a key file",
                program: "ssh-agent",
                package: "openssh-client",
            })?;
        }
        let directory = private_directory(&self.run_dir, "ssh")?;
        let socket = directory.join("agent");
        let script = "ssh-agent -D -a \"$1\" >/dev/null & read _; kill $!; wait";
        let process = Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .arg(&socket)
            .env_clear()
            .env("PATH", &self.search_path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let agent = KeyAgent { process, directory };
        let deadline = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(&socket).is_err() {
            if Instant::now() > deadline {
                return Err(fault(id, format!("ssh-agent does not answer at {}", socket.display())));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        keys.iter().try_for_each(|key| self.add(id, key, &socket))?;
        Ok(agent)
    }

    /// Through standard input, so that the file's mode is not judged, as BuildKit does not judge it.
    fn add(&self, id: &str, key: &Path, socket: &Path) -> Result<(), EngineError> {
        let file = fs_err::File::open(key)?.into_file();
        let output = Command::new("ssh-add")
            .args(["-q", "-"])
            .env_clear()
            .env("PATH", &self.search_path)
            .env("SSH_AUTH_SOCK", socket)
            .env("SSH_ASKPASS_REQUIRE", "never")
            .stdin(file)
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
        let why =
            format!("{} cannot be used: {said} (keys with a passphrase need a running agent)", key.display());
        Err(fault(id, why))
    }
}

fn fault(id: &str, why: String) -> EngineError {
    RemoteError::Ssh { id: id.to_owned(), why }.into()
}

/// A directory in the run directory that nobody else may enter.
fn private_directory(run_dir: &Path, kind: &str) -> Result<PathBuf, EngineError> {
    use std::os::unix::fs::DirBuilderExt;
    static COUNT: AtomicU32 = AtomicU32::new(0);
    fs_err::create_dir_all(run_dir)?;
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = run_dir.join(format!("{kind}-{}-{number}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&path)?;
    Ok(path)
}

/// A socket for one step, through which it reaches an agent. Gone when dropped.
pub(super) struct StepSocket {
    directory: PathBuf,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl StepSocket {
    pub(super) fn open(
        run_dir: &Path,
        agent: PathBuf,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<Self, EngineError> {
        let directory = private_directory(run_dir, "step-ssh")?;
        let mut socket = Self { directory, closing: Arc::default(), thread: None };
        let listener = bind(&socket.directory)?;
        super::mounts::set_owner_and_mode(&socket.path(), mode, owner)?;
        let closing = Arc::clone(&socket.closing);
        socket.thread = Some(std::thread::spawn(move || {
            for stream in listener.incoming() {
                if closing.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let agent = agent.clone();
                // Ends when the step's side is closed, at the latest when its last process is gone.
                std::thread::spawn(move || {
                    let _ = serve(stream, &agent);
                });
            }
        }));
        Ok(socket)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("agent")
    }
}

impl Drop for StepSocket {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that it is over.
        if connect(&self.directory).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        let _ = fs_err::remove_dir_all(&self.directory);
    }
}

/// The path of a socket may have 107 bytes; one through a descriptor of its directory always fits.
fn through<T>(directory: &Path, act: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty())?;
    act(Path::new(&format!("/proc/self/fd/{}/agent", opened.as_raw_fd())))
}

fn bind(directory: &Path) -> std::io::Result<UnixListener> {
    through(directory, |path| UnixListener::bind(path))
}

fn connect(directory: &Path) -> std::io::Result<UnixStream> {
    through(directory, |path| UnixStream::connect(path))
}

/// Longest message of the protocol that OpenSSH takes.
const LONGEST: usize = 256 << 10;
const FAILURE: u8 = 5;
const LIST: u8 = 11;
const SIGN: u8 = 13;

/// Passes on requests to list keys and to sign; everything else (adding, removing, locking) fails, for it would change
/// the user's agent.
fn serve(mut step: UnixStream, agent: &Path) -> std::io::Result<()> {
    let mut upstream = UnixStream::connect(agent)?;
    loop {
        let request = message(&mut step)?;
        let answer = match request.first() {
            Some(&(LIST | SIGN)) => {
                send(&mut upstream, &request)?;
                message(&mut upstream)?
            }
            _ => vec![FAILURE],
        };
        send(&mut step, &answer)?;
    }
}

/// A message: its length in four bytes, big end first, and so many bytes.
fn message(stream: &mut UnixStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST {
        return Err(std::io::Error::other("a message of the agent protocol is too long"));
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn send(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    stream.write_all(&framed)
}
