//! What was written to a client and not acknowledged yet: a queue and its counters, which wrap around (XEP-0198 §4).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A client is given this much time for each of so many bytes that are under way to it, beyond what it has to answer a
/// request in: the request waits behind them, on a slow line for long.
const SLOWEST_BYTES_PER_SECOND: usize = 4096;

/// What an acknowledgement says that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// More than was sent. How much that was.
    TooHigh(u32),
    /// Less than what the client has acknowledged before.
    GoesBack,
}

/// How much may be under way, and when the client is asked.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Stanzas that may wait to be acknowledged.
    pub stanzas: usize,
    /// Bytes of them.
    pub bytes: usize,
    /// After so many unacknowledged stanzas the client is asked at once.
    pub ask_after_stanzas: usize,
    /// After so many unacknowledged bytes the client is asked at once.
    pub ask_after_bytes: usize,
}

/// The stanzas under way to one client.
#[derive(Debug)]
pub struct Queue<T> {
    kept: VecDeque<(T, usize)>,
    bytes: usize,
    /// How many were sent since the counting began.
    sent: u32,
    /// Since when the client has not answered a request.
    asked: Option<Instant>,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { kept: VecDeque::new(), bytes: 0, sent: 0, asked: None }
    }
}

impl<T> Queue<T> {
    /// The queue of a session that was stored: what is in it are the last of `sent` stanzas.
    pub fn restored(sent: u32, kept: impl IntoIterator<Item = (T, usize)>) -> Queue<T> {
        let kept: VecDeque<(T, usize)> = kept.into_iter().collect();
        Queue { bytes: kept.iter().map(|(_, size)| size).sum(), kept, sent, asked: None }
    }

    /// A stanza of this size is sent.
    pub fn push(&mut self, stanza: T, size: usize) {
        self.kept.push_back((stanza, size));
        self.bytes += size;
        self.sent = self.sent.wrapping_add(1);
    }

    /// The client has received everything up to the stanza of this number. How many are done with it.
    ///
    /// # Errors
    /// What is wrong with the number; nothing has changed then.
    pub fn acknowledge(&mut self, number: u32) -> Result<usize, Wrong> {
        let acknowledged = self.sent.wrapping_sub(self.len_as_number());
        let newly = number.wrapping_sub(acknowledged);
        if newly > self.len_as_number() {
            return Err(if newly > u32::MAX / 2 { Wrong::GoesBack } else { Wrong::TooHigh(self.sent) });
        }
        for (_, size) in self.kept.drain(..newly as usize) {
            self.bytes -= size;
        }
        if self.kept.is_empty() {
            // An idle session holds no buffers.
            self.kept = VecDeque::new();
        }
        self.asked = None;
        Ok(newly as usize)
    }

    fn len_as_number(&self) -> u32 {
        // Bounded far below.
        self.kept.len() as u32
    }

    /// How many stanzas were sent, up to 2³² and from 0 again.
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// About how many bytes are under way.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether everything was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What was not acknowledged, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.kept.iter().map(|(stanza, _)| stanza)
    }

    /// Whether another stanza may be sent before something is acknowledged. One always may.
    pub fn has_room(&self, bounds: &Bounds) -> bool {
        self.kept.is_empty() || (self.kept.len() < bounds.stanzas && self.bytes < bounds.bytes)
    }

    /// Whether it is time to ask the client, because much is under way.
    pub fn is_long(&self, bounds: &Bounds) -> bool {
        self.kept.len() >= bounds.ask_after_stanzas || self.bytes >= bounds.ask_after_bytes
    }

    /// The client is asked what it has received, unless it owes an answer already or there is nothing to ask about;
    /// whether it is.
    pub fn ask(&mut self, now: Instant) -> bool {
        let ask = self.asked.is_none() && !self.kept.is_empty();
        if ask {
            self.asked = Some(now);
        }
        ask
    }

    /// The client may have answered already, and is given its time anew.
    pub fn ask_again_at(&mut self, now: Instant) {
        self.asked = self.asked.map(|_| now);
    }

    /// The wire is new: what was asked on the old one is not answered any more.
    pub fn forget_question(&mut self) {
        self.asked = None;
    }

    /// Whether the client owes an answer for longer than it may.
    pub fn is_overdue(&self, now: Instant, patience: Duration) -> bool {
        let patience = patience + Duration::from_secs((self.bytes / SLOWEST_BYTES_PER_SECOND) as u64);
        self.asked.is_some_and(|asked| now.saturating_duration_since(asked) > patience)
    }

    /// Takes everything out; the count of what was sent stays.
    pub fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        self.asked = None;
        std::mem::take(&mut self.kept).into_iter().map(|(stanza, _)| stanza).collect()
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
