//! A registry that is open to everybody.
use crate::images::{Image, client, fetch, noise, send};
use std::io::Read as _;
use std::process::Command;
use strata_oci::{Digest, Index, Raw, Reference, media_type};
use strata_registry::{Error, Kind, Mount, Registries, Repository, Target};
use strata_testbed::{Registry, Setup};

fn reference(registry: &Registry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host()).parse().unwrap()
}

#[test]
fn an_image_goes_there_and_comes_back() {
    let Some(registry) = Registry::start() else { return };
    let (registries, image) = (client(), Image::new("a"));
    let repository = Repository::new(registry.host(), "team/app");
    let put = image.push(&registries, &repository, "1.0").unwrap();
    assert_eq!(put.digest, *image.manifest.digest());

    let found = registries.resolve(&reference(&registry, "team/app:1.0")).unwrap();
    assert_eq!(found.bytes, image.manifest.bytes());
    assert_eq!((found.kind, found.digest), (Kind::Manifest, put.digest));
    let by_digest = registries.resolve(&reference(&registry, &format!("team/app@{}", put.digest))).unwrap();
    assert_eq!(by_digest.bytes, found.bytes);
    let head = registries.head(&repository, &Target::Tag("1.0".to_owned())).unwrap();
    assert_eq!(head, found.descriptor());

    let layer = &image.manifest.value().layers[0];
    assert_eq!(fetch(&registries, &repository, &layer.digest, image.layer.len()).unwrap(), image.layer);
    let mut rest = Vec::new();
    registries.blob(&repository, &layer.digest, layer.size, 1000).unwrap().read_to_end(&mut rest).unwrap();
    assert_eq!(rest, image.layer[1000..]);
    let mut nothing = Vec::new();
    registries
        .blob(&repository, &layer.digest, layer.size, layer.size)
        .unwrap()
        .read_to_end(&mut nothing)
        .unwrap();
    assert!(nothing.is_empty());
}

#[test]
fn what_is_not_there_is_named() {
    let Some(registry) = Registry::start() else { return };
    let registries = client();
    let host = registry.host();
    let repository = Repository::new(&host, "team/app");
    Image::new("a").push(&registries, &repository, "1.0").unwrap();
    for rest in ["nosuch:latest", "team/app:2.0"] {
        let error = registries.resolve(&reference(&registry, rest)).unwrap_err();
        assert!(error.is_not_found());
        let want = format!("failed to resolve reference \"{host}/{rest}\": {host}/{rest}: not found");
        assert_eq!(error.to_string(), want);
        assert!(registries.head(&repository, &Target::Tag("2.0".to_owned())).unwrap_err().is_not_found());
    }
    let other = Digest::of(b"other");
    let error = registries.blob(&repository, &other, 5, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("blob {other} is not in {host}/team/app; the image there is incomplete: push it again")
    );
    assert!(!registries.blob_exists(&repository, &other).unwrap());
    let error = registries.tags(&Repository::new(&host, "nosuch")).unwrap_err();
    assert!(matches!(error, Error::NameUnknown { .. }), "{error}");

    drop(registry);
    let error = client().resolve(&format!("{host}/a").parse().unwrap()).unwrap_err();
    assert!(
        matches!(error, Error::Unreachable { .. })
            && error.to_string().contains("check that the registry runs"),
        "{error}"
    );
}

#[test]
fn blobs_are_mounted_and_not_sent_twice() {
    let Some(registry) = Registry::start() else { return };
    let registries = client();
    let (from, to) = (Repository::new(registry.host(), "base"), Repository::new(registry.host(), "app"));
    let bytes = noise(1, 100_000);
    let digest = send(&registries, &from, &bytes).unwrap();
    assert!(
        registries.blob_exists(&from, &digest).unwrap() && !registries.blob_exists(&to, &digest).unwrap()
    );
    assert!(matches!(registries.mount(&to, &digest, "base").unwrap(), Mount::Mounted));
    assert!(registries.blob_exists(&to, &digest).unwrap());
    assert_eq!(fetch(&registries, &to, &digest, bytes.len()).unwrap(), bytes);

    // What cannot be mounted has an upload begun already.
    let other = noise(2, 5000);
    let digest = Digest::of(&other);
    let Mount::Refused(upload) = registries.mount(&to, &digest, "base").unwrap() else { panic!("mounted") };
    let mut source = move |offset: u64| Ok(std::io::Cursor::new(other[offset as usize..].to_vec()));
    upload.send(&digest, 5000, &mut source).unwrap();
    assert!(registries.blob_exists(&to, &digest).unwrap());
}

#[test]
fn tags_are_listed() {
    let Some(registry) = Registry::start() else { return };
    let (registries, image) = (client(), Image::new("a"));
    let repository = Repository::new(registry.host(), "many");
    image.push(&registries, &repository, "t0").unwrap();
    let mut want = vec!["t0".to_owned()];
    for number in 1..12 {
        let target = Target::Tag(format!("t{number}"));
        registries
            .put_manifest(&repository, &target, media_type::OCI_MANIFEST, image.manifest.bytes())
            .unwrap();
        want.push(target.to_string());
    }
    want.sort();
    let mut found = registries.tags(&repository).unwrap();
    found.sort();
    assert_eq!(found, want);
}

