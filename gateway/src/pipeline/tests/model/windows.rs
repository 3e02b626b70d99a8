//! Windows as the rules' documentation has them: lists of samples.

use std::collections::BTreeMap;

use super::Reading;
use super::calendar;
use crate::rules::{Late, Rule, Shape, Window};

/// Windows of a rule beyond which the oldest are final.
const HELD_MAX: usize = 256;

/// A window with its samples by sensor.
#[derive(Debug, Clone)]
pub struct Held {
    pub start_us: i64,
    pub end_us: i64,
    pub columns: BTreeMap<usize, Column>,
    pub revision: u32,
    pub changed: bool,
    pub closed_us: Option<i64>,
    full: bool,
}

/// Samples of one sensor in a window.
#[derive(Debug, Clone, Default)]
pub struct Column {
    /// In log order.
    pub samples: Vec<Reading>,
    /// Those that were in order when they came.
    pub line: Vec<Reading>,
    /// The newest before the window.
    pub carry: Option<Reading>,
    pub fresh: u64,
}

/// The windows of a rule, of one sensor or of a device.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    pub held: Vec<Held>,
    /// Every sample that was taken, by sensor, in log order.
    taken: BTreeMap<usize, Vec<Reading>>,
    final_until_us: Option<i64>,
}

/// What comes with a sample.
#[derive(Debug, Clone, Copy)]
pub struct Coming {
    pub sensor: usize,
    pub at: Reading,
    pub watermark_us: Option<i64>,
    /// Whether windows may open for it.
    pub opens: bool,
    /// Whether it counts as fresh.
    pub counts: bool,
}

impl Column {
    fn add(&mut self, sample: Reading, fresh: bool) {
        self.samples.push(sample);
        if self.line.last().is_none_or(|last| last.0 <= sample.0) {
            self.line.push(sample);
        }
        self.fresh += u64::from(fresh);
    }
}

impl Held {
    fn new(start_us: i64, end_us: i64) -> Self {
        Self {
            start_us,
            end_us,
            columns: BTreeMap::new(),
            revision: 0,
            changed: false,
            closed_us: None,
            full: false,
        }
    }

    fn holds(&self, time_us: i64) -> bool {
        (self.start_us..self.end_us).contains(&time_us)
    }

    pub fn fresh(&self) -> u64 {
        self.columns.values().map(|one| one.fresh).sum()
    }

    pub fn samples(&self) -> u64 {
        self.columns
            .values()
            .map(|one| one.samples.len() as u64)
            .sum()
    }
}

impl Windows {
    fn is_final(&self, end_us: i64, window: &Window, watermark_us: Option<i64>) -> bool {
        watermark_us.is_some_and(|mark_us| end_us + window.lateness_us <= mark_us)
            || self
                .final_until_us
                .is_some_and(|until_us| end_us <= until_us)
    }

    /// Whether a window that is held would take a sample of a time.
    pub fn covers(&self, window: &Window, time_us: i64) -> bool {
        match &window.shape {
            Shape::Session { .. } => self.session(window, time_us).is_some(),
            Shape::Count { .. } => self.unfilled(window).is_some(),
            _ => self.held.iter().any(|held| held.holds(time_us)),
        }
    }

    /// The session that a sample belongs to: it has a sample within the gap, would not become
    /// too long, and would not begin earlier once it was emitted.
    fn session(&self, window: &Window, time_us: i64) -> Option<usize> {
        let Shape::Session {
            gap_us,
            length_max_us,
        } = window.shape
        else {
            return None;
        };
        self.held.iter().position(|held| {
            let first_us = held.start_us.min(time_us);
            let last_us = (held.end_us - gap_us).max(time_us);
            let touches = time_us < held.end_us && held.start_us < time_us + gap_us;
            let grows_back = time_us < held.start_us;
            touches && last_us - first_us < length_max_us && !(grows_back && held.revision > 0)
        })
    }

    fn unfilled(&self, window: &Window) -> Option<usize> {
        let over = |held: &Held| held.closed_us.is_some() && window.late == Late::Drop;
        self.held.iter().position(|held| !held.full && !over(held))
    }

