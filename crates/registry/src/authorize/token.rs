//! Fetching a token (the distribution token and OAuth2 token specifications).
use crate::Error;
use crate::challenge::Bearer;
use crate::credentials::{Credential, Secret};
use crate::error::answer::Refusal;
use crate::hosts::is_loopback;
use crate::scope::Scopes;
use crate::text::printable;
use crate::wait::{Clock, jittered};
use serde::Deserialize;
use std::time::{Duration, SystemTime};
use strata_http::{Client, Redirects, Request, Response, Retry, Url};

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

/// How token servers are dealt with.
#[derive(Clone, Debug)]
pub(crate) struct TokenServer {
    /// Sent as `client_id`.
    pub(crate) client_id: String,
    /// Hosts that may be sent passwords over plain http, besides this machine.
    pub(crate) insecure: Vec<String>,
    pub(crate) retry: Retry,
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
    /// Asks for a token.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when the credentials are wrong, [`Error::Token`] for everything else.
    pub(crate) fn fetch(
        &self,
        client: &Client,
        request: &TokenRequest<'_>,
        clock: &dyn Clock,
    ) -> Result<Granted, Error> {
        let realm = self.realm(request)?;
        let asked = clock.now();
        let response = self.ask(client, request, &realm, clock)?;
        let fail = |message: String| failed(request, &realm, message);
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
        let host_and_port = realm.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        match realm.scheme() {
            _ if host.is_empty() || !realm.username().is_empty() || realm.password().is_some() => {
                Err(bad("the registry names a token server that is no plain URL"))
            }
            "https" => Ok(realm),
            "http"
                if request.credential.is_none()
                    || is_loopback(host)
                    || crate::hosts::is_listed(&host_and_port, &self.insecure) =>
            {
                Ok(realm)
            }
            "http" => Err(bad(
                "credentials are not sent over plain http; name that host as an insecure registry if you trust the network",
            )),
            _ => Err(bad("the registry names a token server that is neither http nor https")),
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
                Ok(response) if response.is_transient() => self.retry.pause(failures, response.retry_after()),
                Err(error) if error.is_transient() => self.retry.pause(failures, None),
                _ => None,
            };
            match pause {
                Some(pause) => clock.sleep(jittered(pause)),
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
            query.append_pair("client_id", &self.client_id);
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
            .append_pair("client_id", &self.client_id)
            .append_pair("access_type", "offline");
        url.query().map(str::to_owned)
    }
}

fn failed(request: &TokenRequest<'_>, realm: &Url, message: String) -> Error {
    let realm = match realm.port() {
        Some(port) => {
            format!("{}://{}:{port}{}", realm.scheme(), realm.host_str().unwrap_or_default(), realm.path())
        }
        None => format!("{}://{}{}", realm.scheme(), realm.host_str().unwrap_or_default(), realm.path()),
    };
    Error::Token { host: request.host.to_owned(), realm: printable(&realm, 200), message }
}
