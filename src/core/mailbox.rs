//! A session's mailbox: what waits to be written to its client. Bounded in bytes; costs no buffer while empty.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::now_milliseconds;
use crate::parcel::Parcel;
use crate::stream_error::StreamError;
use crate::wire::{Keeper, Wire};

/// One thing for the writer to do.
pub enum Delivery {
    /// A stanza for the client, which passes Hold and Count first.
    Parcel(Box<Parcel>),
    /// An element of the stream with this number, neither held nor counted, and of no use to another stream. Complete
    /// with its namespace.
    Element(u32, Bytes),
    /// From here on what is written is kept; the element says so to the client.
    Keeper(Arc<dyn Keeper>, Bytes),
    /// What is held back goes to the client here.
    LetGo,
}

impl Delivery {
    fn size(&self) -> usize {
        match self {
            Delivery::Parcel(parcel) => parcel.stanza.size(),
            Delivery::Element(_, element) | Delivery::Keeper(_, element) => element.len(),
            // Counted, so that it is bounded.
            Delivery::LetGo => 16,
        }
    }
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
        /// The stream that ends, if it is one that may have been left behind by then: nothing happens in that case.
        of: Option<u32>,
        /// The stream error, if it is one.
        last_words: Option<StreamError>,
        /// Whether what waits is written before.
        write_what_waits: bool,
    },
    /// The server stops: say these last words and store the session if its keeper can, else end it.
    Suspend(StreamError),
    /// The transport that was attached as the one of this number is gone, or counts as gone and is told so.
    Lost(u32, Option<StreamError>),
    /// Go on with this wire in place of the old one (resumption).
    Attach {
        /// The number of this wire.
        number: u32,
        /// The new wire.
        wire: Box<dyn Wire>,
        /// What is said on it before anything else.
        greeting: Bytes,
    },
}

impl Order {
    /// Whether it concerns a wire that counts no more.
    fn is_stale(&self, wire_number: u32) -> bool {
        match self {
            Order::Close { of: Some(number), .. } | Order::Lost(number, _) => *number != wire_number,
            _ => false,
        }
    }
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Delivery>,
    bytes: usize,
    /// How many deliveries have been put in since the session began.
    put: u64,
    /// How many of them the writer has taken out to write them.
    taken: u64,
    /// How many of those are with the operating system, or go there before the wire is closed in good order.
    written: u64,
    closed: bool,
    /// No more orders are taken: the writer is at its end.
    final_order: bool,
    /// At most a few, and none after one that ends the session for certain.
    orders: VecDeque<Order>,
}

