//! What an owner decides about a room (XEP-0045 §4.2, §16.5.3), and what new rooms are like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::affiliation::Role;
use crate::mentions::Mentions;

/// Who sees the real addresses of occupants (§4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whois {
    /// Moderators only: the room is semi-anonymous.
    Moderators,
    /// Everyone: the room is non-anonymous.
    Anyone,
}

/// Who may do something, by role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Allowed {
    /// Everyone who is in the room.
    Anyone,
    /// Those with voice.
    Participants,
    /// Moderators.
    Moderators,
    /// Nobody.
    None,
}

impl Allowed {
    /// The values of a form, each with its label.
    pub const OPTIONS: [(&'static str, &'static str); 4] = [
        ("anyone", "Anyone"),
        ("participants", "Anyone with voice"),
        ("moderators", "Moderators only"),
        ("none", "Nobody"),
    ];

    /// The value in a form.
    pub fn name(self) -> &'static str {
        match self {
            Allowed::Anyone => "anyone",
            Allowed::Participants => "participants",
            Allowed::Moderators => "moderators",
            Allowed::None => "none",
        }
    }

    /// Reads a value of a form.
    pub fn read(name: &str) -> Option<Allowed> {
        [Allowed::Anyone, Allowed::Participants, Allowed::Moderators, Allowed::None]
            .into_iter()
            .find(|allowed| allowed.name() == name)
    }

    /// Whether somebody with this role may.
    pub fn allows(self, role: Role) -> bool {
        match self {
            Allowed::Anyone => role >= Role::Visitor,
            Allowed::Participants => role.has_voice(),
            Allowed::Moderators => role == Role::Moderator,
            Allowed::None => false,
        }
    }
}

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// Moderators are in it.
    pub moderator: bool,
    /// Participants are in it.
    pub participant: bool,
    /// Visitors are in it.
    pub visitor: bool,
}

impl Roles {
    /// All roles.
    pub const ALL: Roles = Roles { moderator: true, participant: true, visitor: true };
    /// Moderators alone.
    pub const MODERATORS: Roles = Roles { moderator: true, participant: false, visitor: false };
    /// The values of a form, each with its label.
    pub const OPTIONS: [(&'static str, &'static str); 3] =
        [("moderator", "Moderator"), ("participant", "Participant"), ("visitor", "Visitor")];

    /// Whether a role is in it.
    pub fn contains(self, role: Role) -> bool {
        match role {
            Role::None => false,
            Role::Visitor => self.visitor,
            Role::Participant => self.participant,
            Role::Moderator => self.moderator,
        }
    }

    /// The values in a form.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [Role::Moderator, Role::Participant, Role::Visitor]
            .into_iter()
            .filter(move |role| self.contains(*role))
            .map(Role::name)
    }

    /// Reads the values of a form.
    pub fn read(names: &[String]) -> Option<Roles> {
        let mut roles = Roles { moderator: false, participant: false, visitor: false };
        for name in names {
            match Role::read(name)? {
                Role::None => {}
                Role::Visitor => roles.visitor = true,
                Role::Participant => roles.participant = true,
                Role::Moderator => roles.moderator = true,
            }
        }
        Some(roles)
    }
}

/// Who may become a member by himself (§7.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Nobody: admins make members.
    Closed,
    /// Whoever an admin approves of.
    Approval,
    /// Everyone who may enter.
    Open,
}

impl Registration {
    /// The values of a form, each with its label.
    pub const OPTIONS: [(&'static str, &'static str); 3] =
        [("closed", "Nobody"), ("approval", "Whoever an admin approves of"), ("open", "Everyone who may enter")];

    /// The value in a form.
    pub fn name(self) -> &'static str {
        match self {
            Registration::Closed => "closed",
            Registration::Approval => "approval",
            Registration::Open => "open",
        }
    }

    /// Reads a value of a form.
    pub fn read(name: &str) -> Option<Registration> {
        [Registration::Closed, Registration::Approval, Registration::Open]
            .into_iter()
            .find(|registration| registration.name() == name)
    }
}

/// A kind of room, all of its decisions at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// People who know each other: kept, hidden, members only, non-anonymous.
    PrivateGroup,
    /// For everyone: kept, listed, open, semi-anonymous.
    PublicChannel,
    /// For a while: open to whoever knows its name, gone with the last occupant.
    Temporary,
}

impl Preset {
    /// The values of a form, each with its label.
    pub const OPTIONS: [(&'static str, &'static str); 4] = [
        ("", "As set below"),
        ("private-group", "Private group: members only, who see each other's addresses"),
        ("public-channel", "Public channel: everyone may find and enter it"),
        ("temporary", "For a while: gone when the last one leaves"),
    ];

    /// Reads a value of a form.
    pub fn read(name: &str) -> Option<Preset> {
        match name {
            "private-group" => Some(Preset::PrivateGroup),
            "public-channel" => Some(Preset::PublicChannel),
            "temporary" => Some(Preset::Temporary),
            _ => None,
        }
    }

