//! Steps: the curve that records of windows draw: from each window's start to its end at one
//! value. A window without a record goes on at the value of the one before it, as nothing new was
//! said.
//!
//! A window waits until the watermark has passed it, so that its newest revision counts. Of its
//! samples only sums and extremes are kept.

use std::collections::BTreeMap;

use super::errors::{Errors, Gathered};
use crate::record::{Record, Value};
use crate::rules::{Aggregate, Rule};

/// Most windows of a curve that wait: twice what a rule holds of a sensor. Beyond, the oldest is
/// drawn as it is; what comes for it later is `late`.
const WAITING_WINDOWS_MAX: usize = 512;

/// Epoch and start of a window.
type Key = (u32, i64);

/// A curve of steps.
#[derive(Debug)]
pub(super) struct Steps {
    length_us: i64,
    lateness_us: i64,
    windows: BTreeMap<Key, Waiting>,
    /// The newest window drawn.
    drawn: Option<Key>,
    /// The value that goes on.
    held: Option<f64>,
    /// Behind the newest record: on the curve only if another one comes.
    trailing: Errors,
    errors: Errors,
}

#[derive(Debug, Default)]
struct Waiting {
    samples: Gathered,
    value: Option<f64>,
}

/// The value of a record that a step is drawn at: the mean, else the last, the first, the middle
/// of min and max, or the median.
pub(super) fn value_of(record: &Record) -> Option<f64> {
    let number = |name: &str| {
        let mut values = record.values.iter();
        values.find_map(|(known, value)| match value {
            Value::Number(number) if known == name => Some(*number),
            _ => None,
        })
    };
    let middle = || Some(f64::midpoint(number("min")?, number("max")?));
    let ends = || {
        number("mean")
            .or_else(|| number("last"))
            .or_else(|| number("first"))
    };
    ends().or_else(middle).or_else(|| number("p50"))
}

/// Whether a rule's records have such a value.
pub(super) fn has_value(rule: &Rule) -> bool {
    let asks = |one: Aggregate| rule.aggregates.contains(&one);
    asks(Aggregate::Mean)
        || asks(Aggregate::Last)
        || asks(Aggregate::First)
        || asks(Aggregate::Min) && asks(Aggregate::Max)
        || asks(Aggregate::Percentile(500))
}

impl Steps {
    /// A curve of a rule with windows of a length and lateness.
    pub fn new(length_us: i64, lateness_us: i64) -> Self {
        Self {
            length_us: length_us.max(1),
            lateness_us,
            windows: BTreeMap::new(),
            drawn: None,
            held: None,
            trailing: Errors::default(),
            errors: Errors::default(),
        }
    }

    /// A sample came.
    pub fn sample(&mut self, epoch: u32, time_us: i64, value: f64) {
        let start_us = time_us.saturating_sub(time_us.rem_euclid(self.length_us));
        let key = (epoch, start_us);
        if self.drawn.is_some_and(|drawn| key <= drawn) {
            self.errors.not_compared.late += 1;
            return;
        }
        let window = self.windows.entry(key).or_default();
        window.samples.add(time_us, value);
        if self.windows.len() > WAITING_WINDOWS_MAX {
            self.draw_first();
        }
    }

    /// A record came; a later revision replaces it while its window waits.
    pub fn record(&mut self, record: &Record) {
        let key = (record.epoch, record.start_us);
        if self.drawn.is_none_or(|drawn| key > drawn) {
            self.windows.entry(key).or_default().value = value_of(record);
        }
    }

    /// The device is complete in an epoch up to an event time.
    pub fn advance(&mut self, epoch: u32, watermark_us: Option<i64>) {
        while let Some((&(of, start_us), _)) = self.windows.first_key_value() {
            let until_us = start_us
                .saturating_add(self.length_us)
                .saturating_add(self.lateness_us);
            if of >= epoch && watermark_us.is_none_or(|mark_us| mark_us < until_us) {
                break;
            }
            self.draw_first();
        }
    }

    fn draw_first(&mut self) {
        let Some((key, window)) = self.windows.pop_first() else {
            return;
        };
        self.drawn = Some(key);
        match (window.value, self.held) {
            (Some(value), _) => {
                self.errors.merge(&std::mem::take(&mut self.trailing));
                self.errors.add_all(&window.samples, value);
                self.held = Some(value);
            }
            (None, Some(held)) => self.trailing.add_all(&window.samples, held),
            (None, None) => self.errors.not_compared.before_first += window.samples.count,
        }
    }

    /// The errors, when nothing comes any more.
    pub fn end(mut self) -> Errors {
        while !self.windows.is_empty() {
            self.draw_first();
        }
        self.errors.not_compared.after_last += self.trailing.compared;
        self.errors
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::record;
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn a_window_without_a_record_goes_on_and_the_newest_revision_counts() {
        let mut steps = Steps::new(60 * S, 0);
        for (at, value) in [(10, 1.0), (70, 2.0), (130, 5.0), (190, 9.0)] {
            steps.sample(0, at * S, value);
        }
        steps.record(&record(0, 60 * S, &[("mean", 7.0)]));
        steps.record(&record(0, 60 * S, &[("mean", 3.0)]));
        steps.advance(0, Some(120 * S));
        steps.sample(0, 75 * S, 2.0);
        steps.record(&record(0, 180 * S, &[("mean", 9.0)]));
        let errors = steps.end();
        assert_eq!(errors.compared, 3, "of the windows 60, 120 (at 3) and 180");
        assert_eq!(errors.largest(), Some((2.0, 130 * S)));
        assert_eq!(errors.rms(), Some((5.0_f64 / 3.0).sqrt()));
        assert_eq!(errors.not_compared.before_first, 1);
        assert_eq!(errors.not_compared.late, 1);
        assert_eq!(errors.not_compared.after_last, 0);
    }

    #[test]
    fn what_follows_the_last_record_is_not_compared() {
        let mut steps = Steps::new(60 * S, 0);
        steps.sample(0, 10 * S, 1.0);
        steps.record(&record(0, 0, &[("min", 0.0), ("max", 4.0)]));
        steps.sample(0, 70 * S, 8.0);
        let errors = steps.end();
        assert_eq!((errors.compared, errors.rms()), (1, Some(1.0)));
        assert_eq!(errors.not_compared.after_last, 1);
    }

    #[test]
    fn windows_that_wait_are_bounded() {
        let mut steps = Steps::new(S, 0);
        for at in 0..2_000 {
            steps.sample(0, at * S, 0.0);
            assert!(steps.windows.len() <= WAITING_WINDOWS_MAX);
        }
    }
}
