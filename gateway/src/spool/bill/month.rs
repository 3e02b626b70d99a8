//! Month: what a bill is divided by: a calendar month of UTC.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

const DAY_US: i64 = 86_400 * 1_000_000;

/// A month, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Month {
    /// Which one is not known: the clock was not to be trusted.
    Unknown,
    /// A month of UTC, counted from January of the year 0.
    Nth(i32),
}

/// A text that names no month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a month such as 2026-11, or `unknown`")]
pub struct NoMonth;

impl Month {
    /// The month of a moment.
    pub fn of(at: Timestamp) -> Self {
        if at.wall_trusted {
            Self::of_wall(at.wall_us)
        } else {
            Self::Unknown
        }
    }

    /// The month of a UTC time in µs.
    pub fn of_wall(wall_us: i64) -> Self {
        let (year, month) = civil(wall_us.div_euclid(DAY_US));
        i32::try_from(year * 12 + month - 1).map_or(Self::Unknown, Self::Nth)
    }

    /// Its start, UTC in µs; none of the unknown one.
    pub fn start_us(self) -> Option<i64> {
        match self {
            Self::Unknown => None,
            Self::Nth(nth) => {
                let nth = i64::from(nth);
                Some(days_before(nth.div_euclid(12), nth.rem_euclid(12) + 1) * DAY_US)
            }
        }
    }

    /// Its end, exclusive, UTC in µs; none of the unknown one.
    pub fn end_us(self) -> Option<i64> {
        match self {
            Self::Unknown => None,
            Self::Nth(nth) => Self::Nth(nth + 1).start_us(),
        }
    }

    /// The month before.
    #[must_use]
    pub fn previous(self) -> Self {
        match self {
            Self::Unknown => Self::Unknown,
            Self::Nth(nth) => Self::Nth(nth - 1),
        }
    }
}

/// Days from 1970-01-01 to the first of a month of the Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms").
fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year and month (from 1) of a day counted from 1970-01-01.
fn civil(day: i64) -> (i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400;
    (if month <= 2 { year + 1 } else { year }, month)
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Nth(nth) => {
                let (year, month) = (nth.div_euclid(12), nth.rem_euclid(12) + 1);
                write!(f, "{year:04}-{month:02}")
            }
        }
    }
}

impl FromStr for Month {
    type Err = NoMonth;

    fn from_str(text: &str) -> Result<Self, NoMonth> {
        if text == "unknown" {
            return Ok(Self::Unknown);
        }
        let (year, month) = text.split_once('-').ok_or(NoMonth)?;
        let digits = |text: &str, most| {
            let fits = (1..=most).contains(&text.len());
            fits && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(year, 5) || !digits(month, 2) {
            return Err(NoMonth);
        }
        let year: i32 = year.parse().map_err(|_| NoMonth)?;
        let month: i32 = month.parse().map_err(|_| NoMonth)?;
        if (1..=12).contains(&month) {
            Ok(Self::Nth(year * 12 + month - 1))
        } else {
            Err(NoMonth)
        }
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    #[test]
    fn months_are_those_of_utc() {
        for (at, name) in [
            ("2026-11-01T00:00:00Z", "2026-11"),
            ("2026-10-31T23:59:59.999999Z", "2026-10"),
            ("2024-02-29T12:00:00Z", "2024-02"),
            ("2000-03-01T00:00:00Z", "2000-03"),
            ("1969-12-31T23:59:59Z", "1969-12"),
        ] {
            assert_eq!(Month::of_wall(utc(at)).to_string(), name, "{at}");
        }
        let november: Month = "2026-11".parse().unwrap();
        assert_eq!(november.start_us(), Some(utc("2026-11-01T00:00:00Z")));
        assert_eq!(november.end_us(), Some(utc("2026-12-01T00:00:00Z")));
        assert_eq!(november.previous().to_string(), "2026-10");
    }

    #[test]
    fn an_untrusted_clock_names_no_month() {
        let at = Timestamp {
            wall_us: utc("2026-11-01T00:00:00Z"),
            ..Timestamp::default()
        };
        assert_eq!(Month::of(at), Month::Unknown);
        assert_eq!(Month::Unknown.start_us(), None);
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for text in ["", "2026", "2026-13", "2026-0", "2026-+1", "-1-01", "26-1x"] {
            assert_eq!(text.parse::<Month>(), Err(NoMonth), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_month_holds_its_moments(wall_us in -60_000_000_000_000_000..200_000_000_000_000_000_i64) {
            let month = Month::of_wall(wall_us);
            prop_assert!(month.start_us().unwrap() <= wall_us);
            prop_assert!(wall_us < month.end_us().unwrap());
            if wall_us > -60_000_000_000_000_000 {
                prop_assert_eq!(month.to_string().parse::<Month>(), Ok(month));
            }
        }
    }
}
