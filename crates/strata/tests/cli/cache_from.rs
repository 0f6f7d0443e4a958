//! `--cache-from` in a second store: images lend their layers, wherever they lie (seed 004, "Share cache via registry").

use crate::world::World;
use strata_testbed::Registry;

const DOCKERFILE: &str =
    "FROM box:1\nWORKDIR /app\nCOPY package .\nRUN date +%s%N > /built\nCOPY . .\nRUN true\n";

/// A store with the same base as `other`'s, and a checkout of the same files at another time.
fn second(other: &World, test: &str) -> Option<World> {
    let world = World::with_shell(test)?;
    other.ok(&["save", "-o", "box.tar", "box:1"]);
    world.ok(&["load", "-i", &other.path("box.tar").display().to_string()]);
    files(&world, "app");
    Some(world)
}

fn files(world: &World, source: &str) {
    world.file("ctx/Dockerfile", DOCKERFILE.as_bytes());
    world.file("ctx/package", b"dependencies");
    world.file("ctx/src/main", source.as_bytes());
}

fn layers(world: &World, name: &str) -> String {
    world.ok(&["inspect", "-f", "{{.RootFS.Layers}}", name])
}

/// What a command that succeeds says on standard error.
fn told(world: &World, arguments: &[&str]) -> String {
    let output = world.output(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// Names of steps that the log of a build says were cached.
fn cached(log: &str) -> usize {
    log.lines().filter(|line| line.ends_with(" CACHED")).count()
}

#[test]
fn a_second_store_builds_nothing_that_the_image_has() {
    let test = "cache_from::a_second_store_builds_nothing_that_the_image_has";
    let (Some(first), Some(registry)) = (World::with_shell(test), Registry::start()) else { return };
    let name = format!("{}/myapp:v1", registry.host());
    files(&first, "app");
    first.ok(&["build", "-q", "--network", "none", "-t", &name, "ctx"]);
    first.ok(&["push", "-q", &name]);
    let build =
        ["build", "--progress", "plain", "--network", "none", "-t", "myapp:v2", "--cache-from", &name, "ctx"];

    let pulled = second(&first, test).expect("containers run");
    pulled.ok(&["pull", "-q", &name]);
    let log = told(&pulled, &build);
    assert_eq!(cached(&log), 6, "{log}");
    assert_eq!(layers(&pulled, "myapp:v2"), layers(&first, &name));

    let lazy = second(&first, test).expect("containers run");
    let log = told(&lazy, &build);
    assert_eq!(cached(&log), 6, "{log}");
    assert_eq!(layers(&lazy, "myapp:v2"), layers(&first, &name));

    let edited = second(&first, test).expect("containers run");
    files(&edited, "edited");
    let log = told(&edited, &build);
    assert_eq!(cached(&log), 4, "{log}");
    assert!(!log.contains("not used"), "{log}");
    // What was taken is recorded.
    let log = told(&edited, &["build", "--progress", "plain", "--network", "none", "ctx"]);
    assert_eq!(cached(&log), 6, "{log}");
}

#[test]
fn an_image_that_lends_nothing_says_why() {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"FROM base:1\nLABEL a=1\nCOPY f /f\n");
    world.file("ctx/f", b"1");
    world.ok(&["build", "-q", "-t", "v1", "ctx"]);
    world.file("ctx/Dockerfile", b"FROM base:1\nLABEL a=2\nCOPY f /g\n");
    let log = told(&world, &["build", "--progress", "plain", "--cache-from", "v1", "ctx"]);
    let why = "--cache-from v1:latest: not used: it has \"LABEL a=1\" where the Dockerfile has \"LABEL a=2\"";
    assert!(log.contains(why), "{log}");
    let log = told(&world, &["build", "--progress", "plain", "--cache-from", "127.0.0.1:1/none", "ctx"]);
    assert!(log.contains("--cache-from 127.0.0.1:1/none: not used: "), "{log}");
    assert_eq!(cached(&log), 2, "{log}");
}
