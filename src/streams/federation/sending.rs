//! The task that carries what waits for one other server: connects, writes, listens for acknowledgements, and starts again
//! when the connection breaks (RFC 6120 §10.4, XEP-0198).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use waxwing_core::address::DomainPart;
use waxwing_core::house::House;
use waxwing_core::namespaces;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::router;
use waxwing_core::stanza::{PresenceType, StanzaType};
use waxwing_core::stream_error::{StreamCondition, StreamError};
use waxwing_core::xml::{Element, Token};

use super::dialing::{Established, condition_of, is_stream_error};
use super::link::{Link, Pair, pause_after};
use super::management::{self, Outbox};
use super::receiving::{Guest, Proved, receive};
use super::{Embassy, dialback, greeting};
use crate::connection::{Connection, Over};
use crate::tls::Transport;

/// How much is encoded before it is flushed.
const BATCH: usize = 64 * 1024;
/// The longest a timer runs.
const A_LONG_TIME: Duration = Duration::from_secs(86_400 * 365);
/// A connection that broke sooner than this was not worth the trouble: there is a pause before the next.
const SHORT: Duration = Duration::from_secs(5);

/// How often what is not acknowledged is sent again to a server that ends the stream each time: it may be what it does not
/// like, and nothing else would come through any more.
const MOST_REFUSALS: u32 = 3;

/// How a stream of ours came to its end.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// In good order, by either side.
    Closed,
    /// It broke, or was broken off.
    Lost,
    /// The peer has ended it with a stream error.
    Refused,
    /// The server stops.
    Stopping,
}

/// Carries what waits, until nothing does.
pub(crate) async fn carry(embassy: Arc<Embassy>, link: Arc<Link>, wake: Arc<Notify>) {
    let settings = &embassy.settings;
    let resume_time = settings.resume_time.get().min(A_LONG_TIME);
    let stopped = embassy.house().stopped();
    // What may have arrived or not, and since when that is so.
    let mut outbox: Option<Outbox> = None;
    let mut unknown_since = None;
    let (mut short_ones, mut refusals) = (0, 0);
    loop {
        let reached = tokio::select! {
            reached = embassy.dialer.reach(&link.pair) => reached,
            // Nobody who stops this server waits for another one.
            () = stopped.cancelled() => {
                let refusal = Refusal::remote_server_timeout().saying("this server stops");
                turn_back(&embassy, link.failed(&refusal, settings).0, &refusal).await;
                return;
            }
        };
        match reached {
            Ok(established) => {
                link.reached();
                let Pair { ours, theirs } = &link.pair;
                tracing::info!(from = %ours, to = %theirs, proof = established.proof, "federation.connected");
                let began = Instant::now();
                // In a box: an idle link does not carry what its negotiation took.
                let ending = Box::pin(talk(&embassy, &link, &wake, established, &mut outbox)).await;
                tracing::info!(from = %ours, to = %theirs, ?ending, "federation.disconnected");
                if ending == Ending::Stopping {
                    return;
                }
                short_ones = if began.elapsed() < SHORT { short_ones + 1 } else { 0 };
                let is_stuck = ending == Ending::Refused && outbox.as_ref().is_some_and(|outbox| !outbox.has_got_on());
                refusals = if is_stuck { refusals + 1 } else { 0 };
                if refusals >= MOST_REFUSALS
                    && let Some(outbox) = outbox.take()
                {
                    let refusal = Refusal::remote_server_timeout().saying("the other server does not take this");
                    turn_back(&embassy, outbox.into_rest(), &refusal).await;
                    refusals = 0;
                }
                unknown_since = outbox.as_ref().filter(|outbox| !outbox.is_empty()).map(|_| Instant::now());
                if unknown_since.is_none() {
                    outbox = None;
                }
                if unknown_since.is_none() && !link.has_waiting() && link.leave() {
                    return;
                }
                if short_ones > 1 {
                    let pause = pause_after(short_ones - 2, settings).min(embassy.dialer.patience());
                    tokio::select! { () = tokio::time::sleep(pause) => {}, () = stopped.cancelled() => return }
                }
            }
            Err(failure) => {
                let Pair { ours, theirs } = &link.pair;
                tracing::info!(from = %ours, to = %theirs, %failure, "federation.not_reached");
                let refusal = failure.refusal();
                let (waited, pause) = link.failed(&refusal, settings);
                turn_back(&embassy, waited, &refusal).await;
                if unknown_since.is_some_and(|since: Instant| since.elapsed() < resume_time) {
                    // Whether these have arrived only the other server can say: it is asked for as long as it remembers.
                    tokio::select! { () = tokio::time::sleep(pause) => {}, () = stopped.cancelled() => return }
                    continue;
                }
                if let Some(outbox) = outbox.take() {
                    let refusal = Refusal::remote_server_timeout()
                        .saying("the connection broke, and it is not known whether this has arrived");
                    turn_back(&embassy, outbox.into_rest(), &refusal).await;
                }
                unknown_since = None;
                if link.leave() {
                    return;
                }
            }
        }
    }
}

