//! The client of registries as this user has configured it.

use crate::failure::Failure;
use strata_engine::registry::{Config, Registries};

/// A client from the environment. Nothing is read before it is used.
pub(crate) fn from_environment() -> Result<Registries, Failure> {
    Ok(Registries::new(Config::default()))
}
