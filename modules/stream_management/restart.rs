//! Sessions over a stop of the server: stored when it stops, brought back when it starts, and what is left of those that
//! cannot be brought back is kept elsewhere.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use waxwing_core::address::ResourcePart;
use waxwing_core::clock::now_milliseconds;
use waxwing_core::notes::Notes;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::session::{Circumstances, Saved, Session};
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::storage::StorageError;

use crate::managed::{Counters, IsManaged, Managed};
use crate::shared::Shared;
use crate::store::{Change, State, StoredSession, StoredStanza};

/// How many sessions are read at a time, and about how many bytes of stanzas.
const SESSIONS_AT_A_TIME: u32 = 200;
const BYTES_AT_A_TIME: usize = 16 * 1024 * 1024;

/// What is stored of a session beside its counters and stanzas.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Details {
    resource: String,
    sent: u32,
    /// How long it waits for its client, in seconds.
    patience: u64,
    interested: bool,
    presence: Option<String>,
    notes: Vec<(String, String)>,
    lang: Option<String>,
}

impl Shared {
    /// Stores a session with what has not reached its client.
    ///
    /// # Errors
    /// Gives back what waited when it cannot be stored, or is not to be.
    pub async fn suspend(&self, managed: &Managed, session: &Session, waiting: Vec<Parcel>) -> Result<(), Vec<Parcel>> {
        if !managed.is_resumable() {
            return Err(waiting);
        }
        let sent = managed.sent();
        let unacknowledged = managed.take();
        let stanzas = unacknowledged.iter().map(|parcel| stored(parcel, true));
        let stanzas = stanzas.chain(waiting.iter().map(|parcel| stored(parcel, false))).collect();
        let change = match details(session.save(), sent, managed.patience()) {
            Ok(details) => Change::Stored(Box::new(StoredSession {
                id: managed.id.clone(),
                account: session.account().clone(),
                handled: managed.handled(session),
                stored_at: 0,
                details,
                stanzas,
            })),
            Err(error) => {
                tracing::error!(session = %session.jid(), %error, "stream_management.not_stored");
                return Err(unacknowledged.into_iter().chain(waiting).collect());
            }
        };
        if let Err(error) = self.changes.write(change).await {
            tracing::warn!(session = %session.jid(), %error, "stream_management.not_stored");
            return Err(unacknowledged.into_iter().chain(waiting).collect());
        }
        self.leave(managed);
        Ok(())
    }

    /// Before the listeners open: keeps elsewhere what a crash has left behind, then brings back the sessions that were
    /// stored when the server was stopped.
    pub async fn bring_back(self: &Arc<Self>) {
        for state in [State::Lost, State::Stored] {
            if let Err(error) = self.bring_back_those(state).await {
                tracing::error!(host = %self.context.domain(), %error, "stream_management.not_brought_back");
            }
        }
    }

    async fn bring_back_those(self: &Arc<Self>, state: State) -> Result<(), StorageError> {
        let host = self.context.domain().as_str();
        let mut after = Some(String::new());
        let (mut back, mut over) = (0usize, 0usize);
        while let Some(begin) = after.take() {
            let page = self.store.take(host, state, &begin, SESSIONS_AT_A_TIME, BYTES_AT_A_TIME).await?;
            after = page.next;
            for session in page.sessions {
                let is_too_old = now_milliseconds() - session.stored_at > self.remember_for();
                match if state == State::Lost || is_too_old { Err(session) } else { self.restore(session) } {
                    Ok(()) => back += 1,
                    Err(session) => {
                        self.give_up(session).await;
                        over += 1;
                    }
                }
            }
        }
        if back + over > 0 {
            tracing::info!(host, back, over, "stream_management.brought_back");
        }
        Ok(())
    }

    /// How long something is remembered, in milliseconds.
    pub fn remember_for(&self) -> i64 {
        i64::try_from(self.settings.remember_for.get().as_millis()).unwrap_or(i64::MAX)
    }

