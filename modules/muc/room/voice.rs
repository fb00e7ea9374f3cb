//! Asking for voice (XEP-0045 §7.13), and being given it (§8.6).

use waxwing_core::address::{self, Jid, ResourcePart};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::MessageType;

use super::Room;
use super::roles::RoleWish;
use crate::affiliation::Role;
use crate::assemble::message;
use crate::effects::Effects;
use crate::form::{Form, FormWriter};
use crate::moment::Moment;
use crate::protocol::REQUEST;

impl Room {
    /// A form about voice: a visitor asks, or a moderator answers.
    pub(super) fn hear_voice_form(
        &mut self,
        form: &Form,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let Some(occupant) = self.occupants.of(from).cloned() else {
            return Err(Refusal::not_acceptable().saying("only occupants may ask for voice"));
        };
        if let Some(allow) = form.boolean("muc#request_allow")? {
            return if allow { self.grant_voice(form, from, now, effects) } else { Ok(()) };
        }
        if form.text("muc#role").is_some_and(|role| role != Role::Participant.name()) {
            return Err(Refusal::bad_request().saying("a visitor can ask for the role of a participant"));
        }
        if occupant.role != Role::Visitor {
            return Err(Refusal::not_acceptable().saying("you have a voice already"));
        }
        self.charge_presence(&occupant.account, now)?;
        let nick = occupant.nick.name.as_str();
        let jid = occupant.shown().jid.as_str();
        let mut asked = message(MessageType::Normal, |writer| {
            let instructions = "To approve this request for voice, select the \"Grant voice to this person?\" checkbox \
                                and click OK. To skip this request, click the cancel button.";
            let mut form = FormWriter::form(writer, REQUEST, "Voice request", instructions);
            form.field("list-single", "muc#role", "Requested role", [Role::Participant.name()]);
            form.field("jid-single", "muc#jid", "User ID", [jid]);
            form.field("text-single", "muc#roomnick", "Room Nickname", [nick]);
            form.field("boolean", "muc#request_allow", "Grant voice to this person?", ["false"]);
            form.close();
        });
        asked.from = Some(self.address.clone().into());
        asked.id = Some(waxwing_core::random::token().into());
        for (_, device) in self.occupants.devices().filter(|(occupant, _)| occupant.role == Role::Moderator) {
            effects.say(asked.clone().to(device.jid.clone()));
        }
        Ok(())
    }

    /// A moderator approves.
    fn grant_voice(&mut self, form: &Form, from: &Jid, now: Moment, effects: &mut Effects) -> Result<(), Refusal> {
        let nick =
            form.text("muc#roomnick").and_then(|nick| ResourcePart::new(nick).ok()).map(|nick| nick.into_owned());
        let asked = nick.as_ref().and_then(|nick| self.occupants.named(nick));
        // Meanwhile somebody else may have the nickname.
        let is_same = form
            .text("muc#jid")
            .and_then(|jid| address::read(jid).ok())
            .is_none_or(|jid| asked.is_some_and(|asked| asked.account == jid.to_bare()));
        let (Some(nick), Some(asked), true) = (&nick, asked, is_same) else {
            return Err(Refusal::item_not_found().saying("whoever asked is not in the room any more"));
        };
        if asked.role.has_voice() {
            return Ok(());
        }
        let wish = RoleWish { nick: nick.clone(), role: Role::Participant, reason: None };
        self.change_roles(from, &[wish], None, now, effects)
    }
}
