//! Collecting what nothing refers to.

use crate::world::{World, blobs, files};
use serde_json::json;
use std::time::Duration;
use strata_oci::{Digest, media_type};
use strata_serve::{CollectOptions, Collected, collect};

const ALL: CollectOptions = CollectOptions { untagged: false, grace: Duration::ZERO, dry_run: false };

fn run(world: &World, options: &CollectOptions) -> Collected {
    collect(&world.root(), options).expect("a collection")
}

#[test]
fn only_what_nothing_refers_to_goes() {
    let world = World::new();
    let kept = world.image("a", "1", "kept");
    let lost = world.push("a", &[1; 1000]);
    let deleted = world.image("b/c", "1", "deleted");
    let target = format!("/v2/b/c/manifests/{}", Digest::of(&deleted));
    assert_eq!(world.ask("DELETE", &target, &[], b"").status, 202);

    let young = CollectOptions { grace: Duration::from_secs(3600), ..ALL };
    assert_eq!(run(&world, &young), Collected::default(), "it may be wanted in a moment");
    let before = files(&world.root());
    let planned = run(&world, &CollectOptions { dry_run: true, ..ALL });
    assert_eq!(files(&world.root()), before);
    let collected = run(&world, &ALL);
    assert_eq!(collected.blobs.len(), 4, "the lost blob; manifest, config and layer of the deleted image");
    assert!(collected.blobs.contains(&lost) && collected.bytes > 1000);
    assert!(planned.blobs.len() <= collected.blobs.len() && collected.manifests.is_empty());

    assert_eq!(world.get("/v2/a/manifests/1").body, kept);
    assert_eq!(world.get(&format!("/v2/a/blobs/{}", Digest::of(b"kept"))).body, b"kept");
    assert_eq!(blobs(&world.root()), 3);
    assert!(!world.root().join("repositories/b").exists(), "an empty repository is none");
    assert_eq!(run(&world, &ALL), Collected::default());
    world.image("b/c", "1", "deleted");
}

#[test]
fn what_a_tag_leads_to_stays_through_indexes_and_referrers() {
    let world = World::new();
    let child = world.image("a", "child", "child");
    let index = json!({ "schemaVersion": 2, "manifests": [
        { "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(&child), "size": child.len() }] });
    assert_eq!(world.put("a", "all", media_type::OCI_INDEX, index.to_string().as_bytes()).status, 201);
    assert_eq!(world.ask("DELETE", "/v2/a/manifests/child", &[], b"").status, 202);
    let mut signature = world.manifest("a", "signature");
    signature["subject"] =
        json!({ "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(&child), "size": child.len() });
    let signature = signature.to_string();
    let by_digest = Digest::of(signature.as_bytes()).to_string();
    assert_eq!(world.put("a", &by_digest, media_type::OCI_MANIFEST, signature.as_bytes()).status, 201);
    let old = world.image("a", "moving", "old");
    world.image("a", "moving", "new");

    assert_eq!(run(&world, &ALL), Collected::default(), "untagged manifests may be used by digest");
    let untagged = run(&world, &CollectOptions { untagged: true, ..ALL });
    assert_eq!(untagged.manifests, [format!("a@{}", Digest::of(&old))]);
    assert_eq!(untagged.blobs.len(), 3);
    for digest in [Digest::of(&child).to_string(), by_digest] {
        assert_eq!(world.get(&format!("/v2/a/manifests/{digest}")).status, 200);
    }
}

#[test]
fn a_collection_waits_for_nobody_and_loses_nothing_while_pushes_go_on() {
    let world = World::new();
    let grace = CollectOptions { untagged: true, grace: Duration::from_secs(60), dry_run: false };
    std::thread::scope(|scope| {
        for client in 0..3 {
            let world = &world;
            scope.spawn(move || {
                for n in 0..8 {
                    world.image(&format!("r{client}"), &format!("t{n}"), &format!("{client} {n}"));
                }
            });
        }
        for _ in 0..10 {
            run(&world, &grace);
        }
    });
    for client in 0..3 {
        for n in 0..8 {
            assert_eq!(world.get(&format!("/v2/r{client}/manifests/t{n}")).status, 200);
        }
    }
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    fs_err::write(directory.path().join("precious"), "x").expect("a file");
    let address = "127.0.0.1:0".parse().expect("an address");
    let error = strata_serve::Server::bind(strata_serve::Options::new(directory.path(), address));
    assert!(error.expect_err("not empty").to_string().contains("not empty and not a registry"));
    assert!(collect(directory.path(), &ALL).expect_err("no registry").to_string().contains("not a registry"));
    assert_eq!(files(directory.path()), [("precious".to_owned(), 1)]);

    let world = World::new();
    let error = strata_serve::Server::bind(strata_serve::Options::new(world.root(), address));
    assert!(error.expect_err("two servers").to_string().contains("being served by another process"));
}
