//! Images, names, lists, blobs.
use crate::support::{TestStore, config, reference};
use strata_oci::{Digest, ImageId};
use strata_store::{BlobKind, Origin, RemoteBlob, RemoveOptions, Resolved, StoreError, StoredManifest};

#[test]
fn names_are_looked_up_in_dockers_order() {
    let store = TestStore::new();
    let one = store.image(&["one"]);
    let two = store.image(&["two"]);
    store.images().tag(&reference("app:1"), &one).unwrap();
    let images = store.images();
    for text in [
        "app:1",
        "docker.io/library/app:1",
        &one.to_string(),
        &one.hex(),
        &one.short(),
        &one.to_string()[..20],
    ] {
        assert_eq!(images.resolve(text).unwrap(), one, "{text}");
    }
    // A reference that is also the beginning of an ID wins.
    let prefix = one.short();
    images.tag(&reference(&prefix), &two).unwrap();
    assert_eq!(images.resolve(&prefix).unwrap(), two);
    assert_eq!(images.resolve(&format!("sha256:{prefix}")).unwrap(), one);

    let error = images.resolve("nosuch").unwrap_err();
    assert_eq!(error.to_string(), "No such image: nosuch");
    assert!(matches!(images.resolve(&"0".repeat(64)), Err(StoreError::NoSuchImage(_))));
    assert!(matches!(images.resolve("Nosuch:"), Err(StoreError::Reference { .. })));
}

#[test]
fn a_prefix_of_two_images_is_ambiguous() {
    let store = TestStore::new();
    let mut ids: Vec<String> = (0..17).map(|n| store.image(&[&n.to_string()]).hex()).collect();
    ids.sort();
    // Seventeen IDs share a first digit somewhere.
    let pair = ids.windows(2).find(|pair| pair[0][..1] == pair[1][..1]).unwrap();
    assert!(matches!(store.images().resolve(&pair[0][..1]), Err(StoreError::AmbiguousImage(_))));
    assert!(store.images().resolve(&pair[0][..12]).is_ok());
}

#[test]
fn a_tag_that_moves_leaves_the_old_image_dangling() {
    let store = TestStore::new();
    let (old, new) = (store.image(&["old"]), store.image(&["new"]));
    let tag = reference("app");
    assert_eq!(store.images().tag(&tag, &old).unwrap(), None);
    assert_eq!(store.images().tag(&tag, &new).unwrap(), Some(old));
    assert_eq!(store.images().tag(&tag, &new).unwrap(), None);
    let old = store.images().get(&old).unwrap().unwrap();
    let new = store.images().get(&new).unwrap().unwrap();
    assert!(old.is_dangling() && !new.is_dangling());
    assert!(old.last_tagged < new.last_tagged);
    assert_eq!(new.tags, std::slice::from_ref(&tag));
    let digest = reference(&format!("app@{}", Digest::of(b"x")));
    assert!(matches!(store.images().tag(&digest, &new.id), Err(StoreError::TagWithDigest(_))));
}

#[test]
fn sizes_are_sums_of_layers_and_shared_is_what_others_have() {
    let store = TestStore::new();
    let first = store.image(&["base", "12345678"]);
    let second = store.image(&["base", "xyz"]);
    let list = store.images().list().unwrap();
    let get = |id| list.iter().find(|image| image.id == id).unwrap();
    assert_eq!((get(first).size, get(first).shared_size), (12, 4));
    assert_eq!((get(second).size, get(second).shared_size), (7, 4));
    assert_eq!(get(first).layers.len(), 2);
    assert_eq!(get(first).layers[0], get(second).layers[0]);
}

#[test]
fn an_image_needs_its_layers() {
    let store = TestStore::new();
    let scratch = TestStore::new();
    let lease = scratch.leases().acquire().unwrap();
    let layer = scratch.layer(&lease, &[("a", b"b")], &[]).diff_id;
    let error = store.images().put(&config(&[layer], ""), None).unwrap_err();
    assert!(matches!(error, StoreError::MissingLayer(id) if id == layer), "{error}");
    assert_eq!(store.images().list().unwrap(), []);
}

#[test]
fn configs_keep_their_bytes() {
    let store = TestStore::new();
    let bytes =
        br#"{ "architecture":"amd64","os":"linux","odd":1,"rootfs":{"type":"layers","diff_ids":[]} }"#;
    let config = strata_oci::Raw::parse(bytes.to_vec()).unwrap();
    let id = store.images().put(&config, None).unwrap();
    assert_eq!(store.images().config(&id).unwrap().bytes(), bytes);
    assert_eq!(*id.digest(), Digest::of(bytes));
}

#[test]
fn pulled_by_digest_is_not_dangling() {
    let store = TestStore::new();
    let id = store.image(&["one"]);
    let digest = Digest::of(b"manifest");
    let repository = "docker.io/library/app".to_owned();
    store.images().remember_origin(&id, &Origin { repository, digest, manifest: digest }).unwrap();
    let image = store.images().get(&id).unwrap().unwrap();
    assert!(!image.is_dangling() && image.tags.is_empty());
    assert_eq!(image.repo_digests, [("docker.io/library/app".to_owned(), digest)]);
    assert_eq!(store.images().resolve(&format!("app@{digest}")).unwrap(), id);
}

