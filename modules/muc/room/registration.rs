//! Registering with a room: membership and reserved nicknames (XEP-0045 §7.10, §7.12, §9.9).

use waxwing_core::address::{Jid, ResourcePart};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{MessageType, Stanza};
use waxwing_core::xml::Child;

use super::Room;
use super::affiliations::AffiliationWish;
use crate::affiliation::Affiliation;
use crate::assemble::{message, payload};
use crate::configuration::Registration;
use crate::effects::Effects;
use crate::form::{Form, FormType, FormWriter};
use crate::moment::Moment;
use crate::nickname;
use crate::protocol::{REGISTER, REGISTER_FORM};
use crate::records::Nick;

const NICK: &str = "muc#register_roomnick";
const ALLOW: &str = "muc#register_allow";
/// So many may wait for an admin's word.
const MOST_PETITIONS: usize = 50;

impl Room {
    /// Somebody asks what is needed to register.
    pub(super) fn show_registration(&self, request: &Stanza, from: &Jid, effects: &mut Effects) -> Result<(), Refusal> {
        let account = from.to_bare();
        self.check_registration(&account)?;
        let entry = self.records.affiliations.entry(&account);
        let nick = entry.and_then(|entry| entry.nick.as_ref()).map(|nick| nick.name.as_str());
        let form = payload(|writer| {
            writer.open("query").attribute("xmlns", REGISTER);
            if let Some(nick) = nick {
                writer.open("registered").close().open("username").text(nick).close();
            }
            writer.open("instructions").text("Give the nickname that shall be yours in this room.").close();
            let title = format!("Registration with {}", self.address);
            let mut form = FormWriter::form(writer, REGISTER_FORM, &title, "");
            match nick {
                Some(nick) => form.field("text-single", NICK, "Desired Nickname", [nick]),
                None => form.required("text-single", NICK, "Desired Nickname"),
            }
            form.close();
            writer.close();
        });
        effects.answer(request, form);
        Ok(())
    }

    /// Whether somebody may register.
    fn check_registration(&self, account: &waxwing_core::address::BareJid) -> Result<(), Refusal> {
        let configuration = self.configuration();
        match (self.affiliation(account), configuration.registration) {
            (Affiliation::Outcast, _) => Err(Refusal::forbidden().saying("you are banned from this room")),
            // He reserves a nickname, no more.
            (affiliation, _) if affiliation >= Affiliation::Member => Ok(()),
            (_, Registration::Approval) => Ok(()),
            (_, Registration::Open) if !configuration.members_only => Ok(()),
            _ => Err(Refusal::not_allowed().saying("nobody becomes a member of this room by himself")),
        }
    }

    /// Somebody registers, reserves another nickname, or is a member no more.
    pub(super) fn register(
        &mut self,
        request: &Stanza,
        from: &Jid,
        query: Child<'_>,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let account = from.to_bare();
        let affiliation = self.affiliation(&account);
        self.charge_presence(&account, now)?;
        if query.child(REGISTER, "remove").is_some() {
            if self.records.affiliations.entry(&account).is_none() || affiliation == Affiliation::Outcast {
                return Err(Refusal::registration_required().saying("you are not registered with this room"));
            }
            // Admins stay what they are; what they have registered is their nickname.
            let stays = if affiliation.is_admin() { affiliation } else { Affiliation::None };
            let wish = AffiliationWish { nick: Some(None), ..AffiliationWish::plain(account, stays) };
            return self.set_affiliations(&[wish], None, Some(request), now, effects);
        }
        self.check_registration(&account)?;
        let form = Form::inside(query)?.filter(|form| form.kind == FormType::Submit && form.is_of(REGISTER_FORM));
        let nick = form.as_ref().and_then(|form| form.text(NICK)).filter(|nick| !nick.is_empty());
        let Some(nick) = nick else {
            return Err(Refusal::bad_request().saying("fill in the form of the room, with a nickname"));
        };
        let nick = ResourcePart::new(nick).map_err(|_| Refusal::not_acceptable())?.into_owned();
        nickname::check(&nick, self.settings().nick_bytes.get())?;
        self.check_nick(&Nick::new(nick.clone()), &account)?;
        if affiliation < Affiliation::Member && self.configuration().registration == Registration::Approval {
            return self.petition(request, from, nick, effects);
        }
        let affiliation = affiliation.max(Affiliation::Member);
        let wish = AffiliationWish { nick: Some(Some(nick)), ..AffiliationWish::plain(account, affiliation) };
        self.set_affiliations(&[wish], None, Some(request), now, effects)
    }

