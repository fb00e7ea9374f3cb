//! Handover: a session's writer. Empties the mailbox (Hold, Count), writes to the wire, and sees the session to its end.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Sleep;

use crate::arrival;
use crate::catalogue::Catalogue;
use crate::clock::now_milliseconds;
use crate::events::Event;
use crate::fail_point;
use crate::held::Held;
use crate::host::Host;
use crate::mailbox::{Delivery, Order};
use crate::namespaces;
use crate::parcel::{ForThisSession, Parcel};
use crate::refusal::Refusal;
use crate::router;
use crate::session::Session;
use crate::stages::{Pass, Stage};
use crate::stanza::{IqType, StanzaType};
use crate::stream_error::{StreamCondition, StreamError};
use crate::wire::{Framing, Wire};

/// How much is encoded before it is flushed.
const BATCH: usize = 64 * 1024;

thread_local! {
    /// Where stanzas are encoded: one buffer for each thread, none for each session.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Starts the writer of a session: on its first wire, or on none yet when the session was restored.
pub(crate) fn start(session: Arc<Session>, wire: Option<Box<dyn Wire>>) {
    let house = session.host().house().clone();
    let number = session.wire_number();
    house.metrics().sessions(session.circumstances().transport).inc();
    house.tasks().spawn(async move {
        let mut attached = wire.map(|wire| Attached { wire, number });
        let farewell = loop {
            match AssertUnwindSafe(write(&session, &mut attached)).catch_unwind().await {
                Ok(farewell) => break farewell,
                // A fault of ours ends this session, and no other (row F2 of the fault list). What was being written is
                // lost on the wire, not in the archive.
                Err(_) => {
                    tracing::error!(session = %session.jid(), "session.writer_panicked");
                    session.end(Some(StreamCondition::InternalServerError.into()));
                }
            }
        };
        let wire = attached.map(|attached| attached.wire);
        // Large, and needed once: no session carries it all its life.
        match farewell {
            Farewell::Close { last_words, write_what_waits } => {
                Box::pin(end(&session, wire, last_words, write_what_waits, VecDeque::new())).await;
            }
            Farewell::Suspend(last_words) => Box::pin(suspend(&session, wire, last_words)).await,
        }
    });
}

/// The wire that is written to.
struct Attached {
    wire: Box<dyn Wire>,
    number: u32,
}

/// How a session is left.
enum Farewell {
    /// It ends.
    Close { last_words: Option<StreamError>, write_what_waits: bool },
    /// It goes on after the server's next start.
    Suspend(StreamError),
}

/// Writes until the session is to end. The wire is left where it was unless it is lost.
async fn write(session: &Arc<Session>, attached: &mut Option<Attached>) -> Farewell {
    // How long it waits for a wire, while it has none.
    let mut patience = None;
    let mut unflushed = false;
    loop {
        match session.mailbox.take_order(|| session.wire_number()) {
            Some(Order::Close { last_words, write_what_waits, .. }) => {
                return Farewell::Close { last_words, write_what_waits };
            }
            Some(Order::Suspend(last_words)) => return Farewell::Suspend(last_words),
            Some(Order::Lost(number, last_words)) if session.detach(number) => match attached.take() {
                Some(old) if last_words.is_some() && session.is_kept() => say_goodbye(session, old.wire, last_words),
                Some(old) if last_words.is_some() => {
                    *attached = Some(old);
                    return Farewell::Close { last_words, write_what_waits: false };
                }
                _ => {}
            },
            Some(Order::Attach { number, wire, .. }) if number != session.wire_number() => {
                say_goodbye(session, wire, Some(replaced()));
            }
            Some(Order::Attach { number, mut wire, greeting }) => {
                wire.write(&greeting);
                for parcel in session.keeper().map(|keeper| keeper.again()).unwrap_or_default() {
                    encode(session, &parcel, &mut *wire);
                }
                if let Some(old) = attached.replace(Attached { wire, number }) {
                    say_goodbye(session, old.wire, Some(replaced()));
                }
                session.set_waits_since(None);
                patience = None;
            }
            Some(Order::Lost(..)) | None => {}
        }
        let Some(Attached { wire, number }) = attached else {
            let waiting = wait_for_a_wire(session, &mut patience).await;
            if !waiting {
                return Farewell::Close { last_words: None, write_what_waits: false };
            }
            continue;
        };
        // In a box while there is something to do, as in the reader.
        let written = !session.mailbox.is_empty() && Box::pin(fill(session, &mut **wire, *number)).await;
        unflushed |= written;
        match flush(session, &mut **wire).await {
            Ok(Flushed::Interrupted) => {}
            Ok(flushed) => {
                if std::mem::take(&mut unflushed) {
                    session.mailbox.mark_written();
                }
                // What came while it waited may have been overheard.
                if matches!(flushed, Flushed::AtOnce) && !written && !session.mailbox.has_order() {
                    session.mailbox.changed().await;
                }
            }
            Err(_) => {
                session.detach(*number);
                *attached = None;
            }
        }
    }
}

/// What is said on a stream whose session goes on with another (XEP-0198 §5).
fn replaced() -> StreamError {
    StreamError::saying(StreamCondition::Conflict, "the session was resumed on another stream")
}

/// Closes a wire that the session does not need any more, without waiting for it.
fn say_goodbye(session: &Session, wire: Box<dyn Wire>, last_words: Option<StreamError>) {
    session.host().house().tasks().spawn(wire.close(last_words));
}

/// There is no wire. Waits for an order as long as the keeper says; false when the session is to end.
async fn wait_for_a_wire(session: &Arc<Session>, patience: &mut Option<Pin<Box<Sleep>>>) -> bool {
    let Some(keeper) = session.keeper() else { return !session.mailbox.refuse_orders() };
    if patience.is_none() {
        session.set_waits_since(Some(now_milliseconds()));
        tracing::debug!(session = %session.jid(), "session.waits");
        *patience = Some(Box::pin(tokio::time::sleep(keeper.patience(session))));
        Box::pin(session.host().tell(Event::SessionWaits(session.clone()))).await;
    }
    let Some(patience) = patience else { return true };
    while !session.mailbox.has_order() {
        tokio::select! {
            biased;
            // What comes for the session waits in its mailbox.
            () = session.mailbox.changed() => {}
            () = patience.as_mut() => return !session.mailbox.refuse_orders(),
        }
    }
    true
}

/// Moves deliveries from the mailbox to the wire, up to one batch; whether there were any.
async fn fill(session: &Arc<Session>, wire: &mut dyn Wire, number: u32) -> bool {
    let catalogue = session.host().catalogue();
    let mut keeper = session.keeper();
    let mut written = 0;
    while written < BATCH {
        if !keeper.as_ref().is_none_or(|keeper| keeper.has_room()) {
            // Stanzas wait until the client has acknowledged some. What asks it to do so may stand behind them.
            let Some((of, element)) = session.mailbox.take_element() else { break };
            if of == number {
                wire.write(&element);
            }
            written += element.len();
            continue;
        }
        match session.mailbox.take() {
            None => break,
            // It was written before its turn.
            Some(Delivery::Element(_, element)) if element.is_empty() => written += 1,
            Some(Delivery::Element(of, element)) if of == number => {
                written += element.len();
                wire.write(&element);
            }
            // An answer that comes late would say what is no longer so.
            Some(Delivery::Element(..)) => written += 1,
            Some(Delivery::Keeper(new, element)) => {
                written += element.len();
                wire.write(&element);
                session.set_keeper(new.clone());
                keeper = Some(new);
            }
            Some(Delivery::LetGo) => written += Box::pin(let_go(session, &catalogue, wire, Held::take)).await,
            Some(Delivery::Parcel(mut parcel)) => {
                fail_point::reached("handover", &parcel.stanza);
                parcel.recipients.push(session.clone());
                if catalogue.pass(Stage::Hold, &mut parcel).await == Ok(Pass::Taken) {
                    session.with_note(|held: &mut Held| held.put(*parcel));
                    written += 1;
                } else {
                    if session.has_note::<Held>() {
                        written += Box::pin(let_go(session, &catalogue, wire, Held::going)).await;
                    }
                    written += count(session, &catalogue, &mut parcel, wire).await;
                }
            }
        }
    }
    written > 0
}

/// Writes what was held back and goes now; how many bytes it took.
async fn let_go(
    session: &Arc<Session>,
    catalogue: &Catalogue,
    wire: &mut dyn Wire,
    going: fn(&mut Held) -> Vec<Parcel>,
) -> usize {
    let mut written = 1;
    for mut parcel in session.with_note(going) {
        parcel.recipients.push(session.clone());
        written += count(session, catalogue, &mut parcel, wire).await;
    }
    written
}

/// Leads a stanza past Count to the wire; how many bytes it took.
async fn count(session: &Session, catalogue: &Catalogue, parcel: &mut Parcel, wire: &mut dyn Wire) -> usize {
    if catalogue.pass(Stage::Count, parcel).await == Ok(Pass::Taken) { 1 } else { encode(session, parcel, wire) }
}

/// Encodes a stanza and gives it to the wire; how many bytes it took.
fn encode(session: &Session, parcel: &Parcel, wire: &mut dyn Wire) -> usize {
    session.host().house().metrics().delivered(&parcel.stanza);
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

/// How a wire was flushed.
enum Flushed {
    /// The operating system took everything at once.
    AtOnce,
    /// It took a while.
    Later,
    /// Not yet: there is an order to be looked at.
    Interrupted,
}

/// Waits until the wire has given everything to the operating system, the client stops reading for too long, or there is
/// an order.
async fn flush(session: &Session, wire: &mut dyn Wire) -> io::Result<Flushed> {
    // Nearly always the socket takes it at once, and no timer is made.
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(wire.poll_flush(context))).await {
        return done.map(|()| Flushed::AtOnce);
    }
    let patience = session.host().house().config().limits.send_timeout.get().min(Duration::from_secs(86_400));
    let deadline = tokio::time::sleep(patience);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            biased;
            done = poll_fn(|context| wire.poll_flush(context)) => return done.map(|()| Flushed::Later),
            () = &mut deadline => return Err(io::ErrorKind::TimedOut.into()),
            () = session.mailbox.changed() => {
                if session.mailbox.has_order() {
                    return Ok(Flushed::Interrupted);
                }
            }
        }
    }
}

