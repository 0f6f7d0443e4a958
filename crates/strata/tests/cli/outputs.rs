//! `-o` in all its forms, `--annotation`, `--metadata-file`.

use crate::registry::{Served, ask};
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

/// Annotations go with an image that is pushed, now or later, and with one that is saved.
#[test]
fn annotations_stay_with_the_image() {
    let world = world();
    let served = Served::new(&world, &[]);
    let name = |tag: &str| format!("{}/a:{tag}", served.address);
    let annotations = |tag: &str| {
        let text = ask(&served.address, "GET", &format!("/v2/a/manifests/{tag}"), b"").expect("an answer").1;
        serde_json::from_slice::<Value>(&text).expect("a manifest")["annotations"].clone()
    };
    let (one, two, three) = (name("1"), name("2"), name("3"));
    world.ok(&["build", "-q", "--annotation", "k=1", "--metadata-file", "meta", "--push", "-t", &one, "ctx"]);
    assert_eq!(annotations("1"), serde_json::json!({ "k": "1" }));
    let meta = json(&world.path("meta"));
    let parts: Vec<&str> = meta["buildx.build.ref"].as_str().expect("a text").split('/').collect();
    assert_eq!((parts.len(), parts[0], parts[2].len()), (3, "strata", 25));
    world.ok(&["tag", &one, &two]);
    world.ok(&["push", &two]);
    assert_eq!(annotations("2"), serde_json::json!({ "k": "1" }));
    // The same image, annotated otherwise.
    world.ok(&["build", "-q", "--annotation", "manifest:k=2", "-t", &three, "ctx"]);
    world.ok(&["push", &three]);
    assert_eq!(annotations("3"), serde_json::json!({ "k": "2" }));
    // The other name's are what they were.
    world.ok(&["push", "--compression", "zstd", &two]);
    assert_eq!(annotations("2"), serde_json::json!({ "k": "1" }));
    world.ok(&["save", "-o", "saved.tar", &three]);
    let file = fs_err::File::open(world.path("saved.tar")).expect("saved").into_file();
    tar::Archive::new(file).unpack(world.path("layout")).expect("a tar");
    let index = json(&world.path("layout/index.json"));
    assert_eq!(
        blob(&world, "layout", &index["manifests"][0]["digest"])["annotations"],
        serde_json::json!({ "k": "2" })
    );
}

/// The annotations under which a registry, an archive and a layout know a name.
struct Told<'a> {
    world: &'a World,
    served: &'a Served,
}

impl Told<'_> {
    fn name(&self, tag: &str) -> String {
        format!("{}/a:{tag}", self.served.address)
    }

    fn manifest(&self, tag: &str) -> Vec<u8> {
        ask(&self.served.address, "GET", &format!("/v2/a/manifests/{tag}"), b"").expect("an answer").1
    }

    fn pushed(&self, tag: &str) -> Value {
        serde_json::from_slice::<Value>(&self.manifest(tag)).expect("a manifest")["annotations"].clone()
    }

    fn build(&self, tag: &str, more: &[&str]) {
        let name = self.name(tag);
        self.world.ok(&[&["build", "-q", "-t", &name, "ctx"], more].concat());
    }

    /// Of each entry of the index of an archive: name and annotations of its manifest.
    fn saved(&self, names: &[&str]) -> Vec<(Value, Value)> {
        let names: Vec<String> = names.iter().map(|tag| self.name(tag)).collect();
        let line = ["save", "-o", "saved.tar"].into_iter().chain(names.iter().map(String::as_str));
        self.world.ok(&line.collect::<Vec<_>>());
        let file = fs_err::File::open(self.world.path("saved.tar")).expect("saved").into_file();
        _ = fs_err::remove_dir_all(self.world.path("layout"));
        tar::Archive::new(file).unpack(self.world.path("layout")).expect("a tar");
        let index = json(&self.world.path("layout/index.json"));
        let entries = index["manifests"].as_array().expect("a list").iter().map(|entry| {
            let tag = entry["annotations"]["org.opencontainers.image.ref.name"].clone();
            (tag, blob(self.world, "layout", &entry["digest"])["annotations"].clone())
        });
        entries.collect()
    }
}

