use strata_layer::mount::{LayerMount, LayerSource};
use strata_runtime::mount::{MountError, mount_layer, mount_layers, mounts_below, unmount_layer};
use strata_runtime::spec::Rootfs;

use crate::world::{World, run};

const INDEX: &[u8] = include_bytes!("../../src/mount/probe.index");
const TAR: &[u8] = include_bytes!("../../src/mount/probe.tar");

fn layer(world: &World, name: &str, through_loop: bool) -> LayerMount {
    let (index, tar) = (world.path().join(format!("{name}.index")), world.path().join(format!("{name}.tar")));
    fs_err::write(&index, INDEX).unwrap();
    fs_err::write(&tar, TAR).unwrap();
    let target = world.path().join(name).join("diff");
    let source =
        if through_loop { LayerSource::ErofsLoop { index, tar } } else { LayerSource::Erofs { index, tar } };
    LayerMount { source, target }
}

#[test]
fn a_layer_is_mounted_once_and_read_in_a_container_in_both_modes() {
    let Some(world) = World::new() else { return };
    for through_loop in [false, true] {
        let layer = layer(&world, if through_loop { "loop" } else { "file" }, through_loop);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| mount_layers(std::slice::from_ref(&layer)).unwrap());
            }
        });
        mount_layer(&layer).unwrap();
        let mounts = mounts_below(layer.target.parent().unwrap()).unwrap();
        assert_eq!(mounts.len(), 1, "{mounts:?}");
        assert_eq!(
            (mounts[0].fs_type.as_str(), mounts[0].target.as_path()),
            ("erofs", layer.target.as_path())
        );
        let mut spec = world.shell("cat /probe; echo changed >/probe; cat /probe");
        let Rootfs::Overlay(overlay) = &mut spec.rootfs else { panic!() };
        overlay.lower.push(layer.target.clone());
        assert_eq!(run(&spec).ok(), "strata\nchanged\n");
        assert!(unmount_layer(&layer.target).unwrap());
        assert!(!unmount_layer(&layer.target).unwrap());
        assert!(mounts_below(world.path()).unwrap().is_empty());
    }
}

#[test]
fn a_layer_in_use_can_be_taken_away_and_its_files_unlinked() {
    let Some(world) = World::new() else { return };
    let layer = layer(&world, "used", false);
    mount_layer(&layer).unwrap();
    let open = fs_err::File::open(layer.target.join("probe")).unwrap();
    assert!(unmount_layer(&layer.target).unwrap());
    assert!(mounts_below(world.path()).unwrap().is_empty());
    drop(open);
}

#[test]
fn trees_need_nothing_and_strangers_are_refused() {
    let Some(world) = World::new() else { return };
    let tree = LayerMount { source: LayerSource::Tree, target: world.lower() };
    mount_layer(&tree).unwrap();
    assert!(mounts_below(world.path()).unwrap().is_empty());
    assert!(!unmount_layer(&world.path().join("never/diff")).unwrap());

    let broken = layer(&world, "broken", false);
    fs_err::write(world.path().join("broken.index"), [0u8; 4096]).unwrap();
    let error = mount_layer(&broken).unwrap_err();
    assert!(error.to_string().contains("broken.index"), "{error}");

    let taken = layer(&world, "taken", false);
    fs_err::create_dir_all(&taken.target).unwrap();
    let mount = |args: &[&str]| {
        assert!(
            std::process::Command::new(args[0])
                .args(&args[1..])
                .arg(&taken.target)
                .status()
                .unwrap()
                .success()
        );
    };
    mount(&["mount", "-t", "tmpfs", "none"]);
    assert!(matches!(mount_layer(&taken), Err(MountError::Occupied { .. })));
    mount(&["umount"]);
}
