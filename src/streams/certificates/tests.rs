//! Folders of PEM files, good and bad; the choice among certificates; reading them again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use tempfile::TempDir;
use x509_parser::time::ASN1Time;

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Certificate and key as PEM, signed by itself with its own kind of key.
fn pem_of(kind: &'static rcgen::SignatureAlgorithm, names: &[&str], days: u32) -> (String, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate_for(kind).unwrap();
    let mut parameters = CertificateParams::new(names).unwrap();
    let now = ASN1Time::now().to_datetime();
    parameters.not_before = now - DAY * 30;
    parameters.not_after = now - DAY * 20 + DAY * (days + 20);
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn pem(names: &[&str]) -> (String, String) {
    pem_of(&PKCS_ECDSA_P256_SHA256, names, 100)
}

fn write(file: &Path, text: &str, mode: u32) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
}

/// Writes `name.crt` and `name.key`.
fn pair(folder: &TempDir, name: &str, (certificate, key): &(String, String)) {
    write(&folder.path().join(format!("{name}.crt")), certificate, 0o644);
    write(&folder.path().join(format!("{name}.key")), key, 0o600);
}

fn open(folder: &TempDir, hosts: &[&str]) -> Result<Certificates, CertificatesError> {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    Certificates::open(folder.path(), &hosts, false)
}

/// The name of the file whose certificate would be shown.
fn shown(certificates: &Certificates, server_name: Option<&str>, fallback: Option<&str>) -> Option<String> {
    let set = certificates.current();
    let file = set.certificates()[set.choose(server_name, fallback)?].source().to_owned();
    Some(file.file_name().unwrap().to_string_lossy().into_owned())
}

#[test]
fn the_first_start_makes_a_certificate_and_the_second_keeps_it() {
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("certs");
    let hosts = ["capulet.lit".to_owned(), "bücher.example".to_owned()];
    let certificates = Certificates::open(&inner, &hosts, true).unwrap();
    let set = certificates.current();
    assert_eq!(set.certificates().len(), 2);
    for name in ["capulet.lit", "rooms.capulet.lit", "xn--bcher-kva.example", "bücher.example"] {
        assert!(set.find(name).is_some(), "{name}");
    }
    for name in ["a.rooms.capulet.lit", "lit", "montague.lit"] {
        assert_eq!(set.find(name), None, "{name}");
    }
    let mode = fs::metadata(inner.join("capulet.lit.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let one = &set.certificates()[set.find("capulet.lit").unwrap()];
    assert_eq!(one.end_point().unwrap().len(), 32);
    assert_eq!(one.expiry_warning(now()), None);
    let again = Certificates::open(&inner, &hosts, true).unwrap().current();
    let two = &again.certificates()[again.find("capulet.lit").unwrap()];
    assert_eq!(one.key().cert, two.key().cert);
}

#[test]
fn hosts_that_are_addresses_get_a_certificate_too() {
    let folder = TempDir::new().unwrap();
    let hosts = ["127.0.0.1".to_owned(), "[::1]".to_owned(), "localhost".to_owned()];
    for _ in 0..2 {
        let set = Certificates::open(folder.path(), &hosts, true).unwrap().current();
        assert_eq!(set.certificates().len(), 3);
        assert!(hosts.iter().all(|host| set.find(host).is_some()));
        assert_eq!(set.find("*.127.0.0.1"), None);
    }
}

#[test]
fn without_self_signed_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let certificates = open(&folder, &["capulet.lit"]).unwrap();
    assert_eq!(certificates.current().choose(Some("capulet.lit"), None), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn every_layout_is_read() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "one", &pem(&["one.lit"]));
    let (certificate, key) = pem(&["two.lit"]);
    write(&folder.path().join("two.pem"), &certificate, 0o644);
    write(&folder.path().join("two.key"), &key, 0o640);
    let (certificate, key) = pem(&["three.lit"]);
    write(&folder.path().join("three.pem"), &format!("{key}{certificate}"), 0o600);
    write(&folder.path().join(".hidden.pem"), "nonsense", 0o644);
    write(&folder.path().join("README.md"), "nonsense", 0o644);
    let certificates = open(&folder, &["one.lit"]).unwrap();
    for name in ["one.lit", "two.lit", "three.lit"] {
        let file = shown(&certificates, Some(name), None).unwrap();
        assert!(name.starts_with(file.split('.').next().unwrap()), "{name} is in {file}");
    }
}

#[test]
fn sni_decides_then_the_stream_then_the_first_host() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "a", &pem(&["aaa.lit"]));
    pair(&folder, "capulet", &pem(&["capulet.lit", "*.capulet.lit"]));
    pair(&folder, "montague", &pem(&["montague.lit"]));
    pair(&folder, "rooms", &pem(&["rooms.capulet.lit"]));
    let certificates = open(&folder, &["capulet.lit", "montague.lit"]).unwrap();
    let shown = |server_name, fallback| shown(&certificates, server_name, fallback).unwrap();
    assert_eq!(shown(Some("montague.lit"), Some("capulet.lit")), "montague.crt");
    assert_eq!(shown(None, Some("montague.lit")), "montague.crt");
    assert_eq!(shown(Some("unknown.lit"), Some("montague.lit")), "montague.crt");
    assert_eq!(shown(Some("unknown.lit"), None), "capulet.crt");
    assert_eq!(shown(None, None), "capulet.crt");
    assert_eq!(shown(Some("upload.capulet.lit"), None), "capulet.crt");
    assert_eq!(shown(Some("rooms.capulet.lit"), None), "rooms.crt", "the very name before a wildcard");
    assert_eq!(shown(Some("a.upload.capulet.lit"), Some("montague.lit")), "montague.crt");
}

