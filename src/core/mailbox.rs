//! A session's mailbox: what waits to be written to its client. Bounded in bytes; costs no buffer while empty.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::parcel::Parcel;
use crate::stream_error::StreamError;
use crate::wire::Wire;

/// One thing for the writer to do.
pub enum Delivery {
    /// A stanza for the client, which passes Hold and Count first.
    Parcel(Box<Parcel>),
    /// An element of the stream itself, neither held nor counted. Complete with its namespace.
    Element(Bytes),
}

/// Why a mailbox takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its session has ended.
    Closed,
    /// The client does not read, and the bound is reached.
    Full,
}

/// An order to the writer that goes before what waits.
pub(crate) enum Order {
    /// Say these last words and close the wire; the session ends. What waits is written first, or kept elsewhere.
    Close {
        /// The stream error, if it is one.
        last_words: Option<StreamError>,
        /// Whether what waits is written before.
        write_what_waits: bool,
    },
    /// The transport that was attached as the one of this number is gone.
    Lost(u32),
    /// Go on with this wire in place of the old one (resumption).
    Attach {
        /// The new wire.
        wire: Box<dyn Wire>,
        /// What is said on it before anything else.
        greeting: Bytes,
    },
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Delivery>,
    bytes: usize,
    /// How many deliveries have been put in since the session began.
    put: u64,
    /// How many of them the writer has taken out.
    taken: u64,
    closed: bool,
    /// At most a few, and none after one to close.
    orders: VecDeque<Order>,
}

/// How far a session's writer has come, in deliveries since the session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many were put into the mailbox.
    pub put: u64,
    /// How many of them the writer has taken out.
    pub taken: u64,
}

/// The queue between everyone who delivers to a session and its one writer.
pub struct Mailbox {
    inner: Mutex<Inner>,
    changed: Notify,
    /// Bytes that may wait.
    bound: usize,
}

impl Mailbox {
    /// An empty mailbox in which `bound` bytes may wait.
    pub fn new(bound: usize) -> Mailbox {
        Mailbox { inner: Mutex::default(), changed: Notify::new(), bound }
    }

    /// Puts a stanza in.
    ///
    /// # Errors
    /// Gives the parcel back with the reason.
    pub fn deliver(&self, parcel: Parcel) -> Result<(), (Refused, Box<Parcel>)> {
        let size = parcel.stanza.size();
        let parcel = Box::new(parcel);
        let refused = {
            let mut inner = self.inner.lock();
            if inner.closed {
                Refused::Closed
            } else if inner.bytes + size > self.bound && !inner.waiting.is_empty() {
                Refused::Full
            } else {
                inner.bytes += size;
                inner.put += 1;
                inner.waiting.push_back(Delivery::Parcel(parcel));
                drop(inner);
                self.changed.notify_one();
                return Ok(());
            }
        };
        Err((refused, parcel))
    }

    /// Puts an element of the stream itself in.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn element(&self, element: Bytes) -> Result<(), Refused> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.bytes + element.len() > self.bound && !inner.waiting.is_empty() {
            return Err(Refused::Full);
        }
        inner.bytes += element.len();
        inner.put += 1;
        inner.waiting.push_back(Delivery::Element(element));
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// How many bytes fit in now; without end while nothing waits, because an empty mailbox takes everything.
    pub fn room(&self) -> usize {
        let inner = self.inner.lock();
        if inner.waiting.is_empty() { usize::MAX } else { self.bound.saturating_sub(inner.bytes) }
    }

    /// How far the writer has come.
    pub fn progress(&self) -> Progress {
        let inner = self.inner.lock();
        Progress { put: inner.put, taken: inner.taken }
    }

    /// Tells the writer something that goes before what waits. Nothing is heard after an order to close.
    pub(crate) fn order(&self, order: Order) {
        let mut inner = self.inner.lock();
        if !matches!(inner.orders.back(), Some(Order::Close { .. })) {
            inner.orders.push_back(order);
        }
        drop(inner);
        self.changed.notify_one();
    }

    /// Waits for something to do.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether an order stands.
    pub(crate) fn has_order(&self) -> bool {
        !self.inner.lock().orders.is_empty()
    }

    /// Takes the oldest order.
    pub(crate) fn take_order(&self) -> Option<Order> {
        self.inner.lock().orders.pop_front()
    }

    /// Takes the oldest delivery.
    pub(crate) fn take(&self) -> Option<Delivery> {
        let mut inner = self.inner.lock();
        let delivery = inner.waiting.pop_front();
        inner.taken += u64::from(delivery.is_some());
        match &delivery {
            Some(Delivery::Parcel(parcel)) => inner.bytes = inner.bytes.saturating_sub(parcel.stanza.size()),
            Some(Delivery::Element(element)) => inner.bytes = inner.bytes.saturating_sub(element.len()),
            None => {}
        }
        if inner.waiting.is_empty() {
            // An idle session holds no buffers.
            inner.waiting = VecDeque::new();
        }
        delivery
    }

    /// Takes nothing more from now on, and gives back what waited.
    pub(crate) fn close(&self) -> VecDeque<Delivery> {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.bytes = 0;
        std::mem::take(&mut inner.waiting)
    }
}
