//! Epochs: what begins one, and that the windows of the one before close for good.

use tidegate_shared::catalog::Kind;
use tidegate_shared::ids::{Incarnation, Mark};

use super::script::{EPOCH_US, S, Script, rule, sensor, two_sensors};
use crate::entry::LinkChange;
use crate::record::ClockQuality;
use crate::time::SECOND_US;

fn begun() -> Script {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(70 * S, &[(0, &[(10 * S, 1), (70 * S, 1)])]);
    script
}

fn epochs(script: &Script) -> Vec<(u32, String)> {
    let run = script.run();
    let lines = run.lines();
    let epochs = run.emitted.iter().map(|one| one.record.epoch);
    epochs.zip(lines).collect()
}

#[test]
fn a_new_incarnation_closes_what_the_old_one_left_open() {
    let mut script = begun();
    script.incarnation = Incarnation(8);
    script.mark = Mark {
        boot: 1,
        sequence: 0,
    };
    script.open(10_000);
    assert_eq!(epochs(&script), []);
    script.catalog(&two_sensors());
    let closed = [
        (0, "r a 0.0:1/1".to_owned()),
        (0, "r a 60.0:1/1".to_owned()),
    ];
    assert_eq!(epochs(&script), closed);
    script.clock(0, EPOCH_US);
    script.batch(90 * S, &[(0, &[(10 * S, 1)])]);
    assert_eq!(epochs(&script)[2..], [(1, "r a 0.0:1/1".to_owned())]);
}

#[test]
fn a_clock_set_back_by_more_than_lateness_begins_an_epoch_and_by_less_none() {
    let mut script = begun();
    script.clock(80 * S, EPOCH_US + 50 * SECOND_US);
    script.batch(81 * S, &[(0, &[(81 * S, 1)])]);
    assert_eq!(epochs(&script), [], "30 s are not more than lateness");
    script.clock(90 * S, EPOCH_US + 29 * SECOND_US);
    script.batch(91 * S, &[(0, &[(91 * S, 1)])]);
    let closed = [
        (0, "r a 0.0:2/2".to_owned()),
        (0, "r a 60.0:1/1".to_owned()),
    ];
    assert_eq!(epochs(&script), closed);
}

#[test]
fn a_boot_that_begins_before_the_watermark_begins_an_epoch() {
    for (earlier_s, begins) in [(30, false), (31, true)] {
        let mut script = begun();
        script.mark = Mark {
            boot: 2,
            sequence: 0,
        };
        script.open(10_000);
        script.clock(0, EPOCH_US + (70 - earlier_s) * SECOND_US);
        script.batch(S, &[(0, &[(0, 1)])]);
        assert_eq!(!epochs(&script).is_empty(), begins);
    }
}

#[test]
fn a_catalog_that_changes_a_sensor_begins_an_epoch_and_one_that_adds_one_does_not() {
    let more = [two_sensors(), vec![sensor("c", "", 0)]].concat();
    let other_scale = vec![sensor("a", "bar", -3), sensor("b", "", 0)];
    let other_unit = vec![sensor("a", "Pa", -2), sensor("b", "", 0)];
    let mut other_kind = two_sensors();
    other_kind[0].kind = Kind::Counter;
    let mut script = begun();
    script.catalog(&more);
    script.batch(71 * S, &[(2, &[(71 * S, 1)])]);
    assert_eq!(epochs(&script), []);
    for changed in [other_scale, other_unit, other_kind] {
        let mut script = begun();
        script.catalog(&changed);
        script.batch(71 * S, &[(0, &[(71 * S, 1_234)])]);
        script.batch(150 * S, &[]);
        let run = script.run();
        run.assert(&["r a 0.0:1/1", "r a 60.0:1/1", "r a 60.0:1/1"]);
        let [.., before, after] = &run.emitted[..] else {
            panic!("three records")
        };
        assert_eq!((before.record.epoch, after.record.epoch), (0, 1));
        assert_eq!(before.record.unit, "bar");
        assert_eq!(after.record.unit, changed[0].unit);
        let wanted = 1_234.0 / 10_f64.powi(-i32::from(changed[0].scale.exponent));
        assert_eq!(super::script::value(&after.record, "max"), Some(wanted));
    }
}

#[test]
fn a_device_without_a_clock_gets_learnt_times_and_an_unseen_boot_bounded_ones() {
    let mut script = Script::empty();
    script.rules(&[rule("r", 60, 30)]);
    script.mark.boot = 3;
    let incarnation = script.incarnation;
    for (boot, offset_us) in [(1, EPOCH_US), (3, EPOCH_US + 600 * SECOND_US)] {
        script.link(LinkChange::Offset {
            incarnation,
            boot,
            offset_us,
        });
    }
    script.mark.boot = 1;
    script.catalog(&two_sensors());
    script.batch(20 * S, &[(0, &[(10 * S, 1)])]);
    script.mark = Mark {
        boot: 2,
        sequence: 0,
    };
    script.batch(200 * S, &[(0, &[(100 * S, 1)])]);
    script.mark = Mark {
        boot: 3,
        sequence: 0,
    };
    script.batch(200 * S, &[(0, &[(0, 1)])]);
    let run = script.run();
    run.assert(&["r a 0.0:1/1", "r a 120.0:1/1", "r a 600.0:1/1"]);
    let clocks: Vec<_> = run.emitted.iter().map(|one| one.record.clock).collect();
    let (learnt, bounded) = (ClockQuality::Learnt, ClockQuality::Bounded);
    assert_eq!(clocks, [learnt, bounded, learnt]);
}
