//! Rules over records: what they have open closes when nothing more is expected of a device.

use tidegate_shared::message::EventCode;

use super::script::{S, Script, passing, rule};
use crate::rules::{Match, Rule, Source};

fn minutes_of(source: &str, value: &str) -> Rule {
    Rule {
        from: Some(Source {
            rule: source.into(),
            value: value.into(),
            decimals: 2,
        }),
        matching: Match::default(),
        ..rule("chained", 60, 0)
    }
}

#[test]
fn the_end_of_a_device_closes_windows_over_its_records_at_once() {
    let mut script = Script::new(&[rule("r", 10, 0), minutes_of("r", "max")]);
    script.batch(12 * S, &[(0, &[(S, 1), (11 * S, 2)])]);
    script.event(EventCode::Ended);
    let run = script.run();
    let lines = run.lines();
    assert_eq!(lines[2], "chained a 0.0:2/2", "{lines:?}");
}

#[test]
fn silence_closes_windows_over_records_of_a_rule_without_windows() {
    let mut script = Script::new(&[passing("r"), minutes_of("r", "value")]);
    script.batch(12 * S, &[(0, &[(S, 1), (11 * S, 2)])]);
    let due_us = script.run().pipeline.next_deadline().unwrap();
    script.pass(due_us - script.at.mono_us - 1);
    script.tick();
    assert_eq!(script.run().emitted.len(), 2, "two that passed");
    script.pass(1);
    script.tick();
    let run = script.run();
    let lines = run.lines();
    assert_eq!(lines[2..], ["chained a 0.0:2/2"]);
    assert_eq!(run.pipeline.next_deadline(), None, "it is told once");
}
