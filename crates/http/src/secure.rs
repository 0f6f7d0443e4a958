//! TLS over a connection, with a check of certificates that knows what the user put beside the registry.
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    StreamOwned,
};
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

/// Speaks TLS on connections of `https` URLs; others pass as they are.
#[derive(Debug)]
pub(crate) struct Secured {
    /// `None` where no URL of the agent wants TLS.
    pub(crate) config: Option<Arc<ClientConfig>>,
}

impl<In: Transport> Connector<In> for Secured {
    type Out = Either<In, SecureTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let config = self.config.as_ref().ok_or(ureq::Error::Tls("not set up for this connection"))?;
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| ureq::Error::Tls("the host's name cannot be in a certificate"))?;
        let mut connection = ClientConnection::new(Arc::clone(config), name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let sizes = (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(SecureTransport {
            buffers: LazyBuffers::new(sizes.0, sizes.1),
            stream: StreamOwned::new(connection, socket),
        })))
    }
}

/// A connection that speaks TLS.
pub(crate) struct SecureTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for SecureTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureTransport").field("peer", &self.stream.sock.get_ref()).finish_non_exhaustive()
    }
}

impl Transport for SecureTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        Ok(self.stream.write_all(&self.buffers.output()[..amount])?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.sock.set_timeout(timeout);
        let count = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Whose certificate is good.
#[derive(Debug)]
pub(crate) enum Verifier {
    /// Everybody's.
    Anybody(WebPkiSupportedAlgorithms),
    /// Nobody's: there is no authority on this machine.
    Nobody(WebPkiSupportedAlgorithms),
    /// One that leads to an authority, or that the user named himself.
    Trusted {
        /// Looks for the way to an authority.
        authorities: Arc<WebPkiServerVerifier>,
        /// The user's own files.
        own: Vec<CertificateDer<'static>>,
    },
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (authorities, own) = match self {
            Self::Anybody(_) => return Ok(ServerCertVerified::assertion()),
            Self::Nobody(_) => return Err(CertificateError::UnknownIssuer.into()),
            Self::Trusted { authorities, own } => (authorities, own),
        };
        match authorities.verify_server_cert(certificate, between, name, ocsp, now) {
            // One made with `openssl req -x509`, as Docker's documentation has it, says of itself that it is an authority.
            // webpki wants no such one from a server. Go takes it, and so Docker does, where the very same certificate is
            // among the authorities. webpki comes to this after its dates were found right; the name is checked here.
            Err(error) if is_an_authority(&error) && own.contains(certificate) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            // Whoever is not asked who he is need not prove it either, with whatever certificate.
            Self::Anybody(_) => Ok(HandshakeSignatureValid::assertion()),
            Self::Nobody(known) => verify_tls12_signature(message, certificate, signature, known),
            Self::Trusted { authorities, .. } => {
                authorities.verify_tls12_signature(message, certificate, signature)
            }
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self {
            Self::Anybody(_) => Ok(HandshakeSignatureValid::assertion()),
            Self::Nobody(known) => verify_tls13_signature(message, certificate, signature, known),
            Self::Trusted { authorities, .. } => {
                authorities.verify_tls13_signature(message, certificate, signature)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Anybody(known) | Self::Nobody(known) => known.supported_schemes(),
            Self::Trusted { authorities, .. } => authorities.supported_verify_schemes(),
        }
    }
}

/// Whether a server's certificate was refused because it says that it is an authority's.
pub(crate) fn is_an_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}
