//! Bringing what a room says to those it is for: into the mailboxes of our own clients, by the router to everyone else.

use std::sync::Arc;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::contracts::Blocking;
use waxwing_core::fabric::Home;
use waxwing_core::module::Context;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::session::Session;
use waxwing_core::stanza::{Kind, Stanza};

/// Brings stanzas of rooms.
pub struct Courier {
    context: Context,
    blocking: Option<Arc<dyn Blocking>>,
}

/// What became of a stanza.
enum Fate {
    /// It is in a mailbox of ours, or its recipient does not want it.
    Settled,
    /// Its recipient is a client of ours that is not there any more.
    Nobody,
    /// It is for somebody else.
    Elsewhere,
}

impl Courier {
    /// A courier of one host.
    pub fn new(context: Context) -> Courier {
        let blocking = context.contracts().blocking().cloned();
        Courier { context, blocking }
    }

    /// Brings stanzas in their order. Gives back the devices of ours that are not there any more.
    pub async fn bring(&self, stanzas: Vec<Stanza>) -> Vec<Jid> {
        let mut gone = Vec::new();
        for stanza in stanzas {
            let Some(to) = stanza.to.clone() else { continue };
            match self.settle(&to, &stanza).await {
                Fate::Settled => {}
                Fate::Nobody => gone.push(to),
                Fate::Elsewhere => self.context.send(stanza).await,
            }
        }
        gone
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
    async fn settle(&self, to: &Jid, stanza: &Stanza) -> Fate {
        let Ok(device) = to.try_as_full() else { return Fate::Elsewhere };
        let house = self.context.house();
        if house.host(to.domain()).is_none() || stanza.kind() == Kind::Iq {
            // A question to somebody who is gone must be answered: the router does.
            return Fate::Elsewhere;
        }
        let account = to.to_bare();
        if let Home::There(_) = house.fabric().home(&account) {
            return Fate::Elsewhere;
        }
        let Some(session) = house.directory().resource(&account, device.resource()) else { return Fate::Nobody };
        if self.is_blocked(&account, stanza).await {
            return Fate::Settled;
        }
        put(&session, stanza)
    }

    async fn is_blocked(&self, account: &BareJid, stanza: &Stanza) -> bool {
        let (Some(blocking), Some(from)) = (&self.blocking, &stanza.from) else { return false };
        // What is not known is not blocked: a room would fall silent with the database.
        blocking.is_blocked(account, from).await.unwrap_or(false)
    }
}

fn put(session: &Arc<Session>, stanza: &Stanza) -> Fate {
    match session.deliver(Parcel::new(stanza.clone(), Origin::House)) {
        Ok(()) => Fate::Settled,
        // Its end is on its way.
        Err(_) => Fate::Nobody,
    }
}
