//! Emission: the records of one entry, put into their total order.
//!
//! The order is (position, deadline, device, sensor, rule, epoch, start), and for samples of one
//! time their order in the log. Timers come first, by the arrival time they were due at: they
//! passed before the entry was made. What the entry itself causes follows by event time: a window
//! at its end + lateness, a sample at its own time.

use std::ops::Range;
use std::sync::Arc;

use super::decimal;
use super::lane::{Sample, Window};
use super::plan::Plan;
use super::sensor::Meta;
use crate::record::id::{Origin, SampleIdentity, WindowIdentity, of_sample, of_window};
use crate::record::{ClockQuality, Emitted, Place, Record, RecordId, Value};

/// What records of one device have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub site: &'a str,
    pub log_incarnation: u32,
    pub device: &'a str,
    pub epoch: u32,
}

/// Why a record is emitted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A timer that was due at this arrival time.
    Timer(i64),
    /// The entry at hand.
    Entry,
}

/// A deadline, in the order of emission: timers by arrival time, then the entry by event time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    Timer(i64),
    Event(i64),
}

/// Records of the entry at hand, with their deadlines.
#[derive(Debug, Default)]
pub(super) struct Emission {
    due: Vec<(Deadline, Emitted)>,
}

impl Emission {
    /// Emits what a window holds.
    pub fn window(
        &mut self,
        source: &Source<'_>,
        cause: Cause,
        meta: &Meta,
        plan: &Arc<Plan>,
        window: &mut Window,
    ) {
        let (length_us, lateness_us) =
            plan.window().map_or((0, 0), |(length_us, lateness_us, _)| {
                (length_us, lateness_us)
            });
        let identity = WindowIdentity {
            start_us: window.start_us,
            end_us: window.start_us.saturating_add(length_us),
            revision: window.emitted,
        };
        let record = Record {
            id: of_window(&origin(source, meta, plan), &identity),
            site: source.site.to_owned(),
            device: source.device.to_owned(),
            sensor: meta.name.as_str().to_owned(),
            unit: meta.unit.clone(),
            rule: plan.rule.name.clone(),
            version: plan.version,
            epoch: source.epoch,
            start_us: identity.start_us,
            end_us: identity.end_us,
            revision: identity.revision,
            samples: window.samples.count,
            fresh: window.fresh,
            clock: window.clock,
            partial: window.partial,
            values: window.samples.values(plan, &meta.scale),
        };
        let deadline = match cause {
            Cause::Timer(due_us) => Deadline::Timer(due_us),
            Cause::Entry => Deadline::Event(identity.end_us.saturating_add(lateness_us)),
        };
        self.push(deadline, plan, record);
    }

    /// Emits a sample that a rule without windows lets through.
    pub fn sample(
        &mut self,
        source: &Source<'_>,
        (meta, plan): (&Meta, &Plan),
        (sample, identity): (&Sample, &SampleIdentity),
        clock: ClockQuality,
    ) {
        let value = decimal::number(meta.scale.mantissa(sample.raw), meta.scale.exponent);
        let record = Record {
            id: of_sample(&origin(source, meta, plan), identity),
            site: source.site.to_owned(),
            device: source.device.to_owned(),
            sensor: meta.name.as_str().to_owned(),
            unit: meta.unit.clone(),
            rule: plan.rule.name.clone(),
            version: plan.version,
            epoch: source.epoch,
            start_us: sample.time_us,
            end_us: sample.time_us,
            revision: 0,
            samples: 1,
            fresh: 1,
            clock,
            partial: false,
            values: vec![("value".to_owned(), Value::Number(value))],
        };
        self.push(Deadline::Event(sample.time_us), plan, record);
    }

    fn push(&mut self, deadline: Deadline, plan: &Plan, record: Record) {
        let emitted = Emitted {
            place: Place::default(),
            forward: plan.rule.forward.clone(),
            priority: plan.rule.priority,
            record,
        };
        self.due.push((deadline, emitted));
    }

    /// How many records the entry at hand has caused so far.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Ids and starts of those in a range that a rule made of a sensor; which device is left to
    /// the caller.
    pub fn ids<'a>(
        &'a self,
        range: Range<usize>,
        meta: &'a Meta,
        plan: &'a Plan,
    ) -> impl Iterator<Item = (RecordId, i64)> + use<'a> {
        let due = self.due.get(range).unwrap_or_default();
        let records = due.iter().map(|(_, emitted)| &emitted.record);
        records
            .filter(|record| {
                record.sensor == meta.name.as_str()
                    && record.rule == plan.rule.name
                    && record.version == plan.version
            })
            .map(|record| (record.id, record.start_us))
    }

    /// Moves the records to `out`, in order, with the places of the entry at `position`.
    pub fn drain(&mut self, position: u64, out: &mut Vec<Emitted>) {
        self.due
            .sort_by(|(deadline, one), (other_deadline, other)| {
                let (a, b) = (&one.record, &other.record);
                deadline
                    .cmp(other_deadline)
                    .then_with(|| a.device.cmp(&b.device))
                    .then_with(|| a.sensor.cmp(&b.sensor))
                    .then_with(|| a.rule.cmp(&b.rule))
                    .then_with(|| (a.epoch, a.start_us).cmp(&(b.epoch, b.start_us)))
                    .then_with(|| a.version.cmp(&b.version))
            });
        for (ordinal, (_, mut emitted)) in (0..).zip(self.due.drain(..)) {
            emitted.place = Place { position, ordinal };
            out.push(emitted);
        }
    }
}

fn origin<'a>(source: &Source<'a>, meta: &'a Meta, plan: &'a Plan) -> Origin<'a> {
    Origin {
        site: source.site,
        log_incarnation: source.log_incarnation,
        rule: &plan.rule.name,
        version: plan.version,
        device: source.device,
        sensor: meta.name.as_str(),
        epoch: source.epoch,
    }
}
