//! Making, opening, refusing.
use crate::support::{TestStore, open, options};
use fs_err as fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;
use strata_store::{Access, Store, StoreError, StoreOptions, SweepReport};

#[test]
fn directories_are_private() {
    let store = TestStore::new();
    for (name, mode) in
        [("", 0o711), ("layers/sha256", 0o700), ("blobs", 0o700), ("overlay2", 0o711), ("trash", 0o700)]
    {
        let permissions = fs::metadata(store.root().join(name)).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn unknown_versions_and_features_are_refused() {
    let store = TestStore::new();
    let (meta, directory) = (store.root().join("meta.json"), store.directory);
    drop(store.store);
    for (text, expected) in [
        (r#"{"version":2,"features":[]}"#, "format version 2 (known: 1)"),
        (r#"{"version":1,"features":["erofs-index-1","holograms"]}"#, "feature \"holograms\""),
    ] {
        fs::write(&meta, text).unwrap();
        let error = Store::open(options(directory.path())).unwrap_err();
        assert!(matches!(error, StoreError::TooNew { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.to_string().contains(directory.path().to_str().unwrap()), "{error}");
    }
    fs::write(&meta, "{").unwrap();
    let error = Store::open(options(directory.path())).unwrap_err();
    assert!(matches!(error, StoreError::Meta { .. }), "{error}");
}

#[test]
fn a_newer_database_is_refused() {
    let store = TestStore::new();
    let (path, directory) = (store.root().join("strata.db"), store.directory);
    drop(store.store);
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(options(directory.path())).unwrap_err();
    assert!(error.to_string().contains("database version 99 (known: "), "{error}");
}

#[test]
fn a_damaged_or_missing_database_is_named() {
    let store = TestStore::new();
    let (path, directory) = (store.root().join("strata.db"), store.directory);
    drop(store.store);
    fs::write(&path, vec![0x55; 8192]).unwrap();
    let error = Store::open(options(directory.path())).unwrap_err();
    assert!(matches!(error, StoreError::DatabaseDamaged { .. }), "{error:?}");
    assert!(error.to_string().contains("strata.db is damaged"), "{error}");

    fs::remove_file(&path).unwrap();
    let error = Store::open(options(directory.path())).unwrap_err();
    assert!(matches!(error, StoreError::DatabaseMissing { .. }), "{error:?}");
    assert!(!path.exists(), "a lost database must not be replaced by an empty one");
}

#[test]
fn many_first_opens_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| open(directory.path()));
        }
    });
    assert_eq!(open(directory.path()).fsck().unwrap().problems, []);
}

#[test]
fn nothing_to_sweep_is_quick() {
    let store = TestStore::new();
    let image = store.image(&["one", "two"]);
    store.images().tag(&crate::support::reference("app"), &image).unwrap();
    let store = store.reopen();
    let directory = store.directory.path().to_owned();
    for access in [Access::Full, Access::Look] {
        let mut times: Vec<_> = (0..21)
            .map(|_| {
                let start = Instant::now();
                let store = Store::open(StoreOptions { access, ..options(&directory) }).unwrap();
                assert_eq!(store.images().list().unwrap().len(), 1);
                let elapsed = start.elapsed();
                assert_eq!(*store.swept(), SweepReport::default());
                elapsed
            })
            .collect();
        times.sort();
        eprintln!("open and list, {access:?}: median {:?}, best {:?}", times[10], times[0]);
        // The target is 2 ms; the best of many leaves room for busy machines.
        assert!(times[0].as_millis() < 2, "{times:?}");
    }
}

#[test]
fn an_unwritable_root_is_named() {
    let error = Store::open(options(std::path::Path::new("/proc/nowhere"))).unwrap_err();
    assert!(error.to_string().contains("/proc/nowhere"), "{error}");
}

#[test]
fn the_log_stays_short_and_opening_quick() {
    let store = TestStore::new();
    let ids = [store.image(&["one"]), store.image(&["two"])];
    let log = store.root().join("strata.db-wal");
    let TestStore { store, directory } = store;
    drop(store);
    let (mut longest, mut slowest) = (0, std::time::Duration::ZERO);
    for round in 0..300 {
        let start = Instant::now();
        let store = open(directory.path());
        slowest = slowest.max(start.elapsed());
        store.images().tag(&crate::support::reference("app"), &ids[round % 2]).unwrap();
        drop(store);
        longest = longest.max(fs::metadata(&log).unwrap().len());
    }
    eprintln!("longest log {longest}, slowest open {slowest:?}");
    assert!((100 << 10..1 << 20).contains(&longest), "{longest}");
    assert_eq!(open(directory.path()).images().resolve("app").unwrap(), ids[1]);
}

/// The database holds environments of containers; the store's directory itself can be entered by everybody.
#[test]
fn the_database_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let store = TestStore::new();
    store.image(&["one"]);
    for name in ["strata.db", "strata.db-wal", "strata.db-shm"] {
        let metadata = fs_err::metadata(store.root().join(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}
