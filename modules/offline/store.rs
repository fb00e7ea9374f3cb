//! The tables: messages that are kept for accounts that are away, and where the rest begins in their archives.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use waxwing_core::address::BareJid;
use waxwing_core::archive::ArchiveId;
use waxwing_core::limits::{ByteSize, Count};
use waxwing_storage::{Batch, Database, Engine, Migrations, StorageError, Transaction, migrations, values};

use crate::cursor::Write;

/// The tables.
pub const MIGRATIONS: Migrations = migrations!("offline", "0001_offline", "0002_cursors");

const NEWEST: &str = "SELECT max(id) FROM offline_messages";
const FORGET: &str = "DELETE FROM offline_messages WHERE owner = $1";
const CURSOR: &str = "SELECT after_id FROM offline_cursors WHERE owner = $1";
const LOWER: &str = "INSERT INTO offline_cursors (owner, after_id) VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE
    SET after_id = excluded.after_id WHERE offline_cursors.after_id > excluded.after_id";
const SET: &str = "INSERT INTO offline_cursors (owner, after_id) VALUES ($1, $2) ON CONFLICT (owner) DO UPDATE
    SET after_id = excluded.after_id";
const LOWER_MANY: &str = "INSERT INTO offline_cursors (owner, after_id) SELECT * FROM UNNEST($1::text[], $2::bigint[])
    ON CONFLICT (owner) DO UPDATE SET after_id = excluded.after_id WHERE offline_cursors.after_id > excluded.after_id";
const SET_MANY: &str = "INSERT INTO offline_cursors (owner, after_id) SELECT * FROM UNNEST($1::text[], $2::bigint[])
    ON CONFLICT (owner) DO UPDATE SET after_id = excluded.after_id";
const CLEAR: &str = "DELETE FROM offline_cursors WHERE owner = $1";
/// The sizes of the next messages are in the index; only those that fit into the page are read.
const PAGE: &str = "SELECT message.id, message.stored_at, message.stanza FROM offline_messages AS message JOIN (
        SELECT id, size, sum(size) OVER (ORDER BY id) AS total FROM (
            SELECT id, size FROM offline_messages WHERE owner = $1 AND id > $2 ORDER BY id LIMIT $3
        ) AS next
    ) AS page ON page.id = message.id
    WHERE page.total - page.size < $4 ORDER BY message.id";
const INSERT: &str = "INSERT INTO offline_messages (id, owner, stored_at, size, stanza) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO NOTHING";
const INSERT_MANY: &str = "INSERT INTO offline_messages (id, owner, stored_at, size, stanza)
    SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[])
    ON CONFLICT (id) DO NOTHING";

/// A message to be kept.
pub struct Message {
    /// Sorts by time; the place in the order of delivery.
    pub id: i64,
    /// Whose it is.
    pub owner: BareJid,
    /// Milliseconds since 1970.
    pub stored_at: i64,
    /// The stanza, complete with its namespace; empty when the owner's archive holds it under this very id.
    pub stanza: Vec<u8>,
    /// How many bytes the stanza has, wherever it is.
    pub size: usize,
    /// Whether it was kept before and comes back: it has its place already.
    pub comes_back: bool,
    /// Set when the owner's room is used up, and the message was not kept.
    pub refused: Arc<AtomicBool>,
}

impl Message {
    /// A message that the owner's archive holds under this id.
    pub fn archived(owner: &BareJid, id: i64, size: usize, comes_back: bool) -> Message {
        Message {
            id,
            owner: owner.clone(),
            stored_at: ArchiveId(id).milliseconds(),
            stanza: Vec::new(),
            size,
            comes_back,
            refused: Arc::default(),
        }
    }
}

/// What is to be written.
pub enum Change {
    /// A message is kept.
    Keep(Message),
    /// An account's cursor moves.
    Move(BareJid, Write),
}

/// A message that was kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its place in the order of delivery.
    pub id: i64,
    /// Its stanza and when it was stored (milliseconds since 1970), or why it cannot be read.
    pub content: Result<(i64, Vec<u8>), String>,
}

