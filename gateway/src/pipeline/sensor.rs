//! Sensors: what a device's catalog says of one, its lanes, and where its samples went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::{Kind, Scale, SensorInfo};
use tidegate_shared::ids::SensorName;

use super::books::TotalCounts;
use super::device::Shared;
use super::gate::AsOf;
use super::lane::{Folding, Lane, LaneCounts, Sample, Tide, Told};
use super::plan::{Plan, kind_name};
use super::program::Constants;
use crate::ledger::counters::{Filter, Rejection, RuleCounters, SensorCounters};
use crate::rules::{Group, Rule};

/// A catalog's description of a sensor, as far as it changes what is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub name: SensorName,
    pub unit: String,
    pub kind: Kind,
    pub scale: Scale,
    pub tags: Vec<String>,
}

impl From<&SensorInfo<'_>> for Meta {
    fn from(info: &SensorInfo<'_>) -> Self {
        Self {
            name: info.id.clone(),
            unit: info.unit.to_owned(),
            kind: info.kind,
            scale: info.scale,
            tags: info.tags.iter().map(|tag| (*tag).to_owned()).collect(),
        }
    }
}

/// Whose sensors they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    pub site: &'a str,
    pub device: &'a str,
}

impl Owner<'_> {
    /// Does something with what expressions can name of a sensor. A tag `zone=north` is named by
    /// `zone`; one without a sign is `true`.
    pub fn with<T>(&self, meta: &Meta, act: impl FnOnce(&Constants<'_>) -> T) -> T {
        let tags = meta.tags.iter();
        let tags: Vec<(&str, &str)> = tags
            .map(|tag| tag.split_once('=').unwrap_or((tag, "true")))
            .collect();
        act(&Constants {
            site: self.site,
            device: self.device,
            sensor: meta.name.as_str(),
            unit: &meta.unit,
            kind: kind_name(meta.kind),
            tags: &tags,
        })
    }
}

/// One sensor of a device, known by its name over all catalogs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Sensor {
    pub meta: Meta,
    pub lanes: Vec<Lane>,
    /// Event time and raw of the newest sample, for rules that name the sensor as an input.
    pub newest: Option<(i64, i64)>,
    past: Vec<Past>,
    pub logged: u64,
    pub unmatched: u64,
    pub rejected: BTreeMap<Rejection, u64>,
    pub totals: TotalCounts,
}

/// Counts of lanes that are gone, or that forwarded elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Past {
    rule: String,
    /// The sinks that its records went to.
    forward: Vec<String>,
    /// Whether its records stood for all sensors of the device.
    is_grouped: bool,
    filtered: BTreeMap<Filter, u64>,
    counts: LaneCounts,
}

impl Sensor {
    /// A sensor that was just described, with a lane for each active plan that matches it.
    pub fn new(meta: Meta, active: &[Arc<Plan>], owner: &Owner<'_>) -> Self {
        let mut sensor = Self {
            meta,
            lanes: Vec::new(),
            newest: None,
            past: Vec::new(),
            logged: 0,
            unmatched: 0,
            rejected: BTreeMap::new(),
            totals: TotalCounts::default(),
        };
        sensor.bind(active, owner);
        sensor
    }

    /// Adds the lanes that active plans still lack.
    pub fn bind(&mut self, active: &[Arc<Plan>], owner: &Owner<'_>) {
        for (at, plan) in (0_u16..).zip(active) {
            if plan.takes_sensor(&self.meta) && !self.lanes.iter().any(|lane| lane.plan == at) {
                let meta = &self.meta;
                let lane = owner.with(meta, |constants| Lane::new(at, plan, meta, constants));
                self.lanes.reserve_exact(1);
                self.lanes.push(lane);
            }
        }
    }

    /// Binds the lanes' expressions, which the stored state does not hold.
    pub fn rebind(&mut self, plans: &[Arc<Plan>], owner: &Owner<'_>) {
        let meta = &self.meta;
        owner.with(meta, |constants| {
            for lane in &mut self.lanes {
                lane.bind(&plans[usize::from(lane.plan)], meta, constants);
            }
        });
    }

    /// Takes another description of the same sensor, at the beginning of an epoch: its lanes are
    /// without windows. Those that go on are made anew with their counts, but for what is open in
    /// an alert of a sensor that still matches.
    pub fn describe(&mut self, meta: &Meta, plans: &[Arc<Plan>], active: usize, owner: &Owner<'_>) {
        self.meta = meta.clone();
        self.retain(plans, |lane| {
            let at = usize::from(lane.plan);
            at < active && plans[at].takes_sensor(meta)
        });
        for lane in &mut self.lanes {
            let plan = &plans[usize::from(lane.plan)];
            owner.with(meta, |constants| lane.describe(plan, meta, constants));
        }
        self.bind(&plans[..active], owner);
    }

