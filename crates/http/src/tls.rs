//! Whom to trust, and who we are.
use crate::Error;
use crate::secure::Verifier;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A client certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that lead to the authority if it needs any.
    pub certificates: PathBuf,
    /// Its key: PKCS#8, PKCS#1 or SEC1, without a password.
    pub key: PathBuf,
}

/// Everything that was read from the caller's files.
pub(crate) struct Trust {
    own: Vec<CertificateDer<'static>>,
    identity: Option<Arc<CertifiedKey>>,
    insecure: bool,
}

impl Trust {
    /// Reads and checks the files, so that a wrong one is found before anything is sent.
    pub(crate) fn read(
        files: &[PathBuf],
        identity: Option<&Identity>,
        insecure: bool,
    ) -> Result<Self, Error> {
        let mut own = Vec::new();
        for file in files {
            own.extend(certificates(file)?);
        }
        Ok(Self { own, identity: identity.map(client).transpose()?, insecure })
    }

    /// The system's certificates are only looked for here, when there is something to connect to.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(self.verifier(&provider));
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring's provider has ciphers for every version of TLS")
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        Arc::new(match &self.identity {
            Some(identity) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(identity))))
            }
            None => builder.with_no_client_auth(),
        })
    }

    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Verifier {
        let algorithms = provider.signature_verification_algorithms;
        if self.insecure {
            return Verifier::Anybody(algorithms);
        }
        let mut roots = RootCertStore::empty();
        // What is no authority's certificate is left out, as every TLS client does.
        roots.add_parsable_certificates(system().iter().chain(&self.own).cloned());
        match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build() {
            Ok(authorities) => Verifier::Trusted { authorities, own: self.own.clone() },
            Err(_) => Verifier::Nobody(algorithms),
        }
    }
}

/// Read once: it takes milliseconds. A certificate that cannot be read is left out, as every TLS client does.
fn system() -> &'static [CertificateDer<'static>] {
    static ROOTS: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}

fn bad(path: &Path, why: impl ToString) -> Error {
    Error::Certificate { path: path.display().to_string(), why: why.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs_err::read(path).map_err(|error| {
        // fs_err names the path before its last colon, and this error has it already.
        let text = error.to_string();
        bad(path, text.rsplit_once("`: ").map_or(text.as_str(), |(_, why)| why))
    })
}

/// The certificates of a PEM file; other things in it are passed over.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(bad(path, "holds no PEM certificate")),
        other => other.map_err(|error| bad(path, format!("damaged PEM: {error}"))),
    }
}

fn client(identity: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    let chain = certificates(&identity.certificates)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&identity.key)?)
        .map_err(|_| bad(&identity.key, "holds no PEM private key"))?;
    match CertifiedKey::from_der(chain, key, &ring::default_provider()) {
        Ok(identity) => Ok(Arc::new(identity)),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(bad(&identity.key, format!("is not the key of {}", identity.certificates.display())))
        }
        Err(other) => Err(bad(&identity.key, other)),
    }
}