/// How much is kept for one account.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Messages.
    pub messages: Count,
    /// Bytes of all messages together.
    pub bytes: ByteSize,
}

impl Batch<Change> for Room {
    async fn write(&self, database: &Database, changes: &[Change]) -> Result<(), StorageError> {
        let mut transaction = database.begin().await?;
        let engine = database.engine();
        let (mut messages, mut lower, mut set, mut clear) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Keep(message) => messages.push(message),
                // Of each account one at a time.
                Change::Move(owner, Write::Lower(to)) => lower.push((owner.as_str(), *to)),
                Change::Move(owner, Write::Set(to)) => set.push((owner.as_str(), *to)),
                Change::Move(owner, Write::Clear) => clear.push(owner.as_str()),
            }
        }
        move_cursors(&mut transaction, engine, (LOWER, LOWER_MANY), &lower).await?;
        move_cursors(&mut transaction, engine, (SET, SET_MANY), &set).await?;
        if !clear.is_empty() {
            let sql = match engine {
                Engine::Sqlite => "DELETE FROM offline_cursors WHERE owner IN (SELECT value FROM json_each($1))",
                Engine::Postgres => "DELETE FROM offline_cursors WHERE owner = ANY($1)",
            };
            transaction.execute(sql, values![&clear[..]]).await?;
        }
        let refused = self.insert(&mut transaction, engine, &messages).await?;
        transaction.commit().await?;
        for message in refused {
            message.refused.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn undo(&self, database: &Database, changes: &[Change]) -> Result<(), StorageError> {
        // What comes back was there before, what is archived is not refused, and whoever moves a cursor writes it again.
        let ids: Vec<i64> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Keep(message) if !message.comes_back && !message.stanza.is_empty() => Some(message.id),
                _ => None,
            })
            .collect();
        delete(database, &ids).await
    }

    fn size(&self, change: &Change) -> usize {
        match change {
            Change::Keep(message) => message.stanza.len() + 200,
            Change::Move(..) => 200,
        }
    }
}

impl Room {
    /// Inserts those messages that there is room for, and gives back the others.
    async fn insert<'a>(
        &self,
        transaction: &mut Transaction,
        engine: Engine,
        messages: &[&'a Message],
    ) -> Result<Vec<&'a Message>, StorageError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let mut owners: Vec<&str> = messages.iter().map(|message| message.owner.as_str()).collect();
        owners.sort_unstable();
        owners.dedup();
        let count = match engine {
            Engine::Sqlite => {
                "SELECT owner, count(*), CAST(sum(size) AS BIGINT) FROM offline_messages
                    WHERE owner IN (SELECT value FROM json_each($1)) GROUP BY owner"
            }
            Engine::Postgres => {
                "SELECT owner, count(*), CAST(sum(size) AS BIGINT) FROM offline_messages
                    WHERE owner = ANY($1) GROUP BY owner"
            }
        };
        let mut used = HashMap::new();
        for row in transaction.fetch_all(count, values![&owners[..]]).await? {
            used.insert(row.text(0)?, (row.integer(1)?, row.integer(2)?));
        }
        let (kept, refused) = self.divide(messages, used);
        match engine {
            Engine::Sqlite => {
                for message in kept {
                    let size = size(message);
                    let values = values![message.id, message.owner.as_str(), message.stored_at, size, &message.stanza];
                    transaction.execute(INSERT, values).await?;
                }
            }
            Engine::Postgres => {
                let ids: Vec<i64> = kept.iter().map(|message| message.id).collect();
                let owners: Vec<&str> = kept.iter().map(|message| message.owner.as_str()).collect();
                let times: Vec<i64> = kept.iter().map(|message| message.stored_at).collect();
                let sizes: Vec<i64> = kept.iter().map(|message| size(message)).collect();
                let stanzas: Vec<&[u8]> = kept.iter().map(|message| &message.stanza[..]).collect();
                transaction.execute(INSERT_MANY, values![&ids, &owners, &times, &sizes, &stanzas]).await?;
            }
        }
        Ok(refused)
    }

    /// Which messages are kept and which are refused. `used`: messages and bytes each owner has already.
    fn divide<'a>(
        &self,
        messages: &[&'a Message],
        mut used: HashMap<String, (i64, i64)>,
    ) -> (Vec<&'a Message>, Vec<&'a Message>) {
        messages.iter().partition(|message| {
            let used = used.entry(message.owner.as_str().to_owned()).or_default();
            let (messages, bytes) = (used.0 + 1, used.1 + size(message));
            let fits = self.messages.allows(usize::try_from(messages).unwrap_or(usize::MAX))
                && self.bytes.allows(usize::try_from(bytes).unwrap_or(usize::MAX));
            let is_kept = fits || message.comes_back;
            if is_kept {
                *used = (messages, bytes);
            }
            is_kept
        })
    }
}

