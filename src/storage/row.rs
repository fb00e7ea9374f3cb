//! One row of an answer, read by the index of its columns; nothing that stands in the database makes a reader panic.

use sqlx::postgres::PgRow;

use crate::StorageError;

/// A row of an answer. Columns are counted from 0, in the order of the `SELECT` or `RETURNING`.
pub struct Row(pub(crate) Inner);

pub(crate) enum Inner {
    Sqlite(Vec<Cell>),
    Postgres(PgRow),
}

/// A value as SQLite handed it over, which may be of any type in any column.
pub(crate) struct Cell {
    pub(crate) column: String,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
    Unreadable(String),
}

impl Row {
    /// The whole number in a column.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when there is nothing, or something else.
    pub fn integer(&self, index: usize) -> Result<i64, StorageError> {
        self.optional_integer(index)?.ok_or_else(|| self.nothing(index))
    }

    /// The text in a column.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when there is nothing, or something that is not text in UTF-8.
    pub fn text(&self, index: usize) -> Result<String, StorageError> {
        self.optional_text(index)?.ok_or_else(|| self.nothing(index))
    }

    /// The bytes in a column.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when there is nothing, or something else.
    pub fn bytes(&self, index: usize) -> Result<Vec<u8>, StorageError> {
        self.optional_bytes(index)?.ok_or_else(|| self.nothing(index))
    }

    /// The whole number in a column, or `None` for NULL.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when there is something else.
    pub fn optional_integer(&self, index: usize) -> Result<Option<i64>, StorageError> {
        Err(self.nothing(index))
    }

    /// The text in a column, or `None` for NULL.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when there is something that is not text in UTF-8.
    pub fn optional_text(&self, index: usize) -> Result<Option<String>, StorageError> {
        Err(self.nothing(index))
    }

    /// The bytes in a column, or `None` for NULL.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when there is something else.
    pub fn optional_bytes(&self, index: usize) -> Result<Option<Vec<u8>>, StorageError> {
        Err(self.nothing(index))
    }

    fn nothing(&self, index: usize) -> StorageError {
        StorageError::Corrupt {
            column: index.to_string(),
            reason: "holds nothing (NULL)".to_owned(),
        }
    }
}
