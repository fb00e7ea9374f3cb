//! What a room remembers while nobody is in it: its configuration, who is affiliated with it, its subject.

use std::collections::BTreeMap;

use waxwing_core::address::{BareJid, ResourcePart};
use waxwing_core::stanza::Stanza;

use crate::affiliation::Affiliation;
use crate::configuration::Configuration;
use crate::hats::Hats;
use crate::nickname::likeness;

/// A nickname with what makes it unlike others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nick {
    /// As it is shown.
    pub name: ResourcePart,
    /// What two nicknames have in common that a person would take for the same.
    pub likeness: String,
}

impl Nick {
    /// A nickname; whether it is acceptable has been looked at before.
    pub fn new(name: ResourcePart) -> Nick {
        let likeness = likeness(name.as_str());
        Nick { name, likeness }
    }
}

/// How one account or domain is affiliated with a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affiliated {
    /// Its affiliation; none for one that was removed and is still remembered.
    pub affiliation: Affiliation,
    /// The nickname that is reserved for it.
    pub nick: Option<Nick>,
    /// Why, as an admin has put it.
    pub reason: Option<String>,
    /// The version of the lists in which it became as it is (XEP-0463).
    pub version: i64,
}

/// So many who were removed are remembered, so that clients learn of it (XEP-0463).
const REMEMBERED: usize = 100;

/// Everyone who is affiliated with a room, by bare address. A domain stands for all of its accounts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Affiliations {
    entries: BTreeMap<BareJid, Affiliated>,
}

impl Affiliations {
    /// The affiliation of an account: its own, else that of its domain (§9.2).
    pub fn of(&self, account: &BareJid) -> Affiliation {
        if let Some(entry) = self.entry(account) {
            return entry.affiliation;
        }
        if account.node().is_none() {
            return Affiliation::None;
        }
        self.entry(&BareJid::from_parts(None, account.domain())).map_or(Affiliation::None, |entry| entry.affiliation)
    }

    /// What is noted of exactly this address.
    pub fn entry(&self, address: &BareJid) -> Option<&Affiliated> {
        self.entries.get(address).filter(|entry| entry.affiliation != Affiliation::None)
    }

    /// Everyone of this affiliation.
    pub fn with(&self, affiliation: Affiliation) -> impl Iterator<Item = (&BareJid, &Affiliated)> {
        self.entries.iter().filter(move |(_, entry)| entry.affiliation == affiliation)
    }

    /// Everyone who is affiliated.
    pub fn all(&self) -> impl Iterator<Item = (&BareJid, &Affiliated)> {
        self.entries.iter().filter(|(_, entry)| entry.affiliation != Affiliation::None)
    }

    /// How many are affiliated.
    pub fn count(&self) -> usize {
        self.all().count()
    }

    /// Whether there is an owner.
    #[cfg(test)]
    pub fn has_owner(&self) -> bool {
        self.with(Affiliation::Owner).next().is_some()
    }

    /// Whom a nickname is reserved for.
    pub fn holder(&self, likeness: &str) -> Option<&BareJid> {
        let reserved = |entry: &Affiliated| entry.nick.as_ref().is_some_and(|nick| nick.likeness == likeness);
        self.entries.iter().find(|(_, entry)| reserved(entry)).map(|(address, _)| address)
    }

    /// Notes an affiliation.
    pub fn set(&mut self, address: BareJid, entry: Affiliated) {
        self.entries.insert(address, entry);
    }

    /// What has changed since a version.
    pub fn since(&self, version: i64) -> impl Iterator<Item = (&BareJid, &Affiliated)> {
        self.entries.iter().filter(move |(_, entry)| entry.version > version)
    }

    /// Forgets the oldest of those who were removed, beyond what is remembered; up to which version, if any.
    pub fn forget(&mut self) -> Option<i64> {
        let is_removed = |entry: &Affiliated| entry.affiliation == Affiliation::None;
        let mut removed: Vec<i64> =
            self.entries.values().filter(|entry| is_removed(entry)).map(|entry| entry.version).collect();
        if removed.len() <= REMEMBERED {
            return None;
        }
        removed.sort_unstable_by(|one, other| other.cmp(one));
        let newest = removed[REMEMBERED];
        self.entries.retain(|_, entry| !(is_removed(entry) && entry.version <= newest));
        Some(newest)
    }
}

