//! What is kept, what makes room, and what taps are told.

use std::sync::{Arc, Mutex};

use super::*;
use crate::plant::{Passing, TapFilter};
use crate::record::{Place, Value, example};
use crate::rules::Priority;
use crate::store::Onlooker;

fn observed(device: &str, sensor: &str, samples: impl IntoIterator<Item = (i64, f64)>) -> Observed {
    Observed {
        device: device.to_owned(),
        sensor: sensor.to_owned(),
        unit: "bar".to_owned(),
        epoch: 0,
        samples: samples.into_iter().collect(),
    }
}

fn emitted(number: u8) -> Emitted {
    let mut record = example(number);
    record.values = vec![("mean".to_owned(), Value::Number(f64::from(number)))];
    Emitted {
        place: Place::default(),
        forward: Vec::new(),
        priority: Priority::Normal,
        record,
    }
}

/// Samples of a number of sensors, `each` of every one.
fn fill(recent: &mut Recent, sensors: usize, each: usize) {
    for number in 0..sensors {
        let samples = (0..each).map(|at| (at as i64, at as f64));
        let device = format!("device-{}", number / 8);
        recent.take(&[observed(&device, &format!("s{}", number % 8), samples)]);
    }
}

#[test]
fn few_sensors_have_as_much_as_a_chart_shows() {
    let mut recent = Recent::always();
    fill(&mut recent, 8, 5_000);
    let track = recent.track("device-0", "s7").unwrap();
    assert_eq!(track.samples().len(), TRACK_SAMPLES_MAX);
    assert_eq!(track.samples().back(), Some(&(4_999, 4_999.0)));
    assert_eq!(track.newest(2), [4_998.0, 4_999.0]);
    assert_eq!(track.usual_us(), Some(1));
}

#[test]
fn more_sensors_share_what_there_is() {
    let mut recent = Recent::always();
    for sensors in [100, 200, 400, 800, 1_600, 2_700] {
        fill(&mut recent, sensors, TRACK_SAMPLES_MAX);
        assert!(recent.samples() <= SAMPLES_MAX, "{sensors}");
        assert!(recent.samples() > SAMPLES_MAX / 3, "{sensors}");
    }
    let track = recent.track("device-0", "s0").unwrap();
    assert_eq!(track.samples().len(), SHARE_MIN);
}

#[test]
fn with_too_many_only_those_watched_are_kept() {
    let mut recent = Recent::always();
    for number in 0..=WATCHED_MAX {
        recent.watch(&format!("device-{number}"), "s0");
    }
    fill(&mut recent, 80_000, TRACK_SAMPLES_MAX);
    assert_eq!(recent.samples(), WATCHED_MAX * TRACK_SAMPLES_MAX);
    assert!(recent.track("device-0", "s0").is_none(), "made room");
    assert!(recent.track("device-9000", "s0").is_none());
    recent.watch("device-9000", "s0");
    fill(&mut recent, 80_000, 10);
    let track = recent.track("device-9000", "s0").unwrap();
    assert_eq!(track.samples().len(), 10);
    assert!(recent.track("device-1", "s0").is_none(), "made room");
}

#[test]
fn watching_one_of_many_gives_it_more_and_takes_it_back() {
    let mut recent = Recent::always();
    fill(&mut recent, 1_000, 10);
    recent.watch("device-0", "s0");
    fill(&mut recent, 1_000, TRACK_SAMPLES_MAX);
    let kept = |recent: &Recent| recent.track("device-0", "s0").unwrap().samples().len();
    assert_eq!(kept(&recent), TRACK_SAMPLES_MAX);
    for number in 1..=WATCHED_MAX {
        recent.watch(&format!("device-{number}"), "s1");
    }
    assert_eq!(kept(&recent), 37);
}

#[test]
fn another_epoch_begins_anew() {
    let mut recent = Recent::always();
    recent.take(&[observed("d", "s", [(10, 1.0), (20, 2.0)])]);
    let mut later = observed("d", "s", [(5, 3.0)]);
    later.epoch = 1;
    recent.take(&[later]);
    assert_eq!(recent.track("d", "s").unwrap().samples(), &[(5, 3.0)]);
}

