//! Backoff: how long to wait before the next attempt, growing and jittered, from a seed.
//!
//! The ceiling doubles from `first_us` to `most_us`; each wait is drawn evenly from the upper half
//! of its ceiling, so that many gateways that lost one broker do not come back in step. The same
//! seed gives the same waits: machines without I/O stay scripts in tests.

/// A growing wait.
#[derive(Debug, Clone)]
pub struct Backoff {
    first_us: u64,
    most_us: u64,
    attempts: u32,
    random: u64,
}

impl Backoff {
    /// A wait that starts at `first_us` and grows to `most_us`, both in µs.
    pub fn new(first_us: u64, most_us: u64, seed: u64) -> Self {
        Self {
            first_us: first_us.max(1),
            most_us: most_us.max(first_us).max(1),
            attempts: 0,
            random: seed,
        }
    }

    /// The next wait in µs; the one after it may be twice as long.
    pub fn next_us(&mut self) -> u64 {
        let doubled = self
            .first_us
            .saturating_mul(1_u64.checked_shl(self.attempts).unwrap_or(u64::MAX));
        self.attempts = self.attempts.saturating_add(1).min(63);
        self.jitter_us(doubled.min(self.most_us))
    }

    /// Draws from the upper half of `ceiling_us`.
    pub fn jitter_us(&mut self, ceiling_us: u64) -> u64 {
        let half = ceiling_us / 2;
        ceiling_us - self.draw() % (half + 1)
    }

    /// Draws a number from 0 to `most`.
    pub fn draw_up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(count) => self.draw() % count,
            None => self.draw(),
        }
    }

    /// Starts again at the shortest wait.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }

    /// `SplitMix64` (Steele, Lea, Flood 2014): one addition and three mixes.
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A seed from the system's entropy; a fixed one where it has none, since jitter is only a
/// courtesy.
pub fn seed() -> u64 {
    getrandom::u64().unwrap_or(0x7469_6465_6761_7465)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_ceiling_and_stay_in_its_upper_half() {
        let mut backoff = Backoff::new(100, 1_000, 7);
        for ceiling in [100, 200, 400, 800, 1_000, 1_000] {
            let wait = backoff.next_us();
            assert!(
                (ceiling / 2..=ceiling).contains(&wait),
                "{wait} of {ceiling}"
            );
        }
        backoff.reset();
        assert!(backoff.next_us() <= 100);
    }

    #[test]
    fn a_thousand_attempts_do_not_overflow() {
        let mut backoff = Backoff::new(100, 1_000, 7);
        assert!((0..1_000).all(|_| backoff.next_us() <= 1_000));
    }

    #[test]
    fn seeds_differ_and_repeat() {
        let waits = |seed| {
            let mut backoff = Backoff::new(1_000, 1_000_000, seed);
            (0..8).map(|_| backoff.next_us()).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
