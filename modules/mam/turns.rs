//! Turns: messages of one archive reach their devices in the order of their ids.
//!
//! A client that has seen a message catches up behind it. Were a newer message delivered first and the connection lost
//! at that moment, the older one would never be asked for. So whoever has stored a message waits until those stored
//! before it have been delivered.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;
use waxwing_core::notes::Note;

/// Nobody waits longer for the one before him: order is worth less than a message.
const PATIENCE: Duration = Duration::from_secs(5);

/// The newest turn of each archive in which somebody is at work.
pub struct Turns {
    patience: Duration,
    lines: Arc<Mutex<Lines>>,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns { patience: PATIENCE, lines: Arc::default() }
    }
}

#[derive(Default)]
struct Lines {
    newest: HashMap<i64, (u64, oneshot::Receiver<()>)>,
    taken: u64,
}

/// The right to deliver a message of an archive. Dropping it lets the next one go on.
pub struct Turn {
    archive: i64,
    number: u64,
    before: Option<oneshot::Receiver<()>>,
    patience: Duration,
    /// Dropped last, which is how the next one notices.
    _over: oneshot::Sender<()>,
    lines: Weak<Mutex<Lines>>,
}

impl Note for Turn {}

impl Turns {
    /// Takes the next turn of an archive. Called in the order of ids.
    pub fn take(&self, archive: i64) -> Turn {
        let (over, next) = oneshot::channel();
        let mut lines = self.lines.lock();
        lines.taken += 1;
        let number = lines.taken;
        let before = lines.newest.insert(archive, (number, next)).map(|(_, before)| before);
        Turn { archive, number, before, patience: self.patience, _over: over, lines: Arc::downgrade(&self.lines) }
    }
}

impl Turn {
    /// Waits until all earlier turns of the archive are over.
    pub async fn come(&mut self) {
        if let Some(before) = &mut self.before {
            if timeout(self.patience, before).await.is_err() {
                tracing::warn!(archive = self.archive, "mam.turn_not_awaited");
            }
            self.before = None;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(lines) = self.lines.upgrade() else { return };
        let mut lines = lines.lock();
        if lines.newest.get(&self.archive).is_some_and(|(number, _)| *number == self.number) {
            lines.newest.remove(&self.archive);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn turns_of_one_archive_come_one_after_the_other() {
        let turns = Turns::default();
        let mut first = turns.take(1);
        let mut second = turns.take(1);
        let mut third = turns.take(1);
        let mut of_another = turns.take(2);
        first.come().await;
        of_another.come().await;
        let moment = Duration::from_millis(20);
        assert!(timeout(moment, second.come()).await.is_err());
        drop(first);
        second.come().await;
        assert!(timeout(moment, third.come()).await.is_err());
        drop(second);
        drop(third);
        drop(of_another);
        assert!(turns.lines.lock().newest.is_empty());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_turn_that_is_given_up_keeps_nobody_waiting() {
        let turns = Turns::default();
        let first = turns.take(1);
        let second = turns.take(1);
        drop(first);
        drop(second);
        assert!(turns.lines.lock().newest.is_empty());
        turns.take(1).come().await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nobody_waits_without_end() {
        let turns = Turns { patience: Duration::from_millis(30), ..Turns::default() };
        let _stuck = turns.take(1);
        let mut next = turns.take(1);
        next.come().await;
    }
}
