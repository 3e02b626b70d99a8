//! Records as JSON until `record::to_json` is there; then this file goes.

use jiff::Timestamp;
use serde_json::{Map, json};

use crate::record::{Record, Value};

/// A record as one line of JSON, without the line's end.
pub fn to_json(record: &Record) -> String {
    let time = |us| {
        Timestamp::from_microsecond(us)
            .unwrap_or_default()
            .to_string()
    };
    let values: Map<_, _> = record
        .values
        .iter()
        .map(|(name, value)| match value {
            Value::Count(count) => (name.clone(), json!(count)),
            Value::Number(number) => (name.clone(), json!(number)),
        })
        .collect();
    let fields = [
        ("id", json!(record.id.to_string())),
        ("site", json!(record.site)),
        ("device", json!(record.device)),
        ("sensor", json!(record.sensor)),
        ("unit", json!(record.unit)),
        ("rule", json!(record.rule)),
        ("version", json!(record.version)),
        ("epoch", json!(record.epoch)),
        ("start", json!(time(record.start_us))),
        ("end", json!(time(record.end_us))),
        ("revision", json!(record.revision)),
        ("samples", json!(record.samples)),
        ("fresh", json!(record.fresh)),
        ("clock", json!(record.clock)),
        ("values", json!(values)),
    ];
    let fields = fields.map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", fields.join(","))
}
