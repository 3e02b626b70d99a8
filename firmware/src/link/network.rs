//! A device against a model gateway over a bad network, on virtual time.
//!
//! The network loses, doubles, delays and so reorders; the gateway crashes (forgetting what it
//! had not synced) and comes back with another term; connections break. The model asserts what a
//! real gateway relies on, and the end asserts that the books balance: of a device without a key, and
//! of one whose frames are sealed both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use tidegate_shared::batch::{BatchReader, Scratch};
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame::{self, Frame, Header};
use tidegate_shared::ids::{Check, Incarnation, Mark, SensorName, Term};
use tidegate_shared::message::{
    Ack, Counts, Down, EventCode, Presence, Progress, ResetReason, Up, Welcome,
};
use tidegate_shared::seal::SEAL_BYTES_MAX;

use crate::batch::BatchConfig;
use crate::device::{Channel, Device, DeviceConfig, Identity, Outgoing, ReceiveError};
use crate::link::{Event, LinkConfig};
use crate::outbox::{Outbox, RamOutbox};
use crate::seal::tests::Peer;
use crate::sensor::Reading;
use crate::time::Moment;

const SENSORS: usize = 2;
type Small = Device<'static, RamOutbox<1_500, 24>, SENSORS, 8, 256>;

/// Splitmix64 (Steele, Lea, Flood 2014): every run is known by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// Messages on their way, by arrival.
#[derive(Default)]
struct Network {
    up: Vec<(u64, Vec<u8>)>,
    down: Vec<(u64, Channel, Vec<u8>)>,
    loss: u64,
}

/// What a gateway does with frames, in plain words.
struct Gateway {
    term: Term,
    is_online: bool,
    /// Pairs that a Hello opened: incarnation and boot.
    opened: bool,
    next: u32,
    /// Frames by sequence: bytes.
    log: BTreeMap<u32, Vec<u8>>,
    gaps: BTreeSet<u32>,
    durable_through: u32,
}

impl Gateway {
    fn floor(&mut self, progress: &Progress) {
        while self.next < progress.floor.sequence {
            self.gaps.insert(self.next);
            self.next += 1;
        }
    }

    fn ack(&self, through: u32, random: &mut Random) -> Down<'static> {
        let check = self
            .log
            .get(&through)
            .map_or(Check(0), |bytes| frame::read(bytes).unwrap().check);
        Down::Ack(Ack {
            incarnation: Incarnation(1),
            boot: 1,
            through,
            check,
            window: 1 + random.below(9) as u16,
            retry_after_ms: if random.percent(5) { 3_000 } else { 0 },
            utc_us: 0,
            term: self.term,
        })
    }

    /// Takes a frame; returns its answers.
    fn receive(&mut self, bytes: &[u8], random: &mut Random) -> Vec<Down<'static>> {
        let Frame { header, body, .. } = frame::read(bytes).expect("only whole frames are sent");
        if !self.is_online {
            return vec![];
        }
        let sequence = header.mark.sequence;
        if sequence == 0 {
            match Up::read(body).unwrap() {
                Up::Hello(hello) => {
                    self.opened = true;
                    self.floor(&hello.progress);
                    let welcome = Welcome {
                        protocol_min: 1,
                        protocol_max: 1,
                        term: self.term,
                        frame_bytes_max: 256,
                        window: 4,
                    };
                    return vec![Down::Welcome(welcome), self.ack(self.through(), random)];
                }
                Up::Progress(progress) => self.floor(&progress),
                other => panic!("{other:?} is not unsequenced"),
            }
            return vec![];
        }
        if !self.opened {
            return vec![];
        }
        if let Some(known) = self.log.get(&sequence) {
            assert_eq!(known, bytes, "a resend is byte-identical");
            return vec![self.ack(self.through(), random)];
        }
        if sequence < self.next {
            // After the gap that was logged for it: acked, counted, not folded.
            return vec![self.ack(self.through(), random)];
        }
        if sequence == self.next {
            self.log.insert(sequence, bytes.to_vec());
            self.next += 1;
        }
        vec![]
    }

    fn through(&self) -> u32 {
        self.durable_through
    }

    /// Syncs: everything logged becomes durable.
    fn sync(&mut self, random: &mut Random) -> Option<Down<'static>> {
        let through = self.next - 1;
        let is_news = through > self.durable_through;
        self.durable_through = through;
        (is_news && self.is_online).then(|| self.ack(through, random))
    }

    fn crash(&mut self) {
        self.log
            .retain(|sequence, _| *sequence <= self.durable_through);
        self.gaps
            .retain(|sequence| *sequence <= self.durable_through);
        self.next = self.durable_through + 1;
        self.opened = false;
        self.is_online = false;
        self.term = Term(self.term.0 + 1);
    }
}

