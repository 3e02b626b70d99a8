//! The real device and link with this outbox, against a model gateway, through outages longer
//! than RAM holds, resets and power cuts.

use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_shared::batch::{BatchReader, Scratch};
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::ids::{Check, SensorName, Term};
use tidegate_shared::message::{Ack, Down, Presence, ResetReason, Up, Welcome};
use tidegate_shared::report::Report;

use super::*;
use crate::batch::BatchConfig;
use crate::device::{Channel, Device, DeviceConfig, Identity, Outgoing};
use crate::link::{Event, LinkConfig};
use crate::outbox::{Past, Remains};
use crate::sensor::Reading;
use crate::time::Moment;

const SENSORS: usize = 2;
const LARGE_PAGE: usize = 1_024;
const STEP_US: u64 = 100_000;

type Flash = MockNor<{ 16 * LARGE_PAGE }, LARGE_PAGE, 4>;
/// 1 KiB of RAM before 16 KiB of flash.
type Large<R> = FlashOutbox<Flash, R, 192, 288>;
type Node<R> = Device<'static, Large<R>, SENSORS, 8, 256>;
type Lost = RamOutbox<1_024, 16>;
type Kept = Remains<SENSORS, 1_024, 16>;

/// What is on the gateway's disk, by boot and sequence; it never crashes here.
#[derive(Default)]
struct Gateway {
    logged: BTreeMap<Mark, Vec<u8>>,
    next: BTreeMap<u32, u32>,
    gaps: u32,
}

impl Gateway {
    fn skip_to(&mut self, floor: Mark) {
        let next = self.next.entry(floor.boot).or_insert(1);
        while *next < floor.sequence {
            self.gaps += 1;
            *next += 1;
        }
    }

    fn ack(&self, boot: u32) -> Down<'static> {
        let sequence = self.next.get(&boot).map_or(0, |next| next - 1);
        let newest = self.logged.get(&Mark { boot, sequence });
        let check = newest.map_or(Check(0), |bytes| frame::read(bytes).unwrap().check);
        Down::Ack(Ack {
            incarnation: Incarnation(1),
            boot,
            through: sequence,
            check,
            window: 5,
            retry_after_ms: 0,
            utc_us: 0,
            term: Term(1),
        })
    }

    /// Takes what a device says and answers.
    fn receive(&mut self, bytes: &[u8]) -> Vec<Down<'static>> {
        let read = frame::read(bytes).expect("only whole frames are sent");
        let mark = read.header.mark;
        assert_eq!(read.header.incarnation, Incarnation(1));
        if mark.sequence == 0 {
            return match Up::read(read.body).unwrap() {
                Up::Hello(hello) => {
                    let floor = hello.progress.floor;
                    self.skip_to(floor);
                    let welcome = Welcome {
                        protocol_min: 1,
                        protocol_max: 1,
                        term: Term(1),
                        frame_bytes_max: 256,
                        window: 5,
                    };
                    let touched = floor.boot..=mark.boot;
                    let acks = touched.map(|boot| self.ack(boot));
                    core::iter::once(Down::Welcome(welcome))
                        .chain(acks)
                        .collect()
                }
                Up::Progress(progress) => {
                    self.skip_to(progress.floor);
                    vec![]
                }
                other => panic!("{other:?} is not unsequenced"),
            };
        }
        if let Some(known) = self.logged.get(&mark) {
            assert_eq!(known, bytes, "a frame came again with other content");
        } else if mark.sequence == *self.next.entry(mark.boot).or_insert(1) {
            self.logged.insert(mark, bytes.to_vec());
            self.next.insert(mark.boot, mark.sequence + 1);
        }
        vec![self.ack(mark.boot)]
    }

    /// Every sample, by boot, sensor and index; none may stand twice.
    fn samples(&self) -> BTreeSet<(u32, u16, u16)> {
        let mut samples = BTreeSet::new();
        for (mark, bytes) in &self.logged {
            let Ok(Up::Batch(body)) = Up::read(frame::read(bytes).unwrap().body) else {
                continue;
            };
            let mut reader = BatchReader::new(body).unwrap();
            let mut scratch = Scratch::default();
            while let Some(block) = reader.next_block(&mut scratch).unwrap() {
                for index in (block.first_index..).take(block.raws.len()) {
                    let is_new = samples.insert((mark.boot, block.sensor, index));
                    assert!(is_new, "a sample came twice");
                }
            }
        }
        samples
    }
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
    Box::leak(bytes.to_vec().into_boxed_slice())
}

