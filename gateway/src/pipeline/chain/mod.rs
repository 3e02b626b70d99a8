//! Chains: rules whose samples are the records of another rule.
//!
//! Terms: a *stream* is what a chained rule makes of one sensor of one device, or with
//! `group = "site"` of one sensor name over all devices. The *mark* of a device says below which
//! event time all its records of the source rule have been emitted. A stream's watermark is the
//! mark of its device, or the least mark of all devices that still have something to tell.
//!
//! ```text
//! records of the entry ─▶ of the source rule? ─▶ with inputs: wait until the watermark is here ─▶ lane
//!                                              └▶ others at once                              │
//!                                emission, in the same entry ◀── watermark, early close ──────┘
//! ```
//! A record stands at its window's start. Invariants:
//! - Chained rules come behind their sources: they see what those emitted in the same entry.
//! - A record counts as a sample once: a revision of one that was taken counts as late.
//! - An alert's records are no samples; a record without the value asked for is filtered as
//!   undefined.
//! - What a rule change ends is closed at once.

mod reach;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_shared::ids::DeviceName;

pub(super) use self::reach::Reach;
use self::stream::Stream;
use super::device::Device;
use super::emission::{Cause, Emission, Source, Stage};
use super::lane::{Lane, LaneCounts};
use super::plan::Plan;
use super::sensor::{Meta, Past};
use crate::entry::Limits;
use crate::ledger::counters::Counters;
use crate::record::{Emitted, GROUP, Record};
use crate::rules::Group;

/// Most streams of a chained rule: eight sensors of a thousand devices. Records of further ones
/// are counted as filtered (undefined) under the device `*`.
pub(super) const STREAMS_MAX: usize = 8_192;

/// The chained rules in force, each behind its source, and what earlier ones counted.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Chains {
    chains: Vec<Chain>,
    /// By device and sensor.
    past: BTreeMap<(String, String), Vec<Past>>,
}

/// A chained rule at work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Chain {
    #[serde(with = "super::plan")]
    plan: Vec<Arc<Plan>>,
    /// By device and sensor.
    streams: BTreeMap<(String, String), Stream>,
    /// What is known of each device that ever emitted for it.
    marks: BTreeMap<String, Reach>,
    /// Records for which there was no stream.
    beyond: LaneCounts,
}

/// What a chained rule did with the records of one sensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct StreamSum<'c> {
    pub device: &'c str,
    pub sensor: &'c str,
    pub unit: &'c str,
    pub rule: &'c str,
    pub matched: u64,
    pub left_out: u64,
}

/// What surrounds chains while an entry is applied.
#[derive(Clone, Copy)]
pub(super) struct Around<'a> {
    pub site: &'a str,
    pub log_incarnation: u32,
    pub limits: &'a Limits,
    pub now_us: i64,
    pub arrived_us: i64,
    pub devices: &'a BTreeMap<DeviceName, Device>,
    /// The devices that the entry touched.
    pub touched: &'a [DeviceName],
}

