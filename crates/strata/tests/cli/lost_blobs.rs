//! Blobs that a shared cache names and that are gone, cut short or changed when they are wanted: what needs them is run.

use crate::shared_cache::{Machines, counts};
use crate::world::World;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use strata_testbed::{Fault, OBJECT_STORE_KEY, ObjectStore, Registry, Wire};

/// A chain of five steps, of which each leaves what tells whether it ran again, beside a stage that is copied from.
const CHAIN: &str = "FROM HOST/box:1 AS other
RUN cat /proc/uptime > /of-other
FROM HOST/box:1
RUN cat /proc/uptime > /one
RUN cat /proc/uptime > /two
COPY f /f
RUN cat /one /two > /three
COPY --from=other /of-other /other
";

/// Whose digest is asked for, and what is answered.
type Instead = (String, Vec<u8>);

/// How a blob is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Gone,
    Short,
    /// As long as it was.
    Changed,
}

impl Loss {
    fn of(self, file: &Path) {
        let bytes = fs_err::read(file).expect("the blob is there");
        match self {
            Self::Gone => fs_err::remove_file(file).expect("removed"),
            Self::Short => fs_err::write(file, &bytes[..bytes.len() / 2]).expect("written"),
            Self::Changed => {
                let mut changed = bytes;
                let middle = changed.len() / 2;
                changed[middle] ^= 0x55;
                fs_err::write(file, changed).expect("written");
            }
        }
    }
}

/// Digests, in hexadecimal, of the blobs of a cache, in the order of their manifest.
fn blobs(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().expect("layers");
    let hex = |layer: &Value| layer["digest"].as_str().expect("a digest")["sha256:".len()..].to_owned();
    layers.iter().map(hex).collect()
}

/// A machine with the project and nothing else.
fn fresh(machines: &Machines) -> World {
    let world = World::new();
    for name in ["ctx/Dockerfile", "ctx/f"] {
        world.file(name, &fs_err::read(machines.second.path(name)).expect("the project"));
    }
    world
}

/// What the steps of an image left.
fn left(world: &World, name: &str) -> String {
    world.ok(&["run", "--rm", "--network", "none", name, "cat", "/one", "/two", "/f", "/three", "/other"])
}

fn warning(told: &str) -> &str {
    told.lines().find(|line| line.starts_with("WARNING: --cache-from")).unwrap_or_else(|| panic!("{told}"))
}

/// The layer that the step made, by its file; the one that a manifest names second is not always the second step's.
fn file_of(machines: &Machines, cache: &str, marker: &str, path: impl Fn(&str) -> PathBuf) -> PathBuf {
    let manifest = machines.manifest(cache);
    let holds = |hex: &&String| {
        let output = std::process::Command::new("tar").arg("-tzf").arg(path(hex)).output().expect("tar");
        String::from_utf8_lossy(&output.stdout).lines().any(|line| line.trim_start_matches("./") == marker)
    };
    path(blobs(&manifest).iter().find(holds).unwrap_or_else(|| panic!("no layer has {marker}")))
}

#[test]
fn a_blob_that_a_registry_lost_is_made_again() {
    let Some(machines) = Machines::new("a_blob_that_a_registry_lost_is_made_again") else { return };
    let Machines { first, registry, .. } = &machines;
    machines.project(CHAIN, "content");
    let source = ["--cache-from", "type=registry,ref=HOST/app:cache"];
    // In the middle of the chain, at its end, at its beginning; and how many steps are found all the same.
    for (loss, marker, found) in [
        (Loss::Gone, "two", 2),
        (Loss::Gone, "other", 5),
        (Loss::Gone, "one", 1),
        (Loss::Short, "two", 2),
        (Loss::Changed, "two", 2),
    ] {
        machines.build(first, &["--no-cache", "--cache-to", "type=registry,ref=HOST/app:cache,mode=max"]);
        let whole = left(first, "app:1");
        loss.of(&file_of(&machines, "app:cache", marker, |hex| registry.blob_file(hex)));
        let world = fresh(&machines);
        let told = machines.build(&world, &source);
        let said = warning(&told);
        assert!(said.contains("HOST/app:cache") && said.contains("sha256:"), "{loss:?} {marker}: {said}");
        assert!(counts(&told).0 >= 1, "{loss:?} {marker}: {told}");
        assert!(told.matches(" CACHED").count() >= found, "{loss:?} {marker}: {told}");
        // What lies below the loss is what the first machine made, and what was made again agrees with itself.
        let now = left(&world, "app:1");
        let (whole, now): (Vec<&str>, Vec<&str>) = (whole.lines().collect(), now.lines().collect());
        assert_eq!(now[0] == whole[0], marker != "one", "{loss:?} {marker}: {told}");
        assert_eq!(now[1] == whole[1], marker == "other", "{loss:?} {marker}: {told}");
        assert_eq!((now[2], now[3]), (format!("content{}", now[0]).as_str(), now[1]), "{loss:?} {marker}");
        assert_eq!(now[4], whole[4], "the other stage was found");
        // It is remembered as run: the next build needs the source no more.
        let again = machines.build(&world, &[]);
        assert_eq!(counts(&again).0, 0, "{loss:?} {marker}: {again}");
    }
}

