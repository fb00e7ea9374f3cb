//! The tables of rooms: what they remember, who is affiliated with them, and where their names are (XEP-0045).

use std::collections::HashSet;

use bytes::Bytes;
use waxwing_core::address::{BareJid, DomainRef, ResourcePart};
use waxwing_core::stanza::{Stanza, element};
use waxwing_core::storage::{Database, Engine, Migrations, Row, StorageError, Transaction, migrations, values};

use crate::affiliation::Affiliation;
use crate::configuration::Configuration;
use crate::effects::Change;
use crate::records::{Affiliated, Affiliations, Nick, Records, Subject};

/// The tables.
pub const MIGRATIONS: Migrations = migrations!("muc", "0001_muc", "0002_activity");

const READ: &str = "\
    SELECT configuration, hats, avatar, subject, subject_at, version, forgotten, created, destroyed \
    FROM muc_rooms WHERE address = $1";
const READ_AFFILIATIONS: &str = "\
    SELECT account, affiliation, nick, reason, version FROM muc_affiliations WHERE room = $1";
const READ_CARD: &str = "SELECT card FROM muc_rooms WHERE address = $1 AND destroyed IS NULL";

/// A name that was sealed, or left over, may be used again by whoever asks for it.
const CREATE: &str = "\
    INSERT INTO muc_rooms (address, service, name, public, persistent, created, version, forgotten, configuration, hats, \
                           avatar, subject, subject_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
    ON CONFLICT (address) DO UPDATE SET service = excluded.service, name = excluded.name, public = excluded.public, \
        persistent = excluded.persistent, created = excluded.created, destroyed = NULL, version = excluded.version, \
        forgotten = excluded.forgotten, configuration = excluded.configuration, hats = excluded.hats, \
        avatar = excluded.avatar, subject = excluded.subject, subject_at = excluded.subject_at, card = NULL, active = 0";
const CONFIGURE: &str = "\
    UPDATE muc_rooms SET configuration = $2, name = $3, public = $4, persistent = $5 WHERE address = $1";
const SET_SUBJECT: &str = "UPDATE muc_rooms SET subject = $2, subject_at = $3 WHERE address = $1";
const SET_CARD: &str = "UPDATE muc_rooms SET card = $2, avatar = $3 WHERE address = $1";
const SET_HATS: &str = "UPDATE muc_rooms SET hats = $2 WHERE address = $1";
const SET_VERSION: &str = "UPDATE muc_rooms SET version = $2 WHERE address = $1";
const SET_FORGOTTEN: &str = "UPDATE muc_rooms SET forgotten = $2 WHERE address = $1";
const FORGET: &str = "DELETE FROM muc_affiliations WHERE room = $1 AND affiliation = 1 AND version <= $2";
const DELETE_AFFILIATIONS: &str = "DELETE FROM muc_affiliations WHERE room = $1";
const DELETE: &str = "DELETE FROM muc_rooms WHERE address = $1";
const SEAL: &str = "\
    UPDATE muc_rooms SET destroyed = $2, public = 0, configuration = '{}', hats = '{}', avatar = '[]', subject = NULL, \
        card = NULL WHERE address = $1";

/// Several affiliations in one statement; an empty text is none.
const AFFILIATE_POSTGRES: &str = "\
    INSERT INTO muc_affiliations (room, account, affiliation, nick, reason, version) \
    SELECT $1, account, affiliation, NULLIF(nick, ''), NULLIF(reason, ''), version \
    FROM UNNEST($2::TEXT[], $3::BIGINT[], $4::TEXT[], $5::TEXT[], $6::BIGINT[]) \
        AS given (account, affiliation, nick, reason, version) \
    ON CONFLICT (room, account) DO UPDATE SET affiliation = excluded.affiliation, nick = excluded.nick, \
        reason = excluded.reason, version = excluded.version";
const AFFILIATE_SQLITE: &str = "\
    INSERT INTO muc_affiliations (room, account, affiliation, nick, reason, version) \
    SELECT $1, accounts.value, affiliations.value, NULLIF(nicks.value, ''), NULLIF(reasons.value, ''), versions.value \
    FROM json_each($2) AS accounts \
    JOIN json_each($3) AS affiliations ON affiliations.key = accounts.key \
    JOIN json_each($4) AS nicks ON nicks.key = accounts.key \
    JOIN json_each($5) AS reasons ON reasons.key = accounts.key \
    JOIN json_each($6) AS versions ON versions.key = accounts.key \
    WHERE true \
    ON CONFLICT (room, account) DO UPDATE SET affiliation = excluded.affiliation, nick = excluded.nick, \
        reason = excluded.reason, version = excluded.version";

