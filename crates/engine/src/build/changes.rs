//! `import -c`: Dockerfile instructions that only touch the config.
use crate::EngineError;
use strata_oci::RuntimeConfig;

/// Applies metadata instructions to an empty config.
pub(crate) fn apply_changes(changes: &[String]) -> Result<RuntimeConfig, EngineError> {
    let mut config = RuntimeConfig::default();
    for change in changes {
        let instruction = strata_dockerfile::parse_instruction(change)
            .map_err(|error| EngineError::Invalid(format!("invalid change {change:?}: {error}")))?;
        strata_build::apply_metadata(&mut config, &instruction)
            .map_err(|error| EngineError::Invalid(format!("invalid change {change:?}: {error}")))?;
    }
    Ok(config)
}
