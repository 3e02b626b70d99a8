//! Lanes: one rule on one sensor: its filter, its windows and its counts.
//!
//! A window's life:
//! ```text
//!            sample                  watermark ≥ end + lateness
//!   (none) ─────────▶ open ─────────────────────────────────────▶ emitted, forgotten: final
//!                      │ idle, offline, ended      same, or revise_for passed  ▲
//!                      ▼                                                       │
//!                    closed early: emitted ──sample──▶ revised ──next early close: emitted
//! ```
//! Invariant: `matched = keep + deadband + late + folded + Σ fresh of the windows held`.
//! A sample is late when the watermark, as it stood before its frame, has passed its window's end
//! by lateness, whether or not the window was ever open.

use serde::{Deserialize, Serialize};
use tidegate_shared::catalog::Scale;
use tidegate_shared::mutation::{Mutation, is_on};

use super::accumulator::Accumulator;
use super::plan::{Bounds, Plan};
use crate::record::ClockQuality;
use crate::rules::Late;

/// Most windows one rule holds of one sensor: four hours of minutes. Beyond, the oldest is
/// emitted and final, and counted as crowded out. Only a device whose watermark stands still
/// while its samples run ahead gets there.
pub(super) const OPEN_WINDOWS_MAX: usize = 256;

/// A usable sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Event time, UTC in µs.
    pub time_us: i64,
    pub raw: i64,
    /// Place in its block.
    pub index: u16,
}

/// What holds for all samples of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tide {
    /// The watermark before the frame.
    pub watermark_us: Option<i64>,
    pub clock: ClockQuality,
    /// Windows that start up to here lost samples with a damaged store.
    pub partial_until_us: Option<i64>,
}

/// One rule on one sensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lane {
    /// Index of its plan among the device's.
    pub plan: u16,
    bounds: Bounds,
    last_kept: Option<i64>,
    /// Ascending by start.
    windows: Vec<Window>,
    /// Windows that end up to here are final whatever the watermark says.
    final_until_us: i64,
    pub counts: LaneCounts,
}

/// Where a lane's samples went.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaneCounts {
    pub matched: u64,
    pub keep: u64,
    pub deadband: u64,
    pub late: u64,
    pub folded: u64,
}

impl LaneCounts {
    /// Adds another lane's.
    pub fn add(&mut self, other: &Self) {
        self.matched += other.matched;
        self.keep += other.keep;
        self.deadband += other.deadband;
        self.late += other.late;
        self.folded += other.folded;
    }
}

/// A window held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    pub start_us: i64,
    /// How often it was emitted: the next revision's number.
    pub emitted: u32,
    /// Samples not emitted yet.
    pub fresh: u64,
    /// Arrival time of its first early close.
    closed_us: Option<i64>,
    /// The worst of its samples'.
    pub clock: ClockQuality,
    pub partial: bool,
    pub samples: Accumulator,
}

impl Lane {
    /// A lane without windows.
    pub fn new(plan: u16, bounds: Bounds) -> Self {
        Self {
            plan,
            bounds,
            last_kept: None,
            windows: Vec::new(),
            final_until_us: i64::MIN,
            counts: LaneCounts::default(),
        }
    }

    /// Begins an epoch: no windows, nothing final, perhaps other bounds.
    pub fn begin_epoch(&mut self, bounds: Option<Bounds>) {
        self.windows = Vec::new();
        self.final_until_us = i64::MIN;
        self.last_kept = None;
        if let Some(bounds) = bounds {
            self.bounds = bounds;
        }
    }

    /// The raw value kept last, where a deadband asks for it.
    pub fn last_kept(&self) -> Option<i64> {
        self.last_kept
    }

