//! The data directory that is damaged: a few segments of everything, with records delivered,
//! waiting and evicted by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use tidegate_shared::batch::{self, BatchHead, BlockSource};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, DeviceName, Incarnation, Mark};
use tidegate_shared::message::{CatalogPart, ClockSource, DeviceClock, up, write};

use crate::disk::{Disk, FaultDisk};
use crate::entry::{ENGINE, Entry, FrameEntry, LinkChange, LinkEntry, Logged, Verdict};
use crate::log::Log;
use crate::log::batch::{BLOCK_BYTES, Header as BatchHeader};
use crate::record::Place;
use crate::rules::parse;
use crate::rules::settings::{LogSettings, Settings};
use crate::spool::journal::Shares;
use crate::spool::{Delivery, Outcome, Spool};
use crate::store::{Store, StoreError, lock};
use crate::time::{SECOND_US, Timestamp};

const CONFIGURATION: &str = r#"
    [gateway]
    site = "s"
    [mqtt]
    url = "mqtt://127.0.0.1"
    [sink.file]
    type = "file"
    path = "records"
    [sink.cloud]
    type = "http"
    url = "http://127.0.0.1/"
    [[rule]]
    name = "all"
    match = { sensor = "a" }
    forward = ["file"]
    [[rule]]
    name = "minute"
    match = { sensor = "*" }
    window = { tumbling = "10s", lateness = "1s" }
    aggregate = ["count", "mean"]
    priority = "high"
    forward = ["cloud", "file"]
"#;

const S: u64 = 1_000_000;
const BEGAN_US: i64 = 1_700_002_800 * SECOND_US;
const INCARNATION: Incarnation = Incarnation(7);

/// A batch of some file: where its bytes are (without padding), and its positions.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) range: Range<usize>,
    pub(crate) first: u64,
    pub(crate) end: u64,
}

/// What a store holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) entries: BTreeMap<u64, Vec<u8>>,
    pub(crate) waiting: BTreeMap<String, BTreeSet<Place>>,
    pub(crate) lost_records: u64,
    pub(crate) ledger: Value,
}

impl Kept {
    pub(crate) fn of(store: &mut Store) -> Self {
        let entries = store.log.read(0, 0).unwrap().map(Result::unwrap).collect();
        let mut spool = lock(&store.spool);
        let ids: Vec<_> = spool
            .queues()
            .map(|(id, sink, class)| (id, format!("{sink} {class:?}")))
            .collect();
        let (mut waiting, mut lost_records) = (BTreeMap::new(), 0);
        for (id, name) in ids {
            let mut places = BTreeSet::new();
            let mut after = 0;
            loop {
                let read = spool.read(id, after, 100, usize::MAX).unwrap();
                let Some(last) = read.last() else { break };
                after = last.index;
                places.extend(read.iter().map(|one| one.place));
            }
            let backlog = spool.waiting(id).unwrap();
            assert_eq!(backlog.records, places.len() as u64, "{name}");
            lost_records += backlog.lost_records;
            waiting.insert(name, places);
        }
        drop(spool);
        Self {
            entries,
            waiting,
            lost_records,
            ledger: store.ledger(),
        }
    }
}

/// A data directory and what it holds.
pub(crate) struct World {
    pub(crate) disk: FaultDisk,
    pub(crate) settings: Settings,
    pub(crate) kept: Kept,
    pub(crate) end: u64,
    /// By path.
    pub(crate) batches: BTreeMap<String, Vec<Batch>>,
}

pub(crate) fn later() -> Timestamp {
    at(10_000)
}

fn at(seconds: u64) -> Timestamp {
    Timestamp {
        mono_us: seconds * S,
        wall_us: BEGAN_US + (seconds * S) as i64,
        wall_trusted: true,
    }
}

pub(crate) fn tick() -> Vec<Logged> {
    vec![Logged {
        start: 1,
        at: later(),
        entry: Entry::Tick,
    }]
}

/// Two sinks and small files.
pub(crate) fn settings() -> Settings {
    let (mut settings, _) = parse(CONFIGURATION, "test").unwrap();
    settings.log = LogSettings {
        commit_ms: 1_000,
        segment_bytes: 6 << 10,
        bytes_max: 64 << 10,
    };
    for sink in &mut settings.sinks {
        sink.spool_bytes_max = 64 << 10;
    }
    settings
}

