//! Units: physical devices with the real device library in them, and what is true of them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tidegate_firmware::batch::BatchConfig;
use tidegate_firmware::device::{Channel, Device, DeviceConfig, Identity, Outgoing, Status};
use tidegate_firmware::gate::GateConfig;
use tidegate_firmware::link::{Event, LinkConfig};
use tidegate_firmware::mqtt::STATUS_BYTES_MAX;
use tidegate_firmware::outbox::Outbox;
use tidegate_firmware::sensor::Reading;
use tidegate_firmware::settings::DeviceKey;
use tidegate_firmware::time::Moment;
use tidegate_shared::catalog::{self, Kind, Scale, SensorInfo};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Check, DeviceName, Incarnation, Mark, SensorName, Term};
use tidegate_shared::message::{
    Ack, ClockSource, DeviceClock, Down, Refused, RefusedReason, ResetReason,
};
use tidegate_shared::seal::SEAL_BYTES_MAX;
use tidegate_tests::dice::Dice;

use super::network::{Client, Message, Network};
use super::outbox::SimOutbox;
use super::story::Story;

/// UTC at the world's beginning, in µs: 2026-10-31T22:50:00Z. Ten minutes later a day and a month
/// begin in Berlin, whose October has a day of 25 hours; six hours later clocks change in New York.
pub const UTC_US: i64 = 1_793_487_000_000_000;
/// The site of all.
pub const SITE: &str = "pump-house";
/// Every device's sensors.
pub const SENSORS: [&str; 2] = ["pressure", "vibration"];
/// Values of a sensor lie from its base on, in hundredths.
const BASES: [i64; 2] = [100_000_000, 500_000_000];
/// Values of one unit lie in a band of this width.
const UNIT_BAND: i64 = 1_000_000;
/// Width of a sensor's band.
const SENSOR_BAND: i64 = 100 * UNIT_BAND;

const FRAME: usize = 512;
const SAMPLES: usize = 16;
type Library = Device<'static, SimOutbox, { SENSORS.len() }, SAMPLES, FRAME>;

/// A version of the firmware: the order of its sensors, and the exponent of their scale. The
/// same raw numbers under another one's catalog mean something else.
struct Version {
    order: [usize; 2],
    exponent: i8,
    bytes: Vec<u8>,
}

fn versions() -> &'static [Version; 2] {
    static VERSIONS: OnceLock<[Version; 2]> = OnceLock::new();
    VERSIONS.get_or_init(|| {
        [([0, 1], -2), ([1, 0], -3)].map(|(order, exponent)| {
            let sensors = order.map(|sensor| SensorInfo {
                id: SensorName::try_from(SENSORS[sensor]).expect("sensors have short names"),
                unit: if sensor == 1 && exponent == -3 {
                    "mm/s"
                } else {
                    "bar"
                },
                kind: Kind::Gauge,
                scale: Scale::decimal(exponent),
                urgent: false,
                tags: heapless::Vec::new(),
            });
            let mut out = [0; 256];
            let bytes = catalog::write(&sensors, &mut out).expect("two sensors fit");
            Version {
                order,
                exponent,
                bytes: bytes.to_vec(),
            }
        })
    })
}

/// The sensor and the value in hundredths that a raw number means under a catalog.
pub fn meaning(hash: CatalogHash, index: u16, raw: i64) -> Option<(usize, i64)> {
    let mut known = versions().iter();
    let version = known.find(|version| catalog::hash(&version.bytes) == hash)?;
    let sensor = *version.order.get(usize::from(index))?;
    let value = if version.exponent == -3 {
        raw / 10
    } else {
        raw
    };
    Some((sensor, value))
}

/// Whether a value in the sensor's unit is one that some unit's sensor of that name gives.
pub fn is_of(sensor: &str, value: f64) -> bool {
    let bases = SENSORS.iter().zip(BASES);
    let base = bases.filter(|(name, _)| **name == sensor).map(|(_, b)| b);
    base.into_iter().any(|base| {
        let band = base as f64 / 100.0..(base + SENSOR_BAND) as f64 / 100.0;
        band.contains(&value)
    })
}

