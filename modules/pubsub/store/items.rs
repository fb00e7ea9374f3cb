//! The items of nodes: published in one transaction, read by pages that are bounded in number and in bytes.

use std::collections::HashMap;

use bytes::Bytes;
use waxwing_core::address::BareJid;
use waxwing_core::clock::now_milliseconds;
use waxwing_core::refusal::Refusal;
use waxwing_storage::{Engine, Row, StorageError, Transaction, values};

use super::{Node, Store, configuration};
use crate::access::{Affiliation, Subscribed};
use crate::configuration::Configuration;
use crate::protocol::{no_room, no_such_node};

/// Takes the next numbers of a node, and its row until the transaction ends.
const TAKE: &str = "UPDATE pubsub_nodes SET newest = newest + $3 WHERE owner = $1 AND name = $2 \
    RETURNING number, newest, items, bytes, configuration";
const LOCK: &str = "UPDATE pubsub_nodes SET newest = newest WHERE number = $1 RETURNING items, bytes";
const COUNT: &str = "UPDATE pubsub_nodes SET items = $2, bytes = $3 WHERE number = $1";
const SUM: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM pubsub_nodes WHERE owner = $1";
const SIZES_POSTGRES: &str = "SELECT size FROM pubsub_items WHERE node = $1 AND id = ANY($2)";
const SIZES_SQLITE: &str = "SELECT size FROM pubsub_items WHERE node = $1 AND id IN (SELECT value FROM json_each($2))";
const PUT_ONE: &str = "INSERT INTO pubsub_items (node, id, position, published_at, publisher, size, payload) \
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (node, id) DO UPDATE SET position = excluded.position, \
    published_at = excluded.published_at, publisher = excluded.publisher, size = excluded.size, \
    payload = excluded.payload";
const PUT_MANY: &str = "INSERT INTO pubsub_items (node, id, position, published_at, publisher, size, payload) \
    SELECT $1, id, position, $4, $5, size, payload FROM UNNEST($2::text[], $3::bigint[], $6::bigint[], $7::bytea[]) \
    AS new (id, position, size, payload) ON CONFLICT (node, id) DO UPDATE SET position = excluded.position, \
    published_at = excluded.published_at, publisher = excluded.publisher, size = excluded.size, \
    payload = excluded.payload";
const TRIM: &str = "DELETE FROM pubsub_items WHERE node = $1 AND position IN \
    (SELECT position FROM pubsub_items WHERE node = $1 ORDER BY position LIMIT $2) RETURNING size";
const RETRACT_POSTGRES: &str = "DELETE FROM pubsub_items WHERE node = $1 AND id = ANY($2) RETURNING id, size";
const RETRACT_SQLITE: &str =
    "DELETE FROM pubsub_items WHERE node = $1 AND id IN (SELECT value FROM json_each($2)) RETURNING id, size";
pub const CLEAR: &str = "DELETE FROM pubsub_items WHERE node = $1";

// A page: the positions that fit are found in an index, then the items themselves are read.
const OLDEST: &str = "SELECT i.position, i.id, i.published_at, i.publisher, i.payload FROM \
    (SELECT position, CAST(SUM(size) OVER (ORDER BY position) AS BIGINT) AS total FROM \
        (SELECT position, size FROM pubsub_items WHERE node = $1 AND position > $2 AND position < $3 \
         ORDER BY position LIMIT $4) AS near) AS page \
    JOIN pubsub_items i ON i.node = $1 AND i.position = page.position \
    WHERE page.total <= $5 AND i.published_at >= $6 ORDER BY i.position";
const NEWEST: &str = "SELECT i.position, i.id, i.published_at, i.publisher, i.payload FROM \
    (SELECT position, CAST(SUM(size) OVER (ORDER BY position DESC) AS BIGINT) AS total FROM \
        (SELECT position, size FROM pubsub_items WHERE node = $1 AND position > $2 AND position < $3 \
         ORDER BY position DESC LIMIT $4) AS near) AS page \
    JOIN pubsub_items i ON i.node = $1 AND i.position = page.position \
    WHERE page.total <= $5 AND i.published_at >= $6 ORDER BY i.position";
