//! The one who writes messages down: gathers what many tasks bring, gives the ids, and wakes them after the commit.
//!
//! Ids are given in the moment of writing and by one writer, so in every archive they increase in the order of the
//! commits: who has read up to an id has missed nothing before it.

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

/// What the writer decides, and whoever waits for it reads.
#[derive(Default)]
pub struct Place {
    id: OnceLock<i64>,
    turn: Mutex<Option<Turn>>,
}

/// Writes messages of many callers in common transactions.
pub struct Writer {
    commit: GroupCommit<Row>,
}

struct Messages {
    store: Store,
    next_id: NextId,
    turns: Turns,
    indexer: Option<Arc<Indexer>>,
}

impl Writer {
    /// Starts the writer. `batch` is how many messages are written in one transaction at most.
    pub fn start(store: Store, next_id: NextId, indexer: Option<Arc<Indexer>>, batch: usize) -> Writer {
        // One lane: the words are followed by a single cursor, and one connection writes more than a node delivers.
        let settings = GroupCommitSettings { batch_rows: batch, lanes: 1, ..GroupCommitSettings::default() };
        let database = store.0.clone();
        let messages = Messages { store, next_id, turns: Turns::default(), indexer };
        Writer { commit: GroupCommit::start(database, &settings, messages) }
    }

    /// Takes a message; its place in the order is certain then, and it will be committed or refused.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] when too many wait already. It will not be written.
    pub async fn submit(&self, row: Row) -> Result<Pending, StorageError> {
        let place = row.place.clone();
        Ok(Pending { receipt: self.commit.submit(row).await?, place })
    }
}

/// A message that is being written.
pub struct Pending {
    receipt: Receipt,
    place: Arc<Place>,
}

impl Pending {
    /// Waits for the commit, and tells what became of the message. The turn is there if one was wished for.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn committed(self) -> Result<(ArchiveId, Option<Turn>), StorageError> {
        self.receipt.committed().await?;
        let id = self.place.id.get().copied();
        let id = id.ok_or_else(|| StorageError::Other("a row was written without an id".to_owned()))?;
        Ok((ArchiveId(id), self.place.turn.lock().take()))
    }

    /// Leaves the waiting to somebody else, who needs neither the id nor the turn: that is over with the commit.
    pub fn into_receipt(self) -> Receipt {
        self.receipt
    }
}

impl Batch<Row> for Messages {
    async fn write(&self, _database: &Database, rows: &[Row]) -> Result<(), StorageError> {
        let mut newest = 0;
        let messages: Vec<NewMessage<'_>> = rows
            .iter()
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
            let texts = rows.iter().zip(&messages).filter_map(|(row, message)| {
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

    fn size(&self, row: &Row) -> usize {
        let words = row.words.as_ref().map_or(0, String::len);
        size_of::<Row>() + row.stanza.len() + row.peer.len() + row.resource.len() + words
    }
}
