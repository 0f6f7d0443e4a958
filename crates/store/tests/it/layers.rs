//! Publishing, reading and mounting layers.
use crate::support::{TestStore, add_layer, build, names, options};
use fs_err as fs;
use std::io::Read as _;
use strata_layer::mount::LayerSource;
use strata_oci::{ChainId, DiffId, Digest};
use strata_store::{LayerMode, Store, StoreError, StoreOptions};

fn read(store: &Store, layers: &[DiffId], path: &str) -> Vec<u8> {
    let stack = store.layers().stack(layers).unwrap();
    let node = stack.lookup(path.as_bytes()).unwrap().expect(path);
    let mut bytes = Vec::new();
    stack.open(&node).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_layer_is_one_file_and_its_index() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let record = store.layer(&lease, &[("hello", b"world")], &[]);
    let hex = record.diff_id.hex();
    assert_eq!(names(&store.root().join("layers/sha256")), [hex.clone(), format!("{hex}.index")]);
    assert_eq!(store.layers().layer(&record.diff_id).unwrap(), Some(record.clone()));
    assert_eq!(record.content_size, 5);
    let mut tar = Vec::new();
    store.layers().open_tar(&record.diff_id).unwrap().read_to_end(&mut tar).unwrap();
    assert_eq!(Digest::of(&tar), *record.diff_id.digest());
    store.layers().verify(&record.diff_id).unwrap();
    assert_eq!(read(&store, &[record.diff_id], "hello"), b"world");
}

#[test]
fn an_ingest_without_commit_leaves_nothing() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let ingest = store.layers().begin(&lease).unwrap();
    build(ingest.tar_file().unwrap(), &[("a", b"b")]).unwrap();
    assert!(ingest.path().join("layer").exists());
    drop(ingest);
    drop(lease);
    assert_eq!(names(&store.root().join("ingest")), [""; 0]);
    assert_eq!(names(&store.root().join("layers/sha256")), [""; 0]);
}

#[test]
fn a_wrong_length_is_refused() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let ingest = store.layers().begin(&lease).unwrap();
    let (mut info, contents) = build(ingest.tar_file().unwrap(), &[("a", b"b")]).unwrap();
    info.tar_length += 512;
    let error = ingest.commit(info, &contents, &[]).unwrap_err();
    assert!(matches!(error, StoreError::IngestLength { .. }), "{error}");
    assert_eq!(names(&store.root().join("layers/sha256")), [""; 0]);
}

#[test]
fn the_same_layer_is_stored_once() {
    let store = TestStore::new();
    let records: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let lease = store.leases().acquire().unwrap();
                    add_layer(&store, &lease, &[("same", &[7; 100_000])], &[]).unwrap().diff_id
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(records.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(names(&store.root().join("layers/sha256")).len(), 2);
    assert_eq!(names(&store.root().join("ingest")), [""; 0]);
}

#[test]
fn an_index_that_depends_on_parents_has_one_variant_per_chain() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let first = store.layer(&lease, &[("dir/a", b"1")], &[]).diff_id;
    let second = store.layer(&lease, &[("dir/b", b"22")], &[first]);
    assert!(second.depends_on_parents, "its parent directory is implied");
    let chain = ChainId::of(&[first]).unwrap().short();
    let variant = store.root().join(format!("layers/sha256/{}.{chain}.index", second.diff_id.hex()));
    assert!(variant.exists());

    // On another chain the variant is not there yet: made from the stored tar when somebody looks.
    let other = store.layer(&lease, &[("other", b"3")], &[]).diff_id;
    assert_eq!(read(&store, &[other, second.diff_id], "dir/b"), b"22");
    let chain = ChainId::of(&[other]).unwrap().short();
    assert!(store.root().join(format!("layers/sha256/{}.{chain}.index", second.diff_id.hex())).exists());

    // A lost index is made again, byte for byte.
    let before = fs::read(&variant).unwrap();
    fs::remove_file(&variant).unwrap();
    assert_eq!(read(&store, &[first, second.diff_id], "dir/b"), b"22");
    assert_eq!(fs::read(&variant).unwrap(), before);
    assert_eq!(store.fsck().unwrap().problems, []);
}

