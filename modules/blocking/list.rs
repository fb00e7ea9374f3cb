//! A block list: whom it holds and whom it matches (XEP-0191 §6), and which contacts a change of it is seen by (§3.3,
//! §3.4).

use std::collections::{BTreeSet, HashMap};

use waxwing_core::address::{BareJid, Jid};
use waxwing_core::contracts::Contact;

/// The addresses an account has blocked, prepared and in the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockList(BTreeSet<Box<str>>);

impl FromIterator<String> for BlockList {
    fn from_iter<I: IntoIterator<Item = String>>(addresses: I) -> BlockList {
        BlockList(addresses.into_iter().map(String::into_boxed_str).collect())
    }
}

impl BlockList {
    /// How many addresses it holds.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The addresses in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|address| &**address)
    }

    /// Whether this very address is in it.
    pub fn holds(&self, address: &str) -> bool {
        self.0.contains(address)
    }

    /// Whether it matches an address: `user@domain/resource`, `user@domain`, `domain/resource` or `domain`.
    pub fn matches(&self, address: &Jid) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let whole = address.as_str();
        let bare = match address.resource() {
            Some(resource) => &whole[..whole.len() - resource.len() - 1],
            None => whole,
        };
        self.holds(whole) || self.holds(bare) || self.holds(address.domain().as_str())
    }

    /// The same list with these addresses.
    pub fn with(&self, addresses: &[Jid]) -> BlockList {
        let mut list = self.clone();
        list.0.extend(addresses.iter().map(|address| address.as_str().into()));
        list
    }

    /// The same list without these addresses.
    pub fn without(&self, addresses: &[Jid]) -> BlockList {
        let mut list = self.clone();
        for address in addresses {
            list.0.remove(address.as_str());
        }
        list
    }
}

/// Whether an address can never be blocked by this account: itself, on all its devices, and its server (§5).
pub fn is_exempt(owner: &BareJid, address: &Jid) -> bool {
    let is_server = address.node().is_none() && address.domain() == owner.domain();
    is_server || (address.node() == owner.node() && address.domain() == owner.domain())
}

/// A contact for whom a change of the list makes a difference.
#[derive(Debug, PartialEq, Eq)]
pub struct Affected {
    /// Where it is told: the contact itself, or one of its devices.
    pub address: Jid,
    /// Whether it may see the account's presence.
    pub sees_account: bool,
    /// Whether the account may see the presence of all its devices.
    pub is_seen: bool,
}

/// The contacts that these addresses match, and that `less`, the list without them, does not.
pub fn affected(owner: &BareJid, contacts: &[Contact], changed: &[Jid], less: &BlockList) -> Vec<Affected> {
    let mut devices: HashMap<BareJid, Vec<&Jid>> = HashMap::new();
    let mut whole = BlockList::default();
    for address in changed {
        if address.resource().is_some() {
            devices.entry(address.to_bare()).or_default().push(address);
        } else {
            whole.0.insert(address.as_str().into());
        }
    }
    let mut affected = Vec::new();
    let none = Vec::new();
    for contact in contacts.iter().filter(|contact| !is_exempt(owner, &contact.jid)) {
        let (sees_account, is_seen) =
            (contact.subscription.contact_sees_account(), contact.subscription.account_sees_contact());
        if less.matches(&contact.jid) || !(sees_account || is_seen) {
            continue;
        }
        if whole.matches(&contact.jid) {
            affected.push(Affected { address: contact.jid.clone().into(), sees_account, is_seen });
            continue;
        }
        let devices = devices.get(&contact.jid).unwrap_or(&none);
        for device in devices.iter().filter(|device| sees_account && !less.matches(device)) {
            affected.push(Affected { address: (*device).clone(), sees_account, is_seen: false });
        }
    }
    affected
}

