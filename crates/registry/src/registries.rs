//! The client itself: which machines are asked for what.
use crate::endpoint::{At, Call, Endpoint};
use crate::error::answer::Subject;
use crate::hosts::Machine;
use crate::scope::Scopes;
use crate::wait::Alarm;
use crate::{Access, Config, Error, Repository};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use strata_http::Redirects;

/// How long a mirror that failed is passed over.
const MIRROR_REST: Duration = Duration::from_secs(60);

/// The client. Clones share everything; any number of threads may use it.
#[derive(Clone)]
pub struct Registries(Arc<Shared>);

struct Shared {
    config: Config,
    endpoints: Mutex<HashMap<String, Arc<Endpoint>>>,
    /// Mirrors that failed, and until when they are left alone.
    resting: Mutex<HashMap<String, SystemTime>>,
    /// Rings when everything ends.
    alarm: Arc<Alarm>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registries").field(&self.0.config).finish()
    }
}

impl Registries {
    /// A client. Nothing is read or sent before it is used.
    pub fn new(config: Config) -> Self {
        let (endpoints, resting) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Shared { config, endpoints, resting, alarm: Arc::default() }))
    }

    /// Ends everything under way, in whatever thread, for good: whoever reads, sends or waits gets an error at once. That
    /// is how a command is cancelled.
    pub fn shut_down(&self) {
        self.0.alarm.ring();
        for endpoint in self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner).values() {
            endpoint.shut_down();
        }
    }

    /// What it was made from.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The registry itself.
    pub(crate) fn endpoint(&self, host: &str) -> Result<Arc<Endpoint>, Error> {
        self.remembered(host.to_owned(), || Ok(Machine::of(host)))
    }

    /// A machine that is no registry of ours, which gets no credentials.
    pub(crate) fn stranger(&self, host: &str) -> Result<Arc<Endpoint>, Error> {
        let config = Config { credentials: crate::Credentials::none(), ..self.0.config.clone() };
        Ok(Arc::new(Endpoint::new(Machine::of(host), &config, &self.0.alarm)?))
    }

    /// Asks the mirrors in turn, then the registry itself, until one gives an answer; the registry's own error decides.
    pub(crate) fn read<T>(
        &self,
        repository: &Repository,
        mut ask: impl FnMut(&Arc<Endpoint>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for endpoint in self.mirrors(repository.host())? {
            match ask(&endpoint) {
                Ok(answer) => return Ok(answer),
                // One that does not have it may have something else.
                Err(error) if error.is_not_found() => {}
                Err(_) => self.rest(&endpoint),
            }
        }
        ask(&self.endpoint(repository.host())?)
    }

    fn mirrors(&self, host: &str) -> Result<Vec<Arc<Endpoint>>, Error> {
        let now = self.0.config.clock.now();
        let mut found = Vec::new();
        for mirror in self.0.config.mirrors.iter().filter(|mirror| mirror.of == host) {
            let endpoint = self.remembered(format!("mirror {}", mirror.url), || Machine::mirror(mirror))?;
            let resting = self.0.resting.lock().unwrap_or_else(PoisonError::into_inner);
            if resting.get(endpoint.host()).is_none_or(|until| *until <= now) {
                found.push(endpoint);
            }
        }
        Ok(found)
    }

    fn rest(&self, endpoint: &Endpoint) {
        let until = self.0.config.clock.now() + MIRROR_REST;
        let mut resting = self.0.resting.lock().unwrap_or_else(PoisonError::into_inner);
        resting.insert(endpoint.host().to_owned(), until);
    }

    fn remembered(
        &self,
        key: String,
        machine: impl FnOnce() -> Result<Machine, Error>,
    ) -> Result<Arc<Endpoint>, Error> {
        if self.0.alarm.has_rung() {
            return Err(Error::Cancelled);
        }
        let mut endpoints = self.0.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = endpoints.get(&key) {
            return Ok(known.clone());
        }
        let endpoint = Arc::new(Endpoint::new(machine()?, &self.0.config, &self.0.alarm)?);
        endpoints.insert(key, endpoint.clone());
        Ok(endpoint)
    }
}

/// A request about a repository without a body, redirects followed: also of what changes something, for that is no secret.
pub(crate) fn about<'a>(
    method: &'static str,
    repository: &'a Repository,
    path: String,
    subject: Subject<'a>,
    access: Access,
) -> Call<'a> {
    Call {
        method,
        at: At::Path(repository, path),
        headers: Vec::new(),
        bytes: None,
        redirects: Redirects::Repeat(10),
        subject,
        repository: Some(repository),
        scopes: Scopes::repository(repository.path(), access),
    }
}
