//! The only place that knows a database: SQLite or PostgreSQL behind one enum, chosen by URL.
//!
//! A module keeps its SQL in its own `store.rs` and writes it once, in the subset both engines share:
//!
//! * places are `$1` … `$n`; conflicts are `ON CONFLICT … DO UPDATE`; `RETURNING` works;
//! * whole numbers are `BIGINT` (`INTEGER` on SQLite), flags are whole numbers 0 and 1, times are numbers we made;
//! * text is `TEXT`, stanzas are bytes: `BYTEA` on PostgreSQL, `BLOB` on SQLite;
//! * `sum()` of a `BIGINT` is a `numeric` on PostgreSQL: write `CAST(sum(x) AS BIGINT)`;
//! * `ORDER BY` a text follows the collation of the database on PostgreSQL and the bytes on SQLite: order by numbers;
//! * large rows never go into a `WITHOUT ROWID` table (three times slower to fill), SQLite tables are best `STRICT`.
//!
//! Where the engines must part, a store matches on [`Database::engine`]. The text of a statement is `&'static str` by
//! type, and values travel beside it: nothing a peer wrote ever becomes part of a statement.
//!
//! ```no_run
//! # use waxwing_storage::{Database, StorageError, values};
//! const ASK_NAME: &str = "SELECT name FROM contacts WHERE owner = $1 AND jid = $2";
//!
//! async fn name(database: &Database, owner: i64, jid: &str) -> Result<Option<String>, StorageError> {
//!     match database.fetch_optional(ASK_NAME, values![owner, jid]).await? {
//!         Some(row) => row.optional_text(0),
//!         None => Ok(None),
//!     }
//! }
//! ```

mod breaker;
mod database;
mod error;
mod figures;
mod group_commit;
mod lease;
mod migrations;
mod pool;
mod postgres;
mod row;
mod settings;
mod sqlite;
pub mod testing;
mod value;

pub use database::{Database, Transaction};
pub use error::StorageError;
pub use figures::{Figures, figures};
pub use group_commit::{Batch, GroupCommit, GroupCommitSettings, Receipt};
pub use migrations::{AppliedMigration, Migration, Migrations};
pub use postgres::Postgres;
pub use row::Row;
pub use settings::{Engine, Settings};
pub use sqlite::Sqlite;
pub use value::{Kind, Value};

#[doc(hidden)]
pub use migrations::number_of;
