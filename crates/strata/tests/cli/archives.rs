//! `import`, `save`, `load`.

use crate::world::World;

#[test]
fn what_is_saved_loads_with_the_same_ids() {
    let world = World::with_base();
    let text = world.transcript(&[
        "tag base:1 other:2",
        "save base:1 other:2 -o both.tar",
        "inspect -f {{.Id}} base:1",
    ]);
    let id = world.ok(&["inspect", "-f", "{{.Id}}", "base:1"]);
    let layers = world.ok(&["inspect", "-f", "{{.RootFS.Layers}}", "base:1"]);
    let target = World::new();
    fs_err::copy(world.path("both.tar"), target.path("both.tar")).expect("a copy");
    let text =
        text + &target.transcript(&["load -i both.tar", "images", "load -q -i both.tar", "load -i base.tar"]);
    assert_eq!(target.ok(&["inspect", "-f", "{{.Id}}", "other:2"]), id);
    assert_eq!(target.ok(&["inspect", "-f", "{{.RootFS.Layers}}", "base:1"]), layers);
    insta::assert_snapshot!(text);
}

/// Seed 004: the archive unpacked and listed, member by member.
#[test]
fn members_of_a_saved_archive() {
    let world = World::with_base();
    world.ok(&["save", "-o", "image.tar", "base:1"]);
    let file = fs_err::File::open(world.path("image.tar")).expect("saved");
    let mut archive = tar::Archive::new(file);
    let mut names: Vec<String> = archive
        .entries()
        .expect("a tar")
        .map(|entry| entry.expect("a member").path().expect("a path").display().to_string())
        .filter(|name| !name.ends_with('/'))
        .collect();
    names.sort();
    let plain = ["index.json", "manifest.json", "oci-layout", "repositories"];
    assert!(plain.iter().all(|name| names.iter().any(|have| have == name)), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("blobs/sha256/")).count(), 3, "{names:?}");
    for legacy in ["/VERSION", "/json", "/layer.tar"] {
        assert_eq!(names.iter().filter(|name| name.ends_with(legacy)).count(), 1, "{legacy} of {names:?}");
    }
}

#[test]
fn saving_twice_gives_the_same_bytes_and_leaves_no_half_file() {
    let world = World::with_base();
    world.ok(&["save", "-o", "a.tar", "base:1"]);
    world.ok(&["save", "-o", "b.tar", "base:1"]);
    assert_eq!(fs_err::read(world.path("a.tar")).expect("a"), fs_err::read(world.path("b.tar")).expect("b"));
    let piped = world.output(&["save", "base:1"]);
    assert_eq!(piped.stdout, fs_err::read(world.path("a.tar")).expect("a"));
    assert_eq!(world.output(&["save", "-o", "c.tar", "base:1", "nosuch"]).status.code(), Some(1));
    let left: Vec<_> = fs_err::read_dir(world.path("")).expect("the world").flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("c.tar")), "{left:?}");
}

#[test]
fn what_is_no_archive_is_refused_and_named() {
    let world = World::with_base();
    world.file("text.txt", b"not a tar at all\n");
    world.file("empty.tar", b"");
    world.file("cut.tar", &fs_err::read(world.path("base.tar")).expect("base")[..1000]);
    insta::assert_snapshot!(world.transcript(&[
        "load -i text.txt",
        "load -i empty.tar",
        "load -i base.tar",
        "import text.txt t",
        "import cut.tar t",
        "import -c 'BOGUS x' base.tar t",
        "import base.tar UPPER",
        "import base.tar a b c",
        "images --format {{.Repository}}",
        "system fsck",
    ]));
}
