//! Meters: devices that run the real device library. Their power stays on: a cut of the
//! gateway's leaves their outbox as it was.

use std::collections::VecDeque;
use std::sync::OnceLock;

use tidegate_firmware::batch::BatchConfig;
use tidegate_firmware::device::{Channel, Device, DeviceConfig, Identity, Outgoing};
use tidegate_firmware::link::{Event, LinkConfig};
use tidegate_firmware::mqtt::{STATUS_BYTES_MAX, status_frame};
use tidegate_firmware::outbox::RamOutbox;
use tidegate_firmware::sensor::Reading;
use tidegate_firmware::time::Moment;
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::ids::{DeviceName, Incarnation, SensorName};
use tidegate_shared::message::{ClockSource, DeviceClock, ResetReason};
use tidegate_tests::dice::Dice;

use super::script::{FIRST_ROW_UTC_US, REBOOT_ROW, ROW_US, ROWS, SENSORS};

const FRAME_BYTES: usize = 1_024;
/// A window's worth of rows.
const BATCH_SAMPLES: usize = 10;
/// Decimals of all values.
const DECIMALS: i8 = -7;
/// Uptime of a boot's first row, in µs.
const FIRST_UPTIME_US: u64 = 1_000_000;
/// Rows taken in one step of the world, outbox permitting.
const ROWS_PER_STEP: u32 = 4;

type Sampler =
    Device<'static, RamOutbox<{ 8 << 10 }, 32>, { SENSORS.len() }, BATCH_SAMPLES, FRAME_BYTES>;

/// A device with its place in the script.
pub struct Meter {
    pub name: DeviceName,
    pub device: Box<Sampler>,
    /// What the broker has for it.
    pub inbox: VecDeque<(Channel, Vec<u8>)>,
    /// Rows taken so far.
    pub row: u64,
    outgoing: Outgoing,
    number: u32,
    boot: u32,
    boot_row: u64,
    /// Rows at which a boot ends.
    ends: VecDeque<u64>,
    taken_before: [u64; SENSORS.len()],
    frames: Vec<u32>,
}

/// What a meter has for the broker.
pub enum Said {
    /// Its status, which the broker keeps.
    Status(Vec<u8>),
    /// A frame.
    Up(Vec<u8>),
}

fn catalog_bytes() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let sensors: Vec<SensorInfo<'_>> = SENSORS
            .iter()
            .map(|name| SensorInfo {
                id: SensorName::try_from(*name).expect("sensors have short names"),
                unit: "bar",
                kind: Kind::Gauge,
                scale: Scale::decimal(DECIMALS),
                urgent: false,
                tags: heapless::Vec::new(),
            })
            .collect();
        let mut out = [0; 512];
        let bytes = catalog::write(&sensors, &mut out).expect("two sensors fit");
        bytes.to_vec()
    })
}

/// Noise from 0 to 99, that does not compress: a short run must fill segments.
fn raw(device: u32, sensor: usize, row: u64) -> i64 {
    let mut dice = Dice::new((u64::from(device) << 48) ^ ((sensor as u64) << 40) ^ row);
    dice.below(100 * 10_u64.pow(DECIMALS.unsigned_abs().into())) as i64
}

impl Meter {
    /// The meter of a number, from 0, in its first boot.
    pub fn new(number: usize) -> Self {
        let number = number as u32;
        let name = format!("meter-{number}");
        Self {
            name: DeviceName::try_from(name.as_str()).expect("the name is short"),
            device: start(number, 1),
            inbox: VecDeque::new(),
            row: 0,
            outgoing: Outgoing::default(),
            number,
            boot: 1,
            boot_row: 0,
            ends: if number == 0 {
                vec![REBOOT_ROW, ROWS]
            } else {
                vec![ROWS]
            }
            .into(),
            taken_before: [0; SENSORS.len()],
            frames: Vec::new(),
        }
    }

    /// Connects to the broker, which has `presence` to say.
    pub fn connect(&mut self, world_us: u64, presence: Option<&Vec<u8>>) -> Said {
        self.inbox.clear();
        self.outgoing.clear();
        self.device
            .handle(Moment(world_us), Event::Connected, &mut self.outgoing);
        let kept = presence.map(|bytes| (Channel::Gateway, bytes.clone()));
        self.inbox.extend(kept);
        status(true)
    }