/// The gateway's end of a device's key.
struct Keyed {
    peer: Peer,
    /// The newest counter heard since the gateway started.
    heard: u32,
    /// The Hello that it answers, none since it started.
    hello: Option<u32>,
}

impl Keyed {
    /// The plain frame, unless it was heard already.
    fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (counter, plain) = self.peer.open(sealed);
        if counter > 0 {
            if counter <= self.heard {
                return None;
            }
            self.heard = counter;
            let body = frame::read(&plain).unwrap().body;
            if let Ok(Up::Hello(_)) = Up::read(body) {
                self.hello = Some(counter);
            }
        }
        Some(plain)
    }

    fn crash(&mut self, term: Term) {
        self.peer.term = term;
        self.heard = 0;
        self.hello = None;
    }
}

fn down_frame(message: &Down<'_>, incarnation: u32) -> Vec<u8> {
    let header = Header {
        incarnation: Incarnation(incarnation),
        ..Header::default()
    };
    let mut out = [0; 128];
    let (bytes, _) = frame::write(&header, &mut out, |writer| message.write(writer)).unwrap();
    bytes.to_vec()
}

fn catalog_bytes() -> &'static [u8] {
    let sensor = |name| SensorInfo {
        id: SensorName::try_from(name).unwrap(),
        unit: "bar",
        kind: Kind::Gauge,
        scale: Scale::decimal(-2),
        urgent: false,
        tags: heapless::Vec::new(),
    };
    let mut out = [0; 256];
    let bytes = catalog::write(&[sensor("a"), sensor("b")], &mut out).unwrap();
    std::boxed::Box::leak(bytes.to_vec().into_boxed_slice())
}

struct World {
    now: u64,
    random: Random,
    device: Small,
    outgoing: Outgoing,
    network: Network,
    gateway: Gateway,
    connected: bool,
    /// Of a device with a key.
    keyed: Option<Keyed>,
    /// Frames ever held by the device: to see what leaves, and that bytes never change.
    held: BTreeMap<u32, Vec<u8>>,
}

impl World {
    fn new(seed: u64, loss: u64, is_keyed: bool) -> Self {
        let identity = Identity {
            incarnation: Incarnation(1),
            boot: 1,
            firmware: "model",
            reset: ResetReason::PowerOn,
            seed: seed as u32,
        };
        let config = DeviceConfig {
            batch: BatchConfig {
                bytes_max: 256,
                samples_max: 8,
                hold_us: 6_000_000,
            },
            link: LinkConfig::default(),
        };
        let outbox = RamOutbox::new();
        let mut device = Device::new(identity, config, catalog_bytes(), outbox).unwrap();
        let keyed = is_keyed.then(|| Keyed {
            peer: Peer::new(7, 1),
            heard: 0,
            hello: None,
        });
        if let Some(keyed) = &keyed {
            device.set_key(&keyed.peer.key);
        }
        Self {
            now: 0,
            random: Random(seed),
            device,
            outgoing: Outgoing::default(),
            network: Network {
                loss,
                ..Network::default()
            },
            gateway: Gateway {
                term: Term(1),
                is_online: true,
                opened: false,
                next: 1,
                log: BTreeMap::new(),
                gaps: BTreeSet::new(),
                durable_through: 0,
            },
            connected: false,
            keyed,
            held: BTreeMap::new(),
        }
    }

    fn tell(&mut self, event: Event) {
        if matches!(event, Event::Connected | Event::Disconnected) {
            self.outgoing.clear();
        }
        self.device
            .handle(Moment(self.now), event, &mut self.outgoing);
    }

    fn connect(&mut self) {
        self.connected = true;
        self.tell(Event::Connected);
        self.say_presence();
    }

    fn say_presence(&mut self) {
        let presence = Presence {
            gateway: 1,
            term: self.gateway.term,
            start: self.gateway.term.0,
            online: self.gateway.is_online,
        };
        let bytes = down_frame(&Down::Presence(presence), 0);
        // Retained: a subscriber gets it for certain.
        self.network.down.push((self.now, Channel::Gateway, bytes));
    }

