//! Registries with certificates of an authority of their own.
use crate::images::{Image, config};
use strata_oci::Reference;
use strata_registry::{Config, Error, Registries, Repository};
use strata_testbed::{Authority, Registry, Setup};

fn client(certificates: Option<&tempfile::TempDir>, insecure: &[String]) -> Registries {
    let certificates = certificates.map(|directory| directory.path().to_owned()).into_iter().collect();
    Registries::new(Config { certificates, insecure: insecure.to_vec(), ..config().0 })
}

#[test]
fn own_authorities_and_client_certificates() {
    let Some(authority) = Authority::new() else { return };
    let setup = Setup { authority: Some(&authority), clients: true, ..Setup::default() };
    let Some(registry) = Registry::with(&setup) else { return };
    let host = registry.host();
    let image = Image::new("a");
    let repository = Repository::new(&host, "a");

    let complete = tempfile::tempdir().unwrap();
    authority.certs_d(complete.path(), &host, &["ca.crt", "client.cert", "client.key"]);
    let registries = client(Some(&complete), &[]);
    image.push(&registries, &repository, "t").unwrap();
    registries.resolve(&format!("{host}/a:t").parse().unwrap()).unwrap();

    let without = tempfile::tempdir().unwrap();
    authority.certs_d(without.path(), &host, &["ca.crt"]);
    let error = client(Some(&without), &[]).resolve(&format!("{host}/a:t").parse().unwrap()).unwrap_err();
    assert!(!error.is_not_found(), "{error}");

    // The authority of somebody else: on this machine too a certificate is checked when there is one to check with.
    let Some(other) = Authority::new() else { return };
    let foreign = tempfile::tempdir().unwrap();
    other.certs_d(foreign.path(), &host, &["ca.crt"]);
    let error = client(Some(&foreign), &[]).resolve(&format!("{host}/a:t").parse().unwrap()).unwrap_err();
    assert!(matches!(error, Error::UnknownAuthority { .. }), "{error}");
    assert!(error.to_string().contains(&format!("/etc/docker/certs.d/{host}/ca.crt")), "{error}");
}

#[test]
fn on_this_machine_tls_is_found_without_being_told() {
    let Some(authority) = Authority::new() else { return };
    let Some(registry) = Registry::with(&Setup { authority: Some(&authority), ..Setup::default() }) else {
        return;
    };
    let repository = Repository::new(registry.host(), "a");
    let registries = client(None, &[]);
    Image::new("a").push(&registries, &repository, "t").unwrap();
    registries.resolve(&format!("{repository}:t").parse().unwrap()).unwrap();
}

#[test]
fn elsewhere_certificates_are_checked_and_tls_is_demanded() {
    let Some(authority) = Authority::new() else { return };
    let (Some(secure), Some(plain)) =
        (Registry::with(&Setup { authority: Some(&authority), ..Setup::default() }), Registry::start())
    else {
        return;
    };
    // A name that is this machine and does not look like it: loopback is not only what is called so.
    let port = |registry: &Registry| registry.host().split_once(':').unwrap().1.to_owned();
    let Some(name) = other_name() else { return };
    let reference =
        |registry: &Registry| -> Reference { format!("{name}:{}/a:t", port(registry)).parse().unwrap() };
    let error = client(None, &[]).resolve(&reference(&secure)).unwrap_err();
    assert!(matches!(error, Error::UnknownAuthority { .. }), "{error}");
    let error = client(None, &[]).resolve(&reference(&plain)).unwrap_err();
    assert!(matches!(error, Error::PlainHttp { .. }), "{error}");
    assert!(error.to_string().contains("insecure-registries"), "{error}");
    for registry in [&secure, &plain] {
        let allowed = [format!("{name}:{}", port(registry))];
        let error = client(None, &allowed).resolve(&reference(registry)).unwrap_err();
        assert!(error.is_not_found(), "an insecure registry is asked: {error}");
    }
}

/// The machine's own name, where it leads to this machine.
fn other_name() -> Option<String> {
    use std::net::ToSocketAddrs as _;
    let name = fs_err::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_lowercase();
    let local =
        (name.as_str(), 1).to_socket_addrs().ok().into_iter().flatten().any(|at| at.ip().is_loopback());
    // As a reference needs it: a host with a dot or, as here, a port.
    if local && !name.is_empty() {
        return Some(name);
    }
    eprintln!("SKIP: this machine's name does not lead to a loopback address");
    None
}
