//! Port specifications of EXPOSE (`spec/build.md` 1.4).

use std::net::IpAddr;

use crate::{ExpandError, Lookup, Word, expand_words, go_quote};

/// A port specification that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nothing before the `/`.
    #[error("invalid port: {}: no port specified", go_quote(.0))]
    NoPort(String),
    /// Not tcp, udp or sctp.
    #[error("invalid port: {}: invalid proto: {proto}", go_quote(port))]
    Protocol {
        /// The whole specification.
        port: String,
        /// What stands behind the `/`.
        proto: String,
    },
    /// The port in the container is no number or range up to 65535.
    #[error("invalid containerPort: {0}")]
    Container(String),
    /// The port on the host is no number or range up to 65535.
    #[error("invalid hostPort: {0}")]
    Host(String),
    /// Ranges of different length.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// In the container.
        container: String,
        /// On the host.
        host: String,
    },
    /// What stands in front is no address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// A variable that cannot be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
}

/// A port specification as written, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
    /// `tcp`, `udp` or `sctp`, in lower case.
    pub protocol: String,
    /// The protocol was not in lower case (`ExposeProtoCasing`).
    pub odd_case: bool,
    /// An address or a host port stands in front (`ExposeInvalidFormat`).
    pub has_host: bool,
}

impl PortSpec {
    /// Reads `[ip:][host:]port[-port][/protocol]`.
    pub fn parse(text: &str) -> Result<Self, PortError> {
        let mut parts = text.rsplitn(3, ':');
        let container = parts.next().unwrap_or_default();
        let host = parts.next().unwrap_or_default();
        let ip = parts.next().unwrap_or_default();
        let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
        if port.is_empty() {
            return Err(PortError::NoPort(text.to_owned()));
        }
        let lower = protocol.to_lowercase();
        if !matches!(lower.as_str(), "" | "tcp" | "udp" | "sctp") {
            return Err(PortError::Protocol { port: text.to_owned(), proto: protocol.to_owned() });
        }
        let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
        if !ip.is_empty() && bare.parse::<IpAddr>().is_err() {
            return Err(PortError::Address(bare.to_owned()));
        }
        let (first, last) = range(port).ok_or_else(|| PortError::Container(port.to_owned()))?;
        if !host.is_empty() {
            let (low, high) = range(host).ok_or_else(|| PortError::Host(host.to_owned()))?;
            if last - first != high - low && first != last {
                return Err(PortError::Ranges { container: port.to_owned(), host: host.to_owned() });
            }
        }
        Ok(Self {
            first,
            last,
            odd_case: lower != protocol,
            has_host: !ip.is_empty() || !host.is_empty(),
            protocol: if lower.is_empty() { "tcp".to_owned() } else { lower },
        })
    }

    /// The keys of the image config: `8000/tcp` and so on, one for each port.
    pub fn keys(&self) -> impl Iterator<Item = String> + '_ {
        (self.first..=self.last).map(|port| format!("{port}/{}", self.protocol))
    }
}

/// The keys that an EXPOSE adds to the image config, in the order of BuildKit's history.
///
/// `words` are those of [`crate::Command::Expose`]; each is expanded, then split.
pub fn expose(words: &[Word], escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, PortError> {
    let mut keys = Vec::new();
    for word in words {
        for text in expand_words(word, escape, lookup)? {
            keys.extend(PortSpec::parse(&text)?.keys());
        }
    }
    Ok(keys)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

/// Go reads a sign as well, but no port is below zero.
fn number(text: &str) -> Option<u16> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let keys = |text: &str| PortSpec::parse(text).unwrap().keys().collect::<Vec<_>>();
        assert_eq!(keys("80"), ["80/tcp"]);
        assert_eq!(keys("80/"), ["80/tcp"]);
        assert_eq!(keys("8000-8002/UDP"), ["8000/udp", "8001/udp", "8002/udp"]);
        assert_eq!(keys("80-80/sctp"), ["80/sctp"]);
        assert_eq!(keys("0"), ["0/tcp"]);
        assert_eq!(keys("65535"), ["65535/tcp"]);
        assert_eq!(keys("127.0.0.1:8080:80"), ["80/tcp"]);
        assert_eq!(keys("[::1]:8080:80"), ["80/tcp"]);
        assert_eq!(keys("::1:8080:80"), ["80/tcp"]);
        assert_eq!(keys("8000-9000:80"), ["80/tcp"]);
        let spec = PortSpec::parse("8080:80/Tcp").unwrap();
        assert!(spec.odd_case && spec.has_host);
    }

    #[test]
    fn refusals() {
        let error = |text: &str| PortSpec::parse(text).unwrap_err().to_string();
        assert_eq!(error("eighty"), "invalid containerPort: eighty");
        assert_eq!(error("#"), "invalid containerPort: #");
        assert_eq!(error("65536"), "invalid containerPort: 65536");
        assert_eq!(error("90-80"), "invalid containerPort: 90-80");
        assert_eq!(error("-1"), "invalid containerPort: -1");
        assert_eq!(error("80/icmp"), "invalid port: \"80/icmp\": invalid proto: icmp");
        assert_eq!(error("/tcp"), "invalid port: \"/tcp\": no port specified");
        assert_eq!(error("x:80"), "invalid hostPort: x");
        assert_eq!(
            error("8000-8001:80-82"),
            "invalid ranges specified for container and host Ports: 80-82 and 8000-8001"
        );
        assert_eq!(error("host:1:80"), "invalid IP address: host");
    }

    #[test]
    fn expanded_then_split() {
        let env = |name: &str| (name == "PORTS").then(|| "3000 4000/udp".to_owned());
        let words = [Word { text: "$PORTS".to_owned(), ..Word::default() }];
        assert_eq!(expose(&words, '\\', &env).unwrap(), ["3000/tcp", "4000/udp"]);
    }
}
