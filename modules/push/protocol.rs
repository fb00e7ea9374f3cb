//! What push looks like on the wire (XEP-0357): registering and its opposite, the call itself, and what app servers answer.

use waxwing_core::address::{self, BareJid, Jid};
use waxwing_core::fault::Fault;
use waxwing_core::forms::DATA_FORM;
use waxwing_core::namespaces;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, Stanza, StanzaType, element};
use waxwing_core::xml::{Child, Element, Writer};

/// The protocol's namespace.
pub const PUSH: &str = "urn:xmpp:push:0";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const SUMMARY: &str = "urn:xmpp:push:summary";

/// The longest name of a node, in bytes.
const LONGEST_NODE: usize = 2_048;

/// What a client wants.
#[derive(Debug)]
pub enum Wish {
    /// Its device is to be called (§5).
    Enable {
        /// The app server.
        service: Jid,
        /// The node there; empty when none is named.
        node: String,
        /// What goes with every publication.
        options: Option<Element>,
    },
    /// Devices are not to be called any more (§6).
    Disable {
        /// The app server.
        service: Jid,
        /// The node there; all nodes when none is named.
        node: Option<String>,
    },
}

/// Reads what a client wants. A form with options may have so many bytes.
///
/// # Errors
/// `bad-request`, `jid-malformed` or, for too many bytes, `policy-violation`.
pub fn read(payload: Child<'_>, option_bytes: impl Fn(usize) -> bool) -> Result<Wish, Refusal> {
    let Some(service) = payload.attribute("jid") else {
        return Err(Refusal::bad_request().saying("the address of the push service is missing"));
    };
    let service = address::read(&service).map_err(|error| Refusal::jid_malformed().saying(format!("jid: {error}")))?;
    let node = payload.attribute("node").map(|node| node.into_owned());
    if node.as_ref().is_some_and(|node| node.len() > LONGEST_NODE) {
        return Err(Refusal::policy_violation().saying("the name of the node is too long"));
    }
    match payload.name() {
        "disable" => Ok(Wish::Disable { service, node }),
        "enable" => {
            let form = payload.child(DATA_FORM, "x");
            if form.is_some_and(|form| !option_bytes(form.bytes().len())) {
                return Err(Refusal::policy_violation().saying("the form with the options is too large"));
            }
            let options = form.map(|form| form.to_element());
            Ok(Wish::Enable { service, node: node.unwrap_or_default(), options })
        }
        _ => Err(Refusal::bad_request()),
    }
}

/// What an app server is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many messages the device has not got.
    pub count: u32,
    /// Who has written last, if that may be told.
    pub sender: Option<Jid>,
    /// What he wrote, or what stands in its place.
    pub body: Option<String>,
}

/// Writes the call for a device (§7): the payload of an IQ of type set to its app server.
///
/// # Errors
/// A fault when it cannot be written.
pub fn publication(node: &str, summary: &Summary, options: Option<&Element>) -> Result<Element, Fault> {
    let mut writer = Writer::new();
    writer.open("pubsub").attribute("xmlns", PUBSUB).open("publish");
    if !node.is_empty() {
        writer.attribute("node", node);
    }
    writer.open("item").open("notification").attribute("xmlns", PUSH);
    writer.open("x").attribute("xmlns", DATA_FORM).attribute("type", "submit");
    let count = summary.count.to_string();
    let fields = [
        ("FORM_TYPE", Some(SUMMARY)),
        ("message-count", Some(count.as_str())),
        ("last-message-sender", summary.sender.as_ref().map(Jid::as_str)),
        ("last-message-body", summary.body.as_deref()),
    ];
    for (name, value) in fields.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        writer.open("field").attribute("var", name);
        if name == "FORM_TYPE" {
            writer.attribute("type", "hidden");
        }
        writer.open("value").text(value).close().close();
    }
    writer.close().close().close().close();
    if let Some(options) = options {
        writer.open("publish-options").raw(options.as_bytes()).close();
    }
    element(writer.close().finish())
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The app server has taken it.
    Taken,
    /// It does not want to hear of this node any more (§7.1): the registration is dead.
    Dead(String),
    /// There seems to be none. It may be starting again, so only several such answers in a row are believed.
    Absent(String),
    /// It could not take it now.
    Later(String),
}

