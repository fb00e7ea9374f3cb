//! The service itself, without a room: what it is, and which rooms everyone may find (XEP-0045 §6.1 to §6.3).

use waxwing_core::address::{BareJid, DomainPart};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, MessageType, Stanza, StanzaType};
use waxwing_core::xml::{Child, Element, Writer};

use crate::assemble::payload;
use crate::protocol::{ACTIVITY, DISCO_INFO, DISCO_ITEMS, MUC, OCCUPANT_ID, PING, RSM, STABLE_ID, VCARD};
use crate::store::{Listed, Page, Store};

/// So many rooms are listed at a time.
const MOST_LISTED: usize = 100;

/// What the service tells about itself.
pub struct Service {
    /// Its domain.
    pub domain: DomainPart,
    /// Its name, as clients show it.
    pub name: String,
    /// Where the rooms are listed.
    pub store: Store,
}

/// Which page of a list is wanted (XEP-0059).
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    most: usize,
    after: Option<String>,
    before: Option<String>,
}

impl Wanted {
    fn read(query: Child<'_>) -> Result<Wanted, Refusal> {
        let Some(set) = query.child(RSM, "set") else {
            return Ok(Wanted { most: MOST_LISTED, after: None, before: None });
        };
        let text = |name| set.child(RSM, name).map(|child| child.text().into_owned());
        let most = match text("max") {
            None => MOST_LISTED,
            Some(most) => most.trim().parse::<usize>().map_err(|_| Refusal::bad_request())?.min(MOST_LISTED),
        };
        if set.child(RSM, "index").is_some() {
            return Err(
                Refusal::feature_not_implemented().saying("pages are named by what stands before or after them")
            );
        }
        Ok(Wanted { most, after: text("after"), before: text("before") })
    }

    fn page(&self) -> Page<'_> {
        match (&self.after, &self.before) {
            (Some(after), _) => Page::After(after),
            (None, Some(before)) if before.is_empty() => Page::Last,
            (None, Some(before)) => Page::Before(before),
            (None, None) => Page::After(""),
        }
    }
}

impl Service {
    /// Answers what is sent to the service itself; nothing where nothing is to be said.
    ///
    /// # Errors
    /// What whoever has sent it is told.
    pub async fn receive(&self, stanza: &Stanza) -> Result<Option<Stanza>, Refusal> {
        match stanza.what {
            StanzaType::Iq(of @ (IqType::Get | IqType::Set)) => {
                if stanza.to.as_ref().is_some_and(|to| to.resource().is_some()) {
                    return Err(Refusal::item_not_found());
                }
                let Some(asked) = stanza.payloads().next() else { return Err(Refusal::bad_request()) };
                let payload = match (asked.namespace(), asked.name(), of) {
                    (DISCO_INFO, "query", IqType::Get) => self.describe(asked)?,
                    (DISCO_ITEMS, "query", IqType::Get) => self.list(asked).await?,
                    (PING, "ping", IqType::Get) => None,
                    _ => return Err(Refusal::service_unavailable()),
                };
                let mut result = Stanza::result_of(stanza);
                if let Some(payload) = payload {
                    result.add(payload);
                }
                Ok(Some(result))
            }
            StanzaType::Message(of) if of != MessageType::Error => {
                Err(Refusal::service_unavailable().saying("write to one of the rooms"))
            }
            _ => Ok(None),
        }
    }

    fn describe(&self, query: Child<'_>) -> Result<Option<Element>, Refusal> {
        if query.attribute("node").is_some_and(|node| !node.is_empty()) {
            return Err(Refusal::item_not_found());
        }
        Ok(payload(|writer| {
            writer.open("query").attribute("xmlns", DISCO_INFO);
            writer.open("identity").attribute("category", "conference").attribute("type", "text");
            writer.attribute("name", &self.name).close();
            for feature in [MUC, STABLE_ID, OCCUPANT_ID, ACTIVITY, DISCO_INFO, DISCO_ITEMS, RSM, PING, VCARD] {
                writer.open("feature").attribute("var", feature).close();
            }
            writer.close();
        }))
    }

    async fn list(&self, query: Child<'_>) -> Result<Option<Element>, Refusal> {
        if query.attribute("node").is_some_and(|node| !node.is_empty()) {
            return Err(Refusal::item_not_found());
        }
        let wanted = Wanted::read(query)?;
        let listed = match wanted.most {
            0 => Vec::new(),
            most => self.store.list(&self.domain, wanted.page(), most).await?,
        };
        let is_asked = query.child(RSM, "set").is_some();
        // Who got all rooms has no use for their number.
        let count = match is_asked || listed.len() >= MOST_LISTED {
            true => Some(self.store.count(&self.domain).await?),
            false => None,
        };
        Ok(payload(|writer| {
            writer.open("query").attribute("xmlns", DISCO_ITEMS);
            for (room, name) in &listed {
                writer.open("item").attribute("jid", room.as_str()).attribute("name", shown_name(room, name)).close();
            }
            if let Some(count) = count {
                write_set(writer, &listed, count);
            }
            writer.close();
        }))
    }
}

fn shown_name<'a>(room: &'a BareJid, name: &'a str) -> &'a str {
    match name {
        "" => room.node().map_or("", |node| node.as_str()),
        name => name,
    }
}

fn write_set(writer: &mut Writer, listed: &[Listed], count: i64) {
    writer.open("set").attribute("xmlns", RSM);
    if let (Some((first, _)), Some((last, _))) = (listed.first(), listed.last()) {
        writer.open("first").text(first.as_str()).close().open("last").text(last.as_str()).close();
    }
    writer.open("count").text(&count.to_string()).close().close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn wanted(set: &str) -> Result<Wanted, &'static str> {
        let query = element(format!("<query xmlns='http://jabber.org/protocol/disco#items'>{set}</query>")).unwrap();
        Wanted::read(query.as_child()).map_err(|refusal| refusal.condition.name())
    }

    #[test]
    fn pages_are_bounded_and_named_by_their_neighbours() {
        let set = |inside: &str| wanted(&format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>"));
        assert_eq!(wanted("").unwrap().page(), Page::After(""));
        assert_eq!(set("<max>10</max>").unwrap().most, 10);
        assert_eq!(set("<max>100000</max>").unwrap().most, MOST_LISTED);
        assert_eq!(set("<after>a@b</after>").unwrap().page(), Page::After("a@b"));
        assert_eq!(set("<before>a@b</before>").unwrap().page(), Page::Before("a@b"));
        assert_eq!(set("<before/>").unwrap().page(), Page::Last);
        assert_eq!(set("<max>ten</max>").unwrap_err(), "bad-request");
        assert_eq!(set("<index>5</index>").unwrap_err(), "feature-not-implemented");
    }
}
