//! Bookmarks in their two forms: an item for each room (XEP-0402), and one list of all (XEP-0048). Decisions only.

use std::collections::BTreeMap;

use waxwing_core::address;
use waxwing_core::fault::Fault;
use waxwing_core::nodes::Item;
use waxwing_core::stanza::element;
use waxwing_core::xml::{Child, Element, Writer};

/// The node of bookmarks with an item for each room.
pub const NATIVE: &str = "urn:xmpp:bookmarks:1";
/// The namespace of the list, and the node that holds it.
pub const LIST: &str = "storage:bookmarks";
/// The id of the one item of that node.
pub const CURRENT: &str = "current";

/// What both forms say of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bookmark {
    name: Option<String>,
    autojoin: bool,
    nick: Option<String>,
    password: Option<String>,
}

impl Bookmark {
    /// Reads `<conference/>`, in the one namespace or the other.
    fn read(conference: Child<'_>) -> Bookmark {
        let text = |name| {
            let child = conference.child(conference.namespace(), name)?;
            Some(child.text().into_owned()).filter(|text| !text.is_empty())
        };
        let attribute = |name| conference.attribute(name).map(|value| value.into_owned());
        Bookmark {
            name: attribute("name").filter(|name| !name.is_empty()),
            autojoin: attribute("autojoin").is_some_and(|value| matches!(value.trim(), "1" | "true")),
            nick: text("nick"),
            password: text("password"),
        }
    }

    /// Writes the attributes and the children that both forms have.
    fn write(&self, writer: &mut Writer) {
        writer.optional_attribute("name", self.name.as_deref());
        if self.autojoin {
            writer.attribute("autojoin", "true");
        }
        for (name, text) in [("nick", &self.nick), ("password", &self.password)] {
            if let Some(text) = text {
                writer.open(name).text(text).close();
            }
        }
    }
}

/// Bookmarks by the address of their room.
pub type Bookmarks = BTreeMap<String, Bookmark>;

/// The bookmarks of a list.
pub fn of_list(list: &Element) -> Bookmarks {
    let conferences = list.children().filter(|child| child.namespace() == LIST && child.name() == "conference");
    let of = |conference: Child<'_>| {
        let room = address::read_bare(&conference.attribute("jid")?).ok()?;
        Some((room.to_string(), Bookmark::read(conference)))
    };
    conferences.filter_map(of).collect()
}

/// The bookmarks of items.
pub fn of_items(items: &[Item]) -> Bookmarks {
    items.iter().filter_map(|item| Some((item.id.to_string(), Bookmark::read(conference(item)?)))).collect()
}

fn conference(item: &Item) -> Option<Child<'_>> {
    let payload = item.payload.as_ref()?.as_child();
    let is_room = address::read_bare(&item.id).is_ok_and(|room| room.as_str() == &*item.id);
    (is_room && payload.namespace() == NATIVE && payload.name() == "conference").then_some(payload)
}

/// The list of these bookmarks, and of everything else that stood in the list before.
///
/// # Errors
/// A fault when it cannot be written.
pub fn list(bookmarks: &Bookmarks, before: Option<&Element>) -> Result<Element, Fault> {
    let mut writer = Writer::with_capacity(512);
    writer.open("storage").attribute("xmlns", LIST);
    for (room, bookmark) in bookmarks {
        writer.open("conference").attribute("jid", room);
        bookmark.write(&mut writer);
        writer.close();
    }
    for other in before.into_iter().flat_map(Element::children) {
        if other.namespace() != LIST || other.name() != "conference" {
            writer.raw(other.bytes());
        }
    }
    element(writer.finish())
}

/// What makes the items say what a list says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Items that are new or say something else.
    pub publish: Vec<(Box<str>, Element)>,
    /// Items that the list does not have.
    pub retract: Vec<Box<str>>,
}

/// Compares items with a list. What an item has beside what a list can say stays in it (XEP-0402 §3.4).
///
/// # Errors
/// A fault when an item cannot be written.
pub fn changes(items: &[Item], list: &Bookmarks) -> Result<Changes, Fault> {
    let mut changes = Changes::default();
    for (room, wanted) in list {
        let item = items.iter().find(|item| *item.id == **room).and_then(conference);
        if item.is_some_and(|item| Bookmark::read(item) == *wanted) {
            continue;
        }
        let mut writer = Writer::with_capacity(256);
        writer.open("conference").attribute("xmlns", NATIVE);
        wanted.write(&mut writer);
        for other in item.into_iter().flat_map(|item| item.children()) {
            if other.namespace() != NATIVE || !matches!(other.name(), "nick" | "password") {
                writer.raw(other.bytes());
            }
        }
        changes.publish.push((room.as_str().into(), element(writer.finish())?));
    }
    let gone = items.iter().filter(|item| conference(item).is_some() && !list.contains_key(&*item.id));
    changes.retract = gone.map(|item| item.id.clone()).collect();
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str, xml: &str) -> Item {
        Item { id: id.into(), payload: Some(element(xml.to_owned()).unwrap()), published_at: 0 }
    }

    fn stored(content: &str) -> Element {
        element(format!("<storage xmlns='{LIST}'>{content}</storage>")).unwrap()
    }

    const PLAY: &str = "<conference xmlns='urn:xmpp:bookmarks:1' name='The Play&apos;s the Thing' autojoin='1'>\
        <nick>JC</nick><extensions><state xmlns='urn:x' minimized='true'/></extensions></conference>";

    #[test]
    fn a_list_says_what_the_items_say() {
        let items =
            [item("play@rooms.lit", PLAY), item("not a room", PLAY), item("other@rooms.lit", "<x xmlns='urn:x'/>")];
        let before = stored("<url name='x' url='http://x.lit/'/><conference jid='old@rooms.lit'/>");
        let list = list(&of_items(&items), Some(&before)).unwrap();
        assert_eq!(
            std::str::from_utf8(list.as_bytes()).unwrap(),
            "<storage xmlns='storage:bookmarks'><conference jid='play@rooms.lit' name='The Play&apos;s the Thing' \
             autojoin='true'><nick>JC</nick></conference><url name='x' url='http://x.lit/'/></storage>"
        );
        assert_eq!(of_list(&list), of_items(&items));
        assert_eq!(changes(&items, &of_list(&list)).unwrap(), Changes::default(), "nothing is to be done");
    }

    #[test]
    fn a_changed_list_changes_items_and_keeps_what_it_cannot_say() {
        let items = [item("play@rooms.lit", PLAY), item("gone@rooms.lit", PLAY)];
        let list = stored(
            "<conference jid='Play@rooms.lit' name='Hamlet'><nick>JC</nick></conference>\
             <conference jid='new@rooms.lit' autojoin='true'/><conference jid='@'/><conference/>",
        );
        let changes = changes(&items, &of_list(&list)).unwrap();
        assert_eq!(changes.retract, ["gone@rooms.lit".into()]);
        let published: Vec<(&str, &str)> =
            changes.publish.iter().map(|(id, item)| (&**id, std::str::from_utf8(item.as_bytes()).unwrap())).collect();
        assert_eq!(
            published,
            [
                ("new@rooms.lit", "<conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/>"),
                (
                    "play@rooms.lit",
                    "<conference xmlns='urn:xmpp:bookmarks:1' name='Hamlet'><nick>JC</nick>\
                     <extensions><state xmlns='urn:x' minimized='true'/></extensions></conference>"
                )
            ]
        );
    }
}
