//! Errors that say which room has refused (XEP-0045 §7.2.5 and the examples after it).

use waxwing_core::address::BareJid;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, MessageType, PresenceType, Stanza, StanzaType, element};
use waxwing_core::xml::Writer;

use crate::assemble::assemble;
use crate::protocol::MUC;

/// The error for a stanza that a room has refused; `None` where none may be sent (RFC 6120 §8.3.1).
pub fn error_for(refused: &Stanza, refusal: &Refusal, by: &BareJid) -> Option<Stanza> {
    let what = match refused.what {
        StanzaType::Message(MessageType::Error)
        | StanzaType::Presence(PresenceType::Error)
        | StanzaType::Iq(IqType::Error | IqType::Result) => return None,
        StanzaType::Message(_) => StanzaType::Message(MessageType::Error),
        StanzaType::Presence(_) => StanzaType::Presence(PresenceType::Error),
        StanzaType::Iq(_) => StanzaType::Iq(IqType::Error),
    };
    let mut writer = Writer::new();
    refusal.write(&mut writer);
    let plain = element(writer.finish()).ok()?;
    // Also where no join was refused (§7.6): by this clients know that a room speaks.
    let is_presence = what == StanzaType::Presence(PresenceType::Error);
    let mut error = assemble(what, std::iter::empty(), |writer| {
        if is_presence {
            writer.open("x").attribute("xmlns", MUC).close();
        }
        writer.open("error");
        for (name, value) in plain.attributes() {
            writer.attribute(name, &value);
        }
        writer.attribute("by", by.as_str()).raw(&plain.content()).close();
    });
    error.to = refused.from.clone();
    error.from = refused.to.clone();
    error.id = refused.id.clone();
    Some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(xml: &str) -> Option<String> {
        let refused = Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap();
        let refusal = Refusal::conflict().saying("taken");
        let error = error_for(&refused, &refusal, &BareJid::new("coven@chat.lit").unwrap())?;
        let mut out = Vec::new();
        error.write(&mut out, None);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_room_is_named_and_the_join_is_recognized() {
        let conflict = "<error type='cancel' by='coven@chat.lit'>\
                        <conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                        <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>taken</text></error>";
        assert_eq!(
            error(
                "<presence from='a@b/c' to='coven@chat.lit/n' id='1'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            ),
            Some(format!(
                "<presence from='coven@chat.lit/n' to='a@b/c' id='1' type='error'>\
                 <x xmlns='http://jabber.org/protocol/muc'/>{conflict}</presence>"
            ))
        );
        assert_eq!(
            error("<presence from='a@b/c' to='coven@chat.lit/n' id='1'/>"),
            Some(format!(
                "<presence from='coven@chat.lit/n' to='a@b/c' id='1' type='error'>\
                 <x xmlns='http://jabber.org/protocol/muc'/>{conflict}</presence>"
            ))
        );
        assert_eq!(
            error("<iq from='a@b/c' to='coven@chat.lit' id='1' type='get'><q xmlns='urn:q'/></iq>"),
            Some(format!("<iq from='coven@chat.lit' to='a@b/c' id='1' type='error'>{conflict}</iq>"))
        );
    }

    #[test]
    fn errors_are_not_answered() {
        for xml in ["<message type='error'/>", "<presence type='error'/>", "<iq id='1' type='result'/>"] {
            assert_eq!(error(xml), None);
        }
    }
}
