//! Offline messages: kept while nobody is there, delivered once and in order to whoever comes first (XEP-0160, RFC 6121
//! §8.5.2.2).
//!
//! What the account's archive holds is not kept a second time: `cursor.rs` says where in the archive that begins which
//! nobody has received, and the table has the rest. `depots.rs` keeps what is stored and what comes live in order,
//! `page.rs` reads and `delivery.rs` delivers.

mod cursor;
mod delivery;
mod depots;
mod keeping;
mod page;
mod store;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::BareJid;
use waxwing_core::archive::{CatchesUp, kept_for};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::limits::{ByteSize, Count};
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_storage::{GroupCommit, GroupCommitSettings, StorageError};

use delivery::{Delivery, Patience, WasKept};
use depots::{Depots, Storing, Way, is_behind, is_open};
use store::{Change, Message, Room, Store};

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "offline",
    summary: "keeps messages while nobody is there, and delivers them once and in order",
    xeps: &[
        Xep::complete(160, "1.0.1"),
        Xep::complete(203, "2.0"),
        Xep::partial(334, "1.0.0", "store and no-store, for offline messages"),
    ],
    features: &[(Entity::Host, "msgoffline")],
    stages: &[Standing::messages(Stage::Choose), Standing::messages(Stage::Rescue)],
    hears: &[Happening::Available, Happening::SessionResumed, Happening::AccountCreated, Happening::AccountRemoved],
    likes: &[Contract::Archive, Contract::Blocking, Contract::Contacts],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many messages are kept for one account that are not in its archive. Beyond it those who may see the account's
    /// presence are told that the message was not delivered; strangers learn nothing.
    pub messages: Count,
    /// How large the messages kept for one account may be together.
    pub bytes: ByteSize,
    /// How many archived messages are delivered at most to a client that comes without asking for the archive. When there
    /// are more it gets the newest; the others stay in the archive.
    pub archived_messages: Count,
    /// Of how many accounts that are away it is remembered that messages wait for them, so that nothing has to be written
    /// for the next one. Each takes some 100 bytes.
    pub cached_accounts: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            messages: Count::of(1_000),
            bytes: ByteSize::mebibytes(16),
            archived_messages: Count::of(1_000),
            cached_accounts: Count::of(100_000),
        }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let store = Store::new(context.database().clone());
    // What is stored from now on comes after what was stored before, even if the clock was set back.
    context.house().ids().not_before(store.newest_id().await?);
    let room = Room { messages: settings.messages, bytes: settings.bytes };
    let writer = GroupCommit::start(context.database().clone(), &GroupCommitSettings::default(), room);
    let depots = Depots::new(settings.cached_accounts.get().min(1 << 20));
    let most_archived = settings.archived_messages.get();
    Ok(Arc::new(Offline { delivery: Arc::new(Delivery { context, store, depots, writer, most_archived }) }))
}

/// How long a message waits at most for the last of those that were kept, before it is kept as well.
const LINE: Duration = Duration::from_secs(1);

struct Offline {
    delivery: Arc<Delivery>,
}

#[async_trait]
impl Module for Offline {
    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match (stage, parcel.stanza.to.as_ref().map(|to| to.to_bare())) {
            (Stage::Choose, Some(account)) if is_known_to_all(&account, parcel) => Ok(Pass::Taken),
            (Stage::Choose, Some(account)) => match self.wait_in_line(&account, parcel).await? {
                // While it waited it may have been given to them.
                Pass::Onward if is_known_to_all(&account, parcel) => Ok(Pass::Taken),
                pass => Ok(pass),
            },
            (Stage::Rescue, Some(account)) => self.rescue(&account, parcel).await,
            _ => Ok(Pass::Onward),
        }
    }

    async fn hear(&self, event: &Event) {
        if let Event::Available { session, first } = event {
            depots::note_opening(session, *first, self.delivery.context.house().ids().next());
        }
        match event {
            Event::Available { session, .. } if is_open(session) => self.delivery.begin_and_wait(session).await,
            Event::SessionResumed { session, .. } if is_open(session) => {
                self.delivery.begin_when_here_and_wait(session).await;
            }
            Event::AccountCreated(account) => self.delivery.depots.forget(account),
            Event::AccountRemoved(account) => {
                if let Err(error) = self.delivery.forget_account(account).await {
                    tracing::warn!(%account, %error, "offline.not_forgotten");
                }
            }
            _ => {}
        }
    }
}

