//! Changes nodes: commits first, then tells everyone who hears of it, in the order of the commits.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use waxwing_core::address::BareJid;
use waxwing_core::contracts::{Contact, Contacts};
use waxwing_core::events::Event;
use waxwing_core::module::{Context, StartError};
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Child;
use waxwing_storage::StorageError;

use crate::access::{Affiliation, Asker, Relation};
use crate::configuration::{Configuration, SendLast};
use crate::event::{self, Shown};
use crate::protocol::{
    bad_request, no_such_node, payload_too_big, precondition_not_met, presence_subscription_required,
};
use crate::questions::Questions;
use crate::remote::Remote;
use crate::settings::Settings;
use crate::store::{Bounds, NewItem, Node, Shelf, Store};

/// Accounts are spread over this many queues.
const QUEUES: usize = 256;

/// The nodes of the accounts of one host.
pub struct Service {
    pub context: Context,
    pub settings: Settings,
    pub store: Store,
    pub questions: Questions,
    pub remote: Remote,
    pub contacts: Arc<dyn Contacts>,
    queues: Box<[Queue]>,
    hasher: RandomState,
}

/// Whoever changes a node of an account waits for those before him, until everyone has been told what they changed. So
/// nobody hears of two changes in the wrong order.
#[derive(Default)]
struct Queue {
    turn: tokio::sync::Mutex<()>,
    changes: AtomicU64,
}

/// Somebody's turn to change the nodes of an account.
pub struct Turn<'a> {
    _turn: tokio::sync::MutexGuard<'a, ()>,
    changes: &'a AtomicU64,
}

impl Turn<'_> {
    /// Something was committed.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// Somebody who asks, as an account knows him.
pub struct Known {
    /// His address.
    pub jid: BareJid,
    /// How he stands to the account.
    pub relation: Relation,
}

impl Known {
    /// As he stands to one of its nodes.
    pub fn to(&self, node: &Node) -> Asker<'_> {
        let affiliation = match self.relation {
            Relation::Owner => Affiliation::Owner,
            _ => node.affiliation(&self.jid),
        };
        Asker { relation: &self.relation, affiliation, subscribed: node.subscribed(&self.jid) }
    }

    /// What he is told when there is no such node: a stranger what he is told of a closed one.
    pub fn missing(&self) -> Refusal {
        match self.relation {
            Relation::Stranger => presence_subscription_required(),
            _ => no_such_node(),
        }
    }
}

impl Service {
    /// A service with nobody in it yet.
    pub fn new(context: Context, settings: Settings) -> Result<Service, StartError> {
        let Some(contacts) = context.contracts().contacts().cloned() else {
            return Err(StartError::Other("no module keeps contacts".to_owned()));
        };
        let bounds = Bounds {
            nodes: settings.nodes.get(),
            items: settings.items.get().max(1),
            bytes: settings.account_bytes.get(),
        };
        Ok(Service {
            store: Store::new(context.database().clone(), settings.remembered_nodes.get(), bounds),
            questions: Questions::new(settings.questions.get(), settings.capabilities_bytes.get()),
            remote: Remote::new(settings.remote_clients.get()),
            contacts,
            queues: (0..QUEUES).map(|_| Queue::default()).collect(),
            hasher: RandomState::new(),
            context,
            settings,
        })
    }

    fn queue(&self, owner: &BareJid) -> &Queue {
        &self.queues[self.hasher.hash_one(owner) as usize % QUEUES]
    }