#[test]
fn a_layer_may_come_before_the_ones_below_it() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let scratch = TestStore::new();
    let below = scratch.layer(&scratch.leases().acquire().unwrap(), &[("dir/a", b"1")], &[]).diff_id;
    let top = store.layer(&lease, &[("dir/b", b"2")], &[below]).diff_id;
    assert!(matches!(store.layers().stack(&[below, top]), Err(StoreError::MissingLayer(id)) if id == below));
    store.layer(&lease, &[("dir/a", b"1")], &[]);
    assert_eq!(read(&store, &[below, top], "dir/a"), b"1");
    assert_eq!(read(&store, &[below, top], "dir/b"), b"2");
}

#[test]
fn a_short_tar_is_never_mounted() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let id = store.layer(&lease, &[("a", &[1; 5000])], &[]).diff_id;
    let path = store.root().join("layers/sha256").join(id.hex());
    let tar = fs::OpenOptions::new().write(true).open(&path).unwrap();
    tar.set_len(2048).unwrap();
    for error in [store.layers().mounts(&[id]).unwrap_err(), store.layers().verify(&id).unwrap_err()] {
        assert!(matches!(error, StoreError::DamagedLayer { .. }), "{error}");
        assert!(error.to_string().contains("2048 bytes, not"), "{error}");
    }
    // Committing the layer again heals it.
    store.layer(&lease, &[("a", &[1; 5000])], &[]);
    store.layers().verify(&id).unwrap();
}

#[test]
fn a_changed_byte_is_found() {
    let store = TestStore::new();
    let id = store.layer(&store.leases().acquire().unwrap(), &[("a", &[1; 5000])], &[]).diff_id;
    let path = store.root().join("layers/sha256").join(id.hex());
    let mut bytes = fs::read(&path).unwrap();
    bytes[600] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(matches!(store.layers().verify(&id), Err(StoreError::DamagedLayer { .. })));
    let problems = store.fsck().unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].to_string().contains(&id.to_string()), "{}", problems[0]);
}

#[test]
fn tree_mode_unpacks_once() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let first = store.layer(&lease, &[("dir/a", b"1")], &[]).diff_id;
    let second = store.layer(&lease, &[("dir/b", b"2")], &[first]).diff_id;
    let unpack = || {
        let store = Store::open(options(store.directory.path())).unwrap();
        store.layers().mounts(&[first, second]).unwrap()
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(unpack)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    let [below, top] = &all[0][..] else { panic!("one mount per layer") };
    assert_eq!(below.source, LayerSource::Tree);
    assert_eq!(below.target, store.root().join("overlay2").join(first.hex()).join("diff"));
    assert_eq!(fs::read(below.target.join("dir/a")).unwrap(), b"1");
    assert_eq!(fs::read(top.target.join("dir/b")).unwrap(), b"2");
    assert_eq!(store.layers().mount_target(&second, &[first]).unwrap(), top.target);
    // Half an unpacking (no marker) is done again.
    fs::remove_file(below.target.with_file_name("complete")).unwrap();
    fs::remove_file(below.target.join("dir/a")).unwrap();
    unpack();
    assert_eq!(fs::read(below.target.join("dir/a")).unwrap(), b"1");
    assert_eq!(names(&store.root().join("ingest")).len(), 1, "only the lease");
}

#[test]
fn the_probed_mode_is_remembered() {
    let store = TestStore::new();
    let id = store.layer(&store.leases().acquire().unwrap(), &[("a", b"1")], &[]).diff_id;
    let unforced = || StoreOptions { layer_mode: None, ..options(store.directory.path()) };
    let other = Store::open(unforced()).unwrap();
    assert_eq!(other.layers().layer_mode(), None);
    assert!(matches!(other.layers().mounts(&[id]), Err(StoreError::LayerModeUnknown { .. })));
    other.layers().set_layer_mode(LayerMode::Erofs, "the kernel mounts plain files").unwrap();
    let known = Store::open(unforced()).unwrap().layers().layer_mode().unwrap();
    assert_eq!((known.mode, known.reason.as_str()), (LayerMode::Erofs, "the kernel mounts plain files"));
    let mounts = other.layers().mounts(&[id]).unwrap();
    let tar = store.root().join("layers/sha256").join(id.hex());
    assert_eq!(mounts[0].source, LayerSource::Erofs { index: tar.with_extension("index"), tar });
    assert!(mounts[0].target.is_dir());
    assert_eq!(store.layers().layer_mode().unwrap().mode, LayerMode::Tree, "forced");
}
