//! Two gateways, one the other's witness over HTTP.

use std::fs;

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

#[test]
fn a_witness_over_http_cosigns_one_history_and_refuses_another() {
    let port = ports::free();
    let door = format!("[http]\nlisten = \"127.0.0.1:{port}\"\nwitness = true\n");
    let (shed, house) = (rig(&door), rig(""));
    let (data, before) = (house.path().join("data"), house.path().join("before"));
    issue(&house, "add", "tank", "tank.page");
    let key = data.join("audit/public-key").display().to_string();
    let mut witness = shed.gateway(&[]);
    wait_until("the witness to answer", SOON, || {
        shed.command(&["status", "--config", "tidegate.toml"])
            .status
            .success()
    });
    let shown = audit(&shed, &["witness", "--show-key"]);
    told(&shown, 0, "/witness+");
    fs::write(house.path().join("witness.key"), &shown.out).expect("the folder takes a file");
    let url = format!("http://127.0.0.1:{port}");
    let ask = || {
        audit(
            &house,
            &["request", "--url", &url, "--witness", "witness.key"],
        )
    };

    told(&ask(), 3, "does not watch");
    // The witness is told while it runs.
    told(&audit(&shed, &["witness", "--watch", &key]), 0, "");
    told(&ask(), 0, "cosigned: 1 entries");
    copy(&data, &before);
    issue(&house, "add", "pump", "pump.page");
    told(&ask(), 0, "cosigned: 2 entries");
    let verify = ["audit", "verify", "data", "--key", &key];
    let verified = house.command(&[&verify[..], &["--witness", "witness.key"]].concat());
    told(&verified, 0, ": 2 entries, at ");

    // Everything that the gateway has is put back, and does something else.
    fs::remove_dir_all(&data).expect("it can be removed");
    copy(&before, &data);
    issue(&house, "add", "other", "other.page");
    told(&house.command(&verify), 0, "verifies");
    told(&ask(), 3, "two histories");
    assert!(witness.stop(passage::STOP).success());
}
