//! What the operator may set about rooms.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waxwing_core::limits::{ByteSize, Count, Period, Rate};

use crate::configuration::Preset;

/// So many people fit into a room, whatever is set: beyond, a chat is a broadcast.
pub const MOST_OCCUPANTS: usize = 100;

/// Who may make rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Creators {
    /// Everyone who has an account on this server.
    Local,
    /// Everyone, of other servers too.
    Anyone,
    /// Nobody: there are the rooms that there are.
    Nobody,
}

/// `[modules.muc]`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the rooms are: the first label of a domain below the host's own, or a whole domain (with a dot in it).
    pub service: String,
    /// The name of the service as clients show it.
    pub name: String,
    /// Who may make rooms: "local", "anyone" or "nobody".
    pub create: Creators,
    /// How many rooms an account may own before it may make no more.
    pub rooms_per_owner: Count,
    /// What a new room is like until its owner decides: "private-group" (kept, hidden, for members only, who see each
    /// other's addresses), "public-channel" (kept, listed, open, addresses are for moderators only) or "temporary"
    /// (hidden and open to whoever knows its name, gone with the last occupant).
    pub new_rooms: Preset,
    /// How many people may be in a room at a time. More than 100 is never allowed; owners may set less for their room.
    pub occupants: Count,
    /// How many devices of one person may be in a room under one nickname.
    pub devices: Count,
    /// How many accounts may be affiliated with a room (members, banned and so on).
    pub affiliations: Count,
    /// How many messages a room shows at most to someone who enters. Clients that know archives ask there for more.
    pub history: Count,
    /// Length of the longest nickname.
    pub nick_bytes: ByteSize,
    /// Size of the largest presence that is shown to the others in a room, what clients add to it included.
    pub presence_bytes: ByteSize,
    /// How many characters the text of a message may have.
    pub body_characters: Count,
    /// Size of the longest subject, with all its languages.
    pub subject_bytes: ByteSize,
    /// Size of the largest card of a room; its picture is in it.
    pub vcard_bytes: ByteSize,

    /// How much one person may say in a room; beyond, messages are refused with policy-violation. A message counts once
    /// for each `message_unit` of its size.
    pub occupant_messages: Rate,
    /// How much may be said in a room by all together, counted in the same way.
    pub room_messages: Rate,
    /// What counts as one message; a longer one counts several times.
    pub message_unit: ByteSize,
    /// How often one person may enter a room, change nickname or availability there, or invite.
    pub occupant_presences: Rate,

    /// After how long a silence an occupant from another server is asked whether he is still there.
    pub ping_after: Period,
    /// How long he may take to answer.
    pub ping_timeout: Period,
    /// How long someone who has made a room may take to configure it; then it is gone again.
    pub configuration_timeout: Period,
    /// How long a room stays in memory after the last occupant has left, and after the last question to it.
    pub sleep_after: Period,
    /// How many rooms may be in memory. One more cannot be entered until another one sleeps.
    pub rooms_awake: Count,
    /// Of how many of its rooms a client may be told that something was said there while it was not in them (XEP-0437).
    pub indicated_rooms: Count,
    /// How many stanzas may wait for one room; further senders are told to wait.
    pub waiting: Count,
    /// How long the name of a room that its owner has destroyed cannot be used again, so that nobody takes over its
    /// former members.
    pub tombstones: Period,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            service: "conference".to_owned(),
            name: "Group chats".to_owned(),
            create: Creators::Local,
            rooms_per_owner: Count::of(100),
            new_rooms: Preset::PrivateGroup,
            occupants: Count::of(MOST_OCCUPANTS as u64),
            devices: Count::of(10),
            affiliations: Count::of(5000),
            history: Count::of(50),
            nick_bytes: ByteSize::bytes(256),
            presence_bytes: ByteSize::kibibytes(8),
            body_characters: Count::of(100_000),
            subject_bytes: ByteSize::kibibytes(4),
            vcard_bytes: ByteSize::kibibytes(256),
            occupant_messages: Rate::per_minute(120),
            room_messages: Rate::per_minute(600),
            message_unit: ByteSize::kibibytes(4),
            occupant_presences: Rate::per_minute(20),
            ping_after: Period::seconds(600),
            ping_timeout: Period::seconds(60),
            configuration_timeout: Period::seconds(300),
            sleep_after: Period::seconds(60),
            rooms_awake: Count::of(20_000),
            indicated_rooms: Count::of(500),
            waiting: Count::of(500),
            tombstones: Period::seconds(30 * 86_400),
        }
    }
}

impl Settings {
    /// How many people may be in a room: never more than [`MOST_OCCUPANTS`].
    pub fn most_occupants(&self) -> usize {
        self.occupants.get().clamp(1, MOST_OCCUPANTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_can_only_be_lowered() {
        let most = |count| Settings { occupants: count, ..Settings::default() }.most_occupants();
        assert_eq!(most(Count::of(50)), 50);
        assert_eq!(most(Count::of(101)), 100);
        assert_eq!(most(Count::UNLIMITED), 100);
        assert_eq!(most(Count::of(0)), 1);
    }
}
