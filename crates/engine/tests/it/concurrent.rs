//! Several processes' worth of work on one store at once: each on an engine of its own.
use crate::world::{World, base, text};
use std::io::Cursor;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use strata_engine::archive::ImportRequest;
use strata_engine::run::RunOutcome;
use strata_engine::{EngineError, LayerMode};

#[test]
fn builds_of_one_tag_at_once() {
    let Some(world) = World::with_base() else { return };
    scope(|threads| {
        for n in 0..4 {
            let world = &world;
            threads.spawn(move || {
                let file = format!("FROM busybox\nCOPY a /a\nRUN echo {n} > /n\n");
                world.build(&world.context(&file, &[("a", b"a")])).unwrap();
            });
        }
    });
    let named = world.engine().images(&Default::default()).unwrap();
    let named = named.iter().filter(|image| image.tags.iter().any(|tag| tag.familiar() == "built:latest"));
    assert_eq!(named.count(), 1, "one of them has the tag");
    assert_eq!(world.run("built", "test -s /n").unwrap(), RunOutcome::Exited(0));
    world.assert_sound();
}

/// What is being made is nobody else's to remove: not the layers of a running build, not an image before it is named.
#[test]
fn builds_and_imports_while_everything_unused_is_pruned() {
    let Some(world) = World::with_base() else { return };
    let done = AtomicBool::new(false);
    scope(|threads| {
        let pruner = threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                world.engine().prune_images(false, &[]).unwrap();
                world.engine().prune_cache(true).unwrap();
                match world.engine().remove_image("built", true, false) {
                    Ok(_) | Err(EngineError::NoSuchImage(_)) => {}
                    Err(error) => panic!("{}", text(&error)),
                }
            }
        });
        let builder = threads.spawn(|| {
            for n in 0..8 {
                let file = format!("FROM busybox\nCOPY a /a\nRUN echo {n} > /n\nRUN cat /n /a\n");
                world.build(&world.context(&file, &[("a", b"a")])).unwrap();
            }
        });
        let importer = threads.spawn(|| {
            for n in 0..30 {
                let name = format!("one:{n}");
                world.import(crate::world::Tar::default().file("f", name.as_bytes()).end(), &name).unwrap();
            }
        });
        let ended = [builder.join(), importer.join()];
        // Whatever they came to: a pruner that goes on for ever would hide it.
        done.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|end| end.unwrap());
        pruner.join().unwrap();
    });
    let images = world.engine().images(&Default::default()).unwrap();
    assert_eq!(
        images.iter().filter(|image| image.tags.iter().any(|tag| tag.familiar().starts_with("one:"))).count(),
        30
    );
    world.assert_sound();
}

#[test]
fn loads_imports_and_first_runs_at_once() {
    for mode in [None, Some(LayerMode::Tree)] {
        let Some(mut world) = World::with_base() else { return };
        world.mode = mode;
        world.build(&world.context("FROM busybox\nCOPY a /a\nRUN echo x > /x\n", &[("a", b"a")])).unwrap();
        let archive = world.directory.path().join("saved.tar");
        world.engine().save(&["built".to_owned()], fs_err::File::create(&archive).unwrap().file()).unwrap();
        world.engine().remove_image("built", true, false).unwrap();
        world.engine().prune_cache(true).unwrap();
        let bytes = fs_err::read(&archive).unwrap();
        let base = base().unwrap();
        scope(|threads| {
            for n in 0..3 {
                let (world, bytes, base) = (&world, &bytes, &base);
                threads.spawn(move || world.engine().load(Box::new(Cursor::new(bytes.clone()))).unwrap());
                threads.spawn(move || {
                    let request = ImportRequest { reference: Some(format!("base{n}")), ..Default::default() };
                    world.engine().import(Box::new(Cursor::new(base.clone())), &request).unwrap()
                });
            }
        });
        scope(|threads| {
            for _ in 0..4 {
                let world = &world;
                threads.spawn(move || {
                    assert_eq!(world.run("built", "cat /a /x").unwrap(), RunOutcome::Exited(0))
                });
            }
        });
        world.assert_sound();
    }
}
