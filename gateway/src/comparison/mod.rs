//! Comparison: what other rules would have made of the log.
//!
//! Terms: a *side* is a set of rules with a pipeline: *logged* are the rules that the log puts in
//! force, *tried* those it is compared with. The *stretch* is what was asked for of the log
//! ([`crate::explain::stretch`]).
//!
//! Invariants:
//! - Nothing in the data directory changes, and a gateway may run on it.
//! - Both sides see the same entries, but for the log's rules, of which the side tried sees only
//!   what time it is. Limits stay those of the log.
//! - The log is streamed: memory follows the state of two pipelines, not the length of the log.
//!   What waits for a record to be compared with has limits (`steps`, `line`).
//!
//! ```text
//!          ┌─▶ pipeline, the log's rules ─▶ records, samples ─▶ tally, upstream, curves ─┐
//! entries ─┤                                                                             ├─▶ report
//!          └─▶ pipeline, rules tried ─────▶ records, samples ─▶ tally, upstream, curves ─┘
//! ```
//!
//! The replay begins at a base, where the rules tried are put in force. A rule that computes what
//! it did there goes on with its open windows. Windows of the others are forgotten, and a window
//! of a rule tried that had begun by then lacks samples. So the base is chosen a longest window
//! and lateness before the stretch, and where the log does not reach back that far the report
//! says what is *cut* and from when windows are whole.

mod alerts;
mod curves;
mod delivered;
mod errors;
mod line;
mod report;
mod side;
mod steps;
mod upstream;
mod warm_up;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

pub use self::alerts::{Alert, AlertsCompared};
pub use self::curves::Shape;
pub use self::delivered::Delivered;
pub use self::errors::NotCompared;
pub use self::report::{Change, CurveRow, Fidelity, Report, RuleRow, Sides, SinkRow, Sums};
pub use self::upstream::{Cost, Sent};
pub use self::warm_up::WarmUp;

use self::report::Ended;
use self::side::Side;
use self::warm_up::WarmingUp;
use crate::disk::Disk;
use crate::entry::{Entry, Logged};
use crate::explain::stretch::{Asked, Extent, Phase, Stretch};
use crate::explain::{ExplainError, Past, Step};
use crate::pipeline::Pipeline;
use crate::record::Emitted;
use crate::rules::settings::{Settings, SinkSettings};
use crate::rules::{self, Calendar, Rule, RuleSet};

