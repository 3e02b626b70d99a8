//! Pieces read back with the published types.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue as Published, any_value};
use opentelemetry_proto::tonic::metrics::v1::{metric, number_data_point};
use prost::Message as _;

use super::*;
use crate::record::Value;
use crate::sinks::encoding::tests::{examples, group, histogram, plain, told};

/// (metric, unit, start ns, time ns, value, attributes) of every point.
pub(in crate::sinks::encoding) type Flat = (String, String, u64, u64, f64, Vec<(String, String)>);

fn pairs(attributes: &[Published]) -> Vec<(String, String)> {
    let pair = |one: &Published| {
        let value = one.value.as_ref().unwrap().value.as_ref().unwrap();
        let value = match value {
            any_value::Value::StringValue(text) => text.clone(),
            any_value::Value::IntValue(whole) => whole.to_string(),
            other => panic!("{other:?}"),
        };
        (one.key.clone(), value)
    };
    attributes.iter().map(pair).collect()
}

/// Every point of a body.
pub(in crate::sinks::encoding) fn flat(body: &[u8]) -> Vec<Flat> {
    let request = ExportMetricsServiceRequest::decode(body).unwrap();
    let mut points = Vec::new();
    for resource in request.resource_metrics {
        for metric in resource.scope_metrics.into_iter().flat_map(|s| s.metrics) {
            let Some(metric::Data::Gauge(gauge)) = metric.data else {
                panic!("{} is no gauge", metric.name);
            };
            for point in gauge.data_points {
                let value = match point.value.unwrap() {
                    number_data_point::Value::AsDouble(real) => real,
                    number_data_point::Value::AsInt(whole) => whole as f64,
                };
                points.push((
                    metric.name.clone(),
                    metric.unit.clone(),
                    point.start_time_unix_nano,
                    point.time_unix_nano,
                    value,
                    pairs(&point.attributes),
                ));
            }
        }
    }
    points
}

fn of(record: &Record) -> Vec<Flat> {
    let mut body = Vec::new();
    encode(record, &mut body);
    flat(&body)
}

#[test]
fn published_types_read_every_field_and_know_no_other() {
    for record in examples() {
        let mut body = Vec::new();
        encode(&record, &mut body);
        let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
        // prost leaves out what it does not know: nothing was left out if all bytes come back.
        assert_eq!(request.encoded_len(), body.len(), "{record:?}");
        let values: usize = record
            .values
            .iter()
            .map(|(_, value)| match value {
                Value::Counts(counts) => counts.len(),
                _ => 1,
            })
            .sum();
        let own = 1 + usize::from(record.partial) + usize::from(record.alert.is_some());
        assert_eq!(flat(&body).len(), values + own);
    }
}

#[test]
fn a_window_is_known_at_its_end_and_has_its_units() {
    let points = of(&plain());
    let (_, unit, start, time, value, attributes) = points
        .iter()
        .find(|point| point.0 == "tidegate.mean")
        .unwrap();
    assert_eq!((unit.as_str(), *value), ("bar", 0.21));
    assert_eq!(*start, 1_581_168_600_000_000_000);
    assert_eq!(*time, 1_581_168_660_000_000_000);
    let keys: Vec<_> = attributes.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["site", "device", "sensor", "rule"]);
}

#[test]
fn the_resource_names_the_device() {
    let mut body = Vec::new();
    encode(&plain(), &mut body);
    let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    let pairs = pairs(&resource.attributes);
    assert!(pairs.contains(&("service.name".into(), "tidegate".into())));
    assert!(pairs.contains(&("service.instance.id".into(), "pump-house/pump-1".into())));
}

#[test]
fn pieces_of_several_records_are_one_request() {
    let mut body = Vec::new();
    let mut apart = Vec::new();
    for record in examples() {
        encode(&record, &mut body);
        apart.extend(of(&record));
    }
    assert_eq!(flat(&body), apart);
}

#[test]
fn no_two_points_of_the_examples_have_one_identity() {
    let mut keys: Vec<_> = examples()
        .iter()
        .flat_map(of)
        .map(|(name, _, _, time, _, attributes)| format!("{name} {time} {attributes:?}"))
        .collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
fn parts_of_a_histogram_are_points_of_one_metric() {
    let mut body = Vec::new();
    encode(&histogram(), &mut body);
    let request = ExportMetricsServiceRequest::decode(body.as_slice()).unwrap();
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let spreads: Vec<_> = metrics
        .iter()
        .filter(|metric| metric.name == "tidegate.spread")
        .collect();
    let [spread] = spreads.as_slice() else {
        panic!("{metrics:#?}");
    };
    let Some(metric::Data::Gauge(gauge)) = &spread.data else {
        panic!("{spread:?}");
    };
    let buckets: Vec<_> = gauge
        .data_points
        .iter()
        .map(|point| pairs(&point.attributes).pop().unwrap())
        .collect();
    let bucket = |part: usize| ("bucket".to_owned(), part.to_string());
    assert_eq!(buckets, [bucket(0), bucket(1), bucket(2)]);
}

#[test]
fn a_groups_values_are_of_their_sensors_and_an_alert_is_open_or_not() {
    let sensors: Vec<_> = of(&group())
        .into_iter()
        .map(|point| point.5[2].1.clone())
        .collect();
    assert_eq!(sensors, ["temperature", "humidity.rel", "*"]);
    for (record, open) in [(&told()[0], 1.0), (&told()[1], 0.0)] {
        let points = of(record);
        let alert = points
            .iter()
            .find(|point| point.0 == "tidegate.alert.open")
            .unwrap();
        assert!((alert.4 - open).abs() < f64::EPSILON);
    }
}
