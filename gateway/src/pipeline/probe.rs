//! Probe: watches what becomes of the sample of one sensor that is nearest to a time.
//!
//! It changes nothing that is emitted or counted. A block that brings a nearer sample is folded
//! in three pieces (what is before it, the sample alone, what is behind it), which is the same
//! fold; by how the counts of the sensor's lanes grew over the middle piece the probe knows what
//! each rule did with the sample. Without a probe it costs one branch a block.
//!
//! What a window does later needs no probe: its records name it.

mod sighting;

use std::sync::Arc;

use tidegate_shared::frame::Header;
use tidegate_shared::message::Counts;

pub use self::sighting::{Lateness, Ruling, SampleFate, Sighting, Verdict};

use super::decimal;
use super::decoded::{BlockAt, Decoded, Found};
use super::emission::{Emission, Source};
use super::gate::absolute;
use super::lane::{LaneCounts, Tide};
use super::plan::Plan;
use super::sensor::{Meta, Sensor};
use super::windows::Windows;
use crate::clock::Mapping;
use crate::ledger::counters::{Filter, Rejection};
use crate::record::id::{Origin, SampleIdentity, of_sample};
use crate::rules::{Late, Rule};
use crate::time::Timestamp;

/// Watches one sensor of one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    device: String,
    sensor: String,
    time_us: i64,
    nearest: Option<Sighting>,
    equally_near: u64,
    passed: Vec<Passed>,
}

/// Something of the device that the pipeline took, in log order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Passed {
    /// A batch, whatever sensors it was of.
    Batch {
        /// Event time of its first sample, UTC in µs.
        first_us: i64,
        /// Event time up to which the device is complete with it.
        complete_us: i64,
    },
    /// A nearer sample than all before: [`Probe::nearest`] is a new one.
    Nearer,
    /// The sensor's cumulative counts of a boot.
    Totals {
        /// The boot's incarnation.
        incarnation: u32,
        /// The boot.
        boot: u32,
        /// The counts.
        counts: Counts,
    },
}

/// What holds for all samples of a block while it is looked at.
pub(super) struct View<'a> {
    pub at: &'a Timestamp,
    pub header: &'a Header,
    pub mapping: &'a Mapping,
    pub tide: &'a Tide,
    pub epoch: u32,
}

/// How things stood before a sample was folded alone.
pub(super) struct Before {
    /// Of each lane: its counts, and the raw value it kept last.
    lanes: Vec<(LaneCounts, Option<i64>)>,
    emitted: usize,
}

impl Before {
    pub fn of(sensor: &Sensor, emission: &Emission) -> Self {
        let lanes = sensor.lanes.iter();
        Self {
            lanes: lanes
                .map(|lane| (lane.counts.clone(), lane.last_kept()))
                .collect(),
            emitted: emission.len(),
        }
    }
}

impl Probe {
    /// Watches for the sample nearest to an event time, UTC in µs.
    pub fn new(device: &str, sensor: &str, time_us: i64) -> Self {
        Self {
            device: device.to_owned(),
            sensor: sensor.to_owned(),
            time_us,
            nearest: None,
            equally_near: 0,
            passed: Vec::new(),
        }
    }

    /// The nearest sample so far; of samples equally near the one folded last.
    pub fn nearest(&self) -> Option<&Sighting> {
        self.nearest.as_ref()
    }

    /// How many blocks held a sample as near as that one, its own included.
    pub fn equally_near(&self) -> u64 {
        self.equally_near
    }

    /// What passed since this was asked last.
    pub fn take_passed(&mut self) -> Vec<Passed> {
        std::mem::take(&mut self.passed)
    }

    pub(super) fn is_of(&self, device: &str) -> bool {
        self.device == device
    }

    /// A batch is about to be folded.
    pub(super) fn batch(&mut self, first_us: i64, complete_us: i64) {
        self.passed.push(Passed::Batch {
            first_us,
            complete_us,
        });
    }

    /// Totals of a sensor came.
    pub(super) fn totals(&mut self, meta: &Meta, header: &Header, counts: Counts) {
        if meta.name.as_str() == self.sensor {
            self.passed.push(Passed::Totals {
                incarnation: header.incarnation.0,
                boot: header.mark.boot,
                counts,
            });
        }
    }

    /// Looks for a nearer sample in the block that was resolved last. Gives its place among the
    /// usable ones: there it is to be folded alone, and [`Self::judge`] asked.
    pub(super) fn look(
        &mut self,
        decoded: &Decoded,
        block: &BlockAt,
        meta: &Meta,
        view: &View<'_>,
    ) -> Option<usize> {
        if meta.name.as_str() != self.sensor {
            return None;
        }
        let time_us = self.time_us;
        let distance = |other_us: i64| other_us.abs_diff(time_us);
        let all = decoded.all(block, view.mapping);
        let found = all.min_by_key(|found| distance(found.sample.time_us))?;
        let far = distance(found.sample.time_us);
        match &self.nearest {
            Some(known) if distance(known.identity.time_us) < far => return None,
            Some(known) if distance(known.identity.time_us) == far => self.equally_near += 1,
            _ => self.equally_near = 1,
        }
        let mut usable = decoded.samples.iter();
        let place = usable.position(|one| one.index == found.sample.index);
        let fate = match place {
            Some(_) => SampleFate::Ruled(Vec::new()),
            None if found.is_bad => SampleFate::Rejected(Rejection::BadSample),
            None => SampleFate::Rejected(Rejection::ImplausibleTime),
        };
        self.nearest = Some(sighting(&found, block, meta, view, fate));
        self.passed.push(Passed::Nearer);
        place
    }

