//! Delivery of what was kept: page by page into a session's mailbox, and deleted when its writer has taken it.
//!
//! What is in the mailbox is still in the database; what is deleted was handed to the client's connection. So a crash
//! repeats a page at worst and loses nothing, and a session that ends gives back what it has not written.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use waxwing_core::address::BareJid;
use waxwing_core::fault::Fault;
use waxwing_core::module::Context;
use waxwing_core::notes::Note;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::session::Session;
use waxwing_core::stanza::{Stanza, element};
use waxwing_storage::StorageError;

use crate::depots::{Depots, Rest, is_open};
use crate::keeping;
use crate::store::{Kept, Store};

/// How many messages make a page.
const PAGE_MESSAGES: u32 = 200;
/// How many bytes make a page: a part of what may wait for one client, so that other stanzas have room.
const PAGE_BYTES: u32 = 256 * 1024;
/// How long a client that has just come waits for the first page.
const FIRST_PAGE: Duration = Duration::from_secs(1);
/// Between two attempts while the database is away.
const PAUSE: Duration = Duration::from_secs(1);
/// The shortest and the longest time between two looks whether a client has read.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(200)];

/// A message comes from here: where its place is when it comes back.
#[derive(Clone, Copy, Debug)]
pub struct WasKept {
    /// Its id in the table.
    pub id: i64,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at: i64,
}
impl Note for WasKept {}

/// Nothing is ever sent: that the sender is gone says it all.
pub enum Begun {}

/// What delivery works with.
pub struct Delivery {
    pub context: Context,
    pub store: Store,
    pub depots: Depots,
}

/// Waits longer and longer, as long as somebody does not move.
struct Patience(Duration);

impl Patience {
    fn new() -> Patience {
        Patience(LOOKS[0])
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(LOOKS[1]);
    }
}

impl Delivery {
    /// A session that messages can go to now gets what is kept for its account, after those that asked before. What is
    /// given back ends when its first page is in the mailbox; none when others come before it.
    pub fn begin(self: &Arc<Delivery>, session: &Arc<Session>) -> Option<oneshot::Receiver<Begun>> {
        if !self.depots.want(session) {
            return None;
        }
        let (delivery, account) = (self.clone(), session.account().clone());
        let (begun, has_begun) = oneshot::channel();
        self.context.house().tasks().spawn(async move {
            let mut begun = Some(begun);
            while let Some(session) = delivery.depots.next(&account) {
                delivery.deliver(&account, &session, begun.take()).await;
                delivery.depots.done(&session);
            }
        });
        Some(has_begun)
    }

    /// Like [`Delivery::begin`], and waits for the first page, but not for long: whatever else is said to the client
    /// comes after what was kept for it, if there is not much of it.
    pub async fn begin_and_wait(self: &Arc<Delivery>, session: &Arc<Session>) {
        if let Some(begun) = self.begin(session) {
            let _ = tokio::time::timeout(FIRST_PAGE, begun).await;
        }
    }

    /// Delivers everything there is to one session, until it has all or is not open any more.
    async fn deliver(&self, account: &BareJid, session: &Arc<Session>, mut begun: Option<oneshot::Sender<Begun>>) {
        let mut unreadable = 0;
        let mut patience = Patience::new();
        while is_open(session) {
            let stored = self.depots.stored(account);
            match self.store.page(account, unreadable, PAGE_MESSAGES, PAGE_BYTES).await {
                Err(error) => {
                    tracing::debug!(%account, %error, "offline.not_read");
                    begun = None;
                    self.pause().await;
                }
                Ok(page) if page.is_empty() => match self.depots.has_all(session, stored) {
                    Rest::Nothing => return,
                    Rest::More => {}
                    Rest::Soon => patience.wait().await,
                },
                Ok(page) => {
                    patience = Patience::new();
                    unreadable = self.hand_over(account, session, page, begun.take()).await.unwrap_or(unreadable);
                }
            }
            if self.context.house().stopped().is_cancelled() {
                return;
            }
        }
    }

    /// Delivers one page, and deletes of it what was taken. Gives back the last message that cannot be read.
    async fn hand_over(
        &self,
        account: &BareJid,
        session: &Arc<Session>,
        page: Vec<Kept>,
        begun: Option<oneshot::Sender<Begun>>,
    ) -> Option<i64> {
        let mut unreadable = None;
        let mut delivered = Vec::with_capacity(page.len());
        for Kept { id, content } in page {
            match self.read(id, content) {
                Err(_) => unreadable = Some(id),
                Ok((parcel, _)) if self.is_blocked(account, &parcel).await => delivered.push(id),
                Ok((parcel, size)) => {
                    wait_for_room(session, size).await;
                    if session.deliver(parcel).is_err() {
                        break;
                    }
                    delivered.push(id);
                }
            }
        }
        drop(begun);
        let all = session.progress().put;
        let mut patience = Patience::new();
        while session.progress().taken < all && !session.has_ended() {
            patience.wait().await;
        }
        if session.progress().taken < all {
            // Its end is complete: what it had not written has come back.
            delivered = self.depots.gone(account, &delivered);
        }
        self.forget(account, &delivered).await;
        unreadable
    }

    /// A message as it is delivered, and how much room it takes.
    fn read(&self, id: i64, content: Result<(i64, Vec<u8>), String>) -> Result<(Parcel, usize), Fault> {
        let broken = |why: &str| Fault::new(format_args!("offline message {id} cannot be read: {why}"));
        let (stored_at, bytes) = content.map_err(|why| broken(&why))?;
        let stanza = Stanza::read(element(bytes)?).ok_or_else(|| broken("it is no stanza"))?;
        let mut stanza = stanza.map_err(|malformed| broken(&malformed.refusal.to_string()))?;
        keeping::mark_delayed(&mut stanza, self.context.domain(), stored_at)?;
        let size = stanza.size();
        let mut parcel = Parcel::new(stanza, Origin::House);
        parcel.notes.put(WasKept { id, stored_at });
        Ok((parcel, size))
    }

    /// Whether the account has blocked the sender since (XEP-0191 §3.3). In doubt it has not.
    async fn is_blocked(&self, account: &BareJid, parcel: &Parcel) -> bool {
        match (self.context.contracts().blocking(), &parcel.stanza.from) {
            (Some(blocking), Some(from)) => blocking.is_blocked(account, from).await.unwrap_or(false),
            _ => false,
        }
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
        self.store.forget(account).await
    }
}

/// Waits until a stanza of this size fits into the mailbox, or the session ends: a client that reads slowly is not cut
/// off for what we have kept for it.
async fn wait_for_room(session: &Session, size: usize) {
    let mut patience = Patience::new();
    while session.room() < size && !session.has_ended() {
        patience.wait().await;
    }
}