const BY_ID_POSTGRES: &str = "SELECT position, id, published_at, publisher, payload FROM pubsub_items \
    WHERE node = $1 AND id = ANY($2) AND published_at >= $3 ORDER BY position";
const BY_ID_SQLITE: &str = "SELECT position, id, published_at, publisher, payload FROM pubsub_items \
    WHERE node = $1 AND id IN (SELECT value FROM json_each($2)) AND published_at >= $3 ORDER BY position";
const POSITION: &str = "SELECT position FROM pubsub_items WHERE node = $1 AND id = $2";
const AROUND: &str = "SELECT count(*), count(*) FILTER (WHERE position < $2) FROM pubsub_items WHERE node = $1";
const IDS: &str = "SELECT id FROM pubsub_items WHERE node = $1 AND published_at >= $2 ORDER BY position DESC LIMIT $3";

const LAST_POSTGRES: &str = "SELECT n.owner, n.name, n.configuration, a.affiliation, s.state, \
        i.position, i.id, i.published_at, i.publisher, i.payload \
    FROM pubsub_nodes n \
    JOIN LATERAL (SELECT * FROM pubsub_items WHERE node = n.number ORDER BY position DESC LIMIT 1) i ON TRUE \
    LEFT JOIN pubsub_affiliations a ON a.node = n.number AND a.jid = $3 \
    LEFT JOIN pubsub_subscriptions s ON s.node = n.number AND s.jid = $3 \
    WHERE n.owner = ANY($1) AND n.name = ANY($2)";
const LAST_SQLITE: &str = "SELECT n.owner, n.name, n.configuration, a.affiliation, s.state, \
        i.position, i.id, i.published_at, i.publisher, i.payload \
    FROM pubsub_nodes n \
    JOIN pubsub_items i ON i.node = n.number \
        AND i.position = (SELECT max(position) FROM pubsub_items WHERE node = n.number) \
    LEFT JOIN pubsub_affiliations a ON a.node = n.number AND a.jid = $3 \
    LEFT JOIN pubsub_subscriptions s ON s.node = n.number AND s.jid = $3 \
    WHERE n.owner IN (SELECT value FROM json_each($1)) AND n.name IN (SELECT value FROM json_each($2))";

const EXPIRED: &str = "DELETE FROM pubsub_items WHERE node IN (SELECT number FROM pubsub_nodes WHERE expire IS NOT NULL) \
    AND published_at < $1 - 1000 * (SELECT expire FROM pubsub_nodes WHERE number = node)";
const RECOUNT: &str = "UPDATE pubsub_nodes SET \
    items = (SELECT count(*) FROM pubsub_items WHERE node = number), \
    bytes = (SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM pubsub_items WHERE node = number) \
    WHERE expire IS NOT NULL";

/// What an item takes beside its payload and its id.
const OVERHEAD: usize = 150;

/// An item that is to be published.
#[derive(Clone, Copy, Debug)]
pub struct NewItem<'a> {
    /// Its id.
    pub id: &'a str,
    /// Its payload.
    pub payload: Option<&'a [u8]>,
}

impl NewItem<'_> {
    fn size(&self) -> i64 {
        let size = OVERHEAD + self.id.len() + self.payload.map_or(0, <[u8]>::len);
        i64::try_from(size).unwrap_or(i64::MAX)
    }
}

/// An item as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredItem {
    /// Its place among the items of its node: greater for what was published later.
    pub position: i64,
    /// Its id.
    pub id: Box<str>,
    /// When it was published, in milliseconds since 1970.
    pub published_at: i64,
    /// Who has published it.
    pub publisher: Box<str>,
    /// Its payload, as one element.
    pub payload: Option<Bytes>,
}

