//! What a device freezes, told by decoding its outbox.

mod eviction;
mod resume;
mod sealed;

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use tidegate_shared::batch::{BatchReader, Scratch};
use tidegate_shared::catalog::{Kind, Scale, SensorInfo};
use tidegate_shared::ids::{SensorName, Term};
use tidegate_shared::message::{Ack, ClockSource, Presence, Refused, RefusedReason, Up, Welcome};

use super::*;
use crate::outbox::{OutboxError, RamOutbox};

const SECOND: u64 = 1_000_000;
type Roomy = Device<'static, RamOutbox<16_384, 64>, 4, 60, 1_024>;

fn sensor(name: &str, urgent: bool) -> SensorInfo<'static> {
    SensorInfo {
        id: SensorName::try_from(name).unwrap(),
        unit: "bar",
        kind: Kind::Gauge,
        scale: Scale::decimal(-2),
        urgent,
        tags: heapless::Vec::new(),
    }
}

fn catalog_of(sensors: &[SensorInfo<'_>]) -> &'static [u8] {
    let mut out = [0; 4_096];
    let bytes = catalog::write(sensors, &mut out).unwrap();
    Box::leak(bytes.to_vec().into_boxed_slice())
}

fn identity() -> Identity {
    Identity {
        incarnation: Incarnation(0xa1),
        boot: 3,
        firmware: "test 1.0",
        reset: ResetReason::Watchdog,
        seed: 5,
    }
}

fn device() -> Roomy {
    let catalog = catalog_of(&[sensor("slow", false), sensor("alarm", true)]);
    Device::new(
        identity(),
        DeviceConfig::default(),
        catalog,
        RamOutbox::new(),
    )
    .unwrap()
}

/// A held frame, in short.
#[derive(Debug, PartialEq, Eq)]
enum Held {
    Catalog,
    /// Complete until, and per sensor: index, first index, times in s, raws.
    Batch(u64, Vec<(u16, u16, Vec<u64>, Vec<i64>)>),
    Totals(Vec<(u64, u64, u64, u64)>),
    Clock(i64),
    Event(EventCode),
}

fn held<O: Outbox, const S: usize, const N: usize, const F: usize>(
    device: &Device<'_, O, S, N, F>,
) -> Vec<Held> {
    let mut after = Mark::default();
    let mut all = vec![];
    while let Some(entry) = device.outbox().next_after(after) {
        after = entry.mark;
        let mut out = [0; 1_024];
        let bytes = device.outbox().read(after, &mut out).unwrap();
        let body = frame::read(&out[..bytes]).unwrap().body;
        all.push(match Up::read(body).unwrap() {
            Up::Catalog(_) => Held::Catalog,
            Up::Batch(body) => {
                let mut reader = BatchReader::new(body).unwrap();
                let mut scratch = Scratch::default();
                let mut blocks = vec![];
                while let Some(block) = reader.next_block(&mut scratch).unwrap() {
                    let seconds = block.uptimes_us.iter().map(|us| us / SECOND).collect();
                    blocks.push((
                        block.sensor,
                        block.first_index,
                        seconds,
                        block.raws.to_vec(),
                    ));
                }
                Held::Batch(reader.head.complete_until_us, blocks)
            }
            Up::Totals(totals) => {
                let counts = totals.counts().map(Result::unwrap);
                Held::Totals(
                    counts
                        .map(|one| (one.taken, one.suppressed, one.failed, one.evicted))
                        .collect(),
                )
            }
            Up::Clock(clock) => Held::Clock(clock.utc_us),
            Up::Event(event) => Held::Event(event.code),
            other => panic!("{other:?}"),
        });
    }
    all
}

#[test]
fn a_batch_closes_after_its_hold_behind_the_catalog() {
    let mut device = device();
    device.sample(0, 10 * SECOND, Reading::Good(7)).unwrap();
    device.fail(0, 11 * SECOND).unwrap();
    device.sample(0, 12 * SECOND, Reading::Good(9)).unwrap();
    assert_eq!(device.next_advance_us(), Some(70 * SECOND));
    device.advance(70 * SECOND - 1);
    assert_eq!(held(&device), []);
    device.advance(70 * SECOND);
    // The failed reading took index 1.
    let blocks = vec![(0, 0, vec![10, 12], vec![7, 9])];
    assert_eq!(
        held(&device),
        [Held::Catalog, Held::Batch(70 * SECOND, blocks)]
    );
    device.sample(0, 80 * SECOND, Reading::Good(1)).unwrap();
    device.advance(200 * SECOND);
    let blocks = vec![(0, 3, vec![80], vec![1])];
    assert_eq!(
        held(&device)[2],
        Held::Batch(200 * SECOND, blocks),
        "no second catalog"
    );
}

#[test]
fn all_sensors_of_a_row_stand_in_one_frame() {
    let mut device = device();
    for row in 1..=61 {
        device
            .sample(0, row * SECOND / 2, Reading::Good(1))
            .unwrap();
        device
            .sample(1, row * SECOND / 2, Reading::Good(2))
            .unwrap();
        if row == 2 {
            device.advance(row * SECOND / 2 + 1);
        }
    }
    // The alarm closes every second: rows 1 to 3 wait until 1.5 s.
    let Some(Held::Batch(until_us, blocks)) = held(&device).into_iter().nth(1) else {
        panic!("no batch");
    };
    assert_eq!(until_us, 3 * SECOND / 2);
    assert_eq!(
        blocks.iter().map(|block| block.3.len()).collect::<Vec<_>>(),
        [2, 2]
    );
}

#[test]
fn times_that_run_backwards_are_counted_as_failed() {
    let mut device = device();
    device.sample(0, 10 * SECOND, Reading::Good(7)).unwrap();
    assert_eq!(
        device.sample(1, 9 * SECOND, Reading::Good(7)),
        Err(SampleError::Backwards)
    );
    assert_eq!(
        device.sample(0, 10 * SECOND, Reading::Good(7)),
        Err(SampleError::Backwards)
    );
    assert_eq!(
        device.sample(2, 10 * SECOND, Reading::Good(7)),
        Err(SampleError::NoSuchSensor)
    );
    device.sample(1, 10 * SECOND, Reading::Good(8)).unwrap();
    let sum = device.counts_sum();
    assert_eq!((sum.taken, sum.failed), (4, 2));
}

#[test]
fn a_planned_stop_ends_with_totals_and_ended() {
    let mut device = device();
    device.set_gate(
        0,
        GateConfig {
            deadband: 5,
            ..GateConfig::default()
        },
    );
    device.sample(0, SECOND, Reading::Good(7)).unwrap();
    device.sample(0, 2 * SECOND, Reading::Good(8)).unwrap();
    device.fail(1, 2 * SECOND).unwrap();
    device.stop();
    device.stop();
    let frames = held(&device);
    assert_eq!(frames.len(), 4);
    assert_eq!(
        frames[1],
        Held::Batch(2 * SECOND + 1, vec![(0, 0, vec![1], vec![7])])
    );
    assert_eq!(frames[2], Held::Totals(vec![(2, 1, 0, 0), (1, 0, 1, 0)]));
    assert_eq!(frames[3], Held::Event(EventCode::Ended));
    assert_eq!(
        device.sample(0, 9 * SECOND, Reading::Good(1)),
        Err(SampleError::Stopped)
    );
    assert!(!device.is_drained());
}

#[test]
fn a_clock_is_sent_when_learnt_stepped_and_hourly() {
    let mut device = device();
    let clock = |second: u64, utc_s: i64| DeviceClock {
        uptime_us: second * SECOND,
        utc_us: utc_s * 1_000_000,
        error_us: 0,
        source: ClockSource::Sntp,
    };
    device.set_clock(clock(1, 1_001));
    device.set_clock(clock(60, 1_060));
    assert_eq!(held(&device).len(), 1);
    device.set_clock(clock(120, 9_120));
    assert_eq!(held(&device).len(), 2, "stepped");
    device.set_clock(clock(3_719, 12_719));
    assert_eq!(held(&device).len(), 2);
    device.set_clock(clock(3_720, 12_720));
    assert_eq!(held(&device).len(), 3, "an hour later");
    assert_eq!(device.hello().progress.clock, Some(clock(3_720, 12_720)));
}

#[test]
fn totals_come_every_ten_minutes() {
    let mut device = device();
    for minute in 0..21 {
        device
            .sample(0, minute * 60 * SECOND + SECOND, Reading::Good(1))
            .unwrap();
        device.advance(minute * 60 * SECOND + 2 * SECOND);
    }
    let totals = held(&device)
        .iter()
        .filter(|one| matches!(one, Held::Totals(_)))
        .count();
    assert_eq!(totals, 2);
}

#[test]
fn an_overflowing_outbox_evicts_counts_and_keeps_the_catalog() {
    let catalog = catalog_of(&[sensor("a", false)]);
    let outbox = RamOutbox::<600, 8>::new();
    let mut device: Device<'_, _, 1, 60, 256> =
        Device::new(identity(), DeviceConfig::default(), catalog, outbox).unwrap();
    for second in 1..=3_000_u64 {
        // Noise from a linear congruential generator: nothing that packs well.
        let raw = (second.wrapping_mul(6_364_136_223_846_793_005) >> 40) as i64;
        device
            .sample(0, second * SECOND, Reading::Good(raw))
            .unwrap();
    }
    assert!(device.counts_sum().evicted > 1_000);
    assert!(held(&device).contains(&Held::Catalog), "moved, not lost");
    device.stop();
    let frames = held(&device);
    let waiting: u64 = frames
        .iter()
        .map(|one| match one {
            Held::Batch(_, blocks) => blocks.iter().map(|block| block.3.len() as u64).sum(),
            _ => 0,
        })
        .sum();
    let counts = device.counts_sum();
    assert_eq!(counts.taken, 3_000);
    assert_eq!(counts.taken, counts.evicted + waiting);
    let told = Held::Totals(vec![(counts.taken, 0, 0, counts.evicted)]);
    assert_eq!(
        frames[frames.len() - 2..],
        [told, Held::Event(EventCode::Ended)]
    );
    assert!(device.progress().floor.sequence > 1);
}

/// Brings a device to Welcomed with everything in flight that fits.
fn welcomed(device: &mut Roomy) -> Vec<Publish> {
    let mut outgoing = vec![];
    let now = Moment(1);
    let term = Term(9);
    device.handle(now, link::Event::Connected, &mut outgoing);
    let presence = Presence {
        gateway: 1,
        term,
        start: 1,
        online: true,
    };
    let mut tell = |message: Down<'_>, channel| {
        let mut out = [0; 128];
        let header = Header::default();
        let (bytes, _) = frame::write(&header, &mut out, |writer| message.write(writer)).unwrap();
        device.receive(now, channel, bytes, &mut outgoing).unwrap();
    };
    tell(Down::Presence(presence), Channel::Gateway);
    let welcome = Welcome {
        protocol_min: 1,
        protocol_max: 1,
        term,
        frame_bytes_max: 1_024,
        window: 7,
    };
    tell(Down::Welcome(welcome), Channel::Down);
    let ack = Ack {
        incarnation: Incarnation(0xa1),
        boot: 3,
        window: 7,
        term,
        ..Ack::default()
    };
    tell(Down::Ack(ack), Channel::Down);
    outgoing
}

#[test]
fn hello_says_who_and_what_is_held() {
    let mut device = device();
    device.sample(0, 5 * SECOND, Reading::Good(7)).unwrap();
    device.stop();
    let hello = device.hello();
    assert_eq!(hello.firmware, "test 1.0");
    assert_eq!(
        (hello.reset, hello.hold_ms, hello.frame_bytes_max),
        (ResetReason::Watchdog, 60_000, 1_024)
    );
    assert_eq!(
        hello.progress.floor,
        Mark {
            boot: 3,
            sequence: 1
        }
    );
    assert_eq!(
        (hello.progress.acked, hello.progress.depth),
        (Mark::default(), 4)
    );
    assert_eq!(hello.progress.uptime_us, 5 * SECOND + 1);
    let sent = welcomed(&mut device);
    assert_eq!(sent[0], Publish::Hello);
    assert_eq!(sent.len(), 5, "{sent:?}");
}

#[test]
fn a_conflict_renumbers_what_is_held_from_there_on() {
    let mut device = device();
    for minute in 0..5_u64 {
        device
            .sample(0, minute * 60 * SECOND, Reading::Good(minute as i64))
            .unwrap();
        device.advance(minute * 60 * SECOND + 60 * SECOND);
    }
    welcomed(&mut device);
    let before = held(&device);
    assert_eq!(
        before.len(),
        7,
        "catalog, five batches, and the Totals that go with a Hello"
    );
    let third = device
        .outbox()
        .get(Mark {
            boot: 3,
            sequence: 3,
        })
        .unwrap();
    let refused = Refused {
        incarnation: Incarnation(0xa1),
        boot: 3,
        sequence: 3,
        check: third.check,
        reason: RefusedReason::Conflict,
        retry_after_ms: 0,
        term: Term(9),
    };
    let mut outgoing = vec![];
    device.handle(Moment(2), link::Event::Refused(refused), &mut outgoing);
    assert!(device.wants_rename());
    device.rename(Moment(2), Incarnation(0xb2), &mut outgoing);
    assert!(!device.wants_rename());
    assert_eq!(outgoing, [Publish::Hello]);
    let after = held(&device);
    assert_eq!(
        after[..4],
        before[2..6],
        "the same contents, those before are logged"
    );
    assert_eq!(before[6], Held::Totals(vec![(5, 0, 0, 0), (0, 0, 0, 0)]));
    assert_eq!(
        after[4],
        Held::Totals(vec![(4, 0, 0, 0), (0, 0, 0, 0)]),
        "the sample that went out under the old incarnation is counted there"
    );
    let first = device.outbox().next_after(Mark::default()).unwrap();
    assert_eq!(
        first.mark,
        Mark {
            boot: 3,
            sequence: 1
        }
    );
    let mut out = [0; 1_024];
    let bytes = device.outbox().read(first.mark, &mut out).unwrap();
    assert_eq!(
        frame::read(&out[..bytes]).unwrap().header.incarnation,
        Incarnation(0xb2)
    );
    device.stop();
    assert_eq!(
        device.frames(),
        before.len() as u32 - 2 + 2,
        "Totals and Ended follow on"
    );
}

#[test]
fn a_wanted_catalog_is_sent_again_and_an_unknown_one_denied() {
    let mut device = device();
    device.sample(0, SECOND, Reading::Good(7)).unwrap();
    device.stop();
    let hash = device.hello().catalog;
    device.on_catalog_wanted(Moment(1), hash);
    assert_eq!(held(&device).len(), 4, "it is held already");
    let mark = |sequence| Mark { boot: 3, sequence };
    welcomed(&mut device);
    let check = device.outbox().get(mark(4)).unwrap().check;
    let ack = Ack {
        incarnation: Incarnation(0xa1),
        boot: 3,
        through: 4,
        check,
        window: 7,
        term: Term(9),
        ..Ack::default()
    };
    device.handle(Moment(2), link::Event::Ack(ack), &mut Outgoing::default());
    assert!(device.is_drained());
    device.on_catalog_wanted(Moment(3), hash);
    assert_eq!(
        held(&device),
        [Held::Catalog, Held::Event(EventCode::Ended)]
    );
    let unknown = CatalogHash(4);
    device.on_catalog_wanted(Moment(3), unknown);
    device.on_catalog_wanted(Moment(4), unknown);
    let denied = Held::Event(EventCode::NoSuchCatalog { hash: unknown });
    assert_eq!(
        held(&device)[2..],
        [denied, Held::Event(EventCode::Ended)],
        "once a minute"
    );
}

#[test]
fn bytes_that_are_not_for_it_are_ignored() {
    let mut device = device();
    let mut outgoing = vec![];
    let mut receive =
        |channel, bytes: &[u8]| device.receive(Moment(1), channel, bytes, &mut outgoing);
    assert!(matches!(
        receive(Channel::Down, b"{}"),
        Err(ReceiveError::Frame(_))
    ));
    let framed = |incarnation, message: &Down<'_>| {
        let mut out = [0; 128];
        let header = Header {
            incarnation,
            ..Header::default()
        };
        let (bytes, _) = frame::write(&header, &mut out, |writer| message.write(writer)).unwrap();
        bytes.to_vec()
    };
    let welcome = Down::Welcome(Welcome::default());
    let stranger = receive(Channel::Down, &framed(Incarnation(0xff), &welcome));
    assert_eq!(stranger, Err(ReceiveError::Stranger));
    let misplaced = receive(Channel::Gateway, &framed(Incarnation(0), &welcome));
    assert_eq!(misplaced, Err(ReceiveError::Topic));
    assert!(outgoing.is_empty());
}

