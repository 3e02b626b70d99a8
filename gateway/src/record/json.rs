//! Records as JSON: one object without line breaks, its fields in the order of the struct.
//!
//! Times are RFC 3339 in UTC (`2020-02-08T13:30:00Z`, with as many decimals as they need).
//! `"partial":true` stands before the values, and only when it is true; so do an alert's
//! `"alert":"opened"`, `"cause":"condition"` and `"historic":true`, and a `"note"`.

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use super::{Record, Value};

/// A record as one line of JSON, without the line's end.
pub fn to_json(record: &Record) -> String {
    serde_json::to_string(&Line(record))
        .expect("a record has text keys and finite numbers, which serde_json always writes")
}

/// UTC in µs as RFC 3339; what lies beyond the year 9999 reads as its last moment.
pub fn rfc3339(utc_us: i64) -> String {
    let end = if utc_us < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    Timestamp::from_microsecond(utc_us)
        .unwrap_or(end)
        .to_string()
}

struct Line<'a>(&'a Record);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let record = self.0;
        let mut line = serializer.serialize_struct("Record", 20)?;
        line.serialize_field("id", &format_args!("{}", record.id))?;
        line.serialize_field("site", &record.site)?;
        line.serialize_field("device", &record.device)?;
        line.serialize_field("sensor", &record.sensor)?;
        line.serialize_field("unit", &record.unit)?;
        line.serialize_field("rule", &record.rule)?;
        line.serialize_field("version", &record.version)?;
        line.serialize_field("epoch", &record.epoch)?;
        line.serialize_field("start", &rfc3339(record.start_us))?;
        line.serialize_field("end", &rfc3339(record.end_us))?;
        line.serialize_field("revision", &record.revision)?;
        line.serialize_field("samples", &record.samples)?;
        line.serialize_field("fresh", &record.fresh)?;
        line.serialize_field("clock", &record.clock)?;
        if record.partial {
            line.serialize_field("partial", &true)?;
        }
        if let Some(alert) = &record.alert {
            line.serialize_field("alert", &alert.state)?;
            line.serialize_field("cause", &alert.cause)?;
            if alert.historic {
                line.serialize_field("historic", &true)?;
            }
        }
        if let Some(note) = &record.note {
            line.serialize_field("note", note)?;
        }
        line.serialize_field("values", &Values(&record.values))?;
        line.end()
    }
}

struct Values<'a>(&'a [(String, Value)]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            match value {
                Value::Count(count) => map.serialize_entry(name, count)?,
                Value::Number(number) => map.serialize_entry(name, number)?,
                Value::Counts(counts) => map.serialize_entry(name, counts)?,
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ClockQuality, RecordId};

    fn record() -> Record {
        Record {
            id: RecordId([0xab; 16]),
            site: "pump-house".into(),
            device: "pump-1".into(),
            sensor: "Pressure".into(),
            unit: "bar".into(),
            rule: "minute".into(),
            version: 1,
            epoch: 0,
            start_us: 1_581_168_600_000_000,
            end_us: 1_581_168_660_000_000,
            revision: 0,
            samples: 13,
            fresh: 13,
            clock: ClockQuality::Device,
            partial: false,
            alert: None,
            values: vec![
                ("count".into(), Value::Count(13)),
                ("min".into(), Value::Number(0.05)),
                ("max".into(), Value::Number(0.38)),
                ("mean".into(), Value::Number(0.21)),
                ("p95".into(), Value::Number(0.37)),
            ],
            note: None,
        }
    }

    #[test]
    fn a_record_reads_as_specified() {
        assert_eq!(
            to_json(&record()),
            concat!(
                r#"{"id":"abababababababababababababababab","site":"pump-house","#,
                r#""device":"pump-1","sensor":"Pressure","unit":"bar","rule":"minute","#,
                r#""version":1,"epoch":0,"start":"2020-02-08T13:30:00Z","#,
                r#""end":"2020-02-08T13:31:00Z","revision":0,"samples":13,"fresh":13,"#,
                r#""clock":"device","values":{"count":13,"min":0.05,"max":0.38,"#,
                r#""mean":0.21,"p95":0.37}}"#
            )
        );
    }

    #[test]
    fn partial_stands_only_where_it_is_true() {
        let json = to_json(&Record {
            partial: true,
            clock: ClockQuality::Bounded,
            values: Vec::new(),
            ..record()
        });
        assert!(json.ends_with(r#""clock":"bounded","partial":true,"values":{}}"#));
    }

    #[test]
    fn a_note_keeps_its_lines() {
        let json = to_json(&Record {
            note: Some("log\n3\n".into()),
            values: vec![("entries".into(), Value::Count(3))],
            ..record()
        });
        assert!(json.ends_with(r#""clock":"device","note":"log\n3\n","values":{"entries":3}}"#));
    }

    #[test]
    fn times_keep_their_decimals_and_their_bounds() {
        assert_eq!(rfc3339(1_581_168_600_250_000), "2020-02-08T13:30:00.25Z");
        assert!(rfc3339(i64::MAX).starts_with("9999-12-30"));
        assert!(rfc3339(i64::MIN).starts_with('-'));
    }
}
