//! Encoding: how a record is spelled for a sink. Pure: the same record gives the same bytes.
//!
//! Each record becomes a *piece*; a request's body is its pieces one after another, which every
//! format here allows: lines, objects behind commas, length-prefixed values, and protobuf
//! messages whose one field is repeated. So a batch can be cut between any two records, and what
//! each record costs is known to the byte.
//!
//! Every encoding keeps apart what the gateway keeps apart: records of different epochs, rule
//! versions and (where the receiver cannot replace one by the other) revisions never get the same
//! key at the receiver. The one exception is Sparkplug, whose tags are present values: there they
//! are properties of the value.

pub mod csv;
pub mod influxdb;
pub mod otlp;
pub mod point;
pub mod prometheus;
pub mod sparkplug;
pub mod template;
mod ucum;
mod words;

use crate::record::{Record, to_json};
use crate::rules::settings::{FileFormat, HttpFormat, MqttPayload, SinkKind, Template};

/// How records are spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// A JSON object and a line's end.
    Ndjson,
    /// A JSON object and a comma.
    Json,
    /// Postcard of the record behind its length in bytes (a varint).
    Postcard,
    /// Line protocol, under a measurement.
    Influxdb(Template),
    /// Series of remote write, under a prefix.
    Prometheus(String),
    /// OpenTelemetry metrics.
    Otlp,
    /// Sparkplug B data of a device.
    Sparkplug,
    /// A line per value, without the line of names.
    Csv,
}

impl Encoding {
    /// The encoding of a sink.
    pub fn of(kind: &SinkKind) -> Self {
        match kind {
            SinkKind::Http(settings) => match settings.format {
                HttpFormat::Ndjson => Self::Ndjson,
                HttpFormat::Json => Self::Json,
                HttpFormat::Postcard => Self::Postcard,
            },
            SinkKind::File(settings) => match settings.format {
                FileFormat::Csv => Self::Csv,
                // Parquet is made of lines when a file is closed.
                FileFormat::Ndjson | FileFormat::Parquet => Self::Ndjson,
            },
            SinkKind::Influxdb(settings) => Self::Influxdb(settings.measurement.clone()),
            SinkKind::Prometheus(settings) => Self::Prometheus(settings.prefix.clone()),
            SinkKind::Otlp(_) => Self::Otlp,
            SinkKind::Mqtt(settings) => match settings.payload {
                MqttPayload::Json { .. } => Self::Ndjson,
                MqttPayload::SparkplugB { .. } => Self::Sparkplug,
            },
            SinkKind::Nats(_) | SinkKind::Stdout => Self::Ndjson,
        }
    }

    /// Whether one batch may hold several records of one rule, device and sensor. Not where only
    /// the newest of a series is taken a second time: a batch that was stored and not answered
    /// could not be sent again.
    pub fn may_repeat_series(&self) -> bool {
        !matches!(self, Self::Prometheus(_))
    }

    /// Appends a record's piece to a body.
    pub fn encode(&self, record: &Record, into: &mut Vec<u8>) {
        match self {
            Self::Ndjson => {
                into.extend_from_slice(to_json(record).as_bytes());
                into.push(b'\n');
            }
            Self::Json => {
                into.extend_from_slice(to_json(record).as_bytes());
                into.push(b',');
            }
            Self::Postcard => {
                let piece = postcard::to_stdvec(record)
                    .expect("a record holds texts, numbers and lists, which postcard writes");
                let length = postcard::to_stdvec(&piece.len())
                    .expect("a length is a number, which postcard writes");
                into.extend_from_slice(&length);
                into.extend_from_slice(&piece);
            }
            Self::Influxdb(measurement) => influxdb::encode(measurement, record, into),
            Self::Prometheus(prefix) => prometheus::encode(prefix, record, into),
            Self::Otlp => otlp::encode(record, into),
            Self::Sparkplug => sparkplug::encode(record, into),
            Self::Csv => csv::encode(record, into),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
