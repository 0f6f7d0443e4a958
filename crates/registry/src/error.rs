//! Why something did not work, in sentences that say what to do next.

pub(crate) mod answer;

use crate::credentials::CredentialsError;
use crate::wait::NextTry;
use crate::{Access, Repository};
use std::io;
use strata_oci::Digest;

/// What a registry, or the way to it, did not do.
///
/// The sentences are those of `docker pull` and `docker push` where Docker has one. No variant holds a credential: URLs
/// come without user, query and fragment, and text from registries is bounded and free of control characters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such tag or manifest.
    #[error("failed to resolve reference \"{reference}\": {reference}: not found")]
    ManifestUnknown {
        /// Repository with tag or digest.
        reference: String,
    },
    /// No such repository.
    #[error(
        "repository {repository} not found: {message}; check its name (some registries want it to be made before the first push)"
    )]
    NameUnknown {
        /// The repository.
        repository: Repository,
        /// The registry's words.
        message: String,
    },
    /// No such blob.
    #[error("blob {digest} is not in {repository}; the image there is incomplete: push it again")]
    BlobUnknown {
        /// The repository.
        repository: Repository,
        /// The blob.
        digest: Digest,
    },
    /// The registry wants to know who asks, or does not believe it.
    #[error("{host}: unauthorized: {message}; log in with `strata login {}`", login_argument(.host))]
    Unauthorized {
        /// The registry.
        host: String,
        /// The registry's words.
        message: String,
    },
    /// The registry knows who asks and says no; or it does not tell strangers what exists.
    #[error("{}", denied(.repository, *.access, .message))]
    Denied {
        /// The repository.
        repository: Repository,
        /// What was wanted.
        access: Access,
        /// The registry's words.
        message: String,
    },
    /// The registry wants us to wait longer than a command should.
    #[error("{host}: too many requests: {message}{next}")]
    TooManyRequests {
        /// The registry.
        host: String,
        /// Its words.
        message: String,
        /// When it may work again.
        next: NextTry,
    },
    /// The token server that the registry names gave no token.
    #[error("{host}: no token from {realm}: {message}")]
    Token {
        /// The registry.
        host: String,
        /// The token server's URL.
        realm: String,
        /// Why.
        message: String,
    },
    /// The registry does not do this.
    #[error("{host} does not support {operation}: {message}")]
    Unsupported {
        /// The registry.
        host: String,
        /// What was asked of it.
        operation: &'static str,
        /// Its words.
        message: String,
    },
    /// The registry refused what it was sent.
    #[error("{subject}: refused by the registry: {message}")]
    Refused {
        /// What was sent.
        subject: String,
        /// The registry's words.
        message: String,
    },
    /// An answer that fits no question; the last of several, if it was a 5xx.
    #[error("{subject}: unexpected answer {status} from {host}: {message}")]
    Status {
        /// What was asked for.
        subject: String,
        /// Who answered.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The words of the answer.
        message: String,
    },
    /// The registry sent something else than it was asked for.
    #[error(
        "{subject}: the registry sent content with digest {found}, not {expected}; it is damaged or lies: nothing was kept"
    )]
    DigestMismatch {
        /// What was asked for.
        subject: String,
        /// Its digest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A blob's length is not the one its descriptor says.
    #[error(
        "{subject}: the registry sent {found} bytes where the manifest says {expected}; it is damaged or lies: nothing was kept"
    )]
    SizeMismatch {
        /// What was asked for.
        subject: String,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes that came: a number, or `more`.
        found: String,
    },
    /// Manifests are small documents.
    #[error(
        "{subject}: the manifest is larger than {limit} bytes, which no registry accepts: it was not read"
    )]
    ManifestTooLarge {
        /// What was asked for.
        subject: String,
        /// The largest that is read.
        limit: u64,
    },
    /// Docker image format v1 and schema 1, which Docker stopped reading too.
    #[error(
        "{subject}: the image has the obsolete format \"schema 1\" ({media_type}), which strata does not read; have its owner push it again with a Docker of 2017 or later"
    )]
    SchemaOne {
        /// What was asked for.
        subject: String,
        /// Its media type.
        media_type: String,
    },
    /// What came is no manifest.
    #[error("{subject}: not an image manifest or index: {why}")]
    Malformed {
        /// What was asked for.
        subject: String,
        /// What is wrong with it.
        why: String,
    },
    /// A redirect that must not be followed.
    #[error("{subject}: redirected to {to}: {why}")]
    Redirect {
        /// What was asked for.
        subject: String,
        /// Where it was to lead.
        to: String,
        /// Why it is not followed.
        why: &'static str,
    },
    /// The registry's certificate is not one this machine trusts.
    #[error(
        "{host}: {source}; if the registry is yours, put the certificate of its authority into /etc/docker/certs.d/{host}/ca.crt"
    )]
    UnknownAuthority {
        /// The registry.
        host: String,
        /// What is wrong.
        source: strata_http::Error,
    },
    /// The registry wants to see a certificate of ours.
    #[error(
        "{host} wants a client certificate ({source}): put it into /etc/docker/certs.d/{host}/ as client.cert and client.key"
    )]
    ClientCertificate {
        /// The registry.
        host: String,
        /// What it said.
        source: strata_http::Error,
    },
    /// A registry without TLS.
    #[error(
        "{host} speaks http, not https; if that is meant to be, name it as an insecure registry (insecure-registries)"
    )]
    PlainHttp {
        /// The registry.
        host: String,
    },
    /// The registry could not be reached.
    #[error("{host}: {source}{}", reach(.source))]
    Unreachable {
        /// The registry.
        host: String,
        /// Why.
        source: strata_http::Error,
    },
    /// The connection broke, again and again.
    #[error("{subject}: {source}; gave up after {tries} tries without progress")]
    Broken {
        /// What was under way.
        subject: String,
        /// The last reason.
        source: strata_http::Error,
        /// How often it was tried.
        tries: u32,
    },
    /// What was to be uploaded could not be read.
    #[error("{subject}: cannot read what is to be uploaded: {source}")]
    Source {
        /// What was to be uploaded.
        subject: String,
        /// Why.
        source: io::Error,
    },
    /// [`Registries::shut_down`](crate::Registries::shut_down) came before it.
    #[error("canceled")]
    Cancelled,
    /// Credentials could not be read or kept.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A certificate, proxy or mirror that cannot be used.
    #[error("{what}: {why}")]
    Settings {
        /// Which.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// What is inside an error of reading a [`Blob`](crate::Blob).
    pub fn of_read(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Takes it out of an error of reading a [`Blob`](crate::Blob).
    pub fn from_read(error: io::Error) -> Result<Self, io::Error> {
        error.downcast()
    }

    /// Whether there is no such thing on the registry, as far as it tells.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::ManifestUnknown { .. } | Self::NameUnknown { .. } | Self::BlobUnknown { .. })
    }
}

