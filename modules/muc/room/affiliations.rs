//! Changing affiliations: banning, members, admins, owners, and what follows for those who are in the room (XEP-0045
//! §9.1 to §9.5, §10.3 to §10.8).

use std::collections::HashMap;

use waxwing_core::address::{BareJid, Jid, ResourcePart};
use waxwing_core::refusal::Refusal;
use waxwing_core::stanza::Stanza;

use super::Room;
use super::inviting::Invitation;
use super::speaking::{Versions, Word};
use crate::affiliation::{Affiliation, Role, role_after};
use crate::effects::{Change, Effects};
use crate::moment::Moment;
use crate::nickname;
use crate::occupants::Occupant;
use crate::privileges::may_change_affiliation;
use crate::protocol::status;
use crate::records::{Affiliated, Nick};

/// Which affiliation somebody shall have.
#[derive(Clone, Debug)]
pub(super) struct AffiliationWish {
    /// Whose: an account, or a whole domain.
    pub address: BareJid,
    /// Which.
    pub affiliation: Affiliation,
    /// The nickname to reserve for him: none leaves what is, an empty one takes it away.
    pub nick: Option<Option<ResourcePart>>,
    /// Why.
    pub reason: Option<String>,
}

impl AffiliationWish {
    /// Without a nickname or a reason.
    pub(super) fn plain(address: BareJid, affiliation: Affiliation) -> AffiliationWish {
        AffiliationWish { address, affiliation, nick: None, reason: None }
    }
}

/// What came of one wish.
struct Done {
    before: Affiliation,
    after: Affiliation,
    versions: Versions,
    reason: Option<String>,
}

impl Room {
    /// Somebody changes affiliations, all of these or none. `request` is answered as soon as it is done.
    pub(super) fn change_affiliations(
        &mut self,
        from: &Jid,
        wishes: &[AffiliationWish],
        request: Option<&Stanza>,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        let account = from.to_bare();
        let actor = self.affiliation(&account);
        for wish in wishes {
            let before = self.records.affiliations.of(&wish.address);
            may_change_affiliation(actor, before, wish.affiliation, wish.address == account)?;
        }
        self.set_affiliations(wishes, Some(from), request, now, effects)
    }

    /// Changes affiliations, all of these or none; whether somebody may has been decided. `from` is whose doing it is.
    pub(super) fn set_affiliations(
        &mut self,
        wishes: &[AffiliationWish],
        from: Option<&Jid>,
        request: Option<&Stanza>,
        now: Moment,
        effects: &mut Effects,
    ) -> Result<(), Refusal> {
        self.check_wishes(wishes)?;
        let before: Vec<(BareJid, Affiliation)> = self
            .occupants
            .iter()
            .map(|occupant| (occupant.account.clone(), self.affiliation(&occupant.account)))
            .collect();
        let mut done: HashMap<BareJid, Done> = HashMap::new();
        let mut entries = Vec::new();
        for wish in wishes {
            if let Some((entry, outcome)) = self.note_affiliation(wish, now) {
                entries.push((wish.address.clone(), entry));
                done.insert(wish.address.clone(), outcome);
            }
        }
        if !entries.is_empty() {
            effects.changes.push(Change::Affiliated(entries));
        }
        if let Some(forgotten) = self.records.affiliations.forget() {
            self.records.forgotten = forgotten;
            effects.changes.push(Change::Forgotten(forgotten));
        }
        self.follow_affiliations(&before, &done, from, request, effects);
        Ok(())
    }

    /// Whether the wishes together make sense.
    fn check_wishes(&self, wishes: &[AffiliationWish]) -> Result<(), Refusal> {
        let mut after: HashMap<&BareJid, &AffiliationWish> = HashMap::new();
        for wish in wishes {
            if after.insert(&wish.address, wish).is_some() {
                return Err(Refusal::bad_request().saying("somebody is named twice"));
            }
            if wish.address.node().is_none() && wish.affiliation.is_admin() {
                return Err(Refusal::not_acceptable().saying("a whole domain can be a member or banned, no more"));
            }
            let Some(Some(nick)) = &wish.nick else { continue };
            nickname::check(nick, self.settings().nick_bytes.get())?;
            self.check_nick(&Nick::new(nick.clone()), &wish.address)?;
        }
        // §10.2, §10.4: there is always an owner.
        let stays = |account: &BareJid| after.get(account).is_none_or(|wish| wish.affiliation == Affiliation::Owner);
        let owners = self.records.affiliations.with(Affiliation::Owner);
        let comes = wishes.iter().any(|wish| wish.affiliation == Affiliation::Owner);
        if !comes && !owners.map(|(account, _)| account).any(stays) {
            return Err(Refusal::conflict().saying("a room needs an owner, and this was the last one"));
        }
        let newcomers = wishes.iter().filter(|wish| {
            wish.affiliation != Affiliation::None && self.records.affiliations.entry(&wish.address).is_none()
        });
        let count = self.records.affiliations.count() + newcomers.count();
        if !self.settings().affiliations.allows(count) {
            return Err(Refusal::policy_violation().saying("too many are affiliated with this room"));
        }
        Ok(())
    }

