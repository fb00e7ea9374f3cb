//! Who wants to know in which of his rooms something was said while he was not there (XEP-0437), and the little that has
//! to be remembered for it.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::notes::Note;
use waxwing_core::stanza::{MessageType, Stanza};

use crate::assemble::message;
use crate::protocol::ACTIVITY;

/// A session of ours wants to know. Kept over a restart, as the client believes that it is.
#[derive(Debug, Default)]
pub struct Listens;

impl Note for Listens {
    const WRITTEN_AS: Option<&'static str> = Some("room-activity");

    fn read_back(_: &str) -> Option<Listens> {
        Some(Listens)
    }
}

/// The clients that want to know, all of our own server: each is told once of each room, until it was there again
/// (§4). Only rooms that its account is affiliated with count.
#[derive(Default)]
pub struct Activity(Mutex<Ears>);

#[derive(Default)]
struct Ears {
    /// For each account, its clients that listen, each with the rooms of which it is to be told.
    listeners: HashMap<BareJid, HashMap<Jid, HashSet<BareJid>>>,
    /// The same by rooms.
    waiting: HashMap<BareJid, HashSet<Jid>>,
}

impl Activity {
    /// A client wants to know of these rooms.
    pub fn listen(&self, device: &Jid, rooms: HashSet<BareJid>) {
        let mut ears = self.0.lock();
        ears.forget(device);
        for room in &rooms {
            ears.waiting.entry(room.clone()).or_default().insert(device.clone());
        }
        ears.listeners.entry(device.to_bare()).or_default().insert(device.clone(), rooms);
    }

    /// A client does not want to know any more.
    pub fn stop(&self, device: &Jid) {
        self.0.lock().forget(device);
    }

    /// A client was told of these rooms.
    pub fn told(&self, device: &Jid, rooms: &[BareJid]) {
        let mut ears = self.0.lock();
        for room in rooms {
            ears.settle(device, room);
        }
    }

    /// A client has left a room, so that it is to be told again, if it listens.
    pub fn left(&self, device: &Jid, room: &BareJid) {
        self.0.lock().wait(device, room);
    }

    /// An account has come to be affiliated with a room, which its clients are to be told of.
    pub fn joined(&self, account: &BareJid, room: &BareJid) {
        let mut ears = self.0.lock();
        let Some(devices) = ears.listeners.get(account) else { return };
        for device in devices.keys().cloned().collect::<Vec<_>>() {
            ears.wait(&device, room);
        }
    }

    /// Something is said in a room: who is to be told. Nobody who is in it, and nobody who may not know.
    pub fn stir(&self, room: &BareJid, may_be_told: impl Fn(&Jid) -> bool) -> Vec<Jid> {
        let mut ears = self.0.lock();
        let Some(devices) = ears.waiting.remove(room) else { return Vec::new() };
        for device in &devices {
            if let Some(rooms) = ears.listeners.get_mut(&device.to_bare()).and_then(|of| of.get_mut(device)) {
                rooms.remove(room);
            }
        }
        drop(ears);
        devices.into_iter().filter(may_be_told).collect()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        let ears = self.0.lock();
        ears.listeners.is_empty() && ears.waiting.is_empty()
    }
}

impl Ears {
    fn forget(&mut self, device: &Jid) {
        let account = device.to_bare();
        let Some(devices) = self.listeners.get_mut(&account) else { return };
        let rooms = devices.remove(device).unwrap_or_default();
        if devices.is_empty() {
            self.listeners.remove(&account);
        }
        for room in rooms {
            self.stop_waiting(device, &room);
        }
    }

    fn settle(&mut self, device: &Jid, room: &BareJid) {
        if let Some(rooms) = self.listeners.get_mut(&device.to_bare()).and_then(|of| of.get_mut(device)) {
            rooms.remove(room);
        }
        self.stop_waiting(device, room);
    }

