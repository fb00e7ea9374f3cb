//! The tables of managed sessions: counters that survive a crash, and whole sessions that survive a stop of the server.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use waxwing_core::address::BareJid;
use waxwing_core::clock::now_milliseconds;
use waxwing_core::storage::{Batch, Database, Engine, Migrations, Row, StorageError, Transaction, migrations, values};

/// The tables.
pub const MIGRATIONS: Migrations = migrations!("stream_management", "0001_stream_management");

const COUNT: &str = "INSERT INTO stream_sessions (id, host, account, handled, changed_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (id) DO UPDATE SET handled = excluded.handled, changed_at = excluded.changed_at";
const COUNT_MANY: &str = "INSERT INTO stream_sessions (id, host, account, handled, changed_at)
    SELECT id, $2, account, handled, $5 FROM UNNEST($1::text[], $3::text[], $4::bigint[]) AS given (id, account, handled)
    ON CONFLICT (id) DO UPDATE SET handled = excluded.handled, changed_at = excluded.changed_at";
const STORE: &str = "INSERT INTO stream_sessions (id, host, account, handled, changed_at, state, stored_bytes, details)
    VALUES ($1, $2, $3, $4, $5, 1, $6, $7)
    ON CONFLICT (id) DO UPDATE SET handled = excluded.handled, changed_at = excluded.changed_at, state = 1,
        stored_bytes = excluded.stored_bytes, details = excluded.details";
const STORE_MANY: &str =
    "INSERT INTO stream_sessions (id, host, account, handled, changed_at, state, stored_bytes, details)
    SELECT id, $2, account, handled, $5, 1, stored_bytes, details
        FROM UNNEST($1::text[], $3::text[], $4::bigint[], $6::bigint[], $7::text[])
        AS given (id, account, handled, stored_bytes, details)
    ON CONFLICT (id) DO UPDATE SET handled = excluded.handled, changed_at = excluded.changed_at, state = 1,
        stored_bytes = excluded.stored_bytes, details = excluded.details";
const STORE_STANZA: &str = "INSERT INTO stream_stanzas (session, position, was_sent, delivered_at, notes, stanza)
    VALUES ($1, $2, $3, $4, $5, $6)";
const STORE_STANZAS: &str = "INSERT INTO stream_stanzas (session, position, was_sent, delivered_at, notes, stanza)
    SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[])";

const HANDLED: &str = "SELECT handled FROM stream_sessions WHERE id = $1 AND account = $2";
const STORED: &str = "SELECT id, account, handled, changed_at, stored_bytes, details FROM stream_sessions
    WHERE host = $1 AND state = $2 AND id > $3 ORDER BY id LIMIT $4";
const REFUSE_ACCOUNT: &str = "UPDATE stream_sessions SET state = 2 WHERE account = $1 AND state = 1";
const DELETE_STANZAS_OF_ACCOUNT: &str =
    "DELETE FROM stream_stanzas WHERE session IN (SELECT id FROM stream_sessions WHERE account = $1)";
const DELETE_ACCOUNT: &str = "DELETE FROM stream_sessions WHERE account = $1";
const DELETE_OLD: &str = "DELETE FROM stream_sessions WHERE host = $1 AND state = 0 AND changed_at < $2";

/// The stored sessions of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be brought back.
    Stored = 1,
    /// Brought back by a server that has crashed since.
    Lost = 2,
}

/// A stanza of a stored session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredStanza {
    /// Whether it was sent, and not acknowledged; else it waited to be sent.
    pub was_sent: bool,
    /// When it came for the session, in milliseconds since 1970.
    pub delivered_at: i64,
    /// The notes that go with it, as they were written down; empty when there are none.
    pub notes: String,
    /// The stanza, complete with its namespace.
    pub stanza: Vec<u8>,
}

/// A session as it was when the server was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// Under which it is resumed.
    pub id: Box<str>,
    /// Whose it is.
    pub account: BareJid,
    /// How many stanzas of its client were handled.
    pub handled: u32,
    /// When it was stored, in milliseconds since 1970. Not written: it is the time of writing.
    pub stored_at: i64,
    /// Everything else, as JSON.
    pub details: String,
    /// Its stanzas, in order.
    pub stanzas: Vec<StoredStanza>,
}