#[test]
fn blobs_are_verified_while_they_are_written() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let digest = Digest::of(b"hello");
    let put = |expected: &Digest, limit| {
        store.blobs().put(&lease, BlobKind::Manifest, Some(expected), limit, &mut &b"hello"[..])
    };
    assert!(
        matches!(put(&Digest::of(b"other"), 5), Err(StoreError::DigestMismatch { actual, .. }) if actual == digest)
    );
    assert!(matches!(put(&digest, 4), Err(StoreError::TooLong { limit: 4, .. })));
    assert_eq!(store.blobs().list().unwrap(), []);
    assert_eq!(put(&digest, 5).unwrap().length, 5);
    assert_eq!(store.blobs().get(&digest).unwrap(), b"hello");
    fs_err::write(store.root().join("blobs/sha256").join(digest.hex()), b"jello").unwrap();
    assert!(matches!(store.blobs().get(&digest), Err(StoreError::DamagedBlob { .. })));
    assert!(store.fsck().unwrap().problems[0].to_string().contains(&digest.to_string()));
}

#[test]
fn what_repositories_hold_is_remembered() {
    let store = TestStore::new();
    let id = store.image(&["one"]);
    let layer = store.images().get(&id).unwrap().unwrap().layers[0];
    let remote = RemoteBlob {
        digest: Digest::of(b"compressed"),
        length: 10,
        media_type: "tar+gzip".to_owned(),
        repository: "docker.io/library/app".to_owned(),
    };
    store.blobs().remember_remote(&layer, &remote).unwrap();
    assert_eq!(store.blobs().remotes(&layer).unwrap(), [remote]);
}

/// `image prune` between storing and naming would take an image that somebody is just making.
#[test]
fn an_image_is_published_with_its_names_or_not_at_all() {
    let store = TestStore::new();
    let layers = store.images().get(&store.image(&["one"])).unwrap().unwrap().layers;
    let names = [reference("app:1"), reference("app:2")];
    let id = store.images().publish(&config(&layers, "one"), &names).unwrap();
    assert_eq!(store.images().get(&id).unwrap().unwrap().tags, names);

    let bad = "app@sha256:0000000000000000000000000000000000000000000000000000000000000000".parse().unwrap();
    let refused = config(&layers, "two");
    store.images().publish(&refused, &[reference("app:1"), bad]).unwrap_err();
    assert!(!store.images().contains(&strata_oci::ImageId::new(*refused.digest())).unwrap());
    assert_eq!(store.images().lookup(&reference("app:1")).unwrap(), Some(id), "the tag has not moved");
}

#[test]
fn an_image_keeps_the_manifest_it_came_with() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let put =
        |kind, bytes: &[u8]| store.blobs().put(&lease, kind, None, 100, &mut &bytes[..]).unwrap().digest;
    let (index, manifest) = (put(BlobKind::Manifest, b"index"), put(BlobKind::Manifest, b"manifest"));
    let layer = store.layer(&lease, &[("a", b"b")], &[]).diff_id;
    let origin = Origin { repository: "docker.io/library/app".to_owned(), digest: index, manifest };
    let config = crate::support::config(&[layer], "");
    let id = store.images().publish_from(&config, &[reference("app:1")], &origin).unwrap();
    drop(lease);
    store.gc();
    let stored = StoredManifest { digest: manifest, repository: origin.repository.clone() };
    assert_eq!(store.images().manifests(&id).unwrap(), [stored]);
    assert_eq!(store.images().lookup(&reference(&format!("app@{index}"))).unwrap(), Some(id));
    assert!(store.blobs().get(&manifest).is_ok() && store.blobs().get(&index).is_ok());
    store.images().remove("app:1", RemoveOptions::default()).unwrap();
    store.gc();
    assert!(store.blobs().list().unwrap().is_empty(), "they go with the image");
}

#[test]
fn an_answer_of_a_registry_is_remembered_with_its_documents() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let config = store.blobs().put(&lease, BlobKind::Config, None, 100, &mut &b"{}"[..]).unwrap().digest;
    let manifest = store.blobs().put(&lease, BlobKind::Manifest, None, 100, &mut &b"m"[..]).unwrap().digest;
    let resolved = Resolved { image: ImageId::new(config), manifest, digest: manifest };
    let (name, host) = (reference("base:1"), "linux/amd64".parse().unwrap());
    assert_eq!(store.images().resolved(&name, &host).unwrap(), None);
    store.images().remember_resolved(&name, &host, &resolved).unwrap();
    drop(lease);
    store.gc();
    assert_eq!(store.images().resolved(&name, &host).unwrap(), Some(resolved));
    assert_eq!(store.images().resolved(&name, &"linux/arm64".parse().unwrap()).unwrap(), None);
    store.images().forget_resolved().unwrap();
    store.gc();
    assert!(store.blobs().list().unwrap().is_empty());
}

#[test]
fn the_result_of_a_recipe_is_remembered_with_its_layer() {
    let store = TestStore::new();
    let lease = store.leases().acquire().unwrap();
    let layer = store.layer(&lease, &[("a", b"b")], &[]).diff_id;
    let digest = Digest::of(b"compressed");
    store.blobs().remember_compressed(&layer, "gzip-5.1", &digest, 10).unwrap();
    assert_eq!(store.blobs().compressed(&layer, "gzip-5.1").unwrap(), Some((digest, 10)));
    assert_eq!(store.blobs().compressed(&layer, "gzip-6.1").unwrap(), None);
    assert_eq!(store.blobs().recipe(&layer, &digest).unwrap().as_deref(), Some("gzip-5.1"));
    drop(lease);
    store.gc();
    assert_eq!(store.blobs().compressed(&layer, "gzip-5.1").unwrap(), None, "gone with the layer");
}
