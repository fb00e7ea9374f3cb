//! Messages to all (XEP-0045 §7.4): who may speak, what is reflected, and what is worth keeping.

use waxwing_core::address::Jid;
use waxwing_core::archive::ArchiveId;
use waxwing_core::namespaces;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::Element;

use super::Room;
use super::subjects::changes_subject;
use crate::assemble::{assemble, message_payloads, payload, stanza_id, write_occupant_id};
use crate::effects::{Effects, Reflected, Utterance};
use crate::history::is_recalled;
use crate::moment::Moment;
use crate::occupants::Occupant;
use crate::protocol::{ENCRYPTED, FASTEN, HINTS, REACTIONS, RETRACT, USER};

impl Room {
    /// Somebody says something to all.
    pub(super) fn hear_message(
        &mut self,
        message: &Stanza,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(occupant) = self.occupants.of(from).cloned() else {
            return Err(Refusal::not_acceptable().saying("only occupants may send messages to the room"));
        };
        if self.is_locked() {
            // §17.2.
            return Err(Refusal::item_not_found().saying("this room is not ready yet"));
        }
        self.check_claims(message)?;
        let is_subject = changes_subject(message);
        if !occupant.role.has_voice() && !is_subject {
            return Err(Refusal::forbidden().saying("visitors may not send messages to all, ask for voice"));
        }
        if is_subject {
            self.check_subject(message, &occupant)?;
        }
        self.check_length(message)?;
        let account = &occupant.account;
        self.shield.message(account, message.size(), &self.rules.settings, now.instant)?;
        let seconds = self.configuration().slow_mode;
        if seconds > 0 && message.own_payload("body").is_some() && !self.affiliation(account).is_admin() {
            self.shield.slow(account, seconds, now.instant)?;
        }
        if let Some(speaker) = self.occupants.of_mut(from) {
            speaker.active = now.instant;
        }
        let said = self.said_by(&occupant, message);
        if is_subject {
            self.set_subject(&said, now, effects);
        }
        let utterance = Utterance {
            keep: is_subject || is_worth_keeping(message),
            recall: !is_subject && is_recalled(message),
            peer: self.archive_peer(&occupant, from),
            archived_only: self.who_spoke(&occupant, from),
            absent: self.absent(message, &occupant),
            is_private: self.configuration().is_private(),
            message: said,
        };
        match self.takes_back(message, &occupant, utterance) {
            Ok(retraction) => effects.retraction = Some(retraction),
            Err(utterance) => effects.utterance = Some(*utterance),
        }
        Ok(())
    }

    /// What only a room may say inside a message (XEP-0425 §5): clients that do not look closely would believe it.
    fn check_claims(&self, message: &Stanza) -> Result<(), Refusal> {
        let claims = message.payloads().any(|payload| {
            matches!(payload.namespace(), RETRACT | FASTEN)
                && payload.children().any(|child| child.name() == "moderated")
        });
        if claims { Err(Refusal::bad_request().saying("only the room itself says that it moderates")) } else { Ok(()) }
    }

    /// Nobody drowns a room in one message.
    ///
    /// # Errors
    /// `policy-violation`.
    pub(super) fn check_length(&self, message: &Stanza) -> Result<(), Refusal> {
        let most = self.settings().body_characters;
        let is_body = |name: &str, namespace: &str| name == "body" && namespaces::is_of_stanzas(namespace);
        let is_too_long = message.payloads().any(|payload| {
            // A character takes a byte at least: most messages are not counted.
            is_body(payload.name(), payload.namespace())
                && !most.allows(payload.content().len())
                && !most.allows(payload.text().chars().count())
        });
        if is_too_long {
            return Err(Refusal::policy_violation().saying(format!("a message has at most {most} characters")));
        }
        Ok(())
    }

    /// A message as all others see it.
    fn said_by(&self, occupant: &Occupant, message: &Stanza) -> Stanza {
        let room = Jid::from(self.address.clone());
        let mut said = assemble(message.what, message_payloads(message, &room), |writer| {
            write_occupant_id(writer, &occupant.id);
        });
        said.from = Some(self.occupant_address(&occupant.nick.name).into());
        // §7.4: the id is the sender's; who gives none gets one.
        said.id = Some(message.id.clone().unwrap_or_else(|| waxwing_core::random::token().into()));
        said.lang = message.lang.clone();
        said
    }

    /// Whom a query of the archive finds a message by: a real address would tell who hides behind a nickname.
    fn archive_peer(&self, occupant: &Occupant, from: &Jid) -> Jid {
        if self.configuration().is_non_anonymous() {
            from.clone()
        } else {
            self.occupant_address(&occupant.nick.name).into()
        }
    }

    /// Who spoke, as the archive tells it where everyone sees it (XEP-0313 §6.1.2).
    fn who_spoke(&self, occupant: &Occupant, from: &Jid) -> Option<Element> {
        if !self.configuration().is_non_anonymous() {
            return None;
        }
        payload(|writer| {
            writer.open("x").attribute("xmlns", USER);
            writer.open("item").attribute("affiliation", self.affiliation(&occupant.account).name());
            writer.attribute("jid", from.as_str()).attribute("role", occupant.role.name()).close().close();
        })
    }

    /// Whether messages of this room go into the archive.
    pub fn archives(&self) -> bool {
        self.rules.has_archive && self.configuration().archiving
    }

    /// Says something to everyone, now that the archive has it under this id, or does not keep it.
    pub fn reflect(&mut self, utterance: Utterance, id: Option<ArchiveId>, now: Moment) -> Reflected {
        let mut said = utterance.message;
        if let Some(element) = id.and_then(|id| stanza_id(&id.to_string(), self.address.as_str())) {
            said.add(element);
        }
        if utterance.recall {
            let at = id.map_or(now.milliseconds, ArchiveId::milliseconds);
            self.history.push(id, said.clone(), at);
        }
        let mut deliveries = Vec::with_capacity(self.occupants.count() + utterance.absent.len());
        deliveries.extend(self.occupants.devices().map(|(_, device)| said.clone().to(device.jid.clone())));
        self.tell_mentioned(&said, &utterance.absent, now, &mut deliveries);
        Reflected { deliveries, said, absent: utterance.absent, is_private: utterance.is_private }
    }
}

/// Whether a message is worth keeping (XEP-0313 §6.1.2): what was said, also when it is encrypted, and what changes the
/// sense of something that was said; not that somebody is typing.
fn is_worth_keeping(message: &Stanza) -> bool {
    let hint = |name| message.payload(HINTS, name).is_some();
    if hint("no-store") || hint("no-permanent-store") {
        return false;
    }
    hint("store")
        || message.payloads().any(|payload| match payload.namespace() {
            namespaces::CLIENT | namespaces::SERVER | namespaces::COMPONENT => payload.name() == "body",
            REACTIONS | RETRACT | FASTEN => true,
            namespace => ENCRYPTED.contains(&namespace),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    #[test]
    fn what_is_worth_keeping() {
        let keep = |inside: &str| {
            let message = element(format!("<message type='groupchat'>{inside}</message>")).unwrap();
            is_worth_keeping(&Stanza::read(message).unwrap().unwrap())
        };
        for inside in [
            "<body>x</body>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'/>",
            "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>",
            "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
            "<x xmlns='urn:x'/><store xmlns='urn:xmpp:hints'/>",
        ] {
            assert!(keep(inside), "{inside}");
        }
        for inside in [
            "",
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<body>x</body><no-store xmlns='urn:xmpp:hints'/>",
            "<body xmlns='urn:other'>x</body>",
        ] {
            assert!(!keep(inside), "{inside}");
        }
    }
}
