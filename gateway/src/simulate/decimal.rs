//! Decimal numbers as they are written: exact, never through a float.

/// `mantissa × 10^exponent`, as many digits as were written (33 at most; later ones are cut).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    /// Signed digits.
    pub mantissa: i128,
    /// Power of ten.
    pub exponent: i32,
}

/// More digits than this are cut: 10^33 leaves room to scale within an `i128`.
const DIGITS_MAX: u32 = 33;

impl Decimal {
    /// Reads `12`, `-0.5`, `+3.`, `.5`, `1e-3`; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (text, is_negative) = match text.as_bytes().first()? {
            b'-' => (text.get(1..)?, true),
            b'+' => (text.get(1..)?, false),
            _ => (text, false),
        };
        let (digits, power) = match text.find(['e', 'E']) {
            Some(at) => (text.get(..at)?, text.get(at + 1..)?.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (mut mantissa, mut exponent, mut count) = (0_i128, 0_i32, 0_u32);
        let (mut is_fraction, mut any) = (false, false);
        for byte in digits.bytes() {
            if byte == b'.' && !is_fraction {
                is_fraction = true;
                continue;
            }
            if !byte.is_ascii_digit() {
                return None;
            }
            any = true;
            if count >= DIGITS_MAX {
                exponent += i32::from(!is_fraction);
                continue;
            }
            mantissa = mantissa * 10 + i128::from(byte - b'0');
            count += u32::from(mantissa != 0);
            exponent -= i32::from(is_fraction);
        }
        let mantissa = if is_negative { -mantissa } else { mantissa };
        let exponent = exponent.checked_add(power)?;
        any.then_some(Self { mantissa, exponent })
    }

    /// Digits behind the point that were written, beyond trailing zeros of an exponent form:
    /// `1.20` has 2, `1e-3` has 3, `2.5e1` has 0.
    pub fn decimals(&self) -> u32 {
        u32::try_from(-i64::from(self.exponent)).unwrap_or(0)
    }

    /// The nearest multiple of `step × 10^exponent`, half away from zero, as how many of them;
    /// none beyond an `i64`.
    pub fn in_units(&self, step: u32, exponent: i32) -> Option<i64> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let shift = i64::from(self.exponent) - i64::from(exponent);
        let (scaled, divisor) = if shift >= 0 {
            let factor = power_of_ten(shift)?;
            (self.mantissa.checked_mul(factor), Some(i128::from(step)))
        } else {
            (
                Some(self.mantissa),
                power_of_ten(-shift).and_then(|by| by.checked_mul(i128::from(step))),
            )
        };
        // A divisor beyond an i128 is far more than twice any mantissa.
        let Some(divisor) = divisor else {
            return Some(0);
        };
        let scaled = scaled?;
        let (quotient, rest) = (scaled / divisor, scaled % divisor);
        let away = i128::from(rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2));
        i64::try_from(quotient + away * scaled.signum()).ok()
    }
}

fn power_of_ten(power: i64) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(power).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn units(text: &str, exponent: i32) -> Option<i64> {
        Decimal::parse(text)?.in_units(1, exponent)
    }

    #[test]
    fn numbers_are_read_as_written() {
        for (text, mantissa, exponent) in [
            ("12", 12, 0),
            ("-0.50", -50, -2),
            ("+3.", 3, 0),
            (".5", 5, -1),
            ("1e-3", 1, -3),
            ("2.5E1", 25, 0),
            (" 0.0265878 ", 265_878, -7),
            ("000000000000000000000000000000000000001", 1, 0),
        ] {
            assert_eq!(
                Decimal::parse(text),
                Some(Decimal { mantissa, exponent }),
                "{text}"
            );
        }
        for text in [
            "", "-", ".", "1.2.3", "1e", "e5", "NaN", "inf", "1,5", "0x10", "1 2",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn halves_round_away_from_zero() {
        assert_eq!(units("0.125", -2), Some(13));
        assert_eq!(units("-0.125", -2), Some(-13));
        assert_eq!(units("0.1249999999999999999999999999", -2), Some(12));
        assert_eq!(units("90.6454", -2), Some(9_065));
        assert_eq!(units("238.852", -1), Some(2_389));
        assert_eq!(units("1e3", -2), Some(100_000));
        assert_eq!(units("1e-300", -2), Some(0));
        assert_eq!(units("0e300", -2), Some(0));
        assert_eq!(units("1e300", -2), None);
        assert_eq!(units("9223372036854775808", 0), None);
        assert_eq!(Decimal::parse("0.37").unwrap().in_units(5, -2), Some(7));
        assert_eq!(Decimal::parse("0.375").unwrap().in_units(5, -2), Some(8));
    }

    proptest! {
        #[test]
        fn integers_and_their_decimals_agree(raw in any::<i64>(), exponent in 0_u32..12) {
            let scale = 10_i128.pow(exponent);
            let (whole, part) = (i128::from(raw) / scale, (i128::from(raw) % scale).unsigned_abs());
            let sign = if raw < 0 { "-" } else { "" };
            let width = exponent as usize;
            let text = format!("{sign}{}.{part:0width$}", whole.unsigned_abs());
            prop_assert_eq!(units(&text, -(exponent as i32)), Some(raw));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9.eE]{0,60}") {
            if let Some(decimal) = Decimal::parse(&text) {
                let _ = (decimal.in_units(7, -9), decimal.decimals());
            }
        }
    }
}
