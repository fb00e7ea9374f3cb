//! Who stores and who delivers at this moment, account by account: what keeps stored messages and live ones in order.
//!
//! A session is *behind* until everything that is kept for its account has been delivered, and again from the moment
//! something is stored. While all open sessions of an account are behind, new messages are stored as well, after the
//! others; as soon as one is not, the account has nothing left to hand over, and messages go straight through. So that this moment
//! comes for a busy account too, those who would store wait a little while the last ones are delivered. An account is
//! known here only while something is stored or delivered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};
use quick_cache::sync::Cache;
use waxwing_core::address::BareJid;
use waxwing_core::notes::Note;
use waxwing_core::session::Session;

use crate::cursor::{Cover, Cursor, Write};

/// Everything that was kept for the session's account has been delivered. One that begins, or comes back after a
/// restart, has no such note: nobody knows what was kept in the meantime.
#[derive(Default)]
struct UpToDate;
impl Note for UpToDate {}

/// The session is open since this id was made: what came after it, for the account, and went to another session, came to
/// this one as well.
#[derive(Clone, Copy)]
struct OpenSince(i64);
impl Note for OpenSince {}

/// What the archive held for the account up to this id was put into the session's mailbox, or was nothing to be delivered.
#[derive(Clone, Copy)]
struct HandedOver(i64);
impl Note for HandedOver {}

/// The session was given all that the archive held up to this id.
pub fn note_handed_over(session: &Session, until: i64) {
    let before = session.note::<HandedOver>().map_or(until, |HandedOver(before)| before);
    session.put_note(HandedOver(until.max(before)));
}

/// Whether the session was given the message of this id out of the archive. The message may come after that: it is
/// committed, and read by whoever delivers, before it has found out who is there.
pub fn was_handed_over(session: &Session, id: i64) -> bool {
    session.note::<HandedOver>().is_some_and(|HandedOver(until)| id <= until)
}

/// The session has said whether it is open: `now` is the id of this moment, `first` that it was not available before.
pub fn note_opening(session: &Session, first: bool, now: i64) {
    if !is_open(session) {
        session.take_note::<OpenSince>();
    } else if first || !session.has_note::<OpenSince>() {
        session.put_note(OpenSince(now));
    }
}

/// Whether something may be kept for the session's account.
pub fn is_behind(session: &Session) -> bool {
    !session.has_note::<UpToDate>()
}

/// Whether messages to the bare address go to the session (RFC 6121 §8.5.2.1.1).
pub fn is_open(session: &Session) -> bool {
    !session.is_ending() && session.priority().is_some_and(|priority| priority >= 0)
}

/// Whether messages can be delivered to the session now: it is open, and its client is connected.
pub fn is_here(session: &Session) -> bool {
    is_open(session) && session.waits_since().is_none()
}

/// All accounts that store or deliver.
pub struct Depots {
    depots: Mutex<HashMap<BareJid, Depot>>,
    /// What the cursors of accounts at rest say at most: while nobody comes, nothing has to be written for them.
    known: Cache<BareJid, i64>,
}

struct Depot {
    cursor: Cursor,
    /// Rows of the table that were handed over and are not deleted yet.
    rows: HashSet<i64>,
    /// To whom pages were handed over that are not with their clients yet, nor given back: one entry for each page.
    pages: Vec<Arc<Session>>,
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
    /// Messages that were handed over and came back, because their session has ended.
    returned: HashSet<i64>,
}

impl Depot {
    fn new(at_most: Option<i64>) -> Depot {
        Depot {
            cursor: Cursor::new(at_most),
            rows: HashSet::new(),
            pages: Vec::new(),
            storing: 0,
            stored: 0,
            is_delivering: false,
            current: None,
            is_closing: false,
            waiting: VecDeque::new(),
            returned: HashSet::new(),
        }
    }

    fn is_idle(&self) -> bool {
        let is_quiet = self.storing == 0 && !self.is_delivering && self.pages.is_empty();
        is_quiet && self.rows.is_empty() && self.cursor.is_at_rest()
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
    /// Nothing moves. Of so many accounts at rest the cursor is remembered.
    pub fn new(known: usize) -> Depots {
        Depots { depots: Mutex::default(), known: Cache::new(known.max(1)) }
    }

    /// The account's depot, made when there is none.
    fn depot(&self, account: &BareJid) -> MappedMutexGuard<'_, Depot> {
        MutexGuard::map(self.depots.lock(), |depots| {
            depots.entry(account.clone()).or_insert_with(|| Depot::new(self.known.get(account)))
        })
    }

