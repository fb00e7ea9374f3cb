//! The domains a certificate stands for (RFC 6120 §13.7.1.2, RFC 6125 §6.4).

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{X509Certificate, X509Name};

/// `id-on-xmppAddr` (RFC 6120 §13.7.1.4).
const XMPP_ADDRESS: &str = "1.3.6.1.5.5.7.8.5";
/// `id-on-dnsSRV` (RFC 4985).
const SRV_NAME: &str = "1.3.6.1.5.5.7.8.7";

/// The domains of one certificate: ASCII, lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    /// Domains as they stand.
    pub(super) exact: Vec<String>,
    /// What follows `*.` of a wildcard.
    pub(super) wildcards: Vec<String>,
}

impl Names {
    /// Reads the subject alternative names: DNS names, addresses, `XmppAddr` and `SRVName`. Only when there are none of them
    /// the common name counts, as old certificates of the house may have it.
    pub(super) fn of(certificate: &X509Certificate<'_>) -> Names {
        let mut names = Names::default();
        if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
            for name in &alternatives.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.add(name),
                    GeneralName::IPAddress(octets) => names.exact.extend(address(octets)),
                    GeneralName::OtherName(kind, value) => {
                        if let Some(domain) = other_name(&kind.to_id_string(), value) {
                            names.add(domain);
                        }
                    }
                    _ => {}
                }
            }
        }
        if names.is_empty()
            && let Some(name) = common_name(certificate.subject())
        {
            names.add(name);
        }
        names
    }

    /// The domains that another server may speak for (RFC 6120 §13.7.1.2): the names above, but never a common name, no
    /// wildcard in what is not a DNS name, and service names for servers only. A name that holds anything but a domain,
    /// a NUL for instance, is good for nothing (security row S12).
    pub(crate) fn of_server(certificate: &X509Certificate<'_>) -> Names {
        let mut names = Names::default();
        let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return names };
        for name in &alternatives.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.add(name),
                GeneralName::IPAddress(octets) => names.exact.extend(address(octets)),
                GeneralName::OtherName(kind, value) => {
                    let kind = kind.to_id_string();
                    let is_for_clients = kind == SRV_NAME && contains(value, b"_xmpp-client.");
                    if let Some(domain) = other_name(&kind, value).filter(|name| !is_for_clients && !name.contains('*'))
                    {
                        names.add(domain);
                    }
                }
                _ => {}
            }
        }
        names
    }

    pub(super) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty()
    }

    pub(crate) fn cover(&self, domain: &str) -> bool {
        let Some(domain) = to_ascii(domain) else { return false };
        let parent = parent(&domain);
        self.exact.contains(&domain) || parent.is_some_and(|parent| self.wildcards.iter().any(|one| one == parent))
    }

    /// A wildcard counts only as the whole first label; any other `*` makes the name good for nothing.
    fn add(&mut self, name: &str) {
        let (list, name) = match name.strip_prefix("*.") {
            Some(rest) => (&mut self.wildcards, rest),
            None => (&mut self.exact, name),
        };
        if let Some(name) = to_ascii(name).filter(|name| is_domain(name) && !list.contains(name)) {
            list.push(name);
        }
    }
}

/// An address as a host of that kind is written in a JID (RFC 6122 §2.2).
fn address(octets: &[u8]) -> Option<String> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).to_string());
    }
    <[u8; 16]>::try_from(octets).ok().map(|octets| format!("[{}]", Ipv6Addr::from(octets)))
}

/// Whether it can be a domain at all: a common name may be any text.
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.split('.').all(is_label)
}

/// A domain as it goes into certificates and SNI: A-labels, lower case, no dot at the end.
pub(crate) fn to_ascii(domain: &str) -> Option<String> {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_empty() {
        return None;
    }
    if domain.is_ascii() {
        return Some(domain.to_ascii_lowercase());
    }
    idna::domain_to_ascii(domain).ok()
}

/// What a wildcard must stand for to match: the domain without its first label.
pub(super) fn parent(domain: &str) -> Option<&str> {
    domain.split_once('.').map(|(_, parent)| parent).filter(|parent| !parent.is_empty())
}

fn common_name<'a>(subject: &'a X509Name<'_>) -> Option<&'a str> {
    subject.iter_common_name().next().and_then(|name| name.as_str().ok())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The domain in an `otherName`: a string inside an explicit tag 0.
fn other_name<'a>(kind: &str, value: &'a [u8]) -> Option<&'a str> {
    const EXPLICIT_0: u8 = 0xa0;
    const UTF8_STRING: u8 = 0x0c;
    const IA5_STRING: u8 = 0x16;
    let inside = content(value, EXPLICIT_0)?;
    match kind {
        XMPP_ADDRESS => std::str::from_utf8(content(inside, UTF8_STRING)?).ok().filter(|name| !name.contains('@')),
        SRV_NAME => {
            let name = std::str::from_utf8(content(inside, IA5_STRING)?).ok()?;
            name.strip_prefix("_xmpp-client.").or_else(|| name.strip_prefix("_xmpp-server."))
        }
        _ => None,
    }
}

/// The content of a DER element of that tag that fills `der`; lengths up to 255 bytes.
fn content(der: &[u8], tag: u8) -> Option<&[u8]> {
    let (length, rest) = match der {
        [first, 0x81, length, rest @ ..] if *first == tag => (*length, rest),
        [first, length @ 0..=0x7f, rest @ ..] if *first == tag => (*length, rest),
        _ => return None,
    };
    (rest.len() == usize::from(length)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Names {
        let mut names = Names::default();
        list.iter().for_each(|name| names.add(name));
        names
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let names = names(&["*.Capulet.lit"]);
        assert!(names.cover("rooms.capulet.LIT"));
        assert!(names.cover("rooms.capulet.lit."));
        assert!(!names.cover("capulet.lit"));
        assert!(!names.cover("a.rooms.capulet.lit"));
        assert!(!names.cover("evilcapulet.lit"));
    }

    #[test]
    fn other_wildcards_are_good_for_nothing() {
        let names = names(&["r*.capulet.lit", "*", "rooms.*.lit", "*.*.lit", "a..lit", "an authority", ""]);
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn unicode_and_ascii_forms_are_one_domain() {
        let names = names(&["xn--bcher-kva.example"]);
        assert!(names.cover("bücher.example"));
        assert!(names.cover("XN--BCHER-KVA.example"));
        assert!(!names.cover("bucher.example"));
    }

    #[test]
    fn xmpp_and_srv_names_are_read() {
        let xmpp = [&[0xa0, 13, 0x0c, 11][..], b"capulet.lit"].concat();
        assert_eq!(other_name(XMPP_ADDRESS, &xmpp), Some("capulet.lit"));
        assert_eq!(other_name(SRV_NAME, &xmpp), None);
        let srv = [&[0xa0, 26, 0x16, 24][..], b"_xmpp-client.capulet.lit"].concat();
        assert_eq!(other_name(SRV_NAME, &srv), Some("capulet.lit"));
        assert_eq!(other_name(SRV_NAME, &srv[..srv.len() - 1]), None);
    }
}
