//! What somebody asks of a node, read from the payload of an IQ (XEP-0060 §5 to §8).

use waxwing_core::address::{self, BareJid, Jid};
use waxwing_core::answers::Request;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::decode;
use waxwing_core::xml::Child;
use xmpp_parsers::rsm::SetQuery;

use crate::access::{Affiliation, Subscribed};
use crate::form::Filled;
use crate::protocol::{NODE_CONFIG, OWNER, PUBLISH_OPTIONS, PUBSUB, RSM, bad_request, unsupported};

/// How long the name of a node may be, in bytes: what an index of the database can hold.
pub const MOST_NAME: usize = 600;
/// As [`MOST_NAME`], for the id of an item.
pub const MOST_ID: usize = 1_000;

/// What is asked.
#[derive(Debug)]
pub enum Command<'a> {
    /// Publish an item, or nothing but that something has happened.
    Publish { node: String, item: Option<Item<'a>>, options: Vec<(String, Vec<String>)> },
    /// Take items away.
    Retract { node: String, ids: Vec<String>, notify: bool },
    /// Make a node; the server names it when nobody does.
    Create { node: Option<String>, fields: Vec<(String, Vec<String>)> },
    /// Hear of a node.
    Subscribe { node: String, jid: Jid },
    /// Hear of it no more.
    Unsubscribe { node: String, jid: Jid },
    /// Read items: these, or as many of the newest, or a page.
    Items { node: String, ids: Vec<String>, most: Option<usize>, set: Option<SetQuery> },
    /// One's own subscriptions, to a node or to all.
    Subscriptions { node: Option<String> },
    /// How one stands to a node, or to all.
    Affiliations { node: Option<String> },
    /// How a new node is configured.
    Default,
    /// How a node is configured.
    Configuration { node: String },
    /// Configure a node.
    Configure { node: String, filled: Filled },
    /// Delete a node.
    Delete { node: String },
    /// Take everything out of a node.
    Purge { node: String },
    /// Who stands how to a node.
    ListAffiliations { node: String },
    /// Change that.
    SetAffiliations { node: String, changes: Vec<(BareJid, Affiliation)> },
    /// Who has subscribed to a node.
    ListSubscriptions { node: String },
    /// Change that.
    SetSubscriptions { node: String, changes: Vec<(Jid, Option<Subscribed>)> },
}

/// An item that somebody publishes.
#[derive(Debug)]
pub struct Item<'a> {
    /// Its id, unless the server makes one.
    pub id: Option<String>,
    /// Its payload.
    pub payload: Option<Child<'a>>,
}

/// Reads what is asked.
///
/// # Errors
/// What is wrong with it; `feature-not-implemented` for what is not carried.
pub fn read<'a>(request: &Request<'a>) -> Result<Command<'a>, Refusal> {
    let payload = request.payload();
    let mut children = payload.children().filter(|child| child.namespace() == payload.namespace());
    let first = children.next().ok_or_else(Refusal::bad_request)?;
    let second = children.next();
    if payload.name() != "pubsub" {
        return Err(Refusal::bad_request());
    }
    match (payload.namespace(), request.is_set(), first.name()) {
        (PUBSUB, true, "publish") => publish(first, second),
        (PUBSUB, true, "retract") => retract(first),
        (PUBSUB, true, "create") => create(first, second),
        (PUBSUB, true, "subscribe") => Ok(Command::Subscribe { node: node(first)?, jid: jid(first)? }),
        (PUBSUB, true, "unsubscribe") => Ok(Command::Unsubscribe { node: node(first)?, jid: jid(first)? }),
        (PUBSUB, false, "items") => items(payload, first),
        (PUBSUB, false, "subscriptions") => Ok(Command::Subscriptions { node: optional_node(first)? }),
        (PUBSUB, false, "affiliations") => Ok(Command::Affiliations { node: optional_node(first)? }),
        (PUBSUB, _, "options") => Err(unsupported("subscription-options")),
        (PUBSUB, false, "default") => Err(unsupported("retrieve-default-sub")),
        (OWNER, false, "default") => Ok(Command::Default),
        (OWNER, false, "configure") => Ok(Command::Configuration { node: node(first)? }),
        (OWNER, true, "configure") => {
            let filled = Filled::inside(first, NODE_CONFIG)?.ok_or_else(Refusal::bad_request)?;
            Ok(Command::Configure { node: node(first)?, filled })
        }
        (OWNER, true, "delete") => Ok(Command::Delete { node: node(first)? }),
        (OWNER, true, "purge") => Ok(Command::Purge { node: node(first)? }),
        (OWNER, false, "affiliations") => Ok(Command::ListAffiliations { node: node(first)? }),
        (OWNER, true, "affiliations") => {
            let changes = changes(first, "affiliation", |text| {
                Affiliation::read(text).ok_or_else(|| match text {
                    "publish-only" => unsupported("publish-only-affiliation"),
                    _ => Refusal::bad_request(),
                })
            })?;
            let bare = changes.into_iter().map(|(jid, affiliation)| (jid.to_bare(), affiliation));
            Ok(Command::SetAffiliations { node: node(first)?, changes: bare.collect() })
        }
        (OWNER, false, "subscriptions") => Ok(Command::ListSubscriptions { node: node(first)? }),
        (OWNER, true, "subscriptions") => {
            let changes = changes(first, "subscription", |text| match text {
                "none" => Ok(None),
                text => Subscribed::read(text).map(Some).ok_or_else(Refusal::bad_request),
            })?;
            Ok(Command::SetSubscriptions { node: node(first)?, changes })
        }
        _ => Err(Refusal::feature_not_implemented()),
    }
}

