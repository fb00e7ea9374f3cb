//! The tables of rosters: contacts with their versions, and requests that wait for an answer (RFC 6121 §2.6, §3.1.3).
//!
//! Every change of one account's roster first takes the account's row in `rosters` and keeps it until it is committed.
//! So changes come one after the other, on both engines, and each sees what the one before has left.

use waxwing_core::address::BareJid;
use waxwing_core::clock::now_milliseconds;
use waxwing_core::storage::{Database, Migrations, Row, StorageError, Transaction, migrations, values};

use crate::item::Item;
use crate::subscription::State;

/// The tables.
pub const MIGRATIONS: Migrations = migrations!("roster", "0001_roster");

const READ: &str = "\
    SELECT rosters.version, contact, name, group_names, sees_contact, seen_by_contact, asked, approved, \
           roster_items.version \
    FROM rosters LEFT JOIN roster_items ON roster_items.account = rosters.account AND removed = 0 \
    WHERE rosters.account = $1";
const READ_CHANGES: &str = "\
    SELECT rosters.version, contact, name, group_names, sees_contact, seen_by_contact, asked, approved, \
           roster_items.version, removed, forgotten \
    FROM rosters LEFT JOIN roster_items \
        ON roster_items.account = rosters.account AND roster_items.version > $2 \
    WHERE rosters.account = $1 ORDER BY roster_items.version LIMIT $3";
/// The item and whether a request waits, in one row; there is none when neither is there and the account has no roster.
const READ_ONE: &str = "\
    SELECT rosters.version, roster_items.contact, name, group_names, sees_contact, seen_by_contact, asked, approved, \
           roster_items.version, roster_requests.received \
    FROM rosters \
    LEFT JOIN roster_items \
        ON roster_items.account = rosters.account AND roster_items.contact = $2 AND removed = 0 \
    LEFT JOIN roster_requests \
        ON roster_requests.account = rosters.account AND roster_requests.contact = $2 \
    WHERE rosters.account = $1";
const READ_REQUESTS: &str = "\
    SELECT stanza FROM roster_requests WHERE account = $1 ORDER BY received LIMIT $2";

/// Makes the account's row, or takes it without changing it; in both cases it is ours until the end.
const TAKE: &str = "\
    INSERT INTO rosters (account, version, forgotten) VALUES ($1, $2, $2) \
    ON CONFLICT (account) DO UPDATE SET version = rosters.version RETURNING version";
const COUNT: &str = "SELECT COUNT(*) FROM roster_items WHERE account = $1 AND removed = 0";
const PUT: &str = "\
    INSERT INTO roster_items (account, contact, name, group_names, sees_contact, seen_by_contact, asked, approved, \
                              removed, version) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9) \
    ON CONFLICT (account, contact) DO UPDATE SET name = excluded.name, group_names = excluded.group_names, \
        sees_contact = excluded.sees_contact, seen_by_contact = excluded.seen_by_contact, asked = excluded.asked, \
        approved = excluded.approved, removed = 0, version = excluded.version";
const REMOVE: &str = "\
    UPDATE roster_items SET name = NULL, group_names = '[]', sees_contact = 0, seen_by_contact = 0, asked = 0, \
        approved = 0, removed = 1, version = $3 \
    WHERE account = $1 AND contact = $2";
const SET_VERSION: &str = "UPDATE rosters SET version = $2 WHERE account = $1";
/// The newest of the removed items that are too many.
const TOO_MANY_REMOVED: &str = "\
    SELECT version FROM roster_items WHERE account = $1 AND removed = 1 ORDER BY version DESC LIMIT 1 OFFSET $2";
const FORGET_REMOVED: &str = "DELETE FROM roster_items WHERE account = $1 AND removed = 1 AND version <= $2";
const SET_FORGOTTEN: &str = "UPDATE rosters SET forgotten = $2 WHERE account = $1";
const COUNT_REQUESTS: &str = "SELECT COUNT(*) FROM roster_requests WHERE account = $1";
const KEEP_REQUEST: &str = "\
    INSERT INTO roster_requests (account, contact, received, stanza) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (account, contact) DO NOTHING";
const DROP_REQUEST: &str = "DELETE FROM roster_requests WHERE account = $1 AND contact = $2";

const DELETE_ITEMS: &str = "\
    DELETE FROM roster_items WHERE account = $1 \
    RETURNING contact, sees_contact, seen_by_contact, asked, removed";
const DELETE_REQUESTS: &str = "DELETE FROM roster_requests WHERE account = $1 RETURNING contact";
const DELETE_ROSTER: &str = "DELETE FROM rosters WHERE account = $1";

/// The whole roster of an account, as it was at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Its version; 0 when the account never had a contact.
    pub version: i64,
    /// Its contacts, in no order.
    pub items: Vec<Item>,
}

/// What has changed since a version that a client knows.
#[derive(Debug, PartialEq, Eq)]
pub enum Since {
    /// The items that have changed, oldest change first, each as it is now.
    Changes {
        /// The version of the roster now.
        version: i64,
        /// The items; `Err` is a contact that was removed in that version.
        items: Vec<Result<Item, (BareJid, i64)>>,
    },
    /// The version is not known, or too much has changed since: only the whole roster will do.
    Unknown,
}