/// What a room is talking about (§8.1).
#[derive(Clone, Debug)]
pub struct Subject {
    /// The message as it was said, from whoever said it.
    pub message: Stanza,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// What a room remembers while nobody is in it.
#[derive(Clone, Debug)]
pub struct Records {
    /// What its owners have decided.
    pub configuration: Configuration,
    /// Who is affiliated with it.
    pub affiliations: Affiliations,
    /// The version of the affiliations: that of the newest.
    pub version: i64,
    /// Who was removed up to this version is not known any more.
    pub forgotten: i64,
    /// What it is talking about; none when nobody has ever said.
    pub subject: Option<Subject>,
    /// The hashes of its pictures (XEP-0486).
    pub avatar: Vec<String>,
    /// Its hats and who wears them.
    pub hats: Hats,
    /// When it was made, in milliseconds since 1970.
    pub created: i64,
}

impl Records {
    /// Those of a new room that belongs to `owner`.
    pub fn new(configuration: Configuration, owner: &BareJid, now: i64) -> Records {
        let mut affiliations = Affiliations::default();
        let entry = Affiliated { affiliation: Affiliation::Owner, nick: None, reason: None, version: now };
        affiliations.set(owner.clone(), entry);
        Records {
            configuration,
            affiliations,
            version: now,
            forgotten: now.saturating_sub(1),
            subject: None,
            avatar: Vec::new(),
            hats: Hats::default(),
            created: now,
        }
    }

    /// A version above all that this room ever had. It follows the clock, so that a client which knows a room of this
    /// name that is gone does not meet the same number again.
    pub fn next_version(&mut self, now: i64) -> i64 {
        self.version = now.max(self.version.saturating_add(1));
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    fn entry(affiliation: Affiliation, version: i64) -> Affiliated {
        Affiliated { affiliation, nick: None, reason: None, version }
    }

    #[test]
    fn s20_a_ban_holds_for_every_spelling_of_an_address_and_a_whole_domain() {
        let mut affiliations = Affiliations::default();
        affiliations.set(jid("earlofcambridge@shakespeare.lit"), entry(Affiliation::Outcast, 1));
        affiliations.set(jid("spam.lit"), entry(Affiliation::Outcast, 2));
        affiliations.set(jid("friend@spam.lit"), entry(Affiliation::Member, 3));
        for spelling in
            ["EarlOfCambridge@shakespeare.lit", "ｅarlofcambridge@SHAKESPEARE.lit", "earlofcambridge@shakespeare.lit"]
        {
            assert_eq!(affiliations.of(&jid(spelling)), Affiliation::Outcast, "{spelling}");
        }
        assert_eq!(affiliations.of(&jid("anyone@spam.lit")), Affiliation::Outcast);
        assert_eq!(affiliations.of(&jid("spam.lit")), Affiliation::Outcast);
        assert_eq!(affiliations.of(&jid("friend@spam.lit")), Affiliation::Member);
        assert_eq!(affiliations.of(&jid("anyone@ham.spam.lit")), Affiliation::None);
    }

    #[test]
    fn the_oldest_removals_are_forgotten() {
        let mut affiliations = Affiliations::default();
        affiliations.set(jid("owner@a.lit"), entry(Affiliation::Owner, 1));
        for version in 2..=102 {
            affiliations.set(jid(&format!("user{version}@a.lit")), entry(Affiliation::None, version));
        }
        assert_eq!(affiliations.forget(), Some(2));
        assert_eq!(affiliations.forget(), None);
        assert_eq!((affiliations.count(), affiliations.since(2).count()), (1, 100));
    }

    #[test]
    fn versions_follow_the_clock_and_never_go_back() {
        let mut records = Records::new(Configuration::default(), &jid("owner@a.lit"), 1000);
        assert_eq!(records.next_version(2000), 2000);
        assert_eq!(records.next_version(1500), 2001);
        assert_eq!(records.next_version(2001), 2002);
    }
}
