//! Those who are away: members who are not in the room, and learn that they are mentioned (XEP-0452, XEP-0513).

use std::collections::HashSet;

use waxwing_core::address::BareJid;
use waxwing_core::stanza::{MessageType, Stanza};

use super::Room;
use crate::affiliation::Affiliation;
use crate::assemble::{message, write_delay};
use crate::effects::Absent;
use crate::mentions::Mentioned;
use crate::moment::Moment;
use crate::occupants::Occupant;
use crate::protocol::{FORWARD, MENTION_NOTICE};

impl Room {
    /// Those affiliated who are not in the room and are mentioned in a message; with [`super::Rules::tells_absent`]
    /// everyone who is not in the room.
    pub(super) fn absent(&self, message: &Stanza, speaker: &Occupant) -> Vec<Absent> {
        let mentioned = Mentioned::read(message, speaker.role, &self.configuration().mentions);
        let tells_all = self.rules.tells_absent && message.own_payload("body").is_some();
        if mentioned.is_empty() && !tells_all {
            return Vec::new();
        }
        let present: HashSet<&BareJid> = self.occupants.iter().map(|occupant| &occupant.account).collect();
        let is_mentioned = |account: &BareJid, affiliation: Affiliation| {
            mentioned.addresses.contains(account)
                || mentioned.affiliations.contains(&affiliation)
                || (!mentioned.occupant_ids.is_empty() && {
                    let id = self.rules.occupant_id(&self.address, account);
                    mentioned.occupant_ids.iter().any(|mentioned| **mentioned == *id)
                })
        };
        let members = self.records.affiliations.all().filter(|(account, entry)| {
            entry.affiliation >= Affiliation::Member && account.node().is_some() && !present.contains(account)
        });
        let absent = members.filter_map(|(account, entry)| {
            let is_mentioned = is_mentioned(account, entry.affiliation);
            (is_mentioned || tells_all).then(|| Absent { account: account.clone(), is_mentioned })
        });
        absent.collect()
    }

    /// Forwards a message, as all have seen it, to those who are away and mentioned (XEP-0452 §3.2).
    pub(super) fn tell_mentioned(&self, said: &Stanza, absent: &[Absent], now: Moment, deliveries: &mut Vec<Stanza>) {
        if !self.configuration().forward_mentions || !absent.iter().any(|absent| absent.is_mentioned) {
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
        for absent in absent.iter().filter(|absent| absent.is_mentioned) {
            let id = waxwing_core::random::token();
            deliveries.push(notice.clone().to(absent.account.clone()).id(id));
        }
    }
}
