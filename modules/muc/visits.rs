//! Which rooms a client of ours is in: a note about its session, so that rooms learn of the session's end, and the client
//! learns after a restart of the server that it is in none (XEP-0410, XEP-0045 §11.1).

use std::sync::Arc;

use waxwing_core::address::{BareJid, FullJid, Jid};
use waxwing_core::notes::Note;
use waxwing_core::session::Session;
use waxwing_core::stanza::{PresenceType, Stanza, StanzaType};

/// So many rooms of one client are noted.
const MOST: usize = 1000;

/// The rooms that a client has shown itself to, each with the nickname it asked for.
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
    fn note(&mut self, address: FullJid) {
        let room = address.to_bare();
        self.0.retain(|known| known.to_bare() != room);
        if self.0.len() < MOST {
            self.0.push(address);
        }
    }

    fn forget(&mut self, room: &BareJid) {
        self.0.retain(|known| known.to_bare() != *room);
    }
}

/// Notes what a client tells a room about itself.
pub fn note(session: &Session, presence: &Stanza) {
    let Some(to) = &presence.to else { return };
    match presence.what {
        StanzaType::Presence(PresenceType::Available) => {
            if let Ok(address) = FullJid::try_from(to.clone()) {
                session.with_note(|visits: &mut Visits| visits.note(address));
            }
        }
        StanzaType::Presence(PresenceType::Unavailable) if session.has_note::<Visits>() => {
            let room = to.to_bare();
            let is_empty = session.with_note(|visits: &mut Visits| {
                visits.forget(&room);
                visits.0.is_empty()
            });
            if is_empty {
                session.take_note::<Visits>();
            }
        }
        _ => {}
    }
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
        visits.forget(&jid("coven@chat.lit/a").to_bare());
        assert_eq!(visits.0.len(), 1);
        assert_eq!(Visits::read_back(""), Some(Visits::default()));
    }
}