#[test]
fn what_is_only_pushed_is_made_again_too() {
    let Some(machines) = Machines::new("what_is_only_pushed_is_made_again_too") else { return };
    let Some(other) = Registry::start() else { return };
    let Machines { first, registry, .. } = &machines;
    machines.project(CHAIN, "content");
    for (number, loss) in [Loss::Gone, Loss::Short].into_iter().enumerate() {
        for (host, to) in [(registry.host(), "same"), (other.host(), "other")] {
            machines.build(first, &["--no-cache", "--cache-to", "type=registry,ref=HOST/app:cache,mode=max"]);
            loss.of(&file_of(&machines, "app:cache", "two", |hex| registry.blob_file(hex)));
            let world = fresh(&machines);
            let name = format!("{host}/{to}/{number}:1");
            let from = format!("type=registry,ref={}/app:cache", registry.host());
            let line =
                ["build", "--progress=plain", "-o=type=registry", "-t", &name, "--cache-from", &from, "ctx"];
            let output = world.output(&line);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{loss:?} to the {to} registry: {told}");
            assert!(warning(&told).contains("app:cache"), "{told}");
            assert_eq!(world.ok(&["images", "-q"]), "");
            let third = World::new();
            third.ok(&["pull", "-q", &name]);
            assert_eq!(left(&third, &name).lines().count(), 5, "{loss:?} to the {to} registry");
        }
    }
}

#[test]
fn a_directory_and_a_bucket_lose_blobs_like_a_registry() {
    let Some(machines) = Machines::new("a_directory_and_a_bucket_lose_blobs_like_a_registry") else { return };
    let Machines { first, .. } = &machines;
    machines.project(CHAIN, "content");
    let directory = first.path("cache");
    let (to, from) = (
        format!("type=local,dest={},mode=max", directory.display()),
        format!("type=local,src={}", directory.display()),
    );
    for loss in [Loss::Gone, Loss::Short, Loss::Changed] {
        _ = fs_err::remove_dir_all(&directory);
        machines.build(
            first,
            &["--no-cache", "--cache-to", &to, "--cache-to", "type=registry,ref=HOST/app:cache,mode=max"],
        );
        let blob = |hex: &str| directory.join("blobs/sha256").join(hex);
        loss.of(&file_of(&machines, "app:cache", "two", blob));
        let world = fresh(&machines);
        let told = machines.build(&world, &["--cache-from", &from]);
        warning(&told);
        assert_eq!(left(&world, "app:1").lines().next(), left(first, "app:1").lines().next(), "{loss:?}");
    }
    // A bucket's object, which is there when it is asked for and not when it is fetched, or is another one.
    let Some(store) = ObjectStore::start(&["cache"]) else { return };
    let (id, secret) = OBJECT_STORE_KEY;
    let lost: Arc<Mutex<Option<Instead>>> = Arc::default();
    let losing = Arc::clone(&lost);
    let wire = Wire::to(&store.host(), move |request, _| match &*losing.lock().expect("no panics") {
        Some((hex, answer)) if request.method == "GET" && request.target.contains(hex) => {
            Fault::Say(answer.clone())
        }
        _ => Fault::Pass,
    });
    let place = format!(
        "type=s3,bucket=cache,region=us-east-1,endpoint_url=http://{},name=app,access_key_id={id},\
         secret_access_key={secret}",
        wire.host()
    );
    let to = format!("{place},mode=max");
    machines.build(
        first,
        &["--no-cache", "--cache-to", &to, "--cache-to", "type=registry,ref=HOST/app:cache,mode=max"],
    );
    let file = file_of(&machines, "app:cache", "two", |hex| machines.registry.blob_file(hex));
    let hex = file.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a digest");
    let mut changed = fs_err::read(&file).expect("the layer");
    let middle = changed.len() / 2;
    changed[middle] ^= 0x55;
    let mut wrong = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", changed.len()).into_bytes();
    wrong.extend(changed);
    let gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
    for answer in [wrong, gone] {
        *lost.lock().expect("no panics") = Some((hex.to_owned(), answer));
        let world = fresh(&machines);
        let told = machines.build(&world, &["--cache-from", &place]);
        assert!(warning(&told).contains("s3://cache") && !told.contains(secret), "{told}");
        assert_eq!(left(&world, "app:1").lines().next(), left(first, "app:1").lines().next());
    }
}

