//! Who is online: every session of this node by its account. One writer per row: the session itself.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::address::{BareJid, FullJid, ResourceRef};
use crate::session::Session;

/// The sessions of one account.
pub type Sessions = SmallVec<[Arc<Session>; 2]>;

const SHARDS: usize = 64;

/// All sessions of this node.
pub struct Directory {
    shards: Box<[RwLock<Shard>]>,
    hasher: RandomState,
    count: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    /// The sessions that are there.
    here: HashMap<BareJid, Sessions>,
    /// Sessions that are there no more, while everyone is being told.
    leaving: HashMap<FullJid, Arc<Session>>,
}

/// What came of putting a session in.
pub enum Entered {
    /// It is in.
    Alone,
    /// It is in, and this one had the same full JID before.
    InPlaceOf(Arc<Session>),
    /// It is in, and everyone is just being told that this one, which had the same full JID, is gone.
    After(Arc<Session>),
    /// It is not in: the account has as many sessions as it may have.
    TooMany,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Directory {
    fn shard(&self, account: &BareJid) -> &RwLock<Shard> {
        &self.shards[self.hasher.hash_one(account) as usize % SHARDS]
    }

    /// Puts a session in. `most` is how many sessions the account may have.
    pub fn enter(&self, session: &Arc<Session>, most: usize) -> Entered {
        let mut shard = self.shard(session.account()).write();
        let Shard { here, leaving } = &mut *shard;
        let sessions = here.entry(session.account().clone()).or_default();
        if let Some(older) = sessions.iter_mut().find(|older| older.jid() == session.jid()) {
            return Entered::InPlaceOf(std::mem::replace(older, session.clone()));
        }
        if sessions.len() >= most {
            return Entered::TooMany;
        }
        sessions.push(session.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        leaving.get(session.jid()).cloned().map_or(Entered::Alone, Entered::After)
    }

    /// Takes a session out; nothing happens when another has taken its place. Who enters with its full JID from now on
    /// learns of it, until it is [`gone`](Self::gone): or the end of the one would be told after the beginning of the
    /// other, and everyone would believe that nobody is there.
    pub fn leave(&self, session: &Arc<Session>) {
        let mut shard = self.shard(session.account()).write();
        let Shard { here, leaving } = &mut *shard;
        let Some(sessions) = here.get_mut(session.account()) else { return };
        let before = sessions.len();
        sessions.retain(|other| !Arc::ptr_eq(other, session));
        if sessions.len() < before {
            self.count.fetch_sub(1, Ordering::Relaxed);
            leaving.insert(session.jid().clone(), session.clone());
        }
        if sessions.is_empty() {
            here.remove(session.account());
        }
    }

    /// Everyone has been told that a session has left.
    pub fn gone(&self, session: &Arc<Session>) {
        let mut shard = self.shard(session.account()).write();
        if shard.leaving.get(session.jid()).is_some_and(|other| Arc::ptr_eq(other, session)) {
            shard.leaving.remove(session.jid());
        }
    }

    /// The sessions of an account.
    pub fn sessions(&self, account: &BareJid) -> Sessions {
        self.shard(account).read().here.get(account).cloned().unwrap_or_default()
    }

    /// The sessions of an account that have left, and of whose end everyone is just being told.
    pub fn leaving(&self, account: &BareJid) -> Sessions {
        let shard = self.shard(account).read();
        shard.leaving.values().filter(|session| session.account() == account).cloned().collect()
    }

    /// The sessions of an account that have sent available presence.
    pub fn available(&self, account: &BareJid) -> Sessions {
        let mut sessions = self.sessions(account);
        sessions.retain(|session| session.priority().is_some());
        sessions
    }

    /// The session with this full JID.
    pub fn session(&self, jid: &FullJid) -> Option<Arc<Session>> {
        self.resource(&jid.to_bare(), jid.resource())
    }

    /// The session of an account with this resource.
    pub fn resource(&self, account: &BareJid, resource: &ResourceRef) -> Option<Arc<Session>> {
        let shard = self.shard(account).read();
        shard.here.get(account)?.iter().find(|session| session.jid().resource() == resource).cloned()
    }

    /// Every session, for shutting down and for counting.
    pub fn everyone(&self) -> Vec<Arc<Session>> {
        self.shards.iter().flat_map(|shard| shard.read().here.values().flatten().cloned().collect::<Vec<_>>()).collect()
    }

    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}
