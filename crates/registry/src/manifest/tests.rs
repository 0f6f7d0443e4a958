use super::*;

const CONFIG: &str = r#""config":{},"layers":[]"#;

fn judge(said: &str, body: &str) -> Result<Resolved, Error> {
    let repository = Repository::new("reg.example", "a");
    let target = Target::Tag("t".to_owned());
    check(
        Subject::Manifest(&repository, &target, Access::Pull),
        &target,
        None,
        said,
        body.as_bytes().to_vec(),
    )
}

#[test]
fn the_documents_own_type_goes_before_the_registrys() {
    let docker =
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{}\",{CONFIG}}}", media_type::DOCKER_MANIFEST);
    for said in [media_type::DOCKER_MANIFEST, "application/json", "", media_type::OCI_MANIFEST] {
        let found = judge(said, &docker).expect(said);
        assert_eq!((found.media_type.as_str(), found.kind), (media_type::DOCKER_MANIFEST, Kind::Manifest));
        assert_eq!(found.digest, Digest::of(docker.as_bytes()));
        assert_eq!(found.descriptor().size, docker.len() as u64);
    }
    let untyped = format!("{{\"schemaVersion\":2,{CONFIG}}}");
    assert_eq!(
        judge(media_type::DOCKER_MANIFEST, &untyped).expect("typed").media_type,
        media_type::DOCKER_MANIFEST
    );
    assert_eq!(judge("text/plain", &untyped).expect("shaped").media_type, media_type::OCI_MANIFEST);
    let index = judge("", r#"{"schemaVersion":2,"manifests":[]}"#).expect("shaped");
    assert_eq!((index.kind, index.media_type.as_str()), (Kind::Index, media_type::OCI_INDEX));
}

#[test]
fn what_is_no_manifest_is_refused() {
    for (said, body) in [
        ("", "not JSON"),
        ("", "[]"),
        ("", "{}"),
        (media_type::OCI_INDEX, r#"{"schemaVersion":2,"config":{},"layers":[]}"#),
        (media_type::OCI_MANIFEST, r#"{"schemaVersion":2,"config":{},"manifests":[]}"#),
        ("", r#"{"schemaVersion":2,"mediaType":"application/x","config":{}}"#),
    ] {
        let error = judge(said, body).expect_err(body);
        assert!(matches!(error, Error::Malformed { .. }), "{body}: {error}");
        assert!(
            error.to_string().starts_with("reg.example/a:t: not an image manifest or index: "),
            "{error}"
        );
    }
}

#[test]
fn schema_one_is_named() {
    for (said, body) in [
        (SCHEMA_ONE[1], r#"{"schemaVersion":1,"fsLayers":[]}"#),
        ("application/json", r#"{"schemaVersion":1,"fsLayers":[]}"#),
        ("", &format!(r#"{{"mediaType":"{}"}}"#, SCHEMA_ONE[0])),
    ] {
        assert!(matches!(judge(said, body), Err(Error::SchemaOne { .. })), "{body}");
    }
}

#[test]
fn digests_must_agree() {
    let body = format!("{{\"schemaVersion\":2,{CONFIG}}}").into_bytes();
    let repository = Repository::new("reg.example", "a");
    let (right, wrong) = (Digest::of(&body), Digest::of(b"other"));
    let judge = |target: Target, claimed| {
        check(Subject::Manifest(&repository, &target, Access::Pull), &target, claimed, "", body.clone())
    };
    assert!(judge(Target::Digest(right), Some(right)).is_ok());
    for (target, claimed) in [
        (Target::Digest(wrong), None),
        (Target::Tag("t".into()), Some(wrong)),
        (Target::Digest(right), Some(wrong)),
    ] {
        let error = judge(target, claimed).expect_err("they differ");
        assert!(
            matches!(error, Error::DigestMismatch { expected, found, .. } if expected == wrong && found == right)
        );
    }
}
