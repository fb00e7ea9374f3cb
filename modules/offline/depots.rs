//! Who stores and who delivers at this moment, account by account: what keeps stored messages and live ones in order.
//!
//! A session is *behind* until everything that is kept for its account has been delivered, and again from the moment
//! something is stored. While all open sessions of an account are behind, new messages are stored as well, after the
//! others; as soon as one is not, the account has nothing stored, and messages go straight through. So that this moment
//! comes for a busy account too, those who would store wait a little while the last ones are delivered. An account is
//! known here only while something is stored or delivered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use waxwing_core::address::BareJid;
use waxwing_core::notes::Note;
use waxwing_core::session::Session;

/// Everything that was kept for the session's account has been delivered. One that begins, or comes back after a
/// restart, has no such note: nobody knows what was kept in the meantime.
#[derive(Default)]
struct UpToDate;
impl Note for UpToDate {}

/// Whether something may be kept for the session's account.
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
    /// The session that is delivered to.
    current: Option<Arc<Session>>,
    /// Whether nearly all is delivered, and whoever would store waits a little.
    is_closing: bool,
    /// Sessions that wait to be delivered to, in the order they asked.
    waiting: VecDeque<Arc<Session>>,
    /// Messages that were delivered to the current session and came back, because it has ended.
    returned: HashSet<i64>,
}

impl Depot {
    fn is_idle(&self) -> bool {
        self.storing == 0 && !self.is_delivering
    }

    fn line_up(&mut self, session: &Arc<Session>) {
        if !self.waiting.iter().any(|waiting| Arc::ptr_eq(waiting, session)) {
            self.waiting.push_back(session.clone());
        }
    }
}

/// Which way a message takes to somebody who is there.
pub enum Way<'a> {
    /// Into the mailboxes: nothing is kept that it could overtake.
    Straight,
    /// It is to be stored behind what is kept, before what is given here is dropped.
    Behind(Storing<'a>),
    /// That is seen in a moment.
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

    /// The way of a message that is for all these open sessions.
    pub fn way<'a>(&'a self, account: &'a BareJid, sessions: &[Arc<Session>], is_patient: bool) -> Way<'a> {
        let mut depots = self.0.lock();
        if !sessions.iter().all(|session| is_behind(session)) {
            return Way::Straight;
        }
        let depot = depots.entry(account.clone()).or_default();
        if depot.is_closing && is_patient {
            return Way::Soon;
        }
        depot.storing += 1;
        Way::Behind(Storing { depots: self, account })
    }

    /// The way of a message that is for this session alone. It is only stored while the session is delivered to: in any
    /// other case it might come to another one.
    pub fn way_to_one<'a>(&'a self, account: &'a BareJid, session: &Arc<Session>, is_patient: bool) -> Way<'a> {
        let mut depots = self.0.lock();
        match depots.get_mut(account) {
            Some(depot) if depot.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) => {
                if !is_behind(session) {
                    return Way::Straight;
                }
                if depot.is_closing && is_patient {
                    return Way::Soon;
                }
                depot.storing += 1;
                Way::Behind(Storing { depots: self, account })
            }
            _ => Way::Straight,
        }
    }

    /// A session wants what is kept for its account. True when the caller is to deliver from now on, because nobody
    /// does yet.
    pub fn want(&self, session: &Arc<Session>) -> bool {
        let mut depots = self.0.lock();
        if !is_behind(session) {
            return false;
        }
        let depot = depots.entry(session.account().clone()).or_default();
        depot.line_up(session);
        !std::mem::replace(&mut depot.is_delivering, true)
    }

    /// The session to deliver to now; `None` when delivering is over.
    pub fn next(&self, account: &BareJid) -> Option<Arc<Session>> {
        let mut depots = self.0.lock();
        let depot = depots.get_mut(account)?;
        depot.returned = HashSet::new();
        depot.is_closing = false;
        depot.current = loop {
            match depot.waiting.pop_front() {
                Some(session) if is_behind(&session) => break Some(session),
                Some(_) => {}
                None => break None,
            }
        };
        if depot.current.is_none() {
            depot.is_delivering = false;
            if depot.is_idle() {
                depots.remove(account);
            }
            return None;
        }
        depot.current.clone()
    }

    /// The current session has ended, or is away, before it had all: these go on where it stopped.
    pub fn hand_on(&self, account: &BareJid, sessions: &[Arc<Session>]) {
        let mut depots = self.0.lock();
        let depot = depots.entry(account.clone()).or_default();
        for session in sessions {
            session.take_note::<UpToDate>();
            depot.line_up(session);
        }
    }

    /// Somebody is about to look what there is, and gets what to give to [`Depots::has_all`] then. `None`: better look in
    /// a moment, because the last messages are just being stored.
    pub fn look(&self, account: &BareJid) -> Option<u64> {
        match self.0.lock().get(account) {
            Some(depot) if depot.is_closing && depot.storing > 0 => None,
            depot => Some(depot.map_or(0, |depot| depot.stored)),
        }
    }

    /// Everything is delivered that was there after [`Depots::look`]. True when that is all there is: then none of the
    /// account's sessions is behind. Else whoever would store waits until the next time.
    pub fn has_all(&self, account: &BareJid, sessions: &[Arc<Session>], stored: u64) -> bool {
        let mut depots = self.0.lock();
        let Some(depot) = depots.get_mut(account) else { return true };
        let has_all = depot.storing == 0 && depot.stored == stored;
        depot.is_closing = !has_all;
        if has_all {
            // Under the lock: whoever stores from now on marks them again.
            for session in sessions {
                session.with_note::<UpToDate, _>(|_| ());
            }
        }
        has_all
    }

    /// It takes longer than was thought: nobody waits.
    pub fn takes_longer(&self, account: &BareJid) {
        if let Some(depot) = self.0.lock().get_mut(account) {
            depot.is_closing = false;
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
