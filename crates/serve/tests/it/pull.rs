//! Category "Pull".

use crate::world::World;
use strata_oci::{Digest, media_type};

const ABSENT: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn the_registry_says_that_it_is_one() {
    let world = World::new();
    for target in ["/v2/", "/v2"] {
        let reply = world.get(target);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("docker-distribution-api-version"), "registry/2.0");
        assert_eq!(reply.json(), serde_json::json!({}));
    }
    assert_eq!(world.ask("HEAD", "/v2/", &[], b"").body, b"");
    world.get("/").refused(404, "UNSUPPORTED");
    let reply = world.ask("DELETE", "/v2/", &[], b"");
    reply.refused(405, "UNSUPPORTED");
    assert_eq!(reply.header("allow"), "GET, HEAD");
}

#[test]
fn manifests_by_tag_and_digest() {
    let world = World::new();
    let bytes = world.image("a/b", "1", "content");
    let digest = Digest::of(&bytes).to_string();
    for reference in ["1", digest.as_str()] {
        let target = format!("/v2/a/b/manifests/{reference}");
        for method in ["GET", "HEAD"] {
            let reply = world.ask(method, &target, &[], b"");
            assert_eq!(reply.status, 200);
            assert_eq!(reply.header("content-type"), media_type::OCI_MANIFEST);
            assert_eq!(reply.header("content-length"), bytes.len().to_string());
            assert_eq!(reply.header("docker-content-digest"), digest);
            assert_eq!(reply.header("etag"), format!("\"{digest}\""));
            assert_eq!(reply.body, if method == "GET" { bytes.as_slice() } else { b"" });
        }
    }
    let known = [("If-None-Match", &*format!("\"{digest}\""))];
    let reply = world.ask("GET", "/v2/a/b/manifests/1", &known, b"");
    assert_eq!((reply.status, reply.body.len()), (304, 0));
}

#[test]
fn what_is_not_there() {
    let world = World::new();
    world.image("a", "1", "content");
    for target in ["/v2/a/manifests/2", "/v2/b/manifests/1", &format!("/v2/a/manifests/{ABSENT}")] {
        world.get(target).refused(404, "MANIFEST_UNKNOWN");
        let head = world.ask("HEAD", target, &[], b"");
        assert_eq!((head.status, head.body.len()), (404, 0));
    }
    for target in [format!("/v2/a/blobs/{ABSENT}"), format!("/v2/b/blobs/{ABSENT}")] {
        world.get(&target).refused(404, "BLOB_UNKNOWN");
        assert_eq!(world.ask("HEAD", &target, &[], b"").status, 404);
    }
    // A blob of one repository is none of another's, and a manifest is no blob.
    let blob = Digest::of(b"content");
    assert_eq!(world.get(&format!("/v2/a/blobs/{blob}")).status, 200);
    world.get(&format!("/v2/b/blobs/{blob}")).refused(404, "BLOB_UNKNOWN");
    let manifest = world.get("/v2/a/manifests/1").header("docker-content-digest").to_owned();
    world.get(&format!("/v2/a/blobs/{manifest}")).refused(404, "BLOB_UNKNOWN");
}

#[test]
fn blobs_whole_and_in_parts() {
    let world = World::new();
    // More than one read, and not a multiple of it.
    let content: Vec<u8> = (0..700_001_u32).map(|n| (n % 251) as u8).collect();
    let size = content.len();
    let digest = world.push("a", &content);
    let target = format!("/v2/a/blobs/{digest}");
    let head = world.ask("HEAD", &target, &[], b"");
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, &*size.to_string(), 0));
    assert_eq!(head.header("docker-content-digest"), digest.to_string());
    let whole = world.get(&target);
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert!(whole.status == 200 && whole.body == content);

    for (range, first, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299999", 100, 300_000),
        ("bytes=699999-", 699_999, size),
        ("bytes=-5", size - 5, size),
        ("bytes=0-99999999", 0, size),
    ] {
        let reply = world.ask("GET", &target, &[("Range", range)], b"");
        assert_eq!(reply.status, 206, "{range}");
        assert_eq!(reply.header("content-range"), format!("bytes {first}-{}/{size}", end - 1));
        assert_eq!(reply.header("content-length"), (end - first).to_string());
        assert!(reply.body == content[first..end], "{range}");
    }
    for range in ["bytes=700001-", "bytes=-0", "bytes=99999999999999999999-"] {
        let reply = world.ask("GET", &target, &[("Range", range)], b"");
        assert_eq!(
            (reply.status, reply.header("content-range")),
            (416, &*format!("bytes */{size}")),
            "{range}"
        );
    }
    for headers in [
        [("Range", "bytes=5-2"), ("X", "y")],
        [("Range", "bytes=0-1,5-6"), ("X", "y")],
        [("Range", "bytes=0-1"), ("If-Range", "\"another\"")],
    ] {
        let reply = world.ask("GET", &target, &headers, b"");
        assert_eq!((reply.status, reply.body.len()), (200, size), "{headers:?}");
    }
}

#[test]
fn an_empty_blob_is_a_blob() {
    let world = World::new();
    let target = format!("/v2/a/blobs/{}", world.push("a", b""));
    for method in ["GET", "HEAD"] {
        let reply = world.ask(method, &target, &[], b"");
        assert_eq!((reply.status, reply.header("content-length"), reply.body.len()), (200, "0", 0));
    }
}