    fn wait(&mut self, device: &Jid, room: &BareJid) {
        if let Some(rooms) = self.listeners.get_mut(&device.to_bare()).and_then(|of| of.get_mut(device)) {
            rooms.insert(room.clone());
            self.waiting.entry(room.clone()).or_default().insert(device.clone());
        }
    }

    fn stop_waiting(&mut self, device: &Jid, room: &BareJid) {
        if let Some(devices) = self.waiting.get_mut(room) {
            devices.remove(device);
            if devices.is_empty() {
                self.waiting.remove(room);
            }
        }
    }
}

/// Tells a client that something was said in these rooms (§3.1).
pub fn indicator(service: BareJid, device: Jid, rooms: &[BareJid]) -> Stanza {
    let told = message(MessageType::Normal, |writer| {
        writer.open("rai").attribute("xmlns", ACTIVITY);
        for room in rooms {
            writer.open("activity").text(room.as_str()).close();
        }
        writer.close();
    });
    told.from(service).to(device).id(waxwing_core::random::token())
}

/// What a room that is awake knows of its own activity and the database does not know yet. Times are in milliseconds
/// since 1970.
#[derive(Default)]
pub struct Pace(Mutex<Known>);

#[derive(Default)]
struct Known {
    active: i64,
    written: i64,
    written_at: Option<Instant>,
    seen: HashMap<BareJid, i64>,
}

/// For somebody who is in the room.
const NOW: i64 = i64::MAX;
/// How often the time of the newest message is written down while a room talks.
const WRITE_EVERY: Duration = Duration::from_secs(60);

impl Pace {
    /// Something was said.
    pub fn stir(&self, now: i64) {
        let mut known = self.0.lock();
        known.active = known.active.max(now);
    }

    /// An affiliated account is in the room.
    pub fn enter(&self, account: BareJid) {
        self.0.lock().seen.insert(account, NOW);
    }

    /// An affiliated account has left the room with the last of its clients.
    pub fn leave(&self, account: BareJid, now: i64) {
        self.0.lock().seen.insert(account, now);
    }

    /// Whether something was said since the account was there last, with what the database knows.
    pub fn is_news(&self, account: &BareJid, active: i64, seen: i64) -> bool {
        let known = self.0.lock();
        known.active.max(active) > known.seen.get(account).copied().unwrap_or_default().max(seen)
    }

    /// What is to be written down now, if anything: when something was said last, and when who was there last. With
    /// `all`, it does not wait until it is due, and whoever is there leaves now.
    pub fn to_write(&self, all: bool, now: (Instant, i64)) -> Option<(i64, Vec<(BareJid, i64)>)> {
        let (instant, now) = now;
        let mut known = self.0.lock();
        let is_due = known.written_at.is_none_or(|at| instant.saturating_duration_since(at) >= WRITE_EVERY);
        let is_news = known.active > known.written && (all || is_due);
        let has_leavers = all && !known.seen.is_empty();
        if !is_news && !has_leavers {
            return None;
        }
        known.written_at = Some(instant);
        let seen = known.seen.iter().filter(|(_, at)| all || **at != NOW);
        Some((known.active, seen.map(|(account, at)| (account.clone(), (*at).min(now))).collect()))
    }

