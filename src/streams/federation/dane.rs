//! Whether what the DNS says about a server's certificate fits the one it shows (RFC 6698, RFC 7671, RFC 7673).

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use rustls_pki_types::{CertificateDer, TrustAnchor};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity::{Authorities, Untrusted};

/// What a TLSA record says (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Association {
    /// Who is meant: 0 an authority, 1 the server, both with the usual checks on top; 2 an authority, 3 the server, without.
    pub(crate) usage: u8,
    /// What of the certificate is meant: 0 all of it, 1 its public key.
    pub(crate) selector: u8,
    /// How it is written down: 0 as it is, 1 as SHA-256, 2 as SHA-512.
    pub(crate) matching: u8,
    pub(crate) data: Vec<u8>,
}

/// What TLSA records say of a chain.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is none that we understand: the usual checks decide.
    Silent,
    /// One fits: it is the server, whatever public authorities think of it.
    Proved,
    /// None fits: it is not the server, even if a public authority says so.
    Refused,
}

impl Association {
    /// Whether we understand it. A record that nobody can understand is treated as if it were not there (RFC 7671 §10.3).
    pub(crate) fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        self.usage <= 3 && self.selector <= 1 && length
    }

    /// Whether it means this certificate.
    pub(crate) fn means(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(selected) = selected(self.selector, certificate) else { return false };
        self.is_usable() && written(self.matching, selected) == self.data
    }

    /// The record for the public key of a server's own certificate, in the form that stays right when the certificate is
    /// renewed with the same key: `3 1 1` (RFC 7671 §5.1).
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Association> {
        let data = written(1, selected(1, certificate)?);
        Some(Association { usage: 3, selector: 1, matching: 1, data })
    }

    /// As it stands in a zone.
    pub(crate) fn text(&self) -> String {
        let data: String = self.data.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{} {} {} {data}", self.usage, self.selector, self.matching)
    }

    /// The authority that it holds whole.
    fn authority(&self) -> Option<CertificateDer<'_>> {
        (self.selector == 0 && self.matching == 0).then(|| CertificateDer::from(self.data.as_slice()))
    }
}

/// What a selector chooses of a certificate.
fn selected<'a>(selector: u8, certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    match selector {
        0 => Some(certificate),
        1 => X509Certificate::from_der(certificate).ok().map(|(_, parsed)| parsed.tbs_certificate.subject_pki.raw),
        _ => None,
    }
}

fn written(matching: u8, bytes: &[u8]) -> Vec<u8> {
    match matching {
        1 => digest(&SHA256, bytes).as_ref().to_vec(),
        2 => digest(&SHA512, bytes).as_ref().to_vec(),
        _ => bytes.to_vec(),
    }
}

