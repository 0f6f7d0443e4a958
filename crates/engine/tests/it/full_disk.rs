//! A disk that is full: the command says so, and leaves the room it took.
use crate::registry::Registry;
use crate::transfer::{engine, noise, pull, push};
use crate::world::{Tar, World, base, text};
use std::io::Cursor;
use std::process::Command;

/// A file system of `MEGABYTES` in a file.
struct SmallDisk(World);

const MEGABYTES: usize = 24;

impl SmallDisk {
    fn new() -> Option<Self> {
        let (base, world) = (base()?, World::new()?);
        let image = world.directory.path().join("disk");
        fs_err::File::create(&image).unwrap().set_len((MEGABYTES as u64) << 20).unwrap();
        fs_err::create_dir(world.root()).unwrap();
        let run = |program: &str, args: &[&str]| {
            Command::new(program).args(args).output().is_ok_and(|o| o.status.success())
        };
        let (image, root) = (image.to_str().unwrap().to_owned(), world.root().to_str().unwrap().to_owned());
        if !run("mkfs.ext4", &["-q", "-m0", &image]) || !run("mount", &["-o", "loop", &image, &root]) {
            eprintln!("skipped: needs mkfs.ext4 and loop devices");
            return None;
        }
        fs_err::remove_dir(world.root().join("lost+found")).unwrap();
        let disk = Self(world);
        disk.0.import(base, "busybox").unwrap();
        Some(disk)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        for entry in fs_err::read_dir(self.0.root().join("overlay2")).into_iter().flatten().flatten() {
            let _ = Command::new("umount").arg(entry.path().join("diff")).output();
        }
        let _ = Command::new("umount").arg("-l").arg(self.0.root()).status();
    }
}

#[test]
fn every_writer_reports_a_full_disk_and_cleans_up() {
    let Some(disk) = SmallDisk::new() else { return };
    let world = &disk.0;
    let big = vec![7; MEGABYTES << 20];
    let full = |what: &str, error: String| {
        assert!(error.contains("No space left on device"), "{what}: {error}");
        world.assert_nothing_left();
    };
    let tar = Tar::default().file("big", &big).end();
    full("import", text(&world.import(tar.clone(), "big").unwrap_err()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    full("import of a bomb", text(&world.import(bomb.clone(), "bomb").unwrap_err()));
    let inside = Tar::default().file("l.tar", &bomb).end();
    full("load of a bomb", text(&world.engine().load(Box::new(Cursor::new(inside))).unwrap_err()));
    let add = world.context("FROM busybox\nADD bomb.tar.gz /\n", &[("bomb.tar.gz", &bomb)]);
    full("ADD of a bomb", text(&world.build(&add).unwrap_err()));
    let archive = Tar::default().file("l.tar", &tar).end();
    full("load", text(&world.engine().load(Box::new(Cursor::new(archive))).unwrap_err()));
    let outside = tempfile::tempdir_in("/var/tmp").unwrap();
    let mut copy = world.context("FROM busybox\nCOPY big /\n", &[]);
    fs_err::write(outside.path().join("big"), &big).unwrap();
    copy.context = strata_engine::build::ContextSource::Directory(outside.path().to_owned());
    full("COPY", text(&world.build(&copy).unwrap_err()));
    let run = "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=30 2>/dev/null\n";
    let error = text(&world.build(&world.context(run, &[])).unwrap_err());
    assert!(error.contains("did not complete successfully: exit code: 1"), "{error}");
    // Fits once, but not a second time as a layer.
    let run = "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1M count=14 2>/dev/null\n";
    full("packing RUN", text(&world.build(&world.context(run, &[])).unwrap_err()));
    world.assert_sound();
    world.build(&world.context("FROM busybox\nCOPY a /\nRUN echo x > /x\n", &[("a", b"a")])).unwrap();
    world.assert_sound();
}

/// What came of a blob is worth keeping after a cut, but not on a disk that it fills.
#[test]
fn a_pull_that_fills_the_disk_leaves_nothing_of_it() {
    let (Some(registry), Some(disk), Some(builder)) = (Registry::start(), SmallDisk::new(), World::new())
    else {
        return;
    };
    let name = format!("{}/big:1", registry.host());
    let tar = Tar::default().file("big", &noise(7, (MEGABYTES - 4) << 20)).end();
    builder.import(tar, &name).unwrap();
    push(&engine(&builder), &name, None).unwrap();
    let error = text(&pull(&engine(&disk.0), &name).unwrap_err());
    assert!(error.contains("No space left on device"), "{error}");
    disk.0.assert_nothing_left();
    let downloads: Vec<_> = fs_err::read_dir(disk.0.root().join("downloads")).unwrap().collect();
    assert!(downloads.is_empty(), "{downloads:?}");
}
