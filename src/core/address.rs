//! Addresses: the `jid` crate's types under one roof (RFC 6122 preparation, as Prosody and ejabberd do it).

use std::borrow::Cow;

pub use jid::{BareJid, DomainPart, DomainRef, Error, FullJid, Jid, NodePart, NodeRef, ResourcePart, ResourceRef};

/// Reads an address that somebody else wrote. What is the same domain comes out the same: without the dot at the end, with
/// one kind of dots, and an A-label (`xn--…`) as the U-label it stands for (RFC 7622 §3.2; RFC 6122 §2.2 compares them so).
///
/// [`Jid::new`] does neither, and with the dot it takes the slash for a part of the resource: use it only for what has
/// been read before.
///
/// # Errors
/// Which part breaks the rules.
pub fn read(text: &str) -> Result<Jid, Error> {
    let (bare, resource) = match text.split_once('/') {
        Some((bare, resource)) => (bare, Some(resource)),
        None => (text, None),
    };
    let domain = bare.split_once('@').map_or(bare, |(_, domain)| domain);
    if domain.is_ascii() && !domain.ends_with('.') && !may_hold_a_label(domain) {
        return Jid::new(text);
    }
    let node = bare.split_once('@').map(|(node, _)| NodePart::new(node)).transpose()?;
    let resource = resource.map(ResourcePart::new).transpose()?;
    Ok(Jid::from_parts(node.as_deref(), &read_domain(domain)?, resource.as_deref()))
}

/// As [`read`], for the address of an account or a service.
///
/// # Errors
/// Also when it has a resource.
pub fn read_bare(text: &str) -> Result<BareJid, Error> {
    match read(text)?.try_into_full() {
        Ok(_) => Err(Error::ResourceInBareJid),
        Err(bare) => Ok(bare),
    }
}

/// Reads a domain that somebody else wrote, as [`read`] does.
///
/// # Errors
/// When it is none.
pub fn read_domain(text: &str) -> Result<Cow<'_, DomainRef>, Error> {
    // Made plain before anything else: how many of them idna takes depends on the tables it is built with.
    let domain = if text.contains(OTHER_DOTS) {
        Cow::Owned(DomainPart::new(&text.replace(OTHER_DOTS, "."))?.into_owned())
    } else {
        DomainPart::new(text)?
    };
    Ok(match with_u_labels(&domain) {
        Some(domain) => Cow::Owned(domain),
        None => domain,
    })
}

/// Dots like any other to IDNA (RFC 3490 §3.1).
const OTHER_DOTS: [char; 3] = ['\u{3002}', '\u{FF0E}', '\u{FF61}'];

fn may_hold_a_label(domain: &str) -> bool {
    domain.as_bytes().windows(4).any(|window| window.eq_ignore_ascii_case(b"xn--"))
}

/// The domain with U-labels, if it has A-labels. A label that the preparation of RFC 6122 would make another one of, such
/// as that of the sharp s, stays what it is: whoever owns the one domain must not speak for the other.
fn with_u_labels(domain: &DomainRef) -> Option<DomainPart> {
    if !may_hold_a_label(domain.as_str()) {
        return None;
    }
    let (unicode, readable) = idna::domain_to_unicode(domain.as_str());
    readable.ok()?;
    let prepared = DomainPart::new(&unicode).ok()?.into_owned();
    let again = idna::domain_to_ascii(prepared.as_str()).ok()?;
    again.eq_ignore_ascii_case(domain.as_str()).then_some(prepared)
}

/// Joins an account name and a host to a bare JID.
pub fn account(node: &NodeRef, domain: &DomainRef) -> BareJid {
    BareJid::from_parts(Some(node), domain)
}

/// Whether both addresses belong to the same account or service, resources aside.
pub fn same_account(one: &Jid, other: &Jid) -> bool {
    one.node() == other.node() && one.domain() == other.domain()
}

/// Whether `domain` lies below `parent`: `conference.example.org` below `example.org`.
pub fn is_subdomain(domain: &DomainRef, parent: &DomainRef) -> bool {
    domain.as_str().strip_suffix(parent.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subdomain_ends_at_a_label() {
        let domain = |name: &str| DomainPart::new(name).unwrap().into_owned();
        assert!(is_subdomain(&domain("rooms.capulet.lit"), &domain("capulet.lit")));
        assert!(!is_subdomain(&domain("evilcapulet.lit"), &domain("capulet.lit")));
        assert!(!is_subdomain(&domain("capulet.lit"), &domain("capulet.lit")));
    }

    fn as_read(text: &str) -> String {
        read(text).map_or_else(|error| error.to_string(), |jid| jid.to_string())
    }

    #[test]
    fn c104_a_dot_at_the_end_makes_no_difference() {
        for (written, form) in [
            ("capulet.lit.", "capulet.lit"),
            ("Juliet@Capulet.lit.", "juliet@capulet.lit"),
            ("juliet@capulet.lit./balcony", "juliet@capulet.lit/balcony"),
            ("capulet.lit./a.@b/c.", "capulet.lit/a.@b/c."),
            ("juliet@127.0.0.1", "juliet@127.0.0.1"),
            ("a@capulet\u{3002}lit", "a@capulet.lit"),
            ("a@capulet\u{FF61}lit\u{FF0E}/b", "a@capulet.lit/b"),
        ] {
            assert_eq!(as_read(written), form);
            let jid = read(written).unwrap();
            assert_eq!(Jid::new(jid.as_str()).unwrap(), jid, "{written}");
            assert_eq!(jid.domain().as_str(), Jid::new(jid.as_str()).unwrap().domain().as_str());
        }
        for bad in [
            "capulet.lit..",
            "capulet.lit.\u{3002}",
            "@capulet.lit.",
            "juliet@capulet.lit./",
            "a@b@capulet.lit.",
            ".",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read_bare("juliet@capulet.lit./balcony").is_err() && read_bare("juliet@capulet.lit.").is_ok());
    }

    #[test]
    fn c104_an_a_label_is_its_u_label() {
        for written in ["bücher.example", "xn--bcher-kva.example", "XN--BCHER-KVA.example.", "bu\u{308}cher.example"] {
            assert_eq!(as_read(&format!("a@{written}/b")), "a@bücher.example/b");
            assert_eq!(read_domain(written).unwrap().as_str(), "bücher.example");
        }
        // IDNA 2008 has a domain with the sharp s, RFC 6122 reads its U-label as two letters: it is left as it was.
        assert_eq!(as_read("a@xn--strae-oqa.example"), "a@xn--strae-oqa.example");
        assert!(read("a@xn--a-.example").is_err());
    }
}
