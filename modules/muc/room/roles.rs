//! Changing roles: kicking, giving and taking voice, making moderators (XEP-0045 §8.2 to §8.5, §9.6 to §9.8).

use waxwing_core::address::{Jid, ResourcePart};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;

use super::Room;
use super::speaking::Word;
use crate::affiliation::Role;
use crate::effects::Effects;
use crate::moment::Moment;
use crate::occupants::Occupant;
use crate::privileges::{Standing, may_change_role};
use crate::protocol::status;

/// Which role somebody shall have.
#[derive(Clone, Debug)]
pub(super) struct RoleWish {
    /// Whose.
    pub nick: ResourcePart,
    /// Which.
    pub role: Role,
    /// Why.
    pub reason: Option<String>,
}

impl Room {
    /// Changes the roles of several occupants, all or none of them. `request` is answered before all others are told
    /// (§8.2).
    pub(super) fn change_roles(
        &mut self,
        from: &Jid,
        wishes: &[RoleWish],
        request: Option<&Stanza>,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let account = from.to_bare();
        let actor = Standing { affiliation: self.affiliation(&account), role: self.role(&account) };
        for wish in wishes {
            let Some(target) = self.occupants.named(&wish.nick) else {
                // Who may do nothing learns nothing about who is here.
                let nobody = Standing { affiliation: crate::affiliation::Affiliation::None, role: Role::None };
                may_change_role(actor, nobody, wish.role, false)?;
                return Err(Refusal::item_not_found().saying("nobody has this nickname"));
            };
            let standing = Standing { affiliation: self.affiliation(&target.account), role: target.role };
            may_change_role(actor, standing, wish.role, target.account == account)?;
        }
        let actor_nick = self.nick_of(from);
        let mut kicked: Vec<(Occupant, Option<&str>)> = Vec::new();
        for wish in wishes.iter().filter(|wish| wish.role == Role::None) {
            if let Some(occupant) = self.occupants.remove(&wish.nick) {
                kicked.push((occupant, wish.reason.as_deref()));
            }
        }
        let word = |reason| Word {
            leaves: true,
            statuses: &[status::KICKED],
            actor: actor_nick.as_deref(),
            reason,
            ..Word::default()
        };
        for (occupant, reason) in &kicked {
            self.tell_self(occupant, &word(*reason), &mut effects.deliveries);
        }
        if let Some(request) = request {
            effects.answer(request, None);
        }
        for (occupant, reason) in &kicked {
            self.tell_others(occupant, &word(*reason), &mut effects.deliveries);
        }
        for wish in wishes.iter().filter(|wish| wish.role != Role::None) {
            self.give_role(wish, now, effects);
        }
        let kicked: Vec<Occupant> = kicked.into_iter().map(|(occupant, _)| occupant).collect();
        self.after_leaving(&kicked, effects);
        Ok(())
    }

    fn give_role(&mut self, wish: &RoleWish, _now: Moment, effects: &mut Effects) {
        let Some(occupant) = self.occupants.named_mut(&wish.nick) else { return };
        let before = std::mem::replace(&mut occupant.role, wish.role);
        if before == wish.role {
            return;
        }
        let occupant = occupant.clone();
        self.remember_role(&occupant.account, wish.role);
        let word = Word { reason: wish.reason.as_deref(), ..Word::default() };
        self.tell_new_role(&occupant, before, &word, effects);
    }

    /// Tells everyone that somebody has another role now. Whoever may see more from now on is shown more.
    pub(super) fn tell_new_role(&self, occupant: &Occupant, before: Role, word: &Word<'_>, effects: &mut Effects) {
        let deliveries = &mut effects.deliveries;
        match (self.shows(before), self.shows(occupant.role)) {
            // For those who saw him and shall not see him any more he leaves.
            (true, false) => {
                let leaves = Word { leaves: true, ..*word };
                self.tell_others_if(occupant, &leaves, true, deliveries);
                self.tell_others(occupant, word, deliveries);
            }
            _ => self.tell_others(occupant, word, deliveries),
        }
        self.tell_self(occupant, word, deliveries);
        let sees_more = occupant.role == Role::Moderator
            && before != Role::Moderator
            && (!self.configuration().is_non_anonymous() || !Role::ALL[1..].iter().all(|role| self.shows(*role)));
        if sees_more {
            for device in &occupant.devices {
                self.show_room(occupant, &device.jid, deliveries);
            }
        }
    }

    /// By which nickname somebody does something; none for an admin who is not in the room.
    pub(super) fn nick_of(&self, from: &Jid) -> Option<String> {
        let account = from.to_bare();
        let occupant = self.occupants.of(from).or_else(|| self.occupants.of_account(&account).next());
        occupant.map(|occupant| occupant.nick.name.as_str().to_owned())
    }
}
