//! Namespaces and status codes of group chat (XEP-0045 §12, §16), each written once.

/// Joining a room.
pub const MUC: &str = "http://jabber.org/protocol/muc";
/// What a room says about its occupants, invitations.
pub const USER: &str = "http://jabber.org/protocol/muc#user";
/// Roles and affiliations.
pub const ADMIN: &str = "http://jabber.org/protocol/muc#admin";
/// Configuration and destruction.
pub const OWNER: &str = "http://jabber.org/protocol/muc#owner";
/// The form of a room's configuration.
pub const ROOM_CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";
/// The form of a room's public facts.
pub const ROOM_INFO: &str = "http://jabber.org/protocol/muc#roominfo";
/// The form of a request for voice.
pub const REQUEST: &str = "http://jabber.org/protocol/muc#request";
/// The form of a registration.
pub const REGISTER_FORM: &str = "http://jabber.org/protocol/muc#register";
/// Messages keep the id their sender gave them.
pub const STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
/// The room answers a ping to one's own nickname itself (XEP-0410 §3.3).
pub const SELF_PING: &str = "http://jabber.org/protocol/muc#self-ping-optimization";
/// The node that tells which payloads a room lets through (§18.1.1).
pub const TRAFFIC: &str = "http://jabber.org/protocol/muc#traffic";
/// The node that tells one's reserved nickname (§7.12).
pub const RESERVED_NICK: &str = "x-roomuser-item";
/// Registration (XEP-0077).
pub const REGISTER: &str = "jabber:iq:register";
/// Data forms (XEP-0004).
pub const FORM: &str = "jabber:x:data";
/// Rules for the values of a form's field (XEP-0122).
pub const FORM_VALIDATE: &str = "http://jabber.org/protocol/xdata-validate";
/// Service discovery (XEP-0030).
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// Service discovery (XEP-0030).
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// Pages of a long list (XEP-0059).
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// Ping (XEP-0199).
pub const PING: &str = "urn:xmpp:ping";
/// Occupant ids (XEP-0421).
pub const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// Archives (XEP-0313).
pub const MAM: &str = "urn:xmpp:mam:2";
/// More of archives (XEP-0313 §7).
pub const MAM_EXTENDED: &str = "urn:xmpp:mam:2#extended";
/// Room activity (XEP-0437).
pub const ACTIVITY: &str = "urn:xmpp:rai:0";
/// Cards (XEP-0054).
pub const VCARD: &str = "vcard-temp";
/// Retraction (XEP-0424).
pub const RETRACT: &str = "urn:xmpp:message-retract:1";
/// Retraction leaves a tombstone (XEP-0424 §4).
pub const TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";
/// Moderation (XEP-0425).
pub const MODERATE: &str = "urn:xmpp:message-moderate:1";
/// Retraction as it was until version 0.2 of XEP-0424.
pub const OLD_RETRACT: &str = "urn:xmpp:message-retract:0";
/// Moderation as it was until version 0.2 of XEP-0425.
pub const OLD_MODERATE: &str = "urn:xmpp:message-moderate:0";
/// What both old versions were fastened with (XEP-0422).
pub const FASTEN: &str = "urn:xmpp:fasten:0";
/// Hats (XEP-0317).
pub const HATS: &str = "urn:xmpp:hats:0";
/// The form of the commands about hats.
pub const HATS_COMMANDS: &str = "urn:xmpp:hats:commands";
/// Ad-hoc commands (XEP-0050).
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// Versions of the lists of affiliations (XEP-0463).
pub const VERSIONS: &str = "urn:xmpp:muc:affiliations:0";
/// Mentions of those who are away (XEP-0452).
pub const MENTION_NOTICE: &str = "urn:xmpp:mmn:0";
/// Explicit mentions (XEP-0513).
pub const MENTIONS: &str = "urn:xmpp:mentions:0";
/// References, with which mentions were made before (XEP-0372).
pub const REFERENCE: &str = "urn:xmpp:reference:0";
/// Forwarded stanzas (XEP-0297).
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// Hints for whoever stores a message (XEP-0334).
pub const HINTS: &str = "urn:xmpp:hints";
/// Reactions (XEP-0444).
pub const REACTIONS: &str = "urn:xmpp:reactions:0";
/// Avatars (XEP-0084) are asked for by this.
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";

/// Encrypted contents (XEP-0384 old and new, XEP-0027, XEP-0373), each of which is worth keeping without a body.
pub const ENCRYPTED: [&str; 4] =
    ["eu.siacs.conversations.axolotl", "urn:xmpp:omemo:2", "jabber:x:encrypted", "urn:xmpp:openpgp:0"];

/// Status codes (§16.6.2).
pub mod status {
    /// Every occupant sees your full address.
    pub const NON_ANONYMOUS: u16 = 100;
    /// The configuration has changed.
    pub const CONFIGURATION_CHANGED: u16 = 104;
    /// This is you.
    pub const SELF: u16 = 110;
    /// The discussion is logged for everyone to read.
    pub const LOGGED: u16 = 170;
    /// It is no longer.
    pub const NOT_LOGGED: u16 = 171;
    /// Addresses are shown to everyone from now on.
    pub const NOW_NON_ANONYMOUS: u16 = 172;
    /// Addresses are shown to moderators only from now on.
    pub const NOW_SEMI_ANONYMOUS: u16 = 173;
    /// The room was made for you.
    pub const CREATED: u16 = 201;
    /// The service gave you another nickname than you asked for.
    pub const NICK_ASSIGNED: u16 = 210;
    /// Banned.
    pub const BANNED: u16 = 301;
    /// Has a new nickname.
    pub const NEW_NICK: u16 = 303;
    /// Kicked.
    pub const KICKED: u16 = 307;
    /// Removed because the affiliation has changed.
    pub const LOST_AFFILIATION: u16 = 321;
    /// Removed because the room is for members only from now on.
    pub const MEMBERS_ONLY: u16 = 322;
    /// Removed because the service is shut down.
    pub const SHUT_DOWN: u16 = 332;
    /// Removed because something does not work.
    pub const TECHNICAL: u16 = 333;
}
