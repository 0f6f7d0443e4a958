//! The names of copied files go along with a shared cache: a miss on another machine is told like one on this.

use crate::shared_cache::{Machines, counts};
use crate::world::World;
use serde_json::Value;
use strata_testbed::{OBJECT_STORE_KEY, ObjectStore};

const DOCKERFILE: &str = "FROM HOST/box:1 AS build
COPY src /src
FROM HOST/box:1
COPY src /app
COPY f /f
RUN cat /f
";

const TYPE: &str = "application/vnd.strata.cache.listings.v1+zstd";

fn sources(world: &World, b: &str, more: bool) {
    world.file("ctx/src/a.py", b"print('a')\n");
    world.file("ctx/src/deep/b.py", b.as_bytes());
    if more {
        world.file("ctx/src/new.py", b"new");
    }
}

/// What is said of the COPY that missed.
fn reason(told: &str) -> String {
    let line = told.lines().find(|line| line.contains(" not cached: ")).unwrap_or_else(|| panic!("{told}"));
    line.split(" not cached: ").nth(1).expect("a reason").to_owned()
}

fn machines(test: &str) -> Option<Machines> {
    let machines = Machines::new(test)?;
    machines.project(DOCKERFILE, "content");
    for world in [&machines.first, &machines.second] {
        sources(world, "print('b')\n", false);
    }
    Some(machines)
}

/// The project as the second machine has it, on a machine of its own.
fn edited(machines: &Machines) -> World {
    let world = World::new();
    for name in ["ctx/Dockerfile", "ctx/f"] {
        world.file(name, &fs_err::read(machines.second.path(name)).expect("the project"));
    }
    sources(&world, "print('b', 'c')\n", true);
    world
}

#[test]
fn another_machine_names_the_files_that_changed() {
    let Some(machines) = machines("another_machine_names_the_files_that_changed") else { return };
    let Machines { first, registry, .. } = &machines;
    let directory = first.path("cache").display().to_string();
    let mut places = vec![
        (
            "type=registry,ref=HOST/app:cache,mode=max".to_owned(),
            "type=registry,ref=HOST/app:cache".to_owned(),
        ),
        (
            "type=registry,ref=HOST/app:old,image-manifest=false,oci-mediatypes=false".to_owned(),
            "HOST/app:old".to_owned(),
        ),
        (format!("type=local,dest={directory}"), format!("type=local,src={directory}")),
    ];
    let store = ObjectStore::start(&["cache"]);
    if let Some(store) = &store {
        let (id, secret) = OBJECT_STORE_KEY;
        let place = format!(
            "type=s3,bucket=cache,region=us-east-1,endpoint_url=http://{},name=app,access_key_id={id},\
             secret_access_key={secret}",
            store.host()
        );
        places.push((place.clone(), place));
    }
    let to: Vec<&str> = places.iter().flat_map(|(to, _)| ["--cache-to", to]).collect();
    machines.build(first, &to);
    let manifest = machines.manifest("app:cache");
    let types = manifest["layers"].as_array().expect("layers").iter().map(|layer| &layer["mediaType"]);
    assert_eq!(types.filter(|kind| **kind == TYPE).count(), 1, "{manifest}");

    // As it is told where it was built.
    sources(first, "print('b', 'c')\n", true);
    let local = machines.build(first, &[]);
    let wanted = reason(&local);
    assert!(wanted.contains("2 files changed, first deep/b.py"), "{wanted}");
    for (_, from) in &places {
        let world = edited(&machines);
        let told = machines.build(&world, &["--cache-from", from]);
        assert_eq!(reason(&told), wanted, "{from}");
        let host = registry.host();
        let from = from.replace("HOST", &host);
        // Everything that is told, of a build that would be.
        sources(&world, "print('d')\n", true);
        world.ok(&["builder", "prune", "-af"]);
        let forecast = world.ok(&["build", "--dry-run", "--cache-from", &from, "ctx"]);
        assert!(forecast.contains("deep/b.py") && forecast.contains("new.py: added"), "{from}: {forecast}");
    }
}

#[test]
fn they_are_fetched_when_a_miss_is_explained_and_go_on_with_the_cache() {
    let Some(machines) = machines("they_are_fetched_when_a_miss_is_explained_and_go_on_with_the_cache")
    else {
        return;
    };
    let Machines { first, second, registry } = &machines;
    let (from, to) = ("type=registry,ref=HOST/app:cache", |name: &str| {
        format!("type=registry,ref=HOST/app:{name},mode=max")
    });
    machines.build(first, &["--cache-to", &to("cache")]);
    let manifest = machines.manifest("app:cache");
    let layers = manifest["layers"].as_array().expect("layers");
    let listings = layers.iter().find(|layer| layer["mediaType"] == TYPE).expect("a list of files");
    let hex = listings["digest"].as_str().expect("a digest")["sha256:".len()..].to_owned();
    assert!(listings["size"].as_u64().is_some_and(|size| size < 1000), "{listings}");
    let fetched = || registry.log().matches(&format!("GET /v2/app/blobs/sha256:{hex}")).count();

    // Nothing missed: nobody wants to know. Who exports what he found exports the same.
    let told = machines.build(second, &["--cache-from", from]);
    assert_eq!((counts(&told).0, fetched()), (0, 0), "{told}");
    let told = machines.build(second, &["--cache-from", from, "--cache-to", &to("onwards")]);
    assert_eq!(counts(&told).0, 0, "{told}");
    assert_eq!(machines.manifest("app:onwards"), manifest);
    let before = fetched();
    let world = edited(&machines);
    assert!(reason(&machines.build(&world, &["--cache-from", from])).contains("deep/b.py"));
    assert_eq!(fetched() - before, 1);

    // A list that is gone or another one explains less, and nothing else.
    for content in [None, Some(b"rubbish")] {
        let file = registry.blob_file(&hex);
        match content {
            None => fs_err::remove_file(&file).expect("removed"),
            Some(content) => {
                fs_err::create_dir_all(file.parent().expect("a directory")).expect("a directory");
                fs_err::write(&file, content).expect("written");
            }
        }
        let world = edited(&machines);
        let told = machines.build(&world, &["--cache-from", from]);
        assert_eq!(reason(&told), "the files changed");
        // The records of the changed file's step and of what follows it; nothing about the list.
        assert_eq!(told.matches("WARNING").count(), 1, "{told}");
    }

    // An image does not carry them.
    machines.build(first, &["--cache-to", "type=inline"]);
    let config: Value = serde_json::from_str(&first.ok(&["inspect", "app:1"])).expect("JSON");
    assert!(!config.to_string().contains("deep/b.py"));
}
