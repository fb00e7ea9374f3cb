//! The schema of each module, grown by numbered files under `migrations/<engine>/<module>/`.

use std::time::{Duration, Instant, SystemTime};

use crate::{Database, Engine, Row, StorageError, Transaction, values};

/// The migrations of one module, the same numbers on both engines. Made by [`migrations!`](crate::migrations!).
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// The name of the module, as its folder is called.
    pub module: &'static str,
    /// What to run on SQLite, in order.
    pub sqlite: &'static [Migration],
    /// What to run on PostgreSQL, in order.
    pub postgres: &'static [Migration],
}

/// One file: the statements that lead from one state of a module's tables to the next.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number, counted from 1 without gaps; the first four digits of its name.
    pub number: u32,
    /// The name of the file without `.sql`, such as `0001_roster`.
    pub name: &'static str,
    /// Its text: one or more statements, all run in one transaction.
    pub sql: &'static str,
}

/// A migration that was applied just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// The module it belongs to.
    pub module: &'static str,
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// The migrations of a module: `migrations!("roster", "0001_roster", "0002_versions")` takes the files of these names
/// from `migrations/sqlite/roster/` and `migrations/postgres/roster/` at the root of the repository.
///
/// The calling crate lies two folders below the root (`modules/<name>` or `src/<name>`). A name begins with its number.
/// A file that was released is never changed again: the database remembers its checksum and refuses another one.
#[macro_export]
macro_rules! migrations {
    ($module:literal, $($name:literal),+ $(,)?) => {
        $crate::Migrations {
            module: $module,
            sqlite: &[$($crate::Migration {
                number: $crate::number_of($name),
                name: $name,
                sql: include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/../../migrations/sqlite/", $module, "/", $name, ".sql"
                )),
            }),+],
            postgres: &[$($crate::Migration {
                number: $crate::number_of($name),
                name: $name,
                sql: include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres/", $module, "/", $name, ".sql"
                )),
            }),+],
        }
    };
}

/// The number at the start of a migration's name; a name without one does not compile.
#[doc(hidden)]
pub const fn number_of(name: &str) -> u32 {
    let name = name.as_bytes();
    let mut number = 0;
    let mut at = 0;
    while at < name.len() && name[at].is_ascii_digit() {
        number = number * 10 + (name[at] - b'0') as u32;
        at += 1;
    }
    assert!(at > 0 && at < name.len() && name[at] == b'_', "a migration is named like 0001_what_it_does");
    number
}

/// What the database remembers of one file.
#[derive(Debug, PartialEq, Eq)]
struct Applied {
    module: String,
    number: i64,
    checksum: String,
}

const MAKE_TABLE: &str = "\
    CREATE TABLE IF NOT EXISTS migrations (\
        module TEXT NOT NULL, \
        number BIGINT NOT NULL, \
        name TEXT NOT NULL, \
        checksum TEXT NOT NULL, \
        applied_at BIGINT NOT NULL, \
        PRIMARY KEY (module, number)\
    )";
const READ: &str = "SELECT module, number, checksum FROM migrations ORDER BY module, number";
const REMEMBER: &str =
    "INSERT INTO migrations (module, number, name, checksum, applied_at) VALUES ($1, $2, $3, $4, $5)";

/// Any number will do, as long as every version of this program uses the same.
const TRY_LOCK: &str = "SELECT pg_try_advisory_xact_lock(7811887331952944737)";
const LOCK: &str = "SELECT pg_advisory_xact_lock(7811887331952944737)";
const NO_TIMEOUTS: &str = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0";

/// How long one statement of a migration may take; a large table may be rewritten.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How often to ask again for the lock of an SQLite file that another process is migrating; each time waits some
/// seconds.
const SQLITE_ATTEMPTS: u32 = 30;

/// Applies what is missing. Each file has a transaction of its own, which begins by waiting for other servers.
pub(crate) async fn apply(database: &Database, sets: &[Migrations]) -> Result<Vec<AppliedMigration>, StorageError> {
    check(sets)?;
    let mut transaction = begin(database).await?;
    transaction.script(MAKE_TABLE).await?;
    let applied = read(&mut transaction).await?;
    transaction.commit().await?;
    // Everything is compared before anything is touched.
    let mut missing = plan(database.engine(), sets, &applied)?;
    let mut done = Vec::new();
    while !missing.is_empty() {
        let mut transaction = begin(database).await?;
        // Another server may have been quicker.
        let applied = read(&mut transaction).await?;
        missing = plan(database.engine(), sets, &applied)?;
        let Some((module, migration)) = missing.first().copied() else {
            break;
        };
        let started = Instant::now();
        let Migration { number, name, sql } = *migration;
        transaction.script(sql).await.map_err(|error| explain(module, name, error))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(now.as_millis()).unwrap_or_default();
        transaction.execute(REMEMBER, values![module, number, name, checksum(sql), now]).await?;
        transaction.commit().await.map_err(|error| explain(module, name, error))?;
        let took = started.elapsed();
        tracing::info!("migration {module}/{name} applied in {took:.1?}");
        done.push(AppliedMigration { module, number, name, took });
        missing.remove(0);
    }
    Ok(done)
}

