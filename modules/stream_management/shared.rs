//! What all managed sessions of one host share: the register of their ids, the bounds, and the way to the database.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use parking_lot::Mutex;
use waxwing_core::address::BareJid;
use waxwing_core::module::{Context, StartError};
use waxwing_core::session::Session;
use waxwing_core::storage::{GroupCommit, GroupCommitSettings};
use waxwing_core::stream_error::{StreamCondition, StreamError};

use crate::answers::Then;
use crate::elements;
use crate::managed::{Check, IsManaged, Managed};
use crate::queue::Bounds;
use crate::settings::Settings;
use crate::store::{Change, Changes, Store};

/// About what a session that waits for its client takes besides the stanzas kept for it.
const BYTES_OF_A_SESSION: usize = 4096;

/// What all managed sessions of one host share.
pub struct Shared {
    pub context: Context,
    pub settings: Settings,
    pub bounds: Bounds,
    pub store: Store,
    pub changes: GroupCommit<Change>,
    sessions: Mutex<HashMap<Box<str>, Entry>>,
}

/// A session in the register.
struct Entry {
    session: Weak<Session>,
    managed: Arc<Managed>,
}

impl Shared {
    /// Nobody is managed yet.
    pub fn new(context: Context) -> Result<Arc<Shared>, StartError> {
        let settings: Settings = context.settings()?;
        let database = context.database().clone();
        let changes = Changes::of(context.domain().as_str());
        Ok(Arc::new(Shared {
            bounds: settings.bounds(),
            settings,
            store: Store(database.clone()),
            changes: GroupCommit::start(database, &GroupCommitSettings::default(), changes),
            context,
            sessions: Mutex::default(),
        }))
    }

    /// Enters a session into the register.
    pub fn enter(&self, session: &Arc<Session>, managed: &Arc<Managed>) {
        let entry = Entry { session: Arc::downgrade(session), managed: managed.clone() };
        self.sessions.lock().insert(managed.id.clone(), entry);
    }

    /// Takes a session out of the register.
    pub fn leave(&self, managed: &Managed) {
        self.sessions.lock().remove(&managed.id);
    }

    /// The session with this id.
    pub fn find(&self, id: &str) -> Option<(Arc<Session>, Arc<Managed>)> {
        let sessions = self.sessions.lock();
        let entry = sessions.get(id)?;
        Some((entry.session.upgrade()?, entry.managed.clone()))
    }

    /// The sessions of an account that are managed.
    pub fn of_account(&self, account: &BareJid) -> Vec<(Arc<Session>, Arc<Managed>)> {
        let sessions = self.context.directory().sessions(account);
        let managed = sessions.into_iter().filter_map(|session| {
            let IsManaged(managed) = session.note()?;
            Some((session, managed))
        });
        managed.collect()
    }

    /// Another session of its account begins to wait: if there are too many then, the one that waits for the longest time
    /// ends.
    pub fn make_room_in_account(&self, newcomer: &Session) {
        let most = self.settings.waiting_sessions_per_account;
        let mut waiting: Vec<(i64, Arc<Session>)> = self
            .of_account(newcomer.account())
            .into_iter()
            .filter(|(session, managed)| managed.waits() && session.jid() != newcomer.jid())
            .filter_map(|(session, _)| Some((session.waits_since()?, session)))
            .collect();
        waiting.sort_by_key(|(since, _)| *since);
        let mut count = waiting.len() + 1;
        for (_, session) in waiting {
            if most.allows(count) {
                return;
            }
            tracing::info!(session = %session.jid(), "stream_management.too_many_wait");
            session.end(None);
            count -= 1;
        }
    }

