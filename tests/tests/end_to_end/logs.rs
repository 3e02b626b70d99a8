//! Logs of real processes: what repeats is held back and counted, and the journal gets priorities.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::receiver::Mood;
use tidegate_tests::rig::{CONFIGURATION, Rig, tidegate};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

use crate::passage;

/// Each sample of one sensor is refused for good: some hundred dead letters, and a few lines.
#[test]
fn hundreds_of_refused_records_make_a_few_lines_that_account_for_each() {
    let without_windows =
        CONFIGURATION.replace("window = { tumbling = \"1m\", lateness = \"30s\" }\n", "");
    let lines = without_windows.split_inclusive('\n');
    let configuration: String = lines
        .filter(|line| !line.starts_with("aggregate"))
        .collect();
    let rig = Rig::free(&configuration);
    rig.receiver.set_mood(Mood::Picky {
        text: "\"sensor\":\"current\"".to_owned(),
        status: 400,
        words: "no field called current here".to_owned(),
    });
    let mut command = Command::new(tidegate());
    command
        .current_dir(rig.path())
        .args(["run", "--log", "json"]);
    let mut gateway = tidegate_tests::process::Process::start("gateway", &mut command, rig.path());
    let mut plant = Simulation::plant("pump", rig.broker.port, 1, 120);
    "max".clone_into(&mut plant.speed);
    let mut plant = plant.start(rig.path());
    passage::wait_simulated(&mut plant, Duration::from_mins(1));
    let letters = || -> u64 {
        let listed = rig.command(&["sink", "list", "--json"]);
        let listed: Value = serde_json::from_str(&listed.out).unwrap_or_default();
        letters_in(&listed)
    };
    wait_until("dead letters", Duration::from_mins(1), || letters() >= 50);
    assert!(gateway.stop(Duration::from_secs(20)).success());
    let log = gateway.err_text();
    let lines = log.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
    });
    let refused: Vec<Value> = lines
        .filter(|line| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains("refused a record"))
        })
        .collect();
    assert!(
        refused.iter().all(|line| line["level"] == "ERROR"),
        "{refused:?}"
    );
    let repeated: u64 = refused
        .iter()
        .filter_map(|line| line["repeated"].as_u64())
        .sum();
    let told = refused.len() as u64 + repeated;
    assert_eq!(told, letters(), "letters that no line accounts for");
    assert!(
        refused.len() <= 6,
        "{} lines for {told} letters",
        refused.len()
    );
}

/// The number of dead letters, wherever the list has it.
fn letters_in(value: &Value) -> u64 {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match value.as_u64() {
                Some(number) if key == "dead_letters" => number,
                _ => letters_in(value),
            })
            .sum(),
        Value::Array(list) => list.iter().map(letters_in).sum(),
        _ => 0,
    }
}

/// stderr is what `JOURNAL_STREAM` names: lines have a priority and no time, and errors are found by
/// `journalctl -p err`.
#[test]
fn the_journal_gets_priorities_and_no_times() {
    let dir = tempfile::tempdir().expect("a folder for temporary files");
    let log = dir.path().join("log");
    let file = File::create(&log).expect("the folder takes a file");
    let stat = file.metadata().expect("it is there");
    let run = |stream: &str, arguments: &[&str]| {
        File::create(&log).expect("it is there");
        let done = Command::new(tidegate())
            .current_dir(dir.path())
            .args(arguments)
            .env("JOURNAL_STREAM", stream)
            .stderr(Stdio::from(
                File::options()
                    .append(true)
                    .open(&log)
                    .expect("it is there"),
            ))
            .status();
        done.expect("the program runs");
        fs::read_to_string(&log).expect("it is there")
    };
    let ours = format!("{}:{}", stat.dev(), stat.ino());
    let failed = run(&ours, &["run"]);
    assert!(failed.lines().count() >= 3, "{failed}");
    assert!(
        failed.lines().all(|line| line.starts_with("<3>")),
        "{failed}"
    );
    let demo = ["--log-level", "info", "demo", "--for", "1"];
    let told = run(&ours, &demo);
    let runs = told.lines().find(|line| line.contains("the gateway runs"));
    let runs = runs.unwrap_or_else(|| panic!("no start in {told}"));
    assert!(runs.starts_with("<6> INFO the gateway runs"), "{runs}");
    // The variable reaches what writes elsewhere, too.
    let elsewhere = run("1:1", &["run"]);
    assert!(elsewhere.starts_with("error: "), "{elsewhere}");
}
