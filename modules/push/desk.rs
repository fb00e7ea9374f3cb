//! When a device is called: at once, after a pause, after a failure, or not any more. A plain state machine over all devices
//! of a host; times are in milliseconds since 1970.

use std::collections::{BTreeMap, HashMap};

use waxwing_core::address::{BareJid, Jid};

use crate::protocol::{Outcome, Summary};

/// What the desk may use, and its times.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Between two calls for the same conversation.
    pub pause: i64,
    /// After a failure; doubled each time.
    pub retry_after: i64,
    /// At most.
    pub retry_at_most: i64,
    /// Calls that wait for an answer.
    pub under_way: usize,
    /// Devices that are remembered.
    pub devices: usize,
}

/// A message that a device has not got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// In which conversation.
    pub chat: BareJid,
    /// Who said it, if app servers may know.
    pub sender: Option<Jid>,
    /// What is shown of it.
    pub body: Option<String>,
    /// When it came.
    pub arrived_at: i64,
    /// Whether a session had it and has ended: the device may have been called for it then.
    pub is_late: bool,
}

/// A device that is to be called now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whose device.
    pub owner: BareJid,
    /// The number of its registration.
    pub id: i64,
    /// What its app server is told.
    pub summary: Summary,
}

/// What becomes of a registration after its app server has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Stays,
    /// It is dead.
    Ends,
}

/// Of how many conversations a device's last calls are remembered.
const CHATS: usize = 16;
/// So many times in a row there must seem to be no app server.
const ABSENCES: u32 = 3;
/// A call that finds no room waits so long.
const NO_ROOM: i64 = 1_000;

/// What is known of a device.
#[derive(Debug)]
struct Device {
    owner: BareJid,
    summary: Summary,
    chats: Vec<Chat>,
    under_way: bool,
    /// Something has come that it was not called for yet.
    again: bool,
    /// The place in the agenda.
    planned: Option<(i64, u64)>,
    failures: u32,
    absences: u32,
    /// It is not called before.
    not_before: i64,
}

#[derive(Debug)]
struct Chat {
    address: BareJid,
    called_at: i64,
    /// Everything up to here was counted.
    counted: i64,
}

/// All devices for which there is something to be remembered.
pub struct Desk {
    bounds: Bounds,
    devices: HashMap<i64, Device>,
    agenda: BTreeMap<(i64, u64), i64>,
    plans: u64,
    under_way: usize,
    /// How many messages found no room.
    pub dropped: u64,
}

impl Desk {
    /// Nothing is known.
    pub fn new(bounds: Bounds) -> Desk {
        Desk { bounds, devices: HashMap::new(), agenda: BTreeMap::new(), plans: 0, under_way: 0, dropped: 0 }
    }

    /// A device has not got a message; perhaps it is called now.
    pub fn tell(&mut self, owner: &BareJid, id: i64, news: &News, now: i64) -> Option<Call> {
        if !self.devices.contains_key(&id) && !self.make_room(now) {
            self.dropped += 1;
            return None;
        }
        let device = self.devices.entry(id).or_insert_with(|| Device::new(owner.clone()));
        let chat = device.chat(&news.chat);
        if news.is_late && news.arrived_at <= chat.counted {
            return None;
        }
        chat.counted = chat.counted.max(news.arrived_at);
        let free_at = if chat.called_at == 0 { now } else { chat.called_at + self.bounds.pause };
        device.summary.count = device.summary.count.saturating_add(1);
        device.summary.sender.clone_from(&news.sender);
        device.summary.body.clone_from(&news.body);
        device.again = true;
        if device.under_way {
            return None;
        }
        let at = free_at.max(device.not_before);
        if at > now {
            self.plan(id, at);
            return None;
        }
        chat_called(device, &news.chat, now);
        self.begin(id, now)
    }

    /// The calls that are due now, at most `most`.
    pub fn due(&mut self, now: i64, most: usize) -> Vec<Call> {
        let mut calls = Vec::new();
        while calls.len() < most {
            let Some((&place, &id)) = self.agenda.first_key_value().filter(|((at, _), _)| *at <= now) else { break };
            self.agenda.remove(&place);
            let Some(device) = self.devices.get_mut(&id) else { continue };
            device.planned = None;
            if !device.again || device.under_way || device.summary.count == 0 {
                continue;
            }
            // It is called for everything that has come, in whichever conversation.
            device.chats.iter_mut().for_each(|chat| {
                if chat.called_at + self.bounds.pause <= now {
                    chat.called_at = now;
                }
            });
            calls.extend(self.begin(id, now));
        }
        calls
    }

