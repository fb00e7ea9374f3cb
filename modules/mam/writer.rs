//! The one who writes messages down: gathers what many tasks bring, gives the ids, and wakes them after the commit.
//!
//! Ids are given in the moment of writing and by one writer, so in every archive they increase in the order of the
//! commits: who has read up to an id has missed nothing before it. The two copies of a message, the sender's and the
//! recipient's, are one unit: both are written or none is.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use waxwing_core::archive::ArchiveId;
use waxwing_storage::{Batch, Database, GroupCommit, GroupCommitSettings, Receipt, StorageError};

use crate::search::Indexer;
use crate::store::{NewMessage, Store, Text};
use crate::turns::{Turn, Turns};

/// Gives the next id, greater than all before.
pub type NextId = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A message on its way into the database.
pub struct Row {
    /// The number of its archive.
    pub archive: i64,
    /// The bare address of who stands at the other end.
    pub peer: Box<str>,
    /// His resource; empty for none.
    pub resource: Box<str>,
    /// The hash of its direction and its sender's id.
    pub reference: i64,
    /// The stanza.
    pub stanza: Vec<u8>,
    /// Its words, where they can be searched.
    pub words: Option<String>,
    /// Whether its delivery has to wait for that of the messages before it.
    pub in_turn: bool,
    /// What the writer decides of it; nothing yet.
    pub place: Arc<Place>,
}

impl Row {
    /// Its archive and its id; no id if it was never tried to be written.
    fn key(&self) -> Option<(i64, i64)> {
        Some((self.archive, *self.place.id.get()?))
    }
}

/// Messages that are written together or not at all.
struct Unit(Vec<Row>);

/// What the writer decides, and whoever waits for it reads.
#[derive(Default)]
pub struct Place {
    id: OnceLock<i64>,
    turn: Mutex<Option<Turn>>,
}

/// Writes messages of many callers in common transactions.
pub struct Writer {
    commit: GroupCommit<Unit>,
}

struct Messages {
    store: Store,
    next_id: NextId,
    turns: Turns,
    indexer: Option<Arc<Indexer>>,
}

impl Writer {
    /// Starts the writer. `batch` is how many units are written in one transaction at most.
    pub fn start(store: Store, next_id: NextId, indexer: Option<Arc<Indexer>>, batch: usize) -> Writer {
        // One lane: the words are followed by a single cursor, and one connection writes more than a node delivers.
        let settings = GroupCommitSettings { batch_rows: batch, lanes: 1, ..GroupCommitSettings::default() };
        let database = store.0.clone();
        let messages = Messages { store, next_id, turns: Turns::default(), indexer };
        Writer { commit: GroupCommit::start(database, &settings, messages) }
    }

    /// Takes messages that are to be written together; their place in the order is certain then, and all of them will be
    /// committed or refused.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when too many wait already. They will not be written.
    pub async fn submit(&self, rows: Vec<Row>) -> Result<Pending, StorageError> {
        let places = rows.iter().map(|row| row.place.clone()).collect();
        Ok(Pending { receipt: self.commit.submit(Unit(rows)).await?, places })
    }

    /// Waits until it is known of every message whether it is stored: for whoever is about to read.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when that takes too long.
    pub async fn settled(&self) -> Result<(), StorageError> {
        self.commit.settled().await
    }
}

/// Messages that are being written.
pub struct Pending {
    receipt: Receipt,
    places: Vec<Arc<Place>>,
}

impl Pending {
    /// Waits for the commit, and tells what became of each message, in their order. The turn is there if one was wished for.
    ///
    /// # Errors
    /// What storage failed with. None of them is stored then.
    pub async fn committed(self) -> Result<Vec<(ArchiveId, Option<Turn>)>, StorageError> {
        self.receipt.committed().await?;
        let told = self.places.iter().map(|place| {
            let id = place.id.get().copied();
            let id = id.ok_or_else(|| StorageError::Other("a row was written without an id".to_owned()))?;
            Ok((ArchiveId(id), place.turn.lock().take()))
        });
        told.collect()
    }
}

impl Batch<Unit> for Messages {
    async fn write(&self, _database: &Database, units: &[Unit]) -> Result<(), StorageError> {
        let mut newest = 0;
        let rows = || units.iter().flat_map(|Unit(rows)| rows);
        let messages: Vec<NewMessage<'_>> = rows()
            .map(|row| {
                // When the same rows are tried again they keep their ids.
                let id = *row.place.id.get_or_init(|| {
                    if row.in_turn {
                        *row.place.turn.lock() = Some(self.turns.take(row.archive));
                    }
                    (self.next_id)()
                });
                newest = id;
                let Row { archive, peer, resource, reference, stanza, .. } = row;
                NewMessage { archive: *archive, id, reference: *reference, peer, resource, stanza }
            })
            .collect();
        self.store.insert(&messages).await?;
        if let Some(indexer) = &self.indexer {
            let texts = rows().zip(&messages).filter_map(|(row, message)| {
                let body = row.words.clone()?;
                Some(Text { archive: row.archive, id: message.id, body })
            });
            indexer.hand_over(newest, texts);
        }
        Ok(())
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn can_undo(&self) -> bool {
        true
    }

    async fn undo(&self, _database: &Database, units: &[Unit]) -> Result<(), StorageError> {
        let keys: Vec<(i64, i64)> = units.iter().flat_map(|Unit(rows)| rows).filter_map(Row::key).collect();
        self.store.delete(&keys).await
    }

    fn refused(&self, Unit(rows): &Unit) {
        // Nobody waits for the delivery of what is not delivered.
        for row in rows {
            drop(row.place.turn.lock().take());
        }
    }

    fn size(&self, Unit(rows): &Unit) -> usize {
        let size = |row: &Row| {
            let words = row.words.as_ref().map_or(0, String::len);
            size_of::<Row>() + row.stanza.len() + row.peer.len() + row.resource.len() + words
        };
        rows.iter().map(size).sum()
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
