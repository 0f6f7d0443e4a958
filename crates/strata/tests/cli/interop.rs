//! Archives exchanged with the tools that are installed: podman and skopeo always find what they need in ours, and
//! theirs load with IDs unchanged. (Docker's own daemon is needed for `docker load`; it is asked only if it answers.)

use crate::world::World;
use std::path::Path;
use std::process::Command;

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Whether the tool is here; says so when it is not.
fn has(program: &str, probe: &str, test: &str) -> bool {
    match run(program, &[probe]) {
        Ok(_) => true,
        Err(why) => {
            eprintln!(
                "{test}: skipped: {program} cannot be asked: {}",
                why.lines().next().unwrap_or_default()
            );
            false
        }
    }
}

fn saved() -> (World, String, String) {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"FROM base:1\nCOPY f /f\nENV A=1\nCOPY f /g\n");
    world.file("ctx/f", &[b'f'; 3000]);
    world.ok(&["build", "-q", "-t", "app:1", "ctx"]);
    world.ok(&["save", "-o", "app.tar", "app:1"]);
    let (id, layers) = identity(&world, "app:1");
    (world, id, layers)
}

fn identity(world: &World, name: &str) -> (String, String) {
    let text = |template: &str| world.ok(&["inspect", "-f", template, name]).trim().to_owned();
    (text("{{.Id}}"), text("{{.RootFS.Layers}}"))
}

/// Loads an archive into an empty store and gives the image's ID and layers.
fn loaded(archive: &Path) -> (String, String) {
    let world = World::new();
    let text = world.ok(&["load", "-i", &archive.display().to_string()]);
    let name = text.trim().rsplit(": ").next().unwrap_or_default().to_owned();
    identity(&world, &name)
}

#[test]
fn skopeo() {
    if !has("skopeo", "--version", "interop::skopeo") {
        return;
    }
    let (world, id, layers) = saved();
    let path = |name: &str| world.path(name).display().to_string();
    let copy = |from: &str, to: &str, flags: &[&str]| {
        let mut arguments = vec!["--insecure-policy", "copy", "-q"];
        arguments.extend(flags);
        arguments.extend([from, to]);
        run("skopeo", &arguments).unwrap_or_else(|error| panic!("{from} -> {to}: {error}"));
    };
    let ours = path("app.tar");
    copy(&format!("docker-archive:{ours}"), &format!("docker-archive:{}:a/b:1", path("docker.tar")), &[]);
    assert_eq!(loaded(&world.path("docker.tar")), (id.clone(), layers.clone()), "docker-archive");
    copy(&format!("oci-archive:{ours}"), &format!("oci-archive:{}:a/b:1", path("oci.tar")), &[]);
    assert_eq!(loaded(&world.path("oci.tar")), (id.clone(), layers.clone()), "oci-archive");
    for format in ["gzip", "zstd"] {
        let directory = path(format);
        let flags = ["--dest-compress", "--dest-compress-format", format];
        copy(&format!("oci-archive:{ours}"), &format!("oci:{directory}:latest"), &flags);
        let tar = path(&format!("{format}.tar"));
        run("tar", &["-C", &directory, "-cf", &tar, "."]).expect("tar");
        assert_eq!(loaded(Path::new(&tar)), (id.clone(), layers.clone()), "{format}");
    }
}

#[test]
fn podman() {
    if !rustix::process::geteuid().is_root() || !has("podman", "--version", "interop::podman") {
        eprintln!("interop::podman: needs root and podman");
        return;
    }
    let (world, id, layers) = saved();
    let path = |name: &str| world.path(name).display().to_string();
    let (root, state, ours) = (path("podman"), path("podman-run"), path("app.tar"));
    let ask = |arguments: &[&str]| {
        let flags = ["--root", &root, "--runroot", &state, "--storage-driver", "vfs"];
        let all: Vec<&str> = flags.into_iter().chain(arguments.iter().copied()).collect();
        run("podman", &all).unwrap_or_else(|error| panic!("podman {arguments:?}: {error}"))
    };
    ask(&["load", "-q", "-i", &ours]);
    let name = "docker.io/library/app:1";
    assert_eq!(
        format!("sha256:{}", ask(&["image", "inspect", "-f", "{{.Id}}", name]).trim_start_matches("sha256:")),
        id
    );
    assert_eq!(ask(&["image", "inspect", "-f", "{{.RootFS.Layers}}", name]), layers);
    for format in ["oci-archive", "docker-archive"] {
        let file = path(format);
        ask(&["save", "-q", "--format", format, "-o", &file, name]);
        assert_eq!(loaded(Path::new(&file)), (id.clone(), layers.clone()), "{format}");
    }
    ask(&["rmi", "-f", name]);
}

#[test]
fn docker() {
    if !has("docker", "info", "interop::docker") {
        return;
    }
    let (world, id, layers) = saved();
    let path = |name: &str| world.path(name).display().to_string();
    // A name of this test alone: the daemon is the user's.
    let name = format!("strata-interop-{}:1", std::process::id());
    world.ok(&["tag", "app:1", &name]);
    world.ok(&["save", "-o", "named.tar", &name]);
    run("docker", &["load", "-i", &path("named.tar")]).expect("docker load");
    let shown = run("docker", &["image", "inspect", "-f", "{{.RootFS.Layers}}", &name]);
    let out = path("docker.tar");
    let saved = run("docker", &["save", "-o", &out, &name]);
    run("docker", &["rmi", &name]).expect("docker rmi");
    assert_eq!(shown.expect("inspect"), layers);
    saved.expect("docker save");
    assert_eq!(loaded(Path::new(&out)), (id, layers));
}
