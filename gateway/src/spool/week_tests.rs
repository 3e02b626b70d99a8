//! Upstream away for a week at 1,000 samples a second, on virtual time, over the real log,
//! pipeline, spool and delivery machine.
//!
//! Four devices with 25 sensors at 10 Hz send frames of 250 samples a sensor; five-minute windows
//! become records for a sink that answers nothing for a week and then confirms everything. With
//! `TIDEGATE_FULL` the week is a week, otherwise it is six hours, and the test says so.

use std::sync::{Mutex, MutexGuard};

use tidegate_shared::batch::{self, BatchHead, BlockSource};
use tidegate_shared::block::BadSet;
use tidegate_shared::body::{BodyError, Writer};
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, DeviceName, Incarnation, Mark};
use tidegate_shared::message::{self, CatalogPart, ClockSource, DeviceClock, up};

use super::*;
use crate::disk::FaultDisk;
use crate::entry::{ENGINE, Entry, FrameEntry, Logged, Verdict};
use crate::rules::settings::Settings;
use crate::run::queue::SpoolQueue;
use crate::sinks::delivery::{
    Answer, BatchLimits, DrainLimits, Effect, Event, Machine, Outcome as Answered,
};
use crate::sinks::encoding::Encoding;
use crate::sinks::queue::carry_out;
use crate::store::Store;

const SECOND_US: u64 = 1_000_000;
const HOUR_S: u64 = 3_600;
const DEVICES: usize = 4;
const SENSORS: u16 = 25;
/// Samples of one sensor in one frame, 100 ms apart.
const ROWS: u64 = 250;
const FRAME_S: u64 = 25;
const SAMPLES_PER_S: u64 = DEVICES as u64 * SENSORS as u64 * ROWS / FRAME_S;
/// 2020-02-08T00:00:00Z.
const UTC_US: i64 = 1_581_120_000 * SECOND_US as i64;
const DRAIN_BYTES_PER_S: u64 = 64 << 10;
/// How long the sink takes to answer.
const ANSWER_US: u64 = 50_000;

fn settings(spool_bytes_max: u64) -> Settings {
    let text = format!(
        r#"
        [gateway]
        site = "s"
        [mqtt]
        url = "mqtt://127.0.0.1"
        [log]
        segment_bytes = "256 KiB"
        bytes_max = "1 MiB"
        [sink.cloud]
        type = "http"
        url = "http://127.0.0.1/"
        spool_bytes_max = {spool_bytes_max}
        batch_bytes_max = "64 KiB"
        batch_records_max = 200
        drain_bytes_per_s = {DRAIN_BYTES_PER_S}
        [[rule]]
        name = "five"
        match = {{ sensor = "*" }}
        window = {{ tumbling = "5m" }}
        aggregate = ["count", "min", "max", "mean"]
        forward = ["cloud"]
        "#
    );
    crate::rules::parse(&text, "week").unwrap().0
}

fn moment(us: u64) -> Timestamp {
    Timestamp {
        mono_us: us,
        wall_us: UTC_US + us as i64,
        wall_trusted: true,
    }
}

/// The devices: frame `n` of each holds the samples of the n-th 25 seconds.
struct Devices {
    sequence: u32,
    catalog: CatalogHash,
}

