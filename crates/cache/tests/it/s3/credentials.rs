//! Where credentials come from: every way of Amazon's kits, against the services themselves and against some that fail.
use super::{amazon, made};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};
use strata_cache::s3::Error;
use strata_testbed::{OBJECT_STORE_KEY, ObjectStore, Request, Server, answer};

fn instance(store: &ObjectStore) -> BTreeMap<&'static str, String> {
    [("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}/", store.host()))].into()
}

/// Variables beside which nothing of the tests' user is read, and no instance is asked.
fn variables<const N: usize>(
    home: &Path,
    more: [(&'static str, String); N],
) -> BTreeMap<&'static str, String> {
    let mut all: BTreeMap<_, _> =
        [("HOME", home.to_str().unwrap().to_owned()), ("AWS_EC2_METADATA_DISABLED", "true".to_owned())]
            .into();
    all.extend(more);
    all
}

/// That the keys these variables lead to open the bucket, and where they come from.
fn opens(store: &ObjectStore, variables: &BTreeMap<&str, String>) -> String {
    let (bucket, _) = made(&store.host(), &[], variables, 0).unwrap();
    bucket.put("who", b"me").unwrap();
    assert_eq!(bucket.get("who").unwrap().unwrap(), b"me");
    bucket.settings().provider.to_string()
}

fn refused(host: &str, variables: &BTreeMap<&str, String>) -> String {
    let outcome = made(host, &[], variables, 0).and_then(|(bucket, _)| bucket.credentials());
    outcome.unwrap_err().to_string()
}

#[test]
fn the_token_of_a_kubernetes_service_account_opens_a_role() {
    let (Some(store), home) = (amazon(), tempfile::tempdir().unwrap()) else { return };
    let token = home.path().join("token");
    fs_err::write(&token, "of-this-cluster\n").unwrap();
    let sts = format!("http://{}", store.host());
    let arn = "arn:aws:iam::123456789012:role/builder";
    let mut variables = variables(
        home.path(),
        [
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap().to_owned()),
            ("AWS_ROLE_ARN", arn.to_owned()),
            ("AWS_ROLE_SESSION_NAME", "nightly".to_owned()),
            ("AWS_ENDPOINT_URL_STS", sts.clone()),
        ],
    );
    let origin = opens(store, &variables);
    assert_eq!(origin, format!("role {arn} by the token in {}", token.display()));

    fs_err::write(&token, "of-another").unwrap();
    assert_eq!(
        refused(&store.host(), &variables),
        format!(
            "s3 cache: no credentials from {origin}: {sts} says InvalidIdentityToken: The token is not of this cluster \
             (status 400)"
        )
    );
    fs_err::write(&token, "\n").unwrap();
    assert!(refused(&store.host(), &variables).ends_with("token is empty"));
    variables.remove("AWS_ROLE_ARN");
    assert_eq!(
        refused(&store.host(), &variables),
        "s3 cache: the environment: AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not"
    );
}

#[test]
fn a_role_is_taken_with_another_profiles_keys() {
    let (Some(store), home) = (amazon(), tempfile::tempdir().unwrap()) else { return };
    let (id, secret) = OBJECT_STORE_KEY;
    let (keys, config) = (home.path().join("keys"), home.path().join("config"));
    fs_err::write(&keys, format!("[person]\naws_access_key_id={id}\naws_secret_access_key={secret}\n"))
        .unwrap();
    let token = home.path().join("token");
    fs_err::write(&token, "of-this-cluster").unwrap();
    let role = "role_arn = arn:aws:iam::123456789012:role/";
    fs_err::write(
        &config,
        format!(
            "[profile builder]\n{role}builder\nsource_profile = person\nexternal_id = x y&z\nduration_seconds = 900\n\
             [profile chained]\n{role}chained\nsource_profile = builder\nrole_session_name = a+b=c\n\
             [profile own]\n{role}own\nsource_profile = own\naws_access_key_id={id}\naws_secret_access_key={secret}\n\
             [profile cluster]\n{role}cluster\nweb_identity_token_file = {}\n\
             [profile machine]\n{role}machine\ncredential_source = Ec2InstanceMetadata\n\
             [profile liar]\n{role}liar\nsource_profile = wrong\n\
             [profile wrong]\naws_access_key_id={id}\naws_secret_access_key=not-the-secret\n\
             [profile program]\ncredential_process = printf '%s' '{{\"Version\":1,\"AccessKeyId\":\"{id}\",\
             \"SecretAccessKey\":\"{secret}\"}}'\n",
            token.display()
        ),
    )
    .unwrap();
    let files = |profile: &str| {
        let mut all = variables(
            home.path(),
            [
                ("AWS_SHARED_CREDENTIALS_FILE", keys.to_str().unwrap().to_owned()),
                ("AWS_CONFIG_FILE", config.to_str().unwrap().to_owned()),
                ("AWS_PROFILE", profile.to_owned()),
                ("AWS_ENDPOINT_URL", format!("http://{}", store.host())),
            ],
        );
        all.extend(instance(store));
        all
    };
    for profile in ["person", "builder", "chained", "own", "cluster", "machine", "program"] {
        let origin = opens(store, &files(profile));
        assert!(origin.contains(&format!("{profile:?}")), "{origin}");
    }
    let liar = refused(&store.host(), &files("liar"));
    assert!(liar.contains("SignatureDoesNotMatch: ") && !liar.contains("not-the-secret"), "{liar}");
    assert!(liar.ends_with("; check the keys the role is taken with"), "{liar}");

    // A clock that is wrong hinders neither the token service nor the store.
    let (bucket, _) = made(&store.host(), &[], &files("builder"), -86_400).unwrap();
    bucket.put("late", b"1").unwrap();
}

