//! `InfluxDB` line protocol: a line per record, which v1, v2 and v3 take alike.
//!
//! ```text
//! minute,device=pump-1,rule=minute,sensor=Pressure,site=hall,unit=bar mean=0.21,samples=13i,… 1581168600000000000
//! ```
//! - Measurement: the sink's template, `{rule}` unless said.
//! - Tags: `device`, `rule`, `sensor`, `site`, `unit` (where there is one), `epoch` (from 1),
//!   `version` (from 2), and of alerts `alert`, the cause. Sorted, as the server likes them.
//! - Fields: one per value, counts as integers, numbers as floats, the parts of a histogram as
//!   `NAME.0`, `NAME.1`, …; `samples`, `clock`, `duration_s` (end less start; not of a sample),
//!   `partial` (where true); of alerts `state`, `open` and `historic` (where true); `note` (where
//!   there is one, its line ends as `\n`: the protocol knows no others in a field). No name of a
//!   user's choice has a dot in it, so a value that is called like one of ours is `NAME.value`.
//! - Not `fresh`: a revision's counts what was added since, and takes the place of the first
//!   emission's, so that their sum at the receiver would be wrong. Not the id: as a tag it would
//!   make a series per record.
//! - Time: a window's start or the sample's time. Of an alert its end, when it was told: opened,
//!   still and cleared share their start; and 0, 1 or 2 ns more in that order, since an alert that
//!   a reload clears ends with the sample that opened it.
//!
//! # What overwrites what
//! `InfluxDB` keeps one point of a series and time, and merges the fields of a later one into it.
//! That is how a revision should replace its predecessor (it has every field of it: samples are
//! only ever added), and nothing else may. A rule has one outlet, so the records of one series are
//! all windows, all samples or all alerts of one cause:
//! - Tumbling, hopping, sliding and calendar windows of one sensor differ in their starts, and a
//!   sample never opens a second session where one starts.
//! - An alert passes over samples that are not newer than the last, so that no two records of one
//!   state have one end.
//! - The times of an earlier epoch come again, and an earlier version's windows last beside the
//!   newer one's: both are tags.
//! - Two samples of one sensor at one µs are one point, and so are count windows that begin with
//!   them; over the site (device `*`) records of several devices stand at one time by nature. A
//!   rule without a window over the site does not belong into `InfluxDB`.

use std::fmt::Write;

use super::point::is_open;
use super::template::{measurement_part, render};
use super::words::{cause_name, clock_name, in_one_line, state_name};
use crate::record::{Record, Value};
use crate::rules::settings::Template;

/// Fields that are not values.
const OWN_FIELDS: [&str; 8] = [
    "samples",
    "clock",
    "duration_s",
    "partial",
    "state",
    "open",
    "historic",
    "note",
];

/// Appends a record's line.
pub fn encode(measurement: &Template, record: &Record, into: &mut Vec<u8>) {
    let mut line = String::with_capacity(256);
    let name = render(measurement, record, measurement_part);
    escape(&name, &[',', ' '], &mut line);
    if line.starts_with('#') {
        // A line that begins so is a comment.
        line.replace_range(..1, "_");
    }
    tags(record, &mut line);
    fields(record, &mut line);
    // Writing to a String cannot fail.
    let _ = writeln!(line, " {}", time_ns(record));
    into.extend_from_slice(line.as_bytes());
}

fn tags(record: &Record, line: &mut String) {
    let cause = record.alert.map_or("", |alert| cause_name(alert.cause));
    let numbered = |number: u32, usual: u32| {
        if number == usual {
            String::new()
        } else {
            number.to_string()
        }
    };
    for (key, value) in [
        ("alert", cause),
        ("device", &record.device),
        ("epoch", &numbered(record.epoch, 0)),
        ("rule", &record.rule),
        ("sensor", &record.sensor),
        ("site", &record.site),
        ("unit", &record.unit),
        ("version", &numbered(record.version, 1)),
    ] {
        if !value.is_empty() {
            line.push(',');
            line.push_str(key);
            line.push('=');
            escape(value, &[',', '=', ' '], line);
        }
    }
}

fn fields(record: &Record, line: &mut String) {
    let mut separator = ' ';
    let mut field = |key: &str, value: &str| {
        line.push(separator);
        separator = ',';
        escape(key, &[',', '=', ' '], line);
        line.push('=');
        line.push_str(value);
    };
    for (name, value) in &record.values {
        let is_taken = OWN_FIELDS.contains(&name.as_str());
        let name = format!("{name}{}", if is_taken { ".value" } else { "" });
        match value {
            Value::Count(count) => field(&name, &integer(*count)),
            Value::Number(number) => field(&name, &format!("{number:?}")),
            Value::Counts(counts) => {
                for (part, count) in counts.iter().enumerate() {
                    field(&format!("{name}.{part}"), &integer(*count));
                }
            }
        }
    }
    field("samples", &integer(record.samples));
    field("clock", &quoted(clock_name(record.clock)));
    if record.end_us > record.start_us {
        let duration_s = (record.end_us - record.start_us) as f64 / 1e6;
        field("duration_s", &format!("{duration_s:?}"));
    }
    if record.partial {
        field("partial", "true");
    }
    if let Some((alert, open)) = record.alert.zip(is_open(record)) {
        field("state", &quoted(state_name(alert.state)));
        field("open", if open { "true" } else { "false" });
        if alert.historic {
            field("historic", "true");
        }
    }
    if let Some(note) = &record.note {
        field("note", &text(note));
    }
}

fn time_ns(record: &Record) -> i64 {
    let (time_us, order_ns) = match record.alert {
        None => (record.start_us, 0),
        Some(alert) => (record.end_us, alert.state as i64),
    };
    time_us.saturating_mul(1_000).saturating_add(order_ns)
}

/// A count as an integer field; the protocol's integers are signed.
fn integer(count: u64) -> String {
    format!("{}i", i64::try_from(count).unwrap_or(i64::MAX))
}

/// A text of ours, without quotes and backslashes in it, as a string field.
fn quoted(word: &str) -> String {
    format!("\"{word}\"")
}

/// A note as a string field.
fn text(note: &str) -> String {
    let line = in_one_line(note).replace('\\', "\\\\");
    format!("\"{}\"", line.replace('"', "\\\""))
}

/// Appends a text with a backslash before each of `special`. A backslash of its own becomes `/`
/// (before a separator it could not be told from one that escapes), a control character `_`.
fn escape(text: &str, special: &[char], into: &mut String) {
    for sign in text.chars() {
        match sign {
            '\\' => into.push('/'),
            sign if sign.is_control() => into.push('_'),
            sign => {
                if special.contains(&sign) {
                    into.push('\\');
                }
                into.push(sign);
            }
        }
    }
}

#[cfg(test)]
mod tests;
