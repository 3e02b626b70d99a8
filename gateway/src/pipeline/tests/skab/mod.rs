//! Real input: a pump's sensors through the device's own batches and the pipeline, with every
//! shape of windows and every aggregate, against a plain recomputation from the files.
//!
//! `TIDEGATE_DATA` names the folder that holds `skab/*.csv`: semicolons, the time first.

mod recomputation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate_firmware::batch::{Batch, BatchConfig, Sample};
use tidegate_firmware::sensor::Reading;
use tidegate_shared::catalog::SensorInfo;

use self::recomputation::{Answer, Point, answers, windows};
use super::model::expression;
use super::script::{Script, passing, sensor};
use crate::record::{Record, Value};
use crate::rules::expression::Type;
use crate::rules::{Aggregate, Calendar, Group, Late, Rule, Shape, Window};
use crate::time::SECOND_US;

/// Digits behind the point that are kept of every column.
const DECIMALS: u8 = 6;
const FIRST_US: u64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const BLOCK_SAMPLES: usize = 60;
/// Columns of a file: 8 sensors, and in some files two labels.
const COLUMNS_MAX: usize = 10;
/// Samples up to which percentiles are exact.
const EXACT_MAX: usize = 256;

/// A file: titles as sensors' names, and each column's points.
struct File {
    names: Vec<String>,
    columns: Vec<Vec<Point>>,
}

/// The day of Berlin that holds the whole file.
fn berlin_day_us(column: &[Point]) -> (i64, i64) {
    // All files are of February and March 2020, before the clocks changed.
    let (ahead_us, day_us) = (60 * MINUTE_US, 1_440 * MINUTE_US);
    let local_us = column[0].0 + ahead_us;
    let start_us = local_us.div_euclid(day_us) * day_us - ahead_us;
    assert!(column[column.len() - 1].0 < start_us + day_us);
    (start_us, start_us + day_us)
}

impl File {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        let titles = lines.next().unwrap().split(';').skip(1);
        let names: Vec<String> = titles.map(|title| title.replace(' ', "_")).collect();
        let mut columns: Vec<Vec<Point>> = vec![Vec::new(); names.len()];
        for line in lines.filter(|line| !line.is_empty()) {
            let mut cells = line.split(';');
            let time = cells.next().unwrap().replace(' ', "T");
            let time: jiff::Timestamp = format!("{time}Z").parse().unwrap();
            let time_us = time.as_microsecond();
            if columns[0].last().is_some_and(|last| time_us <= last.0) {
                continue;
            }
            for (column, cell) in columns.iter_mut().zip(cells) {
                let power = 10_f64.powi(DECIMALS.into());
                let value = cell.parse::<f64>().unwrap();
                column.push((time_us, (value * power).round() / power));
            }
        }
        Self { names, columns }
    }

    fn sensors(&self) -> Vec<SensorInfo<'static>> {
        let names = self.names.iter();
        names
            .map(|name| sensor(name, "", -(DECIMALS as i8)))
            .collect()
    }

    /// What the device sends of it, as a gateway logs it.
    fn log(&self, rules: &[Rule]) -> Script {
        let mut script = Script::empty();
        let first_us = self.columns[0][0].0;
        script.at.wall_us = first_us + 86_400 * SECOND_US;
        script.rules(rules);
        script.open(10_000);
        script.catalog(&self.sensors());
        script.clock(FIRST_US, first_us);
        let mut batch = Box::new(Batch::<COLUMNS_MAX, BLOCK_SAMPLES>::new(
            BatchConfig::default(),
        ));
        let catalog = script.catalog;
        let mut complete_us = FIRST_US;
        for row in 0..self.columns[0].len() {
            let time_us = FIRST_US + (self.columns[0][row].0 - first_us) as u64;
            if batch.is_due(time_us) {
                script.frame(|writer| batch.write(writer, catalog, complete_us));
                batch.clear();
            }
            for (number, column) in self.columns.iter().enumerate() {
                let raw = (column[row].1 * 10_f64.powi(DECIMALS.into())).round() as i64;
                let sample = Sample {
                    sensor: number as u16,
                    time_us,
                    reading: Reading::Good(raw),
                    index: row as u64,
                    urgent: false,
                };
                if batch.push(&sample).is_err() {
                    // In the middle of a row: complete up to the one before.
                    script.frame(|writer| batch.write(writer, catalog, complete_us));
                    batch.clear();
                    batch.push(&sample).unwrap();
                }
            }
            // All that was read at this time is there.
            complete_us = time_us + 1;
        }
        script.frame(|writer| batch.write(writer, catalog, complete_us));
        // Another incarnation: whatever is open closes.
        script.incarnation.0 += 1;
        script.catalog(&self.sensors());
        script
    }
}

fn rules() -> Vec<Rule> {
    let length_us = 5 * MINUTE_US;
    let shapes = [
        ("tumbling", Shape::Tumbling { length_us }),
        (
            "hopping",
            Shape::Hopping {
                length_us: 3 * length_us,
                every_us: length_us,
            },
        ),
        (
            "sliding",
            Shape::Sliding {
                length_us: 30 * SECOND_US,
            },
        ),
        (
            "session",
            Shape::Session {
                gap_us: 2 * SECOND_US,
                length_max_us: 60 * MINUTE_US,
            },
        ),
        ("count", Shape::Count { samples: 100 }),
        (
            "day",
            Shape::Calendar {
                every: Calendar::Day,
                zone: "Europe/Berlin".into(),
            },
        ),
    ];
    let mut rules: Vec<Rule> = shapes
        .into_iter()
        .map(|(name, shape)| rule(name, shape))
        .collect();
    rules.push(Rule {
        group: Group::Device,
        ..rule("device", Shape::Tumbling { length_us })
    });
    rules
}

