//! Watching a plant: what `overview`, `devices`, `tap` and `top` tell is what the trace holds and
//! what the ledger counts; an alert appears and clears.

use std::fmt::Write;
use std::fs;
use std::process::Command as Program;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_gateway::control::{self, Command};
use tidegate_gateway::plant::{Devices, Health, Overview, Selection};
use tidegate_tests::process::Process;
use tidegate_tests::rig::{CONFIGURATION, Rig, tidegate};
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::wait_until;

use crate::passage;

/// The documented rule, and one that watches the level.
const ALERT: &str = r#"[[rule]]
name = "flood"
match = { sensor = "level" }
alert = { when = "value > 8", clear = "value < 4" }
forward = ["cloud"]
"#;
/// Samples of each sensor in a trace.
const ROWS: usize = 120;
const SOON: Duration = Duration::from_secs(30);

/// Two sensors, a row a second; what they were last.
fn trace(rig: &Rig, hour: usize, level: impl Fn(usize) -> f64) -> (f64, f64) {
    let mut text = "time,level,flow\n".to_owned();
    let mut last = (0.0, 0.0);
    for row in 0..ROWS {
        last = (level(row), 0.5 + (row % 10) as f64);
        let (minute, second) = (row / 60, row % 60);
        let _ = writeln!(
            text,
            "2026-03-01T{hour:02}:{minute:02}:{second:02}Z,{:.1},{:.1}",
            last.0, last.1
        );
    }
    fs::write(rig.path().join("trace.csv"), text).expect("the folder takes a file");
    last
}

fn simulate(rig: &Rig) {
    let trace = rig.path().join("trace.csv");
    let simulation = Simulation::new(&trace, "tank", rig.broker.port);
    let mut simulated = simulation.start(rig.path());
    passage::wait_simulated(&mut simulated, SOON);
}

fn asked<T: DeserializeOwned>(rig: &Rig, command: &Command) -> Option<T> {
    let answer = control::ask(&rig.path().join("data"), command).ok()?;
    Some(serde_json::from_value(answer).expect("the answer is what was asked for"))
}

fn overview(rig: &Rig) -> Overview {
    asked(rig, &Command::Overview).expect("the gateway answers")
}

/// A sensor's newest value, and what is known beside it.
fn devices(rig: &Rig) -> Devices {
    let selection = Selection {
        glob: Some("ta*".into()),
        ..Selection::default()
    };
    asked(rig, &Command::Devices(selection)).expect("the gateway answers")
}

#[test]
fn what_is_watched_is_what_was_taken() {
    let configuration = CONFIGURATION.replace("compress", "drain_spread = \"0s\"\ncompress");
    let rig = Rig::free(&(configuration + ALERT));
    let mut gateway = rig.gateway(&[]);
    wait_until("the gateway to answer", SOON, || {
        asked::<Overview>(&rig, &Command::Overview).is_some()
    });
    assert_eq!(overview(&rig).flow.samples, 0);
    assert_eq!(devices(&rig).total, 0);

    let last = trace(&rig, 1, |row| row as f64 / 10.0);
    simulate(&rig);
    wait_until("the alert to open", SOON, || {
        overview(&rig).alerts_open == 1
    });
    let opened = overview(&rig);
    let alert = &opened.alerts[0];
    assert_eq!(
        (alert.rule.as_str(), alert.sensor.as_str()),
        ("flood", "level")
    );
    assert_eq!(alert.since, "2026-03-01T01:01:21Z", "the first above 8");
    assert_eq!(alert.value, Some(last.0));
    check_values(&rig, last, 1);
    check_once(&rig, "flood");

    let mut tap = tap(&rig);
    wait_until("the tap to be open", SOON, || {
        let control = overview(&rig).status.control;
        control.is_some_and(|counts| counts.taps == 1)
    });
    let last = trace(&rig, 2, |row| 2.0 + (row % 5) as f64 / 10.0);
    simulate(&rig);
    wait_until("the alert to clear", SOON, || {
        overview(&rig).alerts_open == 0
    });
    check_values(&rig, last, 2);
    check_once(&rig, "no alert is open");
    wait_until("the records to be delivered", SOON, || {
        overview(&rig).rules.iter().all(|rule| rule.waiting == 0)
    });
    check_ledger(&rig);
    check_tapped(&rig, &mut tap, last);
    assert!(gateway.stop(passage::STOP).success());
    let away = rig.command(&["top", "--once"]);
    assert_eq!(away.status.code(), Some(1));
    assert!(away.err.contains("no gateway runs"), "{}", away.err);
}