impl Chains {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty()
    }

    /// Puts other rules in force. Rules that compute the same go on; the others end.
    pub fn set_rules(&mut self, plans: &[Arc<Plan>], around: &Around<'_>, emission: &mut Emission) {
        let mut old = std::mem::take(&mut self.chains);
        for plan in in_order(plans) {
            let same = old.iter().position(|one| one.plan().is_version_of(&plan));
            let mut chain = match same {
                Some(at) => old.remove(at),
                None => Chain {
                    plan: vec![Arc::clone(&plan)],
                    streams: BTreeMap::new(),
                    marks: BTreeMap::new(),
                    beyond: LaneCounts::default(),
                },
            };
            if chain.plan().rule.forward != plan.rule.forward {
                chain.put_past(&mut self.past);
            }
            chain.plan = vec![plan];
            self.chains.push(chain);
        }
        for mut chain in old {
            chain.end(around, emission);
            chain.put_past(&mut self.past);
        }
    }

    /// Takes the records that the entry has caused so far.
    pub fn take(&mut self, around: &Around<'_>, emission: &mut Emission) {
        for at in 0..self.chains.len() {
            let (before, rest) = self.chains.split_at_mut(at);
            if let Some(chain) = rest.first_mut() {
                chain.take(before, around, emission);
            }
        }
    }

    /// Binds expressions again, which the stored state does not hold.
    pub fn rebind(&mut self, site: &str) {
        for chain in &mut self.chains {
            let plan = Arc::clone(chain.plan());
            for ((device, _), stream) in &mut chain.streams {
                stream.bind(&plan, site, device);
            }
        }
    }

    /// Whether what was read holds.
    pub fn is_sound(&self) -> bool {
        self.chains.iter().all(|chain| chain.plan.len() == 1)
    }

    /// Tells what each rule's samples add up to, stream by stream.
    pub fn sums(&self, tell: &mut dyn FnMut(&StreamSum<'_>)) {
        for chain in &self.chains {
            let rule = chain.plan().rule.name.as_str();
            let mut told = |device, sensor, unit, counts: &LaneCounts| {
                tell(&StreamSum {
                    device,
                    sensor,
                    unit,
                    rule,
                    matched: counts.matched,
                    left_out: counts.left_out(),
                });
            };
            for ((device, _), stream) in &chain.streams {
                let (meta, lane) = stream.parts();
                told(device, meta.name.as_str(), &meta.unit, &lane.counts);
            }
            told(GROUP, GROUP, "", &chain.beyond);
        }
        for ((device, sensor), past) in &self.past {
            for one in past {
                one.sum(&mut |rule, matched, left_out| {
                    tell(&StreamSum {
                        device,
                        sensor,
                        unit: "",
                        rule,
                        matched,
                        left_out,
                    });
                });
            }
        }
    }

    /// Tells every stream's lane with its rule, device and sensor.
    pub fn lanes<'c>(&'c self, tell: &mut dyn FnMut(&'c Plan, &'c str, &'c Meta, &'c Lane)) {
        for chain in &self.chains {
            for ((device, _), stream) in &chain.streams {
                let (meta, lane) = stream.parts();
                tell(chain.plan(), device, meta, lane);
            }
        }
    }

    /// Adds what was counted.
    pub fn count(&self, counters: &mut Counters) {
        let now = self.chains.iter().flat_map(|chain| {
            let streams = chain.streams.iter();
            streams.map(|(key, stream)| (key, stream.counted(&chain.plan().rule), stream.open()))
        });
        for chain in self.chains.iter().filter(|one| one.beyond.matched > 0) {
            let device = counters.devices.entry(GROUP.to_owned()).or_default();
            let sensor = device.sensors.entry(GROUP.to_owned()).or_default();
            Past::of(&chain.plan().rule, &chain.beyond).add_to(&mut sensor.rules, 0);
        }
        let past = self.past.iter().flat_map(|(key, past)| {
            let past = past.iter();
            past.map(move |past| (key, past.clone(), 0))
        });
        for ((device, sensor), past, open) in now.chain(past) {
            let device = counters.devices.entry(device.clone()).or_default();
            let sensor = device.sensors.entry(sensor.clone()).or_default();
            past.add_to(&mut sensor.rules, open);
        }
    }
}

impl Chain {
    fn plan(&self) -> &Arc<Plan> {
        &self.plan[0]
    }

    fn take(&mut self, before: &[Chain], around: &Around<'_>, emission: &mut Emission) {
        let plan = Arc::clone(self.plan());
        let Some(from) = &plan.rule.from else {
            return;
        };
        let of_source = |one: &&Emitted| one.record.rule == from.rule && one.record.alert.is_none();
        let records = emission.emitted().filter(of_source);
        let records: Vec<Record> = records.map(|one| one.record.clone()).collect();
        for record in &records {
            self.push(&plan, record, around, emission);
        }
        // Behind the pushes: a stream that began with this entry has its inputs of the entry, too.
        for record in &records {
            self.offer(&plan, record);
        }
        self.mark(&plan, before, &from.rule, around);
        self.advance(&plan, around, emission);
    }

    fn push(
        &mut self,
        plan: &Arc<Plan>,
        record: &Record,
        around: &Around<'_>,
        emission: &mut Emission,
    ) {
        let over_site = plan.rule.group == Group::Site;
        if !plan.takes_record(around.site, record) {
            return;
        }
        self.marks.entry(record.device.clone()).or_default();
        let device = if over_site { GROUP } else { &record.device };
        let key = (device.to_owned(), record.sensor.clone());
        if !self.streams.contains_key(&key) {
            let room = self.streams.len() < STREAMS_MAX;
            let stream = Stream::new(plan, record, around.site, device).filter(|_| room);
            let Some(stream) = stream else {
                self.beyond.undefined();
                return;
            };
            self.streams.insert(key.clone(), stream);
        }
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        let source = around.source(device, stream.epoch());
        let stage = Stage {
            source: &source,
            cause: Cause::Entry,
            watermark_us: None,
        };
        stream.push(plan, record, around, &stage, emission);
    }

    /// Offers a record as an input.
    fn offer(&mut self, plan: &Plan, record: &Record) {
        if plan.rule.inputs.is_empty() {
            return;
        }
        let over_site = plan.rule.group == Group::Site;
        for ((device, _), stream) in &mut self.streams {
            if over_site || *device == record.device {
                stream.offer(plan, record);
            }
        }
    }

