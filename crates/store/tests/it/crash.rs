//! Processes killed at random points, disks that are full, permissions that are missing.
use crate::support::{TestStore, add_image, add_layer, names, open, options, reference};
use crate::usage::assert_df_is_du;
use fs_err as fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use strata_store::{
    GcOptions, LayerMode, NewContainer, NewVolume, RemoveOptions, Store, StoreError, StoreOptions,
};

/// Set in a child: the directory of the store it works on.
const CHILD: &str = "STRATA_STORE_TEST_CHILD";

/// Not a test of its own: what the killed processes do. Everything a command does to a store, over and over.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let directory = Path::new(&directory);
    println!("\nready");
    for round in u64::from(std::process::id()).. {
        let store = open(directory);
        work(&store, round).unwrap();
    }
}

fn work(store: &Store, round: u64) -> Result<(), StoreError> {
    let own = format!("{round}");
    let id = add_image(store, &["base", &format!("shared {}", round % 3), &own.repeat(500)])?;
    let tag = reference(&format!("app:{}", round % 4));
    store.images().tag(&tag, &id)?;
    let layers = store.images().get(&id)?.map(|image| image.layers).unwrap_or_default();
    let lease = store.leases().acquire()?;
    if lease.hold(&layers)?.is_empty() {
        store.layers().mounts(&layers)?;
        store.cache().put(&[u8::try_from(round % 8).unwrap(); 32], "slot", "{}", &layers[..1])?;
        let volume = store.volumes().create(NewVolume::default())?.0.name;
        let new = NewContainer { layers, volumes: vec![volume], ..NewContainer::default() };
        let container = store.containers().create(new)?;
        fs::write(container.upper().join("file"), &own)?;
        store.containers().remove(&container.id, round.is_multiple_of(2))?;
    }
    drop(lease);
    if round.is_multiple_of(3) {
        match store.images().remove(&tag.familiar(), RemoveOptions::default()) {
            Ok(_) | Err(StoreError::NoSuchImage(_)) => {}
            Err(error) => return Err(error),
        }
        store.gc(&GcOptions { include_cache: round.is_multiple_of(2), unmount: &|_| Ok(()) })?;
    }
    Ok(())
}

fn spawn(directory: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child ended before it began");
    }
    // The rest of its output is one line of libtest at most.
    child.stdout = Some(output.into_inner());
    child
}

/// Nothing is wrong, nothing is left over, every record has its data under the right name.
fn assert_sound(directory: &Path) {
    drop(open(directory));
    let store = open(directory);
    let swept = store.swept();
    assert_eq!(
        (swept.staging, swept.leases, swept.doomed, swept.orphans),
        (0, 0, 0, 0),
        "one sweep is enough"
    );
    assert_eq!(store.fsck().unwrap().problems, []);
    assert_eq!(names(&store.root().join("ingest")), [""; 0]);
    for image in store.images().list().unwrap() {
        store.layers().stack(&image.layers).unwrap();
        store.images().config(&image.id).unwrap();
    }
    assert_df_is_du(&store);
    assert_eq!(names(&store.root().join("trash")), [""; 0]);
}

#[test]
fn killed_at_random_points_a_hundred_times() {
    let store = TestStore::new();
    let directory = store.directory.path();
    let mut seed = u64::from_le_bytes(*b"strata!!");
    let (mut kills, start) = (0, Instant::now());
    while kills < 120 {
        // Three at once, so that a sweep of one meets the others alive.
        let mut children: Vec<Child> = (0..3).map(|_| spawn(directory)).collect();
        for child in &mut children {
            // xorshift: any spread of delays will do.
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            std::thread::sleep(Duration::from_micros(seed % 60_000));
            let ended = child.try_wait().unwrap();
            if let Some(status) = ended {
                let mut text = String::new();
                std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut text).unwrap();
                panic!("a child failed ({status}): {text}");
            }
            child.kill().unwrap();
            child.wait().unwrap();
            kills += 1;
        }
        if kills % 12 == 0 {
            assert_sound(directory);
        }
    }
    assert_sound(directory);
    eprintln!("{kills} kills in {:?}", start.elapsed());
    // What the killed ones left can be removed like anything else.
    let store = open(directory);
    for container in store.containers().list().unwrap() {
        store.containers().remove(&container.id, true).unwrap();
    }
    let all = strata_store::Prune { all: true, ..Default::default() };
    store.images().prune(&all).unwrap();
    store.volumes().prune(&all).unwrap();
    store.gc(&GcOptions { include_cache: true, unmount: &|_| Ok(()) }).unwrap();
    assert_eq!(store.recorded_usage().unwrap(), 0);
    store.empty_trash();
    for empty in ["layers/sha256", "blobs/sha256", "containers", "volumes", "ingest", "trash"] {
        assert_eq!(names(&store.root().join(empty)), [""; 0], "{empty}");
    }
}