fn down(message: &Down<'_>, incarnation: u32) -> Vec<u8> {
    let header = Header {
        incarnation: Incarnation(incarnation),
        ..Header::default()
    };
    let mut out = [0; 128];
    let (bytes, _) = frame::write(&header, &mut out, |writer| message.write(writer)).unwrap();
    bytes.to_vec()
}

/// One start of a device.
struct Boot<R> {
    device: Node<R>,
    outgoing: Outgoing,
    now_us: u64,
    given: u32,
}

impl Boot<Lost> {
    fn new(flash: Flash, boot: u32) -> Self {
        Self::resume(flash, boot, RamOutbox::new(), None)
    }
}

impl<R: Ram> Boot<R> {
    fn resume(flash: Flash, boot: u32, ram: R, past: Option<&Past<SENSORS>>) -> Self {
        let config = FlashConfig {
            range: 0..16 * LARGE_PAGE as u32,
            spill_after_ms: 20_000,
            erase_us_max: 1_000_000,
            endurance: 10_000,
            erases_before: 0,
        };
        let identity = Identity {
            incarnation: Incarnation(1),
            boot,
            firmware: "model",
            reset: ResetReason::PowerOn,
            seed: boot,
        };
        let batch = BatchConfig {
            bytes_max: 256,
            samples_max: 8,
            hold_us: 6_000_000,
        };
        let link = LinkConfig::default();
        let outbox = Large::open(flash, config, ram).unwrap();
        assert_eq!((outbox.status().lost, outbox.status().failures), (0, 0));
        let device_config = DeviceConfig { batch, link };
        let device = Device::resume(identity, device_config, catalog_bytes(), outbox, past);
        Self {
            device: device.unwrap(),
            outgoing: Outgoing::default(),
            now_us: 0,
            given: 0,
        }
    }

    fn tell(&mut self, event: Event) {
        self.device
            .handle(Moment(self.now_us), event, &mut self.outgoing);
    }

    fn hear(&mut self, channel: Channel, bytes: &[u8]) {
        let now = Moment(self.now_us);
        let heard = self.device.receive(now, channel, bytes, &mut self.outgoing);
        heard.expect("the model sends nothing wrong");
    }

    fn connect(&mut self) {
        self.outgoing.clear();
        self.tell(Event::Connected);
        let presence = Presence {
            gateway: 1,
            term: Term(1),
            start: 1,
            online: true,
        };
        self.hear(Channel::Gateway, &down(&Down::Presence(presence), 0));
    }

    fn disconnect(&mut self) {
        self.outgoing.clear();
        self.tell(Event::Disconnected);
    }

    fn sample(&mut self) {
        for sensor in 0..SENSORS as u16 {
            let reading = Reading::Good(self.given.into());
            self.device.sample(sensor, self.now_us, reading).unwrap();
        }
        self.given += 1;
        self.device.advance(self.now_us + 1);
    }

    /// A tenth of a second, with the gateway or without it.
    fn step(&mut self, gateway: Option<&mut Gateway>) {
        self.now_us += STEP_US;
        if self.now_us.is_multiple_of(5 * STEP_US) && !self.device.is_stopped() {
            self.sample();
        }
        let is_due = self
            .device
            .next_deadline()
            .is_some_and(|at| at.0 <= self.now_us);
        if is_due || self.device.wants_tick() {
            self.tell(Event::Tick);
        }
        let Some(gateway) = gateway else {
            return;
        };
        let mut out = [0; 256];
        while let Some(publish) = self.outgoing.pop() {
            let Some(bytes) = self.device.write(publish, &mut out) else {
                continue;
            };
            for answer in gateway.receive(&out[..bytes]) {
                self.hear(Channel::Down, &down(&answer, 1));
            }
        }
    }

