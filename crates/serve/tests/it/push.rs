//! Category "Push": blobs in one piece, mounts, manifests.

use crate::world::{World, blobs};
use serde_json::json;
use strata_oci::{Digest, media_type};

#[test]
fn blobs_in_one_piece() {
    let world = World::new();
    let content = vec![7; 1_500_000];
    let digest = Digest::of(&content);
    let location = world.begin("a");
    let reply = world.ask("PUT", &format!("{location}?digest={digest}"), &[], &content);
    assert_eq!(reply.status, 201);
    assert_eq!(reply.header("location"), format!("/v2/a/blobs/{digest}"));
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    assert!(world.get(reply.header("location")).body == content);

    let digest = Digest::of(b"post alone");
    let reply = world.ask("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], b"post alone");
    assert_eq!((reply.status, reply.header("location")), (201, &*format!("/v2/a/blobs/{digest}")));
    assert_eq!(world.get(&format!("/v2/a/blobs/{digest}")).body, b"post alone");

    // A colon that the client escaped is a colon.
    let digest = Digest::of(b"escaped");
    let escaped = digest.to_string().replace(':', "%3A");
    let reply = world.ask("PUT", &format!("{}?digest={escaped}", world.begin("a")), &[], b"escaped");
    assert_eq!(reply.status, 201);
}

#[test]
fn a_wrong_digest_stores_nothing() {
    let world = World::new();
    let wrong = Digest::of(b"something else");
    let location = world.begin("a");
    world.ask("PUT", &format!("{location}?digest={wrong}"), &[], b"content").refused(400, "DIGEST_INVALID");
    world.ask("GET", &location, &[], b"").refused(404, "BLOB_UPLOAD_UNKNOWN");
    let post = format!("/v2/a/blobs/uploads/?digest={wrong}");
    world.ask("POST", &post, &[], b"content").refused(400, "DIGEST_INVALID");
    world.get(&format!("/v2/a/blobs/{wrong}")).refused(404, "BLOB_UNKNOWN");
    for text in ["sha256:x", "sha512:00", "x", ""] {
        let location = world.begin("a");
        world.ask("PUT", &format!("{location}?digest={text}"), &[], b"").refused(400, "DIGEST_INVALID");
        assert_eq!(world.get(&location).status, 204, "a request that says nothing ends nothing");
    }
    assert_eq!(blobs(&world.root()), 0);
}

#[test]
fn blobs_are_stored_once_and_mounted() {
    let world = World::new();
    let digest = world.push("a", b"shared");
    world.push("b/c", b"shared");
    assert_eq!(blobs(&world.root()), 1);

    let mount =
        |from: &str| world.ask("POST", &format!("/v2/d/blobs/uploads/?mount={digest}{from}"), &[], b"");
    let reply = mount("&from=a");
    assert_eq!((reply.status, reply.header("location")), (201, &*format!("/v2/d/blobs/{digest}")));
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    assert_eq!(world.get(&format!("/v2/d/blobs/{digest}")).body, b"shared");
    assert_eq!(mount("").status, 201, "any repository will do where none is named");

    // What cannot be mounted becomes an upload.
    for from in ["&from=nowhere", "&from=../a", "&from=A"] {
        let reply = mount(from);
        assert_eq!((reply.status, reply.header("range")), (202, "0-0"), "{from}");
        assert_eq!(world.get(reply.header("location")).status, 204);
    }
    let absent = Digest::of(b"absent");
    let reply = world.ask("POST", &format!("/v2/d/blobs/uploads/?mount={absent}&from=a"), &[], b"");
    assert_eq!(reply.status, 202);
    world.ask("POST", "/v2/d/blobs/uploads/?mount=nonsense&from=a", &[], b"").refused(400, "DIGEST_INVALID");
}

#[test]
fn manifests_come_back_byte_for_byte() {
    let world = World::new();
    let manifest = world.manifest("a", "x");
    // Blanks, an unknown field, no media type in the document: all of it is kept.
    let mut odd = manifest.clone();
    odd.as_object_mut().expect("an object").remove("mediaType");
    odd["unknown"] = json!({ "field": [1, 2.50] });
    let odd = serde_json::to_vec_pretty(&odd).expect("JSON");
    let digest = Digest::of(&odd);
    let reply = world.put("a", "odd", &format!("{}; charset=utf-8", media_type::DOCKER_MANIFEST), &odd);
    assert_eq!((reply.status, reply.header("location")), (201, &*format!("/v2/a/manifests/{digest}")));
    assert_eq!(reply.header("docker-content-digest"), digest.to_string());
    let back = world.get(reply.header("location"));
    assert_eq!(back.header("content-type"), media_type::DOCKER_MANIFEST);
    assert_eq!(back.body, odd);

    // By digest, with tags.
    let target = format!("{digest}?tag=x&tag=y");
    let reply = world.put("a", &target, media_type::DOCKER_MANIFEST, &odd);
    assert_eq!((reply.status, reply.header("oci-tag")), (201, "x, y"));
    assert_eq!(world.get("/v2/a/manifests/y").body, odd);
    let other = Digest::of(b"other").to_string();
    world.put("a", &other, media_type::OCI_MANIFEST, &odd).refused(400, "DIGEST_INVALID");
    let reply = world.put("a", &format!("{digest}?tag=-"), media_type::DOCKER_MANIFEST, &odd);
    reply.refused(400, "MANIFEST_INVALID");

    // A tag moves.
    let newer = world.image("a", "x", "newer");
    assert_eq!(world.get("/v2/a/manifests/x").body, newer);
    assert_eq!(world.get("/v2/a/manifests/y").body, odd);
}

#[test]
fn indexes_and_what_they_need() {
    let world = World::new();
    let image = world.image("a", "one", "1");
    let entry = |bytes: &[u8]| json!({ "mediaType": media_type::OCI_MANIFEST, "digest": Digest::of(bytes), "size": bytes.len() });
    let index = |entries: &[serde_json::Value]| {
        json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries }).to_string()
    };
    let complete = index(&[entry(&image)]);
    assert_eq!(world.put("a", "all", media_type::OCI_INDEX, complete.as_bytes()).status, 201);
    assert_eq!(world.get("/v2/a/manifests/all").header("content-type"), media_type::OCI_INDEX);
    let lacking = index(&[entry(&image), entry(b"absent")]);
    let reply = world.put("a", "lacking", media_type::OCI_INDEX, lacking.as_bytes());
    reply.refused(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(reply.json()["errors"][0]["detail"]["digest"], Digest::of(b"absent").to_string());
    assert_eq!(world.put("b", "all", media_type::OCI_INDEX, complete.as_bytes()).status, 404);
    assert_eq!(world.put("a", "none", media_type::OCI_INDEX, index(&[]).as_bytes()).status, 201);
}

