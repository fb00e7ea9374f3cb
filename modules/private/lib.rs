//! What clients keep for themselves as one element of each name (XEP-0049), and bookmarks, which have three forms and say the
//! same in all of them (XEP-0402 §5.3).

mod bookmarks;
mod compatible;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::address::BareJid;
use waxwing_core::answers::{Answer, Request, Topic};
use waxwing_core::contracts::Contract;
use waxwing_core::events::{Event, Happening};
use waxwing_core::limits::{ByteSize, Count};
use waxwing_core::module::{Context, Entity, Manifest, Module, Plan, SettingsDescription, StartError, Xep};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::element;
use waxwing_core::xml::{Child, Element, Writer};

use bookmarks::{LIST, NATIVE};
use compatible::{Compatible, Form};
use store::{Kept, Store};

const PRIVATE: &str = "jabber:iq:private";

/// The module as the assembly lists it.
pub const PLAN: Plan = Plan { manifest: &MANIFEST, start: |context| Box::pin(start(context)) };

/// What the module is.
pub static MANIFEST: Manifest = Manifest {
    name: "private",
    summary: "keeps what clients store for themselves, and bookmarks in every form that clients know",
    xeps: &[Xep::complete(49, "1.2"), Xep::complete(48, "1.2"), Xep::complete(402, "1.2.1")],
    features: &[(Entity::Host, PRIVATE), (Entity::Account, PRIVATE)],
    answers: &[Topic::account(PRIVATE)],
    hears: &[Happening::NodeChanged, Happening::AccountRemoved],
    likes: &[Contract::Nodes],
    migrations: Some(store::MIGRATIONS),
    settings: Some(SettingsDescription::of::<Settings>),
    ..Manifest::EMPTY
};

/// What the operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many elements an account may keep. One more is refused with policy-violation.
    pub elements: Count,
    /// Size of the largest element.
    pub element_bytes: ByteSize,
    /// How many bookmarks of an account are converted from one form into the others.
    pub bookmarks: Count,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { elements: Count::of(100), element_bytes: ByteSize::kibibytes(128), bookmarks: Count::of(1_000) }
    }
}

async fn start(context: Context) -> Result<Arc<dyn Module>, StartError> {
    let settings: Settings = context.settings()?;
    let nodes = context.contracts().nodes().cloned();
    let compatible = nodes.map(|nodes| Compatible::new(nodes, settings.bookmarks.get()));
    Ok(Arc::new(Private { store: Store(context.database().clone()), settings, compatible }))
}

struct Private {
    store: Store,
    settings: Settings,
    /// None where no module keeps nodes: then bookmarks have one form.
    compatible: Option<Compatible>,
}

#[async_trait]
impl Module for Private {
    async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let (true, Some(owner)) = (request.is_from_owner(), request.account()) else {
            // Nobody learns here whether somebody else has an account.
            return Err(Refusal::service_unavailable());
        };
        if request.payload().name() != "query" {
            return Err(Refusal::bad_request());
        }
        if request.is_set() {
            self.set(&owner, request.payload()).await.map(|()| Answer::Empty)
        } else {
            self.get(&owner, request.payload()).await.map(Answer::Payload)
        }
    }

    async fn hear(&self, event: &Event) {
        match event {
            Event::NodeChanged { account, node } => {
                if let (Some(compatible), Some(form)) = (&self.compatible, Form::of_node(node)) {
                    compatible.hear(account, form).await;
                }
            }
            Event::AccountRemoved(account) => {
                if let Err(error) = self.store.forget(account).await {
                    tracing::error!(%account, %error, "private.not_forgotten");
                }
            }
            _ => {}
        }
    }

    fn more_features(&self, of: Entity) -> Vec<String> {
        match (of, &self.compatible) {
            (Entity::Account, Some(_)) => vec![format!("{NATIVE}#compat"), format!("{NATIVE}#compat-pep")],
            _ => Vec::new(),
        }
    }
}

impl Private {
    async fn get(&self, owner: &BareJid, query: Child<'_>) -> Result<Element, Refusal> {
        let mut wanted = query.children();
        let (Some(wanted), None) = (wanted.next(), wanted.next()) else {
            return Err(Refusal::bad_request().saying("one element is asked for at a time"));
        };
        let kept = self.store.get(owner, wanted.namespace(), wanted.name()).await?;
        let kept = match (&self.compatible, is_list(wanted)) {
            (Some(compatible), true) => {
                let before = kept.map(element).transpose()?;
                Some(compatible.list(owner, before.as_ref()).await?.as_bytes().clone())
            }
            _ => kept,
        };
        let mut writer = Writer::new();
        writer.open("query").attribute("xmlns", PRIVATE);
        // What was never kept is asked for in vain, and shown empty (XEP-0049 §2.2).
        writer.raw(kept.as_deref().unwrap_or_else(|| wanted.bytes()));
        Ok(element(writer.finish())?)
    }

    async fn set(&self, owner: &BareJid, query: Child<'_>) -> Result<(), Refusal> {
        let elements: Vec<Child<'_>> = query.children().collect();
        if elements.is_empty() {
            return Err(Refusal::bad_request().saying("nothing is to be kept"));
        }
        // One without a namespace of its own could not be told from others (§2.3).
        if elements.iter().any(|child| !child.declares_namespace() || is_reserved(child.namespace())) {
            return Err(Refusal::not_acceptable().saying("what is kept needs a namespace of its own"));
        }
        if elements.iter().any(|child| !self.settings.element_bytes.allows(child.bytes().len())) {
            return Err(Refusal::not_acceptable().saying("the element is too large"));
        }
        let kept: Vec<Kept<'_>> = elements
            .iter()
            .map(|child| Kept { namespace: child.namespace(), name: child.name(), element: child.bytes() })
            .collect();
        self.store.set(owner, &kept, self.settings.elements.get()).await?;
        let list = elements.iter().find(|child| is_list(**child));
        if let (Some(compatible), Some(list)) = (&self.compatible, list) {
            compatible.take_list(owner, &list.to_element()).await?;
        }
        Ok(())
    }
}

fn is_list(element: Child<'_>) -> bool {
    element.namespace() == LIST && element.name() == "storage"
}

/// Namespaces of the protocol itself (XEP-0049 §2.3).
fn is_reserved(namespace: &str) -> bool {
    matches!(namespace, "" | PRIVATE | "jabber:client" | "jabber:server" | "jabber:iq:roster" | "vcard-temp")
}
