//! Swinging door: leaves out samples that a straight line redraws to within an error.
//!
//! Terms: the *anchor* is the sample that passed last; the *held* one is the newest, which passes
//! as soon as a line from the anchor can no longer do without it. The *door* is the range of
//! slopes from the anchor that pass every sample left out since, each within the error.
//!
//! ```text
//!  anchor ●───────────────○ held      next sample: is its slope within the door that held
//!          ╲___ door ____╱            leaves? yes: held is left out; no: held passes
//! ```
//! Invariant: a line between two samples that pass one after the other is within the error of
//! every sample left out between them. (The algorithm as first published, Bristol 1990, checks
//! only that the door is open, which bounds the error by less.) Slopes are compared as fractions
//! of integers.

use serde::{Deserialize, Serialize};

use super::lane::Passed;

/// The swinging door of a rule on one sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Door {
    /// Largest error in raw units.
    error: i64,
    anchor: Option<(i64, i64)>,
    held: Option<Passed>,
    /// Least and greatest slope: raw over µs, the latter above 0.
    least: Option<(i128, i128)>,
    greatest: Option<(i128, i128)>,
}

/// What became of a sample, or of the one before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Swung {
    /// It passes at once.
    Passes(Passed),
    /// It is held, and none was before.
    Holds,
    /// It is held, and the one held before is left out.
    LeavesOut,
    /// It is held, and the one held before passes.
    Releases(Passed),
    /// It is not newer than the one held: a curve has one value at a time.
    Late,
}

impl Door {
    /// A door for an error in raw units.
    pub fn new(error: i64) -> Self {
        Self {
            error,
            anchor: None,
            held: None,
            least: None,
            greatest: None,
        }
    }

    /// Begins an epoch: the curve begins anew.
    pub fn begin_epoch(&mut self) {
        *self = Self::new(self.error);
    }

    /// Whether a sample is held.
    pub fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Below which event time nothing will pass any more, when the watermark is here.
    pub fn told_us(&self, watermark_us: i64) -> i64 {
        self.held
            .map_or(watermark_us, |held| held.identity.time_us.min(watermark_us))
    }

    /// Lets the held sample pass: nothing more is expected soon, or the rule ends.
    pub fn release(&mut self) -> Option<Passed> {
        let held = self.held.take()?;
        self.swing_from(&held);
        Some(held)
    }

    /// Takes a sample; `beat_us` is the longest time between two that pass.
    pub fn take(&mut self, sample: Passed, beat_us: Option<i64>) -> Swung {
        let Some(anchor) = self.anchor else {
            self.swing_from(&sample);
            return Swung::Passes(sample);
        };
        let time_us = sample.identity.time_us;
        let Some(held) = self.held else {
            if time_us <= anchor.0 {
                return Swung::Late;
            }
            self.held = Some(sample);
            return Swung::Holds;
        };
        if time_us <= held.identity.time_us {
            return Swung::Late;
        }
        let is_due = beat_us.is_some_and(|beat_us| time_us.saturating_sub(anchor.0) > beat_us);
        self.held = Some(sample);
        if !is_due && self.narrow(anchor, &held) && self.lets(anchor, &sample) {
            return Swung::LeavesOut;
        }
        self.swing_from(&held);
        Swung::Releases(held)
    }

    fn swing_from(&mut self, anchor: &Passed) {
        self.anchor = Some((anchor.identity.time_us, anchor.raw));
        self.least = None;
        self.greatest = None;
    }

    /// Narrows the door to slopes that pass a sample within the error; whether that could be
    /// worked out.
    fn narrow(&mut self, anchor: (i64, i64), sample: &Passed) -> bool {
        let (rise, run) = slope(anchor, sample);
        let error = i128::from(self.error);
        let (low, high) = ((rise - error, run), (rise + error, run));
        let (Some(keeps_least), Some(keeps_greatest)) = (
            self.least
                .map_or(Some(false), |least| is_at_most(low, least)),
            self.greatest
                .map_or(Some(false), |greatest| is_at_most(greatest, high)),
        ) else {
            return false;
        };
        if !keeps_least {
            self.least = Some(low);
        }
        if !keeps_greatest {
            self.greatest = Some(high);
        }
        true
    }

    /// Whether a line to a sample passes all that is left out.
    fn lets(&self, anchor: (i64, i64), sample: &Passed) -> bool {
        let slope = slope(anchor, sample);
        let above = self
            .least
            .map_or(Some(true), |least| is_at_most(least, slope));
        let below = self
            .greatest
            .map_or(Some(true), |greatest| is_at_most(slope, greatest));
        above == Some(true) && below == Some(true)
    }
}

