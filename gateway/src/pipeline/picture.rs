//! Picture: the pipeline's state as people ask for it, read only.
//!
//! Terms: a *picture* is the state at a moment; spans in it reach back from that moment in arrival
//! time, which no clock that is set moves. What it costs is a walk over what it tells: no question
//! copies the state.

use std::collections::BTreeMap;

use tidegate_shared::ids::DeviceName;

use super::Pipeline;
use super::decimal;
use super::device::Device;
use super::lane::Lane;
use super::plan::Plan;
use super::sensor::{Meta, Sensor};
use crate::clock::Moment;
use crate::record::{AlertCause, ClockQuality};

/// The state at a moment.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'p> {
    pipeline: &'p Pipeline,
    /// The moment, in arrival time.
    now_us: i64,
}

/// A device at that moment.
#[derive(Debug, Clone, Copy)]
pub struct DeviceView<'p> {
    picture: Picture<'p>,
    name: &'p DeviceName,
    device: &'p Device,
}

/// What a device's health is judged by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Whether a frame of it was ever logged.
    pub has_frames: bool,
    /// Whether its newest frame said that it ended.
    pub ended: bool,
    /// How long its link has been down, if it is.
    pub down_us: Option<i64>,
    /// Whether it said that frames wait beyond those in flight.
    pub backlog: bool,
    /// Frames that wait here, for a catalog or for the gateway's clock.
    pub frames_waiting: u64,
    /// How long nothing came though it could be heard; absent while the gateway is not subscribed.
    pub quiet_us: Option<i64>,
    /// How long it may be quiet: what it says that a sample waits there and what rules wait for,
    /// or twice what is usual between its frames.
    pub patience_us: i64,
    /// How far the time that it is complete up to was behind the arrival of its newest frame;
    /// absent before its first batch and where the gateway's clock was not to be trusted.
    pub behind_us: Option<i64>,
}

/// A sensor of a device.
#[derive(Debug, Clone, Copy)]
pub struct SensorView<'p> {
    device: DeviceView<'p>,
    sensor: &'p Sensor,
}

/// What everything adds up to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Sums<'p> {
    /// Samples logged and usable.
    pub logged: u64,
    /// What these weigh.
    pub logged_weight: u64,
    /// The rules in force, in order.
    pub rules: Vec<RuleSum<'p>>,
}

/// What a rule did, over all its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSum<'p> {
    /// Its name.
    pub name: &'p str,
    /// Its version.
    pub version: u32,
    /// The sinks that its records go to.
    pub forward: &'p [String],
    /// Samples matched.
    pub matched: u64,
    /// What these weigh.
    pub matched_weight: u64,
    /// Of these, samples that were filtered or came late.
    pub left_out: u64,
}

/// An alert that is open.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAlert<'p> {
    /// Its rule.
    pub rule: &'p str,
    /// Its device; `*` for all devices.
    pub device: &'p str,
    /// Its sensor.
    pub sensor: &'p str,
    /// What it watches.
    pub cause: AlertCause,
    /// Since when, event time, UTC in µs.
    pub since_us: i64,
    /// Whether what opened it was old when it arrived.
    pub historic: bool,
    /// The sensor's newest value, where one is known.
    pub value: Option<f64>,
    /// Its unit.
    pub unit: &'p str,
}

/// What a sample weighs of which device, sensor and unit.
pub type Weigh<'w> = &'w dyn Fn(&str, &str, &str) -> u64;

impl Pipeline {
    /// The state as it is at a moment, no earlier than its newest entry.
    pub fn picture(&self, now: Moment) -> Picture<'_> {
        let mut now_us = self.arrival.now_us();
        if now.start == self.arrival.start() {
            let passed_us = now.at.mono_us.saturating_sub(self.arrival.at().mono_us);
            now_us = now_us.saturating_add_unsigned(passed_us);
        }
        Picture {
            pipeline: self,
            now_us,
        }
    }
}

