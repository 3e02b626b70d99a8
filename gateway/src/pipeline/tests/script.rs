//! Scripts: a device and a gateway that write a log, entry by entry, on clocks set by hand.

use std::collections::BTreeMap;

use tidegate_shared::batch::{self, BatchHead, BlockSource};
use tidegate_shared::block::BadSet;
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, DeviceName, Incarnation, Mark, SiteName};
use tidegate_shared::message::{
    CatalogPart, ClockSource, Counts, DeviceClock, Event, EventCode, TotalsHead, up, write,
    write_totals,
};

use crate::entry::{Entry, FrameEntry, LinkChange, LinkEntry, Logged, Verdict};
use crate::pipeline::Pipeline;
use crate::record::{Emitted, Record, Value};
use crate::rules::{Aggregate, Late, Match, Priority, Rule, RuleSet, Window};
use crate::time::{SECOND_US, Timestamp};

/// The device's own clock says this at uptime 0; a whole number of hours.
pub const EPOCH_US: i64 = 1_700_002_800 * SECOND_US;
/// A second of uptime.
pub const S: u64 = 1_000_000;

/// Samples of one sensor: uptime in µs and raw value.
pub type Samples<'a> = (u16, &'a [(u64, i64)]);

/// A log in the writing.
#[derive(Debug, Clone)]
pub struct Script {
    pub log: Vec<Logged>,
    pub start: u32,
    pub at: Timestamp,
    pub device: &'static str,
    pub incarnation: Incarnation,
    pub mark: Mark,
    pub catalog: CatalogHash,
}

pub fn name(text: &str) -> DeviceName {
    DeviceName::try_from(text).unwrap()
}

pub fn site() -> SiteName {
    SiteName::try_from("site").unwrap()
}

/// Two sensors: `a` with two decimals, `b` with none.
pub fn two_sensors() -> Vec<SensorInfo<'static>> {
    vec![sensor("a", "bar", -2), sensor("b", "", 0)]
}

