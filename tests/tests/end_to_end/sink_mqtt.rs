//! The MQTT sink against Mosquitto: every record arrives, whatever becomes of the broker, what is
//! retained is the newest, and TLS lets nobody in who is not meant.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_gateway::sinks::delivery::Outcome;
use tidegate_tests::broker::Broker;
use tidegate_tests::certificates::{Certificates, Flaw, Identity};
use tidegate_tests::ports;
use tidegate_tests::proxy::Proxy;
use tidegate_tests::records::Record;
use tidegate_tests::servers::{Clients, Door, PASSWORD, USER};
use tidegate_tests::subscriber::{Message, Subscriber};
use tidegate_tests::wall::wait_until;

use crate::beside::{self, ARRIVAL, PASSAGE};
use crate::passage::STOP;

/// Topics of records.
const RECORDS: &str = "tidegate/v1/pump-house/records/#";
/// Messages after which the broker is disturbed: an eighth of the trace's.
const EARLY: usize = 150;

fn folder() -> TempDir {
    tempfile::tempdir().expect("the system has a folder for temporary files")
}

/// A topic that no record has, among those that are subscribed to.
const MARK: &str = "tidegate/v1/pump-house/records/mark";

/// The records that came, without marks.
fn came(subscriber: &Subscriber) -> Vec<Message> {
    let mut messages = subscriber.messages();
    messages.retain(|message| message.topic != MARK);
    messages
}

/// Waits until the subscriber has all that its broker acknowledged so far: a broker acknowledges
/// from memory, and what it has not passed on when it is killed is gone, by no fault of a sink's.
fn wait_passed_on(subscriber: &Subscriber) {
    subscriber.publish(MARK, b"", false);
    wait_until("the mark behind what was acknowledged", ARRIVAL, || {
        subscriber.messages().iter().any(|one| one.topic == MARK)
    });
}

fn lines(messages: &[Message]) -> BTreeMap<String, Value> {
    beside::by_id(messages.iter().map(|message| message.payload.as_slice()))
}

fn ids(subscriber: &Subscriber) -> BTreeSet<String> {
    lines(&came(subscriber)).into_keys().collect()
}

#[test]
fn every_record_arrives_though_the_broker_is_killed_and_the_newest_is_retained() {
    for version in ["5", "3.1.1"] {
        let dir = folder();
        let door = Door::default();
        let mut broker = Broker::start(dir.path(), ports::free());
        // What a broker got while the subscriber was away it would not get.
        let link = Proxy::start(ports::free(), broker.port);
        let port = link.port;
        let rig = beside::rig(&format!(
            "type = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\nversion = \"{version}\"\nretain = true\n\
             timeout = \"5s\""
        ));
        let Some(simulation) = beside::trace("the MQTT sink", &rig) else {
            return;
        };
        let expected = beside::expected(&simulation);
        let subscriber = Subscriber::start(broker.port, &door, RECORDS);
        let mut gateway = rig.gateway(&[]);
        beside::simulate(&rig, &simulation, || {
            subscriber.wait_for(EARLY, PASSAGE);
            link.cut();
            wait_passed_on(&subscriber);
            broker.kill();
            assert!(came(&subscriber).len() < expected, "killed in mid-run");
            broker.resume();
            wait_until("the subscriber to be back", ARRIVAL, || {
                subscriber.subscriptions() == 2
            });
            link.mend();
        });
        let received = beside::settle(&rig, expected, || ids(&subscriber));
        assert!(gateway.stop(STOP).success());
        let messages = came(&subscriber);
        beside::assert_same(&received, &lines(&messages));
        // Sent again is at most what was unacknowledged at the kill.
        let again = messages.len() - received.len();
        assert!(again <= 64, "{again} messages came twice");

        let mut newest: BTreeMap<String, Record> = BTreeMap::new();
        for message in &messages {
            let record: Record = serde_json::from_slice(&message.payload).expect("a record");
            let last = newest
                .entry(message.topic.clone())
                .or_insert(record.clone());
            if beside::age(&record) > beside::age(last) {
                *last = record;
            }
        }
        let late = Subscriber::start(broker.port, &door, RECORDS);
        let kept = late.wait_for(newest.len(), ARRIVAL);
        assert_eq!(kept.len(), newest.len());
        for message in kept {
            let record: Record = serde_json::from_slice(&message.payload).expect("a record");
            assert_eq!(record, newest[&message.topic]);
        }
    }
}

fn tls(port: u16, authority: &str, client: Option<&Identity>, password: &str) -> String {
    let client = client.map_or(String::new(), |client| {
        format!(
            ", cert = \"{}\", key = \"{}\"",
            client.certificate.display(),
            client.key.display()
        )
    });
    format!(
        "type = \"mqtt\"\nurl = \"mqtts://127.0.0.1:{port}\"\n\
         tls = {{ ca = \"{authority}\"{client} }}\n\
         auth = {{ user = \"{USER}\", password = {{ file = \"{password}\" }} }}"
    )
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Broken { why } => why,
        other => panic!("a person is needed, not {other:?}"),
    }
}

#[test]
fn tls_has_a_private_authority_and_client_certificates_and_says_what_is_wrong() {
    let dir = folder();
    let Certificates { known, unknown, .. } = &Certificates::new();
    let password = dir.path().join("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).expect("the folder takes a file");
    let password = password.display().to_string();
    let ca = known.certificate.display().to_string();
    let door = |server: Identity| Door {
        tls: Some(server),
        clients: Some(Clients::of(known)),
        login: true,
    };
    let mine = known.client("gateway", Flaw::None);
    let start = |name: &str, door: &Door| {
        let dir = dir.path().join(name);
        std::fs::create_dir(&dir).expect("the folder takes another one");
        Broker::start_behind(&dir, ports::free(), door)
    };

    let good = door(known.server(Flaw::None));
    let broker = start("good", &good);
    let subscriber = Subscriber::start(broker.port, &good, RECORDS);
    let answer = beside::attempt(&tls(broker.port, &ca, Some(&mine), &password));
    assert_eq!(answer.outcome, Outcome::Confirmed);
    subscriber.wait_for(1, ARRIVAL);

    let refused = |sink: &str| why(beside::attempt(sink).outcome);
    let strange = unknown.client("stranger", Flaw::None);
    let old = known.client("old", Flaw::Expired);
    for (client, said) in [
        (None, "demands a client's certificate"),
        (Some(&strange), "refuses the client's certificate"),
        (Some(&old), "refuses the client's certificate"),
    ] {
        let told = refused(&tls(broker.port, &ca, client, &password));
        assert!(told.contains(said), "{told}");
    }
    let other = unknown.certificate.display().to_string();
    let told = refused(&tls(broker.port, &other, Some(&mine), &password));
    assert!(told.contains("unknown authority"), "{told}");
    let wrong = dir.path().join("wrong");
    std::fs::write(&wrong, "neap").expect("the folder takes a file");
    let told = refused(&tls(
        broker.port,
        &ca,
        Some(&mine),
        &wrong.display().to_string(),
    ));
    assert!(told.contains("not authorized"), "{told}");
    assert!(!told.contains("neap"));

    for (flaw, said) in [(Flaw::WrongName, "wrong name"), (Flaw::Expired, "expired")] {
        let broker = start(said, &door(known.server(flaw)));
        let told = refused(&tls(broker.port, &ca, Some(&mine), &password));
        assert!(told.contains(said), "{told}");
    }
}
