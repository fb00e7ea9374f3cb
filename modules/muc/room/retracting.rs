//! Taking messages back: their authors (XEP-0424) and moderators (XEP-0425, and its version before) may.

use waxwing_core::address::Jid;
use waxwing_core::archive::ArchiveId;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{MessageType, Stanza, StanzaType};
use waxwing_core::xml::{Child, Writer};

use super::Room;
use crate::affiliation::Role;
use crate::assemble::{assemble, message, write_occupant_id};
use crate::effects::{Effects, Retraction, Retractor, Utterance};
use crate::moment::{Moment, stamp};
use crate::occupants::Occupant;
use crate::protocol::{FASTEN, MODERATE, OCCUPANT_ID, OLD_MODERATE, OLD_RETRACT, RETRACT, USER};

/// The longest reason that is passed on, in bytes.
const MOST_REASON: usize = 1024;

impl Room {
    /// Whether a message takes back one of the archive's; else it is given back.
    pub(super) fn takes_back(
        &self,
        message: &Stanza,
        occupant: &Occupant,
        utterance: Utterance,
    ) -> Result<Retraction, Box<Utterance>> {
        let id = message.payload(RETRACT, "retract").and_then(|retract| retract.attribute("id"));
        match id.and_then(|id| ArchiveId::read(&id)) {
            Some(id) if self.archives() => {
                let message_id = utterance.message.id.clone().unwrap_or_default();
                let by = Retractor::Author { occupant_id: occupant.id.clone(), message_id };
                Ok(Retraction { id, utterance, by, request: None })
            }
            _ => Err(Box::new(utterance)),
        }
    }

    /// A request to moderate a message, in either version.
    pub(super) fn moderate(
        &mut self,
        request: &Stanza,
        from: &Jid,
        payload: Child<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let (asked, retract) = match payload.name() {
            "moderate" => (Some(payload), RETRACT),
            _ => (payload.child(OLD_MODERATE, "moderate"), OLD_RETRACT),
        };
        let Some(asked) = asked else { return Err(Refusal::service_unavailable()) };
        if asked.child(retract, "retract").is_none() {
            return Err(Refusal::feature_not_implemented().saying("messages can be retracted, nothing else"));
        }
        let account = from.to_bare();
        let occupant = self.occupants.of(from).or_else(|| self.occupants.of_account(&account).next());
        let is_moderator = self.role(&account) == Role::Moderator || self.affiliation(&account).is_admin();
        if !is_moderator {
            return Err(Refusal::forbidden().saying("only moderators may moderate the messages of others"));
        }
        let id = payload.attribute("id").and_then(|id| ArchiveId::read(&id));
        let Some(id) = id.filter(|_| self.archives()) else {
            return Err(Refusal::item_not_found().saying("there is no message of this id"));
        };
        let reason = asked.children().find(|child| child.name() == "reason").map(|reason| reason.text().into_owned());
        let reason = reason.filter(|reason| !reason.is_empty() && reason.len() <= MOST_REASON);
        // An admin may do so from outside; then it is the room that does it.
        let address: Jid = match occupant {
            Some(occupant) => self.occupant_address(&occupant.nick.name).into(),
            None => self.address.clone().into(),
        };
        let occupant_id = self.rules.occupant_id(&self.address, &account);
        let by = Retractor::Moderator { address, occupant_id, reason };
        let utterance = Utterance {
            message: self.moderation(id, &by),
            keep: true,
            recall: false,
            peer: self.address.clone().into(),
            archived_only: None,
            absent: Vec::new(),
            is_private: self.configuration().is_private(),
        };
        effects.retraction = Some(Retraction { id, utterance, by, request: Some(request.clone()) });
        Ok(())
    }

    /// What all are told of a moderation: in the words of both versions.
    fn moderation(&self, id: ArchiveId, by: &Retractor) -> Stanza {
        let id = id.to_string();
        let mut said = message(MessageType::Groupchat, |writer| {
            writer.open("retract").attribute("xmlns", RETRACT).attribute("id", &id);
            write_moderated(writer, by);
            writer.close();
            if let Retractor::Moderator { address, reason, .. } = by {
                writer.open("apply-to").attribute("xmlns", FASTEN).attribute("id", &id);
                writer.open("moderated").attribute("xmlns", OLD_MODERATE).attribute("by", address.as_str());
                writer.open("retract").attribute("xmlns", OLD_RETRACT).close();
                write_reason(writer, reason.as_deref());
                writer.close().close();
            }
        });
        said.from = Some(self.address.clone().into());
        said.id = Some(waxwing_core::random::token().into());
        said
    }

    /// Decides about a wish to take a message back, now that the archive has told what stands under its id. Gives back
    /// what stands there instead, if anything.
    ///
    /// # Errors
    /// `forbidden` for somebody else's message, `item-not-found` when a moderator means one that is not there.
    pub fn retract(
        &mut self,
        retraction: &Retraction,
        original: Option<&Stanza>,
        now: Moment,
    ) -> Result<Option<Stanza>, Refusal> {
        let is_moderator = matches!(retraction.by, Retractor::Moderator { .. });
        let original = original.filter(|original| {
            original.payload(RETRACT, "retracted").is_none() && original.payload(RETRACT, "retract").is_none()
        });
        let Some(original) = original else {
            // An author may mean one that was never kept: all are told, and each looks for himself.
            let nothing = || Refusal::item_not_found().saying("there is no message of this id that could be retracted");
            return if is_moderator { Err(nothing()) } else { Ok(None) };
        };
        if let Retractor::Author { occupant_id, .. } = &retraction.by {
            let author = original.payload(OCCUPANT_ID, "occupant-id").and_then(|id| id.attribute("id"));
            if author.as_deref() != Some(&**occupant_id) {
                return Err(Refusal::forbidden().saying("this is somebody else's message"));
            }
        }
        self.history.forget(retraction.id);
        Ok(Some(tombstone(original, &retraction.by, now)))
    }
}

/// What stands in the place of a message that was taken back (XEP-0424 §4, XEP-0425 §4): who said it, not what.
fn tombstone(original: &Stanza, by: &Retractor, now: Moment) -> Stanza {
    let who = original.payloads().filter(|payload| matches!(payload.namespace(), OCCUPANT_ID | USER));
    let mut stone = assemble(StanzaType::Message(MessageType::Groupchat), who, |writer| {
        writer.open("retracted").attribute("xmlns", RETRACT).attribute("stamp", &stamp(now.milliseconds));
        if let Retractor::Author { message_id, .. } = by {
            writer.attribute("id", message_id);
        }
        write_moderated(writer, by);
        writer.close();
    });
    stone.from = original.from.clone();
    stone.id = original.id.clone();
    stone
}

fn write_moderated(writer: &mut Writer, by: &Retractor) {
    let Retractor::Moderator { address, occupant_id, reason } = by else { return };
    writer.open("moderated").attribute("xmlns", MODERATE).attribute("by", address.as_str());
    write_occupant_id(writer, occupant_id);
    writer.close();
    write_reason(writer, reason.as_deref());
}

fn write_reason(writer: &mut Writer, reason: Option<&str>) {
    if let Some(reason) = reason {
        writer.open("reason").text(reason).close();
    }
}