    /// Takes a sample; whether a window did.
    pub fn take(&mut self, rule: &Rule, coming: Coming) -> bool {
        let window = rule.window.as_ref().unwrap();
        let (time_us, _) = coming.at;
        let into: Vec<usize> = match &window.shape {
            Shape::Session { gap_us, .. } => {
                let found = self.session(window, time_us);
                let end_us = time_us + gap_us;
                let may_open = !self.is_final(end_us, window, coming.watermark_us);
                match found {
                    Some(at) => vec![at],
                    None if may_open => {
                        self.held.push(Held::new(time_us, end_us));
                        vec![self.held.len() - 1]
                    }
                    None => vec![],
                }
            }
            Shape::Count { .. } => vec![self.unfilled(window).unwrap_or_else(|| {
                self.held.push(Held::new(time_us, time_us + 1));
                self.held.len() - 1
            })],
            shape => {
                self.open_fixed(shape, window, coming);
                let held = 0..self.held.len();
                held.filter(|at| self.held[*at].holds(time_us)).collect()
            }
        };
        let before = self.taken.get(&coming.sensor);
        let newest_us = before.and_then(|all| all.iter().map(|one| one.0).max());
        let is_newest = newest_us.is_none_or(|newest_us| newest_us <= time_us);
        let mut taken = false;
        for at in into {
            let held = &self.held[at];
            if held.closed_us.is_some() && window.late == Late::Drop {
                continue;
            }
            self.add(at, coming, coming.counts && !taken);
            taken = true;
            self.grow(at, window, time_us);
        }
        if !matches!(window.shape, Shape::Count { .. }) {
            self.held.sort_by_key(|held| (held.end_us, held.start_us));
        }
        if taken {
            // What ends one window begins those behind it.
            for held in self.held.iter_mut().filter(|held| held.start_us > time_us) {
                if let Some(column) = held.columns.get_mut(&coming.sensor)
                    && column.carry.is_none_or(|(carry_us, _)| carry_us <= time_us)
                    && !is_newest
                {
                    column.carry = Some(coming.at);
                }
            }
            self.taken.entry(coming.sensor).or_default().push(coming.at);
        }
        taken
    }

    /// Opens the windows of a time that are not final.
    fn open_fixed(&mut self, shape: &Shape, window: &Window, coming: Coming) {
        let (time_us, _) = coming.at;
        for (start_us, end_us) in of_time(shape, time_us) {
            let is_held = |held: &Held| (held.start_us, held.end_us) == (start_us, end_us);
            let is_final = self.is_final(end_us, window, coming.watermark_us);
            if !coming.opens || is_final || self.held.iter().any(is_held) {
                continue;
            }
            let mut held = Held::new(start_us, end_us);
            if let Shape::Sliding { .. } = shape {
                // What it holds came before it.
                let mut before = self.taken.get(&coming.sensor).cloned().unwrap_or_default();
                before.sort_by_key(|(at_us, _)| *at_us);
                let mut column = Column::default();
                for sample in before {
                    if sample.0 < start_us {
                        column.carry = Some(sample);
                    } else if sample.0 < end_us {
                        column.add(sample, false);
                    }
                }
                held.columns.insert(coming.sensor, column);
            }
            self.held.push(held);
        }
        self.held.sort_by_key(|held| (held.end_us, held.start_us));
    }

    fn add(&mut self, at: usize, coming: Coming, fresh: bool) {
        let taken = self.taken.get(&coming.sensor);
        // Of equal times the one that came last.
        let newest = taken.and_then(|all| all.iter().copied().max_by_key(|one| one.0));
        let held = &mut self.held[at];
        let start_us = held.start_us;
        let column = held.columns.entry(coming.sensor).or_insert_with(|| Column {
            carry: newest.filter(|(time_us, _)| *time_us < start_us),
            ..Column::default()
        });
        column.add(coming.at, fresh);
        held.changed = true;
    }

    /// Moves the ends of windows that have none of their own.
    fn grow(&mut self, at: usize, window: &Window, time_us: i64) {
        let held = &mut self.held[at];
        match &window.shape {
            Shape::Session {
                gap_us,
                length_max_us,
            } => {
                held.start_us = held.start_us.min(time_us);
                held.end_us = held.end_us.max(time_us + gap_us);
                self.unite(at, *gap_us, *length_max_us);
            }
            Shape::Count { samples } => {
                held.start_us = held.start_us.min(time_us);
                held.end_us = held.end_us.max(time_us + 1);
                held.full = held.samples() >= *samples;
            }
            _ => {}
        }
    }

