//! Random choices that can be repeated: what a test throws follows from a seed, and a failing test prints its seed.

/// Throws for the tests of one run. The generator is SplitMix64: small, good enough, and the same everywhere.
pub struct Dice(u64);

impl Dice {
    /// Dice with the seed of `WAXWING_TEST_SEED`, or else with this one; the seed is printed, and shown when a test fails.
    pub fn new(usual: u64) -> Dice {
        let wanted = std::env::var("WAXWING_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = wanted.unwrap_or(usual);
        eprintln!("WAXWING_TEST_SEED={seed}");
        Dice(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below this.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end.max(1) as u64) as usize
    }

    /// True once in so many throws.
    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