#[test]
fn a_corrupt_frame_is_dropped_and_counted_when_it_is_the_oldest() {
    /// Reads back one frame wrong.
    struct Flaky(RamOutbox<16_384, 64>, Mark);
    impl Outbox for Flaky {
        fn push(
            &mut self,
            entry: crate::outbox::Entry,
            frame: &[u8],
            receipt: impl Iterator<Item = (u8, u8)> + Clone,
        ) -> Result<(), OutboxError> {
            self.0.push(entry, frame, receipt)
        }
        fn read(&self, mark: Mark, out: &mut [u8]) -> Result<usize, OutboxError> {
            if mark == self.1 {
                Err(OutboxError::Corrupt)
            } else {
                self.0.read(mark, out)
            }
        }
        fn next_after(&self, mark: Mark) -> Option<crate::outbox::Entry> {
            self.0.next_after(mark)
        }
        fn receipt(&self, mark: Mark, each: impl FnMut(u8, u8)) {
            self.0.receipt(mark, each);
        }
        fn get(&self, mark: Mark) -> Option<crate::outbox::Entry> {
            self.0.get(mark)
        }
        fn count(&self, after: Mark, through: Mark) -> usize {
            self.0.count(after, through)
        }
        fn pop_through(&mut self, through: Mark) {
            self.0.pop_through(through);
        }
        fn evict(&mut self, lost: impl FnMut(u8, u8)) -> Option<crate::outbox::Entry> {
            self.0.evict(lost)
        }
        fn names(&self, catalog: CatalogHash) -> bool {
            self.0.names(catalog)
        }
        fn replace(
            &mut self,
            mark: Mark,
            entry: crate::outbox::Entry,
            frame: &[u8],
        ) -> Result<(), OutboxError> {
            self.0.replace(mark, entry, frame)
        }
        fn has_room(&self, bytes: usize, frames: usize) -> bool {
            self.0.has_room(bytes, frames)
        }
        fn could_hold(&self, bytes: usize) -> bool {
            self.0.could_hold(bytes)
        }
    }
    let catalog = catalog_of(&[sensor("a", false)]);
    let mark = |sequence| Mark { boot: 3, sequence };
    let outbox = Flaky(RamOutbox::new(), mark(2));
    let mut device: Device<'_, _, 1, 60, 1_024> =
        Device::new(identity(), DeviceConfig::default(), catalog, outbox).unwrap();
    device.sample(0, SECOND, Reading::Good(7)).unwrap();
    device.advance(100 * SECOND);
    let mut out = [0; 1_024];
    assert_eq!(device.write(Publish::Frame(mark(2)), &mut out), None);
    assert_eq!(
        device.counts(0).evicted,
        0,
        "the gateway may have it: it waits"
    );
    device.outbox.pop_through(mark(1));
    assert_eq!(device.write(Publish::Frame(mark(2)), &mut out), None);
    assert_eq!(device.counts(0).evicted, 1);
    assert!(device.outbox().is_empty());
}

