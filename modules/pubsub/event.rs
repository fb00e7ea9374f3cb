//! What is told of a node (XEP-0060 §7.1.2, §7.2.2, §8): written once, whoever and however many hear of it.

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::clock::date_time;
use waxwing_core::fault::Fault;
use waxwing_core::namespaces;
use waxwing_core::stanza::{MessageType, Stanza, element};
use waxwing_core::xml::{Element, Writer};

use crate::configuration::{Configuration, ItemReply, NotificationType};
use crate::form::Purpose;
use crate::protocol::{EVENT, NODE_CONFIG};

/// An item as it is shown to those who may read it.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// Its id.
    pub id: &'a str,
    /// Who has published it.
    pub publisher: &'a str,
    /// Its payload.
    pub payload: Option<&'a [u8]>,
}

impl Shown<'_> {
    /// Writes `<item/>`.
    pub fn write(&self, writer: &mut Writer, configuration: &Configuration, with_payload: bool) {
        writer.open("item").attribute("id", self.id);
        if configuration.item_reply == ItemReply::Publisher {
            writer.attribute("publisher", self.publisher);
        }
        if with_payload {
            writer.raw(self.payload.unwrap_or_default());
        }
        writer.close();
    }
}

/// Opens `<event/>` and what stands in it.
fn open(name: &str, node: &str) -> Writer {
    let mut writer = Writer::with_capacity(512);
    writer.open("event").attribute("xmlns", EVENT).open(name).attribute("node", node);
    writer
}

/// Items were published; with none, something has happened at a node that holds none.
///
/// # Errors
/// A fault when it cannot be written.
pub fn published(node: &str, configuration: &Configuration, items: &[Shown<'_>]) -> Result<Element, Fault> {
    let mut writer = open("items", node);
    for item in items {
        item.write(&mut writer, configuration, configuration.deliver_payloads);
    }
    element(writer.finish())
}

/// Items are gone.
///
/// # Errors
/// A fault when it cannot be written.
pub fn retracted(node: &str, ids: &[impl AsRef<str>]) -> Result<Element, Fault> {
    let mut writer = open("items", node);
    for id in ids {
        writer.open("retract").attribute("id", id.as_ref()).close();
    }
    element(writer.finish())
}

/// All items are gone.
///
/// # Errors
/// A fault when it cannot be written.
pub fn purged(node: &str) -> Result<Element, Fault> {
    element(open("purge", node).finish())
}

/// The node is gone.
///
/// # Errors
/// A fault when it cannot be written.
pub fn deleted(node: &str) -> Result<Element, Fault> {
    element(open("delete", node).finish())
}

/// The node is configured in another way.
///
/// # Errors
/// A fault when it cannot be written.
pub fn configured(node: &str, configuration: &Configuration) -> Result<Element, Fault> {
    let mut writer = open("configuration", node);
    if configuration.deliver_payloads {
        configuration.write(&mut writer, Purpose::Tells, NODE_CONFIG);
    }
    element(writer.finish())
}

/// A subscription has become something else.
///
/// # Errors
/// A fault when it cannot be written.
pub fn subscription(node: &str, jid: &Jid, state: &str) -> Result<Element, Fault> {
    let mut writer = open("subscription", node);
    writer.attribute("jid", jid.as_str()).attribute("subscription", state);
    element(writer.finish())
}

/// The message that tells of it. Nobody keeps it for later, of whichever type it is (XEP-0060 §12.7).
///
/// # Errors
/// A fault when it cannot be written.
pub fn message(configuration: &Configuration, from: &BareJid, event: Element) -> Result<Stanza, Fault> {
    let of = match configuration.notification_type {
        NotificationType::Headline => MessageType::Headline,
        NotificationType::Normal => MessageType::Normal,
    };
    let message = Stanza::message(of).id(waxwing_core::random::token()).from(from.clone()).with(event);
    Ok(match of {
        MessageType::Normal => message.with(element("<no-store xmlns='urn:xmpp:hints'/>")?),
        _ => message,
    })
}

/// Says when it was published: for items that are sent to somebody who was not there (XEP-0203).
///
/// # Errors
/// A fault when it cannot be written.
pub fn delay(published_at: i64) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("delay").attribute("xmlns", namespaces::DELAY).attribute("stamp", &date_time(published_at));
    element(writer.finish())
}