impl StoredItem {
    /// Reads the five columns that begin at `first`.
    fn of(row: &Row, first: usize) -> Result<StoredItem, StorageError> {
        Ok(StoredItem {
            position: row.integer(first)?,
            id: row.text(first + 1)?.into(),
            published_at: row.integer(first + 2)?,
            publisher: row.text(first + 3)?.into(),
            payload: row.optional_bytes(first + 4)?.map(Bytes::from),
        })
    }
}

/// What came of a publication.
#[derive(Debug)]
pub struct Published {
    /// How the node is configured.
    pub configuration: Configuration,
    /// Whether the node was made for it.
    pub made: bool,
}

/// A stretch of a node's items, both ends left out, and how much of it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Only positions above this.
    pub low: i64,
    /// Only positions below this.
    pub high: i64,
    /// Whether to begin at the upper end. A page is in the order of publication either way.
    pub newest: bool,
    /// How many items at most.
    pub most: usize,
    /// How many bytes at most.
    pub bytes: usize,
}

/// A page of items.
#[derive(Debug, Default)]
pub struct Page {
    /// The items in the order of publication.
    pub items: Vec<StoredItem>,
    /// How many there are before the first.
    pub before: usize,
    /// How many there are in all.
    pub count: usize,
}

/// The last item of a node, and what decides who is sent it.
#[derive(Debug)]
pub struct Last {
    /// Whose node it is.
    pub owner: BareJid,
    /// Its name.
    pub node: String,
    /// How it is configured.
    pub configuration: Configuration,
    /// How the one who asks stands to it.
    pub affiliation: Affiliation,
    /// Whether he has subscribed to it.
    pub subscribed: Option<Subscribed>,
    /// The item.
    pub item: StoredItem,
}

/// Frees the oldest items of a node; how many bytes they had.
pub(super) async fn trim(transaction: &mut Transaction, node: i64, items: i64) -> Result<i64, StorageError> {
    let rows = transaction.fetch_all(TRIM, values![node, items]).await?;
    rows.iter().map(|row| row.integer(0)).sum()
}

/// Writes down how much a node holds.
pub(super) async fn count(
    transaction: &mut Transaction,
    node: i64,
    items: i64,
    bytes: i64,
) -> Result<(), StorageError> {
    transaction.execute(COUNT, values![node, items.max(0), bytes.max(0)]).await.map(|_| ())
}

