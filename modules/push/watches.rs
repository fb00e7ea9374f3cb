//! Messages that were given to a device's session and may never have arrived: a connection can be dead long before anybody
//! notices. Watched until the client has acknowledged them (XEP-0198), or its device is called.

use std::collections::VecDeque;
use std::sync::Arc;

use waxwing_core::address::FullJid;

use crate::courier::Told;

/// A message on its way to a device.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The number of the device's registration.
    pub id: i64,
    /// The session it was given to.
    pub session: FullJid,
    /// The message.
    pub told: Arc<Told>,
}

/// What is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It has arrived, or others care for it.
    Settled,
    /// The session waits for its client to come back.
    Stranded,
    /// Nobody knows.
    Open,
}

/// What there is to do.
#[derive(Debug, Default)]
pub struct ToDo {
    /// These devices are to be called.
    pub call: Vec<Watch>,
    /// The clients of these sessions are to be asked what has arrived.
    pub ask: Vec<FullJid>,
}

/// A client is asked what has arrived when it has said nothing for so long, in milliseconds.
const ASK_AFTER: i64 = 1_000;

/// All messages that are watched, in the order in which they came.
pub struct Watches {
    list: VecDeque<Watch>,
    most: usize,
    /// In milliseconds.
    patience: i64,
}

impl Watches {
    /// Watches at most so many, and for so long, in milliseconds.
    pub fn new(most: usize, patience: i64) -> Watches {
        Watches { list: VecDeque::new(), most, patience }
    }

    /// Watches a message; false when too many are watched.
    pub fn add(&mut self, watch: Watch) -> bool {
        let fits = self.list.len() < self.most;
        if fits {
            self.list.push_back(watch);
        }
        fits
    }

    /// Looks at every one.
    pub fn look(&mut self, now: i64, seen: impl Fn(&Watch) -> Seen) -> ToDo {
        let mut to_do = ToDo::default();
        let patience = self.patience;
        self.list.retain(|watch| {
            let age = now - watch.told.arrived_at;
            match seen(watch) {
                Seen::Settled => return false,
                Seen::Open if age < patience => {
                    if age >= ASK_AFTER && !to_do.ask.contains(&watch.session) {
                        to_do.ask.push(watch.session.clone());
                    }
                    return true;
                }
                Seen::Open | Seen::Stranded => to_do.call.push(watch.clone()),
            }
            false
        });
        if self.list.is_empty() {
            self.list = VecDeque::new();
        }
        to_do
    }

    /// How many are watched.
    pub fn len(&self) -> usize {
        self.list.len()
    }
}

#[cfg(test)]
mod tests {
    use waxwing_core::address::{BareJid, Jid};
    use waxwing_core::push::{Circle, Urgency};

    use super::*;

    fn watch(id: i64, session: &str, arrived_at: i64) -> Watch {
        let told = Told {
            owner: BareJid::new("juliet@capulet.lit").unwrap(),
            chat: BareJid::new("romeo@montague.lit").unwrap(),
            sender: Jid::new("romeo@montague.lit/orchard").unwrap(),
            body: None,
            text: None,
            circle: Circle::Private,
            is_mention: false,
            urgency: Urgency::Urgent,
            was_delivered: true,
            arrived_at,
            is_late: false,
        };
        Watch { id, session: FullJid::new(session).unwrap(), told: Arc::new(told) }
    }

    #[test]
    fn a_message_is_watched_until_it_is_known_to_have_arrived_or_for_too_long() {
        let mut watches = Watches::new(3, 10_000);
        for id in 1..=3 {
            assert!(watches.add(watch(id, &format!("juliet@capulet.lit/{id}"), 1_000 * id)));
        }
        assert!(!watches.add(watch(4, "juliet@capulet.lit/4", 1)));
        let all_open = |_: &Watch| Seen::Open;
        let to_do = watches.look(3_500, all_open);
        assert!(to_do.call.is_empty());
        let asked: Vec<String> = to_do.ask.iter().map(|session| session.resource().to_string()).collect();
        assert_eq!(asked, ["1", "2"], "the third has had no time to answer");
        let to_do = watches.look(4_000, |watch| if watch.id == 2 { Seen::Settled } else { Seen::Open });
        assert!(to_do.call.is_empty() && watches.len() == 2);
        let to_do = watches.look(11_000, all_open);
        assert_eq!(to_do.call.iter().map(|watch| watch.id).collect::<Vec<_>>(), [1]);
        let to_do = watches.look(11_001, |_| Seen::Stranded);
        assert_eq!(to_do.call.iter().map(|watch| watch.id).collect::<Vec<_>>(), [3], "it is not waited for");
        assert_eq!(watches.len(), 0);
    }
}
