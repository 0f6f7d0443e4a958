//! Registries that send what changes something elsewhere (307, 308).
use crate::images::{Image, client, config, fetch, noise, send};
use crate::uploads::source;
use std::sync::{Arc, Mutex};
use strata_oci::{Digest, media_type};
use strata_registry::{Config, Credential, Credentials, Error, Registries, Repository, Target};
use strata_testbed::{Fault, Registry, Server, Wire, answer};

/// Wants to know who asks, and then sends everything to `back`.
fn front(back: &str, status: u16) -> Server {
    let back = back.to_owned();
    Server::start(move |request, out| {
        let there = format!("http://{back}{}", request.target);
        let reply = match request.header("authorization") {
            None => answer(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""),
            Some(_) if request.target == "/v2/" => answer(200, &[], ""),
            Some(_) => answer(status, &[("Location", &there)], ""),
        };
        let _ = out.write_all(&reply);
    })
}

fn me(host: &str) -> Registries {
    let credentials = Credentials::none().with(host, Credential::password("me", "hunter2"));
    Registries::new(Config { credentials, ..config().0 })
}

#[test]
fn a_push_follows_and_takes_no_credentials_along() {
    let Some(registry) = Registry::start() else { return };
    for status in [307, 308] {
        let back = Wire::to(&registry.host(), |_, _| Fault::Pass);
        let front = front(&back.host(), status);
        let repository = Repository::new(front.host(), format!("a{status}"));
        let registries = me(&front.host());
        let image = Image::new("a");
        image.push(&registries, &repository, "t").unwrap();
        let bytes = noise(1, 600_000);
        let digest = Digest::of(&bytes);
        let upload = registries.begin(&repository, &digest).unwrap();
        upload.send_unsized(&mut source(bytes.clone()), &mut || digest).unwrap();
        let found = registries.manifest(&repository, &Target::Tag("t".to_owned())).unwrap();
        assert_eq!(found.bytes, image.manifest.bytes());
        assert_eq!(fetch(&registries, &repository, &digest, bytes.len()).unwrap(), bytes);
        assert!(back.log().iter().all(|one| one.request.header("authorization").is_none()));
        assert!(back.log().iter().any(|one| one.request.method == "PUT"));
        assert!(front.seen().iter().any(|one| one.method == "POST" && one.header("authorization").is_some()));
    }
}

/// Only what carries the bytes is sent elsewhere, and there what comes next is told by a relative address.
#[test]
fn bytes_are_read_again_for_where_they_are_wanted() {
    let received: Arc<Mutex<Vec<u8>>> = Arc::default();
    let kept = Arc::clone(&received);
    let back = Server::start(move |request, out| {
        let mut kept = kept.lock().unwrap();
        kept.extend_from_slice(&request.body);
        let reply = match request.method.as_str() {
            "PATCH" => {
                let range = format!("0-{}", kept.len() - 1);
                answer(202, &[("Location", "/next"), ("Range", &range)], "")
            }
            _ if request.target.starts_with("/next?") || !request.body.is_empty() => answer(201, &[], ""),
            _ => answer(404, &[], ""),
        };
        let _ = out.write_all(&reply);
    });
    let there = format!("http://{}/there", back.host());
    let front = Server::start(move |request, out| {
        let reply = match request.method.as_str() {
            "POST" => answer(202, &[("Location", "/here")], ""),
            "PUT" | "PATCH" => answer(307, &[("Location", &there)], ""),
            _ => answer(200, &[], ""),
        };
        let _ = out.write_all(&reply);
    });
    let (registries, repository) = (client(), Repository::new(front.host(), "a"));
    let bytes = noise(2, 400_000);
    let digest = Digest::of(&bytes);
    let upload = registries.begin(&repository, &digest).unwrap();
    upload.send_unsized(&mut source(bytes.clone()), &mut || digest).unwrap();
    assert!(*received.lock().unwrap() == bytes);
    received.lock().unwrap().clear();
    send(&registries, &repository, &bytes).unwrap();
    assert!(*received.lock().unwrap() == bytes);
}

#[test]
fn redirects_have_an_end() {
    let round = Server::start(|request, out| {
        let reply = match request.method.as_str() {
            "POST" => answer(202, &[("Location", "/here")], ""),
            "GET" => answer(200, &[], ""),
            _ => answer(307, &[("Location", "/here")], ""),
        };
        let _ = out.write_all(&reply);
    });
    let error = send(&client(), &Repository::new(round.host(), "a"), b"x").unwrap_err();
    assert!(error.to_string().contains("there is no end of redirects"), "{error}");
    let target = Target::Tag("t".to_owned());
    let sent =
        client().put_manifest(&Repository::new(round.host(), "a"), &target, media_type::OCI_MANIFEST, b"{}");
    assert!(matches!(sent, Err(Error::Unreachable { .. } | Error::Redirect { .. })), "{sent:?}");
}
