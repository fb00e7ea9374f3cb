//! Requests about roles and affiliations: the lists, and changes to them (XEP-0045 §8.5, §9.2, §9.5, §9.8, §10.5, §10.8).

use waxwing_core::address::{self, BareJid, Jid, ResourcePart};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::{Child, Writer};

use super::Room;
use super::affiliations::AffiliationWish;
use super::roles::RoleWish;
use crate::affiliation::{Affiliation, Role};
use crate::assemble::payload;
use crate::effects::Effects;
use crate::moment::Moment;
use crate::protocol::ADMIN;

/// So many may be changed with one request.
const MOST_ITEMS: usize = 100;
/// The longest reason that is kept and passed on, in bytes.
const MOST_REASON: usize = 1024;

impl Room {
    /// A request for a list.
    pub(super) fn list(
        &self,
        request: &Stanza,
        from: &Jid,
        query: Child<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let mut items = query.children().filter(|child| child.namespace() == ADMIN && child.name() == "item");
        let (Some(item), None) = (items.next(), items.next()) else {
            return Err(Refusal::bad_request().saying("one list is asked for at a time"));
        };
        let account = from.to_bare();
        let list = match (item.attribute("affiliation"), item.attribute("role")) {
            (Some(affiliation), None) => {
                let affiliation =
                    Affiliation::read(&affiliation).filter(|affiliation| *affiliation != Affiliation::None);
                let Some(affiliation) = affiliation else { return Err(Refusal::bad_request()) };
                if !self.may_see_list(&account, affiliation) {
                    return Err(Refusal::forbidden().saying("you may not see this list"));
                }
                payload(|writer| self.write_affiliations(writer, affiliation))
            }
            (None, Some(role)) => {
                let role = Role::read(&role).filter(|role| *role != Role::None);
                let Some(role) = role else { return Err(Refusal::bad_request()) };
                let is_admin = self.affiliation(&account).is_admin();
                // §8.5 for moderators, §9.8 for admins.
                if !is_admin && (self.role(&account) != Role::Moderator || role == Role::Moderator) {
                    return Err(Refusal::forbidden().saying("you may not see this list"));
                }
                payload(|writer| self.write_roles(writer, role))
            }
            _ => return Err(Refusal::bad_request().saying("a list is of an affiliation or of a role")),
        };
        effects.answer(request, list);
        Ok(())
    }

    /// Whether an account may see who has this affiliation (§9.2, §9.5, §10.5, §10.8; row S20 of the security list).
    pub(super) fn may_see_list(&self, account: &BareJid, list: Affiliation) -> bool {
        let affiliation = self.affiliation(account);
        let role = self.role(account);
        let allowed = self.configuration().member_list;
        match list {
            _ if affiliation == Affiliation::Owner => true,
            Affiliation::Outcast => affiliation.is_admin(),
            Affiliation::Member | Affiliation::None if affiliation.is_admin() => true,
            _ if !self.configuration().is_non_anonymous() => {
                list <= Affiliation::Member && role == Role::Moderator && allowed.contains(role)
            }
            // Members may see it from outside, too: they learn whom to invite, and whom to encrypt for.
            _ if role == Role::None => affiliation >= Affiliation::Member && allowed.contains(Role::Participant),
            _ => affiliation.is_admin() || allowed.contains(role),
        }
    }

    fn write_affiliations(&self, writer: &mut Writer, affiliation: Affiliation) {
        writer.open("query").attribute("xmlns", ADMIN);
        for (account, entry) in self.records.affiliations.with(affiliation) {
            writer.open("item").attribute("affiliation", affiliation.name()).attribute("jid", account.as_str());
            writer.optional_attribute("nick", entry.nick.as_ref().map(|nick| nick.name.as_str()));
            if let Some(reason) = &entry.reason {
                writer.open("reason").text(reason).close();
            }
            writer.close();
        }
        writer.close();
    }

