//! Delivery of what was kept: page by page into a session's mailbox, and deleted when its writer has taken it.
//!
//! What is in the mailbox is still in the database; what is deleted was handed to the client's connection. So a crash
//! repeats a page at worst and loses nothing, and a session that ends gives back what it has not written.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use waxwing_core::address::BareJid;
use waxwing_core::directory::Sessions;
use waxwing_core::fault::Fault;
use waxwing_core::module::Context;
use waxwing_core::notes::Note;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::session::Session;
use waxwing_core::stanza::{Stanza, element};
use waxwing_storage::StorageError;

use crate::depots::{Depots, is_behind, is_open};
use crate::keeping;
use crate::store::{Kept, Store};

/// How many messages make a page.
const PAGE_MESSAGES: u32 = 200;
/// How many bytes make a page: a part of what may wait for one client, so that other stanzas have room.
const PAGE_BYTES: u32 = 256 * 1024;
/// How long a client that has just come is kept waiting until it has everything.
const CATCHING_UP: Duration = Duration::from_secs(1);
/// Between two attempts while the database is away.
const PAUSE: Duration = Duration::from_secs(1);
/// The shortest and the longest time between two looks whether a client has read.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(200)];

/// A client that has read nothing for about so long does not read quickly: nobody waits for it.
const QUICKLY: Duration = Duration::from_millis(30);

/// A message comes from here: where its place is when it comes back.
#[derive(Clone, Copy, Debug)]
pub struct WasKept {
    /// Its id in the table.
    pub id: i64,
    /// When it was stored, in milliseconds since 1970.
    pub stored_at: i64,
}
impl Note for WasKept {}

/// What delivery works with.
pub struct Delivery {
    pub context: Context,
    pub store: Store,
    pub depots: Depots,
}

/// What was put into a mailbox.
struct Put {
    ids: Vec<i64>,
    /// Whether that was the whole page.
    is_complete: bool,
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
                if !has_all {
                    delivery.depots.hand_on(&account, &delivery.open_sessions(&account));
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

    /// Delivers everything there is to one session. Whether it has all then: else it is not open any more.
    async fn deliver(&self, account: &BareJid, session: &Arc<Session>) -> bool {
        let mut unreadable = 0;
        let mut patience = Patience::new();
        while is_open(session) && !self.context.house().stopped().is_cancelled() {
            let Some(stored) = self.depots.look(account) else {
                patience.wait().await;
                continue;
            };
            patience = Patience::new();
            match self.store.page(account, unreadable, PAGE_MESSAGES, PAGE_BYTES).await {
                Err(error) => {
                    tracing::debug!(%account, %error, "offline.not_read");
                    self.depots.takes_longer(account);
                    self.pause().await;
                }
                Ok(page) => {
                    let is_last = is_last(&page);
                    let put = self.put(account, session, page, &mut unreadable).await;
                    let sessions = self.context.directory().sessions(account);
                    let has_all = is_last && put.is_complete && self.depots.has_all(account, &sessions, stored);
                    self.settle(account, session, put.ids).await;
                    if has_all {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// Puts one page into the mailbox, as far as the session takes it.
    async fn put(&self, account: &BareJid, session: &Session, page: Vec<Kept>, unreadable: &mut i64) -> Put {
        let mut put = Put { ids: Vec::with_capacity(page.len()), is_complete: true };
        for Kept { id, content } in page {
            let (parcel, size) = match self.read(id, content) {
                Err(_) => {
                    *unreadable = id;
                    continue;
                }
                Ok(read) => read,
            };
            if !self.is_blocked(account, &parcel).await {
                self.wait_for_room(account, session, size).await;
                if session.deliver(parcel).is_err() {
                    put.is_complete = false;
                    return put;
                }
            }
            put.ids.push(id);
        }
        put
    }

    /// Deletes what was put into the mailbox, when the session's writer has taken it or the session has ended.
    async fn settle(&self, account: &BareJid, session: &Session, mut ids: Vec<i64>) {
        if ids.is_empty() {
            return;
        }
        let all = session.progress().put;
        let mut patience = Patience::new();
        while session.progress().taken < all && !session.has_ended() {
            patience.wait().await;
            if patience.0 > QUICKLY {
                self.depots.takes_longer(account);
            }
        }
        if session.progress().taken < all {
            // Its end is complete: what it had not written has come back.
            ids = self.depots.gone(account, &ids);
        }
        self.forget(account, &ids).await;
    }

    /// Waits until a stanza of this size fits into the mailbox, or the session ends: a client that reads slowly is not
    /// cut off for what we have kept for it.
    async fn wait_for_room(&self, account: &BareJid, session: &Session, size: usize) {
        let mut patience = Patience::new();
        while session.room() < size && !session.is_ending() {
            self.depots.takes_longer(account);
            patience.wait().await;
        }
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

/// Whether there was nothing more behind this page when it was read.
fn is_last(page: &[Kept]) -> bool {
    let bytes = page.iter().map(|kept| kept.content.as_ref().map_or(0, |(_, stanza)| stanza.len())).sum::<usize>();
    page.len() < PAGE_MESSAGES as usize && bytes < PAGE_BYTES as usize
}
