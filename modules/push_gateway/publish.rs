//! What a user's server publishes (XEP-0357 §7).

use waxwing_core::refusal::Refusal;
use waxwing_core::xml::Child;

use crate::form::{inside, is_of, text};
use crate::protocol::{PUBLISH_OPTIONS, PUBSUB, PUSH};
use crate::summary::Summary;

/// A notification for a node.
#[derive(Debug, PartialEq, Eq)]
pub struct Publish {
    /// For which device.
    pub node: String,
    /// What its client has told the user's server and nobody else.
    pub secret: String,
    /// What there is.
    pub summary: Summary,
}

impl Publish {
    /// Reads a `<pubsub/>`.
    ///
    /// # Errors
    /// `bad-request` when it publishes no notification; `feature-not-implemented` when it wants something else.
    pub fn read(pubsub: Child<'_>) -> Result<Publish, Refusal> {
        let Some(publish) = pubsub.child(PUBSUB, "publish") else {
            return Err(Refusal::feature_not_implemented().saying("notifications are published here, nothing else"));
        };
        let node = publish.attribute("node").filter(|node| !node.is_empty());
        let Some(node) = node else { return Err(Refusal::bad_request().saying("no node is named")) };
        let notification = publish.child(PUBSUB, "item").and_then(|item| item.child(PUSH, "notification"));
        let Some(notification) = notification else {
            return Err(Refusal::bad_request().saying("there is no notification in it"));
        };
        let options = pubsub.child(PUBSUB, "publish-options").and_then(inside);
        let options = options.filter(|form| text(form, "FORM_TYPE").is_none() || is_of(form, PUBLISH_OPTIONS));
        let secret = options.as_ref().and_then(|form| text(form, "secret")).unwrap_or_default().to_owned();
        Ok(Publish { node: node.into_owned(), secret, summary: Summary::read(notification) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn read(inside: &str) -> Result<Publish, &'static str> {
        let pubsub = element(format!("<pubsub xmlns='{PUBSUB}'>{inside}</pubsub>")).unwrap();
        Publish::read(pubsub.as_child()).map_err(|refusal| refusal.condition.name())
    }

    #[test]
    fn node_and_secret_are_read() {
        let item = "<publish node='n'><item><notification xmlns='urn:xmpp:push:0'/></item></publish>";
        let options = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
             <field var='secret'><value>s</value></field></x></publish-options>";
        let publish = read(&format!("{item}{options}")).unwrap();
        assert_eq!((publish.node.as_str(), publish.secret.as_str()), ("n", "s"));
        assert_eq!(read(item).unwrap().secret, "");
        assert_eq!(read(&format!("{item}{}", options.replace("#publish-options", "#x"))).unwrap().secret, "");
        assert_eq!(read(&item.replace(" node='n'", "")).unwrap_err(), "bad-request");
        assert_eq!(read(&item.replace("urn:xmpp:push:0", "urn:other")).unwrap_err(), "bad-request");
        assert_eq!(read("<subscribe node='n' jid='a@b'/>").unwrap_err(), "feature-not-implemented");
    }
}
