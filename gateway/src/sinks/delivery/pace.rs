//! Pace: how fast a backlog goes out once its sink is back, so that it is never a flood.
//!
//! A class is *behind* when more waits than one batch takes, and until a batch takes all that
//! waits. A batch of a class that is behind is *backlog*: it waits until the bucket is free, and
//! fills it by its body. What is not behind never waits: a group of windows that close together
//! goes at once, also of a higher class while a lower one drains.
//!
//! ```text
//!            body bytes ÷ drain_bytes_per_s, records ÷ drain_records_per_s: the longer one
//!            ├───────────────────┤
//! ── batch ──┼───────────────────┼── batch ──┼─────────┼── batch ──▶ monotonic time
//!          sent            bucket free
//! ```
//!
//! # Invariants
//! - Over any stretch of time the backlog sent is at most cap × time + one batch. Nothing is
//!   saved up while nothing is sent; resends fill the bucket like first attempts.
//! - After an outage, and after a start, the first batch that is backlog waits a drawn part of
//!   the spread, so that the gateways that lost one receiver do not come back in step. The spread
//!   is at most a tenth of the outage: a receiver that blinked is not waited for.

use super::CLASSES;

/// Of an outage's length the spread takes at most this part.
const OUTAGE_PER_SPREAD: u64 = 10;
const SECOND_US: u128 = 1_000_000;

/// How fast a backlog may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainLimits {
    /// Body bytes before compression, per second; none: as fast as the sink confirms.
    pub bytes_per_s: Option<u64>,
    /// Records per second; none: as fast as the sink confirms.
    pub records_per_s: Option<u64>,
    /// Longest wait before a backlog begins to go out after an outage, in µs.
    pub spread_us: u64,
}

impl DrainLimits {
    /// No cap and no wait.
    pub const NONE: Self = Self {
        bytes_per_s: None,
        records_per_s: None,
        spread_us: 0,
    };
}

/// What a stretch of draining sent so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drained {
    pub records: u64,
    pub bytes: u64,
}

/// When backlog may go.
#[derive(Debug)]
pub(super) struct Pace {
    limits: DrainLimits,
    behind: [bool; CLASSES.len()],
    /// When the bucket is free, monotonic µs.
    free_at_us: u64,
    /// When the first attempt of this outage failed.
    away_since_us: Option<u64>,
    /// Length of the outage that ended, until the next batch is chosen.
    returned_after_us: Option<u64>,
    drained: Drained,
    /// People were told that the drain that goes on began.
    told: bool,
}

impl Pace {
    pub fn new(limits: DrainLimits) -> Self {
        Self {
            limits,
            behind: [false; CLASSES.len()],
            free_at_us: 0,
            away_since_us: None,
            // What waits at a start waits since nobody knows when.
            returned_after_us: Some(u64::MAX),
            drained: Drained::default(),
            told: false,
        }
    }

    pub fn limits(&self) -> DrainLimits {
        self.limits
    }

    pub fn is_behind(&self) -> bool {
        self.behind.contains(&true)
    }

    pub fn is_class_behind(&self, rank: usize) -> bool {
        self.behind[rank]
    }

    /// Whether the drain began with a wait, of which people were told.
    pub fn is_told(&self) -> bool {
        self.told
    }

    /// What the drain that goes on, or the last one, sent.
    pub fn drained(&self) -> Drained {
        self.drained
    }

    /// When a batch of this class may go, if not now.
    pub fn wait(&self, now_us: u64, rank: usize) -> Option<u64> {
        (self.behind[rank] && self.free_at_us > now_us).then_some(self.free_at_us)
    }

    /// An attempt failed.
    pub fn away(&mut self, now_us: u64) {
        self.away_since_us.get_or_insert(now_us);
    }

    /// An attempt was confirmed.
    pub fn back(&mut self, now_us: u64) {
        if let Some(since_us) = self.away_since_us.take() {
            self.returned_after_us = Some(now_us.saturating_sub(since_us));
        }
    }

    /// A class has nothing that waits.
    pub fn emptied(&mut self, rank: usize) {
        self.behind[rank] = false;
    }

    /// Nothing waits at all: what comes from here on is no backlog of an outage.
    pub fn rest(&mut self) {
        self.returned_after_us = None;
    }

