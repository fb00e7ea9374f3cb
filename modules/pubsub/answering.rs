//! Answers what is asked of the nodes of an account (XEP-0060 §5 to §8). What a stranger is told of an account that does not
//! exist is what he is told of one whose nodes he may not see (security rows S21, S25).

use std::sync::Arc;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::answers::{Answer, Request};
use waxwing_core::fault::Fault;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::{ErrorType, Refusal};
use waxwing_core::stages::Pass;
use waxwing_core::stanza::{MessageType, Stanza, StanzaType, element};
use waxwing_core::xml::Writer;

use crate::access::{Affiliation, Relation, Subscribed, is_own};
use crate::configuration::{Configuration, SendLast};
use crate::form::{Filled, FormWriter, Purpose, boolean};
use crate::protocol::{AUTHORIZATION, ERRORS, FORM, NODE_CONFIG, OWNER, PUBSUB, bad_request, unsupported};
use crate::reading::Wanted;
use crate::request::{self, Command};
use crate::service::{Known, Service};
use crate::store::{Node, Shelf};

impl Service {
    /// Answers an IQ.
    ///
    /// # Errors
    /// What whoever asks is told.
    pub async fn answer(&self, request: Request<'_>) -> Result<Answer, Refusal> {
        let (Some(owner), Some(from)) = (request.account(), request.from()) else {
            return Err(Refusal::service_unavailable());
        };
        let command = request::read(&request)?;
        let jid = from.to_bare();
        let (relation, shelf) = if request.is_from_owner() {
            (Relation::Owner, self.store.shelf(&owner).await?)
        } else if jid != owner && self.context.account_exists(&owner).await? {
            (self.relation(&owner, &jid).await?, self.store.shelf(&owner).await?)
        } else {
            (Relation::Stranger, Arc::default())
        };
        let asked = Asked { owner: &owner, by: Known { jid, relation }, shelf };
        match command {
            Command::Publish { node, item, options } => {
                let has_id = item.as_ref().is_some_and(|item| item.id.is_some());
                let id = self.publish(&owner, &asked.by, &node, item, &options).await?;
                answer(PUBSUB, |writer| {
                    writer.open("publish").attribute("node", &node);
                    if let Some(id) = id.filter(|_| !has_id) {
                        writer.open("item").attribute("id", &id).close();
                    }
                })
            }
            Command::Retract { node, ids, notify } => {
                // Who may not publish learns nothing of which nodes there are.
                let node = match asked.shelf.node(&node) {
                    Some(node) => node,
                    None if asked.by.relation == Relation::Owner => return Err(asked.by.missing()),
                    None => return Err(Refusal::forbidden()),
                };
                asked.by.to(node).may_publish(&node.configuration)?;
                if !node.configuration.persist_items {
                    return Err(unsupported("persistent-items"));
                }
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                self.retract(&owner, node, &ids, notify).await?;
                Ok(Answer::Empty)
            }
            Command::Items { node, ids, most, set } => {
                let node = asked.node(&node)?;
                asked.by.to(node).may_read(&node.configuration)?;
                Ok(Answer::Payload(self.read(node, &Wanted { ids, most, set }).await?))
            }
            Command::Create { node, fields } => self.create(&asked, node, &fields).await,
            Command::Subscribe { node, jid } => self.subscribe(&asked, &node, &jid).await,
            Command::Unsubscribe { node, jid } => self.unsubscribe(&asked, &node, &jid).await,
            Command::Subscriptions { node } => asked.subscriptions(node.as_deref()),
            Command::Affiliations { node } => asked.affiliations(node.as_deref()),
            command => self.obey(&asked, command).await,
        }
    }

