//! The tables of the archives: which there are (`archives`), their messages (`messages`) and their words (`texts`).
//!
//! Pages are found by their keys: no statement skips rows or counts without a bound.

mod archives;
mod messages;
mod texts;
mod words;

use waxwing_storage::{Database, Migrations, StorageError, migrations};

pub use archives::Shelf;
pub use messages::{NewMessage, Page, PageRow, Peer};
pub use texts::{Cursor, Text};

/// The tables.
pub const MIGRATIONS: Migrations = migrations!("mam", "0001_mam");

/// The database, with the statements of this module.
#[derive(Clone)]
pub struct Store(pub Database);

/// What is told of a value that was written by us and cannot be read.
fn unreadable(column: &str, reason: &str) -> StorageError {
    StorageError::Corrupt { column: column.to_owned(), reason: reason.to_owned() }
}
