//! The values of a statement, and how each engine is handed them.

use std::borrow::Cow;

use bytes::Bytes;

use crate::StorageError;

/// A type of value, needed to say what a missing value would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, 64 bits, signed.
    Integer,
    /// Text in UTF-8.
    Text,
    /// Bytes.
    Bytes,
}

/// One value of a statement, for the place of its position: the first is `$1`. Made by [`values!`](crate::values).
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Nothing, of a type the database finds out by itself. An [`Option`] becomes a [`Value::Missing`] instead, which
    /// is quicker on PostgreSQL, where a statement with an untyped value cannot be kept prepared.
    Null,
    /// Nothing, where a value of this kind could stand.
    Missing(Kind),
    /// A whole number; also a flag, as 0 or 1.
    Integer(i64),
    /// Text. A NUL character is refused on both engines, because PostgreSQL cannot keep one.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A column of numbers: `UNNEST($1)` and `= ANY($1)` on PostgreSQL, `json_each($1)` on SQLite.
    Integers(&'a [i64]),
    /// A column of texts: `UNNEST($1)` and `= ANY($1)` on PostgreSQL, `json_each($1)` on SQLite.
    Texts(&'a [&'a str]),
    /// A column of byte strings, for `UNNEST` on PostgreSQL. Refused on SQLite, where a batch is a transaction of
    /// single statements.
    Blobs(&'a [&'a [u8]]),
}

impl Value<'_> {
    /// Refuses what only one of the engines could keep.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        let clean = match self {
            Value::Text(text) => !text.contains('\0'),
            Value::Texts(texts) => !texts.iter().any(|text| text.contains('\0')),
            _ => true,
        };
        if clean { Ok(()) } else { Err(StorageError::Other("a text holds a NUL character".to_owned())) }
    }
}

/// The values of a statement in the order of their places, as `&[Value]`.
///
/// Takes whatever [`Value`] can be made from: whole numbers up to 64 bits signed, `bool` (as 0 or 1), text, bytes,
/// slices of numbers, texts or bytes, and `Option` of the single ones.
#[macro_export]
macro_rules! values {
    () => { &[] as &[$crate::Value<'_>] };
    ($($value:expr),+ $(,)?) => { &[$($crate::Value::from($value)),+] as &[$crate::Value<'_>] };
}

/// A type that can stand for a value and say of what kind it would have been.
pub trait Single<'a>: Into<Value<'a>> {
    /// The kind of value it becomes.
    const KIND: Kind;
}

impl<'a, T: Single<'a>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        match value {
            Some(value) => value.into(),
            None => Value::Missing(T::KIND),
        }
    }
}

/// Each `type => kind, conversion` becomes a `From` and a `Single`.
macro_rules! single {
    ($($type:ty => $kind:ident, |$value:ident| $made:expr;)+) => { $(
        impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self { $made }
        }
        impl<'a> Single<'a> for $type {
            const KIND: Kind = Kind::$kind;
        }
    )+ };
}

single! {
    i64 => Integer, |value| Value::Integer(value);
    i32 => Integer, |value| Value::Integer(value.into());
    i16 => Integer, |value| Value::Integer(value.into());
    i8 => Integer, |value| Value::Integer(value.into());
    u32 => Integer, |value| Value::Integer(value.into());
    u16 => Integer, |value| Value::Integer(value.into());
    u8 => Integer, |value| Value::Integer(value.into());
    bool => Integer, |value| Value::Integer(value.into());
    &'a str => Text, |value| Value::Text(Cow::Borrowed(value));
    &'a String => Text, |value| Value::Text(Cow::Borrowed(value));
    String => Text, |value| Value::Text(Cow::Owned(value));
    Cow<'a, str> => Text, |value| Value::Text(value);
    &'a [u8] => Bytes, |value| Value::Bytes(Cow::Borrowed(value));
    &'a Vec<u8> => Bytes, |value| Value::Bytes(Cow::Borrowed(value));
    Vec<u8> => Bytes, |value| Value::Bytes(Cow::Owned(value));
    &'a Bytes => Bytes, |value| Value::Bytes(Cow::Borrowed(value));
    Cow<'a, [u8]> => Bytes, |value| Value::Bytes(value);
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Value::Bytes(Cow::Borrowed(value))
    }
}

impl<'a> From<&'a [i64]> for Value<'a> {
    fn from(value: &'a [i64]) -> Self {
        Value::Integers(value)
    }
}

impl<'a> From<&'a Vec<i64>> for Value<'a> {
    fn from(value: &'a Vec<i64>) -> Self {
        Value::Integers(value)
    }
}

impl<'a> From<&'a [&'a str]> for Value<'a> {
    fn from(value: &'a [&'a str]) -> Self {
        Value::Texts(value)
    }
}

impl<'a> From<&'a Vec<&'a str>> for Value<'a> {
    fn from(value: &'a Vec<&'a str>) -> Self {
        Value::Texts(value)
    }
}

impl<'a> From<&'a [&'a [u8]]> for Value<'a> {
    fn from(value: &'a [&'a [u8]]) -> Self {
        Value::Blobs(value)
    }
}

impl<'a> From<&'a Vec<&'a [u8]>> for Value<'a> {
    fn from(value: &'a Vec<&'a [u8]>) -> Self {
        Value::Blobs(value)
    }
}
