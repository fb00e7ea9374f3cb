//! A parcel: a stanza on its way, with who brought it and what the stages noted about it.

use std::sync::Arc;

use smallvec::SmallVec;
use waxwing_storage::Receipt;

use crate::address::DomainPart;
use crate::notes::{Note, Notes};
use crate::refusal::Refusal;
use crate::session::Session;
use crate::stanza::Stanza;

/// Who brought a parcel.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A client of ours.
    Session(Arc<Session>),
    /// Another server, for a domain it has proved to be.
    Remote(DomainPart),
    /// A component of ours, from its own domain. It may speak to everyone (XEP-0114).
    Component(DomainPart),
    /// This server itself or one of its services.
    House,
}

impl Origin {
    /// The client of ours that sent it.
    pub fn session(&self) -> Option<&Arc<Session>> {
        match self {
            Origin::Session(session) => Some(session),
            _ => None,
        }
    }
}

/// A stanza on its way. It only goes forward; replies, copies and errors start journeys of their own.
pub struct Parcel {
    /// What is carried.
    pub stanza: Stanza,
    /// Who brought it.
    pub origin: Origin,
    /// What one stage tells a later one, by type.
    pub notes: Notes,
    /// The sessions that Choose has found; later stages may take some away.
    pub recipients: SmallVec<[Arc<Session>; 2]>,
    /// When it was put into a session's mailbox, in milliseconds since 1970; 0 before.
    pub delivered_at: i64,
    /// What is being written, and must be before anybody sees the parcel or its sender is told that it was taken.
    promises: Vec<Receipt>,
}

/// A parcel with this note means something to the session it was delivered to and to no other: a carbon copy, a result
/// of the client's own query. When the session ends it is dropped, not kept for another.
#[derive(Clone, Copy, Debug)]
pub struct ForThisSession;

impl Note for ForThisSession {
    const WRITTEN_AS: Option<&'static str> = Some("for-this-session");

    fn read_back(_: &str) -> Option<ForThisSession> {
        Some(ForThisSession)
    }
}

impl Parcel {
    /// A parcel at the beginning of its way.
    pub fn new(stanza: Stanza, origin: Origin) -> Parcel {
        Parcel {
            stanza,
            origin,
            notes: Notes::default(),
            recipients: SmallVec::new(),
            delivered_at: 0,
            promises: Vec::new(),
        }
    }

    /// Something is being written that must be committed before anybody sees the parcel. Core waits for it before the
    /// parcel leaves the sender's host, is delivered or ends in any other way, and whoever shows it to somebody earlier
    /// waits by [`Parcel::keep_promises`]. So what several stages write can go into one commit.
    pub fn promise(&mut self, receipt: Receipt) {
        self.promises.push(receipt);
    }

    /// Waits until everything that was promised is committed.
    ///
    /// # Errors
    /// What its sender is told when something was not.
    pub async fn keep_promises(&mut self) -> Result<(), Refusal> {
        let mut kept = Ok(());
        for receipt in std::mem::take(&mut self.promises) {
            kept = receipt.committed().await.and(kept);
        }
        Ok(kept?)
    }

    /// With a note.
    pub fn noting(mut self, note: impl Note) -> Parcel {
        self.notes.put(note);
        self
    }
}