    /// Delivers everything.
    fn drain(&mut self, gateway: &mut Gateway) {
        self.connect();
        self.device.stop();
        for _ in 0..20_000 {
            self.step(Some(gateway));
            if self.device.is_drained() {
                break;
            }
        }
        assert!(self.device.is_drained(), "{:?}", self.device.link());
        assert_eq!(self.device.outbox().status().frames, 0);
    }

    /// Frames that survive a power cut.
    fn flushed(&self) -> BTreeSet<Mark> {
        let held = &self.device.outbox().flash.held;
        held.iter().map(|one| one.entry.mark).collect()
    }

    fn into_flash(self) -> Flash {
        let mut flash = self.device.into_outbox().into_flash();
        assert_eq!(flash.refused(), None, "a write that flash cannot do");
        flash.power_on();
        flash
    }
}

/// How a boot ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// By a reset that the device knew of: all is saved.
    Saved,
    /// By a reset at once.
    Reset,
    /// By a power cut after so many steps of work on the flash.
    Cut(u64),
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Saved),
        Just(End::Reset),
        (0_u64..2_000).prop_map(End::Cut)
    ]
}

/// Runs boots, each for some seconds with the gateway and some without, and then one in which
/// everything is delivered. Returns the gateway, the frames flushed at the ends of boots, and
/// the samples given and evicted.
fn run(boots: &[(u64, u64, End)]) -> (Gateway, BTreeSet<Mark>, u64, u64) {
    let (mut gateway, mut flushed) = (Gateway::default(), BTreeSet::new());
    let (mut flash, mut given, mut evicted) = (Flash::new(), 0, 0);
    for (number, (online_s, offline_s, end)) in (1..).zip(boots) {
        let mut boot = Boot::new(flash, number);
        if let End::Cut(steps) = end {
            let mut io = boot.device.outbox().flash.io.borrow_mut();
            io.flash.cut_after(*steps, steps + 1);
        }
        let mut held = boot.flushed();
        boot.connect();
        for step in 0..(online_s + offline_s) * 10 {
            if step == online_s * 10 {
                boot.disconnect();
            }
            boot.step((step < online_s * 10).then_some(&mut gateway));
            if boot.device.outbox().flash.io.borrow().flash.is_off() {
                break;
            }
            held = boot.flushed();
        }
        if matches!(end, End::Saved) {
            assert_eq!(boot.device.save(), 0, "all of RAM fits");
            held = boot.flushed();
        }
        flushed.extend(held);
        given += boot.device.counts_sum().taken;
        evicted += boot.device.counts_sum().evicted;
        flash = boot.into_flash();
    }
    Boot::new(flash, boots.len() as u32 + 1).drain(&mut gateway);
    (gateway, flushed, given, evicted)
}

#[test]
fn an_outage_longer_than_ram_holds_loses_nothing() {
    let (gateway, flushed, given, evicted) = run(&[(10, 200, End::Saved), (0, 0, End::Saved)]);
    assert_eq!((evicted, gateway.gaps), (0, 0));
    assert!(flushed.len() > 40, "{} frames in flash", flushed.len());
    assert_eq!(gateway.samples().len() as u64, given);
}

