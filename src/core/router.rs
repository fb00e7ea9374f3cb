//! The router: where does it live? Our account, our service, our host, or another server (RFC 6120 §10).

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};

use crate::address::Jid;
use crate::answers::{Answer, Request, Scope};
use crate::arrival;
use crate::departure;
use crate::host::Host;
use crate::house::{House, Place};
use crate::parcel::{Origin, Parcel};
use crate::refusal::Refusal;
use crate::stages::Pass;
use crate::stanza::{IqType, Stanza, StanzaType};

/// Routes a parcel. A refusal becomes a stanza error on a journey of its own (RFC 6120 §8.3).
pub async fn dispatch(house: &Arc<House>, mut parcel: Parcel) {
    let routed = match route(house, &mut parcel).await {
        // What was promised holds also where nobody got the parcel. What is refused is stored nowhere.
        Ok(()) => departure::settle(&mut parcel).await.map(|_| ()),
        refused => refused,
    };
    if let Err(refusal) = routed {
        bounce(house, &parcel, &refusal).await;
    }
}

/// Sends the error for a refused parcel back to who sent it; nothing for errors and results.
pub async fn bounce(house: &Arc<House>, parcel: &Parcel, refusal: &Refusal) {
    if let Ok(Some(error)) = Stanza::error_for(&parcel.stanza, refusal) {
        reply(house, &parcel.origin, error).await;
    }
}

/// Sends a reply to who brought the question: straight into the mailbox of a client of ours, else by the router.
fn reply<'a>(house: &'a Arc<House>, origin: &Origin, reply: Stanza) -> BoxFuture<'a, ()> {
    let mut parcel = Parcel::new(reply, Origin::House);
    if let Origin::Session(session) = origin {
        let _ = session.deliver(parcel);
        return std::future::ready(()).boxed();
    }
    async move {
        // An error or a result is never answered, so this ends here.
        if let Err(refusal) = route(house, &mut parcel).await {
            tracing::debug!(refusal = %refusal, "router.reply_not_delivered");
        }
    }
    .boxed()
}

/// Finds who is responsible for a parcel and hands it over.
async fn route(house: &Arc<House>, parcel: &mut Parcel) -> Result<(), Refusal> {
    let Some(to) = parcel.stanza.to.clone() else {
        return Err(Refusal::bad_request().saying("nobody is named to receive it"));
    };
    let place = house.place(to.domain());
    // Only an account of ours waits for what is written together with its own copy.
    let is_for_account = matches!(place, Place::Host(_)) && to.node().is_some();
    if !is_for_account && departure::settle(parcel).await? == Pass::Taken {
        return Ok(());
    }
    match place {
        Place::Host(host) if to.node().is_some() => arrival::arrive(&host, parcel, &to).await,
        Place::Host(host) => to_host(&host, parcel, &to).await,
        Place::Service(_, module) => module.receive(hand_over(parcel)).await,
        Place::Nowhere => Err(Refusal::item_not_found().saying("nothing of that name is served here")),
        Place::Elsewhere => to_another_server(house, parcel).await,
    }
}

/// Gives the parcel away and keeps its head, to answer it with.
pub(crate) fn hand_over(parcel: &mut Parcel) -> Parcel {
    let head = Parcel::new(parcel.stanza.head(), parcel.origin.clone());
    std::mem::replace(parcel, head)
}

/// A stanza for the host itself.
async fn to_host(host: &Arc<Host>, parcel: &Parcel, to: &Jid) -> Result<(), Refusal> {
    match parcel.stanza.what {
        StanzaType::Iq(IqType::Get | IqType::Set) if to.resource().is_none() => answer(host, Scope::Host, parcel).await,
        StanzaType::Iq(IqType::Result | IqType::Error) => {
            if to.resource().is_none() {
                host.questions().settle(&parcel.stanza);
            }
            Ok(())
        }
        // Presence to a host has no meaning yet.
        StanzaType::Presence(_) => Ok(()),
        _ => Err(Refusal::service_unavailable()),
    }
}

/// Lets the owner of an IQ's namespace answer it.
pub(crate) async fn answer(host: &Arc<Host>, scope: Scope, parcel: &Parcel) -> Result<(), Refusal> {
    let request = Request { stanza: &parcel.stanza, scope, session: parcel.origin.session(), stranger: None };
    let owner = host.catalogue().owner(scope, request.payload().namespace()).cloned();
    let Some(owner) = owner else { return Err(Refusal::service_unavailable()) };
    let mut result = Stanza::result_of(&parcel.stanza);
    match owner.answer(request).await? {
        Answer::Sent => return Ok(()),
        Answer::Empty => {}
        Answer::Payload(payload) => result.add(payload),
    }
    reply(host.house(), &parcel.origin, result).await;
    Ok(())
}

/// What the owner of an IQ's namespace says to somebody the account does not know; asked when there is no such account.
pub(crate) async fn refusal_for_a_stranger(host: &Arc<Host>, parcel: &Parcel) -> Refusal {
    let request =
        Request { stanza: &parcel.stanza, scope: Scope::Account, session: parcel.origin.session(), stranger: None };
    match host.catalogue().owner(Scope::Account, request.payload().namespace()).cloned() {
        Some(owner) => owner.answer(request).await.err().unwrap_or_else(Refusal::service_unavailable),
        None => Refusal::service_unavailable(),
    }
}

async fn to_another_server(house: &Arc<House>, parcel: &mut Parcel) -> Result<(), Refusal> {
    let host = parcel.stanza.from.as_ref().and_then(|from| match house.place(from.domain()) {
        Place::Host(host) | Place::Service(host, _) => Some(host),
        Place::Nowhere | Place::Elsewhere => None,
    });
    match host.as_ref().and_then(|host| host.contracts().federation()) {
        // RFC 6120 §10.4: what comes from another server is never relayed to a third one.
        Some(federation) if !matches!(parcel.origin, Origin::Remote(_)) => federation.send(hand_over(parcel)).await,
        Some(_) => Err(Refusal::remote_server_not_found().saying("nothing is relayed from one server to another")),
        None => Err(Refusal::remote_server_not_found().saying("this server does not talk to other servers")),
    }
}
