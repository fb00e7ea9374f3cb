//! Tells of a change everyone who wants to hear of it (XEP-0163 §4.3): the owner's own clients, those of contacts who may
//! read the node, and whoever has subscribed. The event is encoded once, whoever and however many they are.

use std::collections::HashSet;
use std::sync::Arc;

use waxwing_core::address::{BareJid, FullJid, Jid};
use waxwing_core::contracts::Contact;
use waxwing_core::fault::Fault;
use waxwing_core::notes::Note;
use waxwing_core::parcel::{ForThisSession, Origin, Parcel};
use waxwing_core::session::Session;
use waxwing_core::stanza::{MessageType, Stanza};
use waxwing_core::xml::Element;

use crate::access::{Relation, Subscribed};
use crate::capabilities::{Interests, is_interested};
use crate::configuration::{Access, Configuration};
use crate::event;
use crate::service::{Known, Service};
use crate::store::Node;

/// Which nodes the client of a session wants to hear of. There is none before its capabilities are known.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// What they were learned from: the words of its presence.
    pub learned_from: Box<str>,
    /// The nodes.
    pub nodes: Interests,
}

impl Note for Wishes {
    const WRITTEN_AS: Option<&'static str> = Some("pubsub.wishes");

    fn write_down(&self) -> String {
        let lines = std::iter::once(&*self.learned_from).chain(self.nodes.iter().map(|node| &**node));
        lines.map(|line| line.replace(['\n', '\r'], " ")).collect::<Vec<_>>().join("\n")
    }

    fn read_back(written: &str) -> Option<Wishes> {
        let mut lines = written.split('\n');
        let learned_from = lines.next()?.into();
        let mut nodes: Vec<Box<str>> = lines.map(Into::into).collect();
        nodes.sort();
        Some(Wishes { learned_from, nodes: nodes.into() })
    }
}

/// Whether the client of a session wants to hear of a node.
fn wants(session: &Session, node: &str) -> bool {
    session.note::<Wishes>().is_some_and(|wishes| is_interested(&wishes.nodes, node))
}

impl Service {
    /// Tells of a change. In the account's turn, so that nobody hears of two changes in the wrong order.
    pub async fn announce(&self, owner: &BareJid, node: &Arc<Node>, event: Result<Element, Fault>) {
        if !node.configuration.deliver_notifications {
            return;
        }
        let message = event.and_then(|event| event::message(&node.configuration, owner, event));
        let message = match message {
            Ok(message) => message,
            Err(fault) => {
                tracing::error!(%owner, node = &*node.name, fault = fault.id(), "pubsub.not_announced");
                return;
            }
        };
        let mut told: HashSet<Jid> = HashSet::new();
        for session in
            self.context.directory().available(owner).into_iter().filter(|session| wants(session, &node.name))
        {
            told.insert(session.jid().clone().into());
            deliver_to_own(&session, message.clone());
        }
        let contacts = match self.contacts.contacts(owner).await {
            Ok(contacts) => contacts,
            Err(error) => {
                tracing::warn!(%owner, %error, "pubsub.contacts_not_told");
                Arc::from([])
            }
        };
        let remote = self.remote.clients(owner);
        for contact in contacts.iter().filter(|contact| hears_of(contact, node)) {
            let clients = self.clients_of(contact, &remote, &node.name);
            if !clients.is_empty() && !self.is_blocked(owner, &contact.jid).await {
                for client in clients {
                    self.context.send(message.clone().to(client.clone())).await;
                    told.insert(client.into());
                }
            }
        }
        self.tell_subscribers(owner, node, &contacts, &message, &told).await;
    }

    /// The clients of a contact that are online and want to hear of a node.
    fn clients_of(&self, contact: &Contact, remote: &[(FullJid, Interests)], node: &str) -> Vec<FullJid> {
        if self.context.house().host(contact.jid.domain()).is_some() {
            let sessions = self.context.directory().available(&contact.jid);
            let wanting = sessions.iter().filter(|session| wants(session, node));
            return wanting.map(|session| session.jid().clone()).collect();
        }
        let own = remote.iter().filter(|(jid, _)| jid.to_bare() == contact.jid);
        own.filter(|(_, interests)| is_interested(interests, node)).map(|(jid, _)| jid.clone()).collect()
    }

