//! Encoding: how a record is spelled for a sink. Pure: the same record gives the same bytes.
//!
//! Each record becomes a *piece*; a request's body is its pieces one after another, which every
//! format here allows: lines, objects behind commas, length-prefixed values, and protobuf
//! messages whose one field is repeated. So a batch can be cut between any two records, and what
//! each record costs is known to the byte.
//!
//! Every encoding keeps apart what the gateway keeps apart: records of different epochs, rule
//! versions and (where the receiver cannot replace one by the other) revisions never get the same
//! key at the receiver.

use crate::record::{Record, to_json};
use crate::rules::settings::{FileFormat, HttpFormat, SinkKind};

/// How records are spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// A JSON object and a line's end.
    Ndjson,
    /// A JSON object and a comma.
    Json,
    /// Postcard of the record behind its length in bytes (a varint).
    Postcard,
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
                FileFormat::Ndjson | FileFormat::Parquet | FileFormat::Csv => Self::Ndjson,
            },
            SinkKind::Influxdb(_)
            | SinkKind::Prometheus(_)
            | SinkKind::Otlp(_)
            | SinkKind::Mqtt(_)
            | SinkKind::Nats(_)
            | SinkKind::Stdout => Self::Ndjson,
        }
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
        }
    }
}