    /// A batch of a class was chosen; `more` says whether it leaves any. `draw` gives a number up
    /// to its argument. True when draining begins with it.
    pub fn choose(
        &mut self,
        now_us: u64,
        rank: usize,
        more: bool,
        draw: impl FnOnce(u64) -> u64,
    ) -> bool {
        if !more {
            return false;
        }
        if let Some(outage_us) = self.returned_after_us.take() {
            let spread_us = self.limits.spread_us.min(outage_us / OUTAGE_PER_SPREAD);
            let begin_us = now_us.saturating_add(draw(spread_us));
            self.free_at_us = self.free_at_us.max(begin_us);
        }
        let begins = !self.is_behind();
        self.behind[rank] = true;
        if begins {
            self.drained = Drained::default();
            self.told = self.free_at_us > now_us;
        }
        begins
    }

    /// A batch of backlog is sent.
    pub fn spend(&mut self, now_us: u64, records: u64, bytes: u64) {
        self.drained.records += records;
        self.drained.bytes += bytes;
        let DrainLimits {
            bytes_per_s,
            records_per_s,
            ..
        } = self.limits;
        let took_us = cost_us(bytes, bytes_per_s).max(cost_us(records, records_per_s));
        self.free_at_us = self.free_at_us.max(now_us).saturating_add(took_us);
    }
}

/// How long `amount` takes at so much per second, in µs, rounded up.
fn cost_us(amount: u64, per_s: Option<u64>) -> u64 {
    let Some(per_s) = per_s else {
        return 0;
    };
    let us = (u128::from(amount) * SECOND_US).div_ceil(u128::from(per_s.max(1)));
    u64::try_from(us).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: DrainLimits = DrainLimits {
        bytes_per_s: Some(1_000),
        records_per_s: Some(10),
        spread_us: 60_000_000,
    };

    #[test]
    fn the_dearer_of_both_caps_binds_and_costs_round_up() {
        let mut pace = Pace::new(LIMITS);
        pace.choose(0, 1, true, |_| 0);
        pace.spend(0, 1, 500);
        assert_eq!(pace.wait(0, 1), Some(500_000));
        assert_eq!(pace.wait(500_000, 1), None);
        pace.spend(500_000, 10, 500);
        assert_eq!(pace.wait(500_000, 1), Some(1_500_000));
        assert_eq!(cost_us(1, Some(3)), 333_334);
        assert_eq!(cost_us(u64::MAX, Some(1)), u64::MAX);
        assert_eq!(cost_us(u64::MAX, None), 0);
    }

    #[test]
    fn another_class_does_not_wait() {
        let mut pace = Pace::new(LIMITS);
        pace.choose(0, 1, true, |_| 0);
        pace.spend(0, 10, 10_000);
        assert_eq!(pace.wait(1, 0), None);
        assert!(pace.wait(1, 1).is_some());
    }

    #[test]
    fn the_spread_is_a_tenth_of_the_outage_and_no_more_than_is_set() {
        let asked = |away_us: u64| {
            let mut pace = Pace::new(LIMITS);
            pace.rest();
            pace.away(1_000);
            pace.away(2_000);
            pace.back(1_000 + away_us);
            let mut asked = None;
            pace.choose(0, 1, true, |most| {
                asked = Some(most);
                0
            });
            asked
        };
        assert_eq!(asked(10_000_000), Some(1_000_000));
        assert_eq!(asked(3_600_000_000), Some(60_000_000));
        let mut pace = Pace::new(LIMITS);
        let begins = pace.choose(7, 1, true, |most| most);
        assert!(begins);
        assert_eq!(pace.wait(7, 1), Some(60_000_007), "a start is an outage");
    }

    proptest! {
        /// Over any stretch what is sent is at most the cap's share and one batch.
        #[test]
        fn no_stretch_exceeds_the_cap(
            batches in prop::collection::vec((1_u64..50, 1_u64..5_000, 0_u64..3_000_000), 1..40),
        ) {
            let mut pace = Pace::new(LIMITS);
            pace.choose(0, 1, true, |_| 0);
            let mut now_us = 0;
            let mut sent: Vec<(u64, u64, u64)> = Vec::new();
            for (records, bytes, pause_us) in batches {
                now_us = pace.wait(now_us, 1).unwrap_or(now_us) + pause_us;
                pace.spend(now_us, records, bytes);
                sent.push((now_us, records, bytes));
            }
            for (from, first) in sent.iter().enumerate() {
                for through in from..sent.len() {
                    let stretch = &sent[from..through];
                    let took_us = sent[through].0 - first.0;
                    let bytes: u64 = stretch.iter().map(|batch| batch.2).sum();
                    let records: u64 = stretch.iter().map(|batch| batch.1).sum();
                    prop_assert!(bytes * 1_000_000 <= took_us * 1_000);
                    prop_assert!(records * 1_000_000 <= took_us * 10);
                }
            }
        }
    }
}
