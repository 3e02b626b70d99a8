//! Streams: a chained rule on the records of one sensor.

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::Kind;

use super::{Around, Reach};
use crate::pipeline::decimal;
use crate::pipeline::emission::{Cause, Emission, Source, Stage};
use crate::pipeline::gate::number;
use crate::pipeline::lane::{Closing, Folding, Lane, LaneCounts, Sample, Tide};
use crate::pipeline::plan::{Plan, decimals};
use crate::pipeline::sensor::{Meta, Owner, Past};
use crate::record::{ClockQuality, Record, Value};
use crate::rules::{Group, Rule};

/// Most records that wait for their inputs, and most that are kept of one input. Beyond, the
/// oldest goes on with what is known, and the oldest of an input is given up.
const PENDING_MAX: usize = 1_024;

/// A record as a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Pending {
    sample: Sample,
    /// Its identity goes into those of what is made of it, as a frame's would.
    frame: (u32, u32, u32),
    clock: ClockQuality,
}

/// A chained rule on the records of one sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Stream {
    meta: Meta,
    lane: Lane,
    epoch: u32,
    watermark_us: Option<i64>,
    /// When the newest record came, in arrival time.
    heard_us: i64,
    /// Records that wait for their inputs, ascending by time.
    pending: Vec<Pending>,
    /// Event time and raw of each input's records, ascending by time.
    inputs: Vec<Vec<(i64, i64)>>,
}

impl Stream {
    /// A stream that begins with a record; none of one that stands for several sensors.
    pub fn new(plan: &Plan, record: &Record, site: &str, device: &str) -> Option<Self> {
        let from = plan.rule.from.as_ref();
        let meta = Meta {
            name: record.sensor.as_str().try_into().ok()?,
            unit: unit_of(plan, record).to_owned(),
            kind: Kind::Gauge,
            scale: decimals(from.map_or(0, |from| from.decimals)),
            tags: Vec::new(),
        };
        let owner = Owner { site, device };
        let lane = owner.with(&meta, |constants| Lane::new(0, plan, &meta, constants));
        Some(Self {
            lane,
            meta,
            epoch: 0,
            watermark_us: None,
            heard_us: 0,
            pending: Vec::new(),
            inputs: vec![Vec::new(); plan.rule.inputs.len()],
        })
    }

    /// Binds the rule's expressions, which the stored state does not hold.
    pub fn bind(&mut self, plan: &Plan, site: &str, device: &str) {
        let owner = Owner { site, device };
        let (lane, meta) = (&mut self.lane, &self.meta);
        owner.with(meta, |constants| lane.bind(plan, meta, constants));
    }

    /// The epoch of its records.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Samples taken and not emitted.
    pub fn open(&self) -> u64 {
        self.lane.open_samples() + self.pending.len() as u64
    }

    /// What was counted.
    pub fn counted(&self, rule: &Rule) -> Past {
        let mut counts = self.lane.counts.clone();
        counts.matched += self.pending.len() as u64;
        Past::of(rule, &counts)
    }

    /// What was counted, which begins anew.
    pub fn take_counts(&mut self) -> LaneCounts {
        std::mem::take(&mut self.lane.counts)
    }

    /// Takes a record for the inputs that name it.
    pub fn offer(&mut self, plan: &Plan, record: &Record) {
        let rule = &plan.rule;
        for (input, known) in rule.inputs.iter().zip(&mut self.inputs) {
            let is_its = input.sensor == record.sensor
                && input
                    .device
                    .as_ref()
                    .is_none_or(|one| *one == record.device);
            if let Some((time_us, raw)) = sample_of(plan, record).filter(|_| is_its) {
                let at = known.partition_point(|(one_us, _)| *one_us <= time_us);
                known.insert(at, (time_us, raw));
                if known.len() > PENDING_MAX {
                    known.remove(0);
                }
            }
        }
    }

    /// What describes its samples, and its lane.
    pub fn parts(&self) -> (&Meta, &Lane) {
        (&self.meta, &self.lane)
    }

