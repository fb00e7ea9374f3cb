//! Destroying a room (XEP-0045 §10.9).

use waxwing_core::stanza::PresenceType;
use waxwing_core::xml::Child;

use super::Room;
use super::speaking::presence_with;
use crate::assemble::write_occupant_id;
use crate::effects::{Change, Effects};
use crate::protocol::{OWNER, USER};

/// The longest reason and password that are passed on, in bytes.
const MOST_TEXT: usize = 2048;

impl Room {
    /// Destroys the room; `wish` says where to go instead and why.
    pub(super) fn destroy(&mut self, wish: Option<Child<'_>>, effects: &mut Effects) {
        let venue = wish.and_then(|wish| wish.attribute("jid"));
        let venue = venue.and_then(|venue| waxwing_core::address::read(&venue).ok());
        let text = |name: &str| {
            let text = wish?.child(OWNER, name)?.text().into_owned();
            (!text.is_empty() && text.len() <= MOST_TEXT).then_some(text)
        };
        let (password, reason) = (text("password"), text("reason"));
        for occupant in self.occupants.clear() {
            let mut presence = presence_with(PresenceType::Unavailable, std::iter::empty(), |writer| {
                writer.open("x").attribute("xmlns", USER);
                writer.open("item").attribute("affiliation", "none").attribute("role", "none").close();
                writer.open("destroy").optional_attribute("jid", venue.as_ref().map(|venue| venue.as_str()));
                for (name, text) in [("password", &password), ("reason", &reason)] {
                    if let Some(text) = text {
                        writer.open(name).text(text).close();
                    }
                }
                writer.close().close();
                write_occupant_id(writer, &occupant.id);
            });
            presence.from = Some(self.occupant_address(&occupant.nick.name).into());
            effects.deliveries.extend(occupant.devices.iter().map(|device| presence.clone().to(device.jid.clone())));
        }
        if !self.is_locked() {
            effects.changes.push(Change::Destroyed { sealed: self.configuration().persistent });
        }
        effects.over = true;
    }
}