fn publish<'a>(publish: Child<'a>, second: Option<Child<'a>>) -> Result<Command<'a>, Refusal> {
    let mut items = publish.children().filter(|child| child.namespace() == PUBSUB && child.name() == "item");
    let item = items.next().map(item).transpose()?;
    if items.next().is_some() {
        return Err(Refusal::bad_request().saying("one item is published at a time"));
    }
    let options = match second.filter(|second| second.name() == "publish-options") {
        None => Vec::new(),
        Some(options) => Filled::inside(options, PUBLISH_OPTIONS)?.unwrap_or_default().fields,
    };
    Ok(Command::Publish { node: node(publish)?, item, options })
}

fn item(item: Child<'_>) -> Result<Item<'_>, Refusal> {
    let id = item.attribute("id").filter(|id| !id.is_empty()).map(|id| id.into_owned());
    if id.as_ref().is_some_and(|id| id.len() > MOST_ID) {
        return Err(Refusal::not_acceptable().saying("the id of an item is too long"));
    }
    let mut payloads = item.children();
    let payload = payloads.next();
    // A payload that bears no namespace of its own would mean something else elsewhere.
    let is_of_its_own = payload.is_none_or(|payload| payload.declares_namespace() && payload.namespace() != PUBSUB);
    if payloads.next().is_some() || !is_of_its_own {
        return Err(bad_request("invalid-payload"));
    }
    Ok(Item { id, payload })
}

fn retract(retract: Child<'_>) -> Result<Command<'_>, Refusal> {
    let ids = ids(retract)?;
    if ids.is_empty() {
        return Err(bad_request("item-required"));
    }
    let notify = retract.attribute("notify").is_some_and(|value| matches!(&*value, "1" | "true"));
    Ok(Command::Retract { node: node(retract)?, ids, notify })
}

fn create<'a>(create: Child<'a>, second: Option<Child<'a>>) -> Result<Command<'a>, Refusal> {
    let fields = match second.filter(|second| second.name() == "configure") {
        None => Vec::new(),
        Some(configure) if configure.attribute("node").is_some() => return Err(Refusal::bad_request()),
        Some(configure) => Filled::inside(configure, NODE_CONFIG)?.unwrap_or_default().fields,
    };
    Ok(Command::Create { node: optional_node(create)?, fields })
}

fn items<'a>(payload: Child<'a>, items: Child<'a>) -> Result<Command<'a>, Refusal> {
    let most = match items.attribute("max_items") {
        None => None,
        Some(text) => Some(text.trim().parse().map_err(|_| Refusal::bad_request())?),
    };
    let set = payload.child(RSM, "set").map(decode::<SetQuery>).transpose()?;
    Ok(Command::Items { node: node(items)?, ids: ids(items)?, most, set })
}

/// The ids of the items inside.
fn ids(parent: Child<'_>) -> Result<Vec<String>, Refusal> {
    let items = parent.children().filter(|child| child.namespace() == PUBSUB && child.name() == "item");
    let id = |item: Child<'_>| item.attribute("id").filter(|id| !id.is_empty()).map(|id| id.into_owned());
    items.map(|item| id(item).ok_or_else(|| bad_request("item-required"))).collect()
}

fn node(of: Child<'_>) -> Result<String, Refusal> {
    optional_node(of)?.ok_or_else(|| bad_request("nodeid-required"))
}

fn optional_node(of: Child<'_>) -> Result<Option<String>, Refusal> {
    match of.attribute("node") {
        Some(name) if name.len() > MOST_NAME => Err(Refusal::not_acceptable().saying("the name of a node is too long")),
        name => Ok(name.filter(|name| !name.is_empty()).map(|name| name.into_owned())),
    }
}

fn jid(of: Child<'_>) -> Result<Jid, Refusal> {
    let jid = of.attribute("jid").and_then(|jid| address::read(&jid).ok());
    jid.ok_or_else(|| bad_request("invalid-jid"))
}

/// Addresses with what is to be of them; those that say nothing of it stay as they are.
fn changes<T>(of: Child<'_>, name: &str, read: impl Fn(&str) -> Result<T, Refusal>) -> Result<Vec<(Jid, T)>, Refusal> {
    let elements = of.children().filter(|child| child.namespace() == OWNER && child.name() == name);
    let change = |element: Child<'_>| -> Result<Option<(Jid, T)>, Refusal> {
        let Some(value) = element.attribute(name) else { return Ok(None) };
        let jid = element.attribute("jid").and_then(|jid| address::read(&jid).ok());
        Ok(Some((jid.ok_or_else(Refusal::jid_malformed)?, read(&value)?)))
    };
    elements.filter_map(|element| change(element).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::answers::Scope;
    use waxwing_core::stanza::{Stanza, element};

    fn told(of_type: &str, namespace: &str, content: &str) -> String {
        let xml = format!("<iq type='{of_type}' id='1'><pubsub xmlns='{namespace}'>{content}</pubsub></iq>");
        let stanza = Stanza::read(element(xml).unwrap()).unwrap().unwrap();
        let request = Request { stanza: &stanza, scope: Scope::Account, session: None, stranger: None };
        match read(&request) {
            Ok(command) => format!("{command:?}").split([' ', '{']).next().unwrap_or_default().to_owned(),
            Err(refusal) => refusal.application.map_or(refusal.condition.name(), |(name, _)| name).to_owned(),
        }
    }

    #[test]
    fn requests_are_told_apart() {
        for (of_type, namespace, content, expected) in [
            ("set", PUBSUB, "<publish node='n'/>", "Publish"),
            ("set", PUBSUB, "<publish node='n'><item id='1'><a xmlns='urn:a'/></item></publish>", "Publish"),
            (
                "set",
                PUBSUB,
                "<publish node='n'><item><a xmlns='urn:a'/><b xmlns='urn:b'/></item></publish>",
                "invalid-payload",
            ),
            ("set", PUBSUB, "<publish node='n'><item><a/></item></publish>", "invalid-payload"),
            ("set", PUBSUB, "<publish node='n'><item/><item/></publish>", "bad-request"),
            ("set", PUBSUB, "<publish><item/></publish>", "nodeid-required"),
            ("set", PUBSUB, "<retract node='n'><item id='1'/></retract>", "Retract"),
            ("set", PUBSUB, "<retract node='n'/>", "item-required"),
            ("set", PUBSUB, "<retract node='n'><item/></retract>", "item-required"),
            ("set", PUBSUB, "<create/>", "Create"),
            ("set", PUBSUB, "<create node='n'/><configure node='n'/>", "bad-request"),
            ("set", PUBSUB, "<subscribe node='n' jid='a@b'/>", "Subscribe"),
            ("set", PUBSUB, "<subscribe node='n'/>", "invalid-jid"),
            ("get", PUBSUB, "<items node='n' max_items='2'/>", "Items"),
            ("get", PUBSUB, "<items node='n' max_items='x'/>", "bad-request"),
            ("get", PUBSUB, "<publish node='n'/>", "feature-not-implemented"),
            ("get", PUBSUB, "<options node='n' jid='a@b'/>", "unsupported"),
            ("get", OWNER, "<default/>", "Default"),
            ("get", OWNER, "<configure node='n'/>", "Configuration"),
            ("set", OWNER, "<configure node='n'/>", "bad-request"),
            ("set", OWNER, "<delete node='n'/>", "Delete"),
            (
                "set",
                OWNER,
                "<affiliations node='n'><affiliation jid='a@b' affiliation='member'/></affiliations>",
                "SetAffiliations",
            ),
            (
                "set",
                OWNER,
                "<affiliations node='n'><affiliation jid='@' affiliation='member'/></affiliations>",
                "jid-malformed",
            ),
            (
                "set",
                OWNER,
                "<affiliations node='n'><affiliation jid='a@b' affiliation='publish-only'/></affiliations>",
                "unsupported",
            ),
            ("set", PUBSUB, "", "bad-request"),
        ] {
            assert_eq!(told(of_type, namespace, content), expected, "{of_type} {content}");
        }
    }
}
