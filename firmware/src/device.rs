//! The device: gate, batch, totals, outbox and link in one, driven from two sides.
//!
//! The *samplers* give samples in the order of their times ([`Device::sample`],
//! [`Device::fail`], [`Device::advance`]) on the samplers' uptime. The *shell* brings what the
//! network says ([`Device::receive`], [`Device::handle`]) on the link's time, and publishes what
//! it is told to, writing the bytes at that moment ([`Device::write`]). Neither side waits.
//!
//! Invariants:
//! 1. Every sample given is counted as taken, and is then suppressed, failed, evicted, waiting,
//!    or in a frame.
//! 2. A frame gets its sequence when it is frozen, and never changes afterwards, but for a new
//!    incarnation.
//! 3. `complete_until` of a batch: every sample with an earlier time stands in this or an earlier
//!    frame, or was counted as suppressed, failed or evicted. It never falls.
//! 4. The catalog is frozen before the first batch that names it, and again when it was evicted:
//!    before the next batch, or behind the one that evicted it.
//! 5. `Ended` is the last frame of a planned stop, its Totals before it.
//! 6. Totals are an exact cut: the batch is closed before them, so every sample they count as taken
//!    was suppressed, failed, evicted, or stands in a frame before them.

mod error;
mod freeze;
mod outgoing;
mod speech;
#[cfg(test)]
mod tests;

pub use error::{DeviceError, ReceiveError, SampleError};
pub use outgoing::{Outgoing, Publish};
pub use speech::Status;

use tidegate_shared::catalog::{self, Sensors};
use tidegate_shared::frame::{self, Header};
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};
use tidegate_shared::limits::FRAME_BYTES_MAX;
use tidegate_shared::message::{Counts, DeviceClock, Down, EventCode, ResetReason};

use crate::batch::{Batch, BatchConfig, Sample};
use crate::gate::{Gate, GateConfig};
use crate::link::{self, Link, LinkConfig};
use crate::outbox::{Outbox, Past, Standing};
use crate::seal::Guard;
use crate::sensor::Reading;
use crate::time::Moment;
use crate::totals::Totals;

/// Totals are frozen after this many other frames.
pub const TOTALS_FRAMES: u16 = 64;
/// Totals are frozen after this long, in µs of uptime: 10 min.
pub const TOTALS_US: u64 = 600_000_000;
/// Least frames between Totals that only evictions ask for.
pub const TOTALS_EVICTION_FRAMES: u16 = 8;
/// The clock is sent again after this long, in µs of uptime: an hour.
pub const CLOCK_US: u64 = 3_600_000_000;
/// A clock further off than this from what was said before was stepped, in µs.
pub const CLOCK_STEP_US: u64 = 1_000_000;
/// Flash is reported on first after this long, in µs of uptime: an hour.
pub const REPORT_FIRST_US: u64 = 3_600_000_000;
/// And again after this long: a day.
pub const REPORT_US: u64 = 86_400_000_000;
/// A catalog that the device does not have is answered once in this time, in µs of link time.
pub const NO_CATALOG_US: u64 = 60_000_000;

/// Who a device is, for this start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Drawn when the device's store was empty; without a store, at every start.
    pub incarnation: Incarnation,
    /// Starts of the device, counted from 1.
    pub boot: u32,
    /// Firmware name and version, at most 32 bytes; what is longer is left out.
    pub firmware: &'static str,
    /// Why it started.
    pub reset: ResetReason,
    /// Feeds the jitter of all waits: should differ from device to device.
    pub seed: u32,
}

/// What a device is set to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DeviceConfig {
    /// When batches close. `bytes_max` is lowered to the frame capacity and to what the gateway
    /// takes.
    pub batch: BatchConfig,
    /// Timeouts and window of the link.
    pub link: LinkConfig,
}

/// Where received bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// The device's own `down` topic.
    Down,
    /// The site's gateway topic.
    Gateway,
}

