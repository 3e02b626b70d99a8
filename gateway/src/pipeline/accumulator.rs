//! Accumulators: what a window remembers of its samples, in raw integers.
//!
//! Sums are exact (i128 holds 2^64 samples of any i64); floats appear only when a value is asked
//! for, in a fixed order of + − × ÷ sqrt, so every target computes the same bits.

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::{Kind, Scale};

use super::decimal;
use super::distribution::Distribution;
use super::histogram::Histogram;
use super::program::Program;
use super::timeline::{Elapsed, Timeline};
use crate::record::Value;
use crate::rules::Aggregate;

/// What holds for all samples that go into a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measure<'a> {
    pub scale: &'a Scale,
    pub kind: Kind,
    /// How long a value holds, in µs.
    pub hold_us: i64,
    /// The conditions of shares of time, in the order of the aggregates.
    pub shares: &'a [Program],
}

/// What a window remembers of its samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Accumulator {
    /// Samples.
    pub count: u64,
    sum: Sum,
    min: i64,
    max: i64,
    /// Event time and raw of the earliest sample, ties to the one logged first.
    first: (i64, i64),
    /// Event time and raw of the latest sample, ties to the one logged last.
    last: (i64, i64),
    /// What only some aggregates need: behind one pointer, as there are 800,000 accumulators.
    more: Option<Box<More>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct More {
    squares: Option<Squares>,
    distribution: Option<Distribution>,
    timeline: Option<Timeline>,
    histograms: Vec<Histogram>,
}

/// An `i128` in two halves: on its own it would have every window padded to 16 bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    high: i64,
    low: u64,
}

impl Sum {
    #[inline]
    fn get(self) -> i128 {
        i128::from(self.high) << 64 | i128::from(self.low)
    }

    #[inline]
    fn add(&mut self, more: i128) {
        let sum = self.get() + more;
        // The halves: what does not fit each is in the other.
        self.high = (sum >> 64) as i64;
        self.low = sum as u64;
    }
}

/// Squares of distances from a pivot (the first sample), exact while they fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Squares {
    pivot: i64,
    sum: SquareSum,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum SquareSum {
    Exact(u128),
    /// From where the sum passed 2^128 on.
    Rounded(f64),
}

impl Accumulator {
    /// An empty one that remembers what a rule's aggregates need. `carry` is the event time and
    /// raw of the newest sample before the window.
    pub fn new(aggregates: &[Aggregate], carry: Option<(i64, i64)>) -> Self {
        Self {
            count: 0,
            sum: Sum::default(),
            min: i64::MAX,
            max: i64::MIN,
            first: (i64::MAX, 0),
            last: (i64::MIN, 0),
            more: More::new(aggregates, carry).map(Box::new),
        }
    }

    /// Takes a sample.
    #[inline]
    pub fn add(&mut self, time_us: i64, raw: i64, aggregates: &[Aggregate], measure: &Measure<'_>) {
        self.count += 1;
        self.sum.add(raw.into());
        self.min = self.min.min(raw);
        self.max = self.max.max(raw);
        if time_us < self.first.0 {
            self.first = (time_us, raw);
        }
        if time_us >= self.last.0 {
            self.last = (time_us, raw);
        }
        if let Some(more) = &mut self.more {
            more.add(self.count, (time_us, raw), aggregates, measure);
        }
    }

    /// A sample before the window came, perhaps a newer one than known so far.
    pub fn precede(&mut self, time_us: i64, raw: i64) {
        let more = self.more.as_mut();
        if let Some(timeline) = more.and_then(|more| more.timeline.as_mut()) {
            timeline.precede(time_us, raw);
        }
    }

    /// Takes what a later window that was not emitted holds.
    pub fn merge(&mut self, later: Self, measure: &Measure<'_>) {
        if let (Some(mine), Some(other)) = (&mut self.more, later.more) {
            mine.merge(self.count, *other, (later.count, later.sum.get()), measure);
        }
        self.count += later.count;
        self.sum.add(later.sum.get());
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        if later.first.0 < self.first.0 {
            self.first = later.first;
        }
        if later.last.0 >= self.last.0 {
            self.last = later.last;
        }
    }

