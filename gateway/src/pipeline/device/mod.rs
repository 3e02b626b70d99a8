//! Devices: everything the pipeline knows of one, as one part of the state.
//!
//! How frames come in stands in `intake`, how windows close without a frame in `closing`. What
//! is here: the device's sensors and plans, its epochs and its counters.
//!
//! Invariant: `plans[..active]` are the rules in force that match the device, in the order of the
//! file; the plans behind them are earlier versions whose windows are still held by a lane.

mod lanes;
mod reach;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::{CatalogHash, Incarnation, Mark};

use super::books::Books;
use super::catalogs::{Catalogs, Found};
use super::emission::{Cause, Emission, Source};
use super::lane::{Closing, Lane};
use super::plan::{self, Plan};
use super::probe::Probe;
use super::rhythm::Rhythm;
use super::sensor::{Owner, Sensor};
use super::trial::Observed;
use super::windows::Windows;
use crate::clock::{Clocks, Moment, Wall};
use crate::entry::Limits;
use crate::ledger::counters::{DeviceCounters, FrameKind, Rejection};

/// Sensors remembered of a device over all its catalogs: four catalogs of the most sensors.
/// Samples of further ones are rejected as `unknown-sensor`.
pub(super) const SENSORS_KNOWN_MAX: usize = 1_024;
/// Frames whose sample counts are remembered: as many as may be in flight.
pub(super) const RECENT_MAX: usize = 64;

/// One device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Device {
    pub epoch: u32,
    /// Of the newest frame taken.
    pub incarnation: Option<Incarnation>,
    pub watermark_us: Option<i64>,
    pub clocks: Clocks,
    pub catalogs: Catalogs,
    /// The catalog of the last batch, and for each of its sensors the place in `sensors`.
    pub in_use: Option<CatalogHash>,
    pub slots: Vec<Option<u16>>,
    pub sensors: Vec<Sensor>,
    #[serde(with = "super::plan")]
    pub plans: Vec<Arc<Plan>>,
    pub active: usize,
    /// Windows that rules share among the sensors.
    pub shared: Vec<Shared>,
    pub waiting: VecDeque<Waiting>,
    /// The catalog of the first waiting frame that lacks one.
    pub wanted: Option<CatalogHash>,
    /// Whether the first waiting frame waits for the gateway's clock.
    pub holds: bool,
    pub recent: VecDeque<FrameCounts>,
    pub link: Link,
    pub damage: Damage,
    pub books: Books,
    pub counts: DeviceCounts,
    /// How far apart its frames come; never part of the state.
    #[serde(skip)]
    pub rhythm: Rhythm,
}

/// The windows of a rule over all sensors of the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Shared {
    /// Index of the rule's plan among the device's.
    pub plan: u16,
    pub windows: Windows,
}

/// Something that may be open.
#[derive(Debug)]
pub(super) enum Open<'a> {
    Lane(&'a Lane),
    Shared(&'a Windows),
}

/// A frame that waits for its catalog or the gateway's clock, or behind one that does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Waiting {
    /// When it was logged.
    pub moment: Moment,
    pub bytes: Vec<u8>,
    /// The catalog it names.
    pub catalog: Option<CatalogHash>,
    /// Its samples.
    pub samples: u64,
    /// Whether the device has evicted it meanwhile.
    pub evicted: bool,
}

/// How many samples of which sensors a batch held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FrameCounts {
    pub incarnation: Incarnation,
    pub mark: Mark,
    pub catalog: CatalogHash,
    /// Index in the catalog (below 256), samples (at most 255).
    pub samples: Box<[(u8, u8)]>,
}

/// What the device's link said last, in arrival times.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Link {
    /// When it dropped, if it is down.
    pub down_us: Option<i64>,
    /// When it came up last.
    pub up_us: i64,
    /// Whether frames wait beyond the window.
    pub backlog: bool,
    /// When the last backlog ended.
    pub quiet_us: i64,
    /// Longest time a sample waits on the device, in µs.
    pub hold_us: i64,
    /// When the newest frame was logged.
    pub frame_us: i64,
    /// Whether the newest frame taken said that the device ended.
    pub ended: bool,
}

/// Whether windows of the device were lost with a damaged store.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Damage {
    #[default]
    None,
    /// They were; no batch came since.
    Fresh,
    /// Windows that start up to this event time may lack samples.
    Until(i64),
}