fn rule(name: &str, shape: Shape) -> Rule {
    let aggregates = [
        Aggregate::Count,
        Aggregate::Sum,
        Aggregate::Min,
        Aggregate::Max,
        Aggregate::Mean,
        Aggregate::Stddev,
        Aggregate::First,
        Aggregate::Last,
        Aggregate::Percentile(50),
        Aggregate::Percentile(950),
        Aggregate::Median,
        Aggregate::Range,
        Aggregate::TimeWeightedMean,
        Aggregate::Delta,
        Aggregate::Rate,
        Aggregate::ShareOfTime {
            name: "hot".into(),
            condition: expression("value > 20", Type::Bool, &["value"]),
        },
        Aggregate::Histogram {
            name: "spread".into(),
            bounds: vec![0.0, 0.2, 1.0, 50.0, 100.0, 230.0],
        },
    ];
    Rule {
        window: Some(Window {
            shape,
            lateness_us: 10 * SECOND_US,
            late: Late::Revise,
            hold_us: 5 * SECOND_US,
        }),
        aggregates: aggregates.to_vec(),
        ..passing(name)
    }
}

/// A record's values, one per sensor and aggregate.
fn found(record: &Record) -> BTreeMap<(String, String), Answer> {
    let values = record.values.iter().map(|(name, value)| {
        let (sensor, name) = match name.split_once('.') {
            Some(both) => both,
            None => (record.sensor.as_str(), name.as_str()),
        };
        let answer = match value {
            Value::Count(count) => Answer::Number(*count as f64),
            Value::Number(number) => Answer::Number(*number),
            Value::Counts(counts) => Answer::Counts(counts.clone()),
        };
        ((sensor.to_owned(), name.to_owned()), answer)
    });
    values.collect()
}

fn is_near(name: &str, samples: usize, found: &Answer, wanted: &Answer, size: f64) -> bool {
    let (Answer::Number(found), Answer::Number(wanted)) = (found, wanted) else {
        return found == wanted;
    };
    let coarse = samples > EXACT_MAX && matches!(name, "p5" | "p95" | "median");
    let error = if coarse {
        0.01 * wanted.abs()
    } else {
        1e-11 * size
    };
    (found - wanted).abs() <= error.max(1e-9)
}

fn check(path: &Path) -> usize {
    let file = File::read(path);
    let rules = rules();
    let script = file.log(&rules);
    let run = script.run();
    let complete_us = file.columns[0][file.columns[0].len() - 1].0 + 1;
    let mut records: BTreeMap<(&str, i64, i64, String), BTreeMap<String, Answer>> = BTreeMap::new();
    for one in &run.emitted {
        let record = &one.record;
        assert_eq!(record.revision, 0, "{record:?}");
        for ((sensor, name), answer) in found(record) {
            let key = (record.rule.as_str(), record.start_us, record.end_us, sensor);
            let known = records.entry(key).or_default().insert(name, answer);
            assert_eq!(known, None, "two records of one window: {record:?}");
        }
    }
    let mut compared = 0;
    for rule in &rules {
        for (name, column) in file.names.iter().zip(&file.columns) {
            for stretch in windows(rule, column, berlin_day_us(column)) {
                let key = (
                    rule.name.as_str(),
                    stretch.start_us,
                    stretch.end_us,
                    name.clone(),
                );
                let Some(found) = records.remove(&key) else {
                    panic!("{}: no record of {key:?}", path.display());
                };
                let wanted = answers(rule, &stretch, complete_us);
                let names =
                    |all: &BTreeMap<String, Answer>| all.keys().cloned().collect::<Vec<_>>();
                assert_eq!(names(&found), names(&wanted), "{key:?}");
                // What rounding in a sum goes by.
                let size = stretch.points.iter().map(|(_, value)| value.abs()).sum();
                for (aggregate, wanted) in &wanted {
                    let found = &found[aggregate];
                    let samples = stretch.points.len();
                    assert!(
                        is_near(aggregate, samples, found, wanted, size),
                        "{}: {aggregate} of {key:?} is {found:?} not {wanted:?}",
                        path.display()
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(records.is_empty(), "also {:?}", records.keys().next());
    compared
}

#[test]
fn windows_of_a_pumps_sensors_are_those_of_a_plain_recomputation() {
    let Some(data) = std::env::var_os("TIDEGATE_DATA") else {
        println!("left out: TIDEGATE_DATA is not set");
        return;
    };
    let folder = Path::new(&data).join("skab");
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("TIDEGATE_DATA: {}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_csv = |path: &PathBuf| path.extension().is_some_and(|one| one == "csv");
    let mut paths: Vec<PathBuf> = paths.filter(is_csv).collect();
    paths.sort();
    assert!(
        !paths.is_empty(),
        "TIDEGATE_DATA: {} holds no CSV file",
        folder.display()
    );
    for path in paths {
        println!("{}: {} values compared", path.display(), check(&path));
    }
}
