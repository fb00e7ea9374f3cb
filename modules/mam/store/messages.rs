//! The messages of the archives.

use bytes::Bytes;
use waxwing_core::archive::ArchiveId;
use waxwing_core::clock::IdMaker;
use waxwing_storage::{Engine, Row, StorageError, Transaction, Value, values};

use super::Store;
use crate::paging::Window;

const INSERT_ONE: &str = "INSERT INTO mam_messages (archive, id, reference, peer, resource, stanza) \
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
const INSERT_MANY: &str = "INSERT INTO mam_messages (archive, id, reference, peer, resource, stanza) \
    SELECT * FROM UNNEST($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";

// A page: id, size, the stanza if it is not large, and how many of the four named messages the archive holds. Large
// stanzas are read by themselves, as many as fit, so that a page takes bounded memory.
const OLDEST: &str = "\
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, \
    (SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN ($5, $6, $7, $8)) \
    FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 ORDER BY id LIMIT $4";
const NEWEST: &str = "\
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, \
    (SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN ($5, $6, $7, $8)) \
    FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 ORDER BY id DESC LIMIT $4";
// SQLite, which gathers no statistics by itself, has to be told which of two indexes leads to few rows.
const OLDEST_WITH_POSTGRES: &str = "\
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, \
    (SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN ($5, $6, $7, $8)) \
    FROM mam_messages WHERE archive = $1 AND peer = $9 AND id > $2 AND id < $3 \
    AND ($10 = '' OR resource = $10) ORDER BY id LIMIT $4";
const NEWEST_WITH_POSTGRES: &str = "\
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, \
    (SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN ($5, $6, $7, $8)) \
    FROM mam_messages WHERE archive = $1 AND peer = $9 AND id > $2 AND id < $3 \
    AND ($10 = '' OR resource = $10) ORDER BY id DESC LIMIT $4";
const OLDEST_WITH_SQLITE: &str = "\
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, \
    (SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN ($5, $6, $7, $8)) \
    FROM mam_messages INDEXED BY mam_messages_of_peer WHERE archive = $1 AND peer = $9 AND id > $2 AND id < $3 \
    AND ($10 = '' OR resource = $10) ORDER BY id LIMIT $4";
const NEWEST_WITH_SQLITE: &str = "\
    SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, \
    (SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN ($5, $6, $7, $8)) \
    FROM mam_messages INDEXED BY mam_messages_of_peer WHERE archive = $1 AND peer = $9 AND id > $2 AND id < $3 \
    AND ($10 = '' OR resource = $10) ORDER BY id DESC LIMIT $4";
const COUNT: &str = "SELECT count(*) FROM \
    (SELECT 1 AS one FROM mam_messages WHERE archive = $1 AND id > $2 AND id < $3 LIMIT $4) AS counted";
const COUNT_WITH_POSTGRES: &str = "SELECT count(*) FROM (SELECT 1 AS one FROM mam_messages \
    WHERE archive = $1 AND peer = $5 AND id > $2 AND id < $3 AND ($6 = '' OR resource = $6) LIMIT $4) AS counted";
const COUNT_WITH_SQLITE: &str = "SELECT count(*) FROM (SELECT 1 AS one FROM mam_messages INDEXED BY mam_messages_of_peer \
    WHERE archive = $1 AND peer = $5 AND id > $2 AND id < $3 AND ($6 = '' OR resource = $6) LIMIT $4) AS counted";

const HOW_MANY_POSTGRES: &str = "SELECT count(*) FROM mam_messages WHERE archive = $1 AND id = ANY($2)";
const HOW_MANY_SQLITE: &str =
    "SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN (SELECT value FROM json_each($2))";
const SOME_WITH_POSTGRES: &str = "SELECT id FROM mam_messages WHERE archive = $1 AND id = ANY($2) \
    AND ($3 = '' OR peer = $3) AND ($4 = '' OR resource = $4) ORDER BY id";
const SOME_WITH_SQLITE: &str = "SELECT id FROM mam_messages WHERE archive = $1 \
    AND id IN (SELECT value FROM json_each($2)) AND ($3 = '' OR peer = $3) AND ($4 = '' OR resource = $4) ORDER BY id";
