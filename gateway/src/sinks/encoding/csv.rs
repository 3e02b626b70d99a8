//! CSV: a line per value, under one line of names that the file begins with.
//!
//! Long rather than wide: rules have values of any names, and a new one must not change the
//! columns of a file that is there. A record without a value (silence began) is a line with
//! `name` and `value` empty; the parts of a histogram are lines `NAME.0`, `NAME.1`, … A note stands
//! on every line of its record, its line ends as `\n` and its backslashes as `\\`.
//!
//! Quoting is RFC 4180's, but a line is always a line: line ends within texts become blanks, so
//! that a file can be cut behind any of them.

use crate::record::{Record, Value, rfc3339};

use super::words::{cause_name, clock_name, in_one_line, state_name};

/// The columns, in order.
pub const COLUMNS: [&str; 21] = [
    "id", "site", "device", "sensor", "unit", "rule", "version", "epoch", "start", "end",
    "revision", "samples", "fresh", "clock", "partial", "alert", "cause", "historic", "note",
    "name", "value",
];

/// The line of names, with its end.
pub fn header() -> String {
    COLUMNS.join(",") + "\n"
}

/// Appends a record's lines.
pub fn encode(record: &Record, into: &mut Vec<u8>) {
    let common = common(record);
    let mut line = |name: &str, value: &str| {
        for text in &common {
            field(text, into);
            into.push(b',');
        }
        field(name, into);
        into.push(b',');
        field(value, into);
        into.push(b'\n');
    };
    for (name, value) in &record.values {
        match value {
            Value::Count(count) => line(name, &count.to_string()),
            Value::Number(number) => line(name, &format!("{number:?}")),
            Value::Counts(counts) => {
                for (part, count) in counts.iter().enumerate() {
                    line(&format!("{name}.{part}"), &count.to_string());
                }
            }
        }
    }
    if record.values.is_empty() {
        line("", "");
    }
}

/// What every line of a record has.
fn common(record: &Record) -> [String; 19] {
    let alert = record.alert.as_ref();
    [
        record.id.to_string(),
        record.site.clone(),
        record.device.clone(),
        record.sensor.clone(),
        record.unit.clone(),
        record.rule.clone(),
        record.version.to_string(),
        record.epoch.to_string(),
        rfc3339(record.start_us),
        rfc3339(record.end_us),
        record.revision.to_string(),
        record.samples.to_string(),
        record.fresh.to_string(),
        clock_name(record.clock).to_owned(),
        record.partial.to_string(),
        alert.map_or_else(String::new, |alert| state_name(alert.state).to_owned()),
        alert.map_or_else(String::new, |alert| cause_name(alert.cause).to_owned()),
        alert.map_or_else(String::new, |alert| alert.historic.to_string()),
        record.note.as_deref().map_or_else(String::new, in_one_line),
    ]
}

/// Appends a field, in quotes where it needs them.
fn field(text: &str, into: &mut Vec<u8>) {
    let text = text.replace(['\r', '\n'], " ");
    if text.contains(['"', ',']) {
        into.push(b'"');
        into.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        into.push(b'"');
    } else {
        into.extend_from_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::encoding::tests::{examples, plain};

    fn rows(body: &[u8]) -> Vec<Vec<String>> {
        let mut file = header().into_bytes();
        file.extend_from_slice(body);
        let mut reader = csv::Reader::from_reader(file.as_slice());
        let names: Vec<_> = reader.headers().unwrap().iter().map(String::from).collect();
        assert_eq!(names, COLUMNS);
        reader
            .records()
            .map(|row| row.unwrap().iter().map(String::from).collect())
            .collect()
    }

    #[test]
    fn a_reader_finds_every_value_beside_what_it_is_of() {
        for record in examples() {
            let mut body = Vec::new();
            encode(&record, &mut body);
            let rows = rows(&body);
            let values: usize = record
                .values
                .iter()
                .map(|(_, value)| match value {
                    Value::Counts(counts) => counts.len(),
                    _ => 1,
                })
                .sum();
            assert_eq!(rows.len(), values.max(1));
            assert_eq!(
                rows.len(),
                body.split_inclusive(|byte| *byte == b'\n').count()
            );
            for row in rows {
                assert_eq!(row[0], record.id.to_string());
                assert_eq!(row[3], record.sensor);
                assert_eq!(row[4], record.unit.replace('\n', " "));
            }
        }
    }

    #[test]
    fn line_ends_in_texts_do_not_end_the_line() {
        let record = Record {
            unit: "a\r\n\"b\"".into(),
            values: vec![("value".into(), Value::Number(1.0))],
            ..plain()
        };
        let mut body = Vec::new();
        encode(&record, &mut body);
        assert_eq!(body.split_inclusive(|byte| *byte == b'\n').count(), 1);
        assert_eq!(rows(&body)[0][4], "a  \"b\"");
    }
}