    /// Makes a room of this kind, and leaves what has nothing to do with it.
    pub fn apply(self, configuration: &mut Configuration) {
        let is_private = self == Preset::PrivateGroup;
        let is_public = self == Preset::PublicChannel;
        configuration.persistent = self != Preset::Temporary;
        configuration.public = is_public;
        configuration.members_only = is_private;
        configuration.moderated = false;
        configuration.whois = if is_public { Whois::Moderators } else { Whois::Anyone };
        configuration.member_list = if is_public { Roles::MODERATORS } else { Roles::ALL };
        configuration.registration = if is_public { Registration::Open } else { Registration::Closed };
        configuration.invites = !is_private;
    }
}

/// What an owner decides about a room. Kept as JSON; a key that a row does not have is as for a new room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// Its natural-language name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// The language that is spoken in it.
    pub language: String,
    /// The address of a node that belongs to it.
    pub pubsub: String,
    /// Whether it is listed.
    pub public: bool,
    /// Whether it stays when nobody is in it.
    pub persistent: bool,
    /// Whether only members may enter.
    pub members_only: bool,
    /// Whether newcomers have no voice.
    pub moderated: bool,
    /// What to say at the door.
    pub password: Option<String>,
    /// Who sees real addresses.
    pub whois: Whois,
    /// Whether everyone with voice may change the subject.
    pub change_subject: bool,
    /// Whether members may invite into a members-only room.
    pub invites: bool,
    /// Who may send private messages.
    pub private_messages: Allowed,
    /// How many people may be in it, at most as many as the server allows.
    pub most_occupants: u16,
    /// Whose presence is shown to all; moderators see everyone.
    pub broadcast: Roles,
    /// Who may ask for the list of members; admins always may.
    pub member_list: Roles,
    /// How many messages newcomers are shown.
    pub history: u16,
    /// Whether its messages are archived.
    pub archiving: bool,
    /// For how many days they are kept there; 0 as long as the server's operator says.
    pub archive_days: u32,
    /// Who may become a member by himself.
    pub registration: Registration,
    /// How many seconds to wait between two messages of one person (XEP-0500).
    pub slow_mode: u32,
    /// Whether members who are away are told when they are mentioned (XEP-0452).
    pub forward_mentions: bool,
    /// Who may mention whom (XEP-0513).
    pub mentions: Mentions,
}

impl Default for Configuration {
    /// A private group.
    fn default() -> Configuration {
        let mut configuration = Configuration {
            name: String::new(),
            description: String::new(),
            language: String::new(),
            pubsub: String::new(),
            public: false,
            persistent: true,
            members_only: true,
            moderated: false,
            password: None,
            whois: Whois::Anyone,
            change_subject: false,
            invites: false,
            private_messages: Allowed::Anyone,
            most_occupants: u16::MAX,
            broadcast: Roles::ALL,
            member_list: Roles::ALL,
            history: 20,
            archiving: true,
            archive_days: 0,
            registration: Registration::Closed,
            slow_mode: 0,
            forward_mentions: true,
            mentions: Mentions::default(),
        };
        Preset::PrivateGroup.apply(&mut configuration);
        configuration
    }
}

impl Configuration {
    /// A new room of this kind.
    pub fn of(preset: Preset) -> Configuration {
        let mut configuration = Configuration::default();
        preset.apply(&mut configuration);
        configuration
    }

    /// Whether everyone sees real addresses.
    pub fn is_non_anonymous(&self) -> bool {
        self.whois == Whois::Anyone
    }

    /// Whether nobody comes in who was not let in: by a list or by a password. Elsewhere anybody may say anything, and a
    /// message for all wakes nobody's phone by itself (XEP-0492 §3).
    pub fn is_private(&self) -> bool {
        self.members_only || self.password.is_some()
    }

    /// Whether everyone who may enter, so nearly anyone, may read what is said (§14.3).
    pub fn is_logged(&self) -> bool {
        self.archiving && !self.members_only && self.password.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_reads_back_and_forgives_missing_and_unknown_keys() {
        let configuration = Configuration {
            name: "A Dark Cave".to_owned(),
            password: Some("cauldronburn".to_owned()),
            ..Configuration::of(Preset::PublicChannel)
        };
        let text = serde_json::to_string(&configuration).unwrap();
        assert_eq!(serde_json::from_str::<Configuration>(&text).unwrap(), configuration);
        assert_eq!(serde_json::from_str::<Configuration>("{\"later\":1}").unwrap(), Configuration::default());
    }

    #[test]
    fn a_private_group_is_what_people_expect() {
        let group = Configuration::of(Preset::PrivateGroup);
        assert!(group.persistent && group.members_only && !group.public && group.is_non_anonymous());
        assert!(!group.is_logged(), "its archive is for members only");
        let channel = Configuration::of(Preset::PublicChannel);
        assert!(channel.persistent && !channel.members_only && channel.public && !channel.is_non_anonymous());
        assert!(channel.is_logged());
    }

    #[test]
    fn whoever_is_allowed_is_allowed() {
        let row = |allowed: Allowed| Role::ALL.map(|role| allowed.allows(role));
        assert_eq!(row(Allowed::Anyone), [false, true, true, true]);
        assert_eq!(row(Allowed::Participants), [false, false, true, true]);
        assert_eq!(row(Allowed::Moderators), [false, false, false, true]);
        assert_eq!(row(Allowed::None), [false; 4]);
    }
}
