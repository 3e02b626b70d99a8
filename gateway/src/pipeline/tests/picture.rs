//! The picture of a state: the same numbers as its counters and records, and times on the wall.

use tidegate_shared::message::{Counts, EventCode};

use super::script::{EPOCH_US, Run, S, Script, passing, rule, sensor};
use crate::clock::Moment;
use crate::entry::LinkChange;
use crate::pipeline::Pipeline;
use crate::pipeline::picture::{DeviceFacts, OpenAlert, Picture};
use crate::record::{AlertCause, ClockQuality};
use crate::rules::expression::{Scope, Type, parse};
use crate::rules::{Alert, Keep, Match, Rule, Source};
use crate::time::SECOND_US;

fn of<'p>(script: &Script, pipeline: &'p Pipeline) -> Picture<'p> {
    pipeline.picture(Moment {
        start: script.start,
        at: script.at,
    })
}

fn facts(script: &Script) -> DeviceFacts {
    let run = script.run();
    of(script, &run.pipeline).device("dev").unwrap().facts()
}

fn above(name: &str, sensor: &str, limit: u32) -> Rule {
    let scope = Scope {
        numbers: &["value"],
        texts: &[],
        tags: false,
    };
    let when = parse(&format!("value > {limit}"), Type::Bool, &scope).unwrap();
    Rule {
        matching: Match::names("*", sensor),
        alert: Some(Alert {
            when: Some(when),
            silent_for_us: Some(60 * SECOND_US),
            ..Alert::default()
        }),
        ..passing(name)
    }
}

#[test]
fn a_device_is_told_by_what_its_link_and_frames_say() {
    let mut script = Script::new(&[rule("r", 60, 30)]);
    script.batch(10 * S, &[(0, &[(S, 1)])]);
    let first = facts(&script);
    assert_eq!(
        first,
        DeviceFacts {
            has_frames: true,
            quiet_us: Some(0),
            patience_us: 40 * SECOND_US,
            behind_us: Some(3_590 * SECOND_US),
            ..DeviceFacts::default()
        }
    );
    script.link(LinkChange::Backlog(true));
    script.pass(7 * S);
    assert_eq!(facts(&script).quiet_us, Some(7 * SECOND_US));
    assert!(facts(&script).backlog);
    script.link(LinkChange::Up(false));
    script.pass(3 * S);
    assert_eq!(facts(&script).down_us, Some(3 * SECOND_US));
    script.link(LinkChange::Up(true));
    assert_eq!(facts(&script).down_us, None);
    script.event(EventCode::Ended);
    assert!(facts(&script).ended);
    script.subscribed(false);
    assert_eq!(facts(&script).quiet_us, None);
}

#[test]
fn slow_frames_make_a_device_patient() {
    let mut script = Script::new(&[]);
    for minute in 1..5 {
        script.pass(60 * S);
        script.batch(minute * 60 * S, &[(0, &[(minute * 60 * S, 1)])]);
    }
    assert_eq!(facts(&script).patience_us, 120 * SECOND_US);
}

#[test]
fn a_waiting_frame_is_told() {
    let mut script = Script::new(&[]);
    script.catalog = tidegate_shared::ids::CatalogHash(99);
    script.batch(10 * S, &[(0, &[(S, 1)])]);
    assert_eq!(facts(&script).frames_waiting, 1);
    let run = script.run();
    let picture = of(&script, &run.pipeline);
    assert_eq!(picture.device("dev").unwrap().clock(), None, "no batch yet");
    assert!(picture.device("other").is_none());
}

