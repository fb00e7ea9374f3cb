//! The tables of accounts: who exists, the keys of passwords, and the journal that tells other processes what changed.

use waxwing_core::address::{DomainRef, NodePart, NodeRef};
use waxwing_core::clock::now_milliseconds;
use waxwing_core::credentials::{Hash, ScramKeys};
use waxwing_core::fault::Fault;
use waxwing_storage::{Database, Engine, Migrations, Row, StorageError, Transaction, migrations, values};

/// The tables.
pub const MIGRATIONS: Migrations = migrations!("accounts", "0001_accounts");

const EXISTS: &str = "SELECT 1 FROM accounts WHERE host = $1 AND name = $2 AND removed_at IS NULL";
const DISABLED: &str = "SELECT disabled FROM accounts WHERE host = $1 AND name = $2 AND removed_at IS NULL";
const KEYS: &str = "SELECT hash, salt, iterations, stored_key, server_key FROM account_keys
    WHERE host = $1 AND name = $2 AND hash = $3";
const ALL_KEYS: &str = "SELECT hash, salt, iterations, stored_key, server_key FROM account_keys
    WHERE host = $1 AND name = $2";
const NAMES: &str = "SELECT name FROM accounts WHERE host = $1 AND name > $2 AND removed_at IS NULL
    ORDER BY name LIMIT $3";

const ADD: &str = "INSERT INTO accounts (host, name, created_at, changed_at) VALUES ($1, $2, $3, $3)
    ON CONFLICT (host, name) DO NOTHING";
const TOUCH: &str = "UPDATE accounts SET changed_at = $3 WHERE host = $1 AND name = $2 AND removed_at IS NULL";
const PUT_KEYS: &str = "INSERT INTO account_keys (host, name, hash, salt, iterations, stored_key, server_key)
    VALUES ($1, $2, $3, $4, $5, $6, $7), ($1, $2, $8, $9, $10, $11, $12), ($1, $2, $13, $14, $15, $16, $17)
    ON CONFLICT (host, name, hash) DO UPDATE SET salt = excluded.salt, iterations = excluded.iterations,
        stored_key = excluded.stored_key, server_key = excluded.server_key";

const RETIRE: &str = "UPDATE accounts SET removed_at = $3, changed_at = $3
    WHERE host = $1 AND name = $2 AND removed_at IS NULL";
const DROP_KEYS: &str = "DELETE FROM account_keys WHERE host = $1 AND name = $2";
const RETIRED: &str = "SELECT 1 FROM accounts WHERE host = $1 AND name = $2 AND removed_at IS NOT NULL";
const RETIRED_BEFORE: &str =
    "SELECT name FROM accounts WHERE host = $1 AND removed_at < $2 ORDER BY removed_at LIMIT $3";

const NEXT_NUMBER: &str = "INSERT INTO account_counters (host, newest) VALUES ($1, 1)
    ON CONFLICT (host) DO UPDATE SET newest = account_counters.newest + 1 RETURNING newest";
const WRITE_DOWN: &str = "INSERT INTO account_changes (host, number, name, what, writer, at)
    VALUES ($1, $2, $3, $4, $5, $6)";
const NEWEST: &str = "SELECT newest FROM account_counters WHERE host = $1";
const CHANGES: &str = "SELECT number, name, what, writer FROM account_changes WHERE host = $1 AND number > $2
    ORDER BY number LIMIT $3";
const FORGET_CHANGES: &str = "DELETE FROM account_changes WHERE host = $1 AND at < $2";

/// What happened to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was made.
    Created,
    /// It has another password.
    Password,
    /// It is gone.
    Removed,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Created => "created",
            What::Password => "password",
            What::Removed => "removed",
        }
    }

    fn from_name(name: &str) -> Option<What> {
        [What::Created, What::Password, What::Removed].into_iter().find(|what| what.name() == name)
    }
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Counted from 1, in the order of the commits.
    pub number: i64,
    /// Who wrote it, and to whom; none when the line cannot be read.
    pub about: Option<(NodePart, What)>,
    /// Whether this very store wrote it.
    pub is_own: bool,
}

/// The accounts of one host.
pub struct Store {
    database: Database,
    host: String,
    /// Tells this store's lines of the journal from those of others.
    writer: i64,
}

impl Store {
    /// The accounts of `host`.
    pub fn new(database: Database, host: &DomainRef) -> Store {
        let writer = i64::from_le_bytes(waxwing_core::random::bytes());
        Store { database, host: host.as_str().to_owned(), writer }
    }