fn slope(anchor: (i64, i64), sample: &Passed) -> (i128, i128) {
    let rise = i128::from(sample.raw) - i128::from(anchor.1);
    let run = i128::from(sample.identity.time_us) - i128::from(anchor.0);
    (rise, run)
}

/// Whether one fraction is at most another, both over a positive number; `None` beyond 2^127.
fn is_at_most(one: (i128, i128), other: (i128, i128)) -> Option<bool> {
    Some(one.0.checked_mul(other.1)? <= other.0.checked_mul(one.1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ClockQuality;
    use crate::record::id::SampleIdentity;
    use proptest::prelude::*;

    fn sample(time_us: i64, raw: i64) -> Passed {
        Passed {
            identity: SampleIdentity {
                incarnation: 1,
                boot: 1,
                sequence: 1,
                block: 0,
                index: 0,
                time_us,
            },
            raw,
            clock: ClockQuality::Device,
        }
    }

    /// What passes, and how many are left out or late.
    fn swing(samples: &[(i64, i64)], error: i64, beat_us: Option<i64>) -> (Vec<(i64, i64)>, usize) {
        let mut door = Door::new(error);
        let mut passed = Vec::new();
        let mut out = 0;
        for (time_us, raw) in samples {
            match door.take(sample(*time_us, *raw), beat_us) {
                Swung::Passes(one) | Swung::Releases(one) => passed.push(one),
                Swung::Holds => {}
                Swung::LeavesOut | Swung::Late => out += 1,
            }
        }
        passed.extend(door.release());
        let points = passed.iter().map(|one| (one.identity.time_us, one.raw));
        (points.collect(), out)
    }

    #[test]
    fn a_straight_line_needs_its_ends_only() {
        let line: Vec<_> = (0..100).map(|at| (at * 10, at * 3)).collect();
        assert_eq!(swing(&line, 0, None), (vec![(0, 0), (990, 297)], 98));
    }

    #[test]
    fn a_step_keeps_the_sample_before_it() {
        let step = [(0, 0), (10, 0), (20, 0), (30, 50), (40, 50), (50, 50)];
        let (points, _) = swing(&step, 1, None);
        assert_eq!(points, [(0, 0), (20, 0), (30, 50), (50, 50)]);
    }

    #[test]
    fn a_heartbeat_bounds_the_time_between_two() {
        let flat: Vec<_> = (0..10).map(|at| (at * 10, 5)).collect();
        let (points, _) = swing(&flat, 1, Some(30));
        assert_eq!(points, [(0, 5), (30, 5), (60, 5), (90, 5)]);
    }

    #[test]
    fn what_is_not_newer_is_late() {
        let (points, out) = swing(&[(0, 0), (10, 9), (10, 7), (5, 3), (20, 0)], 1, None);
        assert_eq!(points, [(0, 0), (10, 9), (20, 0)]);
        assert_eq!(out, 2);
    }

    proptest! {
        #[test]
        fn the_curve_redrawn_is_within_the_error(
            steps in prop::collection::vec((1_i64..5_000_000, -40_i64..40), 1..300),
            error in 0_i64..60,
        ) {
            let mut at = (0, 0);
            let samples: Vec<_> = steps.iter().map(|(apart, rise)| {
                at = (at.0 + apart, at.1 + rise);
                at
            }).collect();
            let (points, out) = swing(&samples, error, None);
            prop_assert_eq!(points.len() + out, samples.len());
            for (time_us, raw) in &samples {
                let behind = points.partition_point(|(point_us, _)| point_us < time_us);
                let to = points[behind];
                if to.0 == *time_us {
                    prop_assert_eq!(to.1, *raw);
                    continue;
                }
                let from = points[behind - 1];
                // |line − raw| ≤ error, times the run.
                let run = i128::from(to.0 - from.0);
                let line = i128::from(from.1) * run + i128::from(to.1 - from.1) * i128::from(time_us - from.0);
                prop_assert!((line - i128::from(*raw) * run).abs() <= i128::from(error) * run);
            }
        }

        #[test]
        fn any_numbers_are_answered(
            samples in prop::collection::vec((any::<i64>(), any::<i64>()), 0..20),
            error in 0..=i64::MAX,
        ) {
            let (points, out) = swing(&samples, error, Some(1));
            prop_assert_eq!(points.len() + out, samples.len());
        }
    }
}
