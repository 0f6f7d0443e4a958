//! `pull`, `push`, and what pulls by itself, against Debian's registry; with skopeo and podman at the other end.

use crate::world::World;
use std::process::{Command, Stdio};
use strata_testbed::Registry;

/// A world with `HOST/app:1`, and its registry; `None`, with the reason, where there is none.
fn pushed() -> Option<(World, Registry)> {
    let registry = Registry::start()?;
    let world = World::with_base();
    let name = format!("{}/team/app:1", registry.host());
    world.file("ctx/Dockerfile", b"FROM base:1\nCOPY f /f\nENV A=1\nCOPY f /g\n");
    world.file("ctx/f", &[b'f'; 3000]);
    world.ok(&["build", "-q", "-t", &name, "ctx"]);
    world.ok(&["push", "-q", &name]);
    Some((world, registry))
}

/// A transcript in which the registry has no port.
fn transcript(world: &World, registry: &Registry, lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| line.replace("HOST", &registry.host())).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    world.transcript(&lines).replace(&registry.host(), "HOST")
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn identity(world: &World, name: &str) -> (String, String) {
    let text = |template: &str| world.ok(&["inspect", "-f", template, name]).trim().to_owned();
    (text("{{.Id}}"), text("{{.RootFS.Layers}}"))
}

#[test]
fn lines_of_pushes() {
    let Some((world, registry)) = pushed() else { return };
    insta::assert_snapshot!(transcript(
        &world,
        &registry,
        &[
            "push HOST/team/app:1",
            "tag HOST/team/app:1 HOST/team/app",
            "push HOST/team/app",
            "push -q HOST/team/app",
            "push -a HOST/team/app",
            "push -a HOST/team/app:1",
            "tag HOST/team/app:1 HOST/other:1",
            "push HOST/other:1",
            "push HOST/nosuch:1",
            "push -a HOST/nosuch",
            "push HOST/Upper",
            "push --compression xz HOST/other:1",
            "push --compression zstd --compression-level 30 HOST/other:1",
            "push",
        ]
    ));
}

#[test]
fn lines_of_pulls() {
    let Some((world, registry)) = pushed() else { return };
    world.ok(&[
        "tag",
        &format!("{}/team/app:1", registry.host()),
        &format!("{}/team/app:2", registry.host()),
    ]);
    world.ok(&["push", "-q", &format!("{}/team/app:2", registry.host())]);
    world.ok(&["image", "prune", "-af"]);
    world.ok(&["builder", "prune", "-af"]);
    // One layer at a time comes in a fixed order; several do not.
    let one = format!("{}/one:1", registry.host());
    world.ok(&["import", "base.tar", &one]);
    world.ok(&["push", "-q", &one]);
    world.ok(&["rmi", &one]);
    insta::assert_snapshot!(transcript(
        &world,
        &registry,
        &[
            "pull HOST/one:1",
            "pull HOST/one:1",
            "images --format '{{.Repository}}:{{.Tag}} {{.Digest}}' --digests",
            "pull -q HOST/team/app:1",
            "pull -a HOST/team/app",
            "pull -q -a HOST/team/app",
            "pull -a HOST/team/app:1",
            "pull HOST/team/app",
            "pull HOST/nosuch:1",
            "pull --platform linux/s390x -q HOST/one:1",
            "pull --platform bogus HOST/one:1",
            "pull HOST/Upper",
            "pull 127.0.0.1:9/x:1",
            "pull",
        ]
    ));
}

#[test]
fn a_run_pulls_what_is_not_here() {
    let Some(world) = World::with_shell("a_run_pulls_what_is_not_here") else { return };
    let Some(registry) = Registry::start() else { return };
    let name = format!("{}/box:1", registry.host());
    world.ok(&["tag", "box:1", &name]);
    world.ok(&["push", "-q", &name]);
    world.ok(&["rmi", "-f", "box:1", &name]);
    insta::assert_snapshot!(transcript(
        &world,
        &registry,
        &[
            "run --rm --network none --pull never HOST/box:1 echo hello",
            "run --rm --network none HOST/box:1 echo hello",
            "run --rm --network none HOST/box:1 echo again",
            "run --rm --network none --pull always HOST/box:1 echo always",
            "run --rm --network none -q --pull always HOST/box:1 echo quiet",
            "run --rm --network none HOST/bx:1 true",
        ]
    ));
}