    /// When there is something to do next.
    pub fn next(&self) -> Option<i64> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// An app server has answered, or has not.
    pub fn answered(&mut self, id: i64, outcome: &Outcome, now: i64) -> Fate {
        let bounds = self.bounds;
        let Some(device) = self.devices.get_mut(&id).filter(|device| device.under_way) else { return Fate::Stays };
        device.under_way = false;
        self.under_way -= 1;
        match outcome {
            Outcome::Dead(_) => {
                self.forget(id);
                return Fate::Ends;
            }
            Outcome::Taken => {
                (device.failures, device.absences, device.not_before) = (0, 0, 0);
                if device.again {
                    let last = device.chats.iter().map(|chat| chat.called_at).max().unwrap_or(now);
                    let at = (last + bounds.pause).max(now);
                    self.plan(id, at);
                }
            }
            Outcome::Later(_) | Outcome::Absent(_) => {
                let is_absent = matches!(outcome, Outcome::Absent(_));
                device.absences = if is_absent { device.absences + 1 } else { 0 };
                if device.absences >= ABSENCES {
                    self.forget(id);
                    return Fate::Ends;
                }
                let longer = 1i64.checked_shl(device.failures.min(30)).unwrap_or(i64::MAX);
                device.failures += 1;
                device.not_before = now + bounds.retry_after.saturating_mul(longer).min(bounds.retry_at_most);
                device.again = device.summary.count > 0;
                let at = device.not_before;
                if device.again {
                    self.plan(id, at);
                }
            }
        }
        Fate::Stays
    }

    /// The device is here: it gets everything itself, and nothing is unread.
    pub fn is_here(&mut self, id: i64) {
        if let Some(device) = self.devices.get_mut(&id) {
            device.summary = Summary::default();
            device.again = false;
            device.chats.iter_mut().for_each(|chat| chat.counted = 0);
        }
    }

    /// The registration is gone, or is new.
    pub fn forget(&mut self, id: i64) {
        if let Some(device) = self.devices.remove(&id) {
            self.under_way -= usize::from(device.under_way);
            if let Some(place) = device.planned {
                self.agenda.remove(&place);
            }
        }
    }

    /// How many calls wait for an answer.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// How many devices are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    fn begin(&mut self, id: i64, now: i64) -> Option<Call> {
        if self.under_way >= self.bounds.under_way {
            self.plan(id, now + NO_ROOM);
            return None;
        }
        let device = self.devices.get_mut(&id)?;
        device.under_way = true;
        device.again = false;
        self.under_way += 1;
        Some(Call { owner: device.owner.clone(), id, summary: device.summary.clone() })
    }

    /// A device is looked at again then, if not before.
    fn plan(&mut self, id: i64, at: i64) {
        let Some(device) = self.devices.get_mut(&id) else { return };
        if let Some(place) = device.planned {
            if place.0 <= at && place.0 >= device.not_before {
                return;
            }
            self.agenda.remove(&place);
        }
        self.plans += 1;
        device.planned = Some((at, self.plans));
        self.agenda.insert((at, self.plans), id);
    }

    /// Whether another device can be remembered, perhaps after those at rest were forgotten.
    fn make_room(&mut self, now: i64) -> bool {
        if self.devices.len() >= self.bounds.devices {
            let pause = self.bounds.pause;
            self.devices.retain(|_, device| !device.is_at_rest(now, pause));
        }
        self.devices.len() < self.bounds.devices
    }
}

fn chat_called(device: &mut Device, chat: &BareJid, now: i64) {
    if let Some(chat) = device.chats.iter_mut().find(|known| known.address == *chat) {
        chat.called_at = now;
    }
}

impl Device {
    fn new(owner: BareJid) -> Device {
        Device {
            owner,
            summary: Summary::default(),
            chats: Vec::new(),
            under_way: false,
            again: false,
            planned: None,
            failures: 0,
            absences: 0,
            not_before: 0,
        }
    }

    fn chat(&mut self, address: &BareJid) -> &mut Chat {
        let position = self.chats.iter().position(|chat| chat.address == *address).unwrap_or_else(|| {
            if self.chats.len() >= CHATS {
                // The one that was called for the longest time ago.
                let oldest = self.chats.iter().enumerate().min_by_key(|(_, chat)| chat.called_at);
                if let Some((oldest, _)) = oldest {
                    self.chats.swap_remove(oldest);
                }
            }
            self.chats.push(Chat { address: address.clone(), called_at: 0, counted: 0 });
            self.chats.len() - 1
        });
        &mut self.chats[position]
    }

    fn is_at_rest(&self, now: i64, pause: i64) -> bool {
        !self.under_way
            && self.planned.is_none()
            && self.not_before <= now
            && self.chats.iter().all(|chat| chat.called_at + pause <= now)
    }
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
