//! A managed session: what is kept for its client, and what its client is told of its own stanzas (XEP-0198 §4, §5).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use waxwing_core::clock::now_milliseconds;
use waxwing_core::notes::Note;
use waxwing_core::parcel::Parcel;
use waxwing_core::session::Session;
use waxwing_core::wire::Keeper;

use crate::answers::Answers;
use crate::elements;
use crate::kept::{Kept, mark_if_late};
use crate::queue::{Queue, Wrong};
use crate::shared::Shared;

/// The note about a session that is managed.
#[derive(Clone)]
pub struct IsManaged(pub Arc<Managed>);
impl Note for IsManaged {}

/// A managed session.
pub struct Managed {
    /// Under which it can be resumed; every one has its own.
    pub id: Box<str>,
    shared: Arc<Shared>,
    /// How long it waits for its client; not at all when it cannot be resumed.
    patience: Duration,
    /// What [`Session::handled`] was when its counting began.
    base: u32,
    queue: Mutex<Queue<Kept>>,
    /// What [`Session::handled`] was when the client was asked, or was last seen to be read from since.
    read_until: AtomicU32,
    /// Which numbers the client may be told.
    pub answers: Mutex<Answers>,
    resumable: AtomicBool,
    /// Whether it has no wire now.
    waits: AtomicBool,
    /// Whether it was stored when the server was stopped, and nobody has resumed it since.
    restored: AtomicBool,
}

/// What the counters of a session were when it was stored.
pub struct Counters {
    /// Under which it can be resumed.
    pub id: Box<str>,
    /// How long it waits for its client.
    pub patience: Duration,
    /// How many stanzas of the client were handled.
    pub handled: u32,
    /// How many stanzas were sent to it.
    pub sent: u32,
}

impl Managed {
    /// The counting begins. It can be resumed for as long as `patience`, if that is something.
    pub fn new(shared: Arc<Shared>, session: &Session, patience: Duration) -> Managed {
        Managed {
            id: waxwing_core::random::token().into(),
            shared,
            patience,
            base: session.handled(),
            queue: Mutex::default(),
            read_until: AtomicU32::new(session.handled()),
            answers: Mutex::default(),
            resumable: AtomicBool::new(!patience.is_zero()),
            waits: AtomicBool::new(false),
            restored: AtomicBool::new(false),
        }
    }

    /// It goes on after the server was stopped.
    pub fn restored(shared: Arc<Shared>, counters: Counters, kept: Vec<Parcel>) -> Managed {
        let kept = kept.into_iter().map(|mut parcel| {
            let kept = Kept::of(&mut parcel);
            let size = kept.size();
            (kept, size)
        });
        Managed {
            id: counters.id,
            shared,
            patience: counters.patience,
            // The session counts from 0 again.
            base: 0u32.wrapping_sub(counters.handled),
            queue: Mutex::new(Queue::restored(counters.sent, kept)),
            read_until: AtomicU32::new(0),
            answers: Mutex::new(Answers::stored_before(counters.handled)),
            resumable: AtomicBool::new(true),
            waits: AtomicBool::new(false),
            restored: AtomicBool::new(true),
        }
    }

    /// How many stanzas of the client were handled since the counting began.
    pub fn handled(&self, session: &Session) -> u32 {
        session.handled().wrapping_sub(self.base)
    }

    /// Whether it can be resumed.
    pub fn is_resumable(&self) -> bool {
        self.resumable.load(Ordering::Acquire)
    }

    /// It cannot be resumed any more.
    pub fn refuse_resumption(&self) {
        self.resumable.store(false, Ordering::Release);
    }