    /// What only the owner may ask for.
    async fn obey(&self, asked: &Asked<'_>, command: Command<'_>) -> Result<Answer, Refusal> {
        if asked.by.relation != Relation::Owner {
            return Err(Refusal::forbidden());
        }
        let owner = asked.owner;
        match command {
            Command::Default => answer(OWNER, |writer| {
                writer.open("default");
                Configuration::default().write(writer, Purpose::Asks, NODE_CONFIG);
            }),
            Command::Configuration { node } => {
                let node = asked.node(&node)?;
                answer(OWNER, |writer| {
                    writer.open("configure").attribute("node", &node.name);
                    node.configuration.write(writer, Purpose::Asks, NODE_CONFIG);
                })
            }
            Command::Configure { node, filled } => {
                let node = asked.node(&node)?;
                if !filled.is_cancelled {
                    self.configure(owner, node, &filled.fields).await?;
                }
                Ok(Answer::Empty)
            }
            Command::Delete { node } => self.delete(owner, asked.node(&node)?).await.map(|()| Answer::Empty),
            Command::Purge { node } => {
                let node = asked.node(&node)?;
                if !node.configuration.persist_items {
                    return Err(unsupported("persistent-items"));
                }
                self.purge(owner, node).await.map(|()| Answer::Empty)
            }
            Command::ListAffiliations { node } => {
                let node = asked.node(&node)?;
                let owns = (owner.clone(), Affiliation::Owner);
                answer(OWNER, |writer| {
                    writer.open("affiliations").attribute("node", &node.name);
                    for (jid, affiliation) in std::iter::once(&owns).chain(&node.affiliations) {
                        writer.open("affiliation").attribute("jid", jid.as_str());
                        writer.attribute("affiliation", affiliation.name()).close();
                    }
                })
            }
            Command::SetAffiliations { node, changes } => self.affiliate(asked, &node, &changes).await,
            Command::ListSubscriptions { node } => {
                let node = asked.node(&node)?;
                answer(OWNER, |writer| {
                    writer.open("subscriptions").attribute("node", &node.name);
                    for (jid, state) in &node.subscriptions {
                        writer.open("subscription").attribute("jid", jid.as_str());
                        writer.attribute("subscription", state.name()).close();
                    }
                })
            }
            Command::SetSubscriptions { node, changes } => {
                let node = asked.node(&node)?;
                self.room_for(node, changes.len())?;
                {
                    let _turn = self.turn(owner).await;
                    self.store.subscribe(owner, node, &changes).await?;
                }
                for (jid, state) in &changes {
                    self.tell_subscription(owner, node, jid, state.map_or("none", Subscribed::name)).await;
                }
                Ok(Answer::Empty)
            }
            _ => Err(Refusal::feature_not_implemented()),
        }
    }

    async fn create(
        &self,
        asked: &Asked<'_>,
        node: Option<String>,
        fields: &[(String, Vec<String>)],
    ) -> Result<Answer, Refusal> {
        if asked.by.relation != Relation::Owner {
            return Err(Refusal::forbidden());
        }
        let mut configuration = Configuration::default();
        configuration.set_all(fields, self.most_items())?;
        let is_named = node.is_some();
        let node = node.unwrap_or_else(waxwing_core::random::token);
        self.make(asked.owner, &node, &configuration).await?;
        if is_named {
            return Ok(Answer::Empty);
        }
        answer(PUBSUB, |writer| {
            writer.open("create").attribute("node", &node);
        })
    }

    async fn affiliate(
        &self,
        asked: &Asked<'_>,
        node: &str,
        changes: &[(BareJid, Affiliation)],
    ) -> Result<Answer, Refusal> {
        let node = asked.node(node)?;
        let touches_owner =
            |(jid, affiliation): &(BareJid, Affiliation)| (jid == asked.owner) != (*affiliation == Affiliation::Owner);
        // An account has one owner, and keeps it (§8.9.2.4).
        if changes.iter().any(touches_owner) {
            return Err(Refusal::not_acceptable().saying("the account is the one owner of its nodes"));
        }
        self.room_for(node, changes.len())?;
        let changes: Vec<(BareJid, Affiliation)> =
            changes.iter().filter(|(jid, _)| jid != asked.owner).cloned().collect();
        let _turn = self.turn(asked.owner).await;
        self.store.affiliate(asked.owner, node, &changes).await?;
        if let Some(node) = self.store.shelf(asked.owner).await?.node(&node.name) {
            let changed = |jid: &BareJid| changes.iter().any(|(known, _)| known == jid);
            self.cancel_lost_subscriptions(asked.owner, node, changed).await?;
        }
        Ok(Answer::Empty)
    }

