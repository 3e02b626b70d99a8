//! Sensors: what a device's catalog says of one, its lanes, and where its samples went.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::{Kind, Scale, SensorInfo};
use tidegate_shared::ids::{Incarnation, SensorName};
use tidegate_shared::message::Counts;

use super::lane::{Lane, LaneCounts, Sample, Tide};
use super::plan::{Bounds, Plan, glob};
use crate::ledger::counters::{Filter, Rejection, RuleCounters, SensorCounters};

/// A catalog's description of a sensor, as far as it changes what is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub name: SensorName,
    pub unit: String,
    pub kind: Kind,
    pub scale: Scale,
}

impl From<&SensorInfo<'_>> for Meta {
    fn from(info: &SensorInfo<'_>) -> Self {
        Self {
            name: info.id.clone(),
            unit: info.unit.to_owned(),
            kind: info.kind,
            scale: info.scale,
        }
    }
}

/// One sensor of a device, known by its name over all catalogs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sensor {
    pub meta: Meta,
    pub lanes: Vec<Lane>,
    /// Counts of lanes that are gone, by rule.
    past: Vec<(String, LaneCounts)>,
    pub logged: u64,
    pub unmatched: u64,
    pub rejected: BTreeMap<Rejection, u64>,
    pub totals: TotalCounts,
}

/// A sensor's Totals: the latest of each boot, summed over boots.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TotalCounts {
    boot: Option<(Incarnation, u32)>,
    latest: Counts,
    past: Counts,
    /// Samples that the device counts as evicted though their frames were logged.
    pub evicted_but_logged: u64,
}

impl TotalCounts {
    /// Takes a boot's cumulative counts.
    pub fn take(&mut self, incarnation: Incarnation, boot: u32, counts: Counts) {
        if self.boot != Some((incarnation, boot)) {
            self.past = self.sum();
            self.boot = Some((incarnation, boot));
        }
        self.latest = counts;
    }

    /// Sum over all boots; saturating, as a device may claim anything.
    pub fn sum(&self) -> Counts {
        let (past, latest) = (&self.past, &self.latest);
        Counts {
            taken: past.taken.saturating_add(latest.taken),
            suppressed: past.suppressed.saturating_add(latest.suppressed),
            failed: past.failed.saturating_add(latest.failed),
            evicted: past.evicted.saturating_add(latest.evicted),
        }
    }
}

impl Sensor {
    /// A sensor that was just described, with a lane for each active plan that matches it.
    pub fn new(meta: Meta, active: &[Arc<Plan>]) -> Self {
        let mut sensor = Self {
            meta,
            lanes: Vec::new(),
            past: Vec::new(),
            logged: 0,
            unmatched: 0,
            rejected: BTreeMap::new(),
            totals: TotalCounts::default(),
        };
        sensor.bind(active);
        sensor
    }

    /// Adds the lanes that active plans still lack.
    pub fn bind(&mut self, active: &[Arc<Plan>]) {
        for (at, plan) in (0_u16..).zip(active) {
            if glob(&plan.rule.matching.sensor, self.meta.name.as_str())
                && !self.lanes.iter().any(|lane| lane.plan == at)
            {
                let bounds = Bounds::new(&plan.rule, &self.meta.scale);
                self.lanes.reserve_exact(1);
                self.lanes.push(Lane::new(at, bounds));
            }
        }
    }

    /// Takes another description of the same sensor; its lanes must be without windows.
    pub fn describe(&mut self, meta: &Meta, plans: &[Arc<Plan>]) {
        self.meta = meta.clone();
        for lane in &mut self.lanes {
            let plan = &plans[usize::from(lane.plan)];
            lane.begin_epoch(Some(Bounds::new(&plan.rule, &self.meta.scale)));
        }
    }

    /// Drops the lanes for which `keep` says no; their counts stay.
    pub fn retain(&mut self, plans: &[Arc<Plan>], mut keep: impl FnMut(&mut Lane) -> bool) {
        let past = &mut self.past;
        self.lanes.retain_mut(|lane| {
            let name = plans[usize::from(lane.plan)].rule.name.as_str();
            let counts = lane.counts;
            let kept = keep(lane);
            if !kept {
                match past.iter_mut().find(|(rule, _)| rule == name) {
                    Some((_, sum)) => sum.add(&counts),
                    None => past.push((name.to_owned(), counts)),
                }
            }
            kept
        });
    }

