//! Discussion history: the newest messages, for those who enter (XEP-0045 §7.2.13, §7.2.14).

use std::collections::VecDeque;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::archive::{ArchiveId, Kept};
use waxwing_core::stanza::{Stanza, element};

use crate::assemble::{payload, stanza_id, write_delay};
use crate::moment::{Moment, read_date_time};
use crate::protocol::{FASTEN, MUC, RETRACT, USER};

/// A message that was said to all.
#[derive(Clone, Debug)]
struct Said {
    id: Option<ArchiveId>,
    message: Stanza,
    /// In milliseconds since 1970.
    at: i64,
}

/// The newest messages of a room, oldest first.
#[derive(Clone, Debug)]
pub struct History {
    said: VecDeque<Said>,
    most: usize,
    is_loaded: bool,
}

/// What somebody who enters wants to see (§7.2.14). All that is given counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    characters: Option<usize>,
    stanzas: Option<usize>,
    /// Milliseconds since 1970.
    since: Option<i64>,
}

impl Wanted {
    /// Reads the `<history/>` of a presence. What cannot be read is not wanted.
    pub fn read(presence: &Stanza, now: Moment) -> Wanted {
        let history = presence.payload(MUC, "x").and_then(|x| x.child(MUC, "history"));
        let Some(history) = history else { return Wanted::default() };
        let number = |name| history.attribute(name).and_then(|value| value.trim().parse::<usize>().ok());
        let seconds = number("seconds").and_then(|seconds| i64::try_from(seconds).ok());
        let ago = seconds.map(|seconds| now.milliseconds.saturating_sub(seconds.saturating_mul(1000)));
        let since = history.attribute("since").and_then(|since| read_date_time(since.trim()));
        Wanted { characters: number("maxchars"), stanzas: number("maxstanzas"), since: ago.max(since) }
    }
}

impl History {
    /// An empty history of at most so many messages, which is still to be loaded.
    pub fn new(most: usize) -> History {
        History { said: VecDeque::new(), most, is_loaded: false }
    }

    /// Whether it was loaded.
    pub fn is_loaded(&self) -> bool {
        self.is_loaded
    }

    /// There is nothing to load.
    pub fn set_loaded(&mut self) {
        self.is_loaded = true;
    }

    /// Fills it with what the archive has kept, oldest first. What cannot be read is left out.
    pub fn fill(&mut self, room: &BareJid, kept: Vec<Kept>) {
        self.is_loaded = true;
        for Kept { id, stanza } in kept {
            let read = element(stanza).ok().and_then(|element| Stanza::read(element)?.ok());
            let Some(mut message) = read.filter(is_recalled) else { continue };
            if message.remove_payloads(|payload| payload.namespace() == USER).is_err() {
                continue;
            }
            if let Some(element) = stanza_id(&id.to_string(), room.as_str()) {
                message.add(element);
            }
            self.push(Some(id), message, id.milliseconds());
        }
    }

    /// Remembers a message as it was said to all.
    pub fn push(&mut self, id: Option<ArchiveId>, message: Stanza, at: i64) {
        while self.said.len() >= self.most.max(1) {
            self.said.pop_front();
        }
        if self.most > 0 {
            self.said.push_back(Said { id, message, at });
        }
    }

    /// Forgets a message that was taken back.
    pub fn forget(&mut self, id: ArchiveId) {
        self.said.retain(|said| said.id != Some(id));
    }

    /// What a device is shown: the newest messages that fit all of the limits, oldest first.
    pub fn recall(&self, room: &BareJid, most: usize, wanted: &Wanted, device: &Jid) -> Vec<Stanza> {
        let most = wanted.stanzas.map_or(most, |stanzas| stanzas.min(most));
        let mut characters = wanted.characters;
        let mut recalled = Vec::new();
        for said in self.said.iter().rev().take(most) {
            if wanted.since.is_some_and(|since| said.at < since) {
                break;
            }
            let mut message = said.message.clone().to(device.clone());
            if let Some(delay) = payload(|writer| write_delay(writer, room.as_str(), said.at)) {
                message.add(delay);
            }
            if let Some(left) = &mut characters {
                let length = String::from_utf8_lossy(&message.to_bytes()).chars().count();
                // §7.2.14: complete messages only.
                let Some(rest) = left.checked_sub(length) else { break };
                *left = rest;
            }
            recalled.push(message);
        }
        recalled.reverse();
        recalled
    }
}

