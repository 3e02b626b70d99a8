//! What carries the audit log's checkpoints: a record each, from every base the same.

use super::script::{S, Script};
use crate::checkpoint::{Checkpoint, Decision, KIND, NOTE_BYTES_MAX, RULE};
use crate::entry::Entry;
use crate::record::{ClockQuality, Value};
use crate::rules::Priority;

fn note(entries: u64) -> String {
    format!("house\n{entries}\nroot=\n\n— house sig=\n")
}

fn tell(script: &mut Script, entries: u64, note: String) {
    let sinks = vec!["cloud".into(), "local".into()];
    let text = Decision::of(Checkpoint { entries, note }, sinks).to_json();
    let kind = KIND.to_owned();
    script.push(Entry::Decision { kind, text });
}

/// Three checkpoints, the last of the same state as the one before: a start tells it again.
fn told() -> Script {
    let mut script = Script::new(&[]);
    for entries in [3, 4, 4] {
        script.pass(60 * S);
        tell(&mut script, entries, note(entries));
    }
    script
}

#[test]
fn every_checkpoint_is_a_record_for_every_sink() {
    let script = told();
    let run = script.run();
    assert_eq!(run.emitted.len(), 3);
    for (one, entries) in run.emitted.iter().zip([3, 4, 4]) {
        assert_eq!(one.forward, ["cloud", "local"]);
        assert_eq!(one.priority, Priority::High);
        let record = &one.record;
        let names = (&*record.rule, &*record.device, &*record.sensor);
        assert_eq!(names, (RULE, "*", "audit.checkpoint"));
        assert_eq!(record.note, Some(note(entries)), "byte for byte");
        assert_eq!(
            record.values,
            [("entries".to_owned(), Value::Count(entries))]
        );
        assert_eq!((record.samples, record.fresh, record.alert), (0, 0, None));
        assert_eq!(record.clock, ClockQuality::Learnt);
    }
    let [first, second, again] = &run.emitted[..] else {
        panic!("three");
    };
    assert!(first.record.id != second.record.id && second.record.id != again.record.id);
    assert_eq!(first.record.start_us + 60 * S as i64, second.record.end_us);
    assert_eq!(run.pipeline.counters().entries_unreadable, 0);
}

#[test]
fn from_every_base_they_are_the_same() {
    let script = told();
    assert_eq!(script.run_from_every_base().emitted, script.run().emitted);
}

#[test]
fn one_that_cannot_be_read_or_is_too_long_counts_and_tells_nothing() {
    let mut script = Script::new(&[]);
    tell(&mut script, 1, "a".repeat(NOTE_BYTES_MAX + 1));
    script.push(Entry::Decision {
        kind: KIND.to_owned(),
        text: "{".to_owned(),
    });
    let run = script.run();
    assert!(run.emitted.is_empty());
    assert_eq!(run.pipeline.counters().entries_unreadable, 2);
}