#[test]
fn an_instance_tells_its_role() {
    let Some(store) = amazon() else { return };
    let home = tempfile::tempdir().unwrap();
    let mut variables = variables(home.path(), []);
    variables.extend(instance(store));
    variables.insert("AWS_EC2_METADATA_DISABLED", "false".to_owned());
    assert_eq!(opens(store, &variables), format!("the instance's role at http://{}", store.host()));
}

#[test]
fn who_has_none_is_told_where_they_were_looked_for() {
    let home = tempfile::tempdir().unwrap();
    let mut variables = variables(home.path(), []);
    let path = home.path().display();
    let tried = format!(
        "s3 cache: no credentials; in this order there are none in access_key_id= and secret_access_key=; \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN; profile \"default\" of \
         {path}/.aws/credentials and {path}/.aws/config; AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and \
         AWS_CONTAINER_CREDENTIALS_FULL_URI; "
    );
    let said = refused("127.0.0.1:1", &variables);
    assert_eq!(said, format!("{tried}not the instance's metadata service (AWS_EC2_METADATA_DISABLED)"));
    // Nobody is there; somebody is, and has no role.
    variables.remove("AWS_EC2_METADATA_DISABLED");
    variables.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1".to_owned());
    let said = refused("127.0.0.1:1", &variables);
    assert!(said.starts_with(&format!("{tried}the instance's role at http://127.0.0.1:1 (")), "{said}");
    assert!(said.contains("cannot connect"), "{said}");
    let plain = Server::start(|request, out| {
        let found = request.method == "PUT";
        let _ = out.write_all(&answer(if found { 200 } else { 404 }, &[], if found { "token" } else { "" }));
    });
    variables.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT", plain.url(""));
    let said = refused("127.0.0.1:1", &variables);
    assert!(said.ends_with("says status 404; no role is attached to this instance)"), "{said}");
}

/// A service beside a container, whose keys hold for so many seconds, and are called by their number.
fn container(seconds: &'static [u64]) -> Server {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |request: &Request, out| {
        if request.header("authorization") != Some("let me in") {
            let _ =
                out.write_all(&answer(403, &[], "{\"code\":\"AccessDenied\",\"message\":\"who are you?\"}"));
            return;
        }
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let Some(left) = seconds.get(number) else {
            let _ = out.write_all(&answer(404, &[], ""));
            return;
        };
        let time = SystemTime::now() + Duration::from_secs(*left);
        let time = jiff::Timestamp::try_from(time).unwrap();
        let body = format!(
            "{{\"AccessKeyId\":\"K{number}\",\"SecretAccessKey\":\"hidden\",\"Token\":\"t\",\"Expiration\":\"{time}\"}}"
        );
        let _ = out.write_all(&answer(200, &[], body));
    })
}

