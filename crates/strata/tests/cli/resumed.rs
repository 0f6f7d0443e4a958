//! Transfers that are interrupted or killed, and then repeated; two at a time; and what they take of the memory.

use crate::world::{World, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use strata_testbed::{Exchange, Fault, Registry, Wire};

/// Bytes that do not compress.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

const LAYER: usize = 3_000_000;

/// `app` of so many layers, each a file of noise.
fn build(world: &World, name: &str, layers: usize) {
    let mut dockerfile = "FROM scratch\n".to_owned();
    for layer in 0..layers {
        world.file(&format!("ctx/f{layer}"), &noise(layer as u64 + 1, LAYER));
        dockerfile.push_str(&format!("COPY f{layer} /f{layer}\n"));
    }
    world.file("ctx/Dockerfile", dockerfile.as_bytes());
    world.ok(&["build", "-q", "-t", name, "ctx"]);
}

fn start(world: &World, arguments: &[&str]) -> Child {
    let mut command = world.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("strata starts")
}

fn layers(world: &World, name: &str) -> String {
    world.ok(&["inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", name])
}

fn of(log: &[Exchange], method: &str) -> Vec<Exchange> {
    log.iter().filter(|one| one.request.method == method).cloned().collect()
}

/// Bytes of layers that came; configs and manifests are small.
fn received(log: &[Exchange]) -> u64 {
    let blobs = log.iter().filter(|one| one.request.method == "GET" && one.received > 100_000);
    blobs.map(|one| one.received).sum()
}

#[test]
fn a_pull_that_was_ended_goes_on_where_it_was() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new();
    let direct = format!("{}/app:1", registry.host());
    build(&world, &direct, 1);
    world.ok(&["push", "-q", &direct]);
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::TERM, Some(130)), (Signal::KILL, None)] {
        let large = AtomicUsize::new(0);
        let wire = Wire::to(&registry.host(), move |request, _| {
            // Documents are fetched before: the third blob or manifest that is asked for is the layer.
            let blob = request.method == "GET" && request.target.contains("/blobs/");
            match blob.then(|| large.fetch_add(1, Ordering::SeqCst)) {
                Some(1) => Fault::HoldAnswer(2_000_000),
                _ => Fault::Pass,
            }
        });
        let other = World::new();
        let name = format!("{}/app:1", wire.host());
        let mut child = start(&other, &["pull", &name]);
        let here = || {
            let files = fs_err::read_dir(other.path("store/downloads")).into_iter().flatten().flatten();
            files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum::<u64>()
        };
        wait_for(|| here() == 2_000_000);
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        assert_eq!(child.wait().expect("it ends").code(), code, "{signal:?}");
        assert!(other.ok(&["images", "-q"]).is_empty());
        assert_eq!(here(), 2_000_000, "what came is kept");
        let before = wire.log().len();
        other.ok(&["pull", "-q", &name]);
        let again = wire.log().split_off(before);
        let ranges: Vec<&str> = again.iter().filter_map(|one| one.request.header("range")).collect();
        assert_eq!(ranges, ["bytes=2000000-"], "{signal:?}");
        assert!(received(&again) < LAYER as u64 - 1_900_000, "{} bytes came again", received(&again));
        assert_eq!(layers(&other, &name), layers(&world, &direct));
        assert_eq!(here(), 0);
    }
}

#[test]
fn a_push_that_was_ended_sends_what_is_missing() {
    for (signal, code) in [(Signal::INT, Some(130)), (Signal::TERM, Some(130)), (Signal::KILL, None)] {
        let Some(registry) = Registry::start() else { return };
        let world = World::new();
        let patches = AtomicUsize::new(0);
        let wire = Wire::to(&registry.host(), move |request, _| {
            match (request.method == "PATCH").then(|| patches.fetch_add(1, Ordering::SeqCst)) {
                Some(2) => Fault::HoldRequest(1_000_000),
                _ => Fault::Pass,
            }
        });
        let name = format!("{}/app:1", wire.host());
        build(&world, &name, 3);
        let mut child = start(&world, &["push", &name]);
        // Two layers are there, and remembered; the third hangs.
        let mut told = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut pushed = 0;
        while pushed < 2 {
            let line = told.next().expect("more to come").expect("a line");
            pushed += usize::from(line.ends_with(": Pushed"));
        }
        wait_for(|| of(&wire.log(), "PATCH").iter().any(|one| one.sent == 1_000_000));
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        let output = child.wait().expect("it ends");
        assert_eq!(output.code(), code, "{signal:?}");
        let before = wire.log().len();
        let text = world.ok(&["push", &name]);
        assert_eq!(text.matches("Layer already exists").count(), 2, "{signal:?}: {text}");
        let again = of(&wire.log().split_off(before), "PATCH");
        assert_eq!(again.len(), 1, "only the layer that was cut is sent");
        let other = World::new();
        other.ok(&["pull", "-q", &name]);
        assert_eq!(layers(&other, &name), layers(&world, &name));
    }
}

