//! What an account's archive keeps (XEP-0313 §6.1.1, XEP-0334), and which words of it can be searched (XEP-0431).

use waxwing_core::namespaces::{CLIENT, COMPONENT, SERVER, is_of_stanzas};
use waxwing_core::stanza::{MessageType, Stanza, StanzaType};
use waxwing_core::xml::Child;

const HINTS: &str = "urn:xmpp:hints";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
const ROOM_INVITATION: &str = "jabber:x:conference";
const ROOM_USER: &str = "http://jabber.org/protocol/muc#user";
const RETRACTION: &str = "urn:xmpp:message-retract:1";
const OLD_RETRACTION: &str = "urn:xmpp:message-retract:0";
const FASTENING: &str = "urn:xmpp:fasten:0";

/// Whether an account's archive keeps a message, as far as the message itself tells.
///
/// Kept is what has a body, and what means something without one: reactions, retractions, displayed markers, encrypted
/// content and invitations to rooms. What only tells a state of the moment is not. Hints decide beyond that, and a wish
/// not to be stored goes before a wish to be stored. Room messages are in the room's archive; errors and their hints are
/// nobody's conversation (XEP-0334 §5).
pub fn is_worth_keeping(stanza: &Stanza) -> bool {
    let StanzaType::Message(of) = stanza.what else { return false };
    let (mut says_something, mut store) = (false, false);
    for payload in stanza.payloads() {
        match (payload.namespace(), payload.name()) {
            (HINTS, "no-store" | "no-permanent-store") => return false,
            (HINTS, "store") => store = true,
            _ => says_something |= is_content(payload),
        }
    }
    match of {
        MessageType::Error | MessageType::Groupchat => false,
        MessageType::Headline => store,
        MessageType::Normal | MessageType::Chat => says_something || store,
    }
}

fn is_content(payload: Child<'_>) -> bool {
    match (payload.namespace(), payload.name()) {
        (CLIENT | SERVER | COMPONENT, "body")
        | ("urn:xmpp:reactions:0", "reactions")
        | (RETRACTION | OLD_RETRACTION, "retract")
        | (FASTENING, "apply-to")
        | (MARKERS, "received" | "displayed" | "acknowledged")
        | (ROOM_INVITATION, "x") => true,
        (ROOM_USER, "x") => payload
            .children()
            .any(|child| child.namespace() == ROOM_USER && matches!(child.name(), "invite" | "decline")),
        _ => is_encrypted(payload),
    }
}

/// Whether a payload is encrypted content, or says that the body is (XEP-0380).
fn is_encrypted(payload: Child<'_>) -> bool {
    matches!(
        (payload.namespace(), payload.name()),
        ("eu.siacs.conversations.axolotl" | "urn:xmpp:omemo:1" | "urn:xmpp:omemo:2", "encrypted")
            | ("urn:xmpp:openpgp:0", "openpgp")
            | ("jabber:x:encrypted", "x")
            | ("urn:xmpp:eme:0", "encryption")
    )
}

/// The words of a message: the text of its bodies. None when they are not what was said: encrypted ones, and the text
/// that stands in for a retraction.
pub fn text(stanza: &Stanza) -> Option<String> {
    let mut text = String::new();
    for payload in stanza.payloads() {
        match (payload.namespace(), payload.name()) {
            (CLIENT | SERVER | COMPONENT, "body") => {
                if !text.is_empty() {
                    text.push('\n');
                }
                text.push_str(&payload.text());
            }
            (RETRACTION | OLD_RETRACTION, "retract") | (FASTENING, "apply-to") => return None,
            _ if is_encrypted(payload) => return None,
            _ => {}
        }
    }
    (!text.starts_with("?OTR") && text.chars().any(char::is_alphanumeric)).then_some(text)
}

/// Whether one of the bodies has more characters than `most`.
pub fn has_longer_body(stanza: &Stanza, most: usize) -> bool {
    stanza
        .payloads()
        .filter(|payload| payload.name() == "body" && is_of_stanzas(payload.namespace()))
        // A character takes a byte at least: what is short in bytes needs no counting.
        .any(|body| body.content().len() > most && body.text().chars().count() > most)
}