/// Whether newcomers are shown a message: one that somebody said, and that stands on its own.
pub fn is_recalled(message: &Stanza) -> bool {
    let takes_back = message.payload(RETRACT, "retract").is_some() || message.payload(FASTEN, "apply-to").is_some();
    !takes_back && message.text_of("body").is_some_and(|body| !body.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn stanza(xml: &str) -> Stanza {
        Stanza::read(element(xml.to_owned()).unwrap()).unwrap().unwrap()
    }

    fn room() -> BareJid {
        BareJid::new("coven@chat.shakespeare.lit").unwrap()
    }

    /// Ten messages, one each second, from 1000 to 10000.
    fn history(most: usize) -> History {
        let mut history = History::new(most);
        for number in 1..=10 {
            let xml = format!(
                "<message from='coven@chat.shakespeare.lit/n' type='groupchat'><body>{number}</body></message>"
            );
            history.push(Some(ArchiveId(number)), stanza(&xml), number * 1000);
        }
        history
    }

    fn recalled(history: &History, most: usize, wanted: Wanted) -> Vec<String> {
        let device = Jid::new("hag66@shakespeare.lit/pda").unwrap();
        let messages = history.recall(&room(), most, &wanted, &device);
        messages.iter().map(|message| message.text_of("body").unwrap().into_owned()).collect()
    }

    fn wanted(history: &str) -> Wanted {
        let presence = stanza(&format!("<presence><x xmlns='http://jabber.org/protocol/muc'>{history}</x></presence>"));
        let now = Moment { milliseconds: 20_000, ..Moment::now() };
        Wanted::read(&presence, now)
    }

    #[test]
    fn the_newest_are_kept_and_shown_in_order() {
        assert_eq!(recalled(&history(4), 50, Wanted::default()), ["7", "8", "9", "10"]);
        assert_eq!(recalled(&history(50), 2, Wanted::default()), ["9", "10"]);
        assert!(recalled(&history(0), 50, Wanted::default()).is_empty());
    }

    /// The examples of §7.2.14.
    #[test]
    fn example_7_2_14_every_limit_counts() {
        let all = history(50);
        let shown = |text| recalled(&all, 50, wanted(text)).len();
        assert_eq!(shown(""), 10);
        assert_eq!(shown("<history maxchars='65000'/>"), 10);
        assert_eq!(shown("<history maxstanzas='3'/>"), 3);
        assert_eq!(shown("<history seconds='12'/>"), 3);
        assert_eq!(shown("<history since='1970-01-01T00:00:00Z'/>"), 10);
        assert_eq!(shown("<history since='1970-01-01T00:00:09Z'/>"), 2);
        assert_eq!(shown("<history maxchars='0'/>"), 0);
        assert_eq!(shown("<history seconds='12' maxstanzas='2'/>"), 2);
        assert_eq!(shown("<history since='1970-01-01T00:00:09Z' seconds='19'/>"), 2);
        assert_eq!(shown("<history maxstanzas='many'/>"), 10);
        // One message with its delay has some 280 characters.
        assert_eq!(shown("<history maxchars='700'/>"), 2);
    }

    #[test]
    fn history_is_stamped_by_the_room() {
        let device = Jid::new("hag66@shakespeare.lit/pda").unwrap();
        let messages = history(1).recall(&room(), 1, &Wanted::default(), &device);
        let delay = messages[0].payload("urn:xmpp:delay", "delay").unwrap();
        assert_eq!(delay.attribute("from").as_deref(), Some("coven@chat.shakespeare.lit"));
        assert_eq!(delay.attribute("stamp").as_deref(), Some("1970-01-01T00:00:10.000Z"));
    }

    #[test]
    fn what_was_taken_back_is_not_shown() {
        let mut history = history(50);
        history.forget(ArchiveId(10));
        assert_eq!(recalled(&history, 2, Wanted::default()), ["8", "9"]);
    }

    #[test]
    fn f31_an_archive_fills_it_again_and_what_cannot_be_read_is_left_out() {
        let kept = |number: i64, xml: &str| {
            let id = ArchiveId(waxwing_core::clock::IdMaker::new(0).next_at(1_700_000_000_000 + number));
            Kept { id, stanza: bytes::Bytes::from(xml.to_owned()) }
        };
        let message = |inside: &str| {
            format!(
                "<message xmlns='jabber:client' from='coven@chat.shakespeare.lit/n' type='groupchat'>{inside}</message>"
            )
        };
        let mut history = History::new(50);
        history.fill(
            &room(),
            vec![
                kept(
                    1,
                    &message(
                        "<body>a</body><x xmlns='http://jabber.org/protocol/muc#user'><item jid='secret@a/b'/></x>",
                    ),
                ),
                kept(2, "<message"),
                kept(3, &message("<subject>s</subject>")),
                kept(4, &message("<retracted xmlns='urn:xmpp:message-retract:1' id='1'/>")),
                kept(5, &message("<retract xmlns='urn:xmpp:message-retract:1' id='1'/><body>taken back</body>")),
                kept(6, &message("<body>b</body>")),
            ],
        );
        assert!(history.is_loaded());
        assert_eq!(recalled(&history, 50, Wanted::default()), ["a", "b"]);
        let device = Jid::new("hag66@shakespeare.lit/pda").unwrap();
        let all = history.recall(&room(), 50, &Wanted::default(), &device);
        assert!(!String::from_utf8(all[0].to_bytes()).unwrap().contains("secret"));
        assert!(all[0].payload("urn:xmpp:sid:0", "stanza-id").is_some());
        let _ = Duration::ZERO;
    }
}
