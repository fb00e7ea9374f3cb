//! A room as a pure state machine (XEP-0045): it hears an event and says what follows from it. No clock, no database, no
//! socket; who keeps it brings the time and does what it says. Each subject has a file of its own.

mod administration;
mod affiliations;
mod asides;
mod card;
mod configuring;
mod destroying;
mod discovery;
mod entering;
mod hat_commands;
mod inviting;
mod leaving;
mod mentioning;
mod messages;
mod private;
mod questions;
mod registration;
mod renaming;
mod retracting;
mod roles;
mod speaking;
mod subjects;
mod versions;
mod voice;

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use waxwing_core::address::{BareJid, DomainRef, FullJid, Jid, ResourcePart, ResourceRef};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, MessageType, PresenceType, Stanza, StanzaType};

use crate::affiliation::{Affiliation, Role};
use crate::configuration::Configuration;
use crate::effects::{Change, Effects};
use crate::history::History;
use crate::moment::Moment;
use crate::occupants::{Move, Occupant, Occupants};
use crate::protocol::{MUC, status};
use crate::records::Records;
use crate::room::private::Relays;
use crate::settings::Settings;
use crate::shield::Shield;

/// What holds for every room of a service.
pub struct Rules {
    /// What the operator has set.
    pub settings: Settings,
    /// The key of occupant ids (XEP-0421): kept in the database, so that they stay the same.
    pub occupant_key: hmac::Key,
    /// Whether a domain is served by this server.
    pub is_ours: Box<dyn Fn(&DomainRef) -> bool + Send + Sync>,
    /// Whether there is an archive to keep messages in.
    pub has_archive: bool,
    /// Whether somebody wants to know of each message who of the members is away.
    pub tells_absent: bool,
}

impl Rules {
    /// The id of an account in a room: the same for ever, and telling nothing about the account (XEP-0421 §4.1).
    pub fn occupant_id(&self, room: &BareJid, account: &BareJid) -> Box<str> {
        let mut context = hmac::Context::with_key(&self.occupant_key);
        context.update(room.as_str().as_bytes());
        context.update(&[0]);
        context.update(account.as_str().as_bytes());
        // 160 bits are more than anybody can try.
        URL_SAFE_NO_PAD.encode(&context.sign().as_ref()[..20]).into()
    }
}

/// Why somebody is gone without having said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// His session has ended.
    Ended,
    /// What was sent to him came back, or nothing came back.
    Failed,
}

/// What a room hears.
#[derive(Debug)]
pub enum Event {
    /// Somebody says something to the room or to one of its occupants.
    Stanza(Stanza),
    /// A device is gone without having said so.
    Gone(Jid, Gone),
    /// An account exists no more.
    Removed(BareJid),
    /// Time has passed.
    Time,
    /// The service is shut down.
    ShutDown,
    /// The room has failed, and everyone has to come anew.
    Broken,
}

/// Members who want to register and wait for an admin's word, with the nickname they want (§9.9).
type Petitions = BTreeMap<BareJid, Option<ResourcePart>>;

/// Roles that moderators gave to accounts during this discussion; they survive leaving and entering again (§5.1).
type GivenRoles = VecDeque<(BareJid, Role)>;

/// A room. A copy is a value of its own: what could not be kept is undone by going back to one.
#[derive(Clone)]
pub struct Room {
    address: BareJid,
    rules: Arc<Rules>,
    records: Records,
    /// Since when it waits for its first configuration; nobody else may enter until then (§10.1).
    locked: Option<Instant>,
    occupants: Occupants,
    history: History,
    shield: Shield,
    relays: Relays,
    petitions: Petitions,
    given_roles: GivenRoles,
}

/// So many roles that moderators gave are remembered.
const GIVEN_ROLES: usize = 200;

impl Room {
    /// A room that was kept.
    pub fn load(address: BareJid, rules: Arc<Rules>, records: Records) -> Room {
        let most = rules.settings.history.get();
        Room {
            address,
            rules,
            records,
            locked: None,
            occupants: Occupants::default(),
            history: History::new(most),
            shield: Shield::default(),
            relays: Relays::default(),
            petitions: Petitions::new(),
            given_roles: GivenRoles::new(),
        }
    }

    /// A new room, which belongs to whoever enters it first and waits for its configuration.
    pub fn create(address: BareJid, rules: Arc<Rules>, owner: &BareJid, now: Moment) -> Room {
        let configuration = Configuration::of(rules.settings.new_rooms);
        let records = Records::new(configuration, owner, now.milliseconds);
        let mut room = Room::load(address, rules, records);
        room.locked = Some(now.instant);
        room.history.set_loaded();
        room
    }

