//! A receiver that misbehaves in every way that receivers do, and is mended: what the gateway says
//! meanwhile, that nothing leaves its queue unconfirmed, and that every record is there in the end.
//!
//! A row of the table is a rig of its own; all rows run beside each other. Whatever the row, an
//! `Idempotency-Key` and a body belong together, at every attempt and over kills of the gateway.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tidegate_gateway::sinks::delivery::REFUSED_ROW_MAX;
use tidegate_tests::answers;
use tidegate_tests::process::Process;
use tidegate_tests::receiver::{Answer, Mood, Request};
use tidegate_tests::records;
use tidegate_tests::report::say;
use tidegate_tests::rig::Rig;
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::{wait_for, wait_until};

use crate::{passage, whole};

use rows::{End, Row, rows};

const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:21883"
[sink.cloud]
type = "http"
url = "http://127.0.0.1:28080/records"
compress = "none"
timeout = "TIMEOUT"
batch_records_max = BATCH
drain_spread = "0s"
[[rule]]
name = "tenth"
match = { sensor = "*" }
window = { tumbling = "10s", lateness = "5s" }
aggregate = ["count", "mean"]
forward = ["cloud"]
"#;
/// Most records of a request.
const BATCH: usize = 32;
const SOON: Duration = Duration::from_secs(45);
/// Of the pump's own time: 12 windows of each of its sensors, a few of these records more than
/// one request takes.
const SECONDS: u64 = 120;
/// Seconds of a window.
const WINDOW_S: u64 = 10;

#[test]
fn whatever_a_receiver_does_every_record_is_there_when_it_is_mended() {
    let rows = rows();
    let passed: Vec<Result<Line, &str>> = thread::scope(|scope| {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (row.name, scope.spawn(|| pass(row))))
            .collect();
        rows.into_iter()
            .map(|(name, row)| row.join().map_err(|_| name))
            .collect()
    });
    say(&Line::head());
    for line in passed.iter().flatten() {
        say(&line.to_string());
    }
    let failed: Vec<_> = passed.iter().filter_map(|row| row.as_ref().err()).collect();
    assert!(failed.is_empty(), "rows that failed: {failed:?}");
}

fn configuration(timeout: &str) -> String {
    CONFIGURATION
        .replace("TIMEOUT", timeout)
        .replace("BATCH", &BATCH.to_string())
}

/// A row as it was passed.
struct Line {
    name: &'static str,
    meanwhile: Value,
    attempts: usize,
    records: usize,
}

impl Line {
    fn head() -> String {
        format!(
            "{:<21} {:<13} {:>7} {:>6} {:>6} {:>7} {:>8} {:>7}  last error while it lasted",
            "the receiver",
            "phase",
            "retries",
            "broken",
            "halved",
            "letters",
            "requests",
            "records"
        )
    }
}

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sink = &self.meanwhile;
        let count = |name: &str| sink["counters"][name].as_u64().expect("it is a count");
        write!(
            out,
            "{:<21} {:<13} {:>7} {:>6} {:>6} {:>7} {:>8} {:>7}  {}",
            self.name,
            sink["phase"].as_str().unwrap_or("?"),
            count("retries"),
            count("broken"),
            count("halved"),
            count("dead_letters"),
            self.attempts,
            self.records,
            sink["last_error"].as_str().unwrap_or("-"),
        )
    }
}

