//! Decimals: integer mantissas times powers of ten, as `f64`.
//!
//! Powers up to 10^22 are exact in an `f64`, so one correctly rounded multiplication or division
//! gives the nearest `f64` to every mantissa below 2^53: 38 × 10^-2 is 0.38. Larger mantissas are
//! rounded once more; the function stays monotone, which the bounds of rules rely on.

/// Powers of ten, exact.
const POWERS: [f64; 19] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18,
];

/// `mantissa × 10^exponent`; exponents beyond ±18 (no catalog has one) count as ±18.
pub fn number(mantissa: i128, exponent: i8) -> f64 {
    scale(mantissa as f64, exponent)
}

/// `value × 10^exponent` by one multiplication or division.
pub fn scale(value: f64, exponent: i8) -> f64 {
    let power = POWERS[usize::from(exponent.unsigned_abs()).min(POWERS.len() - 1)];
    if exponent < 0 {
        value / power
    } else {
        value * power
    }
}

/// The mantissa nearest to `value ÷ 10^exponent`, ties away from zero; `None` when it is beyond an
/// `i64` or not a number.
pub fn round(value: f64, exponent: i8) -> Option<i64> {
    let mantissa = scale(value, -exponent).round();
    // 2^63, the first float that is too large.
    (mantissa.abs() < 9_223_372_036_854_775_808.0).then_some(mantissa as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_decimal_is_the_nearest_float(mantissa in -(1_i64 << 53)..(1 << 53), exponent in -18_i8..=18) {
            let parsed: f64 = format!("{mantissa}e{exponent}").parse().unwrap();
            prop_assert_eq!(number(mantissa.into(), exponent).to_bits(), parsed.to_bits());
        }

        #[test]
        fn a_decimal_rounds_to_its_own_mantissa(mantissa in -(1_i64 << 49)..(1 << 49), exponent in -9_i8..=0) {
            prop_assert_eq!(round(number(mantissa.into(), exponent), exponent), Some(mantissa));
        }

        #[test]
        fn larger_is_never_smaller(low: i64, more in 0_u32.., exponent in -18_i8..=18) {
            let low = i128::from(low) << 20;
            prop_assert!(number(low, exponent) <= number(low + i128::from(more), exponent));
        }
    }
}
