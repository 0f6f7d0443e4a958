//! A thousand cuts at random places.
use crate::images::{client, fetch, noise, send};
use crate::uploads::Strict;
use std::sync::atomic::{AtomicUsize, Ordering};
use strata_registry::Repository;
use strata_testbed::{Fault, Registry, Wire};

const CUTS: usize = 1000;

/// Where the n-th cut is: after 2 to 4097 bytes.
fn places() -> Vec<u64> {
    noise(42, CUTS * 2)
        .chunks(2)
        .map(|pair| u64::from(u16::from_le_bytes([pair[0], pair[1]]) % 4096) + 2)
        .collect()
}

#[test]
fn a_download_survives_and_fetches_next_to_nothing_twice() {
    let Some(registry) = Registry::start() else { return };
    let bytes = noise(1, 4_000_000);
    let digest = send(&client(), &Repository::new(registry.host(), "a"), &bytes).unwrap();
    let (places, cut) = (places(), AtomicUsize::new(0));
    let wire = Wire::to(&registry.host(), move |request, _| {
        if !request.target.contains("/blobs/") {
            return Fault::Pass;
        }
        places.get(cut.fetch_add(1, Ordering::SeqCst)).map_or(Fault::Pass, |after| Fault::CutAnswer(*after))
    });
    let repository = Repository::new(wire.host(), "a");
    assert!(fetch(&client(), &repository, &digest, bytes.len()).unwrap() == bytes);
    let log = wire.log();
    let received: u64 =
        log.iter().filter(|one| one.request.target.contains("/blobs/")).map(|one| one.received).sum();
    assert!(log.len() > CUTS, "{} requests", log.len());
    assert!(received < bytes.len() as u64 * 110 / 100, "{received} bytes for {}", bytes.len());
}

#[test]
fn an_upload_survives_and_goes_on_where_it_was() {
    let registry = Strict::start(None, None);
    let bytes = noise(2, 4_000_000);
    let (places, cut) = (places(), AtomicUsize::new(0));
    let wire = Wire::to(&registry.host(), move |request, _| {
        if !matches!(request.method.as_str(), "PUT" | "PATCH") {
            return Fault::Pass;
        }
        places.get(cut.fetch_add(1, Ordering::SeqCst)).map_or(Fault::Pass, |after| Fault::CutRequest(*after))
    });
    send(&client(), &Repository::new(wire.host(), "a"), &bytes).unwrap();
    assert!(registry.holds(&bytes));
    let log = wire.log();
    assert!(log.len() > 2 * CUTS, "{} requests", log.len());
    let sent: u64 = log.iter().map(|one| one.sent).sum();
    // What was on its way when a connection broke goes again; how much that is, is up to the machine.
    assert!(sent < bytes.len() as u64 * 150 / 100, "{sent} bytes for {}", bytes.len());
    // A busy machine may not have read the few bytes of the first cut when it is asked for them: that begins anew.
    assert!(log.iter().filter(|one| one.request.method == "POST").count() <= 2);
}
