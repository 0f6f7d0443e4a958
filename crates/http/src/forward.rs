//! What ureq does not do by itself: plain HTTP through a proxy in absolute form, and the name of a host that cannot be
//! resolved.
use crate::address::is_localhost;
use crate::error::NameError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Scheme;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, Either, NextTimeout, Transport};
use ureq::{Error, ProxyProtocol};

/// Connects to the proxy itself for `http://` URLs; everything else is left to the connectors behind it.
#[derive(Debug)]
pub(crate) struct ForwardProxy {
    /// Everything as for other connections, but without a proxy: so the proxy itself is reached.
    pub(crate) direct: Config,
}

impl<In: Transport> Connector<In> for ForwardProxy {
    type Out = Either<In, AbsoluteForm>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        let Some(proxy) = details.config.proxy() else { return Ok(None) };
        if details.uri.scheme() != Some(&Scheme::HTTP)
            || !matches!(proxy.protocol(), ProxyProtocol::Http | ProxyProtocol::Https)
        {
            return Ok(None);
        }
        let to_proxy = ConnectionDetails {
            uri: proxy.uri(),
            addrs: details.resolver.resolve(proxy.uri(), &self.direct, details.timeout)?,
            config: &self.direct,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let transport = (details.run_connector)(&to_proxy)?;
        let authorization = proxy.username().map(|user| {
            let plain = format!("{user}:{}", proxy.password().unwrap_or_default());
            format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(plain))
        });
        let authority = details.uri.authority().map(|authority| authority.as_str().to_owned());
        Ok(Some(Either::B(AbsoluteForm {
            transport,
            origin: format!("http://{}", authority.unwrap_or_default()),
            authorization: authorization.unwrap_or_default(),
            head_sent: false,
        })))
    }
}

/// `GET /path` becomes `GET http://host/path`, once: such a connection carries one request.
#[derive(Debug)]
pub(crate) struct AbsoluteForm {
    transport: Box<dyn Transport>,
    origin: String,
    authorization: String,
    head_sent: bool,
}

impl AbsoluteForm {
    /// The beginning of a request, which always holds the request line: ureq writes it first.
    fn rewritten(&self, head: &[u8]) -> Vec<u8> {
        let (mut out, blank) = (Vec::with_capacity(head.len() + 256), b' ');
        let target = head.iter().position(|&byte| byte == blank).map_or(head.len(), |at| at + 1);
        let line = head.windows(2).position(|pair| pair == b"\r\n").map_or(head.len(), |at| at + 2);
        out.extend_from_slice(&head[..target]);
        out.extend_from_slice(self.origin.as_bytes());
        out.extend_from_slice(&head[target..line]);
        out.extend_from_slice(self.authorization.as_bytes());
        out.extend_from_slice(&head[line..]);
        out
    }
}

impl Transport for AbsoluteForm {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.transport.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.head_sent {
            return self.transport.transmit_output(amount, timeout);
        }
        self.head_sent = true;
        let head = self.transport.buffers().output()[..amount].to_vec();
        let head = self.rewritten(&head);
        let mut rest = &head[..];
        while !rest.is_empty() {
            let output = self.transport.buffers().output();
            let count = rest.len().min(output.len());
            output[..count].copy_from_slice(&rest[..count]);
            self.transport.transmit_output(count, timeout)?;
            rest = &rest[count..];
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.transport.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.transport.is_tls()
    }
}

/// The system's resolver, whose failures say which name they are about. `localhost` and all names below it are this machine
/// (RFC 6761, section 6.3), which not every system's resolver knows: nobody else is asked about them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    system: DefaultResolver,
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        if let Some(port) = loopback_port(uri) {
            let mut found = self.empty();
            // In the order in which servers of one's own listen most often.
            found.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
            found.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
            return Ok(found);
        }
        self.system.resolve(uri, config, timeout).map_err(|error| {
            let source = match error {
                Error::Io(source) => source,
                Error::HostNotFound => std::io::Error::other("it has no address"),
                other => return other,
            };
            let host = uri.host().unwrap_or_default().to_owned();
            Error::Other(Box::new(NameError { host, source }))
        })
    }
}

/// The port of a URL whose host is this machine by its name.
fn loopback_port(uri: &Uri) -> Option<u16> {
    if !is_localhost(uri.host()?) {
        return None;
    }
    uri.port_u16().or_else(|| match uri.scheme_str() {
        Some("https") => Some(443),
        _ => Some(80),
    })
}

#[cfg(test)]
mod tests {
    use super::loopback_port;

    #[test]
    fn names_of_this_machine() {
        let port = |uri: &str| loopback_port(&uri.parse().unwrap());
        assert_eq!(port("http://localhost/"), Some(80));
        assert_eq!(port("https://LocalHost./"), Some(443));
        assert_eq!(port("http://bucket.s3.localhost:9000/a"), Some(9000));
        assert_eq!(port("http://127.0.0.1/"), None);
    }
}
