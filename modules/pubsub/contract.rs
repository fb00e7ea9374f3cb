//! What other modules may do with the nodes of an account: they act for the account itself.

use std::collections::HashSet;

use async_trait::async_trait;
use waxwing_core::address::BareJid;
use waxwing_core::contracts::Nodes;
use waxwing_core::nodes::{Audience, Item};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::element;
use waxwing_core::xml::Element;
use waxwing_storage::StorageError;

use crate::access::{configuration_for, is_wider_than};
use crate::configuration::{Access, Configuration};
use crate::protocol::{payload_too_big, precondition_not_met};
use crate::request::{MOST_ID, MOST_NAME};
use crate::service::Service;
use crate::store::{NewItem, StoredItem, Window};

/// An item as other modules see it.
fn shown(item: StoredItem) -> Result<Item, StorageError> {
    let unreadable =
        |_| StorageError::Corrupt { column: "payload".to_owned(), reason: "it is not one element".to_owned() };
    let payload = item.payload.map(element).transpose().map_err(unreadable)?;
    Ok(Item { id: item.id, payload, published_at: item.published_at })
}

#[async_trait]
impl Nodes for Service {
    async fn item(&self, account: &BareJid, node: &str, id: &str) -> Result<Option<Item>, StorageError> {
        let shelf = self.store.shelf(account).await?;
        let Some(node) = shelf.node(node) else { return Ok(None) };
        self.store.by_ids(node, &[id]).await?.pop().map(shown).transpose()
    }

    async fn items(&self, account: &BareJid, node: &str, most: usize) -> Result<Vec<Item>, StorageError> {
        let shelf = self.store.shelf(account).await?;
        let Some(node) = shelf.node(node) else { return Ok(Vec::new()) };
        let window = Window { low: 0, high: i64::MAX, newest: true, most, bytes: usize::MAX };
        let page = self.store.page(node, window).await?;
        page.items.into_iter().rev().map(shown).collect()
    }

    async fn item_ids(&self, account: &BareJid, node: &str) -> Result<Vec<Box<str>>, StorageError> {
        let shelf = self.store.shelf(account).await?;
        let Some(node) = shelf.node(node) else { return Ok(Vec::new()) };
        self.store.ids(node, self.most_items()).await
    }

    async fn is_open(&self, account: &BareJid, node: &str) -> Result<bool, StorageError> {
        let shelf = self.store.shelf(account).await?;
        Ok(shelf.node(node).is_some_and(|node| node.configuration.access == Access::Open))
    }

    async fn publish(
        &self,
        account: &BareJid,
        node: &str,
        items: Vec<(Box<str>, Element)>,
        audience: Audience,
    ) -> Result<(), Refusal> {
        if items.iter().any(|(_, payload)| !self.settings.item_bytes.allows(payload.as_bytes().len())) {
            return Err(payload_too_big());
        }
        if node.len() > MOST_NAME || items.iter().any(|(id, _)| id.len() > MOST_ID) {
            return Err(Refusal::not_acceptable().saying("the name of a node or the id of an item is too long"));
        }
        // The last of those with the same id counts.
        let mut ids = HashSet::new();
        let mut new: Vec<NewItem<'_>> = items
            .iter()
            .rev()
            .filter(|(id, _)| ids.insert(id))
            .map(|(id, payload)| NewItem { id, payload: Some(payload.as_bytes()) })
            .collect();
        new.reverse();
        let decide = |found: Option<&Configuration>| match found {
            Some(configuration) if is_wider_than(configuration, audience) => Err(precondition_not_met()),
            Some(configuration) => Ok(configuration.clone()),
            None => Ok(configuration_for(audience)),
        };
        self.write(account, node, account, &new, decide).await
    }

    async fn retract(&self, account: &BareJid, node: &str, ids: &[Box<str>]) -> Result<(), Refusal> {
        let shelf = self.store.shelf(account).await?;
        let Some(node) = shelf.node(node) else { return Ok(()) };
        let ids: Vec<&str> = ids.iter().map(|id| &**id).collect();
        match Service::retract(self, account, node, &ids, true).await {
            Err(refusal) if refusal.condition == waxwing_core::refusal::Condition::ItemNotFound => Ok(()),
            result => result,
        }
    }
}
