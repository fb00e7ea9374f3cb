//! SQLite: the file and who may read it, one writer and several readers, what its errors mean.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteError, SqliteJournalMode, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Arguments, Column, ConnectOptions, Connection, Decode, Either, Executor, Row as _, TypeInfo, ValueRef};

use crate::pool::{Answer, Driver, Failure, Habits, Pool};
use crate::row::{Cell, Inner};
use crate::{Row, Settings, StorageError, Value};

const DEFAULT_READERS: u32 = 4;

/// More than all modules together have statements.
const PREPARED_STATEMENTS: usize = 500;

/// Another process may hold the file for a moment while it turns a new one into a write-ahead log.
const OPENING_ATTEMPTS: u32 = 20;
const OPENING_PAUSE: Duration = Duration::from_millis(100);

/// An open SQLite database: one connection that writes, a few that read what was committed.
#[derive(Clone)]
pub struct Sqlite {
    pub(crate) writer: Pool<SqliteDriver>,
    pub(crate) readers: Pool<SqliteDriver>,
}

pub(crate) struct SqliteDriver {
    options: SqliteConnectOptions,
    name: String,
}

impl Sqlite {
    pub(crate) async fn open(settings: &Settings) -> Result<Sqlite, StorageError> {
        let name = settings.redacted_url();
        let options = SqliteConnectOptions::new()
            // The engine gives up a little earlier than we do, so that it is the one who says so.
            .busy_timeout(settings.statement_timeout * 8 / 10)
            .foreign_keys(true)
            .statement_cache_capacity(PREPARED_STATEMENTS)
            .pragma("temp_store", "MEMORY")
            .disable_statement_logging();
        let habits = |capacity, irreplaceable| Habits {
            name: name.clone(),
            capacity,
            acquire_timeout: settings.acquire_timeout,
            statement_timeout: settings.statement_timeout,
            greet_after: None,
            longest_life: None,
            longest_idle: None,
            irreplaceable,
        };
        let Some(path) = path(&settings.url)? else {
            // Each connection to a database in memory would have its own, so there is one connection.
            let options = options.in_memory(true);
            let writer = Pool::new(SqliteDriver { options, name: name.clone() }, habits(1, true));
            return Ok(Sqlite { readers: writer.clone(), writer });
        };
        make_file(&path).map_err(|(path, error)| {
            StorageError::Unavailable(format!(
                "cannot use the database {name}: {}: {error}; the server's user must be able to read and write it",
                path.display()
            ))
        })?;
        let options = options.filename(&path);
        let writer = SqliteDriver {
            options: options
                .clone()
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .pragma("journal_size_limit", "67108864"),
            name: name.clone(),
        };
        let reader = SqliteDriver { options: options.pragma("query_only", "ON"), name: name.clone() };
        let sqlite = Sqlite {
            writer: Pool::new(writer, habits(1, false)),
            readers: Pool::new(reader, habits(settings.connections.unwrap_or(DEFAULT_READERS).max(1), false)),
        };
        // Opens the writer now, so that a file that is no database is told at start.
        sqlite.writer.run("SELECT count(*) FROM sqlite_schema", &[], true).await.map_err(|error| match error {
            StorageError::Unavailable(_) => error,
            error => StorageError::Other(format!("cannot use the database {name}: {error}")),
        })?;
        Ok(sqlite)
    }
}

/// The path in an URL; `None` is memory.
fn path(url: &str) -> Result<Option<PathBuf>, StorageError> {
    let path = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = path.strip_prefix("//").unwrap_or(path);
    if path == ":memory:" {
        return Ok(None);
    }
    if path.is_empty() || path.contains('?') {
        return Err(StorageError::Other(format!(
            "{url:?} names no file, write \"sqlite:\" and a path without parameters, such as \"sqlite:data/waxwing.db\""
        )));
    }
    // SQLite reads "file:" as the start of an URL of its own.
    Ok(Some(if path.starts_with("file:") { Path::new(".").join(path) } else { PathBuf::from(path) }))
}

/// Makes folder and file when they are missing, for the eyes of the owner only. SQLite gives the files it puts beside
/// it the same permissions.
fn make_file(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|error| (folder.to_owned(), error))?;
    }
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| (path.to_owned(), error))?;
    #[cfg(unix)]
    if let Ok(metadata) = file.metadata()
        && std::os::unix::fs::MetadataExt::mode(&metadata) & 0o077 != 0
    {
        tracing::warn!("{} can be read by other users of this machine; run: chmod 600 {0}", path.display());
    }
    drop(file);
    Ok(())
}

impl Driver for SqliteDriver {
    type Connection = SqliteConnection;

    const BEGIN: &'static str = "BEGIN IMMEDIATE";