impl Devices {
    fn frames(
        &mut self,
        now_us: u64,
        body: impl Fn(&mut Writer<'_>) -> Result<(), BodyError>,
    ) -> Vec<Logged> {
        self.sequence += 1;
        let sequence = self.sequence;
        let header = Header {
            key_id: 0,
            incarnation: Incarnation(1),
            mark: Mark { boot: 1, sequence },
        };
        let mut out = [0; 8_192];
        let (bytes, _) = frame::write(&header, &mut out, body).unwrap();
        let entry = |number| {
            Entry::Frame(FrameEntry {
                device: DeviceName::try_from(format!("dev-{number}").as_str()).unwrap(),
                key_id: 0,
                verdict: Verdict::Next,
                bytes: bytes.to_vec(),
            })
        };
        (0..DEVICES)
            .map(|number| logged(now_us, entry(number)))
            .collect()
    }

    /// What comes before the first batch.
    fn introduction(&mut self) -> Vec<Logged> {
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
        self.catalog = part.hash;
        let clock = DeviceClock {
            uptime_us: 0,
            utc_us: UTC_US,
            error_us: 0,
            source: ClockSource::Sntp,
        };
        let mut entries = self.frames(0, |writer| message::write(writer, up::CATALOG, &part));
        entries.extend(self.frames(0, |writer| message::write(writer, up::CLOCK, &clock)));
        entries
    }

    fn batches(&mut self, number: u64) -> Vec<Logged> {
        let offsets: Vec<u32> = (0..ROWS as u32).map(|row| row * 100_000).collect();
        let raws = [(number % 1_000) as i64; ROWS as usize];
        let span_us = FRAME_S * SECOND_US;
        let head = BatchHead {
            catalog: self.catalog,
            base_us: number * span_us,
            complete_until_us: (number + 1) * span_us - 1,
        };
        let blocks = (0..SENSORS).map(|sensor| BlockSource {
            sensor,
            first_index: (number * ROWS) as u16,
            offsets_us: &offsets,
            raws: &raws,
            bad: BadSet::default(),
        });
        self.frames((number + 1) * span_us, |writer| {
            batch::write(writer, &head, blocks.clone())
        })
    }
}

fn logged(now_us: u64, entry: Entry) -> Logged {
    Logged {
        start: 1,
        at: moment(now_us),
        entry,
    }
}

/// The most that was ever seen of what must stay bounded.
#[derive(Debug, Default)]
struct Peaks {
    queue_bytes: u64,
    disk_bytes: u64,
    done_ranges: usize,
    pending: usize,
    segments: usize,
    journal_unsynced: usize,
    records_waiting: u64,
}

struct World {
    disk: FaultDisk,
    store: Store,
    spool: Arc<Mutex<Spool>>,
    machine: Machine,
    devices: Devices,
    away: bool,
    /// When the request in flight is answered.
    answer_at_us: Option<u64>,
    /// Moments and body bytes of what was sent and arrived.
    arrived: Vec<(u64, u64)>,
    samples: u64,
    /// How many of those were the backlog.
    backlog: usize,
    peaks: Peaks,
}

impl World {
    fn new(spool_bytes_max: u64) -> Self {
        let settings = settings(spool_bytes_max);
        let disk = FaultDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (store, _) = Store::open(&shared, &settings, 7, moment(0)).unwrap();
        let sink = &settings.sinks[0];
        let limits = BatchLimits {
            records_max: sink.batch_records_max,
            bytes_max: sink.batch_bytes_max,
            age_us: 0,
        };
        let drain = DrainLimits {
            bytes_per_s: sink.drain_bytes_per_s,
            records_per_s: sink.drain_records_per_s,
            spread_us: sink.drain_spread_ms * 1_000,
        };
        let mut world = Self {
            spool: store.spool(),
            store,
            disk,
            machine: Machine::new(limits, Encoding::Ndjson, 1).with_drain(drain),
            devices: Devices {
                sequence: 0,
                catalog: CatalogHash(0),
            },
            away: true,
            answer_at_us: None,
            arrived: Vec::new(),
            samples: 0,
            backlog: 0,
            peaks: Peaks::default(),
        };
        let mut first = vec![
            logged(
                0,
                Entry::Started {
                    engine: ENGINE,
                    log_incarnation: 7,
                    term: 1,
                    site: "s".into(),
                },
            ),
            logged(
                0,
                Entry::Rules {
                    text: settings.rules.to_json(),
                },
            ),
            logged(0, Entry::Limits(settings.limits)),
        ];
        first.extend(world.devices.introduction());
        world.log(0, &first);
        world
    }

    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap()
    }

    fn log(&mut self, now_us: u64, entries: &[Logged]) {
        self.store.append(entries).unwrap();
        self.store.fold(entries);
        if self.store.settle(moment(now_us)).unwrap() > 0 {
            self.deliver(now_us, Event::RecordsWaiting);
        }
    }

