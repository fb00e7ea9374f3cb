//! Waking a room: from the database, with what was said in it; making it for whoever may; and what is said where there
//! is none (XEP-0045 §7.2.11, §10.1.1).

use std::time::Duration;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::archive::Stretch;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, PresenceType, Stanza, StanzaType};
use waxwing_core::storage::StorageError;

use super::Resident;
use crate::effects::Effects;
use crate::moment::Moment;
use crate::protocol::{MUC, PING};
use crate::room::{Event, Room, not_in_the_room};
use crate::rooms::Rooms;
use crate::settings::Creators;
use crate::store::Found;

impl Resident {
    /// Reads what stands under the address.
    pub(super) async fn load(&mut self) -> Result<(), StorageError> {
        match self.rooms.store.read(&self.address).await? {
            Found::Nothing => {}
            Found::Sealed(since) => self.sealed = Some(since),
            Found::Room(records) => {
                self.room = Some(Room::load(self.address.clone(), self.rooms.rules.clone(), *records));
            }
        }
        Ok(())
    }

    /// Makes a room for whoever may, and looks up what was said before somebody enters.
    pub(super) async fn prepare(&mut self, event: &Event, now: Moment) -> Result<(), Refusal> {
        let Event::Stanza(stanza) = event else { return Ok(()) };
        if !is_entry(stanza) {
            return Ok(());
        }
        match &mut self.room {
            Some(room) => {
                if !room.history_mut().is_loaded() && room.archives() {
                    load_history(&self.rooms, &self.address, room).await;
                }
            }
            None => {
                let Some(from) = &stanza.from else { return Ok(()) };
                self.check_creator(from, now).await?;
                let (address, rules) = (self.address.clone(), self.rooms.rules.clone());
                self.room = Some(Room::create(address, rules, &from.to_bare(), now));
            }
        }
        Ok(())
    }

    /// §10.1.1: who may make rooms.
    async fn check_creator(&mut self, from: &Jid, now: Moment) -> Result<(), Refusal> {
        let settings = &self.rooms.rules.settings;
        if let Some(since) = self.sealed {
            let age = u64::try_from(now.milliseconds.saturating_sub(since)).unwrap_or(0);
            if Duration::from_millis(age) < settings.tombstones.get() {
                return Err(Refusal::gone().saying("the room of this name was destroyed"));
            }
        }
        let is_allowed = match settings.create {
            Creators::Anyone => true,
            Creators::Local => self.rooms.context.house().host(from.domain()).is_some(),
            Creators::Nobody => false,
        };
        if !is_allowed {
            return Err(Refusal::not_allowed().saying("there is no such room, and you may not make one"));
        }
        let owned = self.rooms.store.owned(&from.to_bare()).await?;
        if !settings.rooms_per_owner.allows(usize::try_from(owned).unwrap_or(usize::MAX).saturating_add(1)) {
            return Err(Refusal::not_allowed().saying(format!("you own {owned} rooms, more are not allowed")));
        }
        Ok(())
    }

    /// Somebody says something to a room that is not there.
    pub(super) fn nobody_here(&self, event: &Event) -> Result<Effects, Refusal> {
        let mut effects = Effects::default();
        let Event::Stanza(stanza) = event else { return Ok(effects) };
        let nothing = || Refusal::item_not_found().saying("there is no such room");
        let occupant = stanza.to.as_ref().and_then(|to| to.try_as_full().ok());
        match (stanza.what, occupant) {
            (StanzaType::Presence(PresenceType::Available), Some(occupant)) => {
                // §7.2.18: he believes to be in it.
                effects.deliveries.extend(stanza.from.as_ref().map(|from| not_in_the_room(occupant, from)));
                Ok(effects)
            }
            (StanzaType::Presence(PresenceType::Available), None) => Err(Refusal::jid_malformed()),
            (StanzaType::Presence(_) | StanzaType::Iq(IqType::Result | IqType::Error), _) => Ok(effects),
            // XEP-0410 §3.2: item-not-found would mean that he is in the room.
            (StanzaType::Iq(_), Some(_)) if stanza.payload(PING, "ping").is_some() => {
                Err(Refusal::not_acceptable().saying("you are not in the room"))
            }
            _ => Err(nothing()),
        }
    }
}

async fn load_history(rooms: &Rooms, address: &BareJid, room: &mut Room) {
    let Some(archive) = &rooms.archive else { return };
    let most = rooms.rules.settings.history.get().min(1000);
    let stretch = Stretch { after: None, before: None, newest: true, most };
    match archive.read(address, stretch).await {
        Ok(kept) => room.history_mut().fill(address, kept),
        // He enters all the same; the next one tries again.
        Err(error) => tracing::warn!(room = %address, %error, "muc.history_not_read"),
    }
}

/// A presence that enters a room, or makes it.
fn is_entry(stanza: &Stanza) -> bool {
    let names_a_nick = stanza.to.as_ref().is_some_and(|to| to.resource().is_some());
    stanza.what == StanzaType::Presence(PresenceType::Available) && names_a_nick && stanza.payload(MUC, "x").is_some()
}
