use crate::{Index, Manifest, Raw, media_type};

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn manifests_round_trip() {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"sha256:{HEX}","size":7}},"layers":[{{"mediaType":"{}","digest":"sha256:{HEX}","size":9,"annotations":{{"a":"b"}}}}],"annotations":{{"x":"y"}}}}"#,
        media_type::OCI_MANIFEST,
        media_type::OCI_CONFIG,
        media_type::OCI_LAYER_GZIP
    );
    let raw: Raw<Manifest> = Raw::parse(text.clone().into_bytes()).expect("a manifest");
    assert_eq!(raw.value().layers[0].size, 9);
    assert_eq!(raw.value().config.digest.hex(), HEX);
    assert_eq!(String::from_utf8_lossy(Raw::new(raw.value().clone()).bytes()), text);
}

#[test]
fn indexes_name_platforms() {
    let text = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"sha256:{HEX}","size":7,"platform":{{"architecture":"arm","os":"linux","variant":"v7"}}}}]}}"#,
        media_type::DOCKER_MANIFEST
    );
    let index: Index = serde_json::from_str(&text).expect("an index");
    assert_eq!(index.manifests[0].platform.as_ref().expect("platform").to_string(), "linux/arm/v7");
    assert_eq!(serde_json::to_string(&index).expect("JSON"), text);
}

#[test]
fn a_size_that_is_negative_or_missing_is_an_error() {
    for size in [r#","size":-1"#, ""] {
        let text = format!(r#"{{"mediaType":"x","digest":"sha256:{HEX}"{size}}}"#);
        assert!(serde_json::from_str::<crate::Descriptor>(&text).is_err(), "{text}");
    }
}
