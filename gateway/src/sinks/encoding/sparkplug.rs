//! Sparkplug B 3.0: payloads of an edge node, which is the site, and of its devices.
//!
//! A record is a DDATA message of its device with a metric per value. Metrics have names and no
//! aliases: an alias would have to be known to whoever joins later.
//!
//! | metric | type | is |
//! |---|---|---|
//! | `SENSOR/RULE/VALUE` | Double, Int64 for counts | a value; of a record over all sensors under its own sensor |
//! | `SENSOR/RULE/NAME/0`, … | Int64 | the parts of a histogram |
//! | `SENSOR/RULE/record/samples` | Int64 | samples that the record stands for |
//! | `SENSOR/RULE/record/partial` | Boolean | whether some of them were lost with a damaged store |
//! | `SENSOR/RULE/record/note` | String | a text that the record carries |
//! | `SENSOR/RULE/alert/CAUSE` | Boolean | whether the alert is open |
//!
//! - A metric's time is a window's end (or when an alert was told), in ms: a host shows it as the
//!   tag's present value, known since then.
//! - Properties: `engUnit` in births, where there is one; `epoch` (from 1), `version` (from 2),
//!   `revision` (from 1). A tag is one present value, so these do not make tags of their own: what
//!   a host keeps of the past it keeps by tag and time, with the properties beside.
//! - `is_historical` keeps a value from becoming the tag's present one: of a revision, of an alert
//!   that was old when it arrived, and where the sender says that a newer one went before.
//!
//! A host takes only metrics that it has seen in a birth: the sender collects the [`metrics`] of
//! what it sends, and sends a device's birth again when a record brings one that was not in it.
//! Field numbers are those of `sparkplug_b.proto` of Eclipse Tahu.

use prost::{Message, Oneof};

use super::point::{Number, is_open, known_us, points};
use super::words::cause_name;
use crate::record::Record;

/// Number of a data type, as in chapter 6.4.16 of the specification.
mod data_type {
    pub(super) const INT64: u32 = 4;
    pub(super) const UINT32: u32 = 7;
    pub(super) const DOUBLE: u32 = 10;
    pub(super) const BOOLEAN: u32 = 11;
    pub(super) const STRING: u32 = 12;
}

/// Name of the metric that pairs births and deaths of a node.
const BD_SEQ: &str = "bdSeq";
/// Name of the metric by which a host asks for births.
pub const REBIRTH: &str = "Node Control/Rebirth";

/// Content of a message.
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// When it was sent, UTC in ms.
    #[prost(uint64, optional, tag = "1")]
    pub timestamp: Option<u64>,
    /// Metrics.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    /// Number in the node's sequence: 0 to 255 and over again; a node's birth has 0, its death none.
    #[prost(uint64, optional, tag = "3")]
    pub seq: Option<u64>,
}

/// A tag's value.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Name, with folders.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Time of the value, UTC in ms.
    #[prost(uint64, optional, tag = "3")]
    pub timestamp: Option<u64>,
    /// Type of the value.
    #[prost(uint32, optional, tag = "4")]
    pub datatype: Option<u32>,
    /// Whether it is not the tag's present value.
    #[prost(bool, optional, tag = "5")]
    pub is_historical: Option<bool>,
    /// Properties.
    #[prost(message, optional, tag = "9")]
    pub properties: Option<PropertySet>,
    /// Value.
    #[prost(oneof = "MetricValue", tags = "11, 13, 14, 15")]
    pub value: Option<MetricValue>,
}

/// A metric's value.
#[derive(Clone, PartialEq, Oneof)]
pub enum MetricValue {
    /// An integer; a negative one as two's complement.
    #[prost(uint64, tag = "11")]
    Long(u64),
    /// A number.
    #[prost(double, tag = "13")]
    Double(f64),
    /// A truth.
    #[prost(bool, tag = "14")]
    Boolean(bool),
    /// A text.
    #[prost(string, tag = "15")]
    Text(String),
}

/// Properties of a metric: keys and values of the same number.
#[derive(Clone, PartialEq, Message)]
pub struct PropertySet {
    /// Names.
    #[prost(string, repeated, tag = "1")]
    pub keys: Vec<String>,
    /// Values, in the same order.
    #[prost(message, repeated, tag = "2")]
    pub values: Vec<PropertyValue>,
}

/// A property's value.
#[derive(Clone, PartialEq, Message)]
pub struct PropertyValue {
    /// Its type.
    #[prost(uint32, optional, tag = "1")]
    pub datatype: Option<u32>,
    /// The value.
    #[prost(oneof = "Property", tags = "3, 8")]
    pub value: Option<Property>,
}

/// What a property may be here.
#[derive(Clone, PartialEq, Oneof)]
pub enum Property {
    /// An integer.
    #[prost(uint32, tag = "3")]
    Int(u32),
    /// A text.
    #[prost(string, tag = "8")]
    Text(String),
}

/// What is known of a message only as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sending {
    /// Its number in the node's sequence.
    pub seq: u8,
    /// UTC in ms.
    pub sent_ms: u64,
    /// Whether a newer record of the same sensor and rule was sent before.
    pub is_historical: bool,
}

/// A node's birth (NBIRTH): begins its sequence with 0, so the next message has 1. `bd_seq` is
/// that of the death given as the will of the same connection.
pub fn node_birth(bd_seq: u8, sent_ms: u64) -> Vec<u8> {
    let rebirth = metric(
        REBIRTH.to_owned(),
        sent_ms,
        data_type::BOOLEAN,
        MetricValue::Boolean(false),
    );
    payload(sent_ms, vec![of_session(bd_seq, sent_ms), rebirth], Some(0))
}

