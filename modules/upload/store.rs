//! The table of slots and files. One statement decides each question that two could ask at once.

use waxwing_core::address::BareJid;
use waxwing_storage::{Database, Engine, Migrations, Row, StorageError, migrations, values};

/// The table.
pub const MIGRATIONS: Migrations = migrations!("upload", "0001_upload");

/// Kept for ever.
pub const FOREVER: i64 = i64::MAX;

/// So often a slot is tried that others take and give back meanwhile.
const BEGINNINGS: usize = 3;

/// So long after its slot has run out a file that still comes is given up, in milliseconds.
const STUCK: i64 = 24 * 3_600_000;

const TAKE: &str = "INSERT INTO uploads \
    (token, host, account, name, media_type, size, asked_at, slot_until, keep_until, state) \
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, 0 \
    WHERE (SELECT coalesce(sum(size), 0) FROM uploads WHERE account = $3 AND asked_at > $10) + $6 <= $11 \
    AND (SELECT coalesce(sum(size), 0) FROM uploads WHERE account = $3) + $6 <= $12";
const BEGIN: &str = "UPDATE uploads SET state = 1 WHERE token = $1 AND host = $2 AND state = 0 AND slot_until > $3 \
    RETURNING name, media_type, size, keep_until";
const STATE: &str = "SELECT state FROM uploads WHERE token = $1 AND host = $2 AND (state > 0 OR slot_until > $3)";
const FINISH: &str = "UPDATE uploads SET state = 2 WHERE token = $1 AND state = 1";
const GIVE_BACK: &str = "UPDATE uploads SET state = 0 WHERE token = $1 AND state = 1";
const FIND: &str = "SELECT name, media_type, size, keep_until FROM uploads \
    WHERE token = $1 AND host = $2 AND state = 2 AND keep_until > $3";
const EXPIRED: &str = "SELECT token FROM uploads WHERE host = $1 AND keep_until <= $2 LIMIT $3";
const NOT_THERE: &str = "SELECT token FROM uploads WHERE host = $1 AND slot_until <= $2 AND state < 2 \
    AND (state = 0 OR slot_until <= $3) LIMIT $4";
const OF_ACCOUNT: &str = "UPDATE uploads SET keep_until = 0 WHERE account = $1";
const DELETE_SQLITE: &str = "DELETE FROM uploads WHERE token IN (SELECT value FROM json_each($1))";
const DELETE_POSTGRES: &str = "DELETE FROM uploads WHERE token = ANY($1)";

/// A slot that is to be given.
#[derive(Debug, Clone)]
pub struct NewSlot<'a> {
    /// The secret part of its address.
    pub token: &'a str,
    /// Whose it is.
    pub account: &'a BareJid,
    /// The file's name.
    pub name: &'a str,
    /// Its media type.
    pub media_type: &'a str,
    /// Its size.
    pub size: u64,
    /// When it was asked for.
    pub asked_at: i64,
    /// When the upload must have begun.
    pub slot_until: i64,
    /// When the file goes.
    pub keep_until: i64,
}

/// How much an account may upload.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// In a day.
    pub day: u64,
    /// Together.
    pub total: u64,
}

/// A file, or one that is to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it goes.
    pub keep_until: i64,
}

/// What a PUT finds.
#[derive(Debug, PartialEq, Eq)]
pub enum Slot {
    /// It is this one's turn, and nobody else's.
    Yours(File),
    /// It is used, or is being used.
    Used,
    /// There is none, or it has run out.
    None,
}

/// The table.
#[derive(Clone)]
pub struct Store {
    /// Where it is.
    pub database: Database,
    /// The host whose files these are.
    pub host: String,
}

