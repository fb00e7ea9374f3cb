//! Whom a session has shown itself to besides its contacts (RFC 6121 §4.6), and whether it is speaking right now.

use std::sync::Arc;

use tokio::sync::Notify;
use waxwing_core::address::Jid;
use waxwing_core::notes::Note;
use waxwing_core::parcel::Parcel;
use waxwing_core::refusal::Refusal;
use waxwing_core::session::Session;
use waxwing_core::stages::Pass;

use crate::Presence;

/// What is noted about a session. There is none while it says nothing and has shown itself to contacts only.
#[derive(Default)]
pub struct Outgoing {
    /// Whom it has shown itself to, each once.
    directed: Vec<Jid>,
    /// Set while its presence is on its way to somebody; told when that is done.
    speaking: Option<Arc<Notify>>,
}

impl Note for Outgoing {
    const WRITTEN_AS: Option<&'static str> = Some("presence.directed");

    fn write_down(&self) -> String {
        self.directed.iter().map(Jid::as_str).collect::<Vec<_>>().join("\n")
    }

    fn read_back(written: &str) -> Option<Outgoing> {
        // What was an address once and is none for a newer library is nobody who could be told.
        let directed = written.lines().filter_map(|address| Jid::new(address).ok()).collect();
        Some(Outgoing { directed, speaking: None })
    }
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.directed.is_empty() && self.speaking.is_none()
    }
}

/// Reads or changes the note, and takes it away when nothing is left in it.
fn with_outgoing<T>(session: &Session, work: impl FnOnce(&mut Outgoing) -> T) -> T {
    let (result, is_empty) = session.with_note(|note: &mut Outgoing| (work(note), note.is_empty()));
    if is_empty {
        session.take_note::<Outgoing>();
    }
    result
}

/// Forgets that a session has shown itself to an address: it has told it that it is gone.
pub fn forget(session: &Session, address: &Jid) {
    if session.has_note::<Outgoing>() {
        with_outgoing(session, |note| note.directed.retain(|known| known != address));
    }
}

/// Forgets every address of an account or service that a session has shown itself to.
pub fn forget_account(session: &Session, account: &Jid) {
    if session.has_note::<Outgoing>() {
        let same = |known: &Jid| known.node() == account.node() && known.domain() == account.domain();
        with_outgoing(session, |note| note.directed.retain(|known| !same(known)));
    }
}

/// Takes over whom a session has shown itself to, to tell them that it is gone.
pub fn take(session: &Session) -> Vec<Jid> {
    if !session.has_note::<Outgoing>() {
        return Vec::new();
    }
    with_outgoing(session, |note| std::mem::take(&mut note.directed))
}

/// While this is held, presence of the session is on its way. Its end waits for that, so that nobody hears of the end
/// before the beginning and keeps a ghost.
pub struct Speaking<'a>(&'a Session);

impl<'a> Speaking<'a> {
    /// The session's reader begins to speak. To be followed by a look whether the session is still there.
    pub fn begin(session: &'a Session) -> Speaking<'a> {
        session.with_note(|note: &mut Outgoing| note.speaking = Some(Arc::default()));
        Speaking(session)
    }
}

impl Drop for Speaking<'_> {
    fn drop(&mut self) {
        if let Some(speaking) = with_outgoing(self.0, |note| note.speaking.take()) {
            speaking.notify_one();
        }
    }
}

/// Waits until the session's reader says nothing more.
pub async fn silence(session: &Session) {
    if !session.has_note::<Outgoing>() {
        return;
    }
    if let Some(speaking) = with_outgoing(session, |note| note.speaking.clone()) {
        speaking.notified().await;
    }
}

impl Presence {
    /// A client shows itself to one address (§4.6.3).
    pub(crate) async fn show_to(&self, session: &Arc<Session>, to: Jid, parcel: &mut Parcel) -> Result<Pass, Refusal> {
        let _speaking = Speaking::begin(session);
        if !self.is_here(session) {
            return Ok(Pass::Taken);
        }
        let most = self.settings.directed;
        let fits = session.with_note(|note: &mut Outgoing| {
            if note.directed.contains(&to) {
                return true;
            }
            let fits = most.allows(note.directed.len() + 1);
            if fits {
                note.directed.push(to);
            }
            fits
        });
        if !fits {
            return Err(Refusal::resource_constraint().saying("the session shows itself to too many addresses"));
        }
        // Sent from here, not after the last stage, so that the end of the session comes behind it.
        self.context.house().send(Parcel::new(parcel.stanza.clone(), parcel.origin.clone())).await;
        Ok(Pass::Taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_told_is_known_after_a_restart() {
        let addresses = ["room@rooms.lit/me & you", "tybalt@capulet.lit", "ж@x.lit/<>"];
        let directed: Vec<Jid> = addresses.iter().map(|address| Jid::new(address).expect("an address")).collect();
        let written = Outgoing { directed: directed.clone(), speaking: Some(Arc::default()) }.write_down();
        let read = Outgoing::read_back(&written).expect("it reads what it wrote");
        assert_eq!(read.directed, directed);
        assert!(read.speaking.is_none());
        assert!(Outgoing::read_back("").is_some_and(|read| read.is_empty()));
    }
}
