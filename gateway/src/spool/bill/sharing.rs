//! Sharing: the bytes of a batch among what is in it.

use super::super::counters::up_to;

/// Shares totals in proportion to weights, in their order; what falls to all of them adds up to
/// the totals exactly. Where no weight is above 0 all weigh the same.
pub fn share<const N: usize>(weights: &[u64], totals: [u64; N]) -> Vec<[u64; N]> {
    let even = weights.iter().all(|weight| *weight == 0);
    let weight_of = |weight: &u64| if even { 1 } else { *weight };
    let whole = weights.iter().map(weight_of).fold(0, u64::saturating_add);
    let mut so_far: u64 = 0;
    let parts = weights.iter().map(|weight| {
        let from = so_far;
        so_far = so_far.saturating_add(weight_of(weight));
        totals.map(|total| up_to(total, so_far, whole) - up_to(total, from, whole))
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_divided_falls_to_the_later_ones() {
        assert_eq!(share(&[1, 1, 1], [100, 1]), [[33, 0], [33, 0], [34, 1]]);
        assert_eq!(share(&[0, 0], [3]), [[1], [2]], "no weights");
        assert_eq!(share::<1>(&[], [3]), Vec::<[u64; 1]>::new());
    }

    proptest! {
        #[test]
        fn shares_add_up_and_follow_the_weights(
            weights in prop::collection::vec(0..1_u64 << 40, 1..50),
            total in 0..1_u64 << 50,
        ) {
            let parts = share(&weights, [total]);
            prop_assert_eq!(parts.iter().map(|[part]| part).sum::<u64>(), total);
            let whole: u64 = weights.iter().sum();
            for (weight, [part]) in weights.iter().zip(&parts) {
                let exact = u128::from(total) * u128::from(*weight) / u128::from(whole.max(1));
                if whole > 0 {
                    prop_assert!(u128::from(*part).abs_diff(exact) <= 1);
                }
            }
        }
    }
}
