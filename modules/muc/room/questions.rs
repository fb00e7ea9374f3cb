//! Questions to the room itself: which subject they belong to (XEP-0045 §17.4).

use waxwing_core::address::Jid;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::{IqType, MessageType, Stanza, StanzaType};

use super::Room;
use super::speaking::Word;
use crate::affiliation::Affiliation;
use crate::assemble::payload;
use crate::effects::{Change, Effects};
use crate::form::{Form, FormType, FormWriter};
use crate::moment::Moment;
use crate::protocol::{
    ADMIN, COMMANDS, DISCO_INFO, DISCO_ITEMS, FASTEN, MAM, MENTIONS, MODERATE, OWNER, PING, REGISTER, VCARD,
};

impl Room {
    /// Somebody asks the room something, or wants it to do something.
    pub(super) fn hear_question(
        &mut self,
        request: &Stanza,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let affiliation = self.affiliation(&from.to_bare());
        if self.is_locked() && affiliation != Affiliation::Owner {
            return Err(Refusal::item_not_found().saying("this room is not ready yet"));
        }
        let Some(payload) = request.payloads().next() else { return Err(Refusal::bad_request()) };
        let is_set = request.what == StanzaType::Iq(IqType::Set);
        match (payload.namespace(), payload.name(), is_set) {
            (DISCO_INFO, "query", false) => self.describe(request, from, payload, effects),
            (DISCO_ITEMS, "query", false) => self.list_items(request, from, payload, effects),
            (PING, "ping", false) => {
                effects.answer(request, None);
                Ok(())
            }
            (ADMIN, "query", false) => self.list(request, from, payload, effects),
            (ADMIN, "query", true) => self.administrate(request, from, payload, now, effects),
            (OWNER, "query", false) => self.show_configuration(request, from, effects),
            (OWNER, "query", true) => self.own(request, from, payload, now, effects),
            (REGISTER, "query", false) => self.show_registration(request, from, effects),
            (REGISTER, "query", true) => self.register(request, from, payload, now, effects),
            (MODERATE, "moderate", true) | (FASTEN, "apply-to", true) => self.moderate(request, from, payload, effects),
            (VCARD, "vCard", false) => {
                effects.card_query = Some(request.clone());
                Ok(())
            }
            (VCARD, "vCard", true) => self.set_card(request, from, payload, effects),
            (MAM, ..) => self.admit_to_archive(request, from, effects),
            (COMMANDS, "command", true) => self.command(request, from, payload, effects),
            (MENTIONS, "query", false) => {
                effects.answer(request, self.mention_form());
                Ok(())
            }
            (MENTIONS, "query", true) => {
                self.check_owner(from)?;
                let form = Form::inside(payload)?.filter(|form| form.kind == FormType::Submit && form.is_of(MENTIONS));
                let form = form.ok_or_else(Refusal::bad_request)?;
                self.set_mentions(request, &form, effects)
            }
            _ => Err(Refusal::service_unavailable()),
        }
    }

    /// Who may enter may read what was said (XEP-0313 §6.1.2). In a room with a password only who is in it has shown
    /// that he knows it.
    fn admit_to_archive(&self, request: &Stanza, from: &Jid, effects: &mut Effects) -> Result<(), Refusal> {
        if !self.rules.has_archive {
            return Err(Refusal::service_unavailable());
        }
        let account = from.to_bare();
        let affiliation = self.affiliation(&account);
        let configuration = self.configuration();
        let may = match affiliation {
            Affiliation::Outcast => false,
            Affiliation::None if configuration.members_only => false,
            Affiliation::None if configuration.password.is_some() => {
                self.occupants.of_account(&account).next().is_some()
            }
            _ => true,
        };
        if !may {
            return Err(Refusal::forbidden().saying("you may not read the archive of this room"));
        }
        effects.archive_query = Some(request.clone());
        Ok(())
    }

    fn mention_form(&self) -> Option<waxwing_core::xml::Element> {
        payload(|writer| {
            writer.open("query").attribute("xmlns", MENTIONS);
            self.configuration().mentions.write_form(writer);
            writer.close();
        })
    }

    /// An owner says who may mention whom (XEP-0513 §3.6).
    fn set_mentions(&mut self, request: &Stanza, form: &Form, effects: &mut Effects) -> Result<(), Refusal> {
        let before = self.configuration().mentions;
        let after = before.read_form(form)?;
        self.records.configuration.mentions = after;
        effects.answer(request, None);
        if before == after {
            return Ok(());
        }
        effects.changes.push(Change::Configured(Box::new(self.configuration().clone())));
        let told = |writer: &mut waxwing_core::xml::Writer| {
            let mut form = FormWriter::result(writer, MENTIONS);
            after.write_fields(&mut form, Some(&before));
            form.close();
        };
        self.announce(MessageType::Groupchat, told, &mut effects.deliveries);
        Ok(())
    }

    /// Tells everyone anew who somebody is: his hats have changed.
    pub(super) fn show_again(&self, account: &waxwing_core::address::BareJid, effects: &mut Effects) {
        for occupant in self.occupants.of_account(account) {
            self.tell_all(occupant, &Word::default(), &mut effects.deliveries);
        }
    }
}
