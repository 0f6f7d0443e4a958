//! The registry behind a mirror, which goes away and comes back.
use crate::kinds::{Own, tar};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use strata_engine::registry::{Alarm, Clock, Config, Registries, Retry};
use strata_oci::{Digest, Platform, media_type};
use strata_testbed::{Fault, Wire, answer};

/// A clock that goes on when it is told to.
struct Told(Mutex<SystemTime>);

impl Told {
    fn later(&self, seconds: f64) {
        *self.0.lock().unwrap() += Duration::from_secs_f64(seconds);
    }
}

impl Clock for Told {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration, _alarm: &Alarm) {
        self.later(duration.as_secs_f64());
    }
}

/// There, and away: nothing is said.
const HERE: u16 = 0;
const AWAY: u16 = 1;

#[test]
fn a_registry_that_cannot_be_reached_is_left_alone_for_ten_seconds() {
    let own = Own::new();
    let layer = tar("f", b"content");
    let blob = own.blob("app", media_type::OCI_LAYER, &layer);
    let image = own.image("app", "1", Platform::host(), &[(blob.clone(), layer)]);
    let state = Arc::new(AtomicU16::new(HERE));
    let judged = Arc::clone(&state);
    let wire = Wire::to(&own.host, move |_, _| match judged.load(Ordering::SeqCst) {
        HERE => Fault::Pass,
        AWAY => Fault::Say(Vec::new()),
        status => Fault::Say(answer(status, &[], "")),
    });
    let clock = Arc::new(Told(Mutex::new(SystemTime::now())));
    let config = Config { clock: clock.clone(), retry: Retry::NEVER, ..Config::default() };
    let upstream = strata_engine::serve::upstream(Registries::new(config), wire.host());
    let asked = || {
        let before = wire.log().len();
        let found = upstream.resolve("app", "1");
        (found.map_err(|error| error.to_string()), wire.log().len() > before)
    };
    assert_eq!(asked(), (Ok(Some(image.digest)), true));

    state.store(AWAY, Ordering::SeqCst);
    let (refused, was_asked) = asked();
    let why = refused.unwrap_err();
    assert!(was_asked && why.contains(&wire.host()), "{why}");
    // Nobody asks, whatever the question; what is told is why.
    clock.later(9.9);
    assert_eq!(asked(), (Err(why.clone()), false));
    let before = wire.log().len();
    assert_eq!(upstream.tags("app").unwrap_err().to_string(), why);
    assert_eq!(upstream.manifest("app", &image.digest).unwrap_err().to_string(), why);
    assert!(upstream.blob("app", &blob.digest, 0).is_err_and(|error| error.to_string() == why));
    assert!(upstream.referrers("app", &image.digest).is_err_and(|error| error.to_string() == why));
    assert_eq!(wire.log().len(), before);
    // The pause is over, and begins again with the next failure.
    clock.later(0.2);
    assert!(asked().1);
    clock.later(9.9);
    assert!(!asked().1);
    clock.later(0.2);
    state.store(HERE, Ordering::SeqCst);
    assert_eq!(asked(), (Ok(Some(image.digest)), true));

    // Who answers is there, whatever he says.
    for status in [404, 403, 500] {
        state.store(status, Ordering::SeqCst);
        assert!(asked().1, "{status}");
        assert!(asked().1, "{status}");
    }
    state.store(HERE, Ordering::SeqCst);
    assert_eq!(asked().0, Ok(Some(image.digest)));
    assert!(upstream.blob_size("app", &Digest::of(b"nothing")).is_ok_and(|size| size.is_none()));
}
