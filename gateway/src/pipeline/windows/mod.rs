//! Windows: those that a rule holds, of one sensor or of all sensors of a device.
//!
//! A window's life:
//! ```text
//!            sample                  watermark ≥ end + lateness
//!   (none) ─────────▶ open ─────────────────────────────────────▶ emitted, forgotten: final
//!                      │ idle, offline, ended      same, or revise_for passed  ▲
//!                      ▼                                                       │
//!                    closed early: emitted ──sample──▶ revised ──next early close: emitted
//! ```
//! | shape | windows of a sample at t | ends |
//! |---|---|---|
//! | tumbling, calendar | the one that holds t | at a fixed time |
//! | hopping | each that holds t | at fixed times |
//! | sliding | `(u − length, u]` for each sample u from t to t + length | just behind u |
//! | session | the one with a sample within `gap` of t | `gap` behind its last sample |
//! | count | the one that is not full, in log order | with its last sample |
//!
//! Invariants:
//! - `held` ascends by end, then start.
//! - A sample is fresh in one window: of those that hold it the one that ends first.
//! - A sample is late when no window takes it: the watermark, as it stood before its frame, has
//!   passed the end of each by lateness (whether or not it was ever open), or each was closed
//!   early and the rule drops what comes behind.
//! - A late sample stands in no window, nor in a sliding one to come.
//! - A session that was emitted keeps its start; it may grow at its end. Of several sessions that
//!   a sample belongs to, the one that ends first takes it.
//! - An earlier version of a rule opens no windows: it finishes those that are held.

mod held;
mod memory;
mod shapes;

use serde::{Deserialize, Serialize};
use tidegate_shared::mutation::{Mutation, is_on};

use self::held::NEVER_US;
pub(super) use self::held::{Column, Columns, Held};
use self::memory::Memory;
use super::accumulator::{Accumulator, Measure, needs_timeline};
use super::calendar;
use super::lane::{Sample, Tide};
use crate::rules::{Aggregate, Rule, Shape, Window};

/// Most windows one rule holds of one sensor: four hours of minutes. Beyond, the oldest is
/// emitted and final, and counted as crowded out. Only a device whose watermark stands still
/// while its samples run ahead gets there.
pub(super) const OPEN_WINDOWS_MAX: usize = 256;

/// The windows of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Windows {
    held: Vec<Held>,
    /// Windows that end up to here are final whatever the watermark says.
    final_until_us: i64,
    /// What only some rules need.
    memory: Option<Box<Memory>>,
}
/// What a rule asks of its windows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub window: &'a Window,
    pub aggregates: &'a [Aggregate],
    pub measure: Measure<'a>,
    /// The sensor's place, where windows are shared.
    pub column: Option<u16>,
    /// Whether aggregates ask what held before a window.
    pub timeline: bool,
    /// Whether samples count as fresh. They do not in a window of an earlier version that shares
    /// them with the version in force.
    pub counts: bool,
    /// Whether windows open: not of an earlier version.
    pub opens: bool,
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Fresh in a window.
    Fresh,
    /// Counted elsewhere, or nowhere.
    Uncounted,
    Late,
}

impl Windows {
    /// None yet.
    pub fn new(rule: &Rule) -> Self {
        let shape = rule.window.as_ref().map(|window| &window.shape);
        let remembers = matches!(shape, Some(Shape::Sliding { .. }))
            || rule.aggregates.iter().any(needs_timeline);
        Self {
            held: Vec::new(),
            final_until_us: i64::MIN,
            memory: remembers.then(Box::default),
        }
    }

