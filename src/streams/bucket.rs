//! A token bucket: how fast something may go on average, and how much at once.

use std::time::{Duration, Instant};

/// Counts what was used against a rate. Costs 32 bytes and no timer.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// What may be used for each second; infinite when the limit is lifted.
    per_second: f64,
    /// What may be used at once.
    burst: f64,
    /// What may be used now; negative when more was used than was there.
    left: f64,
    counted_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(per_second: f64, burst: f64, now: Instant) -> Bucket {
        Bucket { per_second, burst, left: burst, counted_at: now }
    }

    /// A bucket for an amount in a time, full.
    pub fn for_rate(rate: waxwing_core::config::Rate, burst: usize, now: Instant) -> Bucket {
        let per_second =
            if rate.is_unlimited() { f64::INFINITY } else { rate.amount() as f64 / rate.period().as_secs_f64() };
        Bucket::new(per_second, burst as f64, now)
    }

    /// Uses an amount, also when it is not there, and tells how long to wait until the bucket is out of debt.
    pub fn take(&mut self, amount: f64, now: Instant) -> Duration {
        if self.per_second.is_infinite() {
            return Duration::ZERO;
        }
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        self.counted_at = now;
        self.left = (self.left + passed * self.per_second).min(self.burst) - amount;
        if self.left >= 0.0 {
            return Duration::ZERO;
        }
        Duration::from_secs_f64((-self.left / self.per_second).min(3_600.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_average_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, 100.0, start);
        assert_eq!(bucket.take(100.0, start), Duration::ZERO);
        assert_eq!(bucket.take(20.0, start), Duration::from_secs(2));
        assert_eq!(bucket.take(0.0, start + Duration::from_secs(2)), Duration::ZERO);
        // A long silence fills it up to the burst and no further.
        let later = start + Duration::from_secs(1_000);
        assert_eq!(bucket.take(100.0, later), Duration::ZERO);
        assert_eq!(bucket.take(10.0, later), Duration::from_secs(1));
    }

    #[test]
    fn a_lifted_limit_never_waits() {
        let now = Instant::now();
        let mut bucket = Bucket::new(f64::INFINITY, 1.0, now);
        assert_eq!(bucket.take(1e12, now), Duration::ZERO);
    }
}