/// A physical device.
pub struct Unit {
    pub number: usize,
    pub name: DeviceName,
    /// Whether its outbox outlives a reset.
    pub is_stored: bool,
    /// Whether it has a clock of its own.
    pub has_clock: bool,
    drift_ppm: i64,
    version: usize,
    incarnation: u32,
    boot: u32,
    device: Option<Box<Library>>,
    kept: SimOutbox,
    outgoing: Outgoing,
    connection: Option<u64>,
    connect_at_us: u64,
    boot_us: u64,
    power_at_us: Option<u64>,
    sample_at_us: u64,
    period_us: u64,
    burst_until_us: u64,
    /// Samples ever taken of each sensor: they number the values.
    pub taken: [u64; 2],
    suppressed_before: [u64; 2],
    /// Boots that ended without their last Totals.
    pub cut_short: u32,
    pub renames: u32,
    is_over: bool,
    /// What it seals with from its next start on; none in a world without keys.
    pub key: Option<DeviceKey>,
    /// The connection on which it said goodbye.
    left: Option<u64>,
    dice: Dice,
}

impl Unit {
    /// A unit that is switched on at once.
    pub fn new(number: usize, dice: &mut Dice) -> Self {
        let name = format!("pump-{number}");
        let mut dice = Dice::new(dice.bits());
        let mut unit = Self {
            number,
            name: DeviceName::try_from(name.as_str()).expect("the name is short"),
            is_stored: dice.percent(50),
            has_clock: dice.percent(60),
            drift_ppm: dice.below(401) as i64 - 200,
            version: 0,
            incarnation: dice.bits() as u32 | 1,
            boot: 0,
            device: None,
            kept: SimOutbox::new(0),
            outgoing: Outgoing::default(),
            connection: None,
            connect_at_us: 0,
            boot_us: 0,
            power_at_us: Some(0),
            sample_at_us: 0,
            period_us: 1_000_000 * (2 + dice.below(6)),
            burst_until_us: 0,
            taken: [0; 2],
            suppressed_before: [0; 2],
            cut_short: 0,
            renames: 0,
            is_over: false,
            key: None,
            left: None,
            dice,
        };
        unit.kept = unit.empty_outbox();
        unit
    }

    /// Another unit with this one's name, incarnation and boot: a copied image. Without a key: two
    /// that seal under one identity with one key repeat nonces, by what they are.
    pub fn copy(&mut self, number: usize) -> Self {
        let mut dice = Dice::new(self.dice.bits());
        Self {
            number,
            name: self.name.clone(),
            is_stored: self.is_stored,
            has_clock: self.has_clock,
            drift_ppm: dice.below(401) as i64 - 200,
            version: self.version,
            incarnation: self.incarnation,
            boot: self.boot.saturating_sub(1),
            device: None,
            kept: self.empty_outbox(),
            outgoing: Outgoing::default(),
            connection: None,
            connect_at_us: 0,
            boot_us: 0,
            power_at_us: Some(0),
            sample_at_us: 0,
            period_us: self.period_us,
            burst_until_us: 0,
            taken: [0; 2],
            suppressed_before: [0; 2],
            cut_short: 0,
            renames: 0,
            is_over: false,
            key: None,
            left: None,
            dice,
        }
    }

    fn empty_outbox(&mut self) -> SimOutbox {
        // A small one runs over while frames are on their way.
        let more = if self.dice.percent(40) { 800 } else { 20_000 };
        SimOutbox::new(1_200 + self.dice.below(more) as usize)
    }

    fn client(&self) -> Client {
        Client::Device(self.number)
    }

    /// Whether everything it took is acked and it takes no more.
    pub fn is_drained(&self) -> bool {
        self.is_over && self.device.as_ref().is_some_and(|one| one.is_drained())
    }

    /// What it holds, for a story.
    pub fn state(&self) -> String {
        let device = self.device.as_ref();
        let held = device.map(|one| (one.outbox().next_after(Mark::default()), one.outbox().len()));
        let link = device.map(|one| one.link());
        format!(
            "{} (unit {}): holds {held:?}, {link:?}",
            self.name, self.number
        )
    }

