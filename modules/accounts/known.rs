//! Which names are accounts, as far as it was asked lately: read once for each stanza to somebody who is away.
//!
//! Accounts are made and removed by other processes, too. A "no" is believed for a second; a "yes" as long as somebody
//! looks into the journal of changes every second, and a minute at most.

use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::UnitWeighter;
use quick_cache::sync::Cache;
use waxwing_core::address::{NodePart, NodeRef};
use waxwing_storage::StorageError;

/// What was read so lately is believed without further ado.
const FRESH: Duration = Duration::from_secs(1);
/// The last look into the journal may be so old: two periods, because a look takes time.
const LOOKED: Duration = Duration::from_secs(2);
/// Nothing is believed longer than this.
const LONGEST: Duration = Duration::from_secs(60);

/// A bounded memory of answers.
pub struct Known {
    answers: Cache<NodePart, Answer, UnitWeighter, RandomState>,
    started: Instant,
    /// When the journal was last looked at, in milliseconds since `started`; 0 for never.
    looked: AtomicU64,
}

#[derive(Clone, Copy)]
struct Answer {
    exists: bool,
    since: Instant,
}

/// Whether an answer of this age still holds.
fn holds(exists: bool, age: Duration, since_look: Option<Duration>) -> bool {
    age < FRESH || exists && age < LONGEST && since_look.is_some_and(|since| since < LOOKED)
}

impl Known {
    /// Remembers so many names at most.
    pub fn new(names: usize) -> Known {
        let (names, weight) = (names.max(1), names.max(1) as u64);
        Known {
            answers: Cache::with(names, weight, UnitWeighter, RandomState::new(), Default::default()),
            started: Instant::now(),
            looked: AtomicU64::new(0),
        }
    }

    /// Whether there is such an account; asks `database` when that is not known.
    ///
    /// # Errors
    /// What `database` failed with; nothing is remembered then.
    pub async fn exists(
        &self,
        name: &NodeRef,
        database: impl Future<Output = Result<bool, StorageError>>,
    ) -> Result<bool, StorageError> {
        if let Some(answer) = self.answers.get(name) {
            if self.still_holds(&answer) {
                return Ok(answer.exists);
            }
            self.answers.remove_if(name, |answer| !self.still_holds(answer));
        }
        let read = async {
            let exists = database.await?;
            Ok(Answer { exists, since: Instant::now() })
        };
        // A name that is forgotten while it is read is not remembered: the answer may be the old one.
        Ok(self.answers.get_or_insert_async(name, read).await?.exists)
    }

    /// The account was made or removed.
    pub fn forget(&self, name: &NodeRef) {
        self.answers.remove(name);
    }

    /// The journal held nothing unknown at this time.
    pub fn looked_at(&self, when: Instant) {
        let since_start = when.duration_since(self.started).as_millis();
        self.looked.store(u64::try_from(since_start).unwrap_or(u64::MAX).max(1), Ordering::Release);
    }

    fn still_holds(&self, answer: &Answer) -> bool {
        let looked = match self.looked.load(Ordering::Acquire) {
            0 => None,
            looked => Some(self.started.elapsed().saturating_sub(Duration::from_millis(looked))),
        };
        holds(answer.exists, answer.since.elapsed(), looked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_outlives_a_second_only_while_the_journal_is_watched() {
        let seconds = Duration::from_secs_f64;
        let watched = Some(seconds(0.9));
        assert!(holds(true, seconds(0.9), None) && holds(false, seconds(0.9), None));
        assert!(!holds(false, seconds(1.1), watched), "a no is asked again");
        assert!(holds(true, seconds(59.0), watched));
        assert!(!holds(true, seconds(1.1), Some(seconds(2.5))), "the watch has stopped");
        assert!(!holds(true, seconds(1.1), None) && !holds(true, seconds(61.0), watched));
    }

    #[tokio::test]
    async fn what_is_forgotten_while_it_is_read_is_read_again() {
        let known = Known::new(10);
        let name = NodePart::new("romeo").unwrap().into_owned();
        let stale = async {
            known.forget(&name);
            Ok(true)
        };
        assert!(known.exists(&name, stale).await.unwrap());
        assert!(!known.exists(&name, async { Ok(false) }).await.unwrap(), "the old answer was not kept");
        assert!(!known.exists(&name, async { panic!("asked again at once") }).await.unwrap());
    }

    #[tokio::test]
    async fn memory_is_bounded() {
        let known = Known::new(100);
        for number in 0..10_000 {
            let name = NodePart::new(&format!("user{number}")).unwrap().into_owned();
            known.exists(&name, async { Ok(true) }).await.unwrap();
        }
        assert!(known.answers.len() <= 100, "{} names", known.answers.len());
    }
}
