//! Presence that changes a subscription, on its way out and in (RFC 6121 §3): what it changes is stored first, then it
//! goes on, then everyone hears of what has changed.

use std::sync::Arc;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::events::Event;
use waxwing_core::parcel::{Origin, Parcel};
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::Pass;
use waxwing_core::stanza::{PresenceType, Stanza, StanzaType, element};

use crate::item::Item;
use crate::subscription::{Outcome, Sight, Signal, State};
use crate::{Roster, has_room};

/// Which way a signal goes, seen from the account.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// From the account to the contact.
    Sent,
    /// From the contact to the account: the stanza, and who brought it.
    Received(&'a Stanza, &'a Origin),
}

impl Way<'_> {
    fn decide(self, state: State, signal: Signal) -> Outcome {
        match self {
            Way::Sent => state.sent(signal),
            Way::Received(..) => state.received(signal),
        }
    }
}

impl Roster {
    /// One of the account's clients sends a presence.
    pub(crate) async fn settle_sent(&self, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let StanzaType::Presence(of) = parcel.stanza.what else { return Ok(Pass::Onward) };
        let Some(signal) = Signal::of(of) else { return Ok(Pass::Onward) };
        let Some(session) = parcel.origin.session() else { return Ok(Pass::Onward) };
        let Some(contact) = parcel.stanza.to.as_ref().map(Jid::to_bare) else {
            return Err(Refusal::bad_request().saying("a subscription is to somebody: `to` is missing"));
        };
        let account = session.account().clone();
        if contact == account {
            // Everyone sees himself: there is nothing to ask for and nothing to end.
            return Ok(Pass::Taken);
        }
        let outcome = self.settle(&account, &contact, signal, Way::Sent).await?;
        match outcome.sight {
            // The contact is told before it sees anything (§3.1.5).
            Some(Sight::Granted) => {
                self.context.house().send(Parcel::new(parcel.stanza.clone(), parcel.origin.clone())).await;
                self.tell(Sight::Granted, account, contact).await;
                return Ok(Pass::Taken);
            }
            // It is over before the contact is told (§3.2.2).
            Some(Sight::Ended) => self.tell(Sight::Ended, account, contact).await,
            None => {}
        }
        Ok(if outcome.goes_on { Pass::Onward } else { Pass::Taken })
    }

    /// A presence arrives for the account. Signals end here: they do not go to the clients that other presence goes to.
    pub(crate) async fn settle_received(&self, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let StanzaType::Presence(of) = parcel.stanza.what else { return Ok(Pass::Onward) };
        let Some(signal) = Signal::of(of) else { return Ok(Pass::Onward) };
        let (Some(from), Some(to)) = (&parcel.stanza.from, &parcel.stanza.to) else { return Ok(Pass::Taken) };
        let (contact, account) = (from.to_bare(), to.to_bare());
        if contact == account {
            return Ok(Pass::Taken);
        }
        // A subscription is between accounts (§3.1.2), whatever another server wrote.
        let stanza = parcel.stanza.clone().from(contact.clone()).to(account.clone());
        let outcome = self.settle(&account, &contact, signal, Way::Received(&stanza, &parcel.origin)).await?;
        if outcome.agrees {
            self.say(PresenceType::Subscribed, &account, &contact).await;
        }
        if let Some(sight) = outcome.sight {
            self.tell(sight, account, contact).await;
        }
        Ok(Pass::Taken)
    }

    /// Stores what a signal changes; then the account's clients get the signal, if it is for them, and hear of the
    /// change.
    async fn settle(
        &self,
        account: &BareJid,
        contact: &BareJid,
        signal: Signal,
        way: Way<'_>,
    ) -> Result<Outcome, Refusal> {
        // Many signals change nothing: a flood of them costs no transaction.
        let before = self.rosters.store.read_one(account, contact).await?.state();
        let outcome = way.decide(before, signal);
        if outcome.state == before {
            return Ok(outcome);
        }
        let mut turn = self.rosters.turn(account);
        turn.will_change();
        let (outcome, item) = self.change(account, contact, signal, way).await?;
        turn.changed();
        if let Way::Received(stanza, origin) = way
            && outcome.goes_on
        {
            self.deliver(account, signal, stanza, origin);
        }
        if let Some(item) = item {
            self.push(&turn, account, contact, item.version, |writer| item.write(writer));
        }
        Ok(outcome)
    }

