//! Rhythm: how far apart a device's frames usually come, for people; never part of the state.
//!
//! A device whose sensors are slow is not silent between two samples: what its newest gaps were
//! says how long it may be quiet. The largest of them is left out, as an outage makes one. What a
//! restart forgets is learnt again with the next frames.

/// Gaps remembered: enough that a batch with Totals and a clock behind it hides none.
const GAPS_MAX: usize = 8;

/// A device's newest gaps.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rhythm {
    gaps_ms: [u32; GAPS_MAX],
    /// Where the next one goes.
    at: u8,
}

impl Rhythm {
    /// A frame came so long after the one before.
    pub fn beat(&mut self, gap_us: i64) {
        let gap_ms = u32::try_from(gap_us.max(0) / 1_000).unwrap_or(u32::MAX);
        self.gaps_ms[usize::from(self.at)] = gap_ms;
        self.at = (self.at + 1) % GAPS_MAX as u8;
    }

    /// The largest gap but one, in µs; 0 before there were two.
    pub fn usual_us(&self) -> i64 {
        let mut gaps_ms = self.gaps_ms;
        gaps_ms.sort_unstable();
        i64::from(gaps_ms[GAPS_MAX - 2]) * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outage_is_no_rhythm_and_bursts_hide_none() {
        let mut rhythm = Rhythm::default();
        assert_eq!(rhythm.usual_us(), 0);
        rhythm.beat(7_200_000_000);
        assert_eq!(rhythm.usual_us(), 0);
        for _ in 0..3 {
            rhythm.beat(60_000_000);
            rhythm.beat(1_000);
        }
        assert_eq!(rhythm.usual_us(), 60_000_000);
        for _ in 0..GAPS_MAX {
            rhythm.beat(1_000_000);
        }
        assert_eq!(rhythm.usual_us(), 1_000_000);
    }
}
