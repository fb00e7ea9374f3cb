//! Rosters in memory: a bounded cache of contacts, and the order in which clients hear of changes.
//!
//! Nothing is locked while the database works. What keeps the cache true is a number that grows with every change: who
//! reads a roster while another changes it does not cache what it has read. What keeps pushes in order is a book of who
//! is at work on an account: a push that is overtaken by a newer one of the same contact is left out.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use waxwing_core::address::BareJid;
use waxwing_core::contracts::{Contact, Contacts};
use waxwing_core::storage::StorageError;

use crate::item::Item;
use crate::store::Store;

/// Accounts are spread over this many locks.
const SHARDS: usize = 64;

/// However many contacts the operator allows in memory, it is no more than this.
const MOST_CACHED: u64 = 1 << 32;

/// A roster weighs as many units as it has contacts, and one more.
#[derive(Clone)]
struct ByContacts;

impl Weighter<BareJid, Arc<[Contact]>> for ByContacts {
    fn weight(&self, _: &BareJid, contacts: &Arc<[Contact]>) -> u64 {
        contacts.len() as u64 + 1
    }
}

/// What many share about the rosters of one host.
pub struct Rosters {
    /// The tables.
    pub store: Store,
    cache: Cache<BareJid, Arc<[Contact]>, ByContacts>,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    /// How many changes there were: a roster that was read before the newest is not cached.
    changes: u64,
    at_work: HashMap<BareJid, AtWork>,
}

/// Who is at work on an account's roster. Gone when nobody is.
#[derive(Default)]
struct AtWork {
    turns: usize,
    /// The newest version each contact was pushed with, and the newest of all.
    pushed: HashMap<BareJid, i64>,
    newest: i64,
}

impl Rosters {
    /// Rosters with room for so many contacts in memory.
    pub fn new(store: Store, cached_contacts: usize) -> Rosters {
        let capacity = (cached_contacts as u64).min(MOST_CACHED);
        let accounts = (capacity / 50).clamp(16, 100_000) as usize;
        Rosters {
            store,
            cache: Cache::with_weighter(accounts, capacity, ByContacts),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    fn shard(&self, account: &BareJid) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(account) as usize % SHARDS]
    }

    /// Begins to work on an account's roster. Many may at a time; the database puts their changes in order.
    pub fn turn<'a>(&'a self, account: &'a BareJid) -> Turn<'a> {
        let changes = {
            let mut shard = self.shard(account).lock();
            shard.at_work.entry(account.clone()).or_default().turns += 1;
            shard.changes
        };
        Turn { rosters: self, account, changes, may_have_changed: false }
    }

    /// How many changes there were in the neighbourhood of an account; for [`Rosters::remember`].
    fn changes(&self, account: &BareJid) -> u64 {
        self.shard(account).lock().changes
    }

    /// Keeps what was read after `changes`, unless something has changed since.
    fn remember(&self, account: &BareJid, changes: u64, contacts: &Arc<[Contact]>) {
        let shard = self.shard(account).lock();
        if shard.changes == changes {
            self.cache.insert(account.clone(), contacts.clone());
        }
    }

    /// Forgets what is cached of an account, and what is being read of it.
    fn forget(&self, account: &BareJid) {
        let mut shard = self.shard(account).lock();
        shard.changes += 1;
        self.cache.remove(account);
    }
}

/// Contacts as other modules see them, in an order that can be searched.
fn contacts_of(items: &[Item]) -> Arc<[Contact]> {
    let mut contacts: Vec<Contact> = items
        .iter()
        .map(|item| Contact {
            jid: item.contact.clone(),
            subscription: item.state.subscription(),
            groups: item.groups.clone(),
        })
        .collect();
    contacts.sort_by(|one, other| one.jid.cmp(&other.jid));
    contacts.into()
}

#[async_trait]
impl Contacts for Rosters {
    async fn contacts(&self, account: &BareJid) -> Result<Arc<[Contact]>, StorageError> {
        if let Some(contacts) = self.cache.get(account) {
            return Ok(contacts);
        }
        let changes = self.changes(account);
        let contacts = contacts_of(&self.store.read(account).await?.items);
        self.remember(account, changes, &contacts);
        Ok(contacts)
    }

    async fn contact(&self, account: &BareJid, contact: &BareJid) -> Result<Option<Contact>, StorageError> {
        let contacts = self.contacts(account).await?;
        let found = contacts.binary_search_by(|known| known.jid.cmp(contact));
        Ok(found.ok().map(|index| contacts[index].clone()))
    }
}

/// The right to tell an account's clients about its roster, in order.
pub struct Turn<'a> {
    rosters: &'a Rosters,
    account: &'a BareJid,
    changes: u64,
    may_have_changed: bool,
}