const LIST_AFTER: &str = "\
    SELECT address, name FROM muc_rooms \
    WHERE service = $1 AND public = 1 AND destroyed IS NULL AND address > $2 ORDER BY address LIMIT $3";
const LIST_BEFORE: &str = "\
    SELECT address, name FROM muc_rooms \
    WHERE service = $1 AND public = 1 AND destroyed IS NULL AND address < $2 ORDER BY address DESC LIMIT $3";
const LIST_LAST: &str = "\
    SELECT address, name FROM muc_rooms \
    WHERE service = $1 AND public = 1 AND destroyed IS NULL ORDER BY address DESC LIMIT $2";
const COUNT_PUBLIC: &str = "\
    SELECT COUNT(*) FROM muc_rooms WHERE service = $1 AND public = 1 AND destroyed IS NULL";
const COUNT_OWNED: &str = "SELECT COUNT(*) FROM muc_affiliations WHERE account = $1 AND affiliation = 4";
const ROOMS_OF: &str = "\
    SELECT room FROM muc_affiliations WHERE account = $1 AND room > $2 AND affiliation <> 1 ORDER BY room LIMIT $3";

const ACTIVITY: &str = "\
    SELECT muc_affiliations.room, muc_rooms.active, muc_affiliations.seen \
    FROM muc_affiliations JOIN muc_rooms ON muc_rooms.address = muc_affiliations.room \
    WHERE muc_affiliations.account = $1 AND muc_affiliations.affiliation >= 2 AND muc_rooms.service = $2 \
        AND muc_rooms.destroyed IS NULL \
    ORDER BY muc_affiliations.room LIMIT $3";
const SET_ACTIVE: &str = "UPDATE muc_rooms SET active = $2 WHERE address = $1 AND active < $2";
const SET_SEEN_POSTGRES: &str = "\
    UPDATE muc_affiliations SET seen = given.seen FROM UNNEST($2::TEXT[], $3::BIGINT[]) AS given (account, seen) \
    WHERE muc_affiliations.room = $1 AND muc_affiliations.account = given.account AND muc_affiliations.seen < given.seen";
const SET_SEEN_SQLITE: &str = "\
    UPDATE muc_affiliations SET seen = given.seen \
    FROM (SELECT accounts.value AS account, times.value AS seen FROM json_each($2) AS accounts \
          JOIN json_each($3) AS times ON times.key = accounts.key) AS given \
    WHERE muc_affiliations.room = $1 AND muc_affiliations.account = given.account AND muc_affiliations.seen < given.seen";

const TEMPORARY: &str = "\
    SELECT address FROM muc_rooms WHERE service = $1 AND persistent = 0 AND destroyed IS NULL AND address > $2 \
    ORDER BY address LIMIT $3";
const DELETE_ROOMS_POSTGRES: &str = "DELETE FROM muc_rooms WHERE address = ANY($1)";
const DELETE_ROOMS_SQLITE: &str = "DELETE FROM muc_rooms WHERE address IN (SELECT value FROM json_each($1))";
const DELETE_ALL_AFFILIATIONS_POSTGRES: &str = "DELETE FROM muc_affiliations WHERE room = ANY($1)";
const DELETE_ALL_AFFILIATIONS_SQLITE: &str = "\
    DELETE FROM muc_affiliations WHERE room IN (SELECT value FROM json_each($1))";
const UNSEAL: &str = "DELETE FROM muc_rooms WHERE service = $1 AND destroyed IS NOT NULL AND destroyed < $2";

/// What stands under an address.
#[derive(Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A room that was destroyed at this time, in milliseconds since 1970.
    Sealed(i64),
    /// A room.
    Room(Box<Records>),
}

