//! How many samples a second the pipeline takes from encoded frames, on one core.
//!
//! The yardstick beside it is a plain loop over the same frames that decodes every block into an
//! array and adds the raw values up. Both get frames of 8 sensors × 60 samples; a ratio of both,
//! measured in turns within one run, is printed at the end; and how many rules a second are
//! evaluated when 300 of them take the same sensor, with the bytes that a rule holds of a sensor.

#![expect(
    clippy::unwrap_used,
    reason = "a bench runs on input it made itself; a fault there is to stop it"
)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group};
use tidegate_gateway::entry::{Entry, FrameEntry, Logged, Verdict};
use tidegate_gateway::pipeline::Pipeline;
use tidegate_gateway::rules::expression::{self, Constant, Expression, Scope, Type};
use tidegate_gateway::rules::{
    Aggregate, Alert, Keep, Late, Match, Priority, Rule, RuleSet, Thinning, Window,
};
use tidegate_gateway::time::{Clock, SECOND_US, SystemClock, Timestamp};
use tidegate_shared::batch::{self, BatchHead, BatchReader, BlockSource, Scratch};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{DeviceName, Incarnation, Mark, SiteName};
use tidegate_shared::message::{CatalogPart, ClockSource, DeviceClock, Up, up, write};

const SENSORS: u16 = 8;
const ROWS: u64 = 60;
const FRAMES: u64 = 500;
const SAMPLES: u64 = SENSORS as u64 * ROWS * FRAMES;
const RULES: usize = 300;
const UTC_US: i64 = 1_700_000_000 * SECOND_US;

fn rule(aggregates: &[Aggregate]) -> Rule {
    Rule {
        name: "minute".into(),
        matching: Match::names("*", "*"),
        keep: Some(Keep {
            min: Some(-40.0),
            max: Some(125.0),
            rate_max: None,
        }),
        thin: None,
        window: Some(Window::tumbling(
            60 * SECOND_US,
            30 * SECOND_US,
            Late::Revise,
        )),
        aggregates: aggregates.to_vec(),
        priority: Priority::Normal,
        forward: vec!["cloud".into()],
        ..Rule::default()
    }
}

const SCALARS: [Aggregate; 5] = [
    Aggregate::Count,
    Aggregate::Sum,
    Aggregate::Min,
    Aggregate::Max,
    Aggregate::Mean,
];

/// A device's log entries: what comes before its batches, then the batches.
struct Trace {
    before: Vec<Logged>,
    batches: Vec<Logged>,
}

impl Trace {
    fn new() -> Self {
        let mut trace = Self {
            before: Vec::new(),
            batches: Vec::new(),
        };
        let sensors: Vec<SensorInfo<'_>> = (0..SENSORS)
            .map(|number| SensorInfo {
                id: format!("s{number}").as_str().try_into().unwrap(),
                unit: "C",
                kind: Kind::Gauge,
                scale: Scale::decimal(-2),
                urgent: false,
                tags: heapless::Vec::new(),
            })
            .collect();
        let mut bytes = [0; 1_024];
        let bytes = catalog::write(&sensors, &mut bytes).unwrap();
        let part = CatalogPart {
            hash: catalog::hash(bytes),
            part: 0,
            parts: 1,
            bytes,
        };
        let clock = DeviceClock {
            uptime_us: 0,
            utc_us: UTC_US,
            error_us: 0,
            source: ClockSource::Sntp,
        };
        trace.before.push(logged(Entry::Started {
            engine: tidegate_gateway::entry::ENGINE,
            log_incarnation: 1,
            term: 1,
            site: "bench".into(),
        }));
        trace
            .before
            .push(sequenced(1, |w| write(w, up::CATALOG, &part)));
        trace
            .before
            .push(sequenced(2, |w| write(w, up::CLOCK, &clock)));
        for number in 0..FRAMES {
            trace.batches.push(batch(number, part.hash));
        }
        trace
    }

    /// A pipeline that is about to get the batches.
    fn pipeline(&self, aggregates: &[Aggregate]) -> Pipeline {
        self.pipeline_of(vec![rule(aggregates)])
    }

    fn pipeline_of(&self, rules: Vec<Rule>) -> Pipeline {
        let site = SiteName::try_from("bench").unwrap();
        let mut pipeline = Pipeline::new(&site);
        let set = RuleSet { rules };
        let text = serde_json::to_string(&set).unwrap();
        let mut out = Vec::new();
        for entry in self.before.iter().chain([&logged(Entry::Rules { text })]) {
            pipeline.apply(0, entry, &mut out);
        }
        pipeline
    }

    /// Runs all batches through a pipeline; says how many records came.
    fn run(&self, mut pipeline: Pipeline) -> usize {
        let mut out = Vec::new();
        let mut records = 0;
        for entry in &self.batches {
            pipeline.apply(1, entry, &mut out);
            records += out.len();
            out.clear();
        }
        records
    }

