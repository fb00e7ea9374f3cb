//! A stanza that was sent and may have to be sent again, and the note of when it was first (XEP-0203).

use waxwing_core::address::BareJid;
use waxwing_core::clock::date_time;
use waxwing_core::fault::Fault;
use waxwing_core::namespaces;
use waxwing_core::notes::Notes;
use waxwing_core::parcel::{ForThisSession, Origin, Parcel};
use waxwing_core::stanza::{Kind, Stanza, element};
use waxwing_core::xml::Writer;

/// A stanza that is written so much later than it came carries the time at which it came, in milliseconds.
const LATE: i64 = 10_000;

/// A stanza that was sent to a client. Shares its content with whoever else has it.
pub struct Kept {
    stanza: Stanza,
    origin: Origin,
    notes: Notes,
    delivered_at: i64,
    /// Whether it was made for this session alone, and carries its time inside.
    is_for_this_session: bool,
}

impl Kept {
    /// What is needed to send it again. The parcel goes on to the wire without its notes.
    pub fn of(parcel: &mut Parcel) -> Kept {
        Kept {
            stanza: parcel.stanza.clone(),
            origin: parcel.origin.clone(),
            is_for_this_session: parcel.notes.find::<ForThisSession>().is_some(),
            notes: std::mem::take(&mut parcel.notes),
            delivered_at: parcel.delivered_at,
        }
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        self.stanza.size()
    }

    /// When it was put into the session's mailbox, in milliseconds since 1970.
    pub fn delivered_at(&self) -> i64 {
        self.delivered_at
    }

    /// A parcel with the stanza as it is sent again.
    pub fn again(&self, host: &BareJid, now: i64) -> Parcel {
        let mut parcel = Parcel::new(self.stanza.clone(), self.origin.clone());
        parcel.delivered_at = self.delivered_at;
        if !self.is_for_this_session {
            mark_if_late(&mut parcel, host, now);
        }
        parcel
    }

    /// The parcel it was.
    pub fn into_parcel(self) -> Parcel {
        let mut parcel = Parcel::new(self.stanza, self.origin);
        parcel.notes = self.notes;
        parcel.delivered_at = self.delivered_at;
        parcel
    }
}

/// Writes into a message when it came, if that was a while ago and the message was not made for this session alone, which
/// carries its time inside.
pub fn mark_if_late(parcel: &mut Parcel, host: &BareJid, now: i64) {
    let came = parcel.delivered_at;
    let is_late = came != 0 && now - came >= LATE;
    if !is_late || parcel.stanza.kind() != Kind::Message || parcel.notes.find::<ForThisSession>().is_some() {
        return;
    }
    if let Err(fault) = mark_delayed(&mut parcel.stanza, &parcel.origin, host, came) {
        tracing::debug!(fault = fault.id(), "stream_management.not_marked");
    }
}

/// Adds a note that `host` has had the message since `came`. One of our own, from when it was kept before, is older and
/// stays; one that somebody else has forged is replaced.
fn mark_delayed(stanza: &mut Stanza, origin: &Origin, host: &BareJid, came: i64) -> Result<(), Fault> {
    let is_ours = |payload: &waxwing_core::xml::Child<'_>| {
        payload.namespace() == namespaces::DELAY
            && payload.name() == "delay"
            && payload.attribute("from").is_some_and(|from| from == host.as_str())
    };
    if matches!(origin, Origin::House) && stanza.payloads().any(|payload| is_ours(&payload)) {
        return Ok(());
    }
    stanza.remove_payloads(|payload| is_ours(&payload))?;
    let mut writer = Writer::new();
    writer.open("delay").attribute("xmlns", namespaces::DELAY);
    writer.attribute("from", host.as_str()).attribute("stamp", &date_time(came));
    stanza.add(element(writer.finish())?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAME: i64 = 1_795_351_919_123;
    const STAMP: &str = "<delay xmlns='urn:xmpp:delay' from='verona.lit' stamp='2026-11-22T12:51:59.123Z'/>";

    fn parcel(xml: &str, delivered_at: i64) -> Parcel {
        let stanza = Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap();
        let mut parcel = Parcel::new(stanza, Origin::House);
        parcel.delivered_at = delivered_at;
        parcel
    }

    fn written(parcel: &Parcel) -> String {
        let mut out = Vec::new();
        parcel.stanza.write(&mut out, None);
        String::from_utf8(out).unwrap()
    }

    fn host() -> BareJid {
        BareJid::new("verona.lit").unwrap()
    }

    #[test]
    fn a_late_message_says_when_it_came_and_only_once() {
        let mut message = parcel("<message><body>x</body></message>", CAME);
        mark_if_late(&mut message, &host(), CAME + LATE - 1);
        assert_eq!(written(&message), "<message><body>x</body></message>");
        for later in [LATE, 10 * LATE] {
            mark_if_late(&mut message, &host(), CAME + later);
            assert_eq!(written(&message), format!("<message><body>x</body>{STAMP}</message>"));
        }
    }

    #[test]
    fn what_is_sent_again_later_is_marked_and_what_is_kept_is_not() {
        let kept = Kept::of(&mut parcel("<message><body>x</body></message>", CAME));
        assert!(written(&kept.again(&host(), CAME + LATE)).contains(STAMP));
        assert!(!written(&kept.again(&host(), CAME)).contains("delay"));
        assert_eq!(kept.into_parcel().delivered_at, CAME);
        for not_marked in ["<presence/>", "<iq id='1' type='result'/>"] {
            assert_eq!(written(&Kept::of(&mut parcel(not_marked, CAME)).again(&host(), CAME + LATE)), not_marked);
        }
        let mut copy = parcel("<message/>", CAME).noting(ForThisSession);
        assert_eq!(written(&Kept::of(&mut copy).again(&host(), CAME + LATE)), "<message/>");
    }

    #[test]
    fn a_forged_mark_is_replaced() {
        let forged =
            "<message><delay xmlns='urn:xmpp:delay' from='verona.lit' stamp='1999-01-01T00:00:00Z'/></message>";
        let mut message = parcel(forged, CAME);
        message.origin = Origin::Remote(waxwing_core::address::DomainPart::new("mantua.lit").unwrap().into_owned());
        mark_if_late(&mut message, &host(), CAME + LATE);
        assert_eq!(written(&message), format!("<message>{STAMP}</message>"));
    }
}
