//! Every window of a trace, worked out plainly: from the file's floats to the values of records.

use std::collections::BTreeMap;

use crate::rules::{Aggregate, Rule, Shape};

/// Time in µs and value.
pub type Point = (i64, f64);

/// A window's samples, and the last one before it.
#[derive(Debug)]
pub struct Stretch {
    pub start_us: i64,
    pub end_us: i64,
    pub points: Vec<Point>,
    before: Option<Point>,
}

/// A value: one number, or the counts of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Number(f64),
    Counts(Vec<u64>),
}

/// Cuts a column into the windows of a rule. Days are given by their ends.
pub fn windows(rule: &Rule, column: &[Point], day_us: (i64, i64)) -> Vec<Stretch> {
    let window = rule.window.as_ref().unwrap();
    let (first, last) = (column[0].0, column[column.len() - 1].0);
    let spans: Vec<(i64, i64)> = match &window.shape {
        Shape::Tumbling { length_us } => multiples(first, last, *length_us, *length_us),
        Shape::Hopping {
            length_us,
            every_us,
        } => multiples(first, last, *length_us, *every_us),
        Shape::Sliding { length_us } => {
            let ends = column.iter().map(|(time_us, _)| time_us + 1);
            ends.map(|end_us| (end_us - length_us, end_us)).collect()
        }
        Shape::Calendar { .. } => vec![day_us],
        Shape::Session { gap_us, .. } => {
            let apart = |pair: &[Point]| pair[1].0 - pair[0].0 >= *gap_us;
            let breaks = column.windows(2).filter(|pair| apart(pair));
            let breaks: Vec<_> = breaks.map(|pair| (pair[0].0 + gap_us, pair[1].0)).collect();
            let starts = [first].into_iter().chain(breaks.iter().map(|one| one.1));
            let ends = breaks.iter().map(|one| one.0).chain([last + gap_us]);
            starts.zip(ends).collect()
        }
        Shape::Count { samples } => {
            let chunks = column.chunks(*samples as usize);
            let ends = chunks.map(|chunk| (chunk[0].0, chunk[chunk.len() - 1].0 + 1));
            ends.collect()
        }
    };
    let cut = spans.into_iter().map(|(start_us, end_us)| {
        let from = column.partition_point(|(time_us, _)| *time_us < start_us);
        let to = column.partition_point(|(time_us, _)| *time_us < end_us);
        Stretch {
            start_us,
            end_us,
            points: column[from..to].to_vec(),
            before: from.checked_sub(1).map(|at| column[at]),
        }
    });
    cut.filter(|one| !one.points.is_empty()).collect()
}

fn multiples(first: i64, last: i64, length_us: i64, every_us: i64) -> Vec<(i64, i64)> {
    let from = (first - length_us).div_euclid(every_us);
    let to = last.div_euclid(every_us);
    let starts = (from..=to).map(|number| number * every_us);
    starts
        .map(|start_us| (start_us, start_us + length_us))
        .collect()
}

/// The values of a window that is complete up to `until_us` or its end.
pub fn answers(rule: &Rule, stretch: &Stretch, until_us: i64) -> BTreeMap<String, Answer> {
    let values: Vec<f64> = stretch.points.iter().map(|(_, value)| *value).collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    let mean = sum / count;
    let percentile = |part: f64| {
        let rank = (sorted.len() - 1) as f64 * part;
        let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
        sorted[below] + (sorted[above] - sorted[below]) * (rank - rank.floor())
    };
    let held = held(rule, stretch, until_us);
    let covered: f64 = held.iter().map(|(_, span)| span).sum();
    let of_time = |part: f64| (covered > 0.0).then(|| part / covered);
    let base = stretch.before.unwrap_or(stretch.points[0]);
    let end = stretch.points[stretch.points.len() - 1];
    let moved_s = (end.0 - base.0) as f64 / 1e6;
    let mut answers = BTreeMap::new();
    for aggregate in &rule.aggregates {
        let number = match aggregate {
            Aggregate::Count => Some(count),
            Aggregate::Sum => Some(sum),
            Aggregate::Min => Some(sorted[0]),
            Aggregate::Max => Some(sorted[sorted.len() - 1]),
            Aggregate::Mean => Some(mean),
            Aggregate::Stddev => (values.len() > 1).then(|| {
                let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
                (squares / (count - 1.0)).sqrt()
            }),
            Aggregate::First => Some(values[0]),
            Aggregate::Last => Some(end.1),
            Aggregate::Percentile(tenths) => Some(percentile(f64::from(*tenths) / 1_000.0)),
            Aggregate::Median => Some(percentile(0.5)),
            Aggregate::Range => Some(sorted[sorted.len() - 1] - sorted[0]),
            Aggregate::TimeWeightedMean => {
                of_time(held.iter().map(|(value, span)| value * span).sum())
            }
            Aggregate::ShareOfTime { condition, .. } => {
                assert_eq!(condition.text, "value > 20");
                let hot = held.iter().filter(|(value, _)| *value > 20.0);
                of_time(hot.map(|(_, span)| span).sum())
            }
            Aggregate::Delta => Some(end.1 - base.1),
            Aggregate::Rate => (moved_s > 0.0).then(|| (end.1 - base.1) / moved_s),
            Aggregate::Histogram { bounds, .. } => {
                let mut counts = vec![0; bounds.len() + 1];
                for value in &values {
                    counts[bounds.iter().filter(|bound| *bound <= value).count()] += 1;
                }
                answers.insert(aggregate.name(), Answer::Counts(counts));
                None
            }
        };
        answers.extend(number.map(|number| (aggregate.name(), Answer::Number(number))));
    }
    answers
}

/// Values, and for how many µs of the window each held.
fn held(rule: &Rule, stretch: &Stretch, until_us: i64) -> Vec<(f64, f64)> {
    let hold_us = rule.window.as_ref().unwrap().hold_us;
    let all: Vec<Point> = stretch
        .before
        .iter()
        .chain(&stretch.points)
        .copied()
        .collect();
    let ends = all.iter().skip(1).map(|(time_us, _)| *time_us);
    let ends = ends.chain([until_us.min(stretch.end_us)]);
    let spans = all.iter().zip(ends).map(|((time_us, value), end_us)| {
        let from_us = stretch.start_us.max(*time_us);
        let span_us = end_us.min(time_us + hold_us) - from_us;
        (*value, span_us.max(0) as f64)
    });
    spans.collect()
}
