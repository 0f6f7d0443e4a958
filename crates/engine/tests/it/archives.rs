//! `import`, `load` and ADD of what strangers made.
use crate::world::{Tar, World, text};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest as _, Sha256};
use std::io::{Cursor, Write};
use strata_engine::EngineError;
use strata_engine::archive::Loaded;

/// What `import` must refuse, and a part of what it says.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let mut endless = Tar::default().file("big", b"").end();
    endless[124..136].copy_from_slice(b"\x80\0\0\0\x40\0\0\0\0\0\0\0");
    resum(&mut endless);
    let mut negative = Tar::default().file("neg", b"").end();
    negative[124..136].copy_from_slice(&[0xff; 12]);
    resum(&mut negative);
    let mut summed = Tar::default().file("x", b"x").end();
    summed[0] = b'y';
    let long = Tar::default().file("big", &[7; 9000]).end();
    vec![
        ("dots", Tar::default().file("../../etc/cron.d/x", b"x").end(), "leads out of the layer"),
        ("dots inside", Tar::default().file("a/../../x", b"x").end(), "leads out of the layer"),
        ("hard link out", Tar::default().hard_link("h", "../../etc/shadow").end(), "leads out of the layer"),
        ("hard link to the host", Tar::default().hard_link("h", "/etc/shadow").end(), "etc/shadow"),
        ("hard link to itself", Tar::default().hard_link("h", "h").end(), "h: a hard link"),
        ("loop", Tar::default().symlink("l", "l").file("l/x", b"x").end(), "more than 40 symlinks"),
        ("file as parent", Tar::default().file("a", b"").file("a/b", b"").end(), "not a directory"),
        ("root is a file", Tar::default().file(".", b"").end(), "must be a directory"),
        ("whiteout of nothing", Tar::default().file(".wh.", b"").end(), "names nothing"),
        ("endless", endless, "longest tar allowed"),
        ("negative", negative, "its size is negative"),
        ("checksum", summed, "checksum"),
        ("cut off in data", long[..4000].to_vec(), "it is cut off"),
        ("cut off in a header", long[..300].to_vec(), "after 300 bytes of a header"),
        (
            "cut off gzip",
            {
                let z = gzip(&noise(9000));
                z[..z.len() / 2].to_vec()
            },
            "deflate",
        ),
        ("no tar", b"no tar at all, but a text. ".repeat(50), "not a tar"),
    ]
}

#[test]
fn import_refuses_hostile_tars_and_names_the_member() {
    let Some(world) = World::new() else { return };
    for (name, tar, wanted) in hostile() {
        let error = world.import(tar, "hostile").unwrap_err();
        assert!(text(&error).contains(wanted), "{name}: {}", text(&error));
        world.assert_nothing_left();
    }
    assert!(world.engine().images(&Default::default()).unwrap().is_empty());
    world.assert_sound();
}

/// What looks dangerous and is not: names are the layer's own, links are only text.
#[test]
fn import_keeps_what_stays_inside() {
    for mode in [None, Some(strata_engine::LayerMode::Tree)] {
        let Some(mut world) = World::with_base() else { return };
        world.mode = mode;
        let outside = world.directory.path().join("outside");
        fs_err::create_dir(&outside).unwrap();
        let target = outside.to_str().unwrap();
        let tar = Tar::default().file("/absolute", b"1").symlink("l", target).file("l/escaped", b"2").end();
        fs_err::write(world.directory.path().join("x.tar"), &tar).unwrap();
        let mut request =
            world.context("FROM busybox\nADD x.tar /\nRUN test -e /absolute\n", &[("x.tar", &tar)]);
        request.tags = vec!["inside".parse().unwrap()];
        world.build(&request).unwrap();
        assert!(fs_err::read_dir(&outside).unwrap().next().is_none(), "{mode:?}: written outside");
        world.import(tar, "alone").unwrap();
        world.assert_sound();
    }
}

#[test]
fn add_refuses_hostile_archives_at_their_line() {
    let Some(world) = World::new() else { return };
    let bad = [
        ("hard link to the host", Tar::default().hard_link("h", "/etc/shadow").end(), "cannot unpack /x.tar"),
        ("cut off", Tar::default().file("a", &[1; 9000]).end()[..4000].to_vec(), "it is cut off"),
    ];
    for (name, tar, wanted) in bad {
        let request = world.context("FROM scratch\nADD x.tar /out/\n", &[("x.tar", &tar)]);
        match world.build(&request).unwrap_err() {
            EngineError::Build(error) => {
                assert!(text(&error).contains(wanted), "{name}: {}", text(&error));
                assert_eq!(error.spans.first().map(|span| span.start), Some(13), "{name}");
            }
            other => panic!("{name}: {other}"),
        }
        world.assert_nothing_left();
    }
    world.assert_sound();
}

/// A name of an archive with `..` in it ends at the destination, as in BuildKit.
#[test]
fn add_keeps_names_that_lead_out_below_the_destination() {
    let Some(world) = World::with_base() else { return };
    let tar = Tar::default().file("a", b"").file("../../../../x", b"x").end();
    let file = "FROM busybox\nADD x.tar /out/\nRUN test -f /out/x && test ! -e /x\n";
    world.build(&world.context(file, &[("x.tar", &tar)])).unwrap();
    world.assert_sound();
}

