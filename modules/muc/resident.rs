//! The task of one room: it hears what comes, keeps what must be kept before anyone sees it, and says what follows.

mod noticing;
mod waking;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot};
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::archive::{Archive, ArchiveId, Stretch};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, MessageType, Stanza, StanzaType, element};
use waxwing_core::storage::StorageError;

use crate::activity::Pace;
use crate::effects::{Change, Effects, Retraction, Utterance};
use crate::moment::Moment;
use crate::refusing::error_for;
use crate::room::{Event, Gone, Room};
use crate::rooms::{Call, Granted, Rooms, stopping};

/// So much is heard before anything is brought: many who enter at once cost each listener one awakening, not many.
const BATCH: usize = 64;
/// How often the room's departures of ours are looked after in one go.
const ROUNDS: usize = 8;

type Reply = oneshot::Sender<Result<Granted, Refusal>>;

/// Runs a room until it sleeps, is over, or the house stops.
pub async fn live(rooms: Arc<Rooms>, address: BareJid, calls: mpsc::Receiver<Call>, pace: Arc<Pace>) {
    let mut resident = Resident {
        rooms: rooms.clone(),
        address: address.clone(),
        calls,
        pace,
        room: None,
        sealed: None,
        outbox: Vec::new(),
        replies: Vec::new(),
    };
    let panicked = AssertUnwindSafe(resident.run()).catch_unwind().await.is_err();
    if !panicked {
        return;
    }
    // Row F2 of the fault list: the room comes back from the database with the next who asks for it; those who were in
    // it are told to come back.
    tracing::error!(room = %address, "muc.room_failed");
    rooms.remove(&address);
    let Some(room) = resident.room.as_mut() else { return };
    let farewell = AssertUnwindSafe(|| room.handle(Event::Broken, Moment::now()));
    if let Ok(Ok(effects)) = std::panic::catch_unwind(farewell) {
        rooms.courier.bring(effects.deliveries).await;
    }
}

struct Resident {
    rooms: Arc<Rooms>,
    address: BareJid,
    calls: mpsc::Receiver<Call>,
    /// What is known of its activity.
    pace: Arc<Pace>,
    /// None when there is no such room.
    room: Option<Room>,
    /// When the room that was here was destroyed, while its name is sealed.
    sealed: Option<i64>,
    /// What is to be brought.
    outbox: Vec<Stanza>,
    /// What is to be answered when it was brought.
    replies: Vec<(Reply, Result<Granted, Refusal>)>,
}

/// A message that waits for the archive together with others.
struct Pending {
    utterance: Utterance,
    reply: Option<Reply>,
}

