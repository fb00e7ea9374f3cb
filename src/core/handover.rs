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
#[derive(Default)]
struct Farewell {
    last_words: Option<StreamError>,
    write_what_waits: bool,
}

/// Writes until the session is to end. Gives the wire back unless it is lost.
async fn write(session: &Arc<Session>, wire: Box<dyn Wire>) -> (Option<Box<dyn Wire>>, Farewell) {
    let mut wire = Some(wire);
    loop {
        match session.mailbox.take_order() {
            Some(Order::Close { last_words, write_what_waits }) => {
                return (wire, Farewell { last_words, write_what_waits });
            }
            Some(Order::Lost(number)) if number == session.wire_number() => wire = None,
            Some(Order::Attach { wire: mut new, greeting }) => {
                new.write(&greeting);
                for parcel in session.keeper().map(|keeper| keeper.again()).unwrap_or_default() {
                    encode(&parcel, &mut *new);
                }
                if let Some(old) = wire.replace(new) {
                    session.host().house().tasks().spawn(old.close(None));
                }
            }
            Some(Order::Lost(_)) | None => {}
        }
        let alive = match &mut wire {
            Some(attached) => {
                let written = fill(session, &mut **attached).await;
                match flush(session, &mut **attached).await {
                    Ok(()) if !written && !session.mailbox.has_order() => session.mailbox.changed().await,
                    Ok(()) => {}
                    Err(_) => wire = None,
                }
                true
            }
            None => wait_for_a_wire(session).await,
        };
        if !alive {
            return (None, Farewell::default());
        }
    }
}

/// The wire is lost. Waits for another one as long as the keeper says; false when the session is to end.
async fn wait_for_a_wire(session: &Session) -> bool {
    let Some(keeper) = session.keeper() else { return false };
    let patience = tokio::time::sleep(keeper.patience());
    tokio::pin!(patience);
    while !session.mailbox.has_order() {
        tokio::select! {
            () = &mut patience => return false,
            // What comes for the session waits in its mailbox.
            () = session.mailbox.changed() => {}
        }
    }
    true
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
    let not_acknowledged = session.keeper().map(|keeper| keeper.give_up()).unwrap_or_default();
    let not_written = left.into_iter().filter_map(|delivery| match delivery {
        Delivery::Parcel(parcel) => Some(*parcel),
        Delivery::Element(_) => None,
    });
    for parcel in not_acknowledged.into_iter().chain(not_written) {
        keep(session, parcel).await;
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
async fn keep(session: &Arc<Session>, mut parcel: Parcel) {
    if !arrival::may_be_rescued(parcel.stanza.what) {
        return;
    }
    if let Err(refusal) = arrival::rescue(session.host(), &mut parcel).await {
        router::bounce(session.host().house(), &parcel, &refusal).await;
    }
}
