//! Trial: what trying other rules on a log takes: rules that no entry puts in force, and the
//! samples that rules were given.
//!
//! Neither is part of the state, and without them a block costs one branch.

use tidegate_shared::ids::DeviceName;

use super::decimal;
use super::lane::Sample;
use super::sensor::Meta;
use super::{Pipeline, Plan};
use crate::rules::{Rule, RuleSet};

/// The usable samples of one block, as they were folded.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Device.
    pub device: String,
    /// Sensor.
    pub sensor: String,
    /// Unit of the values.
    pub unit: String,
    /// The device's epoch.
    pub epoch: u32,
    /// Event time, UTC in µs, and value.
    pub samples: Vec<(i64, f64)>,
}

impl Observed {
    pub(super) fn of(device: &str, meta: &Meta, epoch: u32, samples: &[Sample]) -> Self {
        let value = |raw| decimal::number(meta.scale.mantissa(raw), meta.scale.exponent);
        Self {
            device: device.to_owned(),
            sensor: meta.name.as_str().to_owned(),
            unit: meta.unit.clone(),
            epoch,
            samples: samples
                .iter()
                .map(|sample| (sample.time_us, value(sample.raw)))
                .collect(),
        }
    }
}

impl Pipeline {
    /// Has usable samples told from here on; what is emitted and counted stays the same.
    pub fn observe(&mut self) {
        self.observed.get_or_insert_default();
    }

    /// Has no samples told any more.
    pub fn look_away(&mut self) {
        self.observed = None;
    }

    /// The samples since this was asked last, in the order they were folded.
    pub fn take_observed(&mut self) -> Vec<Observed> {
        self.observed
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Puts rules in force that the log does not hold. Rules that compute the same go on with
    /// the windows they have open; those of all others are forgotten, not emitted.
    pub fn impose(&mut self, rules: &RuleSet) {
        self.plans = self.versions.take(rules);
        self.rules = rules.clone();
        let plans = self.plans.clone();
        let names: Vec<DeviceName> = self.devices.keys().cloned().collect();
        for name in names {
            self.with_device(&name, |device, scene, _| {
                device.set_rules(scene, &plans);
                device.forget_earlier();
            });
        }
        let (chains, around, emission) = self.chained();
        chains.set_rules(&plans, &around, emission);
        self.emission.clear();
        self.schedule_all();
    }

    /// The rules in force with their versions, in order.
    pub fn versions(&self) -> impl Iterator<Item = (&Rule, u32)> {
        let plans = self.plans.iter().map(AsRef::<Plan>::as_ref);
        plans.map(|plan| (&plan.rule, plan.version))
    }

    /// A device's epoch, and the event time up to which it is complete in it.
    pub fn tide(&self, device: &str) -> Option<(u32, Option<i64>)> {
        let name = DeviceName::try_from(device).ok()?;
        let device = self.devices.get(&name)?;
        Some((device.epoch, device.watermark_us))
    }

    /// The names of the devices known.
    pub fn device_names(&self) -> impl Iterator<Item = &str> {
        self.devices.keys().map(DeviceName::as_str)
    }
}