pub fn sensor(name: &str, unit: &'static str, exponent: i8) -> SensorInfo<'static> {
    SensorInfo {
        id: name.try_into().unwrap(),
        unit,
        kind: Kind::Gauge,
        scale: Scale::decimal(exponent),
        urgent: false,
        tags: heapless::Vec::new(),
    }
}

pub fn catalog_bytes(sensors: &[SensorInfo<'_>]) -> Vec<u8> {
    let mut out = vec![0; 64 * 1_024];
    catalog::write(sensors, &mut out).unwrap().to_vec()
}

/// A rule over every sensor with windows of `length_s` seconds.
pub fn rule(name: &str, length_s: i64, lateness_s: i64) -> Rule {
    Rule {
        window: Some(Window::tumbling(
            length_s * SECOND_US,
            lateness_s * SECOND_US,
            Late::Revise,
        )),
        aggregates: vec![
            Aggregate::Count,
            Aggregate::Sum,
            Aggregate::Min,
            Aggregate::Max,
            Aggregate::First,
            Aggregate::Last,
            Aggregate::Stddev,
            Aggregate::Percentile(500),
        ],
        ..passing(name)
    }
}

/// A rule over every sensor without windows.
pub fn passing(name: &str) -> Rule {
    Rule {
        name: name.into(),
        matching: Match::names("*", "*"),
        keep: None,
        thin: None,
        window: None,
        aggregates: Vec::new(),
        priority: Priority::Normal,
        forward: vec!["cloud".into()],
        ..Rule::default()
    }
}

impl Script {
    /// A gateway that just started, and nothing of a device yet.
    pub fn empty() -> Self {
        let mut script = Self {
            log: Vec::new(),
            start: 0,
            at: Timestamp {
                mono_us: 0,
                wall_us: EPOCH_US + 3_600 * SECOND_US,
                wall_trusted: true,
            },
            device: "dev",
            incarnation: Incarnation(7),
            mark: Mark {
                boot: 1,
                sequence: 0,
            },
            catalog: CatalogHash(0),
        };
        script.restart();
        script
    }

    /// A gateway with rules, subscribed, and a device with its own clock and two sensors.
    pub fn new(rules: &[Rule]) -> Self {
        let mut script = Self::empty();
        script.rules(rules);
        script.subscribed(true);
        script.open(10_000);
        script.catalog(&two_sensors());
        script.clock(0, EPOCH_US);
        script
    }

    pub fn push(&mut self, entry: Entry) {
        self.log.push(Logged {
            start: self.start,
            at: self.at,
            entry,
        });
    }

    /// Time passes on both clocks.
    pub fn pass(&mut self, us: u64) {
        self.at.mono_us += us;
        self.at.wall_us += us as i64;
    }

    /// The gateway starts (again).
    pub fn restart(&mut self) {
        self.start += 1;
        self.at.mono_us = 0;
        self.push(Entry::Started {
            engine: crate::entry::ENGINE,
            log_incarnation: 1,
            term: self.start,
            site: "site".into(),
        });
    }

    pub fn rules(&mut self, rules: &[Rule]) {
        let set = RuleSet {
            rules: rules.to_vec(),
        };
        let text = serde_json::to_string(&set).unwrap();
        self.push(Entry::Rules { text });
    }

    pub fn link(&mut self, change: LinkChange) {
        self.push(Entry::Link(LinkEntry {
            device: Some(name(self.device)),
            change,
        }));
    }

    pub fn subscribed(&mut self, subscribed: bool) {
        self.push(Entry::Link(LinkEntry {
            device: None,
            change: LinkChange::Subscribed(subscribed),
        }));
    }

    pub fn open(&mut self, hold_ms: u32) {
        self.link(LinkChange::Opened {
            incarnation: self.incarnation,
            boot: self.mark.boot,
            hold_ms,
            has_clock: true,
            firmware: "test 1".into(),
        });
    }

    /// The next frame, its body written by `body`.
    pub fn frame(
        &mut self,
        body: impl FnOnce(
            &mut tidegate_shared::body::Writer<'_>,
        ) -> Result<(), tidegate_shared::body::BodyError>,
    ) {
        self.mark.sequence += 1;
        let mut out = vec![0; 8_192];
        let header = Header {
            key_id: 0,
            incarnation: self.incarnation,
            mark: self.mark,
        };
        let (bytes, _) = frame::write(&header, &mut out, body).unwrap();
        let bytes = bytes.to_vec();
        self.raw(bytes, Verdict::Next);
    }

    pub fn raw(&mut self, bytes: Vec<u8>, verdict: Verdict) {
        self.push(Entry::Frame(FrameEntry {
            device: name(self.device),
            key_id: 0,
            verdict,
            bytes,
        }));
    }

    pub fn catalog(&mut self, sensors: &[SensorInfo<'_>]) {
        let bytes = catalog_bytes(sensors);
        self.catalog = catalog::hash(&bytes);
        let half = bytes.len() / 2;
        for (part, range) in [(0, 0..half), (1, half..bytes.len())] {
            let part = CatalogPart {
                hash: self.catalog,
                part,
                parts: 2,
                bytes: &bytes[range],
            };
            self.frame(|writer| write(writer, up::CATALOG, &part));
        }
    }

    pub fn clock(&mut self, uptime_us: u64, utc_us: i64) {
        let clock = DeviceClock {
            uptime_us,
            utc_us,
            error_us: 0,
            source: ClockSource::Trace,
        };
        self.frame(|writer| write(writer, up::CLOCK, &clock));
    }

    pub fn event(&mut self, code: EventCode) {
        let event = Event { uptime_us: 0, code };
        self.frame(|writer| write(writer, up::EVENT, &event));
    }

    pub fn totals(&mut self, counts: &[Counts]) {
        let head = TotalsHead {
            catalog: self.catalog,
            uptime_us: 0,
            first: 0,
            count: counts.len() as u16,
        };
        self.frame(|writer| write_totals(writer, &head, counts.iter().copied()));
    }

    /// A batch complete until an uptime.
    pub fn batch(&mut self, complete_until_us: u64, blocks: &[Samples<'_>]) {
        self.batch_with(complete_until_us, blocks, BadSet::default());
    }

    pub fn batch_with(&mut self, complete_until_us: u64, blocks: &[Samples<'_>], bad: BadSet) {
        let times = blocks.iter().flat_map(|(_, samples)| *samples);
        let base_us = times.map(|(at, _)| *at).min().unwrap_or(0);
        let columns: Vec<(u16, Vec<u32>, Vec<i64>)> = blocks
            .iter()
            .map(|(sensor, samples)| {
                let offsets = samples.iter().map(|(at, _)| (at - base_us) as u32);
                let raws = samples.iter().map(|(_, raw)| *raw);
                (*sensor, offsets.collect(), raws.collect())
            })
            .collect();
        let head = BatchHead {
            catalog: self.catalog,
            base_us,
            complete_until_us,
        };
        let sources = columns.iter().map(|(sensor, offsets, raws)| BlockSource {
            sensor: *sensor,
            first_index: 0,
            offsets_us: offsets,
            raws,
            bad,
        });
        self.frame(|writer| batch::write(writer, &head, sources));
    }

    pub fn tick(&mut self) {
        self.push(Entry::Tick);
    }

    /// Runs the whole log.
    pub fn run(&self) -> Run {
        let mut pipeline = Pipeline::new(&site());
        let mut emitted = Vec::new();
        for (position, logged) in self.log.iter().enumerate() {
            pipeline.apply(position as u64, logged, &mut emitted);
        }
        Run { pipeline, emitted }
    }

    /// Runs the whole log, with a restart from a base before every entry.
    pub fn run_from_every_base(&self) -> Run {
        let mut pipeline = Pipeline::new(&site());
        let mut emitted = Vec::new();
        for (position, logged) in self.log.iter().enumerate() {
            (pipeline, _) = Pipeline::restore(&site(), &pipeline.snapshot());
            pipeline.apply(position as u64, logged, &mut emitted);
        }
        Run { pipeline, emitted }
    }
}

/// What a log gave.
#[derive(Debug)]
pub struct Run {
    pub pipeline: Pipeline,
    pub emitted: Vec<Emitted>,
}

impl Run {
    /// Records as `rule sensor start+seconds.revision:samples/fresh`, starts counted from
    /// [`EPOCH_US`].
    pub fn lines(&self) -> Vec<String> {
        self.emitted.iter().map(|one| line(&one.record)).collect()
    }

    /// The one line each of an expected text.
    pub fn assert(&self, wanted: &[&str]) {
        assert_eq!(self.lines(), wanted);
    }
}

pub fn line(record: &Record) -> String {
    let start = (record.start_us - EPOCH_US) / SECOND_US;
    format!(
        "{} {} {start}.{}:{}/{}",
        record.rule, record.sensor, record.revision, record.samples, record.fresh
    )
}

/// A record's value by name.
pub fn value(record: &Record, name: &str) -> Option<f64> {
    let values: BTreeMap<_, _> = record.values.iter().cloned().collect();
    values.get(name).map(|value| match value {
        Value::Count(count) => *count as f64,
        Value::Number(number) => *number,
        Value::Counts(counts) => panic!("{name} is {counts:?}"),
    })
}