    /// Whether so many more addresses fit on the lists of a node.
    fn room_for(&self, node: &Node, more: usize) -> Result<(), Refusal> {
        let held = node.affiliations.len().max(node.subscriptions.len());
        if self.settings.addresses.allows(held.saturating_add(more)) {
            return Ok(());
        }
        let refusal = Refusal::policy_violation().of_type(ErrorType::Wait).because("too-many-subscriptions", ERRORS);
        Err(refusal.saying(format!("the lists of a node may have {} addresses", self.settings.addresses)))
    }

    async fn subscribe(&self, asked: &Asked<'_>, node: &str, jid: &Jid) -> Result<Answer, Refusal> {
        let node = asked.node(node)?;
        if !is_own(jid, &asked.by.jid) {
            return Err(bad_request("invalid-jid"));
        }
        let before = node.subscriptions.iter().find(|(known, _)| known == jid).map(|(_, state)| *state);
        let state = asked.by.to(node).may_subscribe(&node.configuration)?;
        if !node.configuration.subscribe {
            return Err(unsupported("subscribe"));
        }
        if before == Some(Subscribed::Pending) && state == Subscribed::Pending {
            return Err(Refusal::not_authorized().because("pending-subscription", ERRORS));
        }
        if before != Some(state) {
            self.room_for(node, 1)?;
            {
                let _turn = self.turn(asked.owner).await;
                self.store.subscribe(asked.owner, node, &[(jid.clone(), Some(state))]).await?;
            }
            match state {
                Subscribed::Pending => self.ask_owner(asked.owner, node, jid).await?,
                Subscribed::Yes if node.configuration.send_last != SendLast::Never => {
                    self.send_last_to_subscriber(asked.owner, node, jid).await?;
                }
                Subscribed::Yes => {}
            }
        }
        answer(PUBSUB, |writer| write_subscription(writer, &node.name, jid, state.name()))
    }

    async fn unsubscribe(&self, asked: &Asked<'_>, node: &str, jid: &Jid) -> Result<Answer, Refusal> {
        let node = asked.node(node)?;
        if !is_own(jid, &asked.by.jid) {
            return Err(Refusal::forbidden());
        }
        if !node.subscriptions.iter().any(|(known, _)| known == jid) {
            return Err(match asked.by.relation {
                Relation::Stranger => asked.by.missing(),
                _ => Refusal::unexpected_request().of_type(ErrorType::Cancel).because("not-subscribed", ERRORS),
            });
        }
        let _turn = self.turn(asked.owner).await;
        self.store.subscribe(asked.owner, node, &[(jid.clone(), None)]).await?;
        answer(PUBSUB, |writer| write_subscription(writer, &node.name, jid, "none"))
    }

    /// Asks the owner whether somebody may subscribe (§8.6). The message waits for him where he is away.
    async fn ask_owner(&self, owner: &BareJid, node: &Node, jid: &Jid) -> Result<(), Fault> {
        let mut writer = Writer::new();
        let mut form = FormWriter::open(&mut writer, Purpose::Asks, AUTHORIZATION);
        form.field("text-single", "pubsub#node", "The node", &[&node.name], &[]);
        form.field("jid-single", "pubsub#subscriber_jid", "Who wants to hear of it", &[jid.as_str()], &[]);
        form.field("boolean", "pubsub#allow", "Whether he may", &["0"], &[]);
        form.close();
        let message = Stanza::message(MessageType::Normal).id(waxwing_core::random::token());
        self.context.send(message.from(owner.clone()).to(owner.clone()).with(element(writer.finish())?)).await;
        Ok(())
    }