#[test]
fn sensors_have_their_newest_values_and_counts() {
    let mut script = Script::new(&[passing("r")]);
    script.batch(10 * S, &[(0, &[(S, 125), (2 * S, 250)]), (1, &[(S, 7)])]);
    let counts = Counts {
        taken: 9,
        suppressed: 4,
        failed: 0,
        evicted: 0,
    };
    script.totals(&[counts, Counts::default()]);
    let run = script.run();
    let device = of(&script, &run.pipeline).device("dev").unwrap();
    assert_eq!(device.clock(), Some(ClockQuality::Device));
    assert_eq!(device.complete_us(), Some(EPOCH_US + 10 * SECOND_US));
    let sensors: Vec<_> = device.sensors().collect();
    let newest: Vec<_> = sensors
        .iter()
        .map(|one| (one.name(), one.newest()))
        .collect();
    let at = |seconds: i64| EPOCH_US + seconds * SECOND_US;
    assert_eq!(
        newest,
        [("a", Some((at(2), 2.5))), ("b", Some((at(1), 7.0)))]
    );
    assert_eq!((sensors[0].unit(), sensors[0].logged()), ("bar", 2));
    assert_eq!(sensors[0].suppressed(), Some(4));
    assert_eq!(sensors[1].suppressed(), Some(0));
    assert_eq!(sensors[0].rejected(), 0);
}

#[test]
fn sensors_stand_in_the_order_of_the_catalog_in_use() {
    let mut script = Script::new(&[passing("r")]);
    script.batch(S, &[(0, &[(S, 1)])]);
    script.catalog(&[sensor("c", "", 0), sensor("a", "bar", -2)]);
    script.batch(2 * S, &[(0, &[(2 * S, 1)])]);
    let run = script.run();
    let device = of(&script, &run.pipeline).device("dev").unwrap();
    let names: Vec<_> = device.sensors().map(|one| one.name()).collect();
    assert_eq!(names, ["c", "a"]);
}

#[test]
fn frames_were_heard_at_a_wall_time_where_that_is_known() {
    let mut script = Script::new(&[]);
    script.pass(5 * S);
    script.batch(10 * S, &[(0, &[(S, 1)])]);
    let heard_us = script.at.wall_us;
    script.pass(100 * S);
    script.link(LinkChange::Up(false));
    let down_us = script.at.wall_us;
    script.at.wall_us += 9_999 * SECOND_US;
    script.at.wall_trusted = false;
    script.pass(S);
    script.tick();
    let run = script.run();
    let picture = of(&script, &run.pipeline);
    let device = picture.device("dev").unwrap();
    assert_eq!(device.heard_us(), Some(heard_us));
    assert_eq!(device.down_since_us(), Some(down_us));
    assert_eq!(picture.wall_us(), Some(down_us + SECOND_US));
    script.restart();
    script.batch(11 * S, &[(0, &[(11 * S, 1)])]);
    let run = script.run();
    let device = of(&script, &run.pipeline).device("dev").unwrap();
    assert_eq!(device.heard_us(), None, "nobody knows when that was");
}

#[test]
fn what_was_restored_tells_the_same() {
    let mut script = Script::new(&[rule("r", 60, 30), above("high", "a", 1)]);
    script.batch(10 * S, &[(0, &[(S, 1), (2 * S, 500)])]);
    script.pass(9 * S);
    script.tick();
    let run = script.run();
    let (restored, _) = Pipeline::restore(&super::script::site(), &run.pipeline.snapshot());
    let told = |pipeline: &Pipeline| {
        let device = of(&script, pipeline).device("dev").unwrap();
        let newest = device.sensors().map(|one| one.newest());
        (
            device.facts(),
            device.heard_us(),
            newest.collect::<Vec<_>>(),
        )
    };
    assert_eq!(told(&restored), told(&run.pipeline));
}

fn alerts(run: &Run, script: &Script) -> Vec<(String, String, AlertCause, i64, Option<f64>)> {
    let mut found = Vec::new();
    of(script, &run.pipeline).alerts(&mut |alert: OpenAlert<'_>| {
        let since_s = (alert.since_us - EPOCH_US) / SECOND_US;
        let names = (alert.rule.to_owned(), alert.sensor.to_owned());
        found.push((names.0, names.1, alert.cause, since_s, alert.value));
    });
    found
}