#[test]
fn two_processes_fetch_an_image_once() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new();
    let direct = format!("{}/app:1", registry.host());
    build(&world, &direct, 2);
    world.ok(&["push", "-q", &direct]);
    // Layers take their time, so that the others come in meanwhile.
    let wire = Wire::to(&registry.host(), |request, _| {
        let blob = request.method == "GET" && request.target.contains("/blobs/");
        if blob { Fault::Delay(Duration::from_millis(700)) } else { Fault::Pass }
    });
    let other = World::new();
    let name = format!("{}/app:1", wire.host());
    other.ok(&["images"]);
    let children: Vec<Child> = (0..3).map(|_| start(&other, &["pull", &name])).collect();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
    }
    let (log, all) = (wire.log(), 2 * LAYER as u64);
    assert!(received(&log) < all + 300_000, "{} bytes came for {all}", received(&log));
    assert_eq!(layers(&other, &name), layers(&world, &direct));
}

/// The peak of a command's memory, in KiB.
fn peak(world: &World, arguments: &[&str]) -> u64 {
    let strata = world.command(arguments);
    let mut command = std::process::Command::new("/usr/bin/time");
    command
        .args(["-f", "%M", "-o"])
        .arg(world.path("peak"))
        .arg(strata.get_program())
        .args(strata.get_args());
    command.envs(strata.get_envs().filter_map(|(key, value)| value.map(|value| (key, value))));
    let output = command.current_dir(world.path("")).output().expect("scripts/setup installs time");
    assert!(output.status.success(), "{output:?}");
    let text = fs_err::read_to_string(world.path("peak")).expect("written");
    text.trim().parse().expect("a number")
}

/// What any transfer may take, in KiB; the program's own pages are some 15 MiB more where it is not optimised.
const MEMORY: u64 = if cfg!(debug_assertions) { 80 << 10 } else { 64 << 10 };

/// Whatever the sizes: four layers of 40 MB each way, of bytes that do not compress, in every form.
#[test]
fn memory_does_not_grow_with_layers() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new();
    let large = noise(99, 8_000_000).repeat(5);
    let mut dockerfile = "FROM scratch\n".to_owned();
    for layer in 0..4 {
        let mut content = large.clone();
        content[0] = layer;
        world.file(&format!("ctx/f{layer}"), &content);
        dockerfile.push_str(&format!("COPY f{layer} /f{layer}\n"));
    }
    world.file("ctx/Dockerfile", dockerfile.as_bytes());
    for how in ["gzip", "zstd"] {
        let name = format!("{}/{how}:1", registry.host());
        world.ok(&["build", "-q", "-t", &name, "ctx"]);
        let sent = peak(&world, &["push", "-q", "--compression", how, &name]);
        let other = World::new();
        let fetched = peak(&other, &["pull", "-q", &name]);
        assert!(sent < MEMORY && fetched < MEMORY, "{how}: push {sent} KiB, pull {fetched} KiB");
    }
}

#[test]
fn a_build_shows_the_bases_it_fetches() {
    let Some(registry) = Registry::start() else { return };
    let world = World::new();
    let base = format!("{}/base:1", registry.host());
    build(&world, &base, 2);
    world.ok(&["push", "-q", &base]);
    let lines = |progress: &str, dockerfile: &str| {
        let other = World::new();
        other.file("ctx/Dockerfile", dockerfile.replace("BASE", &base).as_bytes());
        other.file("ctx/f", b"f");
        let output = other.output(&["build", "--progress", progress, "ctx"]);
        let text = String::from_utf8_lossy(&output.stderr).replace(&registry.host(), "HOST");
        assert!(output.status.success(), "{text}");
        text
    };
    // Also of a build that has no step of its own: the image has to be here at its end.
    for dockerfile in ["FROM BASE\nCOPY f /f\n", "FROM BASE\nENV A=1\n"] {
        let text = lines("plain", dockerfile);
        let at = text.lines().position(|line| line.ends_with(" fetch HOST/base:1")).expect(&text);
        let number = text.lines().nth(at).expect("there").split(' ').next().expect("a number");
        let told: Vec<&str> = text.lines().filter(|line| line.starts_with(&format!("{number} "))).collect();
        let ending = |end: &str| told.iter().filter(|line| line.ends_with(end)).count();
        assert_eq!((told.len(), ending(" downloaded"), ending(" done")), (6, 2, 2), "{text}");
        assert!(told[5].starts_with(&format!("{number} DONE ")), "{text}");
    }
    let text = lines("classic", "FROM BASE\nCOPY f /f\n");
    assert_eq!(
        (text.matches(": Download complete\n").count(), text.matches(": Pull complete\n").count()),
        (2, 2)
    );
    let json = lines("rawjson", "FROM BASE\nCOPY f /f\n");
    let documents: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let fetch = documents.iter().filter_map(|document| document["vertexes"][0]["name"].as_str());
    assert!(fetch.filter(|name| *name == "fetch HOST/base:1").count() >= 2, "{json}");
    let ended = documents.iter().filter(|document| document["statuses"][0]["completed"].is_string());
    assert_eq!(ended.count(), 2, "{json}");
}