    /// Notes one affiliation; nothing when it is as wished already.
    fn note_affiliation(&mut self, wish: &AffiliationWish, now: Moment) -> Option<(Affiliated, Done)> {
        let known = self.records.affiliations.entry(&wish.address).cloned();
        let before = known.as_ref().map_or(Affiliation::None, |entry| entry.affiliation);
        let kept_nick = known.as_ref().and_then(|entry| entry.nick.clone());
        let nick = match &wish.nick {
            // §9.1: who is banned has no reserved nickname, and who is nobody neither.
            _ if wish.affiliation <= Affiliation::None => None,
            Some(nick) => nick.clone().map(Nick::new),
            None => kept_nick,
        };
        let is_same = known.as_ref().is_some_and(|entry| {
            entry.affiliation == wish.affiliation
                && entry.nick == nick
                && (wish.reason.is_none() || entry.reason == wish.reason)
        });
        if is_same || (known.is_none() && wish.affiliation == Affiliation::None) {
            return None;
        }
        let since = self.records.version;
        let version = self.records.next_version(now.milliseconds);
        let entry = Affiliated { affiliation: wish.affiliation, nick, reason: wish.reason.clone(), version };
        self.records.affiliations.set(wish.address.clone(), entry.clone());
        self.given_roles.retain(|(account, _)| *account != wish.address);
        self.petitions.remove(&wish.address);
        let versions = Versions { since: Some(since), until: version };
        let reason = wish.reason.clone();
        Some((entry, Done { before, after: wish.affiliation, versions, reason }))
    }

    /// What follows for those who are in the room, and who is told.
    fn follow_affiliations(
        &mut self,
        before: &[(BareJid, Affiliation)],
        done: &HashMap<BareJid, Done>,
        from: Option<&Jid>,
        request: Option<&Stanza>,
        effects: &mut Effects,
    ) {
        let actor = from.and_then(|from| self.nick_of(from));
        let mut removed: Vec<(Occupant, u16)> = Vec::new();
        let mut changed: Vec<(Occupant, Role)> = Vec::new();
        for nick in self.occupants.iter().map(|occupant| occupant.nick.name.clone()).collect::<Vec<_>>() {
            let Some(occupant) = self.occupants.named(&nick) else { continue };
            let old = before
                .iter()
                .find(|(account, _)| *account == occupant.account)
                .map_or(Affiliation::None, |(_, old)| *old);
            let new = self.affiliation(&occupant.account);
            if old == new && !done.contains_key(&occupant.account) {
                continue;
            }
            if let Some(code) = self.must_leave(new) {
                removed.extend(self.occupants.remove(&nick).map(|occupant| (occupant, code)));
                continue;
            }
            let moderated = self.configuration().moderated;
            let Some(occupant) = self.occupants.named_mut(&nick) else { continue };
            let role = occupant.role;
            occupant.role = role_after(old, new, role, moderated);
            changed.push((occupant.clone(), role));
        }
        let about = |occupant: &Occupant| {
            let domain = BareJid::from_parts(None, occupant.account.domain());
            done.get(&occupant.account).or_else(|| done.get(&domain))
        };
        let farewell = |occupant: &Occupant, code| {
            let about = about(occupant);
            (about.map(|done| done.versions), about.and_then(|done| done.reason.as_deref()), [code])
        };
        for (occupant, code) in &removed {
            let (versions, reason, statuses) = farewell(occupant, *code);
            let word = Word {
                leaves: true,
                statuses: &statuses,
                actor: actor.as_deref(),
                reason,
                versions,
                ..Word::default()
            };
            self.tell_self(occupant, &word, &mut effects.deliveries);
        }
        if let Some(request) = request {
            effects.answer(request, None);
        }
        for (occupant, code) in &removed {
            let (versions, reason, statuses) = farewell(occupant, *code);
            let word = Word {
                leaves: true,
                statuses: &statuses,
                actor: actor.as_deref(),
                reason,
                versions,
                ..Word::default()
            };
            self.tell_others(occupant, &word, &mut effects.deliveries);
        }
        for (occupant, role) in &changed {
            let about = about(occupant);
            let word = Word {
                reason: about.and_then(|done| done.reason.as_deref()),
                versions: about.map(|done| done.versions),
                ..Word::default()
            };
            self.tell_new_role(occupant, *role, &word, effects);
        }
        let here: Vec<&BareJid> = removed
            .iter()
            .map(|(occupant, _)| &occupant.account)
            .chain(changed.iter().map(|(occupant, _)| &occupant.account))
            .collect();
        let mut away: Vec<(&BareJid, &Done)> = done.iter().filter(|(account, _)| !here.contains(account)).collect();
        away.sort_by_key(|(_, done)| done.versions.until);
        for (account, done) in away {
            self.announce_affiliation(account, done.after, done.versions, &mut effects.deliveries);
            self.invite_new_member(account, done, from, effects);
        }
        let gone: Vec<Occupant> = removed.into_iter().map(|(occupant, _)| occupant).collect();
        self.after_leaving(&gone, effects);
    }