    /// Decodes all batches into an array and adds.
    fn plain(&self) -> i64 {
        let mut scratch = Scratch::default();
        let mut sum = 0;
        for entry in &self.batches {
            let Entry::Frame(entry) = &entry.entry else {
                continue;
            };
            let frame = frame::read(&entry.bytes).unwrap();
            let Up::Batch(body) = Up::read(frame.body).unwrap() else {
                continue;
            };
            let mut reader = BatchReader::new(body).unwrap();
            while let Some(block) = reader.next_block(&mut scratch).unwrap() {
                sum += block.raws.iter().sum::<i64>();
            }
        }
        sum
    }
}

fn logged(entry: Entry) -> Logged {
    let at = Timestamp {
        mono_us: 0,
        wall_us: UTC_US + 86_400 * SECOND_US,
        wall_trusted: true,
    };
    Logged {
        start: 1,
        at,
        entry,
    }
}

fn sequenced(sequence: u32, body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>) -> Logged {
    let header = Header {
        key_id: 0,
        incarnation: Incarnation(1),
        mark: Mark { boot: 1, sequence },
    };
    let mut out = [0; 8_192];
    let (bytes, _) = frame::write(&header, &mut out, body).unwrap();
    logged(Entry::Frame(FrameEntry {
        device: DeviceName::try_from("dev").unwrap(),
        key_id: 0,
        verdict: Verdict::Next,
        bytes: bytes.to_vec(),
    }))
}

/// A minute of 8 sensors at 1 Hz: random walks of hundredths.
fn batch(number: u64, catalog: tidegate_shared::ids::CatalogHash) -> Logged {
    let second = SECOND_US as u64;
    let mut seed = 0x9e37_79b9_7f4a_7c15 ^ (number + 1);
    let offsets: Vec<u32> = (0..ROWS).map(|row| (row * second) as u32).collect();
    let columns: Vec<Vec<i64>> = (0..SENSORS)
        .map(|sensor| {
            let mut raw = 2_000 + i64::from(sensor) * 100;
            offsets
                .iter()
                .map(|_| {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    raw += (seed % 9) as i64 - 4;
                    raw
                })
                .collect()
        })
        .collect();
    let head = BatchHead {
        catalog,
        base_us: number * ROWS * second,
        complete_until_us: (number + 1) * ROWS * second - 1,
    };
    let blocks = (0..SENSORS)
        .zip(&columns)
        .map(|(sensor, raws)| BlockSource {
            sensor,
            first_index: (number * ROWS) as u16,
            offsets_us: &offsets,
            raws,
            bad: BadSet::default(),
        });
    sequenced(3 + number as u32, |writer| {
        batch::write(writer, &head, blocks)
    })
}

fn benchmark(criterion: &mut Criterion) {
    let trace = Trace::new();
    let mut with_p95 = SCALARS.to_vec();
    with_p95.push(Aggregate::Percentile(950));
    let mut group = criterion.benchmark_group("pipeline");
    group
        .throughput(Throughput::Elements(SAMPLES))
        .sample_size(10);
    group.bench_function("plain decode and add", |bench| {
        bench.iter(|| black_box(trace.plain()));
    });
    for (name, aggregates) in [
        ("decode, keep, one window", &SCALARS[..]),
        ("decode, keep, one window with p95", &with_p95),
    ] {
        group.bench_function(name, |bench| {
            bench.iter(|| black_box(trace.run(trace.pipeline(aggregates))));
        });
    }
    group.finish();
    print_ratios(&trace, &with_p95);
    print_many(&trace);
}

/// Rules of one sensor, as a plant with many questions would have them: of ten, four are plain
/// windows, two have a deadband, two a condition that is an interval, one is an alert, and one
/// has an expression that is none; one of thirty has a percentile.
fn many(sensor: &str) -> Vec<Rule> {
    let condition = |text: String| -> Expression {
        let scope = Scope {
            numbers: &["value"],
            texts: Constant::ALL,
            tags: true,
        };
        expression::parse(&text, Type::Bool, &scope).unwrap()
    };
    let lengths_s = [10, 60, 300, 900, 3_600];
    let rules = (0..RULES).map(|number| {
        let mut rule = rule(&SCALARS);
        rule.name = format!("rule-{number}");
        rule.matching = Match::names("*", sensor);
        let length_us = lengths_s[number / 10 % lengths_s.len()] * SECOND_US;
        rule.window = Some(Window::tumbling(length_us, 30 * SECOND_US, Late::Revise));
        let bound = 18 + number % 7;
        match number % 10 {
            0 if number % 30 == 0 => rule.aggregates.push(Aggregate::Percentile(950)),
            4 | 5 => rule.thin = Some(Thinning::deadband(0.02 * (1 + number % 4) as f64)),
            6 | 7 => rule.when = Some(condition(format!("value > {bound} && value < 40"))),
            8 => {
                rule.window = None;
                rule.aggregates.clear();
                rule.alert = Some(Alert {
                    when: Some(condition(format!("value > {bound}"))),
                    for_us: 5 * SECOND_US,
                    historic_after_us: 300 * SECOND_US,
                    ..Alert::default()
                });
            }
            9 => {
                let text = format!("value * 1.8 + 32 > {} || unit == \"K\"", 2 * bound);
                rule.when = Some(condition(text));
            }
            _ => {}
        }
        rule
    });
    rules.collect()
}