impl<'p> Picture<'p> {
    /// Every device, by name.
    pub fn devices(self) -> impl Iterator<Item = DeviceView<'p>> {
        let devices = self.pipeline.devices.iter();
        devices.map(move |(name, device)| DeviceView {
            picture: self,
            name,
            device,
        })
    }

    /// A device by name.
    pub fn device(self, name: &str) -> Option<DeviceView<'p>> {
        let name = DeviceName::try_from(name).ok()?;
        let (name, device) = self.pipeline.devices.get_key_value(&name)?;
        Some(DeviceView {
            picture: self,
            name,
            device,
        })
    }

    /// What everything adds up to; `weigh` says what a sample weighs.
    pub fn sums(self, weigh: Weigh<'_>) -> Sums<'p> {
        let plans = self.pipeline.plans.iter();
        let mut sums = Sums {
            rules: plans.map(|plan| RuleSum::of(plan)).collect(),
            ..Sums::default()
        };
        let places: BTreeMap<&str, usize> = (sums.rules.iter().enumerate())
            .map(|(at, rule)| (rule.name, at))
            .collect();
        let mut add = |rule: &str, matched: u64, left_out: u64, weight: u64| {
            if let Some(sum) = places.get(rule).and_then(|at| sums.rules.get_mut(*at)) {
                sum.matched += matched;
                sum.matched_weight += matched * weight;
                sum.left_out += left_out;
            }
        };
        for (name, device) in &self.pipeline.devices {
            for sensor in &device.sensors {
                let meta = &sensor.meta;
                let weight = weigh(name.as_str(), meta.name.as_str(), &meta.unit);
                sums.logged += sensor.logged;
                sums.logged_weight += sensor.logged * weight;
                sensor.sums(&device.plans, &mut |rule, matched, left_out| {
                    add(rule, matched, left_out, weight);
                });
            }
        }
        let chains = &self.pipeline.chains;
        chains.sums(&mut |one| {
            let weight = weigh(one.device, one.sensor, one.unit);
            add(one.rule, one.matched, one.left_out, weight);
        });
        sums
    }

    /// Tells every alert that is open, in no order of interest.
    pub fn alerts(self, tell: &mut dyn FnMut(OpenAlert<'p>)) {
        for device in self.devices() {
            for sensor in &device.device.sensors {
                let newest = sensor.newest.map(|(_, raw)| value_of(&sensor.meta, raw));
                for lane in &sensor.lanes {
                    let Some(plan) = device.device.plans.get(usize::from(lane.plan)) else {
                        continue;
                    };
                    let names = (plan.rule.name.as_str(), device.name.as_str());
                    open_alerts(names, &sensor.meta, lane, newest, tell);
                }
            }
        }
        self.pipeline.chains.lanes(&mut |plan, device, meta, lane| {
            let newest = lane.watched().map(|raw| value_of(meta, raw));
            open_alerts((&plan.rule.name, device), meta, lane, newest, tell);
        });
    }

    /// The site.
    pub fn site(self) -> &'p str {
        &self.pipeline.site
    }

    /// The wall time of the moment, UTC in µs, if it is known.
    pub fn wall_us(self) -> Option<i64> {
        self.pipeline.eras.wall_us(self.now_us)
    }
}

impl<'p> RuleSum<'p> {
    fn of(plan: &'p Plan) -> Self {
        Self {
            name: &plan.rule.name,
            version: plan.version,
            forward: &plan.rule.forward,
            matched: 0,
            matched_weight: 0,
            left_out: 0,
        }
    }
}

