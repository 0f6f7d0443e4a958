//! What a registry is shown: nothing, a password, or a token, fetched when it asks and kept until it runs out.
//!
//! The flow is that of the distribution specification's token authentication. A request goes out with what is known
//! to be wanted; a 401 tells what is missing; the request goes out once more. From then on requests to the same machine
//! carry the right header at once, each repository with a token of its own.

mod token;

use crate::challenge::{Bearer, Challenge, choose};
use crate::credentials::{Credential, Credentials};
use crate::scope::Scopes;
use crate::wait::Clock;
use crate::{Error, Repository};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use strata_http::{Client, Response};

pub(crate) use token::{Granted, TokenRequest, TokenServer};

/// What requests to one machine carry.
pub(crate) struct Authorizer {
    host: String,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    server: TokenServer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the machine asked for last.
    wanted: Option<Challenge>,
    /// By repository: asking a helper starts a program.
    found: HashMap<String, Option<Credential>>,
    tokens: Vec<(Scopes, Granted)>,
}

/// What one request is for.
pub(crate) struct Purpose<'a> {
    /// The repository whose credentials are meant; `None` for the registry as a whole.
    pub(crate) repository: Option<&'a Repository>,
    /// What a token must allow.
    pub(crate) scopes: &'a Scopes,
}

impl Authorizer {
    pub(crate) fn new(
        host: &str,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
        server: TokenServer,
    ) -> Self {
        Self { host: host.to_owned(), credentials, clock, server, state: Mutex::default() }
    }

    /// The `Authorization` header for a request, as far as the machine has said that it wants one.
    ///
    /// Several threads that need the same token wait for the one that fetches it.
    pub(crate) fn header(&self, client: &Client, purpose: &Purpose<'_>) -> Result<Option<String>, Error> {
        let mut state = self.lock();
        match state.wanted.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => self.basic(&mut state, purpose),
            Some(Challenge::Bearer(bearer)) => {
                // The scope in a challenge was that of another request.
                let header = self.bearer(&mut state, client, &bearer, purpose.scopes.clone(), purpose)?;
                Ok(Some(header))
            }
        }
    }

    /// Takes in what a 401 asks for. `shown` is the header that did not do. Returns the header to try instead; `None`
    /// when there is nothing better to show.
    pub(crate) fn challenged(
        &self,
        response: &Response,
        shown: Option<&str>,
        client: &Client,
        purpose: &Purpose<'_>,
    ) -> Result<Option<String>, Error> {
        let wanted = choose(response);
        let mut state = self.lock();
        let Some(wanted) = wanted else { return Ok(None) };
        state.wanted = Some(wanted.clone());
        match wanted {
            Challenge::Basic => {
                Ok(self.basic(&mut state, purpose)?.filter(|header| Some(header.as_str()) != shown))
            }
            Challenge::Bearer(bearer) => {
                // Another thread may have replaced the token meanwhile; if not, it is spent.
                state.tokens.retain(|(_, token)| Some(token.header().as_str()) != shown);
                let asked = bearer.scope.as_deref().map(Scopes::parse).unwrap_or_default();
                let header =
                    self.bearer(&mut state, client, &bearer, purpose.scopes.clone().and(asked), purpose)?;
                Ok((Some(header.as_str()) != shown).then_some(header))
            }
        }
    }

    /// Learns from the answer to `GET /v2/` without needing anything yet.
    pub(crate) fn learn(&self, response: &Response) {
        if response.status() == 401 {
            self.lock().wanted = choose(response);
        }
    }

    /// A token that is not kept.
    pub(crate) fn fetch(&self, client: &Client, request: &TokenRequest<'_>) -> Result<Granted, Error> {
        self.server.fetch(client, request, &*self.clock)
    }

    pub(crate) fn shut_down(&self) {
        self.server.shut_down();
    }

    fn basic(&self, state: &mut State, purpose: &Purpose<'_>) -> Result<Option<String>, Error> {
        Ok(match self.credential(state, purpose)? {
            Some(Credential::Password { username, password }) => {
                Some(basic_header(&username, password.reveal()))
            }
            Some(Credential::Bearer(token)) => Some(format!("Bearer {}", token.reveal())),
            Some(Credential::Identity { .. }) | None => None,
        })
    }

    fn bearer(
        &self,
        state: &mut State,
        client: &Client,
        bearer: &Bearer,
        scopes: Scopes,
        purpose: &Purpose<'_>,
    ) -> Result<String, Error> {
        let now = self.clock.now();
        state.tokens.retain(|(_, token)| token.is_good(now));
        if let Some((_, token)) = state.tokens.iter().find(|(held, _)| held.cover(&scopes)) {
            return Ok(token.header());
        }
        let credential = self.credential(state, purpose)?;
        if let Some(Credential::Bearer(token)) = &credential {
            return Ok(format!("Bearer {}", token.reveal()));
        }
        let request = TokenRequest {
            host: &self.host,
            bearer,
            scopes: &scopes,
            credential: credential.as_ref(),
            offline: false,
        };
        let granted = self.server.fetch(client, &request, &*self.clock)?;
        let header = granted.header();
        state.tokens.push((scopes, granted));
        Ok(header)
    }

    fn credential(&self, state: &mut State, purpose: &Purpose<'_>) -> Result<Option<Credential>, Error> {
        let key = purpose.repository.map(ToString::to_string).unwrap_or_default();
        if let Some(known) = state.found.get(&key) {
            return Ok(known.clone());
        }
        let found = match purpose.repository {
            // A mirror's credentials are those of its own host, whatever it mirrors.
            Some(repository) => {
                self.credentials.find(&Repository::new(self.host.as_str(), repository.path()))?
            }
            None => self.credentials.find_host(&self.host)?,
        };
        state.found.insert(key, found.clone());
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one assignment: a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn basic_header(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}
