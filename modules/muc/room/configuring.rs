//! Configuring a room: the first time, which unlocks it, and later (XEP-0045 §10.1, §10.2).

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::Child;

use super::Room;
use super::affiliations::AffiliationWish;
use super::speaking::Word;
use crate::affiliation::{Affiliation, Role};
use crate::assemble::payload;
use crate::configuration::{Configuration, Roles};
use crate::configuration_form::{self, Bounds, Wish};
use crate::effects::{Change, Effects};
use crate::form::{Form, FormType};
use crate::moment::Moment;
use crate::protocol::{OWNER, status};

impl Room {
    fn bounds(&self) -> Bounds {
        Bounds { occupants: self.settings().most_occupants(), history: self.settings().history.get() }
    }

    /// An owner asks for the form.
    pub(super) fn show_configuration(
        &self,
        request: &Stanza,
        from: &Jid,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_owner(from)?;
        let with = |affiliation| -> Vec<&BareJid> {
            self.records.affiliations.with(affiliation).map(|(account, _)| account).collect()
        };
        let form = payload(|writer| {
            writer.open("query").attribute("xmlns", OWNER);
            let (admins, owners) = (with(Affiliation::Admin), with(Affiliation::Owner));
            configuration_form::write(writer, self.configuration(), &self.address, self.bounds(), &admins, &owners);
            writer.close();
        });
        effects.answer(request, form);
        Ok(())
    }

    /// An owner configures or destroys the room.
    pub(super) fn own(
        &mut self,
        request: &Stanza,
        from: &Jid,
        query: Child<'_>,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_owner(from)?;
        if let Some(destroy) = query.child(OWNER, "destroy") {
            self.destroy(Some(destroy), effects);
            effects.answer(request, None);
            return Ok(());
        }
        let Some(form) = Form::inside(query)? else {
            return Err(Refusal::bad_request().saying("a room is configured or destroyed"));
        };
        match form.kind {
            // §10.1.3, §10.2.
            FormType::Cancel if self.is_locked() => self.destroy(None, effects),
            FormType::Cancel => {}
            FormType::Submit => {
                let before = self.configuration().clone();
                let wish = configuration_form::read(&form, &before, self.bounds())?;
                self.configure(wish, from, now, effects)?;
            }
        }
        effects.answer(request, None);
        Ok(())
    }

    /// §10.2: only owners.
    pub(super) fn check_owner(&self, from: &Jid) -> Result<(), Refusal> {
        if self.affiliation(&from.to_bare()) == Affiliation::Owner {
            return Ok(());
        }
        Err(Refusal::forbidden().saying("only owners may do this"))
    }

    fn configure(&mut self, wish: Wish, from: &Jid, now: Moment, effects: &mut Effects) -> Result<(), Refusal> {
        let wishes = self.list_wishes(&wish);
        if !wishes.is_empty() {
            self.change_affiliations(from, &wishes, None, now, effects)?;
        }
        let was_locked = self.locked.take().is_some();
        let was_logged = self.is_logged();
        let before = std::mem::replace(&mut self.records.configuration, wish.configuration);
        if was_locked {
            effects.changes = vec![Change::Created(Box::new(self.records.clone()))];
        } else if before != *self.configuration() {
            effects.changes.push(Change::Configured(Box::new(self.configuration().clone())));
        }
        if was_locked || before.archive_days != self.configuration().archive_days {
            effects.keep_for_days = Some(self.configuration().archive_days);
        }
        if !was_locked {
            self.announce_configuration(&before, was_logged, effects);
        }
        self.follow_configuration(&before, effects);
        Ok(())
    }

