//! The build cache.
use crate::support::TestStore;
use jiff::Timestamp;
use strata_store::{CachePrune, StoreError};

#[test]
fn records_are_found_by_key_slot_and_last_use() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let layer = store.layer(&lease, &[("a", b"123")], &[]).diff_id;
    let cache = store.cache();
    for key in 1..=3_u8 {
        cache.put(&[key; 32], "app/0", &format!("{{\"n\":{key}}}"), &[layer]).unwrap();
    }
    cache.put(&[9; 32], "app/1", "{}", &[]).unwrap();
    let record = cache.get(&[2; 32]).unwrap().unwrap();
    assert_eq!((record.value.as_str(), &record.layers[..], record.uses), ("{\"n\":2}", &[layer][..], 0));
    cache.touch(&[[1; 32]]).unwrap();
    let keys = |records: Vec<strata_store::CacheRecord>| records.iter().map(|r| r.key[0]).collect::<Vec<_>>();
    assert_eq!(keys(cache.nearest("app/0", 2).unwrap()), [1, 3]);
    assert_eq!(keys(cache.latest("app/").unwrap()), [3, 9], "newest of each slot");
    assert_eq!(cache.get(&[1; 32]).unwrap().unwrap().uses, 1);
    cache.put(&[2; 32], "app/0", "new", &[]).unwrap();
    assert_eq!(cache.get(&[2; 32]).unwrap().unwrap().layers, []);
    assert!(cache.remove(&[2; 32]).unwrap() && !cache.remove(&[2; 32]).unwrap());
}

#[test]
fn a_record_needs_its_layers() {
    let store = TestStore::new();
    let scratch = TestStore::new();
    let layer = scratch.layer(&scratch.leases().acquire().unwrap(), &[("a", b"b")], &[]).diff_id;
    assert!(matches!(store.cache().put(&[1; 32], "", "", &[layer]), Err(StoreError::MissingLayer(_))));
    assert_eq!(store.cache().get(&[1; 32]).unwrap(), None);
}

#[test]
fn prune_goes_from_the_least_recently_used_to_the_cap() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    for key in 0..4_u8 {
        let layer = store.layer(&lease, &[("file", &[key; 10])], &[]).diff_id;
        store.cache().put(&[key; 32], "slot", "", &[layer]).unwrap();
    }
    let image = store.image(&["1111111111"]);
    let layer = store.images().get(&image).unwrap().unwrap().layers;
    store.cache().put(&[7; 32], "slot", "", &layer).unwrap();
    store.cache().touch(&[[0; 32]]).unwrap();
    let list = store.cache().list().unwrap();
    assert!(list.iter().all(|usage| usage.size == 10 && usage.shared == (usage.record.key[0] == 7)));
    let keys =
        |removed: Vec<strata_store::CacheUsage>| removed.iter().map(|u| u.record.key[0]).collect::<Vec<_>>();
    assert_eq!(
        keys(store.cache().prune(CachePrune { keep_bytes: Some(30), ..Default::default() }).unwrap()),
        [1, 2]
    );
    let old = CachePrune { unused_since: Some(Timestamp::UNIX_EPOCH), ..Default::default() };
    assert_eq!(keys(store.cache().prune(old).unwrap()), [] as [u8; 0]);
    assert_eq!(keys(store.cache().prune(CachePrune { all: true, ..Default::default() }).unwrap()), [3, 7, 0]);
}

#[test]
fn stat_caches_have_one_path_per_context_and_can_be_pruned() {
    let store = TestStore::new();
    let path = store.contexts().path("/src/app".as_ref());
    assert_eq!(path, store.contexts().path("/src/app".as_ref()));
    assert_ne!(path, store.contexts().path("/src/app2".as_ref()));
    assert_eq!(path.parent().unwrap(), store.root().join("contexts"));
    fs_err::write(&path, [0; 100]).unwrap();
    assert_eq!(store.contexts().prune(Timestamp::UNIX_EPOCH).unwrap(), 0);
    assert_eq!(store.contexts().prune(Timestamp::now() + jiff::SignedDuration::from_secs(5)).unwrap(), 100);
    assert!(!path.exists());
}

#[test]
fn long_values_come_back_and_take_less_room() {
    let store = TestStore::new();
    let cache = store.cache();
    let long: String = (0..20_000).map(|n| format!("{{\"path\":\"src/file{n}\",\"mode\":420}}")).collect();
    cache.put(&[1; 32], "long", &long, &[]).unwrap();
    assert!(cache.get(&[1; 32]).unwrap().unwrap().value == long);
    assert!(cache.nearest("long", 1).unwrap()[0].value == long);
    let on_disk = |name: &str| fs_err::metadata(store.root().join(name)).map_or(0, |file| file.len());
    assert!(on_disk("strata.db") + on_disk("strata.db-wal") < long.len() as u64);
}

#[test]
fn records_of_other_places_are_found_by_what_follows_the_first_line() {
    let store = TestStore::new();
    let cache = store.cache();
    for (key, slot) in
        [(1, "one\nstage-0"), (2, "two\nstage-0"), (3, "two\nstage-1"), (4, ""), (5, "stage-00")]
    {
        cache.put(&[key; 32], slot, "{}", &[]).unwrap();
    }
    let found = cache.nearest_elsewhere("stage-0", 9).unwrap();
    let keys: Vec<u8> = found.iter().map(|record| record.key[0]).collect();
    assert_eq!(keys, [2, 1]);
}

#[test]
fn only_the_newest_records_of_a_slot_are_kept() {
    let store = TestStore::new();
    let cache = store.cache();
    for key in 1..=5_u8 {
        cache.put(&[key; 32], "listings", "{}", &[]).unwrap();
        cache.keep_newest("listings", 2).unwrap();
    }
    cache.put(&[9; 32], "other", "{}", &[]).unwrap();
    let left: Vec<u8> = cache.list().unwrap().iter().map(|usage| usage.record.key[0]).collect();
    assert_eq!(left, [4, 5, 9]);
}
