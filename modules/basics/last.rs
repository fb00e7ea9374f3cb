//! When an account was last online (XEP-0012): one row for each account that has ever been.

use waxwing_core::address::BareJid;
use waxwing_core::storage::{Database, Migrations, StorageError, migrations, values};

/// The table.
pub const MIGRATIONS: Migrations = migrations!("basics", "0001_basics");

const WRITE: &str = "\
    INSERT INTO last_activity (account, since) VALUES ($1, $2) \
    ON CONFLICT (account) DO UPDATE SET since = excluded.since";
const READ: &str = "SELECT since FROM last_activity WHERE account = $1";
const FORGET: &str = "DELETE FROM last_activity WHERE account = $1";

/// The account's last session ended at this time, in milliseconds since 1970.
pub async fn write(database: &Database, account: &BareJid, since: i64) -> Result<(), StorageError> {
    database.execute(WRITE, values![account.as_str(), since]).await.map(drop)
}

/// When the account's last session ended.
pub async fn read(database: &Database, account: &BareJid) -> Result<Option<i64>, StorageError> {
    database.fetch_optional(READ, values![account.as_str()]).await?.map(|row| row.integer(0)).transpose()
}

/// The account is gone.
pub async fn forget(database: &Database, account: &BareJid) -> Result<(), StorageError> {
    database.execute(FORGET, values![account.as_str()]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_core::storage::on_both_engines;

    on_both_engines! {
        [MIGRATIONS];

        async fn the_newest_time_stands_until_the_account_is_gone(database: Database) {
            let romeo = BareJid::new("romeo@montague.lit").unwrap();
            assert_eq!(read(&database, &romeo).await.unwrap(), None);
            write(&database, &romeo, 1).await.unwrap();
            write(&database, &romeo, 2).await.unwrap();
            assert_eq!(read(&database, &romeo).await.unwrap(), Some(2));
            forget(&database, &romeo).await.unwrap();
            assert_eq!(read(&database, &romeo).await.unwrap(), None);
        }
    }
}