/// Tells senders that nothing came of it: those of messages and questions, and of a presence that asks for a room. Other
/// presence is not worth an error (RFC 6120 §10.4.3).
async fn turn_back(embassy: &Embassy, parcels: VecDeque<Parcel>, refusal: &Refusal) {
    for parcel in parcels {
        if wants_to_know(&parcel) {
            router::bounce(embassy.house(), &parcel, refusal).await;
        }
    }
}

/// Whether the sender waits for an answer.
pub(crate) fn wants_to_know(parcel: &Parcel) -> bool {
    match parcel.stanza.what {
        StanzaType::Presence(PresenceType::Available) => {
            parcel.stanza.payload("http://jabber.org/protocol/muc", "x").is_some()
        }
        StanzaType::Presence(_) => false,
        StanzaType::Message(_) | StanzaType::Iq(_) => true,
    }
}

/// Encodes a stanza. False when it is larger than the peer takes (XEP-0478 §3): it would only end the stream, so its sender is
/// told.
async fn write(house: &Arc<House>, parcel: &Parcel, buffer: &mut Vec<u8>, max_bytes: Option<usize>) -> bool {
    let start = buffer.len();
    parcel.stanza.write(buffer, None);
    let fits = max_bytes.is_none_or(|most| buffer.len() - start <= most);
    if !fits {
        buffer.truncate(start);
        let refusal = Refusal::policy_violation()
            .saying("the other server does not take stanzas of this size")
            .because("stanza-too-big", namespaces::ERRORS);
        if wants_to_know(parcel) {
            router::bounce(house, parcel, &refusal).await;
        }
    }
    fits
}

/// Writes what waits to a connection, as much as fits; whether there was anything. Keeps it in the outbox of a managed stream.
pub(crate) async fn fill(
    house: &Arc<House>,
    link: &Link,
    transport: &Transport,
    max_bytes: Option<usize>,
    mut outbox: Option<&mut Outbox>,
    has_room: impl Fn(&Outbox) -> bool,
) -> bool {
    let mut buffer = Vec::new();
    while transport.pending() + buffer.len() < BATCH && outbox.as_deref().is_none_or(&has_room) {
        let Some(parcel) = link.take() else { break };
        if !write(house, &parcel, &mut buffer, max_bytes).await {
            continue;
        }
        if let Some(outbox) = outbox.as_deref_mut() {
            outbox.push(parcel);
        }
    }
    if !buffer.is_empty() {
        transport.write(&buffer);
    }
    !buffer.is_empty()
}