    /// Brings a session back; it waits for its client then.
    fn restore(self: &Arc<Self>, mut stored: StoredSession) -> Result<(), StoredSession> {
        let Ok(details) = serde_json::from_str::<Details>(&stored.details) else { return Err(stored) };
        let Ok(resource) = ResourcePart::new(&details.resource) else { return Err(stored) };
        let saved = Saved {
            jid: stored.account.with_resource(&resource),
            presence: details.presence.and_then(|presence| read(presence.into_bytes())),
            interested: details.interested,
            notes: details.notes,
            circumstances: Circumstances {
                lang: details.lang.map(Into::into),
                transport: "restored",
                mechanism: "restored",
                ..Circumstances::default()
            },
        };
        if self.context.directory().session(&saved.jid).is_some() {
            return Err(stored);
        }
        let counters = Counters {
            id: stored.id.clone(),
            patience: self.settings.patience(Some(details.patience)),
            handled: stored.handled,
            sent: details.sent,
        };
        let (sent, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut stored.stanzas).into_iter().partition(|one| one.was_sent);
        let kept = sent.into_iter().filter_map(parcel).collect();
        let managed = Arc::new(Managed::restored(self.clone(), counters, kept));
        let Some(session) = self.context.host().restore_session(saved, managed.clone()) else {
            let kept = managed.take();
            stored.stanzas = kept.iter().map(|parcel| self::stored(parcel, true)).chain(waiting).collect();
            return Err(stored);
        };
        session.put_note(IsManaged(managed.clone()));
        self.enter(&session, &managed);
        for parcel in waiting.into_iter().filter_map(parcel) {
            if session.deliver(parcel).is_err() {
                // The bound was lowered meanwhile: the session has ended, and keeps elsewhere what it had.
                break;
            }
        }
        Ok(())
    }

    /// A session cannot be brought back: its stanzas are kept elsewhere, in order, and only its number is remembered.
    async fn give_up(&self, session: StoredSession) {
        for parcel in session.stanzas.into_iter().filter_map(parcel) {
            self.context.host().rescue(parcel).await;
        }
        let (id, account, handled) = (session.id, session.account, session.handled);
        if let Err(error) = self.changes.write(Change::Counted { id, account, handled, forget: true }).await {
            tracing::warn!(%error, "stream_management.not_forgotten");
        }
    }
}

fn details(saved: Saved, sent: u32, patience: Duration) -> Result<String, String> {
    let presence = saved.presence.map(|presence| String::from_utf8(presence.to_bytes()));
    let details = Details {
        resource: saved.jid.resource().to_string(),
        sent,
        patience: patience.as_secs(),
        interested: saved.interested,
        presence: presence.transpose().map_err(|error| error.to_string())?,
        notes: saved.notes,
        lang: saved.circumstances.lang.map(Into::into),
    };
    serde_json::to_string(&details).map_err(|error| error.to_string())
}

fn stored(parcel: &Parcel, was_sent: bool) -> StoredStanza {
    let notes = parcel.notes.write_down();
    StoredStanza {
        was_sent,
        delivered_at: parcel.delivered_at,
        notes: if notes.is_empty() { String::new() } else { serde_json::to_string(&notes).unwrap_or_default() },
        stanza: parcel.stanza.to_bytes(),
    }
}

fn parcel(stored: StoredStanza) -> Option<Parcel> {
    let mut parcel = Parcel::new(read(stored.stanza)?, Origin::House);
    parcel.delivered_at = stored.delivered_at;
    if !stored.notes.is_empty() {
        parcel.notes = Notes::written(serde_json::from_str(&stored.notes).unwrap_or_default());
    }
    Some(parcel)
}

/// Reads a stanza that was stored.
fn read(stanza: Vec<u8>) -> Option<Stanza> {
    Stanza::read(element(stanza).ok()?)?.ok()
}
