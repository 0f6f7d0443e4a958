//! Networks that break, and registries that are particular: while sending.
use crate::images::{Impatient, client, config, fetch, noise, send};
use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use strata_oci::Digest;
use strata_registry::{Error, Registries, Repository};
use strata_testbed::{Fault, Registry, Server, Wire, answer};

fn patient() -> (Registries, Arc<Impatient>) {
    let (config, clock) = config();
    (Registries::new(config), clock)
}

pub(crate) fn source(bytes: Vec<u8>) -> impl FnMut(u64) -> std::io::Result<Cursor<Vec<u8>>> {
    move |offset| Ok(Cursor::new(bytes[usize::try_from(offset).unwrap()..].to_vec()))
}

#[test]
fn a_cut_upload_ends_complete() {
    let Some(registry) = Registry::start() else { return };
    let cut = AtomicUsize::new(0);
    let wire = Wire::to(&registry.host(), move |request, _| {
        let data = request.method == "PUT" || request.method == "PATCH";
        match data.then(|| cut.fetch_add(1, Ordering::SeqCst)) {
            Some(0) => Fault::CutRequest(700_000),
            Some(1) => Fault::CutRequest(0),
            Some(2) => Fault::Say(answer(500, &[], "")),
            _ => Fault::Pass,
        }
    });
    let bytes = noise(1, 2_000_000);
    let (registries, clock) = patient();
    let digest = send(&registries, &Repository::new(wire.host(), "a"), &bytes).unwrap();
    assert_eq!(clock.pauses().len(), 3);
    let found = fetch(&client(), &Repository::new(registry.host(), "a"), &digest, bytes.len()).unwrap();
    assert_eq!(found, bytes);
}

#[test]
fn a_blob_whose_digest_is_known_at_the_end() {
    let Some(registry) = Registry::start() else { return };
    let cut = AtomicUsize::new(0);
    let wire = Wire::to(&registry.host(), move |request, _| {
        let patch = request.method == "PATCH";
        if patch && cut.fetch_add(1, Ordering::SeqCst) == 0 {
            Fault::CutRequest(300_000)
        } else {
            Fault::Pass
        }
    });
    let bytes = noise(2, 1_500_000);
    let digest = Digest::of(&bytes);
    for through in [registry.host(), wire.host()] {
        let (repository, registries) = (Repository::new(through, "unsized"), client());
        let upload = registries.begin(&repository, &digest).unwrap();
        upload.send_unsized(&mut source(bytes.clone()), &mut || digest).unwrap();
        assert_eq!(fetch(&registries, &repository, &digest, bytes.len()).unwrap(), bytes);
    }
}

#[test]
fn what_is_wrong_with_the_source_is_not_the_registrys_fault() {
    let Some(registry) = Registry::start() else { return };
    let (registries, clock) = patient();
    let repository = Repository::new(registry.host(), "a");
    let bytes = noise(3, 10_000);
    let digest = Digest::of(&bytes);
    let error = registries.upload(&repository, &digest, 20_000, &mut source(bytes.clone())).unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    let mut missing = |_| -> std::io::Result<Cursor<Vec<u8>>> { Err(std::io::ErrorKind::NotFound.into()) };
    let error = registries.upload(&repository, &digest, 10_000, &mut missing).unwrap_err();
    assert!(matches!(error, Error::Source { .. }), "{error}");
    let other = Digest::of(b"other");
    let error = registries.upload(&repository, &other, 10_000, &mut source(bytes)).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains("digest"), "{error}");
    assert_eq!(clock.pauses(), [], "none of that gets better by waiting");
}

/// A registry of our own making that resumes as the specification says, and is as particular as it may be.
pub(crate) struct Strict {
    server: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    received: Vec<u8>,
    done: bool,
    /// Bodies larger than this are refused.
    most: Option<usize>,
    /// Bytes after which the next request with a body is taken for lost.
    lose_after: Option<usize>,
    /// What a request brought that was cut is forgotten.
    whole_only: bool,
    /// It takes a blob in one request only.
    no_ranges: bool,
    numbers: u32,
}

impl Strict {
    pub(crate) fn host(&self) -> String {
        self.server.host()
    }

    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        let state = self.state.lock().unwrap();
        state.done && state.received == bytes
    }

    pub(crate) fn start(most: Option<usize>, lose_after: Option<usize>) -> Self {
        Self::with(State { most, lose_after, ..State::default() })
    }

    fn with(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let server = Server::start(move |request, out| {
            let mut state = shared.lock().unwrap();
            let reply = match request.method.as_str() {
                "GET" if request.target == "/v2/" => answer(200, &[], ""),
                "POST" => {
                    state.received.clear();
                    let at = state.next();
                    answer(202, &[("Location", &at)], "")
                }
                _ if !request.target.contains(&format!("/uploads/{}", state.numbers)) => answer(404, &[], ""),
                "GET" => state.progress(204),
                // What came before the cut is kept.
                _ if request
                    .header("content-length")
                    .is_some_and(|all| all != request.body.len().to_string()) =>
                {
                    if !state.whole_only {
                        state.received.extend_from_slice(&request.body);
                    }
                    return;
                }
                _ if state.no_ranges && request.header("content-range").is_some() => answer(400, &[], ""),
                _ if state.most.is_some_and(|most| request.body.len() > most) => answer(413, &[], ""),
                _ => match state.lose_after.take() {
                    Some(bytes) => {
                        state.received.extend_from_slice(&request.body[..bytes]);
                        return;
                    }
                    None => state.take(request),
                },
            };
            let _ = out.write_all(&reply);
        });
        Self { server, state }
    }
}

