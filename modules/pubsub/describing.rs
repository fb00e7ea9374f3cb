//! What service discovery tells of nodes (XEP-0060 §5.2 to §5.5): only of those that whoever asks may read.

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Request, Scope};
use waxwing_core::clock::date_time;
use waxwing_core::refusal::Refusal;
use xmpp_parsers::data_forms::{DataForm, DataFormType, Field, FieldType};
use xmpp_parsers::disco::{DiscoInfoResult, Identity, Item};

use crate::access::Relation;
use crate::protocol::{META_DATA, PUBSUB};
use crate::service::{Known, Service};
use crate::store::{Node, Shelf};

/// How many items a list has at most.
const MOST_LISTED: usize = 100;

impl Service {
    /// What a node is.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn describe(&self, node: &str, request: Request<'_>) -> Result<Option<DiscoInfoResult>, Refusal> {
        let Some((owner, known, shelf)) = self.asked(request).await? else { return Ok(None) };
        let Some(node) = shelf.node(node).filter(|node| may_read(&known, node)) else { return Ok(None) };
        Ok(Some(DiscoInfoResult {
            node: None,
            identities: vec![Identity::new_anonymous::<_, _, String, String>("pubsub", "leaf")],
            features: [PUBSUB.to_owned()].into_iter().collect(),
            extensions: vec![meta_data(&owner, node)],
        }))
    }

    /// The nodes of an account, or the items of a node.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn list(&self, node: &str, request: Request<'_>) -> Result<Option<Vec<Item>>, Refusal> {
        let Some((owner, known, shelf)) = self.asked(request).await? else { return Ok(None) };
        let jid = Jid::from(owner);
        if node.is_empty() {
            let shown = shelf.0.iter().filter(|node| may_read(&known, node)).take(MOST_LISTED);
            let item = |node: &std::sync::Arc<Node>| Item {
                jid: jid.clone(),
                node: Some(node.name.to_string()),
                name: Some(node.configuration.title.clone()).filter(|title| !title.is_empty()),
            };
            return Ok(Some(shown.map(item).collect()));
        }
        let Some(node) = shelf.node(node).filter(|node| may_read(&known, node)) else { return Ok(None) };
        let ids = self.store.ids(node, MOST_LISTED).await?;
        let item = |id: Box<str>| Item { jid: jid.clone(), node: None, name: Some(id.into()) };
        Ok(Some(ids.into_iter().map(item).collect()))
    }

    /// Who asks of which account; none when it is not about an account.
    async fn asked(&self, request: Request<'_>) -> Result<Option<(BareJid, Known, std::sync::Arc<Shelf>)>, Refusal> {
        let (Scope::Account, Some(owner), Some(from)) = (request.scope, request.account(), request.from()) else {
            return Ok(None);
        };
        let jid = from.to_bare();
        let relation = match request.is_from_owner() {
            true => Relation::Owner,
            false => self.relation(&owner, &jid).await?,
        };
        let shelf = self.store.shelf(&owner).await?;
        Ok(Some((owner, Known { jid, relation }, shelf)))
    }
}

fn may_read(known: &Known, node: &Node) -> bool {
    known.to(node).may_read(&node.configuration).is_ok()
}

/// The form that describes a node (§5.4).
fn meta_data(owner: &BareJid, node: &Node) -> DataForm {
    let configuration = &node.configuration;
    let most = configuration.max_items.map_or("max".to_owned(), |most| most.to_string());
    let mut fields = Vec::new();
    for (name, value) in [
        ("pubsub#title", configuration.title.clone()),
        ("pubsub#description", configuration.description.clone()),
        ("pubsub#type", configuration.payload_type.clone()),
        ("pubsub#language", configuration.language.clone()),
        ("pubsub#creation_date", date_time(node.created_at)),
        ("pubsub#creator", owner.to_string()),
        ("pubsub#owner", owner.to_string()),
        ("pubsub#access_model", configuration.access.name().to_owned()),
        ("pubsub#publish_model", configuration.publish_model.name().to_owned()),
        ("pubsub#max_items", most),
    ] {
        if !value.is_empty() {
            fields.push(Field { values: vec![value], ..Field::new(name, FieldType::TextSingle) });
        }
    }
    DataForm::new(DataFormType::Result_, META_DATA, fields)
}
