//! What a dead sink costs two others: records a second out of the same full queues, with a third
//! sink that has sent all it had, to which nobody listens, and whose receiver never answers.
//!
//! The queues are filled once, while all receivers are away, and copied for each round. The measure
//! is a third sink that is done: one that is busy takes its share of the machine from the others.
//! Rounds of the three kinds alternate, so that a machine that grows slow does so for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use tidegate_tests::ports;
use tidegate_tests::receiver::{Answer, Conduct, Mood, Receiver};
use tidegate_tests::report::{FULL, figure, say};
use tidegate_tests::rig::Rig;
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

use crate::{passage, whole};

const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:21883"
[sink.one]
url = "http://127.0.0.1:28080/one"
ALL
[sink.two]
url = "http://127.0.0.1:28080/two"
ALL
[sink.third]
url = "http://127.0.0.1:THIRD/third"
ALL
[[rule]]
name = "second"
match = { sensor = "*" }
window = { tumbling = "1s" }
aggregate = ["count", "mean"]
forward = ["one", "two", "third"]
"#;
/// Of every sink: no pace but the receiver's.
const ALL: &str = r#"type = "http"
batch_records_max = 100
drain_spread = "0s"
drain_bytes_per_s = "1 GiB"
drain_records_per_s = 1000000"#;
const SINKS: [&str; 2] = ["one", "two"];
const DEVICES: u32 = 4;
const SOON: Duration = Duration::from_mins(2);
/// Least throughput beside a dead sink, as a share of that beside one that is done. Were the others
/// to wait for one attempt that hangs, it would be under a hundredth; the short form measures
/// less than a second on a machine that is busy with other tests.
const SHARE_MIN_SHORT: f64 = 0.2;
/// As above, in the long form.
const SHARE_MIN: f64 = 0.95;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Third {
    Done,
    Nobody,
    Silent,
}

#[test]
fn a_dead_sink_costs_two_others_nothing() {
    let full = std::env::var_os(FULL).is_some();
    if !full {
        say("a dead sink: short queues; long ones in tests/run --full");
    }
    let (seconds, rounds) = if full { (1_000, 5) } else { (200, 3) };
    let filled = fill(seconds);
    let done = third_done(&filled);
    let mut rates: BTreeMap<Third, Vec<f64>> = BTreeMap::new();
    let mut records = 0;
    for _ in 0..rounds {
        for third in [Third::Done, Third::Nobody, Third::Silent] {
            let queues = if third == Third::Done { &done } else { &filled };
            let (ids, rate) = round(queues, third);
            assert!(records == 0 || records == ids, "{third:?}: {ids} records");
            records = ids;
            rates.entry(third).or_default().push(rate);
        }
    }
    let [done, nobody, silent] = [Third::Done, Third::Nobody, Third::Silent]
        .map(|third| median(rates.remove(&third).unwrap_or_default()));
    let shares = [nobody / done, silent / done];
    figure(
        "a dead sink",
        &format!(
            "two http sinks empty queues of {records} records each beside a third; medians of \
             {rounds} rounds: {done:.0} records/s with a third that has sent all \
             it had; with one to which nobody listens {:.1} %, with one that never answers {:.1} % of that",
            shares[0] * 100.0,
            shares[1] * 100.0
        ),
    );
    let least = if full { SHARE_MIN } else { SHARE_MIN_SHORT };
    for share in shares {
        assert!(share >= least, "{share:.3} of the throughput is left");
    }
}

/// A rig whose sinks' queues are full: every receiver was away while the pumps ran.
fn fill(seconds: u64) -> Rig {
    let away = ports::free();
    let text = configuration(away).replace("28080", &ports::free().to_string());
    let rig = Rig::free(&text);
    let mut gateway = rig.gateway(&[]);
    let plant = Simulation::plant("pump", rig.broker.port, DEVICES, seconds);
    let mut plant = plant.start(rig.path());
    passage::wait_simulated(&mut plant, SOON);
    let samples = whole::all_samples(&plant) * 3;
    wait_until("every sample to wait for three sinks", SOON, || {
        let ledger = rig.ledger();
        let sinks = &ledger["balances"]["total"]["sinks"];
        sinks["waiting"].as_u64() == Some(samples)
    });
    assert!(gateway.stop(passage::STOP).success());
    rig
}

