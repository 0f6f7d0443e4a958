//! A way to credentials, and walking it.
use super::Credentials;
use super::metadata::Token;
use super::network::Network;
use super::sts::{Role, Service};
use super::{metadata, process};
use crate::s3::error::{Error, ProviderError};
use std::fmt;
use std::path::PathBuf;

/// A way to credentials. Shown, it says where they come from, for messages: `the environment`, `profile "build" of
/// /root/.aws/credentials`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// What it is called.
    origin: String,
    pub(super) way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// They were written down.
    Known(Credentials),
    /// A role, taken by a token in a file.
    WebIdentity { service: Service, role: Role, token: PathBuf },
    /// A role, taken by other credentials.
    Role { service: Service, role: Role, source: Box<Provider> },
    /// A program prints them.
    Process(String),
    /// A service beside the container knows them.
    Container { url: String, token: Token },
    /// A service beside the machine knows them, if this is a machine of Amazon's. What was looked at before, where nobody
    /// said that it is.
    Instance { endpoint: String, before: Option<String> },
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

impl Provider {
    pub(super) fn new(origin: impl Into<String>, way: Way) -> Self {
        Self { origin: origin.into(), way }
    }

    /// Walks the way.
    pub(super) fn obtain(&self, network: &Network) -> Result<Credentials, Error> {
        let outcome = match &self.way {
            Way::Known(credentials) => return Ok(credentials.clone()),
            Way::Role { service, role, source } => {
                let source = source.obtain(network)?;
                service.assume(network, role, &source)
            }
            Way::WebIdentity { service, role, token } => service.assume_with_token(network, role, token),
            Way::Process(command) => process::run(command),
            Way::Container { url, token } => metadata::container(network, url, token),
            Way::Instance { endpoint, before } => match (metadata::instance(network, endpoint), before) {
                (Err(error), Some(before)) => {
                    return Err(Error::NoCredentials { tried: format!("{before}; {self} ({error})") });
                }
                (outcome, _) => outcome,
            },
        };
        outcome.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: ProviderError) -> Error {
        Error::Provider { provider: self.origin.clone(), source: Box::new(source) }
    }

    /// Whether there may be others when these have run out.
    pub(super) fn renews(&self) -> bool {
        !matches!(self.way, Way::Known(_))
    }
}
