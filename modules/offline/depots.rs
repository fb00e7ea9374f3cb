//! Who stores and who delivers at this moment, account by account: what keeps stored messages and live ones in order.
//!
//! A session is *behind* until everything that is kept for its account has been delivered, and again from the moment
//! something is stored. While all open sessions of an account are behind, new messages are stored as well, after the
//! others; as soon as one is not, the account has nothing stored, and messages go straight through. An account is known
//! here only while something is stored or delivered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use waxwing_core::address::BareJid;
use waxwing_core::notes::Note;
use waxwing_core::session::Session;

/// The session has got everything that was kept for its account. One that begins, or comes back after a restart, has no
/// such note: nobody knows what was kept in the meantime.
#[derive(Default)]
struct UpToDate;
impl Note for UpToDate {}

/// Whether something may be kept for the session's account that it has not got.
pub fn is_behind(session: &Session) -> bool {
    !session.has_note::<UpToDate>()
}

/// Whether messages to the bare address go to the session (RFC 6121 §8.5.2.1.1).
pub fn is_open(session: &Session) -> bool {
    !session.is_ending() && session.priority().is_some_and(|priority| priority >= 0)
}

/// All accounts that store or deliver.
#[derive(Default)]
pub struct Depots(Mutex<HashMap<BareJid, Depot>>);

#[derive(Default)]
struct Depot {
    /// Messages on their way into the database.
    storing: usize,
    /// Messages that have come to the end of that way since the depot began.
    stored: u64,
    /// Whether somebody delivers.
    is_delivering: bool,
    /// Sessions that wait to be delivered to, in the order they asked.
    waiting: VecDeque<Arc<Session>>,
    /// Messages that were delivered to a session which has ended, and came back.
    returned: HashSet<i64>,
}

impl Depot {
    fn is_idle(&self) -> bool {
        self.storing == 0 && !self.is_delivering
    }
}

/// What is left to do for a session that has got all there was.
#[derive(Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: the session is not behind any more.
    Nothing,
    /// Something was stored in the meantime: look again.
    More,
    /// Something is being stored right now: wait a moment, and look again.
    Soon,
}

impl Depots {
    /// Something is about to be stored: until what is given back is dropped, nobody catches up. Its sessions are behind.
    pub fn store<'a>(&'a self, account: &'a BareJid, sessions: &[Arc<Session>]) -> Storing<'a> {
        let mut depots = self.0.lock();
        depots.entry(account.clone()).or_default().storing += 1;
        for session in sessions {
            session.take_note::<UpToDate>();
        }
        Storing { depots: self, account }
    }

    /// Like [`Depots::store`], but only while all these sessions are behind; `None` when a message can go straight
    /// through.
    pub fn store_behind<'a>(&'a self, account: &'a BareJid, sessions: &[Arc<Session>]) -> Option<Storing<'a>> {
        let mut depots = self.0.lock();
        if !sessions.iter().all(|session| is_behind(session)) {
            return None;
        }
        depots.entry(account.clone()).or_default().storing += 1;
        Some(Storing { depots: self, account })
    }

    /// A session wants what is kept for its account. True when the caller is to deliver from now on, because nobody
    /// does yet.
    pub fn want(&self, session: &Arc<Session>) -> bool {
        let mut depots = self.0.lock();
        if !is_behind(session) {
            return false;
        }
        let depot = depots.entry(session.account().clone()).or_default();
        if !depot.waiting.iter().any(|waiting| Arc::ptr_eq(waiting, session)) {
            depot.waiting.push_back(session.clone());
        }
        !std::mem::replace(&mut depot.is_delivering, true)
    }

    /// The session to deliver to, which keeps its place until it is done; `None` when delivering is over.
    pub fn next(&self, account: &BareJid) -> Option<Arc<Session>> {
        let mut depots = self.0.lock();
        let depot = depots.get_mut(account)?;
        if let Some(session) = depot.waiting.front() {
            return Some(session.clone());
        }
        depot.is_delivering = false;
        if depot.is_idle() {
            depots.remove(account);
        }
        None
    }

    /// The session is not delivered to any more, whatever became of it.
    pub fn done(&self, session: &Arc<Session>) {
        if let Some(depot) = self.0.lock().get_mut(session.account()) {
            depot.waiting.retain(|waiting| !Arc::ptr_eq(waiting, session));
            depot.returned = HashSet::new();
        }
    }

    /// How much has been stored so far; asked before looking what there is.
    pub fn stored(&self, account: &BareJid) -> u64 {
        self.0.lock().get(account).map_or(0, |depot| depot.stored)
    }

    /// The session has got all there was after `stored` was asked.
    pub fn has_all(&self, session: &Session, stored: u64) -> Rest {
        let depots = self.0.lock();
        match depots.get(session.account()) {
            Some(depot) if depot.storing > 0 => Rest::Soon,
            Some(depot) if depot.stored != stored => Rest::More,
            _ => {
                // Under the lock: whoever stores from now on finds a session that is not behind.
                session.with_note::<UpToDate, _>(|_| ());
                Rest::Nothing
            }
        }
    }

    /// A message that was delivered to a session came back, because the session ended before.
    pub fn came_back(&self, account: &BareJid, id: i64) {
        if let Some(depot) = self.0.lock().get_mut(account)
            && depot.is_delivering
        {
            depot.returned.insert(id);
        }
    }

    /// Those that did not come back.
    pub fn gone(&self, account: &BareJid, ids: &[i64]) -> Vec<i64> {
        let depots = self.0.lock();
        let returned = depots.get(account).map(|depot| &depot.returned);
        ids.iter().filter(|id| !returned.is_some_and(|returned| returned.contains(id))).copied().collect()
    }
}

/// Something is being stored for an account.
pub struct Storing<'a> {
    depots: &'a Depots,
    account: &'a BareJid,
}

impl Drop for Storing<'_> {
    fn drop(&mut self) {
        let mut depots = self.depots.0.lock();
        if let Some(depot) = depots.get_mut(self.account) {
            depot.storing -= 1;
            depot.stored += 1;
            if depot.is_idle() {
                depots.remove(self.account);
            }
        }
    }
}
