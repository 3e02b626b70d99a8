//! Devices reset at every change of their outbox, over many boots: afterwards the gateway's books
//! balance with what the samplers saw.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::vec::Vec;

use tidegate_shared::batch::{BatchReader, Scratch};
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame;
use tidegate_shared::ids::{Check, SensorName, Term};
use tidegate_shared::message::{Ack, EventCode, Presence, ResetReason, Up, Welcome};

use super::*;
use crate::device::{Device, DeviceConfig, Identity, Publish};
use crate::gate::GateConfig;
use crate::link;
use crate::sensor::Reading;
use crate::time::Moment;

const INCARNATION: Incarnation = Incarnation(0xa1);
const TERM: Term = Term(5);

type Small = Remains<2, 900, 14>;
type TestDevice<'r> = Device<'static, Fused<'r>, 2, 20, 256>;

/// The reset, thrown where it comes.
struct Reset;

/// What outlives the device's resets: the gateway's side, and what the samplers saw.
#[derive(Default)]
struct World {
    /// Changes of the outbox that are left before the reset.
    fuse: Cell<u32>,
    logged: RefCell<BTreeMap<Mark, Vec<u8>>>,
    /// Samples of frames that were evicted although they are logged, per sensor.
    evicted_logged: RefCell<[u64; 2]>,
    evicted: RefCell<BTreeSet<Mark>>,
    /// What a boot before the current one had to tell was evicted untold: its books are unknown.
    is_untold: Cell<bool>,
    /// Samples that were taken, per boot and sensor.
    taken: RefCell<BTreeMap<u32, [u64; 2]>>,
}

impl World {
    fn burn(&self) {
        match self.fuse.get().checked_sub(1) {
            Some(left) => self.fuse.set(left),
            None => resume_unwind(Box::new(Reset)),
        }
    }
}

/// Remains whose changes may be cut.
struct Fused<'r> {
    inner: &'r mut Small,
    world: &'r World,
}

impl Outbox for Fused<'_> {
    fn push(
        &mut self,
        entry: Entry,
        frame: &[u8],
        receipt: impl Iterator<Item = (u8, u8)> + Clone,
    ) -> Result<(), OutboxError> {
        self.world.burn();
        self.inner.push(entry, frame, receipt)
    }
    fn read(&self, mark: Mark, out: &mut [u8]) -> Result<usize, OutboxError> {
        self.inner.outbox.read(mark, out)
    }
    fn next_after(&self, mark: Mark) -> Option<Entry> {
        self.inner.outbox.next_after(mark)
    }
    fn receipt(&self, mark: Mark, each: impl FnMut(u8, u8)) {
        self.inner.outbox.receipt(mark, each);
    }
    fn get(&self, mark: Mark) -> Option<Entry> {
        self.inner.outbox.get(mark)
    }
    fn count(&self, after: Mark, through: Mark) -> usize {
        self.inner.outbox.count(after, through)
    }
    fn pop_through(&mut self, through: Mark) {
        while let Some(oldest) = self.next_after(Mark::default())
            && oldest.mark <= through
        {
            self.world.burn();
            write_older(&mut self.inner.acked, |acked| {
                acked.through_boot = oldest.mark.boot;
                acked.through_sequence = oldest.mark.sequence;
            });
            self.world.burn();
            self.inner.settle(&oldest);
            self.world.burn();
            self.inner.outbox.pop_through(oldest.mark);
        }
    }
    fn evict(&mut self, mut lost: impl FnMut(u8, u8)) -> Option<Entry> {
        self.world.burn();
        let oldest = self.next_after(Mark::default())?;
        let is_logged = self.world.logged.borrow().contains_key(&oldest.mark);
        assert!(oldest.mark > self.acked(), "an acknowledged frame was held");
        self.world.evicted.borrow_mut().insert(oldest.mark);
        let is_past = oldest.mark.boot < self.inner.head.boot;
        if is_past && !is_logged && matches!(oldest.content, Content::Totals | Content::Other) {
            self.world.is_untold.set(true);
        }
        self.inner.evict(|sensor, samples| {
            if is_logged {
                self.world.evicted_logged.borrow_mut()[usize::from(sensor)] += u64::from(samples);
            }
            lost(sensor, samples);
        })
    }
    fn names(&self, catalog: CatalogHash) -> bool {
        self.inner.outbox.names(catalog)
    }
    fn replace(&mut self, mark: Mark, entry: Entry, frame: &[u8]) -> Result<(), OutboxError> {
        self.inner.replace(mark, entry, frame)
    }
    fn has_room(&self, bytes: usize, frames: usize) -> bool {
        self.inner.outbox.has_room(bytes, frames)
    }
    fn could_hold(&self, bytes: usize) -> bool {
        self.inner.outbox.could_hold(bytes)
    }
    fn stand(&mut self, standing: Option<&Standing>) {
        self.world.burn();
        self.inner.stand(standing);
    }
    fn acked(&self) -> Mark {
        self.inner.acked()
    }
    fn adopt(&mut self, incarnation: Incarnation, boot: u32) {
        self.inner.adopt(incarnation, boot);
    }
    fn note(&mut self, sensor: u16, counts: &Counts, time_us: u64) {
        self.world.burn();
        self.inner.note(sensor, counts, time_us);
    }
}