    /// Takes how far the devices have come. Over the site a device counts from when a sensor of
    /// it is under the source rule, and so does one that only inputs name.
    fn mark(&mut self, plan: &Plan, before: &[Chain], source_rule: &str, around: &Around<'_>) {
        let chain = before
            .iter()
            .find(|one| one.plan().rule.name == source_rule);
        // A source over the site may have come further with any device.
        let names = around.touched.iter().map(DeviceName::as_str);
        for name in names.chain([GROUP]) {
            if !self.marks.contains_key(name) {
                let device = around.devices.get(name);
                let makes = chain.map_or_else(
                    || device.is_some_and(|device| device.is_under(source_rule)),
                    |chain| chain.of(name).next().is_some(),
                );
                if !makes || !plan.waits_for(around.site, name) {
                    continue;
                }
            }
            let mark = self.marks.entry(name.to_owned()).or_default();
            let told = match chain {
                Some(chain) => Some(chain.told(name)),
                None => around
                    .devices
                    .get(name)
                    .map(|device| device.told(source_rule, around.limits.offline_close_us)),
            };
            *mark = told.unwrap_or(*mark);
        }
    }

    /// How far this rule's own records of a device have come, for the chains behind it.
    fn told(&self, device: &str) -> Reach {
        let marks = self.of(device).map(|(_, stream)| stream.told(self.plan()));
        marks.reduce(Reach::and).unwrap_or_default()
    }

    fn advance(&mut self, plan: &Arc<Plan>, around: &Around<'_>, emission: &mut Emission) {
        if plan.rule.group == Group::Site {
            let mark = Reach::of_all(self.marks.values(), around.now_us);
            for ((device, _), stream) in &mut self.streams {
                let source = around.source(device, stream.epoch());
                stream.advance(plan, mark, around, &source, emission);
            }
            return;
        }
        let names = around.touched.iter().map(DeviceName::as_str);
        for name in names.chain([GROUP]) {
            let mark = self.marks.get(name).copied().unwrap_or_default();
            let first = (name.to_owned(), String::new());
            let streams = self.streams.range_mut(first..);
            for ((device, _), stream) in streams.take_while(|((one, _), _)| one == name) {
                let source = around.source(device, stream.epoch());
                stream.advance(plan, mark, around, &source, emission);
            }
        }
    }

    /// The streams of a device.
    fn of(&self, device: &str) -> impl Iterator<Item = (&(String, String), &Stream)> {
        let streams = self.streams.range((device.to_owned(), String::new())..);
        streams.take_while(move |((one, _), _)| one == device)
    }

    /// Closes everything: the rule ends in this version.
    fn end(&mut self, around: &Around<'_>, emission: &mut Emission) {
        let plan = Arc::clone(self.plan());
        for ((device, _), stream) in &mut self.streams {
            let source = around.source(device, stream.epoch());
            stream.end(&plan, around, &source, emission);
        }
    }

    /// Puts apart what was counted so far.
    fn put_past(&mut self, past: &mut BTreeMap<(String, String), Vec<Past>>) {
        let rule = self.plan().rule.clone();
        for (key, stream) in &mut self.streams {
            let past = past.entry(key.clone()).or_default();
            Past::put(past, &rule, &stream.take_counts());
        }
        let beyond = std::mem::take(&mut self.beyond);
        if beyond.matched > 0 {
            let past = past
                .entry((GROUP.to_owned(), GROUP.to_owned()))
                .or_default();
            Past::put(past, &rule, &beyond);
        }
    }
}

impl<'a> Around<'a> {
    fn source(&self, device: &'a str, epoch: u32) -> Source<'a> {
        Source {
            site: self.site,
            log_incarnation: self.log_incarnation,
            device,
            epoch,
        }
    }
}

/// The chained plans, each behind its source; those in a circle, or of no source, are left out.
fn in_order(plans: &[Arc<Plan>]) -> Vec<Arc<Plan>> {
    let (mut waiting, done): (Vec<_>, Vec<_>) =
        plans.iter().partition(|plan| plan.rule.from.is_some());
    let mut known: Vec<&str> = done.iter().map(|plan| plan.rule.name.as_str()).collect();
    let mut ordered = Vec::new();
    loop {
        let ready = waiting.iter().position(|plan| {
            let from = plan.rule.from.as_ref();
            from.is_some_and(|from| known.contains(&from.rule.as_str()))
        });
        let Some(at) = ready else {
            return ordered;
        };
        let plan = waiting.remove(at);
        known.push(&plan.rule.name);
        ordered.push(Arc::clone(plan));
    }
}
