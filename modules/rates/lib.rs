//! Rates: how often an account may ask, write and show itself before it is refused (XEP-0205; security row S33).
//!
//! Bytes and stanzas per second are the reader's business (`waxwing-streams`): who sends too fast is read more slowly.
//! Here stands what would bother *others*: changes of presence, subscription requests, and messages to ever new people.

mod accounts;
mod bucket;
mod recipients;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::limits::{Count, Limits};
use waxwing_core::module::{Context, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::notes::Note;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::{ErrorType, Refusal};
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{Kind, MessageType, PresenceType, StanzaType};

use accounts::Accounts;
use bucket::Bucket;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "rates",
    summary: "refuses presence, subscription requests and new recipients beyond the limits",
    xeps: &[Xep::partial(205, "1.0.1", "limits of one account; those of a connection are in streams")],
    stages: &[Standing { stage: Stage::Vet, kinds: &[Kind::Message, Kind::Presence] }],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set. The limits themselves are in `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many accounts are remembered at once, with what they have used of `limits.recipients` and
    /// `limits.subscriptions`. About 2 KiB each at most; when more accounts are busy, those that sent nothing for the
    /// longest time begin anew.
    pub tracked_accounts: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tracked_accounts: Count::of(20_000) }
    }
}

/// How often what was not used is forgotten: longer than the period of any limit in common use, because an account that
/// is forgotten has its full amount again.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let accounts = Arc::new(Mutex::new(Accounts::new(settings.tracked_accounts.get())));
    let aging = accounts.clone();
    context.every(FORGET_AFTER, move || {
        aging.lock().age();
        std::future::ready(())
    });
    Ok(Arc::new(Rates { context, accounts, hasher: RandomState::new() }))
}

struct Rates {
    context: Context,
    accounts: Arc<Mutex<Accounts>>,
    /// Recipients are remembered by their hash; the key is secret, so nobody can choose addresses that collide.
    hasher: RandomState,
}

/// What one session has used of `limits.presences`.
#[derive(Default)]
struct Presences(Bucket);
impl Note for Presences {}

#[async_trait]
impl Module for Rates {
    async fn pass(&self, _: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let config = self.context.config();
        match parcel.origin.session() {
            Some(session) => self.judge(session, parcel, &config.limits, Instant::now()).map(|()| Pass::Onward),
            None => Ok(Pass::Onward),
        }
    }
}

impl Rates {
    fn judge(&self, session: &Session, parcel: &Parcel, limits: &Limits, now: Instant) -> Result<(), Refusal> {
        let stanza = &parcel.stanza;
        let (admitted, limit) = match (stanza.what, &stanza.to) {
            // Presence to one address joins a room; who leaves may always leave.
            (StanzaType::Presence(PresenceType::Available), None) => {
                let rate = limits.presences;
                (session.with_note(|presences: &mut Presences| presences.0.take(rate, now)), "presence is changed")
            }
            (StanzaType::Presence(PresenceType::Subscribe), _) => {
                let mut accounts = self.accounts.lock();
                let account = accounts.account(session.account());
                (account.subscriptions.take(limits.subscriptions, now), "subscriptions are requested")
            }
            (StanzaType::Message(of), Some(to)) if of != MessageType::Error => {
                let recipient = to.to_bare();
                if limits.recipients.is_unlimited() || recipient == *session.account() {
                    return Ok(());
                }
                let recipient = self.hasher.hash_one(&recipient);
                let mut accounts = self.accounts.lock();
                let account = accounts.account(session.account());
                (account.recipients.admit(recipient, limits.recipients, now), "new addresses are written to")
            }
            _ => return Ok(()),
        };
        if admitted {
            return Ok(());
        }
        tracing::debug!(session = %session.jid(), limit, "rates.refused");
        // It is as right as it was, only too early.
        Err(Refusal::policy_violation().of_type(ErrorType::Wait).saying(format!("{limit} too often, try again later")))
    }
}
