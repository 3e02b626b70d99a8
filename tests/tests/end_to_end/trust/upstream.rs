//! Who has what a sink received can show that the gateway's history was rewritten.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tidegate_tests::process::Finished;
use tidegate_tests::records;
use tidegate_tests::rig::Rig;
use tidegate_tests::wall::wait_until;

use super::{SOON, device, rig};
use crate::passage;

/// What carries a checkpoint, line by line, and how many entries each has.
fn received(rig: &Rig) -> Vec<(String, u64)> {
    let lines = records::read(&rig.receiver.requests());
    let told = lines.into_iter().filter_map(|one| {
        let line: Value = serde_json::from_str(&one.line).expect("a line is JSON");
        (line["rule"] == "tidegate.audit").then(|| {
            assert_eq!(line["sensor"], "audit.checkpoint", "{line}");
            assert_eq!(line["alert"], Value::Null, "{line}");
            let entries = line["values"]["entries"].as_u64();
            (one.line, entries.expect("a checkpoint has entries"))
        })
    });
    told.collect()
}

/// Registers a device at rest, then runs the gateway until its checkpoint is upstream.
fn enroll(rig: &Rig, name: &str) -> u64 {
    let broker = format!("127.0.0.1:{}", rig.broker.port);
    let page = format!("{name}.page");
    device(
        rig,
        &["add", name, "--broker", &broker, "--out", &page, "--no-qr"],
    );
    let before = received(rig).len();
    let mut gateway = rig.gateway(&[]);
    wait_until("the checkpoint to be upstream", SOON, || {
        received(rig).len() > before
    });
    assert!(gateway.stop(passage::STOP).success());
    received(rig).last().expect("one came").1
}

fn verify(rig: &Rig, more: &[&str]) -> Finished {
    let key = rig.path().join("public-key").display().to_string();
    let mut all = vec!["audit", "verify", "--key", &key];
    all.extend(more);
    rig.command(&all)
}

fn write_received(rig: &Rig) {
    let lines = received(rig);
    let lines: Vec<String> = lines.iter().map(|(line, _)| line.clone()).collect();
    fs::write(rig.path().join("received"), lines.join("\n")).expect("it can be written");
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the folder takes a folder");
    for entry in fs::read_dir(from).expect("it can be read") {
        let path = entry.expect("it can be read").path();
        let name = path.file_name().expect("an entry has a name");
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if path.is_file() {
            fs::copy(&path, to.join(name)).expect("it can be copied");
        }
    }
}

#[test]
fn a_history_that_was_rewritten_is_found_by_what_went_upstream() {
    let rig = rig("");
    let (data, before) = (rig.path().join("data"), rig.path().join("before"));
    let first = enroll(&rig, "tank");
    assert!(first >= 1);
    fs::copy(data.join("audit/public-key"), rig.path().join("public-key")).expect("it is there");
    copy(&data, &before);
    let second = enroll(&rig, "pump");
    assert!(second > first);
    write_received(&rig);
    let right = verify(&rig, &["data", "--upstream", "received"]);
    assert!(right.status.success(), "{}{}", right.out, right.err);
    assert!(
        right.out.contains("continues every checkpoint upstream: 2"),
        "{}",
        right.out
    );

    // Everything that the gateway has, its keys included, is put back, and does something else.
    fs::remove_dir_all(&data).expect("it can be removed");
    copy(&before, &data);
    enroll(&rig, "other");
    let alone = verify(&rig, &["data"]);
    assert!(alone.status.success(), "{}{}", alone.out, alone.err);
    let found = verify(&rig, &["data", "--upstream", "received"]);
    assert_eq!(found.status.code(), Some(3), "{}{}", found.out, found.err);
    assert!(found.err.contains("two histories"), "{}", found.err);
    // What is upstream tells it without the gateway.
    write_received(&rig);
    let found = verify(&rig, &["--upstream", "received"]);
    assert_eq!(found.status.code(), Some(3), "{}{}", found.out, found.err);
    assert!(found.err.contains("two histories"), "{}", found.err);
    let ledger = rig.command(&["ledger", "--config", "tidegate.toml"]);
    assert!(ledger.status.success(), "{}{}", ledger.out, ledger.err);
}