    /// Looks at every session: asks clients what they have received, gives up wires of clients that do not answer, and ends
    /// sessions that wait when they take too much memory.
    pub fn look_around(&self) {
        let patience = self.context.config().limits.ping_timeout.get();
        let now = Instant::now();
        let mut to_do = Vec::new();
        for entry in self.sessions.lock().values() {
            let Some(session) = entry.session.upgrade() else { continue };
            let check = entry.managed.check(&session, now, patience);
            if check != Check::Nothing {
                to_do.push((check, session, entry.managed.clone()));
            }
        }
        let mut waiting = Vec::new();
        for (check, session, managed) in to_do {
            match check {
                Check::Nothing => {}
                Check::Ask => managed.ask(&session),
                Check::IsSilent => {
                    tracing::info!(session = %session.jid(), "stream_management.client_is_silent");
                    let text = "the client did not acknowledge what it was sent";
                    let error = StreamError::saying(StreamCondition::ConnectionTimeout, text);
                    session.give_up_wire(session.wire_number(), error);
                }
                Check::Waits => waiting.push((session, managed)),
            }
        }
        self.bound_waiting(waiting);
    }

    fn bound_waiting(&self, mut waiting: Vec<(Arc<Session>, Arc<Managed>)>) {
        let bytes = |(session, managed): &(Arc<Session>, Arc<Managed>)| {
            BYTES_OF_A_SESSION + managed.kept_bytes() + session.waiting_bytes()
        };
        let mut total: usize = waiting.iter().map(bytes).sum();
        if self.settings.waiting_bytes.allows(total) {
            return;
        }
        tracing::warn!(sessions = waiting.len(), bytes = total, "stream_management.too_much_waits");
        waiting.sort_by_key(|(session, _)| session.waits_since());
        for one in &waiting {
            if self.settings.waiting_bytes.allows(total) {
                return;
            }
            total -= bytes(one).min(total);
            one.0.end(None);
        }
    }

    /// The client asks how many of its stanzas were handled.
    pub fn answer(self: &Arc<Self>, session: &Arc<Session>, managed: &Arc<Managed>) {
        let handled = managed.handled(session);
        let number = match self.is_exact(managed) {
            false => Then::Answer(handled),
            true => managed.answers.lock().asked(handled),
        };
        match number {
            Then::Answer(number) => session.send_element(elements::answer(number)),
            Then::Wait => {}
            Then::Store(number) => {
                let (shared, session, managed) = (self.clone(), session.clone(), managed.clone());
                self.context.house().tasks().spawn(async move {
                    shared.store_and_answer(&session, &managed, number).await;
                });
            }
        }
    }

    fn is_exact(&self, managed: &Managed) -> bool {
        self.settings.exact_after_crash && managed.is_resumable()
    }

    async fn store_and_answer(&self, session: &Session, managed: &Managed, number: u32) {
        let mut next = Some(number);
        while let Some(number) = next {
            // On a later stream the answer could be older than what was said when it began.
            let stream = session.wire_number();
            let successfully = self.write_number(session.account(), managed, number, false).await;
            let (due, then) = managed.answers.lock().stored(number, successfully, managed.handled(session));
            for _ in 0..due {
                session.send_element_on(stream, elements::answer(number));
            }
            next = then;
        }
    }

    /// Stores how many stanzas of a session's client were handled, and forgets what else was stored of it if it is to;
    /// whether it was done.
    pub async fn write_number(&self, account: &BareJid, managed: &Managed, handled: u32, forget: bool) -> bool {
        let change = Change::Counted { id: managed.id.clone(), account: account.clone(), handled, forget };
        let written = self.changes.write(change).await;
        // The client is told all the same: its stanzas are safe. Only after a crash it may be told less.
        written.inspect_err(|error| tracing::debug!(%account, %error, "stream_management.number_not_stored")).is_ok()
    }

    /// Stores the number before the client is told in another way than by an answer.
    pub async fn make_sure(&self, session: &Session, managed: &Managed, handled: u32) {
        if managed.is_restored() {
            // It goes on here: should the server crash now, its stanzas are not kept elsewhere again.
            if self.write_number(session.account(), managed, handled, true).await {
                managed.forget_restored();
            }
            return;
        }
        let is_stored = managed.answers.lock().is_stored(handled);
        if !is_stored && self.is_exact(managed) && self.write_number(session.account(), managed, handled, false).await {
            managed.answers.lock().stored_besides(handled);
        }
    }
}