    /// Waits for one's turn to change, or to show, the nodes of an account.
    pub async fn turn(&self, owner: &BareJid) -> Turn<'_> {
        let queue = self.queue(owner);
        Turn { _turn: queue.turn.lock().await, changes: &queue.changes }
    }

    /// How many changes there were in the neighbourhood of an account. The same number twice: nothing has changed.
    pub fn changes(&self, owner: &BareJid) -> u64 {
        self.queue(owner).changes.load(Ordering::Acquire)
    }

    /// How many items a node may keep at most.
    pub fn most_items(&self) -> usize {
        self.settings.items.get().max(1)
    }

    /// How somebody stands to an account by its roster.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn relation(&self, owner: &BareJid, to: &BareJid) -> Result<Relation, StorageError> {
        if owner == to {
            return Ok(Relation::Owner);
        }
        Ok(self.contacts.contact(owner, to).await?.map_or(Relation::Stranger, relation_of))
    }

    /// Publishes an item, or without one only that something has happened; gives the id of the item. A node that is not
    /// there is made, for the owner.
    ///
    /// # Errors
    /// What the publisher is told.
    pub async fn publish(
        &self,
        owner: &BareJid,
        by: &Known,
        name: &str,
        item: Option<crate::request::Item<'_>>,
        options: &[(String, Vec<String>)],
    ) -> Result<Option<String>, Refusal> {
        let shelf = self.store.shelf(owner).await?;
        match shelf.node(name) {
            // What is in the way of a publisher is told first.
            Some(node) => by.to(node).may_publish(&node.configuration)?,
            None if by.relation == Relation::Owner => {}
            None => return Err(Refusal::forbidden()),
        }
        let payload = item.as_ref().and_then(|item| item.payload).map(|payload: Child<'_>| payload.bytes());
        let id = item.as_ref().map(|item| item.id.clone().unwrap_or_else(waxwing_core::random::token));
        let most = self.most_items();
        let decide = |found: Option<&Configuration>| {
            let configuration = match found {
                Some(configuration) if configuration.meets(options, most)? => configuration.clone(),
                Some(_) => return Err(precondition_not_met()),
                None => {
                    let mut made = Configuration::default();
                    made.require(options, most)?;
                    made
                }
            };
            self.fits(&configuration, id.is_some(), payload)?;
            Ok(configuration)
        };
        let new = id.as_deref().map(|id| NewItem { id, payload });
        let items: Vec<NewItem<'_>> = new.into_iter().collect();
        self.write(owner, name, &by.jid, &items, decide).await?;
        Ok(id)
    }

    /// Whether an item fits a node (§7.1.3.5 to §7.1.3.7).
    fn fits(&self, configuration: &Configuration, has_item: bool, payload: Option<&[u8]>) -> Result<(), Refusal> {
        let size = payload.map_or(0, <[u8]>::len);
        let most = configuration.max_payload.map_or(usize::MAX, |most| most as usize);
        if !self.settings.item_bytes.allows(size) || size > most {
            return Err(payload_too_big());
        }
        match (configuration.persist_items, configuration.deliver_payloads) {
            (true, _) | (_, true) if !has_item => Err(bad_request("item-required")),
            (_, true) if payload.is_none() => Err(bad_request("payload-required")),
            (false, false) if has_item => Err(bad_request("item-forbidden")),
            _ => Ok(()),
        }
    }

    /// Commits items and tells of them.
    pub async fn write(
        &self,
        owner: &BareJid,
        name: &str,
        publisher: &BareJid,
        items: &[NewItem<'_>],
        decide: impl FnOnce(Option<&Configuration>) -> Result<Configuration, Refusal>,
    ) -> Result<(), Refusal> {
        {
            let turn = self.turn(owner).await;
            let published = self.store.publish(owner, name, publisher, items, decide).await?;
            turn.changed();
            tracing::debug!(%owner, node = name, made = published.made, "pubsub.published");
            let shown: Vec<Shown<'_>> = items
                .iter()
                .map(|item| Shown { id: item.id, publisher: publisher.as_str(), payload: item.payload })
                .collect();
            if let Some(node) = self.store.shelf(owner).await?.node(name) {
                self.announce(owner, node, event::published(name, &published.configuration, &shown)).await;
            }
        }
        self.tell_changed(owner, name).await;
        Ok(())
    }

    /// Takes items away. `notify`: everyone is told, whatever the node's configuration says.
    ///
    /// # Errors
    /// `item-not-found` when none of them is there.
    pub async fn retract(&self, owner: &BareJid, node: &Arc<Node>, ids: &[&str], notify: bool) -> Result<(), Refusal> {
        {
            let turn = self.turn(owner).await;
            let gone = self.store.retract(node, ids).await?;
            if gone.is_empty() {
                return Err(Refusal::item_not_found().saying("there is no such item"));
            }
            turn.changed();
            if notify || node.configuration.notify_retract {
                self.announce(owner, node, event::retracted(&node.name, &gone)).await;
            }
        }
        self.tell_changed(owner, &node.name).await;
        Ok(())
    }

    /// Takes everything out of a node.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn purge(&self, owner: &BareJid, node: &Arc<Node>) -> Result<(), Refusal> {
        {
            let turn = self.turn(owner).await;
            self.store.purge(node).await?;
            turn.changed();
            if node.configuration.notify_retract {
                self.announce(owner, node, event::purged(&node.name)).await;
            }
        }
        self.tell_changed(owner, &node.name).await;
        Ok(())
    }

    /// Deletes a node.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn delete(&self, owner: &BareJid, node: &Arc<Node>) -> Result<(), Refusal> {
        {
            let turn = self.turn(owner).await;
            self.store.delete(owner, node).await?;
            turn.changed();
            if node.configuration.notify_delete {
                self.announce(owner, node, event::deleted(&node.name)).await;
            }
        }
        self.tell_changed(owner, &node.name).await;
        Ok(())
    }

    /// Makes a node.
    ///
    /// # Errors
    /// `conflict` when it is there already.
    pub async fn make(&self, owner: &BareJid, name: &str, configuration: &Configuration) -> Result<(), Refusal> {
        let turn = self.turn(owner).await;
        if self.store.shelf(owner).await?.node(name).is_some() {
            return Err(Refusal::conflict().saying("there is such a node already"));
        }
        self.store.make(owner, name, configuration).await?;
        turn.changed();
        Ok(())
    }

    /// Configures a node. Who may not read it any more is not subscribed any more; who may from now on is sent what it
    /// holds as if he had just come.
    ///
    /// # Errors
    /// `not-acceptable` for a value that a field cannot have.
    pub async fn configure(
        &self,
        owner: &BareJid,
        node: &Arc<Node>,
        fields: &[(String, Vec<String>)],
    ) -> Result<(), Refusal> {
        let mut configuration = node.configuration.clone();
        configuration.set_all(fields, self.most_items())?;
        if configuration == node.configuration {
            return Ok(());
        }
        {
            let turn = self.turn(owner).await;
            self.store.configure(owner, node, &configuration).await?;
            turn.changed();
            if let Some(node) = self.store.shelf(owner).await?.node(&node.name).cloned() {
                if configuration.notify_config {
                    self.announce(owner, &node, event::configured(&node.name, &configuration)).await;
                }
                if configuration.access != crate::configuration::Access::Open {
                    self.cancel_lost_subscriptions(owner, &node, |_| true).await?;
                }
            }
        }
        self.tell_changed(owner, &node.name).await;
        Ok(())
    }

    /// Ends subscriptions of those who may not read a node any more (XEP-0163 §7.1), among the subscribers that `of` names.
    /// In the account's turn.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn cancel_lost_subscriptions(
        &self,
        owner: &BareJid,
        node: &Arc<Node>,
        of: impl Fn(&BareJid) -> bool,
    ) -> Result<(), Refusal> {
        let mut lost = Vec::new();
        for (jid, _) in node.subscriptions.iter().filter(|(jid, _)| of(&jid.to_bare())) {
            let known = Known { jid: jid.to_bare(), relation: self.relation(owner, &jid.to_bare()).await? };
            if known.to(node).may_subscribe(&node.configuration).is_err() {
                lost.push((jid.clone(), None));
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        self.store.subscribe(owner, node, &lost).await?;
        for (jid, _) in lost {
            self.tell_subscription(owner, node, &jid, "none").await;
        }
        Ok(())
    }

    /// A contact sees the account no more.
    pub async fn part(&self, account: &BareJid, contact: &BareJid) {
        self.remote.contact_goes(account, contact);
        let work = async {
            let shelf: Arc<Shelf> = self.store.shelf(account).await?;
            for node in shelf.0.iter().filter(|node| !node.subscriptions.is_empty()) {
                let _turn = self.turn(account).await;
                self.cancel_lost_subscriptions(account, node, |jid| jid == contact).await?;
            }
            Ok::<(), Refusal>(())
        };
        if let Err(refusal) = work.await {
            tracing::warn!(%account, %refusal, "pubsub.subscriptions_not_cancelled");
        }
    }

    /// An account is gone, and so is everything in its nodes.
    pub async fn forget(&self, account: &BareJid) {
        self.remote.account_goes(account);
        let _turn = self.turn(account).await;
        if let Err(refusal) = self.store.forget_account(account).await {
            tracing::error!(%account, %refusal, "pubsub.not_forgotten");
        }
    }

    /// Tells other modules that something has changed; not in the account's turn, which they may want to have.
    async fn tell_changed(&self, owner: &BareJid, node: &str) {
        self.context.tell(Event::NodeChanged { account: owner.clone(), node: node.into() }).await;
    }
}

/// How a contact stands to the account whose roster names it.
pub fn relation_of(contact: Contact) -> Relation {
    if contact.subscription.contact_sees_account() { Relation::Watcher(contact.groups) } else { Relation::Stranger }
}

/// Whether whoever comes online is sent the last item of a node.
pub fn is_sent_to_comers(configuration: &Configuration) -> bool {
    configuration.send_last == SendLast::OnPresence && configuration.deliver_notifications
}
