//! Balances of tables of numbers.

use std::collections::BTreeMap;

use super::*;
use crate::entry::Uncounted;
use crate::ledger::counters::{
    Counters, DeviceCounters, Doubts, Filter, Rejection, RuleCounters, SensorCounters,
};
use crate::spool::counters::{RuleCounts, SensorCounts};

/// taken, suppressed, failed, evicted, as told; beyond, logged, rejected.
fn sensor(told: Option<[u64; 4]>, [beyond, logged, rejected]: [u64; 3]) -> SensorCounters {
    SensorCounters {
        taken: told.map(|one| one[0]),
        suppressed: told.map(|one| one[1]),
        failed: told.map(|one| one[2]),
        evicted: told.map(|one| one[3]),
        beyond,
        logged,
        rejected: BTreeMap::from([(Rejection::BadSample, rejected)]),
        ..SensorCounters::default()
    }
}

fn device(sensor: SensorCounters) -> DeviceCounters {
    DeviceCounters {
        sensors: BTreeMap::from([("s".to_owned(), sensor)]),
        ..DeviceCounters::default()
    }
}

fn of_device(device: DeviceCounters) -> Counters {
    Counters {
        devices: BTreeMap::from([("d".to_owned(), device)]),
        ..Counters::default()
    }
}

fn of(counters: &Counters) -> Balances {
    balances(counters, &spool::Counters::default())
}

fn reasons(row: &SampleRow) -> Vec<Reason> {
    row.unknowns.iter().map(|one| one.reason).collect()
}

#[test]
fn what_the_device_told_and_what_came_behind_that_is_taken() {
    let balances = of(&of_device(device(sensor(
        Some([100, 20, 3, 7]),
        [5, 70, 5],
    ))));
    let row = &balances.samples[0];
    assert_eq!(row.taken, Some(105));
    assert_eq!((row.terms.unknown, row.terms.difference), (0, 0));
    assert!(balances.balanced && !balances.unknown);
    assert_eq!(balances.samples.len(), 1, "nothing is without a sensor");
    assert_eq!(balances.total.samples, row.terms);
}

#[test]
fn what_is_missing_or_too_much_without_a_reason_does_not_balance() {
    for (logged, difference) in [(90, 10), (110, -10)] {
        let balances = of(&of_device(device(sensor(
            Some([100, 0, 0, 0]),
            [0, logged, 0],
        ))));
        assert!(!balances.balanced);
        assert_eq!(balances.samples[0].terms.difference, difference);
        assert_eq!(balances.total.samples.difference, difference);
    }
}

#[test]
fn a_reason_explains_as_much_as_its_bound_and_no_more() {
    for (untold_frames, unknown, difference) in [(0, 0, 600), (1, 255, 345), (3, 600, 0)] {
        let mut device = device(sensor(Some([1_000, 0, 0, 0]), [0, 400, 0]));
        device.doubts.untold_frames = untold_frames;
        let balances = of(&of_device(device));
        let terms = balances.samples[0].terms;
        assert_eq!((terms.unknown, terms.difference), (unknown, difference));
        assert_eq!(balances.unknown, untold_frames > 0);
    }
}

#[test]
fn what_the_disk_lost_is_the_difference_where_it_is_known_to_have_lost() {
    let mut device = device(sensor(Some([1_000, 0, 0, 0]), [0, 900, 0]));
    device.frames_lost_here = 1;
    let counters = of_device(device);
    let terms = of(&counters).samples[0].terms;
    assert_eq!(
        (terms.lost_here, terms.unknown, terms.difference),
        (100, 0, 0)
    );
    let mut both = counters;
    both.devices.get_mut("d").unwrap().doubts.untold_samples = 60;
    let terms = of(&both).samples[0].terms;
    assert_eq!(
        (terms.lost_here, terms.unknown, terms.difference),
        (40, 60, 0)
    );
}

#[test]
fn more_evicted_than_taken_is_unknown_up_to_what_is_counted_as_evicted() {
    let terms = |logged| {
        let counters = of_device(device(sensor(Some([100, 0, 0, 30]), [0, logged, 0])));
        of(&counters).samples[0].terms
    };
    assert_eq!((terms(90).unknown, terms(90).difference), (-20, 0));
    assert_eq!((terms(120).unknown, terms(120).difference), (-30, -20));
}

#[test]
fn before_the_first_totals_taken_is_unknown_and_at_least_what_came() {
    let balances = of(&of_device(device(sensor(None, [45, 40, 5]))));
    let row = &balances.samples[0];
    assert_eq!((row.taken, row.terms.taken_min), (None, 45));
    assert_eq!(row.terms.difference, 0);
    assert_eq!(reasons(row), [Reason::NoTotals]);
    assert!(balances.balanced && balances.unknown);
    let json = serde_json::to_value(&balances).unwrap();
    assert!(json["samples"][0]["taken"].is_null());
    assert_eq!(serde_json::from_value::<Balances>(json).unwrap(), balances);
}

