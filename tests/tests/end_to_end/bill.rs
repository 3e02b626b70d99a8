//! The bill against what tcpdump saw: five sinks at once, their ports captured for the whole run.
//!
//! Bodies that can be known must be billed to the byte. What is billed around them is a model of a
//! link with packets of 1,500 bytes; loopback has larger ones, so the capture is counted in
//! [`Traffic::as_on_a_link`]. What the model says must be within the band that the bill states.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tidegate_gateway::sinks::framing::{BAND_PERCENT, CHAIN_BYTES};
use tidegate_tests::broker::Broker;
use tidegate_tests::capture::{Capture, Traffic};
use tidegate_tests::certificates::{Authority, Certificates};
use tidegate_tests::ports;
use tidegate_tests::receiver::Receiver;
use tidegate_tests::records;
use tidegate_tests::report::{data, say};
use tidegate_tests::rig::Rig;
use tidegate_tests::servers::Door;
use tidegate_tests::servers::influxdb::InfluxDb;
use tidegate_tests::servers::nats::Nats;
use tidegate_tests::servers::prometheus::{Options, Prometheus};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

use crate::{bill_tls, passage, whole};

const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:21883"
[sink.cloud]
type = "http"
url = "http://127.0.0.1:28080/records"
batch_records_max = 100
drain_spread = "0s"
[sink.influx]
type = "influxdb"
url = "https://127.0.0.1:INFLUXDB"
api = "v1"
database = "plant"
tls = { ca = "AUTHORITY" }
batch_records_max = 100
drain_spread = "0s"
[sink.bus]
type = "mqtt"
url = "mqtt://127.0.0.1:BUS"
batch_records_max = 100
drain_spread = "0s"
[sink.stream]
type = "nats"
url = "nats://127.0.0.1:NATS"
batch_records_max = 100
drain_spread = "0s"
[sink.metrics]
type = "prometheus"
url = "http://127.0.0.1:PROMETHEUS/api/v1/write"
batch_records_max = 100
drain_spread = "0s"
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", lateness = "30s", late = "drop" }
aggregate = ["count", "min", "max", "mean", "stddev"]
forward = ["cloud", "influx", "bus", "stream", "metrics"]
[[rule]]
name = "quarter"
match = { sensor = "*" }
window = { tumbling = "15s", lateness = "30s", late = "drop" }
aggregate = ["mean"]
forward = ["cloud", "influx", "bus", "stream", "metrics"]
"#;

/// Those sinks.
const SINKS: [&str; 5] = ["bus", "cloud", "influx", "metrics", "stream"];
/// Their rules.
const RULES: [&str; 2] = ["minute", "quarter"];
/// The sink that sends over TLS.
const SECURE: &str = "influx";
/// How far a total may be from what was captured, and how far the framing in it, in percent of
/// that: as docs/bill.md says.
const TOTAL_BAND_PERCENT: f64 = 5.0;
const FRAMING_BAND_PERCENT: f64 = 20.0;
/// The stream of records.
const STREAM: &str = "RECORDS";
/// Longest until everything was delivered.
const DELIVERED: Duration = Duration::from_mins(3);

/// The servers beside the rig's receiver.
struct Servers {
    /// Bytes of the certificates that a handshake has.
    chain_bytes: u64,
    influx: InfluxDb,
    bus: Broker,
    nats: Nats,
    prometheus: Prometheus,
}

impl Servers {
    fn start(dir: &Path, authority: &Authority) -> Self {
        let open = Door::default();
        let (identity, chain_bytes) = bill_tls::chain(authority, 1);
        let door = Door {
            tls: Some(identity),
            ..Door::default()
        };
        let influx = InfluxDb::start(dir, ports::free(), &door);
        influx.create_database("plant");
        let nats = Nats::start(dir, ports::free(), &open);
        nats.create_stream(STREAM, &["tidegate.>"], 600_000);
        Self {
            chain_bytes,
            influx,
            bus: Broker::start(dir, ports::free()),
            nats,
            prometheus: Prometheus::start(dir, ports::free(), &open, Options::default()),
        }
    }

    fn configuration(&self, authority: &Authority) -> String {
        CONFIGURATION
            .replace("INFLUXDB", &self.influx.port.to_string())
            .replace("BUS", &self.bus.port.to_string())
            .replace("NATS", &self.nats.port.to_string())
            .replace("PROMETHEUS", &self.prometheus.port.to_string())
            .replace("AUTHORITY", &authority.certificate.display().to_string())
    }

