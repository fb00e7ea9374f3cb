//! Namespaces of the gateway, each written once.

/// Push notifications (XEP-0357).
pub const PUSH: &str = "urn:xmpp:push:0";
/// The form that tells what waits (XEP-0357 §7).
pub const SUMMARY: &str = "urn:xmpp:push:summary";
/// Publish-subscribe (XEP-0060), of which a gateway does nothing but take what is published.
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// The form with the secret (XEP-0060 §7.1.5).
pub const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
/// Service discovery (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// Service discovery (XEP-0030).
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Ping (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// UnifiedPush over XMPP, as Conversations and `up` speak it.
pub const UNIFIED_PUSH: &str = "http://gultsch.de/xmpp/drafts/unified-push";