async fn begin(database: &Database) -> Result<Transaction, StorageError> {
    let mut attempt = 1;
    let mut transaction = loop {
        match database.begin().await {
            Ok(transaction) => break transaction,
            Err(error)
                if error.is_unavailable() && database.engine() == Engine::Sqlite && attempt < SQLITE_ATTEMPTS =>
            {
                tracing::info!("waiting for another process to finish its work on the database ({error})");
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    };
    transaction.be_patient(PATIENCE);
    if database.engine() == Engine::Postgres {
        transaction.script(NO_TIMEOUTS).await?;
        let row = transaction.fetch_optional(TRY_LOCK, &[]).await?;
        if row.map(|row| row.integer(0)).transpose()? == Some(0) {
            tracing::info!("waiting for another server to finish its migrations");
            transaction.fetch_all(LOCK, &[]).await?;
        }
    }
    Ok(transaction)
}

async fn read(transaction: &mut Transaction) -> Result<Vec<Applied>, StorageError> {
    let rows = transaction.fetch_all(READ, &[]).await?;
    let read = |row: &Row| Ok(Applied { module: row.text(0)?, number: row.integer(1)?, checksum: row.text(2)? });
    rows.iter().map(read).collect()
}

/// The files that are missing, in order.
///
/// # Errors
/// The database holds something this program does not know, or knows differently.
fn plan<'a>(
    engine: Engine,
    sets: &'a [Migrations],
    applied: &[Applied],
) -> Result<Vec<(&'static str, &'a Migration)>, StorageError> {
    let mut missing = Vec::new();
    for set in sets {
        let known = set.of(engine);
        let mut expected = 0;
        for applied in applied.iter().filter(|applied| applied.module == set.module) {
            let index = usize::try_from(applied.number - 1).ok();
            let Some(migration) = index.and_then(|index| known.get(index)) else {
                return Err(StorageError::TooNew {
                    module: applied.module.clone(),
                    found: applied.number,
                    known: known.len() as i64,
                });
            };
            if applied.checksum != checksum(migration.sql) {
                return Err(StorageError::Changed { module: applied.module.clone(), name: migration.name.to_owned() });
            }
            expected += 1;
            if applied.number != expected {
                return Err(StorageError::Other(format!(
                    "the database holds migration {} of module {:?} but not number {expected}; its table \"migrations\" \
                     was tampered with",
                    applied.number, set.module
                )));
            }
        }
        missing.extend(known.iter().skip(expected as usize).map(|migration| (set.module, migration)));
    }
    Ok(missing)
}

/// Whether the migrations of the program make sense by themselves.
fn check(sets: &[Migrations]) -> Result<(), StorageError> {
    let wrong =
        |module: &str, what: &str| Err(StorageError::Other(format!("the migrations of module {module:?} {what}")));
    for (index, set) in sets.iter().enumerate() {
        if sets[..index].iter().any(|other| other.module == set.module) {
            return wrong(set.module, "are given twice");
        }
        let counted = |known: &[Migration]| known.iter().zip(1..).all(|(migration, number)| migration.number == number);
        if !counted(set.sqlite) || !counted(set.postgres) {
            return wrong(set.module, "are not counted 1, 2, 3, …");
        }
        let names = |known: &[Migration]| known.iter().map(|migration| migration.name).collect::<Vec<_>>();
        if names(set.sqlite) != names(set.postgres) {
            return wrong(set.module, "differ in their names between SQLite and PostgreSQL");
        }
    }
    Ok(())
}

impl Migrations {
    fn of(&self, engine: Engine) -> &'static [Migration] {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }
}

/// SHA-256 in hexadecimal, the same however a checkout ends its lines.
fn checksum(sql: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sql.replace("\r\n", "\n").as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn explain(module: &str, name: &str, error: StorageError) -> StorageError {
    let text = format!("migration {module}/{name} failed and was taken back: {error}");
    match error {
        StorageError::Unavailable(_) => StorageError::Unavailable(text),
        _ => StorageError::Other(text),
    }
}