    /// Begins an epoch: no windows, nothing final.
    pub fn begin_epoch(&mut self) {
        self.held = Vec::new();
        self.final_until_us = i64::MIN;
        if let Some(memory) = &mut self.memory {
            **memory = Memory::default();
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Samples that stand in windows and were not emitted; of one column if one is given.
    pub fn open_samples(&self, column: Option<u16>) -> u64 {
        let fresh = self.held.iter().map(|held| match (&held.columns, column) {
            (Columns::Many(columns), Some(sensor)) => columns
                .iter()
                .find(|one| one.sensor == sensor)
                .map_or(0, |one| one.fresh),
            _ => held.fresh,
        });
        fresh.sum()
    }

    /// Whether an early close would emit something.
    pub fn has_changed(&self, window: &Window) -> bool {
        !matches!(window.shape, Shape::Count { .. }) && self.held.iter().any(|held| held.changed)
    }

    /// Arrival time of the earliest early close of a window still held.
    pub fn closed_us(&self) -> Option<i64> {
        self.held.iter().filter_map(Held::closed_us).min()
    }

    /// Below which event time no window will begin that was not emitted yet, when the watermark is
    /// here.
    pub fn told_us(&self, window: &Window, watermark_us: i64) -> i64 {
        let behind_us = watermark_us.saturating_sub(window.lateness_us);
        let next_us = match &window.shape {
            Shape::Hopping {
                length_us,
                every_us,
            } => floor(behind_us.saturating_sub(*length_us), *every_us).saturating_add(*every_us),
            Shape::Sliding { length_us } => behind_us.saturating_sub(*length_us),
            Shape::Session { gap_us, .. } => behind_us.saturating_sub(*gap_us),
            Shape::Count { .. } => watermark_us,
            Shape::Tumbling { .. } | Shape::Calendar { .. } => {
                Self::fixed(window, behind_us).map_or(behind_us, |(start_us, _)| start_us)
            }
        };
        let untold = self.held.iter().filter(|held| held.emitted == 0);
        let first_us = untold.map(|held| held.start_us).min();
        first_us.map_or(next_us, |first_us| first_us.min(next_us))
    }

    /// When the last one ends.
    pub fn last_end_us(&self) -> Option<i64> {
        self.held.last().map(|held| held.end_us)
    }

    /// Whether a window that is held would take a sample of a time.
    pub fn covers(&self, window: &Window, time_us: i64) -> bool {
        match window.shape {
            Shape::Session {
                gap_us,
                length_max_us,
            } => self.session_of(gap_us, length_max_us, time_us).is_some(),
            Shape::Count { .. } => self.unfilled(window).is_some(),
            _ => self
                .held
                .iter()
                .any(|held| held.start_us <= time_us && time_us < held.end_us),
        }
    }

    /// Start and end of the window of a time, where they are fixed.
    pub fn fixed(window: &Window, time_us: i64) -> Option<(i64, i64)> {
        match &window.shape {
            Shape::Tumbling { length_us } => {
                let start_us = floor(time_us, *length_us);
                Some((start_us, start_us.saturating_add((*length_us).max(1))))
            }
            Shape::Calendar { every, zone } => Some(calendar::stretch(*every, zone, time_us)),
            _ => None,
        }
    }

    /// Takes samples, ascending by time, of windows that have fixed ends and do not overlap.
    /// Gives how many are late.
    pub fn take_all(
        &mut self,
        samples: impl Iterator<Item = Sample>,
        asked: &Asked<'_>,
        tide: &Tide,
    ) -> u64 {
        // The window of the sample before: a block's samples are ascending and mostly share it.
        let mut found: Option<(i64, i64, usize)> = None;
        let mut late = 0;
        for sample in samples {
            let at = match found {
                Some((start_us, end_us, at))
                    if start_us <= sample.time_us && sample.time_us < end_us =>
                {
                    at
                }
                _ => {
                    let Some((start_us, end_us)) = Self::fixed(asked.window, sample.time_us) else {
                        return late;
                    };
                    if self.is_final(end_us, asked.window, tide) {
                        late += 1;
                        continue;
                    }
                    let at = self.open(start_us, end_us, asked, tide);
                    found = Some((start_us, end_us, at));
                    at
                }
            };
            if self.fold(at, &sample, asked, tide, asked.counts) {
                self.renew(&sample, asked);
            } else {
                late += 1;
            }
        }
        late
    }

    /// Takes one sample.
    pub fn take(&mut self, sample: &Sample, asked: &Asked<'_>, tide: &Tide) -> Taken {
        let taken = match &asked.window.shape {
            Shape::Tumbling { .. } | Shape::Calendar { .. } => {
                let late = self.take_all(std::iter::once(*sample), asked, tide);
                return Taken::of(late == 0, asked);
            }
            Shape::Hopping {
                length_us,
                every_us,
            } => {
                let (length_us, every_us) = ((*length_us).max(1), (*every_us).max(1));
                let newest_us = floor(sample.time_us, every_us);
                let hops = (length_us / every_us).max(1);
                let starts = (0..hops).rev();
                let starts =
                    starts.map(|hop| newest_us.saturating_sub(hop.saturating_mul(every_us)));
                let mut fresh = asked.counts;
                let mut taken = false;
                for start_us in starts {
                    let end_us = start_us.saturating_add(length_us);
                    if end_us <= sample.time_us || self.is_final(end_us, asked.window, tide) {
                        continue;
                    }
                    let at = match self.find(start_us, end_us) {
                        Ok(at) => at,
                        Err(at) if asked.opens => {
                            self.insert(at, (start_us, end_us), asked, tide);
                            at
                        }
                        Err(_) => continue,
                    };
                    if self.fold(at, sample, asked, tide, fresh) {
                        fresh = false;
                        taken = true;
                    }
                }
                Taken::of(taken, asked)
            }
            Shape::Sliding { length_us } => self.slide(*length_us, sample, asked, tide),
            Shape::Session {
                gap_us,
                length_max_us,
            } => self.join(*gap_us, *length_max_us, sample, asked, tide),
            Shape::Count { samples } => {
                self.count(*samples, sample, asked, tide);
                Taken::of(true, asked)
            }
        };
        if taken != Taken::Late {
            self.renew(sample, asked);
        }
        taken
    }

    fn is_final(&self, end_us: i64, window: &Window, tide: &Tide) -> bool {
        let passed = |mark_us: i64| end_us.saturating_add(window.lateness_us) <= mark_us;
        end_us <= self.final_until_us || tide.watermark_us.is_some_and(passed)
    }

    /// Folds a sample into a window; whether that takes it.
    #[inline]
    fn fold(
        &mut self,
        at: usize,
        sample: &Sample,
        asked: &Asked<'_>,
        tide: &Tide,
        fresh: bool,
    ) -> bool {
        let newest = self.newest(asked.column);
        let held = &mut self.held[at];
        if !held.takes(asked.window.late) {
            return false;
        }
        if held.fresh == 0 && is_on(Mutation::RevisionForgets) {
            held.columns = match &held.columns {
                Columns::One(_) => Columns::One(Accumulator::new(asked.aggregates, None)),
                Columns::Many(_) => Columns::Many(Vec::new()),
            };
        }
        held.fresh += u64::from(fresh);
        held.changed = true;
        held.clock = held.clock.max(tide.clock);
        let samples = match &mut held.columns {
            Columns::One(samples) => samples,
            Columns::Many(columns) => {
                let sensor = asked.column.unwrap_or(0);
                let at = columns
                    .binary_search_by_key(&sensor, |one| one.sensor)
                    .unwrap_or_else(|at| {
                        let carry = newest.filter(|(time_us, _)| *time_us < held.start_us);
                        let samples = Accumulator::new(asked.aggregates, carry);
                        let column = Column {
                            sensor,
                            fresh: 0,
                            samples,
                        };
                        columns.insert(at, column);
                        at
                    });
                let column = &mut columns[at];
                column.fresh += u64::from(fresh);
                &mut column.samples
            }
        };
        samples.add(sample.time_us, sample.raw, asked.aggregates, &asked.measure);
        true
    }

    /// Index of the window from `start_us` to `end_us`, opened if need be.
    fn open(&mut self, start_us: i64, end_us: i64, asked: &Asked<'_>, tide: &Tide) -> usize {
        self.find(start_us, end_us).unwrap_or_else(|at| {
            self.insert(at, (start_us, end_us), asked, tide);
            at
        })
    }

    /// Index of the window from `start_us` to `end_us`, or where it would be.
    fn find(&self, start_us: i64, end_us: i64) -> Result<usize, usize> {
        let key = (end_us, start_us);
        self.held
            .binary_search_by_key(&key, |held| (held.end_us, held.start_us))
    }

    fn insert(
        &mut self,
        at: usize,
        (start_us, end_us): (i64, i64),
        asked: &Asked<'_>,
        tide: &Tide,
    ) {
        let newest = self.newest(asked.column);
        let carry = newest.filter(|(time_us, _)| *time_us < start_us);
        let held = Held {
            start_us,
            end_us,
            emitted: 0,
            fresh: 0,
            changed: false,
            full: false,
            closed_us: NEVER_US,
            clock: tide.clock,
            partial: tide
                .partial_until_us
                .is_some_and(|until_us| start_us <= until_us),
            first: None,
            columns: match asked.column {
                None => Columns::One(Accumulator::new(asked.aggregates, carry)),
                Some(_) => Columns::Many(Vec::new()),
            },
        };
        // One more at a time: most rules hold one or two, and there are 400,000 of them.
        self.held.reserve_exact(1);
        self.held.insert(at, held);
    }

    fn newest(&self, column: Option<u16>) -> Option<(i64, i64)> {
        let column = column.unwrap_or(0);
        let mut newest = self.memory.as_ref()?.newest.iter();
        let found = newest.find(|(one, ..)| *one == column);
        found.map(|(_, time_us, raw)| (*time_us, *raw))
    }

    /// Remembers the newest sample, where a later window's timeline begins with it.
    #[inline]
    fn renew(&mut self, sample: &Sample, asked: &Asked<'_>) {
        let Some(memory) = self.memory.as_mut().filter(|_| asked.timeline) else {
            return;
        };
        let newest = &mut memory.newest;
        let column = asked.column.unwrap_or(0);
        match newest.iter_mut().find(|(one, ..)| *one == column) {
            Some(newest) if newest.1 <= sample.time_us => {
                *newest = (column, sample.time_us, sample.raw);
            }
            Some(_) => self.precede(sample, asked),
            None => {
                newest.reserve_exact(1);
                newest.push((column, sample.time_us, sample.raw));
            }
        }
    }

    /// Has windows behind a sample that came out of order begin with it.
    fn precede(&mut self, sample: &Sample, asked: &Asked<'_>) {
        let behind = self.held.iter_mut();
        for held in behind.filter(|held| held.start_us > sample.time_us) {
            let samples = match &mut held.columns {
                Columns::One(samples) => Some(samples),
                Columns::Many(columns) => {
                    let mut columns = columns.iter_mut();
                    let column = columns.find(|one| Some(one.sensor) == asked.column);
                    column.map(|one| &mut one.samples)
                }
            };
            if let Some(samples) = samples {
                samples.precede(sample.time_us, sample.raw);
            }
        }
    }

    /// Emits and forgets the windows that the watermark has passed, and those that are full.
    pub fn close_passed(
        &mut self,
        window: &Window,
        watermark_us: Option<i64>,
        emit: &mut dyn FnMut(&mut Held),
    ) {
        if let Shape::Count { .. } = window.shape {
            let mut at = 0;
            while at < self.held.len() {
                if self.held[at].full {
                    let mut held = self.held.remove(at);
                    emit(&mut held);
                } else {
                    at += 1;
                }
            }
            return;
        }
        let Some(watermark_us) = watermark_us else {
            return;
        };
        let passed = self
            .held
            .partition_point(|held| held.end_us.saturating_add(window.lateness_us) <= watermark_us);
        self.finish(passed, emit);
    }

    /// Emits what changed, and keeps the windows for revisions.
    pub fn close_early(&mut self, now_us: i64, emit: &mut dyn FnMut(&mut Held)) {
        for held in self.held.iter_mut().filter(|held| held.changed) {
            emit(held);
            held.settle();
            let repeats = held.emitted > 0 && is_on(Mutation::RevisionNumberRepeated);
            held.emitted += u32::from(!repeats);
            held.closed_us = held.closed_us.min(now_us);
        }
    }

    /// Emits and forgets the windows that were closed early up to `closed_until_us`, and all
    /// before them.
    pub fn expire(&mut self, closed_until_us: i64, emit: &mut dyn FnMut(&mut Held)) {
        let expired = |held: &Held| held.closed_us().is_some_and(|at| at <= closed_until_us);
        let count = self.held.iter().rposition(expired).map_or(0, |at| at + 1);
        self.finish_for_good(count, emit);
    }

    /// Emits and forgets the oldest windows beyond the limit; says how many.
    pub fn crowd_out(&mut self, emit: &mut dyn FnMut(&mut Held)) -> u64 {
        let count = self.held.len().saturating_sub(OPEN_WINDOWS_MAX);
        self.finish_for_good(count, emit);
        count as u64
    }

    /// Emits and forgets every window.
    pub fn close_all(&mut self, emit: &mut dyn FnMut(&mut Held)) {
        self.finish(self.held.len(), emit);
    }

    fn finish_for_good(&mut self, count: usize, emit: &mut dyn FnMut(&mut Held)) {
        if let Some(last) = count.checked_sub(1).and_then(|at| self.held.get(at)) {
            self.final_until_us = self.final_until_us.max(last.end_us);
        }
        self.finish(count, emit);
    }

    fn finish(&mut self, count: usize, emit: &mut dyn FnMut(&mut Held)) {
        for mut held in self.held.drain(..count) {
            if held.changed {
                emit(&mut held);
            }
        }
    }
}

impl Taken {
    fn of(taken: bool, asked: &Asked<'_>) -> Self {
        match (taken, asked.counts) {
            (false, _) => Self::Late,
            (true, true) => Self::Fresh,
            (true, false) => Self::Uncounted,
        }
    }
}

/// The greatest multiple of a length up to a time; lengths count from 1970-01-01.
fn floor(time_us: i64, length_us: i64) -> i64 {
    time_us.saturating_sub(time_us.rem_euclid(length_us.max(1)))
}
