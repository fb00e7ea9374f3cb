//! What somebody hears who comes online, or who may see an account from now on: the last items of the nodes he wants to
//! hear of (XEP-0163 §4.3.3, §4.3.4). Before that his client is asked which these are, where nobody knows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use waxwing_core::address::{BareJid, FullJid, Jid};
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::session::Session;
use waxwing_core::stanza::{PresenceType, Stanza, StanzaType};
use waxwing_storage::StorageError;

use crate::access::{Affiliation, Asker, Relation};
use crate::announcing::{Wishes, deliver_to_own};
use crate::capabilities::{Advertised, gained};
use crate::configuration::Access;
use crate::event::{self, Shown};
use crate::service::{Service, is_sent_to_comers};
use crate::store::{Last, Node};

/// For so many contacts the last items are read at a time.
const CONTACTS_AT_ONCE: usize = 100;

/// What a client says about itself, in one text.
fn words(advertised: &Advertised) -> String {
    format!("{} {} {}", advertised.hash, advertised.version, advertised.node)
}

impl Service {
    /// A client of ours has broadcast that it is there.
    pub fn welcome(self: &Arc<Service>, session: &Arc<Session>, first: bool) {
        let Some(advertised) = session.presence().and_then(|presence| Advertised::by(&presence)) else {
            session.take_note::<Wishes>();
            return;
        };
        let is_known = session.note::<Wishes>().is_some_and(|wishes| *wishes.learned_from == *words(&advertised));
        if is_known && !first {
            return;
        }
        let (service, session) = (self.clone(), session.clone());
        self.in_background(async move { service.learn_and_greet(&session, &advertised, first).await });
    }

