//! The tables of nodes: which there are and who may see them (here), and what they hold (`items`).

mod items;

use std::hash::RandomState;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use waxwing_core::address::{BareJid, Jid};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::fault::Fault;
use waxwing_core::refusal::Refusal;
use waxwing_storage::{Database, Engine, Migrations, StorageError, Transaction, migrations, values};

use crate::access::{Affiliation, Subscribed};
use crate::configuration::Configuration;
use crate::protocol::no_such_node;

pub use items::{Last, NewItem, Page, StoredItem, Window};

/// The tables.
pub const MIGRATIONS: Migrations = migrations!("pubsub", "0001_pubsub");

const NODES: &str = "SELECT number, name, configuration, created_at FROM pubsub_nodes WHERE owner = $1 ORDER BY name";
const AFFILIATIONS: &str = "SELECT a.node, a.jid, a.affiliation FROM pubsub_nodes n \
    JOIN pubsub_affiliations a ON a.node = n.number WHERE n.owner = $1 ORDER BY a.jid";
const SUBSCRIPTIONS: &str = "SELECT s.node, s.jid, s.state FROM pubsub_nodes n \
    JOIN pubsub_subscriptions s ON s.node = n.number WHERE n.owner = $1 ORDER BY s.jid";
const HOW_MANY: &str = "SELECT count(*) FROM pubsub_nodes WHERE owner = $1";
const MAKE: &str = "INSERT INTO pubsub_nodes (owner, name, configuration, created_at, newest, items, bytes, expire) \
    VALUES ($1, $2, $3, $4, $5, 0, 0, $6) RETURNING number";
const CONFIGURE: &str =
    "UPDATE pubsub_nodes SET configuration = $2, expire = $3 WHERE number = $1 RETURNING items, bytes";
const CLEAR_AFFILIATIONS: &str = "DELETE FROM pubsub_affiliations WHERE node = $1";
const CLEAR_SUBSCRIPTIONS: &str = "DELETE FROM pubsub_subscriptions WHERE node = $1";
const DELETE: &str = "DELETE FROM pubsub_nodes WHERE number = $1";
const FORGET_ITEMS: &str = "DELETE FROM pubsub_items WHERE node IN (SELECT number FROM pubsub_nodes WHERE owner = $1)";
const FORGET_AFFILIATIONS: &str =
    "DELETE FROM pubsub_affiliations WHERE node IN (SELECT number FROM pubsub_nodes WHERE owner = $1)";
const FORGET_SUBSCRIPTIONS: &str =
    "DELETE FROM pubsub_subscriptions WHERE node IN (SELECT number FROM pubsub_nodes WHERE owner = $1)";
const FORGET_NODES: &str = "DELETE FROM pubsub_nodes WHERE owner = $1";
const REMOVE_AFFILIATION: &str = "DELETE FROM pubsub_affiliations WHERE node = $1 AND jid = $2";
const SET_SUBSCRIPTION: &str = "INSERT INTO pubsub_subscriptions (node, jid, state) VALUES ($1, $2, $3) \
    ON CONFLICT (node, jid) DO UPDATE SET state = excluded.state";
const REMOVE_SUBSCRIPTION: &str = "DELETE FROM pubsub_subscriptions WHERE node = $1 AND jid = $2";
const SET_AFFILIATION: &str = "INSERT INTO pubsub_affiliations (node, jid, affiliation) VALUES ($1, $2, $3) \
    ON CONFLICT (node, jid) DO UPDATE SET affiliation = excluded.affiliation";

/// A node, without what it holds.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its number in the tables.
    pub number: i64,
    /// Its name.
    pub name: Arc<str>,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// How it is configured.
    pub configuration: Configuration,
    /// Who stands how to it, beside its owner.
    pub affiliations: Vec<(BareJid, Affiliation)>,
    /// Who has subscribed to it.
    pub subscriptions: Vec<(Jid, Subscribed)>,
}

impl Node {
    /// How somebody who is not its owner stands to it.
    pub fn affiliation(&self, of: &BareJid) -> Affiliation {
        let found = self.affiliations.iter().find(|(jid, _)| jid == of);
        found.map_or(Affiliation::None, |(_, affiliation)| *affiliation)
    }

    /// The furthest that any address of somebody has come with a subscription.
    pub fn subscribed(&self, of: &BareJid) -> Option<Subscribed> {
        let mut own = self.subscriptions.iter().filter(|(jid, _)| jid.to_bare() == *of).map(|(_, state)| *state);
        let first = own.next()?;
        Some(if own.any(|state| state == Subscribed::Yes) { Subscribed::Yes } else { first })
    }
}

/// All nodes of an account, by name.
#[derive(Debug, Default)]
pub struct Shelf(pub Vec<Arc<Node>>);