/// What validated TLSA records say of a chain, the server's own certificate first. `names` are the domain and the machine
/// that its validated SRV record names: a certificate of either will do (RFC 7673 §4). `usual` is what the public authorities say.
pub(crate) fn judge(
    associations: &[Association],
    chain: &[CertificateDer<'_>],
    names: [&str; 2],
    usual: &Result<(), Untrusted>,
) -> Verdict {
    let mut usable = associations.iter().filter(|one| one.is_usable()).peekable();
    if usable.peek().is_none() {
        return Verdict::Silent;
    }
    let fits = |one: &Association| match one.usage {
        // The key is the proof: neither name nor time counts (RFC 7671 §5.1).
        3 => chain.first().is_some_and(|leaf| one.means(leaf)),
        2 => leads_to(one, chain, names),
        1 => usual.is_ok() && chain.first().is_some_and(|leaf| one.means(leaf)),
        _ => usual.is_ok() && leads_to(one, chain, names),
    };
    if usable.any(fits) { Verdict::Proved } else { Verdict::Refused }
}

/// Whether the chain leads to the authority that is meant, and is good in everything else. That authority must be in
/// the chain, or whole in the record (RFC 7671 §5.2): a certificate that is only added to the chain proves nothing.
fn leads_to(association: &Association, chain: &[CertificateDer<'_>], names: [&str; 2]) -> bool {
    let authorities = chain.iter().skip(1).filter(|one| association.means(one)).cloned().chain(association.authority());
    let anchors: Vec<TrustAnchor<'static>> = authorities
        .filter_map(|one| webpki::anchor_from_trusted_cert(&one).ok().map(|anchor| anchor.to_owned()))
        .collect();
    let authorities = Authorities::of(anchors);
    names.iter().any(|name| authorities.check(chain, name).is_ok())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

    use super::*;

    const NAMES: [&str; 2] = ["montague.lit", "machine.montague.lit"];

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn signed(issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) -> CertificateDer<'static> {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
    }

    fn association(usage: u8, selector: u8, matching: u8, of: &CertificateDer<'_>) -> Association {
        Association { usage, selector, matching, data: written(matching, selected(selector, of).unwrap()) }
    }

    fn untrusted() -> Result<(), Untrusted> {
        Err(Untrusted::Chain("unknown issuer".to_owned()))
    }

    #[test]
    fn the_servers_own_key_is_enough() {
        let verona = authority("Verona");
        // Neither the name nor the issuer counts.
        let chain = [signed(&verona, "elsewhere.test")];
        for (selector, matching) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
            let fitting = association(3, selector, matching, &chain[0]);
            assert_eq!(judge(&[fitting], &chain, NAMES, &untrusted()), Verdict::Proved, "{selector} {matching}");
            let other = association(3, selector, matching, &signed(&verona, "elsewhere.test"));
            assert_eq!(judge(&[other], &chain, NAMES, &Ok(())), Verdict::Refused, "{selector} {matching}");
        }
        let own = Association::of(&chain[0]).unwrap();
        assert_eq!(own, association(3, 1, 1, &chain[0]));
        assert!(own.text().starts_with("3 1 1 ") && own.text().len() == 6 + 64, "{}", own.text());
        // While a key is replaced both are announced.
        let old = association(3, 1, 1, &signed(&verona, "elsewhere.test"));
        assert_eq!(judge(&[old, own], &chain, NAMES, &untrusted()), Verdict::Proved);
    }

    #[test]
    fn an_authority_of_the_domain_signs_for_it() {
        let (verona, mantua) = (authority("Verona"), authority("Mantua"));
        let root = verona.der().clone();
        for name in NAMES {
            let chain = [signed(&verona, name), root.clone()];
            for record in [association(2, 0, 1, &root), association(2, 1, 2, &root), association(2, 0, 0, &root)] {
                assert_eq!(judge(&[record], &chain, NAMES, &untrusted()), Verdict::Proved, "{name}");
            }
            // With the whole certificate in the record it need not be sent; with a hash it must be.
            assert_eq!(judge(&[association(2, 0, 0, &root)], &chain[..1], NAMES, &untrusted()), Verdict::Proved);
            assert_eq!(judge(&[association(2, 0, 1, &root)], &chain[..1], NAMES, &untrusted()), Verdict::Refused);
        }
        let wrong_name = [signed(&verona, "capulet.lit"), root.clone()];
        assert_eq!(judge(&[association(2, 0, 1, &root)], &wrong_name, NAMES, &Ok(())), Verdict::Refused);
        // A certificate that somebody else has signed, with the right authority only laid beside it.
        let smuggled = [signed(&mantua, NAMES[0]), mantua.der().clone(), root.clone()];
        for usage in [0, 2] {
            let record = association(usage, 1, 1, &root);
            assert_eq!(judge(&[record], &smuggled, NAMES, &Ok(())), Verdict::Refused, "{usage}");
        }
    }

    #[test]
    fn what_narrows_the_usual_checks_does_not_replace_them() {
        let verona = authority("Verona");
        let root = verona.der().clone();
        let chain = [signed(&verona, NAMES[0]), root.clone()];
        for record in [association(1, 1, 1, &chain[0]), association(0, 0, 2, &root)] {
            assert_eq!(judge(std::slice::from_ref(&record), &chain, NAMES, &Ok(())), Verdict::Proved);
            assert_eq!(judge(&[record], &chain, NAMES, &untrusted()), Verdict::Refused);
        }
    }

    #[test]
    fn what_nobody_understands_says_nothing() {
        let chain = [signed(&authority("Verona"), NAMES[0])];
        let good = association(3, 1, 1, &chain[0]);
        for bad in [
            Association { usage: 4, ..good.clone() },
            Association { selector: 2, ..good.clone() },
            Association { matching: 3, ..good.clone() },
            Association { data: vec![0; 31], ..good.clone() },
            Association { matching: 0, data: Vec::new(), ..good.clone() },
        ] {
            assert_eq!(judge(std::slice::from_ref(&bad), &chain, NAMES, &Ok(())), Verdict::Silent, "{bad:?}");
            assert!(!bad.means(&chain[0]));
            assert_eq!(judge(&[bad, good.clone()], &chain, NAMES, &untrusted()), Verdict::Proved);
        }
        assert_eq!(judge(&[], &chain, NAMES, &Ok(())), Verdict::Silent);
        assert_eq!(judge(&[good], &[], NAMES, &Ok(())), Verdict::Refused);
    }
}
