//! Those who are away: members who are not in the room, and learn that something was said or that they are mentioned
//! (XEP-0357, XEP-0452, XEP-0513).

use std::collections::HashSet;

use waxwing_core::address::BareJid;
use waxwing_core::stanza::{MessageType, Stanza};

use super::Room;
use crate::affiliation::Affiliation;
use crate::assemble::{message, write_delay};
use crate::effects::{Absent, Mention, is_encrypted};
use crate::history::is_recalled;
use crate::mentions::Mentioned;
use crate::moment::Moment;
use crate::nickname::likeness;
use crate::occupants::Occupant;
use crate::protocol::{FORWARD, MENTION_NOTICE};
use crate::records::Affiliated;

/// So many characters of a text are searched for names of those who are away.
const SEARCHED: usize = 1000;

impl Room {
    /// Those affiliated who are not in the room and are mentioned in a message; with [`super::Rules::tells_absent`] all
    /// of this server who are not in the room. Of the speaker's account nobody: it is in the room.
    pub(super) fn absent(&self, message: &Stanza, speaker: &Occupant) -> Vec<Absent> {
        let mentioned = Mentioned::read(message, speaker.role, &self.configuration().mentions);
        let tells_all = self.rules.tells_absent && (is_recalled(message) || is_encrypted(message));
        if mentioned.is_empty() && !tells_all {
            return Vec::new();
        }
        let present: HashSet<&BareJid> = self.occupants.iter().map(|occupant| &occupant.account).collect();
        let text = if tells_all { searched(message) } else { String::new() };
        let mention = |account: &BareJid, entry: &Affiliated| {
            let is_explicit = mentioned.addresses.contains(account)
                || mentioned.affiliations.contains(&entry.affiliation)
                || (!mentioned.occupant_ids.is_empty() && {
                    let id = self.rules.occupant_id(&self.address, account);
                    mentioned.occupant_ids.iter().any(|mentioned| **mentioned == *id)
                });
            match is_explicit {
                true => Mention::Explicit,
                false if mentioned.everyone || is_named(&text, account, entry) => Mention::Likely,
                false => Mention::None,
            }
        };
        let members = self.records.affiliations.all().filter(|(account, entry)| {
            entry.affiliation >= Affiliation::Member && account.node().is_some() && !present.contains(account)
        });
        let absent = members.filter_map(|(account, entry)| {
            let mention = mention(account, entry);
            let is_told = mention == Mention::Explicit || tells_all && (self.rules.is_ours)(account.domain());
            is_told.then(|| Absent { account: account.clone(), mention })
        });
        absent.collect()
    }

    /// Forwards a message, as all have seen it, to those who are away and mentioned (XEP-0452 §3.2).
    pub(super) fn tell_mentioned(&self, said: &Stanza, absent: &[Absent], now: Moment, deliveries: &mut Vec<Stanza>) {
        if !self.configuration().forward_mentions || !absent.iter().any(|absent| absent.mention == Mention::Explicit) {
            return;
        }
        let original = said.clone().to(self.address.clone()).to_bytes();
        let notice = message(MessageType::Normal, |writer| {
            writer.open("mentions").attribute("xmlns", MENTION_NOTICE);
            writer.open("forwarded").attribute("xmlns", FORWARD);
            write_delay(writer, self.address.as_str(), now.milliseconds);
            writer.raw(&original).close().close();
        });
        let notice = notice.from(self.address.clone());
        for absent in absent.iter().filter(|absent| absent.mention == Mention::Explicit) {
            let id = waxwing_core::random::token();
            deliveries.push(notice.clone().to(absent.account.clone()).id(id));
        }
    }
}

/// The beginning of what a message says, in the form in which names are compared; empty when it cannot be read here.
fn searched(message: &Stanza) -> String {
    let Some(body) = message.text_of("body").filter(|_| !is_encrypted(message)) else { return String::new() };
    let end = body.char_indices().nth(SEARCHED).map_or(body.len(), |(end, _)| end);
    likeness(&body[..end])
}

/// Whether somebody's name stands in a text: the nickname that is reserved for him, or else the name of his account. Most
/// clients mention people in no other way.
fn is_named(text: &str, account: &BareJid, entry: &Affiliated) -> bool {
    let reserved = entry.nick.as_ref().map(|nick| nick.likeness.as_str());
    let Some(name) = reserved.or_else(|| Some(account.node()?.as_str())) else { return false };
    let is_letter = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let stands_alone = |start: usize| {
        !is_letter(text[..start].chars().next_back()) && !is_letter(text[start + name.len()..].chars().next())
    };
    !name.is_empty() && text.match_indices(name).any(|(start, _)| stands_alone(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::Nick;
    use waxwing_core::address::ResourcePart;

    #[test]
    fn a_name_is_a_word_of_its_own() {
        let account = BareJid::new("hag66@shakespeare.lit").unwrap();
        let named = |nick: Option<&str>, body: &str| {
            let nick = nick.map(|nick| Nick::new(ResourcePart::new(nick).unwrap().into_owned()));
            let entry = Affiliated { affiliation: Affiliation::Member, nick, reason: None, version: 1 };
            is_named(&likeness(body), &account, &entry)
        };
        for body in ["ThirdWitch: look", "look, @thirdwitch!", "thirdwitch", "(thirdwitch)", "athirdwitch thirdwitch"] {
            assert!(named(Some("thirdwitch"), body), "{body}");
        }
        for body in ["thirdwitches", "athirdwitch", "third witch", ""] {
            assert!(!named(Some("thirdwitch"), body), "{body}");
        }
        assert!(named(Some("\u{1F9D9}"), "\u{1F9D9} where are you?"));
        assert!(named(None, "hag66, are you there?") && !named(None, "hag67, are you there?"));
        assert!(!named(Some("thirdwitch"), "hag66"), "who has reserved a name is called by it");
    }
}