impl World {
    /// The gateway's process was killed.
    pub(crate) fn killed() -> Self {
        Self::new(false)
    }

    /// The gateway was stopped.
    pub(crate) fn stopped() -> Self {
        Self::new(true)
    }

    fn new(stopped: bool) -> Self {
        let settings = settings();
        let disk = FaultDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (mut store, _) = Store::open(&shared, &settings, 7, at(0)).unwrap();
        let mut script = Script::begin(&mut store, &settings).unwrap();
        for _ in 0..STEPS {
            script.step(&mut store).unwrap();
        }
        if stopped {
            store.stop(later()).unwrap();
        }
        drop(store);
        let (mut store, report) = Store::open(&shared, &settings, 7, later()).unwrap();
        assert!(report.recovery.is_clean(), "{report:?}");
        let kept = Kept::of(&mut store);
        let end = store.end();
        let batches: BTreeMap<_, _> = disk
            .paths()
            .into_iter()
            .map(|path| (path.clone(), batches(&disk, &path)))
            .collect();
        let files = |prefix: &str| {
            disk.paths()
                .iter()
                .filter(|path| path.starts_with(prefix))
                .count()
        };
        assert!(
            files("log/segment") >= 3 && files("log/base") >= 2,
            "{:?}",
            disk.paths()
        );
        assert!(
            files("spool/") >= 4 && files("journal/seg") >= 1,
            "{:?}",
            disk.paths()
        );
        let newest = batches
            .iter()
            .rfind(|(path, _)| path.starts_with("log/segment"));
        assert!(
            newest.is_some_and(|(_, batches)| batches.len() >= 4),
            "{newest:?}"
        );
        assert!(
            kept.waiting
                .values()
                .filter(|places| places.len() > 3)
                .count()
                >= 2
        );
        Self {
            disk,
            settings,
            kept,
            end,
            batches,
        }
    }
}

/// The batches in a file by its layout; those of a recycled file's former life do not verify.
fn batches(disk: &FaultDisk, path: &str) -> Vec<Batch> {
    let content = disk.content(path).unwrap();
    let Some(number) = path
        .rsplit('-')
        .nth(2)
        .and_then(|text| text.parse::<u64>().ok())
    else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for offset in (0..content.len()).step_by(BLOCK_BYTES) {
        let Some(header) = BatchHeader::parse(&content[offset..]) else {
            continue;
        };
        let range = offset..offset + header.bytes();
        if content
            .get(range.clone())
            .is_some_and(|bytes| header.verifies(bytes, number))
        {
            found.push(Batch {
                range,
                first: header.first,
                end: header.end(),
            });
        }
    }
    found
}

/// What happens to the gateway.
#[derive(Default)]
pub(crate) struct Script {
    sequence: u32,
    catalog: CatalogHash,
    steps: u64,
    /// Records that a sink confirmed, by queue.
    pub(crate) confirmed: BTreeMap<String, BTreeSet<Place>>,
}

impl Script {
    /// A gateway with rules, and a device with a catalog.
    pub(crate) fn begin(store: &mut Store, settings: &Settings) -> Result<Self, StoreError> {
        let mut script = Self::default();
        let device = DeviceName::try_from("dev").unwrap();
        let link = |change| {
            Entry::Link(LinkEntry {
                device: Some(device.clone()),
                change,
            })
        };
        let first = vec![
            Entry::Started {
                engine: ENGINE,
                log_incarnation: 7,
                term: 1,
                site: "s".into(),
            },
            Entry::Rules {
                text: settings.rules.to_json(),
            },
            Entry::Limits(settings.limits),
            Entry::Link(LinkEntry {
                device: None,
                change: LinkChange::Subscribed(true),
            }),
            link(LinkChange::Opened {
                incarnation: INCARNATION,
                boot: 1,
                hold_ms: 1_000,
                has_clock: true,
                firmware: "test 1".into(),
            }),
            script.catalog_frame(),
            script.clock_frame(),
        ];
        commit(store, 0, first)?;
        Ok(script)
    }

