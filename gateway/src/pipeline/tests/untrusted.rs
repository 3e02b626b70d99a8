//! An untrusted clock: what waits for it, how long, and what becomes of what waited.
//!
//! Each script's gateway starts a day behind (or whatever it says) and its device has no clock.

use tidegate_shared::ids::Mark;
use tidegate_shared::message::EventCode;

use super::script::{EPOCH_US, S, Script, rule, two_sensors};
use crate::entry::{Entry, Limits, LinkChange};
use crate::record::ClockQuality;
use crate::time::SECOND_US;

const DAY_US: i64 = 86_400 * SECOND_US;
const WAIT_US: u64 = 600_000_000;

/// A gateway that has just started with its wall clock wrong by `wrong_us`, untrusted, and has
/// heard of a device with two sensors. Uptime 0 is at [`EPOCH_US`], an hour ago.
fn started(wrong_us: i64) -> Script {
    let mut script = Script::empty();
    script.log.clear();
    script.start = 0;
    script.at.wall_us += wrong_us;
    script.at.wall_trusted = false;
    script.restart();
    script.rules(&[rule("r", 60, 30)]);
    script.subscribed(true);
    script.open(10_000);
    script.catalog(&two_sensors());
    script
}

/// A live exchange: the device's uptime is now an hour.
fn exchange(script: &mut Script) {
    let up_us = 3_600 * SECOND_US + script.at.mono_us as i64;
    let (incarnation, boot) = (script.incarnation, script.mark.boot);
    let offset_us = script.at.wall_us - up_us;
    script.link(LinkChange::Offset {
        incarnation,
        boot,
        offset_us,
    });
}

/// The wall clock is set right and trusted.
fn trusted(script: &mut Script) {
    let before_us = script.at.wall_us;
    script.at.wall_us = EPOCH_US + 3_600 * SECOND_US + script.at.mono_us as i64;
    script.at.wall_trusted = true;
    let after_us = script.at.wall_us;
    script.push(Entry::ClockStep {
        before_us,
        after_us,
    });
}

fn clocks(script: &Script) -> Vec<ClockQuality> {
    let emitted = script.run().emitted;
    emitted.iter().map(|one| one.record.clock).collect()
}

#[test]
fn frames_wait_for_trust_and_get_the_times_they_had() {
    for wrong_us in [-DAY_US, 3 * DAY_US, 0, -EPOCH_US] {
        let mut script = started(wrong_us);
        exchange(&mut script);
        script.batch(70 * S, &[(0, &[(10 * S, 1), (70 * S, 2)])]);
        script.batch(200 * S, &[(0, &[(100 * S, 3)])]);
        let run = script.run();
        run.assert(&[]);
        assert_eq!(run.pipeline.held_frames(), 2);
        assert_eq!(run.pipeline.counters().devices["dev"].samples_waiting, 3);
        assert_eq!(run.pipeline.next_deadline(), Some(WAIT_US));
        script.pass(5 * S);
        trusted(&mut script);
        let run = script.run();
        run.assert(&["r a 0.0:1/1", "r a 60.0:2/2"]);
        assert_eq!(clocks(&script), [ClockQuality::Learnt; 2]);
        assert_eq!(run.pipeline.held_frames(), 0);
        assert_eq!(run.pipeline.next_deadline(), None);
    }
}

#[test]
fn frames_wait_no_longer_than_the_limit_and_are_marked_then() {
    let mut script = started(-DAY_US);
    exchange(&mut script);
    script.batch(70 * S, &[(0, &[(10 * S, 1)])]);
    script.pass(WAIT_US - 1);
    script.batch(200 * S, &[(0, &[(100 * S, 3)])]);
    script.run().assert(&[]);
    script.pass(1);
    script.tick();
    let day_s = DAY_US / SECOND_US;
    let first = format!("r a {}.0:1/1", -day_s);
    let second = format!("r a {}.0:1/1", 60 - day_s);
    script.run().assert(&[&first, &second]);
    assert_eq!(clocks(&script), [ClockQuality::Untrusted; 2]);
    script.batch(300 * S, &[(0, &[(210 * S, 3)])]);
    let run = script.run();
    assert_eq!(run.emitted.len(), 3, "nothing waits again in this start");
    assert_eq!(run.pipeline.held_frames(), 0);
    // Trust comes late: event time jumps to where it belongs.
    trusted(&mut script);
    script.batch(500 * S, &[(0, &[(400 * S, 4)])]);
    let run = script.run();
    assert_eq!(run.lines()[3], "r a 360.0:1/1");
    assert_eq!(run.emitted[3].record.clock, ClockQuality::Learnt);
}

