//! A parcel: a stanza on its way, with who brought it and what the stages noted about it.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use smallvec::SmallVec;

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

/// Something that is stored before anybody sees the parcel.
#[async_trait]
pub trait Promise: Any + Send + Sync {
    /// Stores it, and notes what later stages want to know of it. When this returns it is in a committed transaction.
    ///
    /// # Errors
    /// What the sender is told. Nothing is stored then.
    async fn keep(self: Box<Self>, parcel: &mut Parcel) -> Result<(), Refusal>;
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
    /// What must be stored before anybody sees the parcel or its sender is told that it was taken.
    promises: Vec<Box<dyn Promise>>,
    /// The stanza as it has left its sender, until the sender's other devices have been told.
    pub(crate) departed: Option<Stanza>,
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
            departed: None,
        }
    }

    /// Something must be stored before anybody sees the parcel. Core sees to it before the parcel leaves the sender's host,
    /// is delivered, or ends in any other way; when the parcel is refused before, it is not stored at all. A later stage
    /// may take it out ([`Parcel::take_promise`]) and store it together with more.
    pub fn promise(&mut self, promise: impl Promise) {
        self.promises.push(Box::new(promise));
    }

    /// Takes out a promise of this type: whoever takes it keeps it, or gives it back.
    pub fn take_promise<P: Promise>(&mut self) -> Option<P> {
        let is_wanted = |promise: &dyn Promise| (promise as &dyn Any).is::<P>();
        let place = self.promises.iter().position(|promise| is_wanted(&**promise))?;
        let promise: Box<dyn Any> = self.promises.remove(place);
        promise.downcast().ok().map(|promise| *promise)
    }

    /// Keeps everything that was promised.
    ///
    /// # Errors
    /// What its sender is told when something was not stored.
    pub(crate) async fn keep_promises(&mut self) -> Result<(), Refusal> {
        for promise in std::mem::take(&mut self.promises) {
            promise.keep(self).await?;
        }
        Ok(())
    }

    /// With a note.
    pub fn noting(mut self, note: impl Note) -> Parcel {
        self.notes.put(note);
        self
    }
}
