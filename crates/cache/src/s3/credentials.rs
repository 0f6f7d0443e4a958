//! Who asks: access keys, the ways that lead to them, and keeping them fresh.
//!
//! The ways and their order are those of Amazon's own kits (the one for Go, which BuildKit uses): [`Provider::find`] (`search`) decides
//! from options, environment and files alone; a [`Keeper`] walks the way when the first request is signed, and again before
//! what it was given runs out.

mod document;
mod keeper;
mod metadata;
mod network;
mod process;
mod profile;
mod provider;
mod search;
mod signature;
mod sts;

use crate::s3::error::ProviderError;
use std::path::Path;
use std::time::{Duration, SystemTime};
use strata_registry::Secret;

pub(super) use keeper::Keeper;
pub(super) use network::Network;
pub(super) use profile::Files;
pub use provider::Provider;

/// An access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// `AKIA...`
    pub access_key_id: String,
    /// What requests are signed with.
    pub secret_access_key: Secret,
    /// For keys that were given out for a while.
    pub session_token: Option<Secret>,
    /// When that while is over.
    pub expires: Option<SystemTime>,
}

impl Credentials {
    /// Keys that hold for ever, as far as is known.
    pub(super) fn lasting(id: String, secret: String, token: Option<String>) -> Self {
        Self {
            access_key_id: id,
            secret_access_key: Secret::new(secret),
            session_token: token.map(Secret::new),
            expires: None,
        }
    }

    /// Whether they hold for so long after `now`.
    fn hold(&self, now: SystemTime, margin: Duration) -> bool {
        self.expires.is_none_or(|expires| expires > now + margin)
    }
}

/// A token that somebody else renews: read anew each time.
fn read_token(path: &Path) -> Result<Secret, ProviderError> {
    let text = fs_err::read_to_string(path).map_err(|source| ProviderError::Token { source })?;
    match text.trim() {
        "" => Err(ProviderError::EmptyToken { path: path.to_owned() }),
        token => Ok(Secret::new(token)),
    }
}