/// Takes away those recipients who have found the message in the archive for themselves or were given it from there, and
/// became available between its commit and this moment. Whether that was all of them.
fn is_known_to_all(account: &BareJid, parcel: &mut Parcel) -> bool {
    let is_for_all = parcel.stanza.to.as_ref().is_some_and(|to| to.resource().is_none());
    if !is_for_all || parcel.recipients.is_empty() {
        return false;
    }
    let Some(id) = kept_for(account, &parcel.stanza) else { return false };
    parcel.recipients.retain(|session| {
        let has_found = session.note::<CatchesUp>().is_some_and(|CatchesUp(until)| id <= until);
        !has_found && !depots::was_handed_over(session, id.0)
    });
    parcel.recipients.is_empty()
}

/// What became of a message that was to be kept.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    NoRoom,
}

impl Offline {
    /// Nobody is there: the message is kept, and its sender hears nothing of it (XEP-0160 §2).
    async fn rescue(&self, account: &BareJid, parcel: &Parcel) -> Result<Pass, Refusal> {
        if !keeping::is_for_later(&parcel.stanza) {
            return Ok(Pass::Onward);
        }
        if !keeping::is_worth_keeping(&parcel.stanza) {
            return Ok(Pass::Taken);
        }
        let came_live = parcel.delivered_at != 0 && parcel.notes.get::<WasKept>().is_none();
        let is_for_all = parcel.stanza.to.as_ref().is_some_and(|to| to.resource().is_none());
        if came_live
            && is_for_all
            && let Some(id) = self.archived(account, parcel)
            && Depots::has_received(&self.delivery.open_sessions(account), id)
        {
            // One device was lost before it had it. Another has.
            return Ok(Pass::Taken);
        }
        let sessions = self.delivery.context.directory().sessions(account);
        let storing = self.delivery.depots.store(account, &sessions);
        match self.keep(account, parcel, storing).await? {
            Fate::Kept => Ok(Pass::Taken),
            Fate::NoRoom if self.may_know(account, parcel).await => Err(Refusal::service_unavailable()),
            // Security row S25: a stranger would learn that there is such an account.
            Fate::NoRoom => Ok(Pass::Taken),
        }
    }

    /// Under which id the account's archive holds the message, if it does.
    fn archived(&self, account: &BareJid, parcel: &Parcel) -> Option<i64> {
        self.delivery.context.contracts().archive()?;
        kept_for(account, &parcel.stanza).map(|id| id.0)
    }

    /// Whether the sender may know that there is such an account: because he sees its presence.
    async fn may_know(&self, account: &BareJid, parcel: &Parcel) -> bool {
        let Some(from) = parcel.stanza.from.as_ref().map(|from| from.to_bare()) else { return false };
        match self.delivery.context.contracts().contacts() {
            _ if from == *account => true,
            Some(contacts) => match contacts.contact(account, &from).await {
                Ok(contact) => contact.is_some_and(|contact| contact.subscription.contact_sees_account()),
                Err(_) => false,
            },
            None => true,
        }
    }

