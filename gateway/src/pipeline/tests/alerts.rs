//! Alerts whose rule or sensor changes meanwhile: each that opened is cleared.

use super::script::{S, Script, passing, sensor};
use crate::record::AlertState;
use crate::rules::expression::{Scope, Type, parse};
use crate::rules::{Alert, Match, Rule};

fn above_one() -> Rule {
    let scope = Scope {
        numbers: &["value"],
        texts: &[],
        tags: false,
    };
    Rule {
        matching: Match {
            unit: vec!["bar".into()],
            ..Match::default()
        },
        alert: Some(Alert {
            when: Some(parse("value > 1", Type::Bool, &scope).unwrap()),
            ..Alert::default()
        }),
        ..passing("r")
    }
}

#[test]
fn an_alert_is_cleared_when_its_sensor_is_described_as_one_that_does_not_match() {
    let mut script = Script::new(&[above_one()]);
    script.batch(S, &[(0, &[(S, 500)])]);
    script.catalog(&[sensor("a", "psi", -2), sensor("b", "", 0)]);
    script.batch(2 * S, &[(0, &[(2 * S, 500)])]);
    script.catalog(&[sensor("a", "bar", -2), sensor("b", "", 0)]);
    script.batch(3 * S, &[(0, &[(3 * S, 500)])]);
    let run = script.run();
    let told = run.emitted.iter().map(|one| {
        let record = &one.record;
        let state = record.alert.map(|note| note.state);
        (state, record.epoch, record.unit.as_str())
    });
    let wanted = [
        (Some(AlertState::Opened), 0, "bar"),
        (Some(AlertState::Cleared), 0, "bar"),
        (Some(AlertState::Opened), 2, "bar"),
    ];
    assert!(told.eq(wanted), "{:#?}", run.emitted);
}
