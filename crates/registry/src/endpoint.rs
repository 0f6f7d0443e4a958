//! One machine: its connections, whether it speaks TLS, what it wants to be shown; and a request to it, tried again
//! while that makes sense.
use crate::authorize::{Authorizer, Granted, Purpose, TokenRequest, TokenServer};
use crate::challenge::{self, Challenge};
use crate::error::answer::{Refusal, Subject};
use crate::hosts::{Certificates, Machine, is_listed, is_loopback};
use crate::scope::Scopes;
use crate::wait::{Alarm, Clock};
use crate::{Config, Error, Repository};
use std::fmt;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use strata_http::{Client, Error as HttpError, Options, Redirects, Request, Response, Retry, TlsFault, Url};

/// One machine that stands for a registry.
pub(crate) struct Endpoint {
    machine: Machine,
    client: Client,
    authorizer: Authorizer,
    retry: Retry,
    clock: Arc<dyn Clock>,
    alarm: Arc<Alarm>,
    /// Plain http is allowed.
    insecure: bool,
    /// `https://host` or `http://host`, once it is known.
    base: Mutex<Option<String>>,
    /// It has answered before: when it refuses a connection now, it is away for a moment.
    answered: AtomicBool,
}

/// A request to a machine.
pub(crate) struct Call<'a> {
    pub(crate) method: &'static str,
    /// Below `/v2/`, or a whole URL that the machine gave.
    pub(crate) at: At<'a>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) bytes: Option<&'a [u8]>,
    pub(crate) redirects: Redirects,
    pub(crate) subject: Subject<'a>,
    pub(crate) repository: Option<&'a Repository>,
    pub(crate) scopes: Scopes,
}

impl<'a> Call<'a> {
    /// `GET /v2/`: is there a registry, and does it let us in?
    pub(crate) fn root(host: &'a str) -> Self {
        Self {
            method: "GET",
            at: At::Root,
            headers: Vec::new(),
            bytes: None,
            redirects: Redirects::Follow(3),
            subject: Subject::Host(host),
            repository: None,
            scopes: Scopes::none(),
        }
    }
}

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) enum At<'a> {
    /// To a path of a repository: `manifests/latest`.
    Path(&'a Repository, String),
    /// To `/v2/`.
    Root,
    /// Where the machine said, in a `Location` or `Link`.
    Url(Url),
}

/// What a request with a streamed body came to.
pub(crate) enum Streamed {
    Answer(Box<Response>),
    Failed(strata_http::Error),
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.machine).finish()
    }
}

impl Endpoint {
    /// Reads the machine's certificates. Nothing is sent.
    pub(crate) fn new(machine: Machine, config: &Config, alarm: &Arc<Alarm>) -> Result<Self, Error> {
        let names = [machine.host.as_str(), machine.address.as_str()];
        let names = if names[0] == names[1] { &names[..1] } else { &names[..] };
        let Certificates { authorities, identity } = Certificates::find(&config.certificates, names)?;
        let insecure = is_loopback(&machine.host) || is_listed(&machine.host, &config.insecure);
        let certified = !authorities.is_empty() || identity.is_some();
        let options = Options {
            // A certificate of an authority is there to be checked with.
            insecure: insecure && authorities.is_empty(),
            authorities,
            identity,
            ..config.http.clone()
        };
        let client = Client::new(options)
            .map_err(|source| Error::Settings { what: machine.host.clone(), why: source.to_string() })?;
        let server = TokenServer::new(&machine, config, alarm);
        let clock = config.clock.clone();
        let authorizer = Authorizer::new(&machine.host, config.credentials.clone(), clock.clone(), server);
        let base = match (machine.scheme, insecure) {
            (Some(scheme), _) => Some(format!("{scheme}://{}", machine.address)),
            (None, _) if certified || !insecure => Some(format!("https://{}", machine.address)),
            (None, _) => None,
        };
        Ok(Self {
            client,
            authorizer,
            retry: config.retry,
            clock,
            alarm: alarm.clone(),
            insecure,
            base: Mutex::new(base),
            answered: AtomicBool::new(false),
            machine,
        })
    }

