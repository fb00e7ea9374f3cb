//! Which messages a device is called for, and how urgent each is: what a person has said or wants now, and no state of the
//! moment.

use waxwing_core::address::{self, BareJid};
use waxwing_core::namespaces::{self, CLIENT, SERVER};
use waxwing_core::push::Urgency;
use waxwing_core::stanza::{MessageType, Stanza, StanzaType};
use waxwing_core::xml::Child;

const HINTS: &str = "urn:xmpp:hints";
const CALLS: &str = "urn:xmpp:jingle-message:0";
const CALL_INVITES: &str = "urn:xmpp:call-invites:0";
const ROOM_INVITATION: &str = "jabber:x:conference";
const ROOM_USER: &str = "http://jabber.org/protocol/muc#user";
const CORRECTION: &str = "urn:xmpp:message-correct:0";
const REFERENCE: &str = "urn:xmpp:reference:0";
const MENTIONS: &str = "urn:xmpp:mentions:0";
const CHANNEL: &str = "urn:xmpp:mentions:0#channel";
const OMEMO: [&str; 3] = ["eu.siacs.conversations.axolotl", "urn:xmpp:omemo:1", "urn:xmpp:omemo:2"];

/// What a message is to a person who is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// He need not be called for it.
    Nothing,
    /// Something was said. Whether a text that stands there is what was said: it is not when it was encrypted.
    Said {
        /// Whether the body is what was said.
        in_clear: bool,
    },
    /// He is rung.
    Rings,
}

/// What a message is worth, by what stands in it (XEP-0357 leaves it to the server).
pub fn worth(stanza: &Stanza) -> Worth {
    let StanzaType::Message(of) = stanza.what else { return Worth::Nothing };
    if matches!(of, MessageType::Error | MessageType::Headline) {
        return Worth::Nothing;
    }
    let (mut has_body, mut is_encrypted, mut is_invited, mut is_kept) = (false, false, false, true);
    for payload in stanza.payloads() {
        match (payload.namespace(), payload.name()) {
            (CALLS, "propose") | (CALL_INVITES, "invite") if of != MessageType::Groupchat => return Worth::Rings,
            // What was said before is changed or taken back, or is told again to somebody who enters a room.
            (CORRECTION, "replace")
            | ("urn:xmpp:message-retract:0" | "urn:xmpp:message-retract:1", "retract")
            | ("urn:xmpp:fasten:0", "apply-to") => return Worth::Nothing,
            (namespaces::DELAY, "delay") if of == MessageType::Groupchat => return Worth::Nothing,
            (HINTS, "no-store") => is_kept = false,
            (CLIENT | SERVER, "body") => has_body |= !payload.content().is_empty(),
            (ROOM_INVITATION, "x") => is_invited = true,
            (ROOM_USER, "x") => is_invited |= payload.child(ROOM_USER, "invite").is_some(),
            _ => is_encrypted |= is_encrypted_content(payload),
        }
    }
    // What is not kept would not be found when the device asks for it.
    match is_kept && (has_body || is_encrypted || is_invited) {
        true => Worth::Said { in_clear: has_body && !is_encrypted },
        false => Worth::Nothing,
    }
}

/// Encrypted content, but not keys alone.
fn is_encrypted_content(payload: Child<'_>) -> bool {
    match (payload.namespace(), payload.name()) {
        (namespace, "encrypted") if OMEMO.contains(&namespace) => payload.child(namespace, "payload").is_some(),
        ("urn:xmpp:openpgp:0", "openpgp") | ("jabber:x:encrypted", "x") => true,
        _ => false,
    }
}

/// Whether a message mentions the account by its address, or everyone in the room (XEP-0372, XEP-0513).
pub fn mentions(stanza: &Stanza, account: &BareJid) -> bool {
    let is_own = |uri: &str| {
        let address = uri.strip_prefix("xmpp:").unwrap_or(uri);
        let address = address.split(['?', ';']).next().unwrap_or(address);
        address::read_bare(address).is_ok_and(|address| address == *account)
    };
    stanza.payloads().any(|payload| match (payload.namespace(), payload.name()) {
        (REFERENCE, "reference") => {
            payload.attribute("type").as_deref() == Some("mention")
                && payload.attribute("uri").is_some_and(|uri| is_own(&uri))
        }
        (MENTIONS, "mention") => {
            payload.attribute("mentions").as_deref() == Some(CHANNEL)
                || payload.attribute("uri").is_some_and(|uri| is_own(&uri))
        }
        _ => false,
    })
}

/// Whether a text names somebody: his nickname as a word of its own, whatever the case.
pub fn names(text: &str, nickname: &str) -> bool {
    let nickname = nickname.trim().to_lowercase();
    if nickname.is_empty() {
        return false;
    }
    let text = text.to_lowercase();
    let is_word = |letter: Option<char>| letter.is_some_and(char::is_alphanumeric);
    text.match_indices(&nickname).any(|(at, found)| {
        !is_word(text[..at].chars().next_back()) && !is_word(text[at + found.len()..].chars().next())
    })
}

