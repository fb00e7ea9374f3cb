//! The database as everyone else sees it: one enum, the same calls on both engines.

use crate::{AppliedMigration, Engine, Migrations, Row, Settings, StorageError, Value};

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

/// An open SQLite database.
#[derive(Clone)]
pub struct Sqlite(());

/// Open connections to PostgreSQL.
#[derive(Clone)]
pub struct Postgres(());

/// Several statements that take effect together. Dropped without [`commit`](Transaction::commit), it is rolled back.
///
/// After a statement failed the transaction can only be rolled back: further calls, and the commit, are refused. (So
/// PostgreSQL has it; here both engines have it.)
pub struct Transaction(());

fn not_yet<T>() -> Result<T, StorageError> {
    Err(StorageError::Other("not written yet".to_owned()))
}

impl Database {
    /// Opens the database, and makes folder and file for SQLite (readable by the owner only).
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when it cannot be reached, [`StorageError::Other`] when the settings make no sense;
    /// each is one line with the URL (without its password) and what to do.
    pub async fn open(settings: &Settings) -> Result<Database, StorageError> {
        let _ = settings;
        not_yet()
    }

    /// Brings the tables of each module up to what the program knows, in the order of `sets`. One table `migrations`
    /// remembers what was applied; each file is one transaction; of several servers that start at once, one does it.
    ///
    /// # Errors
    /// [`StorageError::TooNew`] and [`StorageError::Changed`], before anything is touched; what a statement failed with.
    pub async fn migrate(&self, sets: &[Migrations]) -> Result<Vec<AppliedMigration>, StorageError> {
        let _ = sets;
        not_yet()
    }

    /// Runs a statement that writes; returns how many rows it touched.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StorageError> {
        let _ = (sql, values);
        not_yet()
    }

    /// Runs a statement and returns all rows of its answer. What only reads (`SELECT`) goes to the readers on SQLite;
    /// `INSERT … RETURNING` and the like go to the writer.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn fetch_all(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StorageError> {
        let _ = (sql, values);
        not_yet()
    }

    /// Runs a statement and returns the first row of its answer.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn fetch_optional(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Option<Row>, StorageError> {
        let _ = (sql, values);
        not_yet()
    }

    /// Begins a transaction. On SQLite it holds the one writer from the start.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    pub async fn begin(&self) -> Result<Transaction, StorageError> {
        not_yet()
    }

    /// Which engine this is.
    pub fn engine(&self) -> Engine {
        match self {
            Database::Sqlite(_) => Engine::Sqlite,
            Database::Postgres(_) => Engine::Postgres,
        }
    }

    /// Waits (up to five seconds) for what is under way and closes all connections.
    pub async fn close(&self) {}

    /// Whether the database answers now.
    pub async fn healthy(&self) -> bool {
        false
    }
}

impl Transaction {
    /// Runs a statement; returns how many rows it touched.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StorageError> {
        let _ = (sql, values);
        not_yet()
    }

    /// Runs a statement and returns all rows of its answer.
    ///
    /// # Errors
    /// See [`StorageError`].
    pub async fn fetch_all(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StorageError> {
        let _ = (sql, values);
        not_yet()
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
        let _ = (sql, values);
        not_yet()
    }

    /// Makes it take effect.
    ///
    /// # Errors
    /// See [`StorageError`]; after [`StorageError::Unavailable`] it is unknown whether it took effect.
    pub async fn commit(self) -> Result<(), StorageError> {
        not_yet()
    }

    /// Undoes everything since [`Database::begin`].
    ///
    /// # Errors
    /// [`StorageError::Unavailable`]; it is undone then, too.
    pub async fn rollback(self) -> Result<(), StorageError> {
        Ok(())
    }
}
