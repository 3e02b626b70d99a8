//! What the probe sees, and that nobody sees it.

use tidegate_shared::block::BadSet;

use super::{Lateness, Passed, Probe, Ruling, SampleFate, Sighting, Verdict};
use crate::ledger::counters::Rejection;
use crate::pipeline::Pipeline;
use crate::pipeline::tests::script::{EPOCH_US, S, Script, passing, rule, site};
use crate::record::{ClockQuality, Emitted};
use crate::rules::{Keep, Late, Rule, Thinning, Window};
use crate::time::SECOND_US;

/// Runs a log with a probe at some seconds behind the epoch.
fn run(script: &Script, sensor: &str, time_s: i64) -> (Vec<Emitted>, Pipeline) {
    let mut pipeline = Pipeline::new(&site());
    let time_us = EPOCH_US + time_s * SECOND_US;
    pipeline.watch(Probe::new("dev", sensor, time_us));
    let mut emitted = Vec::new();
    for (position, logged) in script.log.iter().enumerate() {
        pipeline.apply(position as u64, logged, &mut emitted);
    }
    (emitted, pipeline)
}

fn nearest(script: &Script, time_s: i64) -> Sighting {
    let (_, mut pipeline) = run(script, "a", time_s);
    let probe = pipeline.probe().unwrap();
    probe.nearest().unwrap().clone()
}

fn verdicts(sighting: &Sighting) -> &[Verdict] {
    match &sighting.fate {
        SampleFate::Ruled(verdicts) => verdicts,
        SampleFate::Rejected(reason) => panic!("rejected: {reason:?}"),
    }
}

fn ruling(script: &Script, time_s: i64) -> Ruling {
    let sighting = nearest(script, time_s);
    let [verdict] = verdicts(&sighting) else {
        panic!("one rule")
    };
    verdict.ruling.clone()
}

#[test]
fn the_nearest_sample_is_seen_with_its_frame_and_time() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(20 * S, &[(0, &[(3 * S, 5), (10 * S, 7)])]);
    script.batch(40 * S, &[(0, &[(33 * S, 9)]), (1, &[(12 * S, 1)])]);
    let sighting = nearest(&script, 12);
    assert_eq!(sighting.identity.time_us, EPOCH_US + 10 * SECOND_US);
    assert_eq!((sighting.raw, sighting.value), (7, Some(0.07)));
    assert_eq!(
        (sighting.identity.sequence, sighting.identity.index),
        (4, 1)
    );
    assert_eq!((sighting.uptime_us, sighting.epoch), (10 * S, 0));
    assert_eq!(sighting.clock, ClockQuality::Device);
    let [verdict] = verdicts(&sighting) else {
        panic!("one rule")
    };
    let window = (EPOCH_US, EPOCH_US + 60 * SECOND_US);
    assert_eq!((verdict.window, verdict.version), (Some(window), 1));
    assert_eq!(verdict.ruling, Ruling::Folded { before: Vec::new() });
    assert_eq!(nearest(&script, 1_000).raw, 9);
}

#[test]
fn what_each_rule_does_is_told_with_its_reason() {
    let kept = Rule {
        keep: Some(Keep {
            min: None,
            max: Some(1.0),
            rate_max: None,
        }),
        thin: Some(Thinning::deadband(0.05)),
        ..rule("r", 60, 30)
    };
    let mut script = Script::new(&[kept]);
    let samples = [(S, 50), (2 * S, 101), (3 * S, 54), (4 * S, 55)];
    script.batch(100 * S, &[(0, &samples)]);
    script.batch(100 * S, &[(0, &[(5 * S, 90)])]);
    assert!(matches!(ruling(&script, 1), Ruling::Folded { .. }));
    assert!(matches!(
        ruling(&script, 2),
        Ruling::OutOfBounds {
            min: None,
            max: Some(_)
        }
    ));
    let band = Ruling::Deadband {
        last: Some(0.5),
        deadband: Some(0.05),
    };
    assert_eq!(ruling(&script, 3), band);
    assert!(matches!(ruling(&script, 4), Ruling::Folded { .. }));
    assert_eq!(ruling(&script, 5), Ruling::Late(Lateness::Watermark));
}

