//! From one occupant to another: private messages (XEP-0045 §7.5) and questions (§17.4), without telling who either is.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use waxwing_core::address::{BareJid, Jid, ResourcePart, ResourceRef};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{MessageType, Stanza, StanzaType};

use super::Room;
use crate::assemble::{assemble, message_payloads, write_occupant_id};
use crate::effects::Effects;
use crate::moment::Moment;
use crate::protocol::{DISCO_INFO, DISCO_ITEMS, PING, PUBSUB, USER, VCARD};

/// So many questions may wait for their answers in one room.
const MOST_RELAYED: usize = 500;
/// So long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A question that was passed on.
#[derive(Clone, Debug)]
struct Relay {
    asked_by: Jid,
    id: Box<str>,
    /// Whom it was for, by nickname and by account.
    nick: ResourcePart,
    account: BareJid,
    since: Instant,
}

/// Questions that were passed on, by the id they were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays {
    waiting: HashMap<Box<str>, Relay>,
}

impl Relays {
    fn add(&mut self, relay: Relay) -> Result<Box<str>, Refusal> {
        self.expire(relay.since);
        if self.waiting.len() >= MOST_RELAYED {
            return Err(Refusal::resource_constraint().saying("too many questions wait for answers in this room"));
        }
        let id: Box<str> = waxwing_core::random::token().into();
        self.waiting.insert(id.clone(), relay);
        Ok(id)
    }

    /// Nobody of this nickname answers any more.
    pub(super) fn forget(&mut self, nick: &ResourceRef) {
        self.waiting.retain(|_, relay| *relay.nick != *nick);
    }

    /// Forgets what nobody waits for any more.
    pub(super) fn expire(&mut self, now: Instant) {
        self.waiting.retain(|_, relay| now.saturating_duration_since(relay.since) < PATIENCE);
    }
}

impl Room {
    /// A message to one occupant.
    pub(super) fn relay_message(
        &mut self,
        message: &Stanza,
        from: &Jid,
        nick: &ResourceRef,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(sender) = self.occupants.of(from).cloned() else {
            return Err(Refusal::not_acceptable().saying("only occupants may send private messages in the room"));
        };
        if !self.configuration().private_messages.allows(sender.role) {
            return Err(Refusal::forbidden().saying("private messages are not allowed in this room, or not to you"));
        }
        let Some(recipient) = self.occupants.named(nick).cloned() else {
            return Err(Refusal::item_not_found().saying("nobody has this nickname"));
        };
        self.check_length(message)?;
        self.shield.message(&sender.account, message.size(), &self.rules.settings, now.instant)?;
        let room = Jid::from(self.address.clone());
        let mut said = assemble(message.what, message_payloads(message, &room), |writer| {
            writer.open("x").attribute("xmlns", USER).close();
            write_occupant_id(writer, &sender.id);
        });
        said.from = Some(self.occupant_address(&sender.nick.name).into());
        said.id = message.id.clone();
        said.lang = message.lang.clone();
        for device in &recipient.devices {
            effects.say(said.clone().to(device.jid.clone()));
        }
        Ok(())
    }

    /// An error comes back for a private message: its sender is told, by the nickname it came from.
    pub(super) fn relay_error(&self, error: &Stanza, from: &Jid, effects: &mut Effects) {
        let nick = error.to.as_ref().and_then(Jid::resource);
        let (Some(answerer), Some(nick)) = (self.occupants.of(from), nick) else { return };
        let Some(recipient) = self.occupants.named(nick) else { return };
        let room = Jid::from(self.address.clone());
        let payloads = message_payloads(error, &room).filter(|payload| payload.name() == "error");
        let mut said = assemble(StanzaType::Message(MessageType::Error), payloads, |writer| {
            write_occupant_id(writer, &answerer.id);
        });
        said.from = Some(self.occupant_address(&answerer.nick.name).into());
        said.id = error.id.clone();
        for device in &recipient.devices {
            effects.say(said.clone().to(device.jid.clone()));
        }
    }

    /// A question to one occupant. To oneself a ping asks whether one is in the room (XEP-0410).
    pub(super) fn relay_question(
        &mut self,
        question: &Stanza,
        from: &Jid,
        nick: &ResourceRef,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let namespace = question.payloads().next().map(|payload| payload.namespace().to_owned()).unwrap_or_default();
        let Some(sender) = self.occupants.of(from).cloned() else {
            // §6.6; XEP-0410 §3.3.
            return Err(match &*namespace {
                DISCO_INFO | DISCO_ITEMS => Refusal::bad_request().saying("only occupants may ask each other"),
                _ => Refusal::not_acceptable().saying("you are not in the room"),
            });
        };
        let Some(recipient) = self.occupants.named(nick).cloned() else {
            return Err(Refusal::item_not_found().saying("nobody has this nickname"));
        };
        if namespace == PING && recipient.nick.name == sender.nick.name {
            effects.answer(question, None);
            return Ok(());
        }
        self.shield.message(&sender.account, question.size(), &self.rules.settings, now.instant)?;
        let relay = Relay {
            asked_by: from.clone(),
            id: question.id.clone().unwrap_or_default(),
            nick: recipient.nick.name.clone(),
            account: recipient.account.clone(),
            since: now.instant,
        };
        let id = self.relays.add(relay)?;
        // A card or a picture belongs to the account, and its server gives it.
        let to = match &*namespace {
            VCARD | PUBSUB => Jid::from(recipient.account.clone()),
            _ => recipient.shown().jid.clone(),
        };
        let mut passed_on = assemble(question.what, question.payloads(), |_| {});
        passed_on.lang = question.lang.clone();
        let passed_on = passed_on.from(self.occupant_address(&sender.nick.name)).to(to).id(id);
        effects.say(passed_on);
        Ok(())
    }

    /// An answer: to a question that was passed on, or to the room's own.
    pub(super) fn hear_answer(&mut self, answer: Stanza, from: &Jid, now: Moment, effects: &mut Effects) {
        let id = answer.id.clone().unwrap_or_default();
        let is_expected = self.relays.waiting.get(&id).is_some_and(|relay| relay.account == from.to_bare());
        if is_expected && let Some(relay) = self.relays.waiting.remove(&id) {
            let mut passed_on = assemble(answer.what, answer.payloads(), |_| {});
            passed_on.lang = answer.lang.clone();
            let from = self.occupant_address(&relay.nick);
            effects.say(passed_on.from(from).to(relay.asked_by).id(relay.id));
            return;
        }
        let Some(device) = self.device_mut(from) else { return };
        if device.pulse.is_asked(&id) && !device.pulse.answered(&answer, now.instant) {
            self.lose(from, super::Gone::Failed, effects);
        }
    }
}