/// Sees a session to its end: what waits is written or kept, it leaves the directory, everyone is told, the wire is closed.
/// `left` is what had been taken out of the mailbox before.
async fn end(
    session: &Arc<Session>,
    mut wire: Option<Box<dyn Wire>>,
    last_words: Option<StreamError>,
    write_what_waits: bool,
    mut left: VecDeque<Delivery>,
) {
    let host = session.host().clone();
    let keeper = session.keeper();
    for parcel in keeper.as_ref().map(|keeper| keeper.give_up()).unwrap_or_default() {
        keep(&host, parcel).await;
    }
    for parcel in session.take_note::<Held>().map(|mut held| held.take()).unwrap_or_default() {
        keep(&host, parcel).await;
    }
    // As long as something older waits, what comes now goes behind it, or it would overtake it on the way to where it is
    // kept.
    loop {
        let Some(delivery) = left.pop_front().or_else(|| session.mailbox.take()) else {
            if session.mailbox.close_if_empty() {
                break;
            }
            continue;
        };
        match (delivery, wire.as_deref_mut().filter(|_| write_what_waits)) {
            (Delivery::Element(_, element), Some(wire)) if !element.is_empty() => wire.write(&element),
            // Nobody would ever say that it has been received.
            (Delivery::Parcel(parcel), _) if keeper.is_some() && arrival::may_be_rescued(parcel.stanza.what) => {
                keep(&host, *parcel).await;
            }
            (Delivery::Parcel(parcel), Some(wire)) => {
                encode(session, &parcel, wire);
            }
            (Delivery::Parcel(parcel), None) => keep(&host, *parcel).await,
            (Delivery::Element(..) | Delivery::Keeper(..) | Delivery::LetGo, _) => {}
        }
    }
    if wire.is_some() {
        // Closing it writes what it still has.
        session.mailbox.mark_written();
    }
    let leaving = Leaving::begin(session);
    host.tell(Event::SessionEnded(session.clone())).await;
    let reason = last_words.as_ref().map_or("closed", |error| error.condition.name());
    tracing::info!(session = %session.jid(), reason = if wire.is_some() { reason } else { "lost" }, "session.ended");
    drop(leaving);
    if let Some(wire) = wire {
        wire.close(last_words).await;
    }
}