impl Resident {
    async fn run(&mut self) {
        if let Err(error) = self.load().await {
            return self.refuse_all(&error).await;
        }
        let closing = self.rooms.closing.clone();
        let idle =
            self.rooms.rules.settings.sleep_after.get().clamp(Duration::from_millis(10), Duration::from_secs(86_400));
        let mut last_call = Instant::now();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_empty = self.room.as_ref().is_none_or(|room| room.occupants().is_empty());
            let check = self.room.as_ref().and_then(Room::next_check);
            let rest = is_empty.then(|| last_call + idle);
            let wake = [check, rest].into_iter().flatten().min();
            tokio::select! {
                biased;
                () = closing.cancelled() => return self.shut_down().await,
                count = self.calls.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    last_call = Instant::now();
                    self.hear(&mut batch).await;
                }
                () = sleep_until(wake) => {
                    if check.is_some_and(|check| check <= Instant::now()) {
                        self.hear(&mut vec![Call { event: Box::new(Event::Time), reply: None }]).await;
                    }
                    if is_empty && last_call.elapsed() >= idle {
                        self.write_pace(true).await;
                        if self.rooms.sleep(&self.address, &self.calls) {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// The database does not tell what this room is: everyone who has come is told to come again.
    async fn refuse_all(&mut self, error: &StorageError) {
        loop {
            while let Ok(call) = self.calls.try_recv() {
                if let Some(reply) = call.reply {
                    let _ = reply.send(Err(Refusal::from(error.clone())));
                }
            }
            if self.rooms.sleep(&self.address, &self.calls) {
                return;
            }
            // Somebody is about to say something.
            tokio::task::yield_now().await;
        }
    }

    /// Hears several things in their order. Messages that follow each other are archived together.
    async fn hear(&mut self, batch: &mut Vec<Call>) {
        let mut pending: Vec<Pending> = Vec::new();
        for Call { event, reply } in batch.drain(..) {
            if !is_plain_message(&event) {
                self.speak(&mut pending).await;
            }
            let refused = refusable(&event);
            match self.handle(*event).await {
                Ok((effects, granted)) => match self.settle(effects, granted, reply, &mut pending).await {
                    Ok(()) => {}
                    Err((reply, refusal)) => self.refuse(reply, refused.as_ref(), refusal),
                },
                Err(refusal) => self.refuse(reply, refused.as_ref(), refusal),
            }
        }
        self.speak(&mut pending).await;
        self.bring().await;
        self.write_pace(false).await;
    }

    /// Lets the room decide, and makes what it changes durable. What could not be kept has never happened.
    async fn handle(&mut self, event: Event) -> Result<(Effects, Granted), Refusal> {
        let now = Moment::now();
        self.prepare(&event, now).await?;
        let Some(room) = &mut self.room else {
            return self.nobody_here(&event).map(|effects| (effects, Granted::Done));
        };
        let before = may_change_records(&event).then(|| room.clone());
        let mut effects = room.handle(event, now)?;
        if !effects.changes.is_empty()
            && let Err(error) = self.rooms.store.commit(&self.address, &effects.changes, now.milliseconds).await
        {
            match before {
                Some(before) => {
                    *room = before;
                    return Err(error.into());
                }
                // The last one has left a room that was to go with him: it is swept later.
                None => tracing::warn!(room = %self.address, %error, "muc.not_kept"),
            }
        }
        let hides_addresses = !room.shows_addresses();
        self.notice(&effects.changes, now);
        let granted = match (effects.archive_query.take(), effects.card_query.take()) {
            (Some(request), _) => Granted::Archive { request, hides_addresses },
            (_, Some(request)) => Granted::Card(request),
            _ => Granted::Done,
        };
        Ok((effects, granted))
    }

    /// Does what follows from an event. A message is put to others that wait for the archive.
    async fn settle(
        &mut self,
        mut effects: Effects,
        granted: Granted,
        reply: Option<Reply>,
        pending: &mut Vec<Pending>,
    ) -> Result<(), (Option<Reply>, Refusal)> {
        self.outbox.append(&mut effects.deliveries);
        if let Some(utterance) = effects.utterance.take() {
            pending.push(Pending { utterance, reply });
            if !effects.changes.is_empty() {
                self.speak(pending).await;
            }
            return Ok(());
        }
        if let Some(retraction) = effects.retraction.take()
            && let Err(refusal) = self.retract(retraction).await
        {
            return Err((reply, refusal));
        }
        self.follow(&effects).await;
        self.answer(reply, Ok(granted));
        Ok(())
    }

    /// What concerns the archive, and the end of the room.
    async fn follow(&mut self, effects: &Effects) {
        let Some(archive) = self.rooms.archive.clone() else {
            if effects.over {
                self.end(effects);
            }
            return;
        };
        let done = match effects.keep_for_days {
            Some(0) => archive.keep_for(&self.address, None).await,
            Some(days) => archive.keep_for(&self.address, Some(Duration::from_secs(u64::from(days) * 86_400))).await,
            None => Ok(()),
        };
        if let Err(error) = done {
            tracing::warn!(room = %self.address, %error, "muc.archive_not_limited");
        }
        if effects.over {
            let was_kept = effects.changes.iter().any(|change| matches!(change, Change::Destroyed { .. }));
            if was_kept && let Err(error) = archive.remove(&self.address).await {
                tracing::error!(room = %self.address, %error, "muc.archive_not_removed");
            }
            self.end(effects);
        }
    }

    fn end(&mut self, effects: &Effects) {
        self.room = None;
        // Nobody waits any more for what is said here.
        self.rooms.activity.stir(&self.address, |_| false);
        let sealed = effects.changes.iter().any(|change| matches!(change, Change::Destroyed { sealed: true }));
        if sealed {
            self.sealed = Some(waxwing_core::clock::now_milliseconds());
        }
    }

    /// Archives what was said, all at once, then says it to all: in the order in which the archive has it.
    async fn speak(&mut self, pending: &mut Vec<Pending>) {
        if pending.is_empty() {
            return;
        }
        let Some(room) = &mut self.room else {
            for Pending { reply, .. } in pending.drain(..) {
                self.answer(reply, Err(Refusal::item_not_found()));
            }
            return;
        };
        let archives = room.archives();
        // At most a batch of them.
        let stores: FuturesOrdered<_> = pending
            .iter()
            .map(|Pending { utterance, .. }| {
                let archive = self.rooms.archive.clone().filter(|_| archives && utterance.keep);
                store(archive, self.address.clone(), utterance.peer.clone(), kept(utterance))
            })
            .collect();
        let results: Vec<Result<Option<ArchiveId>, StorageError>> = stores.collect().await;
        let mut said: Vec<(Pending, Result<Option<ArchiveId>, StorageError>)> =
            pending.drain(..).zip(results).collect();
        put_in_order(&mut said, |(_, result)| result.as_ref().ok().copied().flatten());
        let now = Moment::now();
        let mut stirs = false;
        let mut awaited = Vec::new();
        for (Pending { utterance, reply }, result) in said {
            let answer = match result {
                Ok(id) => {
                    stirs |= utterance.stirs();
                    let mut reflected = room.reflect(utterance, id, now);
                    self.outbox.append(&mut reflected.deliveries);
                    if !reflected.absent.is_empty() {
                        awaited.push(reflected);
                    }
                    Ok(Granted::Done)
                }
                Err(error) => Err(error.into()),
            };
            self.replies.extend(reply.map(|reply| (reply, answer)));
        }
        if stirs {
            self.stir(now);
        }
        for reflected in &awaited {
            self.wake(reflected);
        }
    }

    /// Takes a message back: what stands in the archive is looked at, then all are told, then it is replaced.
    async fn retract(&mut self, retraction: Retraction) -> Result<(), Refusal> {
        let (Some(room), Some(archive)) = (&mut self.room, &self.rooms.archive) else {
            return Err(Refusal::item_not_found());
        };
        let ArchiveId(number) = retraction.id;
        let stretch = Stretch {
            after: Some(ArchiveId(number.saturating_sub(1))),
            before: Some(ArchiveId(number.saturating_add(1))),
            newest: false,
            most: 1,
        };
        let found = archive.read(&self.address, stretch).await?;
        let original = found.into_iter().next().and_then(|kept| Stanza::read(element(kept.stanza).ok()?)?.ok());
        let now = Moment::now();
        let tombstone = room.retract(&retraction, original.as_ref(), now)?;
        let Retraction { id: retracted, utterance, request, .. } = retraction;
        let id = archive.store(&self.address, &utterance.peer, &kept(&utterance)).await?;
        if let Some(tombstone) = tombstone {
            // All are told already that it is to be forgotten; that it stands there still harms those who look only.
            if let Err(error) = archive.replace(&self.address, retracted, &tombstone).await {
                tracing::error!(room = %self.address, %error, "muc.retracted_message_stays");
            }
        }
        self.outbox.append(&mut room.reflect(utterance, Some(id), now).deliveries);
        if let Some(request) = request {
            self.outbox.push(Stanza::result_of(&request));
        }
        Ok(())
    }

    /// Brings what was said. Who of ours is not there any more leaves the room.
    async fn bring(&mut self) {
        for _ in 0..ROUNDS {
            let outbox = std::mem::take(&mut self.outbox);
            if outbox.is_empty() {
                break;
            }
            let mut gone = self.rooms.courier.bring(outbox).await;
            gone.sort();
            gone.dedup();
            for device in gone {
                if let Ok((mut effects, _)) = self.handle(Event::Gone(device, Gone::Ended)).await {
                    self.outbox.append(&mut effects.deliveries);
                    self.follow(&effects).await;
                }
            }
        }
        for (reply, result) in self.replies.drain(..) {
            // Who does not wait any more does not need to know.
            let _ = reply.send(result);
        }
    }

    fn answer(&mut self, reply: Option<Reply>, result: Result<Granted, Refusal>) {
        self.replies.extend(reply.map(|reply| (reply, result)));
    }

    /// Tells whoever waits, or sends the error where nobody does.
    fn refuse(&mut self, reply: Option<Reply>, refused: Option<&Stanza>, refusal: Refusal) {
        match reply {
            Some(reply) => self.replies.push((reply, Err(refusal))),
            None => self.outbox.extend(refused.and_then(|refused| error_for(refused, &refusal, &self.address))),
        }
    }

    /// The service stops: everyone is told, but for those who will be told when they are back (status 333): a client of
    /// theirs that has resumed takes 332 for something that only a person can undo.
    async fn shut_down(&mut self) {
        if let Some(room) = &mut self.room
            && let Ok(mut effects) = room.handle(Event::ShutDown, Moment::now())
        {
            effects.deliveries.retain(|farewell| !self.rooms.courier.outlives_a_stop(farewell));
            self.rooms.courier.bring(effects.deliveries).await;
        }
        // This is what shows that all have been told.
        self.calls.close();
        while let Ok(call) = self.calls.try_recv() {
            if let Some(reply) = call.reply {
                let _ = reply.send(Err(stopping()));
            }
        }
        self.write_pace(true).await;
    }
}

/// What the archive keeps of what is said.
fn kept(utterance: &Utterance) -> Stanza {
    let mut kept = utterance.message.clone();
    if let Some(beside) = &utterance.archived_only {
        kept.add(beside.clone());
    }
    kept
}

async fn store(
    archive: Option<Arc<dyn Archive>>,
    room: BareJid,
    peer: Jid,
    message: Stanza,
) -> Result<Option<ArchiveId>, StorageError> {
    match archive {
        Some(archive) => archive.store(&room, &peer, &message).await.map(Some),
        None => Ok(None),
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether an event is a message to all that changes nothing else.
fn is_plain_message(event: &Event) -> bool {
    let Event::Stanza(stanza) = event else { return false };
    stanza.what == StanzaType::Message(MessageType::Groupchat) && stanza.own_payload("subject").is_none()
}

/// Whether what follows from an event may have to be undone.
fn may_change_records(event: &Event) -> bool {
    match event {
        Event::Stanza(stanza) => match stanza.what {
            StanzaType::Message(MessageType::Groupchat) => stanza.own_payload("subject").is_some(),
            StanzaType::Message(MessageType::Normal) | StanzaType::Iq(IqType::Set) => true,
            _ => false,
        },
        Event::Removed(_) => true,
        Event::Gone(..) | Event::Time | Event::ShutDown | Event::Broken => false,
    }
}

/// What an error may have to be sent for.
fn refusable(event: &Event) -> Option<Stanza> {
    match event {
        Event::Stanza(stanza) => Some(stanza.clone()),
        _ => None,
    }
}

/// Sorts what the archive has by its ids; what it does not have stays behind what it stood behind.
fn put_in_order<T>(items: &mut Vec<T>, id: impl Fn(&T) -> Option<ArchiveId>) {
    let mut place = None;
    let mut keyed: Vec<(Option<ArchiveId>, T)> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        place = id(&item).or(place);
        keyed.push((place, item));
    }
    keyed.sort_by_key(|(place, _)| *place);
    items.extend(keyed.into_iter().map(|(_, item)| item));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_said_in_the_order_of_the_archive() {
        let mut items = vec![(None, 'a'), (Some(5), 'b'), (None, 'c'), (Some(3), 'd'), (Some(9), 'e')];
        put_in_order(&mut items, |(id, _)| id.map(ArchiveId));
        assert_eq!(items.iter().map(|(_, name)| *name).collect::<String>(), "adbce");
    }
}