/// Which piece of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page<'a> {
    /// From the beginning, or behind this address.
    After(&'a str),
    /// Before this address.
    Before(&'a str),
    /// The end of it.
    Last,
}

/// A room in a list: where it is and what it is called.
pub type Listed = (BareJid, String);

/// The tables of rooms.
#[derive(Clone)]
pub struct Store(pub Database);

impl Store {
    /// Reads what stands under an address.
    pub async fn read(&self, room: &BareJid) -> Result<Found, StorageError> {
        let Some(row) = self.0.fetch_optional(READ, values![room.as_str()]).await? else { return Ok(Found::Nothing) };
        if let Some(destroyed) = row.optional_integer(8)? {
            return Ok(Found::Sealed(destroyed));
        }
        let rows = self.0.fetch_all(READ_AFFILIATIONS, values![room.as_str()]).await?;
        let mut affiliations = Affiliations::default();
        for (address, entry) in rows.iter().filter_map(|row| readable(room, affiliated(row))) {
            affiliations.set(address, entry);
        }
        // What cannot be read is as in a new room, which lets nobody in who is not on its lists.
        let configuration = row.text(0).and_then(|text| from_json::<Configuration>("configuration", &text));
        Ok(Found::Room(Box::new(Records {
            configuration: readable(room, configuration).unwrap_or_default(),
            hats: readable(room, row.text(1).and_then(|text| from_json("hats", &text))).unwrap_or_default(),
            avatar: readable(room, row.text(2).and_then(|text| from_json("avatar", &text))).unwrap_or_default(),
            subject: readable(room, subject(&row)).flatten(),
            version: row.integer(5)?,
            forgotten: row.integer(6)?,
            created: row.integer(7)?,
            affiliations,
        })))
    }

    /// Makes what has changed durable: all of it or nothing. `now` in milliseconds since 1970.
    pub async fn commit(&self, room: &BareJid, changes: &[Change], now: i64) -> Result<(), StorageError> {
        let mut transaction = self.0.begin().await?;
        for change in changes {
            self.write(&mut transaction, room, change, now).await?;
        }
        transaction.commit().await
    }

    async fn write(
        &self,
        transaction: &mut Transaction,
        room: &BareJid,
        change: &Change,
        now: i64,
    ) -> Result<(), StorageError> {
        let address = room.as_str();
        match change {
            Change::Created(records) => {
                let configuration = &records.configuration;
                let (text, hats, avatar) =
                    (to_json(configuration)?, to_json(&records.hats)?, to_json(&records.avatar)?);
                let subject = records.subject.as_ref().map(|subject| subject.message.to_bytes());
                let values = values![
                    address,
                    room.domain().as_str(),
                    &configuration.name,
                    configuration.public,
                    configuration.persistent,
                    records.created,
                    records.version,
                    records.forgotten,
                    text,
                    hats,
                    avatar,
                    subject,
                    records.subject.as_ref().map(|subject| subject.at),
                ];
                transaction.execute(CREATE, values).await?;
                transaction.execute(DELETE_AFFILIATIONS, values![address]).await?;
                let all: Vec<_> = records.affiliations.all().map(|(of, entry)| (of.clone(), entry.clone())).collect();
                self.affiliate(transaction, address, &all).await
            }
            Change::Configured(configuration) => {
                let text = to_json(&**configuration)?;
                let values =
                    values![address, text, &configuration.name, configuration.public, configuration.persistent];
                transaction.execute(CONFIGURE, values).await.map(drop)
            }
            Change::Affiliated(entries) => self.affiliate(transaction, address, entries).await,
            Change::Forgotten(version) => {
                transaction.execute(FORGET, values![address, *version]).await?;
                transaction.execute(SET_FORGOTTEN, values![address, *version]).await.map(drop)
            }
            Change::Subject(subject) => {
                let values = values![address, subject.message.to_bytes(), subject.at];
                transaction.execute(SET_SUBJECT, values).await.map(drop)
            }
            Change::Card(card, hashes) => {
                let values = values![address, card.as_ref(), to_json(hashes)?];
                transaction.execute(SET_CARD, values).await.map(drop)
            }
            Change::Hats(hats) => transaction.execute(SET_HATS, values![address, to_json(hats)?]).await.map(drop),
            Change::Destroyed { sealed } => {
                transaction.execute(DELETE_AFFILIATIONS, values![address]).await?;
                let done = match sealed {
                    true => transaction.execute(SEAL, values![address, now]).await,
                    false => transaction.execute(DELETE, values![address]).await,
                };
                done.map(drop)
            }
        }
    }

    async fn affiliate(
        &self,
        transaction: &mut Transaction,
        room: &str,
        entries: &[(BareJid, Affiliated)],
    ) -> Result<(), StorageError> {
        let accounts: Vec<&str> = entries.iter().map(|(account, _)| account.as_str()).collect();
        let affiliations: Vec<i64> = entries.iter().map(|(_, entry)| entry.affiliation.number()).collect();
        let nick = |entry: &'_ Affiliated| entry.nick.as_ref().map_or("", |nick| nick.name.as_str()).to_owned();
        let nicks: Vec<String> = entries.iter().map(|(_, entry)| nick(entry)).collect();
        let nicks: Vec<&str> = nicks.iter().map(String::as_str).collect();
        let reasons: Vec<String> =
            entries.iter().map(|(_, entry)| entry.reason.as_deref().unwrap_or_default().replace('\0', "")).collect();
        let reasons: Vec<&str> = reasons.iter().map(String::as_str).collect();
        let versions: Vec<i64> = entries.iter().map(|(_, entry)| entry.version).collect();
        let Some(newest) = versions.iter().max() else { return Ok(()) };
        let sql = match self.0.engine() {
            Engine::Postgres => AFFILIATE_POSTGRES,
            Engine::Sqlite => AFFILIATE_SQLITE,
        };
        transaction.execute(sql, values![room, &accounts, &affiliations, &nicks, &reasons, &versions]).await?;
        transaction.execute(SET_VERSION, values![room, *newest]).await.map(drop)
    }

    /// The card of a room, complete with its namespace.
    pub async fn card(&self, room: &BareJid) -> Result<Option<Bytes>, StorageError> {
        let row = self.0.fetch_optional(READ_CARD, values![room.as_str()]).await?;
        Ok(row.map(|row| row.optional_bytes(0)).transpose()?.flatten().map(Bytes::from))
    }

    /// A piece of the list of rooms that everyone may find, in the order of their addresses.
    pub async fn list(&self, service: &DomainRef, page: Page<'_>, most: usize) -> Result<Vec<Listed>, StorageError> {
        let (service, most) = (service.as_str(), i64::try_from(most).unwrap_or(i64::MAX));
        let mut rows = match page {
            Page::After(address) => self.0.fetch_all(LIST_AFTER, values![service, address, most]).await?,
            Page::Before(address) => self.0.fetch_all(LIST_BEFORE, values![service, address, most]).await?,
            Page::Last => self.0.fetch_all(LIST_LAST, values![service, most]).await?,
        };
        if !matches!(page, Page::After(_)) {
            rows.reverse();
        }
        Ok(rows.iter().filter_map(|row| Some((address(row, 0).ok()?, row.text(1).ok()?))).collect())
    }

    /// How many rooms everyone may find.
    pub async fn count(&self, service: &DomainRef) -> Result<i64, StorageError> {
        number(self.0.fetch_optional(COUNT_PUBLIC, values![service.as_str()]).await?)
    }

    /// How many rooms an account owns.
    pub async fn owned(&self, account: &BareJid) -> Result<i64, StorageError> {
        number(self.0.fetch_optional(COUNT_OWNED, values![account.as_str()]).await?)
    }

    /// The rooms that an account is affiliated with, behind `after`.
    pub async fn rooms_of(&self, account: &BareJid, after: &str, most: u32) -> Result<Vec<BareJid>, StorageError> {
        let rows = self.0.fetch_all(ROOMS_OF, values![account.as_str(), after, most]).await?;
        rows.iter().map(|row| address(row, 0)).collect()
    }

    /// The rooms of a service that an account is at least a member of, each with when something was said there and when
    /// the account was there last (XEP-0437). Milliseconds since 1970; 0 for never.
    pub async fn activity(
        &self,
        account: &BareJid,
        service: &DomainRef,
        most: usize,
    ) -> Result<Vec<(BareJid, i64, i64)>, StorageError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self.0.fetch_all(ACTIVITY, values![account.as_str(), service.as_str(), most]).await?;
        rows.iter().map(|row| Ok((address(row, 0)?, row.integer(1)?, row.integer(2)?))).collect()
    }

    /// Notes when something was said in a room, and when accounts that are affiliated were there last.
    pub async fn note_activity(
        &self,
        room: &BareJid,
        active: i64,
        seen: &[(BareJid, i64)],
    ) -> Result<(), StorageError> {
        let accounts: Vec<&str> = seen.iter().map(|(account, _)| account.as_str()).collect();
        let times: Vec<i64> = seen.iter().map(|(_, at)| *at).collect();
        let sql = match self.0.engine() {
            Engine::Postgres => SET_SEEN_POSTGRES,
            Engine::Sqlite => SET_SEEN_SQLITE,
        };
        let mut transaction = self.0.begin().await?;
        transaction.execute(SET_ACTIVE, values![room.as_str(), active]).await?;
        if !seen.is_empty() {
            transaction.execute(sql, values![room.as_str(), &accounts, &times]).await?;
        }
        transaction.commit().await
    }

    /// Removes rooms that should have gone with their last occupant and did not, because the server went before: those
    /// that are not awake. Which they were.
    pub async fn sweep(
        &self,
        service: &DomainRef,
        is_awake: impl Fn(&BareJid) -> bool,
    ) -> Result<Vec<BareJid>, StorageError> {
        const PAGE: u32 = 500;
        let (mut swept, mut after) = (Vec::new(), String::new());
        loop {
            let rows = self.0.fetch_all(TEMPORARY, values![service.as_str(), &after, PAGE]).await?;
            let page: Vec<BareJid> = rows.iter().map(|row| address(row, 0)).collect::<Result<_, _>>()?;
            let Some(last) = page.last() else { return Ok(swept) };
            after = last.as_str().to_owned();
            let gone: HashSet<&BareJid> = page.iter().filter(|room| !is_awake(room)).collect();
            let names: Vec<&str> = gone.iter().map(|room| room.as_str()).collect();
            let (affiliations, rooms) = match self.0.engine() {
                Engine::Postgres => (DELETE_ALL_AFFILIATIONS_POSTGRES, DELETE_ROOMS_POSTGRES),
                Engine::Sqlite => (DELETE_ALL_AFFILIATIONS_SQLITE, DELETE_ROOMS_SQLITE),
            };
            let mut transaction = self.0.begin().await?;
            transaction.execute(affiliations, values![&names]).await?;
            transaction.execute(rooms, values![&names]).await?;
            transaction.commit().await?;
            swept.extend(gone.into_iter().cloned());
        }
    }

    /// Lets addresses be used again of rooms that were destroyed before this time, in milliseconds since 1970.
    pub async fn unseal(&self, service: &DomainRef, before: i64) -> Result<(), StorageError> {
        self.0.execute(UNSEAL, values![service.as_str(), before]).await.map(drop)
    }
}

