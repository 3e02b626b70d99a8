//! Comparing on a real store's log, written by hand, and with what is recomputed beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Change, CompareError, Report, Shape, compare};
use crate::disk::overlay::OverlayDisk;
use crate::disk::{Disk, FaultDisk};
use crate::explain::stretch::{Asked, Edge};
use crate::explain::{ExplainError, Past};
use crate::pipeline::tests::script::{EPOCH_US, S, Script, passing, rule, value};
use crate::record::{ClockQuality, Emitted, Record, RecordId, Value, example, rfc3339};
use crate::rules::expression::{Scope, Type, parse as parse_expression};
use crate::rules::settings::Settings;
use crate::rules::{Aggregate, Alert, Keep, Match, Rule, RuleSet, Thinning, parse};
use crate::spool::journal::{Share, Shares};
use crate::spool::{Delivery, Outcome};
use crate::store::Store;
use crate::time::{SECOND_US, Timestamp};

const CONFIGURATION: &str = r#"
    [gateway]
    site = "site"
    [mqtt]
    url = "mqtt://127.0.0.1"
    [sink.cloud]
    type = "http"
    url = "http://127.0.0.1/records"
    [sink.local]
    type = "file"
    path = "records"
    [[rule]]
    name = "all"
    match = { sensor = "*" }
    forward = ["cloud"]
"#;

/// A record with a start and values.
pub(super) fn record(epoch: u32, start_us: i64, values: &[(&str, f64)]) -> Record {
    let values = values.iter();
    Record {
        id: RecordId([0; 16]),
        site: "site".into(),
        device: "dev".into(),
        sensor: "a".into(),
        unit: "bar".into(),
        rule: "r".into(),
        version: 1,
        epoch,
        start_us,
        end_us: start_us,
        revision: 0,
        samples: 1,
        fresh: 1,
        clock: ClockQuality::Device,
        partial: false,
        alert: None,
        values: values
            .map(|(name, value)| ((*name).to_owned(), Value::Number(*value)))
            .collect(),
        note: None,
    }
}

/// A gateway's store, and the log that it took.
struct World {
    fault: FaultDisk,
    settings: Settings,
    store: Store,
    script: Script,
    taken: usize,
}

/// Minutes of samples, one every ten seconds, of two sensors.
fn samples(minute: u64) -> [Vec<(u64, i64)>; 2] {
    let times = (0..6).map(|one| minute * 60 * S + one * 10 * S);
    let a = times.clone().map(|at| (at, curve(at)));
    [a.collect(), times.map(|at| (at, 7)).collect()]
}

/// Raw value of sensor `a`: hundredths of a bar.
fn curve(at_us: u64) -> i64 {
    let s = (at_us / S) as i64;
    s % 97 + 3 * (s % 41)
}

impl World {
    fn new(rules: &[Rule]) -> Self {
        Self::with_log(rules, 1 << 20, 1 << 30)
    }

    fn with_log(rules: &[Rule], segment_bytes: u64, bytes_max: u64) -> Self {
        let (mut settings, _) = parse(CONFIGURATION, "test").unwrap();
        settings.log.segment_bytes = segment_bytes;
        settings.log.bytes_max = bytes_max;
        let fault = FaultDisk::new();
        let disk: Arc<dyn Disk> = Arc::new(fault.clone());
        let (store, _) = Store::open(&disk, &settings, 1, Timestamp::default()).unwrap();
        let mut script = Script::new(rules);
        // A sample may wait on the device for three hours: it is not idle between its batches.
        script.open(3 * 3_600_000);
        let mut world = Self {
            fault,
            settings,
            store,
            script,
            taken: 0,
        };
        world.take();
        world
    }

    /// Takes what the script has written since.
    fn take(&mut self) {
        for entry in self.script.log[self.taken..].chunks(1) {
            self.store.append(entry).unwrap();
            self.store.fold(entry);
            self.store.settle(self.script.at).unwrap();
        }
        self.taken = self.script.log.len();
    }

