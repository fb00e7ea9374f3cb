//! Entering a room (XEP-0045 §7.2): who may, under which nickname, and what he is shown in which order (§7.1).

use waxwing_core::address::{BareJid, Jid, ResourceRef};
use waxwing_core::refusal::{ErrorType, Refusal};
use waxwing_core::stanza::Stanza;

use super::Room;
use super::speaking::{Word, presence_with, says_the_same};
use crate::affiliation::{Affiliation, Role};
use crate::assemble::presence_payloads;
use crate::effects::Effects;
use crate::ghosts::Pulse;
use crate::history::Wanted;
use crate::moment::Moment;
use crate::nickname;
use crate::occupants::{Device, Occupant};
use crate::protocol::{MUC, status};
use crate::records::Nick;

impl Room {
    /// Somebody asks to enter.
    pub(super) fn enter(
        &mut self,
        presence: &Stanza,
        from: &Jid,
        nick: &ResourceRef,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let account = from.to_bare();
        self.check_size(presence)?;
        // Also for those who are refused: nobody tries passwords or names without end.
        self.charge_presence(&account, now)?;
        self.check_door(presence, &account)?;
        nickname::check(nick, self.settings().nick_bytes.get())?;
        let wanted = Nick::new(nick.to_owned());
        self.check_nick(&wanted, &account)?;
        let device = self.device(presence, from, now);
        let is_new = self.occupants.is_empty() && self.is_locked();
        let mut statuses = self.entering_statuses();
        if is_new {
            statuses.push(status::CREATED);
        }
        let known = self.occupants.alike(&wanted.likeness).map(|occupant| occupant.nick.name.clone());
        let name = match known {
            Some(name) => {
                if *name != *nick {
                    statuses.push(status::NICK_ASSIGNED);
                }
                self.bring_device(&name, device)?;
                name
            }
            None => {
                self.make_room(self.affiliation(&account), effects)?;
                let name = wanted.name.clone();
                let occupant = Occupant {
                    nick: wanted,
                    role: self.entering_role(&account),
                    id: self.rules.occupant_id(&self.address, &account),
                    account,
                    devices: smallvec::smallvec![device],
                    active: now.instant,
                };
                self.occupants.enter(occupant);
                name
            }
        };
        let Some(occupant) = self.occupants.named(&name).cloned() else { return Ok(()) };
        self.send_versions(presence, &occupant, from, &mut effects.deliveries);
        self.show_room(&occupant, from, &mut effects.deliveries);
        self.tell_others(&occupant, &Word::default(), &mut effects.deliveries);
        self.welcome(presence, &occupant, from, &statuses, now, effects);
        if self.affiliation(&occupant.account).is_admin() {
            self.show_petitions(from, effects);
        }
        Ok(())
    }

    /// Somebody who is in the room asks to be told everything again (§7.2.1, §17.3).
    pub(super) fn synchronize(
        &mut self,
        presence: &Stanza,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_size(presence)?;
        let account = from.to_bare();
        self.charge_presence(&account, now)?;
        let device = self.device(presence, from, now);
        let Some(occupant) = self.occupants.of_mut(from) else { return Ok(()) };
        let is_news = !says_the_same(&occupant.shown().presence, &device.presence);
        occupant.show(device);
        let occupant = occupant.clone();
        if is_news {
            self.tell_others(&occupant, &Word::default(), &mut effects.deliveries);
        }
        let statuses = self.entering_statuses();
        self.send_versions(presence, &occupant, from, &mut effects.deliveries);
        self.show_room(&occupant, from, &mut effects.deliveries);
        self.welcome(presence, &occupant, from, &statuses, now, effects);
        Ok(())
    }

    /// The end of §7.1: his own presence, then what was said, then what it is about.
    fn welcome(
        &self,
        presence: &Stanza,
        occupant: &Occupant,
        device: &Jid,
        statuses: &[u16],
        now: Moment,
        effects: &mut Effects,
    ) {
        let versions = self.current_versions(&occupant.account);
        let word = Word {
            own_statuses: statuses,
            id: presence.id.as_deref(),
            device: Some(device),
            versions,
            ..Word::default()
        };
        self.tell_device(occupant, device, &word, &mut effects.deliveries);
        let wanted = Wanted::read(presence, now);
        let most = usize::from(self.configuration().history).min(self.settings().history.get());
        effects.deliveries.extend(self.history.recall(&self.address, most, &wanted, device));
        effects.deliveries.push(self.subject_for(device));
    }

    /// Status codes about the room for who enters it (§7.2.3, §7.2.12).
    fn entering_statuses(&self) -> Vec<u16> {
        let mut statuses = Vec::new();
        if self.configuration().is_non_anonymous() {
            statuses.push(status::NON_ANONYMOUS);
        }
        if self.is_logged() {
            statuses.push(status::LOGGED);
        }
        statuses
    }

