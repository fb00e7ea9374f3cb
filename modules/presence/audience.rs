//! Who hears what a client says about itself (RFC 6121 §4.2.2, §4.4.2, §4.5.2, §4.6).

use std::collections::HashSet;

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::contracts::Contact;

/// The contacts that may see the account.
pub fn watchers(contacts: &[Contact]) -> impl Iterator<Item = &BareJid> {
    contacts.iter().filter(|contact| contact.subscription.contact_sees_account()).map(|contact| &contact.jid)
}

/// The contacts that the account may see.
pub fn watched(contacts: &[Contact]) -> impl Iterator<Item = &BareJid> {
    contacts.iter().filter(|contact| contact.subscription.account_sees_contact()).map(|contact| &contact.jid)
}

/// Of those a session has shown itself to besides, the ones that a broadcast of its end does not reach: each hears of it
/// exactly once. `was_available`: it had broadcast that it is there, so its end is broadcast as well.
pub fn beside_watchers(account: &BareJid, contacts: &[Contact], directed: Vec<Jid>, was_available: bool) -> Vec<Jid> {
    if !was_available || directed.is_empty() {
        return directed;
    }
    let reached: HashSet<&BareJid> = watchers(contacts).chain([account]).collect();
    directed.into_iter().filter(|address| !reached.contains(&address.to_bare())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::contracts::Subscription;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).expect("an address")
    }

    fn contacts() -> Vec<Contact> {
        [
            ("none", Subscription::None),
            ("to", Subscription::To),
            ("from", Subscription::From),
            ("both", Subscription::Both),
        ]
        .map(|(name, subscription)| Contact { jid: jid(&format!("{name}@x.lit")), subscription, groups: vec![] })
        .into()
    }

    #[test]
    fn c87_presence_goes_to_from_and_both_and_probes_to_to_and_both() {
        let contacts = contacts();
        assert_eq!(watchers(&contacts).collect::<Vec<_>>(), [&jid("from@x.lit"), &jid("both@x.lit")]);
        assert_eq!(watched(&contacts).collect::<Vec<_>>(), [&jid("to@x.lit"), &jid("both@x.lit")]);
    }

    #[test]
    fn c91_who_was_told_besides_hears_of_the_end_exactly_once() {
        let (me, contacts) = (jid("me@x.lit"), contacts());
        let addresses = ["room@rooms.lit/me", "both@x.lit/phone", "to@x.lit", "me@x.lit/other", "stranger@y.lit"];
        let directed: Vec<Jid> = addresses.iter().map(|address| Jid::new(address).expect("an address")).collect();
        let told = |was_available| -> Vec<String> {
            let told = beside_watchers(&me, &contacts, directed.clone(), was_available);
            told.iter().map(Jid::to_string).collect()
        };
        assert_eq!(told(true), ["room@rooms.lit/me", "to@x.lit", "stranger@y.lit"]);
        // Nothing was broadcast (C93), so nothing else reaches them.
        assert_eq!(told(false), addresses);
    }
}
