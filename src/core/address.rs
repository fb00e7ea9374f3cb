//! Addresses: the `jid` crate's types under one roof (RFC 6122 preparation, as Prosody and ejabberd do it).

pub use jid::{BareJid, DomainPart, DomainRef, FullJid, Jid, NodePart, NodeRef, ResourcePart, ResourceRef};

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
}