    /// Takes a record as a sample.
    pub fn push(
        &mut self,
        plan: &Plan,
        record: &Record,
        around: &Around<'_>,
        stage: &Stage<'_>,
        emission: &mut Emission,
    ) {
        self.heard_us = around.now_us;
        if plan.rule.group == Group::Sensor && record.epoch > self.epoch {
            self.flush(plan, i64::MAX, around, stage, emission);
            self.close(plan, Closing::All, stage, emission);
            self.lane.begin_epoch();
            self.inputs.iter_mut().for_each(Vec::clear);
            self.watermark_us = None;
            self.epoch = record.epoch;
        }
        let source = Source {
            epoch: self.epoch,
            ..*stage.source
        };
        let stage = &Stage {
            source: &source,
            ..*stage
        };
        let sample = sample_of(plan, record);
        // Over the site numbers of two units are no numbers of one.
        let sample = sample.filter(|_| unit_of(plan, record) == self.meta.unit);
        let Some((time_us, raw)) = sample else {
            self.lane.counts.undefined();
            return;
        };
        if record.revision > 0 {
            self.lane.counts.matched += 1;
            self.lane.counts.late += 1;
            return;
        }
        let one = Pending::of(record, (time_us, raw));
        if plan.rule.inputs.is_empty() {
            self.fold(plan, &one, around, stage, emission);
            return;
        }
        let at = self
            .pending
            .partition_point(|other| other.sample.time_us <= time_us);
        self.pending.insert(at, one);
        if self.pending.len() > PENDING_MAX {
            let oldest = self.pending.remove(0);
            self.fold(plan, &oldest, around, stage, emission);
        }
    }

    /// Takes how far its devices have come, and closes what that passes.
    pub fn advance(
        &mut self,
        plan: &Plan,
        mark: Reach,
        around: &Around<'_>,
        source: &Source<'_>,
        emission: &mut Emission,
    ) {
        let is_settled = mark.is_settled(around.now_us);
        let stage = |watermark_us| Stage {
            source,
            cause: Cause::Entry,
            watermark_us,
        };
        let before_us = self.watermark_us;
        let moved_us = before_us.max(mark.complete_us);
        let until_us = if is_settled {
            i64::MAX
        } else {
            moved_us.unwrap_or(i64::MIN)
        };
        self.flush(plan, until_us, around, &stage(before_us), emission);
        self.watermark_us = moved_us;
        self.close(plan, Closing::Passed(moved_us), &stage(moved_us), emission);
        if is_settled && self.lane.is_open(plan.rule.window.as_ref()) {
            self.close(
                plan,
                Closing::Early(around.now_us),
                &stage(moved_us),
                emission,
            );
        }
        let expired_us = around.now_us.saturating_sub(around.limits.revise_for_us);
        if self
            .lane
            .closed_us()
            .is_some_and(|closed_us| closed_us <= expired_us)
        {
            self.close(
                plan,
                Closing::Expired(expired_us),
                &stage(moved_us),
                emission,
            );
        }
        self.forget(plan);
    }

    /// Closes everything: the rule ends in this version.
    pub fn end(
        &mut self,
        plan: &Plan,
        around: &Around<'_>,
        source: &Source<'_>,
        emission: &mut Emission,
    ) {
        let stage = Stage {
            source,
            cause: Cause::Entry,
            watermark_us: self.watermark_us,
        };
        self.flush(plan, i64::MAX, around, &stage, emission);
        self.close(plan, Closing::All, &stage, emission);
        let meta = &self.meta;
        self.lane
            .end(plan, &mut |told| emission.told(&stage, meta, plan, told));
    }

    /// How far its own records have come.
    pub fn told(&self, plan: &Plan) -> Reach {
        let open = self.lane.is_open(plan.rule.window.as_ref());
        Reach {
            complete_us: self.lane.told_us(plan, self.watermark_us),
            is_open: open || !self.pending.is_empty(),
            quiet_us: self.heard_us,
        }
    }

