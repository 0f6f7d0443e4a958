//! Why something did not work, in sentences that say what to do next.
mod provider;

pub use provider::ProviderError;
use std::fmt;
use std::io;

/// What was to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// GET
    Read,
    /// HEAD
    Look,
    /// PUT and the parts of an upload
    Write,
    /// A copy onto itself
    Touch,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Look => "look for",
            Self::Write => "write",
            Self::Touch => "renew",
        })
    }
}

impl Deed {
    /// The permission it takes.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::Read | Self::Look => "s3:GetObject and s3:ListBucket",
            Self::Write => "s3:PutObject and s3:AbortMultipartUpload",
            Self::Touch => "s3:GetObject and s3:PutObject",
        }
    }
}

/// What an object store, or the way to it, did not do. No variant holds a secret; text from servers is bounded and free of
/// control characters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key that must be there.
    #[error("s3 cache: {key} is missing: add {key}=... or set {variable}")]
    Missing {
        /// The key.
        key: &'static str,
        /// The variable that would do.
        variable: &'static str,
    },
    /// A key that nobody knows.
    #[error("s3 cache: unknown key {key:?}: it has {}", super::KEYS.join(", "))]
    Unknown {
        /// The key.
        key: String,
    },
    /// A value that means nothing.
    #[error("s3 cache: invalid {key}={value}: {why}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// Nobody said who we are.
    #[error("s3 cache: no credentials; in this order there are none in {tried}")]
    NoCredentials {
        /// Where they were looked for.
        tried: String,
    },
    /// They were said to be somewhere, and cannot be had from there.
    #[error("s3 cache: no credentials from {provider}: {source}")]
    Provider {
        /// Where.
        provider: String,
        /// Why.
        source: Box<ProviderError>,
    },
    /// A way to credentials that only Amazon's own clients know.
    #[error(
        "s3 cache: {what} is not supported: run `eval \"$(aws configure export-credentials --format env)\"` before"
    )]
    Unsupported {
        /// The way.
        what: String,
    },
    /// Something is there, and what belongs to it is not.
    #[error("s3 cache: {origin}: {why}")]
    HalfCredentials {
        /// Where.
        origin: String,
        /// What lacks.
        why: String,
    },
    /// A variable that means nothing.
    #[error("s3 cache: invalid {name}={value}: {why}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Without anything secret.
        value: String,
        /// What is wrong.
        why: String,
    },
    /// The profile that the user chose.
    #[error("s3 cache: AWS_PROFILE is {name:?}, and there is no such profile in {files}")]
    NoProfile {
        /// Its name.
        name: String,
        /// Where it was looked for.
        files: String,
    },
    /// A file of credentials that is there and cannot be read.
    #[error("s3 cache: {source}")]
    CredentialsFile {
        /// With the path.
        source: io::Error,
    },
    /// The server says no.
    #[error("cannot {deed} s3://{bucket}/{key} at {endpoint}: {said}")]
    Refused {
        /// What was wanted.
        deed: Deed,
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// Scheme, host and port.
        endpoint: String,
        /// S3's code and message, the status, and what to do.
        said: String,
    },
    /// There was no answer.
    #[error("cannot {deed} s3://{bucket}/{key}{}: {source}", tried(*.tries))]
    Transport {
        /// What was wanted.
        deed: Deed,
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// How often it was tried.
        tries: u32,
        /// Names the URL.
        source: Box<strata_http::Error>,
    },
    /// The object is shorter or longer than it should be.
    #[error(
        "s3://{bucket}/{key} has {found} bytes, not {expected}: it is damaged; delete it, and export the cache again"
    )]
    Size {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// As declared.
        expected: u64,
        /// As it came.
        found: String,
    },
    /// No such object.
    #[error("s3://{bucket}/{key} is not there: the cache is incomplete; export it again")]
    Gone {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// What is to be sent cannot be read, or is not what it was said to be.
    #[error("cannot send s3://{bucket}/{key}: {source}")]
    Source {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// The reader's own.
        source: io::Error,
    },
    /// An answer that is not S3's.
    #[error("cannot {deed} s3://{bucket}/{key} at {endpoint}: the server's answer cannot be read: {why}")]
    Malformed {
        /// What was wanted.
        deed: Deed,
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// Scheme, host and port.
        endpoint: String,
        /// What is wrong with it.
        why: String,
    },
    /// The client cannot be made.
    #[error("s3 cache: {0}")]
    Client(Box<strata_http::Error>),
}

impl Error {
    /// What is inside an error of reading an [`Object`](super::Object).
    pub fn of_read(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// As `read` must give it: see [`Error::of_read`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Gone { .. } => io::ErrorKind::NotFound,
            Error::Size { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

fn tried(tries: u32) -> String {
    if tries > 1 { format!(" (tried {tries} times)") } else { String::new() }
}
