//! The subject of a room (XEP-0045 §7.2.15, §8.1).

use waxwing_core::address::Jid;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{MessageType, Stanza};

use super::Room;
use crate::affiliation::Role;
use crate::assemble::{message, payload, write_delay};
use crate::effects::{Change, Effects};
use crate::moment::Moment;
use crate::occupants::Occupant;
use crate::records::Subject;

/// Whether a message to all changes the subject: it has one, and neither a body nor a thread (§8.1).
pub(super) fn changes_subject(message: &Stanza) -> bool {
    let has = |name| message.own_payload(name).is_some();
    has("subject") && !has("body") && !has("thread")
}

impl Room {
    /// Whether somebody may change the subject with this message.
    ///
    /// # Errors
    /// `forbidden`, and `not-acceptable` for one that is too long.
    pub(super) fn check_subject(&self, message: &Stanza, occupant: &Occupant) -> Result<(), Refusal> {
        let may =
            occupant.role == Role::Moderator || (self.configuration().change_subject && occupant.role.has_voice());
        if !may {
            return Err(Refusal::forbidden().saying("only moderators may change the subject of this room"));
        }
        if !self.settings().subject_bytes.allows(message.size()) {
            return Err(Refusal::not_acceptable().saying("the subject is too long"));
        }
        Ok(())
    }

    /// The room talks about something else; `said` is how all see the message that says so.
    pub(super) fn set_subject(&mut self, said: &Stanza, now: Moment, effects: &mut Effects) {
        let subject = Subject { message: said.clone(), at: now.milliseconds };
        self.records.subject = Some(subject.clone());
        effects.changes.push(Change::Subject(subject));
    }

    /// The subject for who enters: an empty one where there is none (§7.2.15).
    pub(super) fn subject_for(&self, device: &Jid) -> Stanza {
        let Some(subject) = &self.records.subject else {
            let empty = message(MessageType::Groupchat, |writer| {
                writer.open("subject").close();
            });
            return empty.from(self.address.clone()).to(device.clone());
        };
        let mut said = subject.message.clone().to(device.clone());
        if let Some(delay) = payload(|writer| write_delay(writer, self.address.as_str(), subject.at)) {
            said.add(delay);
        }
        said
    }
}