    /// Hears something, and says what follows.
    ///
    /// # Errors
    /// What whoever said it is told. Nothing has changed then but what he has used of his measure.
    pub fn handle(&mut self, event: Event, now: Moment) -> Result<Effects, Refusal> {
        let mut effects = Effects::default();
        match event {
            Event::Stanza(stanza) => self.hear(stanza, now, &mut effects)?,
            Event::Gone(device, why) => self.lose(&device, why, &mut effects),
            Event::Removed(account) => self.forget_account(&account, now, &mut effects),
            Event::Time => self.pass_time(now, &mut effects),
            Event::ShutDown => self.empty(status::SHUT_DOWN, &mut effects),
            Event::Broken => self.empty(status::TECHNICAL, &mut effects),
        }
        if self.is_locked() {
            // Nothing of it is kept until it is unlocked, and then all at once.
            effects.changes.retain(|change| matches!(change, Change::Created(_)));
        }
        Ok(effects)
    }

    fn hear(&mut self, stanza: Stanza, now: Moment, effects: &mut Effects) -> Result<(), Refusal> {
        let (Some(from), Some(to)) = (stanza.from.clone(), stanza.to.clone()) else {
            return Err(Refusal::bad_request());
        };
        // An error may be the word of somebody on the way, and what answers a ping is looked at as its answer.
        let is_his_own = !stanza.is_error() && stanza.what != StanzaType::Iq(IqType::Result);
        if is_his_own && let Some(device) = self.device_mut(&from) {
            device.pulse.heard(now.instant);
        }
        let nick = to.resource();
        match (stanza.what, nick) {
            (StanzaType::Presence(PresenceType::Available), None) => {
                // §7.2.1.
                Err(Refusal::jid_malformed().saying("name the nickname that you want to have in the room"))
            }
            (StanzaType::Presence(PresenceType::Available), Some(nick)) => {
                self.hear_presence(&stanza, &from, nick, now, effects)
            }
            (StanzaType::Presence(PresenceType::Unavailable), _) => {
                self.leave(&from, Some(&stanza), effects);
                Ok(())
            }
            (StanzaType::Presence(PresenceType::Error) | StanzaType::Message(MessageType::Error), _) => {
                self.hear_error(&stanza, &from, effects);
                Ok(())
            }
            // §17.3: no other presence enters or leaves; a room is nobody's contact.
            (StanzaType::Presence(_), _) => Ok(()),
            (StanzaType::Message(MessageType::Groupchat), None) => self.hear_message(&stanza, &from, now, effects),
            (StanzaType::Message(MessageType::Groupchat), Some(_)) => {
                // §7.5.
                Err(Refusal::bad_request().saying("a message to one occupant is not of the type groupchat"))
            }
            (StanzaType::Message(_), None) => self.hear_aside(&stanza, &from, now, effects),
            (StanzaType::Message(_), Some(nick)) => self.relay_message(&stanza, &from, nick, now, effects),
            (StanzaType::Iq(IqType::Get | IqType::Set), None) => self.hear_question(&stanza, &from, now, effects),
            (StanzaType::Iq(IqType::Get | IqType::Set), Some(nick)) => {
                self.relay_question(&stanza, &from, nick, now, effects)
            }
            (StanzaType::Iq(_), _) => {
                self.hear_answer(stanza, &from, now, effects);
                Ok(())
            }
        }
    }

    /// Available presence to a nickname: to enter, to be told everything again, to change nickname or availability.
    fn hear_presence(
        &mut self,
        presence: &Stanza,
        from: &Jid,
        nick: &ResourceRef,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let joins = presence.payload(MUC, "x").is_some();
        let Some(occupant) = self.occupants.of(from) else {
            if joins {
                return self.enter(presence, from, nick, now, effects);
            }
            // §7.2.18: whoever believes to be in the room learns that he is not.
            effects.say(not_in_the_room(&self.occupant_address(nick), from));
            return Ok(());
        };
        if *occupant.nick.name != *nick {
            return self.rename(presence, from, nick, now, effects);
        }
        if joins {
            self.synchronize(presence, from, now, effects)
        } else {
            self.change_availability(presence, from, now, effects)
        }
    }

    /// What it remembers.
    #[cfg(test)]
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// What holds for it and all others.
    #[cfg(test)]
    pub fn rules_for_tests(&self) -> Arc<Rules> {
        self.rules.clone()
    }

    /// Who is in it.
    pub fn occupants(&self) -> &Occupants {
        &self.occupants
    }

    /// Who has come and gone since this was asked last.
    pub fn take_moves(&mut self) -> Vec<Move> {
        self.occupants.take_moves()
    }