impl StoredSession {
    fn bytes(&self) -> usize {
        self.details.len() + self.stanzas.iter().map(|stanza| stanza.stanza.len()).sum::<usize>()
    }
}

/// What changes.
#[derive(Debug)]
pub enum Change {
    /// So many stanzas of a session's client were handled.
    Counted {
        /// The session.
        id: Box<str>,
        /// Whose it is.
        account: BareJid,
        /// How many.
        handled: u32,
        /// Whether what was stored of the session is of no use any more: it was resumed, or it is over.
        forget: bool,
    },
    /// The server stops, and the session is to go on.
    Stored(Box<StoredSession>),
}

impl Change {
    fn id(&self) -> &str {
        match self {
            Change::Counted { id, .. } => id,
            Change::Stored(session) => &session.id,
        }
    }
}

/// Writes the changes of many sessions together.
pub struct Changes {
    host: String,
    lanes: RandomState,
}

impl Changes {
    /// Of the sessions of this host.
    pub fn of(host: &str) -> Changes {
        Changes { host: host.to_owned(), lanes: RandomState::new() }
    }
}

impl Batch<Change> for Changes {
    async fn write(&self, database: &Database, changes: &[Change]) -> Result<(), StorageError> {
        // Of many numbers for one session only the newest counts.
        let mut counted: HashMap<&str, (&BareJid, u32)> = HashMap::new();
        let mut stored: HashMap<&str, &StoredSession> = HashMap::new();
        let mut forgotten: HashSet<&str> = HashSet::new();
        for change in changes {
            match change {
                Change::Counted { id, account, handled, forget } => {
                    counted.insert(id, (account, *handled));
                    if *forget {
                        forgotten.insert(id);
                        stored.remove(&**id);
                    }
                }
                Change::Stored(session) => {
                    counted.remove(&*session.id);
                    stored.insert(&session.id, session);
                }
            }
        }
        let now = now_milliseconds();
        let mut transaction = database.begin().await?;
        let (engine, host) = (database.engine(), self.host.as_str());
        count(&mut transaction, engine, host, now, &counted).await?;
        let replaced: Vec<&str> = forgotten.iter().chain(stored.keys()).copied().collect();
        forget(&mut transaction, engine, &replaced).await?;
        store(&mut transaction, engine, host, now, &stored.into_values().collect::<Vec<_>>()).await?;
        transaction.commit().await
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn lane(&self, change: &Change) -> u64 {
        self.lanes.hash_one(change.id())
    }

    fn size(&self, change: &Change) -> usize {
        match change {
            Change::Counted { .. } => 200,
            Change::Stored(session) => 1_000 + session.bytes() + 100 * session.stanzas.len(),
        }
    }
}

async fn count(
    transaction: &mut Transaction,
    engine: Engine,
    host: &str,
    now: i64,
    counted: &HashMap<&str, (&BareJid, u32)>,
) -> Result<(), StorageError> {
    if counted.is_empty() {
        return Ok(());
    }
    if engine == Engine::Sqlite {
        for (id, (account, handled)) in counted {
            transaction.execute(COUNT, values![*id, host, account.as_str(), *handled, now]).await?;
        }
        return Ok(());
    }
    let ids: Vec<&str> = counted.keys().copied().collect();
    let accounts: Vec<&str> = counted.values().map(|(account, _)| account.as_str()).collect();
    let numbers: Vec<i64> = counted.values().map(|(_, handled)| i64::from(*handled)).collect();
    transaction.execute(COUNT_MANY, values![&ids, host, &accounts, &numbers, now]).await?;
    Ok(())
}

/// Of these sessions only the number is kept.
async fn forget(transaction: &mut Transaction, engine: Engine, ids: &[&str]) -> Result<(), StorageError> {
    if ids.is_empty() {
        return Ok(());
    }
    let (delete, reset) = match engine {
        Engine::Sqlite => (
            "DELETE FROM stream_stanzas WHERE session IN (SELECT value FROM json_each($1))",
            "UPDATE stream_sessions SET state = 0, stored_bytes = 0, details = NULL
                WHERE id IN (SELECT value FROM json_each($1))",
        ),
        Engine::Postgres => (
            "DELETE FROM stream_stanzas WHERE session = ANY($1)",
            "UPDATE stream_sessions SET state = 0, stored_bytes = 0, details = NULL WHERE id = ANY($1)",
        ),
    };
    transaction.execute(delete, values![ids]).await?;
    transaction.execute(reset, values![ids]).await?;
    Ok(())
}

async fn store(
    transaction: &mut Transaction,
    engine: Engine,
    host: &str,
    now: i64,
    sessions: &[&StoredSession],
) -> Result<(), StorageError> {
    if sessions.is_empty() {
        return Ok(());
    }
    let mut stanzas: Vec<(&str, i64, &StoredStanza)> = Vec::new();
    for session in sessions {
        stanzas.extend(session.stanzas.iter().zip(0..).map(|(stanza, place)| (&*session.id, place, stanza)));
    }
    if engine == Engine::Sqlite {
        for session in sessions {
            let account = session.account.as_str();
            let values = values![&*session.id, host, account, session.handled, now, bytes(session), &session.details];
            transaction.execute(STORE, values).await?;
        }
        for (id, place, stanza) in stanzas {
            let values = values![id, place, stanza.was_sent, stanza.delivered_at, &stanza.notes, &stanza.stanza];
            transaction.execute(STORE_STANZA, values).await?;
        }
        return Ok(());
    }
    let ids: Vec<&str> = sessions.iter().map(|session| &*session.id).collect();
    let accounts: Vec<&str> = sessions.iter().map(|session| session.account.as_str()).collect();
    let numbers: Vec<i64> = sessions.iter().map(|session| session.handled.into()).collect();
    let sizes: Vec<i64> = sessions.iter().map(|session| bytes(session)).collect();
    let details: Vec<&str> = sessions.iter().map(|session| session.details.as_str()).collect();
    let values = values![&ids, host, &accounts, &numbers, now, &sizes, &details];
    transaction.execute(STORE_MANY, values).await?;
    if stanzas.is_empty() {
        return Ok(());
    }
    let of: Vec<&str> = stanzas.iter().map(|(id, ..)| *id).collect();
    let places: Vec<i64> = stanzas.iter().map(|(_, place, _)| *place).collect();
    let sent: Vec<i64> = stanzas.iter().map(|(.., stanza)| stanza.was_sent.into()).collect();
    let times: Vec<i64> = stanzas.iter().map(|(.., stanza)| stanza.delivered_at).collect();
    let notes: Vec<&str> = stanzas.iter().map(|(.., stanza)| stanza.notes.as_str()).collect();
    let contents: Vec<&[u8]> = stanzas.iter().map(|(.., stanza)| &stanza.stanza[..]).collect();
    transaction.execute(STORE_STANZAS, values![&of, &places, &sent, &times, &notes, &contents[..]]).await?;
    Ok(())
}

fn bytes(session: &StoredSession) -> i64 {
    i64::try_from(session.bytes()).unwrap_or(i64::MAX)
}

/// A piece of the stored sessions.
#[derive(Debug, Default)]
pub struct Page {
    /// The sessions.
    pub sessions: Vec<StoredSession>,
    /// Where the next piece begins; none when this is the last one.
    pub next: Option<String>,
}

/// What is read, and what is deleted at once; changes of sessions go through [`Changes`].
#[derive(Clone)]
pub struct Store(pub Database);

impl Store {
    /// How many stanzas were handled in a session that is over, or was cut off by a crash.
    pub async fn handled(&self, id: &str, account: &BareJid) -> Result<Option<u32>, StorageError> {
        let row = self.0.fetch_optional(HANDLED, values![id, account.as_str()]).await?;
        row.map(|row| number(&row, 0)).transpose()
    }