/// One row: the pump against the misbehaving receiver, what is said, the receiver mended, the end.
fn pass(row: &Row) -> Line {
    let rig = Rig::free(&configuration(row.timeout));
    rig.receiver
        .set_mood(Mood::Misbehaving(row.conduct.clone()));
    let mut gateway = rig.gateway(&[]);
    let mut samples = 0;
    if row.end == End::Killed {
        // Less than a request takes, and it is underway before there is more: only bounds that
        // were written down can make it the same request after a kill.
        samples += run_pump(&rig, "early", 2 * WINDOW_S);
        wait_until("the first attempt", SOON, || rig.receiver.count() == 1);
    }
    samples += run_pump(&rig, "pump", SECONDS);

    let meanwhile = wait_for(&format!("{}: to be told", row.name), SOON, || {
        let sink = sink(&rig)?;
        is_told(row, &sink).then_some(sink)
    });
    held(row, &rig, samples);
    if row.end == End::Killed {
        for attempts in 2..=3 {
            kill_in_mid_attempt(&rig, &mut gateway, attempts);
        }
        rig.receiver.set_mood(Mood::Prompt);
        assert!(gateway.kill());
        gateway = rig.gateway(&[]);
    }
    // What is taken anyway is taken without mending.
    if !matches!(row.end, End::Taken | End::Halved) {
        rig.receiver.set_mood(Mood::Prompt);
    }
    if matches!(row.end, End::Broken | End::Refused) {
        command(&rig, &["sink", "resume", "cloud"]);
    }
    if row.end == End::Refused {
        letters_alone_are_missing(&rig, samples);
        command(&rig, &["sink", "dead-letter", "resend", "cloud", "--all"]);
    }
    let received = whole::wait_whole(&rig, samples, SOON);
    answers::assert_none("taken once", &records::repeats(&received));
    settled(&rig, samples);
    let requests = rig.receiver.requests();
    keys(row, &requests);
    assert!(gateway.stop(passage::STOP).success());
    Line {
        name: row.name,
        meanwhile,
        attempts: requests.len(),
        records: taken_ids(&rig).len(),
    }
}

/// Runs a pump for seconds of its own time; the samples that it took.
fn run_pump(rig: &Rig, device: &str, seconds: u64) -> u64 {
    let mut plant = Simulation::plant(device, rig.broker.port, 1, seconds).start(rig.path());
    passage::wait_simulated(&mut plant, Duration::from_mins(1));
    whole::all_samples(&plant)
}

/// Whether the gateway says of its sink what the row expects while the receiver misbehaves.
fn is_told(row: &Row, sink: &Value) -> bool {
    let count = |name: &str| sink["counters"][name].as_u64().expect("it is a count");
    let phase = sink["phase"].as_str().expect("a sink has a phase");
    let error = sink["last_error"].as_str();
    let letters = sink["dead_letters"].as_u64();
    let [retries, broken, halved] = ["retries", "broken", "halved"].map(count);
    let clean = letters == Some(0) && count("refused") == 0;
    let told = error.is_some_and(|error| error.contains(row.said));
    match row.end {
        End::Taken => {
            let quiet = error.is_none() && retries + broken + halved == 0;
            assert!(quiet && clean, "{}: {sink}", row.name);
            count("records") > 0
        }
        End::Halved => {
            assert!(retries + broken == 0 && clean, "{}: {sink}", row.name);
            halved > 0 && count("records") > 0
        }
        End::Retried(_) => {
            assert!(broken + halved == 0 && clean, "{}: {sink}", row.name);
            retries >= 2 && told && matches!(phase, "backing-off" | "sending" | "draining")
        }
        End::Broken => {
            assert!(retries + halved == 0 && clean, "{}: {sink}", row.name);
            broken >= 1 && told && phase == "circuit-open"
        }
        End::Refused => {
            let most = u64::from(REFUSED_ROW_MAX);
            assert!(letters <= Some(most), "{}: {sink}", row.name);
            broken >= 1 && told && phase == "circuit-open" && letters == Some(most)
        }
        End::Killed => phase == "sending" && sink["attempts"] == 1,
    }
}

/// Where nothing may be taken nothing has left the queue but what became a dead letter.
fn held(row: &Row, rig: &Rig, samples: u64) {
    if matches!(row.end, End::Taken | End::Halved) {
        return;
    }
    wait_until("every sample to wait", SOON, || {
        let sinks = sinks(rig);
        let count = |name: &str| sinks[name].as_u64().expect("it is a count");
        assert_eq!(count("delivered"), 0, "{}: {sinks}", row.name);
        let letters = count("dead_lettered");
        assert_eq!(letters > 0, row.end == End::Refused, "{}", row.name);
        count("waiting") + letters == samples
    });
    assert!(
        taken_ids(rig).is_empty(),
        "{}: something was taken",
        row.name
    );
}