    pub(crate) fn host(&self) -> &str {
        &self.machine.host
    }

    /// Waits, unless everything is being ended.
    pub(crate) fn sleep(&self, pause: Duration) {
        self.clock.sleep(pause, &self.alarm);
    }

    /// Ends what is under way with this machine and its token servers.
    pub(crate) fn shut_down(&self) {
        self.client.shut_down();
        self.authorizer.shut_down();
    }

    /// How long to wait after so many failures; `None`: give up.
    pub(crate) fn pause(&self, failures: u32, asked: Option<Duration>) -> Option<Duration> {
        self.retry.jittered(failures, asked).filter(|_| !self.alarm.has_rung())
    }

    /// Sends a request without a body or with a small one, and gives the answer, whatever its status; but a 401 is met
    /// with what the machine asks for, and broken connections and busy machines are tried again.
    pub(crate) fn send(&self, call: &Call<'_>) -> Result<Response, Error> {
        self.patiently(call.subject, || self.authorized(call))
    }

    fn patiently(
        &self,
        subject: Subject<'_>,
        mut attempt: impl FnMut() -> Result<Result<Response, strata_http::Error>, Error>,
    ) -> Result<Response, Error> {
        for failures in 1.. {
            let outcome = attempt()?;
            let pause = match &outcome {
                Ok(response) if response.is_transient() => self.pause(failures, response.retry_after()),
                Err(error) if self.may_come_back(error) => self.pause(failures, None),
                _ => None,
            };
            match (pause, outcome) {
                (Some(pause), _) => self.sleep(pause),
                (None, Ok(response)) => return Ok(response),
                (None, Err(error)) => return Err(self.transport(subject, error, failures)),
            }
        }
        unreachable!("the pauses end")
    }

    /// As [`Endpoint::send`]; every status but 2xx is an error.
    pub(crate) fn expect(&self, call: &Call<'_>) -> Result<Response, Error> {
        let response = self.send(call)?;
        if response.is_success() { Ok(response) } else { Err(self.refusal(response, call.subject)) }
    }

    /// Sends a request whose body is read from `reader`, once: what to do when it fails depends on how far it came.
    pub(crate) fn stream(
        &self,
        call: &Call<'_>,
        reader: &mut dyn Read,
        length: Option<u64>,
    ) -> Result<Streamed, Error> {
        let url = self.url(&call.at)?;
        let header = self.authorization(&url, call)?;
        let request = self.request(call, &url, header.as_deref()).reader(reader, length);
        let outcome = self.client.send(request);
        Ok(match outcome {
            Ok(response) => {
                if response.status() == 401 && self.is_ours(&url) {
                    // Whoever tries again shows something better.
                    self.authorizer.challenged(&response, header.as_deref(), &self.client, &purpose(call))?;
                }
                Streamed::Answer(Box::new(response))
            }
            Err(error) => Streamed::Failed(error),
        })
    }

    /// A status as an error.
    pub(crate) fn refusal(&self, response: Response, subject: Subject<'_>) -> Error {
        Refusal::read(response, self.clock.now()).about(subject, self.host())
    }

    /// Whether it is worth trying again after this.
    pub(crate) fn may_come_back(&self, error: &strata_http::Error) -> bool {
        let away =
            matches!(error, strata_http::Error::Connect { .. } | strata_http::Error::Unresolved { .. });
        error.is_transient() || (away && self.answered.load(Ordering::Relaxed))
    }

    /// Why there is no answer, as an error of ours.
    pub(crate) fn transport(&self, subject: Subject<'_>, source: strata_http::Error, tries: u32) -> Error {
        use strata_http::Error as Cause;
        let host = self.host().to_owned();
        if let Cause::Upload { source, .. } = source {
            return Error::Source { subject: subject.to_string(), source };
        }
        match source.tls() {
            Some(TlsFault::PlainHttp) => Error::PlainHttp { host },
            Some(TlsFault::UnknownAuthority) => Error::UnknownAuthority { host, source },
            Some(TlsFault::ClientCertificate) => Error::ClientCertificate { host, source },
            None if source.is_transient() && tries > 1 => {
                Error::Broken { subject: subject.to_string(), source, tries }
            }
            _ => Error::Unreachable { host, source },
        }
    }

