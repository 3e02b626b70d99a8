//! Emission: the records of one entry, put into their total order.
//!
//! The order is (position, deadline, device, sensor, rule, epoch, start), and for samples of one
//! time their order in the log. Timers come first, by the arrival time they were due at: they
//! passed before the entry was made. What the entry itself causes follows by event time: a window
//! at its end + lateness, a sample at its own time.

use std::ops::Range;

use super::decimal;
use super::lane::{Lane, Passed, Told, measure};
use super::plan::{Output, Plan};
use super::program::Program;
use super::sensor::{Meta, Sensor};
use super::watch::Transition;
use super::windows::{Columns, Held};
use crate::record::id::{Origin, WindowIdentity, of_alert, of_count_window, of_sample, of_window};
use crate::record::{AlertNote, Emitted, GROUP, Place, Record, RecordId, Value};

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

/// Whose record is emitted, and why now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage<'a> {
    pub source: &'a Source<'a>,
    pub cause: Cause,
    /// The device's watermark.
    pub watermark_us: Option<i64>,
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

impl Stage<'_> {
    fn deadline(&self, event_us: i64) -> Deadline {
        match self.cause {
            Cause::Timer(due_us) => Deadline::Timer(due_us),
            Cause::Entry => Deadline::Event(event_us),
        }
    }

    /// Up to when a window is complete at least.
    fn until_us(&self, held: &Held) -> i64 {
        let watermark_us = self.watermark_us.unwrap_or(held.start_us);
        watermark_us.min(held.end_us)
    }
}

impl Emission {
    /// Emits what a lane tells.
    pub fn told(&mut self, stage: &Stage<'_>, meta: &Meta, plan: &Plan, told: Told<'_>) {
        match told {
            Told::Passed(passed) => self.passed(stage, meta, plan, &passed),
            Told::Alert(transition) => self.alert(stage, meta, plan, &transition),
            Told::Window(held, shares) => self.window(stage, meta, plan, held, shares),
        }
    }

    /// Emits what a window holds.
    fn window(
        &mut self,
        stage: &Stage<'_>,
        meta: &Meta,
        plan: &Plan,
        held: &mut Held,
        shares: &[Program],
    ) {
        let output = plan.output(meta);
        let (start_us, until_us) = (held.start_us, stage.until_us(held));
        let values = match &mut held.columns {
            Columns::One(samples) => samples.values(
                &plan.rule.aggregates,
                &measure(plan, &output, shares),
                start_us,
                until_us,
            ),
            Columns::Many(_) => Vec::new(),
        };
        let unit = plan.unit(meta);
        let record = of_held(stage, (output.sensor, &unit), plan, held, values);
        self.push(stage.deadline(last_us(plan, held)), plan, record);
    }

    /// Emits what a window holds of all sensors of a device; `at` is its plan's index there.
    pub fn group(
        &mut self,
        stage: &Stage<'_>,
        sensors: &[Sensor],
        plan: &Plan,
        at: u16,
        held: &mut Held,
    ) {
        let (start_us, until_us) = (held.start_us, stage.until_us(held));
        let mut values = Vec::new();
        if let Columns::Many(columns) = &mut held.columns {
            for column in columns {
                let Some(sensor) = sensors.get(usize::from(column.sensor)) else {
                    continue;
                };
                let lane = sensor.lanes.iter().find(|lane| lane.plan == at);
                let output = plan.output(&sensor.meta);
                let measure = measure(plan, &output, lane.map_or(&[], Lane::shares));
                let aggregates = &plan.rule.aggregates;
                let found = column
                    .samples
                    .values(aggregates, &measure, start_us, until_us);
                let found = found.into_iter();
                values.extend(
                    found.map(|(name, value)| (format!("{}.{name}", output.sensor), value)),
                );
            }
        }
        let record = of_held(stage, (GROUP, ""), plan, held, values);
        self.push(stage.deadline(last_us(plan, held)), plan, record);
    }

    /// Emits a sample that a rule without windows lets through.
    fn passed(&mut self, stage: &Stage<'_>, meta: &Meta, plan: &Plan, passed: &Passed) {
        let output = plan.output(meta);
        let time_us = passed.identity.time_us;
        let record = Record {
            id: of_sample(&origin(stage.source, output.sensor, plan), &passed.identity),
            site: stage.source.site.to_owned(),
            device: stage.source.device.to_owned(),
            sensor: output.sensor.to_owned(),
            unit: plan.unit(meta).into_owned(),
            rule: plan.rule.name.clone(),
            version: plan.version,
            epoch: stage.source.epoch,
            start_us: time_us,
            end_us: time_us,
            revision: 0,
            samples: 1,
            fresh: 1,
            clock: passed.clock,
            partial: false,
            alert: None,
            values: vec![value(passed.raw, &output)],
            note: None,
        };
        self.push(stage.deadline(time_us), plan, record);
    }