    /// How long it waits for its client.
    pub fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether it has no wire now.
    pub fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Whether it was stored when the server was stopped, and nobody has resumed it since.
    pub fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Acquire)
    }

    /// What was stored of it is of no use any more.
    pub fn forget_restored(&self) {
        self.restored.store(false, Ordering::Release);
    }

    /// A stanza is about to be written: it is kept, and the client asked if much is under way.
    pub fn keep(&self, session: &Session, parcel: &mut Parcel) {
        mark_if_late(parcel, session.host().address(), now_milliseconds());
        let kept = Kept::of(parcel);
        let size = kept.size();
        let mut queue = self.queue.lock();
        queue.push(kept, size);
        let ask = queue.is_long(&self.shared.bounds) && queue.ask(Instant::now());
        drop(queue);
        if ask {
            self.send_question(session);
        }
    }

    fn send_question(&self, session: &Session) {
        self.read_until.store(session.handled(), Ordering::Relaxed);
        session.send_element(elements::request());
    }

    /// The client has received everything up to the stanza of this number.
    ///
    /// # Errors
    /// What is wrong with the number.
    pub fn acknowledge(&self, session: &Session, number: u32) -> Result<(), Wrong> {
        let mut queue = self.queue.lock();
        let had_room = queue.has_room(&self.shared.bounds);
        queue.acknowledge(number)?;
        let goes_on = !had_room && queue.has_room(&self.shared.bounds);
        drop(queue);
        if goes_on {
            session.go_on();
        }
        Ok(())
    }

    /// Asks the client what it has received, unless it owes an answer or there is nothing to ask about.
    pub fn ask(&self, session: &Session) {
        let ask = self.queue.lock().ask(Instant::now());
        if ask {
            self.send_question(session);
        }
    }

    /// What there is to do about a session with a wire, looked at now and then.
    pub fn check(&self, session: &Session, now: Instant, patience: Duration) -> Check {
        if self.waits() {
            return Check::Waits;
        }
        let mut queue = self.queue.lock();
        if queue.is_overdue(now, patience) {
            // A client whose stanzas wait for a database that stands still may have answered long ago.
            let handled = session.handled();
            let is_read_from = self.read_until.swap(handled, Ordering::Relaxed) != handled;
            if is_read_from || session.is_departing() {
                queue.ask_again_at(now);
                return Check::Nothing;
            }
            Check::IsSilent
        } else if queue.is_empty() {
            Check::Nothing
        } else {
            Check::Ask
        }
    }

    /// How many bytes are kept for its client.
    pub fn kept_bytes(&self) -> usize {
        self.queue.lock().bytes()
    }

    /// Takes out what is kept for its client.
    pub fn take(&self) -> Vec<Parcel> {
        self.queue.lock().take().into_iter().map(Kept::into_parcel).collect()
    }

    /// How many stanzas were sent.
    pub fn sent(&self) -> u32 {
        self.queue.lock().sent()
    }
}

/// What a look at a session says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// All is well.
    Nothing,
    /// Its client has something to acknowledge.
    Ask,
    /// Its client owes an answer for too long.
    IsSilent,
    /// It waits for its client to come back.
    Waits,
}

impl Keeper for Managed {
    fn has_room(&self) -> bool {
        self.queue.lock().has_room(&self.shared.bounds)
    }

    fn patience(&self, session: &Session) -> Duration {
        self.waits.store(true, Ordering::Relaxed);
        self.queue.lock().forget_question();
        if !self.is_resumable() {
            return Duration::ZERO;
        }
        self.shared.make_room_in_account(session);
        self.patience
    }

    fn outlives_a_stop(&self) -> bool {
        self.is_resumable()
    }

    fn unacknowledged_since(&self) -> Option<i64> {
        self.queue.lock().iter().next().map(Kept::delivered_at)
    }

    fn ask(&self, session: &Session) {
        Managed::ask(self, session);
    }

    fn again(&self) -> Vec<Parcel> {
        self.waits.store(false, Ordering::Relaxed);
        let now = now_milliseconds();
        let mut queue = self.queue.lock();
        queue.forget_question();
        queue.iter().map(|kept| kept.again(self.shared.context.host().address(), now)).collect()
    }

    fn give_up(&self) -> Vec<Parcel> {
        self.take()
    }

    fn suspend<'a>(&'a self, session: &'a Session, waiting: Vec<Parcel>) -> BoxFuture<'a, Result<(), Vec<Parcel>>> {
        self.shared.suspend(self, session, waiting).boxed()
    }
}
