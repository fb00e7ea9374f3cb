//! Affiliations and roles: what they are called, and which role an affiliation gives (XEP-0045 §5).

use serde::{Deserialize, Serialize};

/// How somebody is associated with a room for good, by the bare address (§5.2). The greater one may do more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Affiliation {
    /// Banned.
    Outcast,
    /// Nothing is known about him.
    None,
    /// On the list of members.
    Member,
    /// May ban, and edit the list of members.
    Admin,
    /// May do everything.
    Owner,
}

impl Affiliation {
    /// Every affiliation, from the least to the greatest.
    pub const ALL: [Affiliation; 5] =
        [Affiliation::Outcast, Affiliation::None, Affiliation::Member, Affiliation::Admin, Affiliation::Owner];

    /// The value of the `affiliation` attribute.
    pub fn name(self) -> &'static str {
        match self {
            Affiliation::Outcast => "outcast",
            Affiliation::None => "none",
            Affiliation::Member => "member",
            Affiliation::Admin => "admin",
            Affiliation::Owner => "owner",
        }
    }

    /// Reads an `affiliation` attribute.
    pub fn read(name: &str) -> Option<Affiliation> {
        Affiliation::ALL.into_iter().find(|affiliation| affiliation.name() == name)
    }

    /// The number that stands for it in the database.
    pub fn number(self) -> i64 {
        self as i64
    }

    /// Reads a number of the database.
    pub fn of_number(number: i64) -> Option<Affiliation> {
        Affiliation::ALL.into_iter().find(|affiliation| affiliation.number() == number)
    }

    /// Whether he is an admin or an owner.
    pub fn is_admin(self) -> bool {
        self >= Affiliation::Admin
    }
}

/// What somebody may do during a visit, by the nickname (§5.1). The greater one may do more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Not in the room.
    None,
    /// May listen.
    Visitor,
    /// May speak: has voice.
    Participant,
    /// May kick, and give or take voice.
    Moderator,
}

impl Role {
    /// Every role, from the least to the greatest.
    pub const ALL: [Role; 4] = [Role::None, Role::Visitor, Role::Participant, Role::Moderator];

    /// The value of the `role` attribute.
    pub fn name(self) -> &'static str {
        match self {
            Role::None => "none",
            Role::Visitor => "visitor",
            Role::Participant => "participant",
            Role::Moderator => "moderator",
        }
    }

    /// Reads a `role` attribute.
    pub fn read(name: &str) -> Option<Role> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether he may send messages to all.
    pub fn has_voice(self) -> bool {
        self >= Role::Participant
    }
}

/// The role with which somebody enters (§5.1.2).
pub fn initial_role(affiliation: Affiliation, moderated: bool) -> Role {
    match affiliation {
        Affiliation::Outcast => Role::None,
        Affiliation::None if moderated => Role::Visitor,
        Affiliation::None | Affiliation::Member => Role::Participant,
        Affiliation::Admin | Affiliation::Owner => Role::Moderator,
    }
}

/// The role of an occupant whose affiliation has changed (§5.1.3, §10.2): what an affiliation implies is gained with it,
/// and lost with it; what a moderator has granted stays.
pub fn role_after(before: Affiliation, after: Affiliation, role: Role, moderated: bool) -> Role {
    if before == after {
        return role;
    }
    let initial = initial_role(after, moderated);
    match after {
        Affiliation::Outcast => Role::None,
        Affiliation::Admin | Affiliation::Owner => Role::Moderator,
        Affiliation::None | Affiliation::Member if before.is_admin() => initial,
        Affiliation::Member => role.max(initial),
        // Whom somebody has made a moderator remains one; a voice that came with membership goes with it.
        Affiliation::None if role == Role::Moderator => role,
        Affiliation::None => role.min(initial),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Affiliation::{Admin, Member, None as Nobody, Outcast, Owner};

    #[test]
    fn names_and_numbers_read_back() {
        for affiliation in Affiliation::ALL {
            assert_eq!(Affiliation::read(affiliation.name()), Some(affiliation));
            assert_eq!(Affiliation::of_number(affiliation.number()), Some(affiliation));
        }
        for role in Role::ALL {
            assert_eq!(Role::read(role.name()), Some(role));
        }
        assert_eq!((Affiliation::read("Owner"), Role::read(""), Affiliation::of_number(9)), (None, None, None));
    }

    /// The table of §5.1.2; entry of the unaffiliated into members-only rooms is refused elsewhere.
    #[test]
    fn initial_roles_are_those_of_the_table() {
        let row =
            |moderated| [Nobody, Member, Admin, Owner].map(|affiliation| initial_role(affiliation, moderated).name());
        assert_eq!(row(true), ["visitor", "participant", "moderator", "moderator"]);
        assert_eq!(row(false), ["participant", "participant", "moderator", "moderator"]);
        assert_eq!(initial_role(Outcast, false), Role::None);
    }

    #[test]
    fn roles_follow_affiliations() {
        let after = |before, after, role, moderated| role_after(before, after, role, moderated).name();
        // Gained: §10.3, §10.6, §9.3 in a moderated room.
        assert_eq!(after(Nobody, Admin, Role::Visitor, true), "moderator");
        assert_eq!(after(Member, Owner, Role::Participant, false), "moderator");
        assert_eq!(after(Nobody, Member, Role::Visitor, true), "participant");
        assert_eq!(after(Nobody, Member, Role::Moderator, true), "moderator");
        // Lost: §10.7, §10.4, §9.4.
        assert_eq!(after(Admin, Member, Role::Moderator, true), "participant");
        assert_eq!(after(Admin, Nobody, Role::Moderator, true), "visitor");
        assert_eq!(after(Admin, Nobody, Role::Moderator, false), "participant");
        assert_eq!(after(Owner, Admin, Role::Moderator, true), "moderator");
        assert_eq!(after(Member, Nobody, Role::Participant, true), "visitor");
        assert_eq!(after(Member, Nobody, Role::Visitor, false), "visitor");
        assert_eq!(after(Member, Nobody, Role::Moderator, true), "moderator");
        assert_eq!(after(Owner, Outcast, Role::Moderator, true), "none");
    }
}
