//! The same Dockerfile and the same files give the same image, bit for bit: in another store, from another directory,
//! at another time, in the other layer mode.

use crate::world::World;
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

/// Older than everything that the tests write, and than the base image's files.
const EPOCH: &str = "1600000000";

const DOCKERFILE: &str = "\
FROM box:1 AS one
WORKDIR /work/one
RUN echo 1 > a; mkdir -p z/y; echo 2 > z/y/b; sleep 0.1
COPY src/ /src/
FROM box:1 AS two
ARG SOURCE_DATE_EPOCH
RUN mkdir /out; for i in 9 3 7 1; do echo $i > /out/$i; done; rm -r /data; echo $SOURCE_DATE_EPOCH > /epoch
FROM box:1
RUN sh -c 'echo x > /etc/new; rm /etc/group'; cat /etc/passwd > /etc/passwd.new
COPY --from=one /work /work
COPY --from=two /out /epoch /two/
COPY --chown=7:8 --chmod=640 src/deep/file /opt/made/up/file
USER bob
WORKDIR /home/bob/made
CMD [\"sh\"]
";

const FILES: [&str; 5] = ["src/a", "src/b", "src/deep/file", "src/deep/er/x", "src/z"];

/// Writes the context in the order of `names`, which decides inode numbers and the order of directories.
fn context<'a>(world: &World, names: impl Iterator<Item = &'a &'a str>, mode: u32) {
    for name in names {
        world.file(&format!("ctx/{name}"), format!("content of {name}\n").as_bytes());
    }
    world.file("ctx/Dockerfile", DOCKERFILE.as_bytes());
    let root = PermissionsExt::from_mode(mode);
    fs_err::set_permissions(world.path("ctx"), root).expect("chmod");
}

/// Two worlds with the same base image, and contexts made in opposite orders.
fn two_worlds(test: &str) -> Option<(World, World)> {
    let (one, two) = (World::with_shell(test)?, World::new());
    one.ok(&["save", "-o", "box.archive", "box:1"]);
    two.ok(&["load", "-i", &one.path("box.archive").display().to_string()]);
    context(&one, FILES.iter(), 0o755);
    context(&two, FILES.iter().rev(), 0o700);
    Some((one, two))
}

/// Members of the layers of an OCI archive, by layer: path and time.
fn layer_times(archive: &[u8]) -> Vec<Vec<(String, u64)>> {
    let mut blobs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().expect("a tar") {
        let mut entry = entry.expect("a member");
        let path = entry.path().expect("a path").display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        blobs.insert(path, content);
    }
    let document = |name: &str| -> serde_json::Value { serde_json::from_slice(&blobs[name]).expect("JSON") };
    let manifest = document("manifest.json");
    let layers = manifest[0]["Layers"].as_array().expect("layers").iter();
    let members = |layer: &serde_json::Value| {
        let bytes = &blobs[layer.as_str().expect("a path")][..];
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().expect("a tar").map(|entry| entry.expect("a member"));
        let member = |entry: tar::Entry<'_, &[u8]>| {
            (entry.path().expect("a path").display().to_string(), entry.header().mtime().expect("a time"))
        };
        entries.map(member).collect()
    };
    layers.map(members).collect()
}

#[test]
fn two_stores_give_one_image() {
    let Some((one, two)) = two_worlds("reproducible::two_stores_give_one_image") else { return };
    let epoch = format!("SOURCE_DATE_EPOCH={EPOCH}");
    let output = "type=oci,dest=image.tar,name=same:1,rewrite-timestamp=true";
    let line = ["build", "--network", "none", "--metadata-file", "meta.json", "-o", output, "ctx"];
    one.ok(&[&line[..1], &["--build-arg", &epoch], &line[1..]].concat());
    // The other layer mode, steps one after the other, the epoch from the environment.
    let other = [&line[..1], &["--jobs", "1"], &line[1..]].concat();
    let built = two.command(&other).env("SOURCE_DATE_EPOCH", EPOCH).env("STRATA_LAYERS", "tree").output();
    let built = built.expect("strata starts");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let read = |world: &World, name: &str| fs_err::read(world.path(name)).expect(name);
    // All but the name that each build has for itself.
    let metadata = |world: &World| -> String {
        let text = String::from_utf8(read(world, "meta.json")).expect("UTF-8");
        text.lines().filter(|line| !line.contains("buildx.build.ref")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(metadata(&one), metadata(&two));
    assert!(read(&one, "image.tar") == read(&two, "image.tar"), "the archives differ");

    let layers = layer_times(&read(&one, "image.tar"));
    let base = layers[0].iter().filter(|(_, time)| *time > 1_600_000_000);
    assert!(base.count() > 5, "the base image's layer is untouched");
    let new: Vec<_> = layers[1..].iter().flatten().collect();
    assert!(new.iter().any(|(path, _)| path == "two/9") && new.len() > 15, "{new:?}");
    let late: Vec<_> = new.iter().filter(|(_, time)| *time > 1_600_000_000).collect();
    assert!(late.is_empty(), "later than the epoch: {late:?}");

    // What the store keeps is the same image, from a cached build too; without the attribute times stay.
    let kept = ["build", "-q", "--network", "none", "--build-arg", &epoch];
    let id = |world: &World, output: &str| world.ok(&[&kept[..], &["-o", output, "ctx"]].concat());
    let clamped = id(&one, "type=image,name=kept:1,rewrite-timestamp=true");
    assert_eq!(clamped, id(&two, "type=image,name=kept:1,rewrite-timestamp=true"));
    assert!(metadata(&one).contains(clamped.trim()), "{clamped} {}", metadata(&one));
    assert_ne!(clamped, id(&one, "type=image,name=plain:1"));
    assert_eq!(
        one.ok(&["run", "--rm", "--network", "none", "kept:1", "cat", "/two/epoch"]),
        format!("{EPOCH}\n")
    );
    one.ok(&["system", "fsck"]);
}

#[test]
fn squash_is_reproducible_too() {
    let Some((one, two)) = two_worlds("reproducible::squash_is_reproducible_too") else { return };
    let epoch = format!("SOURCE_DATE_EPOCH={EPOCH}");
    let line = ["build", "-q", "--network", "none", "--squash", "--build-arg", &epoch, "-o"];
    let output = "type=image,name=squashed:1,rewrite-timestamp=true";
    let id = |world: &World| world.ok(&[&line[..], &[output, "ctx"]].concat());
    assert_eq!(id(&one), id(&two));
    insta::assert_snapshot!(one.transcript(&[
        "history --format '{{.CreatedBy}} [{{.Comment}}]' squashed:1",
        "inspect -f '{{len .RootFS.Layers}}' squashed:1",
        "run --rm --network none squashed:1 ls /two /opt/made/up /etc /work/one",
    ]));
}

#[test]
fn times_need_an_epoch() {
    let world = World::with_base();
    world.file("ctx/Dockerfile", b"FROM base:1\nCOPY a /a\n");
    world.file("ctx/a", b"a");
    insta::assert_snapshot!(world.transcript(&[
        "build --progress quiet -o type=image,rewrite-timestamp=true ctx",
        "build --progress plain -o type=oci,rewrite-timestamp=true,dest=x.tar ctx",
        "build --build-arg SOURCE_DATE_EPOCH=yesterday ctx",
        "build -o type=image,unpack=true,rewrite-timestamp=true ctx",
    ]));
}
