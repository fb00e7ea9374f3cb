//! Presence subscriptions as a state machine (RFC 6121 §3 and Appendix A): a state, an event, and what follows from it.

use waxwing_core::contracts::Subscription;
use waxwing_core::stanza::PresenceType;

/// Where a subscription between an account and one contact stands, seen from the account.
///
/// Nine states are reachable: a request can only wait for what is not there yet. The approval given in advance (§3.4) is
/// kept beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The account sees the contact's presence: *To*, *Both*.
    pub sees_contact: bool,
    /// The contact sees the account's presence: *From*, *Both*.
    pub seen_by_contact: bool,
    /// The account has asked, and the contact has not answered: *Pending Out*.
    pub asked: bool,
    /// The contact has asked, and the account has not answered: *Pending In*.
    pub is_asked: bool,
    /// The account has agreed to a request that has not come yet (§3.4).
    pub approved: bool,
}

/// The four stanzas that change a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// May I see you?
    Subscribe,
    /// I no longer want to see you.
    Unsubscribe,
    /// You may see me.
    Subscribed,
    /// You may not, or no longer, see me.
    Unsubscribed,
}

impl Signal {
    /// The signal that a presence of this type is, if it is one.
    pub fn of(presence: PresenceType) -> Option<Signal> {
        match presence {
            PresenceType::Subscribe => Some(Signal::Subscribe),
            PresenceType::Unsubscribe => Some(Signal::Unsubscribe),
            PresenceType::Subscribed => Some(Signal::Subscribed),
            PresenceType::Unsubscribed => Some(Signal::Unsubscribed),
            PresenceType::Available | PresenceType::Unavailable | PresenceType::Probe | PresenceType::Error => None,
        }
    }
}

/// What the contact may see of the account's presence from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Everything: it is shown now.
    Granted,
    /// Nothing more: it is shown that the account is gone.
    Ended,
}

/// What follows from a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The state from now on.
    pub state: State,
    /// Whether the stanza goes on: to the contact's server when it was sent, to the account's clients when it was
    /// received.
    pub goes_on: bool,
    /// Whether the server says `subscribed` in the account's name.
    pub agrees: bool,
    /// What changes for the contact's eyes.
    pub sight: Option<Sight>,
}

impl State {
    /// The account sends a signal to the contact (§3.1.2, §3.1.5, §3.2.2, §3.3.2, §3.4.2).
    pub fn sent(self, signal: Signal) -> Outcome {
        let mut state = self;
        let (goes_on, sight) = match signal {
            Signal::Subscribe => {
                state.asked = !self.sees_contact;
                (true, None)
            }
            Signal::Unsubscribe => {
                state.sees_contact = false;
                state.asked = false;
                (true, None)
            }
            Signal::Subscribed if self.is_asked => {
                state.is_asked = false;
                state.seen_by_contact = true;
                (true, Some(Sight::Granted))
            }
            Signal::Subscribed => {
                // Nobody has asked: an approval in advance, which the contact does not hear of.
                state.approved |= !self.seen_by_contact;
                (false, None)
            }
            Signal::Unsubscribed => {
                state.approved = false;
                state.is_asked = false;
                state.seen_by_contact = false;
                (self.is_asked || self.seen_by_contact, self.seen_by_contact.then_some(Sight::Ended))
            }
        };
        Outcome { state, goes_on, agrees: false, sight }
    }

    /// The account receives a signal from the contact (§3.1.3, §3.1.6, §3.2.3, §3.3.3, §3.4.2).
    pub fn received(self, signal: Signal) -> Outcome {
        let mut state = self;
        let (goes_on, agrees, sight) = match signal {
            // The contact's server has lost what was agreed: it hears it again, the account is not bothered.
            Signal::Subscribe if self.seen_by_contact => (false, true, Some(Sight::Granted)),
            Signal::Subscribe if self.approved => {
                state.seen_by_contact = true;
                state.is_asked = false;
                (false, true, Some(Sight::Granted))
            }
            Signal::Subscribe => {
                state.is_asked = true;
                (!self.is_asked, false, None)
            }
            Signal::Unsubscribe => {
                state.seen_by_contact = false;
                state.is_asked = false;
                let sight = self.seen_by_contact.then_some(Sight::Ended);
                (self.seen_by_contact || self.is_asked, false, sight)
            }
            // Only an answer to a question counts; nobody can make himself be seen.
            Signal::Subscribed => {
                state.sees_contact |= self.asked;
                state.asked = false;
                (self.asked, false, None)
            }
            Signal::Unsubscribed => {
                state.sees_contact = false;
                state.asked = false;
                (self.sees_contact || self.asked, false, None)
            }
        };
        Outcome { state, goes_on, agrees, sight }
    }

