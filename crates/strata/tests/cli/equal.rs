//! However a build comes to its result, one step after the other or side by side, anew, from the cache, or from what is
//! left of it, in this store or in another: the layers are the same.

use crate::world::World;

/// Five stages and thirteen steps; two of the stages wait, so that they run at once where they may.
const DOCKERFILE: &str = "\
FROM box:1 AS tools
WORKDIR /tools
RUN echo tool > tool; mkdir -p z/y a/b; echo 1 > z/y/1
FROM box:1 AS one
COPY src/ /src/
RUN cat /src/a > /one; sleep 0.2
FROM box:1 AS two
COPY --from=tools /tools /tools
RUN ls /tools > /two; rm /data/seed; sleep 0.2
FROM one AS three
RUN --mount=from=two,source=/two,target=/m cat /m > /three
ADD archive.tar /unpacked/
FROM box:1 AS final
COPY --from=two /two /
COPY --from=three /three /one /made/
COPY --link --chmod=640 src/b /linked/b
COPY src/a /tmp/
WORKDIR /work
RUN cat /two /made/three > out
CMD [\"sh\"]
";

fn context(world: &World) {
    world.file("ctx/Dockerfile", DOCKERFILE.as_bytes());
    for name in ["a", "b", "deep/c"] {
        world.file(&format!("ctx/src/{name}"), format!("content of {name}\n").as_bytes());
    }
    let archive = crate::world::archive(&[("in/", 0o755, b""), ("in/file", 0o600, b"archived\n")]);
    world.file("ctx/archive.tar", &archive.into_inner().expect("memory"));
    for name in ["src/a", "src/b", "src/deep/c", "src/deep", "src", "archive.tar"] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_500_000_000);
        let file = fs_err::File::open(world.path(&format!("ctx/{name}"))).expect("written");
        file.set_modified(time).expect("dated");
    }
}

/// Builds with every time fixed; the image's ID.
fn id(world: &World, how: &[&str]) -> String {
    let fixed = ["build", "-q", "--network", "none", "--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
    let output = ["-o", "type=image,name=made:1,rewrite-timestamp=true", "ctx"];
    world.ok(&[&fixed[..], how, &output].concat())
}

/// The instructions that a dry run would run.
fn to_run(world: &World, how: &[&str]) -> usize {
    let fixed = ["build", "--network", "none", "--dry-run", "--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
    let told = world.ok(&[&fixed[..], how, &["ctx"]].concat());
    told.lines().filter(|line| line.starts_with("  runs ") || line.starts_with("  open ")).count()
}

#[test]
fn every_way_to_build_gives_the_same_image() {
    let Some(world) = World::with_shell("equal::every_way_to_build") else { return };
    context(&world);
    let serial = id(&world, &["--jobs", "1"]);
    assert_eq!(id(&world, &[]), serial, "from the cache");
    assert_eq!(to_run(&world, &[]), 0);
    assert_eq!(id(&world, &["--no-cache", "--jobs", "8"]), serial, "side by side");
    assert_eq!(id(&world, &["--no-cache", "--jobs", "1"]), serial, "one after the other, again");
    assert_eq!(id(&world, &["--no-cache-filter", "two"]), serial, "one stage anew");

    // An image with the steps' own layers keeps their records (that with rewritten times has others); those of the other
    // stages go.
    let plain = ["build", "-q", "--network", "none", "--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
    world.ok(&[&plain[..], &["-t", "kept:1", "ctx"]].concat());
    world.ok(&["builder", "prune", "-f"]);
    assert_eq!(to_run(&world, &[]), 0, "the image's own layers are there");
    assert!(to_run(&world, &["--target", "three"]) >= 3, "the other stages are not");
    assert_eq!(id(&world, &["--no-cache-filter", "final"]), serial, "half of the cache pruned");
    world.ok(&["builder", "prune", "-a", "-f"]);
    assert_eq!(id(&world, &[]), serial, "all of the cache pruned");
    world.ok(&["rmi", "made:1", "kept:1"]);
    world.ok(&["builder", "prune", "-f"]);
    assert_eq!(id(&world, &[]), serial, "and the image");

    let other = World::new();
    world.ok(&["save", "-o", "box.archive", "box:1"]);
    other.ok(&["load", "-i", &world.path("box.archive").display().to_string()]);
    context(&other);
    assert_eq!(id(&other, &[]), serial, "another store");
    other.ok(&["system", "fsck", "-q"]);
    world.ok(&["system", "fsck", "-q"]);
}

/// Without fixed times a RUN's files have the time of the run, and so do directories that are made. A layer that only
/// copies files to where there is a directory already depends on the files alone; a build from the cache is the same
/// image, its date included.
#[test]
fn without_an_epoch_copies_are_equal_and_the_cache_gives_the_same_image() {
    let Some(world) = World::with_shell("equal::without_an_epoch") else { return };
    context(&world);
    let build = |how: &[&str]| world.ok(&[&["build", "-q", "--network", "none"], how, &["ctx"]].concat());
    let layers = |id: &str| -> Vec<String> {
        let told = world.ok(&["inspect", "-f", "{{range .RootFS.Layers}}{{.}} {{end}}", id.trim()]);
        told.split_whitespace().map(str::to_owned).collect()
    };
    let first = build(&["--jobs", "1"]);
    assert_eq!(build(&["--jobs", "8"]), first, "from the cache");
    let second = build(&["--no-cache"]);
    let (one, two) = (layers(&first), layers(&second));
    assert_eq!(one.len(), 1 + 6);
    // The base, and `COPY src/a /tmp/`.
    for layer in [0, 4] {
        assert_eq!(one[layer], two[layer], "layer {layer}");
    }
    assert_ne!(one[6], two[6], "two runs at two times");
    assert_eq!(build(&[]), second, "what was built last is what the cache has");
}
