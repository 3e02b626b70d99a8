//! A receiver that refuses some records: only these become dead letters, the rest arrives, the
//! books balance; and the commands that handle them, beside the gateway and without it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::ports;
use tidegate_tests::process::Finished;
use tidegate_tests::receiver::Mood;
use tidegate_tests::records;
use tidegate_tests::rig::{CONFIGURATION, Rig};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::{wait_for, wait_until};

use crate::{passage, whole};

const CONFIG: [&str; 2] = ["--config", "tidegate.toml"];
const SOON: Duration = Duration::from_secs(30);
/// What the receiver refuses, and its words.
const REFUSED: &str = "\"sensor\":\"current\"";
const WORDS: &str = "no field called current here";

#[test]
fn only_what_is_refused_becomes_a_dead_letter_and_each_can_be_resent_or_dropped() {
    let configuration = CONFIGURATION.replace("compress", "drain_spread = \"0s\"\ncompress");
    let rig = Rig::free(&configuration);
    rig.receiver.set_mood(picky(REFUSED, 400, WORDS));
    let mut gateway = rig.gateway(&[]);
    let mut plant = Simulation::plant("pump", rig.broker.port, 1, 240);
    "max".clone_into(&mut plant.speed);
    let mut plant = plant.start(rig.path());
    passage::wait_simulated(&mut plant, Duration::from_mins(1));
    let samples = whole::all_samples(&plant);

    // A quarter of the samples is of the sensor that is refused; all else arrives.
    wait_until("all but what is refused", SOON, || {
        taken(&rig, false) == samples / 4 * 3 && dead(&rig) + taken(&rig, true) == samples / 4
    });
    assert_eq!(taken(&rig, true), 0, "a refused record counts as taken");
    let letters = letters(&rig);
    assert!(letters.len() >= 4, "{letters:?}");
    for letter in &letters {
        assert_eq!(letter["record"]["sensor"], "current", "{letter}");
        let why = letter["why"].as_str().expect("it has a reason");
        assert!(why.contains("400") && why.contains(WORDS), "{why}");
    }
    balanced(&rig);
    told(&rig, &letters);
    refusals(&rig);

    // The receiver is mended: one is sent again, one is dropped, the rest goes together.
    rig.receiver.set_mood(Mood::Prompt);
    let ids: Vec<&str> = letters.iter().map(id).collect();
    let [dropped, resent, ..] = ids[..] else {
        panic!("too few letters: {ids:?}");
    };
    let unsure = letter(&rig, &["drop", "cloud", &dropped[..12]], 1);
    assert!(unsure.err.contains("nothing was dropped"), "{}", unsure.err);
    letter(&rig, &["drop", "cloud", &dropped[..12], "--yes"], 0);
    let again = letter(&rig, &["resend", "cloud", &resent[..12], "ffff"], 1);
    assert!(
        again.out.starts_with("1 dead letter of cloud"),
        "{}",
        again.out
    );
    assert!(again.out.contains("not ffff"), "{}", again.out);
    wait_until("the one to arrive", SOON, || {
        has(&rig, resent) && !self::letters(&rig).iter().any(|one| id(one) == resent)
    });

    // The others are marked while no gateway runs, and go with its start.
    assert!(gateway.stop(passage::STOP).success());
    assert_eq!(self::letters(&rig).len(), ids.len() - 2);
    let marked = letter(&rig, &["resend", "cloud", "--all"], 0);
    assert!(marked.out.contains("no gateway runs"), "{}", marked.out);
    let before = balanced(&rig);
    let mut gateway = rig.gateway(&[]);
    wait_until("the rest to arrive", SOON, || {
        ids[1..].iter().all(|id| has(&rig, id)) && listed(&rig) == Some(0)
    });
    let after = balanced(&rig);
    // What was dropped stays dead-lettered, all else moved to delivered.
    assert!(
        after.0 > before.0 && after.1 < before.1,
        "{before:?} {after:?}"
    );
    assert!(after.1 > 0, "what was dropped is no longer counted");
    assert_eq!(after.0 + after.1, samples);
    assert!(!has(&rig, dropped), "it was dropped and sent");
    assert!(gateway.stop(passage::STOP).success());
}

#[test]
fn a_probe_tells_what_a_receiver_says() {
    let rig = Rig::free(CONFIGURATION);
    let tested = sink(&rig, &["test", "cloud", "--json"], 0);
    let tested: Value = serde_json::from_str(&tested.out).expect("it is JSON");
    assert_eq!(tested["outcome"], "confirmed");
    let requests = rig.receiver.requests();
    let body = String::from_utf8_lossy(&requests[0].body);
    let record: Value = serde_json::from_str(&body).expect("a record was sent");
    assert_eq!(record["id"], tested["id"]);
    for field in ["device", "sensor", "rule"] {
        assert_eq!(record[field], "tidegate-probe");
    }
    assert_eq!(record["values"]["value"], 1.0);

    rig.receiver.set_mood(picky("", 401, "who are you?"));
    let refused = sink(&rig, &["test", "cloud"], 1);
    for words in [
        "(broken, ",
        "401",
        "who are you?",
        "the circuit opens",
        "try: ",
    ] {
        assert!(refused.out.contains(words), "{words}: {}", refused.out);
    }

    let nobody = CONFIGURATION.replace("28080", &ports::free().to_string());
    std::fs::write(rig.path().join("nobody.toml"), nobody).expect("the folder takes a file");
    let command = ["sink", "test", "cloud", "--config", "nobody.toml"];
    let nobody = rig.command(&command);
    assert_eq!(nobody.status.code(), Some(1), "{}", nobody.err);
    assert!(nobody.out.contains("(retry, "), "{}", nobody.out);

    let unknown = sink(&rig, &["test", "clowd"], 1);
    assert!(
        unknown.err.contains("did you mean `cloud`?"),
        "{}",
        unknown.err
    );
}

