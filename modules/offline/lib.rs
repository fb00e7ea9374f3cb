//! Offline messages: kept while nobody is there, delivered once and in order to whoever comes first (XEP-0160, RFC 6121
//! §8.5.2.2).

mod delivery;
mod depots;
mod keeping;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::BareJid;
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
use store::{Message, Room, Store};

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
    hears: &[Happening::Available, Happening::SessionResumed, Happening::AccountRemoved],
    likes: &[Contract::Blocking],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many messages are kept for one account. Beyond it the sender is told that the message was not delivered.
    pub messages: Count,
    /// How large the messages kept for one account may be together.
    pub bytes: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { messages: Count::of(1_000), bytes: ByteSize::mebibytes(16) }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let store = Store::new(context.database().clone());
    // What is stored from now on comes after what was stored before, even if the clock was set back.
    context.house().ids().not_before(store.newest_id().await?);
    let room = Room { messages: settings.messages, bytes: settings.bytes };
    let writer = GroupCommit::start(context.database().clone(), &GroupCommitSettings::default(), room);
    Ok(Arc::new(Offline { delivery: Arc::new(Delivery { context, store, depots: Depots::default() }), writer }))
}

/// How long a message waits at most for the last of those that were kept, before it is kept as well.
const LINE: Duration = Duration::from_secs(1);

struct Offline {
    delivery: Arc<Delivery>,
    writer: GroupCommit<Message>,
}

#[async_trait]
impl Module for Offline {
    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match (stage, parcel.stanza.to.as_ref().map(|to| to.to_bare())) {
            (Stage::Choose, Some(account)) => self.wait_in_line(&account, parcel).await,
            (Stage::Rescue, Some(account)) => self.rescue(&account, parcel).await,
            _ => Ok(Pass::Onward),
        }
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::Available { session, .. } | Event::SessionResumed { session, .. } if is_open(session) => {
                self.delivery.begin_and_wait(session).await;
            }
            Event::AccountRemoved(account) => {
                if let Err(error) = self.delivery.forget_account(account).await {
                    tracing::warn!(%account, %error, "offline.not_forgotten");
                }
            }
            _ => {}
        }
    }
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
        let sessions = self.delivery.context.directory().sessions(account);
        let storing = self.delivery.depots.store(account, &sessions);
        match self.keep(account, parcel, storing).await? {
            Fate::Kept => Ok(Pass::Taken),
            Fate::NoRoom => Err(Refusal::service_unavailable()),
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
        let was_kept = parcel.notes.get::<WasKept>().copied();
        let place = was_kept.unwrap_or_else(|| WasKept {
            id: self.delivery.context.house().ids().next(),
            // A session had it for a while, and ended before it was written.
            stored_at: if parcel.delivered_at == 0 { now_milliseconds() } else { parcel.delivered_at },
        });
        if was_kept.is_some() {
            self.delivery.depots.came_back(account, place.id);
        }
        let refused = Arc::new(AtomicBool::new(false));
        let message = Message {
            id: place.id,
            owner: account.clone(),
            stored_at: place.stored_at,
            stanza: parcel.stanza.to_bytes(),
            comes_back: was_kept.is_some(),
            refused: refused.clone(),
        };
        let written = self.writer.write(message).await;
        drop(storing);
        for session in &self.delivery.open_sessions(account) {
            self.delivery.begin(session);
        }
        written?;
        Ok(if refused.load(Ordering::Acquire) { Fate::NoRoom } else { Fate::Kept })
    }
}

#[cfg(test)]
mod tests;
