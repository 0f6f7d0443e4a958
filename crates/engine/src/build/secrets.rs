//! `--secret`.
use crate::EngineError;
use std::path::PathBuf;

/// A secret a RUN may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Name that `--mount=type=secret,id=` uses.
    pub id: String,
    /// Where its bytes come from.
    pub source: SecretSource,
}

/// Where a secret's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// The value of an environment variable, read by the caller.
    Value(String),
}

impl Secret {
    /// The bytes. They are kept nowhere.
    pub(super) fn read(&self) -> Result<Vec<u8>, EngineError> {
        match &self.source {
            SecretSource::File(path) => Ok(fs_err::read(path)?),
            SecretSource::Value(value) => Ok(value.clone().into_bytes()),
        }
    }
}