fn number(row: Option<Row>) -> Result<i64, StorageError> {
    row.map_or(Ok(0), |row| row.integer(0))
}

fn address(row: &Row, column: usize) -> Result<BareJid, StorageError> {
    let text = row.text(column)?;
    BareJid::new(&text).map_err(|error| corrupt("address", error))
}

fn corrupt(column: &str, reason: impl std::fmt::Display) -> StorageError {
    StorageError::Corrupt { column: column.to_owned(), reason: reason.to_string() }
}

fn affiliated(row: &Row) -> Result<(BareJid, Affiliated), StorageError> {
    let affiliation = row.integer(1)?;
    let nick = match row.optional_text(2)? {
        Some(nick) => Some(ResourcePart::new(&nick).map_err(|error| corrupt("nick", error))?.into_owned()),
        None => None,
    };
    let entry = Affiliated {
        affiliation: Affiliation::of_number(affiliation).ok_or_else(|| corrupt("affiliation", affiliation))?,
        nick: nick.map(Nick::new),
        reason: row.optional_text(3)?,
        version: row.integer(4)?,
    };
    Ok((address(row, 0)?, entry))
}

fn subject(row: &Row) -> Result<Option<Subject>, StorageError> {
    let (Some(bytes), Some(at)) = (row.optional_bytes(3)?, row.optional_integer(4)?) else { return Ok(None) };
    let read = element(bytes).ok().and_then(|element| Stanza::read(element)?.ok());
    let message = read.ok_or_else(|| corrupt("subject", "is no message"))?;
    Ok(Some(Subject { message, at }))
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(|error| StorageError::Other(error.to_string()))
}

fn from_json<T: serde::de::DeserializeOwned>(column: &str, text: &str) -> Result<T, StorageError> {
    serde_json::from_str(text).map_err(|error| corrupt(column, error))
}

/// One value that cannot be read must not hide the others: it is logged and left out (row F31 of the fault list).
fn readable<T>(room: &BareJid, read: Result<T, StorageError>) -> Option<T> {
    read.inspect_err(|error| tracing::error!(%room, %error, "muc.unreadable_row")).ok()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