    /// Minutes pass, each with a batch.
    fn pass(&mut self, minutes: std::ops::Range<u64>) {
        for minute in minutes {
            self.script.pass(60 * S);
            let [a, b] = samples(minute);
            let until = (minute + 1) * 60 * S;
            self.script.batch(until, &[(0, &a), (1, &b)]);
            self.take();
        }
    }

    fn tried(&self, rules: &[Rule], asked: Asked) -> (Report, Vec<Emitted>) {
        self.try_rules(rules, asked).unwrap()
    }

    fn try_rules(
        &self,
        rules: &[Rule],
        asked: Asked,
    ) -> Result<(Report, Vec<Emitted>), CompareError> {
        let mut settings = self.settings.clone();
        settings.rules = RuleSet {
            rules: rules.to_vec(),
        };
        let before = self.fault.mutations();
        let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::new(Arc::new(self.fault.clone())));
        let past = Past::open(Arc::clone(&disk), &settings.site, settings.log).unwrap();
        let mut saved = Vec::new();
        let report = compare(
            &disk,
            &past,
            &settings,
            asked,
            &mut |emitted| {
                saved.push(emitted.clone());
                Ok(())
            },
            &mut |done, whole| assert!(done < whole),
        );
        assert_eq!(
            self.fault.mutations(),
            before,
            "nothing on the disk changed"
        );
        Ok((report?, saved))
    }
}

fn mean(name: &str, length_s: i64) -> Rule {
    Rule {
        aggregates: vec![Aggregate::Count, Aggregate::Mean],
        ..rule(name, length_s, 0)
    }
}

fn positions(from: u64, to: u64) -> Asked {
    Asked {
        from: Some(Edge::Position(from)),
        to: Some(Edge::Position(to)),
    }
}

#[test]
fn the_same_rules_make_no_difference_and_say_so() {
    let mut world = World::new(&[mean("r", 60), passing("p")]);
    world.pass(0..10);
    let (report, saved) = world.tried(&[mean("r", 60), passing("p")], Asked::default());
    assert!(!report.rules_differ);
    assert_eq!(report.rules_changed, 0);
    assert_eq!(report.total.logged, report.total.tried);
    assert_eq!(report.total.tried.records, 2 * 10 + 2 * 60);
    for row in &report.rules {
        assert_eq!(row.change, Change::Same);
        assert_eq!(row.sides.logged, row.sides.tried, "{}", row.rule);
    }
    for row in &report.curves {
        assert_eq!(row.sides.logged, row.sides.tried, "{}", row.rule);
    }
    assert_eq!(saved, world.script.run().emitted, "id for id");
    assert_eq!(report.log.entries, world.script.log.len() as u64);
    assert!(report.log.is_reached && report.log.is_ended);
}

#[test]
fn other_rules_are_told_rule_by_rule() {
    let forwarded = Rule {
        forward: vec!["cloud".into(), "local".into()],
        ..passing("b")
    };
    let mut world = World::new(&[mean("a", 60), passing("b"), passing("gone")]);
    world.pass(0..20);
    let tried = [mean("a", 300), forwarded, mean("new", 60)];
    let (report, saved) = world.tried(&tried, Asked::default());
    assert!(report.rules_differ);
    let told = report.rules.iter().map(|row| {
        let records = |sums: &Option<super::Sums>| sums.as_ref().map(|sums| sums.records);
        let sides = (records(&row.sides.logged), records(&row.sides.tried));
        (row.rule.as_str(), row.change, sides)
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("a", Change::Changed, (Some(40), Some(8))),
            ("b", Change::Forward, (Some(240), Some(240))),
            ("gone", Change::Removed, (Some(240), None)),
            ("new", Change::Added, (None, Some(40))),
        ]
    );
    assert_eq!(saved.len(), 8 + 240 + 40);
    let samples = report.total.tried.samples;
    assert_eq!(samples, 3 * 240);
    let b = report.rules[1].sides.tried.clone().unwrap();
    assert_eq!(b.sinks.len(), 2, "each sink counts");
    assert_eq!(b.sinks["local"].header_bytes, 0);
    assert_eq!(b.sinks["local"].bytes_before, b.sinks["cloud"].bytes_before);
    assert!(b.sinks["cloud"].bytes_after < b.sinks["cloud"].bytes_before);
    let parts: u64 = b.sinks.values().map(super::Cost::sent_bytes).sum();
    assert_eq!(b.sent_bytes, parts);
    for row in &report.sinks {
        let of = |sums: &super::Sums| sums.sinks.get(&row.sink).copied().unwrap_or_default();
        assert_eq!(
            row.sides.logged.cost,
            of(&report.total.logged),
            "shares add up"
        );
        assert_eq!(
            row.sides.tried.cost,
            of(&report.total.tried),
            "shares add up"
        );
    }
}

