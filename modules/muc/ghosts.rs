//! Ghosts: devices of other servers that seem to be in a room and are not (XEP-0045 §18.1.2).

use std::time::{Duration, Instant};

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::namespaces::STANZA_ERRORS;
use waxwing_core::stanza::{IqType, Stanza};

use crate::assemble::payload;
use crate::protocol::PING;

/// Whether a device is still there, as far as the room knows.
#[derive(Clone, Debug)]
pub struct Pulse {
    /// Whether anybody asks: those of our own server tell when they go.
    watched: bool,
    heard: Instant,
    asked: Option<(Box<str>, Instant)>,
    /// Whether it has ever answered: then a refusal is no answer of its own (see [`Pulse::answered`]).
    answers: bool,
}

/// What to do about a device.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing.
    Fine,
    /// Ask it, with this id.
    Ask(Box<str>),
    /// It is gone.
    Gone,
}

impl Pulse {
    /// A device that was just heard.
    pub fn new(now: Instant, watched: bool) -> Pulse {
        Pulse { watched, heard: now, asked: None, answers: false }
    }

    /// It says something.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// What is to be done now. It is asked after `after` of silence and has `patience` to answer.
    pub fn check(&mut self, now: Instant, after: Duration, patience: Duration) -> Check {
        if !self.watched {
            return Check::Fine;
        }
        if let Some((_, since)) = &self.asked {
            return if now.saturating_duration_since(*since) >= patience { Check::Gone } else { Check::Fine };
        }
        if now.saturating_duration_since(self.heard) < after {
            return Check::Fine;
        }
        let id: Box<str> = waxwing_core::random::token().into();
        self.asked = Some((id.clone(), now));
        Check::Ask(id)
    }

    /// When it is to be looked at again.
    pub fn next_check(&self, after: Duration, patience: Duration) -> Option<Instant> {
        match (&self.asked, self.watched) {
            (_, false) => None,
            (Some((_, since)), true) => since.checked_add(patience),
            (None, true) => self.heard.checked_add(after),
        }
    }

    /// Whether this is the id of what it was asked.
    pub fn is_asked(&self, id: &str) -> bool {
        self.asked.as_ref().is_some_and(|(asked, _)| **asked == *id)
    }

    /// It, or its server, answers what it was asked; whether it is there. A server answers `service-unavailable` for a
    /// device that is gone, and so does a device that does not know pings: it was never there if it had known them
    /// before.
    pub fn answered(&mut self, answer: &Stanza, now: Instant) -> bool {
        let is_result = !answer.is_error();
        let is_gone = !is_result
            && (is_delivery_error(answer) || self.answers && has_condition(answer, &["service-unavailable"]));
        self.answers |= is_result;
        self.heard(now);
        !is_gone
    }
}

/// The errors that say that there is nobody (§18.1.2).
const NOBODY: [&str; 6] =
    ["gone", "item-not-found", "recipient-unavailable", "redirect", "remote-server-not-found", "remote-server-timeout"];

/// Whether an error says that what it answers could not be delivered.
pub fn is_delivery_error(error: &Stanza) -> bool {
    has_condition(error, &NOBODY)
}

fn has_condition(error: &Stanza, conditions: &[&str]) -> bool {
    let Some(error) = error.own_payload("error") else { return false };
    error.children().any(|child| child.namespace() == STANZA_ERRORS && conditions.contains(&child.name()))
}

/// Asks a device whether it is there.
pub fn ping(room: &BareJid, device: &Jid, id: &str) -> Stanza {
    let mut ping = Stanza::iq(IqType::Get).from(room.clone()).to(device.clone()).id(id);
    if let Some(payload) = payload(|writer| {
        writer.open("ping").attribute("xmlns", PING).close();
    }) {
        ping.add(payload);
    }
    ping
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    const AFTER: Duration = Duration::from_secs(600);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn answer(condition: Option<&str>) -> Stanza {
        let xml = match condition {
            None => "<iq id='1' type='result'/>".to_owned(),
            Some(condition) => format!(
                "<iq id='1' type='error'><error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                 </error></iq>"
            ),
        };
        Stanza::read(element(xml).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn who_is_silent_is_asked_and_who_does_not_answer_is_gone() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, true);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(pulse.check(at(599), AFTER, PATIENCE), Check::Fine);
        assert_eq!(pulse.next_check(AFTER, PATIENCE), Some(at(600)));
        let Check::Ask(id) = pulse.check(at(600), AFTER, PATIENCE) else { panic!("not asked") };
        assert!(pulse.is_asked(&id) && !pulse.is_asked("other"));
        assert_eq!(pulse.check(at(659), AFTER, PATIENCE), Check::Fine);
        assert_eq!(pulse.next_check(AFTER, PATIENCE), Some(at(660)));
        assert_eq!(pulse.check(at(660), AFTER, PATIENCE), Check::Gone);
    }

    #[test]
    fn whatever_it_says_shows_that_it_is_there() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, true);
        assert!(matches!(pulse.check(start + AFTER, AFTER, PATIENCE), Check::Ask(_)));
        pulse.heard(start + AFTER + PATIENCE);
        assert_eq!(pulse.check(start + AFTER + PATIENCE * 2, AFTER, PATIENCE), Check::Fine);
    }

    #[test]
    fn our_own_are_not_asked() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, false);
        assert_eq!(pulse.check(start + AFTER * 10, AFTER, PATIENCE), Check::Fine);
        assert_eq!(pulse.next_check(AFTER, PATIENCE), None);
    }

    #[test]
    fn a_refusal_is_an_answer_of_who_never_gave_a_better_one() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now, true);
        for _ in 0..2 {
            assert!(pulse.answered(&answer(Some("service-unavailable")), now));
            assert!(pulse.answered(&answer(Some("feature-not-implemented")), now));
        }
        assert!(pulse.answered(&answer(None), now));
        assert!(!pulse.answered(&answer(Some("service-unavailable")), now), "its server answers for it");
        for condition in NOBODY {
            assert!(!Pulse::new(now, true).answered(&answer(Some(condition)), now), "{condition}");
        }
    }
}