/// A copy of the rig whose third sink has sent all it had, and the other two nothing.
fn third_done(filled: &Rig) -> Rig {
    let port = ports::free();
    let receiver = Receiver::start(port, Mood::Prompt);
    let text = configuration(port).replace("28080", &ports::free().to_string());
    let rig = Rig::free(&text);
    copy(&filled.path().join("data"), &rig.path().join("data"));
    let mut gateway = rig.gateway(&[]);
    wait_until("the third queue to be empty", SOON, || {
        is_empty(&rig, &["third"])
    });
    assert!(gateway.stop(passage::STOP).success());
    assert!(receiver.count() > 0 && rig.receiver.count() == 0);
    rig
}

fn configuration(third: u16) -> String {
    CONFIGURATION
        .replace("ALL", ALL)
        .replace("THIRD", &third.to_string())
}

/// Empties a copy of the queues; how many records each of the two sinks got, and records a second
/// of both together.
fn round(filled: &Rig, third: Third) -> (usize, f64) {
    let beside = match third {
        Third::Done => Some(Mood::Prompt),
        Third::Nobody => None,
        Third::Silent => Some(Mood::Misbehaving(Conduct::Silent)),
    };
    let port = ports::free();
    let beside = beside.map(|mood| Receiver::start(port, mood));
    let rig = Rig::free(&configuration(port));
    copy(&filled.path().join("data"), &rig.path().join("data"));
    let _gateway = rig.gateway(&[]);
    wait_until("two queues to be empty", SOON, || is_empty(&rig, &SINKS));
    if let Some(beside) = beside {
        // A silent one was asked, and one that is done has nothing to say.
        assert_eq!(beside.count() > 0, third == Third::Silent, "{third:?}");
    }
    rate(&rig)
}

/// Whether nothing waits for these sinks.
fn is_empty(rig: &Rig, sinks: &[&str]) -> bool {
    let finished = rig.command(&["sink", "list", "--config", "tidegate.toml", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&finished.out).expect("the list is JSON");
    let all = listed["sinks"].as_array().expect("it is a list");
    let mut these = all
        .iter()
        .filter(|sink| sinks.iter().any(|name| sink["name"] == *name));
    listed["running"] == true && these.all(|sink| sink["records_waiting"] == 0)
}

fn rate(rig: &Rig) -> (usize, f64) {
    let requests = rig.receiver.requests();
    let mut ids: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for request in &requests {
        assert_eq!(request.answer, Answer::Taken);
        let sink = SINKS
            .into_iter()
            .find(|name| request.raw.line.contains(&format!("/{name} ")))
            .expect("a request of one of the two");
        for line in request.body.split(|byte| *byte == b'\n') {
            if let Ok(record) = serde_json::from_slice::<serde_json::Value>(line) {
                let id = record["id"].as_str().expect("a record has an id");
                assert!(ids.entry(sink).or_default().insert(id.to_owned()));
            }
        }
    }
    let counts: Vec<usize> = ids.values().map(BTreeSet::len).collect();
    let [one, two] = counts[..] else {
        panic!("both got records: {counts:?}");
    };
    assert_eq!(one, two, "both have the same records");
    let (first, last) = (requests[0].at, requests[requests.len() - 1].at);
    let took = last.checked_sub(first).expect("requests stand in order");
    (one, (one + two) as f64 / took.as_secs_f64())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("the folder takes another one");
    for entry in fs::read_dir(from).expect("a data directory can be read") {
        let entry = entry.expect("a data directory can be read");
        let kind = entry.file_type().expect("an entry has a type");
        let to = to.join(entry.file_name());
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), to).expect("a file can be copied");
        }
    }
}
