//! The tools as their users call them: beside a gateway that is taking frames, each with its exit
//! code; then a backup, and a gateway that starts from it.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::process::Finished;
use tidegate_tests::records;
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::utc;
use tidegate_tests::wall::wait_until;

use crate::{passage, whole};

const CONFIG: [&str; 2] = ["--config", "tidegate.toml"];
const RESTORED: [&str; 2] = ["--config", "restored.toml"];

#[test]
fn the_tools_work_beside_a_running_gateway() {
    let configuration = CONFIGURATION.replace("compress", "drain_spread = \"0s\"\ncompress")
        + "[log]\nsegment_bytes = 65536\n";
    let rig = Rig::free(&configuration);
    let mut gateway = rig.gateway(&[]);
    let port = rig.broker.port;
    let mut first = Simulation::plant("pump", port, 1, 1_800);
    "max".clone_into(&mut first.speed);
    let mut done = first.start(rig.path());
    passage::wait_simulated(&mut done, Duration::from_mins(1));
    let samples = whole::all_samples(&done);
    whole::wait_whole(&rig, samples, Duration::from_secs(30));

    // From here on another device keeps the gateway writing.
    let mut other = Simulation::plant("fan", port, 1, 36_000);
    "120".clone_into(&mut other.speed);
    let mut load = other.start(rig.path());
    wait_until("the load to run", Duration::from_secs(30), || {
        whole::simulated(&load, "acked") > 3
    });
    checks_and_exports(&rig);
    explains(&rig);
    replays(&rig);
    tries_other_rules(&rig);
    balances(&rig);
    let store = rig.path().join("store.tar");
    ran(&rig, &["backup", "store.tar"], CONFIG);
    assert!(store.is_file(), "the backup is not there");
    assert!(load.ended().is_none(), "the load ended too early");

    assert!(
        load.stop(Duration::from_mins(1)).success(),
        "the load was not delivered"
    );
    assert!(gateway.stop(passage::STOP).success());
    comes_back(&rig, &configuration);
}

/// Runs a tool, which must succeed.
fn ran(rig: &Rig, arguments: &[&str], config: [&str; 2]) -> Finished {
    let finished = rig.command(&[arguments, &config].concat());
    assert_eq!(
        finished.status.code(),
        Some(0),
        "tidegate {arguments:?}: {}{}",
        finished.out,
        finished.err
    );
    finished
}

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("each line is JSON")
}

fn checks_and_exports(rig: &Rig) {
    let check = ran(rig, &["log", "check", "--json"], CONFIG);
    let _: Value = serde_json::from_str(&check.out).expect("the findings are JSON");
    ran(rig, &["log", "check"], CONFIG);
    for room in ["log", "journal"] {
        let export = ran(rig, &["log", "export", "--of", room], CONFIG);
        assert!(!json_lines(&export.out).is_empty(), "the {room} is empty");
    }
    // Everything may have left the queue: whatever waits is a record a line.
    json_lines(&ran(rig, &["log", "export", "--of", "spool"], CONFIG).out);
}

/// A sample of a window that was delivered, asked about in words and in JSON.
fn explains(rig: &Rig) {
    let received = records::read(&rig.receiver.requests());
    let record = received.iter().map(|one| &one.record);
    let record = record
        .clone()
        .find(|record| record.device == "pump" && record.samples == 60)
        .expect("a whole minute was delivered");
    let time = utc::text(record.start_s() + 30);
    let asked = ["explain", "pump", record.sensor.as_str(), time.as_str()];
    let words = ran(rig, &asked, CONFIG);
    assert!(
        words.out.contains("delivered"),
        "not delivered: {}",
        words.out
    );
    let answer = ran(rig, &[&asked[..], &["--json"]].concat(), CONFIG);
    let answer: Value = serde_json::from_str(&answer.out).expect("the answer is JSON");
    assert_eq!(answer["unknown"], Value::Null);
    let found = &answer["rules"][0]["records"][0];
    assert_eq!(found["id"], record.id.as_str(), "another record: {answer}");
    let delivery = &found["deliveries"][0];
    assert_eq!(
        (&delivery["sink"], &delivery["state"]),
        (&"cloud".into(), &"delivered".into())
    );

    // What was not taken cannot be told: an exit code of its own.
    let unknown =
        rig.command(&[&["explain", "pump", "no-such-sensor", &time][..], &CONFIG].concat());
    assert_eq!(
        unknown.status.code(),
        Some(3),
        "{}{}",
        unknown.out,
        unknown.err
    );
}

/// Replay derives the very records that were delivered.
fn replays(rig: &Rig) {
    let delivered = records::read(&rig.receiver.requests());
    let delivered: BTreeSet<String> = delivered.into_iter().map(|one| one.line).collect();
    let replay = ran(rig, &["replay", "--as-logged"], CONFIG);
    let replayed: BTreeSet<&str> = replay
        .out
        .lines()
        .filter_map(|line| line.split_once("\"record\":"))
        .filter_map(|(_, record)| record.strip_suffix('}'))
        .collect();
    for line in &delivered {
        assert!(
            replayed.contains(line.as_str()),
            "delivered, not replayed: {line}"
        );
    }
}