/// What a message comes to.
#[derive(Debug, Clone, Copy)]
enum Heard {
    Event(link::Event),
    CatalogWanted(CatalogHash),
}

impl Heard {
    fn of(channel: Channel, message: &Down<'_>) -> Result<Self, ReceiveError> {
        let event = match (channel, message) {
            (Channel::Gateway, Down::Presence(presence)) => link::Event::Presence(*presence),
            (Channel::Gateway, _) | (Channel::Down, Down::Presence(_)) => {
                return Err(ReceiveError::Topic);
            }
            (Channel::Down, Down::Welcome(welcome)) => link::Event::Welcome(*welcome),
            (Channel::Down, Down::Ack(ack)) => link::Event::Ack(*ack),
            (Channel::Down, Down::Refused(refused)) => link::Event::Refused(*refused),
            (Channel::Down, Down::CatalogWanted(wanted)) => {
                return Ok(Self::CatalogWanted(wanted.hash));
            }
            // Opaque until built.
            (Channel::Down, Down::Config(_) | Down::Command(_) | Down::Update(_)) => {
                link::Event::Tick
            }
        };
        Ok(Self::Event(event))
    }
}

/// How an eviction left the outbox: what is between acked and floor was evicted, and an ack that
/// comes before this is told must not hide it.
#[derive(Debug, Clone, Copy)]
struct Eviction {
    floor: Mark,
    acked: Mark,
    /// Frames at and above that floor that are no longer held.
    gone: u32,
    /// A Hello that says it was written.
    in_hello: bool,
}

#[derive(Debug, Clone, Copy)]
struct SensorState {
    gate: Gate,
    urgent: bool,
    /// Time of its last sample; none before the first.
    last_us: Option<u64>,
}

/// A device with at most `SENSORS` sensors (1 to 256), `SAMPLES` samples of each in a batch
/// (1 to 255), and frames of at most `FRAME` bytes (256 to 8,192), all checked at compile time.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a condition of its own; no combination of them is a state"
)]
pub struct Device<'c, O, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize> {
    identity: Identity,
    catalog: &'c [u8],
    hash: CatalogHash,
    /// Sensors in the catalog.
    count: u16,
    sensors: [SensorState; SENSORS],
    batch: Batch<SENSORS, SAMPLES>,
    totals: Totals<SENSORS>,
    outbox: O,
    link: Link,
    /// Of a device with a key.
    #[cfg(feature = "seal")]
    guard: Option<Guard>,
    /// Sequence of the next frame.
    sequence: u32,
    /// Time of the newest call of a sampler.
    uptime_us: u64,
    /// Every sample before it was given.
    complete_us: u64,
    clock: Option<DeviceClock>,
    clock_sent_us: u64,
    /// Whether the catalog is held or acked.
    announced: bool,
    /// Frames, and the uptime, since the last Totals.
    totals_frames: u16,
    totals_us: u64,
    /// Uptime at which flash is reported on.
    report_us: u64,
    /// An eviction that the gateway was not told of.
    eviction: Option<Eviction>,
    /// One that came behind it, after an ack: told next, and no ack is taken until it can be.
    eviction_behind: Option<Eviction>,
    /// Frames were lost since the link was told.
    evicted: bool,
    /// Samples were lost since the last Totals.
    totals_due: bool,
    /// Sequence of this incarnation's and boot's first frame of samples or Totals; 0 before it.
    first_news: u32,
    /// What a new incarnation is to begin from, until the shell draws one.
    rename_from: Option<Mark>,
    no_catalog_until: Moment,
    stopped: bool,
    /// A frame was frozen since the link last looked.
    frozen: bool,
}