#[test]
fn deletion_where_it_is_allowed() {
    let (Some(open), Some(closed)) =
        (Registry::with(&Setup { delete: true, ..Setup::default() }), Registry::start())
    else {
        return;
    };
    let (registries, image) = (client(), Image::new("a"));
    let layer = image.manifest.value().layers[0].digest;
    let repository = Repository::new(open.host(), "a");
    let put = image.push(&registries, &repository, "t").unwrap();
    registries.delete_manifest(&repository, &put.digest.into()).unwrap();
    assert!(registries.manifest(&repository, &put.digest.into()).unwrap_err().is_not_found());
    assert!(registries.delete_manifest(&repository, &put.digest.into()).unwrap_err().is_not_found());
    registries.delete_blob(&repository, &layer).unwrap();
    assert!(!registries.blob_exists(&repository, &layer).unwrap());

    let repository = Repository::new(closed.host(), "a");
    let put = image.push(&registries, &repository, "t").unwrap();
    let error = registries.delete_manifest(&repository, &put.digest.into()).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn referrers_are_listed_in_a_tag_where_the_registry_does_not() {
    // docker-registry 2.8 knows no referrers.
    let Some(registry) = Registry::start() else { return };
    let (registries, image) = (client(), Image::new("a"));
    let repository = Repository::new(registry.host(), "signed");
    let subject = image.push(&registries, &repository, "t").unwrap().digest;
    assert_eq!(registries.referrers(&repository, &subject, None).unwrap(), []);

    let empty = b"{}";
    let config = send(&registries, &repository, empty).unwrap();
    let mut signatures = Vec::new();
    for kind in ["application/a", "application/b"] {
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"{kind}","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},"layers":[],"subject":{{"mediaType":"{}","digest":"{subject}","size":{}}},"annotations":{{"made":"here"}}}}"#,
            media_type::OCI_MANIFEST,
            media_type::OCI_MANIFEST,
            image.manifest.bytes().len()
        );
        let digest = Digest::of(text.as_bytes());
        let put = registries
            .put_manifest(&repository, &digest.into(), media_type::OCI_MANIFEST, text.as_bytes())
            .unwrap();
        assert!(put.listed);
        signatures.push(digest);
    }
    let all = registries.referrers(&repository, &subject, None).unwrap();
    assert_eq!(all.iter().map(|one| one.digest).collect::<Vec<_>>(), signatures);
    assert_eq!(all[0].annotations["made"], "here");
    let one = registries.referrers(&repository, &subject, Some("application/b")).unwrap();
    assert_eq!(one.iter().map(|one| one.digest).collect::<Vec<_>>(), signatures[1..]);
}

#[test]
fn skopeo_reads_what_we_send_and_we_read_what_it_sends() {
    let Some(registry) = Registry::start() else { return };
    let (registries, image) = (client(), Image::new("hello"));
    let ours = Repository::new(registry.host(), "ours");
    image.push(&registries, &ours, "t").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:t", directory.path().join("layout").display());
    let skopeo = |from: &str, to: &str, extra: &[&str]| {
        let run = Command::new("skopeo")
            .args(["copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .args(extra)
            .args([from, to])
            .output();
        let Ok(run) = run else {
            eprintln!("SKIP: no skopeo");
            return false;
        };
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        true
    };
    if !skopeo(&format!("docker://{ours}:t"), &layout, &[]) {
        return;
    }
    for (format, media_type) in [("oci", media_type::OCI_MANIFEST), ("v2s2", media_type::DOCKER_MANIFEST)] {
        let theirs = Repository::new(registry.host(), format);
        skopeo(&layout, &format!("docker://{theirs}:t"), &["--format", format]);
        let found = registries.manifest(&theirs, &Target::Tag("t".to_owned())).unwrap();
        assert_eq!((found.media_type.as_str(), found.kind), (media_type, Kind::Manifest));
        let manifest = Raw::<strata_oci::Manifest>::parse(found.bytes).unwrap();
        let config = &manifest.value().config;
        let bytes = fetch(&registries, &theirs, &config.digest, config.size as usize).unwrap();
        assert_eq!(Digest::of(&bytes), config.digest);
    }
}

#[test]
fn an_index_is_put_and_found() {
    let Some(registry) = Registry::start() else { return };
    let (registries, image) = (client(), Image::new("a"));
    let repository = Repository::new(registry.host(), "multi");
    let put = image.push(&registries, &repository, "amd64").unwrap();
    let index = Raw::new(Index {
        schema_version: 2,
        media_type: Some(media_type::OCI_INDEX.to_owned()),
        manifests: vec![strata_oci::Descriptor {
            platform: Some("linux/amd64".parse().unwrap()),
            ..registries.head(&repository, &put.digest.into()).unwrap()
        }],
        ..Index::default()
    });
    let target = Target::Tag("all".to_owned());
    registries.put_manifest(&repository, &target, media_type::OCI_INDEX, index.bytes()).unwrap();
    let found = registries.manifest(&repository, &target).unwrap();
    assert_eq!((found.kind, found.digest), (Kind::Index, *index.digest()));

    // One that refers to what is not there is refused, and the words are the registry's.
    let dangling = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2},"layers":[]}"#;
    let error =
        registries.put_manifest(&repository, &target, media_type::OCI_MANIFEST, dangling).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains("blob unknown"), "{error}");
}

#[test]
fn threads_share_a_client() {
    let Some(registry) = Registry::start() else { return };
    let registries: Registries = client();
    let repository = Repository::new(registry.host(), "parallel");
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (registries, repository) = (&registries, &repository);
            scope.spawn(move || {
                let bytes = noise(seed, 300_000);
                let digest = send(registries, repository, &bytes).unwrap();
                assert_eq!(fetch(registries, repository, &digest, bytes.len()).unwrap(), bytes);
            });
        }
    });
}
