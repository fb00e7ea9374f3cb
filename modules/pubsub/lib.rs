//! Nodes of accounts: what people publish about themselves, and keep for their own devices (XEP-0163, on the base of
//! XEP-0060).
//!
//! `request.rs` reads what is asked, `access.rs` decides who may, `configuration.rs` how a node is set up; `service.rs`
//! changes nodes and `reading.rs` shows them. `announcing.rs` tells those who want to hear, `greeting.rs` tells what was
//! published while somebody was away. What a client wants to hear of stands in its capabilities (`capabilities.rs`), for
//! which it is asked once for each kind (`questions.rs`). `remote.rs` knows who is online on other servers.

mod access;
mod announcing;
mod answering;
mod capabilities;
mod configuration;
mod contract;
mod describing;
mod event;
mod form;
mod greeting;
mod protocol;
mod questions;
mod reading;
mod remote;
#[cfg(test)]
mod remote_tests;
mod request;
mod service;
mod settings;
mod store;
#[cfg(test)]
mod store_tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::module::{Context, Entity, Identity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::stages::{Pass, Stage, Standing};
use waxwing_core::stanza::Kind;
use xmpp_parsers::disco::{DiscoInfoResult, Item};

use protocol::{FEATURES, OWNER, PUBSUB};
use service::Service;
use settings::Settings;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "pubsub",
    summary: "keeps what people publish about themselves, and tells those who want to hear of it",
    xeps: &[
        Xep::partial(60, "1.30.0", "nodes of accounts; no collections, subscription options or leases"),
        Xep::complete(163, "1.2.2"),
        Xep::partial(115, "1.6.0", "what clients want to hear of"),
        Xep::partial(59, "1.0", "items of a node; no page by its number"),
        Xep::complete(222, "1.0.1"),
        Xep::complete(223, "1.1.1"),
    ],
    features: FEATURES,
    identities: &[
        (Entity::Host, Identity { category: "pubsub", kind: "pep" }),
        (Entity::Account, Identity { category: "pubsub", kind: "pep" }),
    ],
    answers: &[Topic::account(PUBSUB), Topic::account(OWNER)],
    stages: &[
        Standing::messages(Stage::SettleSent),
        Standing { stage: Stage::SettleReceived, kinds: &[Kind::Iq, Kind::Presence] },
    ],
    hears: &[
        Happening::Available,
        Happening::SubscriptionGranted,
        Happening::SubscriptionEnded,
        Happening::AccountRemoved,
    ],
    offers: &[Contract::Nodes],
    needs: &[Contract::Contacts],
    likes: &[Contract::Blocking],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// How often items that are older than their node keeps them are deleted.
const EXPIRE_EVERY: Duration = Duration::from_secs(3_600);

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let service = Arc::new(Service::new(context.clone(), settings)?);
    if !context.contracts().offer_nodes(service.clone()) {
        return Err(StartError::Other("another module offers the nodes of accounts already".to_owned()));
    }
    let expiring = service.clone();
    context.every(EXPIRE_EVERY, move || {
        let service = expiring.clone();
        async move {
            if let Err(error) = service.store.expire().await {
                tracing::warn!(%error, "pubsub.not_expired");
            }
        }
    });
    Ok(Arc::new(Pubsub(service)))
}

struct Pubsub(Arc<Service>);

#[async_trait]
impl Module for Pubsub {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        self.0.answer(request).await
    }

    async fn pass(&self, stage: Stage, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        match (stage, parcel.stanza.kind()) {
            (Stage::SettleSent, _) => self.0.hear_decision(parcel).await,
            (_, Kind::Iq) => {
                let is_for_the_account = parcel.stanza.to.as_ref().is_some_and(|to| to.resource().is_none());
                let is_answer = is_for_the_account && self.0.questions.answered(&parcel.stanza);
                Ok(if is_answer { Pass::Taken } else { Pass::Onward })
            }
            (_, Kind::Presence) => {
                self.0.hear_presence(parcel).await;
                Ok(Pass::Onward)
            }
            (_, Kind::Message) => Ok(Pass::Onward),
        }
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::Available { session, first } => self.0.welcome(session, *first),
            Event::SubscriptionGranted { account, contact } => self.0.introduce(account, contact),
            Event::SubscriptionEnded { account, contact } => self.0.part(account, contact).await,
            Event::AccountRemoved(account) => self.0.forget(account).await,
            _ => {}
        }
    }

    async fn describe(&self, node: &str, request: Request<'_>) -> Result<Option<DiscoInfoResult>, Refusal> {
        self.0.describe(node, request).await
    }

    async fn list(&self, node: &str, request: Request<'_>) -> Result<Option<Vec<Item>>, Refusal> {
        self.0.list(node, request).await
    }
}
