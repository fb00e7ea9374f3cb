//! A certificate authority of the test's own.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

/// An authority, with a folder in which everything lies that it has signed.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, "The Prince of Verona");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("authority.pem"), issuer.pem()).expect("it is written");
        Authority { issuer, folder }
    }

    /// Its own certificate.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Signs a certificate for a domain and what is below it, as public authorities do today: for servers only.
    pub fn sign(&self, domain: &str) -> Signed {
        self.sign_with(|params| {
            let names = [domain.to_owned(), format!("*.{domain}")];
            params.subject_alt_names = CertificateParams::new(names).expect("proper names").subject_alt_names;
        })
    }

    /// Signs one whose time was over years ago.
    pub fn sign_expired(&self, domain: &str) -> Signed {
        self.sign_with(|params| {
            params.subject_alt_names = CertificateParams::new([domain.to_owned()]).expect("a name").subject_alt_names;
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        })
    }

    /// Signs what the test wants.
    pub fn sign_with(&self, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Signed { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A certificate and its key, as PEM.
pub struct Signed {
    pub certificate: String,
    pub key: String,
}

impl Signed {
    /// Signed by nobody but itself.
    pub fn by_itself(domain: &str) -> Signed {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([domain.to_owned()]).expect("a proper name");
        let certificate = params.self_signed(&key).expect("a certificate");
        Signed { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// The certificate in its binary form.
    pub fn der(&self) -> Vec<u8> {
        CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("PEM").to_vec()
    }

    /// Writes both into a folder, as a server wants them.
    pub fn write(&self, folder: &Path, name: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let key = folder.join(format!("{name}.key"));
        std::fs::write(&key, &self.key).expect("the key is written");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("the key is closed");
        std::fs::write(folder.join(format!("{name}.crt")), &self.certificate).expect("the certificate is written");
    }
}