/// What is counted of a device beside its sensors.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeviceCounts {
    pub frames: BTreeMap<FrameKind, u64>,
    pub frames_rejected: BTreeMap<Rejection, u64>,
    pub samples_rejected: BTreeMap<Rejection, u64>,
    pub lost_on_device: u64,
    pub lost_here: u64,
    pub gaps_open: u64,
    pub crowded_out: u64,
    pub not_held: u64,
    pub epochs: u64,
    pub parts_lost: u64,
}

/// What surrounds a device while an entry is applied.
#[derive(Debug)]
pub(super) struct Scene<'a> {
    pub site: &'a str,
    pub log_incarnation: u32,
    pub device: &'a str,
    pub limits: &'a Limits,
    /// Arrival time of the entry.
    pub now_us: i64,
    /// What is known of the gateway's wall clock.
    pub wall: &'a Wall,
    /// Whether frames wait for it to be known.
    pub holds: bool,
    /// Counts the bytes of those that do.
    pub held_bytes: &'a mut u64,
    pub emission: &'a mut Emission,
    /// Watches this device, when somebody asked.
    pub probe: Option<&'a mut Probe>,
    /// Takes the usable samples, when somebody asked.
    pub observed: Option<&'a mut Vec<Observed>>,
}

impl<'a> Scene<'a> {
    /// Whose the sensors are.
    pub fn owner(&self) -> Owner<'a> {
        Owner {
            site: self.site,
            device: self.device,
        }
    }

    /// What the device's records have in common.
    pub fn source(&self, epoch: u32) -> Source<'a> {
        Source {
            site: self.site,
            log_incarnation: self.log_incarnation,
            device: self.device,
            epoch,
        }
    }
}

impl Device {
    /// A device that nothing is known of.
    pub fn new() -> Self {
        Self {
            epoch: 0,
            incarnation: None,
            watermark_us: None,
            clocks: Clocks::default(),
            catalogs: Catalogs::default(),
            in_use: None,
            slots: Vec::new(),
            sensors: Vec::new(),
            plans: Vec::new(),
            active: 0,
            shared: Vec::new(),
            waiting: VecDeque::new(),
            wanted: None,
            holds: false,
            recent: VecDeque::new(),
            link: Link::default(),
            damage: Damage::None,
            books: Books::default(),
            counts: DeviceCounts::default(),
            rhythm: Rhythm::default(),
        }
    }

    /// A device whose part could not be read: its epoch is one that no record had before.
    pub fn damaged(epoch: u32, now_us: i64) -> Self {
        let mut device = Self::new();
        device.epoch = epoch;
        device.damage = Damage::Fresh;
        device.books = Books::blind();
        device.counts.parts_lost = 1;
        device.link.frame_us = now_us;
        device
    }

    /// Finds plans of the pipeline again behind equal ones that were read from a part.
    pub fn share_plans(&mut self, pool: &[Arc<Plan>]) {
        plan::share(&mut self.plans, pool);
    }

    /// Whether indices hold, in a device read from a part.
    pub fn is_sound(&self) -> bool {
        let lanes = || self.sensors.iter().flat_map(|sensor| &sensor.lanes);
        self.active <= self.plans.len()
            && lanes().all(|lane| usize::from(lane.plan) < self.plans.len())
            && self
                .shared
                .iter()
                .all(|shared| usize::from(shared.plan) < self.plans.len())
            && self
                .slots
                .iter()
                .flatten()
                .all(|slot| usize::from(*slot) < self.sensors.len())
    }

    /// The largest lateness of the rules in force, in µs.
    pub fn lateness_us(&self) -> i64 {
        let active = self.plans[..self.active].iter();
        active.map(|plan| plan.lateness_us()).max().unwrap_or(0)
    }

    /// Begins an epoch: every window of the one before is emitted and final.
    pub fn begin_epoch(&mut self, scene: &mut Scene<'_>) {
        self.close(scene, Closing::All, |_, _| Some(Cause::Entry));
        for sensor in &mut self.sensors {
            sensor.newest = None;
            sensor.lanes.iter_mut().for_each(Lane::begin_epoch);
        }
        for shared in &mut self.shared {
            shared.windows.begin_epoch();
        }
        self.forget_retired();
        self.epoch += 1;
        self.counts.epochs += 1;
        self.watermark_us = None;
        if let Damage::Until(_) = self.damage {
            self.damage = Damage::None;
        }
    }

