//! Two gateways, one the other's witness over HTTP.

use std::fs;

use serde_json::Value;
use tidegate_tests::ports;
use tidegate_tests::process::Finished;
use tidegate_tests::rig::Rig;
use tidegate_tests::wall::wait_until;

use super::upstream::copy;
use super::{SOON, issue, rig};
use crate::passage;

fn audit(rig: &Rig, arguments: &[&str]) -> Finished {
    let mut all = vec!["audit"];
    all.extend(arguments);
    all.extend(["--config", "tidegate.toml"]);
    rig.command(&all)
}

fn told(done: &Finished, code: i32, said: &str) {
    let (out, err) = (&done.out, &done.err);
    assert_eq!(done.status.code(), Some(code), "{out}{err}");
    assert!(
        out.contains(said) || err.contains(said),
        "no {said}: {out}{err}"
    );
}

/// The status of a running gateway; null until it answers.
fn status(rig: &Rig) -> Value {
    let done = rig.command(&["status", "--config", "tidegate.toml", "--json"]);
    serde_json::from_str(&done.out).unwrap_or(Value::Null)
}

/// Runs a gateway until what it says of its witness holds; gives its status then.
fn run_until(rig: &Rig, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut gateway = rig.gateway(&[]);
    let mut seen = Value::Null;
    wait_until(what, SOON, || {
        seen = status(rig);
        holds(&seen["witnesses"]["shed"])
    });
    assert!(gateway.stop(passage::STOP).success());
    seen
}

#[test]
fn a_witness_over_http_cosigns_one_history_and_refuses_another() {
    let port = ports::free();
    let door = format!("[http]\nlisten = \"127.0.0.1:{port}\"\nwitness = true\n");
    let shed = rig(&door);
    let mut witness = shed.gateway(&[]);
    wait_until("the witness to answer", SOON, || !status(&shed).is_null());
    let shown = audit(&shed, &["witness", "--show-key"]);
    told(&shown, 0, "/witness+");
    let house = rig(&format!(
        "[witness.shed]\nurl = \"http://127.0.0.1:{port}\"\nkey = \"{}\"\n",
        shown.out.trim()
    ));
    fs::write(house.path().join("witness.key"), &shown.out).expect("the folder takes a file");
    let (data, before) = (house.path().join("data"), house.path().join("before"));
    issue(&house, "add", "tank", "tank.page");
    let key = data.join("audit/public-key").display().to_string();
    let ask = || audit(&house, &["request", "--ask", "shed"]);

    told(
        &audit(&house, &["request", "--ask", "barn"]),
        1,
        "no [witness.barn]",
    );
    told(&ask(), 3, "does not watch");
    // The witness is told while it runs.
    told(&audit(&shed, &["witness", "--watch", &key]), 0, "");
    told(&ask(), 0, "cosigned: 1 entries");
    copy(&data, &before);

    // A gateway that runs has it asked by itself.
    issue(&house, "add", "pump", "pump.page");
    let seen = run_until(&house, "the witness to have cosigned all", |shed| {
        shed["entries"].as_u64() >= Some(2) && shed["cosigned"] == shed["entries"]
    });
    assert_eq!(
        seen["witnesses"]["shed"]["refused"],
        Value::Null,
        "{seen:#}"
    );
    let verify = ["audit", "verify", "data", "--key", &key];
    let verified = house.command(&[&verify[..], &["--witness", "witness.key"]].concat());
    told(&verified, 0, " entries, at ");

    // Everything that the gateway has is put back, and does something else.
    fs::remove_dir_all(&data).expect("it can be removed");
    copy(&before, &data);
    for other in ["other", "further", "last"] {
        issue(&house, "add", other, &format!("{other}.page"));
    }
    told(&house.command(&verify), 0, "verifies");
    let refused = |shed: &Value| {
        let why = shed["refused"].as_str().unwrap_or_default();
        why.contains("rewritten")
    };
    let seen = run_until(&house, "the witness to refuse", refused);
    let mut states = seen["states"].as_array().into_iter().flatten();
    assert!(
        states.any(|state| state["name"] == "witness-refuses"),
        "{seen:#}"
    );
    told(&ask(), 3, "the log was rewritten");
    assert!(witness.stop(passage::STOP).success());
    told(&ask(), 1, "cannot be asked");
}
