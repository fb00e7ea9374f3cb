//! Which messages are worth keeping for somebody who is away (XEP-0160 §3, XEP-0334 §4), and how they look when they are
//! delivered at last (XEP-0203 §2).

use waxwing_core::address::{BareJid, DomainRef};
use waxwing_core::archive::ArchiveId;
use waxwing_core::clock::date_time;
use waxwing_core::fault::Fault;
use waxwing_core::namespaces;
use waxwing_core::stanza::{MessageType, Stanza, StanzaType, element};
use waxwing_xml::{Child, Writer};

/// Processing hints (XEP-0334).
const HINTS: &str = "urn:xmpp:hints";
/// Retractions (XEP-0424).
const RETRACTION: &str = "urn:xmpp:message-retract:1";
/// Chat states (XEP-0085).
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";

/// Whether a stanza is of a kind that is kept at all: normal and chat messages.
pub fn is_for_later(stanza: &Stanza) -> bool {
    matches!(stanza.what, StanzaType::Message(MessageType::Normal | MessageType::Chat))
}

/// Whether a message says anything that is still of use later. The sender's hints go before what the content looks like.
pub fn is_worth_keeping(stanza: &Stanza) -> bool {
    let has_hint = |name| stanza.payload(HINTS, name).is_some();
    !has_hint("no-store") && (has_hint("store") || stanza.payloads().any(says_something))
}

/// Whether a payload is more than a state of the moment or a note about the message itself.
fn says_something(payload: Child<'_>) -> bool {
    match payload.namespace() {
        CHAT_STATES | HINTS | namespaces::STANZA_IDS | namespaces::DELAY => false,
        namespaces::CLIENT | namespaces::SERVER | namespaces::COMPONENT => payload.name() != "thread",
        _ => true,
    }
}

/// Whether a message of an account's archive is one that the account would have received at its bare address: not what it
/// has said itself to others, and not what was retracted (XEP-0424 §4).
pub fn is_for(account: &BareJid, stanza: &Stanza) -> bool {
    let is_to_account = stanza.to.as_ref().is_some_and(|to| to.resource().is_none() && to.to_bare() == *account);
    is_to_account && is_for_later(stanza) && is_worth_keeping(stanza) && !is_retracted(stanza)
}

/// Whether there is only a tombstone left of a message.
pub fn is_retracted(stanza: &Stanza) -> bool {
    stanza.payload(RETRACTION, "retracted").is_some()
}

/// Tells under which id the account's archive holds a message (XEP-0313 §3.5), in place of whatever else claims it.
///
/// # Errors
/// A fault when it cannot be written.
pub fn mark_archived(stanza: &mut Stanza, account: &BareJid, id: ArchiveId) -> Result<(), Fault> {
    stanza.remove_payloads(|payload| {
        let is_id = payload.namespace() == namespaces::STANZA_IDS && payload.name() == "stanza-id";
        is_id && payload.attribute("by").is_some_and(|by| by == account.as_str())
    })?;
    let mut writer = Writer::new();
    writer.open("stanza-id").attribute("xmlns", namespaces::STANZA_IDS);
    writer.attribute("by", account.as_str()).attribute("id", &id.to_string());
    stanza.add(element(writer.finish())?);
    Ok(())
}

/// Notes in a message that `host` has kept it since `stored_at` (milliseconds since 1970), in place of any such note
/// that claims to be the host's.
///
/// # Errors
/// A fault when the note cannot be written.
pub fn mark_delayed(stanza: &mut Stanza, host: &DomainRef, stored_at: i64) -> Result<(), Fault> {
    stanza.remove_payloads(|payload| {
        let is_delay = payload.namespace() == namespaces::DELAY && payload.name() == "delay";
        is_delay && payload.attribute("from").is_some_and(|from| from == host.as_str())
    })?;
    let mut writer = Writer::new();
    writer.open("delay").attribute("xmlns", namespaces::DELAY);
    writer.attribute("from", host.as_str()).attribute("stamp", &date_time(stored_at));
    stanza.add(element(writer.finish())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use waxwing_core::address::DomainPart;

    use super::*;

    fn message(of: &str, content: &str) -> Stanza {
        let xml = format!("<message type='{of}' from='romeo@verona.lit/orchard'>{content}</message>");
        Stanza::read(element(xml).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn normal_and_chat_messages_are_for_later_and_no_others() {
        let kept = ["normal", "chat", "whatever", "groupchat", "headline", "error"]
            .map(|of| is_for_later(&message(of, "<body>x</body>")));
        assert_eq!(kept, [true, true, true, false, false, false]);
        assert!(!is_for_later(&Stanza::presence(waxwing_core::stanza::PresenceType::Available)));
    }

    #[test]
    fn states_of_the_moment_are_not_kept() {
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let id = "<origin-id xmlns='urn:xmpp:sid:0' id='1'/>";
        for (content, kept) in [
            (String::new(), false),
            (state.to_owned(), false),
            (format!("{state}<thread>1</thread>{id}"), false),
            (format!("<body>x</body>{state}"), true),
            (format!("{state}<encrypted xmlns='urn:xmpp:omemo:2'/>"), true),
            ("<received xmlns='urn:xmpp:receipts' id='1'/>".to_owned(), true),
            ("<thread xmlns='urn:x'/>".to_owned(), true),
        ] {
            assert_eq!(is_worth_keeping(&message("chat", &content)), kept, "{content}");
        }
    }

    #[test]
    fn hints_of_the_sender_are_followed() {
        let hint = |name: &str| format!("<{name} xmlns='urn:xmpp:hints'/>");
        for (content, kept) in [
            (format!("<body>x</body>{}", hint("no-store")), false),
            (format!("<body>x</body>{}", hint("no-permanent-store")), true),
            (format!("<body>x</body>{}", hint("no-copy")), true),
            (hint("store"), true),
            (format!("{}{}", hint("store"), hint("no-store")), false),
            ("<body>x</body><no-store xmlns='urn:other'/>".to_owned(), true),
        ] {
            assert_eq!(is_worth_keeping(&message("chat", &content)), kept, "{content}");
        }
    }

    #[test]
    fn a_message_is_marked_once_by_its_host() {
        let host = DomainPart::new("verona.lit").unwrap();
        let forged = "<delay xmlns='urn:xmpp:delay' from='verona.lit' stamp='1999-01-01T00:00:00Z'/>";
        let other = "<delay xmlns='urn:xmpp:delay' from='mantua.lit' stamp='2026-11-22T12:00:00Z'/>";
        let mut stanza = message("chat", &format!("{forged}<body>x</body>{other}{forged}"));
        for _ in 0..2 {
            mark_delayed(&mut stanza, &host, 1_795_351_919_123).unwrap();
        }
        let mut written = Vec::new();
        stanza.write(&mut written, None);
        let marked = "<delay xmlns='urn:xmpp:delay' from='verona.lit' stamp='2026-11-22T12:51:59.123Z'/>";
        let expected =
            format!("<message from='romeo@verona.lit/orchard' type='chat'><body>x</body>{other}{marked}</message>");
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
}