    /// Runs until it is done or the house is shut down.
    fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.context.house().stopped();
        self.context.house().tasks().spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = work => {}
            }
        });
    }

    async fn learn_and_greet(&self, session: &Arc<Session>, advertised: &Advertised, first: bool) {
        let client = Jid::from(session.jid().clone());
        let interests = self.questions.interests(&self.context, session.account(), &client, advertised).await;
        let Some(interests) = interests else { return };
        // It may have said something else, or gone, since it was asked.
        let says = session.presence().and_then(|presence| Advertised::by(&presence));
        if says.as_ref() != Some(advertised) || session.has_ended() {
            return;
        }
        let before = session.note::<Wishes>().map(|wishes| wishes.nodes).filter(|_| !first).unwrap_or_default();
        let new = gained(&before, &interests);
        // From here on it hears of every change; what it has missed is read after this.
        session.put_note(Wishes { learned_from: words(advertised).into(), nodes: interests });
        if new.is_empty() {
            return;
        }
        if let Err(error) = self.greet(session, &new).await {
            tracing::warn!(session = %session.jid(), %error, "pubsub.not_greeted");
        }
    }

    /// Sends a client of ours the last items of its own account and of its contacts.
    async fn greet(&self, session: &Arc<Session>, nodes: &[Box<str>]) -> Result<(), StorageError> {
        let account = session.account();
        let contacts = self.contacts.contacts(account).await?;
        let house = self.context.house();
        let seen = contacts.iter().filter(|contact| {
            contact.subscription.account_sees_contact() && house.host(contact.jid.domain()).is_some()
        });
        let owners: Vec<&BareJid> = std::iter::once(account).chain(seen.map(|contact| &contact.jid)).collect();
        for owners in owners.chunks(CONTACTS_AT_ONCE) {
            self.send_last(owners, nodes, account, &Receiver::Session(session)).await?;
        }
        Ok(())
    }

    /// Sends somebody the last items of these nodes of these accounts, as far as he may read them.
    async fn send_last(
        &self,
        owners: &[&BareJid],
        nodes: &[Box<str>],
        reader: &BareJid,
        to: &Receiver<'_>,
    ) -> Result<(), StorageError> {
        let names: Vec<&str> = nodes.iter().map(|node| &**node).collect();
        let texts: Vec<&str> = owners.iter().map(|owner| owner.as_str()).collect();
        let before: Vec<u64> = owners.iter().map(|owner| self.changes(owner)).collect();
        let mut by_owner: HashMap<BareJid, Vec<Last>> = HashMap::new();
        for last in self.store.last(&texts, &names, reader).await? {
            by_owner.entry(last.owner.clone()).or_default().push(last);
        }
        for (owner, before) in owners.iter().zip(before) {
            let Some(mut found) = by_owner.remove(*owner) else { continue };
            if *owner != reader && self.is_blocked(owner, reader).await {
                continue;
            }
            to.wait_for_room(&found).await;
            // Whoever changes something meanwhile tells it after this, or has told it, and then it is read again.
            let _turn = self.turn(owner).await;
            if self.changes(owner) != before {
                found = self.store.last(&[owner.as_str()], &names, reader).await?;
            }
            for last in found {
                if self.may_hear(&last, reader).await? {
                    self.send_one(&last, to).await;
                }
            }
        }
        Ok(())
    }

    /// Whether somebody who sees the account of a node, or has subscribed, is sent its last item unasked.
    async fn may_hear(&self, last: &Last, reader: &BareJid) -> Result<bool, StorageError> {
        if !is_sent_to_comers(&last.configuration) {
            return Ok(false);
        }
        let relation = if last.owner == *reader {
            Relation::Owner
        } else {
            // The groups stand in the roster of the node's owner.
            let groups = match last.configuration.access {
                Access::Roster => self.groups(&last.owner, reader).await?,
                _ => Vec::new(),
            };
            Relation::Watcher(groups)
        };
        let affiliation = if relation == Relation::Owner { Affiliation::Owner } else { last.affiliation };
        let asker = Asker { relation: &relation, affiliation, subscribed: last.subscribed };
        Ok(asker.may_read(&last.configuration).is_ok())
    }

    /// The groups that an account has put a contact in.
    async fn groups(&self, owner: &BareJid, contact: &BareJid) -> Result<Vec<String>, StorageError> {
        let host = self.context.house().host(owner.domain());
        let Some(contacts) = host.as_ref().and_then(|host| host.contracts().contacts()) else { return Ok(Vec::new()) };
        Ok(contacts.contact(owner, contact).await?.map(|contact| contact.groups).unwrap_or_default())
    }

    async fn send_one(&self, last: &Last, to: &Receiver<'_>) {
        let item = &last.item;
        let shown = Shown { id: &item.id, publisher: &item.publisher, payload: item.payload.as_deref() };
        let message = event::published(&last.node, &last.configuration, &[shown]).and_then(|event| {
            let message = event::message(&last.configuration, &last.owner, event)?;
            Ok(message.with(event::delay(item.published_at)?))
        });
        match message {
            Ok(message) => to.send(self, message, &last.owner).await,
            Err(fault) => tracing::debug!(fault = fault.id(), "pubsub.last_item_not_sent"),
        }
    }

    /// Sends a new subscriber the last item of the node (§6.1.7), to the address that he has subscribed with.
    ///
    /// # Errors
    /// When storage does not answer.
    pub async fn send_last_to_subscriber(&self, owner: &BareJid, node: &Node, jid: &Jid) -> Result<(), StorageError> {
        let _turn = self.turn(owner).await;
        let found = self.store.last(&[owner.as_str()], &[&node.name], &jid.to_bare()).await?;
        for last in found {
            self.send_one(&last, &Receiver::Address(jid)).await;
        }
        Ok(())
    }

    /// Somebody may see an account from now on: if he is online, he is sent what he would have been sent before.
    pub fn introduce(self: &Arc<Service>, account: &BareJid, contact: &BareJid) {
        let (service, account, contact) = (self.clone(), account.clone(), contact.clone());
        self.in_background(async move {
            if let Err(error) = service.send_to_new_watcher(&account, &contact).await {
                tracing::warn!(%account, %error, "pubsub.not_introduced");
            }
        });
    }

    async fn send_to_new_watcher(&self, account: &BareJid, contact: &BareJid) -> Result<(), StorageError> {
        for session in self.context.directory().available(contact) {
            if let Some(wishes) = session.note::<Wishes>() {
                self.send_last(&[account], &wishes.nodes, contact, &Receiver::Session(&session)).await?;
            }
        }
        let clients = self.remote.clients(account);
        for (client, interests) in clients.iter().filter(|(jid, _)| jid.to_bare() == *contact) {
            self.send_last(&[account], interests, contact, &Receiver::Elsewhere(client)).await?;
        }
        Ok(())
    }

    /// Somebody on another server has told an account of ours that he is there, or gone.
    pub async fn hear_presence(self: &Arc<Service>, parcel: &Parcel) {
        let (Origin::Remote(_), Some(from), Some(to)) = (&parcel.origin, &parcel.stanza.from, &parcel.stanza.to) else {
            return;
        };
        let account = to.to_bare();
        match (parcel.stanza.what, from.try_as_full()) {
            (StanzaType::Presence(PresenceType::Available), Ok(client)) => {
                self.hear_of_remote(&account, client, &parcel.stanza).await;
            }
            (StanzaType::Presence(PresenceType::Unavailable | PresenceType::Error), Ok(client)) => {
                self.remote.goes(&account, client);
            }
            (StanzaType::Presence(PresenceType::Unavailable | PresenceType::Error), Err(contact)) => {
                self.remote.contact_goes(&account, contact);
            }
            _ => {}
        }
    }

    async fn hear_of_remote(self: &Arc<Service>, account: &BareJid, client: &FullJid, presence: &Stanza) {
        // A stranger hears nothing, and is not remembered. Whom the account only watches is: when he may see the account,
        // too, later, he does not say again that he is there.
        match self.contacts.contact(account, &client.to_bare()).await {
            Ok(Some(contact))
                if contact.subscription.account_sees_contact() || contact.subscription.contact_sees_account() => {}
            _ => return,
        }
        let advertised = Advertised::by(presence);
        if !self.remote.comes(account, client, advertised.as_ref()) {
            return;
        }
        let Some(advertised) = advertised else { return };
        let (service, account, client) = (self.clone(), account.clone(), client.clone());
        self.in_background(async move {
            let address = Jid::from(client.clone());
            let interests = service.questions.interests(&service.context, &account, &address, &advertised).await;
            let Some(interests) = interests else { return };
            let Some(before) = service.remote.learn(&account, &client, &advertised, &interests) else { return };
            let new = gained(&before, &interests);
            let relation = service.relation(&account, &client.to_bare()).await;
            if new.is_empty() || !matches!(relation, Ok(Relation::Watcher(_))) {
                return;
            }
            let to = Receiver::Elsewhere(&client);
            if let Err(error) = service.send_last(&[&account], &new, &client.to_bare(), &to).await {
                tracing::warn!(%account, %error, "pubsub.not_greeted");
            }
        });
    }
}

