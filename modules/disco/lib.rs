//! Service discovery (XEP-0030), the server's entity capabilities (0115) and contact addresses (0157).

mod information;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::{DomainPart, Jid};
use waxwing_core::answers::{Answer, Request, Scope, Topic};
use waxwing_core::config::SettingsDescription;
use waxwing_core::contracts::Contract;
use waxwing_core::fault::Fault;
use waxwing_core::module::{Context, Entity, Manifest, Module, Phase, Plan, StartError, Xep};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{decode, encode};
use xmpp_parsers::disco::{DiscoInfoQuery, DiscoInfoResult, DiscoItemsQuery, DiscoItemsResult, Item};

const INFORMATION: &str = "http://jabber.org/protocol/disco#info";
const ITEMS: &str = "http://jabber.org/protocol/disco#items";
const CAPABILITIES: &str = "http://jabber.org/protocol/caps";

/// Names the program in its capabilities (XEP-0115 §4).
const NODE: &str = "urn:waxwing:server";

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

static MANIFEST: Manifest = Manifest {
    name: "disco",
    summary: "tells what the server and each account can do, and whom to write to about it",
    xeps: &[
        Xep::complete(30, "2.5.0"),
        Xep::partial(115, "1.6.0", "the server's own capabilities; those of clients are not stripped from presence"),
        Xep::complete(157, "1.1.1"),
    ],
    features: &[
        (Entity::Host, INFORMATION),
        (Entity::Host, ITEMS),
        (Entity::Host, CAPABILITIES),
        (Entity::Account, INFORMATION),
        (Entity::Account, ITEMS),
    ],
    answers: &[Topic::host(INFORMATION), Topic::host(ITEMS), Topic::account(INFORMATION), Topic::account(ITEMS)],
    likes: &[Contract::Contacts],
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may decide.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// The server's name as clients show it.
    name: Option<String>,
    /// Whom to write to when somebody misuses this server. Addresses are URIs, such as "mailto:abuse@example.org" or
    /// "xmpp:admin@example.org"; the same holds for the other lists.
    abuse: Vec<String>,
    /// Whom to write to about the server as such.
    admin: Vec<String>,
    /// Where opinions are welcome.
    feedback: Vec<String>,
    /// Whom to ask about buying something.
    sales: Vec<String>,
    /// Whom to tell about holes in its security.
    security: Vec<String>,
    /// Where to look when it does not answer.
    status: Vec<String>,
    /// Where people get help.
    support: Vec<String>,
}

struct Disco {
    settings: Settings,
    context: Context,
    /// The capabilities of the host and their hash, made when they are first asked for.
    capabilities: OnceLock<(String, Bytes)>,
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    information::check(&settings).map_err(StartError::Other)?;
    Ok(Arc::new(Disco { settings, context, capabilities: OnceLock::new() }))
}

#[async_trait]
impl Module for Disco {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        // RFC 6120 §8.3.3.19 and security row S25: a stranger does not learn whether there is such an account, by whatever
        // he asks.
        if request.scope == Scope::Account && !self.may_ask(request).await? {
            return Err(Refusal::service_unavailable());
        }
        if request.is_set() {
            return Err(Refusal::bad_request().saying("this can be asked, not set"));
        }
        match request.payload().namespace() {
            ITEMS => self.items(request).await,
            _ => self.describe_entity(request).await,
        }
    }

    fn stream_features(&self, phase: Phase) -> Vec<Bytes> {
        match (phase, self.capabilities()) {
            (Phase::Binding, Ok((_, feature))) => vec![feature.clone()],
            _ => Vec::new(),
        }
    }
}

impl Disco {
    /// Oneself, and contacts who may see one's presence.
    async fn may_ask(&self, request: Request<'_>) -> Result<bool, Refusal> {
        if request.is_from_owner() {
            return Ok(true);
        }
        let (Some(contacts), Some(account)) = (self.context.contracts().contacts(), request.account()) else {
            return Ok(false);
        };
        let Some(asks) = request.from().map(Jid::to_bare) else { return Ok(false) };
        let contact = contacts.contact(&account, &asks).await?;
        Ok(contact.is_some_and(|contact| contact.subscription.contact_sees_account()))
    }

    /// Answers what an entity, or a node there, is.
    async fn describe_entity(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let query: DiscoInfoQuery = decode(request.payload())?;
        let entity = if request.scope == Scope::Account { Entity::Account } else { Entity::Host };
        let Some(node) = query.node.filter(|node| !node.is_empty()) else {
            return Ok(Answer::with(&self.information(entity))?);
        };
        if entity == Entity::Host && node == self.capabilities()?.0 {
            return Ok(Answer::with(&DiscoInfoResult { node: Some(node), ..self.information(entity) })?);
        }
        for running in self.context.host().catalogue().running() {
            if let Some(information) = running.module.describe(&node, request).await? {
                return Ok(Answer::with(&DiscoInfoResult { node: Some(node), ..information })?);
            }
        }
        Err(Refusal::item_not_found())
    }

    fn information(&self, of: Entity) -> DiscoInfoResult {
        let catalogue = self.context.host().catalogue();
        let (mut features, mut identities) = (Vec::new(), Vec::new());
        for running in catalogue.running() {
            let stated = running.manifest.features.iter().filter(|(entity, _)| *entity == of);
            features.extend(stated.map(|(_, feature)| (*feature).to_owned()));
            features.extend(running.module.more_features(of));
            identities
                .extend(running.manifest.identities.iter().filter(|(entity, _)| *entity == of).map(|(_, is)| *is));
        }
        information::of(of, &identities, features, &self.settings)
    }

    /// The node of the host's capabilities with their hash, and the stream feature that names them.
    fn capabilities(&self) -> Result<&(String, Bytes), Fault> {
        if let Some(made) = self.capabilities.get() {
            return Ok(made);
        }
        let capabilities = information::capabilities(&self.information(Entity::Host))?;
        let node = format!("{NODE}#{}", information::version(&capabilities));
        let feature = encode(&capabilities)?.as_bytes().clone();
        Ok(self.capabilities.get_or_init(|| (node, feature)))
    }

    async fn items(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let query: DiscoItemsQuery = decode(request.payload())?;
        let node = query.node.filter(|node| !node.is_empty());
        let mut items = match (&node, request.scope) {
            (None, Scope::Host) => self.services(),
            _ => Vec::new(),
        };
        let mut is_known = node.is_none();
        for running in self.context.host().catalogue().running() {
            let Some(more) = running.module.list(node.as_deref().unwrap_or_default(), request).await? else { continue };
            items.extend(more);
            is_known = true;
            if node.is_some() {
                break;
            }
        }
        if !is_known {
            return Err(Refusal::item_not_found());
        }
        Ok(Answer::with(&DiscoItemsResult { node, items, rsm: None })?)
    }

    /// The domains below the host that modules serve, each with what it is for.
    fn services(&self) -> Vec<Item> {
        let host = self.context.host();
        let catalogue = host.catalogue();
        let summary = |name| catalogue.running().iter().find(|running| running.manifest.name == name);
        let item = |(domain, module): (DomainPart, _)| Item {
            jid: Jid::from_parts(None, &domain, None),
            node: None,
            name: summary(module).map(|running| running.manifest.summary.to_owned()),
        };
        host.services().into_iter().map(item).collect()
    }
}
