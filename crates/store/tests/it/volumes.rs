//! Volumes.
use crate::support::{TestStore, names};
use fs_err as fs;
use strata_store::{NewVolume, Prune, StoreError};

fn named(name: &str) -> NewVolume {
    NewVolume { name: Some(name.to_owned()), ..NewVolume::default() }
}

#[test]
fn create_is_idempotent_and_prune_spares_named_ones() {
    let store = TestStore::new();
    let labelled = NewVolume { labels: [("a".to_owned(), "b".to_owned())].into(), ..named("data") };
    let (volume, new) = store.volumes().create(labelled).unwrap();
    assert!(new && !volume.anonymous && volume.mountpoint.is_dir());
    assert_eq!(volume.mountpoint, store.root().join("volumes/data/_data"));
    fs::write(volume.mountpoint.join("kept"), "x").unwrap();
    let (again, new) = store.volumes().create(named("data")).unwrap();
    assert_eq!((again, new), (volume.clone(), false));
    let (anonymous, _) = store.volumes().create(NewVolume::default()).unwrap();
    assert!(anonymous.anonymous && anonymous.name.len() == 64);
    assert_eq!(store.volumes().prune(&Prune::default()).unwrap(), [anonymous.name]);
    assert_eq!(names(&store.root().join("volumes")), ["data"]);
    assert_eq!(store.volumes().prune(&Prune { all: true, ..Prune::default() }).unwrap(), ["data"]);
    assert_eq!(store.volumes().get("data").unwrap_err().to_string(), "get data: no such volume");
    assert_eq!(names(&store.root().join("volumes")), [""; 0]);
}

#[test]
fn names_cannot_leave_the_directory() {
    let store = TestStore::new();
    for name in ["../x", "a/b", ".", "", "-x", "a"] {
        assert!(matches!(store.volumes().create(named(name)), Err(StoreError::VolumeName(_))), "{name}");
    }
}

#[test]
fn data_without_a_record_is_kept_and_reported() {
    let store = TestStore::new();
    fs::create_dir_all(store.root().join("volumes/lost/_data")).unwrap();
    fs::write(store.root().join("volumes/lost/_data/precious"), "x").unwrap();
    fs::create_dir_all(store.root().join("volumes/empty/_data")).unwrap();
    // As after a reboot: everything is looked at.
    fs::remove_dir_all(store.run_dir()).unwrap();
    let store = store.reopen();
    assert_eq!(names(&store.root().join("volumes")), ["lost"]);
    assert_eq!(store.fsck().unwrap().problems.len(), 1);
    // Creating the volume by name adopts what is there.
    let (volume, _) = store.volumes().create(named("lost")).unwrap();
    assert!(volume.mountpoint.join("precious").exists());
    assert_eq!(store.fsck().unwrap().problems, []);
}