#[test]
fn a_containers_keys_are_renewed_before_they_run_out() {
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    fs_err::write(&token, "let me in").unwrap();
    let store = Server::start(|_, out| {
        let _ = out.write_all(&answer(200, &[], "found"));
    });
    // Long enough; soon over; over.
    let keys = container(&[3600, 200, 3600]);
    let from = |url: String| {
        let file = token.to_str().unwrap().to_owned();
        variables(
            home.path(),
            [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file)],
        )
    };
    let (bucket, _) = made(&store.host(), &[], &from(keys.url("/keys")), 0).unwrap();
    bucket.get("a").unwrap();
    bucket.get("b").unwrap();
    assert_eq!(keys.seen().len(), 1, "they are kept");
    let shown =
        |at: usize| store.seen()[at].target.split("X-Amz-Credential=").nth(1).unwrap()[..2].to_owned();
    assert_eq!((shown(0), shown(1)), ("K0".to_owned(), "K0".to_owned()));

    let soon = container(&[200, 3600]);
    let (bucket, _) = made(&store.host(), &[], &from(soon.url("/keys")), 0).unwrap();
    for _ in 0..3 {
        bucket.get("c").unwrap();
    }
    assert_eq!((shown(2), shown(3), shown(4)), ("K0".to_owned(), "K1".to_owned(), "K1".to_owned()));
    assert_eq!(soon.seen().len(), 2);

    // Whoever gives them out is away for a moment: those that hold are used.
    let away = container(&[200]);
    let (bucket, _) = made(&store.host(), &[], &from(away.url("/keys")), 0).unwrap();
    bucket.get("d").unwrap();
    bucket.get("d").unwrap();
    bucket.get("d").unwrap();
    assert_eq!((shown(7), away.seen().len()), ("K0".to_owned(), 2));

    fs_err::write(&token, "wrong").unwrap();
    let said = refused(&store.host(), &from(keys.url("/keys?secret=1")));
    let place = keys.url("/keys");
    assert_eq!(
        said,
        format!(
            "s3 cache: no credentials from the container's credentials at {place}: {place} says AccessDenied: who are you? \
             (status 403)"
        )
    );
}

#[test]
fn keys_that_the_server_calls_expired_are_replaced_once() {
    let home = tempfile::tempdir().unwrap();
    let store = Server::start(|request, out| {
        let reply = match request.target.contains("K1") {
            true => answer(200, &[], "found"),
            false => answer(400, &[], "<Error><Code>ExpiredToken</Code></Error>"),
        };
        let _ = out.write_all(&reply);
    });
    let keys = container(&[3600, 3600, 3600]);
    let mut variables = variables(home.path(), [("AWS_CONTAINER_CREDENTIALS_FULL_URI", keys.url("/"))]);
    variables.insert("AWS_CONTAINER_AUTHORIZATION_TOKEN", "let me in".to_owned());
    let (bucket, _) = made(&store.host(), &[], &variables, 0).unwrap();
    assert_eq!(bucket.get("k").unwrap().unwrap(), b"found");
    // Those that are written down cannot be replaced.
    let (bucket, _) = super::client(&store.host(), &[]);
    let error = bucket.get("k").unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert!(
        error.to_string().contains("get new credentials: the session token from the cache's own options"),
        "{error}"
    );
}

#[test]
fn what_is_half_there_or_leads_in_circles_is_said() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    fs_err::write(
        &config,
        "[profile a]\nrole_arn=r\nsource_profile=b\n[profile b]\nrole_arn=r\nsource_profile=a\n\
         [profile role]\nrole_arn=r\n[profile none]\nrole_arn=r\nsource_profile=empty\n[profile empty]\nregion=x\n\
         [profile two]\nsource_profile=a\ncredential_source=Environment\n\
         [profile odd]\nrole_arn=r\ncredential_source=Magic\n\
         [profile key]\nrole_arn=r\ncredential_source=Environment\n\
         [profile finger]\nrole_arn=r\nsource_profile=finger\nmfa_serial=m\naws_access_key_id=A\naws_secret_access_key=s\n",
    )
    .unwrap();
    for (profile, why) in [
        ("a", "source_profile leads from \"a\" to \"b\" back to \"a\": one of them must have keys"),
        ("role", "role_arn is set, but source_profile, credential_source or web_identity_token_file is not"),
        ("none", "source_profile is \"empty\", and that profile has no credentials"),
        ("two", "source_profile and credential_source are set, and only one can be meant"),
        ("odd", "credential_source is \"Magic\": it can be Environment, EcsContainer or Ec2InstanceMetadata"),
        ("key", "credential_source is Environment, and there is nothing of it in the environment"),
        ("finger", "mfa_serial of profile \"finger\" is not supported"),
    ] {
        let path = config.to_str().unwrap().to_owned();
        let variables =
            variables(home.path(), [("AWS_CONFIG_FILE", path), ("AWS_PROFILE", profile.to_owned())]);
        let said = refused("127.0.0.1:1", &variables);
        assert!(said.contains(why), "{profile}: {said}");
    }
    let strange = variables(
        home.path(),
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://keys.example/a?secret=1".to_owned())],
    );
    assert_eq!(
        refused("127.0.0.1:1", &strange),
        "s3 cache: invalid AWS_CONTAINER_CREDENTIALS_FULL_URI=http://keys.example/a: without TLS only this machine and Amazon's \
         own services are asked"
    );
}
