//! Little input that becomes much: compressed zeros, floods of devices and of names.
use crate::world::{Tar, World, base, text};
use flate2::{Compression, write::GzEncoder};
use std::io::{Cursor, Write};
use strata_engine::LayerMode;
use strata_engine::run::RunOutcome;

/// The tar of one file of zeros, compressed a thousandfold.
fn zeros(megabytes: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let tar = Tar::default().file("zeros", &vec![0; megabytes << 20]).end();
    gzip.write_all(&tar).unwrap();
    gzip.finish().unwrap()
}

/// What does not end is not read to its end: neither zeros behind a document nor a document of blanks.
#[test]
fn compressed_documents_are_bounded() {
    let Some(world) = World::new() else { return };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&Tar::default().file("manifest.json", &vec![b' '; 64 << 20]).end()).unwrap();
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let error = text(&world.engine().load(Box::new(Cursor::new(bomb))).unwrap_err());
    assert!(error.contains("a manifest has at most"), "{error}");
    // Bytes behind the end of a tar belong to its layer; these are not one.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&vec![0xaa; 64 << 20]).unwrap();
    let error = text(&world.import(gzip.finish().unwrap(), "noise").unwrap_err());
    assert!(error.contains("not a tar") || error.contains("checksum"), "{error}");
    world.assert_nothing_left();
    world.assert_sound();
}

/// A layer is as large as it says: what it takes is shown, given back when it is removed, and never held in memory.
#[test]
fn compressed_zeros_take_the_disk_and_give_it_back() {
    let Some(world) = World::with_base() else { return };
    let bomb = zeros(64);
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    world.import(bomb.clone(), "bomb").unwrap();
    let request = world.context("FROM busybox\nADD bomb.tar.gz /\n", &[("bomb.tar.gz", &bomb)]);
    world.build(&request).unwrap();
    for name in ["bomb", "built"] {
        world.engine().remove_image(name, true, false).unwrap();
    }
    world.engine().prune_cache(true).unwrap();
    world.assert_sound();
}

/// Thousands of device nodes: as a layer they are entries like others, and no container opens one.
#[test]
fn a_flood_of_devices() {
    const MANY: usize = 5000;
    for mode in [None, Some(LayerMode::Tree)] {
        let Some(mut world) = World::with_base() else { return };
        world.mode = mode;
        let mut tar = base().unwrap();
        tar.truncate(tar.len() - 1024);
        let mut flood = Tar::default();
        for number in 0..MANY {
            let kind = if number % 2 == 0 { tar::EntryType::Char } else { tar::EntryType::Block };
            flood =
                flood.device(kind, &format!("flood/{number}"), (1 + number as u32 % 8, number as u32 % 3));
        }
        let flood = flood.end();
        tar.extend_from_slice(&flood);
        world.import(tar, "flood").unwrap();
        let request = world.context("FROM busybox\nADD flood.tar /added/\n", &[("flood.tar", &flood)]);
        world.build(&request).unwrap();
        for (image, directory) in [("flood", "/flood"), ("built", "/added/flood")] {
            let script = format!(
                "test $(ls {directory} | grep -c .) = {MANY} || exit 1; test -c {directory}/0 || exit 2
                 test -b {directory}/1 || exit 3
                 for n in 0 1 7 9 4998 4999; do dd if={directory}/$n of=/dev/null bs=1 count=1 2>/dev/null && exit 4; done; exit 0"
            );
            assert_eq!(world.run(image, &script).unwrap(), RunOutcome::Exited(0), "{image}, {mode:?}");
        }
        world.assert_sound();
    }
}
