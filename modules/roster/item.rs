//! One contact of a roster as clients see and change it: the `<item/>` of RFC 6121 §2.1.2, read and written.

use waxwing_core::address::{self, BareJid};
use waxwing_core::refusal::Refusal;
use waxwing_core::xml::{Child, Writer};

use crate::settings::Settings;
use crate::subscription::State;

/// The namespace of rosters.
pub const ROSTER: &str = "jabber:iq:roster";

/// A contact that stands in a roster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Who it is.
    pub contact: BareJid,
    /// What the account calls it.
    pub name: Option<String>,
    /// The groups the account has put it in, no two the same.
    pub groups: Vec<String>,
    /// The subscription. Whether the contact has asked is no part of an item: `is_asked` is false here.
    pub state: State,
    /// The version of the roster in which it became as it is.
    pub version: i64,
}

impl Item {
    /// A contact with whom there is nothing yet.
    pub fn new(contact: BareJid) -> Item {
        Item { contact, name: None, groups: Vec::new(), state: State::default(), version: 0 }
    }

    /// Writes the element.
    pub fn write(&self, writer: &mut Writer) {
        writer
            .open("item")
            .attribute("jid", self.contact.as_str())
            .optional_attribute("name", self.name.as_deref())
            .attribute("subscription", self.state.subscription().name())
            .optional_attribute("ask", self.state.asked.then_some("subscribe"))
            .optional_attribute("approved", self.state.approved.then_some("true"));
        for group in &self.groups {
            writer.open("group").text(group).close();
        }
        writer.close();
    }
}

/// Writes the element for a contact that was removed.
pub fn write_removed(contact: &BareJid, writer: &mut Writer) {
    writer.open("item").attribute("jid", contact.as_str()).attribute("subscription", "remove").close();
}

/// What a roster set asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Add the contact, or give it this name and these groups and no others.
    Put {
        /// Who it is.
        contact: BareJid,
        /// What to call it.
        name: Option<String>,
        /// Its groups.
        groups: Vec<String>,
    },
    /// Remove the contact.
    Remove(BareJid),
}

impl Wish {
    /// Reads the `<query/>` of a roster set (§2.1.5, §2.3.3). Of what only a server decides, nothing is taken over.
    ///
    /// # Errors
    /// `bad-request` when it is not exactly one item with distinct groups, `not-acceptable` when a name or group is
    /// empty or longer than allowed.
    pub fn read(query: Child<'_>, settings: &Settings) -> Result<Wish, Refusal> {
        let mut items = query.children().filter(|child| child.namespace() == ROSTER && child.name() == "item");
        let (Some(item), None) = (items.next(), items.next()) else {
            return Err(Refusal::bad_request().saying("a roster set has exactly one item"));
        };
        let Some(jid) = item.attribute("jid") else {
            return Err(Refusal::bad_request().saying("the item has no jid"));
        };
        let contact = address::read_bare(&jid).map_err(|error| {
            Refusal::bad_request().saying(format!("the item's jid is not the address of a contact: {error}"))
        })?;
        if item.attribute("subscription").as_deref() == Some("remove") {
            return Ok(Wish::Remove(contact));
        }
        let name = item.attribute("name").map(|name| name.into_owned()).filter(|name| !name.is_empty());
        if name.as_ref().is_some_and(|name| !settings.name_bytes.allows(name.len())) {
            return Err(Refusal::not_acceptable().saying("the name is too long"));
        }
        let groups = read_groups(item, settings)?;
        Ok(Wish::Put { contact, name, groups })
    }
}

