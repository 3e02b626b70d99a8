//! Windows whose ends move or that share samples, where something happens to them meanwhile.

use tidegate_shared::message::EventCode;

use super::script::{EPOCH_US, S, Script, passing, two_sensors};
use crate::rules::{Aggregate, Late, Rule, Shape, Window};
use crate::time::SECOND_US;

fn rule(shape: Shape, lateness_s: i64, late: Late) -> Rule {
    Rule {
        window: Some(Window {
            shape,
            lateness_us: lateness_s * SECOND_US,
            late,
            hold_us: SECOND_US,
        }),
        aggregates: vec![Aggregate::Count],
        ..passing("r")
    }
}

/// The same rule, but for what makes it another version.
fn changed(rule: &Rule) -> Rule {
    Rule {
        aggregates: vec![Aggregate::Sum],
        ..rule.clone()
    }
}

fn session(gap_s: i64) -> Shape {
    Shape::Session {
        gap_us: gap_s * SECOND_US,
        length_max_us: 3_600 * SECOND_US,
    }
}

/// Rows of the first sensor at some seconds.
fn rows(seconds: &[u64]) -> Vec<(u64, i64)> {
    seconds.iter().map(|second| (second * S, 1)).collect()
}

fn batch(script: &mut Script, complete_s: u64, seconds: &[u64]) {
    let rows = rows(seconds);
    let blocks = [(0, &rows[..])];
    let filled = if rows.is_empty() { &[] } else { &blocks[..] };
    script.batch(complete_s * S, filled);
}

/// Version, first and last second, samples and fresh ones of every record.
fn spans(script: &Script) -> Vec<(u32, i64, i64, u64, u64)> {
    let run = script.run();
    let counters = run.pipeline.counters();
    for counts in counters.devices["dev"]
        .sensors
        .values()
        .flat_map(|one| one.rules.values())
    {
        let filtered: u64 = counts.filtered.values().sum();
        assert_eq!(
            counts.matched,
            filtered + counts.late + counts.folded + counts.open
        );
    }
    let second = |time_us: i64| (time_us - EPOCH_US).div_euclid(SECOND_US);
    let records = run.emitted.iter().map(|one| &one.record);
    records
        .map(|one| {
            let (start_s, end_s) = (second(one.start_us), second(one.end_us));
            (one.version, start_s, end_s, one.samples, one.fresh)
        })
        .collect()
}

#[test]
fn an_earlier_version_opens_no_more_hopping_windows() {
    let hopping = Shape::Hopping {
        length_us: 20 * SECOND_US,
        every_us: 10 * SECOND_US,
    };
    let rule = rule(hopping, 0, Late::Revise);
    let mut script = Script::new(std::slice::from_ref(&rule));
    batch(&mut script, 5, &[5]);
    script.rules(&[changed(&rule)]);
    for second in [15, 25, 35] {
        batch(&mut script, second, &[second]);
    }
    let wanted = [
        // Open when the rule changed.
        (1, -10, 10, 1, 1),
        (1, 0, 20, 2, 0),
        (2, 0, 20, 1, 1),
        (2, 10, 30, 2, 1),
    ];
    assert_eq!(spans(&script), wanted);
}

#[test]
fn an_earlier_version_opens_no_more_sliding_windows() {
    let sliding = Shape::Sliding {
        length_us: 20 * SECOND_US,
    };
    let rule = rule(sliding, 30, Late::Revise);
    let mut script = Script::new(std::slice::from_ref(&rule));
    batch(&mut script, 1, &[15]);
    script.rules(&[changed(&rule)]);
    batch(&mut script, 60, &[10]);
    let wanted = [(2, -10, 10, 1, 1), (1, -5, 15, 2, 1)];
    assert_eq!(spans(&script), wanted);
}

