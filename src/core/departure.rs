//! Departure: the way of a stanza out of its sender's hands (Vet, Stamp, SettleSent, ArchiveSent, CopySent), once.
//!
//! The last of it happens a little later: what ArchiveSent has promised is stored together with the recipient's copy, if that
//! is stored here too, and only then the sender's other devices are told.

use std::sync::Arc;

use waxwing_xml::{Child, Element};

use crate::address::{self, BareJid};
use crate::fail_point;
use crate::fault::Fault;
use crate::house::House;
use crate::namespaces;
use crate::parcel::{Origin, Parcel};
use crate::refusal::Refusal;
use crate::router;
use crate::session::Session;
use crate::stages::{Pass, Stage};
use crate::stanza::{Kind, Stanza, StanzaType};
use crate::stream_error::{StreamCondition, StreamError};

/// Takes a first-level element from a bound client, read from the wire with this number. When it returns, everything the
/// stanza had to change is stored and everyone who gets it has it in the mailbox: only then is it counted as handled and
/// may be acknowledged.
///
/// # Errors
/// What ends the stream.
pub async fn depart(session: &Arc<Session>, wire_number: u32, element: Element) -> Result<(), StreamError> {
    // Another stream may have resumed the session in the meantime: then this one has nothing more to say.
    let Some(_departing) = session.begin_departure(wire_number).await else { return Ok(()) };
    let owner = session.host().catalogue().stream_owner(element.namespace(), element.name()).cloned();
    if let Some(owner) = owner {
        return owner.stream(session, element).await;
    }
    if element.namespace() != namespaces::CLIENT {
        return Err(StreamCondition::UnsupportedStanzaType.into());
    }
    match Stanza::read(element) {
        None => return Err(StreamCondition::UnsupportedStanzaType.into()),
        Some(Ok(stanza)) => {
            session.host().house().metrics().received(&stanza);
            fail_point::reached("departure", &stanza);
            let mut parcel = Parcel::new(stanza, Origin::Session(session.clone()));
            match leave(session, &mut parcel).await {
                // From here on the router answers for refusals.
                Ok(Pass::Onward) => router::dispatch(session.host().house(), parcel).await,
                Ok(Pass::Taken) => {}
                Err(refusal) => turn_back(session, &parcel.stanza, &refusal),
            }
        }
        Some(Err(malformed)) => turn_back(session, &malformed.stanza, &malformed.refusal),
    }
    session.count_handled();
    Ok(())
}

/// Leads a parcel through the stages of departure.
async fn leave(session: &Arc<Session>, parcel: &mut Parcel) -> Result<Pass, Refusal> {
    let catalogue = session.host().catalogue();
    if catalogue.pass(Stage::Vet, parcel).await? == Pass::Taken {
        return Ok(Pass::Taken);
    }
    stamp(session, &mut parcel.stanza)?;
    for stage in [Stage::Stamp, Stage::SettleSent, Stage::ArchiveSent] {
        if catalogue.pass(stage, parcel).await? == Pass::Taken {
            return Ok(Pass::Taken);
        }
    }
    let has_others = || session.host().house().directory().sessions(session.account()).len() > 1;
    if catalogue.stands(Stage::CopySent, parcel.stanza.kind()) && has_others() {
        // As it is now: on arrival it is given ids that concern the recipient alone.
        parcel.departed = Some(parcel.stanza.clone());
    }
    Ok(Pass::Onward)
}

/// Stores what was promised on the way so far, and tells the sender's other devices then (CopySent). Called before anybody
/// else sees the parcel, and where its way ends without that.
///
/// # Errors
/// What its sender is told when something was not stored.
pub(crate) async fn settle(parcel: &mut Parcel) -> Result<Pass, Refusal> {
    parcel.keep_promises().await?;
    let (Some(departed), Some(session)) = (parcel.departed.take(), parcel.origin.session().cloned()) else {
        return Ok(Pass::Onward);
    };
    let arriving = std::mem::replace(&mut parcel.stanza, departed);
    let passed = session.host().catalogue().pass(Stage::CopySent, parcel).await;
    parcel.stanza = arriving;
    passed
}

/// Core's own part of Stamp: who says so, in which language, and no ids that only a server may give.
fn stamp(session: &Session, stanza: &mut Stanza) -> Result<(), Fault> {
    // RFC 6120 §8.1.2.1: the full JID, or the bare JID where RFC 6121 wants it.
    stanza.from = Some(match stanza.what {
        StanzaType::Presence(of) if of.is_subscription() => session.account().clone().into(),
        _ => session.jid().clone().into(),
    });
    // A subscription is between accounts (RFC 6121 §3.1.2).
    if let (StanzaType::Presence(of), Some(to)) = (stanza.what, &stanza.to)
        && of.is_subscription()
        && to.resource().is_some()
    {
        stanza.to = Some(to.to_bare().into());
    }
    // What has no address is for the sender's own account (RFC 6120 §10.3), but for presence, which is for everyone.
    if stanza.to.is_none() && !matches!(stanza.what, StanzaType::Presence(_)) {
        stanza.to = Some(session.account().clone().into());
    }
    if stanza.lang.is_none() {
        stanza.lang = session.circumstances().lang.clone();
    }
    strip_forged_ids(session.host().house(), stanza)
}

/// Takes away every stanza id that claims to be from us (XEP-0359 §3; all of them, not the first). An IQ keeps what it has:
/// there an id means nothing, and without it there would be nothing left to answer.
///
/// # Errors
/// A fault when what is left cannot be read again.
pub fn strip_forged_ids(house: &House, stanza: &mut Stanza) -> Result<(), Fault> {
    if stanza.what.kind() == Kind::Iq {
        return Ok(());
    }
    stanza.remove_payloads(|payload: Child<'_>| {
        payload.namespace() == namespaces::STANZA_IDS
            && payload.name() == "stanza-id"
            // An address that cannot be read is nobody's id: it goes too.
            && payload
                .attribute("by")
                .and_then(|by| address::read(&by).ok())
                .is_none_or(|by| house.is_ours(by.domain()))
    })
}

/// Takes away every stanza id that claims to be the account's.
///
/// # Errors
/// A fault when what is left cannot be read again.
pub(crate) fn strip_ids_of(account: &BareJid, stanza: &mut Stanza) -> Result<(), Fault> {
    stanza.remove_payloads(|payload: Child<'_>| {
        payload.namespace() == namespaces::STANZA_IDS
            && payload.name() == "stanza-id"
            && payload.attribute("by").is_some_and(|by| by == account.as_str())
    })
}

/// Answers a refused stanza with its error, straight to the session that sent it.
fn turn_back(session: &Arc<Session>, stanza: &Stanza, refusal: &Refusal) {
    let mut answered = stanza.clone();
    answered.from = Some(session.jid().clone().into());
    match Stanza::error_for(&answered, refusal) {
        Ok(Some(error)) => {
            let _ = session.deliver(Parcel::new(error, Origin::House));
        }
        Ok(None) => {}
        Err(fault) => tracing::debug!(fault = fault.id(), "departure.no_answer"),
    }
}
