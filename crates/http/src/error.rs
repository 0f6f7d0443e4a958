//! Why there is no answer.
use crate::address::redact;
use std::error::Error as StdError;
use std::io;
use std::time::Duration;
use ureq::Timeout;

/// Why a request got no answer, or a body did not end. URLs are shown without credentials, query and fragment.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an address this client can use.
    #[error("invalid URL {url:?}: {why}")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// A header's name or value has characters that headers must not have. Values are not shown.
    #[error("{url}: header {name:?} cannot be sent: it holds characters that no header may have")]
    Header {
        /// Of the request.
        url: String,
        /// The header.
        name: String,
    },
    /// A host's name has no address. The host may be a proxy's.
    #[error("{url}: cannot resolve {host}: {source}")]
    Unresolved {
        /// Of the request.
        url: String,
        /// The name.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// Nothing listens there, or there is no way there.
    #[error("{url}: cannot connect: {source}")]
    Connect {
        /// Of the request.
        url: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The proxy did not make a connection.
    #[error("{url}: proxy {proxy}: {why}")]
    Proxy {
        /// Of the request.
        url: String,
        /// Address of the proxy.
        proxy: String,
        /// What it answered.
        why: String,
    },
    /// TLS was not agreed on.
    #[error("{url}: TLS: {}", tls_sentence(.source.as_ref()))]
    Tls {
        /// Of the request.
        url: String,
        /// What rustls said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The other side was silent for too long.
    #[error("{url}: timed out: {what} for {} seconds", .after.as_secs_f32())]
    TimedOut {
        /// Of the request.
        url: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection broke, or what came was not HTTP.
    #[error("{url}: {source}")]
    Broken {
        /// Of the request.
        url: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The body of the request could not be read.
    #[error("{url}: cannot read what is to be sent: {source}")]
    Upload {
        /// Of the request.
        url: String,
        /// The reader's own error.
        source: io::Error,
    },
    /// Redirects without end.
    #[error("{url}: stopped after {limit} redirects")]
    Redirects {
        /// The last one.
        url: String,
        /// How many were allowed.
        limit: u32,
    },
    /// A body that should have been small.
    #[error("{url}: the answer has more than {limit} bytes")]
    TooLarge {
        /// Of the request.
        url: String,
        /// How many were allowed.
        limit: u64,
    },
    /// A file of certificates or a key.
    #[error("{path}: {why}")]
    Certificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A proxy's address.
    #[error("invalid proxy {proxy:?}: {why}")]
    ProxyAddress {
        /// Without credentials.
        proxy: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Why TLS was not agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The other side does not speak TLS at all: most often a plain HTTP server that was called `https`.
    PlainHttp,
    /// Nobody whom this machine trusts vouches for the other side's certificate.
    UnknownAuthority,
    /// The other side wants a certificate of us, or another one.
    ClientCertificate,
    /// Anything else: expired, for another name, no version in common.
    Other,
}

/// Limits of a request, for messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) idle: Duration,
}

/// What a name's resolver leaves in ureq's error.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve {host}: {source}")]
pub(crate) struct NameError {
    pub(crate) host: String,
    pub(crate) source: io::Error,
}

impl Error {
    /// Whether the same request may well succeed a little later: the connection broke or was silent. A name that does
    /// not exist, a refused connection and a certificate do not change by waiting.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Broken { .. })
    }

    /// Why TLS was not agreed on, as far as there is something to do about it.
    pub fn tls(&self) -> Option<TlsFault> {
        use rustls::{AlertDescription as Alert, CertificateError, Error as Cause, InvalidMessage};
        let Self::Tls { source, .. } = self else { return None };
        Some(match source.downcast_ref() {
            Some(Cause::InvalidMessage(InvalidMessage::InvalidContentType)) => TlsFault::PlainHttp,
            // An authority that was made anew has the name of the old one, and another key.
            Some(Cause::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => TlsFault::UnknownAuthority,
            Some(cause) if crate::secure::is_an_authority(cause) => TlsFault::UnknownAuthority,
            // A server that speaks TLS 1.2 has no alert of its own for this.
            Some(Cause::AlertReceived(Alert::CertificateRequired | Alert::BadCertificate)) => {
                TlsFault::ClientCertificate
            }
            _ => TlsFault::Other,
        })
    }

    /// What is inside an error of reading a [`Body`](crate::Body).
    pub fn of_read(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// As `read` must give it.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
            Self::Broken { source, .. } => {
                source.downcast_ref::<io::Error>().map_or(io::ErrorKind::InvalidData, io::Error::kind)
            }
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }

    /// In our words.
    pub(crate) fn of(error: ureq::Error, url: &str, proxy: Option<&str>, limits: Limits) -> Self {
        let url = redact(url);
        match error {
            ureq::Error::Timeout(timeout) => Self::timed_out(url, timeout, limits),
            ureq::Error::Other(source) => match source.downcast::<NameError>() {
                Ok(name) => Self::Unresolved { url, host: name.host, source: name.source },
                Err(source) => Self::Broken { url, source },
            },
            ureq::Error::ConnectProxyFailed(why) => {
                Self::Proxy { url, proxy: proxy.map(redact).unwrap_or_default(), why }
            }
            ureq::Error::Tls(why) => Self::Tls { url, source: why.into() },
            ureq::Error::Rustls(source) => Self::Tls { url, source: Box::new(source) },
            ureq::Error::Io(error) => Self::of_io(error, url),
            ureq::Error::BadUri(why) => Self::Url { url, why },
            other => Self::Broken { url, source: Box::new(other) },
        }
    }

    fn of_io(error: io::Error, url: String) -> Self {
        use io::ErrorKind as Kind;
        if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
            let source = error.into_inner().expect("just seen");
            return Self::Tls { url, source };
        }
        match error.kind() {
            Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable => Self::Connect { url, source: error },
            Kind::UnexpectedEof => {
                let source = io::Error::new(error.kind(), "the connection was closed before the end");
                Self::Broken { url, source: Box::new(source) }
            }
            _ => Self::Broken { url, source: Box::new(error) },
        }
    }

    fn timed_out(url: String, timeout: Timeout, limits: Limits) -> Self {
        let (what, after) = match timeout {
            Timeout::Resolve => ("the host's name was not resolved", limits.connect),
            Timeout::Connect => ("no connection", limits.connect),
            Timeout::PerWrite => ("nothing was taken", limits.idle),
            _ => ("nothing came", limits.idle),
        };
        Self::TimedOut { url, what, after }
    }
}

/// Other reasons than certificates.
fn said(error: &(dyn StdError + Send + Sync + 'static)) -> String {
    match error.downcast_ref() {
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("the other side ended it: {}", in_words(&format!("{alert:?}")))
        }
        Some(rustls::Error::PeerIncompatible(why)) => {
            format!("the other side is incompatible: {}", in_words(&format!("{why:?}")))
        }
        _ => error.to_string(),
    }
}

/// `HandshakeFailure` becomes `handshake failure`.
fn in_words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// rustls names its reasons like types.
fn tls_sentence(error: &(dyn StdError + Send + Sync + 'static)) -> String {
    use rustls::CertificateError as Reason;
    let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() else {
        return said(error);
    };
    match reason {
        Reason::UnknownIssuer => "the certificate is signed by an unknown authority".to_owned(),
        Reason::BadSignature => "the certificate is signed by another authority of the same name".to_owned(),
        Reason::Expired | Reason::ExpiredContext { .. } => "the certificate has expired".to_owned(),
        Reason::NotValidYet | Reason::NotValidYetContext { .. } => {
            "the certificate is not valid yet".to_owned()
        }
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => {
            "the certificate is for another name".to_owned()
        }
        Reason::Revoked => "the certificate was revoked".to_owned(),
        Reason::InvalidPurpose | Reason::InvalidPurposeContext { .. } => {
            "the certificate is not one for servers".to_owned()
        }
        Reason::BadEncoding => "the certificate cannot be read".to_owned(),
        Reason::UnsupportedSignatureAlgorithmContext { .. }
        | Reason::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "the certificate is signed in a way that is not supported any more, or not yet".to_owned()
        }
        Reason::Other(other) => match other.0.downcast_ref() {
            Some(webpki::Error::CaUsedAsEndEntity) => {
                "the certificate is an authority's own, and not one of those that this machine trusts"
                    .to_owned()
            }
            _ => format!("the certificate is not valid: {other}"),
        },
        other => format!("the certificate is not valid: {other}"),
    }
}