    /// Whether windows are held.
    pub fn has_windows(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Samples that stand in windows and were not emitted.
    pub fn open_samples(&self) -> u64 {
        self.windows.iter().map(|window| window.fresh).sum()
    }

    /// Whether an early close would emit something.
    pub fn has_fresh(&self) -> bool {
        self.windows.iter().any(|window| window.fresh > 0)
    }

    /// Arrival time of the earliest early close of a window still held.
    pub fn closed_us(&self) -> Option<i64> {
        self.windows
            .iter()
            .filter_map(|window| window.closed_us)
            .min()
    }

    /// Whether a window that is held covers a time.
    pub fn covers(&self, plan: &Plan, time_us: i64) -> bool {
        plan.window().is_some_and(|(length_us, _, _)| {
            let start_us = window_start(time_us, length_us);
            self.windows.iter().any(|one| one.start_us == start_us)
        })
    }

    /// Takes samples. Those that pass the filter of a rule without windows go to `pass`.
    pub fn fold(
        &mut self,
        plan: &Plan,
        scale: &Scale,
        samples: &[Sample],
        tide: &Tide,
        pass: &mut dyn FnMut(&Sample),
    ) {
        self.counts.matched += samples.len() as u64;
        let Some((length_us, lateness_us, late)) = plan.window() else {
            for sample in samples {
                if self.keeps(sample.raw) {
                    self.counts.folded += 1;
                    pass(sample);
                }
            }
            return;
        };
        // The window of the sample before: a block's samples are ascending and mostly share it.
        let mut found: Option<(i64, i64, usize)> = None;
        for sample in samples {
            if !self.keeps(sample.raw) {
                continue;
            }
            let at = match found {
                Some((start_us, end_us, at))
                    if start_us <= sample.time_us && sample.time_us < end_us =>
                {
                    at
                }
                _ => {
                    let start_us = window_start(sample.time_us, length_us);
                    let end_us = start_us.saturating_add(length_us);
                    let passed = tide
                        .watermark_us
                        .is_some_and(|mark_us| end_us.saturating_add(lateness_us) <= mark_us);
                    if passed || end_us <= self.final_until_us {
                        self.counts.late += 1;
                        continue;
                    }
                    let at = self.window_at(start_us, plan, tide);
                    found = Some((start_us, end_us, at));
                    at
                }
            };
            let window = &mut self.windows[at];
            if window.closed_us.is_some() && late == Late::Drop {
                self.counts.late += 1;
                continue;
            }
            if window.fresh == 0 && is_on(Mutation::RevisionForgets) {
                window.samples = Accumulator::new(plan);
            }
            window.fresh += 1;
            window.clock = window.clock.max(tide.clock);
            window.samples.add(sample.time_us, sample.raw, scale);
        }
    }

    /// Whether a sample passes the filter; counts it if not.
    fn keeps(&mut self, raw: i64) -> bool {
        if raw < self.bounds.low || raw > self.bounds.high {
            self.counts.keep += 1;
            return false;
        }
        if self.bounds.deadband > 0 {
            let close = |last: i64| last.abs_diff(raw) < self.bounds.deadband;
            if self.last_kept.is_some_and(close) {
                self.counts.deadband += 1;
                return false;
            }
            self.last_kept = Some(raw);
        }
        true
    }

    /// Index of the window that starts at `start_us`, opened if need be.
    fn window_at(&mut self, start_us: i64, plan: &Plan, tide: &Tide) -> usize {
        let found = self
            .windows
            .binary_search_by_key(&start_us, |one| one.start_us);
        found.unwrap_or_else(|at| {
            // One more at a time: most lanes hold one or two, and there are 400,000 of them.
            self.windows.reserve_exact(1);
            let window = Window {
                start_us,
                emitted: 0,
                fresh: 0,
                closed_us: None,
                clock: tide.clock,
                partial: tide
                    .partial_until_us
                    .is_some_and(|until_us| start_us <= until_us),
                samples: Accumulator::new(plan),
            };
            self.windows.insert(at, window);
            at
        })
    }

    /// Emits and forgets the windows that the watermark has passed.
    pub fn close_passed(
        &mut self,
        plan: &Plan,
        watermark_us: i64,
        emit: &mut dyn FnMut(&mut Window),
    ) {
        let Some((length_us, lateness_us, _)) = plan.window() else {
            return;
        };
        let passed = self.windows.partition_point(|window| {
            let end_us = window.start_us.saturating_add(length_us);
            end_us.saturating_add(lateness_us) <= watermark_us
        });
        self.finish(passed, emit);
    }

    /// Emits what is fresh, and keeps the windows for revisions.
    pub fn close_early(&mut self, now_us: i64, emit: &mut dyn FnMut(&mut Window)) {
        for window in self.windows.iter_mut().filter(|window| window.fresh > 0) {
            self.counts.folded += window.fresh;
            emit(window);
            window.fresh = 0;
            let repeats = window.emitted > 0 && is_on(Mutation::RevisionNumberRepeated);
            window.emitted += u32::from(!repeats);
            window.closed_us.get_or_insert(now_us);
        }
    }

    /// Emits and forgets the windows that were closed early up to `closed_until_us`, and all
    /// before them.
    pub fn expire(&mut self, plan: &Plan, closed_until_us: i64, emit: &mut dyn FnMut(&mut Window)) {
        let expired = |window: &Window| window.closed_us.is_some_and(|at| at <= closed_until_us);
        let count = self
            .windows
            .iter()
            .rposition(expired)
            .map_or(0, |at| at + 1);
        self.finish_for_good(plan, count, emit);
    }

    /// Emits and forgets the oldest windows beyond the limit; says how many.
    pub fn crowd_out(&mut self, plan: &Plan, emit: &mut dyn FnMut(&mut Window)) -> u64 {
        let count = self.windows.len().saturating_sub(OPEN_WINDOWS_MAX);
        self.finish_for_good(plan, count, emit);
        count as u64
    }

    /// Emits and forgets every window.
    pub fn close_all(&mut self, emit: &mut dyn FnMut(&mut Window)) {
        self.finish(self.windows.len(), emit);
    }

    fn finish_for_good(&mut self, plan: &Plan, count: usize, emit: &mut dyn FnMut(&mut Window)) {
        if let Some(last) = count.checked_sub(1).and_then(|at| self.windows.get(at))
            && let Some((length_us, _, _)) = plan.window()
        {
            self.final_until_us = last.start_us.saturating_add(length_us);
        }
        self.finish(count, emit);
    }

    fn finish(&mut self, count: usize, emit: &mut dyn FnMut(&mut Window)) {
        for mut window in self.windows.drain(..count) {
            if window.fresh > 0 {
                self.counts.folded += window.fresh;
                emit(&mut window);
            }
        }
    }
}

/// Start of the window that holds a time; windows are aligned to 1970-01-01.
pub(super) fn window_start(time_us: i64, length_us: i64) -> i64 {
    time_us.saturating_sub(time_us.rem_euclid(length_us))
}