/// A session that leaves the directory. When this is dropped, also by a panic, everyone has been told, and another may
/// have its full JID.
struct Leaving<'a>(&'a Arc<Session>);

impl<'a> Leaving<'a> {
    fn begin(session: &'a Arc<Session>) -> Leaving<'a> {
        session.host().house().directory().leave(session);
        Leaving(session)
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.mark_ended();
        self.0.host().house().metrics().sessions(self.0.circumstances().transport).dec();
        self.0.host().house().directory().gone(self.0);
    }
}

/// The server stops. Stores the session with what has not reached the client, or ends it when that cannot be done.
async fn suspend(session: &Arc<Session>, wire: Option<Box<dyn Wire>>, last_words: StreamError) {
    let Some(keeper) = session.keeper() else {
        return end(session, wire, Some(last_words), true, VecDeque::new()).await;
    };
    let leaving = Leaving::begin(session);
    let held = session.take_note::<Held>().map(|mut held| held.take()).unwrap_or_default();
    let waiting = session.mailbox.close().into_iter().filter_map(|delivery| match delivery {
        Delivery::Parcel(parcel) => Some(*parcel),
        _ => None,
    });
    let waiting = held.into_iter().chain(waiting).collect();
    if let Err(waiting) = keeper.suspend(session, waiting).await {
        let left = waiting.into_iter().map(|parcel| Delivery::Parcel(Box::new(parcel))).collect();
        return end(session, wire, Some(last_words), true, left).await;
    }
    tracing::info!(session = %session.jid(), "session.suspended");
    drop(leaving);
    if let Some(wire) = wire {
        wire.close(Some(last_words)).await;
    }
}

/// What a session could not be given goes forward: to another device or to what keeps it, else back to its sender.
pub(crate) async fn keep(host: &Arc<Host>, mut parcel: Parcel) {
    if parcel.notes.find::<ForThisSession>().is_some() {
        return;
    }
    parcel.recipients.clear();
    let refusal = match parcel.stanza.what {
        // Whoever asks is told that there is nobody to answer (RFC 6120 §8.2.3).
        StanzaType::Iq(IqType::Get | IqType::Set) => Refusal::service_unavailable(),
        what if arrival::may_be_rescued(what) => match arrival::rescue_late(host, &mut parcel).await {
            Ok(()) => return,
            Err(refusal) => refusal,
        },
        _ => return,
    };
    router::bounce(host.house(), &parcel, &refusal).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, F>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_writer_takes_little_from_each_session() {
        async fn run(session: Arc<Session>, mut wire: Option<Attached>) {
            let _ = AssertUnwindSafe(write(&session, &mut wire)).catch_unwind().await;
        }
        assert!(size_of_future(run) <= 600, "{} bytes", size_of_future(run));
    }
}