impl Store {
    /// Publishes items in one transaction; the ids are all different. `decide` is given the configuration of the node, if
    /// there is one, and says how it is or will be configured.
    ///
    /// # Errors
    /// What `decide` said; `policy-violation` when there is no room; what storage failed with.
    pub async fn publish(
        &self,
        owner: &BareJid,
        name: &str,
        publisher: &BareJid,
        items: &[NewItem<'_>],
        decide: impl FnOnce(Option<&Configuration>) -> Result<Configuration, Refusal>,
    ) -> Result<Published, Refusal> {
        let added = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let mut transaction = self.database.begin().await?;
        let found = transaction.fetch_optional(TAKE, values![owner.as_str(), name, added]).await?;
        let made = found.is_none();
        let (number, newest, held, bytes, configuration) = match found {
            Some(row) => {
                let configuration = decide(Some(&configuration(&row.text(4)?)?))?;
                (row.integer(0)?, row.integer(1)?, row.integer(2)?, row.integer(3)?, configuration)
            }
            None => {
                let configuration = decide(None)?;
                let number = self.insert_node(&mut transaction, owner, name, &configuration, added).await?;
                (number, added, 0, 0, configuration)
            }
        };
        if configuration.persist_items && !items.is_empty() {
            let ids: Vec<&str> = items.iter().map(|item| item.id).collect();
            let sizes = self.either(SIZES_POSTGRES, SIZES_SQLITE);
            let replaced = transaction.fetch_all(sizes, values![number, &ids]).await?;
            let freed: i64 = replaced.iter().map(|row| row.integer(0)).sum::<Result<i64, StorageError>>()?;
            self.put(&mut transaction, number, newest - added, publisher, items).await?;
            let size: i64 = items.iter().map(NewItem::size).sum();
            let mut holds = held + added - replaced.len() as i64;
            let mut weighs = bytes + size - freed;
            let most = i64::try_from(configuration.most_items(self.bounds.items)).unwrap_or(i64::MAX);
            if holds > most {
                weighs -= trim(&mut transaction, number, holds - most).await?;
                holds = most;
            }
            if weighs > bytes {
                let row = transaction.fetch_optional(SUM, values![owner.as_str()]).await?;
                let before = row.map_or(Ok(0), |row| row.integer(0))?;
                if before - bytes + weighs > i64::try_from(self.bounds.bytes).unwrap_or(i64::MAX) {
                    return Err(no_room(format!("the nodes of an account may hold {} bytes", self.bounds.bytes)));
                }
            }
            count(&mut transaction, number, holds, weighs).await?;
        }
        if made {
            self.commit(transaction, owner).await?;
        } else {
            // What is remembered of the node says nothing about its items.
            transaction.commit().await?;
        }
        Ok(Published { configuration, made })
    }

    async fn put(
        &self,
        transaction: &mut Transaction,
        node: i64,
        after: i64,
        publisher: &BareJid,
        items: &[NewItem<'_>],
    ) -> Result<(), StorageError> {
        let (now, publisher) = (now_milliseconds(), publisher.as_str());
        if items.len() > 1 && self.database.engine() == Engine::Postgres {
            let ids: Vec<&str> = items.iter().map(|item| item.id).collect();
            let positions: Vec<i64> = (after + 1..).take(items.len()).collect();
            let sizes: Vec<i64> = items.iter().map(NewItem::size).collect();
            let payloads: Vec<&[u8]> = items.iter().map(|item| item.payload.unwrap_or_default()).collect();
            let values = values![node, &ids, &positions, now, publisher, &sizes, &payloads];
            return transaction.execute(PUT_MANY, values).await.map(|_| ());
        }
        for (item, position) in items.iter().zip(after + 1..) {
            let values = values![node, item.id, position, now, publisher, item.size(), item.payload];
            transaction.execute(PUT_ONE, values).await?;
        }
        Ok(())
    }

    /// Takes items out of a node; gives the ids of those that were there.
    ///
    /// # Errors
    /// `item-not-found` when the node is gone; what storage failed with.
    pub async fn retract(&self, node: &Node, ids: &[&str]) -> Result<Vec<String>, Refusal> {
        let mut transaction = self.database.begin().await?;
        let row = transaction.fetch_optional(LOCK, values![node.number]).await?.ok_or_else(no_such_node)?;
        let sql = self.either(RETRACT_POSTGRES, RETRACT_SQLITE);
        let gone = transaction.fetch_all(sql, values![node.number, ids]).await?;
        let freed: i64 = gone.iter().map(|row| row.integer(1)).sum::<Result<i64, StorageError>>()?;
        let (items, bytes) = (row.integer(0)? - gone.len() as i64, row.integer(1)? - freed);
        count(&mut transaction, node.number, items, bytes).await?;
        transaction.commit().await?;
        Ok(gone.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?)
    }

    /// Takes all items out of a node.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn purge(&self, node: &Node) -> Result<(), Refusal> {
        let mut transaction = self.database.begin().await?;
        transaction.fetch_optional(LOCK, values![node.number]).await?.ok_or_else(no_such_node)?;
        transaction.execute(CLEAR, values![node.number]).await?;
        count(&mut transaction, node.number, 0, 0).await?;
        Ok(transaction.commit().await?)
    }

    /// A page of the items of a node, and how many there are around it.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn page(&self, node: &Node, window: Window) -> Result<Page, StorageError> {
        let Window { low, high, newest, most, bytes } = window;
        let sql = if newest { NEWEST } else { OLDEST };
        let (most, bytes) = (bound(most), bound(bytes));
        let values = values![node.number, low, high, most, bytes, oldest_allowed(node)];
        let rows = self.database.fetch_all(sql, values).await?;
        let items: Vec<StoredItem> = rows.iter().map(|row| StoredItem::of(row, 0)).collect::<Result<_, _>>()?;
        let first = items.first().map_or(0, |item| item.position);
        let around = self.database.fetch_optional(AROUND, values![node.number, first]).await?;
        let (count, before) = match around {
            Some(row) => (row.integer(0)?, row.integer(1)?),
            None => (0, 0),
        };
        Ok(Page { items, before: before.max(0) as usize, count: count.max(0) as usize })
    }