/// The curve of a rule's records as a table of times, by the definition on the page.
fn recomputed(records: &[Emitted], minutes: u64, length_us: i64) -> (u64, f64, f64) {
    let steps: BTreeMap<i64, f64> = records
        .iter()
        .filter(|one| one.record.sensor == "a")
        .map(|one| (one.record.start_us, value(&one.record, "mean").unwrap()))
        .collect();
    let last_us = steps.keys().last().unwrap() + length_us;
    let (mut count, mut largest, mut squares) = (0, 0.0_f64, 0.0);
    for (at, raw) in (0..minutes).flat_map(|minute| samples(minute)[0].clone()) {
        let at_us = EPOCH_US + at as i64;
        let before = steps.range(..=at_us).next_back();
        if let Some((_, step)) = before.filter(|_| at_us < last_us) {
            let error = (raw as f64 / 100.0 - step).abs();
            (count, largest, squares) = (count + 1, largest.max(error), squares + error * error);
        }
    }
    (count, largest, (squares / count as f64).sqrt())
}

#[test]
fn the_errors_of_steps_are_those_recomputed_from_the_saved_records() {
    let mut world = World::new(&[mean("r", 60)]);
    world.pass(0..32);
    for length_s in [60, 300, 600] {
        let (report, saved) = world.tried(&[mean("r", length_s)], Asked::default());
        let row = report.curves.iter().find(|row| row.sensor == "a").unwrap();
        assert_eq!(row.unit, "bar");
        let fidelity = row.sides.tried.as_ref().unwrap();
        let (count, largest, rms) = recomputed(&saved, 32, length_s * SECOND_US);
        assert_eq!((fidelity.shape, fidelity.compared), (Shape::Steps, count));
        assert!((fidelity.largest_error.unwrap() - largest).abs() < 1e-12);
        assert!((fidelity.rms_error.unwrap() - rms).abs() < 1e-9);
        let behind = fidelity.not_compared.after_last;
        assert_eq!(count + behind, 32 * 6, "every sample is told");
        // What never changes is met by any window.
        let flat = report.curves.iter().find(|row| row.sensor == "b").unwrap();
        let flat = flat.sides.tried.as_ref().unwrap();
        assert_eq!((flat.largest_error, flat.rms_error), (Some(0.0), Some(0.0)));
    }
}

