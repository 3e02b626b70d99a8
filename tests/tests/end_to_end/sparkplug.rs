//! The MQTT sink as a Sparkplug B edge node of a real broker: births before data, numbers in order,
//! the values of the reference, and births again when a host asks; and what is retained beside it
//! never goes back in time, also across a restart of the gateway.
//!
//! Payloads are read with the messages of Eclipse Tahu's `sparkplug_b.proto`, written out here.

use std::collections::{BTreeMap, BTreeSet};

use prost::{Message as _, Oneof};
use tidegate_tests::broker::Broker;
use tidegate_tests::ports;
use tidegate_tests::records::{self, Record};
use tidegate_tests::report::data;
use tidegate_tests::rig::Rig;
use tidegate_tests::servers::Door;
use tidegate_tests::simulation::Simulation;
use tidegate_tests::subscriber::{Message, Subscriber};
use tidegate_tests::utc;
use tidegate_tests::wall::wait_until;

use crate::beside::{self, ARRIVAL, PASSAGE};
use crate::passage::{self, STOP};

/// Topics of the edge node and its devices.
const NODE: &str = "spBv1.0/plant/#";
/// Where a host asks.
const COMMANDS: &str = "spBv1.0/plant/NCMD/hall";
/// Messages of data after which a host asks for births.
const EARLY: usize = 100;

/// A payload, as far as the tests ask.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(uint64, optional, tag = "1")]
    timestamp: Option<u64>,
    #[prost(message, repeated, tag = "2")]
    metrics: Vec<Metric>,
    #[prost(uint64, optional, tag = "3")]
    seq: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    datatype: Option<u32>,
    #[prost(bool, optional, tag = "5")]
    is_historical: Option<bool>,
    #[prost(oneof = "Value", tags = "10, 11, 12, 13, 14, 15")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Value {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(float, tag = "12")]
    Float(f32),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Boolean(bool),
    #[prost(string, tag = "15")]
    Text(String),
}

/// Data types as the specification numbers them.
const INT64: u32 = 4;
const DOUBLE: u32 = 10;
const BOOLEAN: u32 = 11;

/// A message of the node.
#[derive(Debug)]
struct Said {
    /// `NBIRTH`, `DBIRTH`, `DDATA`, `NDEATH`, `NCMD`.
    verb: String,
    device: String,
    payload: Payload,
}

fn said(messages: &[Message]) -> Vec<Said> {
    let read = |message: &Message| {
        let levels: Vec<&str> = message.topic.split('/').collect();
        assert_eq!((levels[1], levels[3]), ("plant", "hall"));
        Said {
            verb: levels[2].to_owned(),
            device: levels.get(4).copied().unwrap_or_default().to_owned(),
            payload: Payload::decode(message.payload.as_slice()).expect("it is a payload"),
        }
    };
    messages.iter().map(read).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("the system has a folder for temporary files")
}

fn simulation(what: &str, rig: &Rig) -> Simulation {
    match data(what) {
        Some(data) => passage::without_labels(passage::anomaly_free(&data, rig.broker.port)),
        None => Simulation::plant("pump", rig.broker.port, 2, 1_800),
    }
}

fn known(rig: &Rig) -> Vec<Record> {
    let received = records::read(&rig.receiver.requests());
    received.into_iter().map(|one| one.record).collect()
}