    /// Enters the incarnation of a frame that is taken.
    pub fn enter(&mut self, scene: &mut Scene<'_>, incarnation: Incarnation) {
        if self.incarnation.is_some_and(|one| one != incarnation) {
            self.begin_epoch(scene);
        }
        self.incarnation = Some(incarnation);
    }

    /// Puts a known catalog in use. One that changes a sensor's unit, kind or scale begins an
    /// epoch; an alert that is open is cleared where its rule does not take the sensor any more.
    pub fn use_catalog(&mut self, scene: &mut Scene<'_>, hash: CatalogHash) {
        let Found::Sensors(metas) = self.catalogs.find(hash) else {
            return;
        };
        if self.in_use == Some(hash) {
            return;
        }
        let metas = metas.to_vec();
        let place = |sensors: &[Sensor], name| {
            let mut names = sensors.iter().map(|sensor| &sensor.meta.name);
            names.position(|one| one == name)
        };
        let changes = metas.iter().any(|meta| {
            place(&self.sensors, &meta.name).is_some_and(|at| self.sensors[at].meta != *meta)
        });
        if changes {
            let plans = self.plans.clone();
            let active = self.active;
            self.end_lanes(scene, |known, at| {
                let mut others = metas.iter().filter(|meta| *meta != known);
                let described = others.find(|meta| meta.name == known.name);
                described.is_some_and(|meta| at >= active || !plans[at].takes_sensor(meta))
            });
            self.begin_epoch(scene);
        }
        self.slots.clear();
        for meta in &metas {
            let slot = match place(&self.sensors, &meta.name) {
                Some(at) => {
                    if self.sensors[at].meta != *meta {
                        let (plans, active) = (&self.plans, self.active);
                        self.sensors[at].describe(meta, plans, active, &scene.owner());
                    }
                    Some(at)
                }
                None if self.sensors.len() < SENSORS_KNOWN_MAX => {
                    let active = &self.plans[..self.active];
                    self.sensors.reserve_exact(1);
                    let sensor = Sensor::new(meta.clone(), active, &scene.owner());
                    self.sensors.push(sensor);
                    Some(self.sensors.len() - 1)
                }
                None => None,
            };
            self.slots.push(slot.map(|at| at as u16));
        }
        self.in_use = Some(hash);
    }

    /// The place of a sensor by its index in any known catalog.
    pub fn sensor_of(&mut self, catalog: CatalogHash, index: u16) -> Option<&mut Sensor> {
        let index = usize::from(index);
        let at = if self.in_use == Some(catalog) {
            usize::from((*self.slots.get(index)?)?)
        } else {
            let Found::Sensors(metas) = self.catalogs.find(catalog) else {
                return None;
            };
            let name = &metas.get(index)?.name;
            let mut names = self.sensors.iter().map(|sensor| &sensor.meta.name);
            names.position(|one| one == name)?
        };
        self.sensors.get_mut(at)
    }

    /// Counts a frame that could not be used.
    pub fn reject_frame(&mut self, reason: Rejection) {
        *self.counts.frames_rejected.entry(reason).or_default() += 1;
    }

    /// Counts samples of a sensor that is not known.
    pub fn reject_samples(&mut self, reason: Rejection, samples: u64) {
        if samples > 0 {
            *self.counts.samples_rejected.entry(reason).or_default() += samples;
        }
    }

    /// Everything counted of this device, but for what was never logged.
    pub fn counters(&self) -> DeviceCounters {
        let counts = self.counts.clone();
        let sensors = (0_u16..).zip(&self.sensors).map(|(slot, sensor)| {
            let counters = sensor.counters(&self.plans, slot, &self.shared);
            (sensor.meta.name.as_str().to_owned(), counters)
        });
        DeviceCounters {
            frames: counts.frames,
            frames_rejected: counts.frames_rejected,
            samples_rejected: counts.samples_rejected,
            frames_lost_on_device: counts.lost_on_device,
            frames_lost_here: counts.lost_here,
            gaps_open: counts.gaps_open,
            doubts: self.books.doubts(),
            frames_waiting: self.waiting.len() as u64,
            samples_waiting: self.waiting.iter().map(|one| one.samples).sum(),
            frames_not_held: counts.not_held,
            windows_crowded_out: counts.crowded_out,
            epochs: counts.epochs,
            parts_lost: counts.parts_lost,
            not_logged: BTreeMap::new(),
            sensors: sensors.collect(),
        }
    }
}