    /// One more batch, and now and then a tick or a delivery.
    pub(crate) fn step(&mut self, store: &mut Store) -> Result<(), StoreError> {
        let step = self.steps;
        self.steps += 1;
        let mut entries = vec![self.batch_frame(step)];
        if step % 5 == 2 {
            entries.push(Entry::Tick);
        }
        commit(store, step, entries)?;
        if step % 4 == 3 {
            self.deliver(&mut lock(&store.spool), step)?;
        }
        Ok(())
    }

    /// The file takes some of what waits; the cloud takes less.
    fn deliver(&mut self, spool: &mut Spool, step: u64) -> Result<(), StoreError> {
        let queues: Vec<_> = spool
            .queues()
            .map(|(id, sink, class)| (id, sink == "file", format!("{sink} {class:?}")))
            .collect();
        for (id, is_file, name) in queues {
            let records = spool.read(id, 0, if is_file { 9 } else { 2 }, usize::MAX)?;
            if let (Some(first), Some(last)) = (records.first(), records.last()) {
                let delivery = Delivery {
                    outcome: Outcome::Confirmed,
                    at: at(step * 4 + 11),
                    bytes_before: 900,
                    bytes_after: 300,
                    header_bytes: 100,
                    attempts: 1,
                };
                spool.commit(id, first.index..=last.index, delivery, &Shares::default())?;
                let confirmed = self.confirmed.entry(name).or_default();
                confirmed.extend(records.iter().map(|one| one.place));
            }
        }
        Ok(())
    }

    fn frame(&mut self, body: impl FnOnce(&mut Writer<'_>) -> Result<(), BodyError>) -> Entry {
        self.sequence += 1;
        let header = Header {
            key_id: 0,
            incarnation: INCARNATION,
            mark: Mark {
                boot: 1,
                sequence: self.sequence,
            },
        };
        let mut out = vec![0; 8_192];
        let (bytes, _) = frame::write(&header, &mut out, body).unwrap();
        Entry::Frame(FrameEntry {
            device: DeviceName::try_from("dev").unwrap(),
            key_id: 0,
            verdict: Verdict::Next,
            bytes: bytes.to_vec(),
        })
    }

    fn catalog_frame(&mut self) -> Entry {
        let sensor = |name: &str| SensorInfo {
            id: name.try_into().unwrap(),
            unit: "bar",
            kind: Kind::Gauge,
            scale: Scale::decimal(-2),
            urgent: false,
            tags: heapless::Vec::new(),
        };
        let mut out = vec![0; 4_096];
        let bytes = catalog::write(&[sensor("a"), sensor("b")], &mut out).unwrap();
        let part = CatalogPart {
            hash: catalog::hash(bytes),
            part: 0,
            parts: 1,
            bytes,
        };
        self.catalog = part.hash;
        self.frame(|writer| write(writer, up::CATALOG, &part))
    }

    fn clock_frame(&mut self) -> Entry {
        let clock = DeviceClock {
            uptime_us: 0,
            utc_us: BEGAN_US,
            error_us: 0,
            source: ClockSource::Trace,
        };
        self.frame(|writer| write(writer, up::CLOCK, &clock))
    }

    /// Four seconds of two sensors.
    fn batch_frame(&mut self, step: u64) -> Entry {
        let head = BatchHead {
            catalog: self.catalog,
            base_us: step * 4 * S,
            complete_until_us: (step * 4 + 3) * S,
        };
        let offsets: Vec<u32> = (0..4).map(|at| at * 1_000_000).collect();
        let raws: Vec<i64> = (0..4)
            .map(|at| (step * 37 % 1_000 + at * at) as i64)
            .collect();
        let blocks = [0, 1].map(|sensor| BlockSource {
            sensor,
            first_index: (step * 4) as u16,
            offsets_us: &offsets,
            raws: &raws,
            bad: BadSet::default(),
        });
        self.frame(|writer| batch::write(writer, &head, blocks.into_iter()))
    }
}

const STEPS: u64 = 57;

fn commit(store: &mut Store, step: u64, entries: Vec<Entry>) -> Result<(), StoreError> {
    let now = at(step * 4 + 10);
    let entries: Vec<Logged> = entries
        .into_iter()
        .map(|entry| Logged {
            start: 1,
            at: now,
            entry,
        })
        .collect();
    store.append(&entries)?;
    store.fold(&entries);
    store.settle(now)?;
    Ok(())
}