impl Store {
    /// Gives a slot; false when the account has uploaded too much.
    pub async fn take(&self, slot: &NewSlot<'_>, quota: Quota) -> Result<bool, StorageError> {
        const DAY: i64 = 86_400_000;
        let (size, since) = (bounded(slot.size), slot.asked_at - DAY);
        let values = values![
            slot.token,
            self.host.as_str(),
            slot.account.as_str(),
            slot.name,
            slot.media_type,
            size,
            slot.asked_at,
            slot.slot_until,
            slot.keep_until,
            since,
            bounded(quota.day),
            bounded(quota.total)
        ];
        Ok(self.database.execute(TAKE, values).await? == 1)
    }

    /// Somebody begins to upload.
    pub async fn begin(&self, token: &str, now: i64) -> Result<Slot, StorageError> {
        let host = self.host.as_str();
        for _ in 0..BEGINNINGS {
            if let Some(row) = self.database.fetch_optional(BEGIN, values![token, host, now]).await? {
                return Ok(Slot::Yours(file(&row)?));
            }
            match self.database.fetch_optional(STATE, values![token, host, now]).await? {
                None => return Ok(Slot::None),
                Some(row) if row.integer(0)? > 0 => return Ok(Slot::Used),
                // Given back between the two statements: it can be had now.
                Some(_) => {}
            }
        }
        Ok(Slot::Used)
    }

    /// The file is there.
    pub async fn finish(&self, token: &str) -> Result<bool, StorageError> {
        Ok(self.database.execute(FINISH, values![token]).await? == 1)
    }

    /// The file has not come; the slot is free again.
    pub async fn give_back(&self, token: &str) -> Result<(), StorageError> {
        self.database.execute(GIVE_BACK, values![token]).await.map(|_| ())
    }

    /// A file that is there.
    pub async fn find(&self, token: &str, now: i64) -> Result<Option<File>, StorageError> {
        let row = self.database.fetch_optional(FIND, values![token, self.host.as_str(), now]).await?;
        row.map(|row| file(&row)).transpose()
    }

    /// What can go: files whose time has come, slots that nobody has used.
    pub async fn expired(&self, now: i64, most: u32) -> Result<Vec<String>, StorageError> {
        let (host, most) = (self.host.as_str(), i64::from(most));
        let mut rows = self.database.fetch_all(EXPIRED, values![host, now, most]).await?;
        rows.extend(self.database.fetch_all(NOT_THERE, values![host, now, now - STUCK, most]).await?);
        rows.iter().map(|row| row.text(0)).collect()
    }

    /// Forgets files that were deleted.
    pub async fn delete(&self, tokens: &[String]) -> Result<(), StorageError> {
        let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
        let sql = match self.database.engine() {
            Engine::Sqlite => DELETE_SQLITE,
            Engine::Postgres => DELETE_POSTGRES,
        };
        self.database.execute(sql, values![&tokens]).await.map(|_| ())
    }

    /// An account is gone: nobody gets its files any more, and they are deleted by and by.
    pub async fn forget(&self, account: &BareJid) -> Result<(), StorageError> {
        self.database.execute(OF_ACCOUNT, values![account.as_str()]).await.map(|_| ())
    }
}

fn bounded(bytes: u64) -> i64 {
    // Sums of two of them do not overflow either.
    i64::try_from(bytes).unwrap_or(i64::MAX).min(1 << 60)
}

