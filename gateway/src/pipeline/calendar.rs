//! Calendar: days, weeks and months as a time zone has them, between moments in µs of UTC.
//!
//! A stretch begins at the first moment of its first day. A day on which clocks change has 23 or
//! 25 hours; where midnight itself is skipped it begins at the first moment that exists. The time
//! zone database is built in, so that the same log gives the same windows on every machine.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::rules::Calendar;

/// Start and end of the stretch that holds a moment. An unknown zone counts as UTC, and a moment
/// beyond the calendar's years as its last.
pub(super) fn stretch(every: Calendar, zone: &str, time_us: i64) -> (i64, i64) {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let end = if time_us < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    let moment = Timestamp::from_microsecond(time_us).unwrap_or(end);
    let day = zone.to_datetime(moment).date();
    let from = match every {
        Calendar::Day => day,
        Calendar::Week => {
            let behind = i64::from(day.weekday().to_monday_zero_offset());
            day.checked_sub(behind.days()).unwrap_or(day)
        }
        Calendar::Month => day.first_of_month(),
    };
    let until = match every {
        Calendar::Day => from.checked_add(1.day()),
        Calendar::Week => from.checked_add(1.week()),
        Calendar::Month => from.checked_add(1.month()),
    };
    let start_us = midnight_us(&zone, from, time_us);
    let end_us = until.map_or(i64::MAX, |until| midnight_us(&zone, until, i64::MAX));
    (start_us, end_us)
}

fn midnight_us(zone: &TimeZone, day: Date, otherwise_us: i64) -> i64 {
    let start = zone.to_ambiguous_timestamp(day.to_datetime(jiff::civil::Time::midnight()));
    start
        .compatible()
        .map_or(otherwise_us, Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    #[track_caller]
    fn check(every: Calendar, zone: &str, at: &str, wanted: (&str, &str)) {
        let wanted = (utc(wanted.0), utc(wanted.1));
        let found = stretch(every, zone, utc(at));
        assert_eq!(found, wanted, "{every:?} in {zone} at {at}");
        assert_eq!(stretch(every, zone, found.0), wanted, "its first moment");
        assert_eq!(stretch(every, zone, found.1 - 1), wanted, "its last moment");
        assert_eq!(stretch(every, zone, found.1).0, found.1, "the next one");
    }

    #[test]
    fn days_follow_the_zones_midnights() {
        let day = Calendar::Day;
        check(
            day,
            "Europe/Berlin",
            "2026-01-15T12:00:00Z",
            ("2026-01-14T23:00:00Z", "2026-01-15T23:00:00Z"),
        );
        check(
            day,
            "UTC",
            "2026-01-15T00:00:00Z",
            ("2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z"),
        );
    }

    #[test]
    fn a_day_on_which_clocks_change_has_23_or_25_hours() {
        let day = Calendar::Day;
        check(
            day,
            "Europe/Berlin",
            "2026-03-29T12:00:00Z",
            ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        );
        check(
            day,
            "Europe/Berlin",
            "2026-10-25T12:00:00Z",
            ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        );
    }

    #[test]
    fn a_day_without_midnight_begins_at_its_first_moment() {
        // In Beirut clocks went from 00:00 to 01:00 on 2022-03-27.
        check(
            Calendar::Day,
            "Asia/Beirut",
            "2022-03-27T12:00:00Z",
            ("2022-03-26T22:00:00Z", "2022-03-27T21:00:00Z"),
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        check(
            Calendar::Week,
            "UTC",
            "2026-11-28T22:00:00Z",
            ("2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
        );
        check(
            Calendar::Month,
            "America/New_York",
            "2026-03-10T00:00:00Z",
            ("2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z"),
        );
    }

    #[test]
    fn times_beyond_the_calendar_are_answered() {
        for time_us in [i64::MIN, i64::MAX, -1, 0] {
            let (start_us, end_us) = stretch(Calendar::Month, "Europe/Berlin", time_us);
            assert!(start_us <= end_us);
        }
        assert_eq!(
            stretch(Calendar::Day, "Nowhere/None", 0),
            stretch(Calendar::Day, "UTC", 0)
        );
    }
}
