//! How often something may be done: one bucket for each node or address that is in use.

use std::hash::RandomState;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use waxwing_core::limits::Rate;

/// For how many nodes or addresses it is counted at a time. The one that was quiet longest is forgotten.
const COUNTED: usize = 10_000;

/// Counts for many names.
pub struct Rates {
    rate: Rate,
    buckets: Cache<String, Arc<Mutex<Bucket>>, quick_cache::UnitWeighter, RandomState>,
}

/// What is left.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    /// Allows each name so much; all of it may be used at once.
    pub fn new(rate: Rate) -> Rates {
        let buckets = Cache::with(
            COUNTED,
            COUNTED as u64,
            quick_cache::UnitWeighter,
            RandomState::new(),
            quick_cache::sync::DefaultLifecycle::default(),
        );
        Rates { rate, buckets }
    }

    /// Takes one.
    ///
    /// # Errors
    /// After how long there is one again.
    pub fn take(&self, name: &str, now: Instant) -> Result<(), Duration> {
        if self.rate.is_unlimited() {
            return Ok(());
        }
        let full = self.rate.amount() as f64;
        let each = self.rate.period().as_secs_f64() / full;
        let fresh = || Ok::<_, Duration>(Arc::new(Mutex::new(Bucket { left: full, at: now })));
        let bucket = self.buckets.get_or_insert_with(name, fresh)?;
        let mut bucket = bucket.lock();
        let since = now.saturating_duration_since(bucket.at).as_secs_f64();
        bucket.left = (bucket.left + since / each).min(full);
        bucket.at = now;
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) * each));
        }
        bucket.left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_much_at_once_and_then_by_and_by() {
        let rates = Rates::new(Rate::per_minute(3));
        let start = Instant::now();
        for _ in 0..3 {
            assert!(rates.take("a", start).is_ok());
        }
        let wait = rates.take("a", start).unwrap_err();
        assert!((19.0..21.0).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(rates.take("b", start).is_ok(), "each has its own");
        assert!(rates.take("a", start + wait + Duration::from_millis(1)).is_ok());
        assert!(rates.take("a", start + wait + Duration::from_millis(2)).is_err());
        assert!(Rates::new(Rate::UNLIMITED).take("a", start).is_ok());
    }
}
