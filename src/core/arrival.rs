//! Arrival: the way of a parcel into its recipient's hands (Guard … Rescue), once, on the recipient's host (RFC 6121 §8.5).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::address::{BareJid, Jid};
use crate::answers::Scope;
use crate::archive;
use crate::departure::{self, strip_forged_ids};
use crate::directory::Sessions;
use crate::fabric::Home;
use crate::host::Host;
use crate::parcel::{Origin, Parcel};
use crate::refusal::Refusal;
use crate::router;
use crate::session::Session;
use crate::stages::{Pass, Stage};
use crate::stanza::{IqType, Kind, MessageType, StanzaType};

/// Leads a parcel for an account of this host through the stages of arrival.
///
/// # Errors
/// What its sender is told.
pub(crate) async fn arrive(host: &Arc<Host>, parcel: &mut Parcel, to: &Jid) -> Result<(), Refusal> {
    let account = to.to_bare();
    if let Home::There(node) = host.house().fabric().home(&account) {
        if departure::settle(parcel).await? == Pass::Taken {
            return Ok(());
        }
        return host.house().fabric().forward(&node, router::hand_over(parcel)).await;
    }
    match parcel.origin {
        Origin::Remote(_) | Origin::Component(_) => strip_forged_ids(host.house(), &mut parcel.stanza)?,
        // A service may pass on ids of its own, and what others have written. Those of the account are the archive's.
        Origin::House if archive::kept_for(&account, &parcel.stanza).is_some() => {
            departure::strip_ids_of(&account, &mut parcel.stanza)?;
        }
        _ => {}
    }
    let exists = match parcel.stanza.kind() {
        // A short trouble of the database turns no message back.
        Kind::Message => host.house().database().patiently(|| host.account_exists(&account)).await?,
        Kind::Presence | Kind::Iq => host.account_exists(&account).await?,
    };
    if !exists {
        return nobody(host, parcel, to).await;
    }
    let catalogue = host.catalogue();
    for stage in [Stage::Guard, Stage::SettleReceived] {
        if catalogue.pass(stage, parcel).await? == Pass::Taken {
            return Ok(());
        }
    }
    if let StanzaType::Iq(of) = parcel.stanza.what {
        return arrive_iq(host, parcel, to, &account, of).await;
    }
    // Both copies are written together, where it is one host that writes them.
    let is_of_another_host = parcel.origin.session().is_some_and(|session| !Arc::ptr_eq(session.host(), host));
    if is_of_another_host && departure::settle(parcel).await? == Pass::Taken {
        return Ok(());
    }
    if catalogue.pass(Stage::ArchiveReceived, parcel).await? == Pass::Taken {
        return Ok(());
    }
    // From here on somebody sees it.
    if departure::settle(parcel).await? == Pass::Taken {
        return Ok(());
    }
    let choice = match parcel.stanza.what {
        StanzaType::Message(of) => choose_for_message(host, to, &account, of),
        _ => choose_for_presence(host, to, &account),
    };
    let rescuable = match choice {
        Choice::Deliver { to, rescuable } => {
            parcel.recipients = to;
            rescuable
        }
        Choice::Rescue => true,
        Choice::Silence => return Ok(()),
        Choice::Refuse => return Err(Refusal::service_unavailable()),
    };
    for stage in [Stage::Choose, Stage::CopyReceived] {
        if catalogue.pass(stage, parcel).await? == Pass::Taken {
            notice(host, parcel).await;
            return Ok(());
        }
    }
    if !deliver(parcel) && rescuable {
        rescue(host, parcel).await?;
    }
    notice(host, parcel).await;
    Ok(())
}

/// It has arrived, in hands or in store: whoever calls absent devices looks at it.
async fn notice(host: &Arc<Host>, parcel: &mut Parcel) {
    // Nothing is turned back any more.
    let _ = host.catalogue().pass(Stage::Notice, parcel).await;
}

/// Puts the stanza into each recipient's mailbox; whether anyone took it. The content is shared by all of them.
fn deliver(parcel: &mut Parcel) -> bool {
    let mut taken = false;
    for session in std::mem::take(&mut parcel.recipients) {
        taken |= session.deliver(Parcel::new(parcel.stanza.clone(), parcel.origin.clone())).is_ok();
    }
    taken
}

/// As [`rescue`], for what a session could not be given in the end: those who call absent devices look at it again.
pub(crate) async fn rescue_late(host: &Arc<Host>, parcel: &mut Parcel) -> Result<(), Refusal> {
    rescue(host, parcel).await?;
    notice(host, parcel).await;
    Ok(())
}

/// Nobody took it: keep it, else refuse it.
///
/// # Errors
/// `service-unavailable` when no module keeps it.
pub(crate) async fn rescue(host: &Arc<Host>, parcel: &mut Parcel) -> Result<(), Refusal> {
    let catalogue = host.catalogue();
    match catalogue.pass(Stage::Rescue, parcel).await? {
        Pass::Taken => Ok(()),
        Pass::Onward => Err(Refusal::service_unavailable()),
    }
}

/// Whether a message that nobody took may be kept for later, and whether its sender is to be told when it is not.
pub(crate) fn may_be_rescued(what: StanzaType) -> bool {
    matches!(what, StanzaType::Message(MessageType::Normal | MessageType::Chat))
}

