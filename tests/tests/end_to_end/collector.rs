//! The OTLP sink against a receiver that reads requests with the published types: every value of
//! every record is there once, though the receiver was away in mid-run.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, metric};
use prost::Message as _;
use tidegate_tests::ports;
use tidegate_tests::receiver::{Answer, Mood, Receiver, Request};
use tidegate_tests::records::{self, Record};
use tidegate_tests::report::data;
use tidegate_tests::rig::Rig;
use tidegate_tests::simulation::Simulation;
use tidegate_tests::utc;
use tidegate_tests::wall::wait_until;

use crate::beside::{self, ARRIVAL, PASSAGE};
use crate::passage::{self, STOP};

/// Requests before the receiver refuses, and that it then refuses.
const TAKEN: usize = 5;
const REFUSED: usize = 3;

/// What a point is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    metric: String,
    unit: String,
    start_ns: u64,
    end_ns: u64,
    attributes: BTreeMap<String, String>,
}

#[test]
fn every_value_is_a_point_once_though_the_collector_was_away() {
    let collector = Receiver::start(ports::free(), Mood::Prompt);
    let rig = beside::rig(&format!(
        "type = \"otlp\"\nurl = \"http://127.0.0.1:{}/v1/metrics\"\ndrain_spread = \"0s\"",
        collector.port
    ));
    let simulation = simulation(&rig);
    let mut gateway = rig.gateway(&[]);
    beside::simulate(&rig, &simulation, || {
        wait_until("the first requests", PASSAGE, || collector.count() >= TAKEN);
        let before = collector.count();
        collector.set_mood(Mood::Refusing);
        wait_until("some to be refused", PASSAGE, || {
            collector.count() >= before + REFUSED
        });
        collector.set_mood(Mood::Prompt);
    });
    wait_until("every record at both", ARRIVAL, || {
        !known(&rig).is_empty()
            && waiting(&rig) == Some(0)
            && points(&collector.requests()).len() == expected(&rig)
    });
    assert!(gateway.stop(STOP).success());

    let requests = collector.requests();
    let refused = requests.iter().filter(|one| one.answer != Answer::Taken);
    assert!(refused.count() >= REFUSED);
    for request in &requests {
        let header = |name| request.raw.header(name);
        assert_eq!(header("content-type"), Some("application/x-protobuf"));
        assert_eq!(header("content-encoding"), Some("gzip"));
    }
    let points = points(&requests);
    let known = known(&rig);
    let mut compared = 0;
    for record in known.values() {
        let at = |metric: &str, unit: &str| points.get(&key(record, metric, unit)).copied();
        for (name, value) in &record.values {
            let unit = if name == "count" {
                ""
            } else {
                record.unit.as_str()
            };
            let found = at(&format!("tidegate.{name}"), ucum(unit));
            assert_eq!(found, Some(*value), "{name} of {record:?}");
            compared += 1;
        }
        let samples = at("tidegate.record.samples", "1");
        assert_eq!(samples, Some(record.samples as f64), "{record:?}");
    }
    assert_eq!(points.len(), compared + known.len(), "points nobody sent");
    assert!(compared > 100, "{compared} values are no test");
    let units = points.keys().filter(|key| key.unit != "1").count();
    assert!(units > 0, "no point has a unit");
    let ledger = rig.command(&["ledger", "--config", "tidegate.toml", "--strict"]);
    assert!(ledger.status.success(), "{}{}", ledger.out, ledger.err);
}

fn simulation(rig: &Rig) -> Simulation {
    match data("the collector: the real trace, for which a pump's model stands in") {
        Some(data) => {
            let trace = passage::anomaly_free(&data, rig.broker.port);
            let units = ["--unit", "Pressure=bar", "--unit", "Temperature=°C"];
            let more = units.map(str::to_owned).to_vec();
            passage::without_labels(Simulation { more, ..trace })
        }
        None => Simulation::plant("pump", rig.broker.port, 2, 1_800),
    }
}

