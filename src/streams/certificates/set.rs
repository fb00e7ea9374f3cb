//! All certificates at one moment, and the choice among them.

use std::collections::HashMap;
use std::sync::Arc;

use super::certificate::Certificate;
use super::names;

/// All certificates at one moment; it never changes.
pub struct CertificateSet {
    certificates: Vec<Arc<Certificate>>,
    exact: HashMap<String, usize>,
    wildcards: HashMap<String, usize>,
    default: usize,
}

impl CertificateSet {
    /// `now` in seconds since 1970 decides which certificates count as valid.
    pub(super) fn new(mut certificates: Vec<Arc<Certificate>>, hosts: &[String], now: i64) -> CertificateSet {
        certificates.sort_by_key(|certificate| certificate.rank(now));
        let (mut exact, mut wildcards) = (HashMap::new(), HashMap::new());
        // The better come later and take the place.
        for (index, certificate) in certificates.iter().enumerate() {
            exact.extend(certificate.names().exact.iter().map(|name| (name.clone(), index)));
            wildcards.extend(certificate.names().wildcards.iter().map(|name| (name.clone(), index)));
        }
        let mut set = CertificateSet { certificates, exact, wildcards, default: 0 };
        set.default = hosts.iter().find_map(|host| set.find(host)).unwrap_or(0);
        set
    }

    /// All of them; the indices of [`CertificateSet::find`] and [`CertificateSet::choose`] point here.
    pub fn certificates(&self) -> &[Arc<Certificate>] {
        &self.certificates
    }

    /// The certificate for a domain: one with the very name before a wildcard.
    pub fn find(&self, domain: &str) -> Option<usize> {
        let domain = names::to_ascii(domain)?;
        let by_wildcard = || names::parent(&domain).and_then(|parent| self.wildcards.get(parent));
        self.exact.get(&domain).or_else(by_wildcard).copied()
    }

    /// The certificate to show: for the name of SNI, else for `fallback` (the stream's `to`), else that of the first
    /// host, with which the client can at least learn from a stream error what is wrong. `None` when there is none.
    pub fn choose(&self, server_name: Option<&str>, fallback: Option<&str>) -> Option<usize> {
        let named = [server_name, fallback].into_iter().flatten().find_map(|name| self.find(name));
        named.or(Some(self.default)).filter(|index| *index < self.certificates.len())
    }
}
