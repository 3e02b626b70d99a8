//! Durations and sizes as people write them: `"500ms"`, `"1.5h"`, `"16 MiB"`.
//!
//! A quantity is digits, at most one decimal point and a unit, in exact integer arithmetic: what
//! cannot be said in whole microseconds or bytes is refused rather than rounded.

use std::fmt;

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuantityError {
    /// No digits where the number should be.
    NoNumber,
    /// Digits only.
    NoUnit,
    /// A unit that is not known here.
    Unit,
    /// A fraction finer than the smallest unit.
    TooFine,
    /// Larger than can be counted.
    TooLarge,
}

impl fmt::Display for QuantityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNumber => "it does not begin with a number",
            Self::NoUnit => "the unit is missing",
            Self::Unit => "the unit is not known",
            Self::TooFine => "it is finer than can be counted",
            Self::TooLarge => "it is larger than can be counted",
        })
    }
}

/// Units of time in µs, as they are written.
const TIME_UNITS: &[(&str, i64)] = &[
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

/// Units of size in bytes, as they are written.
const SIZE_UNITS: &[(&str, i64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a duration such as `"30s"`, in µs.
pub fn duration_us(text: &str) -> Result<i64, QuantityError> {
    quantity(text, TIME_UNITS)
}

/// Reads a size such as `"16 MiB"`, in bytes.
pub fn size_bytes(text: &str) -> Result<u64, QuantityError> {
    quantity(text, SIZE_UNITS).map(i64::unsigned_abs)
}

/// Writes a duration in the largest unit that gives a whole number.
pub fn show_duration(us: i64) -> String {
    TIME_UNITS
        .iter()
        .rev()
        .find(|(_, unit_us)| us != 0 && us % unit_us == 0)
        .map_or_else(
            || {
                if us == 0 {
                    "0s".to_owned()
                } else {
                    format!("{us}us")
                }
            },
            |(unit, unit_us)| format!("{}{unit}", us / unit_us),
        )
}

/// Writes a size in the largest binary unit that gives a whole number.
pub fn show_size(bytes: u64) -> String {
    [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes != 0 && bytes.is_multiple_of(1 << shift))
        .map_or_else(
            || format!("{bytes} B"),
            |(unit, shift)| format!("{} {unit}", bytes >> shift),
        )
}

/// The number times its unit; never negative, since a sign is not a digit.
fn quantity(text: &str, units: &[(&str, i64)]) -> Result<i64, QuantityError> {
    let text = text.trim();
    let split = text
        .find(|sign: char| !sign.is_ascii_digit() && sign != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let bare_point = number.contains('.') && fraction.is_empty();
    if whole.is_empty() || fraction.contains('.') || bare_point {
        return Err(QuantityError::NoNumber);
    }
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Err(QuantityError::NoUnit);
    }
    let (_, scale) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or(QuantityError::Unit)?;
    let whole: i64 = whole.parse().map_err(|_| QuantityError::TooLarge)?;
    whole
        .checked_mul(*scale)
        .and_then(|scaled| scaled.checked_add(part(fraction, *scale)?))
        .ok_or(QuantityError::TooLarge)
        .and_then(|total| {
            exact(fraction, *scale)
                .then_some(total)
                .ok_or(QuantityError::TooFine)
        })
}

/// Digits behind the point without trailing zeros.
fn digits(fraction: &str) -> &str {
    fraction.trim_end_matches('0')
}

/// A decimal fraction of `scale`, rounded down; `None` when it has too many digits to count.
fn part(fraction: &str, scale: i64) -> Option<i64> {
    let digits = digits(fraction);
    if digits.is_empty() || digits.len() > 15 {
        return Some(0);
    }
    let numerator = i128::from(digits.parse::<i64>().ok()?);
    let denominator = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    i64::try_from(numerator * i128::from(scale) / denominator).ok()
}

/// Whether that fraction of `scale` is a whole number.
fn exact(fraction: &str, scale: i64) -> bool {
    let digits = digits(fraction);
    if digits.is_empty() {
        return true;
    }
    let Ok(numerator) = digits.parse::<i64>() else {
        return false;
    };
    digits.len() <= 15
        && i128::from(numerator) * i128::from(scale) % 10_i128.pow(digits.len() as u32) == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_exact() {
        assert_eq!(duration_us("500ms"), Ok(500_000));
        assert_eq!(duration_us("30s"), Ok(30_000_000));
        assert_eq!(duration_us(" 1.5 h "), Ok(5_400_000_000));
        assert_eq!(duration_us("0.000001s"), Ok(1));
        assert_eq!(duration_us("1d"), Ok(86_400_000_000));
        assert_eq!(duration_us("0s"), Ok(0));
        assert_eq!(duration_us("1.50m"), Ok(90_000_000));
    }

    #[test]
    fn what_is_no_duration_says_why() {
        assert_eq!(duration_us("30"), Err(QuantityError::NoUnit));
        assert_eq!(duration_us(""), Err(QuantityError::NoNumber));
        assert_eq!(duration_us("-1s"), Err(QuantityError::NoNumber));
        assert_eq!(duration_us("1..5s"), Err(QuantityError::NoNumber));
        assert_eq!(duration_us("1.s"), Err(QuantityError::NoNumber));
        assert_eq!(duration_us("1 sec"), Err(QuantityError::Unit));
        assert_eq!(duration_us("0.0000001s"), Err(QuantityError::TooFine));
        assert_eq!(
            duration_us("0.0000000000000000001s"),
            Err(QuantityError::TooFine)
        );
        assert_eq!(
            duration_us("9999999999999999999d"),
            Err(QuantityError::TooLarge)
        );
        assert_eq!(duration_us("999999999999d"), Err(QuantityError::TooLarge));
    }

    #[test]
    fn sizes_in_both_kinds_of_units() {
        assert_eq!(size_bytes("16 MiB"), Ok(16 << 20));
        assert_eq!(size_bytes("1.5KiB"), Ok(1_536));
        assert_eq!(size_bytes("2 GB"), Ok(2_000_000_000));
        assert_eq!(size_bytes("1.5 B"), Err(QuantityError::TooFine));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in 0..10_000_000_i64, bytes: u32) {
            prop_assert_eq!(duration_us(&show_duration(ms * 1_000)), Ok(ms * 1_000));
            prop_assert_eq!(size_bytes(&show_size(u64::from(bytes))), Ok(u64::from(bytes)));
        }

        #[test]
        fn any_text_is_answered(text: String) {
            let _ = duration_us(&text);
            let _ = size_bytes(&text);
        }
    }
}