    /// The sample that was looked at last has been folded alone.
    pub(super) fn judge(
        &mut self,
        before: &Before,
        sensor: &Sensor,
        plans: &[Arc<Plan>],
        tide: &Tide,
        (emission, stage): (&Emission, &Source<'_>),
    ) {
        let Some(nearest) = &mut self.nearest else {
            return;
        };
        let mut verdicts = Vec::new();
        for (lane, (counts, last)) in sensor.lanes.iter().zip(&before.lanes) {
            let plan = &plans[usize::from(lane.plan)];
            let now = &lane.counts;
            if now.matched == counts.matched {
                continue;
            }
            let scaled = |raw| value(&sensor.meta, raw);
            let time_us = nearest.identity.time_us;
            let windows = plan.rule.window.as_ref();
            let window = windows.and_then(|window| Windows::fixed(window, time_us));
            let ruling = if now.keep > counts.keep {
                let keep = plan.rule.keep;
                Ruling::OutOfBounds {
                    min: keep.and_then(|keep| keep.min),
                    max: keep.and_then(|keep| keep.max),
                }
            } else if let Some(filter) = filtered(now, counts, &plan.rule) {
                match (filter, absolute(&plan.rule)) {
                    (Filter::Deadband, Some(deadband)) => Ruling::Deadband {
                        last: last.map(scaled),
                        deadband: Some(deadband),
                    },
                    (filter, _) => Ruling::Filtered(filter),
                }
            } else if now.late > counts.late {
                Ruling::Late(lateness(plan, window, tide))
            } else if now.examined() > counts.examined() {
                let ids = emission.ids(before.emitted..emission.len(), &sensor.meta, plan);
                Ruling::Examined(ids.map(|(id, _)| id).collect())
            } else if windows.is_some() {
                let ids = emission.ids(0..before.emitted, &sensor.meta, plan);
                let of_window =
                    ids.filter(|(_, (start_us, end_us))| *start_us <= time_us && time_us < *end_us);
                Ruling::Folded {
                    before: of_window.map(|(id, _)| id).collect(),
                }
            } else {
                let source = Origin {
                    site: stage.site,
                    log_incarnation: stage.log_incarnation,
                    rule: &plan.rule.name,
                    version: plan.version,
                    device: stage.device,
                    sensor: sensor.meta.name.as_str(),
                    epoch: stage.epoch,
                };
                Ruling::Passed(vec![of_sample(&source, &nearest.identity)])
            };
            verdicts.push(Verdict {
                rule: plan.rule.name.clone(),
                version: plan.version,
                window,
                lateness_us: plan.lateness_us(),
                ruling,
            });
        }
        nearest.fate = SampleFate::Ruled(verdicts);
    }
}

fn value(meta: &Meta, raw: i64) -> f64 {
    decimal::number(meta.scale.mantissa(raw), meta.scale.exponent)
}

fn sighting(
    found: &Found,
    block: &BlockAt,
    meta: &Meta,
    view: &View<'_>,
    fate: SampleFate,
) -> Sighting {
    Sighting {
        at: *view.at,
        identity: SampleIdentity {
            incarnation: view.header.incarnation.0,
            boot: view.header.mark.boot,
            sequence: view.header.mark.sequence,
            block: block.sensor,
            index: found.sample.index,
            time_us: found.sample.time_us,
        },
        uptime_us: found.uptime_us,
        raw: found.sample.raw,
        value: (!found.is_bad).then(|| value(meta, found.sample.raw)),
        unit: meta.unit.clone(),
        epoch: view.epoch,
        clock: view.mapping.quality,
        watermark_us: view.tide.watermark_us,
        fate,
    }
}

/// What filtered a sample, if its lane's counts say so.
fn filtered(now: &LaneCounts, before: &LaneCounts, rule: &Rule) -> Option<Filter> {
    let thin = rule.thin.as_ref();
    let mut pairs = now.filtered(thin).into_iter().zip(before.filtered(thin));
    let grown = pairs.find(|((_, now), (_, before))| now > before);
    grown.map(|((filter, _), _)| filter)
}

/// Why a window took a sample no more.
fn lateness(plan: &Plan, window: Option<(i64, i64)>, tide: &Tide) -> Lateness {
    let lateness_us = plan.lateness_us();
    let window_of = plan.rule.window.as_ref();
    let late = window_of.map_or(Late::Revise, |window| window.late);
    let end_us = window.map_or(i64::MAX, |(_, end_us)| end_us);
    let passed = |mark_us: i64| end_us.saturating_add(lateness_us) <= mark_us;
    if tide.watermark_us.is_some_and(passed) {
        Lateness::Watermark
    } else if late == Late::Drop {
        Lateness::ClosedEarly
    } else {
        Lateness::Final
    }
}

#[cfg(test)]
mod tests;
