//! Images travel by a registry between strata and Docker's own daemon (Debian's 20.10), with equal IDs and equal trees.

use crate::world::World;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use strata_testbed::Registry;

/// A daemon of this test, with a store of its own and no network.
struct Daemon {
    child: Child,
    socket: String,
    directory: tempfile::TempDir,
    client: PathBuf,
}

impl Daemon {
    /// `None`, with a word, where there is none or it does not start.
    fn start(test: &str) -> Option<Self> {
        let skip = |why: &str| {
            eprintln!("SKIP {test}: {why}");
            None
        };
        if !rustix::process::geteuid().is_root() {
            return skip("dockerd needs root");
        }
        // A client as old as the daemon speaks its language.
        let client = ["/usr/bin/docker", "docker"].map(PathBuf::from);
        let Some(client) =
            client.into_iter().find(|path| Command::new(path).arg("--version").output().is_ok())
        else {
            return skip("no docker here");
        };
        let directory =
            tempfile::Builder::new().prefix("strata-docker-").tempdir_in("/var/tmp").expect("made");
        let place = |name: &str| directory.path().join(name).display().to_string();
        let socket = format!("unix://{}", place("docker.sock"));
        let log = fs_err::File::create(directory.path().join("log")).expect("made").into_parts().0;
        let spawned = Command::new("dockerd")
            .args(["--data-root", &place("data"), "--exec-root", &place("exec"), "-p", &place("pid")])
            .args(["-H", &socket, "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        let Ok(child) = spawned else { return skip("no dockerd here") };
        let mut daemon = Self { child, socket, directory, client };
        let start = Instant::now();
        while daemon.docker(&["version"]).is_err() {
            if daemon.child.try_wait().expect("asked").is_some() || start.elapsed() > Duration::from_secs(60)
            {
                let said = fs_err::read_to_string(daemon.directory.path().join("log")).unwrap_or_default();
                return skip(&format!("dockerd does not start: {}", said.lines().last().unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(daemon)
    }

    fn docker(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(&self.client);
        command.args(["-H", &self.socket]).args(arguments).env("DOCKER_BUILDKIT", "0");
        for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"] {
            command.env_remove(variable);
        }
        let output = command.output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn ok(&self, arguments: &[&str]) -> String {
        self.docker(arguments).unwrap_or_else(|error| panic!("docker {arguments:?}: {error}"))
    }

    fn identity(&self, name: &str) -> String {
        self.ok(&["image", "inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", name])
    }

    /// What a container of the image sees, but for what Docker lays over it.
    fn tree(&self, name: &str, into: &Path) -> Tree {
        let container = self.ok(&["create", "--network", "none", name, "/nothing"]);
        let tar = into.join("docker.tar");
        self.ok(&["export", "-o", &tar.display().to_string(), &container]);
        self.ok(&["rm", &container]);
        tree(&tar)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // In good order: it takes its own mounts and containerd with it.
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        );
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) && !matches!(self.child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Path -> mode, owner, time, target or content.
type Tree = BTreeMap<String, String>;

fn tree(tar: &Path) -> Tree {
    let mut found = Tree::new();
    let mut archive = tar::Archive::new(fs_err::File::open(tar).expect("there"));
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string().trim_end_matches('/').to_owned();
        // Docker's own: mount points that it makes in every container.
        let own = [
            "dev",
            "proc",
            "sys",
            "etc/hosts",
            "etc/hostname",
            "etc/resolv.conf",
            "etc/mtab",
            ".dockerenv",
            "",
        ];
        if own.contains(&path.as_str()) || path.starts_with("dev/") {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its bytes");
        let header = entry.header();
        let (kind, mode) = (header.entry_type(), header.mode().expect("a mode") & 0o7777);
        let owner = (header.uid().expect("an owner"), header.gid().expect("a group"));
        let link = entry.link_name().expect("a link").map(|link| link.display().to_string());
        // Making `dev` and the like touches the directories above them.
        let time = if path == "etc" { 0 } else { header.mtime().expect("a time") };
        let digest = strata_oci::Digest::of(&content);
        found.insert(path, format!("{kind:?} {mode:o} {owner:?} {time} {link:?} {digest}"));
    }
    found
}

/// The same of strata's image.
fn ours(world: &World, name: &str) -> Tree {
    let tar = world.path("strata.tar");
    world.file("exported/Dockerfile", format!("FROM {name}\n").as_bytes());
    world.ok(&["build", "-q", "-o", &format!("type=tar,dest={}", tar.display()), "exported"]);
    tree(&tar)
}

fn identity(world: &World, name: &str) -> String {
    world.ok(&["inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", name]).trim().to_owned()
}

#[test]
fn images_go_to_docker_and_come_back() {
    let Some(registry) = Registry::start() else { return };
    let Some(daemon) = Daemon::start("docker::images_go_to_docker_and_come_back") else { return };
    let world = World::with_base();
    let host = registry.host();
    let name = format!("{host}/team/app:1");
    world.file("ctx/a/run.sh", b"#!/bin/sh\n");
    world.file("ctx/a/data", &[7; 5000]);
    std::os::unix::fs::symlink("run.sh", world.path("ctx/a/link")).expect("a link");
    let file = "FROM base:1\nCOPY --chown=7:8 --chmod=4750 a/run.sh /app/run.sh\nCOPY a /app/a\nENV A=1\nWORKDIR /app/new\n";
    world.file("ctx/Dockerfile", file.as_bytes());
    world.ok(&["build", "-q", "-t", &name, "ctx"]);
    for form in [&[][..], &["--compression", "gzip", "--compression-level", "1"]] {
        world.ok(&[&["push", "-q"], form, &[&name]].concat());
        daemon.ok(&["pull", "-q", &name]);
        assert_eq!(daemon.identity(&name), identity(&world, &name), "{form:?}");
        assert_eq!(daemon.tree(&name, &world.path("")), ours(&world, &name));
        daemon.ok(&["rmi", "-f", &name]);
    }
    // What Docker makes of it, and sends, is what arrives here.
    daemon.ok(&["pull", "-q", &name]);
    let built = format!("{host}/docker/built:1");
    world.file("next/Dockerfile", format!("FROM {name}\nCOPY more /more\nLABEL by=docker\n").as_bytes());
    world.file("next/more", b"from docker");
    daemon.ok(&["build", "-q", "--network", "none", "-t", &built, &world.path("next").display().to_string()]);
    daemon.ok(&["push", &built]);
    let digest = daemon.ok(&["image", "inspect", "-f", "{{index .RepoDigests 0}}", &built]);
    let other = World::new();
    other.ok(&["pull", "-q", &built]);
    assert_eq!(identity(&other, &built), daemon.identity(&built));
    assert_eq!(ours(&other, &built), daemon.tree(&built, &world.path("")));
    assert_eq!(other.ok(&["inspect", "-f", "{{index .RepoDigests 0}}", &built]).trim(), digest);
    // On to a third repository, unchanged: Docker pulls it by the same digest.
    let third = format!("{host}/third:1");
    other.ok(&["tag", &built, &third]);
    other.ok(&["push", "-q", &third]);
    let by_digest = format!("{host}/third@{}", digest.split_once('@').expect("a digest").1);
    daemon.ok(&["pull", "-q", &by_digest]);
    assert_eq!(daemon.identity(&by_digest), daemon.identity(&built));
    assert!(fs_err::metadata(world.path("strata.tar")).expect("exported").size() > 5000);
}
