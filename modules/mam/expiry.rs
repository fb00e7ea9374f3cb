//! Deletes what is over: messages whose time has passed (XEP-0313 §3.2), and archives whose owners are gone. In small
//! pieces with rests between, so that whoever writes hardly notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use waxwing_core::clock::{IdMaker, now_milliseconds};
use waxwing_storage::StorageError;

use crate::archives::Archives;

/// How often messages are looked through whose time may be over.
const PERIOD: Duration = Duration::from_secs(3600);
/// A server that has just started has other work.
const FIRST: Duration = Duration::from_secs(60);
/// How many messages are deleted at a time.
const PIECE: u32 = 200;
/// How many archives are looked at in one statement.
const ARCHIVES: u32 = 500;
/// A rest after each piece: so long, and three times as long as it took.
const REST: Duration = Duration::from_millis(20);
/// Progress is told so often.
const REPORT: Duration = Duration::from_secs(60);
/// The row of a removed archive stays so long after its messages, in case one was being written at that moment.
const GRACE: i64 = 3_600_000;

/// Deletes until the house is shut down.
pub async fn run(archives: Arc<Archives>, stopped: CancellationToken) {
    let mut wait = FIRST;
    loop {
        let news = timeout(wait, archives.removals.notified());
        if stopped.run_until_cancelled(news).await.is_none() {
            return;
        }
        match stopped.run_until_cancelled(archives.expire(REST)).await {
            None => return,
            Some(Ok(0)) => {}
            Some(Ok(deleted)) => tracing::info!(host = archives.host(), deleted, "mam.expired"),
            Some(Err(error)) => tracing::warn!(host = archives.host(), %error, "mam.not_expired"),
        }
        wait = PERIOD;
    }
}

impl Archives {
    /// Deletes everything that is over now; how many messages that was.
    ///
    /// # Errors
    /// What storage failed with; the rest is deleted another time.
    pub async fn expire(&self, rest: Duration) -> Result<u64, StorageError> {
        let mut work = Work { rest, deleted: 0, told: Instant::now() };
        let now = now_milliseconds();
        for archive in self.store.removed(self.host(), ARCHIVES).await? {
            loop {
                let messages = self.store.some_of(archive, PIECE).await?;
                if !work.delete(self, &messages).await? {
                    break;
                }
            }
            self.store.forget(archive, now - GRACE).await?;
        }
        let ordinary = self.settings.keep.milliseconds().map_or(0, |keep| IdMaker::first_of(now - keep));
        let times = (ordinary, IdMaker::first_of(now));
        let mut after = 0;
        while let Some(until) = self.store.end_of_page(self.host(), after, ARCHIVES).await? {
            loop {
                let messages = self.store.expired(self.host(), (after, until), times, PIECE).await?;
                if !work.delete(self, &messages).await? {
                    break;
                }
            }
            after = until;
        }
        Ok(work.deleted)
    }
}

struct Work {
    rest: Duration,
    deleted: u64,
    told: Instant,
}

impl Work {
    /// Deletes a piece; whether there may be another one.
    async fn delete(&mut self, archives: &Archives, messages: &[(i64, i64)]) -> Result<bool, StorageError> {
        if messages.is_empty() {
            return Ok(false);
        }
        let started = Instant::now();
        archives.store.delete(messages).await?;
        self.deleted += messages.len() as u64;
        if self.told.elapsed() > REPORT {
            self.told = Instant::now();
            tracing::info!(host = archives.host(), deleted = self.deleted, "mam.expiring");
        }
        let another = messages.len() == PIECE as usize;
        if another && !self.rest.is_zero() {
            sleep(self.rest.max(started.elapsed() * 3)).await;
        }
        Ok(another)
    }
}