    /// A session that was not emitted goes into an earlier one that it touches now.
    fn unite(&mut self, at: usize, gap_us: i64, length_max_us: i64) {
        let (start_us, end_us) = (self.held[at].start_us, self.held[at].end_us);
        let touched = self.held.iter().position(|next| {
            let behind = (start_us, end_us) < (next.start_us, next.end_us);
            let whole_us = next.end_us.max(end_us) - gap_us - start_us;
            behind && next.start_us < end_us && next.revision == 0 && whole_us < length_max_us
        });
        let Some(touched) = touched else {
            return;
        };
        let next = self.held[touched].clone();
        let held = &mut self.held[at];
        held.end_us = held.end_us.max(next.end_us);
        for (sensor, other) in next.columns {
            let mine = held.columns.entry(sensor).or_default();
            mine.fresh += other.fresh;
            mine.samples.extend(other.samples);
            let last_us = mine.line.last().map_or(i64::MIN, |last| last.0);
            if other.line.first().is_some_and(|first| last_us <= first.0) {
                mine.line.extend(other.line);
            }
        }
        self.held.remove(touched);
    }

    /// What the watermark has passed, or is full.
    pub fn passed(&mut self, window: &Window, watermark_us: Option<i64>) -> Vec<Held> {
        let is_count = matches!(window.shape, Shape::Count { .. });
        let mut gone = Vec::new();
        self.held.retain(|held| {
            let mark_us = watermark_us.unwrap_or(i64::MIN);
            let is_passed = held.end_us + window.lateness_us <= mark_us;
            let goes = if is_count { held.full } else { is_passed };
            if goes {
                gone.push(held.clone());
            }
            !goes
        });
        let beyond = self.held.len().saturating_sub(HELD_MAX);
        gone.extend(self.give_up(beyond));
        gone.into_iter().filter(|held| held.changed).collect()
    }

    fn give_up(&mut self, count: usize) -> Vec<Held> {
        let gone: Vec<Held> = self.held.drain(..count).collect();
        let until_us = gone.iter().map(|held| held.end_us).max();
        self.final_until_us = self.final_until_us.max(until_us);
        gone
    }

    /// What closes at an arrival time, for now.
    pub fn early(&mut self, now_us: i64) -> Vec<Held> {
        let mut told = Vec::new();
        for held in self.held.iter_mut().filter(|held| held.changed) {
            told.push(held.clone());
            held.changed = false;
            held.revision += 1;
            held.closed_us.get_or_insert(now_us);
            for column in held.columns.values_mut() {
                column.fresh = 0;
            }
        }
        told
    }

    /// What was closed early up to an arrival time is final, and what is before it.
    pub fn expired(&mut self, until_us: i64) -> Vec<Held> {
        let over = |held: &Held| held.closed_us.is_some_and(|at_us| at_us <= until_us);
        let count = self.held.iter().rposition(over).map_or(0, |at| at + 1);
        let gone = self.give_up(count);
        gone.into_iter().filter(|held| held.changed).collect()
    }

    /// The epoch ends.
    pub fn all(&mut self) -> Vec<Held> {
        let held = std::mem::take(self).held;
        held.into_iter().filter(|held| held.changed).collect()
    }
}

/// Start and end of every window that holds a time, where times alone decide.
fn of_time(shape: &Shape, time_us: i64) -> Vec<(i64, i64)> {
    match shape {
        Shape::Tumbling { length_us } => {
            let start_us = time_us.div_euclid(*length_us) * length_us;
            vec![(start_us, start_us + length_us)]
        }
        Shape::Hopping {
            length_us,
            every_us,
        } => {
            let newest_us = time_us.div_euclid(*every_us) * every_us;
            let starts = (0..length_us / every_us).map(|hop| newest_us - hop * every_us);
            starts
                .map(|start_us| (start_us, start_us + length_us))
                .collect()
        }
        Shape::Sliding { length_us } => vec![(time_us + 1 - length_us, time_us + 1)],
        Shape::Calendar { every, zone } => {
            assert_eq!(zone, calendar::ZONE);
            vec![calendar::stretch(*every, time_us)]
        }
        Shape::Session { .. } | Shape::Count { .. } => vec![],
    }
}
