//! The pump's real trace in databases that people run, asked for in their own languages, after
//! each of them was killed and started again in the middle.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use tidegate_tests::ports;
use tidegate_tests::records;
use tidegate_tests::report::{data, say};
use tidegate_tests::rig::{Rig, repository};
use tidegate_tests::servers::Door;
use tidegate_tests::servers::influxdb::InfluxDb;
use tidegate_tests::servers::prometheus::{Options, Prometheus};
use tidegate_tests::servers::promql::Series;
use tidegate_tests::servers::victoria::VictoriaMetrics;
use tidegate_tests::wall::wait_until;

use crate::passage;

const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:21883"
[sink.cloud]
type = "http"
url = "http://127.0.0.1:28080/records"
compress = "none"
[sink.influx]
type = "influxdb"
url = "http://127.0.0.1:INFLUXDB"
api = "v1"
database = "plant"
batch_records_max = 100
drain_spread = "0s"
[sink.prometheus]
type = "prometheus"
url = "http://127.0.0.1:PROMETHEUS/api/v1/write"
batch_records_max = 100
drain_spread = "0s"
[sink.victoria]
type = "prometheus"
url = "http://127.0.0.1:VICTORIA/api/v1/write"
batch_records_max = 100
drain_spread = "0s"
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", lateness = "30s", late = "drop" }
aggregate = ["count", "min", "max", "mean", "stddev", "p95"]
forward = ["cloud", "influx", "prometheus", "victoria"]
[[rule]]
name = "pressed"
match = { sensor = "Pressure" }
alert = { when = "value > 0.3", clear = "value < 0.1" }
priority = "normal"
forward = ["cloud", "influx", "prometheus", "victoria"]
"#;

/// Names of the values of a record.
const VALUES: [&str; 6] = ["count", "min", "max", "mean", "stddev", "p95"];
/// Longest that a backlog may take to arrive when its server is back: backoff included.
const CAUGHT_UP: Duration = Duration::from_mins(3);

/// What the receiver got of the rule `minute`: by sensor and start in seconds.
type Known = BTreeMap<(String, i64), BTreeMap<String, f64>>;

#[test]
fn the_trace_is_in_every_database_whole_and_once() {
    let Some(data) = data("databases") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let open = Door::default();
    let mut influx = InfluxDb::start(dir.path(), ports::free(), &open);
    influx.create_database("plant");
    let mut prometheus = Prometheus::start(dir.path(), ports::free(), &open, Options::default());
    // Its own way to keep one of two equal samples; repeats are stored as they come without.
    let once = ["-dedup.minScrapeInterval=1ms"];
    let mut victoria = VictoriaMetrics::start(dir.path(), ports::free(), &open, &once);
    let configuration = CONFIGURATION
        .replace("INFLUXDB", &influx.port.to_string())
        .replace("PROMETHEUS", &prometheus.port.to_string())
        .replace("VICTORIA", &victoria.port.to_string());
    let rig = Rig::free(&configuration);
    let mut gateway = rig.gateway(&[]);
    let simulation = passage::stated(passage::anomaly_free(&data, rig.broker.port));
    let simulation = passage::without_labels(simulation);
    let mut process = simulation.start(rig.path());

    // In mid-run, with some of it stored: two die, and one that confirms from memory stops.
    wait_until("the first records in InfluxDB", CAUGHT_UP, || {
        !influx
            .query("plant", "SELECT count(samples) FROM minute")
            .is_empty()
    });
    influx.kill();
    prometheus.kill();
    victoria.stop();
    passage::wait_simulated(&mut process, Duration::from_mins(3));
    let minutes = passage::expected(&simulation, 60).answers.len();
    wait_until("every record at the receiver", CAUGHT_UP, || {
        known(&rig).len() == minutes
    });
    let known = known(&rig);
    influx.restart();
    prometheus.restart();
    victoria.restart();
    wait_until("all backlogs to be delivered", CAUGHT_UP, || {
        waiting(&rig) == 0
    });

    check_influx(&influx, &known);
    let end_ms = known.keys().map(|(_, start)| (start + 60) * 1_000).max();
    let end_ms = end_ms.expect("there are records");
    for value in VALUES {
        let range = format!("tidegate_{value}{{rule=\"minute\"}}[4h]");
        check_series(
            "Prometheus",
            value,
            &prometheus.query(&range, Some(end_ms)),
            &known,
        );
        victoria.flush();
        check_series(
            "VictoriaMetrics",
            value,
            &victoria.query(&range, Some(end_ms)),
            &known,
        );
    }
    check_alerts(&rig, &influx, &prometheus, end_ms);
    check_views(&influx, &prometheus, end_ms);
    assert!(gateway.stop(passage::STOP).success());
    let ledger = rig.command(&["ledger", "--config", "tidegate.toml", "--strict"]);
    assert!(ledger.status.success(), "{}{}", ledger.out, ledger.err);
    say(&format!(
        "databases: {} records of {} sensors in InfluxDB, Prometheus and VictoriaMetrics, each \
         ended in mid-run",
        known.len(),
        known
            .keys()
            .map(|(sensor, _)| sensor)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    ));
}

