//! How urgent a stanza is for a client whose user does not look (XEP-0352 §3.2).

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::namespaces;
use waxwing_core::stanza::{IqType, MessageType, PresenceType, Stanza, StanzaType};
use waxwing_core::xml::Child;

const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const HINTS: &str = "urn:xmpp:hints";
const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
const CARBONS: &str = "urn:xmpp:carbons:2";
const FORWARD: &str = "urn:xmpp:forward:0";
const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
const ROOM_USER: &str = "http://jabber.org/protocol/muc#user";

/// What is to be done with a stanza.
#[derive(Debug, PartialEq, Eq)]
pub enum Importance {
    /// It can wait until the client wakes.
    CanWait(Kind),
    /// It goes at once, and nothing that waits has to go before it.
    GoesAlone,
    /// It goes at once, and everything that waits goes before it.
    WakesUp,
}

/// What can wait. A newer one of the same kind makes an older one worthless.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whether somebody is there: one address.
    Presence(Jid),
    /// Whether somebody writes: the two ends of a conversation.
    ChatState(Option<Jid>, Option<Jid>),
    /// What somebody has published: the address, the node, and the item if it is just one.
    Published(Jid, String, Option<String>),
}

impl Kind {
    /// Whether a newer one makes this one worthless.
    pub fn is_outdated_by(&self, newer: &Kind) -> bool {
        // Several items at once, or something else that has happened to a node, are not to be lost.
        self == newer && !matches!(self, Kind::Published(.., None))
    }
}

/// How urgent a stanza is for a client of `account`.
pub fn importance(stanza: &Stanza, account: &BareJid) -> Importance {
    match stanza.what {
        StanzaType::Presence(PresenceType::Available | PresenceType::Unavailable) => of_presence(stanza),
        StanzaType::Presence(_) => Importance::WakesUp,
        StanzaType::Iq(IqType::Result | IqType::Error) => Importance::GoesAlone,
        // The server wants to know whether the client is there, or has changed its roster.
        StanzaType::Iq(_) if is_own(stanza.from.as_ref(), account) => Importance::GoesAlone,
        StanzaType::Iq(_) => Importance::WakesUp,
        StanzaType::Message(MessageType::Error) => Importance::WakesUp,
        StanzaType::Message(_) => of_message(stanza, account),
    }
}

/// Whether it is the account itself or its server.
fn is_own(from: Option<&Jid>, account: &BareJid) -> bool {
    from.is_none_or(|from| {
        from.domain() == account.domain()
            && from.resource().is_none()
            && from.node().is_none_or(|_| from.to_bare() == *account)
    })
}

fn of_presence(stanza: &Stanza) -> Importance {
    // The client has entered or left a room, or was thrown out.
    let is_its_own = stanza.payload(ROOM_USER, "x").is_some_and(|x| {
        x.children().any(|status| status.name() == "status" && status.attribute("code").as_deref() == Some("110"))
    });
    match &stanza.from {
        Some(from) if !is_its_own => Importance::CanWait(Kind::Presence(from.clone())),
        _ => Importance::WakesUp,
    }
}

fn of_message(stanza: &Stanza, account: &BareJid) -> Importance {
    if let Some(event) = stanza.payload(PUBSUB_EVENT, "event") {
        return of_event(stanza, event, account);
    }
    if is_chat_state(stanza.payloads()) {
        return Importance::CanWait(Kind::ChatState(stanza.from.clone(), None));
    }
    // A copy is as urgent as what is copied.
    let copy = ["received", "sent"].into_iter().find_map(|name| stanza.payload(CARBONS, name));
    let copied = copy.and_then(|copy| copy.child(FORWARD, "forwarded")?.child(namespaces::CLIENT, "message"));
    match copied {
        Some(copied) if is_chat_state(copied.children()) => {
            let address = |name| copied.attribute(name).and_then(|address| Jid::new(&address).ok());
            Importance::CanWait(Kind::ChatState(address("from"), address("to")))
        }
        _ => Importance::WakesUp,
    }
}

/// What other people publish can wait. What the account itself publishes, on another device, can not: where a conversation
/// was read, which rooms are joined.
fn of_event(stanza: &Stanza, event: Child<'_>, account: &BareJid) -> Importance {
    let from = match &stanza.from {
        Some(from) if from.node().is_some() && from.to_bare() != *account => from.clone(),
        Some(from) if from.to_bare() == *account => return Importance::GoesAlone,
        None => return Importance::GoesAlone,
        Some(_) => return Importance::WakesUp,
    };
    if stanza.own_payload("body").is_some() {
        return Importance::WakesUp;
    }
    let mut children = event.children();
    let (Some(items), None) = (children.next(), children.next()) else { return Importance::WakesUp };
    let node = items.attribute("node").unwrap_or_default().into_owned();
    let mut entries = items.children();
    let item = match (items.name(), entries.next(), entries.next()) {
        ("items", Some(item), None) if item.name() == "item" => item.attribute("id").map(|id| id.into_owned()),
        _ => None,
    };
    Importance::CanWait(Kind::Published(from, node, item))
}

/// Whether a message says only that somebody writes, or no longer does.
fn is_chat_state<'a>(payloads: impl Iterator<Item = Child<'a>>) -> bool {
    let mut has_state = false;
    for payload in payloads {
        match payload.namespace() {
            CHAT_STATES => has_state = true,
            HINTS | OCCUPANT_ID | namespaces::STANZA_IDS | namespaces::DELAY => {}
            ROOM_USER if payload.children().next().is_none() => {}
            namespaces::CLIENT | namespaces::SERVER | namespaces::COMPONENT if payload.name() == "thread" => {}
            _ => return false,
        }
    }
    has_state
}

#[cfg(test)]
mod tests {
    use waxwing_core::stanza::element;

