//! The database as everyone else sees it: one enum, the same calls on both engines.

use std::time::{Duration, Instant};

use crate::lease::Lease;
use crate::pool::{Answer, Driver};
use crate::postgres::PostgresDriver;
use crate::sqlite::SqliteDriver;
use crate::{AppliedMigration, Engine, Migrations, Postgres, Row, Settings, Sqlite, StorageError, Value, migrations};

/// How long somebody waits who has a message to store, before its sender is told to try again later.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// Between two attempts of somebody who waits.
const PAUSE: Duration = Duration::from_millis(250);

/// How long [`Database::healthy`] waits for an answer.
const HEALTHY: Duration = Duration::from_secs(2);

/// An open database. Cheap to clone; all clones share the same connections.
///
/// Every call returns in bounded time ([`Settings::acquire_timeout`] plus [`Settings::statement_timeout`]); while the
/// database is away, calls fail at once with [`StorageError::Unavailable`], and work again by themselves when it is
/// back. Do not call it while holding a [`Transaction`] in the same task: with all connections taken by such tasks
/// nobody gets on.
#[derive(Clone)]
pub enum Database {
    /// SQLite.
    Sqlite(Sqlite),
    /// PostgreSQL.
    Postgres(Postgres),
}

impl Database {
    /// Opens the database, and makes folder and file for SQLite (readable by the owner only).
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when it cannot be reached, [`StorageError::Other`] when the settings make no sense;
    /// each is one line with the URL (without its password) and what to do.
    pub async fn open(settings: &Settings) -> Result<Database, StorageError> {
        let settings = &settings.within_reason();
        match settings.engine()? {
            Engine::Sqlite => Sqlite::open(settings).await.map(Database::Sqlite),
            Engine::Postgres => Postgres::open(settings).await.map(Database::Postgres),
        }
    }

    /// Brings the tables of each module up to what the program knows, in the order of `sets`. One table `migrations`
    /// remembers what was applied; each file is one transaction; of several servers that start at once, one does it.
    ///
    /// # Errors
    /// [`StorageError::TooNew`] and [`StorageError::Changed`], before anything is touched; what a statement failed with.
    pub async fn migrate(&self, sets: &[Migrations]) -> Result<Vec<AppliedMigration>, StorageError> {
        migrations::apply(self, sets).await
    }

    /// Runs a statement that writes rows; returns how many it touched.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StorageError> {
        Ok(self.run(sql, values, false).await?.affected)
    }

    /// Runs a statement and returns all rows of its answer. What only reads (begins with `SELECT`, or is a `WITH` that
    /// changes nothing) goes to the readers on SQLite, and is tried a second time when its connection breaks;
    /// `INSERT … RETURNING` and the like go to the writer.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn fetch_all(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StorageError> {
        Ok(self.run(sql, values, only_reads(sql)).await?.rows)
    }

    /// Runs a statement and returns the first row of its answer. Otherwise like [`Database::fetch_all`].
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn fetch_optional(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>, StorageError> {
        Ok(self.fetch_all(sql, values).await?.into_iter().next())
    }

    /// Begins a transaction. On SQLite it holds the one writer from the start.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    pub async fn begin(&self) -> Result<Transaction, StorageError> {
        let lease = match self {
            Database::Sqlite(sqlite) => Either::Sqlite(sqlite.writer.begin().await?),
            Database::Postgres(postgres) => Either::Postgres(postgres.pool.begin().await?),
        };
        Ok(Transaction { lease, failed: false })
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match self {
            Database::Sqlite(_) => Engine::Sqlite,
            Database::Postgres(_) => Engine::Postgres,
        }
    }

    /// Waits (up to five seconds) for what is under way and closes all connections. Later calls are refused.
    pub async fn close(&self) {
        match self {
            Database::Sqlite(sqlite) => {
                sqlite.readers.close().await;
                sqlite.writer.close().await;
            }
            Database::Postgres(postgres) => postgres.pool.close().await,
        }
    }

    /// Reads again and again while the database is away, twelve seconds at most: for what must be known before a message can
    /// be stored, so that a short trouble of the database turns no message back. When somebody has waited for so long in
    /// vain, nobody else waits until the database answers again.
    ///
    /// # Errors
    /// What the last attempt failed with.
    pub async fn patiently<T, F>(&self, mut read: impl FnMut() -> F) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        let until = Instant::now() + PATIENCE;
        loop {
            let silent = || Err(StorageError::Unavailable("the database does not answer".to_owned()));
            let done = tokio::time::timeout_at(until.into(), read()).await.unwrap_or_else(|_elapsed| silent());
            match done {
                Err(error) if error.is_unavailable() && !self.is_given_up() => {
                    if Instant::now() + PAUSE >= until {
                        self.give_up();
                        return Err(error);
                    }
                }
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn give_up(&self) {
        match self {
            Database::Sqlite(sqlite) => sqlite.readers.give_up(),
            Database::Postgres(postgres) => postgres.pool.give_up(),
        }
    }

    fn is_given_up(&self) -> bool {
        match self {
            Database::Sqlite(sqlite) => sqlite.readers.is_given_up(),
            Database::Postgres(postgres) => postgres.pool.is_given_up(),
        }
    }

    /// Whether the database answers now (within two seconds).
    pub async fn healthy(&self) -> bool {
        let answer = tokio::time::timeout(HEALTHY, self.fetch_optional("SELECT 1", &[])).await;
        matches!(answer, Ok(Ok(Some(_))))
    }

    async fn run(&self, sql: &'static str, values: &[Value<'_>], only_reads: bool) -> Result<Answer, StorageError> {
        match self {
            Database::Sqlite(sqlite) if only_reads => sqlite.readers.run(sql, values, true).await,
            Database::Sqlite(sqlite) => sqlite.writer.run(sql, values, false).await,
            Database::Postgres(postgres) => postgres.pool.run(sql, values, only_reads).await,
        }
    }
}

