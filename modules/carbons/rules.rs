//! Which messages are copied to an account's other devices (XEP-0280 §6.1, §9), and what nobody but its server may say.

use waxwing_core::address::Jid;
use waxwing_core::fault::Fault;
use waxwing_core::stanza::{MessageType, Stanza, StanzaType};

/// The protocol's namespace.
pub const CARBONS: &str = "urn:xmpp:carbons:2";
const HINTS: &str = "urn:xmpp:hints";
const RECEIPTS: &str = "urn:xmpp:receipts";
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const MARKERS: &str = "urn:xmpp:chat-markers:0";
const ROOM_USER: &str = "http://jabber.org/protocol/muc#user";
const DIRECT_INVITATION: &str = "jabber:x:conference";

/// Which side of a conversation is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What the account sends.
    Sent,
    /// What the account receives.
    Received,
}

impl Side {
    /// The name of the element around the copy.
    pub fn name(self) -> &'static str {
        match self {
            Side::Sent => "sent",
            Side::Received => "received",
        }
    }
}

/// Whether a message is copied. An error is when the message it answers was: `answers_copied`.
pub fn is_copied(stanza: &Stanza, side: Side, answers_copied: impl FnOnce() -> bool) -> bool {
    let StanzaType::Message(of) = stanza.what else { return false };
    match of {
        // What an error carries is the other's message, and so are its hints (XEP-0334 §5).
        MessageType::Error => return answers_copied(),
        MessageType::Groupchat => return false,
        MessageType::Normal | MessageType::Chat | MessageType::Headline => {}
    }
    if stanza.payload(CARBONS, "private").is_some() || stanza.payload(HINTS, "no-copy").is_some() {
        return false;
    }
    if is_invitation(stanza) {
        return true;
    }
    // The room has told each of the account's devices that are in it.
    if side == Side::Received && is_from_occupant(stanza) {
        return false;
    }
    of == MessageType::Chat
        || (of == MessageType::Normal && stanza.own_payload("body").is_some())
        || stanza.payloads().any(|payload| matches!(payload.namespace(), RECEIPTS | CHAT_STATES | MARKERS))
}

/// Whether somebody is invited to a room: directly (XEP-0249), or through the room (XEP-0045 §7.8.2).
fn is_invitation(stanza: &Stanza) -> bool {
    let mediated = stanza.payload(ROOM_USER, "x").is_some_and(|x| x.child(ROOM_USER, "invite").is_some());
    mediated || stanza.payload(DIRECT_INVITATION, "x").is_some()
}

/// Whether an occupant of a room says it in private.
fn is_from_occupant(stanza: &Stanza) -> bool {
    stanza.from.as_ref().and_then(Jid::resource).is_some() && stanza.payload(ROOM_USER, "x").is_some()
}

/// Takes away every copy that a message claims to be: only an account's own server makes copies, and it does not send them
/// along this way (security row S16).
///
/// # Errors
/// A fault when what is left cannot be read again.
pub fn strip_forged(stanza: &mut Stanza) -> Result<(), Fault> {
    stanza.remove_payloads(|payload| payload.namespace() == CARBONS && matches!(payload.name(), "sent" | "received"))
}

/// Takes away the wish not to be copied, which has been followed.
///
/// # Errors
/// A fault when what is left cannot be read again.
pub fn strip_private(stanza: &mut Stanza) -> Result<(), Fault> {
    stanza.remove_payloads(|payload| payload.namespace() == CARBONS && payload.name() == "private")
}

#[cfg(test)]
mod tests {
    use waxwing_core::stanza::element;

    use super::*;

    fn read(xml: &str) -> Stanza {
        Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
    }

    fn message(of: &str, content: &str) -> Stanza {
        read(&format!(
            "<message type='{of}' from='romeo@montague.lit/orchard' to='juliet@capulet.lit'>{content}</message>"
        ))
    }

    fn copied(stanza: &Stanza) -> bool {
        let both = [Side::Sent, Side::Received].map(|side| is_copied(stanza, side, || false));
        assert_eq!(both[0], both[1]);
        both[0]
    }

    #[test]
    fn messages_of_instant_messaging_are_copied_and_no_others() {
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let receipt = "<received xmlns='urn:xmpp:receipts' id='1'/>";
        let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
        let body = "<body>x</body>";
        for (of, content, wanted) in [
            ("chat", "", true),
            ("chat", body, true),
            ("normal", body, true),
            ("normal", "", false),
            ("normal", "<x xmlns='urn:x'/>", false),
            ("normal", "<body xmlns='urn:x'>x</body>", false),
            ("normal", state, true),
            ("normal", receipt, true),
            ("normal", marker, true),
            ("headline", body, false),
            ("groupchat", body, false),
            ("groupchat", marker, false),
            ("normal", "<x xmlns='jabber:x:conference' jid='room@rooms.lit'/>", true),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x>", true),
            ("normal", "<x xmlns='http://jabber.org/protocol/muc#user'><decline from='a@b'/></x>", false),
        ] {
            assert_eq!(copied(&message(of, content)), wanted, "{of} {content}");
        }
        assert!(!copied(&read("<presence/>")));
    }

    #[test]
    fn s16_a_message_may_ask_not_to_be_copied() {
        for hint in ["<private xmlns='urn:xmpp:carbons:2'/>", "<no-copy xmlns='urn:xmpp:hints'/>"] {
            assert!(!copied(&message("chat", &format!("<body>x</body>{hint}"))));
        }
        assert!(copied(&message("chat", "<private xmlns='urn:x'/>")));
    }

    #[test]
    fn s16_what_an_occupant_says_in_private_is_copied_by_who_sends_it_only() {
        let pm = message("chat", "<body>x</body><x xmlns='http://jabber.org/protocol/muc#user'/>");
        assert!(is_copied(&pm, Side::Sent, || false));
        assert!(!is_copied(&pm, Side::Received, || false));
    }

    #[test]
    fn an_error_is_copied_when_its_message_was() {
        let error = message("error", "<private xmlns='urn:xmpp:carbons:2'/>");
        assert!(is_copied(&error, Side::Received, || true));
        assert!(!is_copied(&error, Side::Received, || false));
    }

    #[test]
    fn s16_forged_copies_are_taken_away_all_of_them() {
        let mut forged = message(
            "chat",
            "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'/></received><body>x</body>\
             <sent xmlns='urn:xmpp:carbons:2'/><received xmlns='urn:xmpp:receipts' id='1'/><sent xmlns='urn:xmpp:carbons:2'/>",
        );
        strip_forged(&mut forged).unwrap();
        let names: Vec<String> = forged.payloads().map(|payload| payload.name().to_owned()).collect();
        assert_eq!(names, ["body", "received"]);
        let mut private = message("chat", "<private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/>");
        strip_private(&mut private).unwrap();
        assert_eq!(private.payloads().map(|payload| payload.name().to_owned()).collect::<Vec<_>>(), ["no-copy"]);
    }
}