fn known(rig: &Rig) -> Known {
    records::read(&rig.receiver.requests())
        .into_iter()
        .filter(|one| one.taken && one.record.rule == "minute")
        .map(|one| {
            let start = one.record.start_s();
            ((one.record.sensor, start), one.record.values)
        })
        .collect()
}

/// Records that wait at any sink.
fn waiting(rig: &Rig) -> u64 {
    let status = rig.command(&["status", "--config", "tidegate.toml", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap_or_default();
    let sinks = status["sinks"].as_object().cloned().unwrap_or_default();
    if sinks.len() != 4 {
        return u64::MAX;
    }
    let records = sinks.values().map(|sink| sink["records_waiting"].as_u64());
    records.sum::<Option<u64>>().unwrap_or(u64::MAX)
}

/// In `InfluxQL`: every value of every record, and no other point.
fn check_influx(influx: &InfluxDb, known: &Known) {
    let fields = VALUES.map(|value| format!("\"{value}\"")).join(", ");
    let query = format!("SELECT {fields} FROM minute GROUP BY sensor");
    let mut points = 0;
    for series in influx.query("plant", &query) {
        let sensor = &series.tags["sensor"];
        for row in &series.rows {
            points += 1;
            let start = row[0].as_i64().expect("a time in ns") / 1_000_000_000;
            let values = known
                .get(&(sensor.clone(), start))
                .unwrap_or_else(|| panic!("InfluxDB has {sensor} at {start}, which nobody sent"));
            for (column, value) in series.columns.iter().zip(row).skip(1) {
                assert_eq!(
                    value.as_f64(),
                    values.get(column).copied(),
                    "{sensor} {start} {column}"
                );
            }
        }
    }
    assert_eq!(points, known.len(), "points in InfluxDB");
}

/// In `PromQL`: every sample of a value, at the ends of its windows, and no other.
fn check_series(server: &str, value: &str, series: &[Series], known: &Known) {
    let digits = if server == "Prometheus" { 0.0 } else { 1e-11 };
    let mut points = 0;
    for one in series {
        let sensor = one.label("sensor");
        assert_eq!(one.label("device"), "pump-1");
        for (end_ms, found) in &one.points {
            points += 1;
            let start = end_ms / 1_000 - 60;
            let values = known.get(&(sensor.to_owned(), start));
            let values = values.unwrap_or_else(|| panic!("{server} has {sensor} at {end_ms}"));
            let sent = values[value];
            // VictoriaMetrics keeps decimals of about twelve digits.
            let near = (found - sent).abs() <= sent.abs() * digits;
            assert!(
                near,
                "{server}: {sensor} {value} at {start}: {found}, sent {sent}"
            );
        }
    }
    let sent = known
        .values()
        .filter(|values| values.contains_key(value))
        .count();
    assert_eq!(points, sent, "samples of {value} in {server}");
}

/// Each alert that was told is in both, as opened and as cleared.
fn check_alerts(rig: &Rig, influx: &InfluxDb, prometheus: &Prometheus, end_ms: i64) {
    let received = records::read(&rig.receiver.requests());
    let told = received
        .iter()
        .filter(|one| one.record.rule == "pressed")
        .count();
    assert!(told > 1, "the trace opens an alert and clears it");
    let rows: usize = influx
        .query("plant", "SELECT state, open FROM pressed")
        .iter()
        .map(|series| series.rows.len())
        .sum();
    assert_eq!(rows, told, "alerts in InfluxDB");
    let samples: usize = prometheus
        .query(
            "tidegate_alert_open{rule=\"pressed\"}[4h]",
            Some(end_ms + 60_000),
        )
        .iter()
        .map(|series| series.points.len())
        .sum();
    assert_eq!(samples, told, "alerts in Prometheus");
}

/// The panels of both dashboards show something of this run.
fn check_views(influx: &InfluxDb, prometheus: &Prometheus, end_ms: i64) {
    for (panel, expression) in panels("grafana-prometheus.json", "expr") {
        let expression = expression
            .replace("$device", "pump-1")
            .replace("$sensor", ".+")
            .replace("$rule", ".+")
            .replace("$site", "pump-house")
            .replace("$__range", "4h")
            .replace("$__interval", "1m")
            .replace("$__rate_interval", "5m");
        let found = prometheus.query(&expression, Some(end_ms));
        assert!(
            !found.is_empty(),
            "panel {panel:?} shows nothing: {expression}"
        );
    }
    for (panel, query) in panels("grafana-influxdb.json", "query") {
        let from = format!(
            "time >= {}ms and time <= {end_ms}ms",
            end_ms - 4 * 3_600_000
        );
        let query = query
            .replace("$timeFilter", &from)
            .replace("$device", "pump-1")
            .replace("$sensor", ".+")
            .replace("$rule", "minute")
            .replace("$site", "pump-house")
            .replace("$__interval", "1m");
        let found = influx.query("plant", &query);
        assert!(!found.is_empty(), "panel {panel:?} shows nothing: {query}");
    }
}

/// The queries of a dashboard in `docs/views`, by their panels' titles.
fn panels(file: &str, key: &str) -> Vec<(String, String)> {
    let path = repository().join("docs/views").join(file);
    let text = fs::read_to_string(&path).expect("the dashboard is there");
    let board: serde_json::Value = serde_json::from_str(&text).expect("a dashboard is JSON");
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().into_iter().flatten() {
        let title = panel["title"].as_str().unwrap_or_default().to_owned();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target[key].as_str().expect("a target has a query");
            queries.push((title.clone(), query.to_owned()));
        }
    }
    assert!(queries.len() >= 5, "{file} has {} queries", queries.len());
    queries
}

/// Every rule of the alert rules loads, and fires on what it is for.
#[test]
fn the_alert_rules_load_and_fire() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let rules = repository().join("docs/views/prometheus-alerts.yml");
    let text = fs::read_to_string(&rules).expect("the rules are there");
    let options = Options {
        rules: vec![rules],
        ..Options::default()
    };
    let prometheus = Prometheus::start(dir.path(), ports::free(), &Door::default(), options);
    let groups = prometheus.rule_groups();
    let names: Vec<String> = groups
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
        .map(|rule| rule["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let written = text.matches("- alert:").count();
    assert_eq!(names.len(), written, "{names:?}");
    assert!(written >= 3);
    for group in groups.as_array().into_iter().flatten() {
        for rule in group["rules"].as_array().into_iter().flatten() {
            assert_ne!(rule["health"], "err", "{rule}");
        }
    }
}
