//! The table of last activity: when an account's last session ended, and what was said then (XEP-0012 §3).

use std::collections::HashMap;

use waxwing_core::address::BareJid;
use waxwing_core::storage::{Batch, Database, Engine, Migrations, StorageError, migrations, values};

/// The table.
pub const MIGRATIONS: Migrations = migrations!("basics", "0001_basics", "0002_last_words");

const READ: &str = "SELECT since, status FROM last_activity WHERE account = $1";
const WRITE: &str = "\
    INSERT INTO last_activity (account, since, status) VALUES ($1, $2, $3) \
    ON CONFLICT (account) DO UPDATE SET since = excluded.since, status = excluded.status";
const WRITE_MANY: &str = "\
    INSERT INTO last_activity (account, since, status) \
    SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::text[]) \
    ON CONFLICT (account) DO UPDATE SET since = excluded.since, status = excluded.status";
const DELETE: &str = "DELETE FROM last_activity WHERE account = $1";

/// The end of an account's last session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The account.
    pub account: BareJid,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What its client said when it went; empty when it said nothing.
    pub status: String,
}

impl Ended {
    /// How many of them are written: when a server is shut down, everyone's last session ends at once.
    pub fn batch() -> impl Batch<Ended> {
        Ends
    }
}

struct Ends;

impl Batch<Ended> for Ends {
    async fn write(&self, database: &Database, rows: &[Ended]) -> Result<(), StorageError> {
        // Of several ends of one account the last counts; PostgreSQL refuses to write a row twice in one statement.
        let mut last: HashMap<&BareJid, &Ended> = HashMap::with_capacity(rows.len());
        last.extend(rows.iter().map(|row| (&row.account, row)));
        let mut rows: Vec<&Ended> = last.into_values().collect();
        // In one order for all, so that two servers that write the same accounts do not wait for each other.
        rows.sort_by(|one, other| one.account.cmp(&other.account));
        match database.engine() {
            Engine::Postgres => {
                let accounts: Vec<&str> = rows.iter().map(|row| row.account.as_str()).collect();
                let times: Vec<i64> = rows.iter().map(|row| row.at).collect();
                let status: Vec<&str> = rows.iter().map(|row| row.status.as_str()).collect();
                database.execute(WRITE_MANY, values![&accounts, &times, &status]).await?;
            }
            Engine::Sqlite => {
                let mut transaction = database.begin().await?;
                for row in rows {
                    transaction.execute(WRITE, values![row.account.as_str(), row.at, &row.status]).await?;
                }
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

/// The table.
pub struct Store(pub Database);

impl Store {
    /// When the account's last session ended; `None` when none ever did.
    pub async fn read(&self, account: &BareJid) -> Result<Option<Ended>, StorageError> {
        let row = self.0.fetch_optional(READ, values![account.as_str()]).await?;
        row.map(|row| Ok(Ended { account: account.clone(), at: row.integer(0)?, status: row.text(1)? })).transpose()
    }

    /// Deletes what is known of an account.
    pub async fn delete(&self, account: &BareJid) -> Result<(), StorageError> {
        self.0.execute(DELETE, values![account.as_str()]).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use waxwing_core::storage::on_both_engines;

    use super::*;

    fn ended(name: &str, at: i64, status: &str) -> Ended {
        let account = BareJid::new(&format!("{name}@montague.lit")).expect("an address");
        Ended { account, at, status: status.to_owned() }
    }

    on_both_engines! {
        [MIGRATIONS];

        async fn the_last_end_of_each_account_is_kept(database: Database) {
            let store = Store(database.clone());
            let (first, second) = (ended("romeo", 1_000, "Heading Home 'x'"), ended("romeo", 2_000, ""));
            let other = ended("benvolio", 1_500, "жду");
            assert_eq!(store.read(&first.account).await.unwrap(), None);
            let batch = Ended::batch();
            batch.write(&database, &[first.clone(), other.clone()]).await.unwrap();
            assert_eq!(store.read(&first.account).await.unwrap(), Some(first.clone()));
            batch.write(&database, &[first.clone(), second.clone()]).await.unwrap();
            assert_eq!(store.read(&first.account).await.unwrap(), Some(second));
            assert_eq!(store.read(&other.account).await.unwrap(), Some(other.clone()));
            store.delete(&first.account).await.unwrap();
            assert_eq!(store.read(&first.account).await.unwrap(), None);
            assert_eq!(store.read(&other.account).await.unwrap(), Some(other));
        }
    }
}
