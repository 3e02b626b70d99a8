//! Errors: how far a curve that is redrawn from records is from the samples.

use serde::Serialize;

/// How far samples are from a curve.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Errors {
    /// Samples compared.
    pub compared: u64,
    /// The sum of the squared errors.
    squares: f64,
    /// The largest error, and the time of its sample.
    largest: f64,
    largest_at: Option<i64>,
    /// Samples that were not compared.
    pub not_compared: NotCompared,
}

/// Samples that have no place on the curve.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NotCompared {
    /// Before the curve's first record.
    pub before_first: u64,
    /// Behind its last record.
    pub after_last: u64,
    /// Outside the rule's `keep`: no curve is to show them.
    pub implausible: u64,
    /// They came when the curve was past them.
    pub late: u64,
    /// More wait for the next record than are held.
    pub beyond_limit: u64,
    /// The rule's records have no value that a curve could go through.
    pub without_value: u64,
}

/// Samples of one window, as far as their distance from any one value needs them.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Gathered {
    pub count: u64,
    mean: f64,
    /// The sum of the squared distances from the mean.
    spread: f64,
    lowest: (f64, i64),
    highest: (f64, i64),
}

impl Gathered {
    /// Adds a sample (Welford 1962: stable where a sum of squares is not).
    pub fn add(&mut self, time_us: i64, value: f64) {
        if self.count == 0 || value < self.lowest.0 {
            self.lowest = (value, time_us);
        }
        if self.count == 0 || value > self.highest.0 {
            self.highest = (value, time_us);
        }
        self.count += 1;
        let apart = value - self.mean;
        self.mean += apart / self.count as f64;
        self.spread += apart * (value - self.mean);
    }
}

impl Errors {
    /// Adds a sample's distance from the curve.
    pub fn add(&mut self, time_us: i64, error: f64) {
        self.compared += 1;
        self.squares += error * error;
        self.enlarge(time_us, error.abs());
    }

    /// Adds the distances of gathered samples from one value.
    pub fn add_all(&mut self, gathered: &Gathered, value: f64) {
        if gathered.count == 0 {
            return;
        }
        let apart = gathered.mean - value;
        self.compared += gathered.count;
        self.squares += gathered.spread + gathered.count as f64 * apart * apart;
        for (extreme, time_us) in [gathered.lowest, gathered.highest] {
            self.enlarge(time_us, (extreme - value).abs());
        }
    }

    /// Adds those of another curve, or of a part of this one; says whether its largest is larger.
    pub fn merge(&mut self, other: &Self) -> bool {
        self.compared += other.compared;
        self.squares += other.squares;
        let (sum, more) = (&mut self.not_compared, &other.not_compared);
        sum.before_first += more.before_first;
        sum.after_last += more.after_last;
        sum.implausible += more.implausible;
        sum.late += more.late;
        sum.beyond_limit += more.beyond_limit;
        sum.without_value += more.without_value;
        other
            .largest_at
            .is_some_and(|at| self.enlarge(at, other.largest))
    }

    fn enlarge(&mut self, time_us: i64, error: f64) -> bool {
        let is_larger = self.largest_at.is_none() || error > self.largest;
        if is_larger {
            (self.largest, self.largest_at) = (error, Some(time_us));
        }
        is_larger
    }

    /// The largest error and its sample's time.
    pub fn largest(&self) -> Option<(f64, i64)> {
        self.largest_at.map(|at| (self.largest, at))
    }

    /// The root of the mean of the squared errors.
    pub fn rms(&self) -> Option<f64> {
        (self.compared > 0).then(|| (self.squares / self.compared as f64).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gathered_samples_are_as_far_as_each_alone(
            values in prop::collection::vec(-1e3_f64..1e3, 1..60),
            from in -1e3_f64..1e3,
        ) {
            let (mut each, mut all, mut gathered) =
                (Errors::default(), Errors::default(), Gathered::default());
            for (time_us, value) in (0..).zip(&values) {
                each.add(time_us, value - from);
                gathered.add(time_us, *value);
            }
            all.add_all(&gathered, from);
            prop_assert_eq!(all.compared, each.compared);
            let largest = |errors: &Errors| errors.largest().unwrap().0.to_bits();
            prop_assert_eq!(largest(&all), largest(&each));
            prop_assert!((all.rms().unwrap() - each.rms().unwrap()).abs() < 1e-6);
        }
    }
}
