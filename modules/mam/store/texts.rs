//! The words of messages (XEP-0431): a side table, because words in the hot one cost more than the message itself.
//!
//! Beside the words of a message stands its archive as a word of its own, so that the index alone tells what is in one
//! archive: a frequent word in a million foreign messages costs nothing.

use waxwing_core::archive::ArchiveId;
use waxwing_storage::{Engine, StorageError, Transaction, values};

use super::messages::{four, limit, page_of};
use super::{Page, Peer, Store, words};
use crate::paging::Window;

// The same columns as a page without words. SQLite is made to look up the words first, so that no wrong guess of how rare
// they are becomes a walk through an archive.
const OLDEST_SQLITE: &str = "SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, \
    (SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN ($5, $6, $7, $8)) \
    FROM mam_texts CROSS JOIN mam_messages ON id = mam_texts.rowid \
    WHERE mam_texts MATCH $11 AND mam_texts.rowid > $2 AND mam_texts.rowid < $3 AND mam_messages.archive = $1 \
    AND ($9 = '' OR peer = $9) AND ($10 = '' OR resource = $10) ORDER BY mam_texts.rowid LIMIT $4";
const NEWEST_SQLITE: &str = "SELECT id, length(stanza), CASE WHEN length(stanza) <= 65536 THEN stanza END, \
    (SELECT count(*) FROM mam_messages WHERE archive = $1 AND id IN ($5, $6, $7, $8)) \
    FROM mam_texts CROSS JOIN mam_messages ON id = mam_texts.rowid \
    WHERE mam_texts MATCH $11 AND mam_texts.rowid > $2 AND mam_texts.rowid < $3 AND mam_messages.archive = $1 \
    AND ($9 = '' OR peer = $9) AND ($10 = '' OR resource = $10) ORDER BY mam_texts.rowid DESC LIMIT $4";
const COUNT_SQLITE: &str = "SELECT count(*) FROM (SELECT 1 AS one \
    FROM mam_texts CROSS JOIN mam_messages ON id = mam_texts.rowid \
    WHERE mam_texts MATCH $7 AND mam_texts.rowid > $2 AND mam_texts.rowid < $3 AND mam_messages.archive = $1 \
    AND ($5 = '' OR peer = $5) AND ($6 = '' OR resource = $6) LIMIT $4) AS counted";

const WRITE_POSTGRES: &str = "INSERT INTO mam_texts (id, words) \
    SELECT id, to_tsvector(CAST($4 AS REGCONFIG), body) || array_to_tsvector(ARRAY['@' || CAST(archive AS TEXT)]) \
    FROM UNNEST($1, $2, $3) AS fresh (archive, id, body) ON CONFLICT (id) DO UPDATE SET words = excluded.words";
const WRITE_SQLITE: &str = "INSERT OR REPLACE INTO mam_texts (rowid, body, archive) VALUES ($1, $2, $3)";
const DELETE_POSTGRES: &str = "DELETE FROM mam_texts WHERE id = ANY($1)";
const DELETE_SQLITE: &str = "DELETE FROM mam_texts WHERE rowid IN (SELECT value FROM json_each($1))";

const READ_CURSOR: &str = "SELECT id, language FROM mam_cursors WHERE host = $1 AND writer = $2";
const BEGIN_CURSOR: &str = "INSERT INTO mam_cursors (host, writer, language, id) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (host, writer) DO UPDATE SET language = excluded.language, id = excluded.id";
const MOVE_CURSOR: &str = "UPDATE mam_cursors SET id = $3 WHERE host = $1 AND writer = $2 AND id < $3";
const KNOWS_LANGUAGE: &str = "SELECT count(*) FROM pg_ts_config WHERE cfgname = $1";

/// The words of a message that are to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The number of its archive.
    pub archive: i64,
    /// Its id.
    pub id: i64,
    /// What was said.
    pub body: String,
}

/// How far the words of a host's archives are there.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    /// The host.
    pub host: &'a str,
    /// Which node has stored the messages.
    pub writer: i64,
    /// How words are cut.
    pub language: &'a str,
}

/// The expression for SQLite: each word a string in quotes, so that nothing in it is syntax.
fn match_of(archive: i64, words: &[String]) -> String {
    let mut expression = format!("archive : \"a{archive}\"");
    for word in words {
        expression.push_str(" AND body : \"");
        expression.push_str(&word.replace('"', "\"\""));
        expression.push('"');
    }
    expression
}

