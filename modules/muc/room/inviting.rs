//! Invitations that the room passes on, and their refusal (XEP-0045 §7.8.2).

use waxwing_core::address::{self, BareJid, Jid};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{MessageType, Stanza};
use waxwing_core::xml::Child;

use super::Room;
use super::affiliations::AffiliationWish;
use crate::affiliation::{Affiliation, Role};
use crate::assemble::message;
use crate::effects::Effects;
use crate::moment::Moment;
use crate::protocol::USER;

/// So many may be invited with one message.
const MOST_INVITED: usize = 20;
/// The longest reason that is passed on, in bytes.
const MOST_REASON: usize = 2048;

impl Room {
    /// Somebody invites others.
    pub(super) fn invite(
        &mut self,
        said: &Stanza,
        x: Child<'_>,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let account = from.to_bare();
        self.check_inviter(from, &account)?;
        let mut invitations = Vec::new();
        for invite in x.children().filter(|child| child.namespace() == USER && child.name() == "invite") {
            let to = invite.attribute("to").and_then(|to| address::read(&to).ok());
            let Some(to) = to else { return Err(Refusal::jid_malformed().saying("an invitation needs an address")) };
            if self.affiliation(&to.to_bare()) == Affiliation::Outcast {
                return Err(Refusal::not_acceptable().saying(format!("{} is banned from this room", to.to_bare())));
            }
            if invitations.len() >= MOST_INVITED {
                return Err(Refusal::policy_violation().saying("too many are invited at once"));
            }
            invitations.push((to, invite));
        }
        for _ in &invitations {
            self.charge_presence(&account, now)?;
        }
        if self.configuration().members_only {
            // §9.5: whoever is invited may come in.
            let newcomers = invitations.iter().map(|(to, _)| to.to_bare());
            let newcomers: Vec<BareJid> =
                newcomers.filter(|invited| self.affiliation(invited) == Affiliation::None).collect();
            self.admit(&newcomers, now, effects)?;
        }
        let inviter = self.name_of(from, &account);
        for (to, invite) in invitations {
            let reason = invite.child(USER, "reason").map(|reason| reason.text().into_owned());
            let goes_on =
                invite.child(USER, "continue").map(|goes_on| goes_on.attribute("thread").map(|t| t.into_owned()));
            let invitation = Invitation { inviter: &inviter, reason: reason.as_deref(), goes_on: goes_on.as_ref() };
            effects.say(self.invitation(&to, &invitation, said.id.as_deref()));
        }
        Ok(())
    }

    /// Who may invite: occupants; into a members-only room admins, and members where the owner allows it.
    fn check_inviter(&self, from: &Jid, account: &BareJid) -> Result<(), Refusal> {
        let affiliation = self.affiliation(account);
        if self.occupants.of(from).is_none() && !affiliation.is_admin() {
            return Err(Refusal::not_acceptable().saying("only occupants may invite others"));
        }
        if self.is_locked() {
            return Err(Refusal::item_not_found().saying("this room is not ready yet"));
        }
        let configuration = self.configuration();
        if configuration.members_only && !affiliation.is_admin() && !configuration.invites {
            return Err(Refusal::forbidden().saying("only admins may invite others into this room"));
        }
        if self.role(account) < Role::Participant && !affiliation.is_admin() {
            return Err(Refusal::forbidden().saying("visitors may not invite others into this room"));
        }
        Ok(())
    }

    /// Makes members of those who are invited into a members-only room, in the name of the room.
    fn admit(&mut self, accounts: &[BareJid], now: Moment, effects: &mut Effects) -> Result<(), Refusal> {
        let member = |account: &BareJid| AffiliationWish::plain(account.clone(), Affiliation::Member);
        let wishes: Vec<AffiliationWish> = accounts.iter().map(member).collect();
        self.set_affiliations(&wishes, None, None, now, effects)
    }

    /// The address by which the inviter is named: his nickname where his real address is hidden.
    pub(super) fn name_of(&self, from: &Jid, account: &BareJid) -> Jid {
        match self.occupants.of(from).or_else(|| self.occupants.of_account(account).next()) {
            Some(occupant) if !self.configuration().is_non_anonymous() => {
                self.occupant_address(&occupant.nick.name).into()
            }
            None if !self.configuration().is_non_anonymous() => self.address.clone().into(),
            _ => account.clone().into(),
        }
    }

    /// An invitation as the room passes it on.
    pub(super) fn invitation(&self, to: &Jid, invitation: &Invitation<'_>, id: Option<&str>) -> Stanza {
        let mut said = message(MessageType::Normal, |writer| {
            writer.open("x").attribute("xmlns", USER);
            writer.open("invite").attribute("from", invitation.inviter.as_str());
            if let Some(reason) = invitation.reason.filter(|reason| reason.len() <= MOST_REASON) {
                writer.open("reason").text(reason).close();
            }
            if let Some(thread) = invitation.goes_on {
                writer.open("continue").optional_attribute("thread", thread.as_deref()).close();
            }
            writer.close();
            if let Some(password) = &self.configuration().password {
                writer.open("password").text(password).close();
            }
            writer.close();
        });
        said.id = Some(id.map_or_else(waxwing_core::random::token, str::to_owned).into());
        said.from(self.address.clone()).to(to.clone())
    }

    /// Somebody does not want to come: whoever has invited him is told. Only who has to do with the room is told
    /// anything, or anybody could write to anybody through it.
    pub(super) fn decline(
        &mut self,
        said: &Stanza,
        decline: Child<'_>,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let inviter = decline.attribute("to").and_then(|to| address::read(&to).ok());
        let Some(inviter) = inviter else { return Err(Refusal::jid_malformed()) };
        self.charge_presence(&from.to_bare(), now)?;
        let is_here = inviter.to_bare() == self.address;
        let devices: Vec<Jid> = match inviter.resource().filter(|_| is_here) {
            Some(nick) => self
                .occupants
                .named(nick)
                .into_iter()
                .flat_map(|occupant| &occupant.devices)
                .map(|device| device.jid.clone())
                .collect(),
            None => {
                let account = inviter.to_bare();
                let present: Vec<Jid> = self
                    .occupants
                    .of_account(&account)
                    .flat_map(|occupant| &occupant.devices)
                    .map(|device| device.jid.clone())
                    .collect();
                if present.is_empty() && self.affiliation(&account) >= Affiliation::Member {
                    vec![account.into()]
                } else {
                    present
                }
            }
        };
        let reason = decline.child(USER, "reason").map(|reason| reason.text().into_owned());
        let mut told = message(MessageType::Normal, |writer| {
            writer.open("x").attribute("xmlns", USER);
            writer.open("decline").attribute("from", from.to_bare().as_str());
            if let Some(reason) = reason.as_deref().filter(|reason| reason.len() <= MOST_REASON) {
                writer.open("reason").text(reason).close();
            }
            writer.close().close();
        });
        told.from = Some(self.address.clone().into());
        told.id = said.id.clone();
        effects.deliveries.extend(devices.into_iter().map(|device| told.clone().to(device)));
        Ok(())
    }
}

/// What an invitation says.
pub(super) struct Invitation<'a> {
    /// Who invites.
    pub inviter: &'a Jid,
    /// Why.
    pub reason: Option<&'a str>,
    /// Whether a chat goes on in the room, and of which thread (§7.9).
    pub goes_on: Option<&'a Option<String>>,
}