    async fn connect(&self) -> Result<SqliteConnection, Failure> {
        let mut attempt = 1;
        loop {
            let error = match SqliteConnection::connect_with(&self.options).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure(error),
            };
            if attempt == OPENING_ATTEMPTS || !error.error.is_unavailable() {
                let text = format!("cannot use the database {}: {}", self.name, error.error);
                return Err(Failure {
                    error: match error.error {
                        StorageError::Unavailable(_) => StorageError::Unavailable(text),
                        _ => StorageError::Other(text),
                    },
                    ..error
                });
            }
            attempt += 1;
            tokio::time::sleep(OPENING_PAUSE).await;
        }
    }

    async fn greet(connection: &mut SqliteConnection) -> bool {
        connection.ping().await.is_ok()
    }

    async fn run(
        connection: &mut SqliteConnection,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Answer, Failure> {
        let query = sqlx::query_with(sql, arguments(values).map_err(Failure::of)?);
        let mut answer = Answer { affected: 0, rows: Vec::new() };
        // Always to the end, also for one row: a statement that is reset half way commits without saying whether that
        // went well.
        let mut results = connection.fetch_many(query);
        let mut names: Option<Arc<[Box<str>]>> = None;
        while let Some(result) = results.try_next().await.map_err(failure)? {
            match result {
                Either::Left(done) => answer.affected += done.rows_affected(),
                Either::Right(row) => {
                    let names = names.get_or_insert_with(|| row.columns().iter().map(|c| c.name().into()).collect());
                    answer.rows.push(Row(Inner::Sqlite(cells(&row), names.clone())));
                }
            }
        }
        Ok(answer)
    }

    async fn script(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), Failure> {
        connection.execute(sqlx::raw_sql(sql)).await.map(|_| ()).map_err(failure)
    }

    async fn close(connection: SqliteConnection) {
        // What is committed is on disk either way.
        let _ = connection.close().await;
    }
}

/// Copies a row out of the engine's own values, which may not be read by two threads at a time.
fn cells(row: &SqliteRow) -> Vec<Cell> {
    (0..row.len()).map(|index| cell(row, index).unwrap_or_else(|error| Cell::Unreadable(error.to_string()))).collect()
}

fn cell(row: &SqliteRow, index: usize) -> Result<Cell, sqlx::error::BoxDynError> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(Cell::Null);
    }
    let kind = value.type_info();
    Ok(match kind.name() {
        "INTEGER" => Cell::Integer(Decode::<sqlx::Sqlite>::decode(value)?),
        "TEXT" => Cell::Text(Decode::<sqlx::Sqlite>::decode(value)?),
        "BLOB" => Cell::Bytes(Decode::<sqlx::Sqlite>::decode(value)?),
        other => Cell::Unreadable(format!("holds a value of type {other}")),
    })
}

fn arguments(values: &[Value<'_>]) -> Result<SqliteArguments, StorageError> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        value.check()?;
        match value {
            Value::Null | Value::Missing(_) => arguments.add(None::<i64>),
            Value::Integer(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text.to_string()),
            Value::Bytes(bytes) => arguments.add(bytes.to_vec()),
            Value::Integers(numbers) => arguments.add(json_numbers(numbers)),
            Value::Texts(texts) => arguments.add(json_texts(texts)),
            Value::Blobs(_) => {
                let text =
                    "a column of byte strings cannot be bound on SQLite, write the rows one by one in a transaction";
                return Err(StorageError::Other(text.to_owned()));
            }
        }
        .map_err(|error| StorageError::Other(format!("a value cannot be handed to SQLite: {error}")))?;
    }
    Ok(arguments)
}

/// The array that `json_each` takes apart again.
fn json_numbers(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}

fn json_texts(texts: &[&str]) -> String {
    let mut json = String::with_capacity(2 + texts.iter().map(|text| text.len() + 3).sum::<usize>());
    json.push('[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push('"');
        for character in text.chars() {
            match character {
                '"' => json.push_str("\\\""),
                '\\' => json.push_str("\\\\"),
                '\n' => json.push_str("\\n"),
                '\r' => json.push_str("\\r"),
                '\t' => json.push_str("\\t"),
                '\0'..'\x20' => json.push_str(&format!("\\u{:04x}", u32::from(character))),
                character => json.push(character),
            }
        }
        json.push('"');
    }
    json.push(']');
    json
}

/// What an error of SQLite means, by its result code.
fn failure(error: sqlx::Error) -> Failure {
    let sqlx::Error::Database(error) = error else {
        return match error {
            sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => Failure {
                lost: true,
                untouched: false,
                unknown: true,
                error: StorageError::Unavailable(error.to_string()),
            },
            error => Failure::of(StorageError::Other(error.to_string())),
        };
    };
    let code: i64 = error
        .try_downcast_ref::<SqliteError>()
        .and_then(|error| sqlx::error::DatabaseError::code(error)?.parse().ok())
        .unwrap_or_default();
    let message = format!("{} (SQLite {code})", error.message());
    // When writing to the disc has failed nobody knows what it holds.
    let unknown = code & 0xff == 10;
    let error = match (code & 0xff, code) {
        // Primary key, unique index, row id.
        (19, 1555 | 2067 | 2579) => StorageError::Conflict(message),
        // Busy, locked, no memory, read-only, interrupted, input or output failed, full, cannot open, lock protocol.
        (5..=10 | 13..=15, _) => StorageError::Unavailable(message),
        (11 | 26, _) => StorageError::Other(format!("the database file is damaged: {message}; restore a backup")),
        _ => StorageError::Other(message),
    };
    Failure { unknown, ..Failure::of(error) }
}