    /// The values of a rule's aggregates, in its order; those that do not exist are left out.
    /// The window begins at `start_us`, and is complete up to `until_us` at least.
    pub fn values(
        &mut self,
        aggregates: &[Aggregate],
        measure: &Measure<'_>,
        start_us: i64,
        until_us: i64,
    ) -> Vec<(String, Value)> {
        if self.count == 0 {
            return Vec::new();
        }
        let more = self.more.as_mut();
        if let Some(distribution) = more.and_then(|more| more.distribution.as_mut()) {
            distribution.sort();
        }
        let more = self.more.as_ref();
        let timeline = more.and_then(|more| more.timeline.as_ref());
        let elapsed = timeline.map(|timeline| timeline.finish(measure, start_us, until_us));
        let elapsed = elapsed.unwrap_or_default();
        let mut shares = elapsed.shares.iter();
        let mut histograms = more.into_iter().flat_map(|more| &more.histograms);
        let mut values = Vec::with_capacity(aggregates.len());
        for aggregate in aggregates {
            let value = match aggregate {
                Aggregate::ShareOfTime { .. } => {
                    let held_us = shares.next().copied().unwrap_or(0);
                    elapsed.share(held_us).map(Value::Number)
                }
                Aggregate::Histogram { .. } => {
                    let histogram = histograms.next();
                    histogram.map(|histogram| Value::Counts(histogram.counts.clone()))
                }
                other => self.value(other, measure.scale, &elapsed),
            };
            values.extend(value.map(|value| (aggregate.name(), value)));
        }
        values
    }

    fn value(&self, aggregate: &Aggregate, scale: &Scale, elapsed: &Elapsed) -> Option<Value> {
        let one = |raw| decimal::number(scale.mantissa(raw), scale.exponent);
        let number = match aggregate {
            Aggregate::Count => return Some(Value::Count(self.count)),
            Aggregate::Sum => decimal::scale(self.sum_of_mantissas(scale), scale.exponent),
            Aggregate::Min => one(self.min),
            Aggregate::Max => one(self.max),
            Aggregate::Mean => {
                let mean = self.sum_of_mantissas(scale) / self.count as f64;
                decimal::scale(mean, scale.exponent)
            }
            Aggregate::Stddev => {
                let raw = self.stddev()?;
                decimal::scale(raw * f64::from(scale.step), scale.exponent)
            }
            Aggregate::First => one(self.first.1),
            Aggregate::Last => one(self.last.1),
            Aggregate::Percentile(tenths) => self.percentile(*tenths, scale)?,
            Aggregate::Median => self.percentile(500, scale)?,
            Aggregate::Range => {
                let apart = i128::from(self.max) - i128::from(self.min);
                decimal::number(apart * i128::from(scale.step), scale.exponent)
            }
            Aggregate::TimeWeightedMean => elapsed.mean(scale)?,
            Aggregate::Delta => elapsed.delta(scale),
            Aggregate::Rate => elapsed.rate(scale)?,
            Aggregate::ShareOfTime { .. } | Aggregate::Histogram { .. } => return None,
        };
        Some(Value::Number(number))
    }

    fn percentile(&self, tenths: u16, scale: &Scale) -> Option<f64> {
        let distribution = self.more.as_ref()?.distribution.as_ref()?;
        let thousandfold = distribution.percentile(tenths, scale)?;
        // A bucket's middle may lie beyond the outermost samples.
        let thousandfold = thousandfold.clamp(
            scale.mantissa(self.min) * 1_000,
            scale.mantissa(self.max) * 1_000,
        );
        Some(decimal::scale(
            thousandfold as f64 / 1_000.0,
            scale.exponent,
        ))
    }