    /// An event through the machine; what it wants of the spool is done at once.
    fn deliver(&mut self, now_us: u64, event: Event) {
        let queue = SpoolQueue::new(Arc::clone(&self.spool), "cloud");
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            self.machine.handle(moment(now_us), event, &mut effects);
            for effect in effects {
                let effect = match carry_out(&queue, effect) {
                    Ok(event) => {
                        events.extend(event);
                        continue;
                    }
                    Err(effect) => effect,
                };
                if let Effect::Send(batch) = effect {
                    self.answer_at_us = Some(now_us + ANSWER_US);
                    if !self.away {
                        self.arrived.push((now_us, batch.body.len() as u64));
                    }
                }
            }
        }
    }

    /// Lets the machine's time pass up to `until_us`.
    fn pass(&mut self, until_us: u64) {
        loop {
            let deadline = self.machine.next_deadline().map(|at| at.mono_us);
            let Some(at_us) = self.answer_at_us.into_iter().chain(deadline).min() else {
                return;
            };
            if at_us > until_us {
                return;
            }
            if self.answer_at_us == Some(at_us) {
                self.answer_at_us = None;
                let outcome = if self.away {
                    Answered::Retry {
                        why: "no connection".into(),
                        after_us: None,
                    }
                } else {
                    Answered::Confirmed
                };
                let answer = Answer {
                    outcome,
                    sent_bytes: 0,
                    header_bytes: 0,
                    taken: 0,
                };
                self.deliver(at_us, Event::Answer(answer));
            } else {
                self.deliver(at_us, Event::Deadline);
            }
        }
    }

    /// Lives through frames `from..until`.
    fn live(&mut self, from: u64, until: u64) {
        for number in from..until {
            let now_us = (number + 1) * FRAME_S * SECOND_US;
            self.pass(now_us);
            let entries = self.devices.batches(number);
            self.samples += SAMPLES_PER_S * FRAME_S;
            self.log(now_us, &entries);
            self.look(number);
        }
    }

    fn look(&mut self, number: u64) {
        let mut peaks = std::mem::take(&mut self.peaks);
        {
            let spool = self.spool();
            let queues = || spool.queues.iter();
            let bytes: u64 = queues().map(|queue| queue.segments.bytes()).sum();
            let waiting: u64 = queues().map(Queue::waiting).sum();
            let of = |most: fn(&Queue) -> usize| queues().map(most).max().unwrap_or(0);
            peaks.queue_bytes = peaks.queue_bytes.max(bytes);
            peaks.records_waiting = peaks.records_waiting.max(waiting);
            peaks.done_ranges = peaks.done_ranges.max(of(|queue| queue.done.iter().count()));
            peaks.pending = peaks.pending.max(of(|queue| queue.pending.len()));
            peaks.segments = peaks.segments.max(of(|queue| queue.segments.list().len()));
            peaks.journal_unsynced = peaks.journal_unsynced.max(spool.journal.unsynced());
        }
        if number.is_multiple_of(100) {
            peaks.disk_bytes = peaks.disk_bytes.max(self.disk_bytes());
        }
        self.peaks = peaks;
    }

    fn disk_bytes(&self) -> u64 {
        ["log", "spool", "journal"]
            .into_iter()
            .flat_map(|folder| {
                let names = self.disk.list(folder).unwrap();
                names
                    .into_iter()
                    .map(move |name| format!("{folder}/{name}"))
            })
            .map(|path| self.disk.open(&path).unwrap().bytes().unwrap())
            .sum()
    }

    /// Records that wait.
    fn waiting(&self) -> u64 {
        self.spool().queues.iter().map(Queue::waiting).sum()
    }

    /// Folded samples of all rules, as the pipeline counted them.
    fn folded(&self) -> u64 {
        let ledger = self.store.ledger();
        let devices = ledger["devices"].as_object().unwrap().values();
        let sensors = devices.flat_map(|device| device["sensors"].as_object().unwrap().values());
        let rules = sensors.flat_map(|sensor| sensor["rules"].as_object().unwrap().values());
        rules.map(|rule| rule["folded"].as_u64().unwrap()).sum()
    }

    /// Delivered, evicted, dropped and waiting samples of the sink.
    fn fates(&self) -> [u64; 4] {
        let counters = self.spool().counters();
        let rules = counters.sinks["cloud"].values();
        let sensors = rules.flat_map(|rule| rule.devices.values().flat_map(BTreeMap::values));
        sensors.fold([0; 4], |[delivered, evicted, dropped, waiting], one| {
            [
                delivered + one.delivered_fresh,
                evicted + one.evicted_fresh,
                dropped + one.dropped_fresh,
                waiting + one.waiting_fresh(),
            ]
        })
    }

    fn assert_balanced(&self) {
        let fates = self.fates();
        assert_eq!(self.folded(), fates.iter().sum::<u64>(), "{fates:?}");
    }
}

/// Over any stretch from one request to another, what was sent is at most the cap's share.
fn assert_within_cap(arrived: &[(u64, u64)]) {
    for (from, first) in arrived.iter().enumerate() {
        let mut bytes = 0;
        // Beyond this many requests the sum of shorter stretches says the same.
        for pair in arrived[from..].windows(2).take(50) {
            bytes += pair[0].1;
            let took_us = pair[1].0 - first.0;
            assert!(
                bytes * SECOND_US <= took_us * DRAIN_BYTES_PER_S + SECOND_US,
                "{bytes} bytes within {took_us} µs"
            );
        }
    }
}

