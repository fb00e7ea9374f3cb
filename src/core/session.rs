//! A session: one bound client, from resource binding to its end. It outlives its stream where stream management says so.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicI64, AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::address::{BareJid, FullJid};
use crate::held::Held;
use crate::host::Host;
use crate::mailbox::{Delivery, Mailbox, Order, Progress, Refused};
use crate::notes::{Note, Notes};
use crate::parcel::Parcel;
use crate::stanza::Stanza;
use crate::stream_error::{StreamCondition, StreamError};
use crate::wire::{Keeper, Wire};

/// What the stream knew when the session was bound.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// Where the client connects from.
    pub peer: Option<IpAddr>,
    /// `xml:lang` of the stream: the language of stanzas that name none (RFC 6120 §8.1.5).
    pub lang: Option<Box<str>>,
    /// The kind of transport, for logs and metrics: `tcp`, `websocket`, `bosh`.
    pub transport: &'static str,
    /// The SASL mechanism, for logs.
    pub mechanism: &'static str,
}

/// What is known of a session beside what waits for it: enough to go on with it after the server was stopped.
#[derive(Debug)]
pub struct Saved {
    /// The full JID.
    pub jid: FullJid,
    /// The newest available presence it has broadcast.
    pub presence: Option<Stanza>,
    /// Whether it has asked for the roster.
    pub interested: bool,
    /// Modules' notes that have a name, written down.
    pub notes: Vec<(String, String)>,
    /// What the stream knew when the session was bound.
    pub circumstances: Circumstances,
}

/// The number of the wire that a session is opened with.
pub const FIRST_WIRE: u32 = 0;

/// No available presence has been sent.
const NOT_AVAILABLE: i16 = i16::MIN;

/// Deliveries to many sessions in one go. Their writers are woken together, when this is told to or dropped, so that each
/// writes all that came for its client at once.
#[derive(Default)]
pub struct Round {
    asleep: Vec<Arc<Session>>,
}

impl Round {
    /// Puts a stanza into a session's mailbox, as [`Session::deliver`] does.
    ///
    /// # Errors
    /// Gives the parcel back when the session has ended or its mailbox is full.
    pub fn deliver(&mut self, session: &Arc<Session>, parcel: Parcel) -> Result<(), Box<Parcel>> {
        let is_first = session.mailbox.deliver_quietly(parcel).map_err(|refused| session.refused(refused))?;
        if is_first {
            self.asleep.push(session.clone());
        }
        Ok(())
    }

    /// Wakes the writers. Call it before anything that may take a while.
    pub fn wake(&mut self) {
        for session in self.asleep.drain(..) {
            session.mailbox.wake();
        }
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.wake();
    }
}

/// One bound client. Its reader alone changes its presence; its writer alone empties its mailbox.
pub struct Session {
    jid: FullJid,
    account: BareJid,
    host: Arc<Host>,
    circumstances: Circumstances,
    pub(crate) mailbox: Mailbox,
    priority: AtomicI16,
    presence: Mutex<Option<Arc<Stanza>>>,
    interested: AtomicBool,
    notes: Mutex<Notes>,
    keeper: Mutex<Option<Arc<dyn Keeper>>>,
    /// The number of the wire that counts; what an older one reports is stale.
    wire: AtomicU32,
    /// Stanzas of the client whose departure is complete.
    handled: AtomicU32,
    /// Held while a stanza departs, so that a resumption can wait for the last one of the old stream.
    departing: tokio::sync::Mutex<()>,
    /// Since when it has no wire, in milliseconds since 1970; 0 while it has one.
    waits_since: AtomicI64,
    ended: AtomicBool,
    /// The session is over, or another wire counts.
    changed: Notify,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Session({})", self.jid)
    }
}