    /// The answer to `GET /v2/` without any credentials, and what it asks for.
    pub(crate) fn first_contact(&self) -> Result<(Option<Challenge>, Response), Error> {
        let response = self.bare(None)?;
        Ok((challenge::choose(&response), response))
    }

    /// The answer to `GET /v2/` with this header.
    pub(crate) fn show(&self, header: &str) -> Result<Response, Error> {
        self.bare(Some(header))
    }

    fn bare(&self, header: Option<&str>) -> Result<Response, Error> {
        let call = Call::root(self.host());
        let subject = call.subject;
        let url = self.url(&call.at)?;
        self.patiently(subject, || {
            let response = self.client.send(self.request(&call, &url, header));
            if let Ok(response) = &response {
                check_downgrade(&url, response, subject)?;
                if !self.is_ours(response.url()) {
                    let to = shown(response.url());
                    let why = "a registry speaks for itself";
                    return Err(Error::Redirect { subject: subject.to_string(), to, why });
                }
            }
            Ok(response)
        })
    }

    /// A token for a login.
    pub(crate) fn fetch_token(&self, request: &TokenRequest<'_>) -> Result<Granted, Error> {
        self.authorizer.fetch(&self.client, request)
    }

    /// What a refused login is: never "denied", whatever the status.
    pub(crate) fn refused_login(&self, response: Response) -> Error {
        let refusal = Refusal::read(response, self.clock.now());
        match refusal.status {
            401 | 403 if !refusal.is_too_many() => {
                Error::Unauthorized { host: self.host().to_owned(), message: refusal.message }
            }
            _ => refusal.about(Subject::Host(self.host()), self.host()),
        }
    }

    /// One try, or two if the first shows what is wanted.
    fn authorized(&self, call: &Call<'_>) -> Result<Result<Response, strata_http::Error>, Error> {
        let url = self.url(&call.at)?;
        let mut header = self.authorization(&url, call)?;
        for attempt in 0.. {
            let response = match self.client.send(self.with_bytes(call, &url, header.as_deref())) {
                Ok(response) => response,
                Err(error) => return Ok(Err(error)),
            };
            self.answered.store(true, Ordering::Relaxed);
            check_downgrade(&url, &response, call.subject)?;
            // Twice: a token may have run out, and its successor may not have been asked for enough. Whoever we were
            // redirected to has no say in who gets our credentials.
            if response.status() != 401 || attempt == 2 || !self.is_ours(response.url()) {
                return Ok(Ok(response));
            }
            let better =
                self.authorizer.challenged(&response, header.as_deref(), &self.client, &purpose(call))?;
            match better {
                Some(better) => header = Some(better),
                None => return Ok(Ok(response)),
            }
        }
        unreachable!("the third attempt returns")
    }

    /// What belongs to this machine goes to no other.
    fn authorization(&self, url: &Url, call: &Call<'_>) -> Result<Option<String>, Error> {
        if !self.is_ours(url) {
            return Ok(None);
        }
        self.authorizer.header(&self.client, &purpose(call))
    }

    fn is_ours(&self, url: &Url) -> bool {
        let base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let base = base.as_deref().and_then(|base| Url::parse(base).ok());
        base.is_some_and(|base| base.origin() == url.origin())
    }