    /// The status code for somebody of this affiliation who cannot stay (§9.1, §9.4).
    fn must_leave(&self, affiliation: Affiliation) -> Option<u16> {
        match affiliation {
            Affiliation::Outcast => Some(status::BANNED),
            Affiliation::None if self.configuration().members_only => Some(status::LOST_AFFILIATION),
            _ => None,
        }
    }

    /// §9.5: whoever becomes a member of a members-only room is invited.
    fn invite_new_member(&self, account: &BareJid, done: &Done, from: Option<&Jid>, effects: &mut Effects) {
        let becomes_member = done.before == Affiliation::None && done.after >= Affiliation::Member;
        let Some(from) = from else { return };
        if !becomes_member || !self.configuration().members_only || self.is_locked() || account.node().is_none() {
            return;
        }
        let inviter = self.name_of(from, &from.to_bare());
        let invitation = Invitation { inviter: &inviter, reason: done.reason.as_deref(), goes_on: None };
        effects.say(self.invitation(&account.clone().into(), &invitation, None));
    }

    /// An account exists no more. A room that it was the last owner of goes to the next in rank, or is over.
    pub(super) fn forget_account(&mut self, account: &BareJid, now: Moment, effects: &mut Effects) {
        if self.records.affiliations.entry(account).is_none() {
            return;
        }
        let mut wishes = vec![AffiliationWish::plain(account.clone(), Affiliation::None)];
        let others = self.records.affiliations.with(Affiliation::Owner).any(|(owner, _)| owner != account);
        if !others && self.affiliation(account) == Affiliation::Owner {
            let heir = [Affiliation::Admin, Affiliation::Member].into_iter().find_map(|affiliation| {
                let mut heirs = self.records.affiliations.with(affiliation).map(|(heir, _)| heir);
                heirs.find(|heir| *heir != account && heir.node().is_some()).cloned()
            });
            let Some(heir) = heir else { return self.destroy(None, effects) };
            wishes.push(AffiliationWish::plain(heir, Affiliation::Owner));
        }
        // Nothing about these wishes can be refused: an owner remains, and nobody new comes.
        if let Err(refusal) = self.set_affiliations(&wishes, None, None, now, effects) {
            tracing::error!(room = %self.address, %refusal, "muc.account_not_forgotten");
        }
    }

    /// Makes members-only what was open: whoever is not on the list leaves (§10.2).
    pub(super) fn remove_non_members(&mut self, effects: &mut Effects) {
        let strangers =
            self.occupants.iter().filter(|occupant| self.affiliation(&occupant.account) < Affiliation::Member);
        let names: Vec<ResourcePart> = strangers.map(|occupant| occupant.nick.name.clone()).collect();
        let removed: Vec<Occupant> = names.iter().filter_map(|name| self.occupants.remove(name)).collect();
        let word = Word { leaves: true, statuses: &[status::MEMBERS_ONLY], ..Word::default() };
        for occupant in &removed {
            self.tell_self(occupant, &word, &mut effects.deliveries);
            self.tell_others(occupant, &word, &mut effects.deliveries);
        }
        self.after_leaving(&removed, effects);
    }
}
