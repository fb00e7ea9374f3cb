//! What is remembered of each account: a bounded table in two halves, the newer and the older.

use std::collections::HashMap;

use waxwing_core::address::BareJid;

use crate::bucket::Bucket;
use crate::recipients::Recipients;

/// What one account has used of its limits, over all of its sessions.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) subscriptions: Bucket,
    pub(crate) recipients: Recipients,
}

/// The accounts that have sent something lately. An account that is not used moves to the older half and is then
/// forgotten; forgetting is kind to the account, never cruel.
#[derive(Debug)]
pub(crate) struct Accounts {
    newer: HashMap<BareJid, Account>,
    older: HashMap<BareJid, Account>,
    /// How many accounts a half may hold, at least 1.
    bound: usize,
}

impl Accounts {
    /// An empty table for about so many accounts.
    pub(crate) fn new(most: usize) -> Accounts {
        Accounts { newer: HashMap::new(), older: HashMap::new(), bound: most.div_ceil(2).max(1) }
    }

    /// What is remembered of this account, from now on among the newer.
    pub(crate) fn account(&mut self, account: &BareJid) -> &mut Account {
        if !self.newer.contains_key(account) {
            let remembered = self.older.remove(account).unwrap_or_default();
            if self.newer.len() >= self.bound {
                self.age();
            }
            self.newer.insert(account.clone(), remembered);
        }
        self.newer.entry(account.clone()).or_default()
    }

    /// The newer become the older, and the older are forgotten.
    pub(crate) fn age(&mut self) {
        self.older = std::mem::take(&mut self.newer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use waxwing_core::limits::Rate;

    const ONCE: Rate = Rate::per_hour(1);

    fn may_subscribe(accounts: &mut Accounts, name: usize) -> bool {
        let account = BareJid::new(&format!("user{name}@example.org")).unwrap();
        accounts.account(&account).subscriptions.take(ONCE, Instant::now())
    }

    #[test]
    fn an_account_is_remembered_while_it_is_used() {
        let mut accounts = Accounts::new(10);
        assert!(may_subscribe(&mut accounts, 0));
        for other in 1..100 {
            may_subscribe(&mut accounts, other);
            assert!(!may_subscribe(&mut accounts, 0), "forgotten after {other} others");
        }
    }

    #[test]
    fn the_table_is_bounded() {
        let mut accounts = Accounts::new(10);
        for name in 0..1_000 {
            may_subscribe(&mut accounts, name);
            assert!(accounts.newer.len() + accounts.older.len() <= 10);
        }
    }

    #[test]
    fn an_account_that_is_not_used_is_forgotten() {
        let mut accounts = Accounts::new(10);
        may_subscribe(&mut accounts, 0);
        accounts.age();
        assert!(!may_subscribe(&mut accounts, 0));
        accounts.age();
        accounts.age();
        assert!(may_subscribe(&mut accounts, 0));
    }
}
