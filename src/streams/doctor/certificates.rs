//! What is wrong with the certificates that a domain shows.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::facts::{Facts, TlsFacts};
use super::judging::{finding, place};
use super::report::{Finding, Level, Section};
use crate::certificates::names::Names;
use crate::federation::identity::Untrusted;

const DAY: i64 = 86_400;
/// Days before its end at which a certificate is complained about.
const SOON: i64 = 14;

/// Judges every certificate, each once.
pub(super) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    for service in &facts.services {
        for machine in &service.machines {
            let shown = machine.doors.iter().filter_map(|door| door.visit.as_ref()?.tls.as_ref());
            for tls in shown {
                let place = place(machine);
                findings.extend(judge_one(tls, &facts.domain, facts.now).into_iter().map(|finding| finding.at(&place)));
                if service.service.is_direct() && tls.alpn.is_none() {
                    let alpn = service.service.alpn();
                    findings.push(
                        finding(
                            Section::Certificates,
                            Level::Warning,
                            format!("nothing answers to ALPN {alpn} (XEP-0368 §3)"),
                        )
                        .at(&place)
                        .mend(format!("let what ends TLS here agree to {alpn}; Waxwing does when it ends TLS itself")),
                    );
                }
            }
        }
    }
}

/// What the operator of a Waxwing does with a new certificate.
const INSTALL: &str =
    "Waxwing: put chain and key as NAME.crt and NAME.key into the folder of tls.certificates, and send SIGHUP";

fn judge_one(tls: &TlsFacts, domain: &str, now: i64) -> Vec<Finding> {
    let say = |level, text: String| finding(Section::Certificates, level, text);
    let order = format!("order a new one for DNS:{domain}, for example: certbot certonly -d {domain}");
    let Some(leaf) = tls.chain.first() else {
        return vec![say(Level::Broken, "no certificate is shown".to_owned()).mend(order).mend(INSTALL)];
    };
    let Ok((_, parsed)) = X509Certificate::from_der(leaf) else {
        return vec![say(Level::Broken, "the certificate cannot be read".to_owned()).mend(order).mend(INSTALL)];
    };
    let mut findings = Vec::new();
    let validity = parsed.validity();
    let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let (days, date) = ((until - now) / DAY, validity.not_after.to_datetime().date());
    let is_current = (from..=until).contains(&now);
    if now > until {
        findings.push(
            say(Level::Broken, format!("the certificate has expired on {date}")).mend(order.clone()).mend(INSTALL),
        );
    } else if now < from {
        let date = validity.not_before.to_datetime().date();
        let text = format!("the certificate is not valid before {date}");
        findings.push(say(Level::Broken, text).mend("set the clock of the server, or wait"));
    } else if days < SOON {
        let text = format!("the certificate expires in {days} days, on {date}");
        findings.push(say(Level::Warning, text).mend(order.clone()).mend(INSTALL));
    }
    let names = names(&parsed);
    if !Names::of_server(&parsed).cover(domain) {
        let named = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
        let text = format!("the certificate does not name {domain}: it is for {named}");
        findings.push(say(Level::Broken, text).mend(order.clone()).mend(INSTALL));
    }
    if let Err(Untrusted::Chain(why)) = &tls.trusted
        && is_current
    {
        findings.push(untrusted(&tls.chain, &parsed, why, order));
    }
    if findings.iter().all(|finding| finding.level < Level::Broken) && tls.trusted.is_ok() {
        let text = format!(
            "{}, signed by {}, {days} days left (until {date}), {}",
            names.join(", "),
            organisation(&parsed),
            tls.version
        );
        findings.insert(0, say(Level::Good, text));
    }
    findings
}