fn catalog() -> &'static [u8] {
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
    Box::leak(bytes.to_vec().into_boxed_slice())
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }
}

fn start<'r>(remains: &'r mut Small, world: &'r World, boot: u32) -> TestDevice<'r> {
    let past = remains.recover(INCARNATION, &mut [0; 256]);
    let identity = Identity {
        incarnation: INCARNATION,
        boot,
        firmware: "test 1.0",
        reset: ResetReason::Watchdog,
        seed: 5,
    };
    let outbox = Fused {
        inner: remains,
        world,
    };
    let config = DeviceConfig::default();
    let device = Device::resume(identity, config, catalog(), outbox, past.as_ref());
    let mut device = device.unwrap();
    // What a gateway has between acked and floor it takes as evicted.
    let said = device.progress();
    for mark in world.logged.borrow().keys() {
        let is_taken_as_evicted = *mark > said.acked && *mark < said.floor;
        assert!(
            !is_taken_as_evicted || world.evicted.borrow().contains(mark),
            "{mark}: {said:?}"
        );
    }
    device.set_gate(
        1,
        GateConfig {
            deadband: 3,
            ..GateConfig::default()
        },
    );
    device
}

/// One connection: the gateway logs a window of frames, and its Ack comes through or not.
fn exchange(device: &mut TestDevice<'_>, world: &World, is_acked: bool) {
    let mut sent = Vec::<Publish>::new();
    let now = Moment(device.uptime_us());
    let presence = Presence {
        gateway: 1,
        term: TERM,
        start: 1,
        online: true,
    };
    let welcome = Welcome {
        protocol_min: 1,
        protocol_max: 1,
        term: TERM,
        frame_bytes_max: 1_024,
        window: 7,
    };
    let mut ack = Ack {
        incarnation: INCARNATION,
        window: 7,
        term: TERM,
        ..Ack::default()
    };
    let events = [
        link::Event::Connected,
        link::Event::Presence(presence),
        link::Event::Welcome(welcome),
        link::Event::Ack(ack),
    ];
    for event in events {
        let before = sent.len();
        device.handle(now, event, &mut sent);
        for said in sent.iter().skip(before) {
            if !matches!(said, Publish::Frame(_)) {
                device.write(*said, &mut [0; 256]).unwrap();
            }
        }
    }
    for publish in sent.clone() {
        let mut out = [0; 256];
        let Publish::Frame(mark) = publish else {
            continue;
        };
        let Some(bytes) = device.write(publish, &mut out) else {
            continue;
        };
        let bytes = out[..bytes].to_vec();
        let check = frame::read(&bytes).unwrap().check;
        let known = world.logged.borrow_mut().insert(mark, bytes.clone());
        assert!(known.is_none_or(|known| known == bytes), "{mark} changed");
        (ack.boot, ack.through, ack.check) = (mark.boot, mark.sequence, check);
    }
    if is_acked && ack.check != Check(0) {
        device.handle(now, link::Event::Ack(ack), &mut sent);
    }
    device.handle(now, link::Event::Disconnected, &mut sent);
}

