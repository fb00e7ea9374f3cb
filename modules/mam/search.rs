//! Fills the table of words in the background (XEP-0431): seconds behind, and caught up after a crash.
//!
//! What was committed is handed over in memory, so nothing is read twice. When too much waits, or a write fails, or the
//! server starts, the words are read from the archive instead, from the id on up to which they are known to be there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use waxwing_core::archive::ArchiveId;
use waxwing_core::stanza::{Stanza, element};
use waxwing_storage::StorageError;

use crate::store::{Cursor, Store, Text};
use crate::worth;

/// How long words may gather: the search is behind by so much.
const GATHER: Duration = Duration::from_millis(500);
/// How many messages are written, or read again, at a time.
const BATCH: usize = 250;
/// How much may wait in memory.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// After a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// The cursor is moved over messages without words when nothing else moves it for so long.
const IDLE: Duration = Duration::from_secs(60);
/// Progress is told after so many messages.
const REPORT: usize = 100_000;

/// The one who writes the words of a host's archives.
pub struct Indexer {
    store: Store,
    host: String,
    language: String,
    /// The node whose messages these are; it is part of their ids.
    writer: i64,
    waiting: Mutex<Waiting>,
    news: Notify,
    /// Held while words are written or taken away: so none come back after they were unsaid.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    texts: Vec<Text>,
    bytes: usize,
    /// The newest message that was committed, with words or without.
    newest: i64,
    /// Something was not handed over: it must be read from the archive.
    behind: bool,
    /// When the cursor was last moved.
    moved: Option<Instant>,
}

impl Indexer {
    /// Makes one for the archives of a host, whose ids carry the number of the node that `id` carries.
    pub fn new(store: Store, host: &str, language: &str, id: i64) -> Indexer {
        Indexer {
            store,
            host: host.to_owned(),
            language: language.to_owned(),
            // Bits 12 to 21 of an id name the node.
            writer: id >> 12 & 0x3ff,
            waiting: Mutex::new(Waiting { behind: true, ..Waiting::default() }),
            news: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// How words are cut.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// Messages were committed; the newest of them, and the words of those that have some.
    pub fn hand_over(&self, newest: i64, texts: impl Iterator<Item = Text>) {
        let mut waiting = self.waiting.lock();
        waiting.newest = waiting.newest.max(newest);
        if !waiting.behind {
            for text in texts {
                waiting.bytes += text.body.len() + size_of::<Text>();
                waiting.texts.push(text);
            }
            if waiting.bytes > MOST_BYTES {
                waiting.behind = true;
                waiting.texts = Vec::new();
                waiting.bytes = 0;
            }
        }
        drop(waiting);
        self.news.notify_one();
    }

    /// The words of a message must not be found any more.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn unsay(&self, id: ArchiveId) -> Result<(), StorageError> {
        let _writing = self.writing.lock().await;
        self.waiting.lock().texts.retain(|text| text.id != id.0);
        self.store.unsay(id).await
    }

    /// Works until the house is shut down, and writes what waits then.
    pub async fn run(self: Arc<Self>, stopped: CancellationToken) {
        loop {
            if let Err(error) = self.work().await {
                if !error.is_unavailable() {
                    tracing::error!(host = self.host, %error, "mam.search_not_written");
                }
                self.waiting.lock().behind = true;
                if stopped.run_until_cancelled(sleep(PAUSE)).await.is_none() {
                    return;
                }
                continue;
            }
            let news = timeout(IDLE, self.news.notified());
            if stopped.run_until_cancelled(news).await.is_none() {
                // A last effort; what is not written now is read from the archive at the next start.
                let _ = self.work().await;
                return;
            }
            let _ = stopped.run_until_cancelled(sleep(GATHER)).await;
        }
    }

    /// Writes everything that waits.
    ///
    /// # Errors
    /// What storage failed with. It has to be read from the archive then.
    pub async fn work(&self) -> Result<(), StorageError> {
        // From now on what is committed is handed over, or seen by the reading that follows.
        if std::mem::take(&mut self.waiting.lock().behind) {
            self.catch_up().await?;
        }
        let writing = self.writing.lock().await;
        let (texts, newest) = {
            let mut waiting = self.waiting.lock();
            let idle = waiting.moved.is_none_or(|moved| moved.elapsed() > IDLE);
            if waiting.newest == 0 || waiting.texts.is_empty() && !idle {
                return Ok(());
            }
            waiting.moved = Some(Instant::now());
            waiting.bytes = 0;
            (std::mem::take(&mut waiting.texts), std::mem::take(&mut waiting.newest))
        };
        let mut rest = &texts[..];
        while rest.len() > BATCH {
            let (batch, others) = rest.split_at(BATCH);
            self.write(batch, batch[BATCH - 1].id).await?;
            rest = others;
        }
        self.write(rest, newest).await?;
        drop(writing);
        Ok(())
    }

    /// Reads everything from the archive that is not known to be there, and writes what waits.
    ///
    /// # Errors
    /// What storage failed with.
    pub async fn read_everything(&self) -> Result<(), StorageError> {
        self.waiting.lock().behind = true;
        self.work().await
    }

    /// Reads what was stored since the words were last known to be there.
    async fn catch_up(&self) -> Result<(), StorageError> {
        let mut done = self.store.begin_texts(self.cursor()).await?;
        let (mut read, mut told) = (0, 0);
        loop {
            let writing = self.writing.lock().await;
            let messages = self.store.since(&self.host, done, BATCH as u32).await?;
            let Some((_, last, _, _)) = messages.last() else { break };
            done = *last;
            read += messages.len();
            // Messages of other hosts may be newer than some of ours that are being written at this moment.
            let ours = messages.iter().rev().find(|(_, _, _, ours)| *ours).map(|(_, id, _, _)| *id);
            let texts: Vec<Text> = messages
                .into_iter()
                .filter(|(_, _, _, ours)| *ours)
                .filter_map(|(archive, id, stanza, _)| Some(Text { archive, id, body: words_of(stanza)? }))
                .collect();
            if let Some(ours) = ours {
                self.write(&texts, ours).await?;
            }
            drop(writing);
            if read / REPORT > told {
                told = read / REPORT;
                tracing::info!(host = self.host, messages = read, "mam.search_catching_up");
            }
        }
        if told > 0 {
            tracing::info!(host = self.host, messages = read, "mam.search_caught_up");
        }
        Ok(())
    }

    /// Writes words. A message whose words the database cannot take is left out: it keeps nobody else waiting.
    async fn write(&self, texts: &[Text], until: i64) -> Result<(), StorageError> {
        match self.store.write_texts(self.cursor(), texts, until).await {
            Err(error) if !error.is_unavailable() && !texts.is_empty() => {
                for text in texts {
                    match self.store.write_texts(self.cursor(), std::slice::from_ref(text), text.id).await {
                        Err(error) if error.is_unavailable() => return Err(error),
                        Err(error) => tracing::warn!(id = text.id, %error, "mam.words_left_out"),
                        Ok(()) => {}
                    }
                }
                self.store.write_texts(self.cursor(), &[], until).await
            }
            result => result,
        }
    }

    fn cursor(&self) -> Cursor<'_> {
        Cursor { host: &self.host, writer: self.writer, language: &self.language }
    }
}

/// The words of a stored message.
fn words_of(stanza: Vec<u8>) -> Option<String> {
    worth::text(&Stanza::read(element(stanza).ok()?)?.ok()?)
}
