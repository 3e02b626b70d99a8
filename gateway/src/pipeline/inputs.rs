//! Inputs: values of a device's other sensors as of a sample's time.
//!
//! An input is the newest sample of its sensor that is not newer than the sample at hand, among
//! those of the frame and the newest one before it; it is absent when it is older than the rule's
//! `max_age`. Samples of a device that come in a later frame are not waited for.

use super::decoded::Decoded;
use super::device::Device;
use super::gate::number;
use super::plan::Plan;
use crate::clock::Mapping;
use tidegate_shared::catalog::Scale;

/// The inputs that a frame's samples may ask for.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    /// By name; none when no rule in force has inputs.
    sensors: Vec<Sensor>,
}

#[derive(Debug)]
struct Sensor {
    name: String,
    scale: Scale,
    /// Event time and raw: the newest before the frame, then those of the frame, ascending.
    samples: Vec<(i64, i64)>,
}

impl Inputs {
    /// Gathers what rules in force name, as of a frame.
    pub fn of(device: &Device, decoded: &Decoded, mapping: &Mapping, latest_us: i64) -> Self {
        let plans = device.plans.iter();
        let named = plans.flat_map(|plan| plan.rule.inputs.iter().map(|one| &one.sensor));
        let mut inputs = Self::default();
        for name in named {
            let known = inputs.sensors.iter().any(|one| one.name == *name);
            let mut places = (0_u16..).zip(&device.sensors);
            let place = places.find(|(_, sensor)| sensor.meta.name.as_str() == name);
            let Some((slot, sensor)) = place.filter(|_| !known) else {
                continue;
            };
            let mut samples: Vec<(i64, i64)> = sensor.newest.into_iter().collect();
            for block in &decoded.blocks {
                let is_its = device.slots.get(usize::from(block.sensor)) == Some(&Some(slot));
                if is_its {
                    let found = decoded.all(block, mapping);
                    let usable = found.filter(|one| !one.is_bad && one.sample.time_us <= latest_us);
                    samples.extend(usable.map(|one| (one.sample.time_us, one.sample.raw)));
                }
            }
            samples.sort_by_key(|(time_us, _)| *time_us);
            inputs.sensors.push(Sensor {
                name: name.clone(),
                scale: sensor.meta.scale,
                samples,
            });
        }
        inputs
    }

    /// The value of a rule's input as of a time; NaN when it is absent.
    pub fn as_of(&self, plan: &Plan, input: usize, time_us: i64) -> f64 {
        let found = plan.rule.inputs.get(input).and_then(|input| {
            let sensor = self.sensors.iter().find(|one| one.name == input.sensor)?;
            let behind = sensor
                .samples
                .partition_point(|(at_us, _)| *at_us <= time_us);
            let (at_us, raw) = *sensor.samples.get(behind.checked_sub(1)?)?;
            let is_young = time_us.saturating_sub(at_us) <= plan.rule.max_age_us;
            is_young.then(|| number(raw, &sensor.scale))
        });
        found.unwrap_or(f64::NAN)
    }
}
