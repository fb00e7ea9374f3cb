//! Who is mentioned in a message (XEP-0372, XEP-0513), and who may mention whom (XEP-0513 §3.6).

use serde::{Deserialize, Serialize};
use waxwing_core::address::{self, BareJid};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::Writer;

use crate::affiliation::{Affiliation, Role};
use crate::configuration::Allowed;
use crate::form::{Form, FormWriter, not_acceptable};
use crate::protocol::{MENTIONS, REFERENCE};

/// Mention everyone in the room.
pub const CHANNEL: &str = "urn:xmpp:mentions:0#channel";
/// Mention those of a role or an affiliation.
pub const ASSOCIATIONS: &str = "urn:xmpp:mentions:0#associations";

const COUNT: &str = "mentions#count";
const INDIVIDUAL: &str = "mentions#individual";
const OF_CHANNEL: &str = "mentions#channel";
const OF_ASSOCIATIONS: &str = "mentions#associations";
/// The choices of XEP-0513: it knows no visitors.
const OPTIONS: [(&str, &str); 3] =
    [("participants", "Participants"), ("moderators", "Moderators Only"), ("none", "Nobody")];
/// More mentions than this in one message are never told to anybody who is away.
const MOST_COUNT: u32 = 100;

/// Who may mention whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mentions {
    /// How many mentions a message may have.
    pub count: u32,
    /// Who may mention a person.
    pub individual: Allowed,
    /// Who may mention everyone.
    pub channel: Allowed,
    /// Who may mention those of a role or an affiliation.
    pub associations: Allowed,
}

impl Default for Mentions {
    fn default() -> Mentions {
        Mentions {
            count: 10,
            individual: Allowed::Participants,
            channel: Allowed::Moderators,
            associations: Allowed::Participants,
        }
    }
}

impl Mentions {
    fn fields(&self) -> [(&'static str, &'static str, Allowed); 3] {
        [
            (INDIVIDUAL, "Who can mention individual users?", self.individual),
            (OF_CHANNEL, "Who can mention rooms?", self.channel),
            (OF_ASSOCIATIONS, "Who can mention roles/affiliations?", self.associations),
        ]
    }

    /// Writes the form of "MUC returns configured permissions".
    pub fn write_form(&self, writer: &mut Writer) {
        let instructions = "Complete this form to say who can mention whom, and how often in one message.";
        let mut form = FormWriter::form(writer, MENTIONS, "Permissions for Explicit Mentions", instructions);
        let count = self.count.to_string();
        form.field("text-single", COUNT, "How many mentions are allowed in a message?", [count.as_str()]);
        for (name, label, allowed) in self.fields() {
            form.choice("list-single", name, label, [allowed.name()], &OPTIONS);
        }
        form.close();
    }

    /// Writes the fields into a form that tells about the room, or those that differ from `before`.
    pub fn write_fields(&self, form: &mut FormWriter<'_>, before: Option<&Mentions>) {
        if before.is_none_or(|before| before.count != self.count) {
            let count = self.count.to_string();
            form.field("text-single", COUNT, "How many mentions are allowed in a message?", [count.as_str()]);
        }
        for (index, (name, label, allowed)) in self.fields().into_iter().enumerate() {
            if before.is_none_or(|before| before.fields()[index].2 != allowed) {
                form.field("list-single", name, label, [allowed.name()]);
            }
        }
    }

    /// Reads a form that an owner has filled in.
    ///
    /// # Errors
    /// `not-acceptable` when a value cannot be.
    pub fn read_form(&self, form: &Form) -> Result<Mentions, Refusal> {
        let mut after = *self;
        if let Some(count) = form.number(COUNT)? {
            after.count = count.min(MOST_COUNT);
        }
        for (name, field) in [
            (INDIVIDUAL, &mut after.individual),
            (OF_CHANNEL, &mut after.channel),
            (OF_ASSOCIATIONS, &mut after.associations),
        ] {
            if let Some(value) = form.text(name) {
                let known = OPTIONS.iter().any(|(option, _)| *option == value);
                *field = Allowed::read(value).filter(|_| known).ok_or_else(|| not_acceptable(name))?;
            }
        }
        Ok(after)
    }
}

/// Whom a message mentions, as far as its sender may.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mentioned {
    /// By real address.
    pub addresses: Vec<BareJid>,
    /// By occupant id.
    pub occupant_ids: Vec<String>,
    /// By affiliation.
    pub affiliations: Vec<Affiliation>,
    /// Everyone. Who is away is not sent the message for it (§3.2.1.1: the occupants are meant), but may be woken.
    pub everyone: bool,
}