/// Runs a boot whose RAM outlives its end, some seconds with the gateway, some without; then the
/// next one, which tells its Totals. Returns samples given, told as evicted, and logged.
fn run_reset(online_s: u64, offline_s: u64, online_again_s: u64) -> (u64, u64, u64) {
    let (mut gateway, mut kept) = (Gateway::default(), Kept::new());
    assert_eq!(kept.recover(Incarnation(1), &mut [0; 256]), None);
    let mut boot = Boot::resume(Flash::new(), 1, &mut kept, None);
    boot.connect();
    for step in 0..(online_s + offline_s + online_again_s) * 10 {
        if step == online_s * 10 {
            boot.disconnect();
        }
        if step == (online_s + offline_s) * 10 {
            boot.connect();
        }
        let is_online = step < online_s * 10 || step >= (online_s + offline_s) * 10;
        boot.step(is_online.then_some(&mut gateway));
    }
    let taken = boot.device.counts_sum().taken;
    let flash = boot.into_flash();
    let past = kept.recover(Incarnation(1), &mut [0; 256]).unwrap();
    assert_eq!(past.counts.iter().map(|one| one.taken).sum::<u64>(), taken);
    Boot::resume(flash, 2, &mut kept, Some(&past)).drain(&mut gateway);
    let mut totals = gateway.logged.iter().filter_map(|(mark, bytes)| {
        let body = frame::read(bytes).unwrap().body;
        match Up::read(body) {
            Ok(Up::Totals(totals)) if mark.boot == 1 => {
                Some(totals.counts().map(|one| one.unwrap().evicted).sum())
            }
            _ => None,
        }
    });
    let evicted: u64 = totals.next_back().unwrap();
    (taken, evicted, gateway.samples().len() as u64)
}

#[test]
fn after_a_soft_reset_ram_and_flash_are_sent_and_the_books_balance() {
    let (taken, evicted, logged) = run_reset(10, 60, 0);
    assert_eq!(logged + evicted, taken);
    assert!(evicted < 32, "an open batch at most: {evicted}");
    let (taken, evicted, logged) = run_reset(5, 2_000, 0);
    assert_eq!(logged + evicted, taken);
    assert!(evicted > 500, "the flash overflowed: {evicted}");
}

#[test]
fn flash_is_reported_on_after_an_hour_and_then_daily() {
    let mut boot = Boot::new(Flash::new(), 1);
    for day in [0, 1, 2] {
        let before = boot.device.frames();
        boot.device.advance(3_600_000_000 + day * 86_400_000_000);
        assert_eq!(boot.device.frames(), before + 1);
        let mark = Mark {
            boot: 1,
            sequence: before + 1,
        };
        let mut out = [0; 256];
        let bytes = boot.device.outbox().read(mark, &mut out).unwrap();
        let body = frame::read(&out[..bytes]).unwrap().body;
        let Ok(Up::Report(report)) = Up::read(body) else {
            panic!("another message");
        };
        let Ok(Report::Flash(report)) = Report::read(report) else {
            panic!("another report");
        };
        assert_eq!((report.pages, report.years_left), (16, Some(100)));
    }
}

#[test]
fn an_outage_longer_than_flash_holds_loses_the_oldest_and_counts_them() {
    let (gateway, _, given, evicted) = run(&[(10, 2_000, End::Saved)]);
    assert!(
        evicted > 500 && gateway.gaps > 50,
        "{evicted}, {}",
        gateway.gaps
    );
    assert_eq!(gateway.samples().len() as u64 + evicted, given);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_soft_reset_at_any_time_keeps_the_books(
        online_s in 0_u64..20,
        offline_s in 0_u64..600,
        online_again_s in 0_u64..30,
    ) {
        let (taken, evicted, logged) = run_reset(online_s, offline_s, online_again_s);
        prop_assert_eq!(logged + evicted, taken);
    }

    #[test]
    fn resets_and_power_cuts_lose_nothing_flushed_and_double_nothing(
        boots in proptest::collection::vec((0_u64..40, 0_u64..120, end()), 1..6),
    ) {
        let (gateway, flushed, given, evicted) = run(&boots);
        for mark in &flushed {
            prop_assert!(gateway.logged.contains_key(mark) || evicted > 0, "{mark:?} is lost");
        }
        let logged = gateway.samples().len() as u64;
        prop_assert!(logged + evicted <= given);
        if boots.iter().all(|(_, _, end)| matches!(end, End::Saved)) {
            prop_assert_eq!(logged + evicted, given);
        }
    }
}
