//! Since: the balances between two moments, as the difference of theirs.
//!
//! A balance is a sum of signed terms, so the difference of two is one again: `open`, `waiting`
//! and `unknown` say by how much they grew. What is unknown now is said as it is now.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Balances, RuleRow, SampleRow, SampleTerms, SinkRow};

/// From when on balances count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The time asked for, UTC in µs.
    pub asked_us: i64,
    /// The time from which on they count: later than asked for where log or journal do not reach
    /// back so far. `None`: from the first entry of the log on.
    pub from_us: Option<i64>,
    /// The position from which on entries count.
    pub position: u64,
}

impl Balances {
    /// What became of samples between `then`, the balances at an earlier moment, and now.
    #[must_use]
    pub fn since(mut self, then: &Self, since: Since) -> Self {
        let mut samples = by_key(&then.samples, sample_key);
        for row in &mut self.samples {
            let before = samples.remove(&sample_key(row));
            let (taken, terms) = before.map_or((Some(0), SampleTerms::default()), |before| {
                (before.taken, before.terms)
            });
            row.taken = row.taken.zip(taken).map(|(now, then)| now - then);
            row.terms = row.terms.less(&terms);
        }
        // What no longer has a row has ended: its terms went back to 0.
        self.samples
            .extend(samples.into_values().map(|row| SampleRow {
                taken: row.taken.map(|taken| -taken),
                terms: SampleTerms::default().less(&row.terms),
                unknowns: Vec::new(),
                ..row.clone()
            }));
        let rules = by_key(&then.rules, rule_key);
        for row in &mut self.rules {
            if let Some(before) = rules.get(&rule_key(row)) {
                row.terms = row.terms.less(&before.terms);
            }
        }
        let sinks = by_key(&then.sinks, sink_key);
        for row in &mut self.sinks {
            if let Some(before) = sinks.get(&sink_key(row)) {
                row.terms = row.terms.less(&before.terms);
            }
        }
        self.total.unmatched -= then.total.unmatched;
        self.since = Some(since);
        self.add_up();
        self
    }
}

fn by_key<R, K: Ord>(rows: &[R], key: impl Fn(&R) -> K) -> BTreeMap<K, &R> {
    rows.iter().map(|row| (key(row), row)).collect()
}

fn sample_key(row: &SampleRow) -> (String, Option<String>) {
    (row.device.clone(), row.sensor.clone())
}

fn rule_key(row: &RuleRow) -> (String, String, String) {
    (row.device.clone(), row.sensor.clone(), row.rule.clone())
}

fn sink_key(row: &SinkRow) -> (String, String, String, String) {
    let (rule, sink) = (row.rule.clone(), row.sink.clone());
    (row.device.clone(), row.sensor.clone(), rule, sink)
}
