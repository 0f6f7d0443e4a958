use super::*;

/// What BuildKit 0.12 writes for two RUNs on busybox, shortened.
const BUILDKIT: &str = r#"{"layers":[
  {"blob":"sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1","parent":1},
  {"blob":"sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4","parent":-1}],
 "records":[
  {"digest":"sha256:0f343b0931126a20f133d67c2b018a3b5b5b7e1e8f9f4f0fd2f47d0e52b1ee92"},
  {"layers":[{"layer":0,"createdAt":"2023-02-01T10:00:00.123456789Z"}],
   "digest":"sha256:1f343b0931126a20f133d67c2b018a3b5b5b7e1e8f9f4f0fd2f47d0e52b1ee92",
   "inputs":[[{"selector":"sha256:2f343b0931126a20f133d67c2b018a3b5b5b7e1e8f9f4f0fd2f47d0e52b1ee92","link":0}]]}]}"#;

#[test]
fn buildkits_config_is_read_and_written() {
    let config = Config::parse(BUILDKIT.as_bytes()).expect("a config");
    assert_eq!(config.stack(0), [1, 0]);
    assert_eq!(config.records[1].inputs[0][0].link, 0);
    assert_eq!(Config::parse(&config.to_bytes()).expect("our own"), config);
    let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).expect("JSON");
    assert_eq!(value(&config.to_bytes()), value(BUILDKIT.as_bytes()));
}

#[test]
fn what_go_writes_for_nothing_is_nothing() {
    for text in ["{}", r#"{"layers":null,"records":null,"strata":null}"#] {
        assert_eq!(Config::parse(text.as_bytes()).expect(text), Config::default());
    }
    let later = r#"{"strata":{"version":2,"platform":"linux/amd64","new":{}},"unknown":1}"#;
    assert_eq!(Config::parse(later.as_bytes()).expect("a config").steps, None);
}

#[test]
fn indexes_lead_somewhere_and_nothing_loops() {
    let blob = Digest::of(b"");
    let layer = |parent: i64| format!(r#"{{"blob":"{blob}","parent":{parent}}}"#);
    let record = |link: usize| format!(r#"{{"digest":"{blob}","inputs":[[{{"link":{link}}}]]}}"#);
    let layers = |parents: &[i64]| {
        format!(r#"{{"layers":[{}]}}"#, parents.iter().map(|p| layer(*p)).collect::<Vec<_>>().join(","))
    };
    let records = |links: &[usize]| {
        format!(r#"{{"records":[{}]}}"#, links.iter().map(|l| record(*l)).collect::<Vec<_>>().join(","))
    };
    let steps = |text: &str| {
        format!(r#"{{"layers":[{}],"strata":{{"version":1,"platform":"a/b",{text}}}}}"#, layer(-1))
    };
    let at = r#""size":0,"created":"2023-01-01T00:00:00Z""#;
    for (text, why) in [
        (layers(&[1]), "layer 0 names layer 1"),
        (layers(&[-2]), "layer 0 names layer -2"),
        (layers(&[0]), "layer 0 stands on itself"),
        (layers(&[-1, 3, 1, 2]), "stands on itself"),
        (records(&[1]), "record 0 names record 1"),
        (records(&[0]), "record 0 stands on itself"),
        (records(&[1, 0]), "stands on itself"),
        (format!(r#"{{"records":[{{"digest":"{blob}","layers":[{{"layer":0}}]}}]}}"#), "names layer 0"),
        (format!(r#"{{"records":[{{"digest":"{blob}","chains":[{{"layers":[7]}}]}}]}}"#), "names layer 7"),
        (steps(&format!(r#""made":[{{"layer":1,{at}}}]"#)), "result 0 names layer 1"),
        (steps(&format!(r#""made":[{{"layer":0,"below":0,{at}}}]"#)), "names earlier result 0"),
        (
            steps(r#""steps":[{"record":0,"stage":"a","position":0,"instruction":"RUN","made":0}]"#),
            "step 0 names record 0",
        ),
        ("[]".to_owned(), "cannot be read"),
    ] {
        let error = Config::parse(text.as_bytes()).expect_err(&text).to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let long: Vec<i64> = (0..100_000).map(|index| index - 1).collect();
    let config = Config::parse(layers(&long).as_bytes()).expect("deep, but sound");
    assert_eq!(config.stack(99_999).len(), 100_000);
}

#[test]
fn a_descriptor_says_what_buildkit_wants_to_know() {
    let annotations = Annotations {
        media_type: media_type::OCI_LAYER_ZSTD.to_owned(),
        diff_id: Some(DiffId::new(Digest::of(b"tar"))),
        size: 7,
        created_at: Some("2023-02-01T10:00:00.5Z".parse().expect("a time")),
    };
    let layer = Layer { blob: Digest::of(b"blob"), parent: -1, annotations: Some(annotations) };
    let descriptor = layer.descriptor().expect("enough is known");
    assert_eq!((descriptor.size, &descriptor.digest), (7, &layer.blob));
    assert_eq!(descriptor.annotations[UNCOMPRESSED], Digest::of(b"tar").to_string());
    assert_eq!(descriptor.annotations[CREATED], "2023-02-01T10:00:00.5Z");
    assert_eq!(Layer { annotations: None, ..layer }.descriptor(), None);
}
