//! The engine's own binary, run again: read-only, so that no container can overwrite it, and in the background, to watch
//! a detached container.
//!
//! A helper is started by executing the binary, never by forking a process with threads. It reads what it has to do from
//! standard input, answers once on standard output, and lives on in a session of its own with its streams on the null
//! device:
//!
//! ```no_run
//! # use strata_runtime::helper;
//! // In the command:
//! let started = helper::spawn_helper(&["container-helper"], b"{\"id\":\"x\"}")?;
//! println!("{}", started.answer);
//! // In main, for `container-helper`:
//! let (task, ready) = helper::become_helper()?;
//! ready.succeed("running")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatvfs, openat};
use rustix::mount::{OpenTreeFlags, open_tree};
use serde::{Deserialize, Serialize};

use crate::sys::spawn::CStringArray;
use crate::sys::{self, MountAttr};

/// Longest answer a helper may give.
const MOST_ANSWER: u64 = 1 << 20;

/// A helper did not start.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The binary cannot be executed again.
    #[error("cannot {action} of the helper process: {source}")]
    Io {
        /// What failed: `start the program`, `read the answer`, ...
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The helper said why.
    #[error("{message}")]
    Failed {
        /// What it said.
        message: String,
        /// The exit code it asks for.
        exit_code: i32,
    },
    /// It ended without an answer.
    #[error("the helper process ended without an answer{}", status.map(|status| format!(" ({status})")).unwrap_or_default())]
    Silent {
        /// How it ended.
        status: Option<std::process::ExitStatus>,
    },
}

impl HelperError {
    fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

/// What a helper answers, as one JSON value.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Ready { answer: String },
    Failed { exit_code: i32, message: String },
}

/// A helper that runs.
#[derive(Debug)]
pub struct StartedHelper {
    /// What it said when it was ready.
    pub answer: String,
    /// The process; whoever lives longer than it must wait for it. When this process ends first, init does.
    pub child: Child,
}

impl StartedHelper {
    /// Number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Runs this binary again with `args` (without the program name), from a read-only mount of itself, gives it `task` to
/// read, and returns when it is ready.
///
/// # Errors
/// Fails when it cannot be started, says that it failed, or ends without a word.
pub fn spawn_helper(args: &[&str], task: &[u8]) -> Result<StartedHelper, HelperError> {
    let binary = sealed_binary().map_err(HelperError::io("open the program"))?;
    spawn_program(&binary, "strata", args, task)
}

fn spawn_program(
    binary: &OwnedFd,
    name: &str,
    args: &[&str],
    task: &[u8],
) -> Result<StartedHelper, HelperError> {
    let mut child = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()))
        .arg0(name)
        .args(args)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(HelperError::io("start the program"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends early says why, or its exit status does.
        let _ = stdin.write_all(task);
    }
    let mut text = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MOST_ANSWER).read_to_end(&mut text).map_err(HelperError::io("read the answer"))?;
    }
    match serde_json::from_slice(&text) {
        Ok(Answer::Ready { answer }) => Ok(StartedHelper { answer, child }),
        Ok(Answer::Failed { exit_code, message }) => {
            let _ = child.wait();
            Err(HelperError::Failed { message, exit_code })
        }
        Err(_) => {
            let _ = child.kill();
            Err(HelperError::Silent { status: child.wait().ok() })
        }
    }
}

/// The way back to whoever started this helper. Dropped without a word, the starter reports [`HelperError::Silent`].
#[derive(Debug)]
pub struct Ready {
    pipe: std::fs::File,
}

impl Ready {
    /// Tells the starter that all is well; it stops waiting.
    ///
    /// # Errors
    /// Fails when the starter is gone.
    pub fn succeed(self, answer: &str) -> Result<(), HelperError> {
        self.send(&Answer::Ready { answer: answer.to_owned() })
    }

    /// Tells the starter what went wrong.
    ///
    /// # Errors
    /// Fails when the starter is gone.
    pub fn fail(self, exit_code: i32, message: &str) -> Result<(), HelperError> {
        self.send(&Answer::Failed { exit_code, message: message.to_owned() })
    }

    fn send(mut self, answer: &Answer) -> Result<(), HelperError> {
        let bytes = serde_json::to_vec(answer)
            .map_err(io::Error::from)
            .map_err(HelperError::io("encode the answer"))?;
        self.pipe.write_all(&bytes).map_err(HelperError::io("send the answer"))
    }
}