    /// What the contact is told when the account takes it off its roster (§2.5.2): only what ends something.
    pub fn farewell(self) -> impl Iterator<Item = PresenceType> {
        let unsubscribe = (self.sees_contact || self.asked).then_some(PresenceType::Unsubscribe);
        let unsubscribed = (self.seen_by_contact || self.is_asked).then_some(PresenceType::Unsubscribed);
        unsubscribe.into_iter().chain(unsubscribed)
    }

    /// The value of the `subscription` attribute.
    pub fn subscription(self) -> Subscription {
        match (self.sees_contact, self.seen_by_contact) {
            (false, false) => Subscription::None,
            (true, false) => Subscription::To,
            (false, true) => Subscription::From,
            (true, true) => Subscription::Both,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Signal::{Subscribe, Subscribed, Unsubscribe, Unsubscribed};
    use super::*;

    /// The states by their names in the tables of the RFC's appendix, shortened.
    const STATES: [(&str, State); 9] = [
        ("None", state(false, false, false, false)),
        ("N+PO", state(false, false, true, false)),
        ("N+PI", state(false, false, false, true)),
        ("N+PO+PI", state(false, false, true, true)),
        ("To", state(true, false, false, false)),
        ("To+PI", state(true, false, false, true)),
        ("From", state(false, true, false, false)),
        ("F+PO", state(false, true, true, false)),
        ("Both", state(true, true, false, false)),
    ];

    const fn state(sees_contact: bool, seen_by_contact: bool, asked: bool, is_asked: bool) -> State {
        State { sees_contact, seen_by_contact, asked, is_asked, approved: false }
    }

    fn named(name: &str) -> State {
        STATES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no state is named {name}")).1
    }

    /// The cell of the table as the machine has it: `=` or the new state, with `!` when the stanza goes on, `ok` when
    /// the server agrees by itself, `pre` when an approval in advance is noted.
    fn cell(before: State, outcome: Outcome) -> String {
        let after = State { approved: false, ..outcome.state };
        let name = STATES.iter().find(|(_, known)| *known == after).map_or("an impossible state", |(name, _)| name);
        let mut cell = if after == before { "=".to_owned() } else { name.to_owned() };
        for (holds, mark) in
            [(outcome.goes_on, "!"), (outcome.agrees, " ok"), (outcome.state.approved && !before.approved, " pre")]
        {
            if holds {
                cell.push_str(mark);
            }
        }
        cell
    }

    /// One row of table G: subscribe, unsubscribe, subscribed, unsubscribed, first sent, then received.
    fn row(name: &str, sent: [&str; 4], received: [&str; 4]) {
        let before = named(name);
        for (index, signal) in [Subscribe, Unsubscribe, Subscribed, Unsubscribed].into_iter().enumerate() {
            assert_eq!(cell(before, before.sent(signal)), sent[index], "{name}: {signal:?} is sent");
            assert_eq!(cell(before, before.received(signal)), received[index], "{name}: {signal:?} is received");
        }
    }

    #[test]
    fn g_none() {
        row("None", ["N+PO!", "=!", "= pre", "="], ["N+PI!", "=", "=", "="]);
    }

    #[test]
    fn g_none_pending_out() {
        row("N+PO", ["=!", "None!", "= pre", "="], ["N+PO+PI!", "=", "To!", "None!"]);
    }

    #[test]
    fn g_none_pending_in() {
        row("N+PI", ["N+PO+PI!", "=!", "From!", "None!"], ["=", "None!", "=", "="]);
    }

    #[test]
    fn g_none_pending_out_in() {
        row("N+PO+PI", ["=!", "N+PI!", "F+PO!", "N+PO!"], ["=", "N+PO!", "To+PI!", "N+PI!"]);
    }

    #[test]
    fn g_to() {
        row("To", ["=!", "None!", "= pre", "="], ["To+PI!", "=", "=", "None!"]);
    }

    #[test]
    fn g_to_pending_in() {
        row("To+PI", ["=!", "N+PI!", "Both!", "To!"], ["=", "To!", "=", "N+PI!"]);
    }

    #[test]
    fn g_from() {
        row("From", ["F+PO!", "=!", "=", "None!"], ["= ok", "None!", "=", "="]);
    }

    #[test]
    fn g_from_pending_out() {
        row("F+PO", ["=!", "From!", "=", "N+PO!"], ["= ok", "N+PO!", "Both!", "From!"]);
    }

    #[test]
    fn g_both() {
        row("Both", ["=!", "From!", "=", "To!"], ["= ok", "To!", "=", "From!"]);
    }

    /// Where the contact begins or ceases to see the account, it is shown; nowhere else.
    #[test]
    fn g_presence_is_shown_exactly_when_the_right_to_see_it_changes() {
        for (name, before) in STATES {
            for signal in [Subscribe, Unsubscribe, Subscribed, Unsubscribed] {
                for outcome in [before.sent(signal), before.received(signal)] {
                    let expected = match (before.seen_by_contact, outcome.state.seen_by_contact) {
                        (false, true) => Some(Sight::Granted),
                        (true, false) => Some(Sight::Ended),
                        _ if outcome.agrees => Some(Sight::Granted),
                        _ => None,
                    };
                    assert_eq!(outcome.sight, expected, "{name}, {signal:?}");
                }
            }
        }
    }

    #[test]
    fn c85_nobody_can_make_himself_be_seen() {
        for name in ["None", "N+PI", "To", "To+PI", "From", "Both"] {
            let before = named(name);
            let outcome = before.received(Subscribed);
            assert_eq!((outcome.state, outcome.goes_on), (before, false), "{name}");
        }
    }

    #[test]
    fn c86_an_approval_in_advance_answers_the_request_that_comes_later() {
        for (name, after) in [("None", "From"), ("N+PO", "F+PO"), ("To", "Both")] {
            let noted = named(name).sent(Subscribed);
            assert!(noted.state.approved && !noted.goes_on, "{name}");
            let outcome = noted.state.received(Subscribe);
            assert_eq!(outcome.state, State { approved: true, ..named(after) }, "{name}");
            assert_eq!((outcome.goes_on, outcome.agrees, outcome.sight), (false, true, Some(Sight::Granted)));
        }
    }

    #[test]
    fn c86_an_approval_in_advance_is_taken_back_without_a_word() {
        let approved = State { approved: true, ..State::default() };
        let outcome = approved.sent(Unsubscribed);
        assert_eq!((outcome.state, outcome.goes_on, outcome.sight), (State::default(), false, None));
    }

    #[test]
    fn c78_a_contact_that_is_removed_hears_of_what_ends() {
        use PresenceType::{Unsubscribe as ByeTo, Unsubscribed as ByeFrom};
        for (name, words) in [
            ("None", &[][..]),
            ("N+PO", &[ByeTo]),
            ("N+PI", &[ByeFrom]),
            ("N+PO+PI", &[ByeTo, ByeFrom]),
            ("To", &[ByeTo]),
            ("To+PI", &[ByeTo, ByeFrom]),
            ("From", &[ByeFrom]),
            ("F+PO", &[ByeTo, ByeFrom]),
            ("Both", &[ByeTo, ByeFrom]),
        ] {
            assert_eq!(named(name).farewell().collect::<Vec<_>>(), words, "{name}");
        }
    }

    /// Two clients that answer everything at once come to rest: no signal of ours is answered by another of ours.
    #[test]
    fn s33_what_the_server_says_by_itself_ends_the_talk() {
        for (name, before) in STATES {
            for approved in [false, true] {
                let before = State { approved, ..before };
                let heard = before.received(Subscribed);
                assert!(!heard.agrees, "{name}: `subscribed` is answered");
                for farewell in [Unsubscribe, Unsubscribed] {
                    assert!(!before.received(farewell).agrees, "{name}: {farewell:?} is answered");
                }
            }
        }
    }
}