impl Shelf {
    /// The node of this name.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.0.iter().find(|node| &*node.name == name)
    }
}

/// A shelf weighs what stands on it.
#[derive(Clone)]
struct ByNodes;

impl Weighter<BareJid, Arc<Shelf>> for ByNodes {
    fn weight(&self, _: &BareJid, shelf: &Arc<Shelf>) -> u64 {
        let of_node = |node: &Arc<Node>| 1 + (node.affiliations.len() + node.subscriptions.len()) as u64 / 4;
        1 + shelf.0.iter().map(of_node).sum::<u64>()
    }
}

/// Bounds on what an account may keep.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Nodes of an account.
    pub nodes: usize,
    /// Items of a node.
    pub items: usize,
    /// Bytes of an account.
    pub bytes: usize,
}

/// The nodes of all accounts.
pub struct Store {
    database: Database,
    shelves: Cache<BareJid, Arc<Shelf>, ByNodes, RandomState>,
    /// Most accounts of a new server have no node: one is enough for all of them.
    empty: Arc<Shelf>,
    bounds: Bounds,
}

impl Store {
    /// The tables in this database. Remembers about so many nodes.
    pub fn new(database: Database, remembered: usize, bounds: Bounds) -> Store {
        let remembered = remembered.clamp(64, 1 << 32);
        let accounts = (remembered / 10).max(16);
        let shelves = Cache::with(accounts, remembered as u64, ByNodes, RandomState::new(), Default::default());
        Store { database, shelves, empty: Arc::default(), bounds }
    }

    /// The nodes of an account.
    ///
    /// # Errors
    /// When they are not remembered and the database does not answer.
    pub async fn shelf(&self, owner: &BareJid) -> Result<Arc<Shelf>, StorageError> {
        // What is forgotten while it is read is not remembered: it may be the old state.
        self.shelves.get_or_insert_async(owner, self.read_shelf(owner)).await
    }

