use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use strata_layer::mount::Overlay;
use strata_runtime::mount::{mount_overlay, mounts_below};
use strata_runtime::spec::{ContainerSpec, Mount, Rootfs};

use crate::world::{World, refused, run, upper};

fn tmpfs(dest: &str, size: Option<u64>, mode: Option<u32>) -> Mount {
    Mount::Tmpfs { dest: dest.into(), size, mode, read_only: false, no_exec: true }
}

#[test]
fn a_read_only_root_with_writable_places() {
    let Some(world) = World::new() else { return };
    let data = world.path().join("data");
    fs_err::create_dir(&data).unwrap();
    let script =
        "touch /x 2>&1; touch /tmp/y && echo tmp; touch /data/z && echo data; touch /dev/shm/s && echo shm";
    let spec = ContainerSpec {
        read_only: true,
        mounts: vec![tmpfs("/tmp", None, None), Mount::bind(&data, "/data", false)],
        ..world.shell(script)
    };
    let text = run(&spec).ok();
    assert!(text.starts_with("touch: /x: Read-only file system\ntmp\ndata\nshm\n"), "{text}");
    assert!(data.join("z").exists());
}

#[test]
fn tmpfs_size_and_mode() {
    let Some(world) = World::new() else { return };
    let script = "stat -c %a /t; dd if=/dev/zero of=/t/f bs=64k count=32 2>&1 | grep -c 'No space'; df -k /t | tail -n 1";
    let spec = ContainerSpec { mounts: vec![tmpfs("/t", Some(1 << 20), Some(0o750))], ..world.shell(script) };
    let text = run(&spec).ok();
    assert!(text.starts_with("750\n1\n") && text.contains(" 1024 "), "{text}");
}

#[test]
fn binds_files_directories_nested_and_read_only() {
    let Some(world) = World::new() else { return };
    let (outer, inner, file) =
        (world.path().join("outer"), world.path().join("inner"), world.path().join("hosts"));
    fs_err::create_dir(&outer).unwrap();
    fs_err::create_dir(&inner).unwrap();
    fs_err::write(inner.join("deep"), "deep\n").unwrap();
    fs_err::write(&file, "127.0.0.1 me\n").unwrap();
    let script = "cat /etc/hosts /v/in/deep; touch /v/in/new 2>&1 | grep -o Read-only; touch /v/made";
    let spec = ContainerSpec {
        mounts: vec![
            Mount::bind(&inner, "/v/in", true),
            Mount::bind(&outer, "/v", false),
            Mount::bind(&file, "/etc/hosts", false),
        ],
        ..world.shell(script)
    };
    assert_eq!(run(&spec).ok(), "127.0.0.1 me\ndeep\nRead-only\n");
    assert!(outer.join("made").exists() && outer.join("in").is_dir());
    assert!(!inner.join("new").exists());
    let missing =
        ContainerSpec { mounts: vec![Mount::bind("/nosuch", "/v", false)], ..world.command(&["true"]) };
    assert!(refused(&missing).to_string().starts_with("cannot mount /nosuch at /v: "));
    for (dest, reason) in
        [("/proc/x", "/proc belongs"), ("/", "destination can't be"), ("rel", "must be absolute")]
    {
        let spec =
            ContainerSpec { mounts: vec![Mount::bind(&outer, dest, false)], ..world.command(&["true"]) };
        let error = refused(&spec);
        assert!(error.to_string().contains(reason) && error.exit_code() == 125, "{error}");
    }
}

#[test]
fn links_in_the_image_cannot_lead_a_mount_out() {
    let Some(world) = World::new() else { return };
    let trap = world.path().join("trap");
    fs_err::create_dir(&trap).unwrap();
    let lower = world.lower();
    symlink(&trap, lower.join("absolute")).unwrap();
    symlink("../../../../../../../..", lower.join("srv/up")).unwrap();
    symlink(trap.join("file"), lower.join("dangling")).unwrap();
    let source = world.path().join("source");
    fs_err::write(&source, "bound\n").unwrap();
    let spec = ContainerSpec {
        mounts: vec![
            Mount::bind(&source, "/absolute/a", false),
            Mount::bind(&source, "/srv/up/b", false),
            Mount::bind(&source, "/dangling", false),
        ],
        ..world.shell("cat /absolute/a /srv/up/b /b /dangling")
    };
    assert_eq!(run(&spec).ok(), "bound\n".repeat(4));
    assert_eq!(fs_err::read_dir(&trap).unwrap().count(), 0, "nothing was made on the host");
}

#[test]
fn proc_dev_and_sys_as_links_are_refused() {
    for name in ["proc", "dev", "sys"] {
        let Some(world) = World::new() else { return };
        let trap = world.path().join("trap");
        fs_err::create_dir(&trap).unwrap();
        symlink("/tmp", world.lower().join(name)).unwrap();
        let error = refused(&world.command(&["true"]));
        assert_eq!(error.exit_code(), 125);
        assert!(error.to_string().contains(&format!("/{name}: it must be an ordinary directory")), "{error}");
    }
}

#[test]
fn a_directory_as_root_and_an_image_without_layers() {
    let Some(world) = World::new() else { return };
    let mut spec = world.command(&["cat", "/etc/group"]);
    spec.rootfs = Rootfs::Directory(world.lower());
    assert!(run(&spec).ok().contains("ssl"));
    let mut empty = world.command(&["/true"]);
    let Rootfs::Overlay(overlay) = &mut empty.rootfs else { panic!() };
    overlay.lower.clear();
    assert_eq!(refused(&empty).exit_code(), 127);
    let data = Mount::bind("/bin/busybox", "/bin/true", true);
    let with_program = ContainerSpec { args: vec!["/bin/true".into()], mounts: vec![data], ..empty };
    assert_eq!(run(&with_program).code(), 0);
}