/// A hash of the direction of a message and its sender's id for it, to find it again by them. The same for ever.
pub fn reference(is_outgoing: bool, id: Option<&str>) -> i64 {
    let Some(id) = id else { return 0 };
    // FNV-1a. Who makes collisions finds more messages to compare, and none that is not meant.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in [u8::from(is_outgoing)].into_iter().chain(id.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    (hash >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn message(xml: &str) -> Stanza {
        Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
    }

    fn kept(of: &str, payloads: &str) -> bool {
        is_worth_keeping(&message(&format!("<message type='{of}'>{payloads}</message>")))
    }

    #[test]
    fn conversations_are_kept_and_states_are_not() {
        let typing = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        for of in ["chat", "normal"] {
            assert!(kept(of, "<body>hi</body>"));
            assert!(kept(of, &format!("{typing}<body>hi</body>")));
            assert!(!kept(of, typing));
            assert!(!kept(of, "<received xmlns='urn:xmpp:receipts' id='1'/>"));
            assert!(!kept(of, "<body xmlns='urn:other'>hi</body>"));
            assert!(!kept(of, ""));
        }
        for of in ["groupchat", "headline", "error"] {
            assert!(!kept(of, "<body>hi</body>"), "{of}");
        }
    }

    #[test]
    fn what_means_something_without_a_body_is_kept() {
        for payload in [
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>👍</reaction></reactions>",
            "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>",
            "<encrypted xmlns='urn:xmpp:omemo:2'/>",
            "<openpgp xmlns='urn:xmpp:openpgp:0'>x</openpgp>",
            "<x xmlns='jabber:x:conference' jid='room@rooms.lit'/>",
            "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x>",
        ] {
            assert!(kept("chat", payload), "{payload}");
        }
        for payload in [
            "<markable xmlns='urn:xmpp:chat-markers:0'/>",
            "<x xmlns='http://jabber.org/protocol/muc#user'/>",
            "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'/></sent>",
        ] {
            assert!(!kept("chat", payload), "{payload}");
        }
    }

    #[test]
    fn hints_decide() {
        let hint = |name: &str| format!("<{name} xmlns='urn:xmpp:hints'/>");
        let body = "<body>hi</body>";
        assert!(!kept("chat", &format!("{body}{}", hint("no-store"))));
        assert!(!kept("chat", &format!("{}{body}", hint("no-permanent-store"))));
        assert!(!kept("chat", &format!("{}{}{body}", hint("store"), hint("no-store"))));
        assert!(kept("chat", &format!("{body}{}", hint("no-copy"))));
        assert!(kept("chat", &hint("store")));
        assert!(kept("headline", &hint("store")));
        assert!(!kept("error", &hint("store")));
        assert!(!kept("groupchat", &hint("store")));
    }

    #[test]
    fn only_what_was_said_is_searched() {
        let words = |payloads: &str| text(&message(&format!("<message type='chat'>{payloads}</message>")));
        assert_eq!(words("<body>a &amp; b</body><body xml:lang='de'>c</body>").as_deref(), Some("a & b\nc"));
        assert_eq!(words("<subject>a</subject>"), None);
        assert_eq!(words("<body>… !</body>"), None);
        assert_eq!(words("<body>?OTRv23?</body>"), None);
        let fallback = "<body>this is encrypted</body>";
        assert_eq!(words(&format!("{fallback}<encrypted xmlns='eu.siacs.conversations.axolotl'/>")), None);
        assert_eq!(words(&format!("<encryption xmlns='urn:xmpp:eme:0' namespace='x'/>{fallback}")), None);
        assert_eq!(words(&format!("{fallback}<retract xmlns='urn:xmpp:message-retract:1' id='1'/>")), None);
    }

    #[test]
    fn a_body_is_measured_in_characters() {
        let long = |text: &str| message(&format!("<message><body>{text}</body></message>"));
        assert!(!has_longer_body(&long(&"&amp;".repeat(10)), 10));
        assert!(!has_longer_body(&long(&"\u{1F600}".repeat(10)), 10));
        assert!(has_longer_body(&long(&"\u{1F600}".repeat(11)), 10));
        assert!(has_longer_body(&long("12345678901"), 10));
        assert!(has_longer_body(
            &message("<message><body>1</body><body xml:lang='de'>12345678901</body></message>"),
            10
        ));
    }

    #[test]
    fn references_tell_direction_and_id() {
        assert_eq!(reference(true, None), 0);
        assert_ne!(reference(true, Some("a")), reference(false, Some("a")));
        assert_ne!(reference(true, Some("a")), reference(true, Some("b")));
        // It stands in databases: it must not change.
        assert_eq!(reference(true, Some("a")), FNV_OF_1_A);
    }

    /// Reckoned apart from this program.
    const FNV_OF_1_A: i64 = 294_881_888_293_905_003;
}