fn untrusted(chain: &[CertificateDer<'_>], leaf: &X509Certificate<'_>, why: &str, order: String) -> Finding {
    let say = |text: String| finding(Section::Certificates, Level::Broken, text);
    if leaf.subject() == leaf.issuer() {
        return say("the certificate is signed by itself: nobody else believes it".to_owned())
            .mend(order)
            .mend(INSTALL);
    }
    let signed = format!("the certificate, signed by {}, is not trusted: {why}", organisation(leaf));
    let private = "when the authority is a private one: --ca FILE, and modules.federation.authorities on every server";
    match chain {
        [_] => say(signed)
            .mend(
                "only the server's own certificate is shown: use the file with the whole chain, such as fullchain.pem",
            )
            .mend(private),
        _ => say(signed).mend(order).mend(private),
    }
}

/// Who has signed it, in as few words as tell.
fn organisation(certificate: &X509Certificate<'_>) -> String {
    let issuer = certificate.issuer();
    let common = issuer.iter_common_name().next().and_then(|name| name.as_str().ok());
    let organisation = issuer.iter_organization().next().and_then(|name| name.as_str().ok());
    match (organisation, common) {
        (Some(organisation), Some(common)) => format!("{organisation} ({common})"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => "nobody".to_owned(),
    }
}

/// The DNS names it is for.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use rustls_pki_types::UnixTime;
    use x509_parser::time::ASN1Time;

    use super::*;
    use crate::federation::identity::Authorities;

    fn now() -> i64 {
        UnixTime::now().as_secs() as i64
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "Verona");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn shown(chain: Vec<CertificateDer<'static>>, authorities: &Authorities) -> TlsFacts {
        TlsFacts { version: "TLS 1.3", alpn: None, trusted: authorities.check(&chain, "capulet.lit"), chain }
    }

    fn texts(findings: &[Finding]) -> Vec<(Level, &str)> {
        findings.iter().map(|finding| (finding.level, finding.text.as_str())).collect()
    }

    #[test]
    fn a_certificate_has_names_a_chain_and_an_end() {
        let verona = authority();
        let trusting = Authorities::of(vec![webpki::anchor_from_trusted_cert(verona.der()).unwrap().to_owned()]);
        let date = |seconds| ASN1Time::from_timestamp(seconds).unwrap().to_datetime();
        let sign = |name: &str, days: i64| {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.not_before = date(now() - 100 * DAY);
            params.not_after = date(now() + days * DAY + 60);
            params.signed_by(&KeyPair::generate().unwrap(), &verona).unwrap().der().clone()
        };
        let judged = |name: &str, days: i64| judge_one(&shown(vec![sign(name, days)], &trusting), "capulet.lit", now());
        let good = judged("capulet.lit", 60);
        assert!(
            matches!(texts(&good)[..], [(Level::Good, text)] if text.starts_with("capulet.lit, signed by Verona, 60 days left")),
            "{good:?}"
        );
        let soon = judged("capulet.lit", 5);
        assert!(
            matches!(texts(&soon)[..], [(Level::Good, _), (Level::Warning, text)] if text.contains("expires in 5 days")),
            "{soon:?}"
        );
        let expired = judged("capulet.lit", -5);
        assert!(
            matches!(texts(&expired)[..], [(Level::Broken, text)] if text.contains("has expired on")),
            "{expired:?}"
        );
        assert!(expired[0].mend[0].contains("certbot certonly -d capulet.lit"));
        let other = judged("montague.lit", 60);
        assert!(
            matches!(texts(&other)[..], [(Level::Broken, text)] if text == "the certificate does not name capulet.lit: it is for montague.lit"),
            "{other:?}"
        );
        let nobody =
            judge_one(&shown(vec![sign("capulet.lit", 60)], &Authorities::of(Vec::new())), "capulet.lit", now());
        assert!(
            matches!(texts(&nobody)[..], [(Level::Broken, text)] if text.contains("signed by Verona, is not trusted")),
            "{nobody:?}"
        );
        assert!(nobody[0].mend.iter().any(|line| line.contains("fullchain.pem")));
        let none = judge_one(&shown(Vec::new(), &trusting), "capulet.lit", now());
        assert_eq!(none[0].level, Level::Broken);
    }

    #[test]
    fn a_certificate_signed_by_itself_is_called_that() {
        let params = CertificateParams::new(["capulet.lit".to_owned()]).unwrap();
        let own = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        let judged = judge_one(&shown(vec![own], &Authorities::of(Vec::new())), "capulet.lit", now());
        assert!(
            matches!(texts(&judged)[..], [(Level::Broken, text)] if text.contains("signed by itself")),
            "{judged:?}"
        );
    }
}