    /// Tells those who have subscribed to the node themselves, and have not been told yet.
    async fn tell_subscribers(
        &self,
        owner: &BareJid,
        node: &Arc<Node>,
        contacts: &[Contact],
        message: &Stanza,
        told: &HashSet<Jid>,
    ) {
        let allowed = node.subscriptions.iter().filter(|(_, state)| *state == Subscribed::Yes);
        for (jid, _) in allowed {
            let bare = jid.to_bare();
            let is_told = match jid.resource() {
                Some(_) => told.contains(jid),
                None => told.iter().any(|known| known.to_bare() == bare),
            };
            if is_told || known(owner, &bare, contacts).to(node).may_read(&node.configuration).is_err() {
                continue;
            }
            if bare == *owner || !self.is_blocked(owner, &bare).await {
                self.context.send(message.clone().to(jid.clone())).await;
            }
        }
    }

    /// Tells somebody what has become of his subscription.
    pub async fn tell_subscription(&self, owner: &BareJid, node: &Arc<Node>, jid: &Jid, state: &str) {
        let event = event::subscription(&node.name, jid, state);
        match event.map(|event| Stanza::message(MessageType::Headline).from(owner.clone()).to(jid.clone()).with(event))
        {
            Ok(message) => self.context.send(message.id(waxwing_core::random::token())).await,
            Err(fault) => tracing::debug!(fault = fault.id(), "pubsub.subscription_not_told"),
        }
    }

    /// Whether an account does not want to have to do with somebody. What is not known is not blocked.
    pub async fn is_blocked(&self, owner: &BareJid, whom: &BareJid) -> bool {
        let host = self.context.house().host(owner.domain());
        let Some(blocking) = host.as_ref().and_then(|host| host.contracts().blocking()) else { return false };
        blocking.is_blocked(owner, &Jid::from(whom.clone())).await.unwrap_or_else(|error| {
            tracing::warn!(%owner, %error, "pubsub.blocking_unknown");
            false
        })
    }
}

/// Puts a message into the mailbox of one of the owner's own clients. It is of no use to another, or later.
pub fn deliver_to_own(session: &Arc<Session>, message: Stanza) {
    let message = message.to(session.jid().clone());
    let _ = session.deliver(Parcel::new(message, Origin::House).noting(ForThisSession));
}

/// Whether a contact hears of a node without having subscribed to it.
fn hears_of(contact: &Contact, node: &Node) -> bool {
    if !contact.subscription.contact_sees_account() {
        return false;
    }
    // Groups are copied where they matter only.
    let groups = if needs_groups(&node.configuration) { contact.groups.clone() } else { Vec::new() };
    let known = Known { jid: contact.jid.clone(), relation: Relation::Watcher(groups) };
    known.to(node).may_read(&node.configuration).is_ok()
}

fn needs_groups(configuration: &Configuration) -> bool {
    configuration.access == Access::Roster
}

/// How somebody stands to an account with these contacts, which are in order.
fn known(owner: &BareJid, jid: &BareJid, contacts: &[Contact]) -> Known {
    let relation = if jid == owner {
        Relation::Owner
    } else {
        let found = contacts.binary_search_by(|contact| contact.jid.cmp(jid)).ok();
        found.map_or(Relation::Stranger, |index| crate::service::relation_of(contacts[index].clone()))
    };
    Known { jid: jid.clone(), relation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_known_after_a_restart() {
        let wishes = Wishes { learned_from: "a|b|c".into(), nodes: Arc::from(["urn:a".into(), "urn:b".into()]) };
        let read = Wishes::read_back(&wishes.write_down()).unwrap();
        assert_eq!((read.learned_from, read.nodes), (wishes.learned_from, wishes.nodes));
        let none = Wishes { learned_from: "x".into(), nodes: Arc::default() };
        assert!(Wishes::read_back(&none.write_down()).unwrap().nodes.is_empty());
    }
}