#[test]
fn load_refuses_archives_that_lie() {
    let Some(world) = World::new() else { return };
    let layer = Tar::default().file("hello", b"hello").end();
    let other = Tar::default().file("other", &[1; 600]).end();
    let config = config(&[&layer]);
    let json = format!("{}.json", hex(&config));
    let manifest = |config: &str, layers: &str| {
        format!(r#"[{{"Config":"{config}","RepoTags":["lie:1"],"Layers":[{layers}]}}]"#).into_bytes()
    };
    let good = manifest(&json, r#""l.tar""#);
    let archive = |files: &[(&str, &[u8])]| {
        files.iter().fold(Tar::default(), |tar, (name, data)| tar.file(name, data)).end()
    };
    let wrong = "0".repeat(64) + ".json";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "other layer",
            archive(&[("manifest.json", &good), (&json, &config), ("l.tar", &other)]),
            "its DiffId is",
        ),
        ("no layer", archive(&[("manifest.json", &good), (&json, &config)]), "has no layer l.tar"),
        ("no config", archive(&[("manifest.json", &good), ("l.tar", &layer)]), &json),
        ("no manifest", archive(&[(&json, &config), ("l.tar", &layer)]), "neither manifest.json"),
        (
            "too few layers",
            archive(&[("manifest.json", &manifest(&json, "")), (&json, &config)]),
            "lists 1 layers",
        ),
        (
            "config misnamed",
            archive(&[("manifest.json", &manifest(&wrong, r#""l.tar""#)), (&wrong, &config)]),
            "is damaged",
        ),
        ("cut JSON", archive(&[("manifest.json", b"[{\"Config\":")]), "manifest.json: EOF"),
        ("no list", archive(&[("manifest.json", b"{}")]), "expected a sequence"),
        ("no image", archive(&[("manifest.json", b"[]")]), "holds no image"),
        ("endless nesting", archive(&[("manifest.json", &[b'['; 300_000])]), "manifest.json"),
        ("huge manifest", archive(&[("manifest.json", &[b' '; 5 << 20])]), "a manifest has at most"),
        (
            "config is text",
            archive(&[("manifest.json", &manifest("c", "")), ("c", b"text")]),
            "c is not a JSON document",
        ),
        (
            "path out",
            archive(&[("manifest.json", &manifest("../../etc/passwd", ""))]),
            "has no ../../etc/passwd",
        ),
    ];
    for (name, tar, wanted) in cases {
        refused(&world, name, tar, wanted);
    }
    let looped =
        Tar::default().symlink("l.tar", "l.tar").file(&json, &config).file("manifest.json", &good).end();
    refused(&world, "link to itself", looped, "too many links");
    world.assert_sound();
}

#[test]
fn load_checks_every_blob_of_a_layout() {
    let Some(world) = World::new() else { return };
    let layer = Tar::default().file("hello", b"hello").end();
    let config = config(&[&layer]);
    let packed = gzip(&layer);
    assert!(packed.len() < 512, "a compressed layer may be shorter than a tar block");
    let manifest = manifest(&config, &packed);
    let blobs: Vec<(String, Vec<u8>)> = [&manifest, &config, &packed]
        .map(|blob| (format!("blobs/sha256/{}", hex(blob)), blob.clone()))
        .into();
    let index = |size: usize| {
        let digest = hex(&manifest);
        let name = r#""annotations":{"org.opencontainers.image.ref.name":"oci:1"}"#;
        let media = "application/vnd.oci.image.manifest.v1+json";
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{media}","digest":"sha256:{digest}","size":{size},{name}}}]}}"#
        )
    };
    let layout = |blobs: &[(String, Vec<u8>)], index: String| {
        blobs
            .iter()
            .fold(Tar::default().file("index.json", index.as_bytes()), |tar, (name, data)| {
                tar.file(name, data)
            })
            .end()
    };
    for at in 0..3 {
        let mut missing = blobs.clone();
        let (name, _) = missing.remove(at);
        refused(&world, "missing blob", layout(&missing, index(manifest.len())), &name);
        let mut changed = blobs.clone();
        let last = changed[at].1.len() - 3;
        changed[at].1[last] ^= 1;
        refused(&world, "changed blob", layout(&changed, index(manifest.len())), &name);
    }
    // The same layer, compressed in another way under the old name: its DiffId is right, its digest is not.
    let mut again = blobs.clone();
    again[2].1[9] ^= 3;
    refused(
        &world,
        "another gzip header",
        layout(&again, index(manifest.len())),
        "its content has the digest",
    );
    refused(&world, "wrong size", layout(&blobs, index(5)), "its descriptor says 5");
    let loaded = world.engine().load(Box::new(Cursor::new(layout(&blobs, index(manifest.len()))))).unwrap();
    assert_eq!(loaded, [Loaded::Tagged("oci:1".parse().unwrap())]);
    world.assert_sound();
}

fn refused(world: &World, name: &str, tar: Vec<u8>, wanted: &str) {
    let error = world.engine().load(Box::new(Cursor::new(tar))).unwrap_err();
    assert!(text(&error).contains(wanted), "{name}: {}", text(&error));
    assert!(world.engine().images(&Default::default()).unwrap().is_empty(), "{name}: an image is visible");
    world.assert_nothing_left();
}

fn config(layers: &[&[u8]]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("\"sha256:{}\"", hex(layer))).collect();
    let ids = ids.join(",");
    format!(r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{ids}]}}}}"#).into()
}

fn manifest(config: &[u8], layer: &[u8]) -> Vec<u8> {
    let described = |kind: &str, blob: &[u8]| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"sha256:{}","size":{}}}"#,
            hex(blob),
            blob.len()
        )
    };
    let (config, layer) = (described("config.v1+json", config), described("layer.v1.tar+gzip", layer));
    format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#).into()
}

fn hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    (0_u64..).flat_map(|n| Sha256::digest(n.to_le_bytes())).take(length).collect()
}

fn resum(tar: &mut [u8]) {
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