    /// Whether there is such an account.
    pub async fn exists(&self, name: &NodeRef) -> Result<bool, StorageError> {
        Ok(self.database.fetch_optional(EXISTS, values![&self.host, name.as_str()]).await?.is_some())
    }

    /// Whether the account is closed; false when there is none.
    pub async fn is_disabled(&self, name: &NodeRef) -> Result<bool, StorageError> {
        match self.database.fetch_optional(DISABLED, values![&self.host, name.as_str()]).await? {
            Some(row) => Ok(row.integer(0)? != 0),
            None => Ok(false),
        }
    }

    /// The keys of an account for one hash.
    pub async fn keys(&self, name: &NodeRef, hash: Hash) -> Result<Option<ScramKeys>, StorageError> {
        let row = self.database.fetch_optional(KEYS, values![&self.host, name.as_str(), hash.name()]).await?;
        row.as_ref().map(read_keys).transpose()
    }

    /// The keys of an account for the strongest hash it has any for.
    pub async fn strongest_keys(&self, name: &NodeRef) -> Result<Option<ScramKeys>, StorageError> {
        let rows = self.database.fetch_all(ALL_KEYS, values![&self.host, name.as_str()]).await?;
        let mut keys = rows.iter().map(read_keys).collect::<Result<Vec<_>, _>>()?;
        keys.sort_by_key(|keys| Hash::ALL.iter().position(|hash| *hash == keys.hash));
        Ok(keys.into_iter().next())
    }

    /// Names in the order of their bytes, after `after`, at most `most`.
    pub async fn names(&self, after: Option<&NodeRef>, most: u32) -> Result<Vec<NodePart>, StorageError> {
        let after = after.map_or("", NodeRef::as_str);
        let rows = self.database.fetch_all(NAMES, values![&self.host, after, most]).await?;
        Ok(rows.iter().filter_map(|row| readable(read_name(row, 0))).collect())
    }

