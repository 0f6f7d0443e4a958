//! Category "Content Management".

use crate::world::World;
use strata_oci::{Digest, media_type};

#[test]
fn a_tag_goes_alone() {
    let world = World::new();
    let manifest = world.image("a", "1", "x");
    assert_eq!(world.put("a", "2", media_type::OCI_MANIFEST, &manifest).status, 201);
    assert_eq!(world.ask("DELETE", "/v2/a/manifests/1", &[], b"").status, 202);
    world.get("/v2/a/manifests/1").refused(404, "MANIFEST_UNKNOWN");
    world.ask("DELETE", "/v2/a/manifests/1", &[], b"").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(world.get("/v2/a/manifests/2").body, manifest);
    assert_eq!(world.get(&format!("/v2/a/manifests/{}", Digest::of(&manifest))).status, 200);
}

#[test]
fn a_manifest_goes_with_its_tags() {
    let world = World::new();
    let manifest = world.image("a", "1", "x");
    let other = world.image("a", "other", "y");
    assert_eq!(world.put("a", "2", media_type::OCI_MANIFEST, &manifest).status, 201);
    let target = format!("/v2/a/manifests/{}", Digest::of(&manifest));
    assert_eq!(world.ask("DELETE", &target, &[], b"").status, 202);
    for gone in ["/v2/a/manifests/1", "/v2/a/manifests/2", &target] {
        world.get(gone).refused(404, "MANIFEST_UNKNOWN");
    }
    world.ask("DELETE", &target, &[], b"").refused(404, "MANIFEST_UNKNOWN");
    world.ask("DELETE", &target.replace("/a/", "/nowhere/"), &[], b"").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(world.get("/v2/a/tags/list").json()["tags"], serde_json::json!(["other"]));
    assert_eq!(world.get("/v2/a/manifests/other").body, other);
    // Its blobs are still there: pushing it again needs no upload.
    assert_eq!(world.put("a", "1", media_type::OCI_MANIFEST, &manifest).status, 201);
}

#[test]
fn a_blob_goes_from_one_repository() {
    let world = World::new();
    let digest = world.push("a", b"x");
    world.push("b", b"x");
    let target = format!("/v2/a/blobs/{digest}");
    assert_eq!(world.ask("DELETE", &target, &[], b"").status, 202);
    world.get(&target).refused(404, "BLOB_UNKNOWN");
    world.ask("DELETE", &target, &[], b"").refused(404, "BLOB_UNKNOWN");
    assert_eq!(world.get(&format!("/v2/b/blobs/{digest}")).body, b"x");
}

#[test]
fn a_read_only_registry_changes_nothing() {
    let world = World::new();
    let manifest = world.image("a", "1", "x");
    let root = world.root();
    let mut first = world;
    first.stop();
    let world = World::with(|options| {
        options.root = root.clone();
        options.read_only = true;
    });
    assert_eq!(world.get("/v2/a/manifests/1").body, manifest);
    let before = crate::world::files(&root);
    let digest = Digest::of(&manifest);
    for (method, target) in [
        ("POST", "/v2/a/blobs/uploads/".to_owned()),
        ("PUT", "/v2/a/manifests/1".to_owned()),
        ("DELETE", format!("/v2/a/manifests/{digest}")),
        ("DELETE", format!("/v2/a/blobs/{digest}")),
    ] {
        world.ask(method, &target, &[], b"x").refused(405, "UNSUPPORTED");
    }
    assert_eq!(crate::world::files(&root), before);
}