impl Mentioned {
    /// Reads the mentions in a message of somebody with this role. References of the older kind count as mentions of a
    /// person. Mentions of those who are in the room now concern nobody who is away.
    pub fn read(message: &Stanza, role: Role, rules: &Mentions) -> Mentioned {
        let mut mentioned = Mentioned::default();
        let mut count = 0;
        for payload in message.payloads() {
            let is_mention = payload.namespace() == MENTIONS && payload.name() == "mention";
            let is_reference = payload.namespace() == REFERENCE && payload.name() == "reference";
            if !(is_mention || is_reference && payload.attribute("type").as_deref() == Some("mention")) {
                continue;
            }
            count += 1;
            if count > rules.count {
                // §3.6: a message with too many mentions has none.
                return Mentioned::default();
            }
            let quiet = |name| payload.child(MENTIONS, name).is_some();
            if is_mention && (quiet("noping") || quiet("active")) {
                continue;
            }
            match payload.attribute("mentions").filter(|_| is_mention) {
                Some(group) => mentioned.read_group(&group, role, rules),
                None if rules.individual.allows(role) => {
                    mentioned.occupant_ids.extend(payload.attribute("occupantid").map(|id| id.into_owned()));
                    let uri = payload.attribute("uri").and_then(|uri| Some(uri.strip_prefix("xmpp:")?.to_owned()));
                    let jid = payload.attribute("jid").map(|jid| jid.into_owned()).or(uri);
                    let jid = jid.and_then(|jid| address::read(jid.split('?').next()?).ok());
                    mentioned.addresses.extend(jid.map(|jid| jid.to_bare()));
                }
                None => {}
            }
        }
        mentioned
    }

    fn read_group(&mut self, group: &str, role: Role, rules: &Mentions) {
        if group == CHANNEL {
            self.everyone |= rules.channel.allows(role);
            return;
        }
        if !rules.associations.allows(role) {
            return;
        }
        let affiliation = group.strip_prefix("urn:xmpp:mentions:0#").and_then(Affiliation::read);
        self.affiliations.extend(affiliation.filter(|affiliation| *affiliation >= Affiliation::Member));
    }

    /// Whether nobody is mentioned who may be away.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.occupant_ids.is_empty() && self.affiliations.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn read(payloads: &str, role: Role) -> Mentioned {
        let message = element(format!("<message type='groupchat'><body>x</body>{payloads}</message>")).unwrap();
        Mentioned::read(&Stanza::read(message).unwrap().unwrap(), role, &Mentions::default())
    }

    #[test]
    fn persons_are_mentioned_in_three_ways() {
        let mentioned = read(
            "<mention xmlns='urn:xmpp:mentions:0' occupantid='abc'/><mention xmlns='urn:xmpp:mentions:0' jid='a@b/c'/>\
             <reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:hag66@shakespeare.lit'/>\
             <reference xmlns='urn:xmpp:reference:0' type='data' uri='xmpp:x@y'/>\
             <mention xmlns='urn:xmpp:mentions:0' jid='quiet@b'><noping/></mention>",
            Role::Participant,
        );
        assert_eq!(mentioned.occupant_ids, ["abc"]);
        let addresses: Vec<_> = mentioned.addresses.iter().map(|jid| jid.to_string()).collect();
        assert_eq!(addresses, ["a@b", "hag66@shakespeare.lit"]);
    }

    #[test]
    fn who_may_not_mention_does_not() {
        let person = "<mention xmlns='urn:xmpp:mentions:0' jid='a@b'/>";
        assert!(read(person, Role::Visitor).is_empty());
        assert!(read(&person.repeat(11), Role::Moderator).is_empty());
        assert_eq!(read(&person.repeat(10), Role::Moderator).addresses.len(), 10);
    }

    #[test]
    fn members_are_mentioned_together() {
        let all = "<mention xmlns='urn:xmpp:mentions:0' mentions='urn:xmpp:mentions:0#member'/>\
                   <mention xmlns='urn:xmpp:mentions:0' mentions='urn:xmpp:mentions:0#outcast'/>";
        assert_eq!(read(all, Role::Participant).affiliations, [Affiliation::Member]);
    }

    #[test]
    fn moderators_mention_everyone() {
        let all = "<mention xmlns='urn:xmpp:mentions:0' mentions='urn:xmpp:mentions:0#channel'/>";
        assert!(read(all, Role::Moderator).everyone && !read(all, Role::Participant).everyone);
        assert!(read(all, Role::Moderator).is_empty());
    }

    #[test]
    fn permissions_are_read_as_they_are_written() {
        let mut writer = Writer::new();
        Mentions::default().write_form(&mut writer);
        let text = String::from_utf8(writer.finish().to_vec()).unwrap();
        let text = text.replacen("type='form'", "type='submit'", 1).replace("<value>10</value>", "<value>1</value>");
        let form = Form::read(element(text).unwrap().as_child()).unwrap();
        let after = Mentions::default().read_form(&form).unwrap();
        assert_eq!(after, Mentions { count: 1, ..Mentions::default() });
    }
}