const STANZAS_POSTGRES: &str = "SELECT id, stanza FROM mam_messages WHERE archive = $1 AND id = ANY($2) ORDER BY id";
const STANZAS_SQLITE: &str = "SELECT id, stanza FROM mam_messages \
    WHERE archive = $1 AND id IN (SELECT value FROM json_each($2)) ORDER BY id";
const SIZES_POSTGRES: &str = "SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, 0 \
    FROM mam_messages WHERE archive = $1 AND id = ANY($2) ORDER BY id";
const SIZES_SQLITE: &str = "SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, 0 \
    FROM mam_messages WHERE archive = $1 AND id IN (SELECT value FROM json_each($2)) ORDER BY id";

const ENDS: &str = "SELECT (SELECT id FROM mam_messages WHERE archive = $1 ORDER BY id LIMIT 1), \
    (SELECT id FROM mam_messages WHERE archive = $1 ORDER BY id DESC LIMIT 1)";
const NEWEST_BEGIN: &str =
    "SELECT id FROM mam_messages WHERE archive = $1 AND id > $2 ORDER BY id DESC LIMIT 1 OFFSET $3";
const REFERRED_POSTGRES: &str =
    "SELECT id FROM mam_messages WHERE archive = $1 AND peer = $2 AND reference = $3 LIMIT 8";
const REFERRED_SQLITE: &str = "SELECT id FROM mam_messages INDEXED BY mam_messages_of_peer \
    WHERE archive = $1 AND peer = $2 AND reference = $3 LIMIT 8";
const REPLACE: &str = "UPDATE mam_messages SET stanza = $3 WHERE archive = $1 AND id = $2";

// The index over all messages has an expression of its own on PostgreSQL (see the migration).
const LAST_POSTGRES: &str = "SELECT max(id + 0) FROM mam_messages";
const LAST_SQLITE: &str = "SELECT max(id) FROM mam_messages";
const SINCE_POSTGRES: &str = "SELECT m.archive, m.id, m.stanza, a.host = $1 AND a.removed_at IS NULL FROM \
    (SELECT archive, id, stanza FROM mam_messages WHERE id + 0 > $2 ORDER BY id + 0 LIMIT $3) AS m \
    JOIN mam_archives a ON a.number = m.archive ORDER BY m.id";
const SINCE_SQLITE: &str = "SELECT m.archive, m.id, m.stanza, a.host = $1 AND a.removed_at IS NULL FROM \
    (SELECT archive, id, stanza FROM mam_messages WHERE id > $2 ORDER BY id LIMIT $3) AS m \
    JOIN mam_archives a ON a.number = m.archive ORDER BY m.id";

// The oldest of each archive, so that no hole is in one that is read meanwhile (XEP-0313 §3.2).
const EXPIRED_POSTGRES: &str = "SELECT m.archive, m.id FROM mam_archives a CROSS JOIN LATERAL \
    (SELECT archive, id FROM mam_messages WHERE archive = a.number \
    AND id < CASE WHEN a.keep IS NULL THEN $4 WHEN a.keep < 0 THEN 0 ELSE $5 - a.keep * $6 END ORDER BY id LIMIT $7) AS m \
    WHERE a.host = $1 AND a.number > $2 AND a.number <= $3 AND a.removed_at IS NULL LIMIT $7";
const EXPIRED_SQLITE: &str = "SELECT m.archive, m.id FROM mam_archives a JOIN mam_messages m ON m.archive = a.number \
    WHERE a.host = $1 AND a.number > $2 AND a.number <= $3 AND a.removed_at IS NULL \
    AND m.id < CASE WHEN a.keep IS NULL THEN $4 WHEN a.keep < 0 THEN 0 ELSE $5 - a.keep * $6 END \
    ORDER BY a.number, m.id LIMIT $7";