    /// Takes stored sessions of a host, behind `after` and at most `most`, with stanzas of hardly more than `most_bytes`:
    /// from now on, if the server crashes, they count as lost. What cannot be read is logged and left out.
    pub async fn take(
        &self,
        host: &str,
        state: State,
        after: &str,
        most: u32,
        most_bytes: usize,
    ) -> Result<Page, StorageError> {
        let rows = self.0.fetch_all(STORED, values![host, state as i64, after, most]).await?;
        let mut page = Page::default();
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut bytes = 0usize;
        let mut last = None;
        for row in &rows {
            let id = row.text(0)?;
            bytes = bytes.saturating_add(usize::try_from(row.integer(4)?).unwrap_or(usize::MAX));
            if last.is_some() && bytes > most_bytes {
                page.next = last.clone();
                break;
            }
            last = Some(id.clone());
            match session(row) {
                Ok(session) => {
                    places.insert(id, page.sessions.len());
                    page.sessions.push(session);
                }
                Err(error) => tracing::error!(session = %id, %error, "stream_management.unreadable_session"),
            }
        }
        if page.next.is_none() && rows.len() == most as usize {
            page.next = last;
        }
        let ids: Vec<&str> = places.keys().map(String::as_str).collect();
        if ids.is_empty() {
            return Ok(page);
        }
        let (mark, read) = match self.0.engine() {
            Engine::Sqlite => (
                "UPDATE stream_sessions SET state = 2 WHERE id IN (SELECT value FROM json_each($1))",
                "SELECT session, was_sent, delivered_at, notes, stanza FROM stream_stanzas
                    WHERE session IN (SELECT value FROM json_each($1)) ORDER BY session, position",
            ),
            Engine::Postgres => (
                "UPDATE stream_sessions SET state = 2 WHERE id = ANY($1)",
                "SELECT session, was_sent, delivered_at, notes, stanza FROM stream_stanzas
                    WHERE session = ANY($1) ORDER BY session, position",
            ),
        };
        self.0.execute(mark, values![&ids[..]]).await?;
        for row in self.0.fetch_all(read, values![&ids[..]]).await? {
            let of = places.get(&row.text(0)?).and_then(|place| page.sessions.get_mut(*place));
            match (of, stanza(&row)) {
                (Some(session), Ok(stanza)) => session.stanzas.push(stanza),
                (_, Err(error)) => tracing::error!(%error, "stream_management.unreadable_stanza"),
                (None, Ok(_)) => {}
            }
        }
        Ok(page)
    }