impl Session {
    pub(crate) fn new(jid: FullJid, host: Arc<Host>, circumstances: Circumstances, mailbox_bytes: usize) -> Session {
        Session {
            account: jid.to_bare(),
            jid,
            host,
            circumstances,
            mailbox: Mailbox::new(mailbox_bytes),
            priority: AtomicI16::new(NOT_AVAILABLE),
            presence: Mutex::default(),
            interested: AtomicBool::new(false),
            notes: Mutex::default(),
            keeper: Mutex::default(),
            wire: AtomicU32::new(FIRST_WIRE),
            handled: AtomicU32::new(0),
            departing: tokio::sync::Mutex::default(),
            waits_since: AtomicI64::new(0),
            ended: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// The session that was saved before the server was stopped. It has no wire yet.
    pub(crate) fn restored(saved: Saved, host: Arc<Host>, keeper: Arc<dyn Keeper>, mailbox_bytes: usize) -> Session {
        let session = Session::new(saved.jid, host, saved.circumstances, mailbox_bytes);
        session.set_presence(saved.presence);
        session.interested.store(saved.interested, Ordering::Relaxed);
        *session.notes.lock() = Notes::written(saved.notes);
        *session.keeper.lock() = Some(keeper);
        session
    }

    /// What is needed to go on with it after the server was stopped.
    pub fn save(&self) -> Saved {
        Saved {
            jid: self.jid.clone(),
            presence: self.presence().map(|presence| (*presence).clone()),
            interested: self.is_interested(),
            notes: self.notes.lock().write_down(),
            circumstances: self.circumstances.clone(),
        }
    }

    /// The full JID.
    pub fn jid(&self) -> &FullJid {
        &self.jid
    }

    /// The bare JID of its account.
    pub fn account(&self) -> &BareJid {
        &self.account
    }

    /// The host that serves it.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// What the stream knew when the session was bound.
    pub fn circumstances(&self) -> &Circumstances {
        &self.circumstances
    }

    /// The priority of its available presence; `None` while it is not available (RFC 6121 §4).
    pub fn priority(&self) -> Option<i8> {
        i8::try_from(self.priority.load(Ordering::Acquire)).ok()
    }

    /// The newest available presence it has broadcast.
    pub fn presence(&self) -> Option<Arc<Stanza>> {
        self.presence.lock().clone()
    }

    /// Writes down what the client has broadcast; `None` for unavailable. Gives back what stood before.
    pub fn set_presence(&self, presence: Option<Stanza>) -> Option<Arc<Stanza>> {
        let mut standing = self.presence.lock();
        let priority = presence.as_ref().map_or(NOT_AVAILABLE, |presence| presence.priority().into());
        self.priority.store(priority, Ordering::Release);
        std::mem::replace(&mut standing, presence.map(Arc::new))
    }

    /// Whether it has asked for the roster and so wants roster pushes (RFC 6121 §2.1.6).
    pub fn is_interested(&self) -> bool {
        self.interested.load(Ordering::Relaxed)
    }

    /// It has asked for the roster.
    pub fn set_interested(&self) {
        self.interested.store(true, Ordering::Relaxed);
    }

    /// Reads or changes a module's own note about the session. The note's type belongs to the module.
    pub fn with_note<N: Note + Default, T>(&self, work: impl FnOnce(&mut N) -> T) -> T {
        work(self.notes.lock().entry())
    }

    /// Whether a module has written a note of this type about the session. Makes none.
    pub fn has_note<N: Note>(&self) -> bool {
        self.notes.lock().find::<N>().is_some()
    }

    /// A copy of a module's own note, if there is one.
    pub fn note<N: Note + Clone>(&self) -> Option<N> {
        self.notes.lock().find::<N>().cloned()
    }

    /// Writes a module's own note down, in place of an older one of its type.
    pub fn put_note<N: Note>(&self, note: N) {
        self.notes.lock().put(note);
    }

    /// Takes a module's own note away.
    pub fn take_note<N: Note>(&self) -> Option<N> {
        self.notes.lock().take()
    }

    /// Puts a stanza into the session's mailbox. A client that does not read loses its session, not its messages.
    ///
    /// # Errors
    /// Gives the parcel back when the session has ended or its mailbox is full.
    pub fn deliver(&self, parcel: Parcel) -> Result<(), Box<Parcel>> {
        self.mailbox.deliver(parcel).map_err(|refused| self.refused(refused))
    }

    fn refused(&self, (refused, parcel): (Refused, Box<Parcel>)) -> Box<Parcel> {
        if refused == Refused::Full {
            self.end_slow_reader();
        }
        parcel
    }

    /// How many bytes fit into its mailbox now. Whoever has much to deliver waits for room, and harms no slow reader.
    pub fn room(&self) -> usize {
        self.mailbox.room()
    }

    /// How far its writer has come with what was delivered.
    pub fn progress(&self) -> Progress {
        self.mailbox.progress()
    }

    /// Whether it is at its end, and is only left in the directory so that what comes goes the same way as what waits.
    pub fn is_ending(&self) -> bool {
        self.mailbox.is_final()
    }

    /// How many bytes wait in its mailbox.
    pub fn waiting_bytes(&self) -> usize {
        self.mailbox.bytes()
    }

    /// Writes an element of the stream itself to the client, complete with its namespace. It is for the stream that
    /// counts now; if another has taken its place when its turn comes, it is dropped.
    pub fn send_element(&self, element: Bytes) {
        self.send_element_on(self.wire_number(), element);
    }

    /// Writes an element to the client on the stream with this number, if that still counts when its turn comes.
    pub fn send_element_on(&self, number: u32, element: Bytes) {
        self.put(Delivery::Element(number, element));
    }

    /// From now on the session outlives its wire, as its keeper says. What is written after the `element`, which tells
    /// the client, passes the stage Count with [`Session::is_kept`].
    pub fn keep_from_here(&self, keeper: Arc<dyn Keeper>, element: Bytes) {
        self.put(Delivery::Keeper(keeper, element));
    }

    /// What is held back ([`Held`]) goes to the client, in its place before whatever is delivered from now on.
    pub fn let_go(&self) {
        self.put(Delivery::LetGo);
    }

    fn put(&self, delivery: Delivery) {
        if self.mailbox.put(delivery) == Err(Refused::Full) {
            self.end_slow_reader();
        }
    }

    /// Whether its client sleeps, as far as it has told (XEP-0352). Nobody outside may learn it.
    pub fn is_asleep(&self) -> bool {
        self.notes.lock().get::<Held>().is_some_and(|held| held.asleep)
    }

    fn end_slow_reader(&self) {
        tracing::info!(session = %self.jid, "session.slow_reader");
        self.host.house().metrics().limit_hit("send_buffer_bytes");
        self.end(Some(StreamError::saying(
            StreamCondition::PolicyViolation,
            "the stream is closed because too much waits to be read",
        )));
    }

    /// Ends the session with a stream error. What waits for it is kept elsewhere or refused.
    pub fn end(&self, last_words: Option<StreamError>) {
        self.close(None, last_words, false);
    }

    /// Ends the session in good order: what waits is written, then the stream is closed.
    pub fn finish(&self, last_words: Option<StreamError>) {
        self.close(None, last_words, true);
    }

    /// The stream with this number has come to its end: its client has closed it (no error), or it must be closed. The
    /// session ends with it, unless another stream has taken it over.
    pub fn stream_ended(&self, number: u32, error: Option<StreamError>) {
        let write_what_waits = error.is_none();
        self.close(Some(number), error, write_what_waits);
    }

    fn close(&self, of: Option<u32>, last_words: Option<StreamError>, write_what_waits: bool) {
        // A session that is at its end already needs no second one.
        let _ = self.mailbox.order(Order::Close { of, last_words, write_what_waits });
    }

    /// The server stops: the session is stored, so that it goes on after the next start, or ends.
    pub(crate) fn suspend(&self, last_words: StreamError) {
        let _ = self.mailbox.order(Order::Suspend(last_words));
    }

    /// The number of the wire that counts now. A reader asks once, when it begins.
    pub fn wire_number(&self) -> u32 {
        self.wire.load(Ordering::Acquire)
    }

    /// The transport with this number is gone. Nothing happens when another has taken its place.
    pub fn lost(&self, number: u32) {
        let _ = self.mailbox.order(Order::Lost(number, None));
    }

    /// The transport with this number counts as gone, because its client does not answer: it is closed with these last
    /// words. The session ends, or waits for its client when it has a keeper.
    pub fn give_up_wire(&self, number: u32, last_words: StreamError) {
        let _ = self.mailbox.order(Order::Lost(number, Some(last_words)));
    }

    /// Since when it has no wire and waits for its client to come back, in milliseconds since 1970.
    pub fn waits_since(&self) -> Option<i64> {
        Some(self.waits_since.load(Ordering::Acquire)).filter(|since| *since != 0)
    }

    pub(crate) fn set_waits_since(&self, since: Option<i64>) {
        self.waits_since.store(since.unwrap_or(0), Ordering::Release);
    }

    /// Takes the session from the stream that it was on: from now on nothing that is read there departs. When it
    /// returns, the last stanza of the old stream has departed and [`Session::handled`] is exact.
    pub async fn take_over(&self) -> u32 {
        let number = self.wire.fetch_add(1, Ordering::AcqRel) + 1;
        self.changed.notify_waiters();
        drop(self.departing.lock().await);
        number
    }

    /// The wire with this number counts no more, and no other does instead; false when another does already.
    pub(crate) fn detach(&self, number: u32) -> bool {
        let detached = self.wire.compare_exchange(number, number + 1, Ordering::AcqRel, Ordering::Acquire).is_ok();
        self.changed.notify_waiters();
        detached
    }

    /// Goes on with a new transport in place of the old one, after [`Session::take_over`], which gave its number. The
    /// `greeting` is said first, then what the client has not acknowledged. False when the session is at its end.
    pub(crate) fn attach(&self, number: u32, wire: Box<dyn Wire>, greeting: Bytes) -> bool {
        self.mailbox.order(Order::Attach { number, wire, greeting }).is_ok()
    }

    pub(crate) fn set_keeper(&self, keeper: Arc<dyn Keeper>) {
        *self.keeper.lock() = Some(keeper);
    }

    pub(crate) fn keeper(&self) -> Option<Arc<dyn Keeper>> {
        self.keeper.lock().clone()
    }

    /// Whether what is written now is kept by its keeper.
    pub fn is_kept(&self) -> bool {
        self.keeper.lock().is_some()
    }

    /// Whether it goes on after a stop of the server, as far as can be said before: what it is told then is told once
    /// its client is back ([`Event::SessionResumed`](crate::events::Event::SessionResumed)).
    pub fn outlives_a_stop(&self) -> bool {
        self.keeper().is_some_and(|keeper| keeper.outlives_a_stop())
    }

    /// When the oldest stanza came that its client has not shown to have received, in milliseconds since 1970. Without a
    /// keeper nobody knows what was received, and only what waits to be written counts.
    pub fn unacknowledged_since(&self) -> Option<i64> {
        // What waits to be written is younger than what was written.
        self.keeper().and_then(|keeper| keeper.unacknowledged_since()).or_else(|| self.mailbox.waiting_since())
    }

    /// Asks its client now what it has received, if it can be asked that.
    pub fn ask_what_arrived(&self) {
        if let Some(keeper) = self.keeper() {
            keeper.ask(self);
        }
    }

    /// The keeper has room again, and the writer may go on.
    pub fn go_on(&self) {
        self.mailbox.wake();
    }

    /// How many stanzas of the client have departed, all told; wraps around at 2³² (XEP-0198 §4).
    pub fn handled(&self) -> u32 {
        self.handled.load(Ordering::Acquire)
    }

    /// Begins the departure of a stanza read from the wire with this number; `None` when that wire counts no more.
    pub(crate) async fn begin_departure(&self, number: u32) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        let departing = self.departing.lock().await;
        (self.wire_number() == number).then_some(departing)
    }

    /// Whether something that was read from the client is on its way at this moment. What the client has said since is
    /// not read before that has come to its end.
    pub fn is_departing(&self) -> bool {
        self.departing.try_lock().is_err()
    }

    pub(crate) fn count_handled(&self) {
        self.handled.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn mark_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Whether everyone has been told that the session is over.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until everyone has been told that the session is over.
    pub async fn wait_for_end(&self) {
        self.wait_until(|| self.has_ended()).await;
    }

    /// Waits until the stream with this number counts no more: the session is over, or goes on elsewhere.
    pub async fn wait_for_detachment(&self, number: u32) {
        self.wait_until(|| self.has_ended() || self.wire_number() != number).await;
    }

    async fn wait_until(&self, done: impl Fn() -> bool) {
        loop {
            let notified = self.changed.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if done() {
                return;
            }
            notified.await;
        }
    }
}
