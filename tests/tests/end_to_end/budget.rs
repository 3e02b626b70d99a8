//! A month's budget that is used up in seconds: the sink is told, what has low priority is dropped
//! and counted, all else goes on, and the books balance.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::records;
use tidegate_tests::rig::Rig;
use tidegate_tests::simulation::Simulation;
use tidegate_tests::wall::{wait_for, wait_until};

use crate::{passage, whole};

/// Every sample is a record of low priority, so the smallest budget there is lasts for some 300.
const CONFIGURATION: &str = r#"[gateway]
site = "pump-house"
data_dir = "./data"
[mqtt]
url = "mqtt://127.0.0.1:21883"
[budget]
bytes_per_month = "100kB"
at_cap = "drop-low"
[sink.cloud]
type = "http"
url = "http://127.0.0.1:28080/records"
compress = "none"
batch_records_max = 50
drain_spread = "0s"
[[rule]]
name = "every"
match = { sensor = "*" }
priority = "low"
forward = ["cloud"]
[[rule]]
name = "minute"
match = { sensor = "*" }
window = { tumbling = "1m", lateness = "30s" }
aggregate = ["count", "mean"]
forward = ["cloud"]
"#;

/// Bytes of that budget.
const CAP: f64 = 100_000.0;
const SOON: Duration = Duration::from_mins(1);

#[test]
fn at_the_cap_low_priority_is_dropped_and_counted() {
    let rig = Rig::free(CONFIGURATION);
    let mut gateway = rig.gateway(&[]);
    let before = simulate(&rig, "before", 240);
    let standing = wait_for("the budget to be used up", SOON, || {
        let standing = status(&rig)["budget"].clone();
        (standing["level"] == "capped" && whole::fresh(&of_rule(&rig, "minute")) > 0)
            .then_some(standing)
    });
    assert_eq!(standing["cap_bytes"].as_f64(), Some(CAP));
    assert!(standing["used_bytes"].as_f64() >= Some(CAP), "{standing}");
    told(&rig);

    // From here on nothing of low priority leaves, and all else does.
    let after = simulate(&rig, "after", 180);
    wait_until("the windows behind the cap", SOON, || {
        let windows = of_rule(&rig, "minute");
        waiting(&rig) == Some(0)
            && windows
                .iter()
                .any(|one| one.record.device.starts_with("after"))
    });
    let low = of_rule(&rig, "every");
    assert!(!low.is_empty(), "nothing left before the cap");
    let late = low
        .iter()
        .find(|one| one.record.device.starts_with("after"));
    assert!(late.is_none(), "{late:?} left behind the cap");
    wait_until("all to be counted", SOON, || {
        whole::fresh(&of_rule(&rig, "every")) + dropped(&rig) == before + after
    });
    assert!(dropped(&rig) >= after);

    let said = "used up, records of low priority are dropped and counted";
    for command in ["status", "bill"] {
        let shown = rig.command(&[command, "--config", "tidegate.toml"]);
        assert!(
            shown.out.contains(said),
            "{command}: {}{}",
            shown.out,
            shown.err
        );
    }
    assert!(gateway.stop(passage::STOP).success());
    let ledger = rig.command(&["ledger", "--config", "tidegate.toml", "--strict"]);
    assert!(ledger.status.success(), "{}{}", ledger.out, ledger.err);
    assert!(ledger.out.contains("by budget"), "{}", ledger.out);
}

/// A pump's seconds through the gateway; how many samples that were.
fn simulate(rig: &Rig, device: &str, seconds: u64) -> u64 {
    let plant = Simulation::plant(device, rig.broker.port, 1, seconds);
    let mut process = plant.start(rig.path());
    passage::wait_simulated(&mut process, SOON);
    whole::all_samples(&process)
}

fn of_rule(rig: &Rig, rule: &str) -> Vec<records::Received> {
    let mut received = records::read(&rig.receiver.requests());
    received.retain(|one| one.record.rule == rule);
    received
}

/// The sink gets a record as the budget runs low and one as it is used up.
fn told(rig: &Rig) {
    wait_until("both records that tell", SOON, || {
        of_rule(rig, "tidegate.budget").len() >= 2
    });
    let received = of_rule(rig, "tidegate.budget");
    for one in &received {
        let line: Value = serde_json::from_str(&one.line).expect("a line is JSON");
        assert_eq!(line["alert"], "opened", "{line}");
        assert_eq!(line["cause"], "budget", "{line}");
        assert_eq!(one.record.device, "*");
        assert_eq!(one.record.values.get("cap"), Some(&CAP));
    }
    let used: BTreeMap<&str, f64> = received
        .iter()
        .map(|one| (one.record.sensor.as_str(), one.record.values["used"]))
        .collect();
    let names: Vec<&str> = used.keys().copied().collect();
    assert_eq!(names, ["budget.cap", "budget.warn"]);
    assert!(used["budget.warn"] >= 0.8 * CAP, "{used:?}");
    assert!(used["budget.cap"] >= CAP, "{used:?}");
}

fn status(rig: &Rig) -> Value {
    let status = rig.command(&["status", "--config", "tidegate.toml", "--json"]);
    serde_json::from_str(&status.out).unwrap_or_default()
}

fn waiting(rig: &Rig) -> Option<u64> {
    status(rig)["sinks"]["cloud"]["records_waiting"].as_u64()
}

/// Samples that the ledger knows as dropped by the budget.
fn dropped(rig: &Rig) -> u64 {
    let ledger = rig.ledger();
    let dropped = ledger.pointer("/balances/total/sinks/dropped_by_budget");
    dropped
        .and_then(Value::as_u64)
        .expect("the ledger has the column")
}