    /// Emits what became of an alert.
    fn alert(&mut self, stage: &Stage<'_>, meta: &Meta, plan: &Plan, told: &Transition) {
        let output = plan.output(meta);
        let span = (told.start_us, told.end_us);
        let what = (told.cause, told.state);
        let record = Record {
            id: of_alert(
                &origin(stage.source, output.sensor, plan),
                what,
                span,
                &told.identity,
            ),
            site: stage.source.site.to_owned(),
            device: stage.source.device.to_owned(),
            sensor: output.sensor.to_owned(),
            unit: plan.unit(meta).into_owned(),
            rule: plan.rule.name.clone(),
            version: plan.version,
            epoch: stage.source.epoch,
            start_us: told.start_us,
            end_us: told.end_us,
            revision: 0,
            samples: u64::from(told.raw.is_some()),
            fresh: 0,
            clock: told.clock,
            partial: false,
            alert: Some(AlertNote {
                cause: told.cause,
                state: told.state,
                historic: told.historic,
            }),
            values: told
                .raw
                .map(|raw| value(raw, &output))
                .into_iter()
                .collect(),
            note: None,
        };
        self.push(stage.deadline(told.end_us), plan, record);
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

    /// Emits what tells of a decision, as of the time it was made.
    pub fn tell(&mut self, told: Emitted) {
        self.due.push((Deadline::Event(told.record.end_us), told));
    }

    /// Forgets what was caused so far.
    pub fn clear(&mut self) {
        self.due.clear();
    }

    /// The records of the entry at hand so far, in no order of interest.
    pub fn emitted(&self) -> impl Iterator<Item = &Emitted> {
        self.due.iter().map(|(_, emitted)| emitted)
    }

    /// How many records the entry at hand has caused so far.
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// Ids, starts and ends of those in a range that a rule made of a sensor; which device is left
    /// to the caller.
    pub fn ids<'a>(
        &'a self,
        range: Range<usize>,
        meta: &'a Meta,
        plan: &'a Plan,
    ) -> impl Iterator<Item = (RecordId, (i64, i64))> + use<'a> {
        let due = self.due.get(range).unwrap_or_default();
        let records = due.iter().map(|(_, emitted)| &emitted.record);
        records
            .filter(|record| {
                (record.sensor == meta.name.as_str() || record.sensor == GROUP)
                    && record.rule == plan.rule.name
                    && record.version == plan.version
            })
            .map(|record| (record.id, (record.start_us, record.end_us)))
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

/// When a window closes in event time.
fn last_us(plan: &Plan, held: &Held) -> i64 {
    held.end_us.saturating_add(plan.lateness_us())
}

fn value(raw: i64, output: &Output<'_>) -> (String, Value) {
    let number = decimal::number(output.scale.mantissa(raw), output.scale.exponent);
    ("value".to_owned(), Value::Number(number))
}

fn of_held(
    stage: &Stage<'_>,
    (sensor, unit): (&str, &str),
    plan: &Plan,
    held: &Held,
    values: Vec<(String, Value)>,
) -> Record {
    let source = stage.source;
    let origin = origin(source, sensor, plan);
    let identity = WindowIdentity {
        start_us: held.start_us,
        end_us: held.end_us,
        revision: held.emitted,
    };
    Record {
        id: match &held.first {
            Some(first) => of_count_window(&origin, first, held.emitted),
            None => of_window(&origin, &identity),
        },
        site: source.site.to_owned(),
        device: source.device.to_owned(),
        sensor: sensor.to_owned(),
        unit: unit.to_owned(),
        rule: plan.rule.name.clone(),
        version: plan.version,
        epoch: source.epoch,
        start_us: held.start_us,
        end_us: held.end_us,
        revision: held.emitted,
        samples: held.samples(),
        fresh: held.fresh,
        clock: held.clock,
        partial: held.partial,
        alert: None,
        values,
        note: None,
    }
}

fn origin<'a>(source: &Source<'a>, sensor: &'a str, plan: &'a Plan) -> Origin<'a> {
    Origin {
        site: source.site,
        log_incarnation: source.log_incarnation,
        rule: &plan.rule.name,
        version: plan.version,
        device: source.device,
        sensor,
        epoch: source.epoch,
    }
}
