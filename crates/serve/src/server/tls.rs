//! TLS with a certificate of one's own.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{self, ServerConfig};

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A file holds something else.
    #[error("{}: no {what} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The two do not belong together, or are of a kind that is not supported.
    #[error("{} and {} do not make a server's identity", chain.display(), key.display())]
    Pair {
        /// The certificates.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

/// Reads a certificate chain, the server's own first, and its key.
pub(super) fn acceptor(chain: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let no = |path: &Path, what| TlsError::Pem { path: path.to_owned(), what };
    let text = fs_err::read(chain)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.ok().filter(|all| !all.is_empty());
    let certificates = certificates.ok_or_else(|| no(chain, "certificate"))?;
    let private = PrivateKeyDer::from_pem_slice(&fs_err::read(key)?).map_err(|_| no(key, "private key"))?;
    let pair = |source| TlsError::Pair { chain: chain.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(certificates, private)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
