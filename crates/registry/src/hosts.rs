//! Which machines stand for a registry's name: Docker Hub's, mirrors, insecure ones; and their certificates.
use crate::Error;
use fs_err as fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use strata_http::Identity;

/// Docker Hub, as references name it.
const HUB: &str = "docker.io";
/// Where Docker Hub's registry is.
const HUB_MACHINE: &str = "registry-1.docker.io";

/// A registry that is asked before the one a reference names. Pushes never go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The registry it mirrors: `docker.io`.
    pub of: String,
    /// Where it is: `https://mirror.example`, or `https://registry.example/hub` if its repositories lie below a path.
    pub url: String,
}

/// One machine that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Host, and the port if it is named: what credentials and certificates are filed under.
    pub(crate) host: String,
    /// The host of the URL.
    pub(crate) address: String,
    /// `https` or `http` where it is known beforehand.
    pub(crate) scheme: Option<&'static str>,
    /// What comes before a repository's path, with its slash: a mirror's directory.
    pub(crate) prefix: String,
}

impl Machine {
    /// The registry of this name itself.
    pub(crate) fn of(host: &str) -> Self {
        let address = if host == HUB { HUB_MACHINE } else { host };
        Self { host: host.to_owned(), address: address.to_owned(), scheme: None, prefix: String::new() }
    }

    /// A mirror.
    pub(crate) fn mirror(mirror: &Mirror) -> Result<Self, Error> {
        let bad =
            |why: &str| Error::Settings { what: format!("mirror {:?}", mirror.url), why: why.to_owned() };
        let (scheme, rest) = match mirror.url.split_once("://") {
            Some(("https", rest)) => (Some("https"), rest),
            Some(("http", rest)) => (Some("http"), rest),
            Some(_) => return Err(bad("neither http:// nor https://")),
            None => (None, mirror.url.as_str()),
        };
        if rest.contains(['?', '#', '@']) {
            return Err(bad("a mirror is a host and perhaps a path; credentials come from `strata login`"));
        }
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(bad("no host"));
        }
        let path = path.trim_matches('/');
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        Ok(Self { host: host.to_owned(), address: host.to_owned(), scheme, prefix })
    }
}

/// Whether a host is on this machine: plain http is allowed there, and certificates are not checked unless there is one
/// of an authority to check them with.
pub(crate) fn is_loopback(host: &str) -> bool {
    strata_http::is_loopback(without_port(host))
}

/// Whether `host` is meant by one of `entries`: a host with its port as a reference names it, or a network
/// (`10.0.0.0/8`) if the host is an address.
pub(crate) fn is_listed(host: &str, entries: &[String]) -> bool {
    let address: Option<IpAddr> = without_port(host).parse().ok();
    entries.iter().any(|entry| {
        entry.eq_ignore_ascii_case(host) || address.is_some_and(|address| network_has(entry, address))
    })
}

fn network_has(network: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse(), bits.parse::<u32>()) else { return false };
    let same =
        |a: u128, b: u128, width: u32| bits <= width && (a ^ b).checked_shr(width - bits).unwrap_or(0) == 0;
    match (address, base) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.into(), b.into(), 128),
        _ => false,
    }
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    match host.rsplit_once(':') {
        Some((name, _)) if !name.contains(':') => name,
        _ => host,
    }
}

/// The files that lie in `certs.d/HOST` directories (Docker's "Verify repository client with certificates").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Certificates {
    /// `*.crt`: authorities.
    pub(crate) authorities: Vec<PathBuf>,
    /// `*.cert` with its `*.key`: our own.
    pub(crate) identity: Option<Identity>,
}

impl Certificates {
    /// What the directories hold for this host; of several client certificates, the first by name.
    pub(crate) fn find(directories: &[PathBuf], hosts: &[&str]) -> Result<Self, Error> {
        let mut found = Self::default();
        for directory in directories {
            for host in hosts {
                found.add(&directory.join(host))?;
            }
        }
        Ok(found)
    }

    fn add(&mut self, directory: &Path) -> Result<(), Error> {
        let bad = |what: &Path, why: &str| Error::Settings {
            what: what.display().to_string(),
            why: why.to_owned(),
        };
        let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in &paths {
            let extension = path.extension().and_then(|extension| extension.to_str());
            let other = |extension: &str| path.with_extension(extension);
            match extension {
                Some("crt") => self.authorities.push(path.clone()),
                Some("cert") if !paths.contains(&other("key")) => {
                    return Err(bad(path, &format!("its key {} is missing", other("key").display())));
                }
                Some("key") if !paths.contains(&other("cert")) => {
                    let hint =
                        "its certificate is missing; client certificates end in .cert, authorities in .crt";
                    return Err(bad(path, hint));
                }
                Some("cert") if self.identity.is_none() => {
                    self.identity = Some(Identity { certificates: path.clone(), key: other("key") });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_on_this_machine() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.3.2.1:80", "[::1]:5000", "::1"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["docker.io", "10.0.0.1:5000", "localhost.example", "128.0.0.1", "[fd00::1]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn insecure_hosts() {
        let entries = ["reg.example:5000", "10.1.0.0/16", "fd00::/8"].map(str::to_owned);
        for host in ["reg.example:5000", "REG.example:5000", "10.1.2.3", "10.1.0.0:99", "[fd12::1]:5000"] {
            assert!(is_listed(host, &entries), "{host}");
        }
        for host in ["reg.example", "reg.example:5001", "10.2.0.1", "[fe80::1]", "10.1.2.3.example"] {
            assert!(!is_listed(host, &entries), "{host}");
        }
    }

    #[test]
    fn mirrors() {
        let machine = |url: &str| Machine::mirror(&Mirror { of: HUB.into(), url: url.into() });
        let plain = machine("http://mirror:5000/").expect("a mirror");
        assert_eq!(
            (plain.scheme, plain.host.as_str(), plain.prefix.as_str()),
            (Some("http"), "mirror:5000", "")
        );
        assert_eq!(machine("https://reg.example/hub/x").expect("a mirror").prefix, "hub/x/");
        assert_eq!(machine("reg.example").expect("a mirror").scheme, None);
        for bad in ["ftp://x", "https://", "https://u:p@x", "https://x?y"] {
            assert!(machine(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn certificates_are_found_by_their_endings() {
        let directory = tempfile::tempdir().expect("a directory");
        let host = directory.path().join("reg:5000");
        fs::create_dir(&host).expect("made");
        let all = [directory.path().to_owned()];
        for name in ["b.crt", "ca.crt", "client.cert", "client.key", "README"] {
            fs::write(host.join(name), "").expect("written");
        }
        let found = Certificates::find(&all, &["reg:5000"]).expect("complete");
        assert_eq!(found.authorities, [host.join("b.crt"), host.join("ca.crt")]);
        let identity = found.identity.expect("a client certificate");
        assert_eq!(
            (identity.certificates, identity.key),
            (host.join("client.cert"), host.join("client.key"))
        );
        assert_eq!(Certificates::find(&all, &["other"]).expect("nothing"), Certificates::default());

        fs::remove_file(host.join("client.key")).expect("removed");
        let error = Certificates::find(&all, &["reg:5000"]).expect_err("half a pair").to_string();
        assert!(error.contains("client.cert: its key") && error.contains("client.key is missing"), "{error}");
    }
}