/// The gateway is killed while its attempt hangs, and begins another one after its start.
fn kill_in_mid_attempt(rig: &Rig, gateway: &mut Process, attempts: usize) {
    assert!(gateway.kill());
    *gateway = rig.gateway(&[]);
    wait_until("an attempt after a kill", SOON, || {
        rig.receiver.count() == attempts
    });
}

/// All arrives but the dead letters, which are as many as before.
fn letters_alone_are_missing(rig: &Rig, samples: u64) {
    wait_until("all but the dead letters", SOON, || {
        let received = records::read(&rig.receiver.requests());
        let sinks = sinks(rig);
        let letters = sinks["dead_lettered"].as_u64().expect("it is a count");
        whole::fresh(&received) + letters == samples && sinks["waiting"] == 0
    });
    let sink = wait_for("the sink's status", SOON, || sink(rig));
    assert_eq!(sink["dead_letters"], u64::from(REFUSED_ROW_MAX), "{sink}");
}

/// Nothing waits any more, and the books have every sample delivered.
fn settled(rig: &Rig, samples: u64) {
    let strict = ["ledger", "--config", "tidegate.toml", "--strict"];
    wait_until("the books to be closed", SOON, || {
        sinks(rig)["delivered"] == samples && rig.command(&strict).status.success()
    });
    whole::assert_books(rig, samples);
}

/// An `Idempotency-Key` stands for one body; what was not taken goes again under its key, and what
/// is halved goes under another.
fn keys(row: &Row, requests: &[Request]) {
    let mut bodies: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let mut keys: BTreeMap<&[u8], &str> = BTreeMap::new();
    for request in requests {
        assert_eq!(request.raw.line, "POST /records HTTP/1.1", "{}", row.name);
        let (key, body) = (key(request), request.body.as_slice());
        assert_eq!(*bodies.entry(key).or_insert(body), body, "{}", row.name);
        assert_eq!(*keys.entry(body).or_insert(key), key, "{}", row.name);
    }
    let failed = requests
        .iter()
        .take_while(|request| request.answer != Answer::Taken)
        .count();
    let first = &requests[..=failed];
    match row.end {
        End::Taken => assert_eq!(bodies.len(), requests.len(), "{}", row.name),
        End::Halved | End::Refused => assert!(bodies.len() > 1, "{}", row.name),
        End::Retried(_) | End::Broken | End::Killed => {
            let same = first.iter().all(|one| key(one) == key(&first[0]));
            assert!(failed > 0 && same, "{}: another batch went", row.name);
        }
    }
    if row.end == End::Killed {
        assert_eq!(failed, 3, "{}: an attempt in each life", row.name);
        let lines = first[0].body.split(|byte| *byte == b'\n').count() - 1;
        assert!(lines < BATCH, "{}: {lines} records in the first", row.name);
    }
    if let End::Retried(least) = row.end {
        for pair in first.windows(2) {
            let waited = pair[1].at.checked_sub(pair[0].at);
            let waited = waited.expect("requests stand in order");
            assert!(waited >= least, "{}: again after {waited:?}", row.name);
        }
    }
}

fn key(request: &Request) -> &str {
    let key = request.raw.header("idempotency-key");
    key.expect("every request has its key")
}

/// Ids of the records that were taken.
fn taken_ids(rig: &Rig) -> BTreeSet<String> {
    let received = records::read(&rig.receiver.requests());
    let taken = received.into_iter().filter(|one| one.taken);
    taken.map(|one| one.record.id).collect()
}

/// What the running gateway says of its sink; nothing while it starts, or its store is busy.
fn sink(rig: &Rig) -> Option<Value> {
    let finished = rig.command(&["status", "--config", "tidegate.toml", "--json"]);
    let mut status: Value = serde_json::from_str(&finished.out).ok()?;
    let sink = status["sinks"]["cloud"].take();
    sink["dead_letters"].is_u64().then_some(sink)
}

/// Samples in the ledger's balance of the sinks.
fn sinks(rig: &Rig) -> Value {
    rig.ledger()["balances"]["total"]["sinks"].take()
}

fn command(rig: &Rig, arguments: &[&str]) {
    let finished = rig.command(&[arguments, &["--config", "tidegate.toml"]].concat());
    assert!(
        finished.status.success(),
        "{arguments:?}: {}{}",
        finished.out,
        finished.err
    );
}