#[test]
fn a_manifest_without_its_blobs_is_refused_with_all_that_is_missing() {
    let world = World::new();
    let manifest = world.manifest("a", "x").to_string();
    let reply = world.put("b", "1", media_type::OCI_MANIFEST, manifest.as_bytes());
    reply.refused(404, "MANIFEST_BLOB_UNKNOWN");
    assert_eq!(reply.json()["errors"].as_array().map(Vec::len), Some(2));
    world.get("/v2/b/manifests/1").refused(404, "MANIFEST_UNKNOWN");
    // A layer that may not be handed out stays where it is.
    let mut foreign = world.manifest("a", "y");
    foreign["layers"][0] = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": Digest::of(b"far away"), "size": 8, "urls": ["https://example.com/far-away"],
    });
    assert_eq!(
        world.put("a", "foreign", media_type::OCI_MANIFEST, foreign.to_string().as_bytes()).status,
        201
    );
}

#[test]
fn what_is_no_manifest_is_refused() {
    let world = World::new();
    let good = world.manifest("a", "x").to_string();
    for (kind, body) in [
        (media_type::OCI_MANIFEST, "{}"),
        (media_type::OCI_MANIFEST, ""),
        (media_type::OCI_MANIFEST, "not JSON"),
        (media_type::OCI_INDEX, &good),
        (media_type::DOCKER_MANIFEST, &good),
        ("text/html", &good),
        (media_type::OCI_MANIFEST, "{\"schemaVersion\":1,\"fsLayers\":[]}"),
    ] {
        world.put("a", "1", kind, body.as_bytes()).refused(400, "MANIFEST_INVALID");
    }
    assert_eq!(world.ask("PUT", "/v2/a/manifests/1", &[], good.as_bytes()).status, 201, "it says what it is");
}

#[test]
fn four_megabytes_of_manifest_and_no_more() {
    let world = World::new();
    let mut manifest = world.manifest("a", "x");
    let padding = |manifest: &mut serde_json::Value, length: usize| {
        manifest["padding"] = json!("");
        let missing = length - manifest.to_string().len();
        manifest["padding"] = json!("x".repeat(missing));
        manifest.to_string()
    };
    let most = padding(&mut manifest, 4 * 1024 * 1024);
    assert_eq!(world.put("a", "most", media_type::OCI_MANIFEST, most.as_bytes()).status, 201);
    let more = padding(&mut manifest, 4 * 1024 * 1024 + 1);
    world.put("a", "more", media_type::OCI_MANIFEST, more.as_bytes()).refused(413, "SIZE_INVALID");
}
