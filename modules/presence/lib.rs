//! Presence (RFC 6121 §4): clients say that they are there, and everyone who may know hears it, until they are gone.
//!
//! `broadcast.rs` leads what a client says to all; `directed.rs` remembers whom it has told besides; `shown.rs` answers
//! probes and shows or hides an account when a subscription changes; `audience.rs` decides who hears what.
//!
//! In the assembly it stands after the roster, which takes the presence that changes a subscription.

mod audience;
mod broadcast;
mod directed;
mod shown;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::contracts::{Blocking, Contact, Contacts, Contract};
use waxwing_core::events::{Event, Happening};
use waxwing_core::limits::Count;
use waxwing_core::module::{Context, Manifest, Module, Plan, SettingsDescription, StartError};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::{PresenceType, StanzaType};
use waxwing_core::storage::StorageError;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "presence",
    summary: "tells contacts who is online",
    stages: &[Standing::presence(Stage::SettleSent), Standing::presence(Stage::SettleReceived)],
    hears: &[Happening::SessionEnded, Happening::SubscriptionGranted, Happening::SubscriptionEnded],
    needs: &[Contract::Contacts],
    likes: &[Contract::Blocking],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// To how many addresses a session may show itself beside its contacts, such as rooms it is in. They are remembered
    /// until the session ends, to tell each that it is gone. One more is refused with resource-constraint.
    pub directed: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Self { directed: Count::of(1000) }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let Some(contacts) = context.contracts().contacts().cloned() else {
        return Err(StartError::Other("no module keeps contacts".to_owned()));
    };
    let blocking = context.contracts().blocking().cloned();
    Ok(Arc::new(Presence { context, settings, contacts, blocking }))
}

/// Who is there on one host.
struct Presence {
    context: Context,
    settings: Settings,
    contacts: Arc<dyn Contacts>,
    blocking: Option<Arc<dyn Blocking>>,
}

#[async_trait]
impl Module for Presence {
    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let StanzaType::Presence(of) = parcel.stanza.what else { return Ok(Pass::Onward) };
        if stage == Stage::SettleReceived {
            return match of {
                PresenceType::Probe => self.answer_probe(parcel).await,
                _ => Ok(Pass::Onward),
            };
        }
        let Some(session) = parcel.origin.session().cloned() else { return Ok(Pass::Onward) };
        match (of, &parcel.stanza.to) {
            (PresenceType::Available, None) => self.come(&session, &parcel.stanza).await,
            (PresenceType::Unavailable, None) => self.go(&session, &parcel.stanza).await,
            (PresenceType::Available, Some(to)) => {
                let to = to.clone();
                self.show_to(&session, to, parcel).await
            }
            (PresenceType::Unavailable, Some(to)) => {
                directed::forget(&session, to);
                Ok(Pass::Onward)
            }
            (PresenceType::Error, None) => Ok(Pass::Taken),
            (_, None) => Err(Refusal::bad_request().saying("this type of presence is for somebody: `to` is missing")),
            (_, Some(_)) => Ok(Pass::Onward),
        }
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::SessionEnded(session) => self.farewell(session).await,
            Event::SubscriptionGranted { account, contact } => self.reveal(account, contact).await,
            Event::SubscriptionEnded { account, contact } => self.hide(account, contact).await,
            _ => {}
        }
    }
}

impl Presence {
    /// The contacts of an account.
    async fn contacts_of(&self, account: &BareJid) -> Result<Arc<[Contact]>, StorageError> {
        self.contacts.contacts(account).await
    }

    /// Whether an account has blocked an address. What is not known is not blocked.
    async fn is_blocked(&self, account: &BareJid, address: &Jid) -> bool {
        let Some(blocking) = &self.blocking else { return false };
        blocking.is_blocked(account, address).await.unwrap_or_else(|error| {
            tracing::warn!(%account, %error, "presence.blocking_unknown");
            false
        })
    }

    /// Whether the session is still the one that its address leads to. It leaves the directory first, then its end is
    /// told.
    fn is_here(&self, session: &Arc<Session>) -> bool {
        let found = self.context.directory().resource(session.account(), session.jid().resource());
        found.is_some_and(|found| Arc::ptr_eq(&found, session))
    }
}
