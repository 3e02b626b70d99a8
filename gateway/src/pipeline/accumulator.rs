//! Accumulators: what a window remembers of its samples, in raw integers.
//!
//! Sums are exact (i128 holds 2^64 samples of any i64); floats appear only when a value is asked
//! for, in a fixed order of + − × ÷ sqrt, so every target computes the same bits.

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::Scale;

use super::decimal;
use super::distribution::Distribution;
use super::plan::Plan;
use crate::record::Value;
use crate::rules::Aggregate;

/// What a window remembers of its samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Accumulator {
    /// Samples.
    pub count: u64,
    sum: i128,
    min: i64,
    max: i64,
    /// Event time and raw of the earliest sample, ties to the one logged first.
    first: (i64, i64),
    /// Event time and raw of the latest sample, ties to the one logged last.
    last: (i64, i64),
    squares: Option<Box<Squares>>,
    distribution: Option<Box<Distribution>>,
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
    /// An empty one that remembers what a plan's aggregates need.
    pub fn new(plan: &Plan) -> Self {
        Self {
            count: 0,
            sum: 0,
            min: i64::MAX,
            max: i64::MIN,
            first: (i64::MAX, 0),
            last: (i64::MIN, 0),
            squares: plan.wants_squares().then(|| {
                Box::new(Squares {
                    pivot: 0,
                    sum: SquareSum::Exact(0),
                })
            }),
            distribution: plan.wants_distribution().then(Box::default),
        }
    }

    /// Takes a sample.
    pub fn add(&mut self, time_us: i64, raw: i64, scale: &Scale) {
        if let Some(squares) = &mut self.squares {
            if self.count == 0 {
                squares.pivot = raw;
            }
            squares.add(raw);
        }
        self.count += 1;
        self.sum += i128::from(raw);
        self.min = self.min.min(raw);
        self.max = self.max.max(raw);
        if time_us < self.first.0 {
            self.first = (time_us, raw);
        }
        if time_us >= self.last.0 {
            self.last = (time_us, raw);
        }
        if let Some(distribution) = &mut self.distribution {
            distribution.add(raw, scale);
        }
    }

    /// The values of the plan's aggregates, in its order; those that do not exist are left out.
    pub fn values(&mut self, plan: &Plan, scale: &Scale) -> Vec<(String, Value)> {
        if let Some(distribution) = &mut self.distribution {
            distribution.sort();
        }
        let aggregates = plan.rule.aggregates.iter();
        aggregates
            .filter_map(|one| Some((one.name(), self.value(one, scale)?)))
            .collect()
    }

    fn value(&self, aggregate: &Aggregate, scale: &Scale) -> Option<Value> {
        if self.count == 0 {
            return None;
        }
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
            Aggregate::Percentile(tenths) => {
                let tenths = *tenths;
                let distribution = self.distribution.as_ref()?;
                let thousandfold = distribution.percentile(tenths, scale)?;
                // A bucket's middle may lie beyond the outermost samples.
                let thousandfold = thousandfold.clamp(
                    scale.mantissa(self.min) * 1_000,
                    scale.mantissa(self.max) * 1_000,
                );
                decimal::scale(thousandfold as f64 / 1_000.0, scale.exponent)
            }
            // The rest follows.
            _ => return None,
        };
        Some(Value::Number(number))
    }

    /// Exact but for one rounding, unless the sum passes 2^127.
    fn sum_of_mantissas(&self, scale: &Scale) -> f64 {
        let (step, offset) = (i128::from(scale.step), i128::from(scale.offset));
        let exact = offset
            .checked_mul(i128::from(self.count))
            .and_then(|offsets| self.sum.checked_mul(step)?.checked_add(offsets));
        exact.map_or_else(
            || self.sum as f64 * step as f64 + offset as f64 * self.count as f64,
            |sum| sum as f64,
        )
    }

    /// Sample standard deviation in raw units.
    fn stddev(&self) -> Option<f64> {
        let squares = self.squares.as_ref()?;
        let (count, fewer) = (self.count, self.count.checked_sub(1).filter(|n| *n > 0)?);
        let pivots = i128::from(squares.pivot) * i128::from(count);
        let distance = self.sum - pivots;
        if let SquareSum::Exact(sum) = squares.sum {
            let exact = sum
                .checked_mul(count.into())
                .zip(distance.unsigned_abs().checked_mul(distance.unsigned_abs()));
            if let Some((whole, part)) = exact {
                let spread = whole.saturating_sub(part) as f64;
                return Some((spread / (count as f64 * fewer as f64)).sqrt());
            }
        }
        let sum = match squares.sum {
            SquareSum::Exact(sum) => sum as f64,
            SquareSum::Rounded(sum) => sum,
        };
        let distance = distance as f64;
        let spread = sum - distance * (distance / count as f64);
        Some((spread.max(0.0) / fewer as f64).sqrt())
    }
}

impl Squares {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Match, Priority, Rule};
    use proptest::prelude::*;

    fn plan() -> Plan {
        let percentiles = [0, 500, 950, 999, 1_000].map(Aggregate::Percentile);
        Plan {
            version: 1,
            rule: Rule {
                name: "r".into(),
                matching: Match::names("*", "*"),
                keep: None,
                thin: None,
                window: None,
                aggregates: [
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
                .collect(),
                priority: Priority::Normal,
                forward: Vec::new(),
                ..Rule::default()
            },
        }
    }

    fn values(samples: &[(i64, i64)], scale: &Scale) -> Vec<(String, Value)> {
        let mut sum = Accumulator::new(&plan());
        for (time_us, raw) in samples {
            sum.add(*time_us, *raw, scale);
        }
        sum.values(&plan(), scale)
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
        assert_eq!(values.len(), plan().rule.aggregates.len());
        for (name, value) in &values {
            assert!(matches!(value, Value::Count(300)) || number(&values, name).is_finite());
        }
        let wanted = 2_f64.powi(63) * f64::from(u32::MAX) * 1e18;
        assert!((number(&values, "stddev") / wanted - 1.0).abs() < 0.01);
    }

    proptest! {
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
