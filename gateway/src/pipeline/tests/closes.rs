//! When windows close: by watermark, idle, offline, ended, expired; and what comes late.

use proptest::prelude::*;
use tidegate_shared::message::EventCode;

use super::script::{EPOCH_US, S, Script, line, passing, rule, value};
use crate::entry::{Entry, Limits, LinkChange};
use crate::record::ClockQuality;
use crate::rules::{Keep, Late, Rule, Thinning, Window};
use crate::time::SECOND_US;

#[test]
fn a_window_closes_when_the_watermark_passes_its_end_and_lateness() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(59 * S, &[(0, &[(0, 5), (59 * S, 38)]), (1, &[(0, 1)])]);
    script.batch(60 * S, &[(0, &[(60 * S - 1, 20), (60 * S, 7)])]);
    script.batch(90 * S - 1, &[(0, &[(90 * S - 1, 7)])]);
    script.run().assert(&[]);
    script.batch(90 * S, &[]);
    let run = script.run();
    run.assert(&["r a 0.0:3/3", "r b 0.0:1/1"]);
    let record = &run.emitted[0].record;
    assert_eq!(
        (record.start_us, record.end_us),
        (EPOCH_US, EPOCH_US + 60 * SECOND_US)
    );
    assert_eq!(
        (record.unit.as_str(), record.version, record.epoch),
        ("bar", 1, 0)
    );
    assert_eq!(record.clock, ClockQuality::Device);
    assert_eq!(run.emitted[0].forward, ["cloud"]);
    for (name, wanted) in [
        ("count", 3.0),
        ("sum", 0.63),
        ("min", 0.05),
        ("max", 0.38),
        ("first", 0.05),
        ("last", 0.2),
        ("p50", 0.2),
    ] {
        assert_eq!(value(record, name), Some(wanted), "{name}");
    }
    assert_eq!(value(&run.emitted[1].record, "stddev"), None);
}

#[test]
fn a_sample_behind_the_final_close_is_late_and_one_before_it_is_not() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(89 * S, &[(0, &[(10 * S, 1)])]);
    script.batch(90 * S, &[(0, &[(11 * S, 2)])]);
    script.batch(91 * S, &[(0, &[(12 * S, 3), (60 * S, 4)])]);
    let run = script.run();
    run.assert(&["r a 0.0:2/2"]);
    let counters = run.pipeline.counters();
    let rule = &counters.devices["dev"].sensors["a"].rules["r"];
    assert_eq!(
        (rule.matched, rule.late, rule.folded, rule.open),
        (4, 1, 2, 1)
    );
}

#[test]
fn an_idle_device_closes_early_and_later_samples_make_one_revision() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    let due_us = script.at.mono_us + 40 * S;
    assert_eq!(script.run().pipeline.next_deadline(), Some(due_us));
    script.pass(40 * S - 1);
    script.tick();
    script.run().assert(&[]);
    script.pass(1);
    script.tick();
    script.run().assert(&["r a 0.0:1/1"]);
    for at in [20, 21, 22] {
        script.batch(at * S, &[(0, &[(at * S, 1)])]);
    }
    script.run().assert(&["r a 0.0:1/1"]);
    let idle = {
        let mut script = script.clone();
        script.pass(40 * S);
        script.tick();
        script.tick();
        script
    };
    idle.run().assert(&["r a 0.0:1/1", "r a 0.1:4/3"]);
    script.batch(90 * S, &[(0, &[(90 * S, 1)])]);
    let run = script.run();
    run.assert(&["r a 0.0:1/1", "r a 0.1:4/3"]);
    let mut ids: Vec<_> = run.emitted.iter().map(|one| one.record.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_window_emitted_whole_is_not_emitted_again_by_the_watermark() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.event(EventCode::Ended);
    script.batch(200 * S, &[]);
    script.run().assert(&["r a 0.0:1/1"]);
}

#[test]
fn a_busy_link_a_lost_subscription_and_a_backlog_are_not_idleness() {
    let mut script = Script::new(&[rule("r", 60, 0)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    for (change, undo) in [
        (LinkChange::Backlog(true), LinkChange::Backlog(false)),
        (LinkChange::Up(false), LinkChange::Up(true)),
    ] {
        let mut script = script.clone();
        script.link(change);
        script.pass(60 * S);
        script.tick();
        script.link(undo);
        script.pass(10 * S - 1);
        script.tick();
        script.run().assert(&[]);
        script.pass(1);
        script.tick();
        script.run().assert(&["r a 0.0:1/1"]);
    }
    script.subscribed(false);
    script.pass(60 * S);
    script.tick();
    assert_eq!(script.run().pipeline.next_deadline(), None);
    script.subscribed(true);
    script.pass(10 * S);
    script.tick();
    script.run().assert(&["r a 0.0:1/1"]);
}

#[test]
fn an_offline_device_closes_after_its_time() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.pass(5 * S);
    script.link(LinkChange::Up(false));
    script.pass(900 * S - 1);
    script.tick();
    script.run().assert(&[]);
    script.pass(1);
    script.tick();
    let run = script.run();
    run.assert(&["r a 0.0:1/1"]);
    let expires = script.at.mono_us + 24 * 3_600 * S;
    assert_eq!(run.pipeline.next_deadline(), Some(expires));
}

#[test]
fn an_ended_device_closes_at_once() {
    let mut script = Script::new(&[rule("r", 60, 30), rule("q", 10, 30)]);
    script.batch(
        10 * S,
        &[(0, &[(9 * S, 1), (10 * S, 1)]), (1, &[(10 * S, 1)])],
    );
    script.event(EventCode::Ended);
    let run = script.run();
    run.assert(&[
        "q a 0.0:1/1",
        "q a 10.0:1/1",
        "q b 10.0:1/1",
        "r a 0.0:2/2",
        "r b 0.0:1/1",
    ]);
    let places: Vec<_> = run.emitted.iter().map(|one| one.place.ordinal).collect();
    assert_eq!(places, [0, 1, 2, 3, 4]);
}

#[test]
fn a_revisable_window_expires_and_is_final() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.push(Entry::Limits(Limits {
        revise_for_us: 100 * SECOND_US,
        ..Limits::default()
    }));
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.event(EventCode::Ended);
    script.pass(90 * S);
    script.batch(11 * S, &[(0, &[(11 * S, 1)])]);
    script.pass(10 * S);
    script.tick();
    script.run().assert(&["r a 0.0:1/1", "r a 0.1:2/1"]);
    script.batch(12 * S, &[(0, &[(12 * S, 1), (60 * S, 1)])]);
    script.event(EventCode::Ended);
    let run = script.run();
    run.assert(&["r a 0.0:1/1", "r a 0.1:2/1", "r a 60.0:1/1"]);
    assert_eq!(
        run.pipeline.counters().devices["dev"].sensors["a"].rules["r"].late,
        1
    );
}

