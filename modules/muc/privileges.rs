//! Who may change whose role and affiliation: the tables of XEP-0045 §5.1.3 and §5.2.2 with the exceptions of §8 to §10.

use waxwing_core::refusal::Refusal;

use crate::affiliation::{Affiliation, Role};

/// Somebody as the tables see him.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// His affiliation.
    pub affiliation: Affiliation,
    /// His role; none when he is not in the room.
    pub role: Role,
}

/// Whether `actor` may give `target` the role `wanted`. `is_self`: both are the same person.
///
/// # Errors
/// `forbidden` when the actor has no such privilege at all, `not-allowed` when he has not over this target, `conflict`
/// when he kicks himself.
pub fn may_change_role(actor: Standing, target: Standing, wanted: Role, is_self: bool) -> Result<(), Refusal> {
    // §8: a moderator; an admin or owner is one even while he is not in the room (§9).
    if actor.role != Role::Moderator && !actor.affiliation.is_admin() {
        return Err(Refusal::forbidden().saying("only moderators may change roles"));
    }
    if target.role == wanted {
        return Ok(());
    }
    match wanted {
        // §8.2.
        Role::None if is_self => Err(Refusal::conflict().saying("leave the room instead of kicking yourself")),
        Role::None if target.affiliation > actor.affiliation => not_over_him(),
        Role::None if target.role == Role::Moderator && !actor.affiliation.is_admin() => not_over_him(),
        Role::None => Ok(()),
        // §9.6.
        Role::Moderator if actor.affiliation.is_admin() => Ok(()),
        Role::Moderator => Err(Refusal::forbidden().saying("only admins may make somebody a moderator")),
        // §9.7, §8.4: nobody takes from an admin or owner what his affiliation gives him.
        Role::Participant | Role::Visitor if target.affiliation.is_admin() => not_over_him(),
        Role::Participant | Role::Visitor if target.role == Role::Moderator => {
            if actor.affiliation.is_admin() {
                Ok(())
            } else {
                not_over_him()
            }
        }
        // §8.3.
        Role::Participant => Ok(()),
        // §8.4: not from those at or above one's own level; to have no affiliation is no level.
        Role::Visitor if target.affiliation >= actor.affiliation && target.affiliation != Affiliation::None => {
            not_over_him()
        }
        Role::Visitor => Ok(()),
    }
}

fn not_over_him() -> Result<(), Refusal> {
    Err(Refusal::not_allowed().saying("the affiliation of the other is too high for that"))
}

