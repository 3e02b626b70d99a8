//! Records: what leaves the gateway. A closed window, a sample passed through, an alert, or a note.

pub mod id;
mod json;

use std::fmt;

pub use json::{rfc3339, to_json};
use serde::{Deserialize, Deserializer, Serialize};

/// The sensor of a record that stands for all sensors of a device, and the device of one that
/// stands for all devices.
pub const GROUP: &str = "*";

/// Identity of a record: the same however often it is derived or sent. A hash of what it stands
/// for, never a counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId(pub [u8; 16]);

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How well the times of a record's samples are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockQuality {
    /// The device's own clock.
    Device,
    /// Learnt from live exchanges, the gateway's clock being trusted.
    Learnt,
    /// Bounded by neighbouring boots only.
    Bounded,
    /// The gateway's clock was not to be trusted.
    Untrusted,
}

/// What a record tells of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertNote {
    /// What it watches.
    pub cause: AlertCause,
    /// What became of it.
    pub state: AlertState,
    /// Whether the sample that opened it was old when it arrived.
    pub historic: bool,
}

/// What an alert watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertCause {
    /// A condition on values.
    Condition,
    /// That samples come at all.
    Silence,
    /// The bytes that leave in a month ([`mod@crate::budget`]).
    Budget,
    /// What a device does that no honest one does ([`mod@crate::conduct`]).
    Conduct,
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlertState {
    /// It began.
    Opened,
    /// It lasts.
    Still,
    /// It is over.
    Cleared,
}

/// A value of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// A count of samples.
    Count(u64),
    /// A number in the sensor's unit.
    Number(f64),
    /// Counts of samples, by the parts of a histogram.
    Counts(Vec<u64>),
}

/// A closed window, a passed-through sample, an alert or a note.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Identity.
    pub id: RecordId,
    /// Site.
    pub site: String,
    /// Device.
    pub device: String,
    /// Sensor; `*` for all sensors of the device.
    pub sensor: String,
    /// Unit of the values; empty for plain numbers.
    pub unit: String,
    /// Rule that made it.
    pub rule: String,
    /// Version of that rule, from 1.
    pub version: u32,
    /// The device's epoch, from 0.
    pub epoch: u32,
    /// Window's start (or the sample's time), UTC in µs since 1970-01-01.
    pub start_us: i64,
    /// Window's end, exclusive (or the sample's time).
    pub end_us: i64,
    /// 0 for the first emission of a window; n+1 replaces n.
    pub revision: u32,
    /// Samples it stands for.
    pub samples: u64,
    /// Of those, the ones counted here for the first time.
    pub fresh: u64,
    /// How well the times are known.
    pub clock: ClockQuality,
    /// Whether part of the window's samples was lost with a damaged store.
    pub partial: bool,
    /// What it tells of an alert; its samples are examined, not counted as fresh.
    pub alert: Option<AlertNote>,
    /// Values by name, in the rule's order; absent ones (stddev of one sample) are left out.
    pub values: Vec<(String, Value)>,
    /// A text that it carries, of several lines: a checkpoint ([`mod@crate::checkpoint`]).
    #[serde(deserialize_with = "absent_is_none")]
    pub note: Option<String>,
}

/// A record that an earlier version stored ends before the note. What is stored has a check of its
/// own, so whatever cannot be read here is not there.
#[expect(clippy::unnecessary_wraps, reason = "serde calls it by this shape")]
fn absent_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::deserialize(deserializer).unwrap_or(None))
}

/// A record's place in the order of emission: replay gives every record the same place.
#[derive(
    Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Place {
    /// Log position of the entry that caused it.
    pub position: u64,
    /// Order among the records of that entry, from 0.
    pub ordinal: u32,
}

/// A record on its way into the spool.
#[derive(Debug, Clone, PartialEq)]
pub struct Emitted {
    /// Its place.
    pub place: Place,
    /// The sinks it goes to, by name.
    pub forward: Vec<String>,
    /// Its class in those sinks' queues.
    pub priority: crate::rules::Priority,
    /// The record.
    pub record: Record,
}

/// A record to test with; its id is made of the number.
#[cfg(test)]
pub(crate) fn example(number: u8) -> Record {
    let minute = i64::from(number) * 60_000_000;
    Record {
        id: RecordId([number; 16]),
        site: "pump-house".into(),
        device: "pump-1".into(),
        sensor: "Pressure".into(),
        unit: "bar".into(),
        rule: "minute".into(),
        version: 1,
        epoch: 0,
        start_us: 1_581_168_600_000_000 + minute,
        end_us: 1_581_168_660_000_000 + minute,
        revision: 0,
        samples: 1,
        fresh: 1,
        clock: ClockQuality::Device,
        partial: false,
        alert: None,
        values: vec![("count".into(), Value::Count(1))],
        note: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_has_no_note() {
        let mut record = example(1);
        let mut bytes = postcard::to_stdvec(&record).unwrap();
        assert_eq!(bytes.pop(), Some(0), "the note stands last");
        assert_eq!(postcard::from_bytes::<Record>(&bytes).unwrap(), record);
        record.note = Some("a\nb\n".into());
        let bytes = postcard::to_stdvec(&record).unwrap();
        assert_eq!(postcard::from_bytes::<Record>(&bytes).unwrap(), record);
    }
}
