//! Which rooms a client of ours is in: a note about its session, so that rooms learn of the session's end, and the client
//! learns after a restart of the server that it is in none (XEP-0410, XEP-0045 §11.1).

use std::sync::Arc;

use waxwing_core::address::{BareJid, FullJid, Jid};
use waxwing_core::notes::Note;
use waxwing_core::session::Session;
use waxwing_core::stanza::{PresenceType, Stanza, StanzaType};

use crate::protocol::MUC;

/// So many rooms of one client are noted.
const MOST: usize = 1000;

/// The rooms that a client has entered, each with the nickname it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visits(Vec<FullJid>);

impl Note for Visits {
    const WRITTEN_AS: Option<&'static str> = Some("rooms");

    fn write_down(&self) -> String {
        self.0.iter().map(|visit| visit.as_str()).collect::<Vec<_>>().join("\n")
    }

    fn read_back(text: &str) -> Option<Visits> {
        Some(Visits(text.lines().filter_map(|line| FullJid::new(line).ok()).collect()))
    }
}

impl Visits {
    /// Notes a visit; the one to the same room that it takes the place of.
    fn note(&mut self, address: FullJid) -> Option<FullJid> {
        let before = self.forget(&address.to_bare());
        if self.0.len() < MOST {
            self.0.push(address);
        }
        before
    }

    fn has(&self, room: &BareJid) -> bool {
        self.0.iter().any(|known| known.to_bare() == *room)
    }

    fn forget(&mut self, room: &BareJid) -> Option<FullJid> {
        let place = self.0.iter().position(|known| known.to_bare() == *room)?;
        Some(self.0.remove(place))
    }
}

/// Notes what a client tells a room about itself.
/// What it stood in place of is given back, for [`undo`].
pub fn note(session: &Session, presence: &Stanza) -> Option<FullJid> {
    let to = presence.to.as_ref()?;
    match presence.what {
        StanzaType::Presence(PresenceType::Available) => {
            let address = to.try_as_full().ok()?.clone();
            let joins = presence.payload(MUC, "x").is_some();
            // Else it says something about itself where it is, or believes to be.
            let counts = joins || session.note().is_some_and(|visits: Visits| visits.has(&to.to_bare()));
            if counts { session.with_note(|visits: &mut Visits| visits.note(address)) } else { None }
        }
        StanzaType::Presence(PresenceType::Unavailable) => forget(session, &to.to_bare()),
        _ => None,
    }
}

/// The room has refused what was noted: its client is there as it was before, or not at all.
pub fn undo(session: &Session, presence: &Stanza, before: Option<FullJid>) {
    if presence.what != StanzaType::Presence(PresenceType::Available) {
        return;
    }
    match (before, &presence.to) {
        (Some(before), _) if session.has_note::<Visits>() => enter(session, before),
        (None, Some(to)) => leave(session, &to.to_bare()),
        _ => {}
    }
}

/// A client has come into a room.
pub fn enter(session: &Session, place: FullJid) {
    session.with_note(|visits: &mut Visits| visits.note(place));
}

/// A client is not in this room any more.
pub fn leave(session: &Session, room: &BareJid) {
    forget(session, room);
}

fn forget(session: &Session, room: &BareJid) -> Option<FullJid> {
    if !session.has_note::<Visits>() {
        return None;
    }
    let (visit, is_empty) = session.with_note(|visits: &mut Visits| (visits.forget(room), visits.0.is_empty()));
    if is_empty {
        session.take_note::<Visits>();
    }
    visit
}

/// Takes over which rooms a client is in.
pub fn take(session: &Arc<Session>) -> Vec<FullJid> {
    session.take_note::<Visits>().map(|visits| visits.0).unwrap_or_default()
}

/// The address of a client.
pub fn device(session: &Session) -> Jid {
    session.jid().clone().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> FullJid {
        FullJid::new(text).unwrap()
    }

    #[test]
    fn a_client_is_in_each_room_once_and_the_note_reads_back() {
        let mut visits = Visits::default();
        visits.note(jid("coven@chat.lit/a"));
        visits.note(jid("heath@chat.lit/The \u{265A}"));
        visits.note(jid("coven@chat.lit/b"));
        assert_eq!(visits.0, [jid("heath@chat.lit/The \u{265A}"), jid("coven@chat.lit/b")]);
        assert_eq!(Visits::read_back(&visits.write_down()), Some(visits.clone()));
        let coven = jid("coven@chat.lit/a").to_bare();
        assert!(visits.has(&coven));
        assert_eq!((visits.forget(&coven), visits.forget(&coven)), (Some(jid("coven@chat.lit/b")), None));
        assert!(!visits.has(&coven) && visits.0.len() == 1);
        assert_eq!(Visits::read_back(""), Some(Visits::default()));
    }
}