#[test]
fn an_earlier_version_takes_no_more_samples_than_its_window_lacks() {
    let rule = rule(Shape::Count { samples: 3 }, 0, Late::Revise);
    let mut script = Script::new(std::slice::from_ref(&rule));
    batch(&mut script, 1, &[1]);
    script.rules(&[changed(&rule)]);
    batch(&mut script, 6, &[2, 3, 4, 5, 6]);
    assert_eq!(spans(&script), [(1, 1, 3, 3, 3), (2, 4, 6, 3, 3)]);
}

#[test]
fn an_earlier_versions_session_goes_on_within_a_frame_as_over_two() {
    let rule = rule(session(10), 0, Late::Revise);
    let mut together = Script::new(std::slice::from_ref(&rule));
    batch(&mut together, 1, &[1]);
    together.rules(&[changed(&rule)]);
    let mut apart = together.clone();
    batch(&mut together, 60, &[8, 16, 40]);
    batch(&mut apart, 8, &[8]);
    batch(&mut apart, 60, &[16, 40]);
    let wanted = [(1, 1, 26, 3, 3), (2, 40, 50, 1, 1)];
    assert_eq!(spans(&together), wanted);
    assert_eq!(spans(&apart), wanted);
}

#[test]
fn a_session_that_grows_past_an_emitted_one_closes_in_its_turn() {
    let rule = rule(session(100), 100, Late::Revise);
    let mut script = Script::new(std::slice::from_ref(&rule));
    batch(&mut script, 150, &[150]);
    script.event(EventCode::Ended);
    batch(&mut script, 150, &[60]);
    batch(&mut script, 150, &[145]);
    // It ended at 160, then at 245; now it grows past the emitted one, which takes the last.
    batch(&mut script, 150, &[149, 248, 249]);
    batch(&mut script, 460, &[]);
    let wanted = [(1, 150, 250, 1, 1), (1, 60, 348, 4, 4), (1, 150, 349, 2, 1)];
    assert_eq!(spans(&script), wanted);
}

#[test]
fn an_emitted_session_takes_in_none_that_began_before_it() {
    let rule = rule(session(30), 100, Late::Revise);
    let mut script = Script::new(std::slice::from_ref(&rule));
    batch(&mut script, 153, &[153]);
    script.event(EventCode::Ended);
    batch(&mut script, 154, &[149, 154, 155]);
    batch(&mut script, 300, &[]);
    let wanted = [
        (1, 153, 183, 1, 1),
        (1, 149, 184, 2, 2),
        (1, 153, 185, 2, 1),
    ];
    assert_eq!(spans(&script), wanted);
}

#[test]
fn a_number_of_samples_cut_short_by_the_devices_end_loses_none() {
    let rule = rule(Shape::Count { samples: 3 }, 0, Late::Drop);
    let mut script = Script::new(std::slice::from_ref(&rule));
    batch(&mut script, 1, &[1]);
    script.event(EventCode::Ended);
    batch(&mut script, 5, &[2, 3, 4, 5]);
    assert_eq!(spans(&script), [(1, 1, 1, 1, 1), (1, 2, 4, 3, 3)]);
    let counters = script.run().pipeline.counters();
    assert_eq!(counters.devices["dev"].sensors["a"].rules["r"].open, 1);
}

#[test]
fn a_late_sample_stands_in_no_later_sliding_window() {
    let sliding = Shape::Sliding {
        length_us: 100 * SECOND_US,
    };
    let rule = rule(sliding, 0, Late::Revise);
    let mut script = Script::new(std::slice::from_ref(&rule));
    batch(&mut script, 50, &[10]);
    batch(&mut script, 50, &[40]);
    batch(&mut script, 90, &[80]);
    script.incarnation.0 += 1;
    script.catalog(&two_sensors());
    let counters = script.run().pipeline.counters();
    assert_eq!(counters.devices["dev"].sensors["a"].rules["r"].late, 1);
    assert_eq!(spans(&script), [(1, -90, 10, 1, 1), (1, -20, 80, 2, 1)]);
}
