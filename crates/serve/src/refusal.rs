//! Refused requests: what a client reads (distribution specification, "Error Codes") and the status that goes with it.

use crate::answer::{self, Answer};
use crate::storage::StorageError;
use hyper::header::{CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE, WWW_AUTHENTICATE};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;
use strata_oci::Digest;

/// A request that cannot be done, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("nothing is served at {0}")]
    NoEndpoint(String),
    #[error("{0} is not possible here")]
    Method(String),
    #[error("invalid repository name {0:?}")]
    NameInvalid(String),
    #[error("repository {0} is not known to this registry")]
    NameUnknown(String),
    #[error("invalid tag {0:?}")]
    TagInvalid(String),
    #[error("invalid digest {0:?}: expected sha256: and 64 lower-case hexadecimal digits")]
    DigestInvalid(String),
    #[error("the content has the digest {found}, not {expected}")]
    DigestMismatch { expected: Digest, found: Digest },
    #[error("blob {0} is not known to this repository")]
    BlobUnknown(Digest),
    #[error("upload {0} is not known: it ended, was cancelled or waited too long")]
    UploadUnknown(String),
    #[error("the chunk begins at byte {asked}, but {received} bytes were received")]
    OutOfOrder { asked: u64, received: u64, location: String },
    #[error("invalid Content-Range {0:?}: expected FIRST-LAST")]
    ChunkRange(String),
    #[error("{0} bytes came where {1} were announced")]
    Length(u64, u64),
    #[error("another request goes on with this upload")]
    Superseded,
    #[error("the body ended early: {0}")]
    Cut(String),
    #[error("no data came for {0} seconds")]
    Idle(u64),
    #[error("manifest {0} is not known to this repository")]
    ManifestUnknown(String),
    #[error("invalid manifest: {0}")]
    ManifestInvalid(String),
    #[error("the manifest refers to what this repository does not have")]
    ManifestIncomplete(Vec<Digest>),
    #[error("a manifest has at most {0} bytes")]
    ManifestTooLarge(u64),
    #[error("one push sets at most {0} tags")]
    TooManyTags(usize),
    #[error("invalid number {0:?}: expected 0 or more")]
    Number(String),
    #[error("the range is beyond the end of {0} bytes")]
    Range(u64),
    #[error("authentication required")]
    Unauthorized,
    #[error("{0}")]
    ReadOnly(&'static str),
    #[error("the upstream registry cannot be asked: {0}")]
    Upstream(String),
    #[error("{}", .0.in_public())]
    Storage(#[from] StorageError),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl Refusal {
    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoEndpoint(_)
            | Self::NameUnknown(_)
            | Self::BlobUnknown(_)
            | Self::UploadUnknown(_)
            | Self::ManifestUnknown(_)
            | Self::ManifestIncomplete(_) => StatusCode::NOT_FOUND,
            Self::Method(_) | Self::ReadOnly(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::OutOfOrder { .. } | Self::Range(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Superseded => StatusCode::CONFLICT,
            Self::Idle(_) => StatusCode::REQUEST_TIMEOUT,
            Self::ManifestTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyTags(_) => StatusCode::URI_TOO_LONG,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Upstream(_) => StatusCode::BAD_GATEWAY,
            Self::Storage(error) if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
            Self::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What whoever runs the registry should hear of: a client is not told about paths.
    pub(crate) fn trouble(&self) -> Option<String> {
        match self {
            Self::Storage(error) => Some(error.to_string()),
            Self::Upstream(why) => Some(format!("the upstream registry: {why}")),
            _ => None,
        }
    }

    /// The specification's word for it.
    fn code(&self) -> &'static str {
        match self {
            Self::NameInvalid(_) => "NAME_INVALID",
            Self::NameUnknown(_) => "NAME_UNKNOWN",
            Self::DigestInvalid(_) | Self::DigestMismatch { .. } => "DIGEST_INVALID",
            Self::BlobUnknown(_) => "BLOB_UNKNOWN",
            Self::UploadUnknown(_) => "BLOB_UPLOAD_UNKNOWN",
            Self::OutOfOrder { .. }
            | Self::ChunkRange(_)
            | Self::Superseded
            | Self::Cut(_)
            | Self::Idle(_)
            | Self::Range(_) => "BLOB_UPLOAD_INVALID",
            Self::Length(..) | Self::ManifestTooLarge(_) => "SIZE_INVALID",
            Self::ManifestUnknown(_) => "MANIFEST_UNKNOWN",
            Self::ManifestInvalid(_) | Self::TagInvalid(_) | Self::TooManyTags(_) => "MANIFEST_INVALID",
            Self::ManifestIncomplete(_) => "MANIFEST_BLOB_UNKNOWN",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::NoEndpoint(_) | Self::Method(_) | Self::ReadOnly(_) | Self::Number(_) => "UNSUPPORTED",
            Self::Upstream(_) | Self::Storage(_) => "UNKNOWN",
        }
    }

    /// One entry per missing blob, as the specification wants it; one entry otherwise.
    fn body(&self) -> serde_json::Value {
        let entry = |detail: serde_json::Value| json!({ "code": self.code(), "message": self.to_string(), "detail": detail });
        let entries: Vec<_> = match self {
            Self::ManifestIncomplete(missing) => {
                missing.iter().map(|digest| entry(json!({ "digest": digest }))).collect()
            }
            Self::BlobUnknown(digest) => vec![entry(json!({ "digest": digest }))],
            Self::ManifestUnknown(reference) => vec![entry(json!({ "reference": reference }))],
            Self::NameInvalid(name) | Self::NameUnknown(name) => vec![entry(json!({ "name": name }))],
            _ => vec![entry(json!({}))],
        };
        json!({ "errors": entries })
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        match self {
            Self::Unauthorized => set(WWW_AUTHENTICATE, "Basic realm=\"strata registry\", charset=\"UTF-8\""),
            Self::Range(size) => set(CONTENT_RANGE, &format!("bytes */{size}")),
            Self::OutOfOrder { received, location, .. } => {
                set(LOCATION, location);
                set(RANGE, &answer::received(*received));
            }
            _ => {}
        }
        headers
    }

    /// As it goes to the client.
    pub(crate) fn answer(&self) -> Answer {
        let mut answer = answer::json(self.status(), &self.body());
        answer.headers_mut().extend(self.headers());
        answer
    }
}
