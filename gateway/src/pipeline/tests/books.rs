//! Balance (i) against a truth: the device library, the session and the pipeline in one process,
//! over a network that loses and doubles, through random histories of evictions, Totals, power
//! cuts, restored boot stores, restarts of the gateway and of its log.
//!
//! The world counts by itself what was taken, and what the log holds. Checked after every commit:
//! nothing is left over in any balance, and no sensor is said to have taken more than it did.
//! After the history the network is healed and the device stops as planned: then a device that
//! never died has all its samples accounted for, exactly, and nothing is unknown.

use std::collections::VecDeque;

use proptest::prelude::*;
use tidegate_firmware::device::{Channel, Device, DeviceConfig, Identity, Outgoing};
use tidegate_firmware::gate::GateConfig;
use tidegate_firmware::link;
use tidegate_firmware::outbox::RamOutbox;
use tidegate_firmware::sensor::Reading;
use tidegate_firmware::time::Moment;
use tidegate_shared::batch::{BatchReader, Scratch};
use tidegate_shared::frame;
use tidegate_shared::ids::{Incarnation, Term};
use tidegate_shared::message::{ResetReason, Up};
use tidegate_shared::topic::Topic;

use super::script::{EPOCH_US, catalog_bytes, passing, rule, site, two_sensors};
use crate::entry::{Entry, Logged};
use crate::ledger::balance::{Balances, Reason, SampleRow, balances};
use crate::pipeline::Pipeline;
use crate::rules::{Rule, RuleSet};
use crate::session::{Effect, Event, Marks, Session, SessionConfig};
use crate::spool::counters::Counters;
use crate::time::{SECOND_US, Timestamp};

const SENSORS: usize = 2;
type Small = Device<'static, RamOutbox<1_500, 14>, SENSORS, 60, 256>;

/// A step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// So many rows, a second apart.
    Sample(u8),
    /// Seconds pass.
    Pass(u16),
    Publish,
    Deliver(u8),
    Answer(u8),
    LoseUp,
    LoseDown,
    DoubleUp,
    Reconnect,
    Commit,
    /// A planned stop, as far as it gets, then the next boot.
    Stop,
    PowerCut,
    /// The next boot has the number of the last one: an older boot store.
    Rollback,
    KillGateway,
    /// The rule forwards elsewhere, or there again.
    Rules(bool),
}

fn step(dies: bool) -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (1..40_u8).prop_map(Step::Sample),
        3 => (1..900_u16).prop_map(Step::Pass),
        20 => Just(Step::Publish),
        25 => (1..12_u8).prop_map(Step::Deliver),
        25 => (1..6_u8).prop_map(Step::Answer),
        3 => Just(if dies { Step::LoseUp } else { Step::Reconnect }),
        3 => Just(Step::LoseDown),
        2 => Just(Step::DoubleUp),
        3 => Just(Step::Reconnect),
        12 => Just(Step::Commit),
        2 => Just(if dies { Step::Stop } else { Step::Commit }),
        2 => Just(if dies { Step::PowerCut } else { Step::Commit }),
        1 => Just(if dies { Step::Rollback } else { Step::Commit }),
        2 => Just(Step::KillGateway),
        1 => any::<bool>().prop_map(Step::Rules),
    ]
}

struct World {
    now_us: u64,
    start: u32,
    session: Session,
    batch: Vec<Entry>,
    log: Vec<Logged>,
    pipeline: Pipeline,
    catalog: &'static [u8],
    device: Small,
    booted_us: u64,
    incarnations: u32,
    outgoing: Outgoing,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<(Channel, Vec<u8>)>,
    taken: [u64; SENSORS],
    deaths: u32,
    /// What the boots that ended as planned, all delivered, had counted as suppressed and failed.
    ended: [(u64, u64); SENSORS],
    /// What was emitted, as if a spool held it all.
    spool: Counters,
}

fn config(start: u32) -> SessionConfig {
    SessionConfig::new(site(), 500, Term(start), start)
}

fn device(catalog: &'static [u8], incarnation: u32, boot: u32) -> Small {
    let identity = Identity {
        incarnation: Incarnation(incarnation),
        boot,
        firmware: "world 1",
        reset: ResetReason::PowerOn,
        seed: boot,
    };
    let mut device =
        Device::new(identity, DeviceConfig::default(), catalog, RamOutbox::new()).unwrap();
    device.set_gate(
        1,
        GateConfig {
            deadband: 3,
            decimate: 1,
            heartbeat_us: 60_000_000,
        },
    );
    device
}