#[test]
fn a_clock_that_begins_in_1970_is_no_earlier_than_the_log() {
    let mut script = started(0);
    trusted(&mut script);
    script.push(Entry::Limits(Limits {
        clock_wait_us: 0,
        ..Limits::default()
    }));
    script.at.wall_us = 0;
    script.at.wall_trusted = false;
    script.restart();
    script.mark = Mark {
        boot: 2,
        sequence: 0,
    };
    for _ in 0..2 {
        script.pass(50 * S);
        // Uptime is what the monotonic clock says.
        let (incarnation, boot) = (script.incarnation, script.mark.boot);
        script.link(LinkChange::Offset {
            incarnation,
            boot,
            offset_us: 0,
        });
        let uptime_us = script.at.mono_us;
        script.batch(uptime_us, &[(0, &[(uptime_us, 1)])]);
    }
    script.pass(200 * S);
    script.subscribed(true);
    script.batch(200 * S, &[(0, &[(200 * S, 1)])]);
    let run = script.run();
    run.assert(&["r a 3600.0:1/1", "r a 3660.0:1/1"]);
    assert_eq!(clocks(&script), [ClockQuality::Untrusted; 2]);
}

#[test]
fn a_wait_of_zero_is_none() {
    let mut script = started(-DAY_US);
    script.push(Entry::Limits(Limits {
        clock_wait_us: 0,
        ..Limits::default()
    }));
    exchange(&mut script);
    script.batch(100 * S, &[(0, &[(10 * S, 1)])]);
    assert_eq!(clocks(&script), [ClockQuality::Untrusted]);
}

#[test]
fn a_device_with_its_own_clock_waits_for_nothing_and_is_not_implausible() {
    // The gateway believes that it is three days ago: the samples lie beyond its tomorrow.
    let mut script = started(-3 * DAY_US);
    script.clock(0, EPOCH_US);
    script.batch(100 * S, &[(0, &[(10 * S, 1)])]);
    let run = script.run();
    run.assert(&["r a 0.0:1/1"]);
    assert_eq!(clocks(&script), [ClockQuality::Device]);
    let sensor = &run.pipeline.counters().devices["dev"].sensors["a"];
    assert_eq!((sensor.logged, sensor.rejected.len()), (1, 0));
    // The same under a gateway that trusted its wrong clock: the test can fail.
    for logged in &mut script.log {
        logged.at.wall_trusted = true;
    }
    let run = script.run();
    run.assert(&[]);
    let sensor = &run.pipeline.counters().devices["dev"].sensors["a"];
    assert_eq!(sensor.rejected.values().sum::<u64>(), 1);
}

#[test]
fn what_lies_behind_a_frame_that_waits_waits_too_and_keeps_its_place() {
    let mut script = started(-DAY_US);
    exchange(&mut script);
    script.batch(70 * S, &[(0, &[(10 * S, 1)])]);
    script.event(EventCode::Ended);
    script.pass(S);
    script.run().assert(&[]);
    trusted(&mut script);
    script.run().assert(&["r a 0.0:1/1"]);
}

#[test]
fn a_boot_that_speaks_again_in_a_trusted_start_gets_its_own_time() {
    let mut script = started(-DAY_US);
    exchange(&mut script);
    script.batch(100 * S, &[(0, &[(10 * S, 1)])]);
    script.at.wall_us = EPOCH_US + 4_000 * SECOND_US;
    script.at.wall_trusted = true;
    script.restart();
    let run = script.run();
    run.assert(&[]);
    assert_eq!(run.pipeline.held_frames(), 1, "its device may still tell");
    let (incarnation, boot) = (script.incarnation, script.mark.boot);
    script.pass(S);
    script.link(LinkChange::Offset {
        incarnation,
        boot,
        offset_us: EPOCH_US,
    });
    script.run().assert(&["r a 0.0:1/1"]);
    assert_eq!(clocks(&script), [ClockQuality::Learnt]);
}

#[test]
fn a_boot_that_speaks_no_more_is_bounded_by_the_next_one_or_by_the_trusted_start() {
    let mut script = started(-DAY_US);
    exchange(&mut script);
    script.batch(100 * S, &[(0, &[(40 * S, 1)])]);
    script.at.wall_us = EPOCH_US + 4_000 * SECOND_US;
    script.at.wall_trusted = true;
    script.restart();
    let mut silent = script.clone();
    silent.pass(WAIT_US);
    silent.tick();
    // Ends with the first trusted time: 100 s of uptime were over by then.
    silent.run().assert(&["r a 4500.0:1/1"]);
    assert_eq!(clocks(&silent), [ClockQuality::Bounded]);
    script.pass(S);
    script.mark = Mark {
        boot: 2,
        sequence: 0,
    };
    script.open(10_000);
    let incarnation = script.incarnation;
    script.link(LinkChange::Offset {
        incarnation,
        boot: 2,
        offset_us: EPOCH_US + 3_700 * SECOND_US,
    });
    script.batch(100 * S, &[(0, &[(0, 1), (100 * S, 1)])]);
    let run = script.run();
    assert_eq!(run.lines()[0], "r a 3600.0:1/1", "100 s before boot 2");
    assert_eq!(run.emitted[0].record.clock, ClockQuality::Bounded);
}