#[test]
fn a_reboot_is_followed_by_a_thorough_sweep() {
    let store = TestStore::new();
    let image = store.image(&["x"]);
    let container = store.containers().create(NewContainer::default()).unwrap();
    // A power cut may keep a rename and lose the record, or the other way round where nobody waited for the disk.
    let orphans =
        ["layers/sha256/00", "layers/sha256/00.index", "blobs/sha256/11", "overlay2/22", "containers/33"];
    orphans.iter().for_each(|path| fs::write(store.root().join(path), "x").unwrap());
    fs::remove_dir_all(&container.directory).unwrap();
    let store = store.reopen();
    assert_eq!(store.swept().orphans, 0, "not looked for every time");
    fs::remove_dir_all(store.run_dir()).unwrap();
    let store = store.reopen();
    assert_eq!(store.swept().orphans, orphans.len());
    assert!(store.containers().lookup(&container.id).is_err(), "nothing is left of it");
    assert_eq!(store.fsck().unwrap().problems, []);
    assert!(store.images().contains(&image).unwrap());
}

#[test]
fn a_full_disk_is_named_and_nothing_is_left() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let size = c"size=2m";
    rustix::mount::mount("none", directory.path(), "tmpfs", rustix::mount::MountFlags::empty(), Some(size))
        .unwrap();
    let result = std::panic::catch_unwind(|| fill(directory.path()));
    rustix::mount::unmount(directory.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
    result.unwrap();
}

fn fill(directory: &Path) {
    let store = open(directory);
    let lease = store.leases().acquire().unwrap();
    let kept = add_layer(&store, &lease, &[("small", &[1; 1000])], &[]).unwrap().diff_id;
    let ingest = store.layers().begin(&lease).unwrap();
    let content = vec![2; 8 << 20];
    let mut builder = strata_layer::LayerBuilder::new(ingest.tar_file().unwrap());
    let file = crate::support::file(content.len());
    let error = builder.add_file(b"large", &file, &mut &content[..], None).map(drop).unwrap_err();
    assert!(error.to_string().contains("ingest/"), "names the path: {error}");
    drop(builder);
    drop(ingest);
    assert_eq!(names(&store.root().join("ingest")).len(), 1, "only the lease");
    let blob = store.blobs().put(&lease, strata_store::BlobKind::Manifest, None, 1 << 30, &mut &content[..]);
    assert!(blob.unwrap_err().to_string().contains("ingest/"));

    // Every operation on a disk with nothing left fails or works, and never leaves half of it.
    let filler = directory.join("filler");
    let _ = fs::write(&filler, &content);
    let outcomes = [
        add_layer(&store, &lease, &[("more", &[3; 9000])], &[]).map(drop),
        add_image(&store, &["image"]).map(drop),
        store.containers().create(NewContainer::default()).map(drop),
        store.volumes().create(NewVolume::default()).map(drop),
    ];
    assert!(outcomes.iter().any(Result::is_err));
    fs::remove_file(&filler).unwrap();
    assert_eq!(names(&store.root().join("ingest")).len(), 1);
    store.layers().verify(&kept).unwrap();
    drop(lease);
    drop(store);
    let store = open(directory);
    assert_eq!(store.fsck().unwrap().problems, []);
}

#[test]
fn a_read_only_directory_is_named() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting needs root");
        return;
    }
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let layers = store.root().join("layers");
    let bind = rustix::mount::mount_bind(&layers, &layers);
    bind.unwrap();
    let read_only = rustix::mount::MountFlags::RDONLY | rustix::mount::MountFlags::BIND;
    rustix::mount::mount_remount(&layers, read_only, "").unwrap();
    let error = add_layer(&store, &lease, &[("a", b"b")], &[]);
    rustix::mount::unmount(&layers, rustix::mount::UnmountFlags::empty()).unwrap();
    let text = error.unwrap_err().to_string();
    assert!(text.contains("layers/sha256/"), "{text}");
    assert_eq!(names(&store.root().join("layers/sha256")), [""; 0]);
    assert_eq!(names(&store.root().join("ingest")).len(), 1, "only the lease");
}

/// The values in EROFS mode are what the kernel mounts.
#[test]
fn the_kernel_mounts_what_is_described() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: mounting needs root");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(StoreOptions { layer_mode: Some(LayerMode::Erofs), ..options(directory.path()) })
        .unwrap();
    let lease = store.leases().acquire().unwrap();
    let id = add_layer(&store, &lease, &[("dir/file", &[5; 70_000])], &[]).unwrap().diff_id;
    let mount = store.layers().mounts(&[id]).unwrap().remove(0);
    let strata_layer::mount::LayerSource::Erofs { index, tar } = mount.source else { panic!("forced") };
    let option = std::ffi::CString::new(format!("device={}", tar.display())).unwrap();
    let flags = rustix::mount::MountFlags::RDONLY;
    if let Err(error) = rustix::mount::mount(&index, &mount.target, "erofs", flags, Some(option.as_c_str())) {
        eprintln!("skipped: the kernel cannot mount EROFS from files here: {error}");
        return;
    }
    let content = fs::read(mount.target.join("dir/file"));
    let walked = store.physical_usage().unwrap();
    rustix::mount::unmount(&mount.target, rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(content.unwrap(), [5; 70_000]);
    assert_eq!(walked.files, store.physical_usage().unwrap().files, "its bytes are counted once, in the tar");
}
