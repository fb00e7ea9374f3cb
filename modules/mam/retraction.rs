//! Retractions (XEP-0424): which message one names, whether it may, and what stays in its place.

use waxwing_core::address::{Jid, same_account};
use waxwing_core::clock::date_time;
use waxwing_core::fault::Fault;
use waxwing_core::stanza::{MessageType, Stanza, StanzaType, element};
use waxwing_core::xml::Writer;

const RETRACTION: &str = "urn:xmpp:message-retract:1";
const ROOM_USER: &str = "http://jabber.org/protocol/muc#user";

/// The sender's id of the message that a retraction of a conversation between two names (§3, §5.1). None when nothing is
/// retracted, or when clients could not match a tombstone to the retraction because that has no id of its own.
pub fn named(retraction: &Stanza) -> Option<String> {
    let between_two = matches!(retraction.what, StanzaType::Message(MessageType::Chat | MessageType::Normal));
    if !between_two || retraction.id.is_none() {
        return None;
    }
    retraction.payload(RETRACTION, "retract")?.attribute("id").map(|id| id.into_owned())
}

/// Whether a retraction that names `id` retracts this message: the same sender has to say so (§5), and there has to be
/// something left to retract. Behind one bare address of a room stand many people: there the full one counts.
pub fn retracts(retraction: &Stanza, id: &str, original: &Stanza) -> bool {
    let (Some(retracting), Some(author)) = (&retraction.from, &original.from) else { return false };
    let same = |one: &Jid, other: &Jid| match original.payload(ROOM_USER, "x") {
        Some(_) => one == other,
        None => same_account(one, other),
    };
    original.id.as_deref() == Some(id)
        && same(retracting, author)
        && original.payload(RETRACTION, "retracted").is_none()
}

/// What stays of a message (§4): its head, by whose message it was retracted, and when (milliseconds since 1970).
///
/// # Errors
/// A fault when it cannot be written.
pub fn tombstone(original: &Stanza, retraction_id: &str, now: i64) -> Result<Stanza, Fault> {
    let mut writer = Writer::new();
    writer.open("retracted").attribute("xmlns", RETRACTION).attribute("id", retraction_id);
    writer.attribute("stamp", &date_time(now)).close();
    Ok(original.head().with(element(writer.finish())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(xml: &str) -> Stanza {
        Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
    }

    fn retraction(from: &str, of: &str) -> Stanza {
        message(&format!(
            "<message type='{of}' from='{from}' to='juliet@capulet.lit' id='r1'><retract xmlns='{RETRACTION}' id='m1'/></message>"
        ))
    }

    const ORIGINAL: &str = "<message type='chat' from='romeo@montague.lit/orchard' to='juliet@capulet.lit' id='m1' \
                            xml:lang='it'><body>amore</body><origin-id xmlns='urn:xmpp:sid:0' id='m1'/></message>";

    #[test]
    fn a_retraction_names_a_message() {
        assert_eq!(named(&retraction("a@b/c", "chat")).as_deref(), Some("m1"));
        assert_eq!(named(&retraction("a@b/c", "groupchat")), None);
        assert_eq!(named(&message(ORIGINAL)), None);
        let without_id = format!("<message type='chat'><retract xmlns='{RETRACTION}' id='m1'/></message>");
        assert_eq!(named(&message(&without_id)), None);
    }

    #[test]
    fn only_the_author_retracts() {
        let original = message(ORIGINAL);
        assert!(retracts(&retraction("romeo@montague.lit/tomb", "chat"), "m1", &original));
        assert!(!retracts(&retraction("mercutio@montague.lit/tomb", "chat"), "m1", &original));
        assert!(!retracts(&retraction("romeo@montague.lit/tomb", "chat"), "m2", &original));
    }

    #[test]
    fn behind_a_room_everybody_is_another() {
        let original = message(&ORIGINAL.replace("<body>", &format!("<x xmlns='{ROOM_USER}'/><body>")));
        assert!(retracts(&retraction("romeo@montague.lit/orchard", "chat"), "m1", &original));
        assert!(!retracts(&retraction("romeo@montague.lit/tomb", "chat"), "m1", &original));
    }

    #[test]
    fn a_tombstone_tells_who_and_when_and_nothing_else() {
        let original = message(ORIGINAL);
        let tombstone = tombstone(&original, "r1", 1_795_351_919_123).unwrap();
        assert_eq!(
            String::from_utf8(tombstone.to_bytes()).unwrap(),
            "<message xmlns='jabber:client' from='romeo@montague.lit/orchard' to='juliet@capulet.lit' id='m1' type='chat' \
             xml:lang='it'><retracted xmlns='urn:xmpp:message-retract:1' id='r1' stamp='2026-11-22T12:51:59.123Z'/></message>"
        );
        assert!(!retracts(&retraction("romeo@montague.lit/tomb", "chat"), "m1", &tombstone));
    }
}
