//! What a client says about itself to everyone who may know: that it is there, how it is, that it is gone (§4.2, §4.4,
//! §4.5). And what the server says for it when it is gone without a word.

use std::sync::Arc;
use std::time::Duration;

use waxwing_core::address::Jid;
use waxwing_core::events::Event;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::Pass;
use waxwing_core::stanza::{PresenceType, Stanza};

use crate::Presence;
use crate::audience::{beside_watchers, watched, watchers};
use crate::directed::{self, Speaking};

/// After so many stanzas a broadcast lets others work: those who write them to their clients, first of all.
const AT_ONCE: usize = 32;

impl Presence {
    /// A client says that it is there, or how it is.
    pub(crate) async fn come(&self, session: &Arc<Session>, stanza: &Stanza) -> Result<Pass, Refusal> {
        let speaking = Speaking::begin(session);
        if !self.is_here(session) {
            return Ok(Pass::Taken);
        }
        // First, so that whoever gains the right to see the account from now on is shown this.
        let before = session.set_presence(Some(stanza.clone()));
        let account = session.account();
        let contacts = match self.contacts_of(account).await {
            Ok(contacts) => contacts,
            Err(error) => {
                session.set_presence(before.map(Arc::unwrap_or_clone));
                return Err(error.into());
            }
        };
        let is_first = before.is_none();
        // Everyone sees himself: the other devices and this one (§4.2.2, §4.4.2).
        self.context.send(stanza.clone().to(account.clone())).await;
        for (sent, contact) in watchers(&contacts).enumerate() {
            if !self.is_here(session) {
                // Its end is waiting to be told.
                return Ok(Pass::Taken);
            }
            let contact = Jid::from(contact.clone());
            if !self.is_blocked(account, &contact).await {
                self.context.send(stanza.clone().to(contact)).await;
            }
            breathe(sent).await;
        }
        if is_first {
            self.show_own_devices(session);
            for (sent, contact) in watched(&contacts).enumerate() {
                if !self.is_here(session) {
                    return Ok(Pass::Taken);
                }
                let contact = Jid::from(contact.clone());
                if !self.is_blocked(account, &contact).await {
                    // From the full JID, though §4.3.1 writes the bare one: so the answer comes to this device alone,
                    // and the others are not told again what they know.
                    let probe = Stanza::presence(PresenceType::Probe).from(session.jid().clone()).to(contact);
                    self.context.send(probe).await;
                    give_time_to_read(session).await;
                }
                breathe(sent).await;
            }
        }
        drop(speaking);
        self.context.tell(Event::Available { session: session.clone(), first: is_first }).await;
        Ok(Pass::Taken)
    }

    /// A device that has come online is shown the account's other devices.
    fn show_own_devices(&self, session: &Arc<Session>) {
        for other in self.context.directory().available(session.account()) {
            if Arc::ptr_eq(&other, session) {
                continue;
            }
            if let Some(presence) = other.presence() {
                let shown = Stanza::clone(&presence).to(session.jid().clone());
                let _ = session.deliver(Parcel::new(shown, Origin::House));
            }
        }
    }

    /// A client says that it is gone. It may come back in the same session.
    pub(crate) async fn go(&self, session: &Arc<Session>, stanza: &Stanza) -> Result<Pass, Refusal> {
        let _speaking = Speaking::begin(session);
        if !self.is_here(session) {
            return Ok(Pass::Taken);
        }
        let was_available = session.set_presence(None).is_some();
        if was_available {
            // It is told itself, too (§4.5.2), though it is available no more.
            let own = stanza.clone().to(session.account().clone());
            let _ = session.deliver(Parcel::new(own, Origin::House));
        }
        self.tell_that_gone(session, stanza, was_available).await;
        Ok(Pass::Taken)
    }

    /// A session is over. If its client has not said that it is gone, the server does, to everyone who believes that it
    /// is there (§4.5.2).
    pub(crate) async fn farewell(&self, session: &Arc<Session>) {
        directed::silence(session).await;
        let was_available = session.priority().is_some();
        let stanza = Stanza::presence(PresenceType::Unavailable).from(session.jid().clone());
        self.tell_that_gone(session, &stanza, was_available).await;
    }

    /// Tells everyone who has been shown that a session is there that it is gone; each once.
    async fn tell_that_gone(&self, session: &Arc<Session>, stanza: &Stanza, was_available: bool) {
        let account = session.account();
        let directed = directed::take(session);
        if !was_available && directed.is_empty() {
            return;
        }
        let contacts = self.contacts_of(account).await.unwrap_or_else(|error| {
            tracing::error!(%account, %error, "presence.contacts_not_told");
            Arc::from([])
        });
        if was_available {
            self.context.send(stanza.clone().to(account.clone())).await;
            for (sent, contact) in watchers(&contacts).enumerate() {
                let contact = Jid::from(contact.clone());
                if !self.is_blocked(account, &contact).await {
                    self.context.send(stanza.clone().to(contact)).await;
                }
                breathe(sent).await;
            }
        }
        let besides = beside_watchers(account, &contacts, directed, was_available);
        for (sent, address) in besides.into_iter().enumerate() {
            self.context.send(stanza.clone().to(address)).await;
            breathe(sent).await;
        }
    }
}

/// A client with a thousand contacts who are there gets as many answers to its probes at once. As long as it reads, it is
/// not disconnected for that.
async fn give_time_to_read(session: &Session) {
    const ROOM: usize = 128 * 1024;
    const PAUSE: Duration = Duration::from_millis(10);
    const ATTEMPTS: usize = 100;
    for _ in 0..ATTEMPTS {
        if session.room() >= ROOM || session.has_ended() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Lets others work now and then.
async fn breathe(sent: usize) {
    if sent % AT_ONCE == AT_ONCE - 1 {
        tokio::task::yield_now().await;
    }
}