    /// Sends what comes in two, one or no copies, some time later.
    fn copies(&mut self) -> Vec<u64> {
        if self.random.percent(self.network.loss) {
            return vec![];
        }
        let copies = 1 + u64::from(self.random.percent(self.network.loss));
        let spread = if self.network.loss == 0 { 1 } else { 400_000 };
        (0..copies)
            .map(|_| self.now + 1_000 + self.random.below(spread))
            .collect()
    }

    fn publish(&mut self) {
        let mut out = [0; 256 + SEAL_BYTES_MAX];
        while let Some(publish) = self.outgoing.pop() {
            let Some(bytes) = self.device.write(publish, &mut out) else {
                continue;
            };
            for at in self.copies() {
                self.network.up.push((at, out[..bytes].to_vec()));
            }
        }
    }

    fn send_down(&mut self, message: &Down<'_>) {
        let bytes = match &mut self.keyed {
            None => down_frame(message, 1),
            Some(keyed) => {
                let Some(hello) = keyed.hello else {
                    return;
                };
                keyed.peer.say((Incarnation(1), 1), hello, message)
            }
        };
        for at in self.copies() {
            self.network.down.push((at, Channel::Down, bytes.clone()));
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        let up: Vec<_> = self
            .network
            .up
            .extract_if(.., |(at, _)| *at <= now)
            .collect();
        for (_, bytes) in up {
            if !self.gateway.is_online {
                continue;
            }
            let opened = match &mut self.keyed {
                None => Some(bytes),
                Some(keyed) => keyed.open(&bytes),
            };
            let Some(bytes) = opened else {
                continue;
            };
            for answer in self.gateway.receive(&bytes, &mut self.random) {
                self.send_down(&answer);
            }
        }
        let down: Vec<_> = self
            .network
            .down
            .extract_if(.., |(at, ..)| *at <= now)
            .collect();
        for (_, channel, bytes) in down {
            if self.connected {
                let taken = self
                    .device
                    .receive(Moment(now), channel, &bytes, &mut self.outgoing);
                // What is sealed comes late for a device that has heard something newer.
                if !(self.keyed.is_some() && taken == Err(ReceiveError::Stale)) {
                    taken.expect("the model sends nothing wrong");
                }
            }
        }
    }

    /// What is in the outbox never changes, and leaves only when it is durable or evicted.
    fn watch_outbox(&mut self) {
        let mut after = Mark::default();
        let mut held = BTreeMap::new();
        while let Some(entry) = self.device.outbox().next_after(after) {
            after = entry.mark;
            let mut out = [0; 256];
            let bytes = self.device.outbox().read(after, &mut out).unwrap();
            held.insert(after.sequence, out[..bytes].to_vec());
        }
        for (sequence, bytes) in &held {
            if let Some(before) = self.held.get(sequence) {
                assert_eq!(before, bytes, "a frozen frame changed");
            }
        }
        self.held = held;
    }

    fn step(&mut self, us: u64) {
        self.now += us;
        let acked_before = self.device.link().acked();
        self.deliver();
        if self
            .device
            .next_deadline()
            .is_some_and(|at| at.0 <= self.now)
            || self.device.wants_tick()
        {
            self.tell(Event::Tick);
        }
        if self.connected {
            self.publish();
        }
        self.watch_outbox();
        let acked = self.device.link().acked();
        assert!(acked >= acked_before);
        assert!(
            acked.sequence <= self.gateway.durable_through,
            "acked before it was durable"
        );
    }

    fn disturb(&mut self) {
        if self.random.percent(3) {
            if self.connected {
                self.connected = false;
                self.network.up.clear();
                self.network.down.clear();
                self.tell(Event::Disconnected);
            } else {
                self.connect();
            }
        }
        if self.random.percent(2) {
            if self.gateway.is_online {
                self.gateway.crash();
                if let Some(keyed) = &mut self.keyed {
                    keyed.crash(self.gateway.term);
                }
            } else {
                self.gateway.is_online = true;
            }
            self.say_presence();
        }
    }
}

/// Every sample in the log, by sensor and index; asserts what batches promise each other.
fn samples_logged(gateway: &Gateway) -> BTreeMap<(u16, u64), i64> {
    let mut samples = BTreeMap::new();
    let mut complete_us = 0;
    for bytes in gateway.log.values() {
        let Ok(Up::Batch(body)) = Up::read(frame::read(bytes).unwrap().body) else {
            continue;
        };
        let mut reader = BatchReader::new(body).unwrap();
        let mut scratch = Scratch::default();
        let until_us = reader.head.complete_until_us;
        assert!(until_us >= complete_us, "complete_until fell");
        while let Some(block) = reader.next_block(&mut scratch).unwrap() {
            for (at, (uptime_us, raw)) in block.uptimes_us.iter().zip(block.raws).enumerate() {
                assert!(*uptime_us >= complete_us, "a sample before complete_until");
                // The raw value repeats the index (below 65,536 in these runs).
                let index = u64::from(block.first_index) + at as u64;
                assert_eq!(*raw, index as i64);
                let twice = samples.insert((block.sensor, index), *raw);
                assert_eq!(twice, None, "a sample came twice");
            }
        }
        complete_us = until_us;
    }
    samples
}

fn run(seed: u64, loss: u64, disturbed_steps: u32, is_keyed: bool) -> (World, [u64; SENSORS]) {
    let mut world = World::new(seed, loss, is_keyed);
    world.connect();
    let mut given = [0; SENSORS];
    for step in 0..disturbed_steps {
        world.step(200_000);
        if loss > 0 {
            world.disturb();
        }
        if world.random.percent(60) && step % 10 == 0 {
            let message = world.gateway.sync(&mut world.random);
            if let Some(message) = message {
                world.send_down(&message);
            }
        }
        if step % 5 == 0 {
            let uptime_us = world.now;
            for (sensor, given) in (0_u16..).zip(&mut given) {
                world
                    .device
                    .sample(sensor, uptime_us, Reading::Good(*given as i64))
                    .unwrap();
                *given += 1;
            }
            world.device.advance(uptime_us + 1);
        }
    }
    // The network heals; the device stops as planned.
    world.device.stop();
    world.network.loss = 0;
    world.gateway.is_online = true;
    if !world.connected {
        world.connect();
    }
    world.say_presence();
    for _ in 0..5_000 {
        world.step(200_000);
        let message = world.gateway.sync(&mut world.random);
        if let Some(message) = message {
            world.send_down(&message);
        }
        if world.device.is_drained() {
            break;
        }
    }
    (world, given)
}

fn newest_totals(gateway: &Gateway) -> Vec<Counts> {
    let messages = gateway
        .log
        .values()
        .map(|bytes| Up::read(frame::read(bytes).unwrap().body));
    let mut totals = messages.filter_map(|message| match message {
        Ok(Up::Totals(totals)) => Some(totals.counts().map(Result::unwrap).collect()),
        _ => None,
    });
    totals.next_back().unwrap_or_default()
}

fn check_books(world: &World, given: [u64; SENSORS]) {
    let gateway = &world.gateway;
    let (device, outgoing) = (&world.device, &world.outgoing);
    let (link, next) = (device.link(), gateway.next);
    assert!(
        device.is_drained(),
        "not everything up to Ended is acked: {link:?}, {outgoing:?}, {next}"
    );
    let newest = gateway.log.values().next_back().unwrap();
    let Ok(Up::Event(event)) = Up::read(frame::read(newest).unwrap().body) else {
        panic!("the last frame is not an event");
    };
    assert_eq!(event.code, EventCode::Ended);
    let known: BTreeSet<u32> = gateway.log.keys().chain(&gateway.gaps).copied().collect();
    assert!(
        known.iter().copied().eq(1..gateway.next),
        "sequences are contiguous"
    );
    assert_eq!(world.device.frames(), gateway.next - 1);
    let samples = samples_logged(gateway);
    let totals = newest_totals(gateway);
    for ((sensor, given), counts) in (0_u16..).zip(given).zip(totals) {
        let logged = samples.keys().filter(|(one, _)| *one == sensor).count() as u64;
        assert_eq!(counts.taken, given);
        let missing = given - logged;
        // What was evicted may have been logged before its Ack came: never the other way round.
        assert!(
            missing <= counts.evicted,
            "{missing} are missing, {counts:?}"
        );
        if gateway.gaps.is_empty() {
            assert_eq!(missing, 0);
        }
    }
}

#[test]
fn a_good_network_delivers_everything_once() {
    for is_keyed in [false, true] {
        let (world, given) = run(1, 0, 2_000, is_keyed);
        check_books(&world, given);
        assert!(world.gateway.gaps.is_empty());
        assert_eq!(
            samples_logged(&world.gateway).len() as u64,
            given.iter().sum::<u64>()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_bad_network_loses_nothing_that_is_not_counted(
        seed in any::<u64>(),
        loss in 1_u64..40,
        steps in 100_u32..3_000,
        is_keyed in any::<bool>(),
    ) {
        let (world, given) = run(seed, loss, steps, is_keyed);
        check_books(&world, given);
    }
}