/// In the helper: reads its task, leaves the starter's session and streams, and becomes the parent of orphans below it.
/// Call it before any thread is started.
///
/// # Errors
/// Fails when this process was not started by [`spawn_helper`].
pub fn become_helper() -> Result<(Vec<u8>, Ready), HelperError> {
    let mut task = Vec::new();
    io::stdin().lock().read_to_end(&mut task).map_err(HelperError::io("read the task"))?;
    let detach = || -> rustix::io::Result<OwnedFd> {
        let pipe = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        for number in 0..3 {
            sys::dup_to(&null, number)?;
        }
        // Fails only for a group leader, which has left the session already.
        let _ = rustix::process::setsid();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(pipe)
    };
    let pipe = detach().map_err(io::Error::from).map_err(HelperError::io("detach the streams"))?;
    hide_from_containers();
    Ok((task, Ready { pipe: pipe.into() }))
}

/// Executes this program again from a read-only mount of itself, unless it runs from one already: then nothing that a
/// container does with `/proc/<pid>/exe` or `#!/proc/self/exe` can change the file. For the start of `main`, in commands
/// that start processes in containers. Costs one exec. Afterwards `current_exe()` says `/`.
///
/// # Errors
/// Fails when the mount cannot be made (not root): nothing has changed then.
pub fn seal_executable() -> io::Result<()> {
    if is_sealed()? {
        return Ok(());
    }
    let binary = sealed_binary()?;
    let strings = |values: Vec<std::ffi::OsString>| -> io::Result<CStringArray> {
        use std::os::unix::ffi::OsStringExt;
        let strings = values.into_iter().map(|value| std::ffi::CString::new(value.into_vec()));
        Ok(CStringArray::new(strings.collect::<Result<_, _>>()?))
    };
    let args = strings(std::env::args_os().collect())?;
    let env = strings(
        std::env::vars_os()
            .map(|(mut name, value)| {
                name.push("=");
                name.push(value);
                name
            })
            .collect(),
    )?;
    Err(sys::execveat(binary.as_fd(), &args, &env).into())
}

fn is_sealed() -> io::Result<bool> {
    let own = openat(CWD, "/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(fstatvfs(&own)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// The running binary on a read-only mount of its own, attached nowhere.
fn sealed_binary() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let binary = match open_tree(CWD, "/proc/self/exe", flags) {
        // Running from a detached mount already, which cannot be cloned before Linux 6.15.
        Err(rustix::io::Errno::INVAL) if is_sealed()? => {
            return Ok(openat(CWD, "/proc/self/exe", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
        }
        other => other?,
    };
    let attr = MountAttr { set: libc::MOUNT_ATTR_RDONLY, ..MountAttr::default() };
    sys::mount_setattr(binary.as_fd(), false, &attr)?;
    Ok(binary)
}

/// Makes this process's `/proc/<pid>` unreachable for processes without `CAP_SYS_PTRACE` on the host.
pub(crate) fn hide_from_containers() {
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, task: &[u8]) -> Result<StartedHelper, HelperError> {
        let busybox = openat(CWD, "/bin/busybox", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        spawn_program(&busybox, "sh", &["-c", script], task)
    }

    #[test]
    fn answers_failures_and_silence_reach_the_starter() {
        // The real program is the strata binary; what matters here is the protocol, so any program that speaks it does.
        let started =
            shell(r#"read x; echo "{\"ready\":{\"answer\":\"got $x\"}}"; exec >&-; sleep 5"#, b"task\n");
        match started {
            Ok(mut started) => {
                assert_eq!(started.answer, "got task");
                assert_eq!(started.child.try_wait().unwrap(), None, "it lives on");
                started.child.kill().unwrap();
                started.child.wait().unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        let failed =
            shell(r#"echo '{"failed":{"exit-code":0,"exit_code":125,"message":"no such image"}}'"#, b"");
        assert!(
            matches!(failed, Err(HelperError::Failed { exit_code: 125, message }) if message == "no such image")
        );
        assert!(
            matches!(shell("exit 3", b""), Err(HelperError::Silent { status: Some(status) }) if status.code() == Some(3))
        );
    }

    #[test]
    fn the_sealed_binary_cannot_be_opened_for_writing() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounting needs root");
            return;
        }
        let binary = sealed_binary().unwrap();
        assert!(fstatvfs(&binary).unwrap().f_flag.contains(StatVfsMountFlags::RDONLY));
        assert!(!is_sealed().unwrap());
    }
}
