//! UTC texts to seconds and back, written here because the tests share no code with the crates.

/// Seconds since 1970-01-01 of `YYYY-MM-DD HH:MM:SS` or `YYYY-MM-DDTHH:MM:SSZ` (zeros may follow
/// as a fraction); `None` for anything else.
pub fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let time = time.strip_suffix('Z').unwrap_or(time);
    let time = match time.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => time,
    };
    let [year, month, day] = three(date, '-')?;
    let [hour, minute, second] = three(time, ':')?;
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// `YYYY-MM-DDTHH:MM:SSZ` of seconds since 1970-01-01 (from 1970 on).
pub fn text(seconds: i64) -> String {
    let (mut day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let mut year = 1970;
    while day >= days(year + 1, 1, 1) - days(year, 1, 1) {
        day -= days(year + 1, 1, 1) - days(year, 1, 1);
        year += 1;
    }
    let first = days(year, 1, 1);
    let month = (1..=12)
        .rev()
        .find(|month| days(year, *month, 1) - first <= day)
        .unwrap_or(1);
    let day = day - (days(year, month, 1) - first) + 1;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn three(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Counting years from March puts the leap day last, and months of 30.6 days fit exactly.
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 306 + 5) / 10
        + day
        - 1
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        // Each as `date -u -d TEXT +%s` gives it.
        for (given, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2020-02-08T13:30:47Z", 1_581_168_647),
            ("2024-12-31T23:59:59Z", 1_735_689_599),
        ] {
            assert_eq!(seconds(given), Some(expected), "{given}");
            assert_eq!(text(expected), given);
        }
        assert_eq!(seconds("2020-02-08 13:30:47"), Some(1_581_168_647));
        assert_eq!(seconds("2020-02-08T13:30:47.000Z"), Some(1_581_168_647));
        assert_eq!(seconds("2020-02-08T13:30:47.5Z"), None);
        assert_eq!(seconds("yesterday"), None);
    }
}
