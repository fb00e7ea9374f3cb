//! What whoever has a message for somebody who may be away tells, so that his devices are woken (XEP-0357).

use crate::address::{BareJid, Jid};
use crate::stanza::Stanza;

/// In what kind of conversation a message was said: decides whom it wakes when the account has not chosen (XEP-0492 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Circle {
    /// Two people, or a room nobody can find or enter uninvited: every message wakes.
    Private,
    /// A room for everybody: only a mention wakes.
    Public,
}

/// How important it is that a message is seen soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// It wakes a device that has no connection. One that has will read it when its user looks.
    Normal,
    /// It wakes every device that does not show that it has got it: a call, something said to this person.
    Urgent,
}

/// A message that waits for an account, and the facts that only its teller knows.
#[derive(Clone, Copy, Debug)]
pub struct Waiting<'a> {
    /// For whom it waits: the bare JID of an account of this host.
    pub account: &'a BareJid,
    /// In which conversation: the bare JID of a contact or of a room.
    pub chat: &'a BareJid,
    /// Who says it: a contact, or an occupant of the room by his address in the room.
    pub sender: &'a Jid,
    /// The message, as it was kept.
    pub message: &'a Stanza,
    /// In what kind of conversation.
    pub circle: Circle,
    /// Whether it mentions the account, or everyone in the room.
    pub is_mention: bool,
    /// How important it is.
    pub urgency: Urgency,
    /// Whether what it says may be shown to the services between here and the device, should the operator allow it at
    /// all.
    pub may_show_body: bool,
}

/// Calls the devices of the accounts of one host that have asked for it.
///
/// A teller tells of a message after it has been kept, and only of what was said: no states of the moment, no markers, no
/// subjects. Whether a device has it already, whether it may be disturbed and how often is decided behind the contract.
pub trait Push: Send + Sync {
    /// A message waits. Returns at once and never fails: what comes too fast for the queue behind it is dropped and
    /// counted, since the message itself is kept.
    fn tell(&self, waiting: Waiting<'_>);
}