/// One boot, until its fuse burns through; the last one stops and drains.
fn run(remains: &mut Small, world: &World, boot: u32, dice: &mut Dice, is_last: bool) {
    let mut device = start(remains, world, boot);
    for step in 1..if is_last { 40 } else { u64::MAX } {
        let time_us = step * 1_000_000;
        let sensor = dice.below(2) as u16;
        match dice.below(20) {
            0..14 => device
                .sample(sensor, time_us, Reading::Good(dice.below(10) as i64))
                .unwrap(),
            14 | 15 => device.fail(sensor, time_us).unwrap(),
            16 => device.report(EventCode::SensorCleared { sensor }),
            17 => exchange(&mut device, world, dice.below(3) > 0),
            _ => device.advance(time_us),
        }
        let mut taken = world.taken.borrow_mut();
        let taken = taken.entry(boot).or_default();
        *taken = [0, 1].map(|sensor| device.counts(sensor).taken);
    }
    device.stop();
    while !device.is_drained() {
        exchange(&mut device, world, true);
    }
}

/// What the gateway has read: per boot and sensor the newest Totals, per sensor the samples
/// logged, and the boots that ended.
struct Books {
    totals: BTreeMap<u32, [Counts; 2]>,
    logged: [u64; 2],
    ended: BTreeSet<u32>,
}

fn books(logged: &BTreeMap<Mark, Vec<u8>>) -> Books {
    let mut books = Books {
        totals: BTreeMap::new(),
        logged: [0; 2],
        ended: BTreeSet::new(),
    };
    for (mark, bytes) in logged {
        match Up::read(frame::read(bytes).unwrap().body).unwrap() {
            Up::Totals(totals) => {
                let counts: Vec<_> = totals.counts().map(Result::unwrap).collect();
                books.totals.insert(mark.boot, counts.try_into().unwrap());
            }
            Up::Batch(body) => {
                let (mut reader, mut scratch) =
                    (BatchReader::new(body).unwrap(), Scratch::default());
                while let Some(block) = reader.next_block(&mut scratch).unwrap() {
                    books.logged[usize::from(block.sensor)] += block.raws.len() as u64;
                }
            }
            Up::Event(event) if event.code == EventCode::Ended => {
                books.ended.insert(mark.boot);
            }
            _ => {}
        }
    }
    books
}

#[test]
fn a_reset_at_any_change_leaves_exact_books() {
    let (mut resets, mut told, mut evictions) = (0, 0, 0);
    for seed in 0..600 {
        let (mut remains, world, mut dice) = (Small::new(), World::default(), Dice(seed));
        let boots = 6;
        for boot in 1..=boots {
            let is_last = boot == boots;
            let fuse = if is_last {
                u32::MAX
            } else {
                dice.below(150) as u32
            };
            world.fuse.set(fuse);
            let cut = AssertUnwindSafe(|| run(&mut remains, &world, boot, &mut dice, is_last));
            let done = catch_unwind(cut);
            assert_eq!(done.is_ok(), is_last);
            if let Err(why) = done {
                assert!(why.is::<Reset>(), "seed {seed}: a panic of its own");
                resets += 1;
            }
        }
        if world.is_untold.get() {
            continue;
        }
        told += 1;
        let books = books(&world.logged.borrow());
        let mut sums = [0; 2];
        for (boot, taken) in world.taken.borrow().iter() {
            let told = books.totals.get(boot).copied().unwrap_or_default();
            assert_eq!(
                told.map(|one| one.taken),
                *taken,
                "seed {seed}, boot {boot}"
            );
            assert!(books.ended.contains(boot), "seed {seed}, boot {boot}");
            for (sum, one) in sums.iter_mut().zip(told) {
                *sum += one.taken - one.suppressed - one.failed;
                *sum -= one.evicted.min(*sum);
                evictions += one.evicted;
            }
        }
        let twice = *world.evicted_logged.borrow();
        let expected = [0, 1].map(|sensor| books.logged[sensor] - twice[sensor]);
        assert_eq!(sums, expected, "seed {seed}");
    }
    assert_eq!(resets, 3_000);
    assert!(told > 300 && evictions > 1_000, "{told} {evictions}");
}

