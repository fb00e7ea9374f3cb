//! The gateway to devices that sleep: takes what users' servers publish (XEP-0357) and wakes the devices through Web Push,
//! Apple's and Google's services; lets applications reach their users through the XMPP client (UnifiedPush).
//!
//! `commands.rs` registers devices, `publish.rs` reads what is published, `sending.rs` brings it on its way, and one file
//! for each service knows how that wants to be asked. `docs/push-gateway.md` tells operators and clients about it.

mod apns;
mod commands;
mod counters;
mod devices;
mod encryption;
mod fcm;
mod form;
mod http_client;
mod outcome;
mod protocol;
mod publish;
mod rates;
mod sending;
mod services;
mod settings;
mod store;
#[cfg(test)]
mod store_tests;
mod summary;
mod unified_push;
mod web;
mod web_push;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::FutureExt as _;
use waxwing_core::address::{DomainPart, DomainRef, Jid};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::commands::COMMANDS;
use waxwing_core::events::{Event, Happening};
use waxwing_core::forms::DATA_FORM;
use waxwing_core::module::{Context, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::{ErrorType, Refusal};
use waxwing_core::stanza::{IqType, MessageType, PresenceType, Stanza, StanzaType, element};
use waxwing_core::xml::{Child, Element, Writer};
use waxwing_storage::Database;

use commands::Commands;
use counters::Counters;
use protocol::{DISCO_INFO, DISCO_ITEMS, PING, PUBSUB, PUSH, UNIFIED_PUSH};
use publish::Publish;
use rates::Rates;
use sending::Sender;
use services::Services;
use settings::Clients;
pub use settings::Settings;
use store::Store;
use unified_push::UnifiedPush;

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "push_gateway",
    summary: "wakes devices through Web Push, Apple's and Google's services, and applications by UnifiedPush",
    xeps: &[Xep::partial(357, "0.4.1", "the app server's side: takes notifications and wakes devices")],
    hears: &[Happening::Available, Happening::AccountRemoved],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// How often old registrations are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

/// What stands in for a gateway where none is configured. It remembers those of before, until their accounts are gone.
struct Off {
    database: Database,
}

#[async_trait]
impl Module for Off {
    async fn hear(&self, event: &Event) {
        forget(&self.database, event).await;
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let services = Services::load(&settings, context.domain()).await.map_err(StartError::Other)?;
    let off = || Ok(Arc::new(Off { database: context.database().clone() }) as Arc<dyn Module>);
    if services.is_empty() && !settings.unified_push.enabled {
        tracing::info!(
            host = %context.domain(),
            "no push gateway: name the key of a service in [modules.push_gateway], see docs/push-gateway.md"
        );
        return off();
    }
    if is_machine(context.domain()) && !settings.service.contains('.') {
        tracing::warn!(host = %context.domain(), "no names stand below the address of a machine, so it has no push gateway");
        return off();
    }
    let domain = context.serve(&settings.service)?;
    let store = Store::new(context.database().clone(), &domain);
    let counters = Arc::new(Counters::new(&context));
    let unified = settings.unified_push.enabled.then(|| {
        Arc::new(UnifiedPush::new(context.clone(), domain.clone(), store.clone(), counters.clone(), &settings))
    });
    if let Some(unified) = &unified {
        context.route(web::route(unified.clone()))?;
    }
    let sender = Arc::new(Sender::new(context.clone(), services, store.clone(), counters, &settings));
    sweep(&context, &store, &settings);
    let rates = Rates::new(settings.wakes);
    Ok(Arc::new(Gateway { context: context.clone(), domain, settings, store, sender, unified, rates }))
}

/// Whether a host is named by an address of a machine, `192.0.2.1` or `[2001:db8::1]`.
fn is_machine(domain: &DomainRef) -> bool {
    domain.as_str().trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

fn sweep(context: &Context, store: &Store, settings: &Settings) {
    let kept = i64::try_from(settings.registrations_kept.get().as_millis()).unwrap_or(i64::MAX);
    let store = store.clone();
    context.every(SWEEP_EVERY, move || {
        let store = store.clone();
        async move {
            let now = now_milliseconds();
            if let Err(error) = store.forget_old(now, now.saturating_sub(kept)).await {
                tracing::warn!(%error, "push_gateway.not_swept");
            }
        }
    });
}

async fn forget(database: &Database, event: &Event) {
    if let Event::AccountRemoved(account) = event
        && let Err(error) = store::forget(database, account).await
    {
        tracing::error!(%account, %error, "push_gateway.account_not_forgotten");
    }
}

/// The gateway of one host.
struct Gateway {
    context: Context,
    domain: DomainPart,
    settings: Settings,
    store: Store,
    sender: Arc<Sender>,
    unified: Option<Arc<UnifiedPush>>,
    rates: Rates,
}

/// What is answered to a question.
enum Answered {
    /// This.
    Now(Option<Element>),
    /// Something, when it is known what has become of it.
    Later,
}

#[async_trait]
impl Module for Gateway {
    async fn receive(&self, parcel: Parcel) -> Result<(), Refusal> {
        let stanza = &parcel.stanza;
        match stanza.what {
            StanzaType::Iq(IqType::Get | IqType::Set) => {
                if let Answered::Now(payload) = self.question(&parcel).await? {
                    let mut result = Stanza::result_of(stanza);
                    if let Some(payload) = payload {
                        result.add(payload);
                    }
                    reply(&self.context, &parcel.origin, result).await;
                }
                Ok(())
            }
            StanzaType::Iq(IqType::Result | IqType::Error) => match &self.unified {
                Some(unified) => unified.heard(stanza).await,
                None => Ok(()),
            },
            // A client says that it is there (`up`, "Reliability").
            StanzaType::Presence(PresenceType::Available) => {
                if let (Some(unified), Some(Ok(client))) = (&self.unified, stanza.from.clone().map(Jid::try_into_full))
                {
                    unified.welcome(&client).await;
                }
                Ok(())
            }
            StanzaType::Message(of) if of != MessageType::Error => {
                Err(Refusal::service_unavailable().saying("nobody reads messages here"))
            }
            _ => Ok(()),
        }
    }

    async fn hear(&self, event: &Event) {
        match (event, &self.unified) {
            (Event::Available { session, first: true }, Some(unified)) => unified.welcome(session.jid()).await,
            (event, _) => forget(self.context.database(), event).await,
        }
    }
}

impl Gateway {
    async fn question(&self, parcel: &Parcel) -> Result<Answered, Refusal> {
        let stanza = &parcel.stanza;
        if stanza.to.as_ref().is_some_and(|to| to.node().is_some() || to.resource().is_some()) {
            return Err(Refusal::item_not_found());
        }
        let (Some(asked), Some(from)) = (stanza.payloads().next(), &stanza.from) else {
            return Err(Refusal::bad_request());
        };
        let is_set = stanza.what == StanzaType::Iq(IqType::Set);
        let payload = match (asked.namespace(), asked.name(), is_set) {
            (DISCO_INFO, "query", false) => Some(self.describe(asked)?),
            (DISCO_ITEMS, "query", false) => Some(self.list(asked)?),
            (PING, "ping", false) => None,
            (COMMANDS, "command", true) => {
                self.may_register(from)?;
                Some(self.commands().answer(asked, &from.to_bare()).await?)
            }
            (PUBSUB, "pubsub", true) => {
                self.publish(asked, parcel).await?;
                return Ok(Answered::Later);
            }
            (UNIFIED_PUSH, name, true) => {
                let Some(unified) = &self.unified else { return Err(Refusal::service_unavailable()) };
                self.may_register(from)?;
                match name {
                    "register" => Some(unified.register(asked, from).await?),
                    "unregister" => {
                        unified.unregister(asked, from).await?;
                        None
                    }
                    _ => return Err(Refusal::feature_not_implemented()),
                }
            }
            _ => return Err(Refusal::service_unavailable()),
        };
        Ok(Answered::Now(payload))
    }

    /// Whether somebody may have devices woken.
    fn may_register(&self, from: &Jid) -> Result<(), Refusal> {
        let is_local = *from.domain() == **self.context.domain();
        if from.node().is_some() && (is_local || self.settings.clients == Clients::Anyone) {
            return Ok(());
        }
        Err(Refusal::forbidden().saying("devices of accounts of this server are woken here"))
    }

    fn commands(&self) -> Commands<'_> {
        Commands {
            gateway: &self.domain,
            services: self.sender.services(),
            store: &self.store,
            most: self.settings.registrations_per_account.get(),
        }
    }

    /// Takes a notification. It is answered when its service has taken or refused it.
    async fn publish(&self, pubsub: Child<'_>, parcel: &Parcel) -> Result<(), Refusal> {
        let publish = Publish::read(pubsub)?;
        let device = self.store.device(&publish.node).await?;
        let device = device.ok_or_else(|| Refusal::item_not_found().saying("there is no such node"))?;
        if !is_same(publish.secret.as_bytes(), device.secret.as_bytes()) {
            return Err(Refusal::forbidden().saying("the secret is not right"));
        }
        if self.rates.take(&device.node, Instant::now()).is_err() {
            // Not the registration is wrong, only the time: of another type, it would be given up.
            return Err(Refusal::policy_violation().of_type(ErrorType::Wait).saying("the device is woken too often"));
        }
        let (context, origin, request) = (self.context.clone(), parcel.origin.clone(), parcel.stanza.head());
        let reply = move |told: Result<(), Refusal>| {
            async move {
                let answer = match told {
                    Ok(()) => Some(Stanza::result_of(&request)),
                    Err(refusal) => Stanza::error_for(&request, &refusal).ok().flatten(),
                };
                if let Some(answer) = answer {
                    reply(&context, &origin, answer).await;
                }
            }
            .boxed()
        };
        self.sender.send(device, publish.summary, Box::new(reply))
    }

    fn describe(&self, query: Child<'_>) -> Result<Element, Refusal> {
        let node = query.attribute("node").filter(|node| !node.is_empty());
        let commands = self.commands().list();
        let (category, kind, name) = match node.as_deref() {
            None => ("pubsub", "push", self.settings.name.as_str()),
            Some(COMMANDS) => ("automation", "command-list", "Commands"),
            Some(node) => {
                let command = commands.iter().find(|(known, _)| *known == node);
                let (_, title) = command.ok_or_else(Refusal::item_not_found)?;
                ("automation", "command-node", *title)
            }
        };
        let features: &[&str] = match node.as_deref() {
            None if self.unified.is_some() => &[PUSH, COMMANDS, DISCO_INFO, DISCO_ITEMS, PING, UNIFIED_PUSH],
            None => &[PUSH, COMMANDS, DISCO_INFO, DISCO_ITEMS, PING],
            Some(_) => &[COMMANDS, DATA_FORM],
        };
        let mut writer = Writer::with_capacity(512);
        writer.open("query").attribute("xmlns", DISCO_INFO).optional_attribute("node", node.as_deref());
        writer.open("identity").attribute("category", category).attribute("type", kind).attribute("name", name).close();
        for feature in features {
            writer.open("feature").attribute("var", feature).close();
        }
        writer.close();
        Ok(element(writer.finish())?)
    }

    fn list(&self, query: Child<'_>) -> Result<Element, Refusal> {
        let node = query.attribute("node").filter(|node| !node.is_empty());
        let mut writer = Writer::with_capacity(512);
        writer.open("query").attribute("xmlns", DISCO_ITEMS).optional_attribute("node", node.as_deref());
        match node.as_deref() {
            None => {}
            Some(COMMANDS) => {
                for (node, title) in self.commands().list() {
                    let item = writer.open("item").attribute("jid", self.domain.as_str());
                    item.attribute("node", node).attribute("name", title).close();
                }
            }
            Some(_) => return Err(Refusal::item_not_found()),
        }
        writer.close();
        Ok(element(writer.finish())?)
    }
}

/// Compares secrets without telling by the time it takes where they part.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

/// Brings an answer to whoever asked.
async fn reply(context: &Context, origin: &Origin, reply: Stanza) {
    match origin.session() {
        Some(session) => {
            let _ = session.deliver(Parcel::new(reply, Origin::House));
        }
        None => context.send(reply).await,
    }
}
