//! Registries that lie, and networks that break: while reading.
use crate::images::{Image, Impatient, client, config, fetch, noise, send};
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use strata_oci::{Digest, Reference, media_type};
use strata_registry::{Config, Credential, Credentials, Error, Registries, Repository};
use strata_testbed::{Fault, Registry, Server, Wire, answer};

fn patient() -> (Registries, Arc<Impatient>) {
    let (config, clock) = config();
    (Registries::new(config), clock)
}

fn reference(host: &str) -> Reference {
    format!("{host}/a:t").parse().unwrap()
}

/// A registry with one blob, and what is in it.
fn with_blob(length: usize) -> Option<(Registry, Digest, Vec<u8>)> {
    let registry = Registry::start()?;
    let bytes = noise(7, length);
    let digest = send(&client(), &Repository::new(registry.host(), "a"), &bytes).unwrap();
    Some((registry, digest, bytes))
}

#[test]
fn cuts_cost_only_what_was_lost() {
    let Some((registry, digest, bytes)) = with_blob(3_000_000) else { return };
    // Some cuts come at once, some after megabytes.
    let cuts = [0, 1, 700_000, 65_536, 12_345, 0, 1_500_000];
    let wire = Wire::to(&registry.host(), move |request, _| {
        static CUT: AtomicUsize = AtomicUsize::new(0);
        if !request.target.contains("/blobs/") {
            return Fault::Pass;
        }
        cuts.get(CUT.fetch_add(1, Ordering::SeqCst)).map_or(Fault::Pass, |bytes| Fault::CutAnswer(*bytes))
    });
    let repository = Repository::new(wire.host(), "a");
    assert_eq!(fetch(&client(), &repository, &digest, bytes.len()).unwrap(), bytes);
    let gets: Vec<_> = wire.log().into_iter().filter(|one| one.request.target.contains("/blobs/")).collect();
    assert_eq!(gets.len(), cuts.len() + 1);
    let received: u64 = gets.iter().map(|one| one.received).sum();
    // A break may lose what was on its way, not what had arrived.
    assert!(received < bytes.len() as u64 + 1_000_000, "{received} bytes for {}", bytes.len());
    assert_eq!(gets[3].request.header("range"), Some("bytes=700001-"), "after 0 + 1 + 700,000 bytes");
}

#[test]
fn a_network_without_end_of_cuts_is_given_up() {
    let Some((registry, digest, bytes)) = with_blob(100_000) else { return };
    let wire = Wire::to(&registry.host(), |request, before| {
        if request.target.contains("/blobs/") && before > 0 { Fault::CutAnswer(0) } else { Fault::Pass }
    });
    let (registries, clock) = patient();
    let error = fetch(&registries, &Repository::new(wire.host(), "a"), &digest, bytes.len()).unwrap_err();
    assert!(matches!(error, Error::Broken { tries: 5, .. }), "{error}");
    let pauses = clock.pauses();
    assert_eq!(pauses.len(), 4);
    for (pause, most) in pauses.iter().zip([500, 1000, 2000, 4000]) {
        let most = Duration::from_millis(most);
        assert!(*pause >= most / 2 && *pause <= most, "{pauses:?}");
    }
}

#[test]
fn registries_that_cannot_do_ranges() {
    let Some((registry, digest, bytes)) = with_blob(500_000) else { return };
    let (real, copy) = (registry.host(), bytes.clone());
    for status in [200, 416] {
        let whole = copy.clone();
        let wire = Wire::to(&real, move |request, _| match request.header("range") {
            Some(_) if status == 200 => Fault::Say(answer(200, &[], &whole)),
            Some(_) => Fault::Say(answer(416, &[], "")),
            None if request.target.contains("/blobs/") && status == 200 => Fault::CutAnswer(200_000),
            None => Fault::Pass,
        });
        let repository = Repository::new(wire.host(), "a");
        let mut blob = client().blob(&repository, &digest, bytes.len() as u64, 100_000).unwrap();
        let mut rest = Vec::new();
        blob.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, bytes[100_000..], "{status}");
        assert_eq!(fetch(&client(), &repository, &digest, bytes.len()).unwrap(), bytes, "{status}");
    }
}

