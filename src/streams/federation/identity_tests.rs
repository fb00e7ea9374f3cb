//! What proves a domain and what does not (security row S12).

use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, OtherNameValue, SanType,
};

use super::*;

const XMPP_ADDRESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of an authority, changed as the test wants.
fn signed(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    change(&mut params);
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

fn named(issuer: &CertifiedIssuer<'static, KeyPair>, names: &[SanType]) -> CertificateDer<'static> {
    signed(issuer, |params| params.subject_alt_names = names.to_vec())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(name).unwrap())
}

fn trusting(issuer: &CertifiedIssuer<'static, KeyPair>) -> Authorities {
    Authorities(vec![webpki::anchor_from_trusted_cert(issuer.der()).unwrap().to_owned()])
}

#[test]
fn s12_names_that_prove_a_domain() {
    let issuer = authority("Verona");
    let authorities = trusting(&issuer);
    let xmpp = |name: &str| SanType::OtherName((XMPP_ADDRESS.to_vec(), OtherNameValue::Utf8String(name.to_owned())));
    for (san, domain) in [
        (dns("montague.lit"), "montague.lit"),
        (dns("*.montague.lit"), "rooms.montague.lit"),
        (dns("xn--bcher-kva.example"), "bücher.example"),
        (xmpp("montague.lit"), "montague.lit"),
    ] {
        let chain = [named(&issuer, std::slice::from_ref(&san))];
        assert_eq!(authorities.check(&chain, domain), Ok(()), "{san:?} for {domain}");
    }
}

#[test]
fn s12_names_that_prove_nothing() {
    let issuer = authority("Verona");
    let authorities = trusting(&issuer);
    let xmpp = |name: &str| SanType::OtherName((XMPP_ADDRESS.to_vec(), OtherNameValue::Utf8String(name.to_owned())));
    for (san, domain) in [
        (dns("*.example"), "a.b.example"),
        (dns("*.example"), "example"),
        (dns("evil-montague.lit"), "montague.lit"),
        (dns("montague.lit\0.evil.test"), "montague.lit"),
        (dns("montague.lit.evil.test"), "montague.lit"),
        (xmpp("evil.test"), "montague.lit"),
        (xmpp("*.montague.lit"), "rooms.montague.lit"),
        (xmpp("romeo@montague.lit"), "montague.lit"),
        (SanType::URI(Ia5String::try_from("xmpp:montague.lit").unwrap()), "montague.lit"),
    ] {
        let chain = [named(&issuer, std::slice::from_ref(&san))];
        assert_eq!(authorities.check(&chain, domain), Err(Untrusted::Name(domain.to_owned())), "{san:?}");
    }
    // The common name says nothing, with or without other names (RFC 6125 §6.4.4, and OF-3124).
    for names in [vec![], vec![dns("other.lit")]] {
        let chain = [signed(&issuer, |params| {
            params.distinguished_name.push(DnType::CommonName, "montague.lit");
            params.distinguished_name.push(DnType::OrganizationalUnitName, "CN=montague.lit,");
            params.subject_alt_names = names;
        })];
        assert!(authorities.check(&chain, "montague.lit").is_err());
    }
}

/// RFC 4985: `id-on-dnsSRV` is an IA5String, which rcgen does not write, so the extension is made by hand.
fn service(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> CertificateDer<'static> {
    let oid = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 8, 7];
    let string = [&[0x16, name.len() as u8][..], name.as_bytes()].concat();
    let explicit = [&[0xa0, string.len() as u8][..], &string].concat();
    let other = [&[0xa0, (oid.len() + explicit.len()) as u8][..], &oid, &explicit].concat();
    let sequence = [&[0x30, other.len() as u8][..], &other].concat();
    signed(issuer, |params| {
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], sequence)];
    })
}

#[test]
fn s12_service_names_are_for_servers() {
    let issuer = authority("Verona");
    let authorities = trusting(&issuer);
    assert_eq!(authorities.check(&[service(&issuer, "_xmpp-server.montague.lit")], "montague.lit"), Ok(()));
    assert!(authorities.check(&[service(&issuer, "_xmpp-client.montague.lit")], "montague.lit").is_err());
    assert!(authorities.check(&[service(&issuer, "_imap.montague.lit")], "montague.lit").is_err());
}

#[test]
fn s12_chains_that_prove_nothing() {
    let issuer = authority("Verona");
    let good = named(&issuer, &[dns("montague.lit")]);
    let elsewhere = trusting(&authority("Mantua"));
    assert!(matches!(elsewhere.check(std::slice::from_ref(&good), "montague.lit"), Err(Untrusted::Chain(_))));
    let authorities = trusting(&issuer);
    assert_eq!(authorities.check(&[], "montague.lit"), Err(Untrusted::NoCertificate));
    let own = CertificateParams::new(vec!["montague.lit".to_owned()]).unwrap();
    let own = own.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert!(matches!(authorities.check(&[own.der().clone()], "montague.lit"), Err(Untrusted::Chain(_))));
    // Neither before its time nor after it.
    let brief = signed(&issuer, |params| {
        params.subject_alt_names = vec![dns("montague.lit")];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    });
    let at = |days: u64| UnixTime::since_unix_epoch(Duration::from_secs(1_577_836_800 + days * 86_400));
    let check = |days| authorities.check_at(std::slice::from_ref(&brief), "montague.lit", at(days));
    assert_eq!(check(10), Ok(()));
    assert!(matches!(check(40), Err(Untrusted::Chain(_))));
    assert!(matches!(authorities.check(std::slice::from_ref(&brief), "montague.lit"), Err(Untrusted::Chain(_))));
}

#[test]
fn s12_a_certificate_for_servers_is_good_for_both_roles() {
    let issuer = authority("Verona");
    let authorities = trusting(&issuer);
    for usage in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let chain = [signed(&issuer, |params| {
            params.subject_alt_names = vec![dns("montague.lit")];
            params.extended_key_usages = vec![usage];
        })];
        assert_eq!(authorities.check(&chain, "montague.lit"), Ok(()));
    }
    let chain = [signed(&issuer, |params| {
        params.subject_alt_names = vec![dns("montague.lit")];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    })];
    assert!(authorities.check(&chain, "montague.lit").is_err());
}