#[test]
fn alerts_are_told_while_they_are_open() {
    let mut script = Script::new(&[above("high", "a", 1)]);
    script.batch(3 * S, &[(0, &[(S, 50), (2 * S, 150), (3 * S, 175)])]);
    let of_value = |since, value| {
        let names = ("high".to_owned(), "a".to_owned());
        (names.0, names.1, AlertCause::Condition, since, Some(value))
    };
    assert_eq!(alerts(&script.run(), &script), [of_value(2, 1.75)]);
    script.pass(100 * S);
    script.tick();
    let silence = (
        "high".to_owned(),
        "a".to_owned(),
        AlertCause::Silence,
        3,
        Some(1.75),
    );
    assert_eq!(alerts(&script.run(), &script), [of_value(2, 1.75), silence]);
    let run = script.run();
    let device = of(&script, &run.pipeline).device("dev").unwrap();
    let open: Vec<u64> = device.sensors().map(|one| one.alerts_open()).collect();
    assert_eq!(open, [2, 0]);
    script.batch(4 * S, &[(0, &[(4 * S, 50)])]);
    assert_eq!(alerts(&script.run(), &script), []);
}

#[test]
fn alerts_over_records_are_told_as_well() {
    let chained = Rule {
        from: Some(Source {
            rule: "r".into(),
            value: "max".into(),
            decimals: 2,
        }),
        ..above("max-high", "*", 1)
    };
    let mut script = Script::new(&[rule("r", 10, 0), chained]);
    script.batch(12 * S, &[(0, &[(S, 50), (2 * S, 150)])]);
    let found = alerts(&script.run(), &script);
    let wanted = (
        "max-high".to_owned(),
        "a".to_owned(),
        AlertCause::Condition,
        0,
        Some(1.5),
    );
    assert_eq!(found, [wanted]);
}

#[test]
fn sums_are_those_of_the_counters() {
    let keeps = Rule {
        keep: Some(Keep {
            min: None,
            max: Some(2.0),
            rate_max: None,
        }),
        ..rule("keeps", 10, 0)
    };
    let chained = Rule {
        from: Some(Source {
            rule: "keeps".into(),
            value: "max".into(),
            decimals: 2,
        }),
        ..rule("chained", 60, 0)
    };
    let mut script = Script::new(&[keeps, above("high", "a", 1), chained.clone()]);
    script.batch(
        25 * S,
        &[
            (0, &[(S, 50), (2 * S, 950)]),
            (1, &[(3 * S, 1), (22 * S, 9)]),
        ],
    );
    // What lanes that are gone counted is theirs still.
    script.rules(&[rule("keeps", 20, 0), above("high", "a", 1), chained]);
    script.batch(26 * S, &[(0, &[(26 * S, 60)])]);
    let run = script.run();
    let sums =
        of(&script, &run.pipeline).sums(&|_, sensor, unit| (sensor.len() + unit.len()) as u64);
    assert_eq!((sums.logged, sums.logged_weight), (5, 3 * 4 + 2));
    let counters = run.pipeline.counters();
    let sensors = counters.devices.values().flat_map(|one| &one.sensors);
    let mut wanted = std::collections::BTreeMap::new();
    for (name, counts) in sensors {
        for (rule, counts) in &counts.rules {
            let sum: &mut (u64, u64, u64) = wanted.entry(rule.as_str()).or_default();
            sum.0 += counts.matched;
            sum.1 += counts.filtered.values().sum::<u64>() + counts.late;
            sum.2 += counts.matched * if name == "a" { 4 } else { 1 };
        }
    }
    assert!(wanted["keeps"].1 > 0, "{wanted:?}");
    assert!(wanted["chained"].0 > 0, "{wanted:?}");
    let found = sums.rules.iter();
    let found = found.map(|one| (one.name, (one.matched, one.left_out)));
    let counted = wanted.iter().map(|(rule, sum)| (*rule, (sum.0, sum.1)));
    assert_eq!(
        found.collect::<std::collections::BTreeMap<_, _>>(),
        counted.collect()
    );
    assert_eq!(sums.rules[0].matched_weight, wanted["keeps"].2);
    let versions: Vec<u32> = sums.rules.iter().map(|one| one.version).collect();
    assert_eq!(versions, [2, 1, 1]);
}