    fn ports(&self, rig: &Rig) -> BTreeMap<&'static str, u16> {
        BTreeMap::from([
            ("bus", self.bus.port),
            ("cloud", rig.receiver.port),
            ("influx", self.influx.port),
            ("metrics", self.prometheus.port),
            ("stream", self.nats.port),
        ])
    }
}

#[test]
fn what_is_billed_is_what_was_sent() {
    let dir = tempfile::tempdir().expect("the system has a folder for temporary files");
    let certificates = Certificates::new();
    let servers = Servers::start(dir.path(), &certificates.known);
    let rig = Rig::free(&servers.configuration(&certificates.known));
    let ports = servers.ports(&rig);
    let every: Vec<u16> = ports.values().copied().collect();
    let capture = match Capture::start(dir.path(), &every) {
        Ok(capture) => Some(capture),
        Err(why) => {
            say(&format!("bill: what was captured is left out: {why}"));
            None
        }
    };
    let mut gateway = rig.gateway(&[]);
    let mut process = simulation(&rig).start(rig.path());
    passage::wait_simulated(&mut process, DELIVERED);
    let samples = whole::all_samples(&process);
    wait_until("every sample to be delivered", DELIVERED, || {
        RULES.iter().all(|rule| delivered(&rig, rule) == samples) && is_delivered(&rig)
    });
    let live = bill(&rig);
    // Its stop closes the connections.
    assert!(gateway.stop(passage::STOP).success());
    let bill = bill(&rig);
    assert_eq!(live["sinks"], bill["sinks"], "the files say what it said");

    check_sums(&bill);
    // Ended before anything is asked of the servers.
    let traffic = capture.map(Capture::finish);
    check_bodies(&bill, &rig.receiver, &servers.nats);
    if let Some(traffic) = traffic {
        for (sink, port) in &ports {
            let mut link = traffic[port].as_on_a_link();
            if *sink == SECURE {
                // The test's certificate is smaller than the chain that the model takes.
                link += traffic[port].connections * (CHAIN_BYTES - servers.chain_bytes);
            }
            check_captured(sink, &bill["sinks"][sink]["total"], &traffic[port], link);
        }
    }
    check_commands(&rig);
}

fn simulation(rig: &Rig) -> Simulation {
    let port = rig.broker.port;
    match data("bill: the real trace, for which a pump's model stands in") {
        Some(data) => passage::without_labels(passage::anomaly_free(&data, port)),
        None => Simulation::plant("pump", port, 2, 1_800),
    }
}

/// Samples that a rule's records at the receiver stand for.
fn delivered(rig: &Rig, rule: &str) -> u64 {
    let mut received = records::read(&rig.receiver.requests());
    received.retain(|one| one.record.rule == rule);
    whole::fresh(&received)
}

/// Whether records were delivered to every sink and none waits.
fn is_delivered(rig: &Rig) -> bool {
    let status = rig.command(&["status", "--config", "tidegate.toml", "--json"]);
    let status: Value = serde_json::from_str(&status.out).unwrap_or_default();
    SINKS
        .iter()
        .all(|sink| status["sinks"][sink]["records_waiting"].as_u64() == Some(0))
}

fn bill(rig: &Rig) -> Value {
    let arguments = ["bill", "--config", "tidegate.toml", "--json", "--sensors"];
    let finished = rig.command(&arguments);
    assert!(finished.status.success(), "{}", finished.err);
    serde_json::from_str(&finished.out).expect("it is JSON")
}

fn number(value: &Value, name: &str) -> u64 {
    let number = value[name].as_u64();
    number.unwrap_or_else(|| panic!("no {name} in {value}"))
}

