//! Emission: the records of one entry, put into their total order.
//!
//! The order is (position, deadline, device, sensor, rule, epoch, start), and for samples of one
//! time their order in the log. A deadline is the arrival time at which a close was due; what an
//! entry itself causes is due when it was logged.

use std::sync::Arc;

use super::decimal;
use super::lane::{Sample, Window};
use super::plan::Plan;
use super::sensor::Meta;
use crate::record::id::{Origin, SampleIdentity, WindowIdentity, of_sample, of_window};
use crate::record::{ClockQuality, Emitted, Place, Record, Value};

/// What records of one device have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub site: &'a str,
    pub log_incarnation: u32,
    pub device: &'a str,
    pub epoch: u32,
}

/// Records of the entry at hand, with their deadlines.
#[derive(Debug, Default)]
pub(super) struct Emission {
    due: Vec<(i64, Emitted)>,
}

impl Emission {
    /// Emits what a window holds.
    pub fn window(
        &mut self,
        source: &Source<'_>,
        deadline_us: i64,
        meta: &Meta,
        plan: &Arc<Plan>,
        window: &mut Window,
    ) {
        let length_us = plan.window().map_or(0, |(length_us, _, _)| length_us);
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
        self.push(deadline_us, plan, record);
    }

    /// Emits a sample that a rule without windows lets through.
    pub fn sample(
        &mut self,
        source: &Source<'_>,
        deadline_us: i64,
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
        self.push(deadline_us, plan, record);
    }

    fn push(&mut self, deadline_us: i64, plan: &Plan, record: Record) {
        let emitted = Emitted {
            place: Place::default(),
            forward: plan.rule.forward.clone(),
            priority: plan.rule.priority,
            record,
        };
        self.due.push((deadline_us, emitted));
    }

    /// Moves the records to `out`, in order, with the places of the entry at `position`.
    pub fn drain(&mut self, position: u64, out: &mut Vec<Emitted>) {
        let key = |one: &(i64, Emitted)| (one.0, one.1.record.epoch, one.1.record.start_us);
        self.due.sort_by(|one, other| {
            let (a, b) = (&one.1.record, &other.1.record);
            let (deadline, epoch, start) = key(one);
            let (deadline_b, epoch_b, start_b) = key(other);
            deadline
                .cmp(&deadline_b)
                .then_with(|| a.device.cmp(&b.device))
                .then_with(|| a.sensor.cmp(&b.sensor))
                .then_with(|| a.rule.cmp(&b.rule))
                .then_with(|| (epoch, start, a.version).cmp(&(epoch_b, start_b, b.version)))
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