/// There is no such account. Looks to the sender as an account that does not know him (RFC 6120 §13.11, RFC 6121 §8.5.1;
/// security row S25): an IQ is refused with the very words that its owner has for a stranger.
async fn nobody(host: &Arc<Host>, parcel: &Parcel, to: &Jid) -> Result<(), Refusal> {
    match parcel.stanza.what {
        StanzaType::Iq(IqType::Get | IqType::Set) => Err(match to.resource() {
            None => router::refusal_for_a_stranger(host, parcel).await,
            Some(_) => Refusal::service_unavailable(),
        }),
        StanzaType::Message(MessageType::Groupchat) if to.resource().is_none() => Err(Refusal::service_unavailable()),
        _ => Ok(()),
    }
}

/// RFC 6121 §8.5.2.1.3 and §8.5.3.1.3.
async fn arrive_iq(
    host: &Arc<Host>,
    parcel: &mut Parcel,
    to: &Jid,
    account: &BareJid,
    of: IqType,
) -> Result<(), Refusal> {
    let asks = matches!(of, IqType::Get | IqType::Set);
    let Some(resource) = to.resource() else {
        // The server answers for the account and never bothers a client with it. A result answers what the server has
        // asked in the account's name, or goes nowhere.
        if asks {
            return router::answer(host, Scope::Account, parcel).await;
        }
        host.questions().settle(&parcel.stanza);
        return Ok(());
    };
    parcel.recipients = host.house().directory().resource(account, resource).into_iter().collect();
    if !deliver(parcel) && asks { Err(Refusal::service_unavailable()) } else { Ok(()) }
}

/// Which devices get it.
enum Choice {
    /// These; when they are all gone a moment later and it is `rescuable`, it is rescued.
    Deliver {
        /// The sessions.
        to: SmallVec<[Arc<Session>; 2]>,
        /// Whether it may be kept instead.
        rescuable: bool,
    },
    /// None is there: keep it.
    Rescue,
    /// None, and nobody is told.
    Silence,
    /// None, and the sender is told.
    Refuse,
}

/// What the table of RFC 6121 §8.5.4 says, before sessions are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// To the resource that is named.
    Named,
    /// To every resource with a priority that is not negative.
    All,
    /// Keep it for later.
    Store,
    /// Drop it.
    Silent,
    /// Tell the sender.
    Error,
}

/// RFC 6121 §8.5.4. `named`: the address has a resource, and whether it is online. `open`: a resource with a priority
/// that is not negative is there.
fn verdict(of: MessageType, named: Option<bool>, open: bool) -> Verdict {
    match (of, named) {
        (_, Some(true)) => Verdict::Named,
        // A chat message to a resource that has gone is one to the person (§8.5.3.2.1).
        (MessageType::Chat, _) if open => Verdict::All,
        (MessageType::Chat, _) => Verdict::Store,
        (_, Some(false)) | (MessageType::Error, None) => Verdict::Silent,
        (MessageType::Groupchat, None) => Verdict::Error,
        (MessageType::Normal | MessageType::Headline, None) if open => Verdict::All,
        (MessageType::Normal, None) => Verdict::Store,
        (MessageType::Headline, None) => Verdict::Silent,
    }
}

fn choose_for_message(host: &Host, to: &Jid, account: &BareJid, of: MessageType) -> Choice {
    let directory = host.house().directory();
    let named = to.resource().map(|resource| directory.resource(account, resource));
    let mut open: Sessions = directory.sessions(account);
    open.retain(|session| session.priority().is_some_and(|priority| priority >= 0));
    let rescuable = may_be_rescued(StanzaType::Message(of));
    match verdict(of, named.as_ref().map(Option::is_some), !open.is_empty()) {
        Verdict::Named => Choice::Deliver { to: named.flatten().into_iter().collect(), rescuable },
        Verdict::All => Choice::Deliver { to: open, rescuable },
        Verdict::Store => Choice::Rescue,
        Verdict::Silent => Choice::Silence,
        Verdict::Error => Choice::Refuse,
    }
}

/// RFC 6121 §8.5.2.1.2 and §8.5.3: to every available resource, or to the one that is named.
fn choose_for_presence(host: &Host, to: &Jid, account: &BareJid) -> Choice {
    let directory = host.house().directory();
    let to = match to.resource() {
        Some(resource) => directory.resource(account, resource).into_iter().collect(),
        None => directory.available(account),
    };
    Choice::Deliver { to, rescuable: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use MessageType::{Chat, Error, Groupchat, Headline, Normal};

    /// One row of RFC 6121 §8.5.4: D to the named, A to all that are open, O store, S silent, E error.
    fn row(named: Option<bool>, open: bool) -> String {
        [Normal, Chat, Groupchat, Headline]
            .map(|of| match verdict(of, named, open) {
                Verdict::Named => 'D',
                Verdict::All => 'A',
                Verdict::Store => 'O',
                Verdict::Silent => 'S',
                Verdict::Error => 'E',
            })
            .iter()
            .collect()
    }

    #[test]
    fn the_delivery_table_of_rfc_6121() {
        assert_eq!(row(None, false), "OOES");
        assert_eq!(row(Some(false), false), "SOSS");
        assert_eq!(row(Some(true), false), "DDDD");
        assert_eq!(row(None, true), "AAEA");
        assert_eq!(row(Some(false), true), "SASS");
        assert_eq!(row(Some(true), true), "DDDD");
    }

    #[test]
    fn c68_errors_go_to_a_named_resource_or_nowhere() {
        assert_eq!(verdict(Error, None, true), Verdict::Silent);
        assert_eq!(verdict(Error, Some(false), true), Verdict::Silent);
        assert_eq!(verdict(Error, Some(true), true), Verdict::Named);
    }
}