    /// Samples suppressed of each sensor.
    pub fn suppressed(&self) -> [u64; 2] {
        let mut sums = self.suppressed_before;
        if let Some(device) = &self.device {
            for (index, sensor) in versions()[self.version].order.iter().enumerate() {
                sums[*sensor] += device.counts(index as u16).suppressed;
            }
        }
        sums
    }

    fn uptime_us(&self, now_us: u64) -> u64 {
        let real_us = i128::from(now_us.saturating_sub(self.boot_us));
        (real_us * i128::from(1_000_000 + self.drift_ppm) / 1_000_000) as u64
    }

    fn world_us(&self, uptime_us: u64) -> u64 {
        let real_us = i128::from(uptime_us) * 1_000_000 / i128::from(1_000_000 + self.drift_ppm);
        self.boot_us
            .saturating_add(real_us as u64)
            .saturating_add(2)
    }

    fn switch_on(&mut self, now_us: u64, story: &mut Story) {
        self.boot += 1;
        self.boot_us = now_us;
        self.power_at_us = None;
        let identity = Identity {
            incarnation: Incarnation(self.incarnation),
            boot: self.boot,
            firmware: ["pump 1.0", "pump 2.0"][self.version],
            reset: ResetReason::PowerOn,
            seed: self.dice.bits() as u32,
        };
        let config = DeviceConfig {
            batch: BatchConfig {
                samples_max: SAMPLES,
                hold_us: 10_000_000,
                ..BatchConfig::default()
            },
            link: LinkConfig::default(),
        };
        let outbox = self.kept.clone();
        let device = Device::new(identity, config, &versions()[self.version].bytes, outbox);
        let mut device = Box::new(device.expect("the catalog has as many sensors as the device"));
        if self.number % 2 == 1 {
            let gate = GateConfig {
                deadband: 0,
                decimate: 2,
                heartbeat_us: 600_000_000,
            };
            device.set_gate(1, gate);
        }
        if let Some(key) = &self.key {
            device.set_key(key);
        }
        self.device = Some(device);
        self.outgoing.clear();
        self.connect_at_us = now_us + 500_000 + self.dice.below(3_000_000);
        self.sample_at_us = now_us + self.period_us;
        let (name, boot, incarnation) = (&self.name, self.boot, self.incarnation);
        story.tell(|| format!("{name} starts: incarnation {incarnation:08x}, boot {boot}"));
    }

    /// Takes the power away for some time; `forget` erases the store, `other` changes the
    /// firmware.
    pub fn switch_off(
        &mut self,
        now_us: u64,
        (forget, other): (bool, bool),
        network: &mut Network,
    ) {
        if let Some(device) = self.device.take() {
            for (index, sensor) in versions()[self.version].order.iter().enumerate() {
                self.suppressed_before[*sensor] += device.counts(index as u16).suppressed;
            }
            self.incarnation = device.identity().incarnation.0;
            self.kept = device.outbox().clone();
            self.cut_short += u32::from(!device.is_stopped());
        }
        if forget || !self.is_stored {
            self.kept = self.empty_outbox();
        }
        if forget {
            self.incarnation = self.dice.bits() as u32 | 1;
            self.boot = 0;
        }
        if other {
            self.version = 1 - self.version;
        }
        if self.connection.take().is_some() {
            network.disconnect(self.client(), false, now_us);
        }
        let off_us = 1_000_000 + self.dice.below(120_000_000);
        self.power_at_us = Some(now_us + off_us);
    }

    /// The connection is gone.
    pub fn lose_connection(&mut self, now_us: u64) {
        if self.connection.take().is_none() {
            return;
        }
        self.connect_at_us = now_us + 1_000_000 + self.dice.below(20_000_000);
        let now = Moment(self.uptime_us(now_us));
        self.outgoing.clear();
        if let Some(device) = &mut self.device {
            device.handle(now, Event::Disconnected, &mut self.outgoing);
        }
    }

