//! Whole: every sample that a simulation took stands in the taken records exactly once, and the
//! books say so too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tidegate_tests::answers;
use tidegate_tests::process::Process;
use tidegate_tests::records::{self, Received};
use tidegate_tests::rig::Rig;
use tidegate_tests::simulation::progress;
use tidegate_tests::wall::poll_for;

/// A number of a simulation's newest progress line; 0 before the first.
pub fn simulated(process: &Process, name: &str) -> u64 {
    let newest = progress(process);
    newest.and_then(|line| line[name].as_u64()).unwrap_or(0)
}

/// Samples that a simulation took which ended well: all acked, none lost or held back on the way.
pub fn all_samples(process: &Process) -> u64 {
    let line = progress(process).expect("a simulation tells its figures");
    assert_eq!(line["done"], true, "not everything is acked: {line}");
    for name in [
        "samples_suppressed",
        "samples_failed",
        "samples_evicted",
        "renamed",
    ] {
        assert_eq!(line[name], 0, "{name} in {line}");
    }
    let samples = line["samples_taken"].as_u64().expect("it is a count");
    assert!(samples > 0, "nothing was simulated: {line}");
    samples
}

/// Samples in what was taken: the fresh ones of every record id, counted once.
pub fn fresh(received: &[Received]) -> u64 {
    let taken = received.iter().filter(|one| one.taken);
    let by_id: BTreeMap<&str, u64> = taken
        .map(|one| (one.record.id.as_str(), one.record.fresh))
        .collect();
    by_id.values().sum()
}

/// Waits until the receiver took every one of `samples`, then judges what it got: all of them
/// once, an id with one content, a revision with one id.
pub fn wait_whole(rig: &Rig, samples: u64, limit: Duration) -> Vec<Received> {
    let mut seen = usize::MAX;
    poll_for(limit, || {
        let count = rig.receiver.count();
        if count == seen {
            return None;
        }
        seen = count;
        (fresh(&records::read(&rig.receiver.requests())) >= samples).then_some(())
    });
    let received = records::read(&rig.receiver.requests());
    assert_eq!(
        fresh(&received),
        samples,
        "samples upstream and samples taken"
    );
    answers::assert_none("identity", &records::identity_faults(&received));
    received
}

/// The strict ledger: it balances, nothing is unknown, and it knows of exactly these samples, all
/// delivered.
pub fn assert_books(rig: &Rig, samples: u64) {
    assert_books_of(rig, samples, samples);
}

/// As [`assert_books`], where several rules take a sample: `folded` counts it under each.
pub fn assert_books_of(rig: &Rig, samples: u64, folded: u64) {
    let arguments = ["ledger", "--config", "tidegate.toml", "--strict", "--json"];
    let finished = rig.command(&arguments);
    assert!(
        finished.status.success(),
        "tidegate ledger --strict ended with {}: {}{}",
        finished.status,
        finished.out,
        finished.err
    );
    let ledger: Value = serde_json::from_str(&finished.out).expect("the ledger is JSON");
    let total = &ledger["balances"]["total"];
    for (place, wanted) in [
        ("/samples/taken_min", samples),
        ("/samples/logged", samples),
        ("/samples/difference", 0),
        ("/sinks/folded", folded),
        ("/sinks/delivered", folded),
        ("/sinks/waiting", 0),
        ("/sinks/difference", 0),
    ] {
        let found = total.pointer(place).and_then(Value::as_u64);
        assert_eq!(
            found,
            Some(wanted),
            "{place} of the balances' total: {total}"
        );
    }
}
