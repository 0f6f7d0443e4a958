//! Sending.
use crate::address::{Address, redact};
use crate::error::Limits;
use crate::forward::{ForwardProxy, Names};
use crate::proxies::{self, Proxies};
use crate::request::{Payload, Upload};
use crate::secure::Secured;
use crate::tls::{Identity, Trust};
use crate::{Error, Request, Response};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use ureq::config::Config;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, LOCATION};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, SocksConnector, TcpConnector};
use ureq::{Agent, AsSendBody, Proxy, SendBody};
use url::Url;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// `User-Agent`; `strata/<version>` by default.
    pub user_agent: String,
    /// PEM files of authorities to trust besides the system's.
    pub authorities: Vec<PathBuf>,
    /// Our own certificate, for servers that want one.
    pub identity: Option<Identity>,
    /// No certificate of a server is checked.
    pub insecure: bool,
    /// Proxies; none by default.
    pub proxies: Proxies,
    /// Longest time for resolving a name, and again for a connection including TLS; 30 seconds by default.
    pub connect_timeout: Duration,
    /// Longest silence, reading or writing; 60 seconds by default.
    pub idle_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            user_agent: concat!("strata/", env!("CARGO_PKG_VERSION")).to_owned(),
            authorities: Vec::new(),
            identity: None,
            insecure: false,
            proxies: Proxies::default(),
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

/// Sends requests. Clones share connections.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    options: Options,
    trust: Trust,
    /// By way: plain, plain through a proxy, TLS, TLS through a proxy. Plain ones need no certificates, and those take
    /// time to read.
    agents: [OnceLock<Agent>; 4],
    closed: AtomicBool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.options.user_agent).finish()
    }
}

impl Client {
    /// Reads the files that the options name. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::Certificate`] for such a file, [`Error::ProxyAddress`].
    pub fn new(options: Options) -> Result<Self, Error> {
        let trust = Trust::read(&options.authorities, options.identity.as_ref(), options.insecure)?;
        options.proxies.check()?;
        let (agents, closed) = (Default::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Shared { options, trust, agents, closed })))
    }

    /// Sends a request and gives the answer as soon as its headers are here.
    ///
    /// # Errors
    /// Whenever there is no answer; a status of 400 and more is one.
    pub fn send(&self, request: Request<'_>) -> Result<Response, Error> {
        let idle = request.idle.unwrap_or(self.0.options.idle_timeout);
        let limits = Limits { connect: self.0.options.connect_timeout, idle };
        let address = Address::parse(&request.url)?;
        let mut headers = headers(&request.headers, &address)?;
        let mut url = address.url;
        let Request { method, payload, redirects, .. } = request;
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| Error::Url {
            url: redact(url.as_str()),
            why: format!("{method:?} is not a method"),
        })?;
        let (mut payload, mut followed) = (payload, 0);
        loop {
            let again = payload.copy();
            let has_body = !matches!(payload, Payload::None);
            let response = self.once(&method, url.clone(), &headers, payload, limits)?;
            let limit = redirects.limit(&method, has_body, response.status());
            let (Some(limit), Some(again)) = (limit, again) else { return Ok(response) };
            let Some(location) = response.header(LOCATION.as_str()) else { return Ok(response) };
            if followed == limit {
                return Err(Error::Redirects { url: redact(url.as_str()), limit });
            }
            followed += 1;
            let next = Address::joined(&url, location)?;
            if has_body && url.scheme() == "https" && next.url.scheme() == "http" {
                return Ok(response);
            }
            payload = again;
            if next.url.origin() != url.origin() {
                headers.remove(AUTHORIZATION);
                headers.remove(COOKIE);
            }
            if let Some(authorization) = &next.authorization {
                headers.insert(AUTHORIZATION, header_value("authorization", authorization, &next.url)?);
            }
            url = next.url;
        }
    }

    /// Ends everything under way, in whatever thread, and refuses everything after it. Reads and writes that wait give an
    /// error at once; only the resolving of a name runs into its time-out.
    pub fn shut_down(&self) {
        self.0.closed.store(true, Ordering::SeqCst);
        for agent in self.0.agents.iter().filter_map(OnceLock::get) {
            agent.clone().shutdown();
        }
    }

    /// One exchange, no redirects.
    fn once(
        &self,
        method: &Method,
        url: Url,
        headers: &HeaderMap,
        payload: Payload<'_>,
        limits: Limits,
    ) -> Result<Response, Error> {
        let proxy = self.0.options.proxies.of(&url);
        let mut builder = ureq::http::Request::builder().method(method).uri(url.as_str());
        if let Some(all) = builder.headers_mut() {
            all.extend(headers.clone());
        }
        let bad = |error: ureq::http::Error| Error::Url { url: redact(url.as_str()), why: error.to_string() };
        let way = Way { proxy, limits };
        let outcome = match payload {
            Payload::None if matches!(method.as_str(), "POST" | "PUT" | "PATCH") => {
                self.run(builder.body(&[][..]).map_err(bad)?, way)?
            }
            Payload::None => self.run(builder.body(()).map_err(bad)?, way)?,
            Payload::Bytes(bytes) => self.run(builder.body(bytes).map_err(bad)?, way)?,
            Payload::Reader(reader, length) => {
                if let Some(length) = length {
                    builder = builder.header(CONTENT_LENGTH, length);
                }
                let mut upload = Upload::new(reader, length);
                let body = SendBody::from_reader(&mut upload);
                let outcome = self.run(builder.body(body).map_err(bad)?, way)?;
                if let Some(source) = upload.failed {
                    return Err(Error::Upload { url: redact(url.as_str()), source });
                }
                outcome
            }
        };
        match outcome {
            Ok(response) => Ok(Response::new(response, url, limits)),
            Err(error) => Err(Error::of(error, url.as_str(), proxy, limits)),
        }
    }

    /// The outer error is a proxy's address, or that the client is shut down.
    fn run<B: AsSendBody>(
        &self,
        request: ureq::http::Request<B>,
        way: Way<'_>,
    ) -> Result<Result<ureq::http::Response<ureq::Body>, ureq::Error>, Error> {
        let https = request.uri().scheme_str() == Some("https");
        let agent = self.0.agent(https, way.proxy)?;
        if way.limits.idle == self.0.options.idle_timeout {
            return Ok(agent.run(request));
        }
        let idle = Some(way.limits.idle);
        let request = agent.configure_request(request).timeout_per_read(idle).timeout_per_write(idle).build();
        Ok(agent.run(request))
    }
}