    /// Samples much faster until then: the outbox runs over while frames are on their way.
    pub fn hurry(&mut self, until_us: u64) {
        self.burst_until_us = until_us;
    }

    /// Takes no more samples; a unit that is off comes back to bring what it holds.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// When it has to be stepped next.
    pub fn next_us(&self, network: &Network) -> u64 {
        if let Some(at_us) = self.power_at_us {
            return at_us;
        }
        let Some(device) = &self.device else {
            return u64::MAX;
        };
        if device.wants_tick() || device.wants_rename() || (self.is_over && !device.is_stopped()) {
            return 0;
        }
        if self.wants_goodbye() {
            return 0;
        }
        let mut next_us = if self.is_over {
            u64::MAX
        } else {
            self.sample_at_us
        };
        if let Some(at_us) = device.next_advance_us() {
            next_us = next_us.min(self.world_us(at_us));
        }
        if let Some(at) = device.next_deadline() {
            next_us = next_us.min(self.world_us(at.0));
        }
        if self.connection.is_none() && network.is_up {
            next_us = next_us.min(self.connect_at_us);
        }
        next_us
    }

    fn connect(&mut self, now_us: u64, network: &mut Network) -> Option<Client> {
        let will = self.status(Status::Will)?;
        let id = format!("tidegate-{SITE}-{}", self.name);
        let (number, thrown) = network.connect(self.client(), &id, will, now_us)?;
        self.connection = Some(number);
        let down = format!("tidegate/v1/{SITE}/{}/down", self.name);
        let gateway = format!("tidegate/v1/{SITE}/gateway");
        network.subscribe(self.client(), &[down, gateway], now_us);
        self.outgoing.clear();
        let now = Moment(self.uptime_us(now_us));
        if let Some(device) = &mut self.device {
            device.handle(now, Event::Connected, &mut self.outgoing);
        }
        if let Some(online) = self.status(Status::Online) {
            network.publish(self.client(), online, now_us);
        }
        thrown
    }

    fn status(&mut self, status: Status) -> Option<Message> {
        let mut out = [0; STATUS_BYTES_MAX];
        let bytes = self.device.as_mut()?.write_status(status, &mut out)?;
        Some(Message {
            topic: format!("tidegate/v1/{SITE}/{}/status", self.name),
            payload: out[..bytes].to_vec(),
            retained: true,
        })
    }

    /// Whether all is done and it did not say so yet.
    fn wants_goodbye(&self) -> bool {
        self.key.is_some()
            && self.connection.is_some()
            && self.left != self.connection
            && self.is_drained()
    }

    fn say_goodbye(&mut self, now_us: u64, network: &mut Network) {
        self.left = self.connection;
        if let Some(goodbye) = self.status(Status::Goodbye) {
            network.publish(self.client(), goodbye, now_us);
        }
    }

    /// A message has come.
    pub fn receive(&mut self, now_us: u64, message: &Message) {
        let channel = if message.topic.ends_with("/down") {
            Channel::Down
        } else {
            Channel::Gateway
        };
        let now = Moment(self.uptime_us(now_us));
        if let Some(device) = &mut self.device {
            // A copied identity hears what is meant for the other: it may be a stranger's.
            let _ = device.receive(now, channel, &message.payload, &mut self.outgoing);
        }
    }

    /// An answer of a gateway's term that names this unit's oldest frame by another's check.
    pub fn answer_for_another(&self, term: Term, refuses: bool) -> Option<Message> {
        let device = self.device.as_ref()?;
        let oldest = device.outbox().next_after(Mark::default())?;
        let (incarnation, check) = (device.identity().incarnation, Check(oldest.check.0 ^ 1));
        let answer = if refuses {
            Down::Refused(Refused {
                incarnation,
                boot: oldest.mark.boot,
                sequence: oldest.mark.sequence,
                check,
                reason: RefusedReason::Conflict,
                retry_after_ms: 0,
                term,
            })
        } else {
            Down::Ack(Ack {
                incarnation,
                boot: oldest.mark.boot,
                through: oldest.mark.sequence,
                check,
                window: 7,
                retry_after_ms: 0,
                utc_us: 0,
                term,
            })
        };
        let header = Header {
            key_id: 0,
            incarnation,
            mark: Mark::default(),
        };
        let mut out = [0; 128];
        let written = frame::write(&header, &mut out, |writer| answer.write(writer));
        Some(Message {
            topic: format!("tidegate/v1/{SITE}/{}/down", self.name),
            payload: written.ok()?.0.to_vec(),
            retained: false,
        })
    }