    /// Some items of a node by their ids, in the order of publication; those that are not there are left out.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn by_ids(&self, node: &Node, ids: &[&str]) -> Result<Vec<StoredItem>, StorageError> {
        let sql = self.either(BY_ID_POSTGRES, BY_ID_SQLITE);
        let rows = self.database.fetch_all(sql, values![node.number, ids, oldest_allowed(node)]).await?;
        rows.iter().map(|row| StoredItem::of(row, 0)).collect()
    }

    /// The ids of the newest items of a node, the newest first.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn ids(&self, node: &Node, most: usize) -> Result<Vec<Box<str>>, StorageError> {
        let rows = self.database.fetch_all(IDS, values![node.number, oldest_allowed(node), bound(most)]).await?;
        rows.iter().map(|row| row.text(0).map(Into::into)).collect()
    }

    /// Where an item stands among the others.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn position(&self, node: &Node, id: &str) -> Result<Option<i64>, StorageError> {
        let row = self.database.fetch_optional(POSITION, values![node.number, id]).await?;
        row.map(|row| row.integer(0)).transpose()
    }

    /// The last items of the nodes of these names, of these accounts, with how `asker` stands to each node.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn last(&self, owners: &[&str], names: &[&str], asker: &BareJid) -> Result<Vec<Last>, StorageError> {
        let sql = self.either(LAST_POSTGRES, LAST_SQLITE);
        let rows = self.database.fetch_all(sql, values![owners, names, asker.as_str()]).await?;
        // Nobody is asked twice, whichever way the rows come.
        let mut known: HashMap<String, BareJid> = HashMap::new();
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let owner = row.text(0)?;
            let jid = match known.get(&owner) {
                Some(jid) => jid.clone(),
                None => match BareJid::new(&owner) {
                    Ok(jid) => known.entry(owner).or_insert(jid).clone(),
                    Err(_) => continue,
                },
            };
            let affiliation = row.optional_text(3)?.and_then(|name| Affiliation::read(&name));
            let last = Last {
                owner: jid,
                node: row.text(1)?,
                configuration: configuration(&row.text(2)?)?,
                affiliation: affiliation.unwrap_or(Affiliation::None),
                subscribed: row.optional_text(4)?.and_then(|name| Subscribed::read(&name)),
                item: StoredItem::of(row, 5)?,
            };
            if last.item.published_at >= oldest(&last.configuration) {
                found.push(last);
            }
        }
        Ok(found)
    }

    /// Deletes what is older than its node keeps items.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn expire(&self) -> Result<u64, StorageError> {
        let mut transaction = self.database.begin().await?;
        let gone = transaction.execute(EXPIRED, values![now_milliseconds()]).await?;
        if gone > 0 {
            transaction.execute(RECOUNT, values![]).await?;
        }
        transaction.commit().await?;
        Ok(gone)
    }
}

/// The time before which items of a node count as gone.
fn oldest_allowed(node: &Node) -> i64 {
    oldest(&node.configuration)
}

fn oldest(configuration: &Configuration) -> i64 {
    configuration.item_expire.map_or(0, |seconds| now_milliseconds() - i64::from(seconds) * 1_000)
}

fn bound(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