impl State {
    /// Every answer names another place, as the specification allows.
    fn next(&mut self) -> String {
        self.numbers += 1;
        format!("/uploads/{}?state=x", self.numbers)
    }

    fn progress(&mut self, status: u16) -> Vec<u8> {
        let (at, range) = (self.next(), format!("0-{}", self.received.len().saturating_sub(1)));
        answer(status, &[("Location", &at), ("Range", &range)], "")
    }

    fn take(&mut self, request: &strata_testbed::Request) -> Vec<u8> {
        if let Some(range) = request.header("content-range") {
            let first: usize = range.split_once('-').unwrap().0.parse().unwrap();
            if first != self.received.len() {
                return answer(416, &[], "");
            }
        }
        self.received.extend_from_slice(&request.body);
        if request.method == "PATCH" {
            return self.progress(202);
        }
        let digest = Digest::of(&self.received);
        self.done = request.target.contains(&format!("digest=sha256%3A{}", digest.hex()));
        answer(if self.done { 201 } else { 400 }, &[("Docker-Content-Digest", &digest.to_string())], "")
    }
}

#[test]
fn an_upload_goes_on_where_it_was_cut() {
    let registry = Strict::start(None, Some(60_000));
    let bytes = noise(4, 100_000);
    send(&client(), &Repository::new(registry.server.host(), "a"), &bytes).unwrap();
    let state = registry.state.lock().unwrap();
    assert!(state.done && state.received == bytes);
    let seen = registry.server.seen();
    let sent: Vec<(&str, usize)> = seen
        .iter()
        .filter(|one| !one.body.is_empty())
        .map(|one| (one.method.as_str(), one.body.len()))
        .collect();
    assert_eq!(sent, [("PUT", 100_000), ("PATCH", 40_000)], "what had arrived was not sent again");
    assert_eq!(seen.iter().filter(|one| one.method == "POST").count(), 1);
}

#[test]
fn who_refuses_large_bodies_gets_pieces() {
    let registry = Strict::start(Some(16 << 20), None);
    let bytes = noise(5, (16 << 20) + 5_000_000);
    send(&client(), &Repository::new(registry.server.host(), "a"), &bytes).unwrap();
    let state = registry.state.lock().unwrap();
    assert!(state.done && state.received == bytes);
    let seen = registry.server.seen();
    let patches: Vec<usize> =
        seen.iter().filter(|one| one.method == "PATCH").map(|one| one.body.len()).collect();
    assert_eq!(patches, [16 << 20, 5_000_000]);
}

#[test]
fn an_upload_is_not_led_astray() {
    for (location, want) in [("ftp://x/", "neither http nor https"), ("http://[", "no URL")] {
        let server = Server::start(move |request, out| {
            let reply = match request.method.as_str() {
                "POST" => answer(202, &[("Location", location)], ""),
                _ => answer(200, &[], ""),
            };
            let _ = out.write_all(&reply);
        });
        let error = send(&client(), &Repository::new(server.host(), "a"), b"x").unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }) && error.to_string().contains(want), "{error}");
    }
    let server = Server::start(|_, out| {
        let _ = out.write_all(&answer(202, &[], ""));
    });
    let error = send(&client(), &Repository::new(server.host(), "a"), b"x").unwrap_err();
    assert!(error.to_string().contains("no Location"), "{error}");
}

#[test]
fn blobs_of_no_and_of_one_byte() {
    let strict = Strict::start(None, None);
    send(&client(), &Repository::new(strict.host(), "a"), b"x").unwrap();
    assert!(strict.holds(b"x"));
    let Some(registry) = Registry::start() else { return };
    let (registries, repository) = (client(), Repository::new(registry.host(), "a"));
    for bytes in [&b""[..], b"x"] {
        let digest = send(&registries, &repository, bytes).unwrap();
        assert_eq!(fetch(&registries, &repository, &digest, bytes.len()).unwrap(), bytes);
        let upload = registries.begin(&repository, &digest).unwrap();
        upload.send_unsized(&mut source(bytes.to_vec()), &mut || digest).unwrap();
    }
}

