//! Trail: follows one sample from its frame to the records it stands in.
//!
//! A nearer sample that comes later takes the place of the one followed so far.

use std::collections::BTreeMap;

use tidegate_shared::frame;
use tidegate_shared::message::Counts;

use super::Question;
use super::answer::{self, Answer, Around, Delivery, Fate, Frame, Reach, Rule, Sample, Unknown};
use super::losses::Losses;
use super::past::Step;
use crate::entry::Entry;
use crate::ledger::counters::{Filter, Rejection};
use crate::pipeline::Pipeline;
use crate::pipeline::probe::{Lateness, Passed, Ruling, SampleFate, Sighting, Verdict};
use crate::record::{Emitted, GROUP, rfc3339};
use crate::rules::show_duration;

/// Records followed of one sample: a revision each, of which a rule makes a handful.
const RECORDS_MAX: usize = 1_000;

/// Incarnation, boot, sequence.
type Identity = (u32, u32, u32);
/// Incarnation, boot, counts.
type BootCounts = (u32, u32, Counts);

/// The sample followed at present.
#[derive(Debug)]
struct Followed {
    sighting: Sighting,
    /// Log position and gateway start of its frame.
    logged: Option<(u64, u32)>,
    folded_position: u64,
    equally_near: u64,
    /// The records, each with the place of its rule among the verdicts.
    records: Vec<(usize, Emitted)>,
    before: Option<BootCounts>,
    after: Option<BootCounts>,
}

/// What is known so far.
#[derive(Debug)]
pub(super) struct Trail {
    question: Question,
    followed: Option<Followed>,
    losses: Losses,
    totals: Option<BootCounts>,
    /// Where the device's newest frames stand: as many as may wait for a catalog.
    frames: BTreeMap<u64, (Identity, u32)>,
    rejected_before: BTreeMap<Rejection, u64>,
    rejected: BTreeMap<Rejection, u64>,
    frames_waiting: u64,
    next: u64,
}

impl Trail {
    /// Nothing seen yet of what a pipeline is about to apply.
    pub fn new(question: &Question, pipeline: &Pipeline) -> Self {
        Self {
            question: question.clone(),
            followed: None,
            losses: Losses::new(question.time_us),
            totals: None,
            frames: BTreeMap::new(),
            rejected_before: rejected(pipeline, &question.device),
            rejected: BTreeMap::new(),
            frames_waiting: 0,
            next: 0,
        }
    }

    /// An entry was applied.
    pub fn follow(&mut self, step: &Step, pipeline: &mut Pipeline) {
        self.losses.entries(step.missing.start, step.missing.end);
        self.next = step.position + 1;
        match step
            .logged
            .as_ref()
            .map(|logged| (&logged.entry, logged.start))
        {
            Some((Entry::Frame(entry), start)) if entry.device.as_str() == self.question.device => {
                let waiting_max = pipeline.limits().pending_catalog_max as usize;
                self.note(step.position, start, &entry.bytes, waiting_max);
            }
            Some((Entry::Gap(gap), _)) if gap.device.as_str() == self.question.device => {
                self.losses.gap(step.position, gap);
            }
            None => self.losses.entries(step.position, step.position + 1),
            _ => {}
        }
        if let Some(probe) = pipeline.probe() {
            let nearest = probe.nearest().cloned();
            let equally_near = probe.equally_near();
            for passed in probe.take_passed() {
                self.pass(step.position, passed, nearest.as_ref(), equally_near);
            }
        }
        if let Some(followed) = &mut self.followed {
            for emitted in &step.emitted {
                followed.take(emitted, &self.question);
            }
        }
    }

    fn note(&mut self, position: u64, start: u32, bytes: &[u8], waiting_max: usize) {
        if let Ok(frame) = frame::read(bytes) {
            let header = frame.header;
            let mark = header.mark;
            let identity = (header.incarnation.0, mark.boot, mark.sequence);
            self.frames.insert(position, (identity, start));
        }
        while self.frames.len() > waiting_max + 1 {
            self.frames.pop_first();
        }
    }

