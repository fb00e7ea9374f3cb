//! The table of block lists, and what is remembered of it: every stanza asks for one or two lists.

use std::hash::RandomState;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use waxwing_core::address::{BareJid, Jid};
use waxwing_storage::{Database, Engine, Migrations, StorageError, Transaction, migrations, values};

use crate::list::BlockList;

/// The table.
pub const MIGRATIONS: Migrations = migrations!("blocking", "0001_blocking");

const LIST: &str = "SELECT jid FROM blocked WHERE owner = $1";
const CLEAR: &str = "DELETE FROM blocked WHERE owner = $1";

/// The lists of all accounts.
pub struct Store {
    database: Database,
    lists: Cache<BareJid, Arc<BlockList>, Addresses, RandomState>,
    /// Most lists are empty: one is enough for all of them.
    empty: Arc<BlockList>,
}

/// A list weighs what it holds.
#[derive(Clone)]
struct Addresses;

impl Weighter<BareJid, Arc<BlockList>> for Addresses {
    fn weight(&self, _: &BareJid, list: &Arc<BlockList>) -> u64 {
        1 + list.len() as u64
    }
}

/// A list before it was changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It was changed, and this stood there before.
    From(BlockList),
    /// It would have become too long, and is as it was.
    TooLong,
}

impl Store {
    /// The table in this database. Remembers about so many lists and addresses together.
    pub fn new(database: Database, remembered: usize) -> Store {
        let remembered = remembered.max(1);
        let lists = Cache::with(remembered, remembered as u64, Addresses, RandomState::new(), Default::default());
        Store { database, lists, empty: Arc::default() }
    }

    /// The list of an account.
    ///
    /// # Errors
    /// When it is not remembered and the database does not answer.
    pub async fn list(&self, owner: &BareJid) -> Result<Arc<BlockList>, StorageError> {
        // A list that is forgotten while it is read is not remembered: it may be the old one.
        let read = async {
            let rows = self.database.fetch_all(LIST, values![owner.as_str()]).await?;
            let list = rows.iter().map(|row| row.text(0)).collect::<Result<BlockList, _>>()?;
            Ok(if list.len() == 0 { self.empty.clone() } else { Arc::new(list) })
        };
        self.lists.get_or_insert_async(owner, read).await
    }

    /// Adds addresses to a list that may hold `most`.
    ///
    /// # Errors
    /// When the database does not answer; then it is unknown whether it was done.
    pub async fn block(&self, owner: &BareJid, addresses: &[Jid], most: usize) -> Result<Change, StorageError> {
        let add = match self.database.engine() {
            Engine::Sqlite => {
                "INSERT INTO blocked (owner, jid) SELECT $1, value FROM json_each($2) WHERE true
                    ON CONFLICT (owner, jid) DO NOTHING"
            }
            Engine::Postgres => {
                "INSERT INTO blocked (owner, jid) SELECT $1, jid FROM UNNEST($2::text[]) AS jid
                    ON CONFLICT (owner, jid) DO NOTHING"
            }
        };
        let mut transaction = self.database.begin().await?;
        let before = read(&mut transaction, owner).await?;
        if before.with(addresses).len() > most {
            transaction.rollback().await?;
            return Ok(Change::TooLong);
        }
        let texts: Vec<&str> = addresses.iter().map(Jid::as_str).collect();
        transaction.execute(add, values![owner.as_str(), &texts]).await?;
        self.commit(transaction, owner).await?;
        Ok(Change::From(before))
    }