#[test]
fn a_deadband_holds_each_sample_that_it_kept() {
    let banded = Rule {
        thin: Some(Thinning::deadband(0.5)),
        keep: Some(Keep {
            min: None,
            max: Some(1.5),
            rate_max: None,
        }),
        ..passing("p")
    };
    let mut world = World::new(&[passing("p")]);
    world.pass(0..10);
    let (report, saved) = world.tried(std::slice::from_ref(&banded), Asked::default());
    let row = report.curves.iter().find(|row| row.sensor == "a").unwrap();
    let (logged, tried) = (row.sides.logged.as_ref(), row.sides.tried.as_ref());
    assert_eq!(
        logged.unwrap().largest_error,
        Some(0.0),
        "all of them passed"
    );
    assert_eq!(logged.unwrap().compared, 60);
    let points: Vec<(i64, f64)> = saved
        .iter()
        .filter(|one| one.record.sensor == "a")
        .map(|one| (one.record.start_us, value(&one.record, "value").unwrap()))
        .collect();
    let (mut count, mut largest, mut squares, mut outside) = (0, 0.0_f64, 0.0, 0);
    for (at, raw) in (0..10).flat_map(|minute| samples(minute)[0].clone()) {
        let (at_us, sample) = (EPOCH_US + at as i64, raw as f64 / 100.0);
        if sample > 1.5 {
            outside += 1;
            continue;
        }
        let Some(next) = points.iter().position(|(point_us, _)| *point_us >= at_us) else {
            continue;
        };
        let (to_us, to) = points[next];
        let (_, held) = points[next.saturating_sub(1)];
        let curve = if to_us == at_us { to } else { held };
        let error = (sample - curve).abs();
        (count, largest, squares) = (count + 1, largest.max(error), squares + error * error);
    }
    let tried = tried.unwrap();
    assert_eq!((tried.shape, tried.compared), (Shape::Line, count));
    assert!(largest > 0.0 && largest < 0.5 && points.len() < 60 && outside > 0);
    assert_eq!(tried.not_compared.implausible, outside);
    assert!((tried.largest_error.unwrap() - largest).abs() < 1e-12);
    assert!((tried.rms_error.unwrap() - (squares / count as f64).sqrt()).abs() < 1e-12);
}

#[test]
fn a_rule_without_a_value_to_draw_says_so() {
    let counts = Rule {
        aggregates: vec![Aggregate::Count, Aggregate::Stddev],
        ..rule("r", 60, 0)
    };
    let mut world = World::new(&[passing("p")]);
    world.pass(0..5);
    let (report, _) = world.tried(&[counts], Asked::default());
    let row = report.curves.iter().find(|row| row.rule == "r").unwrap();
    let tried = row.sides.tried.as_ref().unwrap();
    assert_eq!((tried.shape, tried.compared), (Shape::Nothing, 0));
    assert_eq!(
        (tried.rms_error, tried.not_compared.without_value),
        (None, 30)
    );
}

#[test]
fn rules_that_the_log_changed_meanwhile_make_a_difference_and_are_counted() {
    let mut world = World::new(&[mean("r", 60)]);
    world.pass(0..10);
    world.script.rules(&[mean("r", 300)]);
    world.pass(10..30);
    let (report, _) = world.tried(&[mean("r", 300)], Asked::default());
    assert_eq!((report.rules_differ, report.rules_changed), (false, 1));
    let records = |sums: &Option<super::Sums>| sums.as_ref().map(|sums| sums.records);
    let sides = &report.rules[0].sides;
    assert_eq!(records(&sides.logged), Some(2 * (10 + 4)));
    assert_eq!(records(&sides.tried), Some(2 * 6));
    let compared = report.curves[0].sides.logged.as_ref().unwrap();
    assert_eq!(compared.compared, 30 * 6, "both versions are one curve");
}

#[test]
fn a_stretch_is_by_position_or_by_when_entries_were_written() {
    let mut world = World::new(&[mean("r", 60)]);
    world.pass(0..20);
    let batches = world.script.log.len() as u64 - 20;
    let (by_position, _) = world.tried(&[mean("r", 300)], positions(batches + 5, batches + 15));
    assert_eq!(by_position.log.entries, 10);
    assert_eq!(by_position.total.logged.records, 2 * 10);
    assert_eq!(by_position.total.tried.records, 2 * 2);
    assert_eq!(
        by_position.curves[0]
            .sides
            .logged
            .as_ref()
            .unwrap()
            .compared,
        60
    );
    let written = |at: u64| world.script.log[at as usize].at.wall_us;
    let times = Asked {
        from: Some(Edge::Time(written(batches + 5))),
        to: Some(Edge::Time(written(batches + 15))),
    };
    let (by_time, _) = world.tried(&[mean("r", 300)], times);
    assert_eq!(by_time, by_position);
}