impl Turn<'_> {
    /// To be called before the roster is changed: whatever comes of it, what is cached will be read again.
    pub fn will_change(&mut self) {
        self.may_have_changed = true;
    }

    /// The change is committed: from now on everyone sees it.
    pub fn changed(&mut self) {
        self.rosters.forget(self.account);
        self.may_have_changed = false;
    }

    /// Pushes what became of a contact in `version`, unless a newer push of the same contact has gone out. `push` must
    /// not wait for anything.
    pub fn push(&self, contact: &BareJid, version: i64, push: impl FnOnce()) {
        let mut shard = self.rosters.shard(self.account).lock();
        let Some(at_work) = shard.at_work.get_mut(self.account) else { return };
        let newest = at_work.pushed.entry(contact.clone()).or_insert(version);
        if *newest > version {
            return;
        }
        *newest = version;
        at_work.newest = at_work.newest.max(version);
        push();
    }

    /// Answers with what was read of the roster in `version`, unless a newer push has gone out since; whether it did.
    /// `answer` must not wait for anything.
    pub fn answer(&self, version: i64, answer: impl FnOnce()) -> bool {
        let shard = self.rosters.shard(self.account).lock();
        let is_current = shard.at_work.get(self.account).is_none_or(|at_work| at_work.newest <= version);
        if is_current {
            answer();
        }
        is_current
    }

    /// Keeps the contacts of a roster that was read in this turn, unless something has changed since it began.
    pub fn remember(&self, items: &[Item]) {
        self.rosters.remember(self.account, self.changes, &contacts_of(items));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.may_have_changed {
            // Given up, or nobody knows what became of it.
            self.rosters.forget(self.account);
        }
        let mut shard = self.rosters.shard(self.account).lock();
        if let Some(at_work) = shard.at_work.get_mut(self.account) {
            at_work.turns -= 1;
            if at_work.turns == 0 {
                shard.at_work.remove(self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use waxwing_core::contracts::Subscription;
    use waxwing_core::storage::{Database, on_both_engines};

    use super::*;
    use crate::store::MIGRATIONS;
    use crate::subscription::State;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).expect("an address")
    }

    async fn put(rosters: &Rosters, account: &BareJid, contact: &str, sees_contact: bool) {
        let mut turn = rosters.turn(account);
        turn.will_change();
        let mut change = rosters.store.change(account).await.unwrap();
        let mut item = Item::new(jid(contact));
        item.state = State { sees_contact, ..State::default() };
        change.put(&mut item).await.unwrap();
        change.commit().await.unwrap();
        turn.changed();
    }

    on_both_engines! {
        [MIGRATIONS];

        async fn contacts_are_cached_until_they_change(database: Database) {
            let rosters = Rosters::new(Store(database), 1000);
            let romeo = jid("romeo@montague.lit");
            assert!(rosters.contacts(&romeo).await.unwrap().is_empty());
            for contact in ["nurse@capulet.lit", "juliet@capulet.lit", "tybalt@capulet.lit"] {
                put(&rosters, &romeo, contact, false).await;
            }
            let first = rosters.contacts(&romeo).await.unwrap();
            assert_eq!(first.len(), 3);
            assert!(Arc::ptr_eq(&first, &rosters.contacts(&romeo).await.unwrap()), "not cached");
            let juliet = jid("juliet@capulet.lit");
            let found = rosters.contact(&romeo, &juliet).await.unwrap().unwrap();
            assert_eq!((&found.jid, found.subscription), (&juliet, Subscription::None));
            put(&rosters, &romeo, "juliet@capulet.lit", true).await;
            let found = rosters.contact(&romeo, &juliet).await.unwrap().unwrap();
            assert_eq!(found.subscription, Subscription::To);
            assert_eq!(rosters.contact(&romeo, &jid("paris@verona.lit")).await.unwrap(), None);
        }

        async fn what_was_read_before_a_change_is_not_kept(database: Database) {
            let rosters = Rosters::new(Store(database), 1000);
            let romeo = jid("romeo@montague.lit");
            let changes = rosters.changes(&romeo);
            let old = contacts_of(&rosters.store.read(&romeo).await.unwrap().items);
            put(&rosters, &romeo, "juliet@capulet.lit", false).await;
            rosters.remember(&romeo, changes, &old);
            assert_eq!(rosters.contacts(&romeo).await.unwrap().len(), 1);
            // A change that was given up half way: nobody knows whether it took effect.
            let changes = rosters.changes(&romeo);
            rosters.turn(&romeo).will_change();
            rosters.remember(&romeo, changes, &old);
            assert_eq!(rosters.contacts(&romeo).await.unwrap().len(), 1);
        }

        async fn pushes_of_a_contact_are_never_overtaken(database: Database) {
            let rosters = Rosters::new(Store(database), 1000);
            let (romeo, juliet, nurse) = (jid("romeo@montague.lit"), jid("juliet@x.lit"), jid("nurse@x.lit"));
            let heard = RefCell::new(Vec::new());
            let (one, two) = (rosters.turn(&romeo), rosters.turn(&romeo));
            two.push(&juliet, 5, || heard.borrow_mut().push(5));
            one.push(&juliet, 4, || heard.borrow_mut().push(4));
            one.push(&nurse, 3, || heard.borrow_mut().push(3));
            assert_eq!(*heard.borrow(), [5, 3]);
            // A whole roster that was read before the newest push is read again.
            assert!(!one.answer(4, || heard.borrow_mut().push(40)));
            assert!(one.answer(5, || heard.borrow_mut().push(50)));
            drop((one, two));
            assert!(rosters.shard(&romeo).lock().at_work.is_empty());
            rosters.turn(&romeo).push(&juliet, 4, || heard.borrow_mut().push(4));
            assert_eq!(*heard.borrow(), [5, 3, 50, 4]);
        }
    }
}
