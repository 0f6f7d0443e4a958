//! Which proxy a request goes through.
use crate::Error;
use crate::address::is_loopback;
use crate::address::redact;
use std::net::IpAddr;
use ureq::Proxy;
use url::Url;

/// Proxies by scheme, and the hosts that are reached without one: the meaning of `HTTP_PROXY`, `HTTPS_PROXY` and
/// `NO_PROXY` as Docker has it (golang.org/x/net/http/httpproxy).
///
/// A proxy is `http://`, `https://` or `socks5://[user:password@]host:port`; without a scheme it is http. HTTPS goes through a
/// `CONNECT` tunnel; plain HTTP is asked for in absolute form, because most proxies allow no tunnel to port 80.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://` URLs.
    pub http: Option<String>,
    /// For `https://` URLs.
    pub https: Option<String>,
    /// Hosts without a proxy, separated by commas: `*`, `host`, `.domain`, `*.domain`, an address or `10.0.0.0/8`, each with an
    /// optional `:port`. `domain` means its subdomains as well, `.domain` only those. Loopback never has one.
    pub none: String,
}

impl Proxies {
    /// From variables, which the caller reads: `HTTP_PROXY`, or if that is unset or empty `http_proxy`, and so on.
    ///
    /// ```
    /// use strata_http::Proxies;
    /// let proxies = Proxies::from_variables(|name| std::env::var(name).ok());
    /// ```
    pub fn from_variables(value: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            [name.to_owned(), name.to_lowercase()]
                .iter()
                .find_map(|name| value(name).filter(|value| !value.is_empty()))
        };
        Self {
            http: either("HTTP_PROXY"),
            https: either("HTTPS_PROXY"),
            none: either("NO_PROXY").unwrap_or_default(),
        }
    }

    /// The proxy that a URL is reached through.
    pub(crate) fn of(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme() {
            "https" => self.https.as_deref(),
            _ => self.http.as_deref(),
        };
        proxy.filter(|_| !self.bypassed(url))
    }

    /// Addresses that cannot be proxies are found before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.http.iter().chain(&self.https).try_for_each(|text| parse(text).map(drop))
    }

    fn bypassed(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = host.parse().ok();
        if is_loopback(host) {
            return true;
        }
        let port = url.port_or_known_default();
        self.none.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let (name, wanted) = split_port(entry);
            entry == "*"
                || (wanted.is_none() || wanted == port) && matches(&name.to_ascii_lowercase(), host, address)
        })
    }
}

/// One entry of `NO_PROXY` without its port.
fn matches(entry: &str, host: &str, address: Option<IpAddr>) -> bool {
    if let Some((network, bits)) = entry.split_once('/') {
        return match (network.parse(), bits.parse(), address) {
            (Ok(network), Ok(bits), Some(address)) => within(address, network, bits),
            _ => false,
        };
    }
    if let Ok(one) = entry.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return address == Some(one);
    }
    let host = host.to_ascii_lowercase();
    let entry = entry.strip_prefix('*').unwrap_or(entry);
    match entry.strip_prefix('.') {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => host == entry || host.strip_suffix(entry).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        bits <= width && (bits == 0 || (a ^ b).checked_shr(width - bits).unwrap_or(0) == 0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u128::from(u32::from(a)), u128::from(u32::from(b)), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(u128::from(a), u128::from(b), 128),
        _ => false,
    }
}

/// `host:8080`, `[::1]:8080`; an IPv6 address without brackets has no port.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

pub(crate) fn parse(text: &str) -> Result<Proxy, Error> {
    let bad = |why: &str| Error::ProxyAddress { proxy: redact(text), why: why.to_owned() };
    let proxy =
        Proxy::new(text).map_err(|_| bad("use http://[user:password@]host:port, https:// or socks5://"))?;
    if proxy.host().is_empty() { Err(bad("no host")) } else { Ok(proxy) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(none: &str, url: &str) -> bool {
        let proxies = Proxies {
            http: Some("http://plain:3128".to_owned()),
            https: Some("http://tunnel:3128".to_owned()),
            none: none.to_owned(),
        };
        proxies.of(&Url::parse(url).expect("a URL")).is_some()
    }

    #[test]
    fn variables_in_capitals_win() {
        let variables = [("HTTP_PROXY", "a"), ("http_proxy", "b"), ("HTTPS_PROXY", ""), ("https_proxy", "c")];
        let proxies = Proxies::from_variables(|name| {
            variables.iter().find(|(have, _)| *have == name).map(|(_, value)| (*value).to_owned())
        });
        assert_eq!(proxies.http.as_deref(), Some("a"));
        assert_eq!(proxies.https.as_deref(), Some("c"));
        assert_eq!(proxies.none, "");
    }

    #[test]
    fn schemes_have_their_own() {
        let proxies = Proxies { https: Some("http://p".to_owned()), ..Proxies::default() };
        assert_eq!(proxies.of(&Url::parse("https://h").expect("valid")), Some("http://p"));
        assert_eq!(proxies.of(&Url::parse("http://h").expect("valid")), None);
    }

    #[test]
    fn names() {
        assert!(through("", "http://h"));
        assert!(!through("*", "http://h"));
        assert!(!through("a.com, Example.com", "http://example.COM/x"));
        assert!(!through("example.com", "http://www.example.com"));
        assert!(through("example.com", "http://badexample.com"));
        assert!(through(".example.com", "http://example.com"));
        assert!(!through(".example.com", "https://a.b.example.com"));
        assert!(through("*.example.com", "http://example.com"));
        assert!(!through("*.example.com", "http://a.example.com"));
    }

    #[test]
    fn ports() {
        assert!(!through("h:8080", "http://h:8080"));
        assert!(through("h:8080", "http://h"));
        assert!(!through("h:443", "https://h"));
        assert!(!through("[fd00::1]:80", "http://[fd00::1]/"));
        assert!(through("[fd00::1]:81", "http://[fd00::1]/"));
    }

    #[test]
    fn addresses_and_networks() {
        assert!(!through("10.1.2.3", "http://10.1.2.3"));
        assert!(!through("10.0.0.0/8", "http://10.255.0.1"));
        assert!(through("10.0.0.0/8", "http://11.0.0.1"));
        assert!(!through("fd00::/8", "http://[fd12::1]:5000"));
        assert!(through("fd00::/8", "http://[fe80::1]"));
        assert!(!through("0.0.0.0/0", "http://1.2.3.4"));
        assert!(through("10.0.0.0/99", "http://10.0.0.1"));
        // A name is not looked up for the sake of a network.
        assert!(through("10.0.0.0/8", "http://ten.example"));
    }

    #[test]
    fn loopback_has_no_proxy() {
        for url in ["http://localhost:5000", "http://bucket.localhost", "http://127.0.0.2", "http://[::1]:80"]
        {
            assert!(!through("", url), "{url}");
        }
    }

    #[test]
    fn addresses_of_proxies_are_checked_early() {
        for good in ["http://u:p@h:3128", "h:3128", "socks5://h", "https://h"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let error = parse("ftp://user:secret@h").expect_err("no proxy").to_string();
        assert_eq!(
            error,
            "invalid proxy \"ftp://h\": use http://[user:password@]host:port, https:// or socks5://"
        );
    }
}