    /// Whether an account belongs to the room.
    pub fn is_member(&self, account: &BareJid) -> bool {
        self.affiliation(account) >= Affiliation::Member
    }

    /// What newcomers are shown.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// Whether it waits for its first configuration.
    pub fn is_locked(&self) -> bool {
        self.locked.is_some()
    }

    /// Whether everyone sees real addresses.
    pub fn shows_addresses(&self) -> bool {
        self.configuration().is_non_anonymous()
    }

    fn configuration(&self) -> &Configuration {
        &self.records.configuration
    }

    fn settings(&self) -> &Settings {
        &self.rules.settings
    }

    fn affiliation(&self, account: &BareJid) -> Affiliation {
        self.records.affiliations.of(account)
    }

    /// The role of an account: the greatest of those it has under its nicknames.
    fn role(&self, account: &BareJid) -> Role {
        self.occupants.of_account(account).map(|occupant| occupant.role).max().unwrap_or(Role::None)
    }

    fn occupant_address(&self, nick: &ResourceRef) -> FullJid {
        self.address.with_resource(nick)
    }

    fn device_mut(&mut self, device: &Jid) -> Option<&mut crate::occupants::Device> {
        self.occupants.of_mut(device)?.devices.iter_mut().find(|known| known.jid == *device)
    }

    /// How many people may be in it.
    fn most_occupants(&self) -> usize {
        usize::from(self.configuration().most_occupants).min(self.settings().most_occupants()).max(1)
    }

    /// Whether everyone sees the presence of somebody with this role.
    fn shows(&self, role: Role) -> bool {
        self.configuration().broadcast.contains(role)
    }

    /// Whether an occupant sees the real addresses of others (§7.2.3, §7.2.4).
    fn sees_addresses(&self, occupant: &Occupant) -> bool {
        self.configuration().is_non_anonymous() || occupant.role == Role::Moderator
    }

    /// The role with which somebody enters: what a moderator has decided about him counts as long as the discussion
    /// lasts, but for what his affiliation forbids.
    fn entering_role(&self, account: &BareJid) -> Role {
        let affiliation = self.affiliation(account);
        let initial = crate::affiliation::initial_role(affiliation, self.configuration().moderated);
        if affiliation.is_admin() {
            return initial;
        }
        self.given_roles.iter().find(|(known, _)| known == account).map_or(initial, |(_, role)| *role)
    }

    /// Remembers what a moderator has decided about somebody.
    fn remember_role(&mut self, account: &BareJid, role: Role) {
        self.given_roles.retain(|(known, _)| known != account);
        if self.given_roles.len() >= GIVEN_ROLES {
            self.given_roles.pop_front();
        }
        self.given_roles.push_back((account.clone(), role));
    }
}

/// What somebody is told who shows himself to a room that he is not in (§7.2.18).
pub fn not_in_the_room(occupant: &FullJid, to: &Jid) -> Stanza {
    let mut stanza = speaking::presence_with(PresenceType::Unavailable, std::iter::empty(), |writer| {
        writer.open("x").attribute("xmlns", crate::protocol::USER);
        writer.open("item").attribute("affiliation", "none").attribute("role", "none");
        writer.open("reason").text("You are not in the room.").close().close();
        speaking::write_statuses(writer, [status::SELF, status::KICKED, status::TECHNICAL]);
        writer.close();
    });
    stanza.from = Some(occupant.clone().into());
    stanza.to = Some(to.clone());
    stanza
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn occupant_ids_are_stable_and_tell_nothing() {
        let rules = |key: &[u8]| Rules {
            settings: Settings::default(),
            occupant_key: hmac::Key::new(hmac::HMAC_SHA256, key),
            is_ours: Box::new(|_| true),
            has_archive: true,
            tells_absent: false,
        };
        let jid = |text: &str| BareJid::new(text).unwrap();
        let id = |key: &[u8], room: &str, account: &str| rules(key).occupant_id(&jid(room), &jid(account));
        let one = id(b"key", "coven@chat.lit", "hag66@shakespeare.lit");
        assert_eq!(one, id(b"key", "coven@chat.lit", "hag66@shakespeare.lit"));
        assert_eq!(one, id(b"key", "coven@chat.lit", "Hag66@Shakespeare.lit"));
        assert_ne!(one, id(b"yek", "coven@chat.lit", "hag66@shakespeare.lit"));
        assert_ne!(one, id(b"key", "heath@chat.lit", "hag66@shakespeare.lit"));
        assert_ne!(one, id(b"key", "coven@chat.lit", "hag67@shakespeare.lit"));
        assert!(one.len() == 27 && one.is_ascii());
    }
}
