//! Mirrors are asked first and never written to.
use crate::images::{Image, client, config, fetch};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use strata_oci::Reference;
use strata_registry::{Alarm, Clock, Config, Mirror, Registries, Repository};
use strata_testbed::{Fault, Registry, Setup, Wire, answer};

fn mirrored(of: &str, urls: &[String]) -> Registries {
    let mirrors = urls.iter().map(|url| Mirror { of: of.to_owned(), url: url.clone() }).collect();
    Registries::new(Config { mirrors, ..config().0 })
}

#[test]
fn a_mirror_is_asked_first() {
    let Some(origin) = Registry::start() else { return };
    let url = format!("http://{}", origin.host());
    let Some(mirror) = Registry::with(&Setup { mirrors: Some(url), ..Setup::default() }) else { return };
    let asked = Wire::to(&mirror.host(), |_, _| Fault::Pass);
    let direct = Wire::to(&origin.host(), |_, _| Fault::Pass);
    // The registry's name is that of the wire before it, so that what goes there is seen.
    let repository = Repository::new(direct.host(), "app");
    let image = Image::new("a");
    let registries = mirrored(&direct.host(), &[format!("http://{}", asked.host())]);
    image.push(&registries, &repository, "t").unwrap();
    assert!(asked.log().is_empty(), "something was written to a mirror");

    let before = direct.log().len();
    let found = registries.resolve(&format!("{repository}:t").parse().unwrap()).unwrap();
    assert_eq!(found.bytes, image.manifest.bytes());
    let layer = &image.manifest.value().layers[0];
    assert_eq!(fetch(&registries, &repository, &layer.digest, image.layer.len()).unwrap(), image.layer);
    assert_eq!(direct.log().len(), before, "the registry itself was asked");
    assert!(asked.log().len() >= 2);
}

#[test]
fn a_mirror_that_fails_is_passed_over_and_left_alone() {
    let Some(origin) = Registry::start() else { return };
    let (repository, image) = (Repository::new(origin.host(), "app"), Image::new("a"));
    image.push(&client(), &repository, "t").unwrap();
    let reference: Reference = format!("{repository}:t").parse().unwrap();
    let broken = Wire::to("127.0.0.1:1", |_, _| Fault::Say(answer(500, &[], "")));
    let empty = Wire::to("127.0.0.1:1", |_, _| Fault::Say(answer(404, &[], "")));
    let urls = [
        format!("http://{}", broken.host()),
        "http://127.0.0.1:1".to_owned(),
        format!("http://{}/cache", empty.host()),
    ];
    let registries = mirrored(&origin.host(), &urls);
    registries.resolve(&reference).unwrap();
    let asked = broken.log().len();
    assert!(asked > 0);
    assert!(empty.log()[0].request.target.starts_with("/v2/cache/app/manifests/"));
    registries.resolve(&reference).unwrap();
    assert_eq!(broken.log().len(), asked, "it was asked again at once");
    assert_eq!(empty.log().len(), 2, "one that lacks an image may have another");
}

/// The machine's clock, some time later.
struct Later(Mutex<Duration>);

impl Clock for Later {
    fn now(&self) -> SystemTime {
        SystemTime::now() + *self.0.lock().unwrap()
    }

    fn sleep(&self, _duration: Duration, _alarm: &Alarm) {}
}

#[test]
fn a_mirror_that_failed_is_asked_again_after_a_minute() {
    let Some(origin) = Registry::start() else { return };
    let (repository, image) = (Repository::new(origin.host(), "app"), Image::new("a"));
    image.push(&client(), &repository, "t").unwrap();
    let reference: Reference = format!("{repository}:t").parse().unwrap();
    let mirror = Wire::to(&origin.host(), |_, before| match before {
        0 => Fault::Say(answer(403, &[], "")),
        _ => Fault::Pass,
    });
    let clock = Arc::new(Later(Mutex::default()));
    let mirrors = vec![Mirror { of: origin.host(), url: format!("http://{}", mirror.host()) }];
    let registries = Registries::new(Config { mirrors, clock: clock.clone(), ..config().0 });
    let asked = || {
        let before = mirror.log().len();
        registries.resolve(&reference).unwrap();
        mirror.log().len() - before
    };
    assert_eq!((asked(), asked()), (1, 0));
    *clock.0.lock().unwrap() = Duration::from_secs(50);
    assert_eq!(asked(), 0);
    *clock.0.lock().unwrap() = Duration::from_secs(61);
    assert_eq!((asked(), asked()), (1, 1), "it is well again");
}

#[test]
fn a_mirror_that_breaks_in_the_middle_is_followed_by_the_registry() {
    let Some(origin) = Registry::start() else { return };
    let bytes = crate::images::noise(3, 400_000);
    let repository = Repository::new(origin.host(), "app");
    let digest = crate::images::send(&client(), &repository, &bytes).unwrap();
    let mirror = Wire::to(&origin.host(), |_, before| match before {
        0 => Fault::CutAnswer(100_000),
        _ => Fault::Say(answer(503, &[], "")),
    });
    let registries = mirrored(&origin.host(), &[format!("http://{}", mirror.host())]);
    assert_eq!(fetch(&registries, &repository, &digest, bytes.len()).unwrap(), bytes);
    assert!(mirror.log().len() > 1);
}