/// How urgent a message is that arrives at an account.
pub fn urgency(stanza: &Stanza, is_mention: bool) -> Urgency {
    match stanza.what {
        StanzaType::Message(MessageType::Groupchat) if !is_mention => Urgency::Normal,
        _ => Urgency::Urgent,
    }
}

/// The beginning of a text, in characters.
pub fn beginning(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn message(of: &str, content: &str) -> Stanza {
        let xml = format!("<message type='{of}' from='romeo@montague.lit/orchard'>{content}</message>");
        Stanza::read(element(xml).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn what_a_person_says_is_worth_a_call_and_states_are_not() {
        let clear = Worth::Said { in_clear: true };
        let secret = Worth::Said { in_clear: false };
        let omemo = "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/><payload>x</payload></encrypted>";
        for (of, content, wanted) in [
            ("chat", "<body>hi</body>", clear),
            ("normal", "<body>hi</body>", clear),
            ("groupchat", "<body>hi</body>", clear),
            ("chat", "<body/>", Worth::Nothing),
            ("chat", "<body xmlns='urn:other'>hi</body>", Worth::Nothing),
            ("headline", "<body>hi</body>", Worth::Nothing),
            ("error", "<body>hi</body>", Worth::Nothing),
            ("groupchat", "<subject>hi</subject>", Worth::Nothing),
            (
                "groupchat",
                "<body>hi</body><delay xmlns='urn:xmpp:delay' stamp='2026-11-22T12:00:00Z'/>",
                Worth::Nothing,
            ),
            ("chat", "<composing xmlns='http://jabber.org/protocol/chatstates'/>", Worth::Nothing),
            ("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", Worth::Nothing),
            ("chat", "<received xmlns='urn:xmpp:receipts' id='1'/>", Worth::Nothing),
            ("chat", "<received xmlns='urn:xmpp:carbons:2'/>", Worth::Nothing),
            ("chat", omemo, secret),
            ("chat", &format!("<body>encrypted with OMEMO</body>{omemo}"), secret),
            ("chat", "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/></encrypted>", Worth::Nothing),
            ("normal", "<x xmlns='jabber:x:conference' jid='room@rooms.lit'/>", secret),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x>", secret),
            (
                "chat",
                "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/><store xmlns='urn:xmpp:hints'/>",
                Worth::Rings,
            ),
            ("chat", "<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>", Worth::Nothing),
            ("chat", "<body>x</body><no-store xmlns='urn:xmpp:hints'/>", Worth::Nothing),
            ("chat", "<body>x</body><replace xmlns='urn:xmpp:message-correct:0' id='1'/>", Worth::Nothing),
            ("chat", "<body>x</body><retract xmlns='urn:xmpp:message-retract:1' id='1'/>", Worth::Nothing),
        ] {
            assert_eq!(worth(&message(of, content)), wanted, "{of} {content}");
        }
    }

    #[test]
    fn a_mention_names_the_account_or_everyone() {
        let juliet = BareJid::new("juliet@capulet.lit").unwrap();
        let reference = |uri: &str, kind: &str| {
            mentions(
                &message("groupchat", &format!("<reference xmlns='urn:xmpp:reference:0' type='{kind}' uri='{uri}'/>")),
                &juliet,
            )
        };
        assert!(reference("xmpp:juliet@capulet.lit", "mention"));
        assert!(reference("xmpp:Juliet@capulet.lit?message", "mention"));
        assert!(!reference("xmpp:juliet@capulet.lit", "data"));
        assert!(!reference("xmpp:nurse@capulet.lit", "mention"));
        let everyone = "<mention xmlns='urn:xmpp:mentions:0' mentions='urn:xmpp:mentions:0#channel'/>";
        assert!(mentions(&message("groupchat", everyone), &juliet));
        assert_eq!(urgency(&message("groupchat", everyone), true), Urgency::Urgent);
        assert_eq!(urgency(&message("groupchat", ""), false), Urgency::Normal);
        assert_eq!(urgency(&message("chat", ""), false), Urgency::Urgent);
    }

    #[test]
    fn a_nickname_is_found_as_a_word() {
        for (text, is_named) in [
            ("Juliet: are you there?", true),
            ("ask JULIET", true),
            ("juliette", false),
            ("mjuliet", false),
            ("@juliet!", true),
            ("", false),
        ] {
            assert_eq!(names(text, "Juliet"), is_named, "{text}");
        }
        assert!(!names("anything", " "));
        assert_eq!((beginning("äöü", 2), beginning("a", 2)), ("äö", "a"));
    }
}
