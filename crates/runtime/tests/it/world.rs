//! A root file system, and running things in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use strata_layer::mount::Overlay;
use strata_runtime::container::{Container, ExitStatus, Running, StartError, Stdio};
use strata_runtime::spec::{ContainerSpec, Rootfs};
use strata_runtime::supervise::{Options, Outcome, OutputSink, OutputStream, supervise};

const APPLETS: [&str; 38] = [
    "sh", "true", "false", "cat", "ls", "id", "mount", "umount", "unshare", "kill", "sleep", "echo", "stat",
    "ps", "head", "hostname", "touch", "mkdir", "rm", "ln", "chroot", "stty", "tty", "env", "pwd", "mknod",
    "df", "readlink", "grep", "dd", "wc", "test", "ip", "sort", "tr", "chmod", "seq", "tail",
];

/// A directory with a lower layer; each container gets an upper of its own. Gone when dropped.
pub(crate) struct World {
    directory: tempfile::TempDir,
    next: AtomicU32,
}

impl World {
    /// `None`, with a note, when containers cannot be started here.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: containers need root");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("strata-it-").tempdir_in("/var/tmp").unwrap();
        let lower = directory.path().join("lower");
        for name in ["bin", "etc", "tmp", "root", "srv"] {
            fs_err::create_dir_all(lower.join(name)).unwrap();
        }
        fs_err::copy("/bin/busybox", lower.join("bin/busybox")).unwrap();
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/srv:/bin/sh\n";
        fs_err::write(lower.join("etc/passwd"), passwd).unwrap();
        fs_err::write(lower.join("etc/group"), "root:x:0:\nweb:x:33:\nssl:x:50:web\n").unwrap();
        Some(Self { directory, next: AtomicU32::new(0) })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn lower(&self) -> PathBuf {
        self.path().join("lower")
    }

    /// A container that runs `script` in a shell.
    pub(crate) fn shell(&self, script: &str) -> ContainerSpec {
        self.command(&["sh", "-c", script])
    }

    pub(crate) fn command(&self, args: &[&str]) -> ContainerSpec {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = self.path().file_name().unwrap().to_string_lossy().replace('.', "");
        let own = self.path().join(format!("c{number}"));
        ContainerSpec {
            id: format!("{name}-{number}"),
            rootfs: Rootfs::Overlay(Overlay {
                lower: vec![self.lower()],
                upper: own.join("upper"),
                work: own.join("work"),
                volatile: true,
            }),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec!["PATH=/bin".into()],
            hostname: "box".into(),
            ..ContainerSpec::default()
        }
    }
}

/// Where the changes of a container appear.
pub(crate) fn upper(spec: &ContainerSpec) -> PathBuf {
    match &spec.rootfs {
        Rootfs::Overlay(overlay) => overlay.upper.clone(),
        Rootfs::Directory(path) => path.clone(),
    }
}

#[derive(Default)]
pub(crate) struct Captured {
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

impl OutputSink for Captured {
    fn output(&mut self, stream: OutputStream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            OutputStream::Stdout => self.out.extend_from_slice(bytes),
            OutputStream::Stderr => self.err.extend_from_slice(bytes),
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn code(&self) -> i32 {
        self.status.exit_code()
    }

    /// Standard output of a container that succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code(), 0, "{self:?}");
        self.out
    }
}

pub(crate) fn run(spec: &ContainerSpec) -> Done {
    finish(Container::start(spec, Stdio::piped(false)).unwrap())
}

pub(crate) fn refused(spec: &ContainerSpec) -> StartError {
    match Container::start(spec, Stdio::null()) {
        Err(error) => error,
        Ok(mut running) => panic!("started: {:?}", running.wait()),
    }
}

/// Waits until the program of the container has made `/tmp/ready`, however busy the machine is.
pub(crate) fn wait_until_ready(spec: &ContainerSpec) {
    let file = upper(spec).join("tmp/ready");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !file.exists() {
        assert!(std::time::Instant::now() < deadline, "the program did not begin");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

pub(crate) fn finish(mut running: Running) -> Done {
    let mut captured = Captured::default();
    let options = Options { sinks: vec![&mut captured], ..Options::default() };
    let Outcome::Exited(status) = supervise(&mut running, options).unwrap() else { panic!("detached") };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Done { status, out: text(captured.out), err: text(captured.err) }
}
