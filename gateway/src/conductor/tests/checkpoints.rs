//! The audit log's checkpoints on their way into the log.

use super::*;
use crate::checkpoint::{Checkpoint, Decision, KIND};

const NONE: [u64; 0] = [];

fn of(entries: u64) -> Checkpoint {
    let note = format!("house\n{entries}\n");
    Checkpoint { entries, note }
}

/// Which checkpoints entries hold.
fn entries(logged: &[Logged]) -> Vec<u64> {
    let decisions = logged.iter().filter_map(|one| match &one.entry {
        Entry::Decision { kind, text } if kind == KIND => {
            let decision = Decision::parse(text).unwrap();
            assert_eq!(decision.sinks, ["cloud"]);
            Some(decision.entries)
        }
        _ => None,
    });
    decisions.collect()
}

/// What goes to the log when something is due at a moment.
fn logged(script: &mut Script, mono_us: u64) -> Vec<u64> {
    // Pushed by the first, and out a commit later.
    script.event(mono_us, Event::Deadline);
    let batch = flushed(script, mono_us + 2 * S);
    script.settled(mono_us + 2 * S, None);
    entries(&batch)
}

#[test]
fn a_checkpoint_is_logged_at_once_and_the_next_a_minute_later() {
    let mut script = budgeted();
    script.conductor.take_checkpoint(of(1));
    assert_eq!(script.conductor.next_deadline(), 0, "at once");
    assert_eq!(logged(&mut script, 3 * S), [1]);
    script.conductor.take_checkpoint(of(2));
    script.conductor.take_checkpoint(of(3));
    assert_eq!(logged(&mut script, 30 * S), NONE);
    assert!(script.conductor.next_deadline() <= 63 * S);
    assert_eq!(logged(&mut script, 63 * S), [3]);
    assert_eq!(logged(&mut script, 200 * S), NONE);
}

#[test]
fn one_that_the_log_refused_is_offered_again() {
    let mut script = budgeted();
    script.conductor.take_checkpoint(of(1));
    script.event(3 * S, Event::Deadline);
    script.event(5 * S, Event::Deadline);
    let batch = script.batch().unwrap();
    script.refused(5 * S, batch, Fault::DiskFull);
    script.event(6 * S, Event::Deadline);
    assert_eq!(entries(&script.batch().unwrap()), [1]);
}

#[test]
fn a_standby_logs_none_and_waits_for_no_such_deadline() {
    let mut script = budgeted();
    script.stand_by(3 * S);
    script.event(4 * S, Event::Deadline);
    let last = script.batch().expect("it says that it hears no more");
    script.durable(4 * S, last);
    script.settled(4 * S, None);
    script.conductor.take_checkpoint(of(7));
    assert!(script.conductor.next_deadline() > 4 * S);
    assert_eq!(logged(&mut script, 5 * S), NONE);
    // The other is heard no more: the site is its own.
    assert_eq!(logged(&mut script, 5 * S + session::STANDBY_US), [7]);
}