    /// Makes of the full lists in the form what changes in them (§10.5, §10.8). Who is an owner no more is an admin, and
    /// who is an admin no more is a member, so that nobody loses the room.
    fn list_wishes(&self, wish: &Wish) -> Vec<AffiliationWish> {
        let is_in =
            |list: &Option<Vec<BareJid>>, account: &BareJid| list.as_ref().is_some_and(|list| list.contains(account));
        let mut wishes: Vec<AffiliationWish> = Vec::new();
        let mut want = |account: &BareJid, affiliation: Affiliation| {
            let is_new = !wishes.iter().any(|known: &AffiliationWish| known.address == *account);
            if is_new && self.records.affiliations.of(account) != affiliation {
                wishes.push(AffiliationWish::plain(account.clone(), affiliation));
            }
        };
        for account in wish.owners.iter().flatten() {
            want(account, Affiliation::Owner);
        }
        for account in wish.admins.iter().flatten() {
            let stays_owner = match &wish.owners {
                Some(owners) => owners.contains(account),
                None => self.affiliation(account) == Affiliation::Owner,
            };
            if !stays_owner {
                want(account, Affiliation::Admin);
            }
        }
        for (account, entry) in self.records.affiliations.all() {
            let is_gone = match entry.affiliation {
                Affiliation::Owner => wish.owners.is_some() && !is_in(&wish.owners, account),
                Affiliation::Admin => {
                    wish.admins.is_some() && !is_in(&wish.admins, account) && !is_in(&wish.owners, account)
                }
                _ => false,
            };
            if is_gone && !is_in(&wish.admins, account) {
                let lower = match entry.affiliation {
                    Affiliation::Owner if wish.admins.is_none() => Affiliation::Admin,
                    _ => Affiliation::Member,
                };
                want(account, lower);
            }
        }
        wishes
    }

    /// §10.2.1.
    fn announce_configuration(&self, before: &Configuration, was_logged: bool, effects: &mut Effects) {
        let mut codes = Vec::new();
        match (was_logged, self.is_logged()) {
            (false, true) => codes.push(status::LOGGED),
            (true, false) => codes.push(status::NOT_LOGGED),
            _ => {}
        }
        match (before.is_non_anonymous(), self.configuration().is_non_anonymous()) {
            (false, true) => codes.push(status::NOW_NON_ANONYMOUS),
            (true, false) => codes.push(status::NOW_SEMI_ANONYMOUS),
            _ => {}
        }
        let rest = Configuration { whois: self.configuration().whois, ..before.clone() };
        if rest != *self.configuration() {
            codes.push(status::CONFIGURATION_CHANGED);
        }
        self.announce_statuses(&codes, &mut effects.deliveries);
    }

    /// What another configuration changes for those who are in the room.
    fn follow_configuration(&mut self, before: &Configuration, effects: &mut Effects) {
        let (was_moderated, broadcast) = (before.moderated, before.broadcast);
        if self.configuration().members_only && !before.members_only {
            self.remove_non_members(effects);
        }
        if was_moderated && !self.configuration().moderated {
            // Nobody has to ask for voice any more.
            self.given_roles.retain(|(_, role)| role.has_voice());
            let visitors = self.occupants.iter_mut().filter(|occupant| occupant.role == Role::Visitor);
            let given: Vec<_> = visitors
                .map(|occupant| {
                    occupant.role = Role::Participant;
                    occupant.clone()
                })
                .collect();
            for occupant in &given {
                self.tell_new_role(occupant, Role::Visitor, &Word::default(), effects);
            }
        }
        self.follow_broadcast(broadcast, effects);
        if self.occupants.is_empty() && !self.configuration().persistent && !effects.over {
            effects.changes.push(Change::Destroyed { sealed: false });
            effects.over = true;
        }
    }

    /// Those whose presence is shown from now on come, and those whose presence is not shown any more go.
    fn follow_broadcast(&self, before: Roles, effects: &mut Effects) {
        for occupant in self.occupants.iter() {
            let word = match (before.contains(occupant.role), self.shows(occupant.role)) {
                (false, true) => Word::default(),
                (true, false) => Word { leaves: true, ..Word::default() },
                _ => continue,
            };
            for listener in self.occupants.iter().filter(|listener| listener.role != Role::Moderator) {
                if listener.nick.name != occupant.nick.name {
                    self.tell_one(occupant, listener, &word, &mut effects.deliveries);
                }
            }
        }
    }
}
