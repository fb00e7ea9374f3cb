//! Delivery of what was kept: page by page into a session's mailbox, and done with when it is with the client.
//!
//! What is in the mailbox is still kept; what is done with was acknowledged by the client, or, without stream management,
//! handed to the operating system. So a crash repeats a little at worst and loses nothing, and a session that ends gives
//! back what has not arrived. A page comes from two places in the order of their ids: rows of the table, and the account's
//! archive behind its cursor.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use waxwing_core::address::BareJid;
use waxwing_core::archive::CatchesUp;
use waxwing_core::directory::Sessions;
use waxwing_core::fault::Fault;
use waxwing_core::module::Context;
use waxwing_core::notes::Note;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::session::Session;
use waxwing_core::stanza::{Stanza, element};
use waxwing_storage::{GroupCommit, StorageError};

use crate::cursor::Cover;
use crate::depots::{self, Depots, is_behind, is_here, is_open};
use crate::keeping;
use crate::page::{self, Item, Page, Place, Source};
use crate::store::{Change, Message, Store};

/// Between two attempts while the database is away.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a client that has just come is kept waiting until it has everything.
const CATCHING_UP: Duration = Duration::from_secs(1);
/// How long the next client waits at most for what one that is gone gives back.
const GIVING_BACK: Duration = Duration::from_secs(5);
/// The shortest and the longest time between two looks whether a client has read.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(200)];

/// A stanza is taken to have so many bytes when nobody remembers.
const UNKNOWN_SIZE: usize = 4096;

/// A message comes from here: where its place is when it comes back.
#[derive(Clone, Debug)]
pub struct WasKept {
    /// Its id in the table, or in the archive.
    pub id: i64,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at: i64,
    /// Gone with the last message of a page that is not with its client yet, nor kept again.
    _under_way: Arc<oneshot::Sender<()>>,
}
impl Note for WasKept {}

/// Somebody waits until the session is connected again.
#[derive(Default)]
struct Awaited(bool);
impl Note for Awaited {}

/// What delivery works with.
pub struct Delivery {
    pub context: Context,
    pub store: Store,
    pub depots: Depots,
    pub writer: GroupCommit<Change>,
    /// How many archived messages a client is given at most.
    pub most_archived: usize,
}

/// A page in a mailbox: each message with its place among all that was delivered to the session.
struct UnderWay {
    messages: Vec<(Source, u64)>,
    arrived: oneshot::Receiver<()>,
}

/// Waits longer and longer, as long as somebody does not move.
pub struct Patience(Duration);

impl Patience {
    /// From the beginning.
    pub fn new() -> Patience {
        Patience(LOOKS[0])
    }

    /// Waits once.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LOOKS[1]);
    }
}

impl Delivery {
    /// A session that messages can go to now gets what is kept for its account, after those that asked before.
    pub fn begin(self: &Arc<Delivery>, session: &Arc<Session>) {
        if !self.depots.want(session) {
            return;
        }
        let (delivery, account) = (self.clone(), session.account().clone());
        self.context.house().tasks().spawn(async move {
            while let Some(session) = delivery.depots.next(&account) {
                let has_all = delivery.deliver(&account, &session).await;
                if delivery.context.house().stopped().is_cancelled() {
                    return;
                }
                if has_all {
                    delivery.move_cursor(&account).await;
                } else {
                    let mut others = delivery.open_sessions(&account);
                    others.retain(|session| is_here(session));
                    delivery.depots.hand_on(&account, &others);
                }
            }
        });
    }

    /// Like [`Delivery::begin`], and waits until the session has all, but not for long: if there is not much of it,
    /// whatever else the client is told comes after it.
    pub async fn begin_and_wait(self: &Arc<Delivery>, session: &Arc<Session>) {
        self.begin(session);
        let mut patience = Patience::new();
        let caught_up = async {
            while is_behind(session) && is_here(session) {
                patience.wait().await;
            }
        };
        let _ = tokio::time::timeout(CATCHING_UP, caught_up).await;
    }

