//! Garbage collection and leases.
use crate::support::{TestStore, add_layer, names};
use std::sync::atomic::{AtomicBool, Ordering};
use strata_store::{CachePrune, GcOptions, StoreError};

#[test]
fn a_lease_keeps_what_nothing_else_names() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let id = store.layer(&lease, &[("a", b"b")], &[]).diff_id;
    assert_eq!(store.gc().layers, []);
    let copy = lease.clone();
    drop(lease);
    assert_eq!(store.gc().layers, []);
    drop(copy);
    let report = store.gc();
    assert_eq!(report.layers, [id]);
    assert!(report.bytes > 1024);
    assert_eq!(names(&store.root().join("layers/sha256")), [""; 0]);
    store.empty_trash();
    assert_eq!(names(&store.root().join("trash")), [""; 0]);
}

#[test]
fn a_lease_on_what_is_missing_keeps_it_when_it_comes() {
    let store = TestStore::new();
    let first = store.leases().acquire().unwrap();
    let id = store.layer(&first, &[("a", b"b")], &[]).diff_id;
    drop(first);
    store.gc();
    let holder = store.leases().acquire().unwrap();
    assert_eq!(holder.hold(&[id]).unwrap(), [id], "reported as missing");
    let second = store.leases().acquire().unwrap();
    store.layer(&second, &[("a", b"b")], &[]);
    drop(second);
    assert_eq!(store.gc().layers, []);
    assert_eq!(holder.hold(&[id]).unwrap(), []);
}

#[test]
fn the_cache_keeps_layers_unless_asked() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let id = store.layer(&lease, &[("a", b"b")], &[]).diff_id;
    store.cache().put(&[1; 32], "slot", "{}", &[id]).unwrap();
    drop(lease);
    assert_eq!(store.gc().layers, []);
    let all = GcOptions { include_cache: true, unmount: &|_| Ok(()) };
    assert_eq!(store.store.gc(&all).unwrap().layers, [id]);
    assert_eq!(store.cache().get(&[1; 32]).unwrap(), None);
    assert_eq!(store.cache().prune(CachePrune::default()).unwrap(), []);
}

#[test]
fn unused_configs_and_trees_go_too() {
    let store = TestStore::new();
    let id = store.image(&["x"]);
    let layers = store.images().get(&id).unwrap().unwrap().layers;
    store.layers().mounts(&layers).unwrap();
    assert_eq!(names(&store.root().join("overlay2")).len(), 2);
    store.images().remove(&id.hex(), Default::default()).unwrap();
    store.gc();
    assert_eq!(names(&store.root().join("overlay2")), ["l"]);
    assert_eq!(names(&store.root().join("blobs/sha256")), [""; 0]);
}

/// Builders commit, name and drop the same few layers while a collector runs all the time: what a builder holds is
/// always readable.
#[test]
fn collecting_never_races_with_building() {
    let store = TestStore::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let mut collected = 0;
            while !stop.load(Ordering::Relaxed) {
                collected += store.gc().layers.len();
            }
            collected
        });
        let builders: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for round in 0..40_u8 {
                        let lease = store.leases().acquire().unwrap();
                        let content = [round % 3; 3000];
                        let id = add_layer(&store, &lease, &[("file", &content)], &[]).unwrap().diff_id;
                        let mounts = store.layers().mounts(&[id]).unwrap();
                        assert_eq!(fs_err::read(mounts[0].target.join("file")).unwrap(), content);
                        store.layers().verify(&id).unwrap();
                    }
                })
            })
            .collect();
        let ends: Vec<_> = builders.into_iter().map(|builder| builder.join()).collect();
        stop.store(true, Ordering::Relaxed);
        ends.into_iter().for_each(|end| end.unwrap());
        assert!(collector.join().unwrap() > 0);
    });
    store.gc();
    let report = store.fsck().unwrap();
    assert_eq!((report.checked, report.problems), (0, vec![]));
}

#[test]
fn a_failing_unmount_keeps_the_directory() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting needs root");
        return;
    }
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let id = store.layer(&lease, &[("a", b"b")], &[]).diff_id;
    let target = store.layers().mounts(&[id]).unwrap()[0].target.clone();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", &target, "tmpfs", flags, None).unwrap();
    drop(lease);
    let busy = GcOptions { include_cache: false, unmount: &|_| Err(std::io::Error::other("busy")) };
    assert!(matches!(store.store.gc(&busy), Err(StoreError::Io(_))));
    let store = store.reopen();
    assert!(target.is_dir(), "the sweep leaves a mounted directory alone");

    // The layer comes back before the directory could go: then it stays.
    let lease = store.leases().acquire().unwrap();
    store.layer(&lease, &[("a", b"b")], &[]);
    rustix::mount::unmount(&target, rustix::mount::UnmountFlags::empty()).unwrap();
    let store = store.reopen();
    assert_eq!(store.swept().doomed, 0);
    assert_eq!(fs_err::read(target.join("a")).unwrap(), b"b");
    rustix::mount::mount("none", &target, "tmpfs", flags, None).unwrap();
    drop(lease);

    let unmount =
        |path: &std::path::Path| Ok(rustix::mount::unmount(path, rustix::mount::UnmountFlags::empty())?);
    store.store.gc(&GcOptions { include_cache: false, unmount: &unmount }).unwrap();
    assert_eq!(names(&store.root().join("overlay2")), ["l"]);
}