#[test]
fn what_is_beyond_the_log_is_refused_or_told() {
    let mut world = World::new(&[mean("r", 60)]);
    world.pass(0..5);
    let end = world.script.log.len() as u64;
    let refused = world.try_rules(&[passing("p")], positions(end, end + 5));
    let Err(CompareError::Past(ExplainError::NothingThere {
        asked, end: told, ..
    })) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!(
        asked,
        format!("from position {end} and before position {}", end + 5)
    );
    assert_eq!(told, end);
    let later = Asked {
        from: Some(Edge::Time(world.script.at.wall_us + 1)),
        to: None,
    };
    let refused = world.try_rules(&[passing("p")], later).unwrap_err();
    let newest = rfc3339(world.script.at.wall_us);
    assert!(refused.to_string().contains(&newest), "{refused}");
    let (report, _) = world.tried(&[passing("p")], positions(0, end + 1));
    assert_eq!((report.log.is_reached, report.log.is_ended), (true, false));
    assert_eq!(report.log.to_position, end);
}

#[test]
fn a_recycled_log_says_how_far_it_reaches_and_when_windows_are_whole() {
    let mut world = World::with_log(&[mean("r", 60)], 4_096, 1 << 16);
    world.pass(0..600);
    let first = Asked {
        from: Some(Edge::Time(EPOCH_US)),
        to: None,
    };
    let (report, _) = world.tried(&[mean("r", 2_400)], first);
    let log = &report.log;
    assert!(log.reach_position > 100 && log.began_position == log.reach_position);
    assert!(!log.is_reached && log.reach_time.is_some());
    let warm_up = report.rules[0].warm_up.clone().unwrap();
    assert_eq!(warm_up.records_cut, 2, "one window of each sensor");
    let whole = warm_up.whole_from.parse::<jiff::Timestamp>().unwrap();
    let whole_us = whole.as_microsecond();
    assert_eq!(whole_us % (2_400 * SECOND_US), 0);
    let samples = u64::try_from((whole_us - EPOCH_US) / (10 * SECOND_US)).unwrap();
    assert!((2..2 * 240).contains(&warm_up.samples_cut), "{warm_up:?}");
    assert!(warm_up.samples_cut < 2 * samples);
    let refused = world.try_rules(&[mean("r", 7_200)], positions(3, 9));
    let Err(CompareError::Past(ExplainError::TooEarly { position: 3, reach })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(reach, log.reach_position);

    // Asked for later than that, windows begin whole: the replay begins before them.
    let later = Asked {
        from: Some(Edge::Time(world.script.at.wall_us - 600 * SECOND_US)),
        to: None,
    };
    let (report, saved) = world.tried(&[mean("r", 300)], later);
    assert!(report.log.is_reached);
    assert!(report.log.began_position < report.log.from_position.unwrap());
    assert_eq!(report.rules[0].warm_up, None);
    assert!(!saved.is_empty() && saved.iter().all(|one| one.record.samples == 30));
}

#[test]
fn a_rule_that_stays_goes_on_with_its_windows_from_a_base() {
    let mut world = World::with_log(&[mean("r", 3_600)], 4_096, 1 << 30);
    world.pass(0..300);
    let base = Past::open(
        Arc::new(OverlayDisk::new(Arc::new(world.fault.clone()))),
        &world.settings.site,
        world.settings.log,
    );
    let newest = base.unwrap().bases().last().copied().unwrap();
    assert!(newest > 100);
    let whole = world.script.run().emitted;
    let from = Asked {
        from: Some(Edge::Position(newest)),
        to: None,
    };
    let (report, saved) = world.tried(&[mean("r", 3_600), passing("p")], from);
    let kept: Vec<&Emitted> = saved.iter().filter(|one| one.record.rule == "r").collect();
    let wanted: Vec<&Emitted> = whole
        .iter()
        .filter(|one| one.place.position >= newest)
        .collect();
    let ids = |all: &[&Emitted]| -> Vec<RecordId> { all.iter().map(|one| one.record.id).collect() };
    assert_eq!(ids(&kept), ids(&wanted));
    assert!(report.rules.iter().all(|row| row.warm_up.is_none()));
}

#[test]
fn what_sinks_confirmed_stands_beside_the_estimate() {
    let mut world = World::new(&[mean("r", 60)]);
    world.pass(0..3);
    let spool = world.store.spool();
    let id = spool
        .lock()
        .unwrap()
        .queue("cloud", crate::rules::Priority::Normal);
    let delivery = Delivery {
        outcome: Outcome::Confirmed,
        at: world.script.at,
        bytes_before: 900,
        bytes_after: 300,
        header_bytes: 80,
        attempts: 1,
    };
    let mut pieces = Shares::default();
    let record = example(1);
    let part = Share {
        bytes: 1,
        ..Share::default()
    };
    pieces.add(
        &Record {
            rule: "r".into(),
            ..record
        },
        part,
    );
    spool
        .lock()
        .unwrap()
        .commit(id.unwrap(), 1..=4, delivery, &pieces)
        .unwrap();
    let (report, _) = world.tried(&[mean("r", 60)], Asked::default());
    let cloud = report.sinks.iter().find(|row| row.sink == "cloud").unwrap();
    let delivered = cloud.delivered.unwrap();
    assert_eq!((delivered.records, delivered.batches), (4, 1));
    assert_eq!(
        (delivered.cost.bytes_after, delivered.cost.header_bytes),
        (300, 80)
    );
    assert_eq!(cloud.sides.logged.records, 6);
    let unknown = Rule {
        forward: vec!["elsewhere".into()],
        ..passing("p")
    };
    world.script.rules(&[unknown]);
    world.pass(3..4);
    let (report, _) = world.tried(&[mean("r", 60)], Asked::default());
    assert_eq!(report.sinks_unknown, ["elsewhere"]);
}

#[test]
fn alerts_gained_and_lost_are_told() {
    let high = |limit: f64| Rule {
        alert: Some(Alert {
            when: parse_expression(&format!("value > {limit:?}"), Type::Bool, &Scope::SAMPLE).ok(),
            ..Alert::default()
        }),
        matching: Match::names("*", "a"),
        ..passing("high")
    };
    let (never, often) = (high(1e6), high(1.0));
    for (logged, tried) in [(&never, &often), (&often, &never)] {
        let mut world = World::new(std::slice::from_ref(logged));
        world.pass(0..10);
        let (report, saved) = world.tried(std::slice::from_ref(tried), Asked::default());
        let alerts = &report.alerts;
        let (few, many) = if std::ptr::eq(tried, &raw const often) {
            assert!(saved.iter().any(|one| one.record.alert.is_some()));
            (alerts.lost.len(), &alerts.gained)
        } else {
            assert!(saved.is_empty());
            (alerts.gained.len(), &alerts.lost)
        };
        assert_eq!(few, 0);
        assert_eq!(many.len() as u64, alerts.logged + alerts.tried);
        assert!(!many.is_empty());
        assert!(many[0].start < many[0].end.clone().unwrap());
    }
    let mut world = World::new(std::slice::from_ref(&often));
    world.pass(0..10);
    let (report, _) = world.tried(std::slice::from_ref(&high(1.1)), Asked::default());
    assert!(report.alerts.tried > 0);
    assert_eq!(report.alerts.gained, [], "opened later, but it is the same");
}
