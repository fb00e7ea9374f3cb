//! Which archives there are, what their owners want, and which are gone.

use waxwing_core::address::BareJid;
use waxwing_storage::{Row, StorageError, values};

use super::{Store, unreadable};
use crate::preferences::{Fallback, Preferences, from_lines, to_lines};

const FIND: &str = "SELECT number, fallback, always, never FROM mam_archives WHERE owner = $1 AND removed_at IS NULL";
const MAKE: &str = "INSERT INTO mam_archives (host, owner) VALUES ($1, $2) \
    ON CONFLICT (owner) WHERE removed_at IS NULL DO NOTHING";
const PREFER: &str = "UPDATE mam_archives SET fallback = $2, always = $3, never = $4 WHERE number = $1";
const KEEP: &str = "UPDATE mam_archives SET keep = $2 WHERE number = $1";
const REMOVE: &str = "UPDATE mam_archives SET removed_at = $2 WHERE owner = $1 AND removed_at IS NULL";
const PAGE_END: &str = "SELECT max(number) FROM \
    (SELECT number FROM mam_archives WHERE host = $1 AND number > $2 ORDER BY number LIMIT $3) AS page";
const REMOVED: &str =
    "SELECT number FROM mam_archives WHERE host = $1 AND removed_at IS NOT NULL ORDER BY number LIMIT $2";
const FORGET: &str = "DELETE FROM mam_archives WHERE number = $1 AND removed_at < $2 \
    AND NOT EXISTS (SELECT 1 FROM mam_messages WHERE archive = $1)";

/// What is known of an archive without looking into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// Its number in the database.
    pub number: i64,
    /// What its owner wants.
    pub preferences: Preferences,
}

impl Store {
    /// The archive of an owner, if there is one.
    pub async fn find(&self, owner: &BareJid) -> Result<Option<Shelf>, StorageError> {
        self.0.fetch_optional(FIND, values![owner.as_str()]).await?.map(|row| shelf(&row)).transpose()
    }

    /// The archive of an owner, made when there is none.
    pub async fn find_or_make(&self, host: &str, owner: &BareJid) -> Result<Shelf, StorageError> {
        if let Some(shelf) = self.find(owner).await? {
            return Ok(shelf);
        }
        self.0.execute(MAKE, values![host, owner.as_str()]).await?;
        // None only when it was removed in the moment between.
        self.find(owner).await?.ok_or_else(|| StorageError::Unavailable("the archive was just removed".to_owned()))
    }

    /// Writes down what the owner of an archive wants.
    pub async fn prefer(&self, archive: i64, preferences: &Preferences) -> Result<(), StorageError> {
        let Preferences { fallback, always, never } = preferences;
        let fallback = fallback.map(Fallback::name);
        self.0.execute(PREFER, values![archive, fallback, to_lines(always), to_lines(never)]).await.map(|_| ())
    }

    /// Writes down for how many milliseconds an archive keeps messages: `None` as the host says, -1 for ever.
    pub async fn keep(&self, archive: i64, milliseconds: Option<i64>) -> Result<(), StorageError> {
        self.0.execute(KEEP, values![archive, milliseconds]).await.map(|_| ())
    }

    /// Marks the archive of an owner as removed; false when there is none.
    pub async fn remove(&self, owner: &BareJid, now: i64) -> Result<bool, StorageError> {
        Ok(self.0.execute(REMOVE, values![owner.as_str(), now]).await? > 0)
    }

    /// The greatest number of the next `most` archives of a host behind the number `after`; `None` when there are no more.
    pub async fn end_of_page(&self, host: &str, after: i64, most: u32) -> Result<Option<i64>, StorageError> {
        match self.0.fetch_optional(PAGE_END, values![host, after, most]).await? {
            Some(row) => row.optional_integer(0),
            None => Ok(None),
        }
    }

    /// Archives that are removed and not yet empty or not yet forgotten.
    pub async fn removed(&self, host: &str, most: u32) -> Result<Vec<i64>, StorageError> {
        let rows = self.0.fetch_all(REMOVED, values![host, most]).await?;
        rows.iter().map(|row| row.integer(0)).collect()
    }

    /// Forgets an archive that was removed before `until` and is empty.
    pub async fn forget(&self, archive: i64, until: i64) -> Result<(), StorageError> {
        self.0.execute(FORGET, values![archive, until]).await.map(|_| ())
    }
}

fn shelf(row: &Row) -> Result<Shelf, StorageError> {
    let fallback = match row.optional_text(1)? {
        Some(name) => Some(Fallback::read(&name).ok_or_else(|| unreadable("fallback", "is none of the three"))?),
        None => None,
    };
    let (always, never) = (from_lines(&row.text(2)?), from_lines(&row.text(3)?));
    Ok(Shelf { number: row.integer(0)?, preferences: Preferences { fallback, always, never } })
}