#[test]
fn records_stand_beside_the_samples_and_a_revision_replaces() {
    let mut recent = Recent::always();
    recent.take_records(&[emitted(1)]);
    assert!(
        recent.track("pump-1", "Pressure").is_none(),
        "no sample yet"
    );
    recent.take(&[observed("pump-1", "Pressure", [(1, 1.0)])]);
    let mut revised = emitted(2);
    revised.record.values[0].1 = Value::Number(7.0);
    recent.take_records(&[emitted(1), emitted(2), revised]);
    let bars = recent.track("pump-1", "Pressure").unwrap().bars();
    let middles: Vec<f64> = bars.iter().map(|bar| bar.middle).collect();
    assert_eq!(middles, [1.0, 7.0]);
    for number in 0..=255 {
        recent.take_records(&[emitted(number)]);
    }
    let bars = recent.track("pump-1", "Pressure").unwrap().bars();
    assert_eq!(bars.len(), TRACK_SAMPLES_MAX / SAMPLES_PER_BAR);
}

#[test]
fn it_is_filled_while_somebody_looks() {
    let mut recent = Recent::default();
    assert!(!recent.looks(0));
    recent.look(5);
    assert!(recent.looks(LOOKED_FOR_US));
    recent.take(&[observed("d", "s", [(1, 1.0)])]);
    assert!(!recent.looks(LOOKED_FOR_US + 5));
    assert!(recent.track("d", "s").is_none(), "it is forgotten then");
    assert!(Recent::always().looks(u64::MAX));
}

/// What a tap is told that is not asked for long.
async fn told(tap: &mut Tap, most: usize) -> Vec<Passing> {
    let mut told = Vec::new();
    while told.len() < most {
        told.extend(tap.next().await);
    }
    told
}

#[tokio::test]
async fn a_tap_takes_what_its_filter_lets_through() {
    let taps = Taps::default();
    let recent = Arc::new(Mutex::new(Recent::default()));
    let mut watcher = Watcher::new(recent, taps.clone());
    assert!(!watcher.looks(0), "nobody looks");
    let filter = |device: &str, rule: Option<&str>| TapFilter {
        device: Some(device.to_owned()),
        rule: rule.map(str::to_owned),
        ..TapFilter::default()
    };
    let mut samples = taps.open(filter("other-*", None));
    let mut records = taps.open(filter("pump-?", Some("minute")));
    assert!(watcher.looks(0));
    let flow = vec![
        observed("pump-1", "Pressure", [(0, 1.0)]),
        observed("other-1", "a", [(1_500_000, 2.5)]),
    ];
    watcher.saw(flow, &[emitted(1)]);
    let told_samples = told(&mut samples, 1).await;
    assert_eq!(
        told_samples,
        [Passing::Sample {
            device: "other-1".into(),
            sensor: "a".into(),
            unit: "bar".into(),
            time: "1970-01-01T00:00:01.5Z".into(),
            value: 2.5,
        }]
    );
    let Passing::Record(record) = &told(&mut records, 1).await[0] else {
        panic!("a rule's records are told, no samples");
    };
    assert_eq!(record["values"]["mean"], 1.0);
    drop((samples, records));
    assert!(!watcher.looks(0), "nobody looks any more");
}

#[tokio::test]
async fn a_slow_tap_is_told_how_much_it_missed() {
    let taps = Taps::default();
    let mut watcher = Watcher::new(Arc::default(), taps.clone());
    let mut tap = taps.open(TapFilter::default());
    let all = FLOWS_MAX as u64 + 1_000;
    watcher.saw(vec![observed("d", "s", [(0, 0.0)])], &[]);
    assert_eq!(told(&mut tap, 1).await.len(), 1);
    for number in 1..=all {
        watcher.saw(vec![observed("d", "s", [(0, number as f64)])], &[]);
    }
    let told = told(&mut tap, 2).await;
    assert_eq!(told[0], Passing::Missed(1_000));
    let Passing::Sample { value, .. } = told[1] else {
        panic!("{:?}", told[1]);
    };
    assert_eq!(Some(value), Some(1_001.0));
}

#[tokio::test]
async fn a_large_step_comes_in_pieces() {
    let taps = Taps::default();
    let mut watcher = Watcher::new(Arc::default(), taps.clone());
    let mut tap = taps.open(TapFilter::default());
    let block = |number: i64| observed("d", "s", (0..200).map(|at| (number * 200 + at, 0.0)));
    watcher.saw((0..50).map(block).collect(), &[emitted(1)]);
    let told = told(&mut tap, 50 * 200 + 1).await;
    let samples = told
        .iter()
        .filter(|one| matches!(one, Passing::Sample { .. }));
    assert_eq!(samples.count(), 50 * 200);
    assert!(matches!(told.last(), Some(Passing::Record(_))));
}