/// What is kept of one contact.
#[derive(Debug, Default)]
pub struct Entry {
    /// The item, when the contact stands in the roster.
    pub item: Option<Item>,
    /// Whether a request of the contact waits.
    pub is_asked: bool,
}

impl Entry {
    /// Where the subscription stands.
    pub fn state(&self) -> State {
        let state = self.item.as_ref().map(|item| item.state).unwrap_or_default();
        State { is_asked: self.is_asked, ..state }
    }
}

/// The tables.
#[derive(Clone)]
pub struct Store(pub Database);

impl Store {
    /// The whole roster.
    pub async fn read(&self, account: &BareJid) -> Result<Roster, StorageError> {
        let rows = self.0.fetch_all(READ, values![account.as_str()]).await?;
        let mut roster = Roster { version: 0, items: Vec::with_capacity(rows.len()) };
        for row in &rows {
            roster.version = row.integer(0)?;
            roster.items.extend(readable(account, item(row)).flatten());
        }
        Ok(roster)
    }

    /// What has changed since the version `known`, if that is not more than `most` items.
    pub async fn read_since(&self, account: &BareJid, known: i64, most: usize) -> Result<Since, StorageError> {
        let limit = i64::try_from(most).unwrap_or(i64::MAX - 1).saturating_add(1);
        let rows = self.0.fetch_all(READ_CHANGES, values![account.as_str(), known, limit]).await?;
        let Some(first) = rows.first() else {
            return Ok(if known == 0 { Since::Changes { version: 0, items: vec![] } } else { Since::Unknown });
        };
        let (version, forgotten) = (first.integer(0)?, first.integer(10)?);
        if known < forgotten || known > version || rows.len() > most {
            return Ok(Since::Unknown);
        }
        let mut items = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(item) = readable(account, item(row)).flatten() else { continue };
            let is_removed = row.integer(9)? != 0;
            items.push(if is_removed { Err((item.contact, item.version)) } else { Ok(item) });
        }
        Ok(Since::Changes { version, items })
    }

    /// What is kept of one contact.
    pub async fn read_one(&self, account: &BareJid, contact: &BareJid) -> Result<Entry, StorageError> {
        let row = self.0.fetch_optional(READ_ONE, values![account.as_str(), contact.as_str()]).await?;
        row.as_ref().map_or_else(|| Ok(Entry::default()), entry)
    }

    /// The stanzas of requests that wait for the account's answer, oldest first, at most `most`.
    pub async fn read_requests(&self, account: &BareJid, most: usize) -> Result<Vec<Vec<u8>>, StorageError> {
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self.0.fetch_all(READ_REQUESTS, values![account.as_str(), limit]).await?;
        rows.iter().map(|row| row.bytes(0)).collect()
    }

    /// Begins to change an account's roster. Waits until the change before is committed or given up.
    pub async fn change<'a>(&self, account: &'a BareJid) -> Result<Change<'a>, StorageError> {
        let mut transaction = self.0.begin().await?;
        let row = transaction.fetch_optional(TAKE, values![account.as_str(), now_milliseconds()]).await?;
        let version = row.map_or(Ok(0), |row| row.integer(0))?;
        Ok(Change { transaction, account, version })
    }

    /// Deletes everything of an account; gives back its contacts with what stood between them.
    pub async fn delete(&self, account: &BareJid) -> Result<Vec<(BareJid, State)>, StorageError> {
        let mut change = self.change(account).await?;
        let transaction = &mut change.transaction;
        let items = transaction.fetch_all(DELETE_ITEMS, values![account.as_str()]).await?;
        let requests = transaction.fetch_all(DELETE_REQUESTS, values![account.as_str()]).await?;
        transaction.execute(DELETE_ROSTER, values![account.as_str()]).await?;
        change.commit().await?;
        let mut contacts: Vec<(BareJid, State)> = Vec::with_capacity(items.len());
        for row in &items {
            let read = || -> Result<_, StorageError> {
                let state = State {
                    sees_contact: row.integer(1)? != 0,
                    seen_by_contact: row.integer(2)? != 0,
                    asked: row.integer(3)? != 0,
                    ..State::default()
                };
                Ok((address(row, 0)?, state))
            };
            if row.integer(4)? == 0 {
                contacts.extend(readable(account, read()));
            }
        }
        for row in &requests {
            let Some(contact) = readable(account, address(row, 0)) else { continue };
            match contacts.iter_mut().find(|(known, _)| *known == contact) {
                Some((_, state)) => state.is_asked = true,
                None => contacts.push((contact, State { is_asked: true, ..State::default() })),
            }
        }
        Ok(contacts)
    }
}

/// A change of one account's roster: nobody else changes it until it is committed. Dropped, it never happened.
pub struct Change<'a> {
    transaction: Transaction,
    account: &'a BareJid,
    version: i64,
}

