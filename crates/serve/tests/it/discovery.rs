//! Category "Content Discovery".

use crate::world::World;
use serde_json::{Value, json};
use strata_oci::{Digest, media_type};

#[test]
fn tags_in_pages() {
    let world = World::new();
    let manifest = world.image("a", "1.0", "x");
    for tag in ["latest", "1.10", "A", "b", "_"] {
        assert_eq!(world.put("a", tag, media_type::OCI_MANIFEST, &manifest).status, 201);
    }
    let reply = world.get("/v2/a/tags/list");
    assert_eq!(reply.json(), json!({ "name": "a", "tags": ["1.0", "1.10", "A", "_", "b", "latest"] }));
    assert_eq!(reply.find("link"), None);

    let (mut target, mut seen, mut pages) = ("/v2/a/tags/list?n=4".to_owned(), Vec::new(), 0);
    loop {
        let reply = world.get(&target);
        seen.extend(reply.json()["tags"].as_array().expect("a list").clone());
        pages += 1;
        match reply.find("link") {
            None => break,
            Some(link) => {
                let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
                target = next.expect("RFC 5988").to_owned();
            }
        }
    }
    assert_eq!((pages, seen.len()), (2, 6));
    let tags = |query: &str| world.get(&format!("/v2/a/tags/list{query}")).json()["tags"].clone();
    assert_eq!(tags("?last=A"), json!(["_", "b", "latest"]));
    assert_eq!(tags("?n=2&last=1.10"), json!(["A", "_"]));
    assert_eq!(tags("?last=1.05"), json!(["1.10", "A", "_", "b", "latest"]), "last need not exist");
    assert_eq!(tags("?n=99"), tags(""));
    let none = world.get("/v2/a/tags/list?n=0");
    assert_eq!((none.json()["tags"].clone(), none.find("link")), (json!([]), None));
    for bad in ["-1", "x", "99999999999999999999999"] {
        world.get(&format!("/v2/a/tags/list?n={bad}")).refused(400, "UNSUPPORTED");
    }
    world.get("/v2/nowhere/tags/list").refused(404, "NAME_UNKNOWN");
    world.push("blobs/only", b"x");
    assert_eq!(world.get("/v2/blobs/only/tags/list").json()["tags"], json!([]));
}

#[test]
fn the_catalog_in_pages() {
    let world = World::new();
    assert_eq!(world.get("/v2/_catalog").json(), json!({ "repositories": [] }));
    for name in ["b", "a", "a/b/c", "a-b"] {
        world.push(name, b"x");
    }
    assert_eq!(world.get("/v2/_catalog").json()["repositories"], json!(["a", "a-b", "a/b/c", "b"]));
    let reply = world.get("/v2/_catalog?n=2&last=a-b");
    assert_eq!(reply.json()["repositories"], json!(["a/b/c", "b"]));
    let reply = world.get("/v2/_catalog?n=3");
    assert_eq!(reply.header("link"), "</v2/_catalog?last=a%2Fb%2Fc&n=3>; rel=\"next\"");
}

/// A manifest about another one.
pub(crate) fn about(world: &World, subject: &Digest, kind: Option<&str>, content: &str) -> (Digest, Value) {
    let mut manifest = world.manifest("a", content);
    manifest["subject"] = json!({ "mediaType": media_type::OCI_MANIFEST, "digest": subject, "size": 5 });
    manifest["annotations"] = json!({ "of": content });
    if let Some(kind) = kind {
        manifest["artifactType"] = json!(kind);
    }
    let bytes = manifest.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    let reply = world.put("a", &digest.to_string(), media_type::OCI_MANIFEST, &bytes);
    assert_eq!((reply.status, reply.header("oci-subject")), (201, &*subject.to_string()));
    let descriptor = json!({
        "mediaType": media_type::OCI_MANIFEST, "digest": digest, "size": bytes.len(),
        "artifactType": kind.unwrap_or(media_type::OCI_CONFIG), "annotations": { "of": content },
    });
    (digest, descriptor)
}

#[test]
fn referrers_of_manifests_here_and_to_come() {
    let world = World::new();
    // The subject need not be there.
    let subject = Digest::of(b"to come");
    let target = format!("/v2/a/referrers/{subject}");
    let list = |target: &str| {
        let reply = world.get(target);
        assert_eq!((reply.status, reply.header("content-type")), (200, media_type::OCI_INDEX));
        assert_eq!(reply.json()["schemaVersion"], 2);
        let mut list = reply.json()["manifests"].as_array().expect("a list").clone();
        list.sort_by_key(|entry| entry["annotations"]["of"].to_string());
        (list, reply.find("oci-filters-applied").map(str::to_owned))
    };
    assert_eq!(list(&target), (Vec::new(), None), "nothing is no error");
    let (sbom, first) = about(&world, &subject, Some("application/vnd.example+json"), "1");
    let (_, second) = about(&world, &subject, None, "2");
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [],
        "subject": { "mediaType": media_type::OCI_MANIFEST, "digest": subject, "size": 5 },
    });
    let reply = world.put("a", "sigs", media_type::OCI_INDEX, index.to_string().as_bytes());
    assert_eq!(reply.header("oci-subject"), subject.to_string());
    let (all, filtered) = list(&target);
    assert_eq!((all.len(), filtered), (3, None));
    assert_eq!(all[..2], [first.clone(), second]);
    assert_eq!(all[2].get("artifactType"), None, "an index without one has none");

    for filter in ["application/vnd.example%2Bjson", "application/vnd.example+json"] {
        let found = list(&format!("{target}?artifactType={filter}"));
        assert_eq!(found, (vec![first.clone()], Some("artifactType".to_owned())));
    }
    assert_eq!(list(&format!("{target}?artifactType=none")).0, Vec::<Value>::new());
    world.get("/v2/a/referrers/sha256:1").refused(400, "DIGEST_INVALID");
    assert_eq!(list(&target.replace("/a/", "/other/")).0, Vec::<Value>::new());

    assert_eq!(world.ask("DELETE", &format!("/v2/a/manifests/{sbom}"), &[], b"").status, 202);
    assert_eq!(list(&target).0.len(), 2);
}