/// Reads what an app server has answered. What may be otherwise tomorrow kills no registration: everything of type wait,
/// and that a server was not found, since its name, its certificate or the network may be mended.
pub fn outcome(answer: &Stanza) -> Outcome {
    if answer.what == StanzaType::Iq(IqType::Result) {
        return Outcome::Taken;
    }
    let error = answer.own_payload("error");
    let kind = error.and_then(|error| error.attribute("type").map(|kind| kind.into_owned()));
    let condition = error.and_then(|error| {
        let mut conditions = error.children().filter(|child| child.namespace() == namespaces::STANZA_ERRORS);
        conditions.find(|child| child.name() != "text").map(|child| child.name().to_owned())
    });
    let condition = condition.unwrap_or_else(|| "undefined-condition".to_owned());
    let is_passing = matches!(
        condition.as_str(),
        "remote-server-not-found" | "remote-server-timeout" | "resource-constraint" | "internal-server-error"
    );
    if kind.as_deref() == Some("wait") || is_passing {
        Outcome::Later(condition)
    } else if condition == "service-unavailable" {
        Outcome::Absent(condition)
    } else {
        Outcome::Dead(condition)
    }
}

/// The node whose app server says in a message that it takes nothing from the account any more (§8).
pub fn revoked_node(stanza: &Stanza, account: &BareJid) -> Option<String> {
    let pubsub = stanza.payload(PUBSUB, "pubsub")?;
    let affiliation = pubsub.child(PUBSUB, "affiliation")?;
    let is_none = affiliation.attribute("affiliation").as_deref() == Some("none");
    let is_own =
        affiliation.attribute("jid").and_then(|jid| address::read_bare(&jid).ok()).is_some_and(|jid| jid == *account);
    (is_none && is_own).then(|| pubsub.attribute("node").unwrap_or_default().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(xml: &str) -> Result<Wish, &'static str> {
        let payload = element(xml.to_owned()).unwrap();
        read(payload.as_child(), |bytes| bytes < 300).map_err(|refusal| refusal.condition.name())
    }

    #[test]
    fn registering_needs_an_address_and_keeps_the_form() {
        let form = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                    <value>http://jabber.org/protocol/pubsub#publish-options</value></field></x>";
        let enabled = wish(&format!("<enable xmlns='urn:xmpp:push:0' jid='Push.Lit.' node='n'>{form}</enable>"));
        let Ok(Wish::Enable { service, node, options }) = enabled else { panic!("{enabled:?}") };
        assert_eq!((service.as_str(), node.as_str()), ("push.lit", "n"));
        let options = options.unwrap();
        assert_eq!(options.as_bytes(), form.as_bytes());
        let without = wish("<enable xmlns='urn:xmpp:push:0' jid='push.lit'/>");
        assert!(matches!(without, Ok(Wish::Enable { node, options: None, .. }) if node.is_empty()));
        let all = wish("<disable xmlns='urn:xmpp:push:0' jid='push.lit'/>");
        assert!(matches!(all, Ok(Wish::Disable { node: None, .. })));
        let one = wish("<disable xmlns='urn:xmpp:push:0' jid='push.lit' node='n'/>");
        assert!(matches!(one, Ok(Wish::Disable { node: Some(node), .. }) if node == "n"));
        for (xml, condition) in [
            ("<enable xmlns='urn:xmpp:push:0' node='n'/>".to_owned(), "bad-request"),
            ("<enable xmlns='urn:xmpp:push:0' jid='a@@b'/>".to_owned(), "jid-malformed"),
            ("<other xmlns='urn:xmpp:push:0' jid='push.lit'/>".to_owned(), "bad-request"),
            (format!("<enable xmlns='urn:xmpp:push:0' jid='a' node='{}'/>", "n".repeat(3_000)), "policy-violation"),
            (
                format!(
                    "<enable xmlns='urn:xmpp:push:0' jid='a'><x xmlns='jabber:x:data'>{}</x></enable>",
                    "x".repeat(300)
                ),
                "policy-violation",
            ),
        ] {
            assert_eq!(wish(&xml).unwrap_err(), condition, "{xml}");
        }
    }

    #[test]
    fn a_call_says_what_it_may_and_no_more() {
        let written = |summary: &Summary, options: Option<&Element>| {
            String::from_utf8(publication("n'1", summary, options).unwrap().as_bytes().to_vec()).unwrap()
        };
        let head = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n&apos;1'><item>\
                    <notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>\
                    <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:push:summary</value></field>\
                    <field var='message-count'><value>2</value></field>";
        let tail = "</x></notification></item></publish>";
        let least = Summary { count: 2, sender: None, body: None };
        assert_eq!(written(&least, None), format!("{head}{tail}</pubsub>"));
        let most = Summary {
            count: 2,
            sender: Some(Jid::new("romeo@montague.lit/orchard").unwrap()),
            body: Some("a < b".to_owned()),
        };
        let options = element("<x xmlns='jabber:x:data' type='submit'/>").unwrap();
        assert_eq!(
            written(&most, Some(&options)),
            format!(
                "{head}<field var='last-message-sender'><value>romeo@montague.lit/orchard</value></field>\
                 <field var='last-message-body'><value>a &lt; b</value></field>{tail}\
                 <publish-options><x xmlns='jabber:x:data' type='submit'/></publish-options></pubsub>"
            )
        );
    }

    fn answer(content: &str) -> Outcome {
        let of = if content.is_empty() { "result" } else { "error" };
        let xml = format!("<iq type='{of}' id='1' from='push.lit'>{content}</iq>");
        outcome(&Stanza::read(element(xml).unwrap()).unwrap().unwrap())
    }

    #[test]
    fn an_error_is_deadly_unless_it_may_pass() {
        let error = |kind: &str, condition: &str| {
            answer(&format!("<error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"))
        };
        assert_eq!(answer(""), Outcome::Taken);
        for (kind, condition) in
            [("cancel", "item-not-found"), ("auth", "forbidden"), ("modify", "bad-request"), ("cancel", "gone")]
        {
            assert_eq!(error(kind, condition), Outcome::Dead(condition.to_owned()));
        }
        for (kind, condition) in [
            ("wait", "recipient-unavailable"),
            ("wait", "policy-violation"),
            ("cancel", "remote-server-not-found"),
            ("cancel", "internal-server-error"),
        ] {
            assert_eq!(error(kind, condition), Outcome::Later(condition.to_owned()));
        }
        let absent = Outcome::Absent("service-unavailable".to_owned());
        assert_eq!(error("cancel", "service-unavailable"), absent);
        assert_eq!(answer("<error type='cancel'/>"), Outcome::Dead("undefined-condition".to_owned()));
    }

    #[test]
    fn an_app_server_may_say_that_it_is_over() {
        let said = |jid: &str, affiliation: &str| {
            let xml = format!(
                "<message from='push.lit'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='n'>\
                 <affiliation jid='{jid}' affiliation='{affiliation}'/></pubsub></message>"
            );
            let stanza = Stanza::read(element(xml).unwrap()).unwrap().unwrap();
            revoked_node(&stanza, &BareJid::new("juliet@capulet.lit").unwrap())
        };
        assert_eq!(said("juliet@capulet.lit", "none").as_deref(), Some("n"));
        assert_eq!(said("nurse@capulet.lit", "none"), None);
        assert_eq!(said("juliet@capulet.lit", "publish-only"), None);
    }
}
