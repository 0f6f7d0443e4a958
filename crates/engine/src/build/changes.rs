//! `import -c`: Dockerfile instructions that only touch the config.
use crate::EngineError;
use strata_oci::RuntimeConfig;

/// Applies metadata instructions to an empty config.
pub(crate) fn apply_changes(changes: &[String]) -> Result<RuntimeConfig, EngineError> {
    let mut config = RuntimeConfig::default();
    strata_build::apply_changes(&mut config, changes)
        .map_err(|error| EngineError::Invalid(error.to_string()))?;
    Ok(config)
}
