//! The pipeline against a plain batch computation over random logs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::script::{EPOCH_US, Run, S, Script, rule, two_sensors, value};
use crate::rules::{Keep, Rule, Thinning};
use crate::time::SECOND_US;

/// One frame: where its samples begin (seconds, perhaps before the frame before), the distances
/// and raws of two sensors' samples, how far beyond them it is complete, and the seconds that
/// pass before it.
#[derive(Debug, Clone)]
struct Frame {
    begin_s: u64,
    samples: Vec<(u64, i64, bool)>,
    complete_s: u64,
    pause_s: u64,
}

#[derive(Debug, Clone)]
struct Case {
    frames: Vec<Frame>,
    length_s: i64,
    lateness_s: i64,
    max: f64,
    deadband: f64,
}

fn frame() -> impl Strategy<Value = Frame> {
    let sample = (0_u64..15, -50_i64..50, any::<bool>());
    let samples = prop::collection::vec(sample, 0..25);
    (0_u64..300, samples, 0_u64..200, 0_u64..60).prop_map(
        |(begin_s, samples, complete_s, pause_s)| Frame {
            begin_s,
            samples,
            complete_s,
            pause_s,
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let frames = prop::collection::vec(frame(), 1..25);
    let lengths = prop::sample::select(vec![1_i64, 7, 60, 3_600]);
    let bounds = (0.1_f64..0.6, prop::sample::select(vec![0.0, 0.05, 2.0]));
    (frames, lengths, 0_i64..90, bounds).prop_map(
        |(mut frames, length_s, lateness_s, (max, deadband))| {
            // Frames drift forward, so that some samples are late and others are not.
            for (number, frame) in frames.iter_mut().enumerate() {
                frame.begin_s = frame.begin_s / 2 + number as u64 * 40;
            }
            Case {
                frames,
                length_s,
                lateness_s,
                max,
                deadband,
            }
        },
    )
}

type Row = (u64, i64);

/// Event times and values by sensor and window start.
type Windows = BTreeMap<(String, i64), Vec<(i64, f64)>>;

impl Frame {
    fn blocks(&self) -> [Vec<Row>; 2] {
        let mut blocks = [Vec::new(), Vec::new()];
        let mut at = self.begin_s;
        for (apart, raw, second) in &self.samples {
            at += apart;
            blocks[usize::from(*second)].push((at * S, *raw));
        }
        blocks
    }

    fn complete_us(&self) -> u64 {
        let last = self.samples.iter().map(|(apart, ..)| apart).sum::<u64>();
        (self.begin_s + last.min(self.complete_s)) * S
    }
}

impl Case {
    fn rule(&self) -> Rule {
        Rule {
            keep: Some(Keep {
                min: None,
                max: Some(self.max),
                rate_max: None,
            }),
            thin: Some(Thinning::deadband(self.deadband)),
            ..rule("r", self.length_s, self.lateness_s)
        }
    }

    fn script(&self, subscribed: bool) -> Script {
        let mut script = Script::new(&[self.rule()]);
        script.subscribed(subscribed);
        for frame in &self.frames {
            script.pass(frame.pause_s * S);
            let [a, b] = frame.blocks();
            let blocks: Vec<_> = [(0_u16, &a[..]), (1, &b[..])]
                .into_iter()
                .filter(|(_, rows)| !rows.is_empty())
                .collect();
            script.batch(frame.complete_us(), &blocks);
        }
        // A new incarnation closes whatever is open.
        script.incarnation.0 += 1;
        script.catalog(&two_sensors());
        script
    }

    /// Samples by (sensor, window start), and how many were late and filtered.
    fn windows(&self) -> (Windows, u64, u64) {
        let mut windows = Windows::new();
        let (mut late, mut filtered) = (0, 0);
        let mut watermark_us = i64::MIN;
        let mut kept: BTreeMap<&str, f64> = BTreeMap::new();
        for frame in &self.frames {
            let scales = [("a", 100.0), ("b", 1.0)];
            for ((sensor, scale), rows) in scales.into_iter().zip(frame.blocks()) {
                for (at, raw) in rows {
                    let number = raw as f64 / scale;
                    let apart = kept.get(sensor).map(|last| {
                        // Decimals as people subtract them.
                        ((number - last).abs() * scale).round() / scale
                    });
                    if number > self.max || apart.is_some_and(|apart| apart < self.deadband) {
                        filtered += 1;
                        continue;
                    }
                    kept.insert(sensor, number);
                    let time_us = EPOCH_US + at as i64;
                    let length_us = self.length_s * SECOND_US;
                    let start_us = time_us.div_euclid(length_us) * length_us;
                    if start_us + length_us + self.lateness_s * SECOND_US <= watermark_us {
                        late += 1;
                        continue;
                    }
                    let key = (sensor.to_owned(), start_us);
                    windows.entry(key).or_default().push((time_us, number));
                }
            }
            watermark_us = watermark_us.max(EPOCH_US + frame.complete_us() as i64);
        }
        (windows, late, filtered)
    }

    fn check(&self, run: &Run) -> Result<(), TestCaseError> {
        let (windows, late, filtered) = self.windows();
        let mut last = BTreeMap::new();
        let mut fresh: BTreeMap<_, u64> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for one in &run.emitted {
            let record = &one.record;
            let key = (record.sensor.clone(), record.start_us);
            let revision = last
                .get(&key)
                .map_or(0, |before: &&crate::record::Record| before.revision + 1);
            prop_assert_eq!(record.revision, revision);
            prop_assert!(ids.insert(record.id));
            prop_assert!(record.fresh > 0);
            *fresh.entry(key.clone()).or_default() += record.fresh;
            last.insert(key, record);
        }
        prop_assert_eq!(
            last.keys().collect::<Vec<_>>(),
            windows.keys().collect::<Vec<_>>()
        );
        for (key, samples) in &windows {
            let record = last[key];
            prop_assert_eq!(record.samples, samples.len() as u64);
            prop_assert_eq!(fresh[key], samples.len() as u64);
            let numbers: Vec<f64> = samples.iter().map(|(_, number)| *number).collect();
            let mut sorted = numbers.clone();
            sorted.sort_by(f64::total_cmp);
            let middle = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
            let first = samples
                .iter()
                .min_by_key(|(time_us, _)| *time_us)
                .unwrap()
                .1;
            let latest = samples
                .iter()
                .max_by_key(|(time_us, _)| *time_us)
                .unwrap()
                .1;
            for (name, wanted) in [
                ("sum", numbers.iter().sum()),
                ("min", sorted[0]),
                ("max", sorted[sorted.len() - 1]),
                ("first", first),
                ("last", latest),
                ("p50", middle),
            ] {
                let found = value(record, name).unwrap();
                prop_assert!(
                    (found - wanted).abs() < 1e-9,
                    "{} is {} not {}",
                    name,
                    found,
                    wanted
                );
            }
        }
        let counters = run.pipeline.counters();
        let rules = || {
            counters.devices["dev"]
                .sensors
                .values()
                .filter_map(|one| one.rules.get("r"))
        };
        prop_assert_eq!(rules().map(|rule| rule.late).sum::<u64>(), late);
        prop_assert_eq!(
            rules().flat_map(|rule| rule.filtered.values()).sum::<u64>(),
            filtered
        );
        Ok(())
    }
}

fn check_balance(run: &Run) -> Result<(), TestCaseError> {
    let counters = run.pipeline.counters();
    for sensor in counters
        .devices
        .values()
        .flat_map(|one| one.sensors.values())
    {
        for rule in sensor.rules.values() {
            let filtered: u64 = rule.filtered.values().sum();
            prop_assert_eq!(rule.matched, filtered + rule.late + rule.folded + rule.open);
            prop_assert_eq!(rule.matched, sensor.logged);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn windows_closed_by_the_watermark_hold_what_a_batch_computation_says(case in case()) {
        let run = case.script(false).run();
        case.check(&run)?;
        check_balance(&run)?;
        prop_assert!(run.emitted.iter().all(|one| one.record.revision == 0));
    }

    #[test]
    fn early_closes_and_revisions_end_at_the_same_windows(case in case()) {
        let run = case.script(true).run();
        case.check(&run)?;
        check_balance(&run)?;
    }

    #[test]
    fn the_books_balance_after_every_entry(case in case()) {
        let script = case.script(true);
        for length in 0..script.log.len() {
            let mut cut = script.clone();
            cut.log.truncate(length);
            if cut.log.len() % 5 == 0 {
                check_balance(&cut.run())?;
            }
        }
    }
}
