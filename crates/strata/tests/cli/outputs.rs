//! `-o` in all its forms, `--annotation`, `--metadata-file`.

use crate::world::World;
use serde_json::Value;

fn world() -> World {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"FROM base:1\nCOPY tool /bin/\nCMD [\"tool\"]\n");
    world.file("ctx/tool", &b"#!/bin/sh\n".repeat(500));
    world
}

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).expect("a file")).expect("JSON")
}

fn blob(world: &World, layout: &str, digest: &Value) -> Value {
    let digest = digest.as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    json(&world.path(layout).join("blobs/sha256").join(digest))
}

/// Compressed archives come back as the image that went in, and are the same bytes every time.
#[test]
fn compression_does_not_change_the_image() {
    let world = world();
    let id = world.ok(&["build", "-q", "ctx"]);
    for (options, media_type) in [
        ("compression=gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
        (
            "compression=zstd,compression-level=19,force-compression=true",
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
        ("compression-level=1", "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("compression=uncompressed", "application/vnd.oci.image.layer.v1.tar"),
        ("compression=gzip,oci-mediatypes=false", "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    ] {
        let to = |name: &str| format!("type=oci,name=back:1,dest={name},{options}");
        let layout = to("layout") + ",tar=false";
        let line = [
            "build",
            "-q",
            "-o",
            &to("1.tar"),
            "-o",
            &to("2.tar"),
            "-o",
            &layout,
            "--metadata-file",
            "meta",
            "ctx",
        ];
        world.ok(&line);
        let read = |name: &str| fs_err::read(world.path(name)).expect(name);
        assert!(read("1.tar") == read("2.tar"), "{options}: two archives of one build differ");
        let index = json(&world.path("layout/index.json"));
        let entry = &index["manifests"][0];
        assert_eq!(json(&world.path("meta"))["containerimage.digest"], entry["digest"], "{options}");
        let manifest = blob(&world, "layout", &entry["digest"]);
        assert_eq!(manifest["mediaType"], entry["mediaType"], "{options}");
        assert_eq!(manifest["layers"][1]["mediaType"], media_type, "{options}");
        world.ok(&["load", "-i", "1.tar"]);
        assert_eq!(world.ok(&["images", "-q", "--no-trunc", "back:1"]), id, "{options}");
        world.ok(&["rmi", "back:1"]);
        fs_err::remove_dir_all(world.path("layout")).expect("removed");
    }
}

#[test]
fn annotations_stand_in_manifest_and_index() {
    let world = world();
    let line = [
        "build",
        "-q",
        "--annotation",
        "all=1",
        "--annotation",
        "manifest-descriptor:entry=2",
        "-o",
        "type=oci,dest=layout,tar=false,annotation.own=3,annotation[linux/nosuch].not=4",
        "--build-arg",
        "SOURCE_DATE_EPOCH=1600000000",
        "ctx",
    ];
    world.ok(&line);
    let index = json(&world.path("layout/index.json"));
    let entry = &index["manifests"][0];
    let dated =
        serde_json::json!({ "entry": "2", "org.opencontainers.image.created": "2020-09-13T12:26:40Z" });
    assert_eq!(entry["annotations"], dated);
    let manifest = blob(&world, "layout", &entry["digest"]);
    assert_eq!(manifest["annotations"], serde_json::json!({ "all": "1", "own": "3" }));
}

#[test]
fn what_outputs_refuse_and_remark() {
    let world = world();
    insta::assert_snapshot!(world.transcript(&[
        "build -q -o type=oci,dest=x.tar --annotation index:a=b ctx",
        "build -q --annotation nokey ctx",
        "build -q --annotation what:a=b ctx",
        "build -q -o out --annotation a=b ctx",
        "build --progress plain -o type=cacheonly ctx",
        "build --progress plain --annotation a=b -t kept:1 ctx",
        "build -q -o type=oci,dest=x.tar,compression=gzip,compression-level=11 ctx",
        "build -q -o type=oci,dest=x.tar,compression=estargz ctx",
        "build -q -o type=tar,dest=x.tar,name=a ctx",
        "build -q -o - -o - ctx",
        "build -q --push ctx",
        "build -q -o type=tar,dest=x.tar,push=true ctx",
        "build -q --platform linux/amd64,linux/arm64 ctx",
        "build -q -o out --load -t loaded:1 ctx",
        "images --format {{.Repository}}:{{.Tag}}",
    ]));
    assert!(world.path("out/bin/tool").is_file());
}
