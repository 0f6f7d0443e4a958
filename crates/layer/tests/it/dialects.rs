//! Trees packed by GNU tar in every dialect: the kernel must show what GNU tar unpacks.

use crate::generate::{Random, Shape, tree};
use crate::mounted::{Mounted, may_mount, read, scratch};
use crate::observe::{assert_same, observe};
use fs_err as fs;
use std::path::Path;
use std::process::Command;

const PLAIN: Shape = Shape {
    entries: 45,
    long_names: false,
    any_bytes: false,
    specials: false,
    xattrs: false,
    any_time: false,
    any_owner: false,
    holes: false,
};

/// Options of GNU tar, and what a tree for them may have.
fn dialects() -> Vec<(&'static [&'static str], Shape)> {
    let ustar = Shape { specials: true, any_bytes: true, ..PLAIN };
    let gnu = Shape { long_names: true, any_owner: true, ..ustar };
    let posix = Shape { xattrs: true, any_time: true, ..gnu };
    let sparse = Shape { holes: true, ..posix };
    vec![
        (&["--format=v7"], PLAIN),
        (&["--format=ustar"], ustar),
        (&["--format=gnu"], gnu),
        (&["--format=gnu", "--sparse"], Shape { holes: true, ..gnu }),
        (&["--format=posix", "--xattrs", "--xattrs-include=*"], posix),
        (&["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.0"], sparse),
        (&["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.1"], sparse),
        (&["--format=posix", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=1.0"], sparse),
        (&["--format=posix", "--sparse", "--hole-detection=raw"], Shape { xattrs: false, ..sparse }),
        (&["--format=gnu", "--sparse", "--hole-detection=raw"], Shape { holes: true, ..gnu }),
    ]
}

/// Runs GNU tar, which must succeed.
pub(crate) fn gnu_tar(arguments: &[&str], directory: &Path, file: &Path) {
    let mut command = Command::new("tar");
    command.arg("-C").arg(directory).arg("-f").arg(file).args(arguments).env("LC_ALL", "C");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tar {arguments:?}: {said}");
}

/// Unpacks with GNU tar.
pub(crate) fn unpack(tar: &Path, directory: &Path) {
    fs::create_dir(directory).unwrap();
    let options = ["-x", "-p", "--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*"];
    gnu_tar(&options, directory, tar);
}

fn compare(seed: u64) {
    let all = dialects();
    let (options, shape) = &all[seed as usize % all.len()];
    let scratch = scratch();
    let (source, tar) = (scratch.path().join("source"), scratch.path().join("source.tar"));
    fs::create_dir(&source).unwrap();
    tree(&source, *shape, &mut Random(seed));
    gnu_tar(&[&["-c", "--numeric-owner"][..], options, &["."]].concat(), &source, &tar);
    let unpacked = scratch.path().join("unpacked");
    unpack(&tar, &unpacked);
    let mounted = Mounted::tar(&fs::read(&tar).unwrap(), scratch.path(), "mounted");
    assert_same(&observe(&mounted.path), &observe(&unpacked), &format!("seed {seed}, tar {options:?}"));
}

/// Several tests of the same, so that they run side by side. `STRATA_TREES` asks for more.
fn random_trees(part: u64) {
    if !may_mount() {
        return;
    }
    let trees: u64 = std::env::var("STRATA_TREES").ok().and_then(|count| count.parse().ok()).unwrap_or(120);
    (0..trees).filter(|seed| seed / 10 % 3 == part).for_each(compare);
}

#[test]
fn random_trees_mount_as_gnu_tar_unpacks_them_1() {
    random_trees(0);
}

#[test]
fn random_trees_mount_as_gnu_tar_unpacks_them_2() {
    random_trees(1);
}

#[test]
fn random_trees_mount_as_gnu_tar_unpacks_them_3() {
    random_trees(2);
}

#[test]
fn incremental_and_labelled_archives_are_read() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let (source, tar) = (scratch.path().join("source"), scratch.path().join("source.tar"));
    fs::create_dir(&source).unwrap();
    tree(&source, PLAIN, &mut Random(7));
    let snapshot = format!("--listed-incremental={}", scratch.path().join("snapshot").display());
    gnu_tar(&["-c", "--format=gnu", "--label=a label", &snapshot, "."], &source, &tar);
    let unpacked = scratch.path().join("unpacked");
    unpack(&tar, &unpacked);
    let mounted = Mounted::tar(&fs::read(&tar).unwrap(), scratch.path(), "mounted");
    assert_same(&observe(&mounted.path), &observe(&unpacked), "incremental");
}

#[test]
fn a_file_over_four_gibibytes_is_sparse_in_the_tar_and_whole_in_the_mount() {
    if !may_mount() {
        return;
    }
    let scratch = scratch();
    let (source, tar) = (scratch.path().join("source"), scratch.path().join("source.tar"));
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("big")).unwrap();
    file.set_len(5 << 30).unwrap();
    use std::os::unix::fs::FileExt;
    file.file().write_all_at(b"end", (5 << 30) - 3).unwrap();
    file.file().write_all_at(b"middle", 3 << 30).unwrap();
    gnu_tar(&["-c", "--format=posix", "--sparse", "."], &source, &tar);
    let bytes = fs::read(&tar).unwrap();
    assert!(bytes.len() < 1 << 20);
    assert_eq!(read(&bytes).0.content_size, 5 << 30);
    let mounted = Mounted::tar(&bytes, scratch.path(), "mounted");
    let big = fs::File::open(mounted.path.join("big")).unwrap();
    assert_eq!(big.metadata().unwrap().len(), 5 << 30);
    let mut found = [0; 8];
    for (offset, expected) in
        [((5u64 << 30) - 8, *b"\0\0\0\0\0end"), (3 << 30, *b"middle\0\0"), (1 << 30, [0; 8])]
    {
        big.file().read_exact_at(&mut found, offset).unwrap();
        assert_eq!(found, expected, "at {offset}");
    }
}
