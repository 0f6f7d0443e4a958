use super::*;

fn parse(given: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Settings, Error> {
    let given = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Settings::parse(&given, &Environment(&|name| variables.get(name).map(|value| (*value).to_owned())))
}

const KEY: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hidden")];

/// That are written down somewhere.
fn credentials(settings: &Settings) -> crate::s3::Credentials {
    let bucket = crate::s3::Bucket::new(settings.clone(), crate::s3::Options::default()).unwrap();
    (*bucket.credentials().unwrap()).clone()
}

fn refused(given: &[(&str, &str)]) -> String {
    parse(given, &KEY).expect_err("refused").to_string()
}

#[test]
fn what_is_not_given_has_buildkits_defaults() {
    let settings = parse(&[("bucket", "b"), ("region", "eu-west-1")], &KEY).unwrap();
    assert_eq!(settings.endpoint.as_str(), "https://s3.eu-west-1.amazonaws.com/");
    assert_eq!(settings.manifest_key(&settings.names[0]), "manifests/buildkit");
    assert_eq!(settings.blob_key(&"sha256:12"), "blobs/sha256:12");
    assert_eq!(settings.touch_refresh, Duration::from_secs(24 * 60 * 60));
    assert_eq!(settings.upload_parallelism.get(), 4);
    assert!(!settings.path_style);
    assert_eq!(settings.provider.to_string(), "the environment");
    assert!(!format!("{settings:?}").contains("hidden"));
}

#[test]
fn every_key_says_something() {
    let given = [
        ("bucket", "b"),
        ("region", "r"),
        ("prefix", "p/"),
        ("blobs_prefix", "l/"),
        ("manifests_prefix", ""),
        ("name", "main;v1.2"),
        ("endpoint_url", "http://storage:9000/s3"),
        ("use_path_style", "true"),
        ("access_key_id", "AKIX"),
        ("secret_access_key", "hidden"),
        ("session_token", "also hidden"),
        ("touch_refresh", "1h30m"),
        ("upload_parallelism", "2"),
        ("retry_mode", "adaptive"),
        ("retry_max_attempts", "7"),
        ("disable_accept_encoding", "true"),
    ];
    assert_eq!(given.map(|(key, _)| key), KEYS);
    let settings = parse(&given, &[]).unwrap();
    assert_eq!(settings.names, ["main", "v1.2"]);
    assert_eq!((settings.manifest_key("main"), settings.blob_key(&"d")), ("p/main".into(), "p/l/d".into()));
    assert_eq!(settings.endpoint.as_str(), "http://storage:9000/s3");
    assert!(settings.path_style);
    assert_eq!((settings.touch_refresh.as_secs(), settings.upload_parallelism.get()), (5400, 2));
    assert_eq!(settings.tries, Some(7));
    assert_eq!(settings.provider.to_string(), "the cache's own options");
    let found = credentials(&settings);
    assert_eq!((found.access_key_id.as_str(), found.secret_access_key.reveal()), ("AKIX", "hidden"));
    assert_eq!(found.session_token.unwrap().reveal(), "also hidden");
    assert!(!format!("{settings:?}").contains("hidden"));
}

#[test]
fn what_means_nothing_is_refused_with_the_way_out() {
    assert_eq!(refused(&[("region", "r")]), "s3 cache: bucket is missing: add bucket=... or set AWS_BUCKET");
    assert_eq!(refused(&[("bucket", "b")]), "s3 cache: region is missing: add region=... or set AWS_REGION");
    let typing = refused(&[("bucket", "b"), ("region", "r"), ("end_point", "x")]);
    assert!(
        typing.starts_with("s3 cache: unknown key \"end_point\": it has bucket, region, prefix"),
        "{typing}"
    );
    for (key, value, why) in [
        ("upload_parallelism", "0", "not a positive integer"),
        ("retry_max_attempts", "-1", "not a positive integer"),
        ("retry_mode", "wild", "neither standard nor adaptive"),
        ("use_path_style", "yes", "neither true nor false"),
        ("touch_refresh", "-1h", "not a duration such as 24h"),
        ("touch_refresh", "a day", "not a duration such as 24h"),
        ("endpoint_url", "storage:9000", "it looks like https://s3.example.com"),
        ("endpoint_url", "not a url", "it looks like https://s3.example.com"),
        ("region", "Europe!", "it looks like eu-central-1"),
        ("name", "a;;b", "a name between semicolons is empty"),
        ("name", "../../other", "no URL can name it"),
        ("prefix", "a/./", "no URL can name it"),
    ] {
        let mut given: BTreeMap<_, _> = [("bucket", "b"), ("region", "r")].into();
        if key == "use_path_style" {
            given.insert("endpoint_url", "http://h");
        }
        given.insert(key, value);
        let given: Vec<_> = given.into_iter().collect();
        let said = refused(&given);
        assert!(said.contains(why) && said.starts_with("s3 cache: invalid "), "{key}={value}: {said}");
    }
    let secret = refused(&[("bucket", "b"), ("region", "r"), ("endpoint_url", "ftp://u:hidden@h")]);
    assert!(secret.contains("ftp://h") && !secret.contains("hidden"), "{secret}");
}

#[test]
fn where_a_buckets_name_cannot_be_a_hosts() {
    let style = |bucket, endpoint| {
        let given = [("bucket", bucket), ("region", "r"), ("endpoint_url", endpoint)];
        parse(&given, &KEY).unwrap().path_style
    };
    assert!(!style("cache", "https://storage.example"));
    assert!(style("cache", "http://127.0.0.1:9000"));
    assert!(style("cache", "http://[::1]:9000"));
    assert!(style("my.cache", "https://storage.example"));
    assert!(style("Cache", "https://storage.example"));
}

#[test]
fn credentials_come_from_options_then_variables_then_files() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().to_str().unwrap().to_owned();
    fs_err::create_dir(home.path().join(".aws")).unwrap();
    let write = |name: &str, text: &str| fs_err::write(home.path().join(".aws").join(name), text).unwrap();
    write(
        "credentials",
        "[default]\naws_access_key_id=D\naws_secret_access_key=hidden\n[half]\naws_access_key_id=H\n",
    );
    write(
        "config",
        "[profile build]\nregion=eu-south-2\naws_access_key_id=B\naws_secret_access_key=hidden\naws_session_token=t\n\
         [profile person]\nsso_session=x\nregion=r\n[default]\nregion=us-west-2\n",
    );
    let with = |more: &[(&'static str, &'static str)]| {
        let mut variables = vec![("HOME", path.as_str())];
        variables.extend(more);
        parse(&[("bucket", "b")], &variables)
    };
    let default = with(&[]).unwrap();
    assert_eq!((credentials(&default).access_key_id.as_str(), default.region.as_str()), ("D", "us-west-2"));
    assert_eq!(default.provider.to_string(), format!("profile \"default\" of {path}/.aws/credentials"));
    let build = with(&[("AWS_PROFILE", "build")]).unwrap();
    assert_eq!((credentials(&build).access_key_id.as_str(), build.region.as_str()), ("B", "eu-south-2"));
    assert_eq!(credentials(&build).session_token.unwrap().reveal(), "t");
    assert_eq!(credentials(&with(&KEY).unwrap()).access_key_id, "AKIA");

    let region = ("AWS_REGION", "r");
    let said = with(&[("AWS_PROFILE", "person")]).unwrap_err().to_string();
    assert!(said.contains("sso_session of profile \"person\" is not supported"), "{said}");
    let said = with(&[("AWS_PROFILE", "half"), region]).unwrap_err().to_string();
    assert!(said.contains("aws_access_key_id is set, but aws_secret_access_key is not"), "{said}");
    let said = with(&[("AWS_PROFILE", "gone"), region]).unwrap_err().to_string();
    assert!(said.contains("\"gone\", and there is no such profile in"), "{said}");
    let said = with(&[("AWS_SECRET_ACCESS_KEY", "hidden"), region]).unwrap_err().to_string();
    assert!(said.contains("AWS_SECRET_ACCESS_KEY is set, but AWS_ACCESS_KEY_ID is not"), "{said}");
}

#[test]
fn endpoints_come_from_options_then_variables_then_the_profile() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    fs_err::write(&config, "[default]\nendpoint_url = http://profile\nregion = r\n").unwrap();
    let with = |given: &[(&str, &str)], more: &[(&'static str, &'static str)]| {
        let mut variables = [&KEY[..], more].concat();
        variables.push(("AWS_CONFIG_FILE", config.to_str().unwrap()));
        parse(&[&[("bucket", "b")], given].concat(), &variables).unwrap().endpoint.to_string()
    };
    let all = [("AWS_ENDPOINT_URL", "http://all"), ("AWS_ENDPOINT_URL_S3", "http://s3")];
    assert_eq!(with(&[("endpoint_url", "http://own")], &all), "http://own/");
    assert_eq!(with(&[], &all), "http://s3/");
    assert_eq!(with(&[], &all[..1]), "http://all/");
    assert_eq!(with(&[], &[]), "http://profile/");
    let ignored = ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    assert_eq!(with(&[], &[all[0], ignored]), "https://s3.r.amazonaws.com/");
}
