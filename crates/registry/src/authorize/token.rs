//! Fetching a token (the distribution token and OAuth2 token specifications).
use crate::challenge::Bearer;
use crate::credentials::{Credential, Secret};
use crate::error::answer::Refusal;
use crate::hosts::{Certificates, Machine, is_listed, is_loopback};
use crate::scope::Scopes;
use crate::text::printable;
use crate::wait::{Alarm, Clock};
use crate::{Config, Error};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use strata_http::{Client, Options, Redirects, Request, Response, Retry, Url};

/// The largest token answer that is read.
const LONGEST: u64 = 1 << 20;
/// How long a token lasts whose server does not tell (the specification's number).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// A token with less life than this is not used any more: the request has to get there first.
const MARGIN: Duration = Duration::from_secs(10);

/// A token and how long it is good.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    token: Secret,
    expires: SystemTime,
    /// What can be kept in place of a password, if it was asked for and given.
    pub(crate) refresh: Option<Secret>,
}

impl Granted {
    pub(crate) fn header(&self) -> String {
        format!("Bearer {}", self.token.reveal())
    }

    pub(super) fn is_good(&self, now: SystemTime) -> bool {
        now < self.expires
    }
}

/// What is asked of a token server.
pub(crate) struct TokenRequest<'a> {
    /// The registry the token is for.
    pub(crate) host: &'a str,
    /// What it said.
    pub(crate) bearer: &'a Bearer,
    /// What the token shall allow.
    pub(crate) scopes: &'a Scopes,
    /// Who asks.
    pub(crate) credential: Option<&'a Credential>,
    /// Whether a refresh token is wanted as well, as at login.
    pub(crate) offline: bool,
}

/// What we call ourselves (`client_id`).
const CLIENT: &str = "strata";

/// How the token servers of one registry are dealt with.
pub(crate) struct TokenServer {
    registry: Machine,
    certificates: Vec<PathBuf>,
    http: Options,
    /// Hosts that may be sent passwords over plain http, besides this machine.
    insecure: Vec<String>,
    retry: Retry,
    alarm: Arc<Alarm>,
    /// By host: those that are not the registry itself.
    clients: Mutex<HashMap<String, Client>>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<f64>,
    #[serde(default)]
    refresh_token: Option<String>,
}

impl TokenServer {
    pub(crate) fn new(registry: &Machine, config: &Config, alarm: &Arc<Alarm>) -> Self {
        Self {
            registry: registry.clone(),
            certificates: config.certificates.clone(),
            http: config.http.clone(),
            insecure: config.insecure.clone(),
            retry: config.retry,
            alarm: alarm.clone(),
            clients: Mutex::default(),
        }
    }

