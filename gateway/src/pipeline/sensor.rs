//! Sensors: what a device's catalog says of one, its lanes, and where its samples went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::{Kind, Scale, SensorInfo};
use tidegate_shared::ids::SensorName;

use super::books::TotalCounts;
use super::lane::{Lane, LaneCounts, Sample, Tide};
use super::plan::{Bounds, Plan, globs};
use crate::ledger::counters::{Filter, Rejection, RuleCounters, SensorCounters};
use crate::rules::Rule;

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
    past: Vec<Past>,
    pub logged: u64,
    pub unmatched: u64,
    pub rejected: BTreeMap<Rejection, u64>,
    pub totals: TotalCounts,
}

/// Counts of lanes that are gone, or that forwarded elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Past {
    rule: String,
    /// The sinks that its records went to.
    forward: Vec<String>,
    counts: LaneCounts,
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
            if globs(&plan.rule.matching.sensor, self.meta.name.as_str())
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
            let rule = &plans[usize::from(lane.plan)].rule;
            let counts = lane.counts;
            let kept = keep(lane);
            if !kept {
                put_past(past, rule, &counts);
            }
            kept
        });
    }

    /// Puts apart what lanes counted under rules that forward elsewhere from now on, so that each
    /// sink's share of what is folded stays known. `moved` says where in `new` an old plan is.
    pub fn settle(&mut self, old: &[Arc<Plan>], new: &[Arc<Plan>], moved: &[Option<u16>]) {
        for lane in &mut self.lanes {
            let before = &old[usize::from(lane.plan)].rule;
            let to = moved.get(usize::from(lane.plan)).copied().flatten();
            let after = to.and_then(|to| new.get(usize::from(to)));
            if after.is_some_and(|after| after.rule.forward != before.forward) {
                put_past(&mut self.past, before, &std::mem::take(&mut lane.counts));
            }
        }
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
            let rule = &plans[usize::from(lane.plan)].rule;
            (&rule.name, &rule.forward, &lane.counts, lane.open_samples())
        });
        let past = self.past.iter();
        let past = past.map(|past| (&past.rule, &past.forward, &past.counts, 0));
        for (name, forward, counts, open) in lanes.chain(past) {
            let rule = rules.entry(name.clone()).or_default();
            let sinks: BTreeSet<&String> = forward.iter().collect();
            for sink in sinks {
                *rule.forwarded.entry(sink.clone()).or_default() += counts.folded;
            }
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
            taken: totals.map(|totals| totals.taken),
            suppressed: totals.map(|totals| totals.suppressed),
            failed: totals.map(|totals| totals.failed),
            evicted: totals.map(|totals| {
                let logged = self.totals.evicted_but_logged;
                totals.evicted.saturating_sub(logged)
            }),
            beyond: self.totals.beyond(),
            evicted_but_logged: self.totals.evicted_but_logged,
            logged: self.logged,
            rejected: self.rejected.clone(),
            unmatched: self.unmatched,
            rules,
        }
    }
}

fn put_past(past: &mut Vec<Past>, rule: &Rule, counts: &LaneCounts) {
    let same = |one: &&mut Past| one.rule == rule.name && one.forward == rule.forward;
    match past.iter_mut().find(same) {
        Some(one) => one.counts.add(counts),
        None => past.push(Past {
            rule: rule.name.clone(),
            forward: rule.forward.clone(),
            counts: *counts,
        }),
    }
}