impl World {
    fn new() -> Self {
        let catalog: &'static [u8] = Box::leak(catalog_bytes(&two_sensors()).into_boxed_slice());
        let mut world = Self {
            now_us: 1_000_000,
            start: 1,
            session: Session::new(config(1), Marks::default()),
            batch: Vec::new(),
            log: Vec::new(),
            pipeline: Pipeline::new(&site()),
            catalog,
            device: device(catalog, 7, 1),
            booted_us: 0,
            incarnations: 7,
            outgoing: Outgoing::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            taken: [0; SENSORS],
            deaths: 0,
            ended: [(0, 0); SENSORS],
            spool: Counters::default(),
        };
        world.begin();
        world.connect();
        world
    }

    fn at(&self) -> Timestamp {
        Timestamp {
            mono_us: self.now_us,
            wall_us: EPOCH_US + 3_600 * SECOND_US + self.now_us as i64,
            wall_trusted: true,
        }
    }

    fn begin(&mut self) {
        self.batch.push(Entry::Started {
            engine: crate::entry::ENGINE,
            log_incarnation: 1,
            term: self.start,
            site: "site".into(),
        });
        self.rules(&["cloud"]);
        self.tell(Event::Subscribed);
        self.commit();
    }

    fn rules(&mut self, forward: &[&str]) {
        let forward: Vec<String> = forward.iter().map(|sink| (*sink).to_owned()).collect();
        let one = |name| Rule {
            forward: forward.clone(),
            ..name
        };
        let set = RuleSet {
            rules: vec![one(rule("minute", 60, 10)), one(passing("all"))],
        };
        let text = serde_json::to_string(&set).unwrap();
        self.batch.push(Entry::Rules { text });
    }