impl<'p> DeviceView<'p> {
    /// Its name.
    pub fn name(&self) -> &'p str {
        self.name.as_str()
    }

    /// What its health is judged by.
    pub fn facts(&self) -> DeviceFacts {
        let (device, now_us) = (self.device, self.picture.now_us);
        let link = &device.link;
        let wait_us = link.hold_us.saturating_add(device.lateness_us());
        let usual_us = device.rhythm.usual_us().saturating_mul(2);
        let quiet_us = self.picture.pipeline.subscribed_us.map(|subscribed_us| {
            let since_us = link.frame_us.max(link.up_us).max(link.quiet_us);
            now_us.saturating_sub(since_us.max(subscribed_us))
        });
        let arrived_us = self.heard_us();
        DeviceFacts {
            has_frames: self.has_frames(),
            ended: link.ended,
            down_us: link.down_us.map(|down_us| now_us.saturating_sub(down_us)),
            backlog: link.backlog,
            frames_waiting: device.waiting.len() as u64,
            quiet_us,
            patience_us: wait_us.max(usual_us),
            behind_us: arrived_us
                .zip(device.watermark_us)
                .map(|(arrived_us, watermark_us)| arrived_us.saturating_sub(watermark_us)),
        }
    }

    /// When its newest frame was logged, UTC in µs, if that is known.
    pub fn heard_us(&self) -> Option<i64> {
        let eras = &self.picture.pipeline.eras;
        eras.wall_us(self.device.link.frame_us)
            .filter(|_| self.has_frames())
    }

    /// Since when its link is down, UTC in µs, if it is and that is known.
    pub fn down_since_us(&self) -> Option<i64> {
        let eras = &self.picture.pipeline.eras;
        eras.wall_us(self.device.link.down_us?)
    }

    /// How well its times are known; absent before the first batch.
    pub fn clock(&self) -> Option<ClockQuality> {
        self.device.clocks.quality()
    }

    /// Its epoch.
    pub fn epoch(&self) -> u32 {
        self.device.epoch
    }

    /// The event time up to which it is complete, UTC in µs; absent before the epoch's first batch.
    pub fn complete_us(&self) -> Option<i64> {
        self.device.watermark_us
    }

    /// Its sensors, in the order of the catalog in use; those of earlier catalogs only are left
    /// out.
    pub fn sensors(self) -> impl Iterator<Item = SensorView<'p>> {
        let slots = self.device.slots.iter().flatten();
        slots.filter_map(move |slot| {
            let sensor = self.device.sensors.get(usize::from(*slot))?;
            Some(SensorView {
                device: self,
                sensor,
            })
        })
    }

    fn has_frames(&self) -> bool {
        !self.device.counts.frames.is_empty()
    }
}

impl<'p> SensorView<'p> {
    /// Its name.
    pub fn name(&self) -> &'p str {
        self.sensor.meta.name.as_str()
    }

    /// The unit of its values.
    pub fn unit(&self) -> &'p str {
        &self.sensor.meta.unit
    }

    /// Its newest sample in the epoch: event time, UTC in µs, and value.
    pub fn newest(&self) -> Option<(i64, f64)> {
        let (time_us, raw) = self.sensor.newest?;
        Some((time_us, value_of(&self.sensor.meta, raw)))
    }

    /// Samples logged and usable.
    pub fn logged(&self) -> u64 {
        self.sensor.logged
    }

    /// Samples held back by the device on purpose; absent before it said.
    pub fn suppressed(&self) -> Option<u64> {
        Some(self.sensor.totals.sum()?.suppressed)
    }

    /// Samples logged that could not be used.
    pub fn rejected(&self) -> u64 {
        self.sensor.rejected.values().sum()
    }

    /// Its alerts that are open.
    pub fn alerts_open(&self) -> u64 {
        let lanes = self.sensor.lanes.iter();
        lanes.map(|lane| lane.open_alerts().count() as u64).sum()
    }

    /// The device that it is of.
    pub fn device(&self) -> &DeviceView<'p> {
        &self.device
    }
}

fn open_alerts<'p>(
    (rule, device): (&'p str, &'p str),
    meta: &'p Meta,
    lane: &'p Lane,
    value: Option<f64>,
    tell: &mut dyn FnMut(OpenAlert<'p>),
) {
    for open in lane.open_alerts() {
        tell(OpenAlert {
            rule,
            device,
            sensor: meta.name.as_str(),
            cause: open.cause,
            since_us: open.since_us,
            historic: open.historic,
            value,
            unit: &meta.unit,
        });
    }
}

fn value_of(meta: &Meta, raw: i64) -> f64 {
    decimal::number(meta.scale.mantissa(raw), meta.scale.exponent)
}
