//! Service discovery: what this host and its accounts are and can do (XEP-0030), in short (XEP-0115), and how to reach
//! the people behind it (XEP-0157).
//!
//! The features come from the manifests of the modules that run, so nothing is advertised that is not there.

mod contact_addresses;
mod info;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use waxwing_core::address::Jid;
use waxwing_core::answers::{Answer, Request, Scope, Topic};
use waxwing_core::contracts::Contract;
use waxwing_core::fault::Fault;
use waxwing_core::module::{Context, Entity, Manifest, Module, Phase, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::decode;
use waxwing_core::xml::Writer;
use xmpp_parsers::caps::{compute_disco, hash_caps};
use xmpp_parsers::disco::{DiscoInfoQuery, DiscoInfoResult, DiscoItemsQuery, DiscoItemsResult, Item};
use xmpp_parsers::hashes::Algo;

use contact_addresses::Settings;

const INFO: &str = "http://jabber.org/protocol/disco#info";
const ITEMS: &str = "http://jabber.org/protocol/disco#items";
const CAPS: &str = "http://jabber.org/protocol/caps";

/// Names the software in entity capabilities.
const NODE: &str = "urn:x-waxwing:server";

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "disco",
    summary: "tells what the server can do",
    xeps: &[
        Xep::complete(30, "2.5.0"),
        Xep::partial(115, "1.6.0", "the server's own capabilities; presence is not stripped of those of clients"),
        Xep::complete(128, "1.0.1"),
        Xep::complete(157, "1.1.1"),
    ],
    features: &[
        (Entity::Host, INFO),
        (Entity::Host, ITEMS),
        (Entity::Host, CAPS),
        (Entity::Account, INFO),
        (Entity::Account, ITEMS),
    ],
    answers: &[Topic::host(INFO), Topic::host(ITEMS), Topic::account(INFO), Topic::account(ITEMS)],
    likes: &[Contract::Contacts],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    settings.check().map_err(StartError::Other)?;
    Ok(Arc::new(Discovery { context, settings }))
}

/// What one host tells of itself.
struct Discovery {
    context: Context,
    settings: Settings,
}

#[async_trait]
impl Module for Discovery {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let entity = match request.scope {
            Scope::Account => {
                self.admit(&request).await?;
                Entity::Account
            }
            Scope::Host | Scope::Stranger => Entity::Host,
        };
        if request.is_set() {
            return Err(Refusal::not_allowed().saying("what the server can do is asked for, not set"));
        }
        let payload = request.payload();
        match payload.namespace() {
            INFO => {
                let query: DiscoInfoQuery = decode(payload)?;
                Ok(Answer::with(&self.info_of_node(entity, query.node)?)?)
            }
            _ => {
                let query: DiscoItemsQuery = decode(payload)?;
                Ok(Answer::with(&self.items(entity, query.node)?)?)
            }
        }
    }

    fn stream_features(&self, phase: Phase) -> Vec<Bytes> {
        match (phase, self.version()) {
            (Phase::Binding, Ok(version)) => {
                let mut writer = Writer::new();
                writer.open("c").attribute("xmlns", CAPS).attribute("hash", "sha-1");
                writer.attribute("node", NODE).attribute("ver", &version);
                vec![writer.finish()]
            }
            _ => vec![],
        }
    }
}

impl Discovery {
    /// Whether somebody may ask what an account is: itself, and those who may see its presence (XEP-0030 §8).
    ///
    /// # Errors
    /// What is also said for an account that does not exist.
    async fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        if request.is_from_owner() {
            return Ok(());
        }
        let asker = request.from().map(Jid::to_bare);
        if let (Some(contacts), Some(account), Some(asker)) =
            (self.context.contracts().contacts(), request.account(), asker)
        {
            let contact = contacts.contact(&account, &asker).await?;
            if contact.is_some_and(|contact| contact.subscription.contact_sees_account()) {
                return Ok(());
            }
        }
        Err(Refusal::service_unavailable())
    }

    fn info(&self, entity: Entity) -> DiscoInfoResult {
        let catalogue = self.context.host().catalogue();
        let features = catalogue.running().iter().flat_map(|running| {
            let stated = running.manifest.features.iter().filter(|(of, _)| *of == entity);
            let stated = stated.map(|(_, feature)| (*feature).to_owned());
            stated.chain(running.module.more_features(entity)).collect::<Vec<_>>()
        });
        info::info(entity, features.collect(), &self.settings)
    }

    /// The information of a node: of the entity itself without one, and under the name that capabilities give it.
    fn info_of_node(&self, entity: Entity, node: Option<String>) -> Result<DiscoInfoResult, Refusal> {
        let node = node.filter(|node| !node.is_empty());
        if let Some(node) = &node {
            let is_ours = entity == Entity::Host && *node == format!("{NODE}#{}", self.version()?);
            if !is_ours {
                return Err(Refusal::item_not_found());
            }
        }
        Ok(DiscoInfoResult { node, ..self.info(entity) })
    }

    /// What belongs to the host: its services. An account has nothing.
    fn items(&self, entity: Entity, node: Option<String>) -> Result<DiscoItemsResult, Refusal> {
        if node.is_some_and(|node| !node.is_empty()) {
            return Err(Refusal::item_not_found());
        }
        let services = match entity {
            Entity::Host => self.context.host().services(),
            Entity::Account => vec![],
        };
        let item = |domain| Item { jid: Jid::from_parts(None, domain, None), node: None, name: None };
        let items = services.iter().map(|(domain, _)| item(domain)).collect();
        Ok(DiscoItemsResult { node: None, items, rsm: None })
    }

    /// What the host is and can do, as a hash (XEP-0115 §5.1).
    fn version(&self) -> Result<String, Fault> {
        let hash = hash_caps(&compute_disco(&self.info(Entity::Host)), Algo::Sha_1).map_err(Fault::new)?;
        Ok(STANDARD.encode(hash.hash))
    }
}
