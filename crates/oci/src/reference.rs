//! Image references: `[domain[:port]/]path[:tag][@digest]` (`spec/engine.md`, section 4, "References").
use crate::Digest;
use std::fmt;
use std::str::FromStr;

/// A normalised reference: `busybox` is `docker.io/library/busybox`, tag `latest` unless a digest is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why text is not a reference. The display is Docker's sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Upper-case letters in the repository.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    UpperCase(String),
    /// Anything else.
    #[error("invalid reference format")]
    Format(String),
}

impl Reference {
    /// Registry host, `docker.io` by default.
    pub fn domain(&self) -> &str {
        &self.domain
    }
    /// Repository path with `library/` where it is implied.
    pub fn path(&self) -> &str {
        &self.path
    }
    /// Tag; `None` only when a digest was given without a tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
    /// Digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
    /// Repository as people write it: without `docker.io/` and `library/`.
    pub fn familiar_name(&self) -> String {
        todo!()
    }
    /// `familiar_name[:tag][@digest]`.
    pub fn familiar(&self) -> String {
        todo!()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(_text: &str) -> Result<Self, ReferenceError> {
        todo!()
    }
}

/// The full form: `docker.io/library/busybox:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
