//! Which picture an account has, known without asking the database: every presence says it.

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use waxwing_core::address::BareJid;
use waxwing_storage::StorageError;

use crate::store::Store;

/// The hashes of pictures. Nothing is locked while the database works: who reads while somebody changes does not remember
/// what he has read.
pub struct Photos {
    known: Cache<BareJid, Option<Box<str>>>,
    /// How many changes there were.
    changes: Mutex<u64>,
}

impl Photos {
    /// With room for so many accounts.
    pub fn new(most: usize) -> Photos {
        Photos { known: Cache::new(most), changes: Mutex::default() }
    }

    /// The hash of an account's picture.
    ///
    /// # Errors
    /// When it is not known, and the database does not answer.
    pub async fn of(&self, store: &Store, account: &BareJid) -> Result<Option<Box<str>>, StorageError> {
        if let Some(known) = self.known.get(account) {
            return Ok(known);
        }
        let before = *self.changes.lock();
        let read = store.photo(account).await?.map(String::into_boxed_str);
        let changes = self.changes.lock();
        if *changes == before {
            self.known.insert(account.clone(), read.clone());
        }
        Ok(read)
    }

    /// An account may have another picture now. Told after the commit.
    pub fn forget(&self, account: &BareJid) {
        let mut changes = self.changes.lock();
        *changes += 1;
        self.known.remove(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MIGRATIONS;
    use waxwing_storage::{Database, on_both_engines};

    on_both_engines! {
        [MIGRATIONS];

        async fn a_picture_is_known_until_it_changes(database: Database) {
            let (store, photos) = (Store(database), Photos::new(10));
            let juliet = BareJid::new("juliet@capulet.lit").unwrap();
            assert_eq!(photos.of(&store, &juliet).await.unwrap(), None);
            store.set(&juliet, b"<a/>", Some("1")).await.unwrap();
            assert_eq!(photos.of(&store, &juliet).await.unwrap(), None);
            photos.forget(&juliet);
            assert_eq!(photos.of(&store, &juliet).await.unwrap().as_deref(), Some("1"));
            // Nobody remembers what he has read before a change that is told while he reads.
            photos.forget(&juliet);
            let mut reading = std::pin::pin!(photos.of(&store, &juliet));
            let waker = std::task::Waker::noop();
            let read = reading.as_mut().poll(&mut std::task::Context::from_waker(waker));
            store.set(&juliet, b"<b/>", Some("2")).await.unwrap();
            photos.forget(&juliet);
            if read.is_pending() {
                let _ = reading.await;
            }
            assert_eq!(photos.of(&store, &juliet).await.unwrap().as_deref(), Some("2"));
        }
    }
}
