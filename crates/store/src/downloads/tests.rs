use super::*;
use crate::{Access, LayerMode, Store, StoreOptions};
use std::io::Read as _;

fn store(directory: &std::path::Path) -> Store {
    Store::open(StoreOptions {
        root: directory.join("root"),
        run_dir: directory.join("run"),
        layer_mode: Some(LayerMode::Tree),
        access: Access::Full,
        ended: |_| true,
    })
    .expect("a store")
}

fn begin(store: &Store, blob: &Digest) -> Download {
    store.downloads().begin(blob).expect("begun").expect("free")
}

#[test]
fn what_came_is_kept_for_the_next_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let blob = Digest::of(b"hello");
    let mut download = begin(&store, &blob);
    download.append(b"hel").expect("written");
    assert!(store.downloads().begin(&blob).expect("asked").is_none(), "one at a time");
    assert_eq!(store.downloads().collect(true).expect("collected"), 0, "at work");
    drop(download);
    let mut download = begin(&store, &blob);
    assert_eq!(download.length(), 3);
    download.append(b"lo").expect("written");
    let mut text = String::new();
    download.reader().expect("open").read_to_string(&mut text).expect("read");
    assert_eq!(text, "hello");
    assert_eq!(store.downloads().usage().expect("counted"), 5);
    download.finish().expect("finished");
    assert_eq!(store.downloads().usage().expect("counted"), 0);
    assert!(store.fsck().expect("checked").problems.is_empty());
}

#[test]
fn what_was_not_the_beginning_is_forgotten() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let blob = Digest::of(b"x");
    let mut download = begin(&store, &blob);
    download.append(b"wrong").expect("written");
    download.restart().expect("emptied");
    download.append(b"x").expect("written");
    assert_eq!((download.length(), store.downloads().usage().expect("counted")), (1, 1));
    download.restart().expect("emptied");
    drop(download);
    assert!(!directory.path().join("root/downloads").join(blob.hex()).exists(), "empty files stay nowhere");
}

#[test]
fn leftovers_are_bounded() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    for (age, name) in [b"a", b"b", b"c"].iter().enumerate() {
        let digest = Digest::of(*name);
        begin(&store, &digest).append(&[7; 100]).expect("written");
        let path = directory.path().join("root/downloads").join(digest.hex());
        let file = fs::OpenOptions::new().write(true).open(path).expect("open");
        let time = SystemTime::now() - Duration::from_secs(1000 * age as u64);
        file.into_file().set_modified(time).expect("aged");
    }
    let day = Duration::from_secs(24 * 3600);
    assert_eq!(store.downloads().collect_beyond(250, day).expect("collected"), 100, "the oldest goes");
    assert!(store.downloads().begin(&Digest::of(b"c")).expect("begun").expect("free").length() == 0);
    assert_eq!(store.downloads().collect_beyond(250, Duration::from_secs(500)).expect("collected"), 100);
    assert_eq!(store.downloads().collect(true).expect("collected"), 100);
}

#[test]
fn two_threads_never_have_one_blob() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path());
    let blob = Digest::of(b"shared");
    let inside = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..200 {
                    let Some(mut download) = store.downloads().begin(&blob).expect("begun") else { continue };
                    assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                    download.append(b"x").expect("written");
                    inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    if round % 3 == 0 {
                        download.finish().expect("finished");
                    }
                }
            });
        }
    });
}