fn picky(text: &str, status: u16, words: &str) -> Mood {
    Mood::Picky {
        text: text.into(),
        status,
        words: words.into(),
    }
}

/// Runs `tidegate sink …`, which must end with a code.
fn sink(rig: &Rig, arguments: &[&str], code: i32) -> Finished {
    let finished = rig.command(&[&["sink"], arguments, &CONFIG].concat());
    assert_eq!(
        finished.status.code(),
        Some(code),
        "tidegate sink {arguments:?}: {}{}",
        finished.out,
        finished.err
    );
    finished
}

fn letter(rig: &Rig, arguments: &[&str], code: i32) -> Finished {
    sink(rig, &[&["dead-letter"], arguments].concat(), code)
}

fn letters(rig: &Rig) -> Vec<Value> {
    let listed = letter(rig, &["list", "cloud", "--json"], 0);
    let listed: Value = serde_json::from_str(&listed.out).expect("the list is JSON");
    listed["dead_letters"]
        .as_array()
        .expect("it is a list")
        .clone()
}

fn id(letter: &Value) -> &str {
    letter["id"].as_str().expect("a letter has an id")
}

/// Dead letters as `sink list` counts them.
fn listed(rig: &Rig) -> Option<u64> {
    let listed = sink(rig, &["list", "--json"], 0);
    let listed: Value = serde_json::from_str(&listed.out).expect("the list is JSON");
    listed["sinks"][0]["dead_letters"].as_u64()
}

/// Samples taken, of the sensor that is refused or of the others.
fn taken(rig: &Rig, of_refused: bool) -> u64 {
    let received = records::read(&rig.receiver.requests());
    let of = received
        .into_iter()
        .filter(|one| (one.record.sensor == "current") == of_refused);
    whole::fresh(&of.collect::<Vec<_>>())
}

/// Samples that are dead-lettered.
fn dead(rig: &Rig) -> u64 {
    let ledger = rig.ledger();
    let total = &ledger["balances"]["total"]["sinks"];
    total["dead_lettered"].as_u64().expect("it is a count")
}

/// Whether a record was taken.
fn has(rig: &Rig, id: &str) -> bool {
    let received = records::read(&rig.receiver.requests());
    received.iter().any(|one| one.taken && one.record.id == id)
}

/// The strict ledger; samples delivered and dead-lettered.
fn balanced(rig: &Rig) -> (u64, u64) {
    let arguments = [&["ledger", "--strict", "--json"], &CONFIG[..]].concat();
    // A device that was told to go on has told its totals; the ledger may be a step behind.
    let finished = wait_for("the strict ledger to balance", SOON, || {
        let finished = rig.command(&arguments);
        finished.status.success().then_some(finished)
    });
    let ledger: Value = serde_json::from_str(&finished.out).expect("the ledger is JSON");
    let total = &ledger["balances"]["total"]["sinks"];
    let count = |name: &str| total[name].as_u64().expect("it is a count");
    (count("delivered"), count("dead_lettered"))
}

/// List, show, status and sink list tell the same letters.
fn told(rig: &Rig, letters: &[Value]) {
    let list = letter(rig, &["list", "cloud"], 0);
    let head = format!("cloud has {} dead letters\n", letters.len());
    assert!(list.out.starts_with(&head), "{}", list.out);
    let first = id(&letters[0]);
    let shown = letter(rig, &["show", "cloud", &first[..12], "--json"], 0);
    let shown: Value = serde_json::from_str(&shown.out).expect("the letter is JSON");
    assert_eq!(shown, letters[0]);
    let shown = letter(rig, &["show", "cloud", first], 0);
    assert!(shown.out.contains(WORDS), "{}", shown.out);
    let distinct: BTreeSet<&str> = letters.iter().map(id).collect();
    assert_eq!(distinct.len(), letters.len());
    assert_eq!(listed(rig), Some(letters.len() as u64));

    let status = rig.command(&[&["status", "--json"], &CONFIG[..]].concat());
    let code = status.status.code();
    let status: Value = serde_json::from_str(&status.out).expect("the status is JSON");
    let states = status["states"].as_array().expect("it is a list");
    let is_told = |state: &Value| state["name"] == "sink-dead-letters";
    assert!(states.iter().any(is_told), "{states:?}");
    // A machine without a time service has a state of its own.
    let others = states.iter().filter(|state| !is_told(state)).count();
    assert_eq!(status["works_as_usual"], others == 0, "{states:?}");
    assert_eq!(code, Some(if others == 0 { 0 } else { 3 }));
    assert_eq!(status["sinks"]["cloud"]["dead_letters"], letters.len());
}

/// What cannot be done is said, and nothing changes.
fn refusals(rig: &Rig) {
    for (arguments, words) in [
        (&["list", "clowd"][..], "did you mean `cloud`?"),
        (&["show", "cloud", "xyz"], "no dead letter xyz"),
        (&["resend", "clowd", "--all"], "did you mean `cloud`?"),
    ] {
        let refused = letter(rig, arguments, 1);
        assert!(
            refused.err.contains(words),
            "{arguments:?}: {}",
            refused.err
        );
    }
    let resumed = sink(rig, &["resume", "cloud"], 0);
    assert!(resumed.out.starts_with("cloud was "), "{}", resumed.out);
    let unknown = sink(rig, &["resume", "clowd"], 1);
    assert!(
        unknown.err.contains("did you mean `cloud`?"),
        "{}",
        unknown.err
    );
}
