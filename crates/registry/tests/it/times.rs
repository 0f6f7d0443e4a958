//! Tokens that run out on the way, and registries that say when to come back.
use crate::images::{Image, client, config, fetch, noise};
use crate::uploads::source;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use strata_oci::Digest;
use strata_registry::{Error, Registries, Repository};
use strata_testbed::{Fault, Registry, Server, Wire, answer};

/// Gives out one token after the other, each good for `uses` requests at the wire before `registry`; there, every third
/// request that moves a blob is cut after 200,000 bytes.
fn hasty(registry: &Registry, uses: usize) -> (Wire, Arc<Server>) {
    let number = AtomicUsize::new(0);
    let tokens = Arc::new(Server::start(move |_, out| {
        let token = format!(r#"{{"token":"t{}","expires_in":3600}}"#, number.fetch_add(1, Ordering::SeqCst));
        let _ = out.write_all(&answer(200, &[], token));
    }));
    let challenge = format!("Bearer realm=\"http://{}/token\",service=\"x\"", tokens.host());
    let (used, moved) = (Mutex::new(HashMap::<String, usize>::new()), AtomicUsize::new(0));
    let wire = Wire::to(&registry.host(), move |request, _| {
        let mut used = used.lock().unwrap();
        let left = request.header("authorization").map(|token| used.entry(token.to_owned()).or_default());
        match left {
            Some(count) if *count < uses => *count += 1,
            _ => return Fault::Say(answer(401, &[("WWW-Authenticate", &challenge)], "")),
        }
        match (request.method.as_str(), request.target.contains("/blobs/")) {
            ("PATCH", _) if moved.fetch_add(1, Ordering::SeqCst) % 3 == 0 => Fault::CutRequest(200_000),
            ("GET", true) if !request.target.contains("uploads") => Fault::CutAnswer(200_000),
            _ => Fault::Pass,
        }
    });
    (wire, tokens)
}

#[test]
fn a_token_that_runs_out_in_the_middle_is_replaced() {
    let Some(registry) = Registry::start() else { return };
    let (wire, tokens) = hasty(&registry, 3);
    let repository = Repository::new(wire.host(), "a");
    let bytes = noise(21, 2_000_000);
    let (registries, digest) = (client(), Digest::of(&bytes));
    let upload = registries.begin(&repository, &digest).unwrap();
    upload.send_unsized(&mut source(bytes.clone()), &mut || digest).unwrap();
    assert!(fetch(&registries, &repository, &digest, bytes.len()).unwrap() == bytes);
    // Ten answers carry the blob, three with each token.
    assert!(tokens.seen().len() >= 4, "{} tokens", tokens.seen().len());
}

#[test]
fn a_date_to_come_back_is_kept_and_told() {
    let Some(registry) = Registry::start() else { return };
    Image::new("a").push(&client(), &Repository::new(registry.host(), "a"), "t").unwrap();
    let date = |ahead: i64| {
        let then = Timestamp::now().checked_add(SignedDuration::from_secs(ahead)).unwrap();
        then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    let busy = |ahead: i64| {
        let asked = AtomicUsize::new(0);
        let later = date(ahead);
        Wire::to(&registry.host(), move |request, _| {
            let first = request.target != "/v2/" && asked.fetch_add(1, Ordering::SeqCst) == 0;
            if first { Fault::Say(answer(429, &[("Retry-After", &later)], "")) } else { Fault::Pass }
        })
    };
    let (config, clock) = config();
    let registries = Registries::new(config);
    registries.resolve(&format!("{}/a:t", busy(20).host()).parse().unwrap()).unwrap();
    let pauses = clock.pauses();
    assert!(pauses.len() == 1 && pauses[0] >= Duration::from_secs(15), "{pauses:?}");
    let error = registries.resolve(&format!("{}/a:t", busy(1800).host()).parse().unwrap()).unwrap_err();
    assert!(matches!(error, Error::TooManyRequests { .. }), "{error}");
    assert!(error.to_string().contains("; try again in 30 minutes, at 2"), "{error}");
    assert_eq!(clock.pauses().len(), 1, "nobody waits for half an hour");
}