const OF_ARCHIVE: &str = "SELECT archive, id FROM mam_messages WHERE archive = $1 LIMIT $2";
const DELETE_POSTGRES: &str = "DELETE FROM mam_messages USING UNNEST($1, $2) AS gone (archive, id) \
    WHERE mam_messages.archive = gone.archive AND mam_messages.id = gone.id";
const DELETE_SQLITE: &str = "DELETE FROM mam_messages WHERE id IN (SELECT value FROM json_each($1))";

/// A message that is to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    /// The number of its archive.
    pub archive: i64,
    /// Its id.
    pub id: i64,
    /// The hash of its direction and its sender's id.
    pub reference: i64,
    /// The bare address of who stands at the other end.
    pub peer: &'a str,
    /// His resource; empty for none.
    pub resource: &'a str,
    /// The stanza.
    pub stanza: &'a [u8],
}

/// Who stands at the other end, in a query.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// His bare address.
    pub bare: &'a str,
    /// His resource; empty for all of them.
    pub resource: &'a str,
}

/// A page as it was read: in the order of the window, and one message more than wanted when there is one.
#[derive(Debug, Default)]
pub struct Page {
    /// Its messages.
    pub rows: Vec<PageRow>,
    /// How many of the named messages the archive holds; unknown when the page is empty.
    pub named: Option<usize>,
}

/// A message of a page.
#[derive(Debug)]
pub struct PageRow {
    /// Its id.
    pub id: ArchiveId,
    /// How many bytes the stanza has.
    pub size: usize,
    /// The stanza, unless it is large.
    pub stanza: Option<Bytes>,
}

