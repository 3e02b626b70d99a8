//! Aggregates as the rules' documentation has them, over lists of floats.

use super::gate::condition;
use super::windows::{Column, Held};
use super::{COUNTER, decimals_of, value_of};
use crate::record::Value;
use crate::rules::{Aggregate, Rule};

/// How far from numpy's a percentile of more samples than are kept one by one may be.
const COARSE: f64 = 0.01;
const EXACT_MAX: usize = 256;

/// A value that a record has to have.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    Count(u64),
    Counts(Vec<u64>),
    /// To within a distance.
    Near(f64, f64),
}

impl Wanted {
    pub fn is(&self, found: &Value) -> bool {
        match (self, found) {
            (Self::Count(wanted), Value::Count(found)) => wanted == found,
            (Self::Counts(wanted), Value::Counts(found)) => wanted == found,
            (Self::Near(wanted, error), Value::Number(found)) => (wanted - found).abs() <= *error,
            _ => false,
        }
    }
}

/// A value and for how many µs it held.
type Stretch = (f64, f64);

/// The values of a window of one sensor.
pub fn values(
    rule: &Rule,
    sensor: usize,
    held: &Held,
    column: &Column,
    watermark_us: Option<i64>,
) -> Vec<(String, Wanted)> {
    let until_us = watermark_us.unwrap_or(held.start_us).min(held.end_us);
    let decimals = decimals_of(rule, sensor);
    let number = |raw| value_of(raw, decimals);
    let mut in_time = column.samples.clone();
    in_time.sort_by_key(|(time_us, _)| *time_us);
    let values: Vec<f64> = in_time.iter().map(|(_, raw)| number(*raw)).collect();
    let stretches = stretches(rule, held, column, until_us, decimals);
    let covered_us: f64 = stretches.iter().map(|(_, span_us)| span_us).sum();
    let (moved, moved_s) = moved(rule, sensor, column, decimals);
    let found = rule.aggregates.iter().filter_map(|aggregate| {
        let share = |part_us: f64| (covered_us > 0.0).then(|| part_us / covered_us);
        let wanted = match aggregate {
            Aggregate::Count => {
                return Some((aggregate.name(), Wanted::Count(values.len() as u64)));
            }
            Aggregate::Histogram { bounds, .. } => {
                return Some((aggregate.name(), Wanted::Counts(histogram(&values, bounds))));
            }
            Aggregate::TimeWeightedMean => share(
                stretches
                    .iter()
                    .map(|(value, span_us)| value * span_us)
                    .sum(),
            ),
            Aggregate::ShareOfTime {
                condition: when, ..
            } => {
                let holds = |value| condition(&when.text, value, sensor, None) == Some(true);
                let parts = stretches.iter().filter(|(value, _)| holds(*value));
                share(parts.map(|(_, span_us)| span_us).sum())
            }
            Aggregate::Delta => Some(moved),
            Aggregate::Rate => (moved_s > 0.0).then(|| moved / moved_s),
            plain => of_values(plain, &values),
        };
        let wanted = wanted?;
        Some((
            aggregate.name(),
            Wanted::Near(wanted, error(aggregate, wanted, values.len())),
        ))
    });
    found.collect()
}

fn error(aggregate: &Aggregate, wanted: f64, samples: usize) -> f64 {
    let coarse = matches!(aggregate, Aggregate::Percentile(_) | Aggregate::Median);
    let share = if coarse && samples > EXACT_MAX {
        COARSE
    } else {
        1e-9
    };
    (wanted.abs() * share).max(1e-9)
}

fn of_values(aggregate: &Aggregate, values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    Some(match aggregate {
        Aggregate::Sum => values.iter().sum(),
        Aggregate::Min => least,
        Aggregate::Max => most,
        Aggregate::Mean => mean,
        Aggregate::Stddev if values.len() < 2 => return None,
        Aggregate::Stddev => {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (count - 1.0)).sqrt()
        }
        Aggregate::First => *values.first()?,
        Aggregate::Last => *values.last()?,
        Aggregate::Percentile(tenths) => percentile(&sorted, f64::from(*tenths) / 1_000.0),
        Aggregate::Median => percentile(&sorted, 0.5),
        Aggregate::Range => most - least,
        other => panic!("{other:?} is not of the values alone"),
    })
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() - 1) as f64 * part;
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (rank - rank.floor())
}

fn histogram(values: &[f64], bounds: &[f64]) -> Vec<u64> {
    let at = |value: &f64| bounds.iter().filter(|bound| **bound <= *value).count();
    let mut counts = vec![0; bounds.len() + 1];
    for value in values {
        counts[at(value)] += 1;
    }
    counts
}

/// Values and the µs for which each held within the window.
fn stretches(
    rule: &Rule,
    held: &Held,
    column: &Column,
    until_us: i64,
    decimals: u8,
) -> Vec<Stretch> {
    let hold_us = rule.window.as_ref().unwrap().hold_us;
    let carry = column
        .carry
        .into_iter()
        .map(|(at_us, raw)| (at_us.max(held.start_us), at_us, raw));
    let line = column
        .line
        .iter()
        .map(|(at_us, raw)| (*at_us, *at_us, *raw));
    let points: Vec<_> = carry.chain(line).collect();
    let ends = points
        .iter()
        .skip(1)
        .map(|(from_us, ..)| *from_us)
        .chain([until_us]);
    let spans = points
        .iter()
        .zip(ends)
        .map(|((from_us, at_us, raw), end_us)| {
            let span_us = end_us.min(at_us + hold_us) - from_us;
            (value_of(*raw, decimals), span_us.max(0) as f64)
        });
    spans.collect()
}

/// The change, and the seconds it took.
fn moved(rule: &Rule, sensor: usize, column: &Column, decimals: u8) -> (f64, f64) {
    let points: Vec<_> = column.carry.iter().chain(&column.line).collect();
    let is_counter = sensor == COUNTER && rule.derive.is_none();
    let steps = points.windows(2).map(|pair| {
        let (before, after) = (pair[0].1, pair[1].1);
        if is_counter && after < before {
            after
        } else {
            after - before
        }
    });
    let (first, last) = (points[0].0, points[points.len() - 1].0);
    (value_of(steps.sum(), decimals), (last - first) as f64 / 1e6)
}