    use super::*;

    fn read(xml: &str) -> Stanza {
        Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
    }

    fn judge(xml: &str) -> Importance {
        importance(&read(xml), &BareJid::new("juliet@capulet.lit").unwrap())
    }

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    const COMPOSING: &str = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";

    #[test]
    fn presence_can_wait_unless_it_is_the_clients_own_doing() {
        let waits = Importance::CanWait(Kind::Presence(jid("romeo@montague.lit/orchard")));
        assert_eq!(judge("<presence from='romeo@montague.lit/orchard'><show>away</show></presence>"), waits);
        assert_eq!(judge("<presence from='romeo@montague.lit/orchard' type='unavailable'/>"), waits);
        let own = "<presence from='room@rooms.lit/juliet'><x xmlns='http://jabber.org/protocol/muc#user'>\
                   <item affiliation='none' role='participant'/><status code='110'/></x></presence>";
        assert_eq!(judge(own), Importance::WakesUp);
        for of in ["subscribe", "subscribed", "unsubscribe", "unsubscribed", "error"] {
            assert_eq!(judge(&format!("<presence from='romeo@montague.lit' type='{of}'/>")), Importance::WakesUp);
        }
    }

    #[test]
    fn chat_states_can_wait_and_what_says_more_can_not() {
        let message = |content: &str| {
            judge(&format!("<message type='chat' from='romeo@montague.lit/orchard'>{content}</message>"))
        };
        let id = "<origin-id xmlns='urn:xmpp:sid:0' id='1'/><no-store xmlns='urn:xmpp:hints'/><thread>1</thread>";
        let waits = Importance::CanWait(Kind::ChatState(Some(jid("romeo@montague.lit/orchard")), None));
        assert_eq!(message(COMPOSING), waits);
        assert_eq!(message(&format!("{COMPOSING}{id}")), waits);
        for more in [
            "<body>x</body>",
            "<encrypted xmlns='urn:xmpp:omemo:2'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
            "<received xmlns='urn:xmpp:receipts' id='1'/>",
            "<subject>x</subject>",
        ] {
            assert_eq!(message(&format!("{COMPOSING}{more}")), Importance::WakesUp, "{more}");
            assert_eq!(message(more), Importance::WakesUp, "{more}");
        }
        assert_eq!(message(""), Importance::WakesUp);
        assert_eq!(judge(&format!("<message type='error' from='a@b'>{COMPOSING}</message>")), Importance::WakesUp);
    }

    #[test]
    fn a_copy_is_as_urgent_as_what_is_copied() {
        let copy = |content: &str| {
            judge(&format!(
                "<message from='juliet@capulet.lit'><sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
                 <delay xmlns='urn:xmpp:delay' stamp='2026-11-22T12:00:00Z'/><message xmlns='jabber:client' \
                 from='juliet@capulet.lit/balcony' to='romeo@montague.lit'>{content}</message></forwarded></sent></message>"
            ))
        };
        let ends = Kind::ChatState(Some(jid("juliet@capulet.lit/balcony")), Some(jid("romeo@montague.lit")));
        assert_eq!(copy(COMPOSING), Importance::CanWait(ends));
        assert_eq!(copy(&format!("{COMPOSING}<body>x</body>")), Importance::WakesUp);
    }

    #[test]
    fn what_others_publish_can_wait_and_what_one_publishes_oneself_can_not() {
        let event = |from: &str, content: &str| {
            judge(&format!(
                "<message type='headline' from='{from}'><event xmlns='http://jabber.org/protocol/pubsub#event'>{content}</event></message>"
            ))
        };
        let one = "<items node='urn:xmpp:avatar:metadata'><item id='1'/></items>";
        let avatar = |item: Option<&str>| {
            Kind::Published(jid("romeo@montague.lit"), "urn:xmpp:avatar:metadata".to_owned(), item.map(str::to_owned))
        };
        assert_eq!(event("romeo@montague.lit", one), Importance::CanWait(avatar(Some("1"))));
        for several in [
            "<items node='urn:xmpp:avatar:metadata'><item id='1'/><item id='2'/></items>",
            "<items node='urn:xmpp:avatar:metadata'><retract id='1'/></items>",
            "<purge node='urn:xmpp:avatar:metadata'/>",
        ] {
            assert_eq!(event("romeo@montague.lit", several), Importance::CanWait(avatar(None)), "{several}");
        }
        assert_eq!(event("juliet@capulet.lit", one), Importance::GoesAlone);
        assert_eq!(event("pubsub.montague.lit", one), Importance::WakesUp);
        assert!(avatar(Some("1")).is_outdated_by(&avatar(Some("1"))));
        assert!(!avatar(Some("1")).is_outdated_by(&avatar(Some("2"))));
        assert!(!avatar(None).is_outdated_by(&avatar(None)));
    }

    #[test]
    fn answers_and_the_servers_questions_go_alone_and_others_questions_wake() {
        for (from, wanted) in [
            ("capulet.lit", Importance::GoesAlone),
            ("juliet@capulet.lit", Importance::GoesAlone),
            ("juliet@capulet.lit/chamber", Importance::WakesUp),
            ("nurse@capulet.lit", Importance::WakesUp),
            ("romeo@montague.lit/orchard", Importance::WakesUp),
        ] {
            assert_eq!(
                judge(&format!("<iq type='set' id='1' from='{from}'><q xmlns='urn:q'/></iq>")),
                wanted,
                "{from}"
            );
            assert_eq!(judge(&format!("<iq type='result' id='1' from='{from}'/>")), Importance::GoesAlone);
        }
        assert_eq!(judge("<iq type='set' id='1'><q xmlns='urn:q'/></iq>"), Importance::GoesAlone);
    }
}