fn file(row: &Row) -> Result<File, StorageError> {
    Ok(File {
        name: row.text(0)?,
        media_type: row.text(1)?,
        size: u64::try_from(row.integer(2)?).unwrap_or_default(),
        keep_until: row.integer(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_storage::on_both_engines;

    fn store(database: &Database) -> Store {
        Store { database: database.clone(), host: "capulet.lit".to_owned() }
    }

    const QUOTA: Quota = Quota { day: 100, total: 150 };

    async fn take(store: &Store, token: &str, size: u64, at: i64) -> bool {
        let account = BareJid::new("juliet@capulet.lit").unwrap();
        let slot = NewSlot {
            token,
            account: &account,
            name: "a.png",
            media_type: "image/png",
            size,
            asked_at: at,
            slot_until: at + 10,
            keep_until: at + 1000,
        };
        store.take(&slot, QUOTA).await.unwrap()
    }

    on_both_engines! {
        [MIGRATIONS];

        async fn a_slot_is_used_once(database: Database) {
            let store = store(&database);
            assert!(take(&store, "t", 10, 1000).await);
            assert_eq!(store.find("t", 1000).await.unwrap(), None, "not there yet");
            let Slot::Yours(file) = store.begin("t", 1000).await.unwrap() else { panic!("the first") };
            assert_eq!((file.name.as_str(), file.size), ("a.png", 10));
            assert_eq!(store.begin("t", 1000).await.unwrap(), Slot::Used);
            store.give_back("t").await.unwrap();
            assert!(matches!(store.begin("t", 1005).await.unwrap(), Slot::Yours(_)), "after one that broke off");
            assert!(store.finish("t").await.unwrap());
            assert_eq!(store.begin("t", 1005).await.unwrap(), Slot::Used);
            assert_eq!(store.find("t", 1999).await.unwrap().unwrap().size, 10);
            assert_eq!(store.find("t", 2000).await.unwrap(), None, "its time has come");
            assert_eq!(store.begin("other", 1000).await.unwrap(), Slot::None);
            assert!(take(&store, "late", 10, 1000).await);
            assert_eq!(store.begin("late", 1010).await.unwrap(), Slot::None, "the slot has run out");
            let elsewhere = Store { host: "montague.lit".to_owned(), ..store.clone() };
            assert_eq!(elsewhere.find("t", 1500).await.unwrap(), None);
        }

        async fn a_slot_that_is_given_back_meanwhile_is_there(database: Database) {
            let store = store(&database);
            assert!(take(&store, "t", 10, 1000).await);
            let others = store.clone();
            let (done, mut is_done) = tokio::sync::oneshot::channel::<()>();
            let other = tokio::spawn(async move {
                while is_done.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                    if let Slot::Yours(_) = others.begin("t", 1000).await.unwrap() {
                        others.give_back("t").await.unwrap();
                    }
                }
            });
            for _ in 0..300 {
                match store.begin("t", 1000).await.unwrap() {
                    Slot::Yours(_) => store.give_back("t").await.unwrap(),
                    Slot::Used => {}
                    Slot::None => panic!("the slot is there, whoever has it"),
                }
            }
            done.send(()).unwrap();
            other.await.unwrap();
        }

        async fn quotas_hold(database: Database) {
            let store = store(&database);
            const DAY: i64 = 86_400_000;
            assert!(take(&store, "a", 60, 0).await);
            assert!(!take(&store, "b", 41, 1).await, "too much for a day");
            assert!(take(&store, "c", 40, 2).await);
            assert!(take(&store, "d", 50, DAY + 10).await, "a day later");
            assert!(!take(&store, "e", 1, DAY + 20).await, "too much together");
        }

        async fn what_is_over_is_found_and_forgotten(database: Database) {
            let store = store(&database);
            for (token, at) in [("unused", 0), ("stuck", 0), ("there", 0), ("young", 5000)] {
                assert!(take(&store, token, 1, at).await);
            }
            for token in ["stuck", "there"] {
                store.begin(token, 1).await.unwrap();
            }
            store.finish("there").await.unwrap();
            assert_eq!(store.expired(500, 10).await.unwrap(), ["unused"]);
            let mut over = store.expired(1000, 10).await.unwrap();
            over.sort();
            over.dedup();
            assert_eq!(over, ["stuck", "there", "unused"]);
            store.delete(&over).await.unwrap();
            assert!(store.expired(1000, 10).await.unwrap().is_empty());
            store.forget(&BareJid::new("juliet@capulet.lit").unwrap()).await.unwrap();
            assert_eq!(store.expired(1000, 10).await.unwrap(), ["young"]);
        }
    }
}