/// Several statements that take effect together. Dropped without [`commit`](Transaction::commit), it is rolled back.
///
/// After a statement failed the transaction can only be rolled back: further calls, and the commit, are refused. (So
/// PostgreSQL has it; here both engines have it.)
pub struct Transaction {
    lease: Either,
    failed: bool,
}

enum Either {
    Sqlite(Lease<SqliteDriver>),
    Postgres(Lease<PostgresDriver>),
}

impl Transaction {
    /// Runs a statement that writes rows; returns how many it touched.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StorageError> {
        Ok(self.run(sql, values).await?.affected)
    }

    /// Runs a statement and returns all rows of its answer.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn fetch_all(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StorageError> {
        Ok(self.run(sql, values).await?.rows)
    }

    /// Runs a statement and returns the first row of its answer.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn fetch_optional(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StorageError> {
        Ok(self.run(sql, values).await?.rows.into_iter().next())
    }

    /// Makes it take effect.
    ///
    /// # Errors
    /// See [`StorageError`]; after [`StorageError::Uncertain`] nobody knows whether it took effect.
    pub async fn commit(self) -> Result<(), StorageError> {
        if self.failed {
            return Err(failed_before());
        }
        match self.lease {
            Either::Sqlite(lease) => lease.finish("COMMIT").await,
            Either::Postgres(lease) => lease.finish("COMMIT").await,
        }
    }

    /// Undoes everything since [`Database::begin`].
    ///
    /// # Errors
    /// [`StorageError::Unavailable`]; it is undone then, too.
    pub async fn rollback(self) -> Result<(), StorageError> {
        match self.lease {
            Either::Sqlite(lease) => lease.finish("ROLLBACK").await,
            Either::Postgres(lease) => lease.finish("ROLLBACK").await,
        }
    }

    /// Runs the statements of a migration.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Result<(), StorageError> {
        if self.failed {
            return Err(failed_before());
        }
        let result = match &mut self.lease {
            Either::Sqlite(lease) => lease.script(sql).await,
            Either::Postgres(lease) => lease.script(sql).await,
        };
        self.failed = result.is_err();
        result.map_err(|failure| failure.error)
    }

    /// How long each statement from now on may take on our side.
    pub(crate) fn be_patient(&mut self, patience: Duration) {
        match &mut self.lease {
            Either::Sqlite(lease) => lease.patience = patience,
            Either::Postgres(lease) => lease.patience = patience,
        }
    }

    async fn run(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Answer, StorageError> {
        async fn run<D: Driver>(
            lease: &mut Lease<D>,
            sql: &'static str,
            values: &[Value<'_>],
        ) -> Result<Answer, StorageError> {
            let deadline = Instant::now() + lease.patience;
            lease.run(sql, values, deadline).await.map_err(|failure| failure.error)
        }
        if self.failed {
            return Err(failed_before());
        }
        // Also true when this future is dropped half way.
        self.failed = true;
        let result = match &mut self.lease {
            Either::Sqlite(lease) => run(lease, sql, values).await,
            Either::Postgres(lease) => run(lease, sql, values).await,
        };
        self.failed = result.is_err();
        result
    }
}

fn failed_before() -> StorageError {
    StorageError::Other("a statement of this transaction failed before, it can only be rolled back".to_owned())
}

/// Whether a statement changes nothing, so that it may run on a reader and may run twice. In doubt it is taken to write.
fn only_reads(sql: &str) -> bool {
    let mut rest = sql.trim_start();
    while let Some(comment) = rest.strip_prefix("--") {
        rest = comment.split_once('\n').map_or("", |(_, rest)| rest).trim_start();
    }
    let end = rest.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(rest.len());
    match rest[..end].to_ascii_uppercase().as_str() {
        "SELECT" | "VALUES" => true,
        "WITH" => {
            let text = rest.to_ascii_uppercase();
            !["INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"].iter().any(|word| text.contains(word))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::only_reads;

    #[test]
    fn only_a_statement_that_changes_nothing_goes_to_a_reader() {
        for sql in [
            "SELECT 1",
            "  select\n1",
            "-- why\n -- and how\nSELECT 1",
            "VALUES (1)",
            "WITH x AS (SELECT 1) SELECT * FROM x",
        ] {
            assert!(only_reads(sql), "{sql}");
        }
        for sql in [
            "INSERT INTO t VALUES (1) RETURNING a",
            "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
            "with old as (delete from t returning a) select * from old",
            "SELECTED",
            "PRAGMA journal_mode = DELETE",
            "-- SELECT",
            "",
        ] {
            assert!(!only_reads(sql), "{sql}");
        }
    }
}