    fn close(&mut self, plan: &Plan, closing: Closing, stage: &Stage<'_>, emission: &mut Emission) {
        let meta = &self.meta;
        self.lane.close(plan, closing, &mut |told| {
            emission.told(stage, meta, plan, told);
        });
    }

    /// Lets records go on whose inputs are all known: those before an event time.
    fn flush(
        &mut self,
        plan: &Plan,
        until_us: i64,
        around: &Around<'_>,
        stage: &Stage<'_>,
        emission: &mut Emission,
    ) {
        let count = self
            .pending
            .partition_point(|one| one.sample.time_us < until_us);
        let ready: Vec<_> = self.pending.drain(..count).collect();
        for one in &ready {
            self.fold(plan, one, around, stage, emission);
        }
    }

    fn fold(
        &mut self,
        plan: &Plan,
        one: &Pending,
        around: &Around<'_>,
        stage: &Stage<'_>,
        emission: &mut Emission,
    ) {
        let tide = Tide {
            watermark_us: self.watermark_us,
            clock: one.clock,
            partial_until_us: None,
            now_us: around.now_us,
            arrived_us: around.arrived_us,
            frame: one.frame,
        };
        let (inputs, scale) = (&self.inputs, self.meta.scale);
        let as_of = |input: usize, time_us: i64| {
            let known = inputs.get(input).map_or(&[][..], Vec::as_slice);
            let behind = known.partition_point(|(at_us, _)| *at_us <= time_us);
            let found = behind.checked_sub(1).and_then(|at| known.get(at));
            let young = found.filter(|(at_us, _)| time_us - at_us <= plan.rule.max_age_us);
            young.map_or(f64::NAN, |(_, raw)| number(*raw, &scale))
        };
        let meta = &self.meta;
        let folding = Folding {
            plan,
            meta,
            tide: &tide,
            as_of: &as_of,
            slot: 0,
            counts: true,
            opens: true,
        };
        self.lane.fold(&folding, &[one.sample], None, &mut |told| {
            emission.told(stage, meta, plan, told);
        });
    }

    /// Forgets inputs that no record to come can ask for.
    fn forget(&mut self, plan: &Plan) {
        let Some(watermark_us) = self.watermark_us else {
            return;
        };
        let oldest_us = watermark_us.saturating_sub(plan.rule.max_age_us);
        for known in &mut self.inputs {
            let gone = known.partition_point(|(time_us, _)| *time_us < oldest_us);
            known.drain(..gone);
        }
    }
}

impl Pending {
    fn of(record: &Record, (time_us, raw): (i64, i64)) -> Self {
        let id = record.id.0;
        let word = |at: usize| u32::from_le_bytes([id[at], id[at + 1], id[at + 2], id[at + 3]]);
        Self {
            sample: Sample {
                time_us,
                raw,
                block: u16::from_le_bytes([id[12], id[13]]),
                index: u16::from_le_bytes([id[14], id[15]]),
            },
            frame: (word(0), word(4), word(8)),
            clock: record.clock,
        }
    }
}

/// The unit of the value asked for: a count has none.
fn unit_of<'r>(plan: &Plan, record: &'r Record) -> &'r str {
    let from = plan.rule.from.as_ref();
    let mut values = record.values.iter();
    let value = values.find(|(name, _)| from.is_some_and(|from| *name == from.value));
    match value {
        Some((_, Value::Count(_))) => "",
        _ => &record.unit,
    }
}

/// When a record stands, and the raw integer of the value asked for.
fn sample_of(plan: &Plan, record: &Record) -> Option<(i64, i64)> {
    let from = plan.rule.from.as_ref()?;
    let mut values = record.values.iter();
    let (_, value) = values.find(|(name, _)| *name == from.value)?;
    let number = match value {
        Value::Count(count) => *count as f64,
        Value::Number(number) => *number,
        Value::Counts(_) => return None,
    };
    let raw = decimal::round(number, decimals(from.decimals).exponent)?;
    Some((record.start_us, raw))
}
