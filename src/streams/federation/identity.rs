//! Whether a certificate proves a domain, and how certificates are asked for and shown between servers
//! (RFC 6120 §13.7.1.2, XEP-0178, security row S12).

use std::path::PathBuf;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::client::{ClientConfig, ResolvesClientCert, Resumption};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificates::names::Names;
use crate::tls::{AnyCertificate, TlsError, provider};

/// Why a certificate proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Untrusted {
    /// None was shown.
    #[error("no certificate was shown")]
    NoCertificate,
    /// It is not signed by an authority we believe, not valid now, or not made for this.
    #[error("the certificate is not trusted: {0}")]
    Chain(String),
    /// It is good, for others.
    #[error("the certificate does not name {0}")]
    Name(String),
    /// It is not the one that signed records of the domain announce (RFC 7673).
    #[error("the certificate is not the one that the DNS announces (TLSA)")]
    NotAnnounced,
}

/// The certificate authorities that are believed.
pub(crate) struct Authorities(Vec<TrustAnchor<'static>>);

impl Authorities {
    /// Takes these and no others.
    pub(crate) fn of(anchors: Vec<TrustAnchor<'static>>) -> Authorities {
        Authorities(anchors)
    }

    /// Takes the public ones, if wanted, and those of some files.
    ///
    /// # Errors
    /// The file that cannot be read, and why.
    pub(crate) fn load(public: bool, files: &[PathBuf]) -> Result<Authorities, String> {
        let mut anchors = if public { webpki_roots::TLS_SERVER_ROOTS.to_vec() } else { Vec::new() };
        for file in files {
            let wrong = |why: String| format!("authorities: {}: {why}", file.display());
            let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                let anchor =
                    webpki::anchor_from_trusted_cert(&certificate).map_err(|error| wrong(error.to_string()))?;
                anchors.push(anchor.to_owned());
            }
        }
        Ok(Authorities(anchors))
    }

    /// Whether this chain, the peer's own certificate first, proves that the peer is `domain` now. What a certificate may
    /// be used for is read kindly: authorities do not sign for clients any more, so one for servers is good for both roles.
    pub(crate) fn check(&self, chain: &[CertificateDer<'_>], domain: &str) -> Result<(), Untrusted> {
        self.check_at(chain, domain, UnixTime::now())
    }

    fn check_at(&self, chain: &[CertificateDer<'_>], domain: &str, now: UnixTime) -> Result<(), Untrusted> {
        let (leaf, intermediates) = chain.split_first().ok_or(Untrusted::NoCertificate)?;
        let bad = |error: webpki::Error| Untrusted::Chain(error.to_string());
        let certificate = webpki::EndEntityCert::try_from(leaf).map_err(bad)?;
        let algorithms = provider().signature_verification_algorithms.all;
        let verify = |usage| {
            certificate.verify_for_usage(algorithms, &self.0, intermediates, now, usage, None, None).map(|_| ())
        };
        verify(webpki::KeyUsage::server_auth())
            .or_else(|error| verify(webpki::KeyUsage::client_auth()).map_err(|_| error))
            .map_err(bad)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| Untrusted::Chain(error.to_string()))?;
        if Names::of_server(&parsed).cover(domain) { Ok(()) } else { Err(Untrusted::Name(domain.to_owned())) }
    }
}

/// Shows our certificate for one domain, if there is one, to whoever asks.
#[derive(Debug)]
struct Ours(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Ours {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// How we speak TLS to another server.
///
/// # Errors
/// When the versions do not suit the cryptography, which they do.
pub(crate) fn client_configuration(
    certificate: Option<Arc<CertifiedKey>>,
    direct_tls: bool,
    tls13_only: bool,
) -> Result<Arc<ClientConfig>, TlsError> {
    let versions: &[_] = if tls13_only { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let mut configuration = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(AnyCertificate::new())
        .with_client_cert_resolver(Arc::new(Ours(certificate)));
    // A resumed session would hide a certificate that has changed or expired since.
    configuration.resumption = Resumption::disabled();
    if direct_tls {
        configuration.alpn_protocols = vec![b"xmpp-server".to_vec()];
    }
    Ok(Arc::new(configuration))
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