/// Lives through an outage and what follows; returns the world when nothing waits any more.
fn outage(spool_bytes_max: u64, hours: u64) -> World {
    let mut world = World::new(spool_bytes_max);
    let frames = hours * HOUR_S / FRAME_S;
    world.live(0, frames);
    world.assert_balanced();
    let [delivered, ..] = world.fates();
    assert_eq!(delivered, 0, "the sink is away");

    world.away = false;
    let mut number = frames;
    // The last attempt's backoff, the spread, and the backlog at its cap, with room.
    let patience = number + (1 + hours) * HOUR_S / FRAME_S;
    while world.waiting() > 0 {
        assert!(number < patience, "the backlog never ends");
        world.live(number, number + 1);
        number += 1;
    }
    world.backlog = world.arrived.len();
    world.live(number, number + 2 * 300 / FRAME_S);
    world.assert_balanced();
    assert!(world.arrived.len() > world.backlog, "live again");
    world
}

fn is_full() -> bool {
    std::env::var_os("TIDEGATE_FULL").is_some()
}

/// Hours of the outage, and a word on what that leaves out.
fn hours() -> u64 {
    if is_full() {
        7 * 24
    } else {
        println!("short: at most 6 hours stand for the week; TIDEGATE_FULL=1 runs all of it");
        6
    }
}

fn tell(name: &str, world: &World) {
    let [delivered, evicted, dropped, waiting] = world.fates();
    let backlog = &world.arrived[..world.backlog];
    let drained_bytes: u64 = backlog.iter().map(|sent| sent.1).sum();
    let drained_us = match (backlog.first(), backlog.last()) {
        (Some(first), Some(last)) => last.0 - first.0,
        _ => 0,
    };
    println!(
        "{name}: {} samples logged, {} folded = {delivered} delivered + {evicted} evicted + \
         {dropped} dropped + {waiting} waiting; {drained_bytes} bytes drained within {} s; {:?}",
        world.samples,
        world.folded(),
        drained_us / SECOND_US,
        world.peaks,
    );
}

/// Bounds that hold whatever the outage's length.
fn assert_bounded(world: &World, spool_bytes_max: u64) {
    let peaks = &world.peaks;
    // Three classes share what each is given; the log keeps its own, the journal 64 MiB at most.
    assert!(peaks.queue_bytes <= 3 * spool_bytes_max, "{peaks:?}");
    assert!(
        peaks.disk_bytes <= 3 * spool_bytes_max + (4 << 20),
        "{peaks:?}"
    );
    assert!(peaks.done_ranges <= 2, "{peaks:?}");
    assert!(peaks.pending <= 1_000, "{peaks:?}");
    assert!(peaks.segments <= 32, "{peaks:?}");
    assert!(peaks.journal_unsynced <= 1_024, "{peaks:?}");
}

#[test]
fn a_week_away_fits_its_budget_and_drains_at_its_pace() {
    let hours = hours();
    // 100 records each five minutes, of some 200 bytes, in the normal class.
    let budget = (hours * 12 * 100 * 256 / 3).max(256 << 10);
    let world = outage(budget, hours);
    tell("enough room", &world);
    let [delivered, evicted, dropped, waiting] = world.fates();
    assert_eq!((evicted, dropped, waiting), (0, 0, 0));
    assert_eq!(delivered, world.folded());
    assert!(
        world.samples - delivered <= SAMPLES_PER_S * 600,
        "open windows"
    );
    assert_bounded(&world, budget);
    assert_within_cap(&world.arrived[..world.backlog]);
}

#[test]
fn a_week_away_with_too_little_room_evicts_the_oldest_and_counts_it() {
    let hours = if is_full() { hours() } else { hours() / 2 };
    let budget = hours * 12 * 100 * 256 / 12;
    let world = outage(budget, hours);
    tell("too little room", &world);
    let [delivered, evicted, dropped, waiting] = world.fates();
    assert!(evicted > 0, "{evicted}");
    assert_eq!((dropped, waiting), (0, 0));
    assert_eq!(delivered + evicted, world.folded());
    assert!(delivered * 8 > world.folded(), "what fits is kept");
    assert_bounded(&world, budget);
    assert_within_cap(&world.arrived[..world.backlog]);
}