/// Who is sent last items.
enum Receiver<'a> {
    /// A client of ours.
    Session(&'a Arc<Session>),
    /// A client on another server.
    Elsewhere(&'a FullJid),
    /// Whoever is behind an address.
    Address(&'a Jid),
}

impl Receiver<'_> {
    /// A client with many contacts gets many items at once. As long as it reads, it is not disconnected for that.
    async fn wait_for_room(&self, items: &[Last]) {
        const PAUSE: Duration = Duration::from_millis(10);
        const ATTEMPTS: usize = 200;
        let Receiver::Session(session) = self else { return };
        let size = |last: &Last| 1_000 + last.item.payload.as_ref().map_or(0, |payload| payload.len());
        // Others write to the same mailbox.
        let wanted = 64 * 1024 + items.iter().map(size).sum::<usize>();
        for _ in 0..ATTEMPTS {
            if session.room() >= wanted || session.has_ended() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn send(&self, service: &Service, message: Stanza, owner: &BareJid) {
        match self {
            Receiver::Session(session) if session.account() == owner => deliver_to_own(session, message),
            // By the way of every stanza, so that whoever has blocked the account hears nothing of it.
            Receiver::Session(session) => service.context.send(message.to(session.jid().clone())).await,
            Receiver::Elsewhere(client) => service.context.send(message.to((*client).clone())).await,
            Receiver::Address(address) => service.context.send(message.to((*address).clone())).await,
        }
    }
}
