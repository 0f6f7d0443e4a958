//! Cases of the distribution specification's conformance program that the other modules do not have. The program itself
//! runs by `tests/distribution/run`.

use crate::world::{World, blobs};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use strata_oci::{Digest, media_type};

/// Sends a chunk; where the next one goes.
fn chunk(world: &World, location: &str, first: usize, content: &[u8]) -> String {
    let range = format!("{first}-{}", first + content.len() - 1);
    let reply = world.ask("PATCH", location, &[("Content-Range", &range)], content);
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(reply.header("range"), format!("0-{}", first + content.len() - 1));
    reply.header("location").to_owned()
}

#[test]
fn the_digest_is_checked_however_a_blob_came() {
    let world = World::new();
    let wrong = Digest::of(b"something else");
    let finish = |location: &str, headers: &[(&str, &str)], rest: &[u8]| {
        let reply = world.ask("PUT", &format!("{location}?digest={wrong}"), headers, rest);
        reply.refused(400, "DIGEST_INVALID");
        world.get(location).refused(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let stream = world.ask("PATCH", &world.begin("a"), &[], b"in one stream");
    finish(stream.header("location"), &[], b"");
    let chunks = chunk(&world, &world.begin("a"), 0, b"in ");
    finish(&chunk(&world, &chunks, 3, b"chunks"), &[], b"");
    let chunks = chunk(&world, &world.begin("a"), 0, b"the last ");
    finish(&chunks, &[("Content-Range", "9-16")], b"with PUT");
    world.get(&format!("/v2/a/blobs/{wrong}")).refused(404, "BLOB_UNKNOWN");
    assert_eq!(blobs(&world.root()), 0);
}

#[test]
fn the_last_chunk_may_come_with_the_digest_and_has_to_fit_as_well() {
    let world = World::new();
    let content = b"first and last";
    let digest = Digest::of(content);
    let location = chunk(&world, &world.begin("a"), 0, &content[..6]);
    let target = format!("{location}?digest={digest}");
    let reply = world.ask("PUT", &target, &[("Content-Range", "7-13")], &content[7..]);
    reply.refused(416, "BLOB_UPLOAD_INVALID");
    assert_eq!(reply.header("range"), "0-5");
    let reply = world.ask("PUT", &target, &[("Content-Range", "6-13")], &content[6..]);
    assert_eq!((reply.status, reply.header("location")), (201, &*format!("/v2/a/blobs/{digest}")));
    assert_eq!(world.get(reply.header("location")).body, content);
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() })
}

#[test]
fn artifacts_without_layers_and_indexes_of_indexes() {
    let world = World::new();
    world.push("a", b"{}");
    let mut artifact = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "application/vnd.example",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"), "layers": [],
    });
    artifact["config"]["data"] = json!("e30=");
    let artifact = artifact.to_string();
    assert_eq!(world.put("a", "artifact", media_type::OCI_MANIFEST, artifact.as_bytes()).status, 201);
    let image = world.image("a", "image", "layer");
    let index = |entries: &[Value]| {
        let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": entries });
        index.to_string().into_bytes()
    };
    let inner = index(&[
        descriptor(media_type::OCI_MANIFEST, artifact.as_bytes()),
        descriptor(media_type::OCI_MANIFEST, &image),
    ]);
    let outer = index(&[descriptor(media_type::OCI_INDEX, &inner)]);
    world.put("a", "outer", media_type::OCI_INDEX, &outer).refused(404, "MANIFEST_BLOB_UNKNOWN");
    let inner_digest = Digest::of(&inner).to_string();
    for (reference, bytes) in [(&*inner_digest, &inner), ("outer", &outer)] {
        assert_eq!(world.put("a", reference, media_type::OCI_INDEX, bytes).status, 201, "{reference}");
        assert_eq!(world.get(&format!("/v2/a/manifests/{reference}")).body, *bytes);
    }
    // What it lists stays when an index goes.
    let outer = format!("/v2/a/manifests/{}", Digest::of(&outer));
    assert_eq!(world.ask("DELETE", &outer, &[], b"").status, 202);
    world.get(&outer).refused(404, "MANIFEST_UNKNOWN");
    world.get("/v2/a/manifests/outer").refused(404, "MANIFEST_UNKNOWN");
    assert_eq!(world.get(&format!("/v2/a/manifests/{inner_digest}")).status, 200);
}

#[test]
fn who_runs_the_registry_hears_why_and_clients_hear_no_paths() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    let world = World::with(|options| {
        options.observer = Some(Arc::new(move |exchange| {
            ear.lock().expect("no panic").extend(exchange.trouble.clone());
        }));
    });
    world.image("a", "1", "x");
    assert_eq!(world.get("/v2/a/manifests/2").status, 404);
    assert!(heard.lock().expect("no panic").is_empty(), "a client's mistake is no trouble");
    let record = world.root().join("repositories/a/_tags/1");
    fs_err::write(&record, "nonsense").expect("writable");
    let reply = world.get("/v2/a/manifests/1");
    assert_eq!(reply.status, 500);
    let shown = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(!shown.contains("_tags"), "{shown}");
    let heard = heard.lock().expect("no panic");
    let named = record.canonicalize().expect("there").display().to_string();
    assert!(matches!(&heard[..], [one] if one.contains(&named)), "{heard:?}");
}
