//! Shows the items of a node (XEP-0060 §6.5), all of them or by pages (XEP-0059), in the order of their publication.

use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::element;
use waxwing_core::xml::{Element, Writer};
use xmpp_parsers::rsm::SetQuery;

use crate::event::Shown;
use crate::protocol::{PUBSUB, RSM};
use crate::service::Service;
use crate::store::{Node, Page, StoredItem, Window};

/// What of a node somebody wants to read.
#[derive(Debug, Default)]
pub struct Wanted {
    /// These items.
    pub ids: Vec<String>,
    /// As many of the newest.
    pub most: Option<usize>,
    /// A page.
    pub set: Option<SetQuery>,
}

impl Service {
    /// The payload that answers.
    ///
    /// # Errors
    /// `item-not-found` for a page beside an item that is not there.
    pub async fn read(&self, node: &Node, wanted: &Wanted) -> Result<Element, Refusal> {
        let most = self.settings.page.get().max(1);
        let bytes = self.settings.page_bytes.get().max(self.settings.item_bytes.get());
        if !wanted.ids.is_empty() {
            let ids: Vec<&str> = wanted.ids.iter().take(most).map(String::as_str).collect();
            let items = as_many_as_fit(self.store.by_ids(node, &ids).await?, bytes);
            return answer(node, &items, None);
        }
        let mut window = Window { low: 0, high: i64::MAX, newest: wanted.most.is_some(), most, bytes };
        window.most = wanted.most.map_or(most, |wanted| wanted.min(most));
        if let Some(set) = &wanted.set {
            if set.index.is_some() {
                let text = "pages are asked for by the item before or behind them, not by a number";
                return Err(Refusal::feature_not_implemented().saying(text));
            }
            window.most = set.max.map_or(window.most, |max| max.min(window.most));
            // An empty `<before/>` is the last page (XEP-0059 §2.5).
            window.newest |= set.before.is_some();
            if let Some(after) = set.after.as_deref() {
                window.low = self.position(node, after).await?;
            }
            if let Some(before) = set.before.as_deref().filter(|before| !before.is_empty()) {
                window.high = self.position(node, before).await?;
            }
        }
        let page = self.store.page(node, window).await?;
        let is_whole = page.items.len() == page.count;
        let is_told = wanted.set.is_some() || (!is_whole && wanted.most.is_none());
        answer(node, &page.items, is_told.then_some(&page))
    }

    /// Where an item stands.
    async fn position(&self, node: &Node, id: &str) -> Result<i64, Refusal> {
        let found = self.store.position(node, id).await?;
        found.ok_or_else(|| Refusal::item_not_found().saying("there is no such item"))
    }
}

/// The first items that have room together; one at least.
fn as_many_as_fit(mut items: Vec<StoredItem>, bytes: usize) -> Vec<StoredItem> {
    let mut room = bytes;
    let fitting = items.iter().take_while(|item| {
        let size = 200 + item.payload.as_ref().map_or(0, |payload| payload.len());
        let fits = size <= room || room == bytes;
        room = room.saturating_sub(size);
        fits
    });
    let fitting = fitting.count();
    items.truncate(fitting);
    items
}

/// Writes `<items/>`, and what is said of a page.
fn answer(node: &Node, items: &[StoredItem], page: Option<&Page>) -> Result<Element, Refusal> {
    let size: usize = items.iter().map(|item| 200 + item.payload.as_ref().map_or(0, |payload| payload.len())).sum();
    let mut writer = Writer::with_capacity(size + 300);
    writer.open("pubsub").attribute("xmlns", PUBSUB).open("items").attribute("node", &node.name);
    for item in items {
        let shown = Shown { id: &item.id, publisher: &item.publisher, payload: item.payload.as_deref() };
        shown.write(&mut writer, &node.configuration, true);
    }
    writer.close();
    if let Some(page) = page {
        writer.open("set").attribute("xmlns", RSM);
        if let (Some(first), Some(last)) = (page.items.first(), page.items.last()) {
            writer.open("first").attribute("index", &page.before.to_string()).text(&first.id).close();
            writer.open("last").text(&last.id).close();
        }
        writer.open("count").text(&page.count.to_string()).close().close();
    }
    Ok(element(writer.finish())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn no_more_is_shown_than_has_room_and_one_item_always() {
        let item = |size: usize| StoredItem {
            position: 1,
            id: "i".into(),
            published_at: 0,
            publisher: "p".into(),
            payload: Some(Bytes::from(vec![b'x'; size])),
        };
        assert_eq!(as_many_as_fit(vec![item(5_000), item(10)], 1_000).len(), 1);
        assert_eq!(as_many_as_fit(vec![item(300), item(300), item(10)], 1_000).len(), 2);
        assert!(as_many_as_fit(Vec::new(), 1_000).is_empty());
    }
}