    fn tell(&mut self, event: Event<'_>) {
        let mut effects = Vec::new();
        self.session.handle(self.at(), event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Append(entry) => self.batch.push(entry),
                Effect::Publish { topic, payload, .. } => {
                    let channel = match topic {
                        Topic::Gateway => Channel::Gateway,
                        _ => Channel::Down,
                    };
                    self.down.push_back((channel, payload));
                }
                Effect::Restored => panic!("nothing was restored"),
                Effect::CommitNow
                | Effect::Standby(_)
                | Effect::Conflict { .. }
                | Effect::Ruled(_)
                | Effect::KeyUsed { .. }
                | Effect::Claimed { .. }
                | Effect::ClaimRefused { .. } => {}
            }
        }
    }

    fn commit(&mut self) {
        self.batch.extend(self.session.tally_entries());
        let (start, at) = (self.start, self.at());
        let entries = std::mem::take(&mut self.batch).into_iter();
        let batch: Vec<Logged> = entries.map(|entry| Logged { start, at, entry }).collect();
        for logged in &batch {
            let position = self.log.len() as u64;
            let mut emitted = Vec::new();
            self.pipeline.apply(position, logged, &mut emitted);
            for one in &emitted {
                for sink in &one.forward {
                    self.spool.expect(sink, &one.record);
                }
            }
            self.log.push(logged.clone());
        }
        self.tell(Event::Durable(&batch));
        for (device, hash) in self.pipeline.all_wanted() {
            self.tell(Event::CatalogWanted {
                device: &device,
                hash,
            });
        }
        self.check();
    }

    fn balances(&self) -> Balances {
        balances(&self.pipeline.counters(), &self.spool)
    }

    fn check(&self) {
        let balances = self.balances();
        for row in &balances.samples {
            let taken = self.truly_taken(row);
            assert_eq!(row.terms.difference, 0, "{row:?} of {taken}");
            assert!(row.terms.taken_min <= taken, "{row:?} of {taken}");
        }
        for row in &balances.rules {
            assert_eq!(row.terms.difference, 0, "{row:?}");
        }
        for row in &balances.sinks {
            assert_eq!(row.terms.difference, 0, "{row:?}");
        }
        assert!(balances.balanced);
    }

    fn truly_taken(&self, row: &SampleRow) -> i64 {
        let all: u64 = self.taken.iter().sum();
        let taken = match row.sensor.as_deref() {
            Some("a") => self.taken[0],
            Some("b") => self.taken[1],
            _ => all,
        };
        taken as i64
    }

    fn connect(&mut self) {
        self.up.clear();
        self.down.clear();
        self.outgoing = Outgoing::default();
        self.link(link::Event::Disconnected);
        self.link(link::Event::Connected);
        self.tell(Event::Subscribed);
        let presence = self.presence();
        self.down.push_back((Channel::Gateway, presence));
    }

    fn presence(&self) -> Vec<u8> {
        use tidegate_shared::frame::Header;
        use tidegate_shared::message::{Down, Presence};
        let presence = Presence {
            gateway: 500,
            term: Term(self.start),
            start: self.start,
            online: true,
        };
        let mut out = [0; 64];
        let written = frame::write(&Header::default(), &mut out, |writer| {
            Down::Presence(presence).write(writer)
        });
        written.unwrap().0.to_vec()
    }

    fn link(&mut self, event: link::Event) {
        let now = Moment(self.now_us);
        self.device.handle(now, event, &mut self.outgoing);
    }

    fn boot(&mut self, boot: u32) {
        let incarnation = self.device.identity().incarnation.0;
        self.device = device(self.catalog, incarnation, boot);
        self.booted_us = self.now_us;
        self.now_us += 1_000_000;
        self.connect();
    }

    /// Suppressed and failed, of all boots so far, by sensor.
    fn withheld(&self) -> [(u64, u64); SENSORS] {
        std::array::from_fn(|at| {
            let (suppressed, failed) = self.ended[at];
            let counts = self.device.counts(at as u16);
            (suppressed + counts.suppressed, failed + counts.failed)
        })
    }

    fn sample(&mut self, rows: u8) {
        for _ in 0..rows {
            self.now_us += 1_000_000;
            let uptime_us = self.now_us - self.booted_us;
            let raw = (self.now_us / 1_000_000).wrapping_mul(2_654_435_761) >> 7;
            for sensor in 0..SENSORS as u16 {
                let done = if raw % 11 == u64::from(sensor) {
                    self.device.fail(sensor, uptime_us)
                } else {
                    let reading = Reading::Good((raw % 5_000) as i64 >> (sensor * 9));
                    self.device.sample(sensor, uptime_us, reading)
                };
                assert_eq!(done, Ok(()));
                self.taken[usize::from(sensor)] += 1;
            }
        }
    }

    fn publish(&mut self) {
        if self.device.wants_rename() {
            self.incarnations += 1;
            let incarnation = Incarnation(self.incarnations);
            self.outgoing = Outgoing::default();
            let now = Moment(self.now_us);
            self.device.rename(now, incarnation, &mut self.outgoing);
        }
        let uptime_us = self.now_us - self.booted_us;
        self.device.advance(uptime_us);
        self.link(link::Event::Tick);
        while let Some(publish) = self.outgoing.pop() {
            let mut out = [0; 512];
            if let Some(used) = self.device.write(publish, &mut out) {
                self.up.push_back(out[..used].to_vec());
            }
        }
    }

    fn deliver(&mut self) {
        if let Some(payload) = self.up.pop_front() {
            self.tell(Event::Received {
                topic: "tidegate/v1/site/dev/up",
                retained: false,
                payload: &payload,
            });
        }
    }

    fn answer(&mut self) {
        if let Some((channel, payload)) = self.down.pop_front() {
            let now = Moment(self.now_us);
            let out = &mut self.outgoing;
            let _ = self.device.receive(now, channel, &payload, out);
        }
    }

    fn step(&mut self, step: &Step) {
        self.now_us += 100_000;
        let boot = self.device.identity().boot;
        match *step {
            Step::Sample(rows) => self.sample(rows),
            Step::Pass(seconds) => {
                self.now_us += u64::from(seconds) * 1_000_000;
                self.publish();
            }
            Step::Publish => self.publish(),
            Step::Deliver(count) => (0..count).for_each(|_| self.deliver()),
            Step::Answer(count) => (0..count).for_each(|_| self.answer()),
            Step::LoseUp => drop(self.up.pop_back()),
            Step::LoseDown => drop(self.down.pop_front()),
            Step::DoubleUp => {
                if let Some(first) = self.up.front().cloned() {
                    self.up.push_back(first);
                }
            }
            Step::Reconnect => self.connect(),
            Step::Commit => self.commit(),
            Step::Stop => {
                self.device.stop();
                self.turn();
                self.deaths += u32::from(!self.device.is_drained());
                self.ended = self.withheld();
                self.boot(boot + 1);
            }
            Step::PowerCut => {
                self.deaths += 1;
                self.boot(boot + 1);
            }
            Step::Rollback => {
                self.deaths += 1;
                self.boot(boot);
            }
            Step::KillGateway => self.kill(),
            Step::Rules(both) => self.rules(if both {
                &["local", "cloud"]
            } else {
                &["local"]
            }),
        }
    }

    /// Everything goes where it is bound for, once.
    fn turn(&mut self) {
        self.now_us += 1_000_000;
        self.publish();
        (0..self.up.len()).for_each(|_| self.deliver());
        self.commit();
        (0..self.down.len()).for_each(|_| self.answer());
    }

    /// Loses what was not committed; goes on from what was, by a snapshot of the pipeline.
    fn kill(&mut self) {
        self.batch.clear();
        self.up.clear();
        self.down.clear();
        self.start += 1;
        let mut marks = Marks::default();
        for logged in &self.log {
            marks.apply(logged);
        }
        self.session = Session::new(config(self.start), marks);
        let (pipeline, restored) = Pipeline::restore(&site(), &self.pipeline.snapshot());
        assert!(!restored.base_lost && restored.devices_lost.is_empty());
        self.pipeline = pipeline;
        self.begin();
        self.connect();
    }

    fn drain(&mut self) {
        self.connect();
        self.device.stop();
        for _ in 0..400 {
            if self.device.is_drained() {
                break;
            }
            self.turn();
            self.now_us += 20_000_000;
        }
        assert!(self.device.is_drained(), "{:?}", self.device.progress());
        // The gateway hears that nothing waits.
        self.connect();
        (0..4).for_each(|_| self.turn());
    }

    /// Samples in the log's batches, by sensor.
    fn logged(&self) -> [u64; SENSORS] {
        let mut logged = [0; SENSORS];
        for entry in &self.log {
            let Entry::Frame(one) = &entry.entry else {
                continue;
            };
            let Ok(Up::Batch(body)) = Up::read(frame::read(&one.bytes).unwrap().body) else {
                continue;
            };
            let mut reader = BatchReader::new(body).unwrap();
            let mut scratch = Scratch::default();
            while let Some(block) = reader.next_block(&mut scratch).unwrap() {
                logged[usize::from(block.sensor)] += block.raws.len() as u64;
            }
        }
        logged
    }
}