    fn pass(
        &mut self,
        position: u64,
        passed: Passed,
        nearest: Option<&Sighting>,
        equally_near: u64,
    ) {
        match passed {
            Passed::Batch {
                first_us,
                complete_us,
            } => self.losses.batch(first_us, complete_us),
            Passed::Totals {
                incarnation,
                boot,
                counts,
            } => {
                let totals = (incarnation, boot, counts);
                self.totals = Some(totals);
                if let Some(followed) = &mut self.followed {
                    followed.after.get_or_insert(totals);
                }
            }
            Passed::Nearer => {
                let Some(sighting) = nearest else { return };
                let one = &sighting.identity;
                let identity = (one.incarnation, one.boot, one.sequence);
                let mut frames = self.frames.iter().rev();
                let logged = frames.find(|(_, (other, _))| *other == identity);
                self.followed = Some(Followed {
                    sighting: sighting.clone(),
                    logged: logged.map(|(position, (_, start))| (*position, *start)),
                    folded_position: position,
                    equally_near,
                    records: Vec::new(),
                    before: self.totals,
                    after: None,
                });
            }
        }
    }

    /// The log ends here.
    pub fn end(&mut self, end: u64, pipeline: &Pipeline) {
        self.losses.entries(self.next, end);
        let now = rejected(pipeline, &self.question.device);
        let before = &self.rejected_before;
        let grown = now.into_iter().map(|(reason, count)| {
            let known = before.get(&reason).copied().unwrap_or(0);
            (reason, count.saturating_sub(known))
        });
        self.rejected = grown.filter(|(_, count)| *count > 0).collect();
        let counters = pipeline.counters();
        let device = counters.devices.get(&self.question.device);
        self.frames_waiting = device.map_or(0, |device| device.frames_waiting);
    }

    /// The records that the sample stands in.
    pub fn records(&self) -> &[(usize, Emitted)] {
        let followed = self.followed.as_ref();
        followed.map_or(&[], |followed| &followed.records)
    }

    /// The answer, with the deliveries of each of [`Self::records`].
    pub fn answer(self, reach: Reach, deliveries: Vec<Vec<Delivery>>) -> Answer {
        let complete_us = self.losses.complete_us();
        let (lost, lost_more) = self.losses.end();
        let sample = self.followed.as_ref();
        let sample = sample.map(|followed| followed.sample(self.question.time_us));
        let mut answer = Answer {
            device: self.question.device,
            sensor: self.question.sensor,
            time: rfc3339(self.question.time_us),
            unknown: None,
            sample,
            rules: Vec::new(),
            around: None,
            lost,
            lost_more,
            complete_until: complete_us.map(rfc3339),
            frames_waiting: self.frames_waiting,
            frames_rejected: self.rejected,
            reach,
        };
        answer.unknown = unknown(&answer, self.question.time_us, complete_us);
        if let Some(followed) = self.followed {
            answer.around = followed.around();
            answer.rules = followed.rules(deliveries);
        }
        answer
    }
}

/// Why a sample at that very time may have been there without being found.
fn unknown(answer: &Answer, time_us: i64, complete_us: Option<i64>) -> Option<Unknown> {
    if answer
        .sample
        .as_ref()
        .is_some_and(|one| one.distance_us == 0)
    {
        return None;
    }
    if !answer.lost.is_empty() || answer.lost_more > 0 {
        Some(Unknown::Lost)
    } else if !answer.reach.is_complete {
        Some(Unknown::BeforeReach)
    } else if answer.frames_waiting > 0 || !answer.frames_rejected.is_empty() {
        Some(Unknown::UnusedFrames)
    } else if answer.sample.is_none() {
        Some(Unknown::NoSamples)
    } else if complete_us.is_none_or(|until_us| until_us < time_us) {
        Some(Unknown::NotYet)
    } else {
        None
    }
}