    /// Like [`Delivery::begin_and_wait`], for a session that goes on with another connection. It is here as soon as its
    /// writer has that, which may be a moment later: until then nothing can be delivered to it, and nobody says when.
    pub async fn begin_when_here_and_wait(self: &Arc<Delivery>, session: &Arc<Session>) {
        if !session.with_note::<Awaited, _>(|awaited| std::mem::replace(&mut awaited.0, true)) {
            let (delivery, session) = (self.clone(), session.clone());
            self.context.house().tasks().spawn(async move {
                let mut patience = Patience::new();
                let stopped = delivery.context.house().stopped();
                while session.waits_since().is_some() && !session.is_ending() && !stopped.is_cancelled() {
                    patience.wait().await;
                }
                // First: if the connection is lost again now, the next resumption begins anew.
                session.with_note::<Awaited, _>(|awaited| awaited.0 = false);
                if is_open(&session) {
                    delivery.begin(&session);
                }
            });
        }
        let mut patience = Patience::new();
        let caught_up = async {
            while is_behind(session) && is_open(session) {
                patience.wait().await;
            }
        };
        let _ = tokio::time::timeout(CATCHING_UP, caught_up).await;
    }

    /// The sessions that messages to the bare address go to, the most important first.
    pub fn open_sessions(&self, account: &BareJid) -> Sessions {
        let mut sessions = self.context.directory().sessions(account);
        sessions.retain(|session| is_open(session));
        sessions.sort_by_key(|session| Reverse(session.priority()));
        sessions
    }