impl Store {
    /// Writes messages in one transaction; those that are there already stay as they are.
    pub async fn insert(&self, messages: &[NewMessage<'_>]) -> Result<(), StorageError> {
        match self.0.engine() {
            Engine::Postgres => {
                let column = |of: fn(&NewMessage<'_>) -> i64| messages.iter().map(of).collect::<Vec<i64>>();
                let archives = column(|message| message.archive);
                let ids = column(|message| message.id);
                let references = column(|message| message.reference);
                let peers: Vec<&str> = messages.iter().map(|message| message.peer).collect();
                let resources: Vec<&str> = messages.iter().map(|message| message.resource).collect();
                let stanzas: Vec<&[u8]> = messages.iter().map(|message| message.stanza).collect();
                let values = values![&archives, &ids, &references, &peers, &resources, &stanzas];
                self.0.execute(INSERT_MANY, values).await.map(|_| ())
            }
            Engine::Sqlite => {
                let mut transaction = self.0.begin().await?;
                for NewMessage { archive, id, reference, peer, resource, stanza } in messages {
                    let values = values![*archive, *id, *reference, *peer, *resource, *stanza];
                    transaction.execute(INSERT_ONE, values).await?;
                }
                transaction.commit().await
            }
        }
    }

    /// Reads a page of an archive, and looks after the messages (at most four) that the query has named.
    pub async fn page(
        &self,
        archive: i64,
        peer: Option<Peer<'_>>,
        window: &Window,
        named: &[ArchiveId],
    ) -> Result<Page, StorageError> {
        let Window { low, high, newest, most } = *window;
        let limit = limit(most);
        let [a, b, c, d] = four(named);
        let rows = match peer {
            None => {
                let sql = if newest { NEWEST } else { OLDEST };
                self.0.fetch_all(sql, values![archive, low, high, limit, a, b, c, d]).await?
            }
            Some(Peer { bare, resource }) => {
                let sql = match newest {
                    true => self.either(NEWEST_WITH_POSTGRES, NEWEST_WITH_SQLITE),
                    false => self.either(OLDEST_WITH_POSTGRES, OLDEST_WITH_SQLITE),
                };
                self.0.fetch_all(sql, values![archive, low, high, limit, a, b, c, d, bare, resource]).await?
            }
        };
        page_of(&rows)
    }

    /// How many messages lie in a window, counted up to `most`.
    pub async fn count(
        &self,
        archive: i64,
        peer: Option<Peer<'_>>,
        window: &Window,
        most: u32,
    ) -> Result<usize, StorageError> {
        let Window { low, high, .. } = *window;
        let row = match peer {
            None => self.0.fetch_optional(COUNT, values![archive, low, high, most]).await?,
            Some(Peer { bare, resource }) => {
                let sql = self.either(COUNT_WITH_POSTGRES, COUNT_WITH_SQLITE);
                self.0.fetch_optional(sql, values![archive, low, high, most, bare, resource]).await?
            }
        };
        number(row)
    }

    /// How many of these messages the archive holds.
    pub async fn how_many(&self, archive: i64, ids: &[ArchiveId]) -> Result<usize, StorageError> {
        let ids = numbers(ids);
        number(self.0.fetch_optional(self.either(HOW_MANY_POSTGRES, HOW_MANY_SQLITE), values![archive, &ids]).await?)
    }

    /// Those of these messages that are from or for `peer`, in order.
    pub async fn some_with(
        &self,
        archive: i64,
        ids: &[ArchiveId],
        peer: Option<Peer<'_>>,
    ) -> Result<Vec<i64>, StorageError> {
        let ids = numbers(ids);
        let Peer { bare, resource } = peer.unwrap_or(Peer { bare: "", resource: "" });
        let sql = self.either(SOME_WITH_POSTGRES, SOME_WITH_SQLITE);
        let rows = self.0.fetch_all(sql, values![archive, &ids, bare, resource]).await?;
        rows.iter().map(|row| row.integer(0)).collect()
    }

    /// These messages in order, large stanzas left out.
    pub async fn rows(&self, archive: i64, ids: &[i64]) -> Result<Vec<PageRow>, StorageError> {
        let rows = self.0.fetch_all(self.either(SIZES_POSTGRES, SIZES_SQLITE), values![archive, ids]).await?;
        Ok(page_of(&rows)?.rows)
    }

    /// These stanzas in order, however large.
    pub async fn stanzas(&self, archive: i64, ids: &[i64]) -> Result<Vec<(ArchiveId, Bytes)>, StorageError> {
        let rows = self.0.fetch_all(self.either(STANZAS_POSTGRES, STANZAS_SQLITE), values![archive, ids]).await?;
        rows.iter().map(|row| Ok((ArchiveId(row.integer(0)?), row.bytes(1)?.into()))).collect()
    }

    /// The oldest and the newest message of an archive.
    pub async fn ends(&self, archive: i64) -> Result<Option<(ArchiveId, ArchiveId)>, StorageError> {
        let Some(row) = self.0.fetch_optional(ENDS, values![archive]).await? else { return Ok(None) };
        Ok(row
            .optional_integer(0)?
            .zip(row.optional_integer(1)?)
            .map(|(first, last)| (ArchiveId(first), ArchiveId(last))))
    }

    /// Behind which id the newest `most` messages begin, of those behind `after`; none when there are no more. Walks over
    /// so many entries of the index, and reads no message.
    pub async fn newest_begin(
        &self,
        archive: i64,
        after: ArchiveId,
        most: usize,
    ) -> Result<Option<ArchiveId>, StorageError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let row = self.0.fetch_optional(NEWEST_BEGIN, values![archive, after.0, most]).await?;
        Ok(row.map(|row| row.integer(0)).transpose()?.map(ArchiveId))
    }

    /// The few messages with this peer and this reference.
    pub async fn referred(&self, archive: i64, peer: &str, reference: i64) -> Result<Vec<i64>, StorageError> {
        let rows = self
            .0
            .fetch_all(self.either(REFERRED_POSTGRES, REFERRED_SQLITE), values![archive, peer, reference])
            .await?;
        rows.iter().map(|row| row.integer(0)).collect()
    }

    /// Puts another stanza in the place of one; false when there is no message of this id.
    pub async fn replace(&self, archive: i64, id: ArchiveId, stanza: &[u8]) -> Result<bool, StorageError> {
        Ok(self.0.execute(REPLACE, values![archive, id.0, stanza]).await? > 0)
    }

    /// The newest id of all; 0 when there is none.
    pub async fn last(&self) -> Result<i64, StorageError> {
        let row = self.0.fetch_optional(self.either(LAST_POSTGRES, LAST_SQLITE), values![]).await?;
        Ok(row.map(|row| row.optional_integer(0)).transpose()?.flatten().unwrap_or(0))
    }

    /// Messages of all archives that are newer than an id, oldest first: archive, id, stanza, and whether the archive
    /// stands and is the host's.
    pub async fn since(&self, host: &str, id: i64, most: u32) -> Result<Vec<(i64, i64, Vec<u8>, bool)>, StorageError> {
        let rows = self.0.fetch_all(self.either(SINCE_POSTGRES, SINCE_SQLITE), values![host, id, most]).await?;
        rows.iter().map(|row| Ok((row.integer(0)?, row.integer(1)?, row.bytes(2)?, row.integer(3)? != 0))).collect()
    }

    /// Messages whose time is over, at most `most`, the oldest of each archive first, of the archives of a host with
    /// numbers behind `after` up to `until`. `ordinary` is the first id that stays where nothing else was decided (0: all stay), `now` the first id of now.
    pub async fn expired(
        &self,
        host: &str,
        (after, until): (i64, i64),
        (ordinary, now): (i64, i64),
        most: u32,
    ) -> Result<Vec<(i64, i64)>, StorageError> {
        let each_millisecond = IdMaker::first_of(IdMaker::milliseconds_of(0) + 1);
        let values = values![host, after, until, ordinary, now, each_millisecond, most];
        pairs(&self.0.fetch_all(self.either(EXPIRED_POSTGRES, EXPIRED_SQLITE), values).await?)
    }

    /// Some messages of an archive.
    pub async fn some_of(&self, archive: i64, most: u32) -> Result<Vec<(i64, i64)>, StorageError> {
        pairs(&self.0.fetch_all(OF_ARCHIVE, values![archive, most]).await?)
    }

    /// Deletes messages (archive and id) and their words.
    pub async fn delete(&self, messages: &[(i64, i64)]) -> Result<(), StorageError> {
        let (archives, ids): (Vec<i64>, Vec<i64>) = messages.iter().copied().unzip();
        let mut transaction: Transaction = self.0.begin().await?;
        match self.0.engine() {
            Engine::Postgres => transaction.execute(DELETE_POSTGRES, values![&archives, &ids]).await?,
            Engine::Sqlite => transaction.execute(DELETE_SQLITE, values![&ids]).await?,
        };
        self.delete_texts(&mut transaction, &ids).await?;
        transaction.commit().await
    }

    /// The statement for this engine.
    pub(super) fn either(&self, postgres: &'static str, sqlite: &'static str) -> &'static str {
        match self.0.engine() {
            Engine::Postgres => postgres,
            Engine::Sqlite => sqlite,
        }
    }
}