/// How far a session's writer has come, in deliveries since the session began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How many were put into the mailbox.
    pub put: u64,
    /// How many of them the writer has taken out to write them.
    pub taken: u64,
    /// How many of those were handed to the operating system. What was taken and not written when the session has ended is
    /// lost with its connection, unless a keeper had it.
    pub written: u64,
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

    /// Puts a stanza in, and wakes the writer.
    ///
    /// # Errors
    /// Gives the parcel back with the reason.
    pub fn deliver(&self, parcel: Parcel) -> Result<(), (Refused, Box<Parcel>)> {
        self.deliver_quietly(parcel)?;
        self.wake();
        Ok(())
    }

    /// Puts a stanza in; whether the writer must be woken for it, because nothing waited before.
    ///
    /// # Errors
    /// Gives the parcel back with the reason.
    pub(crate) fn deliver_quietly(&self, mut parcel: Parcel) -> Result<bool, (Refused, Box<Parcel>)> {
        if parcel.delivered_at == 0 {
            parcel.delivered_at = now_milliseconds();
        }
        let size = parcel.stanza.size();
        let parcel = Box::new(parcel);
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err((Refused::Closed, parcel));
        }
        let is_first = inner.waiting.is_empty();
        if inner.bytes + size > self.bound && !is_first {
            return Err((Refused::Full, parcel));
        }
        inner.bytes += size;
        inner.put += 1;
        inner.waiting.push_back(Delivery::Parcel(parcel));
        Ok(is_first)
    }

    /// Puts something of the stream itself in.
    ///
    /// # Errors
    /// Why it was not taken.
    pub(crate) fn put(&self, delivery: Delivery) -> Result<(), Refused> {
        let size = delivery.size();
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.bytes + size > self.bound && !inner.waiting.is_empty() {
            return Err(Refused::Full);
        }
        inner.bytes += size;
        inner.put += 1;
        inner.waiting.push_back(delivery);
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes the first element of the stream out of its place, past stanzas that must wait: the question what the client has
    /// received, above all, without which they would wait for ever. Its place stays, so that everything behind it keeps its own.
    pub(crate) fn take_element(&self) -> Option<(u32, Bytes)> {
        let mut inner = self.inner.lock();
        let found = inner.waiting.iter_mut().find_map(|delivery| match delivery {
            Delivery::Element(number, element) if !element.is_empty() => Some((*number, std::mem::take(element))),
            _ => None,
        })?;
        inner.bytes = inner.bytes.saturating_sub(found.1.len());
        Some(found)
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// When the oldest stanza that waits was put in, in milliseconds since 1970.
    pub fn waiting_since(&self) -> Option<i64> {
        let inner = self.inner.lock();
        inner.waiting.iter().find_map(|delivery| match delivery {
            Delivery::Parcel(parcel) => Some(parcel.delivered_at),
            _ => None,
        })
    }

    /// How many bytes fit in now; without end while nothing waits, because an empty mailbox takes everything.
    pub fn room(&self) -> usize {
        let inner = self.inner.lock();
        if inner.waiting.is_empty() { usize::MAX } else { self.bound.saturating_sub(inner.bytes) }
    }

    /// How far the writer has come.
    pub fn progress(&self) -> Progress {
        let inner = self.inner.lock();
        Progress { put: inner.put, taken: inner.taken, written: inner.written }
    }

    /// Everything that was taken out is written.
    pub(crate) fn mark_written(&self) {
        let mut inner = self.inner.lock();
        inner.written = inner.taken;
    }

    /// Tells the writer something that goes before what waits.
    ///
    /// # Errors
    /// Gives the order back when the session is at its end.
    pub(crate) fn order(&self, order: Order) -> Result<(), Order> {
        let mut inner = self.inner.lock();
        let ends = matches!(inner.orders.back(), Some(Order::Close { of: None, .. } | Order::Suspend(_)));
        if inner.final_order || ends {
            return Err(order);
        }
        inner.orders.push_back(order);
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Lets the writer look for something to do.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits for something to do.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether the session is at its end: what is put in now goes elsewhere.
    pub fn is_final(&self) -> bool {
        self.inner.lock().final_order
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().waiting.is_empty()
    }

    /// Whether an order stands.
    pub(crate) fn has_order(&self) -> bool {
        !self.inner.lock().orders.is_empty()
    }

    /// Takes the oldest order that concerns the wire of this number, or no wire in particular. After one that ends the
    /// session no more are taken.
    pub(crate) fn take_order(&self, wire_number: impl Fn() -> u32) -> Option<Order> {
        let mut inner = self.inner.lock();
        loop {
            let order = inner.orders.pop_front()?;
            // Asked while no order can be added: whoever resumes from now on is refused, or has been heard.
            if !order.is_stale(wire_number()) {
                inner.final_order = matches!(order, Order::Close { .. } | Order::Suspend(_));
                return Some(order);
            }
        }
    }

    /// Takes no more orders from now on, unless there is one already.
    pub(crate) fn refuse_orders(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.final_order = inner.orders.is_empty();
        inner.final_order
    }

    /// Takes the oldest delivery.
    pub(crate) fn take(&self) -> Option<Delivery> {
        let mut inner = self.inner.lock();
        let delivery = inner.waiting.pop_front()?;
        // What is taken out after the session's end goes elsewhere.
        inner.taken += u64::from(!inner.final_order);
        inner.bytes = inner.bytes.saturating_sub(delivery.size());
        if inner.waiting.is_empty() {
            // An idle session holds no buffers.
            inner.waiting = VecDeque::new();
        }
        Some(delivery)
    }

    /// Takes nothing more from now on, and gives back what waited.
    pub(crate) fn close(&self) -> VecDeque<Delivery> {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.bytes = 0;
        std::mem::take(&mut inner.waiting)
    }

    /// Takes nothing more from now on, if nothing waits.
    pub(crate) fn close_if_empty(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.closed = inner.waiting.is_empty();
        inner.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parcel::Origin;
    use crate::stanza::{IqType, Stanza, StanzaType};

    fn parcel() -> Parcel {
        let mut stanza = Stanza::new(StanzaType::Iq(IqType::Result));
        stanza.id = Some("1".into());
        Parcel::new(stanza, Origin::House)
    }

    #[test]
    fn the_writer_is_woken_for_the_first_that_waits_and_for_it_alone() {
        let mailbox = Mailbox::new(10_000);
        let quietly = || mailbox.deliver_quietly(parcel()).map_err(|(refused, _)| refused);
        assert_eq!([quietly(), quietly()], [Ok(true), Ok(false)]);
        assert!(mailbox.take().is_some());
        assert_eq!(quietly(), Ok(false), "one waits still, and its writer knows");
        assert!(mailbox.take().is_some() && mailbox.take().is_some());
        assert_eq!(quietly(), Ok(true));
        mailbox.close();
        assert_eq!(quietly(), Err(Refused::Closed));
    }

    #[test]
    fn f12_a_question_is_taken_past_what_waits_for_its_answer_and_leaves_its_place() {
        let mailbox = Mailbox::new(10_000);
        let element = |text: &'static str| Delivery::Element(7, Bytes::from_static(text.as_bytes()));
        assert!(mailbox.deliver(parcel()).is_ok());
        assert_eq!(mailbox.take_element(), None);
        mailbox.put(element("<r/>")).unwrap();
        assert!(mailbox.deliver(parcel()).is_ok());
        mailbox.put(element("<a/>")).unwrap();
        assert_eq!(mailbox.take_element(), Some((7, Bytes::from_static(b"<r/>"))));
        assert_eq!(mailbox.take_element(), Some((7, Bytes::from_static(b"<a/>"))));
        assert_eq!(mailbox.take_element(), None);
        assert_eq!(mailbox.progress(), Progress { put: 4, taken: 0, written: 0 });
        let kinds = std::iter::from_fn(|| mailbox.take()).map(|delivery| match delivery {
            Delivery::Parcel(_) => "parcel",
            Delivery::Element(_, element) if element.is_empty() => "place",
            _ => "other",
        });
        assert_eq!(kinds.collect::<Vec<_>>(), ["parcel", "place", "parcel", "place"]);
        assert_eq!((mailbox.progress().taken, mailbox.bytes()), (4, 0));
    }

    #[test]
    fn what_does_not_fit_is_given_back_but_one_always_fits() {
        let mailbox = Mailbox::new(1);
        assert!(mailbox.deliver(parcel()).is_ok());
        let (refused, back) = mailbox.deliver(parcel()).err().unwrap();
        assert_eq!((refused, back.stanza.id.as_deref()), (Refused::Full, Some("1")));
    }
}