#[test]
fn a_build_goes_to_a_registry() {
    let Some((world, registry)) = pushed() else { return };
    let host = registry.host();
    let (app, sent) = (format!("{host}/team/app:1"), format!("{host}/sent:1"));
    world.file("next/Dockerfile", format!("FROM {app}\nCOPY n /n\n").as_bytes());
    world.file("next/n", b"next");
    world.ok(&["build", "--push", "--metadata-file", "meta.json", "-t", &sent, "next"]);
    let digest = world.ok(&["inspect", "-f", "{{index .RepoDigests 0}}", &sent]);
    let meta: serde_json::Value =
        serde_json::from_slice(&fs_err::read(world.path("meta.json")).expect("metadata")).expect("JSON");
    assert!(digest.trim().ends_with(meta["containerimage.digest"].as_str().expect("a digest")), "{digest}");
    let only = format!("type=registry,name={host}/only:1,compression=zstd");
    world.ok(&["build", "-o", &only, "next"]);
    assert!(!world.ok(&["images"]).contains("/only"));
    let other = World::new();
    other.ok(&["pull", "-q", &format!("{host}/only:1")]);
    assert_eq!(identity(&other, &format!("{host}/only:1")), identity(&world, &sent));
    let output = world.output(&["build", "-o", "type=registry", "next"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("tag is needed when pushing to registry"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn skopeo_reads_and_writes_what_we_do() {
    if let Err(why) = run("skopeo", &["--version"]) {
        return println!("SKIP: {why}");
    }
    let Some((world, registry)) = pushed() else { return };
    let host = registry.host();
    let ours = identity(&world, &format!("{host}/team/app:1"));
    for (how, flags) in [("gzip", vec![]), ("zstd", vec!["--compression", "zstd"])] {
        let name = format!("{host}/team/{how}:1");
        world.ok(&["tag", &format!("{host}/team/app:1"), &name]);
        world.ok(&[&["push", "-q"][..], &flags, &[&name]].concat());
        let archive = world.path(&format!("{how}.tar")).display().to_string();
        let from = format!("docker://{name}");
        let to = format!("oci-archive:{archive}:skopeo/{how}:1");
        run("skopeo", &["--insecure-policy", "copy", "-q", "--src-tls-verify=false", &from, &to])
            .expect("read");
        let other = World::new();
        other.ok(&["load", "-i", &archive]);
        assert_eq!(identity(&other, &format!("skopeo/{how}:1")), ours, "{how}");
        // And back, compressed by skopeo.
        let back = format!("docker://{host}/back/{how}:1");
        let from = format!("oci-archive:{archive}");
        let compress = ["--dest-compress-format", how];
        let arguments =
            [&["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"][..], &compress, &[&from, &back]];
        run("skopeo", &arguments.concat()).expect("written");
        let third = World::new();
        third.ok(&["pull", "-q", &format!("{host}/back/{how}:1")]);
        assert_eq!(identity(&third, &format!("{host}/back/{how}:1")), ours, "{how}");
    }
}

#[test]
fn podman_reads_and_writes_what_we_do() {
    if let Err(why) = run("podman", &["--version"]) {
        return println!("SKIP: {why}");
    }
    let Some((world, registry)) = pushed() else { return };
    let host = registry.host();
    let name = format!("{host}/team/app:1");
    let (id, layers) = identity(&world, &name);
    let place = |name: &str| world.path(name).display().to_string();
    let (root, runroot) = (place("podman"), place("podman-run"));
    let podman = |arguments: &[&str]| {
        let store = ["--root", &root, "--runroot", &runroot, "--storage-driver", "vfs"];
        run("podman", &[&store[..], arguments].concat())
            .unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    };
    let pulled = podman(&["pull", "-q", "--tls-verify=false", &name]);
    assert_eq!(format!("sha256:{pulled}"), id);
    let back = format!("{host}/podman/app:1");
    podman(&["tag", &name, &back]);
    podman(&["push", "-q", "--tls-verify=false", &back]);
    let other = World::new();
    other.ok(&["pull", "-q", &back]);
    assert_eq!(identity(&other, &back), (id, layers));
    podman(&["rmi", "-f", "-a"]);
}

#[test]
fn a_signal_ends_a_pull_that_waits_for_its_registry() {
    let busy = strata_testbed::Server::start(|request, out| {
        let reply = match request.target.as_str() {
            "/v2/" => strata_testbed::answer(200, &[], ""),
            _ => strata_testbed::answer(429, &[("Retry-After", "25")], ""),
        };
        let _ = out.write_all(&reply);
    });
    // It takes connections and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("127.0.0.1:{}", listener.local_addr().expect("bound").port());
    let world = World::new();
    let asked_busy = || busy.seen().iter().any(|request| request.target != "/v2/");
    let held = std::cell::RefCell::new(Vec::new());
    let asked_silent = || listener.accept().map(|(stream, _)| held.borrow_mut().push(stream)).is_ok();
    for (host, asked) in
        [(busy.host(), &asked_busy as &dyn Fn() -> bool), (silent, &asked_silent as &dyn Fn() -> bool)]
    {
        let mut command = world.command(&["pull", &format!("{host}/a:1")]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strata starts");
        while !asked() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        // It has been asked; what comes now is waiting.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
        let start = std::time::Instant::now();
        let output = child.wait_with_output().expect("it ran");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*text), (Some(130), "canceled\n"), "{host}");
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{host}: {:?}", start.elapsed());
    }
}
