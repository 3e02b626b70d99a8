//! The NATS sink against nats-server: the stream has every record once, whatever becomes of the
//! server, and TLS, logins and missing streams say what is wrong.

use std::collections::BTreeSet;

use tempfile::TempDir;
use tidegate_gateway::sinks::delivery::Outcome;
use tidegate_tests::certificates::{Certificates, Flaw, Identity};
use tidegate_tests::ports;
use tidegate_tests::servers::nats::Nats;
use tidegate_tests::servers::{Clients, Door, PASSWORD, USER};
use tidegate_tests::wall::wait_until;

use crate::beside::{self, PASSAGE};
use crate::passage::STOP;

/// The stream of records.
const STREAM: &str = "RECORDS";
/// Messages after which the server is killed: an eighth of the trace's.
const EARLY: u64 = 150;

fn folder() -> TempDir {
    tempfile::tempdir().expect("the system has a folder for temporary files")
}

fn count(server: &Nats) -> u64 {
    let count = &server.stream(STREAM)["state"]["messages"];
    count.as_u64().expect("a state counts its messages")
}

#[test]
fn a_stream_has_every_record_once_though_its_server_is_killed() {
    let dir = folder();
    let mut server = Nats::start(dir.path(), ports::free(), &Door::default());
    server.create_stream(STREAM, &["tidegate.>"], 600_000);
    let rig = beside::rig(&format!(
        "type = \"nats\"\nurl = \"nats://127.0.0.1:{}\"",
        server.port
    ));
    let Some(simulation) = beside::trace("the NATS sink", &rig) else {
        return;
    };
    let expected = beside::expected(&simulation);
    let mut gateway = rig.gateway(&[]);
    beside::simulate(&rig, &simulation, || {
        wait_until("an eighth to be stored", PASSAGE, || {
            count(&server) >= EARLY
        });
        assert!(count(&server) < expected as u64, "killed in mid-run");
        server.kill();
        server.restart();
    });
    let ids = || -> BTreeSet<String> {
        if count(&server) < expected as u64 {
            return BTreeSet::new();
        }
        let messages = server.messages(STREAM);
        let ids = messages.iter().filter_map(|one| one.header("Nats-Msg-Id"));
        ids.map(str::to_owned).collect()
    };
    let received = beside::settle(&rig, expected, ids);
    assert!(gateway.stop(STOP).success());
    let messages = server.messages(STREAM);
    assert_eq!(messages.len(), received.len(), "each record once");
    let lines = beside::by_id(messages.iter().map(|message| message.payload.as_slice()));
    beside::assert_same(&received, &lines);
    for message in &messages {
        let record = &lines[message
            .header("Nats-Msg-Id")
            .expect("every message has its id")];
        let name = |key: &str| record[key].as_str().expect("a name").replace('.', "_");
        let (device, sensor) = (name("device"), name("sensor"));
        assert_eq!(
            message.subject,
            format!("tidegate.pump-house.{device}.{sensor}.minute")
        );
    }
}

fn why(outcome: Outcome) -> String {
    match outcome {
        Outcome::Broken { why } => why,
        other => panic!("a person is needed, not {other:?}"),
    }
}

fn sink(port: u16, rest: &str) -> String {
    format!("type = \"nats\"\nurl = \"nats://127.0.0.1:{port}\"\n{rest}")
}

#[test]
fn a_missing_stream_and_a_wrong_token_are_told() {
    let dir = folder();
    let server = Nats::start_with_token(dir.path(), ports::free(), &Door::default(), "ebb");
    let token = dir.path().join("token");
    std::fs::write(&token, "ebb\n").expect("the folder takes a file");
    let with = |token: &std::path::Path| {
        let token = token.display();
        sink(
            server.port,
            &format!("auth = {{ token = {{ file = \"{token}\" }} }}"),
        )
    };
    let told = why(beside::attempt(&with(&token)).outcome);
    assert!(
        told.contains("no stream takes the subject tidegate.pump-house.pump-1"),
        "{told}"
    );
    server.create_stream(STREAM, &["tidegate.>"], 600_000);
    let answer = beside::attempt(&with(&token));
    assert_eq!(answer.outcome, Outcome::Confirmed);
    let again = beside::attempt(&with(&token));
    assert_eq!(again.outcome, Outcome::Confirmed, "a duplicate is there");
    assert_eq!(count(&server), 1);

    let wrong = dir.path().join("wrong");
    std::fs::write(&wrong, "flood").expect("the folder takes a file");
    let told = why(beside::attempt(&with(&wrong)).outcome);
    assert!(told.contains("Authorization Violation"), "{told}");
    assert!(!told.contains("flood"));
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
        "type = \"nats\"\nurl = \"tls://127.0.0.1:{port}\"\n\
         tls = {{ ca = \"{authority}\"{client} }}\n\
         auth = {{ user = \"{USER}\", password = {{ file = \"{password}\" }} }}"
    )
}

#[test]
fn tls_has_a_private_authority_and_client_certificates_and_says_what_is_wrong() {
    let dir = folder();
    let Certificates { known, unknown, .. } = &Certificates::new();
    let password = dir.path().join("password");
    std::fs::write(&password, PASSWORD).expect("the folder takes a file");
    let password = password.display().to_string();
    let ca = known.certificate.display().to_string();
    let door = |server: Identity| Door {
        tls: Some(server),
        clients: Some(Clients::of(known)),
        login: true,
    };
    let mine = known.client("gateway", Flaw::None);

    let server = Nats::start(dir.path(), ports::free(), &door(known.server(Flaw::None)));
    server.create_stream(STREAM, &["tidegate.>"], 600_000);
    let answer = beside::attempt(&tls(server.port, &ca, Some(&mine), &password));
    assert_eq!(answer.outcome, Outcome::Confirmed);
    assert_eq!(count(&server), 1);

    let refused = |sink: &str| why(beside::attempt(sink).outcome);
    let strange = unknown.client("stranger", Flaw::None);
    let old = known.client("old", Flaw::Expired);
    for (client, said) in [
        (None, "demands a client's certificate"),
        (Some(&strange), "refuses the client's certificate"),
        (Some(&old), "refuses the client's certificate"),
    ] {
        let told = refused(&tls(server.port, &ca, client, &password));
        assert!(told.contains(said), "{told}");
    }
    let other = unknown.certificate.display().to_string();
    let told = refused(&tls(server.port, &other, Some(&mine), &password));
    assert!(told.contains("unknown authority"), "{told}");
    let told = refused(&sink(server.port, ""));
    assert!(told.contains("write tls://"), "{told}");

    for (flaw, said) in [(Flaw::WrongName, "wrong name"), (Flaw::Expired, "expired")] {
        let dir = folder();
        let port = ports::free();
        // The rig itself trusts any certificate of the door.
        let server = Nats::start(dir.path(), port, &door(known.server(flaw)));
        let told = refused(&tls(server.port, &ca, Some(&mine), &password));
        assert!(told.contains(said), "{told}");
    }
}