/// Other rules are tried on the log beside the gateway; what they give is saved, and nothing of
/// the gateway's changes by it.
fn tries_other_rules(rig: &Rig) {
    let own = fs::read_to_string(rig.path().join("tidegate.toml")).expect("the rig wrote it");
    let text = own.replace("tumbling = \"1m\"", "tumbling = \"5m\"");
    assert_ne!(text, own, "the configuration has windows of a minute");
    fs::write(rig.path().join("new.toml"), text).expect("the folder takes a file");
    let new = ["--config", "new.toml"];
    let words = ran(rig, &["replay"], new);
    assert!(words.out.contains("minute  changed"), "{}", words.out);
    let written = ["replay", "--json", "--write", "new.ndjson"];
    let report = ran(rig, &written, new);
    let report: Value = serde_json::from_str(&report.out).expect("the report is JSON");
    let records = |side: &str| report["total"][side]["records"].as_u64();
    let (logged, tried) = (records("logged"), records("tried"));
    assert!(tried > Some(0) && tried < logged, "{logged:?} {tried:?}");
    let bytes = |side: &str| report["total"][side]["sent_bytes"].as_u64();
    assert!(bytes("tried") < bytes("logged"), "{report}");
    let saved = fs::read_to_string(rig.path().join("new.ndjson")).expect("it was written");
    let saved = json_lines(&saved);
    assert_eq!(Some(saved.len() as u64), tried);
    assert!(saved.iter().all(|one| one["record"]["rule"] == "minute"));
    let pump = saved.iter().map(|one| &one["record"]["samples"]);
    assert!(pump.max_by_key(|one| one.as_u64()) == Some(&300.into()));
    let curve = &report["curves"][0];
    let rms = |side: &str| curve[side]["rms_error"].as_f64();
    assert!(
        rms("tried") > Some(0.0) && rms("logged") > Some(0.0),
        "{curve}"
    );
    // A file that is there, and one of the gateway's own, is not touched.
    for file in ["new.ndjson", "data/new.ndjson"] {
        let refused = rig.command(&[&["replay", "--write", file][..], &new].concat());
        assert_eq!(refused.status.code(), Some(1), "{}", refused.err);
        assert!(
            refused.err.contains("nothing was changed"),
            "{}",
            refused.err
        );
    }
}

fn balances(rig: &Rig) {
    let ledger = ran(rig, &["ledger", "--since", "1h", "--json"], CONFIG);
    let ledger: Value = serde_json::from_str(&ledger.out).expect("the ledger is JSON");
    assert_eq!(ledger["balances"]["balanced"], true);
    let logged = ledger["balances"]["total"]["samples"]["logged"].as_u64();
    assert!(logged > Some(0), "nothing was logged since: {logged:?}");
    ran(rig, &["ledger", "--since", "1h"], CONFIG);
}

/// The backup in an empty folder: it starts, under another log incarnation, and takes frames.
fn comes_back(rig: &Rig, configuration: &str) {
    let own = fs::read_to_string(rig.path().join("tidegate.toml")).expect("the rig wrote it");
    assert_eq!(own.lines().count(), configuration.lines().count());
    let text = own.replace("./data", "./restored");
    fs::write(rig.path().join("restored.toml"), text).expect("the folder takes a file");
    ran(rig, &["restore", "store.tar"], RESTORED);
    let before = log_incarnations(rig, CONFIG);
    assert_eq!(
        log_incarnations(rig, RESTORED),
        before,
        "a restore logs nothing"
    );

    let mut gateway = rig.gateway_by("restored.toml", &[]);
    let mut simulation = Simulation::plant("valve", rig.broker.port, 1, 600);
    "max".clone_into(&mut simulation.speed);
    let mut process = simulation.start(rig.path());
    passage::wait_simulated(&mut process, Duration::from_mins(1));
    let samples = whole::all_samples(&process);
    wait_until(
        "the restored gateway's records",
        Duration::from_secs(30),
        || {
            let mut received = records::read(&rig.receiver.requests());
            received.retain(|one| one.record.device == "valve");
            whole::fresh(&received) == samples
        },
    );
    let status = gateway.stop(passage::STOP);
    assert!(
        status.success(),
        "the restored gateway stopped with {status}"
    );
    let after = log_incarnations(rig, RESTORED);
    assert_eq!(
        after.len(),
        before.len() + 1,
        "no log incarnation of its own: {after:?}"
    );
    ran(rig, &["log", "check"], RESTORED);
    ran(rig, &["ledger"], RESTORED);
}

/// The log incarnations that the starts in a log name.
fn log_incarnations(rig: &Rig, config: [&str; 2]) -> BTreeSet<String> {
    let starts = ran(rig, &["log", "inspect", "--kind", "started"], config);
    let words = starts.out.split(", ");
    let named = words.filter_map(|word| word.strip_prefix("log "));
    let found: BTreeSet<String> = named.map(str::to_owned).collect();
    assert!(!found.is_empty(), "no start names its log: {}", starts.out);
    found
}