fn read_groups(item: Child<'_>, settings: &Settings) -> Result<Vec<String>, Refusal> {
    let mut groups = Vec::new();
    for group in item.children().filter(|child| child.namespace() == ROSTER && child.name() == "group") {
        let group = group.text();
        if group.is_empty() {
            return Err(Refusal::not_acceptable().saying("a group has no name"));
        }
        if !settings.group_bytes.allows(group.len()) {
            return Err(Refusal::not_acceptable().saying("the name of a group is too long"));
        }
        if groups.iter().any(|known| *known == group) {
            return Err(Refusal::bad_request().saying("a group is named twice"));
        }
        if !settings.groups_per_contact.allows(groups.len() + 1) {
            return Err(Refusal::policy_violation().saying("the contact is in too many groups"));
        }
        groups.push(group.into_owned());
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn read(items: &str) -> Result<Wish, &'static str> {
        let query = element(format!("<query xmlns='jabber:iq:roster'>{items}</query>")).unwrap();
        let settings = Settings::default();
        Wish::read(query.as_child(), &settings).map_err(|refusal| refusal.condition.name())
    }

    fn contact() -> BareJid {
        BareJid::new("juliet@capulet.lit").unwrap()
    }

    #[test]
    fn c77_a_set_names_everything_that_shall_be() {
        let wish = read("<item jid='Juliet@capulet.lit' name='J &amp; R'><group>Verona</group><group>A</group></item>");
        let groups = vec!["Verona".to_owned(), "A".to_owned()];
        assert_eq!(wish, Ok(Wish::Put { contact: contact(), name: Some("J & R".to_owned()), groups }));
        let bare = Wish::Put { contact: contact(), name: None, groups: vec![] };
        assert_eq!(read("<item jid='juliet@capulet.lit' name=''/>"), Ok(bare));
    }

    #[test]
    fn c73_only_a_removal_is_read_from_the_subscription() {
        let plain = read("<item jid='juliet@capulet.lit'/>");
        for claim in ["subscription='both'", "subscription='from' ask='subscribe'", "approved='true'"] {
            assert_eq!(read(&format!("<item jid='juliet@capulet.lit' {claim}/>")), plain, "{claim}");
        }
        assert_eq!(read("<item jid='juliet@capulet.lit' subscription='remove'/>"), Ok(Wish::Remove(contact())));
    }

    #[test]
    fn c75_a_set_has_one_item_with_distinct_groups() {
        for items in [
            "",
            "<item jid='a@b'/><item jid='c@d'/>",
            "<item/>",
            "<item jid='a@b/resource'/>",
            "<item jid='a@@b'/>",
            "<item jid='a@b'><group>x</group><group>x</group></item>",
        ] {
            assert_eq!(read(items), Err("bad-request"), "{items}");
        }
    }

    #[test]
    fn c76_names_and_groups_are_neither_empty_nor_endless() {
        let long = "x".repeat(2000);
        for item in [
            "<item jid='a@b'><group/></item>".to_owned(),
            format!("<item jid='a@b' name='{long}'/>"),
            format!("<item jid='a@b'><group>{long}</group></item>"),
        ] {
            assert_eq!(read(&item), Err("not-acceptable"), "{item}");
        }
        let many: String = (0..100).map(|number| format!("<group>{number}</group>")).collect();
        assert_eq!(read(&format!("<item jid='a@b'>{many}</item>")), Err("policy-violation"));
    }

    #[test]
    fn an_item_is_written_with_what_is_true_of_it() {
        let written = |item: &Item| {
            let mut writer = Writer::new();
            item.write(&mut writer);
            String::from_utf8(writer.finish().to_vec()).unwrap()
        };
        let mut item = Item::new(contact());
        assert_eq!(written(&item), "<item jid='juliet@capulet.lit' subscription='none'/>");
        item.name = Some("J'".to_owned());
        item.groups = vec!["<3".to_owned()];
        item.state = State { seen_by_contact: true, asked: true, approved: true, ..State::default() };
        assert_eq!(
            written(&item),
            "<item jid='juliet@capulet.lit' name='J&apos;' subscription='from' ask='subscribe' approved='true'>\
             <group>&lt;3</group></item>"
        );
    }
}
