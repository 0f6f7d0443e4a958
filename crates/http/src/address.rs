//! URLs: what is sent, and what may be shown.
use crate::Error;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::net::IpAddr;
use url::Url;

/// A URL without its credentials, and the header that they mean.
pub(crate) struct Address {
    pub(crate) url: Url,
    pub(crate) authorization: Option<String>,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::Url { url: redact(text), why };
        let url = Url::parse(text).map_err(|error| bad(error.to_string()))?;
        Self::of(url).map_err(bad)
    }

    /// Where a redirect leads; relative ones start from `base`.
    pub(crate) fn joined(base: &Url, location: &str) -> Result<Self, Error> {
        let bad = |why: String| Error::Url { url: redact(location), why };
        let url = base.join(location).map_err(|error| bad(error.to_string()))?;
        Self::of(url).map_err(bad)
    }

    fn of(mut url: Url) -> Result<Self, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("scheme {:?} is neither http nor https", url.scheme()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("no host".to_owned());
        }
        let authorization = credentials(&url);
        // Both fail only for URLs that cannot have a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        Ok(Self { url, authorization })
    }
}

/// `Basic` for `user:password@`, each percent-decoded.
fn credentials(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain = decode(url.username());
    plain.push(b':');
    plain.extend(decode(url.password().unwrap_or_default()));
    Some(format!("Basic {}", BASE64_STANDARD.encode(plain)))
}

/// `%41` is `A`; anything else stands for itself.
fn decode(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}

/// Fit for messages: without user, password, query and fragment, any of which may be a secret.
pub fn redact(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let text = &text[..end];
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let host_end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(host_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// Whether a host is this machine, by its address or by its name: `localhost`, and every name below it (RFC 6761, section
/// 6.3). Without a port; an address of version 6 with its brackets or without.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    is_localhost(host) || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Of these names nobody has to be asked.
pub(crate) fn is_localhost(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_become_a_header_and_leave_the_url() {
        let address = Address::parse("https://us%40er:p%3Aw@host:8443/a?b=c#d").expect("valid");
        assert_eq!(address.url.as_str(), "https://host:8443/a?b=c");
        let wanted = format!("Basic {}", BASE64_STANDARD.encode("us@er:p:w"));
        assert_eq!(address.authorization, Some(wanted));
        assert_eq!(Address::parse("http://host").expect("valid").authorization, None);
    }

    #[test]
    fn this_machine_by_name_and_address() {
        for here in ["localhost", "LocalHost.", "bucket.s3.localhost", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(here), "{here}");
        }
        for other in ["localhost.example", "mylocalhost", ".", "", "1.2.3.4", "[fe80::1]", "localhost:80"] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn nothing_secret_is_shown() {
        assert_eq!(redact("https://u:p@h:1/a/b?token=x#y"), "https://h:1/a/b");
        assert_eq!(redact("https://u:p@h"), "https://h");
        assert_eq!(redact("/relative?x"), "/relative");
        assert_eq!(redact("https://h/mail@x"), "https://h/mail@x");
    }

    #[test]
    fn other_schemes_are_refused() {
        for (text, why) in [
            ("ftp://h/x", "scheme \"ftp\" is neither http nor https"),
            ("file:///etc/passwd", "scheme \"file\" is neither http nor https"),
            ("nonsense", "relative URL without a base"),
            ("http://", "empty host"),
        ] {
            let Err(error) = Address::parse(text) else { panic!("{text} was accepted") };
            assert_eq!(error.to_string(), format!("invalid URL {text:?}: {why}"));
        }
    }
}
