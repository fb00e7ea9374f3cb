//! The data of the channel binding `tls-server-end-point` (RFC 5929 §4.1).

use aws_lc_rs::digest::{self, Algorithm, SHA224, SHA256, SHA384, SHA512};
use x509_parser::prelude::X509Certificate;
use x509_parser::signature_algorithm::RsaSsaPssParams;

/// Hashes a certificate with the hash of its signature, where that is MD5 or SHA-1 with SHA-256.
/// `None` for signatures without a hash of their own: there the RFC leaves the binding undefined.
pub(super) fn hash(certificate: &X509Certificate<'_>, der: &[u8]) -> Option<Vec<u8>> {
    let signature = &certificate.signature_algorithm;
    let name = signature.algorithm.to_id_string();
    let algorithm = if name == RSASSA_PSS {
        let parameters = RsaSsaPssParams::try_from(signature.parameters.as_ref()?).ok()?;
        of_hash(&parameters.hash_algorithm_oid().to_id_string())
    } else {
        of_signature(&name)
    };
    algorithm.map(|algorithm| digest::digest(algorithm, der).as_ref().to_vec())
}

const RSASSA_PSS: &str = "1.2.840.113549.1.1.10";

/// The hash for a signature algorithm that implies one.
fn of_signature(name: &str) -> Option<&'static Algorithm> {
    match name {
        // RSA with MD5, SHA-1, SHA-224, -256, -384, -512.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" => Some(&SHA256),
        "1.2.840.113549.1.1.14" => Some(&SHA224),
        "1.2.840.113549.1.1.11" => Some(&SHA256),
        "1.2.840.113549.1.1.12" => Some(&SHA384),
        "1.2.840.113549.1.1.13" => Some(&SHA512),
        // ECDSA with SHA-1, SHA-224, -256, -384, -512.
        "1.2.840.10045.4.1" => Some(&SHA256),
        "1.2.840.10045.4.3.1" => Some(&SHA224),
        "1.2.840.10045.4.3.2" => Some(&SHA256),
        "1.2.840.10045.4.3.3" => Some(&SHA384),
        "1.2.840.10045.4.3.4" => Some(&SHA512),
        _ => None,
    }
}

/// The hash for a hash algorithm named on its own, as in RSASSA-PSS.
fn of_hash(name: &str) -> Option<&'static Algorithm> {
    match name {
        "1.2.840.113549.2.5" | "1.3.14.3.2.26" => Some(&SHA256),
        "2.16.840.1.101.3.4.2.4" => Some(&SHA224),
        "2.16.840.1.101.3.4.2.1" => Some(&SHA256),
        "2.16.840.1.101.3.4.2.2" => Some(&SHA384),
        "2.16.840.1.101.3.4.2.3" => Some(&SHA512),
        _ => None,
    }
}