fn rejected(pipeline: &Pipeline, device: &str) -> BTreeMap<Rejection, u64> {
    let counters = pipeline.counters();
    let device = counters.devices.get(device);
    device.map_or_else(BTreeMap::new, |device| device.frames_rejected.clone())
}

impl Followed {
    fn verdicts(&self) -> &[Verdict] {
        match &self.sighting.fate {
            SampleFate::Rejected(_) => &[],
            SampleFate::Ruled(verdicts) => verdicts,
        }
    }

    /// Keeps a record that the sample stands in.
    fn take(&mut self, emitted: &Emitted, question: &Question) {
        let record = &emitted.record;
        let epoch = self.sighting.epoch;
        if record.device != question.device
            || record.sensor != question.sensor && record.sensor != GROUP
            || record.epoch != epoch
            || self.records.len() >= RECORDS_MAX
        {
            return;
        }
        let stands_in = |verdict: &Verdict| {
            (&verdict.rule, verdict.version) == (&record.rule, record.version)
                && match &verdict.ruling {
                    Ruling::Passed(ids) | Ruling::Examined(ids) => ids.contains(&record.id),
                    Ruling::Folded { before } => {
                        let time_us = self.sighting.identity.time_us;
                        record.start_us <= time_us
                            && time_us < record.end_us
                            && !before.contains(&record.id)
                    }
                    _ => false,
                }
        };
        if let Some(at) = self.verdicts().iter().position(stands_in) {
            self.records.push((at, emitted.clone()));
        }
    }

    fn sample(&self, asked_us: i64) -> Sample {
        let sighting = &self.sighting;
        let one = &sighting.identity;
        Sample {
            time: rfc3339(one.time_us),
            distance_us: one.time_us.saturating_sub(asked_us),
            equally_near: self.equally_near,
            value: sighting.value,
            unit: sighting.unit.clone(),
            raw: sighting.raw,
            epoch: sighting.epoch,
            clock: sighting.clock,
            uptime_us: sighting.uptime_us,
            rejected: match sighting.fate {
                SampleFate::Rejected(reason) => Some(reason),
                SampleFate::Ruled(_) => None,
            },
            frame: Frame {
                incarnation: one.incarnation,
                boot: one.boot,
                sequence: one.sequence,
                block: one.block,
                index: one.index,
                position: self.logged.map(|(position, _)| position),
                start: self.logged.map(|(_, start)| start),
                logged: rfc3339(sighting.at.wall_us),
                logged_trusted: sighting.at.wall_trusted,
                folded_position: self.folded_position,
            },
        }
    }

    /// What the device counted around the sample, where both Totals are of one boot.
    fn around(&self) -> Option<Around> {
        let pair = self.before.zip(self.after);
        let ((_, boot, before), (_, _, after)) =
            pair.filter(|(before, after)| (before.0, before.1) == (after.0, after.1))?;
        Some(Around {
            boot,
            taken: after.taken.saturating_sub(before.taken),
            suppressed: after.suppressed.saturating_sub(before.suppressed),
            failed: after.failed.saturating_sub(before.failed),
            evicted: after.evicted.saturating_sub(before.evicted),
        })
    }

    fn rules(&self, deliveries: Vec<Vec<Delivery>>) -> Vec<Rule> {
        let verdicts = self.verdicts();
        let mut rules: Vec<Rule> = verdicts.iter().map(|one| self.rule(one)).collect();
        for ((at, emitted), deliveries) in self.records.iter().zip(deliveries) {
            let Some(rule) = rules.get_mut(*at) else {
                continue;
            };
            if rule.fate == Fate::Waiting {
                rule.fate = Fate::Folded;
            }
            let record = &emitted.record;
            let values = record.values.iter().cloned();
            rule.records.push(answer::Record {
                id: record.id.to_string(),
                revision: record.revision,
                position: emitted.place.position,
                ordinal: emitted.place.ordinal,
                samples: record.samples,
                fresh: record.fresh,
                values: values.map(|(name, value)| (name, value.into())).collect(),
                deliveries,
            });
        }
        rules
    }