#[test]
fn too_many_sensors_are_refused_by_name() {
    let sensors: Vec<_> = ["a", "b", "c", "d", "e"]
        .map(|name| sensor(name, false))
        .into();
    let built = Roomy::new(
        identity(),
        DeviceConfig::default(),
        catalog_of(&sensors),
        RamOutbox::new(),
    );
    assert_eq!(
        built.unwrap_err(),
        DeviceError::SensorsMax {
            sensors: 5,
            sensors_max: 4
        }
    );
}

/// Samples in held batches before each held Totals, of the first sensor, and those Totals.
fn cuts(device: &Roomy) -> Vec<(u64, (u64, u64, u64, u64))> {
    let mut batched = 0;
    let mut cuts = vec![];
    for one in held(device) {
        match one {
            Held::Batch(_, blocks) => {
                let first = blocks.iter().filter(|block| block.0 == 0);
                batched += first.map(|block| block.3.len() as u64).sum::<u64>();
            }
            Held::Totals(counts) => cuts.push((batched, counts[0])),
            Held::Catalog | Held::Clock(_) | Held::Event(_) => {}
        }
    }
    cuts
}

#[test]
fn what_totals_count_as_taken_stands_in_frames_before_them() {
    let mut device = device();
    for second in 1..=2_000 {
        device
            .sample(0, second * SECOND, Reading::Good((second % 7) as i64))
            .unwrap();
        if second % 10 == 0 {
            device.fail(0, second * SECOND + 1).unwrap();
        }
        if second == 1_234 {
            welcomed(&mut device);
        }
    }
    device.stop();
    let cuts = cuts(&device);
    assert!(cuts.len() >= 4, "{cuts:?}");
    for (batched, (taken, suppressed, failed, evicted)) in cuts {
        assert_eq!(taken, suppressed + failed + evicted + batched);
    }
}

