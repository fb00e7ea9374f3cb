//! What an archive of messages offers to the rest of the house: accounts and rooms keep their history in it (XEP-0313).

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use waxwing_storage::StorageError;
use waxwing_xml::{Child, Element};

use crate::address::{BareJid, Jid};
use crate::answers::Request;
use crate::clock::IdMaker;
use crate::namespaces::STANZA_IDS;
use crate::notes::Note;
use crate::refusal::Refusal;
use crate::stanza::Stanza;

/// The number of a message in an archive: made by the server when the message is stored, greater for a newer one, never
/// given twice. On the wire, in a `<stanza-id/>` (XEP-0359) and in a query, it is written in decimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId(pub i64);

impl ArchiveId {
    /// Reads what [`fmt::Display`] has written; anything else is no id of ours.
    pub fn read(text: &str) -> Option<ArchiveId> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        if digits { text.parse().ok().map(ArchiveId) } else { None }
    }

    /// When the message was stored, in milliseconds since 1970.
    pub fn milliseconds(self) -> i64 {
        IdMaker::milliseconds_of(self.0)
    }
}

impl fmt::Display for ArchiveId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The sender's own archive holds the message under this id. For those who copy it to the sender's other devices: they
/// alone may be told (XEP-0313 §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptForSender(pub ArchiveId);

impl Note for KeptForSender {}

/// The recipient's archive holds the message under this id; the stanza carries it as its `<stanza-id/>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptForRecipient(pub ArchiveId);

impl Note for KeptForRecipient {}

/// A note about a session: its client has asked for its account's archive before it became available, and so knows, or
/// finds for itself, what the archive held up to this id. Such a client needs nothing of it a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatchesUp(pub ArchiveId);

impl Note for CatchesUp {}

/// Under which id the archive of the account holds a stanza, as its `<stanza-id/>` tells. On its way to the account's own
/// sessions only the archive itself can have written that: whatever else claims it is taken away before.
pub fn kept_for(account: &BareJid, stanza: &Stanza) -> Option<ArchiveId> {
    let by_account = |payload: &Child<'_>| {
        let is_id = payload.namespace() == STANZA_IDS && payload.name() == "stanza-id";
        is_id && payload.attribute("by").is_some_and(|by| by == account.as_str())
    };
    ArchiveId::read(&stanza.payloads().find(by_account)?.attribute("id")?)
}

/// A stored message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub id: ArchiveId,
    /// The stanza as it was stored, complete with its namespace; never parsed or written anew.
    pub stanza: Bytes,
}

/// A piece of an archive: what lies between two ids, from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Only what is newer than this.
    pub after: Option<ArchiveId>,
    /// Only what is older than this.
    pub before: Option<ArchiveId>,
    /// Whether to begin at the newest. The answer is in the order of time either way.
    pub newest: bool,
    /// How many messages at most. What is read at a time is bounded in bytes, too: there may be more although fewer came.
    pub most: usize,
}

/// What is said to whoever queried an archive: the results one by one, then the answer.
#[derive(Debug)]
pub struct Found {
    /// Payloads `<result/>`, each for a message of its own to whoever asked.
    pub results: Vec<Element>,
    /// Whether they go on, leaving nothing out, up to the newest message there is: whoever has read them has caught up.
    pub reach_the_end: bool,
    /// The payload of the IQ result, to be sent after them.
    pub answer: Element,
}

/// The archives of one host: of its accounts, and of the rooms it serves.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Stores a stanza at the end of an archive, which is made when there is none. When it returns, the stanza is in a
    /// committed transaction. `peer` is who stands at the other end, as the owner sees it: what the field `with` of a
    /// query is compared to (for a room, the address of the publisher). Whoever calls it decides what is worth keeping.
    ///
    /// # Errors
    /// What storage failed with. It was not stored then, or (unavailable) it is unknown whether it was.
    async fn store(&self, owner: &BareJid, peer: &Jid, stanza: &Stanza) -> Result<ArchiveId, StorageError>;

    /// Reads a piece of an archive in the order of time.
    ///
    /// # Errors
    /// What storage failed with.
    async fn read(&self, owner: &BareJid, stretch: Stretch) -> Result<Vec<Kept>, StorageError>;

    /// Reads these messages of an archive, in the order of time; those that are not there any more are left out. At most
    /// a few hundred ids.
    ///
    /// # Errors
    /// What storage failed with.
    async fn read_these(&self, owner: &BareJid, ids: &[ArchiveId]) -> Result<Vec<Kept>, StorageError>;

    /// Behind which id the newest `most` messages of an archive begin, looking no further back than `after`; `None` when
    /// there are not more than that.
    ///
    /// # Errors
    /// What storage failed with.
    async fn newest_begin(
        &self,
        owner: &BareJid,
        after: ArchiveId,
        most: usize,
    ) -> Result<Option<ArchiveId>, StorageError>;

    /// Puts a stanza in the place of a stored one, which keeps its id: a tombstone (XEP-0424 §4). What was stored is no
    /// longer found by its words. False when there is no message of this id.
    ///
    /// # Errors
    /// What storage failed with.
    async fn replace(&self, owner: &BareJid, id: ArchiveId, stanza: &Stanza) -> Result<bool, StorageError>;

    /// Answers a query, a request for the fields of its form, or one for metadata (XEP-0313 §4 and §5). Whether the one
    /// who asks may see the archive has been decided before.
    ///
    /// # Errors
    /// What whoever asked is told.
    async fn query(&self, owner: &BareJid, request: Request<'_>) -> Result<Found, Refusal>;

    /// Decides for how long an archive keeps its messages; `None` is as long as the host's setting says.
    ///
    /// # Errors
    /// What storage failed with.
    async fn keep_for(&self, owner: &BareJid, period: Option<Duration>) -> Result<(), StorageError>;

    /// Removes an archive. Nobody sees it any more when this returns; its rows are deleted by and by.
    ///
    /// # Errors
    /// What storage failed with.
    async fn remove(&self, owner: &BareJid) -> Result<(), StorageError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_only_as_it_is_written() {
        let id = ArchiveId(IdMaker::new(5).next());
        assert_eq!(ArchiveId::read(&id.to_string()), Some(id));
        for text in ["", "0", "-1", "+5", " 5", "05", "5a", "9223372036854775808", "٣"] {
            assert_eq!(ArchiveId::read(text), None, "{text}");
        }
    }
}
