//! Waiting longer from try to try, never two devices alike.

use crate::time::Moment;

/// Exponential backoff with jitter: the n-th wait lies between half of and the whole
/// `first_ms × 2ⁿ`, capped.
///
/// The jitter comes from a xorshift generator (Marsaglia 2003, "Xorshift RNGs"): it spreads
/// devices that lost the same broker at the same moment, and keeps no secret.
#[derive(Debug, Clone)]
pub struct Backoff {
    first_ms: u32,
    ms_max: u32,
    tries: u8,
    random: u32,
}

impl Backoff {
    /// Waits from `first_ms` up to `ms_max`.
    pub const fn new(first_ms: u32, ms_max: u32, seed: u32) -> Self {
        Self {
            first_ms,
            ms_max,
            tries: 0,
            // A xorshift generator stays at 0 for ever.
            random: if seed == 0 { 0x9e37_79b9 } else { seed },
        }
    }

    /// Starts from the first wait again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// Goes to the longest wait.
    pub fn exhaust(&mut self) {
        self.tries = u8::MAX;
    }

    /// When to try next after a try at `now`.
    pub fn next(&mut self, now: Moment) -> Moment {
        let wait_ms = u64::from(self.first_ms) << self.tries.min(16);
        let wait_ms = wait_ms.min(self.ms_max.into());
        self.tries = self.tries.saturating_add(1);
        now.plus_ms(wait_ms - self.jitter(wait_ms / 2))
    }

    /// A number from 0 to `most`.
    pub fn jitter(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        u64::from(self.random) % (most + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_differ_by_seed() {
        let (mut one, mut other) = (
            Backoff::new(1_000, 10_000, 1),
            Backoff::new(1_000, 10_000, 2),
        );
        let mut differ = false;
        for cap_ms in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            let wait_us = one.next(Moment(0)).0;
            assert!(
                (cap_ms * 500..=cap_ms * 1_000).contains(&wait_us),
                "{wait_us}"
            );
            differ |= other.next(Moment(0)).0 != wait_us;
        }
        assert!(differ);
        one.reset();
        assert!(one.next(Moment(0)).0 <= 1_000_000);
        one.exhaust();
        assert!(one.next(Moment(0)).0 >= 5_000_000);
    }
}