#[test]
fn a_window_closed_early_is_late_only_where_the_rule_drops() {
    for (late, wanted) in [
        (Late::Drop, Ruling::Late(Lateness::ClosedEarly)),
        (Late::Revise, Ruling::Folded { before: Vec::new() }),
    ] {
        let mut one = rule("r", 60, 30);
        one.window = Some(Window::tumbling(60 * SECOND_US, 30 * SECOND_US, late));
        let mut script = Script::new(&[one]);
        script.batch(20 * S, &[(0, &[(3 * S, 5)])]);
        script.pass(41 * S);
        script.tick();
        script.batch(30 * S, &[(0, &[(25 * S, 5)])]);
        assert_eq!(ruling(&script, 25), wanted);
    }
}

#[test]
fn records_of_the_same_entry_that_came_before_the_sample_are_told_apart() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(20 * S, &[(0, &[(3 * S, 5)])]);
    script.pass(41 * S);
    // This frame's entry first closes the window as idle, then brings a sample of it.
    script.batch(30 * S, &[(0, &[(25 * S, 5)])]);
    let (emitted, _) = run(&script, "a", 25);
    let ids = emitted.iter().map(|one| one.record.id);
    let wanted = Ruling::Folded {
        before: ids.collect(),
    };
    assert_eq!(emitted.len(), 1);
    assert_eq!(ruling(&script, 25), wanted);
}

#[test]
fn a_passed_sample_names_its_own_record() {
    let mut script = Script::new(&[passing("p")]);
    script.batch(20 * S, &[(0, &[(3 * S, 5), (4 * S, 6), (5 * S, 7)])]);
    let (emitted, _) = run(&script, "a", 4);
    let id = emitted[1].record.id;
    assert_eq!(emitted[1].record.start_us, EPOCH_US + 4 * SECOND_US);
    assert_eq!(ruling(&script, 4), Ruling::Passed(vec![id]));
}

#[test]
fn unusable_samples_are_seen_too() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    let mut bad = BadSet::default();
    bad.insert(1);
    script.batch_with(20 * S, &[(0, &[(3 * S, 5), (4 * S, 0)])], bad);
    let sighting = nearest(&script, 4);
    assert_eq!(sighting.fate, SampleFate::Rejected(Rejection::BadSample));
    assert_eq!(sighting.value, None);
    script.clock(20 * S, EPOCH_US + 10 * 86_400 * SECOND_US);
    script.batch(30 * S, &[(0, &[(25 * S, 5)])]);
    let sighting = nearest(&script, 10 * 86_400);
    let implausible = SampleFate::Rejected(Rejection::ImplausibleTime);
    assert_eq!(sighting.fate, implausible);
}

#[test]
fn of_equally_near_samples_the_last_is_followed() {
    let mut script = Script::new(&[]);
    script.batch(20 * S, &[(0, &[(10 * S, 1)])]);
    script.batch(40 * S, &[(0, &[(14 * S, 2)])]);
    let (_, mut pipeline) = run(&script, "a", 12);
    let probe = pipeline.probe().unwrap();
    assert_eq!(probe.equally_near(), 2);
    let sighting = probe.nearest().unwrap();
    assert_eq!(sighting.raw, 2);
    assert_eq!(sighting.fate, SampleFate::Ruled(Vec::new()));
    let nearer = probe.take_passed();
    let nearer = nearer.iter().filter(|one| **one == Passed::Nearer);
    assert_eq!(nearer.count(), 2);
    assert_eq!(probe.take_passed(), []);
}

#[test]
fn a_probe_changes_no_record_and_no_count() {
    let script = crate::pipeline::tests::restore::eventful();
    let whole = script.run();
    for sensor in ["a", "b", "z", "none"] {
        for time_s in (-10..400).step_by(7) {
            let (emitted, pipeline) = run(&script, sensor, time_s);
            assert_eq!(emitted, whole.emitted, "{sensor} at {time_s}");
            assert_eq!(pipeline.counters(), whole.pipeline.counters());
            assert_eq!(pipeline.snapshot(), whole.pipeline.snapshot());
        }
    }
}
