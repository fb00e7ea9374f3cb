//! One certificate with its chain and key, and what we read out of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::end_point;
use super::names::Names;

/// Seconds before its end at which a certificate is complained about.
const EXPIRES_SOON: i64 = 14 * 24 * 3600;

/// A certificate with its chain and key.
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Names,
    source: PathBuf,
    end_point: Option<Box<[u8]>>,
    not_before: i64,
    not_after: i64,
    self_signed: bool,
}

impl Certificate {
    /// Reads a chain, the server's own certificate first, and its key. The error is a sentence for the operator.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        source: &Path,
        provider: &CryptoProvider,
    ) -> Result<Certificate, String> {
        let leaf = chain.first().ok_or("it holds no certificate")?.clone();
        let (_, parsed) =
            X509Certificate::from_der(&leaf).map_err(|error| format!("the certificate cannot be read: {error}"))?;
        let names = Names::of(&parsed);
        if names.is_empty() {
            return Err("the certificate names no domain (no DNS name among its subject alternative names)".to_owned());
        }
        let validity = parsed.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        let self_signed = parsed.subject() == parsed.issuer();
        let end_point = end_point::hash(&parsed, &leaf).map(Vec::into_boxed_slice);
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => "the private key does not belong to the certificate".to_owned(),
            error => format!("the certificate or its key cannot be used: {error}"),
        })?;
        Ok(Certificate {
            key: Arc::new(key),
            names,
            source: source.to_owned(),
            end_point,
            not_before,
            not_after,
            self_signed,
        })
    }

    /// Chain and key, for rustls.
    pub fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The file it came from.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Whether it is the same chain from the same file: then what was made with it can stay.
    pub(super) fn is_same(&self, other: &Certificate) -> bool {
        self.source == other.source && self.key.cert == other.key.cert
    }

    /// The data of the channel binding `tls-server-end-point` (RFC 5929 §4.1): the certificate's hash.
    /// `None` where the RFC defines none, as for Ed25519 signatures.
    pub fn end_point(&self) -> Option<&[u8]> {
        self.end_point.as_deref()
    }

    /// Whether it is good for a domain, in ASCII or Unicode; wildcards stand for exactly one label.
    pub fn covers(&self, domain: &str) -> bool {
        self.names.cover(domain)
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// What to show first when several cover a name: valid now, then signed by somebody else, then the longest.
    pub(super) fn rank(&self, now: i64) -> (bool, bool, i64) {
        ((self.not_before..=self.not_after).contains(&now), !self.self_signed, self.not_after)
    }

    /// What to tell the operator about its dates at `now` (seconds since 1970), if anything.
    pub(super) fn expiry_warning(&self, now: i64) -> Option<String> {
        let days = (self.not_after - now).div_euclid(24 * 3600);
        if now < self.not_before {
            Some("the certificate is not valid yet".to_owned())
        } else if now > self.not_after {
            Some(format!("the certificate expired {} days ago", -days - 1))
        } else if self.not_after - now <= EXPIRES_SOON {
            Some(format!("the certificate expires in {days} days"))
        } else {
            None
        }
    }
}
