//! Timelines: for how long which value held in a window, and how far it moved.
//!
//! A value holds until the next one is taken, but no longer than the rule's `hold`. What held
//! before the window counts from its start on (the *carry*), and the window's last value up to its
//! end, or to where its device is known to be complete.
//!
//! ```text
//!   carry      start                       end
//!     ●──────────┊────●─────●ˍˍˍˍˍˍ     ●───┊
//!                └ covered ─┴─ hold ┘ gap
//! ```
//! Sums are integers: raw × µs fits an `i128` for any span. A sample that comes out of order has
//! no part in it: devices send theirs in order. The carry is the newest sample taken before the
//! window opened, if it lies before the window (one that opens out of order has none), or a newer
//! one that came while it was open: what ends one window begins the next.

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::{Kind, Scale};

use super::accumulator::Measure;
use super::decimal;

/// How the samples of a window followed each other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Timeline {
    /// Event time and raw of the newest sample before the window.
    carry: Option<(i64, i64)>,
    ends: Option<Ends>,
    /// Between the first sample and the last: Σ raw × µs.
    area: i128,
    /// Between them: µs during which a value held.
    covered_us: i64,
    /// Of those, the ones during which each condition held.
    shares_us: Vec<i64>,
    /// From the first to the last: the growth of a counter.
    growth: i128,
}

/// Event time and raw of the first and the last sample, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Ends {
    first: (i64, i64),
    last: (i64, i64),
}

/// What a finished timeline says.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Elapsed {
    area: i128,
    covered_us: i64,
    /// µs during which each condition held.
    pub shares: Vec<i64>,
    /// Change in raw units, and the µs it took.
    moved: i128,
    moved_us: i64,
}

impl Timeline {
    /// An empty one behind what came before it.
    pub fn new(carry: Option<(i64, i64)>) -> Self {
        Self {
            carry,
            ends: None,
            area: 0,
            covered_us: 0,
            shares_us: Vec::new(),
            growth: 0,
        }
    }

    /// A sample before the window came; the newest is the carry.
    pub fn precede(&mut self, time_us: i64, raw: i64) {
        if self.carry.is_none_or(|(carry_us, _)| carry_us <= time_us) {
            self.carry = Some((time_us, raw));
        }
    }

    /// Takes a sample.
    pub fn add(&mut self, time_us: i64, raw: i64, measure: &Measure<'_>) {
        let Some(ends) = self.ends else {
            let first = (time_us, raw);
            self.ends = Some(Ends { first, last: first });
            self.shares_us = vec![0; measure.shares.len()];
            return;
        };
        if time_us < ends.last.0 {
            return;
        }
        self.step(ends.last, (time_us, raw), measure);
        self.ends = Some(Ends {
            last: (time_us, raw),
            ..ends
        });
    }

    /// Takes a later one, whose carry is this one's last sample or older.
    pub fn merge(&mut self, later: &Self, measure: &Measure<'_>) {
        let Some(other) = later.ends else {
            return;
        };
        let Some(ends) = self.ends else {
            let carry = self.carry.or(later.carry);
            *self = Self {
                carry,
                ..later.clone()
            };
            return;
        };
        if other.first.0 < ends.last.0 {
            return;
        }
        self.step(ends.last, other.first, measure);
        self.area += later.area;
        self.covered_us += later.covered_us;
        self.growth += later.growth;
        for (mine, others) in self.shares_us.iter_mut().zip(&later.shares_us) {
            *mine += others;
        }
        self.ends = Some(Ends {
            last: other.last,
            ..ends
        });
    }

    fn step(&mut self, from: (i64, i64), to: (i64, i64), measure: &Measure<'_>) {
        let span_us = to.0.saturating_sub(from.0).min(measure.hold_us);
        self.area += i128::from(from.1) * i128::from(span_us);
        self.covered_us += span_us;
        hold(&mut self.shares_us, from.1, span_us, measure);
        self.growth += growth(measure.kind, from.1, to.1);
    }

    /// What it says of a window that begins at `start_us` and is complete up to `until_us`.
    pub fn finish(&self, measure: &Measure<'_>, start_us: i64, until_us: i64) -> Elapsed {
        let Some(Ends { first, last }) = self.ends else {
            return Elapsed::default();
        };
        let mut elapsed = Elapsed {
            area: self.area,
            covered_us: self.covered_us,
            shares: self.shares_us.clone(),
            moved: self.growth,
            moved_us: last.0.saturating_sub(first.0),
        };
        if let Some((carry_us, raw)) = self.carry {
            let until_us = carry_us.saturating_add(measure.hold_us).min(first.0);
            elapsed.hold(
                raw,
                until_us.saturating_sub(start_us.max(carry_us)),
                measure,
            );
            elapsed.moved += growth(measure.kind, raw, first.1);
            elapsed.moved_us += first.0.saturating_sub(carry_us);
        }
        let until_us = last.0.saturating_add(measure.hold_us).min(until_us);
        elapsed.hold(last.1, until_us.saturating_sub(last.0), measure);
        elapsed
    }
}

impl Elapsed {
    fn hold(&mut self, raw: i64, span_us: i64, measure: &Measure<'_>) {
        let span_us = span_us.max(0);
        self.area += i128::from(raw) * i128::from(span_us);
        self.covered_us += span_us;
        hold(&mut self.shares, raw, span_us, measure);
    }

    /// The time-weighted mean; `None` where no time is covered.
    pub fn mean(&self, scale: &Scale) -> Option<f64> {
        if self.covered_us <= 0 {
            return None;
        }
        let raw = self.area as f64 / self.covered_us as f64;
        let mantissa = raw * f64::from(scale.step) + scale.offset as f64;
        Some(decimal::scale(mantissa, scale.exponent))
    }

    /// The share of the covered time; `None` where no time is covered.
    pub fn share(&self, held_us: i64) -> Option<f64> {
        (self.covered_us > 0).then(|| held_us as f64 / self.covered_us as f64)
    }

    /// The change in the unit.
    pub fn delta(&self, scale: &Scale) -> f64 {
        let steps = self.moved.saturating_mul(scale.step.into());
        decimal::number(steps, scale.exponent)
    }

    /// The change per second; `None` where no time passed.
    pub fn rate(&self, scale: &Scale) -> Option<f64> {
        let seconds = self.moved_us as f64 / 1e6;
        (self.moved_us > 0).then(|| self.delta(scale) / seconds)
    }
}

fn hold(shares_us: &mut [i64], raw: i64, span_us: i64, measure: &Measure<'_>) {
    if shares_us.is_empty() {
        return;
    }
    let value = decimal::number(measure.scale.mantissa(raw), measure.scale.exponent);
    for (held_us, condition) in shares_us.iter_mut().zip(measure.shares) {
        if condition.holds(&[value]) == Some(true) {
            *held_us += span_us;
        }
    }
}

/// Raw growth from one sample to the next; a counter that fell began anew at 0.
pub(super) fn growth(kind: Kind, before: i64, after: i64) -> i128 {
    if kind == Kind::Counter && after < before {
        return i128::from(after);
    }
    i128::from(after) - i128::from(before)
}