/// One row more than wanted tells whether there are more.
pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1)
}

/// The named messages; no message has the id 0.
pub(super) fn four(named: &[ArchiveId]) -> [Value<'static>; 4] {
    std::array::from_fn(|index| Value::Integer(named.get(index).map_or(0, |id| id.0)))
}

pub(super) fn page_of(rows: &[Row]) -> Result<Page, StorageError> {
    let mut page = Page { rows: Vec::with_capacity(rows.len()), named: None };
    for row in rows {
        page.named = Some(usize::try_from(row.integer(3)?).unwrap_or_default());
        let size = usize::try_from(row.integer(1)?).unwrap_or_default();
        let stanza = row.optional_bytes(2)?.map(Bytes::from);
        page.rows.push(PageRow { id: ArchiveId(row.integer(0)?), size, stanza });
    }
    Ok(page)
}

fn numbers(ids: &[ArchiveId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

pub(super) fn number(row: Option<Row>) -> Result<usize, StorageError> {
    let number = row.map(|row| row.integer(0)).transpose()?.unwrap_or(0);
    Ok(usize::try_from(number).unwrap_or_default())
}

fn pairs(rows: &[Row]) -> Result<Vec<(i64, i64)>, StorageError> {
    rows.iter().map(|row| Ok((row.integer(0)?, row.integer(1)?))).collect()
}
