//! Expectation: some fields of a record that has to come, and whether one has them.

use std::fmt;

use crate::record::{AlertCause, AlertState, ClockQuality, Emitted, Value, rfc3339};
use crate::rules::Priority;

/// A field of a record, by its name in the record's JSON.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `rule`.
    Rule,
    /// `device`.
    Device,
    /// `sensor`.
    Sensor,
    /// `unit`.
    Unit,
    /// `start`.
    Start,
    /// `end`.
    End,
    /// `version` of the rule.
    Version,
    /// `epoch`.
    Epoch,
    /// `revision`.
    Revision,
    /// `samples`.
    Samples,
    /// `fresh`.
    Fresh,
    /// `clock`.
    Clock,
    /// `partial`: whether samples of the window are not in it.
    Partial,
    /// `alert`: what became of it.
    Alert,
    /// `cause` of an alert.
    Cause,
    /// `historic`, of an alert.
    Historic,
    /// `priority`, which decides about its place in the queue.
    Priority,
    /// `forward`: the sinks it goes to.
    Forward,
    /// One of `values`.
    Value(String),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rule => "rule",
            Self::Device => "device",
            Self::Sensor => "sensor",
            Self::Unit => "unit",
            Self::Start => "start",
            Self::End => "end",
            Self::Version => "version",
            Self::Epoch => "epoch",
            Self::Revision => "revision",
            Self::Samples => "samples",
            Self::Fresh => "fresh",
            Self::Clock => "clock",
            Self::Partial => "partial",
            Self::Alert => "alert",
            Self::Cause => "cause",
            Self::Historic => "historic",
            Self::Priority => "priority",
            Self::Forward => "forward",
            Self::Value(name) => return write!(f, "values.{name}"),
        })
    }
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// A text.
    Text(String),
    /// A count or number.
    Number(f64),
    /// UTC in µs.
    Time(i64),
    /// Names, in any order.
    Names(Vec<String>),
    /// Counts, one after the other.
    Counts(Vec<u64>),
    /// Yes or no.
    Flag(bool),
    /// Nothing: the record has no such value.
    Absent,
}

impl fmt::Display for Datum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Time(utc_us) => f.write_str(&rfc3339(*utc_us)),
            Self::Names(names) => f.write_str(&names.join(", ")),
            Self::Counts(counts) => write!(f, "{counts:?}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Absent => f.write_str("absent"),
        }
    }
}

impl Datum {
    /// Whether a found datum is this one; numbers may differ by `within`.
    pub fn fits(&self, found: &Self, within: f64) -> bool {
        match (self, found) {
            (Self::Number(wanted), Self::Number(found)) => {
                // Sums of decimals differ in their last digits from how people write them.
                let rounding = 1e-9 * wanted.abs().max(1.0);
                (wanted - found).abs() <= within.max(rounding)
            }
            (Self::Names(wanted), Self::Names(found)) => {
                wanted.len() == found.len() && wanted.iter().all(|name| found.contains(name))
            }
            _ => self == found,
        }
    }
}

/// A record that has to come: what is written of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Its number among the expectations, from 1.
    pub number: usize,
    /// Line in the file, from 1.
    pub line: usize,
    /// What its fields must hold; those not named may hold anything.
    pub fields: Vec<(Field, Datum)>,
    /// How far numbers in `values` may differ.
    pub within: f64,
}

impl Expected {
    /// Whether a record is as expected.
    pub fn fits(&self, record: &Emitted) -> bool {
        let mut fields = self.fields.iter();
        fields.all(|(field, wanted)| self.field_fits(field, wanted, record))
    }

    /// Whether one field is.
    pub fn field_fits(&self, field: &Field, wanted: &Datum, record: &Emitted) -> bool {
        let within = match field {
            Field::Value(_) => self.within,
            _ => 0.0,
        };
        wanted.fits(&found(record, field), within)
    }
}

/// What a record's field holds.
pub(super) fn found(emitted: &Emitted, field: &Field) -> Datum {
    let record = &emitted.record;
    match field {
        Field::Rule => Datum::Text(record.rule.clone()),
        Field::Device => Datum::Text(record.device.clone()),
        Field::Sensor => Datum::Text(record.sensor.clone()),
        Field::Unit => Datum::Text(record.unit.clone()),
        Field::Start => Datum::Time(record.start_us),
        Field::End => Datum::Time(record.end_us),
        Field::Version => Datum::Number(f64::from(record.version)),
        Field::Epoch => Datum::Number(f64::from(record.epoch)),
        Field::Revision => Datum::Number(f64::from(record.revision)),
        Field::Samples => Datum::Number(record.samples as f64),
        Field::Fresh => Datum::Number(record.fresh as f64),
        Field::Clock => Datum::Text(clock(record.clock).to_owned()),
        Field::Partial => Datum::Flag(record.partial),
        Field::Alert => record.alert.map_or(Datum::Absent, |alert| {
            Datum::Text(state(alert.state).to_owned())
        }),
        Field::Cause => record.alert.map_or(Datum::Absent, |alert| {
            Datum::Text(cause(alert.cause).to_owned())
        }),
        Field::Historic => record
            .alert
            .map_or(Datum::Absent, |alert| Datum::Flag(alert.historic)),
        Field::Priority => Datum::Text(priority(emitted.priority).to_owned()),
        Field::Forward => Datum::Names(emitted.forward.clone()),
        Field::Value(name) => {
            let value = record.values.iter().find(|(one, _)| one == name);
            value.map_or(Datum::Absent, |(_, value)| match value {
                Value::Count(count) => Datum::Number(*count as f64),
                Value::Number(number) => Datum::Number(*number),
                Value::Counts(counts) => Datum::Counts(counts.clone()),
            })
        }
    }
}

fn clock(quality: ClockQuality) -> &'static str {
    match quality {
        ClockQuality::Device => "device",
        ClockQuality::Learnt => "learnt",
        ClockQuality::Bounded => "bounded",
        ClockQuality::Untrusted => "untrusted",
    }
}

fn state(state: AlertState) -> &'static str {
    match state {
        AlertState::Opened => "opened",
        AlertState::Still => "still",
        AlertState::Cleared => "cleared",
    }
}

fn cause(cause: AlertCause) -> &'static str {
    match cause {
        AlertCause::Condition => "condition",
        AlertCause::Silence => "silence",
        AlertCause::Budget => "budget",
        AlertCause::Conduct => "conduct",
    }
}

fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_within_their_tolerance_and_their_last_digits() {
        let wanted = Datum::Number(0.3);
        assert!(wanted.fits(&Datum::Number(0.1 + 0.2), 0.0));
        assert!(!wanted.fits(&Datum::Number(0.31), 0.009));
        assert!(wanted.fits(&Datum::Number(0.31), 0.011));
        assert!(!wanted.fits(&Datum::Absent, 1.0));
    }

    #[test]
    fn names_fit_in_any_order() {
        let names = |names: &[&str]| Datum::Names(names.iter().map(|&one| one.into()).collect());
        assert!(names(&["a", "b"]).fits(&names(&["b", "a"]), 0.0));
        assert!(!names(&["a"]).fits(&names(&["a", "b"]), 0.0));
    }
}
