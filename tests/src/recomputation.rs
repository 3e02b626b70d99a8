//! The right answers: what every window of a trace must give, computed plainly from the file.
//!
//! Definitions: windows are aligned to 1970-01-01 and hold the samples of `start <= time < end`;
//! `first` and `last` by time; `stddev` divides by n-1 and is absent for one sample; pXX is linear
//! interpolation at rank (n-1)p of the sorted values, as numpy's default.

use std::collections::BTreeMap;

use crate::trace::Trace;

/// A sensor and a window's start in seconds since 1970-01-01.
pub type Key = (String, i64);

/// What one window gives: values by the names of the rule's aggregates.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Samples in it.
    pub count: u64,
    /// Sum of the absolute values: the scale of rounding in a sum.
    pub magnitude: f64,
    /// Aggregates by name; absent ones are left out.
    pub values: BTreeMap<&'static str, f64>,
}

/// Computes every window that holds a sample.
pub fn recompute(trace: &Trace, window_s: i64) -> BTreeMap<Key, Answer> {
    let mut windows: BTreeMap<Key, Vec<(i64, f64)>> = BTreeMap::new();
    for (sensor, column) in &trace.columns {
        for (time, value) in trace.times_s.iter().zip(&column.values) {
            let start = time.div_euclid(window_s) * window_s;
            let window = windows.entry((sensor.clone(), start)).or_default();
            window.push((*time, *value));
        }
    }
    windows
        .into_iter()
        .map(|(key, samples)| (key, answer(samples)))
        .collect()
}

fn answer(mut samples: Vec<(i64, f64)>) -> Answer {
    // Stable: samples of one time keep the order of the file.
    samples.sort_by_key(|(time, _)| *time);
    let in_time: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    let mut sorted = in_time.clone();
    sorted.sort_by(f64::total_cmp);

    let n = in_time.len() as f64;
    let sum: f64 = in_time.iter().sum();
    let mean = sum / n;
    let squares: f64 = in_time.iter().map(|value| (value - mean).powi(2)).sum();
    let mut values = BTreeMap::from([
        ("count", n),
        ("sum", sum),
        ("mean", mean),
        ("min", sorted[0]),
        ("max", sorted[sorted.len() - 1]),
        ("first", in_time[0]),
        ("last", in_time[in_time.len() - 1]),
        ("p50", percentile(&sorted, 0.50)),
        ("p95", percentile(&sorted, 0.95)),
    ]);
    if in_time.len() > 1 {
        values.insert("stddev", (squares / (n - 1.0)).sqrt());
    }
    Answer {
        count: in_time.len() as u64,
        magnitude: in_time.iter().map(|value| value.abs()).sum(),
        values,
    }
}

fn percentile(sorted: &[f64], part: f64) -> f64 {
    let rank = (sorted.len() - 1) as f64 * part;
    let below = rank.floor() as usize;
    let above = rank.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (rank - rank.floor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Column;

    fn trace(samples: &[(i64, f64)]) -> Trace {
        Trace {
            times_s: samples.iter().map(|(time, _)| *time).collect(),
            columns: BTreeMap::from([(
                "x".to_owned(),
                Column {
                    values: samples.iter().map(|(_, value)| *value).collect(),
                    ..Column::default()
                },
            )]),
        }
    }

    #[test]
    fn a_window_by_hand() {
        // numpy: mean 4.0, std(ddof=1) 3.1622776601683795, percentile 50 -> 3.0, 95 -> 8.2.
        let samples = [(60, 2.0), (61, 9.0), (62, 5.0), (63, 3.0), (119, 1.0)];
        let answers = recompute(&trace(&samples), 60);
        assert_eq!(answers.len(), 1);
        let answer = &answers[&("x".to_owned(), 60)];
        assert_eq!(answer.count, 5);
        let expected = [
            ("count", 5.0),
            ("sum", 20.0),
            ("mean", 4.0),
            ("min", 1.0),
            ("max", 9.0),
            ("first", 2.0),
            ("last", 1.0),
            ("stddev", 3.162_277_660_168_379_5),
            ("p50", 3.0),
            ("p95", 8.2),
        ];
        assert_eq!(answer.values.len(), expected.len());
        for (name, value) in expected {
            assert!((answer.values[name] - value).abs() < 1e-12, "{name}");
        }
    }

    #[test]
    fn edges_belong_to_the_later_window_and_one_sample_has_no_stddev() {
        let answers = recompute(&trace(&[(59, 1.0), (60, 2.0), (121, 3.0)]), 60);
        let starts: Vec<i64> = answers.keys().map(|(_, start)| *start).collect();
        assert_eq!(starts, [0, 60, 120]);
        assert!(answers.values().all(|answer| answer.count == 1));
        assert!(
            answers
                .values()
                .all(|answer| !answer.values.contains_key("stddev"))
        );
    }
}