    /// The stored sessions of an account are not to be resumed: their stanzas are kept elsewhere at the next start.
    pub async fn refuse_account(&self, account: &BareJid) -> Result<(), StorageError> {
        self.0.execute(REFUSE_ACCOUNT, values![account.as_str()]).await?;
        Ok(())
    }

    /// Deletes everything of an account.
    pub async fn delete_account(&self, account: &BareJid) -> Result<(), StorageError> {
        let mut transaction = self.0.begin().await?;
        transaction.execute(DELETE_STANZAS_OF_ACCOUNT, values![account.as_str()]).await?;
        transaction.execute(DELETE_ACCOUNT, values![account.as_str()]).await?;
        transaction.commit().await
    }

    /// Forgets the numbers of sessions that have not changed since `before` (milliseconds since 1970).
    pub async fn delete_old(&self, host: &str, before: i64) -> Result<u64, StorageError> {
        self.0.execute(DELETE_OLD, values![host, before]).await
    }
}

fn session(row: &Row) -> Result<StoredSession, StorageError> {
    let account = row.text(1)?;
    Ok(StoredSession {
        id: row.text(0)?.into(),
        account: BareJid::new(&account)
            .map_err(|error| StorageError::Corrupt { column: "account".to_owned(), reason: error.to_string() })?,
        handled: number(row, 2)?,
        stored_at: row.integer(3)?,
        details: row.text(5)?,
        stanzas: Vec::new(),
    })
}

fn stanza(row: &Row) -> Result<StoredStanza, StorageError> {
    Ok(StoredStanza {
        was_sent: row.integer(1)? != 0,
        delivered_at: row.integer(2)?,
        notes: row.text(3)?,
        stanza: row.bytes(4)?,
    })
}

fn number(row: &Row, column: usize) -> Result<u32, StorageError> {
    u32::try_from(row.integer(column)?)
        .map_err(|error| StorageError::Corrupt { column: "handled".to_owned(), reason: error.to_string() })
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