/// One stream, from the moment we may send to its end.
async fn talk(
    embassy: &Arc<Embassy>,
    link: &Link,
    wake: &Notify,
    established: Established,
    outbox: &mut Option<Outbox>,
) -> Ending {
    let Established { mut connection, offered, bidi, .. } = established;
    let limits = embassy.house().config().limits.clone();
    connection.trust(&limits);
    let managed = offered.management && !bidi;
    let started = if managed { manage(&mut connection, outbox).await } else { Ok(Started::Unmanaged) };
    match started {
        Ok(Started::Resumed) => {}
        // The other server knows nothing of what was sent before: sent once more rather than lost, before all else. It goes
        // from outbox to outbox, never back to what waits, for what waits is turned back where the server cannot be reached.
        Ok(Started::Managed(id)) => {
            let mut anew = Outbox::new(id);
            let rest = outbox.take().map(Outbox::into_rest).unwrap_or_default();
            send_again(embassy, &connection.transport, rest, offered.max_bytes, Some(&mut anew)).await;
            *outbox = Some(anew);
        }
        Ok(Started::Unmanaged) => {
            let rest = outbox.take().map(Outbox::into_rest).unwrap_or_default();
            send_again(embassy, &connection.transport, rest, offered.max_bytes, None).await;
        }
        Err(_) => return Ending::Lost,
    }
    if let Some(outbox) = outbox.as_mut() {
        outbox.begin();
    }
    let mut listener = Listener::new(embassy, &link.pair, bidi);
    let transport = connection.transport.clone();
    let idle = embassy.settings.idle_timeout.get().min(A_LONG_TIME);
    let (answer_timeout, send_timeout) =
        (limits.ping_timeout.get().min(A_LONG_TIME), limits.send_timeout.get().min(A_LONG_TIME));
    let room = |outbox: &Outbox| {
        let (stanzas, bytes) = outbox.size();
        embassy.settings.queue_stanzas.allows(stanzas + 1) && embassy.settings.queue_bytes.allows(bytes + 1)
    };
    let mut last_stanza = Instant::now();
    // Since when an acknowledgement, and since when the socket, is waited for.
    let (mut asked_at, mut stuck_since) = (None, None);
    loop {
        if fill(embassy.house(), link, &transport, offered.max_bytes, outbox.as_mut(), room).await {
            last_stanza = Instant::now();
        }
        if asked_at.is_none() && outbox.as_ref().is_some_and(|outbox| !outbox.is_empty()) {
            transport.write(management::REQUEST);
            asked_at = Some(Instant::now());
        }
        stuck_since = if transport.pending() == 0 { None } else { stuck_since.or(Some(Instant::now())) };
        let deadlines =
            [Some(last_stanza + idle), asked_at.map(|at| at + answer_timeout), stuck_since.map(|at| at + send_timeout)];
        connection.wait_until(deadlines.into_iter().flatten().min().unwrap_or(last_stanza));
        let may_take = transport.pending() < BATCH && outbox.as_ref().is_none_or(room);
        let token = tokio::select! {
            biased;
            flushed = transport.flush(), if stuck_since.is_some() => match flushed {
                Ok(()) => continue,
                Err(_) => return Ending::Lost,
            },
            token = connection.next() => token,
            () = wake.notified(), if may_take => continue,
        };
        let element = match token {
            Ok(Token::Element(element)) => element,
            Ok(Token::Header(_)) => {
                let error = StreamError::saying(StreamCondition::NotAuthorized, "the stream has begun already");
                finish(connection, Over::Error(error)).await;
                return Ending::Lost;
            }
            Ok(Token::Close) => {
                finish(connection, Over::Closed).await;
                return Ending::Closed;
            }
            Err(Over::Error(error)) if error.condition == StreamCondition::SystemShutdown => {
                fill(embassy.house(), link, &transport, offered.max_bytes, outbox.as_mut(), room).await;
                let _ = timeout(limits.close_timeout.get().min(SHORT), transport.flush()).await;
                finish(connection, Over::Closed).await;
                return Ending::Stopping;
            }
            Err(Over::Error(error)) if error.condition == StreamCondition::ConnectionTimeout => {
                let is_idle = asked_at.is_none() && stuck_since.is_none();
                if is_idle {
                    finish(connection, Over::Closed).await;
                }
                return if is_idle { Ending::Closed } else { Ending::Lost };
            }
            Err(over) => {
                finish(connection, over).await;
                return Ending::Lost;
            }
        };
        match listener.hear(&transport, element, outbox.as_mut()).await {
            Ok(Heard::Nothing) => {}
            Ok(Heard::Stanza) => last_stanza = Instant::now(),
            Ok(Heard::Acknowledgement) => asked_at = None,
            Ok(Heard::Error(condition)) => {
                tracing::info!(from = %link.pair.ours, to = %link.pair.theirs, condition, "federation.stream_error");
                finish(connection, Over::Closed).await;
                return Ending::Refused;
            }
            Err(error) => {
                finish(connection, Over::Error(error)).await;
                return Ending::Lost;
            }
        }
    }
}

async fn finish(connection: Connection, over: Over) {
    connection.end_after(over, greeting::header("", "", None)).await;
}

/// Sends what another connection has not had acknowledged.
async fn send_again(
    embassy: &Embassy,
    transport: &Transport,
    parcels: VecDeque<Parcel>,
    max_bytes: Option<usize>,
    mut outbox: Option<&mut Outbox>,
) {
    let mut buffer = Vec::new();
    for parcel in parcels {
        if write(embassy.house(), &parcel, &mut buffer, max_bytes).await
            && let Some(outbox) = outbox.as_deref_mut()
        {
            outbox.push(parcel);
        }
    }
    transport.write(&buffer);
}

