//! What a build that is pushed leaves in the store, whether its steps were run or found.

use crate::shared_cache::{Machines, SOURCE, counts};
use crate::world::World;

/// The image with its layers, or nothing of it.
fn kept(world: &World, name: &str) -> bool {
    let images = world.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
    images.lines().any(|line| line == name)
}

fn layers(world: &World) -> usize {
    fs_err::read_dir(world.path("store/layers/sha256")).map_or(0, Iterator::count)
}

#[test]
fn a_pushed_image_is_kept_as_it_was_asked_for() {
    let Some(machines) = Machines::new("a_pushed_image_is_kept_as_it_was_asked_for") else { return };
    let host = machines.registry.host();
    machines.build(&machines.first, &["--cache-to", "HOST/app:cache"]);
    for (number, (flag, is_kept)) in [
        ("--push", true),
        ("-otype=image,push=true", true),
        ("-otype=registry", false),
        ("-otype=registry,store=true", true),
        ("-otype=image,push=true,store=false", false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut ids = Vec::new();
        for cached in [false, true] {
            let world = World::new();
            for name in ["ctx/Dockerfile", "ctx/f"] {
                world.file(name, &fs_err::read(machines.second.path(name)).expect("the project"));
            }
            let name = format!("{host}/pushed/{number}:{cached}");
            let mut line = vec!["build", "--progress=plain", "-t", &name, flag];
            let source = SOURCE[1].replace("HOST", &host);
            if cached {
                line.extend([SOURCE[0], &source]);
            }
            let output = world.output(&[&line[..], &["ctx"]].concat());
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{flag}: {told}");
            assert_eq!(counts(&told).0 == 0, cached, "{flag}: {told}");
            assert_eq!(kept(&world, &name), is_kept, "{flag}, cached: {cached}: {told}");
            if cached && !is_kept {
                assert_eq!(layers(&world), 0, "{flag}: nothing was needed here");
            }
            if is_kept {
                world.ok(&["run", "--rm", "--network", "none", &name]);
            }
            let other = World::new();
            other.ok(&["pull", "-q", &name]);
            ids.push(other.ok(&["inspect", "-f", "{{.Id}}", &name]));
        }
        // Of a build that found everything comes what the first machine built; the other printed another time.
        assert_ne!(ids[0], ids[1]);
    }
    // Nobody gets it.
    let world = &machines.second;
    world.ok(&["build", "-q", "-o", "type=image,store=false", "-t", "nobody:1", "ctx"]);
    assert!(!kept(world, "nobody:1"));
}
