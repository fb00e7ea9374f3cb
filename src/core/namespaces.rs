//! Namespace names, each written once.

/// Content of client streams (RFC 6120 §4.8.2).
pub const CLIENT: &str = "jabber:client";
/// Content of server streams (RFC 6120 §4.8.2).
pub const SERVER: &str = "jabber:server";
/// Content of streams of external components (XEP-0114).
pub const COMPONENT: &str = "jabber:component:accept";
/// The stream itself (RFC 6120 §4.8.1).
pub const STREAM: &str = "http://etherx.jabber.org/streams";
/// Conditions of stream errors (RFC 6120 §4.9).
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// Conditions of stanza errors (RFC 6120 §8.3).
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// STARTTLS (RFC 6120 §5).
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// SASL (RFC 6120 §6).
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// Resource binding (RFC 6120 §7).
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// The session of RFC 3921, a courtesy to old clients.
pub const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
/// Server-made stanza ids and client-made origin ids (XEP-0359).
pub const STANZA_IDS: &str = "urn:xmpp:sid:0";
/// Delayed delivery (XEP-0203).
pub const DELAY: &str = "urn:xmpp:delay";
/// Application conditions of stanza errors from the RFCs' family.
pub const ERRORS: &str = "urn:xmpp:errors";

/// Whether a namespace is that of stanzas and their own children; which of them depends on the stream alone.
pub fn is_of_stanzas(namespace: &str) -> bool {
    matches!(namespace, CLIENT | SERVER | COMPONENT)
}