    /// Decides once more, now that nobody else changes the roster, and commits what follows. Gives back the contact's
    /// item when clients see it changed.
    async fn change(
        &self,
        account: &BareJid,
        contact: &BareJid,
        signal: Signal,
        way: Way<'_>,
    ) -> Result<(Outcome, Option<Item>), Refusal> {
        let mut change = self.rosters.store.change(account).await?;
        let entry = change.read_one(contact).await?;
        let before = entry.state();
        let outcome = way.decide(before, signal);
        match (before.is_asked, outcome.state.is_asked, way) {
            (true, false, _) => change.drop_request(contact).await?,
            (false, true, Way::Received(stanza, _)) => {
                let request = self.request_to_keep(stanza);
                if !change.keep_request(contact, &request, self.settings.requests.get()).await? {
                    tracing::info!(%account, %contact, "roster.too_many_requests");
                    return Ok((Outcome { state: before, goes_on: false, agrees: false, sight: None }, None));
                }
            }
            _ => {}
        }
        // What the contact has asked for is not shown to clients: it is no part of an item.
        let shown = State { is_asked: false, ..outcome.state };
        let mut item = None;
        if shown != (State { is_asked: false, ..before }) {
            let known = match entry.item {
                Some(item) => item,
                None => {
                    self.admit_one_more(change.count().await?)?;
                    Item::new(contact.clone())
                }
            };
            let mut changed = Item { state: shown, ..known };
            change.put(&mut changed).await?;
            item = Some(changed);
        }
        change.commit().await?;
        Ok((outcome, item))
    }

    /// The request as it is kept: whole, with all that its sender put into it (§3.1.3), unless that is too much.
    fn request_to_keep(&self, stanza: &Stanza) -> Vec<u8> {
        let whole = stanza.to_bytes();
        if self.settings.request_bytes.allows(whole.len()) {
            return whole;
        }
        let mut bare = Stanza::new(stanza.what);
        bare.from = stanza.from.clone();
        bare.to = stanza.to.clone();
        bare.to_bytes()
    }

    /// Gives a signal to the clients it is for: a request to those that are available (§3.1.3), what becomes of it to
    /// those that have asked for the roster (§3.1.6, §3.2.3, §3.3.3).
    fn deliver(&self, account: &BareJid, signal: Signal, stanza: &Stanza, origin: &Origin) {
        for session in self.context.directory().sessions(account) {
            let is_meant = match signal {
                Signal::Subscribe => session.priority().is_some(),
                _ => session.is_interested(),
            };
            if is_meant {
                let _ = session.deliver(Parcel::new(stanza.clone(), origin.clone()));
            }
        }
    }

    /// A client has come online: it gets every request that nobody has answered (§3.1.3).
    pub(crate) async fn deliver_requests(&self, session: &Arc<Session>) {
        let account = session.account();
        let requests = match self.rosters.store.read_requests(account, self.settings.requests.get()).await {
            Ok(requests) => requests,
            Err(error) => {
                tracing::warn!(%account, %error, "roster.requests_not_delivered");
                return;
            }
        };
        for request in requests {
            let Ok(Some(Ok(stanza))) = element(request).map(Stanza::read) else { continue };
            // What does not fit comes at the next login.
            if !has_room(session, stanza.size()).await || session.deliver(Parcel::new(stanza, Origin::House)).is_err() {
                return;
            }
        }
    }

    /// Tells the house what a contact may see from now on.
    async fn tell(&self, sight: Sight, account: BareJid, contact: BareJid) {
        let event = match sight {
            Sight::Granted => Event::SubscriptionGranted { account, contact },
            Sight::Ended => Event::SubscriptionEnded { account, contact },
        };
        self.context.tell(event).await;
    }
}