fn run(steps: &[Step]) -> World {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world.drain();
    world
}

/// What must hold when everything has come that will.
fn audit(world: &World) {
    let balances = world.balances();
    let logged = world.logged();
    for row in balances.samples.iter().filter(|row| row.sensor.is_some()) {
        let at = usize::from(row.sensor.as_deref() == Some("b"));
        let terms = &row.terms;
        assert_eq!(terms.logged + terms.rejected, logged[at] as i64, "{row:?}");
        if world.deaths > 0 {
            continue;
        }
        let (suppressed, failed) = world.withheld()[at];
        assert_eq!(row.taken, Some(world.taken[at] as i64), "{row:?}");
        assert_eq!(terms.suppressed, suppressed as i64, "{row:?}");
        assert_eq!(terms.failed, failed as i64, "{row:?}");
        let lost = terms.taken_min - terms.suppressed - terms.failed - logged[at] as i64;
        // A Progress that tells of an eviction may die with its connection behind an ack that
        // hides it: then it is unknown which of those counted as evicted were logged.
        assert!(terms.lost_here == 0 && terms.unknown <= 0, "{row:?}");
        assert_eq!(terms.lost_on_device + terms.unknown, lost, "{row:?}");
    }
    let reasons: Vec<Reason> = balances
        .samples
        .iter()
        .flat_map(|row| row.unknowns.iter().map(|one| one.reason))
        .collect();
    if world.deaths == 0 {
        let known = |reason: &Reason| *reason == Reason::EvictedNotTaken;
        assert!(reasons.iter().all(known), "{:?}", balances.samples);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_device_that_never_dies_is_accounted_for_exactly(
        steps in prop::collection::vec(step(false), 0..250)
    ) {
        audit(&run(&steps));
    }

    #[test]
    fn whatever_dies_nothing_is_left_over(steps in prop::collection::vec(step(true), 0..250)) {
        audit(&run(&steps));
    }
}

/// The histories reach what they are about.
#[test]
fn histories_evict_conflict_and_lose() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut lost, mut exact, mut reasons) = (0, 0, Vec::new());
    for number in 0..30 {
        let strategy = prop::collection::vec(step(number % 3 > 0), 250);
        let world = run(&strategy.new_tree(&mut runner).unwrap().current());
        let balances = world.balances();
        lost += balances.total.samples.lost_on_device;
        exact += u32::from(balances.total.samples.unknown == 0);
        for row in &balances.samples {
            reasons.extend(row.unknowns.iter().map(|one| one.reason));
        }
    }
    assert!(lost > 500 && exact > 10, "{lost} {exact}");
    assert!(reasons.contains(&Reason::UnfinishedBoot), "{reasons:?}");
}