#[test]
fn a_rule_may_drop_what_comes_behind_an_early_close() {
    let dropping = Rule {
        window: Some(Window::tumbling(60 * SECOND_US, 0, Late::Drop)),
        ..rule("r", 60, 0)
    };
    let mut script = Script::new(&[dropping]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.event(EventCode::Ended);
    script.batch(70 * S, &[(0, &[(11 * S, 1), (61 * S, 1)])]);
    let run = script.run();
    run.assert(&["r a 0.0:1/1"]);
    assert_eq!(
        run.pipeline.counters().devices["dev"].sensors["a"].rules["r"].late,
        1
    );
}

#[test]
fn timers_go_on_over_a_restart_of_the_gateway() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.pass(300 * S);
    script.restart();
    script.pass(100 * S);
    script.tick();
    script.run().assert(&[]);
    script.subscribed(true);
    assert_eq!(script.run().pipeline.next_deadline(), Some(140 * S));
    script.pass(40 * S);
    script.tick();
    script.run().assert(&["r a 0.0:1/1"]);
}

#[test]
fn an_entry_that_comes_late_does_what_the_tick_would_have_done() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.pass(50 * S);
    script.batch(90 * S, &[(0, &[(11 * S, 1)])]);
    script.run().assert(&["r a 0.0:1/1", "r a 0.1:2/1"]);
}

#[test]
fn without_a_window_every_kept_sample_is_a_record() {
    let kept = Rule {
        keep: Some(Keep {
            min: Some(0.05),
            max: Some(0.38),
            rate_max: None,
        }),
        thin: Some(Thinning::deadband(0.03)),
        ..passing("p")
    };
    let mut script = Script::new(&[kept]);
    let samples = [
        (0, 5),
        (S, 4),
        (2 * S, 7),
        (3 * S, 8),
        (4 * S, 39),
        (5 * S, 38),
    ];
    script.batch(5 * S, &[(0, &samples)]);
    let run = script.run();
    run.assert(&["p a 0.0:1/1", "p a 3.0:1/1", "p a 5.0:1/1"]);
    assert_eq!(value(&run.emitted[2].record, "value"), Some(0.38));
    let counters = run.pipeline.counters();
    let rule = &counters.devices["dev"].sensors["a"].rules["p"];
    assert_eq!((rule.matched, rule.folded), (6, 3));
    assert_eq!(rule.filtered.values().sum::<u64>(), 3);
    let ids: std::collections::BTreeSet<_> = run.emitted.iter().map(|one| one.record.id).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn windows_beyond_the_limit_are_crowded_out_and_counted() {
    let mut script = Script::new(&[rule("r", 1, 0)]);
    let samples: Vec<_> = (0..250).map(|at| (at * S, 1)).collect();
    script.batch(0, &[(0, &samples)]);
    let more: Vec<_> = (250..300).map(|at| (at * S, 1)).collect();
    script.batch(0, &[(0, &more)]);
    script.batch(0, &[(0, &[(3 * S, 1)])]);
    let run = script.run();
    assert_eq!(run.emitted.len(), 44);
    assert_eq!(line(&run.emitted[43].record), "r a 43.0:1/1");
    let counters = run.pipeline.counters();
    assert_eq!(counters.devices["dev"].windows_crowded_out, 44);
    assert_eq!(counters.devices["dev"].sensors["a"].rules["r"].late, 1);
}

#[test]
fn records_of_many_devices_come_in_the_order_of_their_deadlines() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    for (device, hold_ms) in [("zoe", 1_000), ("abe", 20_000)] {
        script.device = device;
        script.mark.sequence = 0;
        script.open(hold_ms);
        script.catalog(&super::script::two_sensors());
        script.clock(0, EPOCH_US);
        script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    }
    script.pass(100 * S);
    script.tick();
    let run = script.run();
    let devices: Vec<_> = run
        .emitted
        .iter()
        .map(|one| one.record.device.as_str())
        .collect();
    assert_eq!(devices, ["zoe", "dev", "abe"]);
}

proptest! {
    #[test]
    fn the_deadline_is_when_something_happens(hold_ms in 0_u32..20_000, lateness_s in 0_i64..50) {
        let mut script = Script::new(&[rule("r", 60, lateness_s)]);
        script.open(hold_ms);
        script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
        let due_us = script.run().pipeline.next_deadline().unwrap();
        prop_assert_eq!(due_us, u64::from(hold_ms) * 1_000 + lateness_s as u64 * S);
        script.pass(due_us - script.at.mono_us);
        script.tick();
        prop_assert_eq!(script.run().emitted.len(), 1);
    }
}
