//! A certificate of one's own for a host that has none: good for trying out, trusted by nobody.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256};
use x509_parser::time::ASN1Time;

use super::{Problem, names};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Days it is valid.
const VALID_DAYS: u32 = 3650;

/// Writes `host.key` (mode 600) and `host.crt`: ECDSA P-256, good for the host and the domains right below it.
/// Gives the certificate's file. Never writes over a file.
pub(super) fn create(folder: &Path, host: &str) -> Result<PathBuf, Problem> {
    let name = names::to_ascii(host).filter(|name| !name.contains('/') && !name.starts_with('.')).ok_or_else(|| {
        Problem::new(folder, folder, format!("no certificate can be made for a host of this name: {host}"))
    })?;
    let certificate = folder.join(format!("{name}.crt"));
    let key = certificate.with_extension("key");
    let (certificate_pem, key_pem) = generate(&name)
        .map_err(|error| Problem::new(&certificate, &certificate, format!("it cannot be made: {error}")))?;
    write(&key, &key_pem, 0o600)?;
    write(&certificate, &certificate_pem, 0o644)?;
    Ok(certificate)
}

/// Certificate and key as PEM.
fn generate(host: &str) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let names = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => vec![address.to_string()],
        Err(_) => vec![host.to_owned(), format!("*.{host}")],
    };
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, host);
    // On streams between servers it is shown by the side that connects, too.
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = ASN1Time::now().to_datetime();
    parameters.not_before = now - DAY;
    parameters.not_after = now + DAY * VALID_DAYS;
    let certificate = parameters.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn write(file: &Path, text: &str, mode: u32) -> Result<(), Problem> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .map_err(|error| Problem::io(file, &error))
}