/// The evaluations a second of many rules beside those of one, and what a lane takes.
fn print_many(trace: &Trace) {
    let clock = SystemClock::new();
    let samples = FRAMES * ROWS;
    let timed = |rules: Vec<Rule>| {
        let pipeline = trace.pipeline_of(rules);
        let began_us = clock.now().mono_us;
        black_box(trace.run(pipeline));
        (clock.now().mono_us - began_us) as f64
    };
    let alone = || {
        let mut rules = many("s0");
        rules.truncate(2);
        rules.split_off(1)
    };
    let mut best = [f64::INFINITY; 3];
    for _ in 0..10 {
        best[0] = best[0].min(timed(Vec::new()));
        best[1] = best[1].min(timed(alone()));
        best[2] = best[2].min(timed(many("s0")));
    }
    let [none, one, all] = best;
    let rate = |us: f64, rules: usize| samples as f64 * rules as f64 / us;
    println!(
        "pipeline: {RULES} rules on one sensor of {SENSORS}: {:.1} M rule evaluations/s, decoding of all \
         included; beside decoding alone one rule takes {:.1} ns a sample, {RULES} take {:.1} ns \
         a sample and rule",
        rate(all, RULES),
        (one - none) * 1e3 / samples as f64,
        (all - none) * 1e3 / (samples as f64 * RULES as f64),
    );
    let bytes = |sensor: &str| {
        let mut pipeline = trace.pipeline_of(many(sensor));
        let mut out = Vec::new();
        pipeline.apply(1, &trace.batches[0], &mut out);
        let parts = pipeline.snapshot();
        let stored: usize = parts.iter().map(|part| part.bytes.len()).sum();
        (stored, pipeline)
    };
    let (few, all) = (bytes("s0").0, bytes("*").0);
    let lanes = (usize::from(SENSORS) - 1) * RULES;
    println!(
        "pipeline: a rule and sensor with its open windows: {} bytes stored",
        (all - few) / lanes
    );
    print_resident(trace, lanes);
}

/// Resident bytes of a rule and sensor, from what the process grows by with many pipelines.
fn print_resident(trace: &Trace, lanes: usize) {
    const PIPELINES: usize = 40;
    let grown = |sensor: &str| {
        let before = resident_kib();
        let all: Vec<Pipeline> = (0..PIPELINES)
            .map(|_| {
                let mut pipeline = trace.pipeline_of(many(sensor));
                pipeline.apply(1, &trace.batches[0], &mut Vec::new());
                pipeline
            })
            .collect();
        let used = resident_kib().saturating_sub(before);
        // Kept, so that the next ones cannot use their memory again.
        std::mem::forget(all);
        used
    };
    let (few, all) = (grown("s0"), grown("*"));
    println!(
        "pipeline: a rule and sensor with its open windows: {} bytes resident",
        all.saturating_sub(few) * 1_024 / (lanes * PIPELINES) as u64
    );
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.map_or(0, |number| number.parse().unwrap())
}

/// Measures in turns, so that a busy machine slows both sides alike.
fn print_ratios(trace: &Trace, with_p95: &[Aggregate]) {
    let clock = SystemClock::new();
    let timed = |work: &mut dyn FnMut()| {
        let began_us = clock.now().mono_us;
        work();
        clock.now().mono_us - began_us
    };
    let mut sums_us = [0; 3];
    for _ in 0..20 {
        sums_us[0] += timed(&mut || {
            black_box(trace.plain());
        });
        for (sum_us, aggregates) in sums_us[1..].iter_mut().zip([&SCALARS[..], with_p95]) {
            let pipeline = trace.pipeline(aggregates);
            let mut pipeline = Some(pipeline);
            *sum_us += timed(&mut || {
                black_box(pipeline.take().map(|pipeline| trace.run(pipeline)));
            });
        }
    }
    let rate = |us: u64| 20.0 * SAMPLES as f64 / us as f64;
    let [plain, window, p95] = sums_us.map(rate);
    println!(
        "pipeline: {window:.1} M samples/s ({:.2} of a plain decode-and-add loop's {plain:.1}); \
         with p95 {p95:.1} ({:.2})",
        window / plain,
        p95 / plain,
    );
}

criterion_group!(benches, benchmark);

fn main() {
    benches();
    Criterion::default().configure_from_args().final_summary();
}
