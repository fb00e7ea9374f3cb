//! From the names a client sends to the account they mean (RFC 6120 §6.3.7, §6.3.8; security row S11).

use waxwing_core::address::{DomainRef, NodePart, NodeRef};

/// Prepares a SASL user name as a localpart; `None` when it cannot be one, so no such account can exist.
pub(super) fn account_name(username: &str) -> Option<NodePart> {
    NodePart::new(username).ok().map(|name| name.into_owned())
}

/// Whether the client asks to act as the account it authenticates as, the only one it may.
///
/// Compared octet by octet with the prepared bare JID: an authorization identity that only becomes equal through
/// preparation is refused, so that no two parts of the server can ever read it differently.
pub(super) fn may_act_as(authzid: &str, account: &NodeRef, domain: &DomainRef) -> bool {
    authzid.split_once('@').is_some_and(|(node, host)| node == account.as_str() && host == domain.as_str())
}