    /// Whether what is said can be read by nearly anyone.
    pub(super) fn is_logged(&self) -> bool {
        self.rules.has_archive && self.configuration().is_logged()
    }

    /// A device with what it says about itself.
    pub(super) fn device(&self, presence: &Stanza, jid: &Jid, now: Moment) -> Device {
        let shown = presence_with(waxwing_core::stanza::PresenceType::Available, presence_payloads(presence), |_| {});
        let watched = !(self.rules.is_ours)(jid.domain());
        Device { jid: jid.clone(), presence: shown, pulse: Pulse::new(now.instant, watched) }
    }

    /// A presence is shown to everyone: there is a limit to what may be in it.
    ///
    /// # Errors
    /// `policy-violation`.
    pub(super) fn check_size(&self, presence: &Stanza) -> Result<(), Refusal> {
        if self.settings().presence_bytes.allows(presence.size()) {
            return Ok(());
        }
        Err(Refusal::policy_violation().saying("the presence is larger than what is shown in a room"))
    }

    /// Counts something that a client does with its presence.
    pub(super) fn charge_presence(&mut self, account: &BareJid, now: Moment) -> Result<(), Refusal> {
        self.shield.presence(account, &self.rules.settings, now.instant)
    }

    /// May he come in at all? §7.2.5 to §7.2.7, §7.2.10.
    fn check_door(&self, presence: &Stanza, account: &BareJid) -> Result<(), Refusal> {
        let affiliation = self.affiliation(account);
        if affiliation == Affiliation::Outcast {
            return Err(Refusal::forbidden().saying("you are banned from this room"));
        }
        if self.is_locked() && affiliation != Affiliation::Owner {
            return Err(Refusal::item_not_found().saying("this room is not ready yet"));
        }
        if self.configuration().members_only && affiliation < Affiliation::Member {
            return Err(Refusal::registration_required().saying("this room is for members only"));
        }
        let Some(password) = &self.configuration().password else { return Ok(()) };
        let given = presence.payload(MUC, "x").and_then(|x| x.child(MUC, "password")).map(|given| given.text());
        match given {
            Some(given) if is_equal(given.as_bytes(), password.as_bytes()) => Ok(()),
            Some(_) => Err(Refusal::not_authorized().saying("this is not the password of the room")),
            None => Err(Refusal::not_authorized().saying("this room needs a password")),
        }
    }

    /// §7.2.8: nobody else has a nickname like it, neither here nor reserved.
    ///
    /// # Errors
    /// `conflict`.
    pub(super) fn check_nick(&self, nick: &Nick, account: &BareJid) -> Result<(), Refusal> {
        let conflict = || Err(Refusal::conflict().saying("somebody else has this nickname, or one like it"));
        if self.occupants.alike(&nick.likeness).is_some_and(|occupant| occupant.account != *account) {
            return conflict();
        }
        match self.records.affiliations.holder(&nick.likeness) {
            Some(holder) if holder != account => conflict(),
            _ => Ok(()),
        }
    }

    /// One more device under the nickname of its owner.
    fn bring_device(&mut self, nick: &ResourceRef, device: Device) -> Result<(), Refusal> {
        let most = self.settings().devices;
        let count = self.occupants.named(nick).map_or(0, |occupant| occupant.devices.len());
        if !most.allows(count + 1) {
            return Err(Refusal::resource_constraint().saying("you are in the room with too many devices"));
        }
        self.occupants.bring(nick, device);
        Ok(())
    }

    /// §7.2.9: an admin finds a place as long as somebody is there who is not affiliated.
    fn make_room(&mut self, affiliation: Affiliation, effects: &mut Effects) -> Result<(), Refusal> {
        let count = self.occupants.count();
        if count < self.most_occupants() || (affiliation.is_admin() && count < self.settings().most_occupants()) {
            return Ok(());
        }
        let full = || {
            let text = format!("the room is full: it has {count} occupants");
            Err(Refusal::service_unavailable().of_type(ErrorType::Wait).saying(text))
        };
        if !affiliation.is_admin() {
            return full();
        }
        let may_go = |occupant: &&Occupant| {
            self.affiliation(&occupant.account) == Affiliation::None && occupant.role != Role::Moderator
        };
        let quietest = self.occupants.iter().filter(may_go).min_by_key(|occupant| occupant.active);
        let Some(name) = quietest.map(|occupant| occupant.nick.name.clone()) else { return full() };
        let word =
            Word { leaves: true, statuses: &[status::KICKED], reason: Some("The room is full."), ..Word::default() };
        self.dismiss(&name, &word, effects);
        Ok(())
    }
}

/// Compares in a time that does not tell where the difference is.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}