/// Whether somebody with the affiliation `actor` may change the affiliation of somebody from `before` to `wanted`. That a
/// room keeps an owner is looked after elsewhere, when all changes of a request are known.
///
/// # Errors
/// `forbidden`, `not-allowed` or `conflict` as §9.1, §9.2, §10.5 and §10.8 say, and row S20 of the security list.
pub fn may_change_affiliation(
    actor: Affiliation,
    before: Affiliation,
    wanted: Affiliation,
    is_self: bool,
) -> Result<(), Refusal> {
    use Affiliation::{Admin, Outcast, Owner};
    if is_self && wanted == Outcast && actor.is_admin() {
        return Err(Refusal::conflict().saying("you cannot ban yourself"));
    }
    match actor {
        Owner => Ok(()),
        _ if is_self && before != wanted => {
            Err(Refusal::not_allowed().saying("you cannot change your own affiliation"))
        }
        Admin if wanted < Admin && before < Admin => Ok(()),
        // §9.1: an admin bans an owner, or another admin.
        Admin if wanted == Outcast => not_over_him(),
        Admin => Err(Refusal::forbidden().saying("only owners may edit the lists of admins and owners")),
        _ => Err(Refusal::forbidden().saying("only admins may change affiliations")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Affiliation::{Admin, Member, None as Nobody, Outcast, Owner};
    use Role::{Moderator, None as Gone, Participant, Visitor};

    fn role(actor: (Affiliation, Role), target: (Affiliation, Role), wanted: Role) -> &'static str {
        let standing = |(affiliation, role)| Standing { affiliation, role };
        may_change_role(standing(actor), standing(target), wanted, false)
            .map_or_else(|refusal| refusal.condition.name(), |()| "ok")
    }

    fn affiliation(actor: Affiliation, before: Affiliation, wanted: Affiliation) -> &'static str {
        may_change_affiliation(actor, before, wanted, false).map_or_else(|refusal| refusal.condition.name(), |()| "ok")
    }

    /// §5.1.1, the rows about others: only moderators kick, grant and revoke voice.
    #[test]
    fn s20_whoever_is_no_moderator_changes_no_role() {
        for actor in [(Nobody, Gone), (Nobody, Visitor), (Nobody, Participant), (Member, Participant), (Member, Gone)] {
            for wanted in Role::ALL {
                assert_eq!(role(actor, (Nobody, Visitor), wanted), "forbidden", "{actor:?} {wanted:?}");
            }
        }
    }

    /// The role state chart of §5.1.3.
    #[test]
    fn roles_change_as_the_state_chart_says() {
        let moderator = (Nobody, Moderator);
        for (target, wanted, as_moderator, as_admin) in [
            (Visitor, Gone, "ok", "ok"),
            (Participant, Gone, "ok", "ok"),
            (Moderator, Gone, "not-allowed", "ok"),
            (Visitor, Participant, "ok", "ok"),
            (Participant, Visitor, "ok", "ok"),
            (Visitor, Moderator, "forbidden", "ok"),
            (Participant, Moderator, "forbidden", "ok"),
            (Moderator, Participant, "not-allowed", "ok"),
            (Moderator, Visitor, "not-allowed", "ok"),
        ] {
            assert_eq!(role(moderator, (Nobody, target), wanted), as_moderator, "{target:?} to {wanted:?}");
            for actor in [(Admin, Moderator), (Owner, Moderator), (Owner, Gone)] {
                assert_eq!(role(actor, (Nobody, target), wanted), as_admin, "{actor:?}: {target:?} to {wanted:?}");
            }
        }
    }

    /// §8.2, §8.4 and §9.7: nobody acts against a higher affiliation.
    #[test]
    fn s20_a_higher_affiliation_protects() {
        assert_eq!(role((Member, Moderator), (Admin, Moderator), Gone), "not-allowed");
        assert_eq!(role((Member, Moderator), (Owner, Moderator), Gone), "not-allowed");
        assert_eq!(role((Admin, Moderator), (Owner, Moderator), Gone), "not-allowed");
        assert_eq!(role((Admin, Moderator), (Admin, Moderator), Gone), "ok");
        assert_eq!(role((Nobody, Moderator), (Member, Participant), Gone), "not-allowed");
        for target in [Admin, Owner] {
            for actor in [Member, Admin, Owner] {
                for wanted in [Visitor, Participant] {
                    assert_eq!(role((actor, Moderator), (target, Moderator), wanted), "not-allowed");
                }
            }
        }
        assert_eq!(role((Member, Moderator), (Member, Participant), Visitor), "not-allowed");
        assert_eq!(role((Nobody, Moderator), (Nobody, Participant), Visitor), "ok");
    }

    #[test]
    fn nobody_kicks_himself() {
        let me = Standing { affiliation: Owner, role: Moderator };
        assert_eq!(may_change_role(me, me, Gone, true).unwrap_err().condition.name(), "conflict");
    }

    /// The affiliation state chart of §5.2.2: who may make the change of row and column.
    #[test]
    fn affiliations_change_as_the_state_chart_says() {
        for before in Affiliation::ALL {
            for wanted in Affiliation::ALL {
                if before == wanted {
                    continue;
                }
                assert_eq!(affiliation(Owner, before, wanted), "ok", "owner: {before:?} to {wanted:?}");
                let low = before < Admin && wanted < Admin;
                assert_eq!(affiliation(Admin, before, wanted) == "ok", low, "admin: {before:?} to {wanted:?}");
                for actor in [Outcast, Nobody, Member] {
                    assert_eq!(affiliation(actor, before, wanted), "forbidden", "{actor:?}: {before:?} to {wanted:?}");
                }
            }
        }
    }

    #[test]
    fn s20_an_admin_bans_no_owner_and_edits_no_lists_of_owners() {
        assert_eq!(affiliation(Admin, Owner, Outcast), "not-allowed");
        assert_eq!(affiliation(Admin, Admin, Outcast), "not-allowed");
        assert_eq!(affiliation(Admin, Nobody, Owner), "forbidden");
        assert_eq!(affiliation(Admin, Nobody, Admin), "forbidden");
        assert_eq!(affiliation(Admin, Owner, Member), "forbidden");
    }

    #[test]
    fn s20_nobody_below_an_owner_changes_his_own_affiliation() {
        let own = |actor, wanted| may_change_affiliation(actor, actor, wanted, true).map_err(|e| e.condition.name());
        assert_eq!(own(Member, Owner), Err("not-allowed"));
        assert_eq!(own(Member, Nobody), Err("not-allowed"));
        assert_eq!(own(Nobody, Member), Err("not-allowed"));
        assert_eq!(own(Admin, Owner), Err("not-allowed"));
        assert_eq!(own(Admin, Member), Err("not-allowed"));
        assert_eq!(own(Admin, Outcast), Err("conflict"));
        assert_eq!(own(Owner, Outcast), Err("conflict"));
        assert_eq!(own(Owner, Admin), Ok(()));
    }
}