    fn rule(&self, verdict: &Verdict) -> Rule {
        let (fate, why) = self.why(verdict);
        Rule {
            rule: verdict.rule.clone(),
            version: verdict.version,
            fate,
            why,
            window_start: verdict.window.map(|(start_us, _)| rfc3339(start_us)),
            window_end: verdict.window.map(|(_, end_us)| rfc3339(end_us)),
            records: Vec::new(),
        }
    }

    fn why(&self, verdict: &Verdict) -> (Fate, String) {
        let known = |value: Option<f64>| value.map_or("unknown".to_owned(), |v| v.to_string());
        match &verdict.ruling {
            Ruling::OutOfBounds { min, max } => {
                let bounds = match (min, max) {
                    (Some(min), Some(max)) => format!("between {min} and {max}"),
                    (Some(min), None) => format!("at least {min}"),
                    (None, Some(max)) => format!("at most {max}"),
                    (None, None) => "any value".to_owned(),
                };
                (Fate::FilteredByKeep, format!("the rule keeps {bounds}"))
            }
            Ruling::Deadband { last, deadband } => (
                Fate::FilteredByDeadband,
                format!(
                    "closer than the deadband of {} to {}, the value kept before",
                    known(*deadband),
                    known(*last)
                ),
            ),
            Ruling::Late(lateness) => (Fate::Late, self.why_late(verdict, *lateness)),
            Ruling::Filtered(filter) => (fate_of(*filter), why_filtered(*filter).to_owned()),
            Ruling::Examined(_) => (
                Fate::Examined,
                "the rule watches it for an alert".to_owned(),
            ),
            Ruling::Passed(_) => (
                Fate::Passed,
                "the rule has no window: a sample that passes is a record".to_owned(),
            ),
            Ruling::Folded { .. } => (Fate::Waiting, "it stands in its window".to_owned()),
        }
    }

    fn why_late(&self, verdict: &Verdict, lateness: Lateness) -> String {
        match lateness {
            Lateness::Watermark => {
                let watermark = self.sighting.watermark_us.map_or(String::new(), rfc3339);
                let lateness = show_duration(verdict.lateness_us);
                format!(
                    "the device's watermark stood at {watermark}, beyond the window's end and its lateness of {lateness}"
                )
            }
            Lateness::ClosedEarly => {
                "its window was closed while the device was silent, and the rule drops what comes behind (late = \"drop\")"
                    .to_owned()
            }
            Lateness::Final => {
                "its window was final: the time for revisions was over, or too many windows were open"
                    .to_owned()
            }
        }
    }
}

fn fate_of(filter: Filter) -> Fate {
    match filter {
        Filter::Keep => Fate::FilteredByKeep,
        Filter::Rate => Fate::FilteredByRate,
        Filter::Undefined => Fate::FilteredAsUndefined,
        Filter::When => Fate::FilteredByWhen,
        Filter::Deadband => Fate::FilteredByDeadband,
        Filter::OnChange => Fate::FilteredByOnChange,
        Filter::Decimate => Fate::FilteredByDecimate,
        Filter::MaxError => Fate::FilteredByMaxError,
    }
}

fn why_filtered(filter: Filter) -> &'static str {
    match filter {
        Filter::Keep => "outside what the rule keeps",
        Filter::Rate => "further from the value kept before than `keep.rate_max` allows",
        Filter::Undefined => {
            "what the rule computes of it has no value: an input was absent, or there was no sample before it"
        }
        Filter::When => "the rule's `when` did not hold",
        Filter::Deadband => "closer than the deadband to the value kept before",
        Filter::OnChange => "equal to the value kept before",
        Filter::Decimate => "left out by `decimate`",
        Filter::MaxError => "a line between the samples that passed redraws it within `max_error`",
    }
}
