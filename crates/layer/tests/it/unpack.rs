//! Tree mode where it differs from what random trees reach.
use crate::scene::{Scene, is_root, shell};
use strata_layer::{FileType, LayerError, Metadata, Xattr};

fn metadata(file_type: FileType, size: u64) -> Metadata {
    Metadata {
        file_type,
        mode: 0o4755,
        uid: 0,
        gid: 0,
        mtime: -5,
        mtime_nsec: 123_456_789,
        size,
        rdev: (0, 0),
        xattrs: Vec::new(),
    }
}

#[test]
fn setuid_capabilities_hard_links_and_large_bodies_survive() {
    if !is_root() {
        return;
    }
    let mut scene = Scene::new();
    let body: Vec<u8> = (0..3_000_001u32).map(|number| (number % 251) as u8).collect();
    let capability = Xattr {
        name: b"security.capability".to_vec(),
        value: vec![1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    scene
        .add(|builder| {
            let big = Metadata {
                xattrs: vec![capability.clone()],
                ..metadata(FileType::Regular, body.len() as u64)
            };
            builder.add_file(b"big", &big, &mut body.as_slice(), None)?;
            builder.add(b"d", &metadata(FileType::Directory, 0), b"")?;
            builder.hard_link(b"d/again", b"big")?;
            Ok::<_, LayerError>(())
        })
        .unwrap();
    let target = scene.path("out");
    fs_err::create_dir(&target).unwrap();
    scene.layers[0].unpack(&target).unwrap();
    assert_eq!(fs_err::read(target.join("d/again")).unwrap(), body);
    shell(
        &target,
        "test $(stat -c %a-%h-%Y big) = 4755-2--5; test big -ef d/again; test $(stat -c %Y d) = -5
         python3 -c 'import os; assert len(os.getxattr(\"big\", \"security.capability\")) == 20'",
    );
}

#[test]
fn what_is_in_the_way_is_not_followed() {
    let mut scene = Scene::new();
    scene.base("mkdir d; echo x > d/f");
    let target = scene.path("out");
    let outside = scene.tree("outside", "true");
    fs_err::create_dir(&target).unwrap();
    shell(&target, "ln -s ../outside d");
    let error = scene.layers[0].unpack(&target).unwrap_err();
    assert!(error.to_string().starts_with("/d: mkdir: "), "{error}");
    assert_eq!(fs_err::read_dir(outside).unwrap().count(), 0);
}
