//! What `image copy`, `image rebase`, `manifest` and looking at remote images share: places, platforms, who does it.

use crate::failure::{Failure, with_causes};
use crate::global::Global;
use std::str::FromStr;
use strata_engine::copy::{Copier, CopyError, Place, Step};
use strata_oci::{Platform, Reference};

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        Self::new(with_causes(&error))
    }
}

/// A place, from an argument.
pub(super) fn place(text: &str) -> Result<Place, Failure> {
    Ok(Place::from_str(text)?)
}

/// A name on a registry, from an argument.
pub(super) fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|error| Failure::new(format!("{text:?}: {error}")))
}

/// A value of `--platform`.
pub(super) fn platform(text: &str) -> Result<Platform, String> {
    text.parse().map_err(|_| "expected os/arch[/variant]".to_owned())
}

/// Does something with the client of registries; the local store is opened only by places that are in it.
pub(super) fn with_copier<T>(
    global: &Global,
    observer: &(dyn Fn(&Step) + Sync),
    action: impl FnOnce(&Copier<'_>) -> Result<T, CopyError>,
) -> Result<T, Failure> {
    let registries = crate::registries::from_environment()?;
    let options = global.options(strata_engine::Access::Full);
    let client = registries.clone();
    let engine = move || {
        let engine = strata_engine::Engine::open(options.clone()).map_err(Box::new)?;
        Ok(engine.with_registries(client.clone()))
    };
    Ok(action(&Copier { registries: &registries, engine: &engine, observer })?)
}