#[test]
fn many_layers_stack_in_order_and_too_many_are_refused() {
    let Some(world) = World::new() else { return };
    // Names longer than fsconfig takes, and with overlayfs's own syntax in them.
    let long = world.path().join("l".repeat(200)).join("a:b,c\\d");
    let mut layers = vec![world.lower()];
    for number in 0..140 {
        let layer = long.join(number.to_string());
        fs_err::create_dir_all(&layer).unwrap();
        fs_err::write(layer.join("top"), format!("{number}\n")).unwrap();
        fs_err::write(layer.join(format!("f{number}")), "").unwrap();
        layers.push(layer);
    }
    let mut spec = world.shell("cat /top; ls -d /f* | wc -l");
    let Rootfs::Overlay(overlay) = &mut spec.rootfs else { panic!() };
    overlay.lower = layers;
    assert_eq!(run(&spec).ok(), "139\n140\n");
    overlay_of(&mut spec).lower = vec![PathBuf::from("/"); 501];
    let told = refused(&spec).to_string();
    assert!(told.starts_with("501 layers: overlayfs stacks at most 500; "), "{told}");
}

fn overlay_of(spec: &mut ContainerSpec) -> &mut Overlay {
    let Rootfs::Overlay(overlay) = &mut spec.rootfs else { panic!() };
    overlay
}

#[test]
fn an_overlay_on_the_host_and_its_guard() {
    let Some(world) = World::new() else { return };
    let mut spec = world.command(&["true"]);
    let overlay = overlay_of(&mut spec).clone();
    let target = world.path().join("merged");
    fs_err::create_dir(&target).unwrap();
    let guard = mount_overlay(&overlay, &target).unwrap();
    assert!(target.join("etc/passwd").exists());
    assert_eq!(mounts_below(world.path()).unwrap().len(), 1);
    guard.close().unwrap();
    drop(mount_overlay(&overlay, &target).unwrap());
    assert!(mounts_below(world.path()).unwrap().is_empty());
}

#[test]
fn nothing_is_left_mounted_and_a_kept_upper_can_be_started_again() {
    let Some(world) = World::new() else { return };
    let spec = world.shell("echo more >>/log; cat /log");
    assert_eq!(run(&spec).ok(), "more\n");
    assert!(mounts_below(world.path()).unwrap().is_empty());
    assert_eq!(run(&spec).ok(), "more\nmore\n", "volatile twice");
}

#[test]
fn stubs_are_gone_and_directories_are_as_they_were() {
    let Some(world) = World::new() else { return };
    let source = world.path().join("resolv");
    fs_err::write(&source, "nameserver ::1\n").unwrap();
    let old = fs_err::metadata(world.lower().join("etc")).unwrap();
    let mounts = vec![
        Mount::bind(&source, "/etc/resolv.conf", true),
        Mount::bind(&source, "/run/secrets/one", true),
        Mount::bind(&source, "/etc/passwd", true),
    ];
    let mut spec = ContainerSpec { mounts, cleanup_stubs: true, ..world.shell("cat /etc/resolv.conf") };
    std::thread::sleep(std::time::Duration::from_millis(20));
    run(&spec).ok();
    let left = |spec: &ContainerSpec| {
        let mut names: Vec<_> = fs_err::read_dir(upper(spec))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert!(left(&spec).is_empty(), "{:?}", left(&spec));

    // What the step itself does in such a directory stays, and so does the directory's time.
    spec = ContainerSpec {
        args: ["sh", "-c", "touch -d @1000 /etc; echo x >/run/own"].map(str::to_owned).into(),
        ..spec
    };
    run(&spec).ok();
    assert_eq!(left(&spec), ["etc", "run"]);
    let etc = fs_err::metadata(upper(&spec).join("etc")).unwrap();
    assert_eq!(etc.mtime(), 1000);
    assert_eq!(fs_err::read_dir(upper(&spec).join("etc")).unwrap().count(), 0);
    assert_eq!(fs_err::read_dir(upper(&spec).join("run")).unwrap().count(), 1);
    let etc = fs_err::metadata(world.lower().join("etc")).unwrap();
    assert_eq!((etc.mtime(), etc.mtime_nsec()), (old.mtime(), old.mtime_nsec()));
    // Without cleaning up they are there.
    let kept = ContainerSpec { cleanup_stubs: false, ..world.command(&["true"]) };
    run(&kept).ok();
    assert_eq!(left(&kept), ["dev", "proc", "sys"]);
}

#[test]
fn a_dev_of_the_users_needs_a_null_device() {
    let Some(world) = World::new() else { return };
    let dev = world.path().join("dev");
    fs_err::create_dir(&dev).unwrap();
    let spec = || ContainerSpec {
        mounts: vec![Mount::bind(&dev, "/dev", false)],
        ..world.shell("echo x >/dev/null && echo ok")
    };
    let said = refused(&spec()).to_string();
    assert!(
        said.contains("at /dev: it has no null device") && said.contains("mknod -m 666 null c 1 3"),
        "{said}"
    );
    fs_err::write(dev.join("null"), "").unwrap();
    assert!(refused(&spec()).to_string().contains("no null device"));
    fs_err::remove_file(dev.join("null")).unwrap();
    let (mode, number) = (rustix::fs::Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dev.join("null"),
        rustix::fs::FileType::CharacterDevice,
        mode,
        number,
    )
    .unwrap();
    assert_eq!(run(&spec()).ok(), "ok\n");
}