/// A cache that is passed on: what was lost is left out of it, and what is left is whole.
#[test]
fn what_was_lost_does_not_go_into_another_cache() {
    let Some(machines) = Machines::new("what_was_lost_does_not_go_into_another_cache") else { return };
    let Some(other) = Registry::start() else { return };
    let Machines { first, registry, .. } = &machines;
    machines.project(CHAIN, "content");
    for loss in [Loss::Gone, Loss::Changed] {
        machines.build(first, &["--no-cache", "--cache-to", "type=registry,ref=HOST/app:cache,mode=max"]);
        // Of a stage that nothing is taken from any more: no step of the build needs it.
        let lost = file_of(&machines, "app:cache", "of-other", |hex| registry.blob_file(hex));
        loss.of(&lost);
        let world = fresh(&machines);
        let onwards = format!("{}/app:onwards", other.host());
        let to = format!("type=registry,ref={onwards},mode=max");
        let from = "type=registry,ref=HOST/app:cache";
        let told = machines.build(&world, &["--cache-from", from, "--cache-to", &to]);
        assert_eq!(counts(&told).0, 0, "{told}");
        assert!(told.contains("left out what needs sha256:"), "{loss:?}: {told}");
        let third = fresh(&machines);
        let told = machines.build(&third, &["--cache-from", &format!("type=registry,ref={onwards}")]);
        assert_eq!(counts(&told).0, 0, "{loss:?}: {told}");
        assert_eq!(left(&third, "app:1"), left(first, "app:1"));
    }
}

/// An image without records lends layers; one that cannot be had is no reason to fail.
#[test]
fn an_image_that_lost_a_layer_lends_none() {
    let Some(machines) = Machines::new("an_image_that_lost_a_layer_lends_none") else { return };
    let Machines { first, registry, .. } = &machines;
    machines.project(CHAIN, "content");
    let name = format!("{}/app:plain", registry.host());
    machines.build(first, &["-t", &name]);
    first.ok(&["push", "-q", &name]);
    Loss::Gone.of(&file_of(&machines, "app:plain", "two", |hex| registry.blob_file(hex)));
    let world = fresh(&machines);
    let told = machines.build(&world, &["--cache-from", "HOST/app:plain"]);
    assert!(warning(&told).contains("app:plain"), "{told}");
    assert_eq!(left(&world, "app:1").lines().count(), 5);
}

/// A blob of the right length that is another one shows when the registry that it goes to has read it.
#[test]
fn what_is_only_pushed_is_checked_on_the_way() {
    let Some(machines) = Machines::new("what_is_only_pushed_is_checked_on_the_way") else { return };
    let Some(other) = Registry::start() else { return };
    let Machines { first, registry, .. } = &machines;
    machines.project(CHAIN, "content");
    machines.build(first, &["--cache-to", "type=registry,ref=HOST/app:cache,mode=max"]);
    Loss::Changed.of(&file_of(&machines, "app:cache", "two", |hex| registry.blob_file(hex)));
    let world = fresh(&machines);
    let name = format!("{}/app:1", other.host());
    let from = format!("type=registry,ref={}/app:cache", registry.host());
    let line = ["build", "--progress=plain", "-o=type=registry", "-t", &name, "--cache-from", &from, "ctx"];
    let output = world.output(&line);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(warning(&told).contains("app:cache"), "{told}");
    let third = World::new();
    third.ok(&["pull", "-q", &name]);
    assert_eq!(left(&third, &name).lines().count(), 5, "{told}");
}