    /// Works on the account's depot, if it has one, and forgets the depot if nothing moves in it any more.
    fn with<T>(&self, account: &BareJid, work: impl FnOnce(&mut Depot) -> T) -> Option<T> {
        let mut depots = self.depots.lock();
        let depot = depots.get_mut(account)?;
        let done = work(depot);
        if depot.is_idle() {
            match depot.cursor.at_most() {
                Some(says) => self.known.insert(account.clone(), says),
                None => {
                    self.known.remove(account);
                }
            }
            depots.remove(account);
        }
        Some(done)
    }

    /// The account is new, or gone: nothing that was known of one of its name is so any more.
    pub fn forget(&self, account: &BareJid) {
        let mut depots = self.depots.lock();
        if let Some(depot) = depots.get_mut(account) {
            depot.cursor = Cursor::new(None);
        }
        self.known.remove(account);
    }

    /// A message that nobody receives now is in the account's archive. Asked while something is [`Storing`].
    pub fn cover(&self, account: &BareJid, id: i64) -> Cover {
        self.depot(account).cursor.cover(id)
    }

    /// Reads or changes the account's cursor.
    pub fn with_cursor<T>(&self, account: &BareJid, work: impl FnOnce(&mut Cursor) -> T) -> Option<T> {
        self.with(account, |depot| work(&mut depot.cursor))
    }

    /// What has to be written of the account's cursor, if nobody is at it.
    pub fn begin_to_write(&self, account: &BareJid) -> Option<Write> {
        self.with(account, |depot| depot.cursor.begin_to_write()).flatten()
    }

    /// Of these rows, those that nobody has been handed yet.
    pub fn free(&self, account: &BareJid, ids: &[i64]) -> HashSet<i64> {
        let depots = self.depots.lock();
        let rows = depots.get(account).map(|depot| &depot.rows);
        ids.iter().filter(|id| !rows.is_some_and(|rows| rows.contains(id))).copied().collect()
    }

    /// A page is handed over to this session.
    pub fn begin_page(&self, account: &BareJid, session: &Arc<Session>) {
        self.depot(account).pages.push(session.clone());
    }

    /// Such a page is with its client, or was given back.
    pub fn end_page(&self, account: &BareJid, session: &Arc<Session>) {
        self.with(account, |depot| {
            if let Some(place) = depot.pages.iter().position(|page| Arc::ptr_eq(page, session)) {
                depot.pages.swap_remove(place);
            }
        });
    }

    /// Whether a session that is over has not given everything back yet. What it gives back comes before what is still
    /// to be handed over.
    pub fn is_giving_back(&self, account: &BareJid) -> bool {
        let is_over = |session: &Arc<Session>| session.has_ended() || session.is_ending();
        self.depots.lock().get(account).is_some_and(|depot| depot.pages.iter().any(is_over))
    }

    /// The rows that are handed over and not deleted yet.
    pub fn handed(&self, account: &BareJid) -> HashSet<i64> {
        self.depots.lock().get(account).map_or_else(HashSet::new, |depot| depot.rows.clone())
    }

    /// These rows are about to be handed over.
    pub fn hand_over(&self, account: &BareJid, rows: impl Iterator<Item = i64>) {
        self.depot(account).rows.extend(rows);
    }

    /// These messages are with their client, kept in another way, or free again.
    pub fn arrived(&self, account: &BareJid, rows: &[i64], archived: &[i64]) {
        self.with(account, |depot| {
            for id in rows {
                depot.rows.remove(id);
            }
            for id in rows.iter().chain(archived) {
                depot.returned.remove(id);
            }
            depot.cursor.arrived(archived);
        });
    }

    /// Whether another session has received a message for the account, of this id, when it came.
    pub fn has_received(sessions: &[Arc<Session>], id: i64) -> bool {
        sessions.iter().any(|session| session.note::<OpenSince>().is_some_and(|OpenSince(since)| since < id))
    }