/// Sensors add up to their rules, rules to their sinks, sinks to the total, in every column.
fn check_sums(bill: &Value) {
    assert_eq!(bill["gap"], false);
    let parts = |value: &Value| -> Vec<Value> {
        let parts = value.as_object().expect("parts have names");
        parts.values().cloned().collect()
    };
    let sum = |of: &[Value], name: &str| -> u64 { of.iter().map(|one| number(one, name)).sum() };
    let sinks = &bill["sinks"];
    let names: Vec<&str> = sinks
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, SINKS);
    let of_cost = ["records", "bytes_before", "bytes_after", "framing_bytes"];
    for sink in parts(sinks) {
        let names: Vec<&String> = sink["rules"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, RULES, "several rules share its batches");
        for rule in parts(&sink["rules"]) {
            let sensors: Vec<Value> = parts(&rule["sensors"]).iter().flat_map(parts).collect();
            assert!(sensors.len() > 1, "{rule}");
            for name in of_cost {
                assert_eq!(
                    sum(&sensors, name),
                    number(&rule, name),
                    "{name} of sensors"
                );
                assert!(number(&rule, name) > 0, "{name} of {rule}");
            }
        }
        for name in of_cost {
            let rules = sum(&parts(&sink["rules"]), name);
            assert_eq!(rules, number(&sink["total"], name), "{name} of rules");
        }
    }
    let totals: Vec<Value> = parts(sinks)
        .iter()
        .map(|sink| sink["total"].clone())
        .collect();
    for name in of_cost.iter().chain(&["wire_bytes"]) {
        assert_eq!(sum(&totals, name), number(&bill["total"], name), "{name}");
    }
}

/// Bodies that their receivers kept, to the byte.
fn check_bodies(bill: &Value, receiver: &Receiver, nats: &Nats) {
    let billed = |sink: &str, name: &str| number(&bill["sinks"][sink]["total"], name);
    let requests = receiver.requests();
    let sent: usize = requests.iter().map(|request| request.raw.body.len()).sum();
    let before: usize = requests.iter().map(|request| request.body.len()).sum();
    assert_eq!(billed("cloud", "bytes_after"), sent as u64);
    assert_eq!(billed("cloud", "bytes_before"), before as u64);
    let is_mixed = |body: &[u8]| {
        let text = String::from_utf8_lossy(body);
        RULES
            .iter()
            .all(|rule| text.contains(&format!("\"rule\":\"{rule}\"")))
    };
    assert!(
        requests.iter().any(|request| is_mixed(&request.body)),
        "no batch holds records of both rules: their shares are not tested"
    );
    let records = records::read(&requests).len() as u64;
    for sink in SINKS {
        assert_eq!(billed(sink, "records"), records, "records of {sink}");
    }
    let messages = nats.messages(STREAM);
    let stored: usize = messages.iter().map(|message| message.payload.len()).sum();
    assert_eq!(billed("stream", "bytes_after"), stored as u64);
}

/// What was billed for a sink against what went over its port, `link` bytes where packets are smaller.
fn check_captured(sink: &str, billed: &Value, traffic: &Traffic, link: u64) {
    let (bodies, framing) = (
        number(billed, "bytes_after"),
        number(billed, "framing_bytes"),
    );
    let payload = traffic.to.payload_bytes + traffic.from.payload_bytes;
    let off = |billed: u64, found: u64| 100.0 * (billed as f64 / found as f64 - 1.0);
    let total = off(bodies + framing, link);
    let around = off(framing, link - bodies);
    say(&format!(
        "bill: {sink}: bodies {bodies}, framing {framing}, billed {}; captured: {} connections, \
         payload {payload}, on a link {link}; total {total:+.1} %, framing {around:+.1} %",
        bodies + framing,
        traffic.connections,
    ));
    assert!(payload >= bodies, "{sink}: more billed than was sent");
    assert!(
        total.abs() <= TOTAL_BAND_PERCENT,
        "{sink}: the total is off by {total:.1} %"
    );
    assert!(
        around.abs() <= FRAMING_BAND_PERCENT,
        "{sink}: the framing is off by {around:.1} %"
    );
}

/// The table names what the JSON does, and the books balance.
fn check_commands(rig: &Rig) {
    let table = rig.command(&["bill", "--config", "tidegate.toml"]);
    assert!(table.status.success(), "{}", table.err);
    for name in SINKS.iter().chain(&RULES) {
        assert!(table.out.contains(name), "{name}: {}", table.out);
    }
    let stated = format!("an estimate to within {BAND_PERCENT} %");
    assert!(table.out.contains(&stated), "{}", table.out);
    let ledger = rig.command(&["ledger", "--config", "tidegate.toml", "--strict"]);
    assert!(ledger.status.success(), "{}{}", ledger.out, ledger.err);
}