    /// Takes addresses out of a list, or all of them. Gives back what stood there before.
    ///
    /// # Errors
    /// When the database does not answer; then it is unknown whether it was done.
    pub async fn unblock(&self, owner: &BareJid, addresses: Option<&[Jid]>) -> Result<BlockList, StorageError> {
        let take = match self.database.engine() {
            Engine::Sqlite => "DELETE FROM blocked WHERE owner = $1 AND jid IN (SELECT value FROM json_each($2))",
            Engine::Postgres => "DELETE FROM blocked WHERE owner = $1 AND jid = ANY($2)",
        };
        let mut transaction = self.database.begin().await?;
        let before = read(&mut transaction, owner).await?;
        match addresses {
            Some(addresses) => {
                let texts: Vec<&str> = addresses.iter().map(Jid::as_str).collect();
                transaction.execute(take, values![owner.as_str(), &texts]).await?;
            }
            None => {
                transaction.execute(CLEAR, values![owner.as_str()]).await?;
            }
        }
        self.commit(transaction, owner).await?;
        Ok(before)
    }

    /// Nothing is known of an account any more.
    pub fn forget(&self, owner: &BareJid) {
        self.lists.remove(owner);
    }

    async fn commit(&self, transaction: Transaction, owner: &BareJid) -> Result<(), StorageError> {
        let committed = transaction.commit().await;
        // Even when it failed: perhaps it was done.
        self.forget(owner);
        committed
    }
}

async fn read(transaction: &mut Transaction, owner: &BareJid) -> Result<BlockList, StorageError> {
    let rows = transaction.fetch_all(LIST, values![owner.as_str()]).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

#[cfg(test)]
mod tests {
    use waxwing_storage::on_both_engines;

    use super::*;

    fn owner(name: &str) -> BareJid {
        BareJid::new(&format!("{name}@capulet.lit")).unwrap()
    }

    fn jids(jids: &[&str]) -> Vec<Jid> {
        jids.iter().map(|jid| Jid::new(jid).unwrap()).collect()
    }

    async fn blocked(store: &Store, name: &str) -> Vec<String> {
        store.list(&owner(name)).await.unwrap().iter().map(str::to_owned).collect()
    }

    on_both_engines! {
        [MIGRATIONS];

        async fn lists_are_kept_for_each_account(database: Database) {
            let store = Store::new(database.clone(), 100);
            let (juliet, nurse) = (owner("juliet"), owner("nurse"));
            assert!(blocked(&store, "juliet").await.is_empty());
            let paris = jids(&["paris@verona.lit", "mantua.lit"]);
            assert_eq!(store.block(&juliet, &paris, 10).await.unwrap(), Change::From(BlockList::default()));
            assert_eq!(blocked(&store, "juliet").await, ["mantua.lit", "paris@verona.lit"], "what was remembered is gone");
            assert!(blocked(&store, "nurse").await.is_empty());
            let again = jids(&["paris@verona.lit", "rome.lit/x"]);
            let Change::From(before) = store.block(&juliet, &again, 3).await.unwrap() else { panic!("there is room") };
            assert_eq!(before.len(), 2);
            store.block(&nurse, &again, 3).await.unwrap();
            assert_eq!(store.unblock(&juliet, Some(&paris)).await.unwrap().len(), 3);
            assert_eq!(blocked(&store, "juliet").await, ["rome.lit/x"]);
            assert_eq!(store.unblock(&juliet, None).await.unwrap().len(), 1);
            assert!(blocked(&store, "juliet").await.is_empty());
            assert_eq!(blocked(&Store::new(database, 100), "nurse").await, ["paris@verona.lit", "rome.lit/x"]);
        }

        async fn a_list_is_bounded(database: Database) {
            let store = Store::new(database, 100);
            let juliet = owner("juliet");
            store.block(&juliet, &jids(&["a", "b"]), 3).await.unwrap();
            assert_eq!(store.block(&juliet, &jids(&["c", "d"]), 3).await.unwrap(), Change::TooLong);
            assert_eq!(blocked(&store, "juliet").await, ["a", "b"]);
            assert!(matches!(store.block(&juliet, &jids(&["b", "c"]), 3).await.unwrap(), Change::From(_)));
        }

        async fn no_more_is_remembered_than_allowed(database: Database) {
            let store = Store::new(database, 50);
            for number in 0..200 {
                store.list(&owner(&format!("user{number}"))).await.unwrap();
            }
            assert!(store.lists.weight() <= 50, "{}", store.lists.weight());
        }
    }
}
