use crate::{ImageConfig, Raw};
use serde_json::{Value, json};

/// As Docker writes it: fields of its own at every level, `null` for absent lists.
const DOCKER: &str = r#"{"architecture":"arm64","variant":"v8","os":"linux","os.version":"1","author":"me",
"config":{"Hostname":"","User":"www","ExposedPorts":{"80/tcp":{}},"Env":["A=b","C=d=e"],"Cmd":null,"Volumes":null,
"WorkingDir":"/w","Entrypoint":["/e","x"],"OnBuild":null,"Labels":{"k":"v"},"StopSignal":"SIGQUIT","ArgsEscaped":true,
"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":2},"Shell":["/bin/bash","-c"]},
"created":"2024-01-02T03:04:05.123456789Z","docker_version":"20.10","history":[
{"created":"2024-01-02T03:04:05Z","created_by":"/bin/sh -c #(nop) ADD file:1 in / "},
{"created":"2024-01-02T03:04:06Z","created_by":"CMD [\"sh\"]","comment":"buildkit.dockerfile.v0","empty_layer":true}],
"rootfs":{"type":"layers","diff_ids":["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]}}"#;

fn read(text: &str) -> ImageConfig {
    serde_json::from_str(text).expect("a config")
}

#[test]
fn what_docker_writes_is_read() {
    let image = read(DOCKER);
    assert_eq!(image.platform.to_string(), "linux/arm64/v8");
    assert_eq!(image.author.as_deref(), Some("me"));
    assert_eq!(image.created.expect("created").to_string(), "2024-01-02T03:04:05.123456789Z");
    assert_eq!(image.config.env, ["A=b", "C=d=e"]);
    assert_eq!(image.config.cmd, None);
    assert!(image.config.volumes.is_empty() && image.config.on_build.is_empty());
    assert_eq!(image.config.entrypoint.as_deref(), Some(&["/e".to_owned(), "x".to_owned()][..]));
    assert!(image.config.args_escaped && image.config.exposed_ports.contains_key("80/tcp"));
    let check = image.config.healthcheck.as_ref().expect("healthcheck");
    assert_eq!((check.interval, check.retries, check.timeout), (5_000_000_000, 2, 0));
    assert_eq!(image.history.len(), 2);
    assert!(!image.history[0].empty_layer && image.history[1].empty_layer);
    assert_eq!(image.rootfs.diff_ids[0].short(), "0123456789ab");
}

#[test]
fn unknown_fields_survive_writing() {
    let written = serde_json::to_value(read(DOCKER)).expect("JSON");
    assert_eq!(written["docker_version"], "20.10");
    assert_eq!(written["os.version"], "1");
    assert_eq!(written["config"]["Hostname"], "");
    assert_eq!(written["config"]["Labels"], json!({"k": "v"}));
    // Absent and null are the same; what is left is what was there.
    let mut original: Value = serde_json::from_str(DOCKER).expect("JSON");
    for key in ["Cmd", "Volumes", "OnBuild"] {
        original["config"].as_object_mut().expect("object").remove(key);
    }
    assert_eq!(written, original);
}

#[test]
fn null_lists_at_the_top_are_empty() {
    let image = read(
        r#"{"architecture":"amd64","os":"linux","history":null,"rootfs":{"type":"layers","diff_ids":null}}"#,
    );
    assert!(image.history.is_empty() && image.rootfs.diff_ids.is_empty());
    assert_eq!(image.config, crate::RuntimeConfig::default());
}

#[test]
fn raw_keeps_bytes_and_digest_whatever_their_layout() {
    let odd = DOCKER.replace(',', " ,\n\t").into_bytes();
    let raw: Raw<ImageConfig> = Raw::parse(odd.clone()).expect("a config");
    assert_eq!(raw.bytes(), odd);
    assert_eq!(*raw.digest(), crate::Digest::of(&odd));
    assert_eq!(*raw.value(), read(DOCKER));
    let again = Raw::new(raw.value().clone());
    assert_ne!(again.digest(), raw.digest(), "another document of the same meaning has another name");
    assert_eq!(Raw::<ImageConfig>::parse(again.bytes().to_vec()).expect("own JSON").value(), raw.value());
}

#[test]
fn a_broken_config_is_an_error() {
    for bad in ["", "{}", "[]", r#"{"rootfs":{"type":"layers","diff_ids":["sha256:12"]}}"#, r#"{"rootfs":1}"#]
    {
        assert!(Raw::<ImageConfig>::parse(bad.as_bytes().to_vec()).is_err(), "{bad}");
    }
}