#[test]
fn a_valid_certificate_goes_before_an_expired_one_and_a_later_end_before_an_earlier() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "a", &pem_of(&PKCS_ECDSA_P256_SHA256, &["capulet.lit"], 50));
    pair(&folder, "b", &pem_of(&PKCS_ECDSA_P256_SHA256, &["capulet.lit"], 90));
    pair(&folder, "c", &pem_of(&PKCS_ECDSA_P256_SHA256, &["capulet.lit"], 60));
    let certificates = open(&folder, &["capulet.lit"]).unwrap();
    assert_eq!(shown(&certificates, None, None).unwrap(), "b.crt");
    let set = certificates.current();
    let later = now() + 91 * 24 * 3600;
    let ranks: Vec<_> = set.certificates().iter().map(|one| one.rank(later).0).collect();
    assert_eq!(ranks, [false, false, false], "all of them are over then");
}

/// A certificate somebody else signed goes before one signed by itself, whatever their dates.
#[test]
fn a_real_certificate_goes_before_a_self_signed_one() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "a-self", &pem_of(&PKCS_ECDSA_P256_SHA256, &["capulet.lit"], 300));
    let authority = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
    let issuer = rcgen::Issuer::new(parameters, authority);
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["capulet.lit".to_owned()]).unwrap();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "capulet.lit");
    parameters.not_after = ASN1Time::now().to_datetime() + DAY * 20;
    let signed = parameters.signed_by(&key, &issuer).unwrap();
    pair(&folder, "b-real", &(signed.pem(), key.serialize_pem()));
    assert_eq!(shown(&open(&folder, &["capulet.lit"]).unwrap(), None, None).unwrap(), "b-real.crt");
}

#[test]
fn a_key_everyone_can_read_is_refused_with_the_remedy() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "capulet", &pem(&["capulet.lit"]));
    let key = folder.path().join("capulet.key");
    for mode in [0o644, 0o604, 0o601, 0o602] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let error = open(&folder, &["capulet.lit"]).err().unwrap().to_string();
        assert!(error.contains(&format!("chmod 600 {}", key.display())), "{error}");
        assert!(error.contains(&format!("mode {mode:o}")), "{error}");
    }
    let (certificate, key) = pem(&["capulet.lit"]);
    let combined = TempDir::new().unwrap();
    write(&combined.path().join("capulet.pem"), &format!("{certificate}{key}"), 0o644);
    assert!(open(&combined, &["capulet.lit"]).is_err(), "in a combined file too");
}

#[test]
fn what_is_wrong_is_said_with_its_file() {
    let (certificate, key) = pem(&["capulet.lit"]);
    let (other, other_key) = pem(&["montague.lit"]);
    let (nameless, nameless_key) = pem(&[]);
    let broken = certificate.replace("MII", "M!!");
    let truncated = certificate.lines().take(4).collect::<Vec<_>>().join("\n");
    type Files<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Files<'_>, &str, &str); 8] = [
        (&[("c.crt", &certificate)], "c.crt", "no private key"),
        (&[("c.crt", &certificate), ("c.key", &other_key)], "c.crt", "does not belong"),
        (&[("c.crt", &certificate), ("c.key", &other)], "c.key", "holds no private key"),
        (&[("c.crt", &certificate), ("c.key", "nonsense")], "c.key", "holds no private key"),
        (&[("c.pem", &key)], "c.pem", "no certificate"),
        (&[("c.crt", &broken), ("c.key", &key)], "c.crt", "not proper PEM"),
        (&[("c.crt", &truncated), ("c.key", &key)], "c.crt", "not proper PEM"),
        (&[("c.crt", &nameless), ("c.key", &nameless_key)], "c.crt", "names no domain"),
    ];
    for (files, culprit, what) in cases {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            write(&folder.path().join(name), text, 0o600);
        }
        let error = open(&folder, &["capulet.lit"]).err().unwrap();
        assert_eq!(error.0.len(), 1, "{error}");
        assert!(error.0[0].file.ends_with(culprit), "{error}");
        assert!(error.0[0].what.contains(what), "{error}");
    }
    let missing = Certificates::open(Path::new("there-is-no-such-folder"), &[], false).err().unwrap();
    assert!(missing.to_string().starts_with("there-is-no-such-folder: "), "{missing}");
}