    /// Somebody is there. But while they are still behind, the message waits behind what was kept.
    async fn wait_in_line(&self, account: &BareJid, parcel: &Parcel) -> Result<Pass, Refusal> {
        let is_for_open = parcel.recipients.iter().any(|session| is_open(session));
        if !is_for_open || !parcel.recipients.iter().all(|session| is_behind(session)) {
            return Ok(Pass::Onward);
        }
        if !keeping::is_for_later(&parcel.stanza) || !keeping::is_worth_keeping(&parcel.stanza) {
            return Ok(Pass::Onward);
        }
        let Some(storing) = self.behind(account, parcel).await else { return Ok(Pass::Onward) };
        match self.keep(account, parcel, storing).await? {
            Fate::Kept => Ok(Pass::Taken),
            // Early is better than never.
            Fate::NoRoom => Ok(Pass::Onward),
        }
    }

    /// Whether a message is to be stored behind what is kept, or can go straight through.
    async fn behind<'a>(&'a self, account: &'a BareJid, parcel: &Parcel) -> Option<Storing<'a>> {
        let depots = &self.delivery.depots;
        let named = parcel.stanza.to.as_ref().and_then(|to| to.resource());
        let (mut patience, begun) = (Patience::new(), Instant::now());
        loop {
            let is_patient = begun.elapsed() < LINE;
            let way = match &parcel.recipients[..] {
                [one] if named == Some(one.jid().resource()) => depots.way_to_one(account, one, is_patient),
                _ => depots.way(account, &self.delivery.open_sessions(account), is_patient),
            };
            match way {
                Way::Straight => return None,
                Way::Behind(storing) => return Some(storing),
                Way::Soon => patience.wait().await,
            }
        }
    }

    /// Stores a message durably, and sees to it that it is delivered if somebody has come in the meantime.
    async fn keep(&self, account: &BareJid, parcel: &Parcel, storing: Storing<'_>) -> Result<Fate, StorageError> {
        let delivery = &self.delivery;
        let was_kept = parcel.notes.get::<WasKept>().map(|place| (place.id, place.stored_at));
        // A session had it for a while, and ended before it was written.
        let comes_back = was_kept.is_some() || parcel.delivered_at != 0;
        if let Some((id, _)) = was_kept {
            delivery.depots.came_back(account, id);
        }
        let is_for_all = parcel.stanza.to.as_ref().is_some_and(|to| to.resource().is_none());
        let archived = self.archived(account, parcel);
        let message = match archived {
            Some(id) if is_for_all && !comes_back => {
                if delivery.open_sessions(account).iter().any(|session| depots::was_handed_over(session, id)) {
                    return Ok(Fate::Kept);
                }
                let covered = delivery.cover(account, id).await;
                drop(storing);
                self.begin_to_deliver(account);
                if let Err(error) = covered {
                    delivery.cover_later(account, error);
                }
                return Ok(Fate::Kept);
            }
            Some(id) => Message::archived(account, id, parcel.stanza.size(), comes_back),
            None => {
                let (id, stored_at) = was_kept.unwrap_or_else(|| {
                    let came = if parcel.delivered_at == 0 { now_milliseconds() } else { parcel.delivered_at };
                    (delivery.context.house().ids().next(), came)
                });
                let (owner, stanza) = (account.clone(), parcel.stanza.to_bytes());
                let (size, refused) = (stanza.len(), Arc::default());
                // What had its place keeps it, however full it is.
                Message { id, owner, stored_at, stanza, size, comes_back: was_kept.is_some(), refused }
            }
        };
        let refused = message.refused.clone();
        let written = delivery.writer.write(Change::Keep(message)).await;
        drop(storing);
        self.begin_to_deliver(account);
        match (written, archived) {
            (Err(error), Some(id)) => delivery.keep_later(account, id, error),
            (written, _) => written?,
        }
        // What is in the archive is not lost, whatever is not delivered.
        Ok(if archived.is_none() && refused.load(Ordering::Acquire) { Fate::NoRoom } else { Fate::Kept })
    }

    /// Somebody may have come in the meantime.
    fn begin_to_deliver(&self, account: &BareJid) {
        for session in &self.delivery.open_sessions(account) {
            self.delivery.begin(session);
        }
    }
}

#[cfg(test)]
mod tests;