/// The annotations of a build are those of its names, whatever the same image was annotated with before: a push sends
/// what this build said.
#[test]
fn a_name_has_the_annotations_of_the_build_that_made_it() {
    let world = world();
    let served = Served::new(&world, &[]);
    let told = Told { world: &world, served: &served };
    let k = |value: &str| serde_json::json!({ "k": value });
    // Annotated, then plain, then annotated otherwise: pushed by the build, and by `push`.
    told.build("1", &["--annotation", "k=1", "--push"]);
    assert_eq!(told.pushed("1"), k("1"));
    told.build("1", &["--push"]);
    assert_eq!(told.pushed("1"), Value::Null);
    let plain = told.manifest("1");
    told.build("1", &["--annotation", "k=2"]);
    world.ok(&["push", &told.name("1")]);
    assert_eq!(told.pushed("1"), k("2"));
    told.build("1", &[]);
    world.ok(&["push", &told.name("1")]);
    assert_eq!(told.manifest("1"), plain, "nothing of it is new");
    // What goes to the registry alone is told nothing by the store.
    told.build("2", &["--annotation", "k=3", "-o", "type=registry"]);
    assert_eq!(told.pushed("2"), k("3"));
    told.build("2", &["-o", "type=registry"]);
    assert_eq!(told.pushed("2"), Value::Null);
    // Names of one image side by side, also made by one build.
    told.build("3", &["--annotation", "k=4"]);
    told.build("4", &[]);
    let (five, six) = (told.name("5"), told.name("6"));
    let output = |name: &str, value: &str| format!("type=image,name={name},annotation.k={value}");
    world.ok(&["build", "-q", "-o", &output(&five, "5"), "-o", &output(&six, "6"), "ctx"]);
    world.ok(&["push", "-a", &five.replace(":5", "")]);
    for (tag, annotations) in [("3", k("4")), ("4", Value::Null), ("5", k("5")), ("6", k("6"))] {
        assert_eq!(told.pushed(tag), annotations, "{tag}");
    }
    let of_saved = [("3", k("4")), ("4", Value::Null), ("5", k("5"))];
    let of_saved = of_saved.map(|(tag, annotations)| (Value::from(tag), annotations));
    assert_eq!(told.saved(&["3", "4", "5"]), of_saved);
    // By its ID it is what was built last.
    let id = world.ok(&["inspect", "-f", "{{.Id}}", &five]);
    world.ok(&["build", "-q", "--annotation", "k=7", "ctx"]);
    world.ok(&["tag", id.trim(), &told.name("7")]);
    world.ok(&["push", &told.name("7")]);
    assert_eq!(told.pushed("7"), k("7"));
}

/// Copies, archives and pulls take them along.
#[test]
fn annotations_go_where_the_image_goes() {
    let world = world();
    let served = Served::new(&world, &[]);
    let told = Told { world: &world, served: &served };
    let k = |value: &str| serde_json::json!({ "k": value });
    told.build("1", &["--annotation", "k=1", "--metadata-file", "meta"]);
    told.build("2", &[]);
    world.ok(&["image", "copy", &format!("local:{}", told.name("1")), &told.name("copied")]);
    assert_eq!(told.pushed("copied"), k("1"));
    world.ok(&["image", "copy", &format!("local:{}", told.name("1")), "oci:copied"]);
    let entry = &json(&world.path("copied/index.json"))["manifests"][0];
    assert_eq!(json(&world.path("meta"))["containerimage.digest"], entry["digest"]);
    assert_eq!(blob(&world, "copied", &entry["digest"])["annotations"], k("1"));
    told.saved(&["1", "2"]);
    let other = World::new();
    other.ok(&["load", "-i", world.path("saved.tar").to_str().expect("UTF-8")]);
    for tag in ["1", "2"] {
        other.ok(&["push", &told.name(tag)]);
    }
    assert_eq!((told.pushed("1"), told.pushed("2")), (k("1"), Value::Null));
    // Two pulled names of one image: each goes elsewhere as it came, whichever was asked for last.
    let third = World::new();
    for tag in ["1", "2", "1"] {
        third.ok(&["pull", "-q", &told.name(tag)]);
    }
    for (tag, copy) in [("2", "b"), ("1", "a"), ("2", "c")] {
        third.ok(&["tag", &told.name(tag), &told.name(copy)]);
        third.ok(&["push", &told.name(copy)]);
        assert_eq!(told.manifest(copy), told.manifest(tag));
    }
    // A form that was asked for changes the layers only.
    third.ok(&["push", "--compression", "zstd", &told.name("a")]);
    assert_eq!(told.pushed("a"), k("1"));
    third.ok(&["push", &told.name("c")]);
    assert_eq!(told.manifest("c"), told.manifest("2"));
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
