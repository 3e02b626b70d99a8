//! Times as they are written in traces: to microseconds of UTC.
//!
//! Known are `YYYY-MM-DD HH:MM:SS` with a fraction or without, RFC 3339 (an offset is heeded,
//! without one the time is UTC), and seconds, milliseconds, microseconds or nanoseconds since
//! 1970, told apart by their size.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::decimal::Decimal;

/// A written date and time, in µs of UTC.
pub fn parse_civil(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_microsecond());
    }
    // A date alone, or an offset that did not parse, is not a time.
    let clock = text.get(10..)?;
    if !clock.contains(':') || clock.contains(['+', '-', 'Z', 'z']) {
        return None;
    }
    let civil: DateTime = text.parse().ok()?;
    let zoned = civil.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp().as_microsecond())
}

/// A number since 1970, in µs of UTC. Its size tells the unit: below 10^11 it is seconds (until
/// the year 5138), below 10^14 milliseconds, below 10^17 microseconds, then nanoseconds.
pub fn parse_epoch(text: &str) -> Option<i64> {
    let decimal = Decimal::parse(text)?;
    let whole = decimal.in_units(1, 0)?.unsigned_abs();
    let unit_exponent = match whole {
        0..100_000_000_000 => 0,
        100_000_000_000..100_000_000_000_000 => -3,
        100_000_000_000_000..100_000_000_000_000_000 => -6,
        _ => -9,
    };
    let exponent = decimal.exponent.checked_add(unit_exponent)?;
    Decimal {
        exponent,
        ..decimal
    }
    .in_units(1, -6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2020-02-08 13:30:47 UTC.
    const NOON: i64 = 1_581_168_647_000_000;

    #[test]
    fn dates_are_utc_unless_they_say_otherwise() {
        for (text, us) in [
            ("2020-02-08 13:30:47", NOON),
            ("2020-02-08T13:30:47", NOON),
            ("2020-02-08 13:30:47.25", NOON + 250_000),
            ("2020-02-08T13:30:47Z", NOON),
            ("2020-02-08T15:30:47.000001+02:00", NOON + 1),
            ("2020-02-08 13:30:47-01:00", NOON + 3_600_000_000),
        ] {
            assert_eq!(parse_civil(text), Some(us), "{text}");
        }
        for text in [
            "",
            "2020-02-08",
            "13:30:47",
            "2020-02-30 00:00:00",
            "yesterday",
            "1581168647",
        ] {
            assert_eq!(parse_civil(text), None, "{text}");
        }
    }

    #[test]
    fn epochs_are_told_apart_by_size() {
        for (text, us) in [
            ("1581168647", NOON),
            ("1581168647.25", NOON + 250_000),
            ("1581168647000", NOON),
            ("1581168647000000", NOON),
            ("1581168647000000000", NOON),
            ("1.581168647e9", NOON),
            ("0", 0),
        ] {
            assert_eq!(parse_epoch(text), Some(us), "{text}");
        }
        assert_eq!(parse_epoch("abc"), None);
    }
}
