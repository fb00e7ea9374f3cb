//! Bringing what a room says to those it is for: into the mailboxes of our own clients, by the router to everyone else.

use std::sync::Arc;
use std::task::Poll;

use futures_util::poll;
use waxwing_core::address::{BareJid, FullJid, Jid};
use waxwing_core::contracts::Blocking;
use waxwing_core::fabric::Home;
use waxwing_core::module::Context;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::session::{Round, Session};
use waxwing_core::stanza::{Kind, Stanza};

use crate::visits;

/// Brings stanzas of rooms.
pub struct Courier {
    context: Context,
    blocking: Option<Arc<dyn Blocking>>,
}

/// What became of a stanza.
enum Fate {
    /// It is in a mailbox of ours, or its recipient does not want it.
    Settled,
    /// Its recipient, this one, is a client of ours that is not there any more.
    Nobody(Jid),
    /// It is for somebody else.
    Elsewhere(Stanza),
}

impl Courier {
    /// A courier of one host.
    pub fn new(context: Context) -> Courier {
        let blocking = context.contracts().blocking().cloned();
        Courier { context, blocking }
    }

    /// Brings stanzas, to each recipient in their order. Gives back the devices of ours that are not there any more.
    pub async fn bring(&self, stanzas: Vec<Stanza>) -> Vec<Jid> {
        let mut gone = Vec::new();
        let mut round = Round::default();
        for stanza in stanzas {
            match self.settle(stanza, &mut round).await {
                Fate::Settled => {}
                Fate::Nobody(device) => gone.push(device),
                Fate::Elsewhere(stanza) => {
                    round.wake();
                    self.context.send(stanza).await;
                }
            }
        }
        gone
    }

    /// Whether a stanza is for a client of ours whose session goes on after a stop of the server.
    pub fn outlives_a_stop(&self, stanza: &Stanza) -> bool {
        stanza.to.as_ref().and_then(|to| self.session(to)).is_some_and(|session| session.outlives_a_stop())
    }

    /// A device has come into a room, and has this place there, or has left it: a client of ours is told after a restart
    /// of the rooms that it was in, and of no other.
    pub fn note_visit(&self, device: &Jid, room: &BareJid, place: Option<FullJid>) {
        let Some(session) = self.session(device) else { return };
        match place {
            Some(place) => visits::enter(&session, place),
            None => visits::leave(&session, room),
        }
    }

    fn session(&self, device: &Jid) -> Option<Arc<Session>> {
        self.context.house().directory().session(device.try_as_full().ok()?)
    }

    /// Brings a reply to whoever asked.
    pub async fn reply(&self, origin: &Origin, reply: Stanza) {
        match origin.session() {
            Some(session) => {
                let _ = session.deliver(Parcel::new(reply, Origin::House));
            }
            None => self.context.send(reply).await,
        }
    }

    /// Straight into the mailbox of a client of ours: what stands between the router and there (RFC 6121 §8.5.3, the
    /// archive, carbons, offline messages) has nothing to do with what a room says to a full address, but blocking.
    /// The stanza goes there as it is: what it says is shared by all who are told.
    async fn settle(&self, stanza: Stanza, round: &mut Round) -> Fate {
        let Some(to) = &stanza.to else { return Fate::Settled };
        let Ok(device) = to.try_as_full() else { return Fate::Elsewhere(stanza) };
        let house = self.context.house();
        if house.host(to.domain()).is_none() || stanza.kind() == Kind::Iq {
            // A question to somebody who is gone must be answered: the router does.
            return Fate::Elsewhere(stanza);
        }
        let account = to.to_bare();
        if let Home::There(_) = house.fabric().home(&account) {
            return Fate::Elsewhere(stanza);
        }
        let Some(session) = house.directory().resource(&account, device.resource()) else {
            return Fate::Nobody(to.clone());
        };
        if self.is_blocked(&account, &stanza, round).await {
            return Fate::Settled;
        }
        match round.deliver(&session, Parcel::new(stanza, Origin::House)) {
            Ok(()) => Fate::Settled,
            // Its end is on its way.
            Err(refused) => refused.stanza.to.map_or(Fate::Settled, Fate::Nobody),
        }
    }

    async fn is_blocked(&self, account: &BareJid, stanza: &Stanza, round: &mut Round) -> bool {
        let (Some(blocking), Some(from)) = (&self.blocking, &stanza.from) else { return false };
        let mut asked = blocking.is_blocked(account, from);
        let answer = match poll!(&mut asked) {
            Poll::Ready(answer) => answer,
            // The database must say: the others do not wait for that.
            Poll::Pending => {
                round.wake();
                asked.await
            }
        };
        // What is not known is not blocked: a room would fall silent with the database.
        answer.unwrap_or(false)
    }
}
