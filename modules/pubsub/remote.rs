//! Clients of contacts on other servers, as far as they have told accounts of ours that they are online.
//!
//! For contacts on this server the directory knows, and nothing is kept here.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use waxwing_core::address::{BareJid, FullJid};

use crate::capabilities::{Advertised, Interests};

/// Accounts are spread over this many locks.
const SHARDS: usize = 64;

/// How many clients of one contact are remembered.
const MOST_OF_CONTACT: usize = 20;

/// A client of a contact.
#[derive(Clone, Debug)]
struct Client {
    jid: FullJid,
    advertised: Advertised,
    interests: Interests,
}

/// The clients that each account knows of.
type ByAccount = HashMap<BareJid, Vec<Client>>;

/// Who is online elsewhere.
pub struct Remote {
    shards: Box<[Mutex<ByAccount>]>,
    hasher: RandomState,
    count: AtomicUsize,
    most: usize,
}

impl Remote {
    /// Nobody yet; at most so many.
    pub fn new(most: usize) -> Remote {
        Remote {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            most,
        }
    }

    fn shard(&self, account: &BareJid) -> &Mutex<ByAccount> {
        &self.shards[self.hasher.hash_one(account) as usize % SHARDS]
    }

    /// A client has told an account that it is online. Whether it is to be asked what it wants to hear of: it is new, or
    /// not the same as before. A client that says nothing about itself is forgotten.
    pub fn comes(&self, account: &BareJid, jid: &FullJid, advertised: Option<&Advertised>) -> bool {
        let Some(advertised) = advertised else {
            self.goes(account, jid);
            return false;
        };
        let mut shard = self.shard(account).lock();
        let clients = shard.entry(account.clone()).or_default();
        if let Some(known) = clients.iter_mut().find(|known| known.jid == *jid) {
            if known.advertised == *advertised {
                return false;
            }
            known.advertised = advertised.clone();
            return true;
        }
        let contact = jid.to_bare();
        let of_contact = clients.iter().filter(|known| known.jid.to_bare() == contact).count();
        let fits = of_contact < MOST_OF_CONTACT && self.count.load(Ordering::Relaxed) < self.most;
        if fits {
            self.count.fetch_add(1, Ordering::Relaxed);
            clients.push(Client { jid: jid.clone(), advertised: advertised.clone(), interests: Arc::default() });
        } else if clients.is_empty() {
            shard.remove(account);
        }
        fits
    }

    /// What a client wants to hear of is known now; gives what was known before. None when it is gone, or says
    /// something else in the meantime.
    pub fn learn(
        &self,
        account: &BareJid,
        jid: &FullJid,
        advertised: &Advertised,
        interests: &Interests,
    ) -> Option<Interests> {
        let mut shard = self.shard(account).lock();
        let client = shard.get_mut(account)?.iter_mut().find(|known| known.jid == *jid)?;
        (client.advertised == *advertised).then(|| std::mem::replace(&mut client.interests, interests.clone()))
    }

    /// A client is online no more, as far as an account knows.
    pub fn goes(&self, account: &BareJid, jid: &FullJid) {
        self.forget(account, |known| known.jid == *jid);
    }

    /// No client of a contact is online any more, as far as an account knows.
    pub fn contact_goes(&self, account: &BareJid, contact: &BareJid) {
        self.forget(account, |known| known.jid.to_bare() == *contact);
    }

    /// An account is gone.
    pub fn account_goes(&self, account: &BareJid) {
        self.forget(account, |_| true);
    }

    fn forget(&self, account: &BareJid, unwanted: impl Fn(&Client) -> bool) {
        let mut shard = self.shard(account).lock();
        let Some(clients) = shard.get_mut(account) else { return };
        let before = clients.len();
        clients.retain(|known| !unwanted(known));
        self.count.fetch_sub(before - clients.len(), Ordering::Relaxed);
        if clients.is_empty() {
            shard.remove(account);
        }
    }

    /// The clients that have told an account that they are online, with what they want to hear of.
    pub fn clients(&self, account: &BareJid) -> Vec<(FullJid, Interests)> {
        let shard = self.shard(account).lock();
        let clients = shard.get(account).into_iter().flatten();
        clients.map(|client| (client.jid.clone(), client.interests.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> FullJid {
        FullJid::new(text).unwrap()
    }

    fn kind(version: &str) -> Advertised {
        Advertised { node: "n".into(), hash: "sha-1".into(), version: version.into() }
    }

    #[test]
    fn a_client_is_asked_once_and_again_when_it_changes() {
        let remote = Remote::new(10);
        let (juliet, romeo) = (BareJid::new("juliet@capulet.lit").unwrap(), full("romeo@montague.lit/a"));
        assert!(remote.comes(&juliet, &romeo, Some(&kind("1"))));
        assert!(!remote.comes(&juliet, &romeo, Some(&kind("1"))));
        let wants: Interests = Arc::from(["urn:a".into()]);
        assert_eq!(remote.learn(&juliet, &romeo, &kind("1"), &wants).map(|before| before.len()), Some(0));
        assert!(remote.comes(&juliet, &romeo, Some(&kind("2"))));
        assert!(remote.learn(&juliet, &romeo, &kind("1"), &wants).is_none(), "it says something else now");
        assert_eq!(remote.clients(&juliet), [(romeo.clone(), wants)]);
        remote.comes(&juliet, &romeo, None);
        assert!(remote.clients(&juliet).is_empty());
    }

    #[test]
    fn there_is_an_end_to_how_many_are_remembered() {
        let remote = Remote::new(30);
        let juliet = BareJid::new("juliet@capulet.lit").unwrap();
        for number in 0..100 {
            remote.comes(&juliet, &full(&format!("romeo@montague.lit/{number}")), Some(&kind("1")));
            remote.comes(&juliet, &full(&format!("paris{number}@montague.lit/x")), Some(&kind("1")));
        }
        assert_eq!(remote.clients(&juliet).len(), 30);
        remote.contact_goes(&juliet, &BareJid::new("romeo@montague.lit").unwrap());
        assert!(remote.clients(&juliet).len() >= 10);
        remote.account_goes(&juliet);
        assert_eq!(remote.count.load(Ordering::Relaxed), 0);
        assert!(remote.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}
