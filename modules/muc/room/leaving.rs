//! Leaving a room (XEP-0045 §7.14), being lost to it (§11.1, §18.1.2), and what becomes of an empty one.

use waxwing_core::address::{Jid, ResourceRef};
use waxwing_core::stanza::{MessageType, Stanza, StanzaType};

use super::speaking::{Word, says_the_same};
use super::{Gone, Room};
use crate::effects::{Change, Effects};
use crate::ghosts;
use crate::moment::Moment;
use crate::occupants::Occupant;
use crate::protocol::status;

impl Room {
    /// A device leaves. Who is not in the room is passed over in silence (§17.3).
    pub(super) fn leave(&mut self, device: &Jid, presence: Option<&Stanza>, effects: &mut Effects) {
        let payloads = presence.filter(|presence| self.settings().presence_bytes.allows(presence.size()));
        self.part(device, &Word { leaves: true, payloads, ..Word::default() }, effects);
    }

    /// A device is gone without having said so.
    pub(super) fn lose(&mut self, device: &Jid, why: Gone, effects: &mut Effects) {
        let statuses: &[u16] = match why {
            Gone::Ended => &[],
            Gone::Failed => &[status::TECHNICAL],
        };
        self.part(device, &Word { leaves: true, statuses, ..Word::default() }, effects);
    }

    /// Takes a device out; its owner leaves with the last one.
    fn part(&mut self, device: &Jid, word: &Word<'_>, effects: &mut Effects) {
        let Some(occupant) = self.occupants.of(device) else { return };
        if occupant.devices.len() == 1 {
            let name = occupant.nick.name.clone();
            self.dismiss(&name, word, effects);
            return;
        }
        let before = occupant.shown().clone();
        let Some(occupant) = self.occupants.part(device).cloned() else { return };
        self.tell_device(&occupant, device, &Word { device: Some(device), ..*word }, &mut effects.deliveries);
        let is_news = before.jid == *device
            && (!says_the_same(&before.presence, &occupant.shown().presence)
                || self.configuration().is_non_anonymous());
        if is_news {
            self.tell_others(&occupant, &Word::default(), &mut effects.deliveries);
        }
    }

    /// Takes somebody out with all of his devices, and tells him and everyone.
    pub(super) fn dismiss(&mut self, nick: &ResourceRef, word: &Word<'_>, effects: &mut Effects) {
        let Some(occupant) = self.occupants.remove(nick) else { return };
        self.tell_self(&occupant, word, &mut effects.deliveries);
        self.tell_others(&occupant, word, &mut effects.deliveries);
        self.after_leaving(&[occupant], effects);
    }

    /// What becomes of a room when these have left it (§7.14, §10.1.3).
    pub(super) fn after_leaving(&mut self, gone: &[Occupant], effects: &mut Effects) {
        for occupant in gone {
            self.relays.forget(&occupant.nick.name);
        }
        if !self.occupants.is_empty() || gone.is_empty() {
            return;
        }
        if self.is_locked() {
            effects.over = true;
        } else if !self.configuration().persistent {
            effects.changes.push(Change::Destroyed { sealed: false });
            effects.over = true;
        }
    }

    /// An error comes back for something that was sent to a device.
    pub(super) fn hear_error(&mut self, error: &Stanza, from: &Jid, effects: &mut Effects) {
        if ghosts::is_delivery_error(error) {
            self.lose(from, Gone::Failed, effects);
        } else if error.what == StanzaType::Message(MessageType::Error) {
            self.relay_error(error, from, effects);
        }
    }

    /// Time has passed: who is silent is asked, who does not answer is gone, and what nobody configures is over.
    pub(super) fn pass_time(&mut self, now: Moment, effects: &mut Effects) {
        self.relays.expire(now.instant);
        let (after, patience) = (self.settings().ping_after.get(), self.settings().ping_timeout.get());
        let mut silent = Vec::new();
        for occupant in self.occupants.iter_mut() {
            for device in &mut occupant.devices {
                match device.pulse.check(now.instant, after, patience) {
                    ghosts::Check::Fine => {}
                    ghosts::Check::Ask(id) => silent.push((device.jid.clone(), Some(id))),
                    ghosts::Check::Gone => silent.push((device.jid.clone(), None)),
                }
            }
        }
        for (device, question) in silent {
            match question {
                Some(id) => effects.say(ghosts::ping(&self.address, &device, &id)),
                None => self.lose(&device, Gone::Failed, effects),
            }
        }
        if let Some(since) = self.locked
            && now.instant.saturating_duration_since(since) >= self.settings().configuration_timeout.get()
        {
            self.destroy(None, effects);
        }
    }

    /// When [`Room::pass_time`] has something to do next.
    pub fn next_check(&self) -> Option<std::time::Instant> {
        let (after, patience) = (self.settings().ping_after.get(), self.settings().ping_timeout.get());
        let pulses = self.occupants.devices().filter_map(|(_, device)| device.pulse.next_check(after, patience));
        let unlocked = self.locked.and_then(|since| since.checked_add(self.settings().configuration_timeout.get()));
        pulses.chain(unlocked).min()
    }

    /// Everyone is told that the room is not there for them any more: the service stops (§11.2), or something is broken.
    pub(super) fn empty(&mut self, code: u16, effects: &mut Effects) {
        let word = Word { leaves: true, statuses: &[code], ..Word::default() };
        for occupant in self.occupants.clear() {
            self.tell_self(&occupant, &word, &mut effects.deliveries);
        }
        effects.over = true;
    }
}