impl Store {
    /// Reads a page of the messages of an archive that have all of these words.
    #[allow(clippy::too_many_arguments, reason = "a page of words is asked for by all that")]
    pub async fn found(
        &self,
        archive: i64,
        peer: Option<Peer<'_>>,
        window: &Window,
        named: &[ArchiveId],
        words: &[String],
        language: &str,
    ) -> Result<Page, StorageError> {
        let Window { low, high, newest, most } = *window;
        let Peer { bare, resource } = peer.unwrap_or(Peer { bare: "", resource: "" });
        let limit = limit(most);
        let [a, b, c, d] = four(named);
        let rows = match self.0.engine() {
            Engine::Postgres => {
                let (words, of_archive) = (words.join(" "), format!("'@{archive}'"));
                let values =
                    values![archive, low, high, limit, a, b, c, d, bare, resource, language, words, of_archive];
                let sql = match (newest, bare.is_empty()) {
                    (true, true) => words::NEWEST,
                    (false, true) => words::OLDEST,
                    (true, false) => words::NEWEST_WITH,
                    (false, false) => words::OLDEST_WITH,
                };
                self.0.fetch_all(sql, values).await?
            }
            Engine::Sqlite => {
                let values = values![archive, low, high, limit, a, b, c, d, bare, resource, match_of(archive, words)];
                self.0.fetch_all(if newest { NEWEST_SQLITE } else { OLDEST_SQLITE }, values).await?
            }
        };
        page_of(&rows)
    }

    /// How many messages of a window have all of these words, counted up to `most`; `most` also when counting them would
    /// take long.
    pub async fn count_found(
        &self,
        archive: i64,
        peer: Option<Peer<'_>>,
        window: &Window,
        words: &[String],
        language: &str,
        most: u32,
    ) -> Result<usize, StorageError> {
        let Window { low, high, .. } = *window;
        let Peer { bare, resource } = peer.unwrap_or(Peer { bare: "", resource: "" });
        let row = match self.0.engine() {
            Engine::Postgres => {
                let (words, of_archive) = (words.join(" "), format!("'@{archive}'"));
                let values = values![archive, low, high, most, bare, resource, language, words, of_archive];
                let sql = if bare.is_empty() { words::COUNT } else { words::COUNT_WITH };
                self.0.fetch_optional(sql, values).await?
            }
            Engine::Sqlite => {
                let values = values![archive, low, high, most, bare, resource, match_of(archive, words)];
                self.0.fetch_optional(COUNT_SQLITE, values).await?
            }
        };
        super::messages::number(row)
    }

    /// Writes words, and that everything up to `until` is there now.
    pub async fn write_texts(&self, cursor: Cursor<'_>, texts: &[Text], until: i64) -> Result<(), StorageError> {
        let mut transaction = self.0.begin().await?;
        match self.0.engine() {
            Engine::Postgres if !texts.is_empty() => {
                let archives: Vec<i64> = texts.iter().map(|text| text.archive).collect();
                let ids: Vec<i64> = texts.iter().map(|text| text.id).collect();
                let bodies: Vec<&str> = texts.iter().map(|text| text.body.as_str()).collect();
                transaction.execute(WRITE_POSTGRES, values![&archives, &ids, &bodies, cursor.language]).await?;
            }
            Engine::Postgres => {}
            Engine::Sqlite => {
                for Text { archive, id, body } in texts {
                    transaction.execute(WRITE_SQLITE, values![*id, body, format!("a{archive}")]).await?;
                }
            }
        }
        transaction.execute(MOVE_CURSOR, values![cursor.host, cursor.writer, until]).await?;
        transaction.commit().await
    }

    /// Deletes the words of messages.
    pub(super) async fn delete_texts(&self, transaction: &mut Transaction, ids: &[i64]) -> Result<(), StorageError> {
        transaction.execute(self.either(DELETE_POSTGRES, DELETE_SQLITE), values![ids]).await.map(|_| ())
    }

    /// The words of a message are gone.
    pub async fn unsay(&self, id: ArchiveId) -> Result<(), StorageError> {
        let ids = [id.0];
        self.0.execute(self.either(DELETE_POSTGRES, DELETE_SQLITE), values![&ids[..]]).await.map(|_| ())
    }

    /// Up to which id the words are there. From the beginning when nobody has begun, or when words are cut otherwise now.
    pub async fn begin_texts(&self, cursor: Cursor<'_>) -> Result<i64, StorageError> {
        let Cursor { host, writer, language } = cursor;
        if let Some(row) = self.0.fetch_optional(READ_CURSOR, values![host, writer]).await?
            && row.text(1)? == language
        {
            return row.integer(0);
        }
        self.0.execute(BEGIN_CURSOR, values![host, writer, language, 0]).await?;
        Ok(0)
    }

    /// Whether words can be cut as this language wants.
    pub async fn knows_language(&self, language: &str) -> Result<bool, StorageError> {
        if self.0.engine() == Engine::Sqlite {
            return Ok(true);
        }
        Ok(super::messages::number(self.0.fetch_optional(KNOWS_LANGUAGE, values![language]).await?)? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s35_a_search_has_no_syntax() {
        let words = ["\"", "a\" OR \"b", "NEAR(", "x*", "-archive", "^"].map(str::to_owned);
        let expression = match_of(7, &words);
        assert_eq!(
            expression,
            "archive : \"a7\" AND body : \"\"\"\" AND body : \"a\"\" OR \"\"b\" AND body : \"NEAR(\" AND body : \"x*\" \
             AND body : \"-archive\" AND body : \"^\""
        );
    }
}
