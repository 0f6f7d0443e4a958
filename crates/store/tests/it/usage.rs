//! df equals du.
use crate::support::{TestStore, reference};
use fs_err as fs;
use std::process::Command;
use strata_store::{NewContainer, NewVolume, Store};

/// What `du` says, with the given flag, in bytes.
pub(crate) fn du(store: &Store, flags: &[&str]) -> u64 {
    let output = Command::new("du").args(flags).arg("-s").arg(store.root()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// The walked figures equal `du`, and the recorded ones the files.
pub(crate) fn assert_df_is_du(store: &Store) {
    store.empty_trash();
    // Blocks are given when data reach the disk: not between the walk and `du`.
    rustix::fs::syncfs(fs::File::open(store.root()).unwrap()).unwrap();
    let physical = store.physical_usage().unwrap();
    assert_eq!(physical.apparent, du(store, &["-b"]));
    assert_eq!(physical.allocated, du(store, &["--block-size=1"]));
    let files = |name: &str| {
        let entries = fs::read_dir(store.root().join(name)).unwrap();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    assert_eq!(store.recorded_usage().unwrap(), files("layers/sha256") + files("blobs/sha256"));
}

#[test]
fn every_byte_is_accounted_for() {
    let store = TestStore::new();
    let first = store.image(&["base", "12345678"]);
    let second = store.image(&["base", "xyz"]);
    store.images().tag(&reference("one"), &first).unwrap();
    let layers = store.images().get(&first).unwrap().unwrap().layers;
    store.layers().mounts(&layers).unwrap();
    let new = NewContainer { image: Some(first), layers, ..NewContainer::default() };
    let container = store.containers().create(new).unwrap();
    fs::write(container.upper().join("written"), [0; 3000]).unwrap();
    fs::hard_link(container.upper().join("written"), container.upper().join("linked")).unwrap();
    fs::write(container.log(), "{}\n").unwrap();
    let (volume, _) = store.volumes().create(NewVolume::default()).unwrap();
    fs::write(volume.mountpoint.join("data"), [0; 700]).unwrap();
    let lease = store.leases().acquire().unwrap();
    let cached = store.layer(&lease, &[("cached", &[1; 50])], &[]).diff_id;
    store.cache().put(&[1; 32], "slot", "{}", &[cached]).unwrap();
    drop(lease);

    assert_df_is_du(&store);
    let usage = store.usage().unwrap();
    assert_eq!(usage.layers_size, 4 + 8 + 3);
    assert_eq!(usage.reclaimable_layers, 3);
    assert_eq!(usage.cache_only_size, 50);
    let image = usage.images.iter().find(|image| image.id == first).unwrap();
    assert_eq!((image.size, image.shared, image.unique, image.containers), (12, 4, 8, 1));
    assert_eq!((usage.containers[0].size, usage.containers[0].virtual_size), (3000, 3012));
    assert_eq!(store.container_size(&container.id).unwrap(), 3000);
    assert_eq!((usage.volumes[0].size, usage.volumes[0].links), (700, 0));

    store.images().remove(&second.hex(), Default::default()).unwrap();
    let before = store.recorded_usage().unwrap();
    let freed = store.gc().bytes;
    assert_eq!(before - store.recorded_usage().unwrap(), freed, "gc frees what it says");
    assert_df_is_du(&store);
}
