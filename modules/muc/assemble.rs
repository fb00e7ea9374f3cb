//! Stanzas of the room's own making: what somebody has sent, less what only a room may say, and what the room adds.

use waxwing_core::address::Jid;
use waxwing_core::namespaces;
use waxwing_core::stanza::{Kind, MessageType, Stanza, StanzaType, element};
use waxwing_core::xml::{Child, Element, Writer};

use crate::protocol::{HATS, MUC, OCCUPANT_ID, USER};

/// Builds a stanza from payloads that stay and others that `own` writes. Everything ends up in one piece, which all
/// recipients share.
pub fn assemble<'a>(
    what: StanzaType,
    payloads: impl Iterator<Item = Child<'a>>,
    own: impl FnOnce(&mut Writer),
) -> Stanza {
    let mut writer = Writer::with_capacity(512);
    let name = match what.kind() {
        Kind::Message => "message",
        Kind::Presence => "presence",
        Kind::Iq => "iq",
    };
    writer.open(name).attribute("xmlns", namespaces::CLIENT);
    for payload in payloads {
        writer.raw(payload.bytes());
    }
    own(&mut writer);
    // What we write parses; were it not so, the fault is logged, and the stanza goes without its payloads.
    let read = element(writer.finish()).ok().and_then(|element| match Stanza::read(element) {
        Some(Ok(stanza)) => Some(stanza),
        Some(Err(malformed)) => Some(malformed.stanza),
        None => None,
    });
    let mut stanza = read.unwrap_or_else(|| Stanza::new(what));
    stanza.what = what;
    stanza
}

/// A message with payloads that `own` writes.
pub fn message(of: MessageType, own: impl FnOnce(&mut Writer)) -> Stanza {
    assemble(StanzaType::Message(of), std::iter::empty(), own)
}

/// An element that `own` writes; nothing when it writes none.
pub fn payload(own: impl FnOnce(&mut Writer)) -> Option<Element> {
    let mut writer = Writer::with_capacity(256);
    own(&mut writer);
    element(writer.finish()).ok()
}

/// The payloads of a presence that may be shown to others: not those about joining, nor what the room itself says
/// (§17.3).
pub fn presence_payloads(presence: &Stanza) -> impl Iterator<Item = Child<'_>> {
    presence.payloads().filter(|payload| !is_rooms_own(payload))
}

/// The payloads of a message that may be shown to others. `room` is whose ids and delays nobody else may state.
pub fn message_payloads<'a>(message: &'a Stanza, room: &Jid) -> impl Iterator<Item = Child<'a>> {
    let room = room.clone();
    let of_room = move |address: Option<std::borrow::Cow<'_, str>>| {
        // An address that cannot be read is nobody's.
        address.is_none_or(|address| {
            waxwing_core::address::read(&address).map_or(true, |address| address.domain() == room.domain())
        })
    };
    message.payloads().filter(move |payload| match (payload.namespace(), payload.name()) {
        (namespaces::STANZA_IDS, "stanza-id") => !of_room(payload.attribute("by")),
        (namespaces::DELAY, "delay") => !of_room(payload.attribute("from")),
        _ => !is_rooms_own(payload),
    })
}

fn is_rooms_own(payload: &Child<'_>) -> bool {
    matches!(payload.namespace(), MUC | USER | OCCUPANT_ID | HATS)
}

/// Writes an `<occupant-id/>` (XEP-0421).
pub fn write_occupant_id(writer: &mut Writer, id: &str) {
    writer.open("occupant-id").attribute("xmlns", OCCUPANT_ID).attribute("id", id).close();
}

/// A `<stanza-id/>` of the room (XEP-0359).
pub fn stanza_id(id: &str, by: &str) -> Option<Element> {
    payload(|writer| {
        writer.open("stanza-id").attribute("xmlns", namespaces::STANZA_IDS).attribute("id", id);
        writer.attribute("by", by).close();
    })
}

/// Writes a `<delay/>` of the room (XEP-0203).
pub fn write_delay(writer: &mut Writer, from: &str, milliseconds: i64) {
    writer.open("delay").attribute("xmlns", namespaces::DELAY).attribute("from", from);
    writer.attribute("stamp", &crate::moment::stamp(milliseconds)).close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(xml: &str) -> Stanza {
        Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
    }

    fn names<'a>(payloads: impl Iterator<Item = Child<'a>>) -> Vec<String> {
        payloads.map(|payload| format!("{} {}", payload.name(), payload.namespace())).collect()
    }

    #[test]
    fn s19_whatever_only_a_room_may_say_is_taken_away_all_of_it() {
        let id = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>";
        let user = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='moderator'/></x>";
        let hats = "<hats xmlns='urn:xmpp:hats:0'/>";
        let presence = stanza(&format!("<presence>{id}<show>away</show>{id}{user}{hats}{user}{hats}</presence>"));
        assert_eq!(names(presence_payloads(&presence)), ["show jabber:client"]);
        let message = stanza(&format!("<message type='groupchat'>{id}{id}{user}<body>x</body>{hats}{id}</message>"));
        let room = Jid::new("coven@chat.lit").unwrap();
        assert_eq!(names(message_payloads(&message, &room)), ["body jabber:client"]);
    }

    #[test]
    fn s18_ids_and_delays_of_the_room_are_the_rooms() {
        let room = Jid::new("coven@chat.lit").unwrap();
        let message = stanza(
            "<message type='groupchat'><stanza-id xmlns='urn:xmpp:sid:0' by='Coven@chat.lit' id='1'/>\
             <stanza-id xmlns='urn:xmpp:sid:0' id='2'/><stanza-id xmlns='urn:xmpp:sid:0' by='other@elsewhere' id='3'/>\
             <origin-id xmlns='urn:xmpp:sid:0' id='4'/><delay xmlns='urn:xmpp:delay' from='coven@chat.lit' stamp='x'/>\
             <delay xmlns='urn:xmpp:delay' from='crone1@shakespeare.lit/desktop' stamp='2004-09-29T01:54:37Z'/></message>",
        );
        let kept: Vec<_> = message_payloads(&message, &room).map(|payload| payload.name().to_owned()).collect();
        assert_eq!(kept, ["stanza-id", "origin-id", "delay"]);
    }

    #[test]
    fn what_comes_from_another_server_is_written_for_clients() {
        let message =
            stanza("<message xmlns='jabber:server' type='groupchat'><body>x</body><y xmlns='urn:y'/></message>");
        let room = Jid::new("coven@chat.lit").unwrap();
        let mut made =
            assemble(message.what, message_payloads(&message, &room), |writer| write_occupant_id(writer, "1"));
        made.id = Some("a".into());
        assert_eq!(made.text_of("body").as_deref(), Some("x"));
        let written = String::from_utf8(made.to_bytes()).unwrap();
        assert_eq!(
            written,
            "<message xmlns='jabber:client' id='a' type='groupchat'><body>x</body><y xmlns='urn:y'/>\
             <occupant-id xmlns='urn:xmpp:occupant-id:0' id='1'/></message>"
        );
    }
}