/// A node's death (NDEATH): the will of a connection, before its birth; a number more for every
/// connection, after 255 comes 0.
pub fn node_death(bd_seq: u8, sent_ms: u64) -> Vec<u8> {
    payload(sent_ms, vec![of_session(bd_seq, sent_ms)], None)
}

/// A device's birth (DBIRTH): all its metrics, as [`metrics`] gave them last.
pub fn device_birth(metrics: Vec<Metric>, seq: u8, sent_ms: u64) -> Vec<u8> {
    payload(sent_ms, metrics, Some(seq))
}

/// A device's death (DDEATH).
pub fn device_death(seq: u8, sent_ms: u64) -> Vec<u8> {
    payload(sent_ms, Vec::new(), Some(seq))
}

/// A record as data of its device (DDATA).
pub fn data(record: &Record, sending: &Sending) -> Vec<u8> {
    let mut metrics = metrics(record);
    for metric in &mut metrics {
        if sending.is_historical {
            metric.is_historical = Some(true);
        }
        without_unit(metric);
    }
    payload(sending.sent_ms, metrics, Some(sending.seq))
}

/// Appends a record's piece: its data as if sent at once, as the first after the birth. What is
/// sent in the end has the same length, but for 1 to 3 bytes a metric where it is historical.
pub fn encode(record: &Record, into: &mut Vec<u8>) {
    let sending = Sending {
        seq: 1,
        sent_ms: millis(known_us(record)),
        is_historical: false,
    };
    into.extend_from_slice(&data(record, &sending));
}

/// A record's metrics, as a birth has them.
pub fn metrics(record: &Record) -> Vec<Metric> {
    let time_ms = millis(known_us(record));
    let of_values = points(record).map(|point| {
        let part = point.part.map_or(String::new(), |part| format!("/{part}"));
        let name = format!("{}/{}/{}{part}", point.sensor, record.rule, point.name);
        let (datatype, value) = match point.number {
            Number::Count(count) => (data_type::INT64, MetricValue::Long(count)),
            Number::Real(real) => (data_type::DOUBLE, MetricValue::Double(real)),
        };
        let mut metric = metric(name, time_ms, datatype, value);
        metric.properties = properties(record, &point.unit);
        metric
    });
    let mut metrics: Vec<_> = of_values.chain(of_record(record, time_ms)).collect();
    if record.revision > 0 || record.alert.is_some_and(|alert| alert.historic) {
        for metric in &mut metrics {
            metric.is_historical = Some(true);
        }
    }
    metrics
}

/// What is told of a record as a whole.
fn of_record(record: &Record, time_ms: u64) -> Vec<Metric> {
    let place = format!("{}/{}", record.sensor, record.rule);
    let mut metrics = vec![
        metric(
            format!("{place}/record/samples"),
            time_ms,
            data_type::INT64,
            MetricValue::Long(record.samples),
        ),
        metric(
            format!("{place}/record/partial"),
            time_ms,
            data_type::BOOLEAN,
            MetricValue::Boolean(record.partial),
        ),
    ];
    if let Some(note) = &record.note {
        metrics.push(metric(
            format!("{place}/record/note"),
            time_ms,
            data_type::STRING,
            MetricValue::Text(note.clone()),
        ));
    }
    if let Some((alert, open)) = record.alert.zip(is_open(record)) {
        metrics.push(metric(
            format!("{place}/alert/{}", cause_name(alert.cause)),
            time_ms,
            data_type::BOOLEAN,
            MetricValue::Boolean(open),
        ));
    }
    for metric in &mut metrics {
        metric.properties = properties(record, "");
    }
    metrics
}

fn properties(record: &Record, unit: &str) -> Option<PropertySet> {
    let mut set = PropertySet::default();
    if !unit.is_empty() {
        set.keys.push(ENG_UNIT.to_owned());
        set.values.push(PropertyValue {
            datatype: Some(data_type::STRING),
            value: Some(Property::Text(unit.to_owned())),
        });
    }
    let numbers = [
        ("epoch", record.epoch, 0),
        ("version", record.version, 1),
        ("revision", record.revision, 0),
    ];
    for (key, number, usual) in numbers {
        if number != usual {
            set.keys.push(key.to_owned());
            set.values.push(PropertyValue {
                datatype: Some(data_type::UINT32),
                value: Some(Property::Int(number)),
            });
        }
    }
    (!set.keys.is_empty()).then_some(set)
}

/// Property of a metric's unit: always the first.
const ENG_UNIT: &str = "engUnit";

/// Takes the unit off: a host knows it from the birth.
fn without_unit(metric: &mut Metric) {
    let Some(set) = &mut metric.properties else {
        return;
    };
    if set.keys.first().is_some_and(|key| key == ENG_UNIT) {
        set.keys.remove(0);
        set.values.remove(0);
    }
    if set.keys.is_empty() {
        metric.properties = None;
    }
}

fn of_session(bd_seq: u8, sent_ms: u64) -> Metric {
    metric(
        BD_SEQ.to_owned(),
        sent_ms,
        data_type::INT64,
        MetricValue::Long(u64::from(bd_seq)),
    )
}

fn metric(name: String, time_ms: u64, datatype: u32, value: MetricValue) -> Metric {
    Metric {
        name: Some(name),
        timestamp: Some(time_ms),
        datatype: Some(datatype),
        is_historical: None,
        properties: None,
        value: Some(value),
    }
}

fn payload(sent_ms: u64, metrics: Vec<Metric>, seq: Option<u8>) -> Vec<u8> {
    Payload {
        timestamp: Some(sent_ms),
        metrics,
        seq: seq.map(u64::from),
    }
    .encode_to_vec()
}

/// UTC in ms; what lies before 1970 has no number in Sparkplug and is its beginning.
fn millis(utc_us: i64) -> u64 {
    u64::try_from(utc_us.div_euclid(1_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