    /// Something is about to be stored: until what is given back is dropped, nobody catches up. Its sessions are behind.
    pub fn store<'a>(&'a self, account: &'a BareJid, sessions: &[Arc<Session>]) -> Storing<'a> {
        let mut depot = self.depot(account);
        depot.storing += 1;
        for session in sessions {
            session.take_note::<UpToDate>();
        }
        Storing { depots: self, account }
    }

    /// The way of a message that is for all these open sessions.
    pub fn way<'a>(&'a self, account: &'a BareJid, sessions: &[Arc<Session>], is_patient: bool) -> Way<'a> {
        let mut depot = self.depot(account);
        if !sessions.iter().all(|session| is_behind(session)) {
            drop(depot);
            self.with(account, |_| ());
            return Way::Straight;
        }
        if depot.is_closing && is_patient {
            return Way::Soon;
        }
        depot.storing += 1;
        Way::Behind(Storing { depots: self, account })
    }

    /// The way of a message that is for this session alone. It is only stored while the session is delivered to: in any
    /// other case it might come to another one.
    pub fn way_to_one<'a>(&'a self, account: &'a BareJid, session: &Arc<Session>, is_patient: bool) -> Way<'a> {
        let mut depots = self.depots.lock();
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
        let mut depot = self.depot(session.account());
        if !is_behind(session) {
            drop(depot);
            self.with(session.account(), |_| ());
            return false;
        }
        depot.line_up(session);
        !std::mem::replace(&mut depot.is_delivering, true)
    }

    /// The session to deliver to now; `None` when delivering is over.
    pub fn next(&self, account: &BareJid) -> Option<Arc<Session>> {
        self.with(account, |depot| {
            depot.is_closing = false;
            depot.current = loop {
                match depot.waiting.pop_front() {
                    Some(session) if is_behind(&session) => break Some(session),
                    Some(_) => {}
                    None => break None,
                }
            };
            depot.is_delivering = depot.current.is_some();
            depot.current.clone()
        })?
    }

    /// The current session has ended, or is away, before it had all: these go on where it stopped.
    pub fn hand_on(&self, account: &BareJid, sessions: &[Arc<Session>]) {
        let mut depot = self.depot(account);
        for session in sessions {
            session.take_note::<UpToDate>();
            depot.line_up(session);
        }
    }

    /// Somebody is about to look what there is, and gets what to give to [`Depots::has_all`] then. `None`: better look in
    /// a moment, because the last messages are just being stored.
    pub fn look(&self, account: &BareJid) -> Option<u64> {
        match self.depots.lock().get(account) {
            Some(depot) if depot.is_closing && depot.storing > 0 => None,
            depot => Some(depot.map_or(0, |depot| depot.stored)),
        }
    }

    /// Everything is delivered that was there after [`Depots::look`]. True when that is all there is: then none of the
    /// account's sessions is behind. Else whoever would store waits until the next time.
    pub fn has_all(&self, account: &BareJid, sessions: &[Arc<Session>], stored: u64) -> bool {
        let mut depots = self.depots.lock();
        let Some(depot) = depots.get_mut(account) else { return true };
        let has_all = depot.storing == 0 && depot.stored == stored;
        depot.is_closing = !has_all;
        if has_all {
            depot.cursor.close();
            // Under the lock: whoever stores from now on marks them again.
            for session in sessions {
                session.with_note::<UpToDate, _>(|_| ());
            }
        }
        has_all
    }

    /// It takes longer than was thought: nobody waits.
    pub fn takes_longer(&self, account: &BareJid) {
        if let Some(depot) = self.depots.lock().get_mut(account) {
            depot.is_closing = false;
        }
    }

    /// A message that was delivered to a session came back, because the session ended before.
    pub fn came_back(&self, account: &BareJid, id: i64) {
        if let Some(depot) = self.depots.lock().get_mut(account)
            && !depot.is_idle()
        {
            depot.returned.insert(id);
        }
    }

    /// Those that did not come back.
    pub fn gone(&self, account: &BareJid, ids: &[i64]) -> Vec<i64> {
        let depots = self.depots.lock();
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
        self.depots.with(self.account, |depot| {
            depot.storing -= 1;
            depot.stored += 1;
        });
    }
}