/// A sample every second, `frames` frames' worth, none acknowledged.
fn filled() -> Small {
    let mut remains = Small::new();
    let world = World::default();
    world.fuse.set(u32::MAX);
    let mut device = start(&mut remains, &world, 1);
    for second in 1..=50 {
        let reading = Reading::Good(second as i64);
        device.sample(0, second * 1_000_000, reading).unwrap();
    }
    remains
}

#[test]
fn what_ram_holds_after_power_on_is_nothing() {
    assert_eq!(Small::new().recover(INCARNATION, &mut [0; 256]), None);
    let past = filled().recover(INCARNATION, &mut [0; 256]).unwrap();
    assert_eq!((past.boot, past.counts[0].taken), (1, 50));
    assert_eq!(past.counts[0].evicted, 10, "the open batch");
    assert_eq!(filled().recover(Incarnation(3), &mut [0; 256]), None);
    let mut wild = filled();
    wild.head.boot ^= 1;
    assert_eq!(wild.recover(INCARNATION, &mut [0; 256]), None);
    let mut wild = filled();
    (wild.accounts[0][0].taken, wild.accounts[0][1].taken) = (7, 7);
    assert_eq!(wild.recover(INCARNATION, &mut [0; 256]), None);
}

#[test]
fn frames_that_decayed_are_counted_as_lost() {
    let mut remains = filled();
    assert!(remains.outbox.len() >= 2);
    remains.outbox.corrupt(60);
    let past = remains.recover(INCARNATION, &mut [0; 256]).unwrap();
    assert_eq!((past.counts[0].taken, past.counts[0].evicted), (50, 50));
    assert!(remains.outbox.is_empty());
}

#[test]
fn an_account_torn_while_it_was_written_leaves_the_one_before() {
    let mut remains = filled();
    let newer = usize::from(is_newer(&remains.accounts[0][1], &remains.accounts[0][0]));
    remains.accounts[0][newer].failed = 9;
    let past = remains.recover(INCARNATION, &mut [0; 256]).unwrap();
    assert_eq!((past.counts[0].taken, past.counts[0].evicted), (49, 9));
}

#[test]
fn an_account_torn_by_a_reset_stays_out_of_the_next_change() {
    let mut remains = filled();
    let newer = usize::from(is_newer(&remains.accounts[0][1], &remains.accounts[0][0]));
    remains.accounts[0][newer].failed = 9;
    let first = remains.recover(INCARNATION, &mut [0; 256]).unwrap();
    // What the start does before its own accounts begin changes the last boot's, and is cut.
    let oldest = remains.outbox.next_after(Mark::default()).unwrap();
    let second = remains.outbox.next_after(oldest.mark).unwrap();
    (&mut remains).pop_through(second.mark);
    let again = remains.recover(INCARNATION, &mut [0; 256]).unwrap();
    assert_eq!(again.counts, first.counts);
}

#[test]
fn counts_that_were_unknown_once_are_not_known_at_the_next_reset() {
    let mut remains = filled();
    (remains.accounts[0][0].taken, remains.accounts[0][1].taken) = (70, 70);
    assert_eq!(remains.recover(INCARNATION, &mut [0; 256]), None);
    let oldest = remains.outbox.next_after(Mark::default()).unwrap();
    let second = remains.outbox.next_after(oldest.mark).unwrap();
    (&mut remains).pop_through(second.mark);
    assert_eq!(remains.recover(INCARNATION, &mut [0; 256]), None);
}
