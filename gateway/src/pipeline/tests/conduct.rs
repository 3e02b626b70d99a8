//! What decisions about devices that offend tell: a record each, from every base the same.

use std::collections::BTreeMap;

use super::script::{S, Script, name};
use crate::conduct::{Decision, KIND, RULE};
use crate::entry::{Entry, Uncounted};
use crate::record::{AlertCause, AlertState, Value};
use crate::rules::Priority;
use crate::session::Turn;

fn decide(script: &mut Script, turn: Turn, is_over: bool) {
    let decision = Decision {
        device: name("pump-1"),
        turn,
        is_over,
        why: BTreeMap::from([(Uncounted::AfterGap, 2), (Uncounted::Forged, 100)]),
        until_us: None,
        sinks: vec!["cloud".into(), "local".into()],
    };
    script.push(Entry::Decision {
        kind: KIND.to_owned(),
        text: decision.to_json(),
    });
}

fn ruled() -> Script {
    let mut script = Script::new(&[]);
    for turn in [Turn::Quarantined, Turn::Suspected] {
        for is_over in [false, true] {
            script.pass(S);
            decide(&mut script, turn, is_over);
        }
    }
    script
}

#[test]
fn every_decision_is_a_record_for_every_sink() {
    let run = ruled().run();
    let told = run.emitted.iter().map(|one| {
        assert_eq!(one.forward, ["cloud", "local"]);
        assert_eq!(one.priority, Priority::High);
        let record = &one.record;
        assert_eq!((record.rule.as_str(), &*record.device), (RULE, "pump-1"));
        let alert = record.alert.unwrap();
        assert_eq!(alert.cause, AlertCause::Conduct);
        (record.sensor.as_str(), alert.state)
    });
    let told: Vec<_> = told.collect();
    let wanted = [
        ("conduct.quarantine", AlertState::Opened),
        ("conduct.quarantine", AlertState::Cleared),
        ("conduct.suspicion", AlertState::Opened),
        ("conduct.suspicion", AlertState::Cleared),
    ];
    assert_eq!(told, wanted);
    let values = [("after_gap", 2), ("forged", 100)];
    let values = values.map(|(name, count)| (name.to_owned(), Value::Count(count)));
    assert_eq!(run.emitted[0].record.values, values);
    assert_eq!(run.pipeline.counters().entries_unreadable, 0);
}

#[test]
fn from_every_base_they_are_the_same() {
    let script = ruled();
    assert_eq!(script.run_from_every_base().emitted, script.run().emitted);
}

#[test]
fn one_that_cannot_be_read_counts_and_tells_nothing() {
    let mut script = Script::new(&[]);
    script.push(Entry::Decision {
        kind: KIND.to_owned(),
        text: "{".to_owned(),
    });
    let run = script.run();
    assert!(run.emitted.is_empty());
    assert_eq!(run.pipeline.counters().entries_unreadable, 1);
}