/// What `devices` tells is what the trace held.
fn check_values(rig: &Rig, last: (f64, f64), traces: u64) {
    wait_until("the last samples to be folded", SOON, || {
        let logged = overview(rig).flow.samples;
        logged == traces * 2 * ROWS as u64
    });
    let devices = devices(rig);
    assert_eq!(devices.total, 1);
    let tank = &devices.devices[0];
    assert_eq!(tank.health, Health::Ended, "{tank:?}");
    assert!(tank.heard.is_some(), "{tank:?}");
    let of = |name: &str| {
        let mut sensors = tank.sensors.iter();
        sensors.find(|one| one.name == name).expect("it is there")
    };
    let values = (of("level").value, of("flow").value);
    assert_eq!(values, (Some(last.0), Some(last.1)));
    let time = format!("2026-03-01T0{traces}:01:59Z");
    assert_eq!(of("level").time.as_deref(), Some(&*time));
    assert_eq!(of("level").logged, traces * ROWS as u64);
}

/// What `overview` and `devices` tell is what the ledger counts.
fn check_ledger(rig: &Rig) {
    let ledger = rig.ledger();
    let total = &ledger["balances"]["total"];
    // Its sums are kept for a hundred times as long as it took to add them up: on a busy machine
    // those from before the last trace may still be shown.
    wait_until("the sums to be added up again", SOON, || {
        let sums = overview(rig).ledger;
        total["samples"]["logged"] == sums.logged && total["sinks"]["delivered"] == sums.delivered
    });
    let (overview, devices) = (overview(rig), devices(rig));
    assert_eq!(total["samples"]["logged"], overview.flow.samples);
    assert_eq!(total["samples"]["logged"], overview.ledger.logged);
    assert_eq!(ledger["balances"]["balanced"], overview.ledger.balanced);
    assert_eq!(total["sinks"]["delivered"], overview.ledger.delivered);
    for sensor in &devices.devices[0].sensors {
        let counted = &ledger["devices"]["tank"]["sensors"][&sensor.name];
        assert_eq!(counted["logged"], sensor.logged);
        assert_eq!(counted["suppressed"].as_u64(), sensor.suppressed);
    }
    for rule in &overview.rules {
        let counted = &ledger["sinks"]["cloud"][&rule.name];
        assert_eq!(counted["delivered_records"], rule.records, "{}", rule.name);
        let sensors = ledger["devices"]["tank"]["sensors"].as_object();
        let matched = sensors.into_iter().flatten();
        let matched = matched.filter_map(|(_, one)| one["rules"][&rule.name]["matched"].as_u64());
        assert_eq!(matched.sum::<u64>(), rule.samples, "{}", rule.name);
    }
    assert!(overview.flow.received_bytes > 0);
    assert!(overview.flow.sent_bytes > 0);
}

fn tap(rig: &Rig) -> Process {
    let mut program = Program::new(tidegate());
    program
        .current_dir(rig.path())
        .args(["tap", "--device", "t?nk", "--sensor", "level", "--json"]);
    Process::start("tap", &mut program, rig.path())
}

/// The tap told every sample of its sensor, and the records made of them.
fn check_tapped(rig: &Rig, tap: &mut Process, last: (f64, f64)) {
    let lines = |tap: &Process| -> Vec<Value> {
        let told = tap.out_text();
        let lines = told
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.collect()
    };
    let samples = |lines: &[Value]| -> Vec<f64> {
        let samples = lines.iter().filter_map(|line| line.get("sample"));
        let level = samples.inspect(|sample| assert_eq!(sample["sensor"], "level"));
        level
            .filter_map(|sample| sample["value"].as_f64())
            .collect()
    };
    wait_until("the tap to tell them", SOON, || {
        samples(&lines(tap)).len() == ROWS
    });
    let told = lines(tap);
    assert_eq!(samples(&told).last(), Some(&last.0));
    let records: Vec<&Value> = told.iter().filter_map(|line| line.get("record")).collect();
    let of = |rule: &str| records.iter().filter(|one| one["rule"] == rule).count();
    assert!(of("minute") >= 2, "{records:?}");
    assert!(
        records.iter().any(|one| one["alert"] == "cleared"),
        "{records:?}"
    );
    assert!(tap.ended().is_none(), "it goes on until somebody ends it");
    let _ = tap.stop(passage::STOP);
    wait_until("its place to be free", SOON, || {
        let control = overview(rig).status.control;
        control.is_some_and(|counts| counts.taps == 0)
    });
}

/// One picture as text.
fn check_once(rig: &Rig, expected: &str) {
    let once = rig.command(&["top", "--once"]);
    assert!(once.status.success(), "{}{}", once.out, once.err);
    for words in ["pump-house", "tank", "level", "minute", "cloud", expected] {
        assert!(once.out.contains(words), "no {words} in\n{}", once.out);
    }
    // Without a terminal there is nothing to draw on.
    let top = rig.command(&["top"]);
    assert_eq!(top.status.code(), Some(1));
    assert!(top.err.contains("--once"), "{}", top.err);
}