#[test]
fn reading_again_takes_new_files_and_keeps_what_is_unchanged() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "capulet", &pem(&["capulet.lit"]));
    pair(&folder, "montague", &pem(&["montague.lit"]));
    let certificates = open(&folder, &["capulet.lit"]).unwrap();
    let before = certificates.current();
    pair(&folder, "capulet", &pem(&["capulet.lit"]));
    pair(&folder, "verona", &pem(&["verona.lit"]));
    assert_eq!(certificates.reload(), []);
    let after = certificates.current();
    let at = |set: &CertificateSet, name| set.certificates()[set.find(name).unwrap()].clone();
    assert_ne!(at(&before, "capulet.lit").key().cert, at(&after, "capulet.lit").key().cert);
    assert!(Arc::ptr_eq(&at(&before, "montague.lit"), &at(&after, "montague.lit")));
    assert!(after.find("verona.lit").is_some() && before.find("verona.lit").is_none());
}

#[test]
fn reading_again_keeps_the_old_certificate_of_a_broken_file() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "capulet", &pem(&["capulet.lit"]));
    pair(&folder, "montague", &pem(&["montague.lit"]));
    let certificates = open(&folder, &["capulet.lit"]).unwrap();
    let before = certificates.current();
    // The new certificate is there, its key not yet.
    write(&folder.path().join("montague.crt"), &pem(&["montague.lit"]).0, 0o644);
    pair(&folder, "capulet", &pem(&["capulet.lit"]));
    let problems = certificates.reload();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().contains("montague.crt"), "{}", problems[0]);
    let after = certificates.current();
    let at = |set: &CertificateSet, name| set.certificates()[set.find(name).unwrap()].clone();
    assert!(Arc::ptr_eq(&at(&before, "montague.lit"), &at(&after, "montague.lit")));
    assert!(!Arc::ptr_eq(&at(&before, "capulet.lit"), &at(&after, "capulet.lit")), "the others are renewed");
}

#[test]
fn the_only_certificate_of_a_host_outlives_its_file() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "capulet", &pem(&["capulet.lit"]));
    pair(&folder, "montague", &pem(&["montague.lit"]));
    let certificates = open(&folder, &["capulet.lit"]).unwrap();
    for file in ["capulet.crt", "capulet.key", "montague.crt", "montague.key"] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    assert_eq!(certificates.reload(), []);
    assert!(certificates.current().find("capulet.lit").is_some());
    assert!(certificates.current().find("montague.lit").is_none(), "nobody lives there");
}

#[test]
fn dates_are_watched() {
    let folder = TempDir::new().unwrap();
    pair(&folder, "capulet", &pem_of(&PKCS_ECDSA_P256_SHA256, &["capulet.lit"], 100));
    let set = open(&folder, &["capulet.lit"]).unwrap().current();
    let warning = |days: i64| set.certificates()[0].expiry_warning(now() + days * 24 * 3600 - 60);
    assert_eq!(warning(0), None);
    assert_eq!(warning(85), None);
    assert_eq!(warning(87).as_deref(), Some("the certificate expires in 13 days"));
    assert_eq!(warning(103).as_deref(), Some("the certificate expired 2 days ago"));
    assert_eq!(warning(-40).as_deref(), Some("the certificate is not valid yet"));
}

#[test]
fn the_end_point_hash_follows_the_signature() {
    let folder = TempDir::new().unwrap();
    let kinds = [
        ("p256", &PKCS_ECDSA_P256_SHA256, Some(32)),
        ("p384", &PKCS_ECDSA_P384_SHA384, Some(48)),
        ("ed25519", &PKCS_ED25519, None),
    ];
    for (name, kind, _) in kinds {
        pair(&folder, name, &pem_of(kind, &[&format!("{name}.lit")], 100));
    }
    let set = open(&folder, &[]).unwrap().current();
    for (name, _, length) in kinds {
        let certificate = &set.certificates()[set.find(&format!("{name}.lit")).unwrap()];
        assert_eq!(certificate.end_point().map(<[u8]>::len), length, "{name}");
    }
}
