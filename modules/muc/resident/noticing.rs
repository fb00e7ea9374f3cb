//! What a room notices for those who are not in it (XEP-0437, XEP-0357): who comes and goes, and that something is said.

use std::time::Instant;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::push::{Circle, Urgency, Waiting};

use super::Resident;
use crate::activity::indicator;
use crate::affiliation::Affiliation;
use crate::effects::{Absent, Change, Mention, Reflected, is_encrypted};
use crate::moment::Moment;

impl Resident {
    /// Notes who has come and who has gone, and who is affiliated from now on.
    pub(super) fn notice(&mut self, changes: &[Change], now: Moment) {
        let Some(room) = &mut self.room else { return };
        for step in room.take_moves() {
            let account = step.device.to_bare();
            let occupant = room.occupants().of(&step.device);
            let place = occupant.map(|occupant| self.address.with_resource(&occupant.nick.name));
            self.rooms.courier.note_visit(&step.device, &self.address, place);
            if !room.is_member(&account) {
                continue;
            }
            if step.comes {
                self.pace.enter(account);
            } else {
                self.rooms.activity.left(&step.device, &self.address);
                if room.occupants().of_account(&account).next().is_none() {
                    self.pace.leave(account, now.milliseconds);
                }
            }
        }
        let affiliated = changes.iter().filter_map(|change| match change {
            Change::Affiliated(entries) => Some(entries),
            _ => None,
        });
        for (account, entry) in affiliated.flatten() {
            if entry.affiliation < Affiliation::Member {
                continue;
            }
            self.rooms.activity.joined(account, &self.address);
            if room.occupants().of_account(account).next().is_some() {
                self.pace.enter(account.clone());
            }
        }
    }

    /// Something was said: who listens and is not here is told.
    pub(super) fn stir(&mut self, now: Moment) {
        let Some(room) = &self.room else { return };
        self.pace.stir(now.milliseconds);
        let may_be_told = |device: &Jid| room.occupants().of(device).is_none() && room.is_member(&device.to_bare());
        let devices = self.rooms.activity.stir(&self.address, may_be_told);
        let service = BareJid::from_parts(None, self.address.domain());
        let here = [self.address.clone()];
        self.outbox.extend(devices.into_iter().map(|device| indicator(service.clone(), device, &here)));
    }

    /// Something was said and is kept: the devices of members who are away are called (XEP-0357), as far as these have
    /// accounts here and want it.
    pub(super) fn wake(&self, reflected: &Reflected) {
        let Reflected { said, absent, .. } = reflected;
        let Some(sender) = &said.from else { return };
        let is_readable = said.own_payload("body").is_some() && !is_encrypted(said);
        for Absent { account, mention } in absent {
            let Some(host) = self.rooms.context.house().host(account.domain()) else { continue };
            let Some(push) = host.contracts().push() else { continue };
            let is_mention = *mention > Mention::None;
            push.tell(Waiting {
                account,
                chat: &self.address,
                sender,
                message: said,
                circle: if reflected.is_private { Circle::Private } else { Circle::Public },
                is_mention,
                urgency: if is_mention { Urgency::Urgent } else { Urgency::Normal },
                may_show_body: is_readable,
            });
        }
    }

    /// Writes down what is not kept yet: when it is due, or `all` of it.
    pub(super) async fn write_pace(&self, all: bool) {
        if self.room.as_ref().is_none_or(|room| room.is_locked()) {
            return;
        }
        let Some((active, seen)) = self.pace.to_write(all, (Instant::now(), now_milliseconds())) else { return };
        match self.rooms.store.note_activity(&self.address, active, &seen).await {
            Ok(()) => self.pace.written(active, &seen),
            // Somebody is told once too often.
            Err(error) => tracing::warn!(room = %self.address, %error, "muc.activity_not_noted"),
        }
    }
}
