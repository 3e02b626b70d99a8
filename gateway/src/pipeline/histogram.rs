//! Histograms: how many of a window's samples lie between which bounds.

use serde::{Deserialize, Serialize};

/// Counts of the samples below the first bound, from each bound to the next, and from the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Histogram {
    /// One more than there are bounds.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// An empty one.
    pub fn new(bounds: usize) -> Self {
        Self {
            counts: vec![0; bounds + 1],
        }
    }

    /// Takes a value; a bound belongs to what is above it.
    pub fn add(&mut self, value: f64, bounds: &[f64]) {
        let at = bounds.partition_point(|bound| *bound <= value);
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
    }

    /// Takes what another one of the same bounds counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in self.counts.iter_mut().zip(&other.counts) {
            *mine += others;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_what_is_above_it() {
        let bounds = [0.0, 10.0, 20.0];
        let mut histogram = Histogram::new(bounds.len());
        for value in [-0.1, 0.0, 9.9, 10.0, 19.99, 20.0, 500.0] {
            histogram.add(value, &bounds);
        }
        assert_eq!(histogram.counts, [1, 2, 2, 2]);
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!(twice.counts, [2, 4, 4, 4]);
    }
}
