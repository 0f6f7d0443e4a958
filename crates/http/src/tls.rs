//! Whom to trust, and who we are.
use crate::Error;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

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
    own: Vec<Certificate<'static>>,
    identity: Option<ClientCert>,
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
    pub(crate) fn config(&self) -> TlsConfig {
        let mut roots = if self.insecure { Vec::new() } else { system().to_vec() };
        roots.extend(self.own.iter().cloned());
        TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .client_cert(self.identity.clone())
            .disable_verification(self.insecure)
            .unversioned_rustls_crypto_provider(Arc::new(ring::default_provider()))
            .build()
    }
}

/// Read once: it takes milliseconds. A certificate that cannot be read is left out, as every TLS client does.
fn system() -> &'static [Certificate<'static>] {
    static ROOTS: OnceLock<Vec<Certificate<'static>>> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect()
    })
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
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let mut found = Vec::new();
    for item in parse_pem(&read(path)?) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| bad(path, error))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(bad(path, "holds no PEM certificate")) } else { Ok(found) }
}

fn client(identity: &Identity) -> Result<ClientCert, Error> {
    let chain = certificates(&identity.certificates)?;
    let pem = read(&identity.key)?;
    let no_key = || bad(&identity.key, "holds no PEM private key");
    fit(identity, &chain, PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_key())?)?;
    let key = PrivateKey::from_pem(&pem).map_err(|_| no_key())?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

/// ureq takes for granted that the pair is usable: rustls is asked first.
fn fit(
    identity: &Identity,
    chain: &[Certificate<'static>],
    key: PrivateKeyDer<'static>,
) -> Result<(), Error> {
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad(&identity.key, error))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_client_auth_cert(chain, key)
        .map(drop)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                bad(&identity.key, format!("is not the key of {}", identity.certificates.display()))
            }
            other => bad(&identity.key, other),
        })
}
