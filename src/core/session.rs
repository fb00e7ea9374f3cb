//! A session: one bound client, from resource binding to its end. It outlives its stream where stream management says so.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicU32, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::address::{BareJid, FullJid};
use crate::host::Host;
use crate::mailbox::{Mailbox, Order, Progress, Refused};
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

/// No available presence has been sent.
const NOT_AVAILABLE: i16 = i16::MIN;

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
    ended: AtomicBool,
    end: Notify,
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
            wire: AtomicU32::new(0),
            handled: AtomicU32::new(0),
            departing: tokio::sync::Mutex::default(),
            ended: AtomicBool::new(false),
            end: Notify::new(),
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
        self.notes.lock().get::<N>().is_some()
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
        self.mailbox.deliver(parcel).map_err(|(refused, parcel)| {
            if refused == Refused::Full {
                self.end_slow_reader();
            }
            parcel
        })
    }

    /// How many bytes fit into its mailbox now. Whoever has much to deliver waits for room, and harms no slow reader.
    pub fn room(&self) -> usize {
        self.mailbox.room()
    }

    /// How far its writer has come with what was delivered.
    pub fn progress(&self) -> Progress {
        self.mailbox.progress()
    }

    /// Writes an element of the stream itself to the client, complete with its namespace.
    pub fn send_element(&self, element: Bytes) {
        if self.mailbox.element(element) == Err(Refused::Full) {
            self.end_slow_reader();
        }
    }

    fn end_slow_reader(&self) {
        tracing::info!(session = %self.jid, "session.slow_reader");
        self.end(Some(StreamError::saying(
            StreamCondition::PolicyViolation,
            "the stream is closed because too much waits to be read",
        )));
    }

    /// Ends the session with a stream error. What waits for it is kept elsewhere or refused.
    pub fn end(&self, last_words: Option<StreamError>) {
        self.mailbox.order(Order::Close { last_words, write_what_waits: false });
    }

    /// Ends the session in good order: what waits is written, then the stream is closed.
    pub fn finish(&self, last_words: Option<StreamError>) {
        self.mailbox.order(Order::Close { last_words, write_what_waits: true });
    }

    /// The number of the wire that counts now. A reader asks once, when it begins.
    pub fn wire_number(&self) -> u32 {
        self.wire.load(Ordering::Acquire)
    }

    /// The transport with this number is gone. Nothing happens when another has taken its place.
    pub fn lost(&self, number: u32) {
        self.mailbox.order(Order::Lost(number));
    }

    /// Takes the session from the stream that it was on: from now on nothing that is read there departs. When it
    /// returns, the last stanza of the old stream has departed and [`Session::handled`] is exact.
    pub async fn take_over(&self) -> u32 {
        let number = self.wire.fetch_add(1, Ordering::AcqRel) + 1;
        drop(self.departing.lock().await);
        number
    }

    /// Goes on with a new transport in place of the old one, after [`Session::take_over`]. The `greeting` is said first,
    /// then what the client has not acknowledged.
    pub fn attach(&self, wire: Box<dyn Wire>, greeting: Bytes) {
        self.mailbox.order(Order::Attach { wire, greeting });
    }

    /// From now on the session outlives its wire, as its keeper says.
    pub fn set_keeper(&self, keeper: Arc<dyn Keeper>) {
        *self.keeper.lock() = Some(keeper);
    }

    pub(crate) fn keeper(&self) -> Option<Arc<dyn Keeper>> {
        self.keeper.lock().clone()
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

    pub(crate) fn count_handled(&self) {
        self.handled.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn mark_ended(&self) {
        self.ended.store(true, Ordering::Release);
        self.end.notify_waiters();
    }

    /// Whether everyone has been told that the session is over.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Waits until everyone has been told that the session is over.
    pub async fn wait_for_end(&self) {
        let notified = self.end.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.has_ended() {
            notified.await;
        }
    }
}
