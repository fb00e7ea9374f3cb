//! Dice that fall the same way again: when a fault strikes, and who writes to whom, follow from a seed.

use std::time::Duration;

/// Chance with a memory.
#[derive(Clone)]
pub struct Dice(fastrand::Rng);

impl Dice {
    /// Dice of this seed; each `purpose` (a repetition, a person) has its own.
    pub fn new(seed: u64, purpose: u64) -> Dice {
        Dice(fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(purpose)))
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }

    /// A time between these two.
    pub fn between(&mut self, shortest: Duration, longest: Duration) -> Duration {
        shortest + (longest - shortest).mul_f64(self.0.f64())
    }

    /// The time to the next of many events that do not know of each other, `mean` apart.
    pub fn until_next(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(-(1.0 - self.0.f64()).ln())
    }
}

/// A seed that nobody has chosen.
pub fn any_seed() -> u64 {
    fastrand::u64(1..1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same() {
        let throw = |seed, purpose| {
            let mut dice = Dice::new(seed, purpose);
            (0..20).map(|_| dice.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(throw(7, 1), throw(7, 1));
        assert_ne!(throw(7, 1), throw(7, 2));
        assert_ne!(throw(7, 1), throw(8, 1));
    }

    #[test]
    fn times_stay_between_their_bounds() {
        let mut dice = Dice::new(1, 1);
        let (short, long) = (Duration::from_millis(5), Duration::from_millis(9));
        assert!((0..1000).all(|_| (short..=long).contains(&dice.between(short, long))));
        let mean = (0..10_000).map(|_| dice.until_next(short).as_secs_f64()).sum::<f64>() / 10_000.0;
        assert!((0.0045..0.0055).contains(&mean), "{mean}");
    }
}
