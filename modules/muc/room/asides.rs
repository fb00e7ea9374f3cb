//! Messages to the room that are for the room: invitations, their refusal, requests for voice and for membership.

use waxwing_core::address::Jid;
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;

use super::Room;
use crate::effects::Effects;
use crate::form::{Form, FormType};
use crate::moment::Moment;
use crate::protocol::{FORM, REGISTER_FORM, REQUEST, USER};

impl Room {
    /// A message to the room that is not of the type groupchat.
    pub(super) fn hear_aside(
        &mut self,
        message: &Stanza,
        from: &Jid,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        if let Some(x) = message.payload(USER, "x") {
            if x.child(USER, "invite").is_some() {
                return self.invite(message, x, from, now, effects);
            }
            if let Some(decline) = x.child(USER, "decline") {
                return self.decline(message, decline, from, now, effects);
            }
        }
        if let Some(form) = message.payload(FORM, "x") {
            let form = Form::read(form)?;
            if form.kind == FormType::Cancel {
                return Ok(());
            }
            return match form.text("FORM_TYPE") {
                Some(REQUEST) => self.hear_voice_form(&form, from, now, effects),
                Some(REGISTER_FORM) => self.hear_petition_form(&form, from, now, effects),
                _ => Err(Refusal::bad_request().saying("the room does not know this form")),
            };
        }
        // §17.2.
        Err(Refusal::bad_request().saying("a message to all is of the type groupchat"))
    }
}