#[test]
fn a_conflict_at_the_first_samples_keeps_the_totals_whole() {
    let mut device = device();
    for second in 1..=70 {
        device.fail(0, second * SECOND).unwrap();
        device
            .sample(0, second * SECOND + 1, Reading::Good(1))
            .unwrap();
    }
    welcomed(&mut device);
    let before = held(&device);
    let mark = Mark {
        boot: 3,
        sequence: 2,
    };
    let refused = Refused {
        incarnation: Incarnation(0xa1),
        boot: 3,
        sequence: 2,
        check: device.outbox().get(mark).unwrap().check,
        reason: RefusedReason::Conflict,
        retry_after_ms: 0,
        term: Term(9),
    };
    let mut outgoing = vec![];
    device.handle(Moment(2), link::Event::Refused(refused), &mut outgoing);
    device.rename(Moment(2), Incarnation(0xb2), &mut outgoing);
    assert_eq!(held(&device), before[1..], "nothing of it was told before");
    assert_eq!(device.counts(0).taken, 140);
}

#[test]
fn an_ack_does_not_hide_an_eviction_that_was_not_told() {
    let catalog = catalog_of(&[sensor("a", false)]);
    let outbox = RamOutbox::<16_384, 4>::new();
    let mut device: Device<'_, _, 1, 60, 256> =
        Device::new(identity(), DeviceConfig::default(), catalog, outbox).unwrap();
    let mark = |sequence| Mark { boot: 3, sequence };
    let mut minute = 0;
    let mut batch = |device: &mut Device<'_, _, 1, 60, 256>| {
        device
            .sample(0, minute * 60 * SECOND, Reading::Good(1))
            .unwrap();
        minute += 1;
        device.advance(minute * 60 * SECOND);
    };
    (0..3).for_each(|_| batch(&mut device));
    batch(&mut device);
    // Sequences 1 (the catalog, moved to the back) and 2 are gone, and nobody was told.
    let told = device.progress();
    device.release(mark(4));
    assert_eq!(device.progress(), told, "with the frames held then");
    let mut out = [0; 256];
    device.write(Publish::Progress, &mut out).unwrap();
    assert!(device.progress().floor > told.floor, "told once");
    assert_eq!(device.progress().depth as usize, device.outbox().len());
}