    /// Counts samples that could not be used.
    pub fn reject(&mut self, reason: Rejection, samples: u64) {
        if samples > 0 {
            *self.rejected.entry(reason).or_default() += samples;
        }
    }

    /// Takes usable samples, ascending by time. `plans[..active]` are the rules in force; the
    /// others only finish the windows they have open.
    pub fn fold(
        &mut self,
        plans: &[Arc<Plan>],
        active: usize,
        samples: &[Sample],
        tide: &Tide,
        pass: &mut dyn FnMut(&Meta, &Plan, &Sample),
    ) {
        self.logged += samples.len() as u64;
        if self.lanes.is_empty() {
            self.unmatched += samples.len() as u64;
        }
        let meta = &self.meta;
        if self
            .lanes
            .iter()
            .any(|lane| usize::from(lane.plan) >= active)
        {
            return self.fold_divided(plans, active, samples, tide, pass);
        }
        for lane in &mut self.lanes {
            let plan = &plans[usize::from(lane.plan)];
            lane.fold(plan, &meta.scale, samples, tide, &mut |sample| {
                pass(meta, plan, sample);
            });
        }
    }

    /// As [`Self::fold`] while windows of earlier versions are open: of a rule's samples, those
    /// that fall into such a window go there, the others to the version in force.
    fn fold_divided(
        &mut self,
        plans: &[Arc<Plan>],
        active: usize,
        samples: &[Sample],
        tide: &Tide,
        pass: &mut dyn FnMut(&Meta, &Plan, &Sample),
    ) {
        let meta = &self.meta;
        let mut taken: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        let is_active = |lane: &Lane| usize::from(lane.plan) < active;
        for in_force in [false, true] {
            let lanes = self.lanes.iter_mut();
            for lane in lanes.filter(|lane| is_active(lane) == in_force) {
                let plan = &plans[usize::from(lane.plan)];
                let gone = taken
                    .entry(&plan.rule.name)
                    .or_insert_with(|| vec![false; samples.len()]);
                let mut part = Vec::new();
                for (sample, gone) in samples.iter().zip(gone) {
                    if !*gone && (in_force || lane.covers(plan, sample.time_us)) {
                        *gone = true;
                        part.push(*sample);
                    }
                }
                lane.fold(plan, &meta.scale, &part, tide, &mut |sample| {
                    pass(meta, plan, sample);
                });
            }
        }
        let matched = |at: usize| taken.values().any(|gone| gone[at]);
        let unmatched = (0..samples.len()).filter(|at| !matched(*at)).count();
        self.unmatched += unmatched as u64;
    }

    /// Everything counted of this sensor.
    pub fn counters(&self, plans: &[Arc<Plan>]) -> SensorCounters {
        let totals = self.totals.sum();
        let mut rules: BTreeMap<String, RuleCounters> = BTreeMap::new();
        let lanes = self.lanes.iter().map(|lane| {
            let name = &plans[usize::from(lane.plan)].rule.name;
            (name, &lane.counts, lane.open_samples())
        });
        let past = self.past.iter().map(|(name, counts)| (name, counts, 0));
        for (name, counts, open) in lanes.chain(past) {
            let rule = rules.entry(name.clone()).or_default();
            rule.matched += counts.matched;
            for (filter, count) in [
                (Filter::Keep, counts.keep),
                (Filter::Deadband, counts.deadband),
            ] {
                if count > 0 {
                    *rule.filtered.entry(filter).or_default() += count;
                }
            }
            rule.late += counts.late;
            rule.folded += counts.folded;
            rule.open += open;
        }
        SensorCounters {
            taken: totals.taken,
            suppressed: totals.suppressed,
            failed: totals.failed,
            evicted: totals
                .evicted
                .saturating_sub(self.totals.evicted_but_logged),
            evicted_but_logged: self.totals.evicted_but_logged,
            logged: self.logged,
            rejected: self.rejected.clone(),
            unmatched: self.unmatched,
            rules,
        }
    }
}