/// A day of 25 hours, as there are.
const DAY_US: i64 = 25 * 3_600 * 1_000_000;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The past could not be told.
    #[error(transparent)]
    Past(#[from] ExplainError),
    /// A record could not be saved.
    #[error("the records could not be saved; nothing else was changed")]
    Save(#[source] io::Error),
}

/// Takes a record of the rules tried.
pub type Save<'a> = dyn FnMut(&Emitted) -> io::Result<()> + 'a;

/// Runs what the log has of a stretch under the log's own rules and under a configuration's.
/// `save` is given the records of the latter; `progress` positions done and how many there are.
///
/// # Errors
/// The log has nothing of the stretch or cannot be read, or a record cannot be saved.
pub fn compare(
    disk: &Arc<dyn Disk>,
    past: &Past,
    settings: &Settings,
    asked: Asked,
    save: &mut Save<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, CompareError> {
    let longest_us = settings.rules.rules.iter().map(reach_us).max().unwrap_or(0);
    let (mut stretch, mut replay) = Stretch::begin(past, asked, longest_us)?;
    let began = replay.from;
    let twin = past.begin_at_most(began)?;
    if twin.from != began {
        // Its base went away in between: no second state of the same moment.
        return Err(ExplainError::NoBeginning.into());
    }
    let tried = twin.pipeline;
    let gather_us = settings.log.commit_ms.saturating_mul(1_000);
    let rules = settings.rules.clone();
    let mut comparison = Comparison::begin(
        &mut replay.pipeline,
        tried,
        rules,
        &settings.sinks,
        gather_us,
    );
    while let Some(step) = replay.next() {
        let step = step.map_err(CompareError::Past)?;
        let phase = stretch.place(&step);
        if phase == Phase::Behind {
            break;
        }
        for emitted in comparison.take(&step, &mut replay.pipeline, phase) {
            save(&emitted).map_err(CompareError::Save)?;
        }
        progress(step.position - began, past.end() - began);
    }
    let mut report = comparison.end(&replay.pipeline, stretch.end()?);
    let positions = report.log.from_position.unwrap_or(0)..report.log.to_position;
    let mut found = delivered::read(disk, &positions).map_err(ExplainError::from)?;
    for row in &mut report.sinks {
        row.delivered = found.remove(&row.sink);
    }
    Ok(report)
}

/// How long before an entry a window may have begun that is emitted with it.
fn reach_us(rule: &Rule) -> i64 {
    let Some(window) = &rule.window else {
        return 0;
    };
    let length_us = match &window.shape {
        rules::Shape::Tumbling { length_us }
        | rules::Shape::Hopping { length_us, .. }
        | rules::Shape::Sliding { length_us } => *length_us,
        rules::Shape::Session { length_max_us, .. } => *length_max_us,
        // It has no length: as many samples as it takes.
        rules::Shape::Count { .. } => 0,
        rules::Shape::Calendar { every, .. } => match every {
            Calendar::Day => DAY_US,
            Calendar::Week => 7 * DAY_US,
            Calendar::Month => 31 * DAY_US,
        },
    };
    length_us.saturating_add(window.lateness_us)
}

/// Both sides of a replay.
pub(super) struct Comparison {
    pipeline: Pipeline,
    rules: RuleSet,
    logged: Side,
    tried: Side,
    sinks: BTreeSet<String>,
    sinks_unknown: BTreeSet<String>,
    rules_changed: u64,
    warm_up: WarmingUp,
}

impl Comparison {
    /// Begins with two pipelines of one state.
    pub fn begin(
        logged: &mut Pipeline,
        mut tried: Pipeline,
        rules: RuleSet,
        sinks: &[SinkSettings],
        gather_us: u64,
    ) -> Self {
        let warm_up = WarmingUp::of(&tried, &rules);
        tried.impose(&rules);
        logged.observe();
        tried.observe();
        Self {
            logged: Side::new(sinks, gather_us, logged),
            tried: Side::new(sinks, gather_us, &tried),
            sinks: sinks.iter().map(|sink| sink.name.clone()).collect(),
            sinks_unknown: BTreeSet::new(),
            pipeline: tried,
            rules,
            rules_changed: 0,
            warm_up,
        }
    }

    /// Takes an entry that the pipeline of the log's own rules has applied. Gives what the rules
    /// tried made of it, as far as it was asked for.
    pub fn take(&mut self, step: &Step, logged: &mut Pipeline, phase: Phase) -> Vec<Emitted> {
        let Some(entry) = &step.logged else {
            return Vec::new();
        };
        let mut emitted = Vec::new();
        if matches!(entry.entry, Entry::Rules { .. }) {
            // The curves' rules are still the ones before.
            let is_changed = phase == Phase::Within && self.logged.curves.are_changed(logged);
            self.rules_changed += u64::from(is_changed);
            let tick = Logged {
                entry: Entry::Tick,
                ..entry.clone()
            };
            self.pipeline.apply(step.position, &tick, &mut emitted);
        } else {
            self.pipeline.apply(step.position, entry, &mut emitted);
        }
        self.logged.follow(entry, logged);
        let observed = (logged.take_observed(), self.pipeline.take_observed());
        if phase != Phase::Within {
            return Vec::new();
        }
        for forward in step.emitted.iter().flat_map(|one| &one.forward) {
            if !self.sinks.contains(forward) && !self.sinks_unknown.contains(forward) {
                self.sinks_unknown.insert(forward.clone());
            }
        }
        self.warm_up.take(&observed.1, &emitted);
        self.logged.take(entry, logged, &observed.0, &step.emitted);
        self.tried
            .take(entry, &self.pipeline, &observed.1, &emitted);
        emitted
    }

    /// Lays both sides side by side.
    pub fn end(self, logged: &Pipeline, extent: Extent) -> Report {
        Report::of(Ended {
            extent,
            logged: self.logged,
            tried: self.tried,
            in_force: logged.rules(),
            rules_tried: &self.rules,
            rules_changed: self.rules_changed,
            warm_ups: self.warm_up.end(),
            sinks_unknown: self.sinks_unknown,
        })
    }
}
