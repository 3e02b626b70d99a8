//! Rules that change while windows are open: those finish under the version they began with.

use super::script::{S, Script, passing, rule};
use crate::ledger::balance::balances;
use crate::record::GROUP;
use crate::rules::{Aggregate, Group, Keep, Priority, Rule};
use crate::spool::counters::Counters as Spooled;

fn counted(name: &str, length_s: i64) -> Rule {
    Rule {
        aggregates: vec![Aggregate::Count],
        ..rule(name, length_s, 0)
    }
}

fn versions(script: &Script) -> Vec<(u32, String)> {
    let run = script.run();
    let versions = run.emitted.iter().map(|one| one.record.version);
    versions.zip(run.lines()).collect()
}

#[test]
fn open_windows_finish_under_the_old_version_with_later_samples_too() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.rules(&[counted("r", 60)]);
    script.batch(20 * S, &[(0, &[(20 * S, 1)]), (1, &[(20 * S, 1)])]);
    script.batch(70 * S, &[(0, &[(30 * S, 1), (70 * S, 1)])]);
    script.batch(130 * S, &[]);
    let wanted = [(1, "r a 0.0:3/3"), (2, "r b 0.0:1/1"), (2, "r a 60.0:1/1")];
    assert_eq!(
        versions(&script),
        wanted.map(|(v, line)| (v, line.to_owned()))
    );
    let run = script.run();
    assert_eq!(run.emitted[0].record.values.len(), 8);
    assert_eq!(run.emitted[2].record.values.len(), 1);
    let counters = run.pipeline.counters();
    let a = &counters.devices["dev"].sensors["a"];
    assert_eq!((a.logged, a.unmatched), (4, 0));
    assert_eq!((a.rules["r"].matched, a.rules["r"].folded), (4, 4));
}

#[test]
fn a_removed_rule_finishes_its_windows_and_takes_nothing_else() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.rules(&[]);
    script.batch(60 * S, &[(0, &[(20 * S, 1), (60 * S, 1)])]);
    script.batch(61 * S, &[(0, &[(61 * S, 1)])]);
    let run = script.run();
    run.assert(&["r a 0.0:2/2"]);
    let counters = run.pipeline.counters();
    let a = &counters.devices["dev"].sensors["a"];
    assert_eq!((a.logged, a.unmatched), (4, 2));
    assert_eq!((a.rules["r"].matched, a.rules["r"].open), (2, 0));
}

#[test]
fn forward_and_priority_change_without_a_new_version() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.rules(&[Rule {
        forward: vec!["other".into()],
        priority: Priority::High,
        ..rule("r", 60, 0)
    }]);
    script.batch(60 * S, &[(0, &[(20 * S, 1)])]);
    let run = script.run();
    run.assert(&["r a 0.0:2/2"]);
    assert_eq!(run.emitted[0].record.version, 1);
    assert_eq!(run.emitted[0].forward, ["other"]);
    assert_eq!(run.emitted[0].priority, Priority::High);
}

#[test]
fn many_changes_leave_nothing_behind() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    for at in 0..40_u64 {
        let keep = Keep {
            min: None,
            max: Some(1_000.0 + at as f64),
            rate_max: None,
        };
        script.rules(&[
            Rule {
                keep: Some(keep),
                ..rule("r", 60, 0)
            },
            passing(&format!("p{}", at % 3)),
        ]);
        script.batch(at * 10 * S, &[(0, &[(at * 10 * S, 1)])]);
    }
    script.batch(1_000 * S, &[]);
    let run = script.run();
    let counters = run.pipeline.counters();
    let a = &counters.devices["dev"].sensors["a"];
    assert_eq!(a.logged, 40);
    assert_eq!(a.rules["r"].folded, 40);
    assert_eq!(a.rules["r"].matched, 40);
    let passed: u64 = (0..3).map(|at| a.rules[&format!("p{at}")].folded).sum();
    assert_eq!(passed, 40);
    let ids: std::collections::BTreeSet<_> = run.emitted.iter().map(|one| one.record.id).collect();
    assert_eq!(ids.len(), run.emitted.len());
    let device = run.pipeline.devices.values().next().unwrap();
    assert_eq!(device.plans.len(), 2, "earlier versions are forgotten");
}

#[test]
fn a_rule_that_begins_to_group_sensors_knows_what_went_out_alone() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(60 * S, &[(0, &[(10 * S, 1)])]);
    script.rules(&[Rule {
        group: Group::Device,
        ..rule("r", 60, 0)
    }]);
    script.batch(120 * S, &[(0, &[(70 * S, 1), (80 * S, 1)])]);
    let run = script.run();
    let sensors = run.emitted.iter().map(|one| one.record.sensor.as_str());
    assert!(sensors.eq(["a", GROUP]));
    let balances = balances(&run.pipeline.counters(), &Spooled::default());
    let sinks = balances.sinks.iter();
    let folded = sinks.map(|row| (row.sensor.as_str(), row.terms.folded));
    let folded: Vec<_> = folded.filter(|(_, folded)| *folded > 0).collect();
    assert_eq!(folded, [(GROUP, 2), ("a", 1)]);
}
