//! `-p [ip:][host[-range]:]container[-range][/proto]`: the text and its meaning (`spec/engine.md` section 4,
//! Ports).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use serde::{Deserialize, Serialize};

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP: understood in port specifications, not publishable.
    Sctp,
}

impl Protocol {
    /// The number in IP headers.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Some(Self::Tcp),
            "udp" => Some(Self::Udp),
            "sctp" => Some(Self::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Which host port is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum HostPort {
    /// Any free port of the kernel's ephemeral range.
    Ephemeral,
    /// This port.
    Fixed(u16),
    /// The first free one of a range, both ends included.
    FirstFree(u16, u16),
}

/// One port to publish, as the user wrote it; the container's address is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishSpec {
    /// The host address; `None` is every address, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// The host port.
    pub host_port: HostPort,
    /// The port inside the container.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl PublishSpec {
    /// The port on every host address, at an ephemeral host port: what `-P` does for an `EXPOSE`d port.
    pub fn ephemeral(container_port: u16, protocol: Protocol) -> Self {
        Self { host_ip: None, host_port: HostPort::Ephemeral, container_port, protocol }
    }

    /// The mapping to a container's address.
    pub fn to(self, container_ip: Ipv4Addr) -> PortMapping {
        let Self { host_ip, host_port, container_port, protocol } = self;
        PortMapping { host_ip, host_port, container_port, protocol, container_ip }
    }
}

/// A port to publish and the container it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortMapping {
    /// The host address; `None` is every address, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// The host port.
    pub host_port: HostPort,
    /// The port inside the container.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
    /// The container's address on the bridge.
    pub container_ip: Ipv4Addr,
}

impl PortMapping {
    /// Where packets go: container address and port.
    pub fn container(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.container_ip, self.container_port)
    }
}

/// A port specification that Docker refuses too, in its words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePublishError {
    /// Nothing after the last colon.
    #[error("no port specified: {0}<empty>")]
    NoPort(String),
    /// The host address is none.
    #[error("invalid IP address: {0}")]
    HostIp(String),
    /// The host port or range is none.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// The container port or range is none.
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    /// The two ranges are not equally long.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container ports.
        container: String,
        /// The host ports.
        host: String,
    },
    /// The protocol is unknown.
    #[error("invalid proto: {0}")]
    Protocol(String),
}

/// Parses one `-p` value. Ranges become one entry per container port; a host range for a single container
/// port becomes [`HostPort::FirstFree`].
///
/// # Errors
///
/// Docker's error for the first part that is wrong.
pub fn parse_publish(text: &str) -> Result<Vec<PublishSpec>, ParsePublishError> {
    let (front, container) = text.rsplit_once(':').unwrap_or(("", text));
    let (host_ip, host) = front.rsplit_once(':').unwrap_or(("", front));
    let (container, protocol) = container.split_once('/').unwrap_or((container, "tcp"));

    let host_ip = match host_ip {
        "" => None,
        ip => Some(parse_ip(ip).ok_or_else(|| ParsePublishError::HostIp(ip.to_owned()))?),
    };
    if container.is_empty() {
        return Err(ParsePublishError::NoPort(text.to_owned()));
    }
    let inside = parse_range(container)
        .filter(|(first, _)| *first > 0)
        .ok_or_else(|| ParsePublishError::ContainerPort(container.to_owned()))?;
    let outside = match host {
        "" => None,
        host => Some(parse_range(host).ok_or_else(|| ParsePublishError::HostPort(host.to_owned()))?),
    };
    let protocol = match protocol {
        "" => Protocol::Tcp,
        name => Protocol::parse(name).ok_or_else(|| ParsePublishError::Protocol(name.to_owned()))?,
    };
    if outside.is_some_and(|outside| inside.0 != inside.1 && outside.1 - outside.0 != inside.1 - inside.0) {
        return Err(ParsePublishError::Ranges { container: container.to_owned(), host: host.to_owned() });
    }
    let host_port = |offset: u16| match outside {
        None | Some((0, 0)) => HostPort::Ephemeral,
        Some((first, last)) if inside.0 == inside.1 && first < last => HostPort::FirstFree(first, last),
        Some((first, _)) => HostPort::Fixed(first + offset),
    };
    Ok((inside.0..=inside.1)
        .map(|container_port| PublishSpec {
            host_ip,
            host_port: host_port(container_port - inside.0),
            container_port,
            protocol,
        })
        .collect())
}