    /// Somebody asks to become a member: admins are asked (§9.9).
    fn petition(
        &mut self,
        request: &Stanza,
        from: &Jid,
        nick: ResourcePart,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let account = from.to_bare();
        let likeness = nickname::likeness(nick.as_str());
        let is_taken = self.petitions.iter().any(|(other, wanted)| {
            *other != account && wanted.as_ref().is_some_and(|wanted| nickname::likeness(wanted.as_str()) == likeness)
        });
        if is_taken {
            return Err(Refusal::conflict().saying("somebody else wants to have this nickname"));
        }
        if !self.petitions.contains_key(&account) && self.petitions.len() >= MOST_PETITIONS {
            return Err(Refusal::resource_constraint().saying("too many wait to become members of this room"));
        }
        self.petitions.insert(account, Some(nick.clone()));
        effects.answer(request, None);
        let asked = self.petition_form(&nick);
        for (occupant, device) in self.occupants.devices() {
            if self.affiliation(&occupant.account).is_admin() {
                effects.say(asked.clone().to(device.jid.clone()));
            }
        }
        Ok(())
    }

    /// Shows an admin who enters what waits for his word.
    pub(super) fn show_petitions(&self, device: &Jid, effects: &mut Effects) {
        for nick in self.petitions.values().flatten() {
            effects.say(self.petition_form(nick).to(device.clone()));
        }
    }

    fn petition_form(&self, nick: &ResourcePart) -> Stanza {
        let mut asked = message(MessageType::Normal, |writer| {
            let instructions = "To approve this registration request, select the \"Allow this person to register with \
                                the room?\" checkbox and click OK. To skip this request, click the cancel button.";
            let mut form = FormWriter::form(writer, REGISTER_FORM, "Registration request", instructions);
            form.field("text-single", NICK, "Desired Nickname", [nick.as_str()]);
            form.field("boolean", ALLOW, "Allow this person to register with the room?", ["0"]);
            form.close();
        });
        asked.id = Some(waxwing_core::random::token().into());
        asked.from(self.address.clone())
    }

    /// An admin decides about a wish to become a member.
    pub(super) fn hear_petition_form(
        &mut self,
        form: &Form,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if !self.affiliation(&from.to_bare()).is_admin() {
            return Err(Refusal::forbidden().saying("only admins decide who becomes a member"));
        }
        let Some(allow) = form.boolean(ALLOW)? else { return Err(Refusal::bad_request()) };
        let nick = form.text(NICK).map(nickname::likeness).unwrap_or_default();
        let is_meant = |wanted: &Option<ResourcePart>| {
            wanted.as_ref().is_some_and(|wanted| nickname::likeness(wanted.as_str()) == nick)
        };
        let petition = self.petitions.iter().find(|(_, wanted)| is_meant(wanted));
        let Some((account, wanted)) = petition.map(|(account, wanted)| (account.clone(), wanted.clone())) else {
            return Err(Refusal::item_not_found().saying("nobody waits to become a member under this nickname"));
        };
        if allow {
            let wish =
                AffiliationWish { nick: Some(wanted), ..AffiliationWish::plain(account.clone(), Affiliation::Member) };
            self.change_affiliations(from, &[wish], None, now, effects)?;
        }
        self.petitions.remove(&account);
        Ok(())
    }
}
