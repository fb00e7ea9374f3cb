//! What a notification says (XEP-0357 §7), and how much of it a service is told.

use serde_json::{Map, Value};
use waxwing_core::forms::{DATA_FORM, Filled};
use waxwing_core::xml::Child;

use crate::form::{is_of, text};
use crate::protocol::{PUSH, SUMMARY};
use crate::settings::Details;

/// What waits for somebody, as the user's server has summed it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many messages.
    pub messages: Option<u32>,
    /// How many requests for a subscription.
    pub subscriptions: Option<u32>,
    /// Who has said something last.
    pub sender: Option<String>,
    /// What was said last.
    pub body: Option<String>,
}

/// A longer body is cut: it must go into a notification of 4,096 bytes with everything else.
const LONGEST_BODY: usize = 400;
/// A longer address is left out.
const LONGEST_SENDER: usize = 600;

impl Summary {
    /// Reads a `<notification/>`. What cannot be read is not there: it wakes a device all the same.
    pub fn read(notification: Child<'_>) -> Summary {
        debug_assert_eq!((notification.namespace(), notification.name()), (PUSH, "notification"));
        let forms = notification.children().filter(|child| child.namespace() == DATA_FORM && child.name() == "x");
        let Some(form) = forms.map(Filled::read).find(|form| is_of(form, SUMMARY)) else { return Summary::default() };
        Summary {
            messages: text(&form, "message-count").and_then(|count| count.parse().ok()),
            subscriptions: text(&form, "pending-subscription-count").and_then(|count| count.parse().ok()),
            sender: text(&form, "last-message-sender").filter(|text| text.len() <= LONGEST_SENDER).map(str::to_owned),
            body: text(&form, "last-message-body").map(|text| text.chars().take(LONGEST_BODY).collect()),
        }
    }

    /// As much of it as a service may know.
    pub fn reduced(self, details: Details) -> Summary {
        match details {
            Details::None => Summary::default(),
            Details::Counts => Summary { sender: None, body: None, ..self },
            Details::All => self,
        }
    }

    /// Whether somebody has written: such a notification is shown at once. One that counts nothing may be one.
    pub fn is_urgent(&self) -> bool {
        self.messages != Some(0)
    }

    /// It as members of a JSON object, with the names of the form's fields.
    pub fn members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let counts = [("message-count", self.messages), ("pending-subscription-count", self.subscriptions)];
        for (name, count) in counts {
            if let Some(count) = count {
                members.insert(name.to_owned(), count.into());
            }
        }
        for (name, text) in [("last-message-sender", &self.sender), ("last-message-body", &self.body)] {
            if let Some(text) = text {
                members.insert(name.to_owned(), text.as_str().into());
            }
        }
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::stanza::element;

    fn read(inside: &str) -> Summary {
        let notification = element(format!("<notification xmlns='{PUSH}'>{inside}</notification>")).unwrap();
        Summary::read(notification.as_child())
    }

    const FULL: &str = "<x xmlns='jabber:x:data'><field var='FORM_TYPE'><value>urn:xmpp:push:summary</value></field>\
        <field var='message-count'><value>3</value></field>\
        <field var='pending-subscription-count'><value>0</value></field>\
        <field var='last-message-sender'><value>juliet@capulet.lit/balcony</value></field>\
        <field var='last-message-body'><value>Wherefore art thou?</value></field></x>";

    #[test]
    fn a_summary_is_read_and_reduced() {
        let full = read(FULL);
        assert_eq!((full.messages, full.subscriptions), (Some(3), Some(0)));
        assert_eq!(full.sender.as_deref(), Some("juliet@capulet.lit/balcony"));
        assert_eq!(full.clone().reduced(Details::All), full);
        let counts = full.clone().reduced(Details::Counts);
        assert_eq!((counts.messages, counts.sender.is_none(), counts.body.is_none()), (Some(3), true, true));
        assert!(full.clone().reduced(Details::None).members().is_empty());
        assert_eq!(full.members().len(), 4);
    }

    #[test]
    fn nothing_and_nonsense_wake_as_well() {
        assert_eq!(read(""), Summary::default());
        assert_eq!(read(&FULL.replace(">3<", ">three<")).messages, None);
        assert_eq!(read(&FULL.replace("urn:xmpp:push:summary", "urn:other")), Summary::default());
        assert!(read("").is_urgent() && read(FULL).is_urgent());
        assert!(!read(&FULL.replace(">3<", ">0<")).is_urgent());
    }

    #[test]
    fn what_is_too_long_is_cut_or_left_out() {
        let long = "ж".repeat(LONGEST_BODY + 1);
        let summary = read(&FULL.replace("Wherefore art thou?", &long).replace("juliet", &"j".repeat(LONGEST_SENDER)));
        assert_eq!(summary.body.map(|body| body.chars().count()), Some(LONGEST_BODY));
        assert_eq!(summary.sender, None);
    }
}
