//! Another nickname (XEP-0045 §7.6) and another availability (§7.7) for somebody who is in the room.

use waxwing_core::address::{Jid, ResourceRef};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;

use super::Room;
use super::speaking::{Word, says_the_same};
use crate::effects::Effects;
use crate::moment::Moment;
use crate::nickname;
use crate::protocol::status;
use crate::records::Nick;

impl Room {
    /// Somebody wants another nickname. All of his devices under the old one take it.
    pub(super) fn rename(
        &mut self,
        presence: &Stanza,
        from: &Jid,
        nick: &ResourceRef,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_size(presence)?;
        let account = from.to_bare();
        self.charge_presence(&account, now)?;
        nickname::check(nick, self.settings().nick_bytes.get())?;
        let wanted = Nick::new(nick.to_owned());
        self.check_nick(&wanted, &account)?;
        let device = self.device(presence, from, now);
        let Some(before) = self.occupants.of(from).cloned() else { return Ok(()) };
        // His own other nickname: two of one kind do not stand beside each other.
        if self.occupants.alike(&wanted.likeness).is_some_and(|other| other.nick.name != before.nick.name) {
            return Err(Refusal::conflict().saying("you are in the room under this nickname with another device"));
        }
        let word = Word {
            leaves: true,
            statuses: &[status::NEW_NICK],
            new_nick: Some(wanted.name.as_str()),
            ..Word::default()
        };
        self.tell_all(&before, &word, &mut effects.deliveries);
        self.relays.forget(&before.nick.name);
        let Some(occupant) = self.occupants.of_mut(from) else { return Ok(()) };
        occupant.nick = wanted;
        occupant.show(device);
        let after = occupant.clone();
        self.tell_all(&after, &Word { id: presence.id.as_deref(), ..Word::default() }, &mut effects.deliveries);
        Ok(())
    }

    /// Somebody is away, back, or has something else to say about himself.
    pub(super) fn change_availability(
        &mut self,
        presence: &Stanza,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_size(presence)?;
        let device = self.device(presence, from, now);
        let Some(occupant) = self.occupants.of(from) else { return Ok(()) };
        let is_news = occupant.shown().jid != *from || !says_the_same(&occupant.shown().presence, &device.presence);
        if !is_news {
            // He learns that it was heard; the others know it already.
            let occupant = occupant.clone();
            let word = Word { id: presence.id.as_deref(), ..Word::default() };
            self.tell_device(&occupant, from, &word, &mut effects.deliveries);
            return Ok(());
        }
        self.charge_presence(&from.to_bare(), now)?;
        let Some(occupant) = self.occupants.of_mut(from) else { return Ok(()) };
        occupant.show(device);
        let occupant = occupant.clone();
        self.tell_all(&occupant, &Word { id: presence.id.as_deref(), ..Word::default() }, &mut effects.deliveries);
        Ok(())
    }
}