    /// The owner says whether somebody may subscribe: a form in a message to his own account.
    ///
    /// # Errors
    /// `item-not-found` when nobody has asked.
    pub async fn hear_decision(&self, parcel: &Parcel) -> Result<Pass, Refusal> {
        let (Some(session), Some(to)) = (parcel.origin.session(), &parcel.stanza.to) else { return Ok(Pass::Onward) };
        let owner = session.account();
        let is_message = matches!(parcel.stanza.what, StanzaType::Message(of) if of != MessageType::Error);
        if !is_message || to.resource().is_some() || to.to_bare() != *owner {
            return Ok(Pass::Onward);
        }
        let Some(form) = parcel.stanza.payload(FORM, "x").filter(|form| is_decision(*form)) else {
            return Ok(Pass::Onward);
        };
        let decision = Filled::read(form, AUTHORIZATION)?;
        if decision.is_cancelled {
            return Ok(Pass::Taken);
        }
        let text = |name| decision.text(name).ok_or_else(Refusal::bad_request);
        let allowed = boolean("pubsub#allow", text("pubsub#allow")?)?;
        let jid = waxwing_core::address::read(text("pubsub#subscriber_jid")?).map_err(|_| Refusal::jid_malformed())?;
        let shelf = self.store.shelf(owner).await?;
        let node = shelf.node(text("pubsub#node")?).ok_or_else(crate::protocol::no_such_node)?;
        if !node.subscriptions.iter().any(|(known, _)| *known == jid) {
            return Err(Refusal::item_not_found().saying("nobody has asked for that"));
        }
        let state = allowed.then_some(Subscribed::Yes);
        {
            let _turn = self.turn(owner).await;
            self.store.subscribe(owner, node, &[(jid.clone(), state)]).await?;
        }
        self.tell_subscription(owner, node, &jid, state.map_or("none", Subscribed::name)).await;
        if allowed && node.configuration.send_last != SendLast::Never {
            self.send_last_to_subscriber(owner, node, &jid).await?;
        }
        Ok(Pass::Taken)
    }
}

/// Whether a form says whether somebody may subscribe.
fn is_decision(form: waxwing_core::xml::Child<'_>) -> bool {
    form.children().any(|field| {
        field.attribute("var").as_deref() == Some("FORM_TYPE")
            && field.children().next().is_some_and(|value| value.text() == AUTHORIZATION)
    })
}

/// What is asked, by whom, of whom.
struct Asked<'a> {
    owner: &'a BareJid,
    by: Known,
    shelf: Arc<Shelf>,
}

impl Asked<'_> {
    /// The node of this name.
    fn node(&self, name: &str) -> Result<&Arc<Node>, Refusal> {
        self.shelf.node(name).ok_or_else(|| self.by.missing())
    }

    /// One's own subscriptions (§5.6).
    fn subscriptions(&self, only: Option<&str>) -> Result<Answer, Refusal> {
        let all = self.shelf.0.iter().filter(|node| only.is_none_or(|only| only == &*node.name));
        let own = all.flat_map(|node| {
            let own = node.subscriptions.iter().filter(|(jid, _)| is_own(jid, &self.by.jid));
            own.map(move |(jid, state)| (&*node.name, jid, *state))
        });
        let own: Vec<_> = own.collect();
        self.refuse_strangers(own.is_empty())?;
        answer(PUBSUB, |writer| {
            writer.open("subscriptions").optional_attribute("node", only);
            for (node, jid, state) in own {
                write_subscription(writer, node, jid, state.name());
            }
        })
    }

    /// How one stands to nodes (§5.7).
    fn affiliations(&self, only: Option<&str>) -> Result<Answer, Refusal> {
        let all = self.shelf.0.iter().filter(|node| only.is_none_or(|only| only == &*node.name));
        let own = all.map(|node| (&*node.name, self.by.to(node).affiliation));
        let own: Vec<_> = own.filter(|(_, affiliation)| *affiliation != Affiliation::None).collect();
        self.refuse_strangers(own.is_empty())?;
        answer(PUBSUB, |writer| {
            writer.open("affiliations").optional_attribute("node", only);
            for (node, affiliation) in own {
                writer.open("affiliation").attribute("node", node);
                writer.attribute("affiliation", affiliation.name()).close();
            }
        })
    }

    /// An empty list would tell a stranger that there is such an account.
    fn refuse_strangers(&self, is_empty: bool) -> Result<(), Refusal> {
        match self.by.relation {
            Relation::Stranger if is_empty => Err(Refusal::service_unavailable()),
            _ => Ok(()),
        }
    }
}

fn write_subscription(writer: &mut Writer, node: &str, jid: &Jid, state: &str) {
    writer.open("subscription").attribute("node", node).attribute("jid", jid.as_str());
    writer.attribute("subscription", state).close();
}

/// A result whose content `write` leaves open or closes.
fn answer(namespace: &str, write: impl FnOnce(&mut Writer)) -> Result<Answer, Refusal> {
    let mut writer = Writer::with_capacity(512);
    writer.open("pubsub").attribute("xmlns", namespace);
    write(&mut writer);
    Ok(Answer::Payload(element(writer.finish())?))
}