    fn with_bytes<'a>(&self, call: &Call<'a>, url: &Url, header: Option<&str>) -> Request<'a> {
        let request = self.request(call, url, header);
        match call.bytes {
            Some(bytes) => request.bytes(bytes),
            None => request,
        }
    }

    fn request<'a>(&self, call: &Call<'_>, url: &Url, header: Option<&str>) -> Request<'a> {
        let mut request = Request::new(call.method, url.as_str()).redirects(call.redirects);
        for (name, value) in &call.headers {
            request = request.header(name, value.as_str());
        }
        match header {
            Some(header) => request.header("Authorization", header),
            None => request,
        }
    }

    fn url(&self, at: &At<'_>) -> Result<Url, Error> {
        let text = match at {
            At::Url(url) => return Ok(url.clone()),
            At::Root => format!("{}/v2/", self.base()?),
            At::Path(repository, path) => {
                format!("{}/v2/{}{}/{path}", self.base()?, self.machine.prefix, repository.path())
            }
        };
        Url::parse(&text)
            .map_err(|error| Error::Settings { what: self.host().to_owned(), why: error.to_string() })
    }

    /// Where an address that the machine gave leads. It may say `http` for itself when a proxy before it does its TLS.
    pub(crate) fn follow(&self, from: &Url, location: &str, subject: Subject<'_>) -> Result<Url, Error> {
        let bad = |to: &str, why| Error::Redirect {
            subject: subject.to_string(),
            to: crate::text::printable(to.split(['?', '#']).next().unwrap_or_default(), 200),
            why,
        };
        let mut url = from.join(location).map_err(|_| bad(location, "that is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad(location, "that is neither http nor https"));
        }
        let same_host = url.host_str() == from.host_str();
        if from.scheme() == "https" && url.scheme() == "http" {
            if !same_host || url.port().is_some_and(|port| Some(port) != from.port()) {
                return Err(bad(location, "that is not encrypted, and the registry is"));
            }
            // Cannot fail between these two schemes.
            let _ = url.set_scheme("https");
            let _ = url.set_port(from.port());
        }
        Ok(url)
    }

    /// `scheme://host`. An insecure machine is asked which it is, once.
    fn base(&self) -> Result<String, Error> {
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(base) = &*base {
            return Ok(base.clone());
        }
        let found = self.probe()?;
        *base = Some(found.clone());
        Ok(found)
    }

    /// Over the network TLS is tried first, lest a password goes in the clear that need not; on this machine plain
    /// http, which is what registries there speak.
    fn probe(&self) -> Result<String, Error> {
        debug_assert!(self.insecure, "others have https");
        let order = match is_loopback(&self.machine.host) && !self.machine.address.ends_with(":443") {
            true => ["http", "https"],
            false => ["https", "http"],
        };
        let mut first = None;
        for scheme in order {
            let base = format!("{scheme}://{}", self.machine.address);
            match self.client.send(Request::get(format!("{base}/v2/")).redirects(Redirects::Return)) {
                // That is how a TLS server meets plain http.
                Ok(response) if scheme == "http" && response.status() == 400 && first.is_none() => {
                    first = Some(Ok(base));
                }
                Ok(response) => {
                    self.answered.store(true, Ordering::Relaxed);
                    self.authorizer.learn(&response);
                    return Ok(base);
                }
                Err(error) => {
                    // Each scheme may have a proxy of its own, which alone knows the name, or allows no tunnel to this port.
                    let of_scheme = matches!(
                        error,
                        HttpError::Tls { .. } | HttpError::Proxy { .. } | HttpError::Unresolved { .. }
                    );
                    let hopeless = !error.is_transient() && !of_scheme;
                    let host = Subject::Host(self.host());
                    let secured = error.tls().is_some_and(|fault| fault != TlsFault::PlainHttp);
                    match first {
                        // It refused plain http, and it does speak TLS.
                        Some(_) if secured => return Err(self.transport(host, error, 1)),
                        None if hopeless => return Err(self.transport(host, error, 1)),
                        None => first = Some(Err(error)),
                        Some(_) => {}
                    }
                }
            }
        }
        match first {
            Some(Ok(base)) => Ok(base),
            Some(Err(error)) => Err(self.transport(Subject::Host(self.host()), error, 1)),
            None => unreachable!("the loop returns or sets it"),
        }
    }
}

fn purpose<'c>(call: &'c Call<'_>) -> Purpose<'c> {
    Purpose { repository: call.repository, scopes: &call.scopes }
}

/// Without the query, which may hold a signature.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// A redirect must not lead from TLS out into the open.
fn check_downgrade(asked: &Url, response: &Response, subject: Subject<'_>) -> Result<(), Error> {
    let to = response.url();
    if asked.scheme() == "https" && to.scheme() == "http" {
        return Err(Error::Redirect {
            subject: subject.to_string(),
            to: shown(to),
            why: "that is not encrypted, and the registry is",
        });
    }
    Ok(())
}