    /// Delivers everything there is to one session. Whether it has all then: else it is not here any more.
    async fn deliver(self: &Arc<Delivery>, account: &BareJid, session: &Arc<Session>) -> bool {
        let mut patience = Patience::new();
        let mut place = Place::default();
        let begun = tokio::time::Instant::now();
        while self.depots.is_giving_back(account) && is_here(session) && begun.elapsed() < GIVING_BACK {
            patience.wait().await;
        }
        while is_here(session) && !self.context.house().stopped().is_cancelled() {
            let Some(stored) = self.depots.look(account) else {
                patience.wait().await;
                continue;
            };
            patience = Patience::new();
            place.look(stored);
            let known = session.note::<CatchesUp>().map(|CatchesUp(until)| until);
            match self.page(account, known, &mut place).await {
                Err(error) => {
                    tracing::debug!(%account, %error, "offline.not_read");
                    self.depots.takes_longer(account);
                    self.pause().await;
                }
                Ok(page) => {
                    let is_last = page.is_last;
                    let is_complete = self.put(account, session, page, &mut place).await;
                    let sessions = self.context.directory().sessions(account);
                    if is_last && is_complete && self.depots.has_all(account, &sessions, stored) {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Puts one page into the mailbox, as far as the session takes it. Whether that was all of it.
    async fn put(
        self: &Arc<Delivery>,
        account: &BareJid,
        session: &Arc<Session>,
        page: Page,
        place: &mut Place,
    ) -> bool {
        let (sender, arrived) = oneshot::channel();
        let sender = Arc::new(sender);
        let rows = |item: &Item| matches!(item.source, Source::Row(_)).then_some(item.source.id());
        self.depots.hand_over(account, page.items.iter().filter_map(rows).chain(page.worthless.iter().copied()));
        if let Some(until) = page.archive_read_until {
            let archived = page.items.iter().filter(|item| matches!(item.source, Source::Archive(_)));
            let ids: Vec<i64> = archived.map(|item| item.source.id()).collect();
            self.depots.with_cursor(account, |cursor| cursor.hand_over(until, ids.into_iter()));
        }
        // What needs no delivery is done with at once.
        let mut messages: Vec<(Source, u64)> = page.worthless.iter().map(|id| (Source::Row(*id), 0)).collect();
        let mut left = Vec::new();
        for item in page.items {
            let Item { source, stored_at, stanza } = item;
            if !left.is_empty() {
                left.push(source);
                continue;
            }
            let size = stanza.size();
            let mut parcel = Parcel::new(stanza, Origin::House);
            parcel.notes.put(WasKept { id: source.id(), stored_at, _under_way: sender.clone() });
            if self.is_blocked(account, &parcel).await {
                messages.push((source, 0));
                continue;
            }
            self.wait_for_room(account, session, size).await;
            if !is_here(session) || session.deliver(parcel).is_err() {
                left.push(source);
                continue;
            }
            messages.push((source, session.progress().put));
        }
        let is_complete = left.is_empty();
        if let (true, Some(until)) = (is_complete, page.archive_read_until) {
            depots::note_handed_over(session, until);
        }
        let (rows, archived) = Source::sort(left.iter());
        self.depots.arrived(account, &rows, &[]);
        self.depots.with_cursor(account, |cursor| cursor.take_back(&archived));
        if !is_complete {
            place.begin_again();
        }
        drop(sender);
        let under_way = UnderWay { messages, arrived };
        if !under_way.messages.is_empty() {
            self.depots.begin_page(account, session);
            let (delivery, account, session) = (self.clone(), account.clone(), session.clone());
            self.context.house().tasks().spawn(async move {
                delivery.settle(&account, &session, under_way).await;
                delivery.depots.end_page(&account, &session);
            });
        }
        is_complete
    }

    /// Waits until a page is with its client or was given back, and is done with it.
    async fn settle(self: &Arc<Delivery>, account: &BareJid, session: &Arc<Session>, page: UnderWay) {
        // Each message has been written, acknowledged, stored with its session, or kept again.
        let _ = page.arrived.await;
        let last = page.messages.iter().map(|(_, place)| *place).max().unwrap_or(0);
        let mut patience = Patience::new();
        // Only a keeper knows what a client has received. Without one, what the operating system has counts.
        while !session.is_kept() && session.progress().written < last && !session.has_ended() {
            patience.wait().await;
        }
        let progress = session.progress();
        let is_lost = |place: u64| !session.is_kept() && progress.written < place && place <= progress.taken;
        let (lost, done): (Vec<_>, Vec<_>) = page.messages.into_iter().partition(|(_, place)| is_lost(*place));
        let (lost_rows, lost_archived) = Source::sort(lost.iter().map(|(source, _)| source));
        let (rows, archived) = Source::sort(done.iter().map(|(source, _)| source));
        // What was written to a connection that is lost goes to the next one.
        self.keep_again(account, &lost_archived).await;
        self.forget(account, &self.depots.gone(account, &rows)).await;
        let stored = (!lost.is_empty()).then(|| {
            let sessions = self.context.directory().sessions(account);
            self.depots.store(account, &sessions)
        });
        self.depots.arrived(account, &[rows, lost_rows].concat(), &[archived, lost_archived].concat());
        self.move_cursor(account).await;
        if stored.is_some() {
            drop(stored);
            for session in &self.open_sessions(account) {
                self.begin(session);
            }
        }
    }

    /// Keeps archived messages by their ids, before the cursor moves past them.
    async fn keep_again(&self, account: &BareJid, ids: &[i64]) {
        let keep = async || {
            let mut receipts = Vec::with_capacity(ids.len());
            for id in ids {
                let message = Message::archived(account, *id, UNKNOWN_SIZE, true);
                receipts.push(self.writer.submit(Change::Keep(message)).await?);
            }
            for receipt in receipts {
                receipt.committed().await?;
            }
            Ok::<_, StorageError>(())
        };
        while let Err(error) = keep().await {
            tracing::debug!(%account, %error, "offline.not_kept_again");
            if !error.is_unavailable() || !self.pause().await {
                return;
            }
        }
    }

    /// A message is in the archive, and the database is away before the cursor tells of it. It cannot be refused any more:
    /// the cursor is written as soon as that is possible.
    pub fn cover_later(self: &Arc<Delivery>, account: &BareJid, error: StorageError) {
        tracing::warn!(%account, %error, "offline.cursor_is_written_later");
        let (delivery, account) = (self.clone(), account.clone());
        self.context.house().tasks().spawn(async move { delivery.move_cursor(&account).await });
    }

    /// As [`Delivery::cover_later`], for an archived message that has a row of its own.
    pub fn keep_later(self: &Arc<Delivery>, account: &BareJid, id: i64, error: StorageError) {
        tracing::warn!(%account, %error, "offline.message_is_kept_later");
        let (delivery, account) = (self.clone(), account.clone());
        self.context.house().tasks().spawn(async move {
            delivery.keep_again(&account, &[id]).await;
            let sessions = delivery.context.directory().sessions(&account);
            drop(delivery.depots.store(&account, &sessions));
            for session in &delivery.open_sessions(&account) {
                delivery.begin(session);
            }
        });
    }

    /// Waits until a stanza of this size fits into the mailbox, or the session ends or loses its connection: a client that
    /// reads slowly is not cut off for what we have kept for it.
    async fn wait_for_room(&self, account: &BareJid, session: &Session, size: usize) {
        let mut patience = Patience::new();
        while session.room() < size && is_here(session) {
            self.depots.takes_longer(account);
            patience.wait().await;
        }
    }

    /// Reads the next page that is to be delivered. What the client has found in the archive for itself, up to `known`, is
    /// left out.
    async fn page(
        &self,
        account: &BareJid,
        known: Option<waxwing_core::archive::ArchiveId>,
        place: &mut Place,
    ) -> Result<Page, StorageError> {
        page::read(self, account, known, place).await
    }

    /// A message as it is delivered.
    pub fn read(&self, id: i64, stored_at: i64, bytes: impl Into<Bytes>) -> Result<Stanza, Fault> {
        let broken = |why: &str| Fault::new(format_args!("offline message {id} cannot be read: {why}"));
        let stanza = Stanza::read(element(bytes)?).ok_or_else(|| broken("it is no stanza"))?;
        let mut stanza = stanza.map_err(|malformed| broken(&malformed.refusal.to_string()))?;
        keeping::mark_delayed(&mut stanza, self.context.domain(), stored_at)?;
        Ok(stanza)
    }

    /// Whether the account has blocked the sender since (XEP-0191 §3.3). In doubt it has not.
    async fn is_blocked(&self, account: &BareJid, parcel: &Parcel) -> bool {
        match (self.context.contracts().blocking(), &parcel.stanza.from) {
            (Some(blocking), Some(from)) => blocking.is_blocked(account, from).await.unwrap_or(false),
            _ => false,
        }
    }

    /// Sees to it that the table tells to deliver what is archived under this id, because nobody receives it now. Something
    /// is [`Storing`](crate::depots::Storing) meanwhile.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn cover(&self, account: &BareJid, id: i64) -> Result<(), StorageError> {
        let mut patience = Patience::new();
        while self.depots.cover(account, id) == Cover::MustWrite {
            match self.write_cursor(account).await? {
                true => {}
                // Somebody else is at it.
                false => patience.wait().await,
            }
        }
        Ok(())
    }

    /// Writes down where the account's cursor stands, if it does not say so yet. While the database is away it is tried
    /// again: what the table does not know is delivered twice.
    async fn move_cursor(&self, account: &BareJid) {
        loop {
            match self.write_cursor(account).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::debug!(%account, %error, "offline.cursor_not_moved");
                    if !error.is_unavailable() {
                        Fault::new(error);
                        return;
                    }
                    if !self.pause().await {
                        return;
                    }
                }
            }
        }
    }

    /// One step of that; false when there is nothing to do, or somebody else does it.
    async fn write_cursor(&self, account: &BareJid) -> Result<bool, StorageError> {
        let Some(write) = self.depots.begin_to_write(account) else { return Ok(false) };
        let mut writing = Writing { depots: &self.depots, account, write, is_certain: false };
        let written = self.writer.write(Change::Move(account.clone(), write)).await;
        writing.is_certain = written.is_ok();
        drop(writing);
        written.map(|()| true)
    }

    /// Deletes what was delivered. While the database is away it is tried again, because what stays is delivered twice.
    async fn forget(&self, account: &BareJid, ids: &[i64]) {
        while let Err(error) = self.store.delete(ids).await {
            tracing::debug!(%account, %error, "offline.not_deleted");
            if !error.is_unavailable() {
                Fault::new(error);
                return;
            }
            if !self.pause().await {
                tracing::warn!(%account, messages = ids.len(), "offline.delivered_and_not_deleted");
                return;
            }
        }
    }

    /// Waits until the database may be back; false when the house is shut down.
    async fn pause(&self) -> bool {
        let stopped = self.context.house().stopped();
        tokio::select! {
            () = stopped.cancelled() => false,
            () = tokio::time::sleep(PAUSE) => true,
        }
    }

    /// Deletes everything that is kept for an account.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn forget_account(&self, account: &BareJid) -> Result<(), StorageError> {
        self.depots.forget(account);
        self.store.forget(account).await
    }

    /// Of these rows, those that nobody has been handed yet.
    pub fn free(&self, account: &BareJid, ids: &[i64]) -> HashSet<i64> {
        self.depots.free(account, ids)
    }
}

/// Somebody writes the cursor down. Dropped when that is over, also when nobody waits for it any more.
struct Writing<'a> {
    depots: &'a Depots,
    account: &'a BareJid,
    write: crate::cursor::Write,
    is_certain: bool,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.depots.with_cursor(self.account, |cursor| cursor.end_writing(self.write, self.is_certain));
    }
}