async fn move_cursors(
    transaction: &mut Transaction,
    engine: Engine,
    (one, many): (&'static str, &'static str),
    cursors: &[(&str, i64)],
) -> Result<(), StorageError> {
    match engine {
        Engine::Sqlite => {
            for (owner, to) in cursors {
                transaction.execute(one, values![*owner, *to]).await?;
            }
        }
        Engine::Postgres if cursors.is_empty() => {}
        Engine::Postgres => {
            let (owners, to): (Vec<&str>, Vec<i64>) = cursors.iter().copied().unzip();
            transaction.execute(many, values![&owners, &to]).await?;
        }
    }
    Ok(())
}

async fn delete(database: &Database, ids: &[i64]) -> Result<(), StorageError> {
    if ids.is_empty() {
        return Ok(());
    }
    let sql = match database.engine() {
        Engine::Sqlite => "DELETE FROM offline_messages WHERE id IN (SELECT value FROM json_each($1))",
        Engine::Postgres => "DELETE FROM offline_messages WHERE id = ANY($1)",
    };
    database.execute(sql, values![ids]).await?;
    Ok(())
}

fn size(message: &Message) -> i64 {
    i64::try_from(message.size).unwrap_or(i64::MAX)
}

/// What is read and deleted; writing goes through [`Room`].
pub struct Store {
    database: Database,
}

impl Store {
    /// The table in this database.
    pub fn new(database: Database) -> Store {
        Store { database }
    }

    /// The greatest id there is; 0 when there is none.
    pub async fn newest_id(&self) -> Result<i64, StorageError> {
        match self.database.fetch_optional(NEWEST, values![]).await? {
            Some(row) => Ok(row.optional_integer(0)?.unwrap_or(0)),
            None => Ok(0),
        }
    }

    /// The oldest messages of an account after the one with the id `after`: one at least if there is one, at most `most`,
    /// and together hardly more than `bytes`.
    pub async fn page(&self, owner: &BareJid, after: i64, most: u32, bytes: u32) -> Result<Vec<Kept>, StorageError> {
        let rows = self.database.fetch_all(PAGE, values![owner.as_str(), after, most, bytes]).await?;
        let read = rows.iter().map(|row| {
            let content = || Ok::<_, StorageError>((row.integer(1)?, row.bytes(2)?));
            Ok(Kept { id: row.integer(0)?, content: content().map_err(|error| error.to_string()) })
        });
        read.collect()
    }

    /// Behind which id of its archive begins what an account has not received; none when it has received all.
    pub async fn cursor(&self, owner: &BareJid) -> Result<Option<i64>, StorageError> {
        let row = self.database.fetch_optional(CURSOR, values![owner.as_str()]).await?;
        row.map(|row| row.integer(0)).transpose()
    }

    /// Deletes messages by their ids.
    pub async fn delete(&self, ids: &[i64]) -> Result<(), StorageError> {
        delete(&self.database, ids).await
    }

    /// Deletes everything of an account.
    pub async fn forget(&self, owner: &BareJid) -> Result<(), StorageError> {
        let mut transaction = self.database.begin().await?;
        transaction.execute(FORGET, values![owner.as_str()]).await?;
        transaction.execute(CLEAR, values![owner.as_str()]).await?;
        transaction.commit().await
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
