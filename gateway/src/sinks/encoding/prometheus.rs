//! Prometheus remote write 1.0: a time series per value, in the `timeseries` field of a
//! `WriteRequest`, so that the pieces of several records are one request.
//!
//! - Metric: `PREFIX_VALUE`, as `tidegate_mean`; what Prometheus does not take in a name becomes
//!   `_` (`p99.9` is `tidegate_p99_9`). Sensor and unit are labels: one metric, any sensor.
//! - Labels: `device`, `rule`, `sensor`, `site`, `unit` (where there is one), `epoch` (from 1),
//!   `version` (from 2), `revision` (from 1); of alerts `cause`. Of a record over all sensors of a
//!   device each value has its own `sensor`. Sorted by name, `__name__` first, as the
//!   specification demands.
//! - Beside the values: `PREFIX_samples`; `PREFIX_partial`, 1 and only where it is so; of alerts
//!   `PREFIX_alert_open`, 1 or 0. A value of the user's choice with such a name is
//!   `PREFIX_value_NAME`. A note has no place here: its record's values go without it.
//! - A histogram is `PREFIX_NAME_bucket` with the label `bucket`, counted from 0: its bounds stand
//!   in the rule and not in the record, so that there is no `le`, nor are the counts cumulative.
//! - Time: a window's end, in ms. A sample of Prometheus says how something was at its time, and a
//!   query at t looks back from t: a mean that is known at the end of its minute must not be seen
//!   at its start. Of an alert it is when it was told; a clearing is stamped 1 ms later, since one
//!   that a reload makes ends with the sample that opened the alert.
//!
//! Prometheus refuses a second value of a series at one time, and what is older than the newest.
//! So the receiver, not the encoding, says when two records of a series end within the same ms:
//! samples taken faster than that, and windows over every such sample. What must be kept apart
//! otherwise is: epochs, versions and revisions by their labels.

use prost::Message;

use super::point::{Point, is_open, known_us, points};
use super::words::cause_name;
use crate::record::{AlertState, Record};

/// Names that are not values'.
const OWN_NAMES: [&str; 3] = ["samples", "partial", "alert_open"];

/// Body of a request, before snappy.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    /// Series with their samples.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

/// A series and samples of it.
#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Labels, sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// Samples, sorted by time.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
}

/// A label.
#[derive(Clone, PartialEq, Message)]
pub struct Label {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A sample.
#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    /// Value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// UTC in ms since 1970-01-01.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// Appends a record's series.
pub fn encode(prefix: &str, record: &Record, into: &mut Vec<u8>) {
    let request = WriteRequest {
        timeseries: series(prefix, record),
    };
    request
        .encode(into)
        .expect("a Vec grows to whatever a message takes");
}

fn series(prefix: &str, record: &Record) -> Vec<TimeSeries> {
    let timestamp = time_ms(record);
    let one = |point: &Point<'_>, name: &str| TimeSeries {
        labels: labels(record, point, metric_name(prefix, name)),
        samples: vec![Sample {
            value: point.number.as_real(),
            timestamp,
        }],
    };
    let own = |name: &str, value: u64| one(&Point::of_record(record, value), name);
    let mut series: Vec<_> = points(record)
        .map(|point| one(&point, &value_name(&point)))
        .collect();
    series.push(own("samples", record.samples));
    if record.partial {
        series.push(own("partial", 1));
    }
    if let Some(open) = is_open(record) {
        series.push(own("alert_open", u64::from(open)));
    }
    series
}

/// When the record was known, in ms; what lies within a ms is of that ms.
fn time_ms(record: &Record) -> i64 {
    let is_cleared = record
        .alert
        .is_some_and(|alert| alert.state == AlertState::Cleared);
    known_us(record).div_euclid(1_000) + i64::from(is_cleared)
}

fn value_name(point: &Point<'_>) -> String {
    if point.part.is_some() {
        format!("{}_bucket", point.name)
    } else if OWN_NAMES.contains(&point.name) {
        format!("value_{}", point.name)
    } else {
        point.name.to_owned()
    }
}

fn labels(record: &Record, point: &Point<'_>, name: String) -> Vec<Label> {
    let unless = |number: u32, usual: u32| {
        if number == usual {
            String::new()
        } else {
            number.to_string()
        }
    };
    let cause = record.alert.map_or("", |alert| cause_name(alert.cause));
    let labels = [
        ("__name__", name),
        (
            "bucket",
            point.part.map_or(String::new(), |part| part.to_string()),
        ),
        ("cause", cause.to_owned()),
        ("device", record.device.clone()),
        ("epoch", unless(record.epoch, 0)),
        ("revision", unless(record.revision, 0)),
        ("rule", record.rule.clone()),
        ("sensor", point.sensor.to_owned()),
        ("site", record.site.clone()),
        ("unit", point.unit.clone().into_owned()),
        ("version", unless(record.version, 1)),
    ];
    // An empty label is the same as none.
    labels
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Label {
            name: name.to_owned(),
            value,
        })
        .collect()
}