#[test]
fn starts_in_quick_succession_do_not_add_up_and_a_later_one_waits_anew() {
    let mut script = started(-DAY_US);
    exchange(&mut script);
    script.batch(100 * S, &[(0, &[(10 * S, 1)])]);
    for _ in 0..3 {
        script.pass(WAIT_US / 4);
        script.tick();
        script.restart();
    }
    assert_eq!(script.run().pipeline.next_deadline(), Some(WAIT_US / 4));
    script.pass(WAIT_US / 4);
    script.tick();
    assert_eq!(clocks(&script), [ClockQuality::Untrusted]);
    script.restart();
    exchange(&mut script);
    script.batch(200 * S, &[(0, &[(100 * S, 1)])]);
    let run = script.run();
    assert_eq!(run.pipeline.held_frames(), 1);
    assert_eq!(run.pipeline.next_deadline(), Some(WAIT_US));
}

#[test]
fn trust_that_goes_within_a_start_holds_nothing() {
    let mut script = started(-DAY_US);
    exchange(&mut script);
    trusted(&mut script);
    script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
    script.pass(20 * S);
    // The clock falls back by a week and is not believed.
    script.at.wall_us -= 7 * DAY_US;
    script.at.wall_trusted = false;
    script.push(Entry::ClockStep {
        before_us: script.at.wall_us + 7 * DAY_US,
        after_us: script.at.wall_us,
    });
    exchange(&mut script);
    script.batch(100 * S, &[(0, &[(20 * S, 1)])]);
    script.mark = Mark {
        boot: 2,
        sequence: 0,
    };
    script.open(10_000);
    exchange(&mut script);
    script.batch(200 * S, &[(0, &[(120 * S, 1)])]);
    let run = script.run();
    assert_eq!(run.lines()[0], "r a 0.0:2/2");
    assert_eq!(run.pipeline.held_frames(), 0);
    assert_eq!(run.pipeline.counters().devices["dev"].epochs, 0);
    let qualities = clocks(&script);
    assert!(qualities.iter().all(|one| *one == ClockQuality::Learnt));
}

#[test]
fn too_many_frames_of_a_device_are_taken_without_the_clock_and_counted() {
    let mut script = started(-DAY_US);
    script.push(Entry::Limits(Limits {
        pending_catalog_max: 3,
        ..Limits::default()
    }));
    exchange(&mut script);
    for at in 1..=4 {
        script.batch(at * 100 * S, &[(0, &[(at * 100 * S, 1)])]);
    }
    let run = script.run();
    let counters = &run.pipeline.counters().devices["dev"];
    assert_eq!((counters.frames_not_held, counters.frames_waiting), (3, 1));
    assert_eq!(counters.frames_rejected.len(), 0);
    assert_eq!(counters.sensors["a"].logged, 3);
}

#[test]
fn too_many_bytes_end_the_wait_for_all_and_are_counted() {
    let mut script = started(-DAY_US);
    script.push(Entry::Limits(Limits {
        clock_hold_bytes_max: 60,
        ..Limits::default()
    }));
    exchange(&mut script);
    for at in 1..=4 {
        script.batch(at * 100 * S, &[(0, &[(at * 100 * S, 1)])]);
    }
    script.tick();
    let run = script.run();
    assert_eq!(run.pipeline.held_frames(), 0);
    let counters = run.pipeline.counters();
    assert_eq!(counters.clock_holds_cut_short, 1);
    assert_eq!(counters.devices["dev"].sensors["a"].logged, 4);
}

#[test]
fn a_catalog_that_a_held_frame_lacks_is_asked_for_meanwhile() {
    let mut script = started(-DAY_US);
    exchange(&mut script);
    script.batch(70 * S, &[(0, &[(10 * S, 1)])]);
    let known = script.catalog;
    let other = super::script::catalog_bytes(&[super::script::sensor("z", "", 0)]);
    script.catalog = tidegate_shared::catalog::hash(&other);
    let lacking = script.catalog;
    script.batch(80 * S, &[(0, &[(71 * S, 1)])]);
    let run = script.run();
    assert_eq!(
        run.pipeline.all_wanted(),
        [(super::script::name("dev"), lacking)]
    );
    assert_eq!(run.pipeline.held_frames(), 2);
    script.catalog = known;
    trusted(&mut script);
    let run = script.run();
    assert_eq!(
        run.pipeline.held_frames(),
        0,
        "it waits for its catalog now"
    );
    assert_eq!(run.pipeline.counters().devices["dev"].frames_waiting, 1);
}

#[test]
fn a_jump_of_days_closes_no_window() {
    for jump_us in [30 * DAY_US, -30 * DAY_US] {
        let mut script = Script::new(&[rule("r", 60, 30)]);
        script.batch(10 * S, &[(0, &[(10 * S, 1)])]);
        let due_us = script.run().pipeline.next_deadline();
        let before_us = script.at.wall_us;
        script.at.wall_us += jump_us;
        let after_us = script.at.wall_us;
        script.push(Entry::ClockStep {
            before_us,
            after_us,
        });
        script.tick();
        let run = script.run();
        run.assert(&[]);
        assert_eq!(run.pipeline.next_deadline(), due_us);
        assert_eq!(due_us, Some(40_000_000), "lateness and hold_ms");
        script.pass(39 * S);
        script.tick();
        script.run().assert(&[]);
        script.pass(S);
        script.tick();
        script.run().assert(&["r a 0.0:1/1"]);
    }
}
