//! The table of cards.

use bytes::Bytes;
use waxwing_core::address::BareJid;
use waxwing_storage::{Database, Migrations, StorageError, migrations, values};

/// The table.
pub const MIGRATIONS: Migrations = migrations!("vcard", "0001_vcards");

const GET: &str = "SELECT card, photo, revision FROM vcards WHERE owner = $1";
const PHOTO: &str = "SELECT photo FROM vcards WHERE owner = $1";
const SET: &str = "INSERT INTO vcards (owner, card, photo, revision) VALUES ($1, $2, $3, 1) \
    ON CONFLICT (owner) DO UPDATE SET card = excluded.card, photo = excluded.photo, revision = vcards.revision + 1";
const ADD: &str =
    "INSERT INTO vcards (owner, card, photo, revision) VALUES ($1, $2, $3, 1) ON CONFLICT (owner) DO NOTHING";
const REPLACE: &str =
    "UPDATE vcards SET card = $2, photo = $3, revision = revision + 1 WHERE owner = $1 AND revision = $4";
const FORGET: &str = "DELETE FROM vcards WHERE owner = $1";

/// A card as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// The element.
    pub card: Bytes,
    /// The hash of the picture in it.
    pub photo: Option<String>,
    /// How often it was changed.
    pub revision: i64,
}

/// The cards of all accounts.
pub struct Store(pub Database);

impl Store {
    /// The card of an account.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, owner: &BareJid) -> Result<Option<Kept>, StorageError> {
        let Some(row) = self.0.fetch_optional(GET, values![owner.as_str()]).await? else { return Ok(None) };
        Ok(Some(Kept { card: row.bytes(0)?.into(), photo: row.optional_text(1)?, revision: row.integer(2)? }))
    }

    /// The hash of the picture of an account.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn photo(&self, owner: &BareJid) -> Result<Option<String>, StorageError> {
        let row = self.0.fetch_optional(PHOTO, values![owner.as_str()]).await?;
        row.map_or(Ok(None), |row| row.optional_text(0))
    }

    /// Keeps a card in place of an older one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set(&self, owner: &BareJid, card: &[u8], photo: Option<&str>) -> Result<(), StorageError> {
        self.0.execute(SET, values![owner.as_str(), card, photo]).await.map(|_| ())
    }

    /// As [`Store::set`], if the card is still the one that was read; whether it was.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn replace(
        &self,
        owner: &BareJid,
        read: Option<&Kept>,
        card: &[u8],
        photo: Option<&str>,
    ) -> Result<bool, StorageError> {
        let changed = match read {
            None => self.0.execute(ADD, values![owner.as_str(), card, photo]).await?,
            Some(read) => self.0.execute(REPLACE, values![owner.as_str(), card, photo, read.revision]).await?,
        };
        Ok(changed > 0)
    }

    /// Deletes the card of an account.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget(&self, owner: &BareJid) -> Result<(), StorageError> {
        self.0.execute(FORGET, values![owner.as_str()]).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waxwing_storage::on_both_engines;

    on_both_engines! {
        [MIGRATIONS];

        async fn each_account_has_one_card(database: Database) {
            let store = Store(database);
            let [juliet, nurse] = ["juliet@capulet.lit", "nurse@capulet.lit"].map(|jid| BareJid::new(jid).unwrap());
            assert_eq!(store.get(&juliet).await.unwrap(), None);
            store.set(&juliet, b"<a/>", None).await.unwrap();
            store.set(&juliet, b"<b/>", Some("hash")).await.unwrap();
            let kept = store.get(&juliet).await.unwrap().unwrap();
            assert_eq!(kept, Kept { card: Bytes::from_static(b"<b/>"), photo: Some("hash".to_owned()), revision: 2 });
            assert_eq!(store.photo(&juliet).await.unwrap().as_deref(), Some("hash"));
            assert_eq!(store.photo(&nurse).await.unwrap(), None);
            store.set(&nurse, b"<n/>", None).await.unwrap();
            store.forget(&juliet).await.unwrap();
            assert_eq!(store.get(&juliet).await.unwrap(), None);
            assert!(store.get(&nurse).await.unwrap().is_some());
        }

        async fn a_card_that_has_changed_meanwhile_is_not_replaced(database: Database) {
            let store = Store(database);
            let juliet = BareJid::new("juliet@capulet.lit").unwrap();
            assert!(store.replace(&juliet, None, b"<a/>", None).await.unwrap());
            assert!(!store.replace(&juliet, None, b"<b/>", None).await.unwrap());
            let read = store.get(&juliet).await.unwrap().unwrap();
            store.set(&juliet, b"<c/>", None).await.unwrap();
            assert!(!store.replace(&juliet, Some(&read), b"<d/>", None).await.unwrap());
            let read = store.get(&juliet).await.unwrap().unwrap();
            assert!(store.replace(&juliet, Some(&read), b"<d/>", Some("hash")).await.unwrap());
            assert_eq!(store.photo(&juliet).await.unwrap().as_deref(), Some("hash"));
        }
    }
}
