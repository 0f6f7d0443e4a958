//! Hundreds of random trees.

use crate::compare::check_reader;
use crate::generate::Random;
use crate::mounted::{Mounted, check_mount, may_mount, scratch};
use fs_err as fs;

const TREES: u64 = 300;

#[test]
fn the_kernel_and_the_reader_show_random_trees() {
    let scratch = scratch();
    let mount = may_mount();
    let mut entries = 0;
    for seed in 0..TREES {
        let tree = Random(seed).tree(if seed % 10 == 0 { 400 } else { 60 });
        entries += tree.nodes.len();
        let (image, nids) = tree.write();
        println!("seed {seed}");
        check_reader(&tree, &image, &nids);
        if mount {
            let directory = scratch.path().join("tree");
            fs::create_dir(&directory).unwrap();
            let mounted = Mounted::tree(&tree, &image, &directory, "mount");
            check_mount(&tree, &nids, &mounted.path);
            drop(mounted);
            fs::remove_dir_all(&directory).unwrap();
        }
    }
    assert!(entries > 10_000, "only {entries} entries were compared");
}

#[test]
fn images_do_not_depend_on_the_order_of_adding() {
    for seed in 0..50 {
        let tree = Random(seed).tree(100);
        let (image, _) = tree.write();
        let (backwards, _) = tree.builder_in_order((0..tree.nodes.len()).rev());
        let mut other = Vec::new();
        backwards.write(&tree.device_lengths(), &mut other).unwrap();
        assert!(image == other, "seed {seed}");
    }
}
