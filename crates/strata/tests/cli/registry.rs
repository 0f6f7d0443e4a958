//! A registry of one's own: the process, its end, and the tools that push to it and pull from it.

use crate::world::World;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use strata_oci::Digest;

/// `strata registry serve` on a free port.
pub(crate) struct Served {
    child: Child,
    /// `127.0.0.1:<port>`
    pub(crate) address: String,
}

impl Served {
    pub(crate) fn new(world: &World, flags: &[&str]) -> Self {
        Self::at(world, "registry", flags)
    }

    /// In a directory of the world.
    pub(crate) fn at(world: &World, root: &str, flags: &[&str]) -> Self {
        let mut arguments = vec!["registry", "serve", "--root", root, "--addr", "127.0.0.1:0"];
        arguments.extend(flags);
        let mut command = world.command(&arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strata starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit("://").next().unwrap_or_default().to_owned();
        assert!(line.starts_with(&format!("Serving {root} on http")), "{line}");
        Self { child, address }
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Ends it as Ctrl-C does; its exit code and what it wrote to standard error.
    fn end(mut self) -> (Option<i32>, String) {
        self.signal(rustix::process::Signal::INT);
        let status = self.child.wait().expect("it ran");
        let mut text = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
        (status.code(), text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request on a connection of its own: status and body. `None` when the connection broke.
pub(crate) fn ask(address: &str, method: &str, target: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let status = std::str::from_utf8(&answer[..end]).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[end + 4..].to_vec()))
}

fn push(address: &str, content: &[u8]) -> bool {
    let target = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(content));
    ask(address, "POST", &target, content).is_some_and(|(status, _)| status == 201)
}

#[test]
fn what_was_acknowledged_survives_kills_and_nothing_else_is_stored() {
    let world = World::new();
    let content = |round: usize, client: usize, n: usize| {
        let mut bytes = vec![n as u8; 40_000 * (client + 1)];
        bytes[..8].copy_from_slice(&((round * 10 + client) as u64).to_le_bytes());
        bytes
    };
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..10 {
        let served = Served::new(&world, &[]);
        std::thread::scope(|scope| {
            for client in 0..3 {
                let (served, acknowledged) = (&served, &acknowledged);
                scope.spawn(move || {
                    // Until the server is gone.
                    for n in 0..10_000 {
                        let bytes = content(round, client, n);
                        if !push(&served.address, &bytes) {
                            break;
                        }
                        acknowledged.lock().expect("no panics").push(Digest::of(&bytes));
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(30 + 17 * round as u64));
            // On a busy machine the first ones take longer than that.
            let deadline = Instant::now() + Duration::from_secs(60);
            while acknowledged.lock().expect("no panics").len() <= 3 * round && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            served.signal(rustix::process::Signal::KILL);
        });
    }
    let acknowledged = acknowledged.into_inner().expect("no panics");
    assert!(acknowledged.len() > 20, "only {} pushes between the kills", acknowledged.len());
    for digest in &acknowledged {
        let hex = digest.hex();
        assert!(world.path("registry/repositories/a/_blobs").join(&hex).exists(), "{digest} was promised");
    }
    let stored = blobs(&world);
    for path in &stored {
        let bytes = fs_err::read(path).expect("a blob");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert_eq!(Digest::of(&bytes).hex(), name, "no blob is half written");
    }
    assert!(stored.len() >= acknowledged.len());
    // Nothing refers to them, so the collector takes them all, and what the kills left.
    world.ok(&["registry", "gc", "--root", "registry", "--grace", "0"]);
    assert_eq!(blobs(&world), Vec::<PathBuf>::new());
}

fn blobs(world: &World) -> Vec<PathBuf> {
    let shelves = fs_err::read_dir(world.path("registry/blobs/sha256")).expect("a directory");
    let shelves = shelves.map(|shelf| shelf.expect("readable").path());
    let files = shelves.flat_map(|shelf| fs_err::read_dir(shelf).expect("a directory"));
    files.map(|file| file.expect("readable").path()).collect()
}

#[test]
fn a_signal_lets_what_is_under_way_end() {
    let world = World::new();
    let served = Served::new(&world, &["-v"]);
    let content = vec![9; 100_000];
    let target = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(&content));
    let mut stream = TcpStream::connect(&served.address).expect("it listens");
    write!(stream, "POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n").expect("sent");
    stream.write_all(&content[..50_000]).expect("sent");
    std::thread::sleep(Duration::from_millis(100));
    let address = served.address.clone();
    let ended = std::thread::spawn(move || served.end());
    // Soon nobody new comes in.
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&address).is_ok() {
        assert!(Instant::now() < deadline, "new connections are still taken");
        std::thread::sleep(Duration::from_millis(10));
    }
    stream.write_all(&content[50_000..]).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let (code, log) = ended.join().expect("no panics");
    assert_eq!(code, Some(0));
    let words: Vec<&str> = log.trim().split(' ').collect();
    assert_eq!((words.len(), words[2], words[3], words[4]), (7, "POST", target.as_str(), "201"), "{log}");
}

#[test]
fn memory_does_not_grow_with_blobs() {
    let world = World::new();
    let served = Served::new(&world, &[]);
    let content: Vec<u8> = (0..64_000_000_u32).map(|n| (n % 255) as u8).collect();
    assert!(push(&served.address, &content));
    let back = ask(&served.address, "GET", &format!("/v2/a/blobs/{}", Digest::of(&content)), b"");
    assert!(back.is_some_and(|(status, bytes)| status == 200 && bytes == content));
    let status = fs_err::read_to_string(format!("/proc/{}/status", served.child.id())).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 40_000, "{peak} kB at most, for a blob of 64 MB");
}

#[test]
fn wrong_calls() {
    let world = World::new();
    world.file("full/x", b"x");
    world.file("users", b"alice:plain\n");
    insta::assert_snapshot!(world.transcript(&[
        "registry serve",
        "registry serve --root full",
        "registry serve --root r --addr nonsense",
        "registry serve --root r --addr 127.0.0.1",
        "registry serve --root r --htpasswd users",
        "registry serve --root r --tls-cert full/x --tls-key full/x",
        "registry gc --root full",
        "registry gc --root nowhere",
        "registry gc --root full --grace soon",
        "registry gc",
    ]));
}

#[test]
fn garbage_is_named() {
    let world = World::new();
    let served = Served::new(&world, &[]);
    assert!(push(&served.address, &[1; 2000]));
    insta::assert_snapshot!(world.transcript(&[
        "registry gc --root registry",
        "registry gc --root registry --grace 0 --dry-run",
        "registry gc --root registry --grace 0",
        "registry gc --root registry --grace 0",
    ]));
    assert!(world.output(&["registry", "serve", "--root", "registry"]).status.code() == Some(1));
    drop(served);
}

fn tool(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn skopeo_pushes_and_pulls() {
    if tool("skopeo", &["--version"]).is_err() {
        eprintln!("SKIP registry::skopeo_pushes_and_pulls: no skopeo here");
        return;
    }
    let world = World::with_base();
    world.ok(&["save", "-o", "base.tar", "base:1"]);
    let served = Served::new(&world, &[]);
    let archive = format!("docker-archive:{}", world.path("base.tar").display());
    let remote = |name: &str| format!("docker://{}/{name}", served.address);
    let skopeo = |arguments: &[&str]| {
        let all = [&["--insecure-policy"], arguments].concat();
        tool("skopeo", &all).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    };
    let to = ["--dest-tls-verify=false", "--src-tls-verify=false", "-q"];
    let copy = |from: &str, to_: &str| skopeo(&[&["copy"], &to[..], &[from, to_]].concat());
    copy(&archive, &remote("team/base:1"));
    // Within the registry: the blobs are mounted.
    copy(&remote("team/base:1"), &remote("other/base:2"));
    let digest =
        |name: &str| skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &remote(name)]);
    assert_eq!(digest("team/base:1"), digest("other/base:2"));
    let back = format!("docker-archive:{}:base:back", world.path("back.tar").display());
    copy(&remote("other/base:2"), &back);
    let id = world.ok(&["inspect", "-f", "{{.Id}}", "base:1"]);
    world.ok(&["rmi", "base:1"]);
    world.ok(&["load", "-i", "back.tar"]);
    assert_eq!(world.ok(&["inspect", "-f", "{{.Id}}", "base:back"]), id);
    skopeo(&["delete", "--tls-verify=false", &remote("team/base:1")]);
    let gone = tool("skopeo", &["inspect", "--tls-verify=false", &remote("team/base:1")]);
    let why = gone.expect_err("deleted");
    assert!(why.contains("manifest unknown"), "{why}");
    assert!(digest("other/base:2").starts_with("sha256:"));
}