    /// Exact but for one rounding, unless the sum passes 2^127.
    fn sum_of_mantissas(&self, scale: &Scale) -> f64 {
        let (step, offset) = (i128::from(scale.step), i128::from(scale.offset));
        let exact = offset
            .checked_mul(i128::from(self.count))
            .and_then(|offsets| self.sum.get().checked_mul(step)?.checked_add(offsets));
        exact.map_or_else(
            || self.sum.get() as f64 * step as f64 + offset as f64 * self.count as f64,
            |sum| sum as f64,
        )
    }

    /// Sample standard deviation in raw units.
    fn stddev(&self) -> Option<f64> {
        let squares = self.more.as_ref()?.squares.as_ref()?;
        let (count, fewer) = (self.count, self.count.checked_sub(1).filter(|n| *n > 0)?);
        let pivots = i128::from(squares.pivot) * i128::from(count);
        let distance = self.sum.get() - pivots;
        if let SquareSum::Exact(sum) = squares.sum {
            let exact = sum
                .checked_mul(count.into())
                .zip(distance.unsigned_abs().checked_mul(distance.unsigned_abs()));
            if let Some((whole, part)) = exact {
                let spread = whole.saturating_sub(part) as f64;
                return Some((spread / (count as f64 * fewer as f64)).sqrt());
            }
        }
        let sum = squares.sum.rounded();
        let distance = distance as f64;
        let spread = sum - distance * (distance / count as f64);
        Some((spread.max(0.0) / fewer as f64).sqrt())
    }
}

impl More {
    fn new(aggregates: &[Aggregate], carry: Option<(i64, i64)>) -> Option<Self> {
        let wants = |what: fn(&Aggregate) -> bool| aggregates.iter().any(what);
        let squares = wants(|one| matches!(one, Aggregate::Stddev));
        let distribution = wants(|one| matches!(one, Aggregate::Percentile(_) | Aggregate::Median));
        let histograms = aggregates.iter().filter_map(|one| match one {
            Aggregate::Histogram { bounds, .. } => Some(Histogram::new(bounds.len())),
            _ => None,
        });
        let more = Self {
            squares: squares.then_some(Squares {
                pivot: 0,
                sum: SquareSum::Exact(0),
            }),
            distribution: distribution.then(Distribution::default),
            timeline: wants(needs_timeline).then(|| Timeline::new(carry)),
            histograms: histograms.collect(),
        };
        let is_needed = more.squares.is_some()
            || more.distribution.is_some()
            || more.timeline.is_some()
            || !more.histograms.is_empty();
        is_needed.then_some(more)
    }

    /// Takes a sample, the `count`th.
    fn add(
        &mut self,
        count: u64,
        (time_us, raw): (i64, i64),
        aggregates: &[Aggregate],
        measure: &Measure<'_>,
    ) {
        if let Some(squares) = &mut self.squares {
            if count == 1 {
                squares.pivot = raw;
            }
            squares.add(raw);
        }
        if let Some(distribution) = &mut self.distribution {
            distribution.add(raw, measure.scale);
        }
        if let Some(timeline) = &mut self.timeline {
            timeline.add(time_us, raw, measure);
        }
        if !self.histograms.is_empty() {
            let value = decimal::number(measure.scale.mantissa(raw), measure.scale.exponent);
            let bounds = aggregates.iter().filter_map(|one| match one {
                Aggregate::Histogram { bounds, .. } => Some(bounds),
                _ => None,
            });
            for (histogram, bounds) in self.histograms.iter_mut().zip(bounds) {
                histogram.add(value, bounds);
            }
        }
    }

    /// Takes what a later one of so many samples, and of their sum, holds.
    fn merge(
        &mut self,
        count: u64,
        later: Self,
        (later_count, later_sum): (u64, i128),
        measure: &Measure<'_>,
    ) {
        if let (Some(mine), Some(other)) = (&mut self.squares, later.squares) {
            mine.merge(count, &other, later_count, later_sum);
        }
        if let (Some(mine), Some(other)) = (&mut self.distribution, later.distribution) {
            mine.merge(other, measure.scale);
        }
        if let (Some(mine), Some(other)) = (&mut self.timeline, later.timeline) {
            mine.merge(&other, measure);
        }
        for (mine, other) in self.histograms.iter_mut().zip(&later.histograms) {
            mine.merge(other);
        }
    }
}