#[cfg(test)]
mod tests {
    use waxwing_core::contracts::Subscription;

    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::new(text).unwrap()
    }

    fn list(addresses: &[&str]) -> BlockList {
        addresses.iter().map(|address| (*address).to_owned()).collect()
    }

    #[test]
    fn addresses_are_matched_as_xep_0191_says() {
        let addresses = ["a@x", "a@x/1", "a@x/2", "b@x", "b@x/1", "x", "x/1", "x/2", "a@y/1", "sub.x"];
        for (blocked, matched) in [
            ("a@x/1", vec!["a@x/1"]),
            ("a@x", vec!["a@x", "a@x/1", "a@x/2"]),
            ("x/1", vec!["x/1"]),
            ("x", vec!["a@x", "a@x/1", "a@x/2", "b@x", "b@x/1", "x", "x/1", "x/2"]),
            ("y", vec!["a@y/1"]),
        ] {
            let list = list(&[blocked]);
            let found: Vec<_> = addresses.iter().copied().filter(|address| list.matches(&jid(address))).collect();
            assert_eq!(found, matched, "{blocked}");
        }
        assert!(!BlockList::default().matches(&jid("a@x")));
    }

    #[test]
    fn nobody_is_cut_off_from_the_own_account_and_server() {
        let juliet = BareJid::new("juliet@capulet.lit").unwrap();
        let exempt = ["juliet@capulet.lit", "juliet@capulet.lit/balcony", "capulet.lit", "capulet.lit/x"];
        assert!(exempt.iter().all(|address| is_exempt(&juliet, &jid(address))));
        let others = ["nurse@capulet.lit", "rooms.capulet.lit", "juliet@montague.lit", "montague.lit"];
        assert!(!others.iter().any(|address| is_exempt(&juliet, &jid(address))));
    }

    #[test]
    fn lists_grow_and_shrink() {
        let both = list(&["a@x"]).with(&[jid("b@x"), jid("A@x")]);
        assert_eq!(both.iter().collect::<Vec<_>>(), ["a@x", "b@x"]);
        assert_eq!(both.without(&[jid("a@x"), jid("c@x")]), list(&["b@x"]));
        assert_eq!((both.len(), both.holds("b@x"), both.holds("B@x")), (2, true, false));
    }

    fn contact(jid: &str, subscription: Subscription) -> Contact {
        Contact { jid: BareJid::new(jid).unwrap(), subscription, groups: Vec::new() }
    }

    #[test]
    fn c94_a_change_is_seen_by_contacts_that_were_not_blocked_otherwise() {
        let owner = BareJid::new("juliet@capulet.lit").unwrap();
        let contacts = [
            contact("romeo@montague.lit", Subscription::Both),
            contact("benvolio@montague.lit", Subscription::From),
            contact("abram@montague.lit", Subscription::To),
            contact("balthasar@montague.lit", Subscription::None),
            contact("nurse@capulet.lit", Subscription::Both),
            contact("juliet@capulet.lit", Subscription::Both),
        ];
        let affected = |changed: &[&str], less: &[&str]| -> Vec<(String, bool, bool)> {
            let changed: Vec<Jid> = changed.iter().map(|address| jid(address)).collect();
            let affected = super::affected(&owner, &contacts, &changed, &list(less));
            affected.into_iter().map(|a| (a.address.to_string(), a.sees_account, a.is_seen)).collect()
        };
        let one = |address: &str, sees, seen| (address.to_owned(), sees, seen);
        assert_eq!(affected(&["romeo@montague.lit"], &[]), [one("romeo@montague.lit", true, true)]);
        assert_eq!(affected(&["balthasar@montague.lit", "paris@verona.lit"], &[]), []);
        assert_eq!(
            affected(&["montague.lit"], &["benvolio@montague.lit"]),
            [one("romeo@montague.lit", true, true), one("abram@montague.lit", false, true)]
        );
        assert_eq!(affected(&["romeo@montague.lit", "romeo@montague.lit/x"], &["montague.lit"]), []);
        assert_eq!(
            affected(
                &["romeo@montague.lit/x", "romeo@montague.lit/y", "abram@montague.lit/x"],
                &["romeo@montague.lit/y"]
            ),
            [one("romeo@montague.lit/x", true, false)]
        );
        assert_eq!(
            affected(&["romeo@montague.lit/x", "romeo@montague.lit"], &[]),
            [one("romeo@montague.lit", true, true)],
            "once is enough"
        );
        assert_eq!(affected(&["capulet.lit"], &[]), [one("nurse@capulet.lit", true, true)]);
    }
}