/// `PREFIX_NAME` in what Prometheus takes: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn metric_name(prefix: &str, name: &str) -> String {
    let mut metric: String = prefix
        .chars()
        .chain(['_'])
        .chain(name.chars())
        .map(|sign| {
            if sign.is_ascii_alphanumeric() {
                sign
            } else {
                '_'
            }
        })
        .collect();
    if metric.starts_with(|sign: char| sign.is_ascii_digit()) {
        metric.insert(0, '_');
    }
    metric
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{AlertCause, AlertNote, GROUP, Value};
    use crate::sinks::encoding::tests::{examples, plain};

    fn decoded(record: &Record) -> Vec<TimeSeries> {
        let mut body = Vec::new();
        encode("tidegate", record, &mut body);
        WriteRequest::decode(body.as_slice()).unwrap().timeseries
    }

    fn label<'a>(series: &'a TimeSeries, name: &str) -> Option<&'a str> {
        let label = series.labels.iter().find(|label| label.name == name)?;
        Some(&label.value)
    }

    fn named<'a>(series: &'a [TimeSeries], name: &str) -> &'a TimeSeries {
        let found = series
            .iter()
            .find(|series| label(series, "__name__") == Some(name));
        found.unwrap_or_else(|| panic!("no {name} in {series:#?}"))
    }

    #[test]
    fn labels_are_sorted_valid_and_none_is_empty() {
        for record in examples() {
            for series in decoded(&record) {
                assert!(series.labels.is_sorted_by(|a, b| a.name < b.name));
                assert!(series.labels.iter().all(|label| !label.value.is_empty()));
                let name = label(&series, "__name__").unwrap();
                assert!(
                    name.bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn pieces_of_several_records_are_one_request() {
        let mut body = Vec::new();
        let mut apart = Vec::new();
        for record in examples() {
            encode("tidegate", &record, &mut body);
            apart.extend(decoded(&record));
        }
        assert_eq!(
            WriteRequest::decode(body.as_slice()).unwrap().timeseries,
            apart
        );
    }

    #[test]
    fn no_two_series_of_the_examples_have_one_key_and_time() {
        let mut keys: Vec<_> = examples()
            .iter()
            .flat_map(decoded)
            .map(|series| format!("{:?} {}", series.labels, series.samples[0].timestamp))
            .collect();
        let all = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), all);
    }

    #[test]
    fn a_windows_value_stands_at_its_end() {
        let record = Record {
            start_us: 0,
            end_us: 60_000_001,
            ..plain()
        };
        let series = decoded(&record);
        assert_eq!(named(&series, "tidegate_mean").samples[0].timestamp, 60_000);
        let before = Record {
            end_us: -1,
            ..record
        };
        assert_eq!(decoded(&before)[0].samples[0].timestamp, -1);
    }

    #[test]
    fn an_alert_cleared_by_the_sample_that_opened_it_is_closed_behind_it() {
        let of = |state| Record {
            start_us: 5_000,
            end_us: 5_000,
            alert: Some(AlertNote {
                cause: AlertCause::Condition,
                state,
                historic: false,
            }),
            ..plain()
        };
        let sample = |state| named(&decoded(&of(state)), "tidegate_alert_open").samples[0].clone();
        let (opened, cleared) = (sample(AlertState::Opened), sample(AlertState::Cleared));
        assert_eq!((opened.value, opened.timestamp), (1.0, 5));
        assert_eq!((cleared.value, cleared.timestamp), (0.0, 6));
    }

    #[test]
    fn values_called_like_ours_odd_names_and_prefixes_stay_apart_and_valid() {
        let record = Record {
            sensor: GROUP.into(),
            values: vec![
                ("a.b.samples".into(), Value::Number(7.0)),
                ("a.b.p99.9".into(), Value::Number(8.0)),
            ],
            ..plain()
        };
        let series = decoded(&record);
        let samples = named(&series, "tidegate_value_samples");
        assert_eq!(label(samples, "sensor"), Some("a.b"));
        assert_eq!(
            label(named(&series, "tidegate_samples"), "sensor"),
            Some("*")
        );
        named(&series, "tidegate_p99_9");
        assert_eq!(metric_name("9 lives", "é"), "_9_lives__");
    }
}
