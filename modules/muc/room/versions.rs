//! Versions of the lists of affiliations: who enters learns what has changed since he was here (XEP-0463).

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{MessageType, Stanza};

use super::Room;
use super::speaking::{Versions, write_versions};
use crate::affiliation::Affiliation;
use crate::assemble::message;
use crate::occupants::Occupant;
use crate::protocol::{MUC, USER, VERSIONS};

impl Room {
    /// The version that somebody who may see the lists has when he has entered (§5.2.1).
    pub(super) fn current_versions(&self, account: &BareJid) -> Option<Versions> {
        let may = self.may_see_list(account, Affiliation::Member);
        may.then_some(Versions { since: None, until: self.records.version })
    }

    /// Sends what has changed in the lists since the version that a presence names, or all of them.
    pub(super) fn send_versions(
        &self,
        presence: &Stanza,
        occupant: &Occupant,
        device: &Jid,
        deliveries: &mut Vec<Stanza>,
    ) {
        let wanted = presence.payload(MUC, "x").and_then(|x| x.child(VERSIONS, "mav"));
        let Some(wanted) = wanted else { return };
        let account = &occupant.account;
        if !self.may_see_list(account, Affiliation::Member) {
            // §5.2.3.
            let mut question = Stanza::message(MessageType::Normal).from(device.clone()).to(self.address.clone());
            question.id = presence.id.clone();
            let refusal = Refusal::forbidden().saying("you may not see who is affiliated with this room");
            deliveries.extend(Stanza::error_for(&question, &refusal).ok().flatten());
            return;
        }
        let known = wanted.attribute("since").and_then(|since| since.parse::<i64>().ok());
        if known == Some(self.records.version) {
            return;
        }
        // §6: nobody learns what was before he came. His own place in the lists is older than what he knows, then.
        let own = self.records.affiliations.entry(account).map_or(i64::MAX, |entry| entry.version);
        let is_usable =
            |since: &i64| *since >= self.records.forgotten && *since < self.records.version && own <= *since;
        let since = known.filter(is_usable);
        let mut answer = message(MessageType::Normal, |writer| {
            writer.open("x").attribute("xmlns", USER);
            write_versions(writer, Versions { since, until: self.records.version });
            for (address, entry) in self.records.affiliations.since(since.unwrap_or(i64::MIN)) {
                let is_gone = entry.affiliation == Affiliation::None;
                let is_shown = if is_gone { since.is_some() } else { self.may_see_list(account, entry.affiliation) };
                if is_shown {
                    writer.open("item").attribute("jid", address.as_str());
                    writer.attribute("affiliation", entry.affiliation.name()).close();
                }
            }
            writer.close();
        });
        answer.id = Some(waxwing_core::random::token().into());
        deliveries.push(answer.from(self.address.clone()).to(device.clone()));
    }
}