    /// This was written down.
    pub fn written(&self, active: i64, seen: &[(BareJid, i64)]) {
        let mut known = self.0.lock();
        known.written = known.written.max(active);
        for (account, at) in seen {
            if known.seen.get(account) == Some(at) {
                known.seen.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn rooms(names: &[&str]) -> HashSet<BareJid> {
        names.iter().map(|name| BareJid::new(&format!("{name}@rooms.lit")).unwrap()).collect()
    }

    fn room(name: &str) -> BareJid {
        rooms(&[name]).into_iter().next().unwrap()
    }

    #[test]
    fn each_client_is_told_once_until_it_was_there_again() {
        let activity = Activity::default();
        let (phone, desktop) = (jid("hag@a.lit/phone"), jid("hag@a.lit/desktop"));
        activity.listen(&phone, rooms(&["coven", "heath"]));
        activity.listen(&desktop, rooms(&["coven", "heath"]));
        let mut told = activity.stir(&room("coven"), |_| true);
        told.sort();
        assert_eq!(told, [desktop.clone(), phone.clone()]);
        assert!(activity.stir(&room("coven"), |_| true).is_empty());
        activity.left(&phone, &room("coven"));
        assert_eq!(activity.stir(&room("coven"), |_| true), vec![phone.clone()]);
        activity.told(&phone, &[room("heath")]);
        assert_eq!(activity.stir(&room("heath"), |_| true), vec![desktop.clone()]);
        activity.stop(&phone);
        activity.stop(&desktop);
        assert!(activity.is_empty());
    }

    #[test]
    fn nobody_is_told_who_is_there_may_not_know_or_does_not_listen() {
        let activity = Activity::default();
        let phone = jid("hag@a.lit/phone");
        activity.left(&phone, &room("coven"));
        assert!(activity.stir(&room("coven"), |_| true).is_empty());
        activity.listen(&phone, rooms(&["coven"]));
        assert!(activity.stir(&room("coven"), |device| *device != phone).is_empty());
        // She is there; she is told when she has left.
        assert!(activity.stir(&room("coven"), |_| true).is_empty());
        activity.left(&phone, &room("coven"));
        assert_eq!(activity.stir(&room("coven"), |_| true), vec![phone.clone()]);
        activity.joined(&phone.to_bare(), &room("heath"));
        activity.joined(&jid("crone@a.lit").to_bare(), &room("heath"));
        assert_eq!(activity.stir(&room("heath"), |_| true), vec![phone.clone()]);
        activity.listen(&phone, rooms(&[]));
        activity.stop(&phone);
        assert!(activity.is_empty());
    }

    #[test]
    fn what_is_known_here_counts_with_what_is_written() {
        let pace = Pace::default();
        let hag = BareJid::new("hag@a.lit").unwrap();
        assert!(!pace.is_news(&hag, 0, 0));
        assert!(pace.is_news(&hag, 5, 4) && !pace.is_news(&hag, 5, 5));
        pace.stir(10);
        assert!(pace.is_news(&hag, 5, 5));
        pace.enter(hag.clone());
        pace.stir(20);
        assert!(!pace.is_news(&hag, 0, 0));
        pace.leave(hag.clone(), 25);
        assert!(!pace.is_news(&hag, 0, 0));
        pace.stir(30);
        assert!(pace.is_news(&hag, 0, 0));
    }

    #[test]
    fn a_room_that_talks_is_written_down_now_and_then_and_at_the_end() {
        let start = Instant::now();
        let at = |seconds: u64| (start + Duration::from_secs(seconds), 1_000 * i64::try_from(seconds).unwrap());
        let pace = Pace::default();
        let hag = BareJid::new("hag@a.lit").unwrap();
        assert_eq!(pace.to_write(true, at(0)), None);
        pace.stir(1);
        pace.enter(hag.clone());
        assert_eq!(pace.to_write(false, at(1)), Some((1, vec![])));
        pace.written(1, &[]);
        pace.stir(2);
        assert_eq!(pace.to_write(false, at(2)), None);
        assert_eq!(pace.to_write(false, at(62)), Some((2, vec![])));
        // It could not be written: not at once again.
        assert_eq!(pace.to_write(false, at(63)), None);
        assert_eq!(pace.to_write(true, at(64)), Some((2, vec![(hag.clone(), 64_000)])));
        pace.written(2, &[]);
        pace.leave(hag.clone(), 65_000);
        pace.stir(66_000);
        assert_eq!(pace.to_write(false, at(130)), Some((66_000, vec![(hag.clone(), 65_000)])));
        pace.written(66_000, &[(hag.clone(), 65_000)]);
        assert_eq!(pace.to_write(true, at(200)), None);
        assert!(pace.is_news(&hag, 0, 65_000) && !pace.is_news(&hag, 0, 66_000));
    }
}
