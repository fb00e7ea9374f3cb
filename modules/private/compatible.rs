//! Keeps the forms of bookmarks the same: whichever a client writes, the others say it, too (XEP-0402 §5.3).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use waxwing_core::address::BareJid;
use waxwing_core::contracts::Nodes;
use waxwing_core::nodes::{Audience, Item};
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Element;

use crate::bookmarks::{self, CURRENT, LIST, NATIVE};

/// Which form was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An item for each room.
    Items,
    /// One list.
    List,
}

impl Form {
    /// The form that a node holds.
    pub fn of_node(node: &str) -> Option<Form> {
        match node {
            NATIVE => Some(Form::Items),
            LIST => Some(Form::List),
            _ => None,
        }
    }
}

/// The forms written since somebody began to convert those of an account.
#[derive(Default)]
struct Since {
    items: bool,
    list: bool,
}

/// Converts bookmarks of accounts, of each by one at a time.
pub struct Compatible {
    nodes: Arc<dyn Nodes>,
    most: usize,
    at_work: Mutex<HashMap<BareJid, Since>>,
}

impl Compatible {
    /// At most so many bookmarks of an account are converted.
    pub fn new(nodes: Arc<dyn Nodes>, most: usize) -> Compatible {
        Compatible { nodes, most, at_work: Mutex::default() }
    }

    async fn items(&self, account: &BareJid) -> Result<Vec<Item>, Refusal> {
        Ok(self.nodes.items(account, NATIVE, self.most).await?)
    }

    /// The list of an account's bookmarks, with what else stood in the list `before`.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn list(&self, account: &BareJid, before: Option<&Element>) -> Result<Element, Refusal> {
        Ok(bookmarks::list(&bookmarks::of_items(&self.items(account).await?), before)?)
    }

    /// Makes the items say what a list says.
    ///
    /// # Errors
    /// Why they cannot.
    pub async fn take_list(&self, account: &BareJid, list: &Element) -> Result<(), Refusal> {
        let items = self.items(account).await?;
        let changes = bookmarks::changes(&items, &bookmarks::of_list(list))?;
        if !changes.publish.is_empty() {
            self.nodes.publish(account, NATIVE, changes.publish, Audience::Owner).await?;
        }
        if !changes.retract.is_empty() {
            self.nodes.retract(account, NATIVE, &changes.retract).await?;
        }
        Ok(())
    }

    /// Makes the list in its node say what the items say.
    async fn take_items(&self, account: &BareJid) -> Result<(), Refusal> {
        let items = bookmarks::of_items(&self.items(account).await?);
        let before = self.nodes.item(account, LIST, CURRENT).await?.and_then(|item| item.payload);
        let said = before.as_ref().map(bookmarks::of_list).unwrap_or_default();
        if said == items {
            return Ok(());
        }
        let list = bookmarks::list(&items, before.as_ref())?;
        self.nodes.publish(account, LIST, vec![(CURRENT.into(), list)], Audience::Owner).await
    }

    /// One of the forms was written. What is written because of that is heard of as well, and finds nothing to do.
    pub async fn hear(&self, account: &BareJid, form: Form) {
        {
            let mut at_work = self.at_work.lock();
            if let Some(since) = at_work.get_mut(account) {
                match form {
                    Form::Items => since.items = true,
                    Form::List => since.list = true,
                }
                return;
            }
            at_work.insert(account.clone(), Since::default());
        }
        let _gone = AtWork { compatible: self, account };
        let mut next = Some(form);
        while let Some(form) = next {
            let converted = match form {
                Form::Items => self.take_items(account).await,
                Form::List => self.take_current_list(account).await,
            };
            if let Err(refusal) = converted {
                tracing::debug!(%account, %refusal, "private.bookmarks_not_converted");
                return;
            }
            next = self.written_since(account);
        }
    }

    /// A client has written the list into its node. One that is gone says nothing: bookmarks stay.
    async fn take_current_list(&self, account: &BareJid) -> Result<(), Refusal> {
        let newest = self.nodes.items(account, LIST, 1).await?.pop();
        let Some(list) = newest.and_then(|item| item.payload) else { return Ok(()) };
        match list.name() == "storage" && list.namespace() == LIST {
            true => self.take_list(account, &list).await,
            false => Ok(()),
        }
    }

    /// The form that was written meanwhile; what a client may have said in it goes first.
    fn written_since(&self, account: &BareJid) -> Option<Form> {
        let mut at_work = self.at_work.lock();
        let since = at_work.get_mut(account)?;
        if std::mem::take(&mut since.list) {
            return Some(Form::List);
        }
        std::mem::take(&mut since.items).then_some(Form::Items)
    }
}

/// Somebody converts the bookmarks of an account, until this is dropped.
struct AtWork<'a> {
    compatible: &'a Compatible,
    account: &'a BareJid,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.compatible.at_work.lock().remove(self.account);
    }
}
