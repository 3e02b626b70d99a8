//! OpenTelemetry metrics: a `ResourceMetrics` per record, in the repeated field of an
//! `ExportMetricsServiceRequest`, so that the pieces of several records are one request.
//!
//! - Resource: `service.name` (`tidegate`), `service.instance.id` (`SITE/DEVICE`),
//!   `tidegate.site`, `tidegate.device`.
//! - Metrics: `tidegate.VALUE`, as `tidegate.mean`, with the unit in UCUM where it is known, else
//!   as the catalog has it; gauges, also counts: what a window counted is not a sum that goes on,
//!   and overlapping windows count a sample twice. Beside them `tidegate.record.samples`;
//!   `tidegate.record.partial`, 1 and only where it is so; of alerts `tidegate.alert.open`, 1 or 0.
//!   No value of a user's choice has a dot in its name, so these are ours alone. A note has no
//!   place among metrics: its record's values go without it.
//! - Attributes of each point: `device`, `sensor`, `site` (again: receivers that make series of
//!   points, as Prometheus, leave a resource's attributes out), `rule`, `epoch` (from 1), `version`
//!   (from 2), `revision` (from 1), `cause` of alerts, `bucket` of a histogram's part, counted
//!   from 0: its bounds stand in the rule and not in the record.
//! - Time: a window's end, or the sample's time; start time: the window's start, none of a sample.
//!   Of an alert when it was told, and 0, 1 or 2 ns more as it was opened, lasts or is cleared: a
//!   reload may clear it with the sample that opened it.
//!
//! The messages are those of opentelemetry-proto 1.x with the fields that are used; tests read
//! them back with the published ones.

use prost::{Message, Oneof};

use super::point::{Number, Point, is_open, known_us, points};
use super::ucum::ucum;
use super::words::cause_name;
use crate::record::Record;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    unit: String,
    #[prost(message, optional, tag = "5")]
    gauge: Option<Gauge>,
}

#[derive(Clone, PartialEq, Message)]
struct Gauge {
    #[prost(message, repeated, tag = "1")]
    data_points: Vec<DataPoint>,
}

#[derive(Clone, PartialEq, Message)]
struct DataPoint {
    #[prost(fixed64, tag = "2")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "3")]
    time_unix_nano: u64,
    #[prost(message, repeated, tag = "7")]
    attributes: Vec<KeyValue>,
    #[prost(oneof = "PointValue", tags = "4, 6")]
    value: Option<PointValue>,
}

#[derive(Clone, PartialEq, Oneof)]
enum PointValue {
    #[prost(double, tag = "4")]
    Real(f64),
    #[prost(sfixed64, tag = "6")]
    Whole(i64),
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Whole(i64),
}

/// Appends a record's metrics.
pub fn encode(record: &Record, into: &mut Vec<u8>) {
    let request = Request {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource(record)),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(Scope {
                    name: "tidegate".into(),
                }),
                metrics: metrics(record),
            }],
        }],
    };
    request
        .encode(into)
        .expect("a Vec grows to whatever a message takes");
}

fn resource(record: &Record) -> Resource {
    Resource {
        attributes: vec![
            text("service.name", "tidegate"),
            text(
                "service.instance.id",
                &format!("{}/{}", record.site, record.device),
            ),
            text("tidegate.site", &record.site),
            text("tidegate.device", &record.device),
        ],
    }
}

fn metrics(record: &Record) -> Vec<Metric> {
    let mut metrics: Vec<Metric> = Vec::new();
    for point in points(record) {
        let name = format!("tidegate.{}", point.name);
        // The parts of a histogram are points of one metric; of a group's sensors each has its
        // own, as their units may differ once records tell them.
        match metrics.last_mut() {
            Some(metric) if point.part.is_some_and(|part| part > 0) && metric.name == name => {
                let gauge = metric.gauge.get_or_insert_default();
                gauge.data_points.push(data_point(record, &point));
            }
            _ => metrics.push(metric(record, &point, name)),
        }
    }
    let mut own = |name: &str, value: u64| {
        let point = Point::of_record(record, value);
        metrics.push(metric(record, &point, name.to_owned()));
    };
    own("tidegate.record.samples", record.samples);
    if record.partial {
        own("tidegate.record.partial", 1);
    }
    if let Some(open) = is_open(record) {
        own("tidegate.alert.open", u64::from(open));
    }
    metrics
}

fn metric(record: &Record, point: &Point<'_>, name: String) -> Metric {
    Metric {
        name,
        unit: ucum(&point.unit).into_owned(),
        gauge: Some(Gauge {
            data_points: vec![data_point(record, point)],
        }),
    }
}

fn data_point(record: &Record, point: &Point<'_>) -> DataPoint {
    let is_sample = record.alert.is_none() && record.start_us == record.end_us;
    let order_ns = record.alert.map_or(0, |alert| alert.state as u64);
    DataPoint {
        start_time_unix_nano: if is_sample { 0 } else { nanos(record.start_us) },
        time_unix_nano: nanos(known_us(record)).saturating_add(order_ns),
        attributes: attributes(record, point),
        value: Some(match point.number {
            Number::Count(count) => PointValue::Whole(i64::try_from(count).unwrap_or(i64::MAX)),
            Number::Real(real) => PointValue::Real(real),
        }),
    }
}

fn attributes(record: &Record, point: &Point<'_>) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("site", &record.site),
        text("device", &record.device),
        text("sensor", point.sensor),
        text("rule", &record.rule),
    ];
    let numbers = [
        ("epoch", record.epoch, 0),
        ("version", record.version, 1),
        ("revision", record.revision, 0),
    ];
    for (key, number, usual) in numbers {
        if number != usual {
            attributes.push(whole(key, i64::from(number)));
        }
    }
    if let Some(alert) = record.alert {
        attributes.push(text("cause", cause_name(alert.cause)));
    }
    if let Some(part) = point.part {
        attributes.push(whole("bucket", part as i64));
    }
    attributes
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Any::Text(value.to_owned()))
}

fn whole(key: &str, value: i64) -> KeyValue {
    attribute(key, Any::Whole(value))
}

fn attribute(key: &str, value: Any) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

/// UTC in ns; what lies before 1970 has no number there and is its beginning.
fn nanos(utc_us: i64) -> u64 {
    u64::try_from(utc_us).unwrap_or(0).saturating_mul(1_000)
}

#[cfg(test)]
pub(super) mod tests;
