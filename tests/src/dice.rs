//! Dice: random draws that a printed seed repeats (the `SplitMix64`
//! of Steele, Lea and Flood, 2014).

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Environment variable with the seed to repeat.
pub const SEED: &str = "TIDEGATE_SEED";

/// A stream of draws.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of the seed in the environment, or of a fresh one; the seed is printed.
    pub fn announced(what: &str) -> Self {
        let seed = match std::env::var(SEED) {
            Ok(text) => text
                .parse()
                .unwrap_or_else(|_| panic!("{SEED}={text} is not a whole number")),
            Err(_) => RandomState::new().hash_one(what),
        };
        crate::report::say(&format!("{what}: seed {seed} (repeat with {SEED}={seed})"));
        Self(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    /// True with a chance of `parts` in a hundred.
    pub fn percent(&mut self, parts: u64) -> bool {
        self.below(100) < parts
    }

    /// A duration from `from` up to but not including `to`, in whole milliseconds.
    pub fn between(&mut self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from).as_millis().max(1);
        from + Duration::from_millis(self.below(u64::try_from(span).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_differs() {
        let draw = |seed| (0..8).scan(Dice::new(seed), |dice, _| Some(dice.bits()));
        assert!(draw(7).eq(draw(7)));
        assert!(!draw(7).eq(draw(8)));
    }

    #[test]
    fn draws_stay_within_bounds() {
        let mut dice = Dice::new(1);
        for _ in 0..1_000 {
            assert!(dice.below(6) < 6);
            let span = dice.between(Duration::from_secs(1), Duration::from_secs(2));
            assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&span));
        }
    }
}
