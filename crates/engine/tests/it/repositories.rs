//! Git repositories, and servers for them on loopback.
use crate::answers::answer;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use strata_testbed::{Request, Server};

/// A repository `project.git` below a directory.
pub(crate) struct Repository {
    pub(crate) root: PathBuf,
    work: PathBuf,
}

impl Repository {
    /// One commit on `main` with a file, a program, a link and a directory.
    pub(crate) fn new(root: &Path, name: &str) -> Self {
        let work = root.join(format!("{name}-work"));
        fs_err::create_dir_all(work.join("sub/deep")).unwrap();
        let repository = Self { root: root.to_owned(), work };
        repository.git(&["init", "-q", "-b", "main", "."]);
        repository.write("file", "one\n");
        repository.write("sub/deep/file", "deep\n");
        repository.write("run.sh", "#!/bin/sh\n");
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::Permissions::from_mode(0o775);
        fs_err::set_permissions(repository.work.join("run.sh"), mode).unwrap();
        std::os::unix::fs::symlink("file", repository.work.join("link")).unwrap();
        repository.commit("first");
        let bare = root.join(format!("{name}.git"));
        repository.git(&["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
        repository.git(&["remote", "add", "origin", bare.to_str().unwrap()]);
        repository
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@t", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(&self.work)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_COMMITTER_DATE", "1600000000 +0000")
            .env("GIT_AUTHOR_DATE", "1600000000 +0000")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs_err::write(self.work.join(path), text).unwrap();
    }

    /// Commits everything; its hash.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// To where it is served from.
    pub(crate) fn push(&self) {
        self.git(&["push", "-q", "--all", "origin"]);
        self.git(&["push", "-q", "--tags", "origin"]);
    }
}

/// `git http-backend` behind our own server.
pub(crate) fn smart(root: &Path) -> Server {
    let root = root.to_owned();
    Server::keeping(move |request, out| {
        let output = backend(&root, request);
        let text = String::from_utf8_lossy(&output);
        let end = text.find("\r\n\r\n").expect("a head");
        let head = &output[..end];
        let body = &output[end + 4..];
        let head = String::from_utf8_lossy(head);
        let mut status = "200 OK";
        let mut headers = Vec::new();
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            if name == "Status" { status = value } else { headers.push((name, value)) }
        }
        answer(out, status, &headers, body)
    })
}

fn backend(root: &Path, request: &Request) -> Vec<u8> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let header = |name: &str| request.header(name).unwrap_or_default();
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&request.body).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// The files of a repository and nothing more.
pub(crate) fn dumb(root: &Path) -> Server {
    let root = root.to_owned();
    Server::keeping(move |request, out| {
        let path = request.target.split('?').next().unwrap_or_default();
        match fs_err::read(root.join(path.trim_start_matches('/'))) {
            Ok(bytes) => answer(out, "200 OK", &[], &bytes),
            Err(_) => answer(out, "404 Not Found", &[], b""),
        }
    })
}

/// `git daemon`, ended when dropped.
pub(crate) struct Daemon {
    process: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn new(root: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // The program itself: `git daemon` would start it as a child that a kill does not reach.
        let path = Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let program = PathBuf::from(String::from_utf8(path).unwrap().trim()).join("git-daemon");
        let process = Command::new(program)
            .args(["--export-all", "--listen=127.0.0.1", "--reuseaddr"])
            .args([format!("--port={port}"), format!("--base-path={}", root.display())])
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self { process, port }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