#[test]
fn wrong_lengths() {
    let body = noise(1, 1000);
    let digest = Digest::of(&body);
    let blob = |said: Vec<u8>, endless: bool, size: usize| {
        let wire = Wire::to("127.0.0.1:1", move |request, _| match request.target.as_str() {
            "/v2/" => Fault::Say(answer(200, &[], "")),
            _ if endless => Fault::Endless(said.clone()),
            _ => Fault::Say(said.clone()),
        });
        fetch(&client(), &Repository::new(wire.host(), "a"), &digest, size)
    };
    let full = answer(200, &[], &body);
    assert_eq!(blob(full.clone(), false, 1000).unwrap(), body);
    for (said, endless, size, found) in [
        (full.clone(), false, 999, "1000"),
        (full.clone(), false, 1001, "1000"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec(), true, 1000, "more"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nshort".to_vec(), false, 1000, "5"),
    ] {
        let error = blob(said, endless, size).unwrap_err();
        let Error::SizeMismatch { expected, found: got, .. } = &error else { panic!("{error}") };
        assert_eq!((*expected, got.as_str()), (size as u64, found), "{error}");
    }
}

#[test]
fn manifests_that_lie() {
    let image = Image::new("a");
    let body = image.manifest.bytes().to_vec();
    let (right, wrong) = (Digest::of(&body).to_string(), Digest::of(b"wrong").to_string());
    let typed = ("Content-Type", media_type::OCI_MANIFEST);
    let resolve = |fault: Fault, name: &str| {
        let wire = Wire::to("127.0.0.1:1", move |request, _| match request.target.as_str() {
            "/v2/" => Fault::Say(answer(200, &[], "")),
            _ => fault.clone(),
        });
        client().resolve(&format!("{}/a{name}", wire.host()).parse().unwrap())
    };
    let honest = Fault::Say(answer(200, &[typed, ("Docker-Content-Digest", &right)], &body));
    assert_eq!(resolve(honest.clone(), ":t").unwrap().bytes, body);
    let claims = Fault::Say(answer(200, &[typed, ("Docker-Content-Digest", &wrong)], &body));
    for (fault, name) in
        [(claims.clone(), ":t".to_owned()), (honest, format!("@{wrong}")), (claims, format!("@{right}"))]
    {
        let error = resolve(fault, &name).unwrap_err();
        assert!(matches!(error, Error::DigestMismatch { .. }), "{name}: {error}");
    }
    let huge = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\nContent-Type: {}\r\n\r\n",
        media_type::OCI_MANIFEST
    );
    let endless =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {}\r\n\r\n", media_type::OCI_MANIFEST);
    for head in [huge, endless] {
        let error = resolve(Fault::Endless(head.into_bytes()), ":t").unwrap_err();
        assert!(matches!(error, Error::ManifestTooLarge { limit: 4_194_304, .. }), "{error}");
    }
    let old = ("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws");
    let error = resolve(Fault::Say(answer(200, &[old], r#"{"schemaVersion":1}"#)), ":t").unwrap_err();
    assert!(matches!(error, Error::SchemaOne { .. }), "{error}");
    let error =
        resolve(Fault::Say(answer(200, &[("Content-Type", "text/html")], "<html>")), ":t").unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[test]
fn busy_registries_are_waited_for() {
    let Some(registry) = Registry::start() else { return };
    Image::new("a").push(&client(), &Repository::new(registry.host(), "a"), "t").unwrap();
    let asked = AtomicUsize::new(0);
    let wire = Wire::to(&registry.host(), move |request, _| {
        if request.target == "/v2/" {
            return Fault::Pass;
        }
        match asked.fetch_add(1, Ordering::SeqCst) {
            0 => Fault::Say(answer(503, &[], "busy")),
            1 => Fault::Say(answer(429, &[("Retry-After", "7")], "")),
            2 => Fault::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{".to_vec()),
            3 => Fault::CutAnswer(3),
            _ => Fault::Delay(Duration::from_millis(20)),
        }
    });
    let (registries, clock) = patient();
    registries.resolve(&reference(&wire.host())).unwrap();
    let pauses = clock.pauses();
    assert_eq!(pauses.len(), 4, "{pauses:?}");
    assert!(pauses[1] >= Duration::from_secs(7), "Retry-After is not undercut: {pauses:?}");
}

#[test]
fn who_wants_us_to_wait_for_long_is_told_about() {
    let body =
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let headers = [("Retry-After", "3600"), ("RateLimit-Limit", "100;w=21600")];
    let wire = Wire::to("127.0.0.1:1", move |request, _| match request.target.as_str() {
        "/v2/" => Fault::Say(answer(200, &[], "")),
        _ => Fault::Say(answer(429, &headers, body)),
    });
    let (registries, clock) = patient();
    let error = registries.resolve(&reference(&wire.host())).unwrap_err();
    assert_eq!(clock.pauses(), [], "nobody waits for an hour");
    let text = error.to_string();
    assert!(matches!(error, Error::TooManyRequests { .. }), "{text}");
    assert!(text.contains("You have reached your pull rate limit."), "{text}");
    assert!(text.contains("; it allows 100 requests in 6 hours; try again in 60 minutes, at 2"), "{text}");
}

#[test]
fn what_a_registry_says_is_bounded_and_harmless() {
    let text =
        format!("{{\"errors\":[{{\"code\":\"X\",\"message\":\"\\u001b[2J{}\"}}]}}", "y".repeat(100_000));
    let wire = Wire::to("127.0.0.1:1", move |request, _| match request.target.as_str() {
        "/v2/" => Fault::Say(answer(200, &[], "")),
        _ => Fault::Say(answer(418, &[], &text)),
    });
    let error = client().resolve(&reference(&wire.host())).unwrap_err().to_string();
    assert!(error.len() < 1000 && !error.contains('\x1b'), "{error}");
}

#[test]
fn credentials_follow_no_redirect() {
    let Some((registry, digest, bytes)) = with_blob(50_000) else { return };
    let storage = Wire::to(&registry.host(), |_, _| Fault::Pass);
    let elsewhere = format!("http://{}/v2/a/blobs/{digest}?signature=secret", storage.host());
    let front = Server::start(move |request, out| {
        let reply = match request.header("authorization") {
            None => answer(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""),
            Some(_) if request.target == "/v2/" => answer(200, &[], ""),
            Some(_) => answer(307, &[("Location", &elsewhere)], ""),
        };
        let _ = out.write_all(&reply);
    });
    let credentials = Credentials::none().with(&front.host(), Credential::password("me", "hunter2"));
    let registries = Registries::new(Config { credentials, ..config().0 });
    assert_eq!(fetch(&registries, &Repository::new(front.host(), "a"), &digest, bytes.len()).unwrap(), bytes);
    assert!(front.seen().iter().any(|request| request.header("authorization").is_some()));
    assert!(storage.log().iter().all(|one| one.request.header("authorization").is_none()));
    assert!(!storage.log().is_empty());
}

#[test]
fn a_host_that_was_redirected_to_asks_for_credentials_in_vain() {
    let evil = Server::start(|_, out| {
        let _ = out.write_all(&answer(200, &[], r#"{"token":"x"}"#));
    });
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"x\"", evil.host());
    let storage = Server::start(move |_, out| {
        let _ = out.write_all(&answer(401, &[("WWW-Authenticate", &challenge)], ""));
    });
    let elsewhere = format!("http://{}/blob", storage.host());
    let front = Server::start(move |_, out| {
        let _ = out.write_all(&answer(307, &[("Location", &elsewhere)], ""));
    });
    let credentials = Credentials::none().with(&front.host(), Credential::password("me", "hunter2"));
    let registries = Registries::new(Config { credentials: credentials.clone(), ..config().0 });
    let repository = Repository::new(front.host(), "a");
    let error = registries.blob(&repository, &Digest::of(b"x"), 1, 0).unwrap_err();
    assert!(matches!(error, Error::Denied { .. } | Error::Unauthorized { .. }), "{error}");
    let known = credentials.find_host(&front.host()).unwrap().unwrap();
    let error = registries.check_login(&front.host(), &known).unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }), "{error}");
    assert!(!storage.seen().is_empty());
    assert_eq!(evil.seen().len(), 0, "credentials were sent to whom the redirect led");
}

#[test]
fn a_registry_cannot_send_credentials_elsewhere_by_naming_a_token_server() {
    for (realm, want) in [
        ("http://token.example/", "credentials are not sent over plain http"),
        ("ftp://127.0.0.1/", "neither http nor https"),
        ("https://u:p@token.example/", "no plain URL"),
        ("nonsense", "no URL"),
    ] {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\"");
        let front = Server::start(move |_, out| {
            let _ = out.write_all(&answer(401, &[("WWW-Authenticate", &challenge)], ""));
        });
        let credentials = Credentials::none().with(&front.host(), Credential::password("me", "hunter2"));
        let registries = Registries::new(Config { credentials, ..config().0 });
        let error = registries.resolve(&reference(&front.host())).unwrap_err();
        assert!(matches!(error, Error::Token { .. }) && error.to_string().contains(want), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[test]
fn lists_are_followed_on_the_same_host_only() {
    let pages = |second: &str| {
        let second = second.to_owned();
        let front = Server::start(move |request, out| {
            let link = format!("<{second}>; rel=\"next\"");
            let reply = match request.target.as_str() {
                "/v2/" => answer(200, &[], ""),
                "/v2/a/tags/list?n=1000" => {
                    answer(200, &[("Link", &link)], r#"{"name":"a","tags":["1","2"]}"#)
                }
                "/v2/a/tags/list?last=2" => answer(200, &[], r#"{"name":"a","tags":["3"]}"#),
                other => answer(404, &[], other),
            };
            let _ = out.write_all(&reply);
        });
        client().tags(&Repository::new(front.host(), "a"))
    };
    assert_eq!(pages("/v2/a/tags/list?last=2").unwrap(), ["1", "2", "3"]);
    let error = pages("https://evil.example/v2/a/tags/list").unwrap_err();
    assert!(error.to_string().contains("the list's next page is on another host"), "{error}");
    let error = pages("/v2/a/tags/list?n=1000").unwrap_err();
    assert!(error.to_string().contains("the same page"), "{error}");
}

#[test]
fn foreign_layers_come_from_where_they_are_and_get_no_credentials() {
    let bytes = noise(9, 20_000);
    let (digest, copy) = (Digest::of(&bytes), bytes.clone());
    let server = Server::start(move |_, out| {
        let _ = out.write_all(&answer(200, &[], &copy));
    });
    let credentials = Credentials::none().with(&server.host(), Credential::password("me", "hunter2"));
    let registries = Registries::new(Config { credentials, ..config().0 });
    let repository = Repository::new("reg.example", "windows");
    let url = format!("http://{}/layer", server.host());
    let mut found = Vec::new();
    let mut blob = registries.foreign_blob(&repository, &url, &digest, bytes.len() as u64, 0).unwrap();
    blob.read_to_end(&mut found).unwrap();
    assert_eq!(found, bytes);
    assert!(server.seen().iter().all(|request| request.header("authorization").is_none()));
    for bad in ["file:///etc/passwd", "nonsense"] {
        assert!(matches!(
            registries.foreign_blob(&repository, bad, &digest, 1, 0),
            Err(Error::Redirect { .. })
        ));
    }
}

#[test]
fn a_client_that_is_shut_down_ends_what_waits() {
    // It never accepts.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
    let busy = Server::start(|request, out| {
        let reply = match request.target.as_str() {
            "/v2/" => answer(200, &[], ""),
            _ => answer(429, &[("Retry-After", "25")], ""),
        };
        let _ = out.write_all(&reply);
    });
    for host in [silent, busy.host()] {
        let registries = Registries::new(Config::default());
        let start = std::time::Instant::now();
        let error = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| registries.resolve(&reference(&host)).unwrap_err());
            std::thread::sleep(Duration::from_millis(300));
            assert!(!waiting.is_finished(), "nothing had to be waited for");
            registries.shut_down();
            waiting.join().unwrap()
        });
        assert!(start.elapsed() < Duration::from_secs(20), "{error}");
        assert!(registries.resolve(&reference(&host)).is_err());
    }
}