    fn write_roles(&self, writer: &mut Writer, role: Role) {
        writer.open("query").attribute("xmlns", ADMIN);
        for occupant in self.occupants.iter().filter(|occupant| occupant.role == role) {
            writer.open("item").attribute("affiliation", self.affiliation(&occupant.account).name());
            writer.attribute("jid", occupant.shown().jid.as_str()).attribute("nick", occupant.nick.name.as_str());
            writer.attribute("role", role.name()).close();
        }
        writer.close();
    }

    /// A request to change roles or affiliations.
    pub(super) fn administrate(
        &mut self,
        request: &Stanza,
        from: &Jid,
        query: Child<'_>,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let items: Vec<Child<'_>> =
            query.children().filter(|child| child.namespace() == ADMIN && child.name() == "item").collect();
        if items.is_empty() {
            return Err(Refusal::bad_request().saying("nothing is to be changed"));
        }
        if items.len() > MOST_ITEMS {
            return Err(Refusal::policy_violation().saying(format!("at most {MOST_ITEMS} are changed at a time")));
        }
        // §17.4: one or the other, never both.
        let is_about = |attribute: &str| items.iter().all(|item| item.attribute(attribute).is_some());
        let mentions = |attribute: &str| items.iter().any(|item| item.attribute(attribute).is_some());
        if is_about("role") && !mentions("affiliation") {
            let wishes = items.iter().map(|item| self.read_role_wish(*item)).collect::<Result<Vec<_>, _>>()?;
            return self.change_roles(from, &wishes, Some(request), now, effects);
        }
        if is_about("affiliation") && !mentions("role") {
            let wishes = items.iter().map(|item| self.read_affiliation_wish(*item)).collect::<Result<Vec<_>, _>>()?;
            return self.change_affiliations(from, &wishes, Some(request), now, effects);
        }
        Err(Refusal::bad_request().saying("each item has either a role or an affiliation"))
    }

    fn read_role_wish(&self, item: Child<'_>) -> Result<RoleWish, Refusal> {
        let role = item.attribute("role").and_then(|role| Role::read(&role));
        let role = role.ok_or_else(|| Refusal::bad_request().saying("there is no such role"))?;
        let nick =
            item.attribute("nick").ok_or_else(|| Refusal::bad_request().saying("a role belongs to a nickname"))?;
        let nick = ResourcePart::new(&nick).map_err(|_| Refusal::jid_malformed())?.into_owned();
        Ok(RoleWish { nick, role, reason: reason(item) })
    }

    fn read_affiliation_wish(&self, item: Child<'_>) -> Result<AffiliationWish, Refusal> {
        let affiliation = item.attribute("affiliation").and_then(|affiliation| Affiliation::read(&affiliation));
        let affiliation = affiliation.ok_or_else(|| Refusal::bad_request().saying("there is no such affiliation"))?;
        let nick = item.attribute("nick");
        let read_nick =
            |nick: &str| ResourcePart::new(nick).map(|nick| nick.into_owned()).map_err(|_| Refusal::jid_malformed());
        let address = match item.attribute("jid") {
            // §10.3: a full address stands for its account.
            Some(jid) => address::read(&jid).map_err(|_| Refusal::jid_malformed())?.to_bare(),
            // Somebody in the room may be meant by his nickname: in a semi-anonymous room nobody else knows more.
            None => {
                let nick = nick
                    .as_deref()
                    .ok_or_else(|| Refusal::bad_request().saying("an affiliation belongs to an address"))?;
                let occupant = self.occupants.named(&read_nick(nick)?);
                occupant.ok_or_else(Refusal::item_not_found)?.account.clone()
            }
        };
        if address == self.address {
            return Err(Refusal::not_acceptable().saying("a room is not affiliated with itself"));
        }
        // §9.5: an empty one takes the reserved nickname away.
        let nick = match nick.filter(|_| item.attribute("jid").is_some()) {
            Some(nick) if nick.is_empty() => Some(None),
            Some(nick) => Some(Some(read_nick(&nick)?)),
            None => None,
        };
        Ok(AffiliationWish { address, affiliation, nick, reason: reason(item) })
    }
}

fn reason(item: Child<'_>) -> Option<String> {
    let reason = item.child(ADMIN, "reason")?.text().into_owned();
    (!reason.is_empty() && reason.len() <= MOST_REASON).then_some(reason)
}