fn is_delivered(rig: &Rig) -> bool {
    let status = rig.command(&["status", "--config", "tidegate.toml", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.out).unwrap_or_default();
    ["cloud", "beside"]
        .iter()
        .all(|sink| status["sinks"][sink]["records_waiting"] == 0)
}

#[test]
fn a_host_sees_births_before_data_and_gets_them_again_when_it_asks() {
    let dir = folder();
    let broker = Broker::start(dir.path(), ports::free());
    let rig = beside::rig(&format!(
        "type = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\npayload = \"sparkplug-b\"\n\
         group = \"plant\"\nedge_node = \"hall\"\ndrain_spread = \"0s\"",
        broker.port
    ));
    let simulation = simulation(
        "Sparkplug: the real trace, for which a pump's model stands in",
        &rig,
    );
    let host = Subscriber::start(broker.port, &Door::default(), NODE);
    let mut gateway = rig.gateway(&[]);
    let verbs = |verb: &str| {
        let said = said(&host.messages());
        said.iter().filter(|one| one.verb == verb).count()
    };
    beside::simulate(&rig, &simulation, || {
        wait_until("the first data", PASSAGE, || verbs("DDATA") >= EARLY);
        host.publish(COMMANDS, &rebirth(), false);
        wait_until("a birth for the asking", PASSAGE, || verbs("NBIRTH") == 2);
    });
    wait_until("every record at both", ARRIVAL, || {
        let known = known(&rig).len();
        known > EARLY && is_delivered(&rig) && verbs("DDATA") >= known
    });
    assert!(gateway.stop(STOP).success());
    wait_until("the node's own farewell", ARRIVAL, || verbs("NDEATH") == 1);

    let mut said = said(&host.messages());
    said.retain(|one| one.verb != "NCMD");
    check_order(&said);
    check_values(&said, &known(&rig));
}

/// A host's command: births, please.
fn rebirth() -> Vec<u8> {
    let metric = Metric {
        name: Some("Node Control/Rebirth".to_owned()),
        datatype: Some(BOOLEAN),
        value: Some(Value::Boolean(true)),
        ..Metric::default()
    };
    let command = Payload {
        metrics: vec![metric],
        ..Payload::default()
    };
    command.encode_to_vec()
}

/// A node's birth begins at 0 and each message is one on; data has only metrics that a birth on
/// this side of the node's own had, with their types; the death has the birth's number.
fn check_order(said: &[Said]) {
    assert_eq!(said.first().map(|one| one.verb.as_str()), Some("NBIRTH"));
    assert_eq!(said.last().map(|one| one.verb.as_str()), Some("NDEATH"));
    let mut seq = 0;
    let mut session = None;
    let mut born: BTreeMap<String, BTreeMap<String, Option<u32>>> = BTreeMap::new();
    for one in said {
        let types = || {
            let metrics = one.payload.metrics.iter();
            metrics.map(|metric| (metric.name.clone().expect("it has a name"), metric.datatype))
        };
        let number = one
            .payload
            .metrics
            .iter()
            .find(|metric| metric.name.as_deref() == Some("bdSeq"));
        match one.verb.as_str() {
            "NDEATH" => {
                assert_eq!(one.payload.seq, None);
                assert_eq!(number.map(|metric| &metric.value), session.as_ref());
                continue;
            }
            "NBIRTH" => {
                let number = number.expect("a birth has its number").value.clone();
                assert!(session.is_none_or(|before| before == number), "one session");
                session = Some(number);
                assert!(types().any(|(name, kind)| name == "Node Control/Rebirth" && kind == Some(BOOLEAN)));
                seq = 0;
                born.clear();
            }
            "DBIRTH" => {
                born.insert(one.device.clone(), types().collect());
            }
            "DDATA" => {
                let device = born.get(&one.device).expect("its birth came before");
                for (name, kind) in types() {
                    assert_eq!(device.get(&name), Some(&kind), "{name}");
                }
            }
            other => panic!("{other} is no message of a node"),
        }
        assert_eq!(one.payload.seq, Some(seq), "{}", one.verb);
        seq = (seq + 1) % 256;
    }
}

/// Every value of every record is there once, at its window's end, and no other.
fn check_values(said: &[Said], known: &[Record]) {
    type Tag = (String, String, u64);
    let mut expected: BTreeMap<Tag, Value> = BTreeMap::new();
    for record in known {
        let end_ms = utc::seconds(&record.end).expect("a window has whole seconds") as u64 * 1_000;
        let mut put = |name: &str, value: Value| {
            let name = format!("{}/{}/{name}", record.sensor, record.rule);
            expected.insert((record.device.clone(), name, end_ms), value);
        };
        for (name, value) in &record.values {
            let counted = name == "count";
            let is = if counted {
                Value::Long(*value as u64)
            } else {
                Value::Double(*value)
            };
            put(name, is);
        }
        put("record/samples", Value::Long(record.samples));
        put("record/partial", Value::Boolean(record.partial));
    }
    let mut found: BTreeMap<Tag, Value> = BTreeMap::new();
    for one in said.iter().filter(|one| one.verb == "DDATA") {
        for metric in &one.payload.metrics {
            let value = metric.value.clone().expect("data has values");
            let kind = match value {
                Value::Long(_) => INT64,
                Value::Double(_) => DOUBLE,
                Value::Boolean(_) => BOOLEAN,
                _ => panic!("{metric:?} has no type of ours"),
            };
            assert_eq!(metric.datatype, Some(kind), "{metric:?}");
            let name = metric.name.clone().unwrap_or_default();
            let tag = (
                one.device.clone(),
                name,
                metric.timestamp.unwrap_or_default(),
            );
            assert_eq!(found.insert(tag.clone(), value), None, "{tag:?} came twice");
        }
    }
    assert!(known.len() > 100, "{} records are no test", known.len());
    assert_eq!(found.len(), expected.len());
    for (tag, value) in expected {
        assert_eq!(found.get(&tag), Some(&value), "{tag:?}");
    }
}

#[test]
fn what_is_retained_is_never_older_than_before_also_across_a_restart() {
    let dir = folder();
    let broker = Broker::start(dir.path(), ports::free());
    let rig = beside::rig(&format!(
        "type = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{}\"\nretain = true\ndrain_spread = \"0s\"",
        broker.port
    ));
    let simulation = simulation(
        "retained: the real trace, for which a pump's model stands in",
        &rig,
    );
    let topics = "tidegate/v1/pump-house/records/#";
    let watching = Subscriber::start(broker.port, &Door::default(), topics);
    let mut gateway = rig.gateway(&[]);
    beside::simulate(&rig, &simulation, || {
        watching.wait_for(EARLY, PASSAGE);
        // Killed: what was acknowledged last may be sent again, older than what is retained.
        gateway.kill();
        gateway = rig.gateway(&[]);
    });
    wait_until("every record at both", ARRIVAL, || {
        let ids = |records: Vec<Record>| -> BTreeSet<String> {
            records.into_iter().map(|record| record.id).collect()
        };
        let messages = watching.messages();
        is_delivered(&rig) && ids(known(&rig)) == ids(messages.iter().map(record).collect())
    });
    // A start after everything was sent changes nothing either.
    assert!(gateway.stop(STOP).success());
    let mut gateway = rig.gateway(&[]);
    wait_until("the gateway to be back", ARRIVAL, || is_delivered(&rig));
    assert!(gateway.stop(STOP).success());

    let mut newest: BTreeMap<String, Record> = BTreeMap::new();
    for message in watching.messages().iter().filter(|message| message.retain) {
        let record = record(message);
        if let Some(before) = newest.get(&message.topic) {
            let (was, is) = (beside::age(before), beside::age(&record));
            assert!(is >= was, "{} went from {was:?} to {is:?}", message.topic);
        }
        newest.insert(message.topic.clone(), record);
    }
    assert!(newest.len() > 1, "nothing was retained");
    let late = Subscriber::start(broker.port, &Door::default(), topics);
    for message in late.wait_for(newest.len(), ARRIVAL) {
        assert_eq!(record(&message), newest[&message.topic]);
        let same = |one: &&Record| {
            (&one.device, &one.sensor)
                == (
                    &newest[&message.topic].device,
                    &newest[&message.topic].sensor,
                )
        };
        let known = known(&rig);
        let last = known.iter().filter(same).map(beside::age).max();
        assert_eq!(
            last,
            Some(beside::age(&newest[&message.topic])),
            "the newest of all"
        );
    }
}

fn record(message: &Message) -> Record {
    serde_json::from_slice(&message.payload).expect("a message is a record")
}
