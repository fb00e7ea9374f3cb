//! What follows from what a room has heard. The room decides; whoever keeps it does it, in this order (DESIGN §5).

use bytes::Bytes;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::archive::ArchiveId;
use waxwing_core::stanza::Stanza;
use waxwing_core::xml::Element;

use crate::configuration::Configuration;
use crate::hats::Hats;
use crate::protocol::ENCRYPTED;
use crate::records::{Affiliated, Records, Subject};

/// What is to be written to the database.
#[derive(Clone, Debug)]
pub enum Change {
    /// The room has come to be, with everything it has.
    Created(Box<Records>),
    /// It has another configuration.
    Configured(Box<Configuration>),
    /// These are affiliated as it says.
    Affiliated(Vec<(BareJid, Affiliated)>),
    /// Who was removed up to this version is forgotten.
    Forgotten(i64),
    /// It talks about something else.
    Subject(Subject),
    /// It has another card, or none, and these are the hashes of the pictures.
    Card(Option<Bytes>, Vec<String>),
    /// It has other hats, or others wear them.
    Hats(Hats),
    /// It is gone. Its name is not used again for a while if `sealed`.
    Destroyed {
        /// Whether somebody wanted it to be gone.
        sealed: bool,
    },
}

/// Something that is said to everyone, as soon as the archive has it.
#[derive(Clone, Debug)]
pub struct Utterance {
    /// What is said, from whom; without the id of the archive.
    pub message: Stanza,
    /// Whether it is worth keeping.
    pub keep: bool,
    /// Whether newcomers are shown it.
    pub recall: bool,
    /// Whom a query of the archive finds it by.
    pub peer: Jid,
    /// What the archive keeps beside it: who the speaker really is, where everyone sees that.
    pub archived_only: Option<Element>,
    /// Those who are away and are told of it.
    pub absent: Vec<Absent>,
    /// Whether it is a conversation among people who were let in, not one for everybody.
    pub is_private: bool,
}

impl Utterance {
    /// Whether those who are away want to know that something was said: a text, or what cannot be read here.
    pub fn stirs(&self) -> bool {
        self.recall || is_encrypted(&self.message)
    }
}

/// Whether a message says something that cannot be read here.
pub fn is_encrypted(message: &Stanza) -> bool {
    message.payloads().any(|payload| ENCRYPTED.contains(&payload.namespace()))
}

/// Someone affiliated who is not in the room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Who it is.
    pub account: BareJid,
    /// How the message mentions him.
    pub mention: Mention,
}

/// How a message mentions somebody. The greater one says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mention {
    /// It does not.
    None,
    /// It mentions everyone, or his name stands in the text: his devices are woken as by a mention.
    Likely,
    /// It mentions him, his role or his affiliation in so many words (XEP-0372, XEP-0513): he is sent it (XEP-0452).
    Explicit,
}

/// A message as all have seen it, and who is to be told that was not there.
#[derive(Debug)]
pub struct Reflected {
    /// To everyone in the room, and to those who are away and are sent it.
    pub deliveries: Vec<Stanza>,
    /// The message itself, with its id.
    pub said: Stanza,
    /// Those who are away.
    pub absent: Vec<Absent>,
    /// Whether it is a conversation among people who were let in, not one for everybody.
    pub is_private: bool,
}

/// A wish that a message be taken back (XEP-0424, XEP-0425). Whoever keeps the room looks the message up.
#[derive(Clone, Debug)]
pub struct Retraction {
    /// Which message.
    pub id: ArchiveId,
    /// What is said to everyone about it.
    pub utterance: Utterance,
    /// Who takes it back.
    pub by: Retractor,
    /// The request to be answered, if it was one.
    pub request: Option<Stanza>,
}

/// Who takes a message back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retractor {
    /// Who says he has said it: his occupant id has to be the message's.
    Author {
        /// His id in the room.
        occupant_id: Box<str>,
        /// The id of the message with which he takes it back.
        message_id: Box<str>,
    },
    /// A moderator.
    Moderator {
        /// His address in the room.
        address: Jid,
        /// His id in the room.
        occupant_id: Box<str>,
        /// Why.
        reason: Option<String>,
    },
}

/// What is to be done: first changes are committed, then what is said is archived, then everyone is told.
#[derive(Debug, Default)]
pub struct Effects {
    /// What is written, all or nothing.
    pub changes: Vec<Change>,
    /// What is said to whom, each addressed, in this order.
    pub deliveries: Vec<Stanza>,
    /// What is said to everyone.
    pub utterance: Option<Utterance>,
    /// What is taken back.
    pub retraction: Option<Retraction>,
    /// A question to the archive that whoever asks may ask.
    pub archive_query: Option<Stanza>,
    /// A question for the room's card.
    pub card_query: Option<Stanza>,
    /// For how many days the archive keeps its messages from now on; 0 for as long as the operator says.
    pub keep_for_days: Option<u32>,
    /// The room is over and forgets everything.
    pub over: bool,
}

impl Effects {
    /// Says something to one.
    pub fn say(&mut self, stanza: Stanza) {
        self.deliveries.push(stanza);
    }

    /// Answers a request with nothing or with this.
    pub fn answer(&mut self, request: &Stanza, payload: Option<Element>) {
        let mut result = Stanza::result_of(request);
        if let Some(payload) = payload {
            result.add(payload);
        }
        self.deliveries.push(result);
    }
}
