//! Berlin's days, weeks and months around two changes of the clock, from a table.

use crate::rules::Calendar;

pub const ZONE: &str = "Europe/Berlin";

/// 2023-10-29 01:00 and 2024-03-31 01:00 UTC.
const WINTER_S: i64 = 1_698_541_200;
const SUMMER_S: i64 = 1_711_846_800;
/// Days since 1970-01-01 of the firsts of months, from 2023-09-01 on.
const MONTHS: [i64; 9] = [
    19_601, 19_631, 19_662, 19_692, 19_723, 19_754, 19_783, 19_814, 19_844,
];

fn ahead_s(utc_s: i64) -> i64 {
    if (WINTER_S..SUMMER_S).contains(&utc_s) {
        3_600
    } else {
        7_200
    }
}

/// The clocks change at night: a midnight has one offset, that of an hour before or after.
fn midnight_us(day: i64) -> i64 {
    let local_s = day * 86_400;
    let utc_s = local_s - ahead_s(local_s - 3_600);
    utc_s * 1_000_000
}

/// Start and end of the stretch that holds a time.
pub fn stretch(every: Calendar, time_us: i64) -> (i64, i64) {
    let utc_s = time_us.div_euclid(1_000_000);
    let day = (utc_s + ahead_s(utc_s)).div_euclid(86_400);
    let (from, until) = match every {
        Calendar::Day => (day, day + 1),
        Calendar::Week => {
            // 1970-01-01 was a Thursday.
            let monday = day - (day + 3).rem_euclid(7);
            (monday, monday + 7)
        }
        Calendar::Month => {
            let next = MONTHS.iter().position(|first| *first > day).unwrap();
            (MONTHS[next - 1], MONTHS[next])
        }
    };
    (midnight_us(from), midnight_us(until))
}
