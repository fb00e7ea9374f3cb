//! One row of an answer, read by the index of its columns; nothing that stands in the database makes a reader panic.

use std::sync::Arc;

use sqlx::postgres::{PgRow, PgValueRef};
use sqlx::{Column, Decode, Row as _, TypeInfo, ValueRef};

use crate::StorageError;

/// A row of an answer. Columns are counted from 0, in the order of the `SELECT` or `RETURNING`.
pub struct Row(pub(crate) Inner);

pub(crate) enum Inner {
    /// Its values, and the names of its columns, which all rows of an answer share.
    Sqlite(Vec<Cell>, Arc<[Box<str>]>),
    Postgres(PgRow),
}

/// A value as SQLite handed it over, which may be of any type in any column.
pub(crate) enum Cell {
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
        match &self.0 {
            Inner::Sqlite(cells, _) => match self.cell(cells, index)? {
                Cell::Null => Ok(None),
                Cell::Integer(number) => Ok(Some(*number)),
                other => Err(self.corrupt(index, other.describe())),
            },
            Inner::Postgres(row) => match self.value(row, index)? {
                Some(value) => integer(value).map(Some).map_err(|reason| self.corrupt(index, reason)),
                None => Ok(None),
            },
        }
    }

    /// The text in a column, or `None` for NULL.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when there is something that is not text in UTF-8.
    pub fn optional_text(&self, index: usize) -> Result<Option<String>, StorageError> {
        match &self.0 {
            Inner::Sqlite(cells, _) => match self.cell(cells, index)? {
                Cell::Null => Ok(None),
                Cell::Text(text) => Ok(Some(text.clone())),
                other => Err(self.corrupt(index, other.describe())),
            },
            Inner::Postgres(row) => match self.value(row, index)? {
                Some(value) => text(value).map(Some).map_err(|reason| self.corrupt(index, reason)),
                None => Ok(None),
            },
        }
    }

    /// The bytes in a column, or `None` for NULL.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when there is something else.
    pub fn optional_bytes(&self, index: usize) -> Result<Option<Vec<u8>>, StorageError> {
        match &self.0 {
            Inner::Sqlite(cells, _) => match self.cell(cells, index)? {
                Cell::Null => Ok(None),
                Cell::Bytes(bytes) => Ok(Some(bytes.clone())),
                other => Err(self.corrupt(index, other.describe())),
            },
            Inner::Postgres(row) => match self.value(row, index)? {
                Some(value) => bytes(value).map(Some).map_err(|reason| self.corrupt(index, reason)),
                None => Ok(None),
            },
        }
    }

    fn cell<'a>(&self, cells: &'a [Cell], index: usize) -> Result<&'a Cell, StorageError> {
        match cells.get(index) {
            Some(cell) => Ok(cell),
            None => Err(self.corrupt(index, "is not part of the answer".to_owned())),
        }
    }

    fn value<'a>(&self, row: &'a PgRow, index: usize) -> Result<Option<PgValueRef<'a>>, StorageError> {
        let value = row.try_get_raw(index).map_err(|_| self.corrupt(index, "is not part of the answer".to_owned()))?;
        Ok((!value.is_null()).then_some(value))
    }

    fn nothing(&self, index: usize) -> StorageError {
        self.corrupt(index, "holds nothing (NULL)".to_owned())
    }

    fn corrupt(&self, index: usize, reason: String) -> StorageError {
        let name = match &self.0 {
            Inner::Sqlite(_, names) => names.get(index).map(|name| name.to_string()),
            Inner::Postgres(row) => row.columns().get(index).map(|column| column.name().to_owned()),
        };
        StorageError::Corrupt { column: name.unwrap_or_else(|| index.to_string()), reason }
    }
}

impl Cell {
    fn describe(&self) -> String {
        match self {
            Cell::Null => "holds nothing (NULL)".to_owned(),
            Cell::Integer(_) => "holds a whole number".to_owned(),
            Cell::Text(_) => "holds text".to_owned(),
            Cell::Bytes(_) => "holds bytes".to_owned(),
            Cell::Unreadable(reason) => reason.clone(),
        }
    }
}

fn integer(value: PgValueRef<'_>) -> Result<i64, String> {
    let kind = value.type_info().into_owned();
    match kind.name() {
        "INT8" => decode(value),
        "INT4" => decode::<i32>(value).map(i64::from),
        "INT2" => decode::<i16>(value).map(i64::from),
        "BOOL" => decode::<bool>(value).map(i64::from),
        other => Err(format!("is of type {other}, not a whole number")),
    }
}

fn text(value: PgValueRef<'_>) -> Result<String, String> {
    let kind = value.type_info().into_owned();
    match kind.name() {
        "TEXT" | "VARCHAR" | "CHAR" | "NAME" => decode(value),
        other => Err(format!("is of type {other}, not text")),
    }
}

fn bytes(value: PgValueRef<'_>) -> Result<Vec<u8>, String> {
    let kind = value.type_info().into_owned();
    match kind.name() {
        "BYTEA" => decode(value),
        other => Err(format!("is of type {other}, not bytes")),
    }
}

fn decode<'a, T: Decode<'a, sqlx::Postgres>>(value: PgValueRef<'a>) -> Result<T, String> {
    T::decode(value).map_err(|error| error.to_string())
}
