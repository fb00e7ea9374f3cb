//! Handover: a session's writer. Empties the mailbox (Hold, Count), writes to the wire, and sees the session to its end.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::arrival;
use crate::events::Event;
use crate::mailbox::{Delivery, Order};
use crate::namespaces;
use crate::parcel::Parcel;
use crate::router;
use crate::session::Session;
use crate::stages::{Pass, Stage};
use crate::stream_error::StreamError;
use crate::wire::{Framing, Wire};

/// How much is encoded before it is flushed.
const BATCH: usize = 64 * 1024;

thread_local! {
    /// Where stanzas are encoded: one buffer for each thread, none for each session.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Starts the writer of a session.
pub(crate) fn start(session: Arc<Session>, wire: Box<dyn Wire>) {
    let house = session.host().house().clone();
    house.tasks().spawn(async move {
        let (wire, last_words) = write(&session, wire).await;
        end(&session, wire, last_words).await;
    });
}

/// The last thing a session says.
struct Farewell {
    last_words: Option<StreamError>,
    write_what_waits: bool,
}

/// Writes until the session is to end. Gives the wire back unless it is lost.
async fn write(session: &Arc<Session>, mut wire: Box<dyn Wire>) -> (Option<Box<dyn Wire>>, Farewell) {
    loop {
        match session.mailbox.take_order() {
            Some(Order::Close { last_words, write_what_waits }) => {
                return (Some(wire), Farewell { last_words, write_what_waits });
            }
            Some(Order::Lost) => return (None, Farewell { last_words: None, write_what_waits: false }),
            Some(Order::Attach(new)) => {
                let old = std::mem::replace(&mut wire, new);
                session.host().house().tasks().spawn(old.close(None));
            }
            None => {}
        }
        if !fill(session, &mut *wire).await {
            session.mailbox.changed().await;
            continue;
        }
        if flush(session, &mut *wire).await.is_err() {
            return (None, Farewell { last_words: None, write_what_waits: false });
        }
    }
}

/// Moves deliveries from the mailbox to the wire, up to one batch; whether there were any.
async fn fill(session: &Arc<Session>, wire: &mut dyn Wire) -> bool {
    let mut written = 0;
    while written < BATCH {
        match session.mailbox.take() {
            None => break,
            Some(Delivery::Element(element)) => {
                written += element.len();
                wire.write(&element);
            }
            Some(Delivery::Parcel(mut parcel)) => {
                let catalogue = session.host().catalogue();
                parcel.recipients.push(session.clone());
                let held = catalogue.pass(Stage::Hold, &mut parcel).await == Ok(Pass::Taken);
                if !held && catalogue.pass(Stage::Count, &mut parcel).await != Ok(Pass::Taken) {
                    written += encode(&parcel, wire);
                }
            }
        }
    }
    written > 0
}

/// Encodes a stanza and gives it to the wire; how many bytes it took.
fn encode(parcel: &Parcel, wire: &mut dyn Wire) -> usize {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        let namespace = (wire.framing() == Framing::Standalone).then_some(namespaces::CLIENT);
        parcel.stanza.write(scratch, namespace);
        wire.write(scratch);
        let length = scratch.len();
        if scratch.capacity() > 2 * BATCH {
            *scratch = Vec::new();
        }
        length
    })
}

/// Waits until the wire has given everything to the operating system, the client stops reading for too long, or there is
/// an order.
async fn flush(session: &Session, wire: &mut dyn Wire) -> io::Result<()> {
    // Nearly always the socket takes it at once, and no timer is made.
    if let std::task::Poll::Ready(done) = poll_fn(|context| std::task::Poll::Ready(wire.poll_flush(context))).await {
        return done;
    }
    let patience = session.host().house().config().limits.send_timeout.get().min(Duration::from_secs(86_400));
    let deadline = tokio::time::sleep(patience);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            done = poll_fn(|context| wire.poll_flush(context)) => return done,
            () = &mut deadline => return Err(io::ErrorKind::TimedOut.into()),
            () = session.mailbox.changed() => {
                if session.mailbox.has_order() {
                    return Ok(());
                }
            }
        }
    }
}

/// Sees a session to its end: out of the directory, what waits is written or kept, everyone is told, the wire is closed.
async fn end(session: &Arc<Session>, mut wire: Option<Box<dyn Wire>>, farewell: Farewell) {
    let host = session.host().clone();
    host.house().directory().leave(session);
    let mut left = session.mailbox.close();
    if farewell.write_what_waits
        && let Some(wire) = wire.as_deref_mut()
    {
        for delivery in left.drain(..) {
            match delivery {
                Delivery::Element(element) => wire.write(&element),
                Delivery::Parcel(parcel) => {
                    encode(&parcel, wire);
                }
            }
        }
    }
    for delivery in left {
        if let Delivery::Parcel(parcel) = delivery {
            keep(session, *parcel).await;
        }
    }
    host.tell(Event::SessionEnded(session.clone())).await;
    let reason = farewell.last_words.as_ref().map_or("closed", |error| error.condition.name());
    tracing::info!(session = %session.jid(), reason = if wire.is_some() { reason } else { "lost" }, "session.ended");
    session.mark_ended();
    if let Some(wire) = wire {
        wire.close(farewell.last_words).await;
    }
}

/// What a session could not be given goes forward: to another device or to what keeps it, else back to its sender.
async fn keep(session: &Arc<Session>, parcel: Parcel) {
    if !arrival::may_be_rescued(parcel.stanza.what) {
        return;
    }
    let head = router::Head::of(&parcel);
    if let Err(refusal) = arrival::rescue(session.host(), parcel).await {
        router::bounce(session.host().house(), head, &refusal).await;
    }
}