impl<'c, O: Outbox, const SENSORS: usize, const SAMPLES: usize, const FRAME: usize>
    Device<'c, O, SENSORS, SAMPLES, FRAME>
{
    /// A device that was just started. `catalog` is what [`catalog::write`] made. An outbox that
    /// kept frames from earlier boots brings them along; its newest frame of *this* boot must
    /// not exist yet.
    pub fn new(
        identity: Identity,
        config: DeviceConfig,
        catalog: &'c [u8],
        outbox: O,
    ) -> Result<Self, DeviceError> {
        Self::resume(identity, config, catalog, outbox, None)
    }

    /// A device that was just started after a soft reset: ends the boot before it with that boot's
    /// Totals and `Ended`, under its own marks ([`crate::outbox::Remains::recover`]).
    pub fn resume(
        identity: Identity,
        config: DeviceConfig,
        catalog: &'c [u8],
        mut outbox: O,
        past: Option<&Past<SENSORS>>,
    ) -> Result<Self, DeviceError> {
        const {
            assert!(
                FRAME >= 256 && FRAME <= FRAME_BYTES_MAX,
                "frames have 256 to 8192 bytes"
            );
        };
        let mut sensors = [const {
            SensorState {
                gate: Gate::new(GateConfig {
                    deadband: 0,
                    decimate: 1,
                    heartbeat_us: 60_000_000,
                }),
                urgent: false,
                last_us: None,
            }
        }; SENSORS];
        let mut count = 0;
        for sensor in Sensors::new(catalog).map_err(DeviceError::Catalog)? {
            let sensor = sensor.map_err(DeviceError::Catalog)?;
            if let Some(state) = sensors.get_mut(count) {
                state.urgent = sensor.urgent;
            }
            count += 1;
        }
        if count > SENSORS {
            return Err(DeviceError::SensorsMax {
                sensors: count,
                sensors_max: SENSORS,
            });
        }
        let before = Mark {
            boot: identity.boot,
            sequence: 0,
        };
        outbox.adopt(identity.incarnation, identity.boot);
        let mut batch_config = config.batch;
        batch_config.bytes_max = batch_config.bytes_max.min(FRAME);
        let mut device = Self {
            link: Link::new(
                config.link,
                identity.incarnation,
                (outbox.acked(), before),
                identity.seed,
            ),
            #[cfg(feature = "seal")]
            guard: None,
            identity,
            catalog,
            hash: catalog::hash(catalog),
            count: count as u16,
            sensors,
            batch: Batch::new(batch_config),
            totals: Totals::default(),
            outbox,
            sequence: 1,
            uptime_us: 0,
            complete_us: 0,
            clock: None,
            clock_sent_us: 0,
            announced: false,
            totals_frames: 0,
            totals_us: 0,
            report_us: REPORT_FIRST_US,
            eviction: None,
            eviction_behind: None,
            evicted: false,
            totals_due: false,
            first_news: 0,
            rename_from: None,
            no_catalog_until: Moment::default(),
            stopped: false,
            frozen: false,
        };
        // One that is not before this boot, by a counter that fell behind, cannot be ended.
        if let Some(past) = past.filter(|past| past.boot < device.identity.boot) {
            device.end_past(past);
        }
        device.stand();
        Ok(device)
    }

    /// Gives the device its key, before anything is written: all that it says is sealed from then
    /// on, and what is not sealed for it is ignored. Buffers for what is published and received are
    /// longer by [`tidegate_shared::seal::SEAL_BYTES_MAX`] a frame.
    #[cfg(feature = "seal")]
    pub fn set_key(&mut self, key: &crate::settings::DeviceKey) {
        self.guard = Some(Guard::new(key));
    }

    /// Sets a sensor's gate.
    pub fn set_gate(&mut self, sensor: u16, config: GateConfig) {
        if let Some(state) = self.sensors.get_mut(usize::from(sensor)) {
            state.gate = Gate::new(config);
        }
    }

    /// Takes a sample at uptime `time_us`. Times never run backwards, over all sensors.
    pub fn sample(
        &mut self,
        sensor: u16,
        time_us: u64,
        reading: Reading,
    ) -> Result<(), SampleError> {
        let done = self.place(sensor, time_us, reading);
        self.note(sensor);
        done
    }

    fn place(&mut self, sensor: u16, time_us: u64, reading: Reading) -> Result<(), SampleError> {
        let index = self.take(sensor, time_us)?;
        let Some(state) = self.sensors.get_mut(usize::from(sensor)) else {
            return Err(SampleError::NoSuchSensor);
        };
        state.last_us = Some(time_us);
        if !state.gate.passes(time_us, reading) {
            self.totals.suppress(sensor);
            return Ok(());
        }
        let urgent = state.urgent;
        let sample = Sample {
            sensor,
            time_us,
            reading,
            index,
            urgent,
        };
        if self.batch.push(&sample).is_err() {
            // The frame is full in the middle of a row.
            self.close_batch();
            if self.batch.push(&sample).is_err() {
                self.totals.evict(sensor, 1);
            }
        }
        Ok(())
    }

    /// Counts a reading that gave no value.
    pub fn fail(&mut self, sensor: u16, time_us: u64) -> Result<(), SampleError> {
        let taken = self.take(sensor, time_us);
        if taken.is_ok() {
            self.totals.fail(sensor);
            if let Some(state) = self.sensors.get_mut(usize::from(sensor)) {
                state.gate.reset();
            }
        }
        self.note(sensor);
        taken.map(|_| ())
    }

    /// Says that every sample before uptime `time_us` was given. Closes a batch that is due, and
    /// freezes Totals and Clock when it is time. To be called at [`Device::next_advance_us`] at
    /// the latest; a time that has passed already changes nothing.
    pub fn advance(&mut self, time_us: u64) {
        if time_us <= self.complete_us || self.stopped {
            return;
        }
        self.complete_us = time_us;
        self.uptime_us = self.uptime_us.max(time_us);
        if self.batch.is_due(time_us) {
            self.close_batch();
        }
        self.freeze_periodic();
        self.tend();
    }

    /// Uptime at which the samplers have to call [`Device::advance`] for a batch to close in
    /// time; none while no sample waits.
    pub fn next_advance_us(&self) -> Option<u64> {
        self.batch.deadline_us()
    }

    /// How long the samplers can be stalled, from now on, before the batch overflows or is late,
    /// in µs, if samples come as they did; 0 until the first batch was closed. What comes
    /// meanwhile must wait in the sensor or a DMA buffer.
    pub fn spare_us(&self) -> u64 {
        self.batch.spare_us(self.uptime_us)
    }

    /// The supply is about to fail: closes the batch and saves what an outbox in flash can take
    /// without an erase. Returns how many frames a power cut would lose. Sampling may go on.
    pub fn save(&mut self) -> usize {
        if !self.stopped {
            self.close_batch();
        }
        self.outbox.spill_now()
    }

    /// Tells the device its clock: freezes a Clock frame when it is the first, when it was
    /// stepped, and every hour.
    pub fn set_clock(&mut self, clock: DeviceClock) {
        let is_news = self.clock.is_none_or(|old| {
            let uptime_us = clock.uptime_us.wrapping_sub(old.uptime_us) as i64;
            let expected_us = old.utc_us.saturating_add(uptime_us);
            let hourly = clock.uptime_us.saturating_sub(self.clock_sent_us) >= CLOCK_US;
            hourly
                || expected_us.abs_diff(clock.utc_us) > CLOCK_STEP_US
                || old.source != clock.source
        });
        self.clock = Some(clock);
        if is_news && !self.stopped {
            self.clock_sent_us = clock.uptime_us;
            self.freeze_clock(&clock);
        }
    }

    /// Puts an event into a frame, such as a sensor's fault or the last panic.
    pub fn report(&mut self, code: EventCode) {
        if !self.stopped {
            self.freeze_event(code);
        }
    }

    /// Whether a full batch and all that may go with it fit the outbox without evicting. What can
    /// wait (a replayed trace) waits for this; sensors do not.
    pub fn has_room(&self) -> bool {
        let catalog_bytes = if self.announced {
            0
        } else {
            self.catalog.len() + FRAME
        };
        let frames = 4 + catalog_bytes / FRAME;
        let bytes = 3 * FRAME + 2 * SENSORS + catalog_bytes;
        self.outbox.has_room(bytes, frames) || self.outbox.is_empty()
    }

    /// Begins a planned stop: closes the batch, freezes Totals and `Ended`, takes no more.
    pub fn stop(&mut self) {
        if self.stopped {
            return;
        }
        // The uptime just after the newest sample: the stream is complete up to there.
        self.advance(self.uptime_us + 1);
        self.close_batch();
        self.freeze_ending();
        self.stopped = true;
    }

    /// Whether a planned stop is done: everything up to `Ended` is acked.
    pub fn is_drained(&self) -> bool {
        self.stopped && self.outbox.is_empty()
    }

    /// Whether [`Device::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Uptime in µs of the newest sample or advance.
    pub fn uptime_us(&self) -> u64 {
        self.uptime_us
    }

    /// One sensor's counts since the boot began.
    pub fn counts(&self, sensor: u16) -> Counts {
        self.totals.get(sensor)
    }

    /// All sensors' counts added up.
    pub fn counts_sum(&self) -> Counts {
        self.totals.sum()
    }

    /// The frames held.
    pub fn outbox(&self) -> &O {
        &self.outbox
    }

    /// The frames held, for who ends the device and keeps them.
    pub fn into_outbox(self) -> O {
        self.outbox
    }

    /// The state of the link.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Who the device is; the incarnation changes at a conflict.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Frames frozen in this incarnation and boot.
    pub fn frames(&self) -> u32 {
        self.sequence - 1
    }

    /// Whether the shell should call [`Device::handle`] with a tick: something was frozen or
    /// evicted since it last did.
    pub fn wants_tick(&self) -> bool {
        self.frozen || self.evicted
    }

    /// When the shell has to come back with a tick at the latest.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.link.next_deadline()
    }

    /// Whether a new incarnation must be drawn from entropy ([`Device::rename`]): a gateway knows
    /// this identity with other content.
    pub fn wants_rename(&self) -> bool {
        self.rename_from.is_some()
    }

    /// Brings an event of the link; `outgoing` is told what to publish.
    pub fn handle(&mut self, now: Moment, event: link::Event, outgoing: &mut impl Extend<Publish>) {
        let was_welcomed = self.link.is_welcomed();
        if let (link::Event::Connected | link::Event::Disconnected, Some(guard)) =
            (event, self.guard())
        {
            guard.begin_connection();
        }
        let event = match event {
            // It comes again.
            link::Event::Ack(_) if self.eviction_behind.is_some() => link::Event::Tick,
            event => event,
        };
        self.drive(now, event, outgoing);
        if self.link.is_welcomed() && !was_welcomed {
            if self.eviction.is_some_and(|eviction| eviction.in_hello) {
                self.note_told();
            }
            let taken = usize::from(self.link.frame_bytes_max());
            self.batch.set_bytes_max(FRAME.min(taken));
            self.freeze_changed_totals();
        }
        if self.totals_due
            && self.link.is_welcomed()
            && self.totals_frames >= TOTALS_EVICTION_FRAMES
        {
            self.freeze_changed_totals();
        }
        if core::mem::take(&mut self.evicted) {
            self.drive(now, link::Event::Evicted, outgoing);
        }
        if core::mem::take(&mut self.frozen) {
            self.drive(now, link::Event::Tick, outgoing);
        }
    }

    /// Brings the payload of a message; `outgoing` is told what to publish.
    pub fn receive(
        &mut self,
        now: Moment,
        channel: Channel,
        payload: &[u8],
        outgoing: &mut impl Extend<Publish>,
    ) -> Result<(), ReceiveError> {
        match self.hear(channel, payload)? {
            Heard::Event(event) => self.handle(now, event, outgoing),
            Heard::CatalogWanted(hash) => {
                self.on_catalog_wanted(now, hash);
                self.handle(now, link::Event::Tick, outgoing);
            }
        }
        Ok(())
    }

    fn take(&mut self, sensor: u16, time_us: u64) -> Result<u64, SampleError> {
        if self.stopped {
            return Err(SampleError::Stopped);
        }
        if sensor >= self.count {
            return Err(SampleError::NoSuchSensor);
        }
        let last_us = self
            .sensors
            .get(usize::from(sensor))
            .and_then(|state| state.last_us);
        if time_us < self.complete_us || last_us.is_some_and(|last| time_us <= last) {
            self.totals.take(sensor);
            self.totals.fail(sensor);
            return Err(SampleError::Backwards);
        }
        // Times ascend over all sensors: what is earlier than this one was given. Totals that
        // this freezes must not count the sample yet, which stands in no frame.
        self.advance(time_us);
        self.uptime_us = self.uptime_us.max(time_us);
        Ok(self.totals.take(sensor))
    }

    /// Reads a message, with a key only a sealed one. Of its own, so that the buffer it is opened
    /// into is off the stack when a frame is frozen.
    #[inline(never)]
    fn hear(&mut self, channel: Channel, payload: &[u8]) -> Result<Heard, ReceiveError> {
        let of = (self.identity.incarnation, self.identity.boot);
        if let (Channel::Down, Some(guard)) = (channel, self.guard()) {
            return Heard::of(channel, &guard.open(of, payload, &mut [0; FRAME])?);
        }
        let frame = frame::read(payload).map_err(ReceiveError::Frame)?;
        let meant = frame.header.incarnation;
        if meant != Incarnation(0) && meant != of.0 {
            return Err(ReceiveError::Stranger);
        }
        Heard::of(
            channel,
            &Down::read(frame.body).map_err(ReceiveError::Body)?,
        )
    }

    /// What seals, of a device with a key; without the feature no device has one, and the compiler
    /// leaves out what would be done with it.
    #[cfg_attr(
        not(feature = "seal"),
        expect(clippy::unused_self, reason = "there is nothing of it to look at")
    )]
    fn guard(&mut self) -> Option<&mut Guard> {
        #[cfg(feature = "seal")]
        return self.guard.as_mut();
        #[cfg(not(feature = "seal"))]
        None
    }

    fn drive(&mut self, now: Moment, event: link::Event, outgoing: &mut impl Extend<Publish>) {
        let mut effects = heapless::Vec::<link::Effect, { link::EFFECTS_MAX }>::new();
        let next = self.next_mark();
        self.link
            .handle(now, event, &self.outbox, next, &mut effects);
        for effect in effects {
            match effect {
                link::Effect::Release(through) => self.release(through),
                link::Effect::Rename(from) => self.rename_from = Some(from),
                link::Effect::Hello => outgoing.extend([Publish::Hello]),
                link::Effect::Progress => outgoing.extend([Publish::Progress]),
                link::Effect::Send(mark) => outgoing.extend([Publish::Frame(mark)]),
            }
        }
    }

    fn release(&mut self, through: Mark) {
        if let Some(eviction) = &mut self.eviction {
            let released = self.outbox.count(Mark::default(), through);
            eviction.gone = eviction.gone.saturating_add(released as u32);
        }
        self.outbox.pop_through(through);
    }

    /// Tells the outbox, for the next boot, whose frames it holds from now on.
    fn stand(&mut self) {
        let standing = Standing {
            incarnation: self.identity.incarnation,
            boot: self.identity.boot,
            catalog: self.hash,
            sensors: self.count,
        };
        self.outbox.stand(Some(&standing));
    }

    /// Tells the outbox, for the next boot, what became of a sensor's samples.
    fn note(&mut self, sensor: u16) {
        let counts = self.totals.get(sensor);
        self.outbox.note(sensor, &counts, self.uptime_us);
    }

    fn next_mark(&self) -> Mark {
        Mark {
            boot: self.identity.boot,
            sequence: self.sequence,
        }
    }

    fn header(&self, mark: Mark) -> Header {
        Header {
            key_id: 0,
            incarnation: self.identity.incarnation,
            mark,
        }
    }
}
