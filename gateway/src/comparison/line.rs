//! Line: the curve that passed-through samples draw: straight from each record to the next, or
//! held at each until the next where a rule leaves out what does not change.
//!
//! A sample waits until a record behind it comes. Both come in the order of their times, but for
//! what a device sends late: that is not compared, as the curve is past it.

use super::errors::Errors;
use crate::rules::Thinning;

/// Most samples of a curve that wait for its next record: 18 hours of one a second.
pub(super) const WAITING_SAMPLES_MAX: usize = 1 << 16;
/// Most of all curves together: 32 MiB.
pub(super) const WAITING_ALL_MAX: usize = 1 << 21;

/// A curve of straight lines.
#[derive(Debug, Default)]
pub(super) struct Line {
    holds: bool,
    epoch: u32,
    /// The newest record.
    last: Option<(i64, f64)>,
    /// Samples behind it.
    waiting: Vec<(i64, f64)>,
    errors: Errors,
}

impl Line {
    /// The curve of a rule's thinning.
    pub fn of(thin: Option<&Thinning>) -> Self {
        Self {
            holds: matches!(thin, Some(Thinning::Deadband { .. } | Thinning::OnChange)),
            ..Self::default()
        }
    }

    /// A sample came. `all` is how many wait in all curves.
    pub fn sample(&mut self, all: &mut usize, epoch: u32, time_us: i64, value: f64) {
        if epoch != self.epoch {
            self.begin(all, epoch);
        }
        match self.last {
            Some((last_us, _)) if time_us < last_us => self.errors.not_compared.late += 1,
            Some((last_us, last)) if time_us == last_us => self.errors.add(time_us, value - last),
            _ if self.waiting.len() >= WAITING_SAMPLES_MAX || *all >= WAITING_ALL_MAX => {
                self.errors.not_compared.beyond_limit += 1;
            }
            _ => {
                self.waiting.push((time_us, value));
                *all += 1;
            }
        }
    }

    /// A record came.
    pub fn record(&mut self, all: &mut usize, epoch: u32, time_us: i64, value: f64) {
        if epoch > self.epoch {
            self.begin(all, epoch);
        }
        if epoch < self.epoch || self.last.is_some_and(|(last_us, _)| time_us < last_us) {
            return;
        }
        let (last, errors, holds) = (self.last, &mut self.errors, self.holds);
        let before = self.waiting.len();
        self.waiting.retain(|(at_us, sample)| {
            if *at_us > time_us {
                return true;
            }
            match last {
                _ if *at_us == time_us => errors.add(*at_us, sample - value),
                Some((_, held)) if holds => errors.add(*at_us, sample - held),
                Some(from) => {
                    errors.add(*at_us, sample - between(from, (time_us, value), *at_us));
                }
                None => errors.not_compared.before_first += 1,
            }
            false
        });
        *all -= before - self.waiting.len();
        self.last = Some((time_us, value));
    }

    /// Nothing leads from one epoch to the next.
    fn begin(&mut self, all: &mut usize, epoch: u32) {
        self.let_go(all);
        self.epoch = epoch;
        self.last = None;
    }

    fn let_go(&mut self, all: &mut usize) {
        let waited = self.waiting.len();
        *all -= waited;
        self.waiting.clear();
        let not_compared = &mut self.errors.not_compared;
        match self.last {
            Some(_) => not_compared.after_last += waited as u64,
            None => not_compared.before_first += waited as u64,
        }
    }

    /// The errors, when nothing comes any more.
    pub fn end(mut self, all: &mut usize) -> Errors {
        self.let_go(all);
        self.errors
    }
}

/// The value at a time on the straight line between two points; the second one is later.
fn between((from_us, from): (i64, f64), (to_us, to): (i64, f64), at_us: i64) -> f64 {
    let (whole, part) = (to_us - from_us, at_us - from_us);
    from + (to - from) * (part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadband_holds_each_value_until_the_next() {
        let (mut line, mut all) = (Line::of(Some(&Thinning::deadband(1.0))), 0);
        line.record(&mut all, 0, 0, 5.0);
        for (at, value) in [(10, 5.5), (20, 4.5), (30, 9.0)] {
            line.sample(&mut all, 0, at, value);
        }
        line.record(&mut all, 0, 30, 9.0);
        let errors = line.end(&mut all);
        assert_eq!(errors.compared, 3);
        assert!((errors.largest().unwrap().0 - 0.5).abs() < 1e-12);
    }

    #[test]
    fn samples_are_compared_with_the_straight_line_around_them() {
        let (mut line, mut all) = (Line::default(), 0);
        line.sample(&mut all, 0, 0, 7.0);
        line.record(&mut all, 0, 10, 0.0);
        for (at, value) in [(10, 0.0), (15, 5.0), (20, 13.0), (30, 20.0), (35, 1.0)] {
            line.sample(&mut all, 0, at, value);
        }
        assert_eq!(all, 4, "those behind the newest record wait");
        line.record(&mut all, 0, 30, 20.0);
        line.sample(&mut all, 0, 12, 3.0);
        let errors = line.end(&mut all);
        assert_eq!(all, 0);
        assert_eq!(errors.compared, 4);
        assert_eq!(errors.largest(), Some((3.0, 20)));
        assert_eq!(errors.rms(), Some((9.0_f64 / 4.0).sqrt()));
        let not = errors.not_compared;
        assert_eq!((not.before_first, not.late, not.after_last), (1, 1, 1));
    }

    #[test]
    fn an_epoch_begins_another_line() {
        let (mut line, mut all) = (Line::default(), 0);
        line.record(&mut all, 0, 10, 0.0);
        line.sample(&mut all, 0, 15, 1.0);
        line.sample(&mut all, 1, 5, 1.0);
        line.record(&mut all, 1, 5, 1.0);
        let errors = line.end(&mut all);
        assert_eq!((errors.compared, errors.rms()), (1, Some(0.0)));
        assert_eq!(errors.not_compared.after_last, 1);
    }

    #[test]
    fn samples_that_wait_are_bounded_and_counted() {
        let (mut line, mut all) = (Line::default(), 0);
        line.record(&mut all, 0, 0, 0.0);
        for at in 1..=(WAITING_SAMPLES_MAX as i64 + 3) {
            line.sample(&mut all, 0, at, 0.0);
        }
        assert_eq!(line.errors.not_compared.beyond_limit, 3);
        let mut full = WAITING_ALL_MAX;
        let mut other = Line::default();
        other.sample(&mut full, 0, 1, 0.0);
        assert_eq!(other.errors.not_compared.beyond_limit, 1);
    }
}