/// As `read` must give it: see [`Error::from_read`].
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error)
    }
}

fn denied(repository: &Repository, access: Access, message: &str) -> String {
    let host = login_argument(repository.host());
    let login = format!("`strata login{}{host}`", if host.is_empty() { "" } else { " " });
    match access {
        Access::Pull => format!(
            "pull access denied for {repository}, repository does not exist or may require {login}: {message}"
        ),
        Access::Push => format!(
            "push access to {repository} denied: {message}; log in with {login} as somebody who may push there"
        ),
        Access::Delete => format!(
            "deleting in {repository} denied: {message}; log in with {login} as somebody who may delete there"
        ),
    }
}

/// Docker Hub is what `login` means when it is told nothing.
fn login_argument(host: &str) -> &str {
    if host == "docker.io" { "" } else { host }
}

fn reach(error: &strata_http::Error) -> &'static str {
    use strata_http::Error as Cause;
    match error {
        Cause::Unresolved { .. } => "; check the registry's name, the network and the proxy settings",
        Cause::Connect { .. } => "; check that the registry runs and that its port is right",
        Cause::Proxy { .. } | Cause::ProxyAddress { .. } => {
            "; check HTTPS_PROXY and HTTP_PROXY, or name the registry in NO_PROXY"
        }
        Cause::TimedOut { .. } => "; check the network and the proxy settings",
        _ => "",
    }
}
