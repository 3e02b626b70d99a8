//! Distributions: the samples of a window, for its percentiles.
//!
//! Up to [`EXACT_MAX`] samples are kept as raw integers, so percentiles are exact. Above that an
//! integer log-linear histogram counts mantissas: magnitudes below 256 have a bucket each, above
//! every power of two is cut into 128. A bucket is at most 1/128 of its values wide and stands
//! for its middle, so an order statistic is off by at most 0.4 %. Integers only: the same on
//! every target.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::Scale;

/// Most samples kept one by one: 2 KiB per window that has percentiles.
pub(super) const EXACT_MAX: usize = 256;

/// Magnitudes below this have a bucket each; above, half as many buckets per power of two.
const LINEAR: u32 = 256;
const LINEAR_BITS: u32 = LINEAR.trailing_zeros();

/// The samples of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Distribution {
    /// Raw values, in no particular order.
    Exact(Vec<i64>),
    /// Counts of mantissas by bucket.
    Histogram(BTreeMap<i32, u64>),
}

impl Default for Distribution {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Distribution {
    /// Takes a sample.
    pub fn add(&mut self, raw: i64, scale: &Scale) {
        match self {
            Self::Exact(raws) if raws.len() < EXACT_MAX => raws.push(raw),
            Self::Exact(raws) => {
                let mut buckets = BTreeMap::new();
                for raw in raws.iter().copied().chain([raw]) {
                    *buckets.entry(bucket(scale.mantissa(raw))).or_default() += 1;
                }
                *self = Self::Histogram(buckets);
            }
            Self::Histogram(buckets) => {
                *buckets.entry(bucket(scale.mantissa(raw))).or_default() += 1;
            }
        }
    }

    /// Takes what another one holds.
    pub fn merge(&mut self, other: Self, scale: &Scale) {
        match other {
            Self::Exact(raws) => raws.into_iter().for_each(|raw| self.add(raw, scale)),
            Self::Histogram(others) => {
                if let Self::Exact(raws) = self {
                    let mut buckets = BTreeMap::new();
                    for raw in raws.iter() {
                        *buckets.entry(bucket(scale.mantissa(*raw))).or_default() += 1;
                    }
                    *self = Self::Histogram(buckets);
                }
                if let Self::Histogram(buckets) = self {
                    for (bucket, count) in others {
                        *buckets.entry(bucket).or_default() += count;
                    }
                }
            }
        }
    }

    /// Puts samples in order, for [`Self::percentile`].
    pub fn sort(&mut self) {
        if let Self::Exact(raws) = self {
            raws.sort_unstable();
        }
    }

    /// The percentile in tenths of a percent as a thousandfold mantissa, linear at (n−1)p, of
    /// samples that are sorted; `None` without samples.
    pub fn percentile(&self, tenths: u16, scale: &Scale) -> Option<i128> {
        let tenths = u64::from(tenths.min(1_000));
        let samples = match self {
            Self::Exact(raws) => raws.len() as u64,
            Self::Histogram(buckets) => buckets.values().sum(),
        };
        // Thousandths of a rank; u128 as samples × 1,000 may pass u64.
        let rank = u128::from(samples.checked_sub(1)?) * u128::from(tenths);
        let (below, part) = ((rank / 1_000) as u64, (rank % 1_000) as i128);
        let low = self.order_statistic(below, scale)?;
        if part == 0 {
            return Some(low * 1_000);
        }
        let high = self.order_statistic(below + 1, scale)?;
        Some(low * (1_000 - part) + high * part)
    }

    /// The mantissa of the sample at a rank, counted from 0.
    fn order_statistic(&self, rank: u64, scale: &Scale) -> Option<i128> {
        match self {
            Self::Exact(raws) => raws.get(rank as usize).map(|raw| scale.mantissa(*raw)),
            Self::Histogram(buckets) => {
                let mut seen = 0;
                let mut all = buckets.iter();
                let (bucket, _) = all.find(|(_, count)| {
                    seen += **count;
                    seen > rank
                })?;
                Some(middle(*bucket))
            }
        }
    }
}

/// The bucket of a mantissa; those of negative mantissas are negative.
fn bucket(mantissa: i128) -> i32 {
    let magnitude = mantissa.unsigned_abs();
    let bits = u128::BITS - magnitude.leading_zeros();
    let shift = bits.saturating_sub(LINEAR_BITS);
    let number = shift * (LINEAR / 2) + (magnitude >> shift) as u32;
    if mantissa < 0 {
        -(number as i32)
    } else {
        number as i32
    }
}

/// The mantissa that a bucket stands for.
fn middle(bucket: i32) -> i128 {
    let number = bucket.unsigned_abs();
    let half = LINEAR / 2;
    let shift = (number / half).saturating_sub(1);
    let low = u128::from(number - shift * half) << shift;
    let magnitude = (low + ((1_u128 << shift) - 1) / 2) as i128;
    if bucket < 0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Linear interpolation at (n−1)p as numpy documents it.
    fn naive(mut values: Vec<f64>, tenths: u16) -> f64 {
        values.sort_by(f64::total_cmp);
        let rank = (values.len() - 1) as f64 * f64::from(tenths) / 1_000.0;
        let below = rank.floor() as usize;
        let above = (below + 1).min(values.len() - 1);
        values[below] + (values[above] - values[below]) * (rank - rank.floor())
    }

    fn filled(raws: &[i64], scale: &Scale) -> Distribution {
        let mut distribution = Distribution::default();
        for raw in raws {
            distribution.add(*raw, scale);
        }
        distribution.sort();
        distribution
    }

    #[test]
    fn no_samples_have_no_percentile() {
        assert_eq!(
            Distribution::default().percentile(500, &Scale::default()),
            None
        );
    }

    proptest! {
        #[test]
        fn buckets_hold_their_mantissas_within_a_percent(mantissa in -(1_i128 << 97)..(1 << 97), shift in 0_u32..97) {
            let mantissa = mantissa >> shift;
            let off = (middle(bucket(mantissa)) - mantissa).unsigned_abs();
            prop_assert!(off * 250 <= mantissa.unsigned_abs(), "{mantissa} is off by {off}");
            prop_assert!(bucket(mantissa) <= bucket(mantissa + 1));
        }

        #[test]
        fn few_samples_are_exact(raws in prop::collection::vec(-1_000_i64..1_000, 1..=EXACT_MAX), tenths in 0_u16..=1_000) {
            let scale = Scale { step: 2, offset: 7, exponent: 0 };
            let found = filled(&raws, &scale).percentile(tenths, &scale).unwrap();
            let values = raws.iter().map(|raw| (raw * 2 + 7) as f64).collect();
            prop_assert!((found as f64 / 1_000.0 - naive(values, tenths)).abs() < 1e-6);
        }

        #[test]
        fn many_samples_are_within_a_percent(raws in prop::collection::vec(1_i64..1_000_000, EXACT_MAX + 1..600), tenths in 0_u16..=1_000) {
            let scale = Scale::default();
            let found = filled(&raws, &scale).percentile(tenths, &scale).unwrap() as f64 / 1_000.0;
            let wanted = naive(raws.iter().map(|raw| *raw as f64).collect(), tenths);
            prop_assert!((found - wanted).abs() <= wanted / 100.0);
        }
    }
}
