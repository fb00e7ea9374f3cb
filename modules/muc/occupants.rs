//! Who is in a room: each by one nickname, with one or several devices (XEP-0045 §7.2.8).

use std::time::Instant;

use smallvec::SmallVec;
use waxwing_core::address::{BareJid, Jid, ResourceRef};
use waxwing_core::stanza::Stanza;

use crate::affiliation::Role;
use crate::ghosts::Pulse;
use crate::records::Nick;

/// One device of an occupant.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its full address; a service or a bot may have a bare one.
    pub jid: Jid,
    /// The payloads of its newest presence that may be shown.
    pub presence: Stanza,
    /// Whether it is still there, for devices of other servers.
    pub pulse: Pulse,
}

/// Somebody who is in a room under one nickname.
#[derive(Clone, Debug)]
pub struct Occupant {
    /// His nickname; nobody else in the room has one like it.
    pub nick: Nick,
    /// The bare address of all his devices.
    pub account: BareJid,
    /// What he may do.
    pub role: Role,
    /// His id in this room (XEP-0421).
    pub id: Box<str>,
    /// His devices, at least one; the one that spoke last about itself is last, and is shown.
    pub devices: SmallVec<[Device; 1]>,
    /// When he has last said something; when he entered, if nothing.
    pub active: Instant,
}

impl Occupant {
    /// The device whose presence and address are shown.
    pub fn shown(&self) -> &Device {
        // There is at least one while he is in the room.
        &self.devices[self.devices.len() - 1]
    }

    /// The device of this address.
    pub fn device(&self, jid: &Jid) -> Option<&Device> {
        self.devices.iter().find(|device| device.jid == *jid)
    }

    /// Puts a device in, or its new presence in place of the old one; it is shown from now on.
    pub fn show(&mut self, device: Device) {
        self.devices.retain(|known| known.jid != device.jid);
        self.devices.push(device);
    }
}

/// A device has come into a room, or has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Its address.
    pub device: Jid,
    /// Whether it has come.
    pub comes: bool,
}

/// Everyone who is in a room, in the order of entering.
#[derive(Clone, Debug, Default)]
pub struct Occupants {
    list: Vec<Occupant>,
    /// What has happened since somebody asked.
    moves: Vec<Move>,
}

impl Occupants {
    /// Everyone.
    pub fn iter(&self) -> impl Iterator<Item = &Occupant> {
        self.list.iter()
    }

    /// Everyone, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Occupant> {
        self.list.iter_mut()
    }

    /// How many people are there.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whose device this is.
    pub fn of(&self, device: &Jid) -> Option<&Occupant> {
        self.list.iter().find(|occupant| occupant.device(device).is_some())
    }

    /// Whose device this is, to change.
    pub fn of_mut(&mut self, device: &Jid) -> Option<&mut Occupant> {
        self.list.iter_mut().find(|occupant| occupant.device(device).is_some())
    }

    /// Who has this nickname, or one like it.
    pub fn alike(&self, likeness: &str) -> Option<&Occupant> {
        self.list.iter().find(|occupant| occupant.nick.likeness == likeness)
    }

    /// Who has exactly this nickname.
    pub fn named(&self, nick: &ResourceRef) -> Option<&Occupant> {
        self.list.iter().find(|occupant| *occupant.nick.name == *nick)
    }

    /// Who has exactly this nickname, to change.
    pub fn named_mut(&mut self, nick: &ResourceRef) -> Option<&mut Occupant> {
        self.list.iter_mut().find(|occupant| *occupant.nick.name == *nick)
    }

    /// Everyone with this bare address, which may be several under different nicknames.
    pub fn of_account(&self, account: &BareJid) -> impl Iterator<Item = &Occupant> {
        self.list.iter().filter(move |occupant| occupant.account == *account)
    }

    /// Puts somebody in.
    pub fn enter(&mut self, occupant: Occupant) {
        self.note(&occupant, true);
        self.list.push(occupant);
    }

    /// Takes out who has exactly this nickname.
    pub fn remove(&mut self, nick: &ResourceRef) -> Option<Occupant> {
        let position = self.list.iter().position(|occupant| *occupant.nick.name == *nick)?;
        let occupant = self.list.remove(position);
        self.note(&occupant, false);
        Some(occupant)
    }

    /// Takes out everyone.
    pub fn clear(&mut self) -> Vec<Occupant> {
        let all = std::mem::take(&mut self.list);
        for occupant in &all {
            self.note(occupant, false);
        }
        all
    }

    /// Puts one more device of somebody in.
    pub fn bring(&mut self, nick: &ResourceRef, device: Device) {
        let Some(occupant) = self.list.iter_mut().find(|occupant| *occupant.nick.name == *nick) else { return };
        self.moves.push(Move { device: device.jid.clone(), comes: true });
        occupant.show(device);
    }

    /// Takes one of several devices of somebody out; who remains.
    pub fn part(&mut self, device: &Jid) -> Option<&Occupant> {
        let occupant = self.list.iter_mut().find(|occupant| occupant.device(device).is_some())?;
        self.moves.push(Move { device: device.clone(), comes: false });
        occupant.devices.retain(|known| known.jid != *device);
        Some(occupant)
    }

    /// Who has come and gone since this was asked last.
    pub fn take_moves(&mut self) -> Vec<Move> {
        std::mem::take(&mut self.moves)
    }

    fn note(&mut self, occupant: &Occupant, comes: bool) {
        self.moves.extend(occupant.devices.iter().map(|device| Move { device: device.jid.clone(), comes }));
    }

    /// Every device of everyone.
    pub fn devices(&self) -> impl Iterator<Item = (&Occupant, &Device)> {
        self.list.iter().flat_map(|occupant| occupant.devices.iter().map(move |device| (occupant, device)))
    }
}