/// How one request travels.
#[derive(Clone, Copy)]
struct Way<'a> {
    proxy: Option<&'a str>,
    limits: Limits,
}

impl Shared {
    /// One agent for each way, so that its TLS configuration is made once.
    fn agent(&self, https: bool, proxy: Option<&str>) -> Result<&Agent, Error> {
        if self.closed.load(Ordering::SeqCst) {
            let source = std::io::Error::new(std::io::ErrorKind::NotConnected, "the client is shut down");
            return Err(Error::Broken { url: String::new(), source: Box::new(source) });
        }
        let slot = &self.agents[usize::from(https) * 2 + usize::from(proxy.is_some())];
        if let Some(agent) = slot.get() {
            return Ok(agent);
        }
        let tls = https || proxy.is_some_and(|proxy| proxy.starts_with("https://"));
        let secured = Secured { config: tls.then(|| self.trust.config()) };
        let direct = self.config(None);
        let config = self.config(proxy.map(proxies::parse).transpose()?);
        let connector =
            ().chain(SocksConnector::default())
                .chain(ForwardProxy { direct })
                .chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(secured);
        Ok(slot.get_or_init(|| Agent::with_parts(config, connector, Names::default())))
    }

    fn config(&self, proxy: Option<Proxy>) -> Config {
        let options = &self.options;
        Config::builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .proxy(proxy)
            .user_agent(&options.user_agent)
            .timeout_resolve(Some(options.connect_timeout))
            .timeout_connect(Some(options.connect_timeout))
            .timeout_per_read(Some(options.idle_timeout))
            .timeout_per_write(Some(options.idle_timeout))
            // A server may have closed an older one already, which shows only when the next request is lost.
            .max_idle_age(Duration::from_secs(10))
            .build()
    }
}

fn headers(given: &[(String, String)], address: &Address) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Error::Header { url: redact(address.url.as_str()), name: name.clone() })?;
        headers.append(parsed, header_value(name, value, &address.url)?);
    }
    if let Some(authorization) = &address.authorization
        && !headers.contains_key(AUTHORIZATION)
    {
        headers.insert(AUTHORIZATION, header_value("authorization", authorization, &address.url)?);
    }
    Ok(headers)
}

fn header_value(name: &str, value: &str, url: &Url) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(value)
        .map_err(|_| Error::Header { url: redact(url.as_str()), name: name.to_owned() })
}