/// An address, an IPv6 one with or without brackets.
fn parse_ip(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[') {
        Some(rest) => Some(IpAddr::V6(rest.strip_suffix(']')?.parse().ok()?)),
        None => text.parse().ok(),
    }
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    (first <= last).then_some((first, last))
}

/// `u16::from_str` would also take "+80".
fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> PublishSpec {
        let specs = parse_publish(text).unwrap();
        assert_eq!(specs.len(), 1, "{text}");
        specs[0]
    }

    fn spec(
        host_ip: Option<&str>,
        host_port: HostPort,
        container_port: u16,
        protocol: Protocol,
    ) -> PublishSpec {
        PublishSpec { host_ip: host_ip.map(|ip| ip.parse().unwrap()), host_port, container_port, protocol }
    }

    #[test]
    fn single_ports() {
        use HostPort::{Ephemeral, FirstFree, Fixed};
        use Protocol::{Tcp, Udp};
        let cases = [
            ("80", spec(None, Ephemeral, 80, Tcp)),
            ("8080:80", spec(None, Fixed(8080), 80, Tcp)),
            ("8080:80/udp", spec(None, Fixed(8080), 80, Udp)),
            ("8080:80/UDP", spec(None, Fixed(8080), 80, Udp)),
            ("0:80", spec(None, Ephemeral, 80, Tcp)),
            ("127.0.0.1:8080:80", spec(Some("127.0.0.1"), Fixed(8080), 80, Tcp)),
            ("127.0.0.1::80", spec(Some("127.0.0.1"), Ephemeral, 80, Tcp)),
            ("[::1]:8080:80", spec(Some("::1"), Fixed(8080), 80, Tcp)),
            ("::1:8080:80", spec(Some("::1"), Fixed(8080), 80, Tcp)),
            ("8000-8010:80", spec(None, FirstFree(8000, 8010), 80, Tcp)),
            ("65535:65535", spec(None, Fixed(65535), 65535, Tcp)),
        ];
        for (text, expected) in cases {
            assert_eq!(one(text), expected, "{text}");
        }
        assert_eq!(one("53/sctp").protocol, Protocol::Sctp);
    }

    #[test]
    fn ranges_pair_up() {
        let specs = parse_publish("10.0.0.1:8000-8002:9000-9002/udp").unwrap();
        let pairs: Vec<_> = specs.iter().map(|spec| (spec.host_port, spec.container_port)).collect();
        let fixed = |port| HostPort::Fixed(port);
        assert_eq!(pairs, [(fixed(8000), 9000), (fixed(8001), 9001), (fixed(8002), 9002)]);
        assert!(specs.iter().all(|spec| spec.host_ip == Some("10.0.0.1".parse().unwrap())));
        let open = parse_publish("9000-9001").unwrap();
        assert!(open.len() == 2 && open.iter().all(|spec| spec.host_port == HostPort::Ephemeral));
        assert_eq!(parse_publish("65534-65535:1-2").unwrap()[1].host_port, fixed(65535));
    }

    #[test]
    fn refusals_in_dockers_words() {
        let cases = [
            ("99999:80", "invalid hostPort: 99999"),
            ("80:x", "invalid containerPort: x"),
            ("80:99999", "invalid containerPort: 99999"),
            ("80:0", "invalid containerPort: 0"),
            ("x:80", "invalid hostPort: x"),
            ("+80:80", "invalid hostPort: +80"),
            ("90-80:80", "invalid hostPort: 90-80"),
            ("80:", "no port specified: 80:<empty>"),
            ("", "no port specified: <empty>"),
            ("80:/tcp", "no port specified: 80:/tcp<empty>"),
            ("1.2.3:80:80", "invalid IP address: 1.2.3"),
            ("[::1:80:80", "invalid IP address: [::1"),
            ("80:80/ipx", "invalid proto: ipx"),
            (
                "8000-8005:9000-9002",
                "invalid ranges specified for container and host Ports: 9000-9002 and 8000-8005",
            ),
            ("8000:9000-9002", "invalid ranges specified for container and host Ports: 9000-9002 and 8000"),
        ];
        for (text, message) in cases {
            assert_eq!(parse_publish(text).unwrap_err().to_string(), message, "{text:?}");
        }
    }
}
