//! How we speak TLS: from the certificates of the moment to rustls' configurations.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::{TlsError, provider};
use crate::certificates::{Certificate, CertificateSet, Certificates};

/// What differs from listener to listener.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// The application protocols we speak (ALPN), for direct TLS (XEP-0368): `xmpp-client` or `xmpp-server`.
    /// A client that offers others only is refused; one that offers none is not. Empty, as for STARTTLS: offers
    /// are passed over.
    pub alpn: Vec<Vec<u8>>,
    /// Refuse TLS 1.2.
    pub tls13_only: bool,
    /// Asks peers for a certificate and judges it; for streams between servers.
    pub client_certificates: Option<Arc<dyn ClientCertVerifier>>,
}

/// How a listener speaks TLS. Follows the certificates when they are read again.
pub struct TlsConfiguration {
    certificates: Arc<Certificates>,
    options: TlsOptions,
    prepared: ArcSwap<Prepared>,
    other: Option<(&'static [u8], Arc<TlsConfiguration>)>,
}

/// One configuration a certificate, in the order of the set.
struct Prepared {
    set: Arc<CertificateSet>,
    configurations: Vec<Arc<ServerConfig>>,
}

/// What a handshake is done with.
pub(super) struct Choice {
    pub(super) certificate: Arc<Certificate>,
    pub(super) configuration: Arc<ServerConfig>,
}

impl TlsConfiguration {
    /// Prepares for the certificates as they are now.
    pub fn new(certificates: Arc<Certificates>, options: TlsOptions) -> Result<TlsConfiguration, TlsError> {
        let prepared = prepare(certificates.current(), &options, None)?;
        Ok(TlsConfiguration { certificates, options, prepared: ArcSwap::from_pointee(prepared), other: None })
    }

    /// The same, but whoever offers this application protocol is spoken to with another configuration: servers are asked
    /// for a certificate, and browsers, which would show their users a question, are not.
    pub(crate) fn or_for(self, protocol: &'static [u8], other: Arc<TlsConfiguration>) -> TlsConfiguration {
        TlsConfiguration { other: Some((protocol, other)), ..self }
    }

    /// The configuration for a peer that offers these protocols.
    pub(super) fn for_protocols(&self, offered: &[Vec<u8>]) -> &TlsConfiguration {
        match &self.other {
            Some((protocol, other)) if offered.iter().any(|one| one == protocol) => other,
            _ => self,
        }
    }

    /// Chooses the certificate to show by SNI, else by `fallback` (the stream's `to`), and how to go on with it.
    pub(super) fn choose(&self, server_name: Option<&str>, fallback: Option<&str>) -> Result<Choice, TlsError> {
        let prepared = self.prepared()?;
        let index = prepared.set.choose(server_name, fallback).ok_or(TlsError::NoCertificate)?;
        Ok(Choice {
            certificate: prepared.set.certificates()[index].clone(),
            configuration: prepared.configurations[index].clone(),
        })
    }

    fn prepared(&self) -> Result<Arc<Prepared>, TlsError> {
        let prepared = self.prepared.load_full();
        let set = self.certificates.current();
        if Arc::ptr_eq(&prepared.set, &set) {
            return Ok(prepared);
        }
        // Two connections may do this at once; both come to the same.
        let renewed = Arc::new(prepare(set, &self.options, Some(&prepared))?);
        self.prepared.store(renewed.clone());
        Ok(renewed)
    }
}

fn prepare(set: Arc<CertificateSet>, options: &TlsOptions, old: Option<&Prepared>) -> Result<Prepared, TlsError> {
    let kept = |certificate: &Arc<Certificate>| {
        let old = old?;
        let index = old.set.certificates().iter().position(|one| Arc::ptr_eq(one, certificate))?;
        Some(old.configurations[index].clone())
    };
    let configurations = set
        .certificates()
        .iter()
        .map(|certificate| match kept(certificate) {
            Some(configuration) => Ok(configuration),
            None => configure(certificate, options).map(Arc::new),
        })
        .collect::<Result<_, TlsError>>()?;
    Ok(Prepared { set, configurations })
}

/// A configuration that shows one certificate. Its session tickets are good for this certificate only, so that a
/// resumed session has the `tls-server-end-point` the client remembers.
fn configure(certificate: &Certificate, options: &TlsOptions) -> Result<ServerConfig, TlsError> {
    let versions: &[_] = if options.tls13_only { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    let builder = match &options.client_certificates {
        Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
        None => builder.with_no_client_auth(),
    };
    let mut configuration = builder.with_cert_resolver(Arc::new(Shown(certificate.key().clone())));
    configuration.alpn_protocols = options.alpn.clone();
    // Without the extended master secret TLS 1.2 cannot be bound to (RFC 9266 §3).
    configuration.require_ems = true;
    // Tickets under keys that change every 6 hours and are good for 12; no session is kept here, no 0-RTT taken.
    configuration.ticketer = Ticketer::new()?;
    configuration.send_tls13_tickets = 1;
    configuration.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(configuration)
}

/// Shows one certificate to everyone: the choice was made before.
#[derive(Debug)]
struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