    /// Makes an account; false when the name is taken, or its last owner is not forgotten yet.
    pub async fn create(&self, name: &NodeRef, keys: &[ScramKeys; 3]) -> Result<bool, StorageError> {
        let now = now_milliseconds();
        let mut transaction = self.database.begin().await?;
        self.write_down(&mut transaction, name, What::Created, now).await?;
        if transaction.execute(ADD, values![&self.host, name.as_str(), now]).await? == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        self.put_keys(&mut transaction, name, keys).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Gives an account other keys; false when there is none.
    pub async fn set_keys(&self, name: &NodeRef, keys: &[ScramKeys; 3]) -> Result<bool, StorageError> {
        let now = now_milliseconds();
        let mut transaction = self.database.begin().await?;
        self.write_down(&mut transaction, name, What::Password, now).await?;
        if transaction.execute(TOUCH, values![&self.host, name.as_str(), now]).await? == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        self.put_keys(&mut transaction, name, keys).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Ends an account: it exists no more and cannot be logged in to, and its name is not free yet. False when there is
    /// none.
    pub async fn retire(&self, name: &NodeRef) -> Result<bool, StorageError> {
        let now = now_milliseconds();
        let mut transaction = self.database.begin().await?;
        self.write_down(&mut transaction, name, What::Removed, now).await?;
        if transaction.execute(RETIRE, values![&self.host, name.as_str(), now]).await? == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.execute(DROP_KEYS, values![&self.host, name.as_str()]).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Whether the account has ended and its name is not free yet.
    pub async fn is_retired(&self, name: &NodeRef) -> Result<bool, StorageError> {
        Ok(self.database.fetch_optional(RETIRED, values![&self.host, name.as_str()]).await?.is_some())
    }

    /// Accounts that ended before `time` and whose names are not free yet: whoever removed them did not come to an end.
    pub async fn retired_before(&self, time: i64, most: u32) -> Result<Vec<NodePart>, StorageError> {
        let rows = self.database.fetch_all(RETIRED_BEFORE, values![&self.host, time, most]).await?;
        Ok(rows.iter().filter_map(|row| readable(read_name(row, 0))).collect())
    }

    /// Frees the names of accounts that have ended, after everything that was kept of them is gone.
    pub async fn free(&self, names: &[&str]) -> Result<(), StorageError> {
        let sql = match self.database.engine() {
            Engine::Sqlite => {
                "DELETE FROM accounts WHERE host = $1 AND removed_at IS NOT NULL
                    AND name IN (SELECT value FROM json_each($2))"
            }
            Engine::Postgres => "DELETE FROM accounts WHERE host = $1 AND removed_at IS NOT NULL AND name = ANY($2)",
        };
        self.database.execute(sql, values![&self.host, names]).await?;
        Ok(())
    }

    /// The number of the newest line of the journal; 0 when there is none.
    pub async fn newest_change(&self) -> Result<i64, StorageError> {
        match self.database.fetch_optional(NEWEST, values![&self.host]).await? {
            Some(row) => row.integer(0),
            None => Ok(0),
        }
    }

    /// The journal after the line of this number, at most `most` lines.
    pub async fn changes_after(&self, number: i64, most: u32) -> Result<Vec<Change>, StorageError> {
        let rows = self.database.fetch_all(CHANGES, values![&self.host, number, most]).await?;
        rows.iter().map(|row| self.read_change(row)).collect()
    }

    /// Shortens the journal: whoever looks every second needs no old lines.
    pub async fn forget_changes_before(&self, time: i64) -> Result<u64, StorageError> {
        self.database.execute(FORGET_CHANGES, values![&self.host, time]).await
    }

    async fn write_down(
        &self,
        transaction: &mut Transaction,
        name: &NodeRef,
        what: What,
        now: i64,
    ) -> Result<(), StorageError> {
        let row = transaction.fetch_optional(NEXT_NUMBER, values![&self.host]).await?;
        let row = row.ok_or_else(|| StorageError::Other("a counter gave no number".to_owned()))?;
        let line = values![&self.host, row.integer(0)?, name.as_str(), what.name(), self.writer, now];
        transaction.execute(WRITE_DOWN, line).await?;
        Ok(())
    }

    async fn put_keys(
        &self,
        transaction: &mut Transaction,
        name: &NodeRef,
        [a, b, c]: &[ScramKeys; 3],
    ) -> Result<(), StorageError> {
        let values = values![
            &self.host,
            name.as_str(),
            a.hash.name(),
            &a.salt,
            a.iterations,
            &a.stored_key,
            &a.server_key,
            b.hash.name(),
            &b.salt,
            b.iterations,
            &b.stored_key,
            &b.server_key,
            c.hash.name(),
            &c.salt,
            c.iterations,
            &c.stored_key,
            &c.server_key,
        ];
        transaction.execute(PUT_KEYS, values).await?;
        Ok(())
    }

    fn read_change(&self, row: &Row) -> Result<Change, StorageError> {
        let about = || {
            let what = row.text(2)?;
            let what = What::from_name(&what)
                .ok_or_else(|| StorageError::Corrupt { column: "what".to_owned(), reason: format!("is {what:?}") })?;
            Ok((read_name(row, 1)?, what))
        };
        Ok(Change { number: row.integer(0)?, about: readable(about()), is_own: row.integer(3)? == self.writer })
    }
}

/// Drops what cannot be read, and says so in the log: one bad row does not hide the others.
fn readable<T>(read: Result<T, StorageError>) -> Option<T> {
    read.map_err(|error| Fault::new(format_args!("a row of the accounts cannot be read: {error}"))).ok()
}

fn read_name(row: &Row, column: usize) -> Result<NodePart, StorageError> {
    let name = row.text(column)?;
    let prepared = NodePart::new(&name).map(std::borrow::Cow::into_owned);
    prepared.map_err(|error| StorageError::Corrupt { column: "name".to_owned(), reason: error.to_string() })
}

fn read_keys(row: &Row) -> Result<ScramKeys, StorageError> {
    let corrupt = |column: &str, reason: String| StorageError::Corrupt { column: column.to_owned(), reason };
    let hash = row.text(0)?;
    let hash = Hash::from_name(&hash).ok_or_else(|| corrupt("hash", format!("names no hash: {hash:?}")))?;
    let iterations = row.integer(2)?;
    let keys = ScramKeys {
        hash,
        salt: row.bytes(1)?,
        iterations: u32::try_from(iterations).map_err(|_| corrupt("iterations", format!("is {iterations}")))?,
        stored_key: row.bytes(3)?,
        server_key: row.bytes(4)?,
    };
    if keys.stored_key.len() != hash.length() || keys.server_key.len() != hash.length() {
        return Err(corrupt("stored_key", "is of another length than the hash's".to_owned()));
    }
    Ok(keys)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
