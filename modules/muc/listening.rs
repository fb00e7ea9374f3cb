//! A client asks the service to be told in which of its rooms something is said while it is not there (XEP-0437 §3).

use std::collections::HashSet;
use std::sync::Arc;

use waxwing_core::address::{BareJid, DomainPart};
use waxwing_core::parcel::Origin;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stanza::{PresenceType, Stanza, StanzaType};

use crate::activity::{Listens, indicator};
use crate::protocol::ACTIVITY;
use crate::rooms::Rooms;
use crate::visits::device;

/// Hears presence to the service itself.
///
/// # Errors
/// What whoever has sent it is told: only who has an account here may ask.
pub async fn hear(rooms: &Rooms, service: &DomainPart, presence: &Stanza, origin: &Origin) -> Result<(), Refusal> {
    match presence.what {
        StanzaType::Presence(PresenceType::Available) if presence.payload(ACTIVITY, "rai").is_some() => {
            let Some(session) = origin.session() else {
                return Err(Refusal::not_allowed().saying("only clients of this server are told"));
            };
            session.with_note(|_: &mut Listens| ());
            listen(rooms, service, session).await
        }
        StanzaType::Presence(PresenceType::Unavailable) => {
            if let Some(session) = origin.session() {
                stop(rooms, session);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A session is over, or does not want to know any more.
pub fn stop(rooms: &Rooms, session: &Session) {
    if session.take_note::<Listens>().is_some() {
        rooms.activity.stop(&device(session));
    }
}

/// Tells a client in which rooms something was said since its account was there, and listens for it from now on.
///
/// # Errors
/// When the database does not answer.
pub async fn listen(rooms: &Rooms, service: &DomainPart, session: &Arc<Session>) -> Result<(), Refusal> {
    let account = session.jid().to_bare();
    let most = rooms.rules.settings.indicated_rooms.get().min(10_000);
    let found = rooms.store.activity(&account, service, most).await?;
    let device = device(session);
    rooms.activity.listen(&device, found.iter().map(|(room, ..)| room.clone()).collect::<HashSet<_>>());
    // Looked at after the client listens: what was said in between is seen here or there.
    let is_news = |(room, active, seen): &(BareJid, i64, i64)| match rooms.pace(room) {
        Some(pace) => pace.is_news(&account, *active, *seen),
        None => active > seen,
    };
    let news: Vec<BareJid> = found.iter().filter(|of| is_news(of)).map(|(room, ..)| room.clone()).collect();
    if !news.is_empty() {
        rooms.activity.told(&device, &news);
        let service = BareJid::from_parts(None, service);
        rooms.courier.bring(vec![indicator(service, device, &news)]).await;
    }
    // It may have gone while the database was asked; then nobody tells us any more.
    if !session.has_note::<Listens>() {
        rooms.activity.stop(&crate::visits::device(session));
    }
    Ok(())
}