    /// Does what is due; returns who lost the connection to it.
    pub fn step(
        &mut self,
        now_us: u64,
        network: &mut Network,
        story: &mut Story,
    ) -> Option<Client> {
        if self.power_at_us.is_some_and(|at_us| at_us <= now_us) {
            self.switch_on(now_us, story);
        }
        let mut thrown = None;
        if self.device.is_some() && self.connection.is_none() && self.connect_at_us <= now_us {
            thrown = self.connect(now_us, network);
            if self.connection.is_none() {
                self.connect_at_us = now_us + 5_000_000;
            }
        }
        let uptime_us = self.uptime_us(now_us);
        if !self.is_over && self.device.is_some() && self.sample_at_us <= now_us {
            let is_burst = now_us < self.burst_until_us;
            let period_us = if is_burst { 100_000 } else { self.period_us };
            self.sample_at_us = now_us + period_us;
            self.take(now_us, uptime_us, story);
        }
        let Some(device) = &mut self.device else {
            return thrown;
        };
        device.advance(uptime_us);
        if self.is_over {
            device.stop();
        }
        let now = Moment(uptime_us);
        if device.wants_rename() {
            let incarnation = Incarnation(self.dice.bits() as u32 | 1);
            device.rename(now, incarnation, &mut self.outgoing);
            self.renames += 1;
            let name = &self.name;
            story.tell(|| format!("{name} was refused and is now {incarnation}"));
        }
        let is_due = device.next_deadline().is_some_and(|at| at <= now);
        if is_due || device.wants_tick() {
            device.handle(now, Event::Tick, &mut self.outgoing);
        }
        let client = Client::Device(self.number);
        while let Some(publish) = self.outgoing.pop() {
            let mut out = [0; FRAME + SEAL_BYTES_MAX];
            if let Some(bytes) = device.write(publish, &mut out) {
                let message = Message {
                    topic: format!("tidegate/v1/{SITE}/{}/up", self.name),
                    payload: out[..bytes].to_vec(),
                    retained: false,
                };
                network.publish(client, message, now_us);
            }
        }
        if self.wants_goodbye() {
            self.say_goodbye(now_us, network);
        }
        thrown
    }

    fn take(&mut self, now_us: u64, uptime_us: u64, story: &mut Story) {
        let Some(device) = &mut self.device else {
            return;
        };
        if self.has_clock {
            device.set_clock(DeviceClock {
                uptime_us,
                utc_us: UTC_US + now_us as i64,
                error_us: 1_000,
                source: ClockSource::Rtc,
            });
        }
        let version = &versions()[self.version];
        for (index, sensor) in version.order.iter().enumerate() {
            let value =
                BASES[*sensor] + self.number as i64 * UNIT_BAND + self.taken[*sensor] as i64;
            let raw = if version.exponent == -3 {
                value * 10
            } else {
                value
            };
            if device
                .sample(index as u16, uptime_us, Reading::Good(raw))
                .is_ok()
            {
                self.taken[*sensor] += 1;
                story.coverage.samples += 1;
            }
        }
    }
}

/// Samples taken and suppressed by device and sensor, over all units of a name.
pub fn truth(units: &[Unit]) -> BTreeMap<(String, usize), (u64, u64)> {
    let mut sums: BTreeMap<(String, usize), (u64, u64)> = BTreeMap::new();
    for unit in units {
        let suppressed = unit.suppressed();
        for (sensor, suppressed) in suppressed.into_iter().enumerate() {
            let sum = sums.entry((unit.name.to_string(), sensor)).or_default();
            sum.0 += unit.taken[sensor];
            sum.1 += suppressed;
        }
    }
    sums
}