impl SquareSum {
    fn rounded(self) -> f64 {
        match self {
            Self::Exact(sum) => sum as f64,
            Self::Rounded(sum) => sum,
        }
    }
}

impl Squares {
    /// Takes the squares of a later accumulator, moved to this one's pivot.
    fn merge(&mut self, count: u64, later: &Self, later_count: u64, later_sum: i128) {
        if later_count == 0 {
            return;
        }
        if count == 0 {
            *self = later.clone();
            return;
        }
        // Σ(x − p)² = Σ(x − q)² + 2(q − p)Σ(x − q) + n(q − p)²
        let apart = i128::from(later.pivot) - i128::from(self.pivot);
        let spread = later_sum - i128::from(later.pivot) * i128::from(later_count);
        let exact = |mine: u128, other: u128| {
            let cross = apart.checked_mul(2)?.checked_mul(spread)?;
            let square = apart.checked_mul(apart)?.checked_mul(later_count.into())?;
            let moved = cross.checked_add(square)?;
            mine.checked_add(other)?.checked_add_signed(moved)
        };
        if let (SquareSum::Exact(mine), SquareSum::Exact(other)) = (self.sum, later.sum)
            && let Some(sum) = exact(mine, other)
        {
            self.sum = SquareSum::Exact(sum);
            return;
        }
        let (apart, spread) = (apart as f64, spread as f64);
        let moved = 2.0 * apart * spread + apart * apart * later_count as f64;
        self.sum = SquareSum::Rounded(self.sum.rounded() + later.sum.rounded() + moved);
    }

    fn add(&mut self, raw: i64) {
        let distance = u128::from(raw.abs_diff(self.pivot));
        let square = distance * distance;
        self.sum = match self.sum {
            SquareSum::Exact(sum) => match sum.checked_add(square) {
                Some(sum) => SquareSum::Exact(sum),
                None => SquareSum::Rounded(sum as f64 + square as f64),
            },
            SquareSum::Rounded(sum) => SquareSum::Rounded(sum + square as f64),
        };
    }
}