    /// Asks for a token. `own` is the registry's client.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when the credentials are wrong, [`Error::Token`] for everything else.
    pub(crate) fn fetch(
        &self,
        own: &Client,
        request: &TokenRequest<'_>,
        clock: &dyn Clock,
    ) -> Result<Granted, Error> {
        let realm = self.realm(request)?;
        let client = &self.client_for(&realm, own)?;
        let asked = clock.now();
        let response = self.ask(client, request, &realm, clock)?;
        let fail = |message: String| failed(request, &realm, message);
        if realm.scheme() == "https" && response.url().scheme() == "http" {
            return Err(fail("it redirects to plain http".to_owned()));
        }
        if !response.is_success() {
            let refusal = Refusal::read(response, clock.now());
            return Err(match refusal.status {
                401 | 403 if !refusal.is_too_many() => {
                    Error::Unauthorized { host: request.host.to_owned(), message: refusal.message }
                }
                _ if refusal.is_too_many() => {
                    refusal.about(crate::error::answer::Subject::Host(request.host), request.host)
                }
                status => fail(format!("it answered {status}: {}", refusal.message)),
            });
        }
        let body = response.into_body().bytes(LONGEST).map_err(|error| fail(error.to_string()))?;
        // Not even the position in the text is told: the text holds a token.
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| fail("its answer is not the JSON of a token".to_owned()))?;
        let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
        let token = token.ok_or_else(|| fail("its answer holds no token".to_owned()))?;
        if token.chars().any(|c| c.is_control() || c == ' ') {
            return Err(fail("its token holds characters that no header may have".to_owned()));
        }
        let life = answer.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let life = life.filter(|life| !life.is_zero()).unwrap_or(DEFAULT_LIFE);
        let expires = asked.checked_add(life - MARGIN.min(life / 4)).unwrap_or(asked + DEFAULT_LIFE);
        let refresh = answer.refresh_token.filter(|token| !token.is_empty()).map(Secret::new);
        Ok(Granted { token: Secret::new(token), expires, refresh })
    }

    /// The server's address, if what we have may be sent there.
    fn realm(&self, request: &TokenRequest<'_>) -> Result<Url, Error> {
        let text = &request.bearer.realm;
        let bad = |why: &str| Error::Token {
            host: request.host.to_owned(),
            realm: printable(text.split(['?', '#']).next().unwrap_or_default(), 200),
            message: why.to_owned(),
        };
        let realm = Url::parse(text).map_err(|_| bad("the registry names a token server that is no URL"))?;
        let host = realm.host_str().unwrap_or_default();
        match realm.scheme() {
            _ if host.is_empty() || !realm.username().is_empty() || realm.password().is_some() => {
                Err(bad("the registry names a token server that is no plain URL"))
            }
            "https" => Ok(realm),
            "http"
                if request.credential.is_none()
                    || is_loopback(host)
                    || is_listed(&host_and_port(&realm), &self.insecure) =>
            {
                Ok(realm)
            }
            "http" => Err(bad(
                "credentials are not sent over plain http; name that host as an insecure registry if you trust the network",
            )),
            _ => Err(bad("the registry names a token server that is neither http nor https")),
        }
    }

    /// A token server on another host is trusted as that host is: by its own certificates and those of the registry's
    /// authority, but it does not see our client certificate, and is not excused from having a good one of its own.
    fn client_for(&self, realm: &Url, own: &Client) -> Result<Client, Error> {
        let host = host_and_port(realm);
        if host == self.registry.host || host == self.registry.address {
            return Ok(own.clone());
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&host) {
            return Ok(client.clone());
        }
        let Certificates { mut authorities, identity } = Certificates::find(&self.certificates, &[&host])?;
        let insecure = is_loopback(&host) || is_listed(&host, &self.insecure);
        let insecure = insecure && authorities.is_empty();
        authorities.extend(Certificates::find(&self.certificates, &[&self.registry.host])?.authorities);
        let options = Options { authorities, identity, insecure, ..self.http.clone() };
        let client = Client::new(options)
            .map_err(|source| Error::Settings { what: host.clone(), why: source.to_string() })?;
        clients.insert(host, client.clone());
        Ok(client)
    }

    pub(crate) fn shut_down(&self) {
        for client in self.clients.lock().unwrap_or_else(PoisonError::into_inner).values() {
            client.shut_down();
        }
    }

    fn ask(
        &self,
        client: &Client,
        request: &TokenRequest<'_>,
        realm: &Url,
        clock: &dyn Clock,
    ) -> Result<Response, Error> {
        let form = self.form(request);
        for failures in 1.. {
            let outcome = client.send(self.request(request, realm, form.as_deref()));
            let pause = match &outcome {
                Ok(response) if response.is_transient() => {
                    self.retry.jittered(failures, response.retry_after())
                }
                Err(error) if error.is_transient() => self.retry.jittered(failures, None),
                _ => None,
            };
            match pause.filter(|_| !self.alarm.has_rung()) {
                Some(pause) => clock.sleep(pause, &self.alarm),
                None => return outcome.map_err(|error| failed(request, realm, error.to_string())),
            }
        }
        unreachable!("the pauses end")
    }

    fn request<'a>(&self, request: &TokenRequest<'_>, realm: &Url, form: Option<&'a str>) -> Request<'a> {
        if let Some(form) = form {
            return Request::post(realm.as_str())
                .header("Content-Type", "application/x-www-form-urlencoded")
                .redirects(Redirects::Return)
                .bytes(form.as_bytes());
        }
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &request.bearer.service {
                query.append_pair("service", service);
            }
            for scope in request.scopes.texts() {
                query.append_pair("scope", &scope);
            }
            query.append_pair("client_id", CLIENT);
            if request.offline {
                query.append_pair("offline_token", "true");
            }
            if let Some(username) = request.credential.and_then(Credential::username) {
                query.append_pair("account", username);
            }
        }
        let get = Request::get(url.as_str());
        match request.credential {
            Some(Credential::Password { username, password }) => {
                get.header("Authorization", super::basic_header(username, password.reveal()))
            }
            _ => get,
        }
    }

    /// An identity token is only taken by `POST`.
    fn form(&self, request: &TokenRequest<'_>) -> Option<String> {
        let Some(Credential::Identity { token, .. }) = request.credential else { return None };
        // Any URL will do: what is wanted is its way of writing pairs.
        let mut url = Url::parse("http://form/").expect("a URL");
        url.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token.reveal())
            .append_pair("service", request.bearer.service.as_deref().unwrap_or_default())
            .append_pair("scope", &request.scopes.to_string())
            .append_pair("client_id", CLIENT)
            .append_pair("access_type", "offline");
        url.query().map(str::to_owned)
    }
}

/// As hosts stand in references.
fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn failed(request: &TokenRequest<'_>, realm: &Url, message: String) -> Error {
    let realm = format!("{}://{}{}", realm.scheme(), host_and_port(realm), realm.path());
    Error::Token { host: request.host.to_owned(), realm: printable(&realm, 200), message }
}