    /// How many shelves are remembered.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        self.shelves.len()
    }

    async fn read_shelf(&self, owner: &BareJid) -> Result<Arc<Shelf>, StorageError> {
        let of_owner = values![owner.as_str()];
        let mut nodes = Vec::new();
        for row in self.database.fetch_all(NODES, of_owner).await? {
            nodes.push(Node {
                number: row.integer(0)?,
                name: row.text(1)?.into(),
                configuration: configuration(&row.text(2)?)?,
                created_at: row.integer(3)?,
                affiliations: Vec::new(),
                subscriptions: Vec::new(),
            });
        }
        if nodes.is_empty() {
            return Ok(self.empty.clone());
        }
        for row in self.database.fetch_all(AFFILIATIONS, of_owner).await? {
            let number = row.integer(0)?;
            let read = (BareJid::new(&row.text(1)?).ok(), Affiliation::read(&row.text(2)?));
            if let (Some(node), (Some(jid), Some(affiliation))) = (of_number(&mut nodes, number), read) {
                node.affiliations.push((jid, affiliation));
            }
        }
        for row in self.database.fetch_all(SUBSCRIPTIONS, of_owner).await? {
            let number = row.integer(0)?;
            let read = (Jid::new(&row.text(1)?).ok(), Subscribed::read(&row.text(2)?));
            if let (Some(node), (Some(jid), Some(state))) = (of_number(&mut nodes, number), read) {
                node.subscriptions.push((jid, state));
            }
        }
        Ok(Arc::new(Shelf(nodes.into_iter().map(Arc::new).collect())))
    }

    /// Makes a node.
    ///
    /// # Errors
    /// `policy-violation` when the account has as many as it may have; what storage failed with.
    pub async fn make(&self, owner: &BareJid, name: &str, configuration: &Configuration) -> Result<(), Refusal> {
        let mut transaction = self.database.begin().await?;
        self.insert_node(&mut transaction, owner, name, configuration, 0).await?;
        self.commit(transaction, owner).await
    }

    /// Writes the row of a new node; gives its number.
    async fn insert_node(
        &self,
        transaction: &mut Transaction,
        owner: &BareJid,
        name: &str,
        configuration: &Configuration,
        newest: i64,
    ) -> Result<i64, Refusal> {
        let row = transaction.fetch_optional(HOW_MANY, values![owner.as_str()]).await?;
        let there = row.map_or(Ok(0), |row| row.integer(0))?;
        if there >= i64::try_from(self.bounds.nodes).unwrap_or(i64::MAX) {
            let text = format!("an account may have {} nodes", self.bounds.nodes);
            return Err(crate::protocol::no_room(text));
        }
        let written = written(configuration)?;
        let expire = configuration.item_expire;
        let values = values![owner.as_str(), name, &written, now_milliseconds(), newest, expire];
        let row = transaction.fetch_optional(MAKE, values).await?;
        let row = row.ok_or_else(|| Fault::new("a node was written and has no number"))?;
        Ok(row.integer(0)?)
    }

    /// Configures a node. Items beyond what it may hold from now on are gone.
    ///
    /// # Errors
    /// `item-not-found` when it is gone; what storage failed with.
    pub async fn configure(&self, owner: &BareJid, node: &Node, to: &Configuration) -> Result<(), Refusal> {
        let mut transaction = self.database.begin().await?;
        let written = written(to)?;
        let row = transaction.fetch_optional(CONFIGURE, values![node.number, &written, to.item_expire]).await?;
        let row = row.ok_or_else(no_such_node)?;
        let (items, bytes) = (row.integer(0)?, row.integer(1)?);
        let most = if to.persist_items { to.most_items(self.bounds.items) } else { 0 };
        let beyond = items.saturating_sub(i64::try_from(most).unwrap_or(i64::MAX));
        if beyond > 0 {
            let freed = items::trim(&mut transaction, node.number, beyond).await?;
            items::count(&mut transaction, node.number, items - beyond, bytes - freed).await?;
        }
        self.commit(transaction, owner).await
    }

    /// Deletes a node with all that belongs to it.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn delete(&self, owner: &BareJid, node: &Node) -> Result<(), Refusal> {
        let mut transaction = self.database.begin().await?;
        for sql in [items::CLEAR, CLEAR_AFFILIATIONS, CLEAR_SUBSCRIPTIONS, DELETE] {
            transaction.execute(sql, values![node.number]).await?;
        }
        self.commit(transaction, owner).await
    }

    /// Deletes everything of an account.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn forget_account(&self, owner: &BareJid) -> Result<(), Refusal> {
        let mut transaction = self.database.begin().await?;
        for sql in [FORGET_ITEMS, FORGET_AFFILIATIONS, FORGET_SUBSCRIPTIONS, FORGET_NODES] {
            transaction.execute(sql, values![owner.as_str()]).await?;
        }
        self.commit(transaction, owner).await
    }

    /// Says how some stand to a node; [`Affiliation::None`] takes somebody off the list.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn affiliate(
        &self,
        owner: &BareJid,
        node: &Node,
        changes: &[(BareJid, Affiliation)],
    ) -> Result<(), Refusal> {
        let mut transaction = self.database.begin().await?;
        // One statement for each: a few, in one transaction, sent by hand.
        for (jid, affiliation) in changes {
            match affiliation {
                Affiliation::None => {
                    transaction.execute(REMOVE_AFFILIATION, values![node.number, jid.as_str()]).await?;
                }
                _ => {
                    let values = values![node.number, jid.as_str(), affiliation.name()];
                    transaction.execute(SET_AFFILIATION, values).await?;
                }
            }
        }
        self.commit(transaction, owner).await
    }

    /// Writes down who has subscribed to a node, or takes somebody off.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn subscribe(
        &self,
        owner: &BareJid,
        node: &Node,
        changes: &[(Jid, Option<Subscribed>)],
    ) -> Result<(), Refusal> {
        let mut transaction = self.database.begin().await?;
        for (jid, state) in changes {
            match state {
                None => transaction.execute(REMOVE_SUBSCRIPTION, values![node.number, jid.as_str()]).await?,
                Some(state) => {
                    let values = values![node.number, jid.as_str(), state.name()];
                    transaction.execute(SET_SUBSCRIPTION, values).await?
                }
            };
        }
        self.commit(transaction, owner).await
    }

    /// Commits, and forgets what is remembered of the account even when that failed: perhaps it was done.
    async fn commit(&self, transaction: Transaction, owner: &BareJid) -> Result<(), Refusal> {
        let committed = transaction.commit().await;
        self.shelves.remove(owner);
        Ok(committed?)
    }

    /// The one of two statements that is for this engine.
    fn either(&self, postgres: &'static str, sqlite: &'static str) -> &'static str {
        match self.database.engine() {
            Engine::Postgres => postgres,
            Engine::Sqlite => sqlite,
        }
    }
}

fn of_number(nodes: &mut [Node], number: i64) -> Option<&mut Node> {
    nodes.iter_mut().find(|node| node.number == number)
}

/// A configuration as the database has it.
fn configuration(text: &str) -> Result<Configuration, StorageError> {
    serde_json::from_str(text)
        .map_err(|error| StorageError::Corrupt { column: "configuration".to_owned(), reason: error.to_string() })
}

fn written(configuration: &Configuration) -> Result<String, Fault> {
    serde_json::to_string(configuration).map_err(Fault::new)
}