    /// Takes messages and rows; returns what it publishes.
    pub fn step(&mut self, world_us: u64, presence: Option<&Vec<u8>>) -> Vec<Said> {
        let mut said = Vec::new();
        let now = Moment(world_us);
        while let Some((channel, bytes)) = self.inbox.pop_front() {
            self.device
                .receive(now, channel, &bytes, &mut self.outgoing)
                .expect("the gateway says nothing that a device cannot read");
        }
        assert!(!self.device.wants_rename(), "an honest device was refused");
        if self.device.is_drained() && self.ends.len() > 1 {
            said.push(status(false));
            self.reboot();
            said.push(self.connect(world_us, presence));
        }
        self.take_rows();
        let is_due = self.device.next_deadline().is_some_and(|at| at <= now);
        if is_due || self.device.wants_tick() {
            self.device.handle(now, Event::Tick, &mut self.outgoing);
        }
        while let Some(publish) = self.outgoing.pop() {
            let mut out = [0; FRAME_BYTES];
            if let Some(bytes) = self.device.write(publish, &mut out) {
                said.push(Said::Up(out[..bytes].to_vec()));
            }
        }
        said
    }

    /// Whether everything of the script is taken and acked.
    pub fn is_over(&self) -> bool {
        self.ends.len() == 1 && self.device.is_drained()
    }

    /// Samples taken of a sensor, over all boots.
    pub fn taken(&self, sensor: usize) -> u64 {
        self.taken_before[sensor] + self.device.counts(sensor as u16).taken
    }

    /// Frames of every boot.
    pub fn frames(&self) -> Vec<u32> {
        let mut frames = self.frames.clone();
        frames.push(self.device.frames());
        frames
    }

    /// Who it is to the gateway.
    pub fn incarnation(&self) -> Incarnation {
        self.device.identity().incarnation
    }

    fn take_rows(&mut self) {
        for _ in 0..ROWS_PER_STEP {
            if self.device.is_stopped() || !self.device.has_room() {
                return;
            }
            if self.ends.front() == Some(&self.row) {
                return self.device.stop();
            }
            self.take_row();
        }
    }

    fn take_row(&mut self) {
        let uptime_us = FIRST_UPTIME_US + (self.row - self.boot_row) * ROW_US;
        if let Some(due_us) = self.device.next_advance_us().filter(|us| *us < uptime_us) {
            self.device.advance(due_us);
        }
        self.device.set_clock(DeviceClock {
            uptime_us,
            utc_us: FIRST_ROW_UTC_US + (self.row * ROW_US) as i64,
            error_us: 0,
            source: ClockSource::Trace,
        });
        for sensor in 0..SENSORS.len() {
            let reading = Reading::Good(raw(self.number, sensor, self.row));
            self.device
                .sample(sensor as u16, uptime_us, reading)
                .expect("rows go forward");
        }
        self.device.advance(uptime_us + 1);
        self.row += 1;
    }

    fn reboot(&mut self) {
        for sensor in 0..SENSORS.len() {
            self.taken_before[sensor] = self.taken(sensor);
        }
        self.frames.push(self.device.frames());
        self.ends.pop_front();
        self.boot += 1;
        self.boot_row = self.row;
        self.device = start(self.number, self.boot);
    }
}

fn start(number: u32, boot: u32) -> Box<Sampler> {
    let identity = Identity {
        incarnation: Incarnation(0xd000 + number),
        boot,
        firmware: "meter 1.0",
        reset: ResetReason::PowerOn,
        seed: number,
    };
    let config = DeviceConfig {
        batch: BatchConfig {
            samples_max: BATCH_SAMPLES,
            ..BatchConfig::default()
        },
        link: LinkConfig::default(),
    };
    let device = Device::new(identity, config, catalog_bytes(), RamOutbox::new());
    Box::new(device.expect("the catalog has as many sensors as the device"))
}

fn status(online: bool) -> Said {
    let mut out = [0; STATUS_BYTES_MAX];
    let bytes = status_frame(online, &mut out).expect("a status fits its buffer");
    Said::Status(out[..bytes].to_vec())
}