/// How a stream begins.
enum Started {
    /// The old one goes on, and what it had not acknowledged is under way again.
    Resumed,
    /// A new one is managed; what to resume it with, if it can be resumed.
    Managed(Option<String>),
    /// Nothing is acknowledged.
    Unmanaged,
}

/// Has the stream managed: goes on with the old one, or begins a new one.
async fn manage(connection: &mut Connection, outbox: &mut Option<Outbox>) -> Result<Started, Over> {
    if let Some(id) = outbox.as_ref().and_then(|outbox| outbox.id.clone()) {
        connection.send(&management::resume(&id)).await?;
        let answer = management_answer(connection).await?;
        let handled = management::h(&answer);
        if let (Some(handled), Some(outbox)) = (handled, outbox.as_mut()) {
            outbox.acknowledge(handled);
        }
        if answer.name() == "resumed" {
            let mut again = Vec::new();
            for parcel in outbox.iter().flat_map(Outbox::again) {
                parcel.stanza.write(&mut again, None);
            }
            connection.transport.write(&again);
            return Ok(Started::Resumed);
        }
    }
    connection.send(management::ENABLE).await?;
    let answer = management_answer(connection).await?;
    if answer.name() != "enabled" {
        return Ok(Started::Unmanaged);
    }
    let may_resume = matches!(answer.attribute("resume").as_deref(), Some("true" | "1"));
    Ok(Started::Managed(answer.attribute("id").filter(|_| may_resume).map(|id| id.into_owned())))
}

/// The answer to a wish; requests in between are answered.
async fn management_answer(connection: &mut Connection) -> Result<Element, Over> {
    loop {
        match connection.next().await? {
            Token::Element(element) if element.namespace() == management::NAMESPACE => match element.name() {
                "enabled" | "resumed" | "failed" => return Ok(element),
                "r" => connection.send(&management::answer(0)).await?,
                _ => {}
            },
            Token::Element(element) if element.namespace() == dialback::NAMESPACE => {}
            Token::Close => return Err(Over::Closed),
            _ => return Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }
}

/// What was heard on a stream of ours.
enum Heard {
    Nothing,
    Stanza,
    Acknowledgement,
    /// The peer has ended the stream with this condition.
    Error(String),
}

/// Understands what comes on a stream of ours.
struct Listener<'a> {
    embassy: &'a Arc<Embassy>,
    proved: Proved,
    guest: Option<Arc<Guest>>,
}

impl<'a> Listener<'a> {
    fn new(embassy: &'a Arc<Embassy>, pair: &Pair, bidi: bool) -> Listener<'a> {
        let mut proved = Proved::default();
        if bidi {
            proved.pairs.push(pair.clone());
        }
        let theirs: &DomainPart = &pair.theirs;
        Listener { embassy, proved, guest: bidi.then(|| embassy.guest(theirs)).flatten() }
    }

    async fn hear(
        &mut self,
        transport: &Transport,
        element: Element,
        outbox: Option<&mut Outbox>,
    ) -> Result<Heard, StreamError> {
        if is_stream_error(&element) {
            return Ok(Heard::Error(condition_of(&element)));
        }
        match (element.namespace(), element.name()) {
            (management::NAMESPACE, "a") => {
                let handled = management::h(&element).ok_or(StreamCondition::BadFormat)?;
                if outbox.is_none_or(|outbox| outbox.acknowledge(handled)) {
                    return Ok(Heard::Acknowledgement);
                }
                let text = "more is acknowledged than was sent";
                Err(StreamError::saying(StreamCondition::UndefinedCondition, text))
            }
            (management::NAMESPACE, "r") => {
                transport.write(&management::answer(0));
                Ok(Heard::Nothing)
            }
            // Nothing was asked, so nothing is answered (security row S13).
            (management::NAMESPACE | dialback::NAMESPACE, _) => Ok(Heard::Nothing),
            (namespaces::SERVER, _) if self.proved.anything() => {
                let bytes = element.as_bytes().len();
                receive(self.embassy.house(), &self.proved, element).await?;
                if let Some(guest) = &self.guest {
                    tokio::time::sleep(guest.pace(bytes)).await;
                }
                Ok(Heard::Stanza)
            }
            (namespaces::SERVER, _) => {
                let text = "this stream carries one direction";
                Err(StreamError::saying(StreamCondition::NotAuthorized, text))
            }
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }
}