#[test]
fn what_no_sensor_is_known_of_has_a_row_of_its_own() {
    let mut one = device(sensor(Some([100, 0, 0, 0]), [0, 100, 0]));
    one.samples_rejected.insert(Rejection::NoCatalog, 30);
    one.frames_waiting = 2;
    one.samples_waiting = 50;
    one.doubts = Doubts {
        frames_awaited: 4,
        boots_unfinished: 1,
        unfinished_us: 9,
        ..Doubts::default()
    };
    let balances = of(&of_device(one.clone()));
    let row = &balances.samples[1];
    assert_eq!((row.sensor.as_deref(), row.taken), (None, Some(30)));
    assert_eq!(
        reasons(row),
        [
            Reason::WaitingOnDevice,
            Reason::WaitingForCatalog,
            Reason::UnfinishedBoot
        ]
    );
    assert_eq!(balances.total.samples.taken_min, 130);
    // The catalog came later, and Totals told of ten of them under the sensor's name.
    one.sensors
        .insert("s".into(), sensor(Some([110, 0, 0, 0]), [0, 100, 0]));
    let balances = of(&of_device(one));
    assert_eq!(balances.samples[0].terms.unknown, 10);
    assert_eq!(reasons(&balances.samples[0]), [Reason::SensorUnknown]);
    let total = balances.total.samples;
    assert_eq!(
        (total.taken_min, total.rejected, total.unknown),
        (130, 30, 0)
    );
}

#[test]
fn a_shared_identity_explains_anything_without_a_bound() {
    for refused in [Uncounted::Conflict, Uncounted::AfterGap] {
        let mut device = device(sensor(Some([100, 0, 0, 0]), [0, 70_000, 0]));
        device.not_logged.insert(refused, 1);
        let balances = of(&of_device(device));
        assert!(balances.balanced);
        assert_eq!(balances.samples[0].terms.unknown, -69_900);
        assert!(reasons(&balances.samples[0]).contains(&Reason::SharedIdentity));
    }
}

fn with_rule() -> Counters {
    let rule = RuleCounters {
        examined: 0,
        matched: 100,
        filtered: BTreeMap::from([(Filter::Keep, 6), (Filter::Deadband, 4)]),
        late: 3,
        folded: 80,
        open: 7,
        forwarded: BTreeMap::from([("cloud".to_owned(), 80)]),
        forwarded_grouped: BTreeMap::new(),
    };
    let mut one = sensor(Some([100, 0, 0, 0]), [0, 100, 0]);
    one.rules.insert("r".into(), rule);
    of_device(device(one))
}

fn with_sink(delivered: u64, spooled: u64) -> spool::Counters {
    let counts = SensorCounts {
        spooled_fresh: spooled,
        delivered_fresh: delivered,
        refused_fresh: 5,
        evicted_fresh: 4,
        dropped_fresh: 3,
    };
    let sensors = BTreeMap::from([("s".to_owned(), counts)]);
    let rule = RuleCounts {
        devices: BTreeMap::from([("d".to_owned(), sensors)]),
        ..RuleCounts::default()
    };
    let rules = BTreeMap::from([("r".to_owned(), rule)]);
    spool::Counters {
        sinks: BTreeMap::from([("cloud".to_owned(), rules)]),
        ..spool::Counters::default()
    }
}

#[test]
fn a_rule_and_a_sink_balance() {
    let balances = balances(&with_rule(), &with_sink(60, 77));
    assert!(balances.balanced && !balances.unknown);
    let rule = balances.rules[0].terms;
    assert_eq!((rule.filtered, rule.open, rule.difference), (10, 7, 0));
    let sink = balances.sinks[0].terms;
    assert_eq!((sink.folded, sink.delivered, sink.waiting), (80, 60, 8));
    assert_eq!((sink.dead_lettered, sink.evicted, sink.dropped), (5, 4, 3));
}

#[test]
fn a_sample_that_a_rule_or_a_sink_forgot_does_not_balance() {
    let mut counters = with_rule();
    let sensors = &mut counters.devices.get_mut("d").unwrap().sensors;
    sensors
        .get_mut("s")
        .unwrap()
        .rules
        .get_mut("r")
        .unwrap()
        .late -= 1;
    assert_eq!(
        balances(&counters, &with_sink(60, 77)).rules[0]
            .terms
            .difference,
        1
    );
    let lost = with_sink(60, 75);
    let row = |spool: &spool::Counters| balances(&with_rule(), spool).sinks[0].terms;
    assert_eq!((row(&lost).difference, row(&lost).lost_here), (2, 0));
    let mut told = lost;
    told.lost.insert("cloud".into(), 1);
    assert_eq!((row(&told).difference, row(&told).lost_here), (0, 2));
}

#[test]
fn records_of_counters_that_were_lost_are_unknown() {
    let mut counters = with_rule();
    counters.devices.get_mut("d").unwrap().parts_lost = 1;
    let spool = with_sink(600, 617);
    let row = &balances(&counters, &spool).sinks[0];
    assert_eq!((row.terms.unknown, row.terms.difference), (-540, 0));
    assert_eq!(row.unknowns[0].reason, Reason::CountersLost);
}

#[test]
fn balances_of_two_moments_subtract_to_balances() {
    let then = balances(&with_rule(), &with_sink(60, 77));
    let mut counters = with_rule();
    let one = counters
        .devices
        .get_mut("d")
        .unwrap()
        .sensors
        .get_mut("s")
        .unwrap();
    (one.taken, one.logged) = (Some(140), 140);
    let rule = one.rules.get_mut("r").unwrap();
    (rule.matched, rule.folded, rule.open) = (140, 125, 2);
    rule.forwarded.insert("cloud".into(), 125);
    let now = balances(&counters, &with_sink(110, 122));
    let since = Since {
        asked_us: 5,
        from_us: Some(5),
        position: 3,
    };
    let between = now.since(&then, since);
    assert!(between.balanced);
    assert_eq!(between.samples[0].taken, Some(40));
    let rule = between.rules[0].terms;
    assert_eq!((rule.matched, rule.folded, rule.open), (40, 45, -5));
    let sink = between.total.sinks;
    assert_eq!((sink.folded, sink.delivered, sink.waiting), (45, 50, -5));
}
