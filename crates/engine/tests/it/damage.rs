//! Files of the store that are gone, cut off or changed.
use crate::world::{World, text};
use std::path::PathBuf;
use strata_engine::run::RunOutcome;

/// A name and what it does to a file.
type Damage = (&'static str, fn(&PathBuf));

fn layers(world: &World, suffix: &str) -> Vec<PathBuf> {
    let entries =
        fs_err::read_dir(world.root().join("layers/sha256")).unwrap().flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_str().unwrap().ends_with(".index") != suffix.is_empty()).collect()
}

fn flip(path: &PathBuf, at: usize) {
    let mut bytes = fs_err::read(path).unwrap();
    bytes[at] ^= 0xff;
    fs_err::write(path, bytes).unwrap();
}

/// Only the tars count: an index that is missing, cut off or changed is made again by whoever needs it.
#[test]
fn indexes_are_made_again() {
    let damages: [Damage; 3] = [
        ("missing", |path| fs_err::remove_file(path).unwrap()),
        ("cut off", |path| fs_err::write(path, b"short").unwrap()),
        ("changed", |path| (1024..1300).for_each(|at| flip(path, at))),
    ];
    for (name, damage) in damages {
        let Some(world) = World::with_base() else { return };
        layers(&world, ".index").iter().for_each(damage);
        let problems = world.engine().fsck().unwrap().problems;
        assert!(problems[0].contains("the next use makes it again"), "{name}: {problems:?}");
        assert_eq!(world.run("busybox", "true").unwrap(), RunOutcome::Exited(0), "{name}");
        world.assert_sound();
        layers(&world, ".index").iter().for_each(damage);
        world.build(&world.context("FROM busybox\nCOPY a /bin/\n", &[("a", b"a")])).unwrap();
        world.assert_sound();
    }
}

#[test]
fn a_changed_byte_is_found_and_named() {
    let Some(world) = World::with_base() else { return };
    let tar = layers(&world, "").remove(0);
    flip(&tar, 5000);
    let problems = world.engine().fsck().unwrap().problems;
    let id = tar.file_name().unwrap().to_str().unwrap();
    assert!(
        problems.len() == 1 && problems[0].contains(id) && problems[0].contains("has digest"),
        "{problems:?}"
    );
    flip(&tar, 5000);
    world.assert_sound();
}

/// The kernel would mount a tar that is too short, and give errors, or zeros, when it is read.
#[test]
fn a_layer_of_the_wrong_length_is_refused() {
    let Some(world) = World::with_base() else { return };
    let tar = layers(&world, "").remove(0);
    let bytes = fs_err::read(&tar).unwrap();
    fs_err::write(&tar, &bytes[..bytes.len() - 512]).unwrap();
    let name = tar.file_name().unwrap().to_str().unwrap();
    let wanted = |error: String| assert!(error.contains(name) && error.contains("is damaged"), "{error}");
    wanted(text(&world.run("busybox", "true").unwrap_err()));
    wanted(text(&world.build(&world.context("FROM busybox\nRUN true\n", &[])).unwrap_err()));
    wanted(text(&world.build(&world.context("FROM busybox\nCOPY a /\n", &[("a", b"a")])).unwrap_err()));
    let out = fs_err::File::create(world.directory.path().join("out.tar")).unwrap();
    wanted(text(&world.engine().save(&["busybox".to_owned()], out.file()).unwrap_err()));
    assert_eq!(
        world.engine().containers(&Default::default()).unwrap().len(),
        0,
        "--rm also when it did not start"
    );
    // What the message advises helps.
    world.engine().remove_image("busybox", true, false).unwrap();
    world.engine().prune_cache(true).unwrap();
    world.import(crate::world::base().unwrap(), "busybox").unwrap();
    assert_eq!(world.run("busybox", "true").unwrap(), RunOutcome::Exited(0));
    world.assert_sound();
}

#[test]
fn a_store_that_cannot_be_understood_is_left_alone() {
    let Some(world) = World::with_base() else { return };
    let (meta, database) = (world.root().join("meta.json"), world.root().join("strata.db"));
    let (old_meta, refused) =
        (fs_err::read(&meta).unwrap(), |world: &World| text(&world.open().err().unwrap()));
    fs_err::write(&meta, String::from_utf8_lossy(&old_meta).replacen(":1", ":99", 1)).unwrap();
    assert!(refused(&world).contains("use a newer strata"), "{}", refused(&world));
    fs_err::write(&meta, "garbage").unwrap();
    assert!(refused(&world).contains("meta.json is not a store description"), "{}", refused(&world));
    fs_err::write(&meta, &old_meta).unwrap();

    let set_aside = world.directory.path().join("set aside");
    fs_err::rename(&database, &set_aside).unwrap();
    assert!(refused(&world).contains("strata.db is missing"), "{}", refused(&world));
    fs_err::write(&database, [0x55; 40960]).unwrap();
    assert!(refused(&world).contains("strata.db is damaged"), "{}", refused(&world));
    fs_err::rename(&set_aside, &database).unwrap();
    world.assert_sound();
}