/// Whether an aggregate asks for how long values held.
pub(super) fn needs_timeline(aggregate: &Aggregate) -> bool {
    matches!(
        aggregate,
        Aggregate::TimeWeightedMean
            | Aggregate::Delta
            | Aggregate::Rate
            | Aggregate::ShareOfTime { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aggregates() -> Vec<Aggregate> {
        let percentiles = [0, 500, 950, 999, 1_000].map(Aggregate::Percentile);
        [
            Aggregate::Count,
            Aggregate::Sum,
            Aggregate::Min,
            Aggregate::Max,
            Aggregate::Mean,
            Aggregate::Stddev,
            Aggregate::First,
            Aggregate::Last,
        ]
        .into_iter()
        .chain(percentiles)
        .chain([Aggregate::Median, Aggregate::Range])
        .collect()
    }

    fn measure(scale: &Scale) -> Measure<'_> {
        Measure {
            scale,
            kind: Kind::Gauge,
            hold_us: i64::MAX,
            shares: &[],
        }
    }

    fn values(samples: &[(i64, i64)], scale: &Scale) -> Vec<(String, Value)> {
        folded(samples, scale).values(&aggregates(), &measure(scale), 0, 0)
    }

    fn folded(samples: &[(i64, i64)], scale: &Scale) -> Accumulator {
        let mut sum = Accumulator::new(&aggregates(), None);
        for (time_us, raw) in samples {
            sum.add(*time_us, *raw, &aggregates(), &measure(scale));
        }
        sum
    }

    fn number(values: &[(String, Value)], name: &str) -> f64 {
        match values.iter().find(|(one, _)| one == name) {
            Some((_, Value::Number(number))) => *number,
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn decimals_come_out_as_they_went_in() {
        let scale = Scale::decimal(-2);
        let values = values(&[(10, 38), (20, 5), (30, 20)], &scale);
        assert_eq!(values[0], ("count".into(), Value::Count(3)));
        for (name, wanted) in [
            ("sum", 0.63),
            ("min", 0.05),
            ("max", 0.38),
            ("mean", 0.21),
            ("first", 0.38),
            ("last", 0.2),
            ("p50", 0.2),
            ("p0", 0.05),
            ("p100", 0.38),
        ] {
            assert_eq!(
                number(&values, name).to_bits(),
                f64::to_bits(wanted),
                "{name}"
            );
        }
    }

    #[test]
    fn first_and_last_go_by_event_time_and_ties_by_log_order() {
        let values = values(
            &[(20, 1), (10, 2), (10, 3), (20, 4), (15, 5)],
            &Scale::default(),
        );
        assert!((number(&values, "first") - 2.0).abs() < f64::EPSILON);
        assert!((number(&values, "last") - 4.0).abs() < f64::EPSILON);
    }

    #[test]
    fn one_sample_has_no_deviation() {
        let values = values(&[(0, 5)], &Scale::default());
        assert!(values.iter().all(|(name, _)| name != "stddev"));
    }

    #[test]
    fn the_largest_numbers_stay_finite() {
        let scale = Scale {
            step: u32::MAX,
            offset: i64::MAX,
            exponent: 18,
        };
        let samples: Vec<_> = (0..300)
            .map(|at| (at, if at % 2 == 0 { i64::MIN } else { i64::MAX }))
            .collect();
        let values = values(&samples, &scale);
        assert_eq!(values.len(), aggregates().len());
        for (name, value) in &values {
            assert!(matches!(value, Value::Count(300)) || number(&values, name).is_finite());
        }
        let wanted = 2_f64.powi(63) * f64::from(u32::MAX) * 1e18;
        assert!((number(&values, "stddev") / wanted - 1.0).abs() < 0.01);
    }

    proptest! {
        #[test]
        fn merging_gives_what_folding_all_would(
            early in prop::collection::vec(-1_000_000_i64..1_000_000, 0..300),
            late in prop::collection::vec(-1_000_000_i64..1_000_000, 0..300),
        ) {
            let scale = Scale::decimal(-3);
            let all: Vec<_> = (0..).zip(early.iter().chain(&late).copied()).collect();
            let (before, behind) = all.split_at(early.len());
            let mut merged = folded(before, &scale);
            merged.merge(folded(behind, &scale), &measure(&scale));
            prop_assert_eq!(
                merged.values(&aggregates(), &measure(&scale), 0, 0),
                values(&all, &scale)
            );
        }

        #[test]
        fn aggregates_equal_a_plain_computation(
            raws in prop::collection::vec(-100_000_i64..100_000, 2..80),
            base in -1_000_000_000_i64..1_000_000_000,
            step in 1_u32..5,
            exponent in -4_i8..=2,
        ) {
            let scale = Scale { step, offset: -3, exponent };
            let samples: Vec<_> = raws.iter().enumerate().map(|(at, raw)| (at as i64, raw + base)).collect();
            let found = values(&samples, &scale);
            let plain: Vec<f64> = samples
                .iter()
                .map(|(_, raw)| (raw * i64::from(step) - 3) as f64 * 10_f64.powi(exponent.into()))
                .collect();
            let resolution = 10_f64.powi(exponent.into());
            let count = plain.len() as f64;
            let mean = plain.iter().sum::<f64>() / count;
            let variance = plain.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
            for (name, wanted) in [
                ("sum", plain.iter().sum()),
                ("mean", mean),
                ("min", plain.iter().copied().fold(f64::INFINITY, f64::min)),
                ("max", plain.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
                ("stddev", variance.sqrt()),
                ("first", plain[0]),
                ("last", plain[plain.len() - 1]),
            ] {
                let off = (number(&found, name) - wanted).abs();
                prop_assert!(off < resolution * 1e-3, "{} is off by {} of {}", name, off, wanted);
            }
        }
    }
}
