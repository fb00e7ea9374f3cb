//! A token bucket without a timer: all it keeps is when it will be full again.

use std::time::{Duration, Instant};

use waxwing_core::limits::Rate;

/// Holds as many tokens as the rate allows in its period, and fills up evenly. Full when new.
///
/// The rate is given at each use, so a reloaded configuration holds at once, and a bucket is 16 bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes a token; false when there is none.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let period = rate.period();
        let each = Duration::from_nanos(nanoseconds(period) / rate.amount().max(1));
        if rate.is_unlimited() || each.is_zero() {
            return true;
        }
        let missing = self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        if missing + each > period {
            return false;
        }
        self.full_at = Some(now + missing + each);
        true
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, rate: Rate, now: Instant) -> usize {
        (0..1_000).take_while(|_| bucket.take(rate, now)).count()
    }

    #[test]
    fn a_full_bucket_gives_the_whole_amount_and_refills_evenly() {
        let start = Instant::now();
        for amount in [1, 7, 10, 60, 999] {
            let rate = Rate::per_minute(amount);
            let mut bucket = Bucket::default();
            assert_eq!(taken(&mut bucket, rate, start), amount as usize);
            let half = start + Duration::from_secs(30);
            let refilled = taken(&mut bucket, rate, half);
            assert!(refilled.abs_diff(amount as usize / 2) <= 1, "{refilled} of {amount}");
            // A long silence fills it up to the amount and no further.
            assert_eq!(taken(&mut bucket, rate, start + Duration::from_secs(9_000)), amount as usize);
        }
    }

    #[test]
    fn a_refused_token_costs_nothing() {
        let start = Instant::now();
        let rate = Rate::per_hour(1);
        let mut bucket = Bucket::default();
        assert!(bucket.take(rate, start));
        for second in 0..3_599 {
            assert!(!bucket.take(rate, start + Duration::from_secs(second)));
        }
        assert!(bucket.take(rate, start + Duration::from_secs(3_600)));
    }

    #[test]
    fn a_lifted_limit_always_gives() {
        assert_eq!(taken(&mut Bucket::default(), Rate::UNLIMITED, Instant::now()), 1_000);
    }

    #[test]
    fn a_lowered_rate_holds_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, Rate::per_hour(20), start), 20);
        assert!(!bucket.take(Rate::per_minute(1), start));
        assert!(bucket.take(Rate::per_hour(21), start + Duration::from_secs(180)));
    }
}
