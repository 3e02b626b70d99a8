//! Outcome: what a test gave, and where that is not what it expects.

use serde_json::{Map, Value, json};

use super::expectation::{Datum, Field};
use crate::ledger::counters::Counters;
use crate::record::{Emitted, to_json};

/// What a test gave.
#[derive(Debug)]
pub struct Outcome {
    /// Records in the order of emission.
    pub records: Vec<Emitted>,
    /// Everything counted.
    pub counters: Counters,
    /// Where it differs from what is expected; the test holds when there are none.
    pub differences: Vec<Difference>,
}

/// One difference between what is expected and what came.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// A record came, but not as expected.
    Differs {
        /// Number of the expectation, from 1.
        number: usize,
        /// Its line in the file.
        line: usize,
        /// The record that came.
        record: Box<Emitted>,
        /// The fields that differ.
        fields: Vec<FieldDifference>,
    },
    /// No such record came.
    Missing {
        /// Number of the expectation, from 1.
        number: usize,
        /// Its line in the file.
        line: usize,
        /// What was expected.
        fields: Vec<(Field, Datum)>,
    },
    /// A record came that nobody expects.
    Unexpected {
        /// The record.
        record: Box<Emitted>,
    },
    /// A count came out otherwise.
    Count {
        /// Number of the expectation, from 1.
        number: usize,
        /// Its line in the file.
        line: usize,
        /// Of which device, sensor and rule.
        of: String,
        /// Which count.
        name: String,
        /// Expected.
        wanted: u64,
        /// Counted.
        found: u64,
    },
    /// Samples of the timeline fall where their device is off: the test contradicts itself.
    NotTaken {
        /// The device.
        device: String,
        /// How many.
        samples: u64,
    },
}

/// A field that is not as expected.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldDifference {
    /// Which.
    pub field: Field,
    /// Expected.
    pub wanted: Datum,
    /// In the record.
    pub found: Datum,
    /// How far a number may differ; 0 for fields that are compared exactly.
    pub within: f64,
}

impl Outcome {
    /// Whether everything is as expected.
    pub fn holds(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Difference {
    /// The difference for programs.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Differs {
                number,
                line,
                record,
                fields,
            } => json!({
                "kind": "differs",
                "expectation": number,
                "line": line,
                "fields": fields.iter().map(FieldDifference::to_json).collect::<Vec<_>>(),
                "record": record_json(record),
            }),
            Self::Missing {
                number,
                line,
                fields,
            } => json!({
                "kind": "missing",
                "expectation": number,
                "line": line,
                "expected": fields_json(fields),
            }),
            Self::Unexpected { record } => json!({
                "kind": "unexpected",
                "record": record_json(record),
            }),
            Self::Count {
                number,
                line,
                of,
                name,
                wanted,
                found,
            } => json!({
                "kind": "count",
                "expectation": number,
                "line": line,
                "of": of,
                "count": name,
                "expected": wanted,
                "got": found,
            }),
            Self::NotTaken { device, samples } => json!({
                "kind": "not-taken",
                "device": device,
                "samples": samples,
            }),
        }
    }
}

impl FieldDifference {
    fn to_json(&self) -> Value {
        json!({
            "field": self.field.to_string(),
            "expected": datum_json(&self.wanted),
            "got": datum_json(&self.found),
            "within": self.within,
        })
    }
}

fn fields_json(fields: &[(Field, Datum)]) -> Value {
    let fields = fields.iter();
    Value::Object(
        fields
            .map(|(field, datum)| (field.to_string(), datum_json(datum)))
            .collect::<Map<_, _>>(),
    )
}

fn datum_json(datum: &Datum) -> Value {
    match datum {
        Datum::Number(number) => json!(number),
        Datum::Names(names) => json!(names),
        Datum::Counts(counts) => json!(counts),
        Datum::Flag(flag) => json!(flag),
        Datum::Absent => Value::Null,
        Datum::Text(_) | Datum::Time(_) => json!(datum.to_string()),
    }
}

fn record_json(record: &Emitted) -> Value {
    serde_json::from_str(&to_json(&record.record)).unwrap_or(Value::Null)
}
