//! The rooms that are awake: each is a task of its own, reached by its address only. Others sleep in the database, and
//! cost nothing (DESIGN §7).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use waxwing_core::address::BareJid;
use waxwing_core::archive::Archive;
use waxwing_core::fault::Fault;
use waxwing_core::module::Context;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;

use crate::activity::{Activity, Pace};
use crate::courier::Courier;
use crate::resident;
use crate::room::{Event, Rules};
use crate::store::Store;

/// What a room has decided about what it heard, beside what it says to others.
#[derive(Debug)]
pub enum Granted {
    /// Nothing more is to be done.
    Done,
    /// The request may read the archive.
    Archive {
        /// The request.
        request: Stanza,
        /// Whether real addresses, from a time when everyone saw them, are to be left out.
        hides_addresses: bool,
    },
    /// The request may see the room's card.
    Card(Stanza),
}

/// Something for a room to hear, and whom to tell what came of it.
pub struct Call {
    /// What it hears. Boxed, because queues of many rooms hold places for it.
    pub event: Box<Event>,
    /// Who waits; nobody for what comes from the house itself, which must never wait for a room that may wait for it.
    pub reply: Option<oneshot::Sender<Result<Granted, Refusal>>>,
}

type Inbox = mpsc::Sender<Call>;

/// A room that is awake, from outside.
struct Awake {
    inbox: Inbox,
    pace: Arc<Pace>,
}

/// What every room needs that is kept.
pub struct Rooms {
    /// The house around them.
    pub context: Context,
    /// What holds for all rooms.
    pub rules: Arc<Rules>,
    /// Where they sleep.
    pub store: Store,
    /// Where what is said in them is kept.
    pub archive: Option<Arc<dyn Archive>>,
    /// Who brings what they say.
    pub courier: Courier,
    /// Who wants to know where something is said.
    pub activity: Activity,
    /// Cancelled when everyone in every room is told that the service stops.
    pub closing: CancellationToken,
    awake: Mutex<HashMap<BareJid, Awake>>,
}

impl Rooms {
    /// No room is awake yet.
    pub fn new(
        context: Context,
        rules: Arc<Rules>,
        store: Store,
        archive: Option<Arc<dyn Archive>>,
        courier: Courier,
    ) -> Rooms {
        let (activity, closing) = (Activity::default(), context.house().stopped().child_token());
        Rooms { context, rules, store, archive, courier, activity, closing, awake: Mutex::default() }
    }

    /// Tells a room something and waits for what comes of it.
    ///
    /// # Errors
    /// What whoever said it is told.
    pub async fn ask(self: &Arc<Rooms>, room: &BareJid, event: Event) -> Result<Granted, Refusal> {
        let (reply, answer) = oneshot::channel();
        let inbox = self.inbox(room)?;
        let call = Call { event: Box::new(event), reply: Some(reply) };
        if inbox.send(call).await.is_err() {
            return Err(self.gone("a room went while it was spoken to"));
        }
        // Held until here, so that the room does not fall asleep in between.
        drop(inbox);
        answer.await.unwrap_or_else(|_| Err(self.gone("a room went before it had answered")))
    }

    /// What whoever speaks to a room is told when it has gone instead of answering.
    fn gone(&self, how: &'static str) -> Refusal {
        if self.closing.is_cancelled() { stopping() } else { Fault::new(how).into() }
    }

    /// Everyone in every room is told that the service stops (XEP-0045 §11.2), and no room is woken any more. Returns
    /// when all have been told.
    pub async fn close(&self) {
        self.closing.cancel();
        let inboxes: Vec<Inbox> = self.awake.lock().values().map(|awake| awake.inbox.clone()).collect();
        for inbox in inboxes {
            inbox.closed().await;
        }
    }

    /// Tells a room something and does not wait; false when too much waits for it already.
    pub fn tell(self: &Arc<Rooms>, room: &BareJid, event: Event) -> bool {
        match self.inbox(room) {
            Ok(inbox) => inbox.try_send(Call { event: Box::new(event), reply: None }).is_ok(),
            Err(_) => false,
        }
    }

    /// Tells a room something if it is awake: who is in none learns nothing.
    pub async fn tell_if_awake(&self, room: &BareJid, event: Event) {
        let inbox = self.awake.lock().get(room).map(|awake| awake.inbox.clone());
        if let Some(inbox) = inbox {
            let _ = inbox.send(Call { event: Box::new(event), reply: None }).await;
        }
    }

    /// Whether a room is awake.
    pub fn is_awake(&self, room: &BareJid) -> bool {
        self.awake.lock().contains_key(room)
    }

    /// What is known of the activity of a room that is awake.
    pub fn pace(&self, room: &BareJid) -> Option<Arc<Pace>> {
        self.awake.lock().get(room).map(|awake| awake.pace.clone())
    }

    /// The way to a room, which is woken.
    fn inbox(self: &Arc<Rooms>, room: &BareJid) -> Result<Inbox, Refusal> {
        let mut awake = self.awake.lock();
        if self.closing.is_cancelled() {
            return Err(stopping());
        }
        if let Some(awake) = awake.get(room) {
            return Ok(awake.inbox.clone());
        }
        if !self.rules.settings.rooms_awake.allows(awake.len() + 1) {
            return Err(Refusal::resource_constraint().saying("too many rooms are in use"));
        }
        let (inbox, calls) = mpsc::channel(self.rules.settings.waiting.get().clamp(1, 1 << 16));
        let pace = Arc::new(Pace::default());
        awake.insert(room.clone(), Awake { inbox: inbox.clone(), pace: pace.clone() });
        let task = resident::live(self.clone(), room.clone(), calls, pace);
        self.context.house().tasks().spawn(task);
        Ok(inbox)
    }

    /// Lets a room sleep if nothing waits for it and nobody is about to say something to it.
    pub fn sleep(&self, room: &BareJid, calls: &mpsc::Receiver<Call>) -> bool {
        let mut awake = self.awake.lock();
        // Senders are taken under this lock: one that is not the map's own is about to send.
        let is_quiet = calls.is_empty() && calls.sender_strong_count() <= 1;
        if is_quiet {
            awake.remove(room);
        }
        is_quiet
    }

    /// A room is no more, whatever waits for it.
    pub fn remove(&self, room: &BareJid) {
        self.awake.lock().remove(room);
    }
}

/// What whoever speaks to a room is told while the server stops.
pub fn stopping() -> Refusal {
    Refusal::resource_constraint().saying("the server is being stopped")
}