    /// Drops the lanes for which `keep` says no; their counts stay.
    pub fn retain(&mut self, plans: &[Arc<Plan>], mut keep: impl FnMut(&mut Lane) -> bool) {
        let past = &mut self.past;
        self.lanes.retain_mut(|lane| {
            let rule = &plans[usize::from(lane.plan)].rule;
            let counts = lane.counts.clone();
            let kept = keep(lane);
            if !kept {
                Past::put(past, rule, &counts);
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
                Past::put(&mut self.past, before, &std::mem::take(&mut lane.counts));
            }
        }
    }

    /// Remembers the newest sample.
    pub fn renew(&mut self, samples: &[Sample]) {
        let newest = samples.last().map(|sample| (sample.time_us, sample.raw));
        let is_newer = newest.is_some_and(|(time_us, _)| {
            self.newest
                .is_none_or(|(newest_us, _)| newest_us <= time_us)
        });
        if is_newer {
            self.newest = newest;
        }
    }

    /// Counts samples that could not be used.
    pub fn reject(&mut self, reason: Rejection, samples: u64) {
        if samples > 0 {
            *self.rejected.entry(reason).or_default() += samples;
        }
    }

    /// Takes usable samples, ascending by time.
    pub fn fold(
        &mut self,
        bed: &Bed<'_>,
        samples: &[Sample],
        shared: &mut [Shared],
        tell: &mut dyn FnMut(&Meta, &Arc<Plan>, Told<'_>),
    ) {
        self.logged += samples.len() as u64;
        if self.lanes.is_empty() {
            self.unmatched += samples.len() as u64;
        }
        let is_retired = |lane: &Lane| usize::from(lane.plan) >= bed.active;
        if self.lanes.iter().any(is_retired) {
            return self.fold_divided(bed, samples, shared, tell);
        }
        for lane in &mut self.lanes {
            pour(lane, &self.meta, bed, samples, shared, true, tell);
        }
    }

    /// As [`Self::fold`] while windows of earlier versions are open. Of a rule's samples, those
    /// that fall into such a window go there, the others to the version in force. Windows that
    /// share samples get theirs beside it, uncounted as long as there is one.
    fn fold_divided(
        &mut self,
        bed: &Bed<'_>,
        samples: &[Sample],
        shared: &mut [Shared],
        tell: &mut dyn FnMut(&Meta, &Arc<Plan>, Told<'_>),
    ) {
        let is_active = |lane: &Lane| usize::from(lane.plan) < bed.active;
        let active = self.lanes.iter().filter(|lane| is_active(lane));
        let in_force: BTreeSet<String> = active
            .map(|lane| bed.plan(lane).rule.name.clone())
            .collect();
        let mut taken: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        for now in [false, true] {
            let lanes = self.lanes.iter_mut();
            for lane in lanes.filter(|lane| is_active(lane) == now) {
                let plan = &bed.plans[usize::from(lane.plan)];
                let is_counted = in_force.contains(&plan.rule.name);
                let gone = taken
                    .entry(&plan.rule.name)
                    .or_insert_with(|| vec![false; samples.len()]);
                if now {
                    let left = samples.iter().zip(gone).filter(|(_, gone)| !**gone);
                    let left: Vec<Sample> = left
                        .map(|(sample, gone)| {
                            *gone = true;
                            *sample
                        })
                        .collect();
                    pour(lane, &self.meta, bed, &left, shared, true, tell);
                    continue;
                }
                // One by one: what a sample does to a session or a number of samples decides
                // whether it takes the next.
                for (sample, gone) in samples.iter().zip(gone) {
                    // Windows that share samples share them with other versions, too.
                    let shares = plan.overlaps();
                    if (shares || !*gone) && covers(lane, plan, shared, sample.time_us) {
                        let counts = !(*gone || shares && is_counted);
                        *gone |= counts;
                        let one = std::slice::from_ref(sample);
                        pour(lane, &self.meta, bed, one, shared, counts, tell);
                    }
                }
            }
        }
        let matched = |at: usize| taken.values().any(|gone| gone[at]);
        let unmatched = (0..samples.len()).filter(|at| !matched(*at)).count();
        self.unmatched += unmatched as u64;
    }

    /// Tells each rule's samples matched, and of these those left out, lane by lane.
    pub fn sums(&self, plans: &[Arc<Plan>], tell: &mut dyn FnMut(&str, u64, u64)) {
        for lane in &self.lanes {
            let rule = &plans[usize::from(lane.plan)].rule;
            tell(&rule.name, lane.counts.matched, lane.counts.left_out());
        }
        for past in &self.past {
            past.sum(tell);
        }
    }

    /// Everything counted of this sensor.
    pub fn counters(&self, plans: &[Arc<Plan>], slot: u16, shared: &[Shared]) -> SensorCounters {
        let totals = self.totals.sum();
        let mut rules: BTreeMap<String, RuleCounters> = BTreeMap::new();
        let lanes = self.lanes.iter().map(|lane| {
            let rule = &plans[usize::from(lane.plan)].rule;
            let windows = shared.iter().find(|one| one.plan == lane.plan);
            let windows = windows.filter(|_| lane.is_shared());
            let open = windows.map_or(0, |one| one.windows.open_samples(Some(slot)));
            (Past::of(rule, &lane.counts), open + lane.open_samples())
        });
        let past = self.past.iter().map(|past| (past.clone(), 0));
        for (past, open) in lanes.chain(past) {
            past.add_to(&mut rules, open);
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

impl Past {
    /// What a rule counted.
    pub fn of(rule: &Rule, counts: &LaneCounts) -> Self {
        Self {
            rule: rule.name.clone(),
            forward: rule.forward.clone(),
            is_grouped: rule.group == Group::Device,
            filtered: counts.filtered(rule.thin.as_ref()).into_iter().collect(),
            counts: counts.clone(),
        }
    }

    /// Puts what a rule counted beside what was counted before.
    pub fn put(past: &mut Vec<Self>, rule: &Rule, counts: &LaneCounts) {
        let other = Self::of(rule, counts);
        let same = |one: &&mut Self| {
            one.rule == other.rule
                && one.forward == other.forward
                && one.is_grouped == other.is_grouped
        };
        match past.iter_mut().find(same) {
            Some(one) => one.add(&other),
            None => past.push(other),
        }
    }

    /// Tells the rule's samples matched, and of these those left out.
    pub fn sum(&self, tell: &mut dyn FnMut(&str, u64, u64)) {
        tell(&self.rule, self.counts.matched, self.counts.left_out());
    }

    /// Adds it to what is told of rules; `open` stand in windows still.
    pub fn add_to(self, rules: &mut BTreeMap<String, RuleCounters>, open: u64) {
        let rule = rules.entry(self.rule).or_default();
        let sinks: BTreeSet<String> = self.forward.into_iter().collect();
        for sink in sinks {
            if self.is_grouped {
                *rule.forwarded_grouped.entry(sink.clone()).or_default() += self.counts.folded;
            }
            *rule.forwarded.entry(sink).or_default() += self.counts.folded;
        }
        rule.matched += self.counts.matched;
        for (filter, count) in self.filtered.into_iter().filter(|(_, count)| *count > 0) {
            *rule.filtered.entry(filter).or_default() += count;
        }
        rule.late += self.counts.late;
        rule.examined += self.counts.examined();
        rule.folded += self.counts.folded;
        rule.open += open;
    }

    fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        for (filter, count) in &other.filtered {
            *self.filtered.entry(*filter).or_default() += count;
        }
    }
}

/// What a frame's samples are folded on.
#[derive(Clone, Copy)]
pub(super) struct Bed<'a> {
    pub plans: &'a [Arc<Plan>],
    /// `plans[..active]` are the rules in force; the others only finish what they have open.
    pub active: usize,
    pub tide: &'a Tide,
    /// Of a plan, its inputs.
    pub as_of: &'a dyn Fn(&Plan, usize, i64) -> f64,
    /// The sensor's place in the device.
    pub slot: u16,
}

impl Bed<'_> {
    fn plan(&self, lane: &Lane) -> &Arc<Plan> {
        &self.plans[usize::from(lane.plan)]
    }
}

fn pour(
    lane: &mut Lane,
    meta: &Meta,
    bed: &Bed<'_>,
    samples: &[Sample],
    shared: &mut [Shared],
    counts: bool,
    tell: &mut dyn FnMut(&Meta, &Arc<Plan>, Told<'_>),
) {
    let plan = bed.plan(lane);
    let as_of: AsOf<'_> = &|input, time_us| (bed.as_of)(plan, input, time_us);
    let folding = Folding {
        plan,
        meta,
        tide: bed.tide,
        as_of,
        slot: bed.slot,
        counts,
        opens: usize::from(lane.plan) < bed.active,
    };
    let windows = shared.iter_mut().find(|one| one.plan == lane.plan);
    let windows = windows.filter(|_| lane.is_shared());
    let windows = windows.map(|one| &mut one.windows);
    lane.fold(&folding, samples, windows, &mut |told| {
        tell(meta, plan, told);
    });
}

/// Whether a window that a lane folds into covers a time.
fn covers(lane: &Lane, plan: &Plan, shared: &[Shared], time_us: i64) -> bool {
    let Some(window) = &plan.rule.window else {
        return false;
    };
    let windows = shared.iter().find(|one| one.plan == lane.plan);
    lane.covers(window, time_us)
        || lane.is_shared() && windows.is_some_and(|one| one.windows.covers(window, time_us))
}