#[test]
fn a_registry_that_takes_everything_and_keeps_nothing() {
    let server = Server::start(|request, out| {
        let reply = match request.method.as_str() {
            "GET" => answer(200, &[], ""),
            _ => answer(202, &[("Location", "/uploads/1"), ("Range", "0-1")], ""),
        };
        let _ = out.write_all(&reply);
    });
    let (registries, repository) = (client(), Repository::new(server.host(), "a"));
    let bytes = noise(6, 10_000);
    let digest = Digest::of(&bytes);
    let upload = registries.begin(&repository, &digest).unwrap();
    let error = upload.send_unsized(&mut source(bytes), &mut || digest).unwrap_err();
    assert!(error.to_string().contains("says that it has none of them"), "{error}");
}

fn send_unsized(to: &Repository, bytes: &[u8]) -> Result<(), Error> {
    let (registries, digest) = (client(), Digest::of(bytes));
    let upload = registries.begin(to, &Digest::of(b"what it is made of")).unwrap();
    upload.send_unsized(&mut source(bytes.to_vec()), &mut || digest)
}

/// Lengths of the bodies of all `PATCH`es.
fn patches(registry: &Strict) -> Vec<usize> {
    let seen = registry.server.seen();
    seen.iter().filter(|one| one.method == "PATCH").map(|one| one.body.len()).collect()
}

const MIB: usize = 1 << 20;

/// It keeps nothing of a request that was cut: what was sent in pieces before that is not lost.
#[test]
fn after_a_cut_a_blob_goes_in_pieces_and_one_is_all_that_a_cut_costs() {
    let registry = Strict::with(State { whole_only: true, ..State::default() });
    let cut = AtomicUsize::new(0);
    let wire = Wire::to(&registry.host(), move |request, _| {
        if request.method != "PATCH" {
            return Fault::Pass;
        }
        match cut.fetch_add(1, Ordering::SeqCst) {
            0 => Fault::CutRequest(5_000_000),
            2 => Fault::CutRequest(3_000_000),
            _ => Fault::Pass,
        }
    });
    let bytes = noise(11, 20 * MIB);
    send_unsized(&Repository::new(wire.host(), "a"), &bytes).unwrap();
    assert!(registry.holds(&bytes));
    let log = wire.log();
    let sized: Vec<Option<&str>> = log
        .iter()
        .filter(|one| one.request.method == "PATCH")
        .map(|one| one.request.header("content-range"))
        .collect();
    let wanted = [
        None,
        Some("0-8388607"),
        Some("8388608-16777215"),
        Some("8388608-12582911"),
        Some("12582912-16777215"),
        Some("16777216-20971519"),
    ];
    assert_eq!(sized, wanted);
    assert_eq!(log.iter().filter(|one| one.request.method == "POST").count(), 2, "nothing came at first");
}

#[test]
fn who_takes_blobs_in_one_request_only_gets_them_so() {
    let registry = Strict::with(State { whole_only: true, no_ranges: true, ..State::default() });
    let cut = AtomicUsize::new(0);
    let wire = Wire::to(&registry.host(), move |request, _| {
        let first = request.method == "PATCH" && cut.fetch_add(1, Ordering::SeqCst) == 0;
        if first { Fault::CutRequest(500_000) } else { Fault::Pass }
    });
    let bytes = noise(12, MIB);
    send_unsized(&Repository::new(wire.host(), "a"), &bytes).unwrap();
    assert!(registry.holds(&bytes));
}

#[test]
fn a_proxy_that_bounds_requests_gets_smaller_ones() {
    let registry = Strict::start(Some(3 * MIB), None);
    let bytes = noise(13, 5 * MIB);
    send_unsized(&Repository::new(registry.host(), "a"), &bytes).unwrap();
    assert!(registry.holds(&bytes));
    assert_eq!(patches(&registry), [5 * MIB, 5 * MIB, 4 * MIB, 2 * MIB, 2 * MIB, MIB]);
}

/// It takes pieces and forgets them with every cut: nobody goes on with that for ever.
#[test]
fn a_registry_that_forgets_again_and_again_is_given_up() {
    let registry = Strict::with(State { whole_only: true, ..State::default() });
    let bytes = noise(14, 10 * MIB);
    let moved = AtomicUsize::new(0);
    let wire = Wire::to(&registry.host(), move |request, _| match request.method.as_str() {
        "PATCH" if moved.fetch_add(1, Ordering::SeqCst) % 2 == 1 => Fault::Pass,
        "PATCH" => Fault::CutRequest(100_000),
        "GET" if request.target.contains("/uploads/") => Fault::Say(answer(404, &[], "")),
        _ => Fault::Pass,
    });
    let (registries, clock) = patient();
    let repository = Repository::new(wire.host(), "a");
    let mut source = source(bytes);
    let upload = registries.begin(&repository, &Digest::of(b"made of")).unwrap();
    let error = upload.send_unsized(&mut source, &mut || Digest::of(b"never asked for")).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error}");
    assert_eq!(clock.pauses().len(), 4, "five tries");
}
