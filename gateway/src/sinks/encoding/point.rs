//! Points: a record's values one by one, for receivers that take a number at a time.
//!
//! A record over all sensors of a device names its values `SENSOR.VALUE`; such a value is a point
//! of that sensor. A sensor's name may have dots in it and a value's has none, but for percentiles
//! (`p99.9`), so the cut is unambiguous. A histogram is a point per part, numbered from 0: its
//! bounds stand in the rule, not in the record.

use std::borrow::Cow;

use crate::record::{AlertState, GROUP, Record, Value};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<'a> {
    /// Sensor; `*` where it is of none.
    pub sensor: &'a str,
    /// The value's name, such as `mean`.
    pub name: &'a str,
    /// Which part of a histogram, from 0.
    pub part: Option<usize>,
    /// The value.
    pub number: Number,
    /// Its unit; empty for plain numbers.
    pub unit: Cow<'a, str>,
}

/// A number of either kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A count of samples.
    Count(u64),
    /// A measure.
    Real(f64),
}

impl<'a> Point<'a> {
    /// What is told of the record as a whole.
    pub fn of_record(record: &'a Record, number: u64) -> Self {
        Self {
            sensor: &record.sensor,
            name: "",
            part: None,
            number: Number::Count(number),
            unit: Cow::Borrowed(""),
        }
    }
}

impl Number {
    /// As a float; counts beyond 2^53 lose their last digits.
    pub fn as_real(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Real(real) => real,
        }
    }
}

/// The values of a record, in order.
pub fn points(record: &Record) -> impl Iterator<Item = Point<'_>> {
    record.values.iter().flat_map(|(full_name, value)| {
        let (sensor, name) = place(record, full_name);
        let point = move |part, number, unit| Point {
            sensor,
            name,
            part,
            number,
            unit,
        };
        match value {
            Value::Count(count) => vec![point(None, Number::Count(*count), Cow::Borrowed(""))],
            Value::Number(real) => vec![point(None, Number::Real(*real), unit(record, name))],
            Value::Counts(counts) => counts
                .iter()
                .enumerate()
                .map(|(part, count)| point(Some(part), Number::Count(*count), Cow::Borrowed("")))
                .collect(),
        }
    })
}

/// When what a record says was known to be so, UTC in µs: a window's end, a sample's time, the
/// time of the sample that told of an alert.
pub fn known_us(record: &Record) -> i64 {
    record.end_us
}

/// Whether an alert is open; none for other records.
pub fn is_open(record: &Record) -> Option<bool> {
    let alert = record.alert.as_ref()?;
    Some(alert.state != AlertState::Cleared)
}

/// Sensor and name of a value.
fn place<'a>(record: &'a Record, full_name: &'a str) -> (&'a str, &'a str) {
    let whole = (record.sensor.as_str(), full_name);
    if record.sensor != GROUP {
        return whole;
    }
    let Some((sensor, name)) = full_name.rsplit_once('.') else {
        return whole;
    };
    match sensor.rsplit_once('.') {
        Some((shorter, before)) if is_percentile(before) && is_digits(name) => (
            shorter,
            full_name.get(shorter.len() + 1..).unwrap_or(full_name),
        ),
        _ => (sensor, name),
    }
}

/// The unit of a number: a share of time has none, a rate is per second.
fn unit<'a>(record: &'a Record, name: &str) -> Cow<'a, str> {
    const IN_UNIT: [&str; 13] = [
        "value",
        "sum",
        "min",
        "max",
        "range",
        "mean",
        "stddev",
        "first",
        "last",
        "median",
        "time_weighted_mean",
        "delta",
        "rate",
    ];
    if record.unit.is_empty() {
        Cow::Borrowed("")
    } else if name == "rate" {
        Cow::Owned(format!("{}/s", record.unit))
    } else if IN_UNIT.contains(&name) || is_percentile(name) {
        Cow::Borrowed(&record.unit)
    } else {
        // Only shares of time have names of the user's choice.
        Cow::Borrowed("")
    }
}

fn is_percentile(name: &str) -> bool {
    name.strip_prefix('p')
        .is_some_and(|digits| is_digits(&digits.replacen('.', "", 1)))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::encoding::tests::plain;

    fn of_group(name: &str) -> Record {
        Record {
            sensor: GROUP.into(),
            unit: String::new(),
            values: vec![(name.into(), Value::Number(1.0))],
            ..plain()
        }
    }

    #[test]
    fn a_groups_value_is_a_point_of_its_sensor() {
        for (full, sensor, name) in [
            ("temperature.mean", "temperature", "mean"),
            ("vibration.rms.p95", "vibration.rms", "p95"),
            ("vibration.rms.p99.9", "vibration.rms", "p99.9"),
            ("a.p1.mean", "a.p1", "mean"),
            ("alone", GROUP, "alone"),
        ] {
            let record = of_group(full);
            let point = points(&record).next().unwrap();
            assert_eq!((point.sensor, point.name), (sensor, name), "{full}");
        }
    }

    #[test]
    fn a_value_of_one_sensor_keeps_its_name_whole() {
        let record = Record {
            values: vec![("p99.9".into(), Value::Number(1.0))],
            ..plain()
        };
        let point = points(&record).next().unwrap();
        assert_eq!((point.sensor, point.name), ("Pressure", "p99.9"));
        assert_eq!(point.unit, "bar");
    }

    #[test]
    fn each_value_has_the_unit_that_it_is_in() {
        let number = || Value::Number(1.0);
        let record = Record {
            values: vec![
                ("count".into(), Value::Count(1)),
                ("mean".into(), number()),
                ("p99.9".into(), number()),
                ("rate".into(), number()),
                ("hot".into(), number()),
                ("spread".into(), Value::Counts(vec![1])),
            ],
            ..plain()
        };
        let units: Vec<_> = points(&record).map(|point| point.unit).collect();
        assert_eq!(units, ["", "bar", "bar", "bar/s", "", ""]);
    }

    #[test]
    fn a_histogram_is_a_point_per_part() {
        let record = Record {
            values: vec![("spread".into(), Value::Counts(vec![5, 0]))],
            ..plain()
        };
        let parts: Vec<_> = points(&record)
            .map(|point| (point.part, point.number))
            .collect();
        assert_eq!(
            parts,
            [(Some(0), Number::Count(5)), (Some(1), Number::Count(0))]
        );
    }
}