impl Change<'_> {
    /// What is kept of one contact.
    pub async fn read_one(&mut self, contact: &BareJid) -> Result<Entry, StorageError> {
        let values = values![self.account.as_str(), contact.as_str()];
        let row = self.transaction.fetch_optional(READ_ONE, values).await?;
        row.as_ref().map_or_else(|| Ok(Entry::default()), entry)
    }

    /// How many contacts the roster has.
    pub async fn count(&mut self) -> Result<usize, StorageError> {
        let row = self.transaction.fetch_optional(COUNT, values![self.account.as_str()]).await?;
        count(row)
    }

    /// Puts a contact in, or what it is now in place of what it was, and gives the item its version.
    pub async fn put(&mut self, item: &mut Item) -> Result<(), StorageError> {
        item.version = self.next_version().await?;
        let groups = serde_json::to_string(&item.groups).map_err(|error| StorageError::Other(error.to_string()))?;
        let values = values![
            self.account.as_str(),
            item.contact.as_str(),
            item.name.as_deref(),
            groups,
            item.state.sees_contact,
            item.state.seen_by_contact,
            item.state.asked,
            item.state.approved,
            item.version,
        ];
        self.transaction.execute(PUT, values).await?;
        Ok(())
    }

    /// Takes a contact out; it is remembered as removed, and the oldest beyond `remembered` are forgotten. Gives back
    /// the version.
    pub async fn remove(&mut self, contact: &BareJid, remembered: usize) -> Result<i64, StorageError> {
        let version = self.next_version().await?;
        let account = self.account.as_str();
        self.transaction.execute(REMOVE, values![account, contact.as_str(), version]).await?;
        let remembered = i64::try_from(remembered).unwrap_or(i64::MAX);
        let oldest = self.transaction.fetch_optional(TOO_MANY_REMOVED, values![account, remembered]).await?;
        if let Some(oldest) = oldest {
            let oldest = oldest.integer(0)?;
            self.transaction.execute(FORGET_REMOVED, values![account, oldest]).await?;
            self.transaction.execute(SET_FORGOTTEN, values![account, oldest]).await?;
        }
        Ok(version)
    }

    /// Keeps a contact's request until it is answered, unless `most` wait already; whether it is kept.
    pub async fn keep_request(&mut self, contact: &BareJid, stanza: &[u8], most: usize) -> Result<bool, StorageError> {
        let account = self.account.as_str();
        let waiting = self.transaction.fetch_optional(COUNT_REQUESTS, values![account]).await?;
        if count(waiting)? >= most {
            return Ok(false);
        }
        let values = values![account, contact.as_str(), now_milliseconds(), stanza];
        self.transaction.execute(KEEP_REQUEST, values).await?;
        Ok(true)
    }

    /// Drops a contact's request: it is answered or taken back.
    pub async fn drop_request(&mut self, contact: &BareJid) -> Result<(), StorageError> {
        self.transaction.execute(DROP_REQUEST, values![self.account.as_str(), contact.as_str()]).await?;
        Ok(())
    }

    /// Makes it so.
    pub async fn commit(self) -> Result<(), StorageError> {
        self.transaction.commit().await
    }

    /// A version above all that this roster ever had. It follows the clock, so that a client which knows a version of an
    /// account that was removed, or of a database that was restored, does not meet the same number again.
    async fn next_version(&mut self) -> Result<i64, StorageError> {
        self.version = now_milliseconds().max(self.version.saturating_add(1));
        self.transaction.execute(SET_VERSION, values![self.account.as_str(), self.version]).await?;
        Ok(self.version)
    }
}

fn count(row: Option<Row>) -> Result<usize, StorageError> {
    let count = row.map_or(Ok(0), |row| row.integer(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The item in columns 1 to 8; none when the join found none.
fn item(row: &Row) -> Result<Option<Item>, StorageError> {
    if row.optional_text(1)?.is_none() {
        return Ok(None);
    }
    let groups = row.text(3)?;
    Ok(Some(Item {
        contact: address(row, 1)?,
        name: row.optional_text(2)?,
        groups: serde_json::from_str(&groups)
            .map_err(|error| StorageError::Corrupt { column: "group_names".to_owned(), reason: error.to_string() })?,
        state: State {
            sees_contact: row.integer(4)? != 0,
            seen_by_contact: row.integer(5)? != 0,
            asked: row.integer(6)? != 0,
            is_asked: false,
            approved: row.integer(7)? != 0,
        },
        version: row.integer(8)?,
    }))
}

fn entry(row: &Row) -> Result<Entry, StorageError> {
    Ok(Entry { item: item(row)?, is_asked: row.optional_integer(9)?.is_some() })
}

fn address(row: &Row, column: usize) -> Result<BareJid, StorageError> {
    BareJid::new(&row.text(column)?)
        .map_err(|error| StorageError::Corrupt { column: "contact".to_owned(), reason: error.to_string() })
}

/// One row that cannot be read must not hide the others: it is logged and left out.
fn readable<T>(account: &BareJid, read: Result<T, StorageError>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(%account, %error, "roster.unreadable_row")).ok()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