/// A unit of the simulation as UCUM has it.
fn ucum(unit: &str) -> &str {
    match unit {
        "" => "1",
        "°C" => "Cel",
        "A" | "bar" | "mm/s" => unit,
        other => panic!("the simulation has no unit {other:?}"),
    }
}

/// What the first sink got, by id.
fn known(rig: &Rig) -> BTreeMap<String, Record> {
    let received = records::read(&rig.receiver.requests());
    let records = received.into_iter().map(|one| one.record);
    records.map(|record| (record.id.clone(), record)).collect()
}

/// Points that those records have: one for each value, and one for the samples.
fn expected(rig: &Rig) -> usize {
    known(rig)
        .values()
        .map(|record| record.values.len() + 1)
        .sum()
}

/// Records that wait at both sinks.
fn waiting(rig: &Rig) -> Option<u64> {
    let status = rig.command(&["status", "--config", "tidegate.toml", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.out).ok()?;
    let of = |sink: &str| status["sinks"][sink]["records_waiting"].as_u64();
    Some(of("cloud")? + of("beside")?)
}

/// What a record's value is as a point.
fn key(record: &Record, metric: &str, unit: &str) -> Key {
    let ns =
        |text: &str| utc::seconds(text).expect("a window has whole seconds") as u64 * 1_000_000_000;
    let mut attributes = BTreeMap::from(
        [
            ("site", &record.site),
            ("device", &record.device),
            ("sensor", &record.sensor),
            ("rule", &record.rule),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone())),
    );
    for (name, number, usual) in [
        ("epoch", record.epoch, 0),
        ("version", record.version, 1),
        ("revision", record.revision, 0),
    ] {
        if number != usual {
            attributes.insert(name.to_owned(), number.to_string());
        }
    }
    Key {
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        start_ns: ns(&record.start),
        end_ns: ns(&record.end),
        attributes,
    }
}

/// The points of every request that was taken; one that came twice fails the test.
fn points(requests: &[Request]) -> BTreeMap<Key, f64> {
    let mut points = BTreeMap::new();
    for request in requests.iter().filter(|one| one.answer == Answer::Taken) {
        let request = ExportMetricsServiceRequest::decode(request.body.as_slice())
            .expect("the published types read it");
        for resource in request.resource_metrics {
            let about = pairs(&resource.resource.expect("a resource is named").attributes);
            assert_eq!(about["service.name"], "tidegate");
            let metrics = resource
                .scope_metrics
                .into_iter()
                .flat_map(|scope| scope.metrics);
            for (metric, point) in metrics.flat_map(of_metric) {
                let (key, value) = read(&metric, &point);
                assert_eq!(about["tidegate.device"], key.attributes["device"]);
                let before = points.insert(key.clone(), value);
                assert_eq!(before, None, "{key:?} came twice");
            }
        }
    }
    points
}

fn of_metric(mut metric: Metric) -> Vec<(Metric, NumberDataPoint)> {
    let Some(metric::Data::Gauge(gauge)) = metric.data.take() else {
        panic!("{} is no gauge", metric.name);
    };
    let points = gauge.data_points.into_iter();
    points.map(|point| (metric.clone(), point)).collect()
}

fn read(metric: &Metric, point: &NumberDataPoint) -> (Key, f64) {
    let value = match point.value.expect("a point has a value") {
        Number::AsDouble(real) => real,
        Number::AsInt(whole) => whole as f64,
    };
    let key = Key {
        metric: metric.name.clone(),
        unit: metric.unit.clone(),
        start_ns: point.start_time_unix_nano,
        end_ns: point.time_unix_nano,
        attributes: pairs(&point.attributes),
    };
    (key, value)
}

fn pairs(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let pair = |one: &KeyValue| {
        let value = match one.value.as_ref().and_then(|any| any.value.as_ref()) {
            Some(any_value::Value::StringValue(text)) => text.clone(),
            Some(any_value::Value::IntValue(whole)) => whole.to_string(),
            other => panic!("{} is {other:?}", one.key),
        };
        (one.key.clone(), value)
    };
    attributes.iter().map(pair).collect()
}
