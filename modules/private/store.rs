//! The table of elements that clients keep for themselves.

use bytes::Bytes;
use waxwing_core::address::BareJid;
use waxwing_core::refusal::Refusal;
use waxwing_storage::{Database, Migrations, StorageError, migrations, values};

/// The table.
pub const MIGRATIONS: Migrations = migrations!("private", "0001_private");

const GET: &str = "SELECT element FROM private_elements WHERE owner = $1 AND namespace = $2 AND name = $3";
const SET: &str = "INSERT INTO private_elements (owner, namespace, name, element) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (owner, namespace, name) DO UPDATE SET element = excluded.element";
const COUNT: &str = "SELECT count(*) FROM private_elements WHERE owner = $1";
const FORGET: &str = "DELETE FROM private_elements WHERE owner = $1";

/// An element that is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// All of it.
    pub element: &'a [u8],
}

/// The elements of all accounts.
pub struct Store(pub Database);

impl Store {
    /// An element of an account.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, owner: &BareJid, namespace: &str, name: &str) -> Result<Option<Bytes>, StorageError> {
        let row = self.0.fetch_optional(GET, values![owner.as_str(), namespace, name]).await?;
        row.map(|row| row.bytes(0).map(Bytes::from)).transpose()
    }

    /// Keeps elements in place of older ones of their names, all or none; an account may have `most`.
    ///
    /// # Errors
    /// `policy-violation` when they would be too many; when the database does not answer.
    pub async fn set(&self, owner: &BareJid, elements: &[Kept<'_>], most: usize) -> Result<(), Refusal> {
        let mut transaction = self.0.begin().await?;
        // A few, in one transaction: clients set one at a time.
        for Kept { namespace, name, element } in elements {
            transaction.execute(SET, values![owner.as_str(), *namespace, *name, *element]).await?;
        }
        let row = transaction.fetch_optional(COUNT, values![owner.as_str()]).await?;
        let count = row.map_or(Ok(0), |row| row.integer(0))?;
        if usize::try_from(count).unwrap_or(usize::MAX) > most {
            transaction.rollback().await?;
            return Err(Refusal::policy_violation().saying(format!("an account may keep {most} elements")));
        }
        Ok(transaction.commit().await?)
    }

    /// Deletes everything of an account.
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

    fn kept<'a>(namespace: &'a str, element: &'a str) -> Kept<'a> {
        Kept { namespace, name: "x", element: element.as_bytes() }
    }

    on_both_engines! {
        [MIGRATIONS];

        async fn an_element_of_each_name_is_kept(database: Database) {
            let store = Store(database);
            let [juliet, nurse] = ["juliet@capulet.lit", "nurse@capulet.lit"].map(|jid| BareJid::new(jid).unwrap());
            store.set(&juliet, &[kept("urn:a", "<a/>"), kept("urn:b", "<b/>")], 2).await.unwrap();
            store.set(&juliet, &[kept("urn:a", "<c/>")], 2).await.unwrap();
            assert_eq!(store.get(&juliet, "urn:a", "x").await.unwrap().as_deref(), Some(&b"<c/>"[..]));
            assert_eq!(store.get(&juliet, "urn:a", "y").await.unwrap(), None);
            assert_eq!(store.get(&nurse, "urn:a", "x").await.unwrap(), None);
            assert!(store.set(&juliet, &[kept("urn:a", "<d/>"), kept("urn:c", "<d/>")], 2).await.is_err());
            assert_eq!(store.get(&juliet, "urn:a", "x").await.unwrap().as_deref(), Some(&b"<c/>"[..]));
            store.set(&nurse, &[kept("urn:a", "<n/>")], 2).await.unwrap();
            store.forget(&juliet).await.unwrap();
            assert_eq!(store.get(&juliet, "urn:b", "x").await.unwrap(), None);
            assert!(store.get(&nurse, "urn:a", "x").await.unwrap().is_some());
        }
    }
}
