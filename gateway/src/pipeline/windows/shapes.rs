//! Shapes whose windows have no fixed place: sliding, session and count.

use super::held::{Columns, Held};
use super::{Asked, Taken, Windows};
use crate::pipeline::accumulator::Accumulator;
use crate::pipeline::lane::{Sample, Tide};
use crate::rules::Window;

impl Windows {
    pub(super) fn slide(
        &mut self,
        length_us: i64,
        sample: &Sample,
        asked: &Asked<'_>,
        tide: &Tide,
    ) -> Taken {
        let time_us = sample.time_us;
        let own_end_us = time_us.saturating_add(1);
        let mut fresh = asked.counts;
        let mut taken = false;
        if asked.opens && !self.is_final(own_end_us, asked.window, tide) {
            let start_us = own_end_us.saturating_sub(length_us);
            if let Err(at) = self.find(start_us, own_end_us) {
                self.insert(at, (start_us, own_end_us), asked, tide);
                self.recall(at, asked);
            }
        }
        for at in 0..self.held.len() {
            let held = &self.held[at];
            if held.start_us <= time_us
                && time_us < held.end_us
                && self.fold(at, sample, asked, tide, fresh)
            {
                fresh = false;
                taken = true;
            }
        }
        // What is late stands in no record, nor in those to come.
        if let Some(memory) = self.memory.as_mut().filter(|_| taken) {
            let oldest_us = tide.watermark_us.map(|mark_us| {
                let span_us = length_us.saturating_add(asked.window.lateness_us);
                mark_us.saturating_sub(span_us)
            });
            memory.recent.push((time_us, sample.raw), oldest_us);
        }
        Taken::of(taken, asked)
    }

    /// Folds what came before into a sliding window that just opened.
    pub(super) fn recall(&mut self, at: usize, asked: &Asked<'_>) {
        let (Some(memory), Some(held)) = (&self.memory, self.held.get_mut(at)) else {
            return;
        };
        let recent = &memory.recent;
        held.partial |= recent
            .lost_us
            .is_some_and(|lost_us| held.start_us <= lost_us);
        let from = recent
            .samples
            .partition_point(|(time_us, _)| *time_us < held.start_us);
        let before = &recent.samples[..from];
        let Columns::One(samples) = &mut held.columns else {
            return;
        };
        *samples = Accumulator::new(asked.aggregates, before.last().copied());
        for (time_us, raw) in &recent.samples[from..] {
            if *time_us < held.end_us {
                samples.add(*time_us, *raw, asked.aggregates, &asked.measure);
            }
        }
    }

    /// Index of the session that a sample belongs to, the one that ends first if there are
    /// several.
    pub(super) fn session_of(
        &self,
        gap_us: i64,
        length_max_us: i64,
        time_us: i64,
    ) -> Option<usize> {
        let end_us = time_us.saturating_add(gap_us);
        self.held.iter().position(|held| {
            let within = held.start_us <= time_us && time_us < held.end_us;
            // One that was emitted keeps its start.
            let before = time_us < held.start_us && held.start_us < end_us && held.emitted == 0;
            let last_us = held.end_us.max(end_us).saturating_sub(gap_us);
            let whole_us = last_us.saturating_sub(held.start_us.min(time_us));
            (within || before) && whole_us < length_max_us
        })
    }

    pub(super) fn join(
        &mut self,
        gap_us: i64,
        length_max_us: i64,
        sample: &Sample,
        asked: &Asked<'_>,
        tide: &Tide,
    ) -> Taken {
        let time_us = sample.time_us;
        let end_us = time_us.saturating_add(gap_us);
        let Some(at) = self.session_of(gap_us, length_max_us, time_us) else {
            if self.is_final(end_us, asked.window, tide) {
                return Taken::Late;
            }
            let key = (end_us, time_us);
            let at = self
                .held
                .partition_point(|held| (held.end_us, held.start_us) < key);
            self.insert(at, (time_us, end_us), asked, tide);
            return Taken::of(self.fold(at, sample, asked, tide, asked.counts), asked);
        };
        if !self.fold(at, sample, asked, tide, asked.counts) {
            return Taken::Late;
        }
        let held = &mut self.held[at];
        held.start_us = held.start_us.min(time_us);
        held.end_us = held.end_us.max(end_us);
        self.unite(at, gap_us, length_max_us, asked);
        // It may end behind one that was emitted meanwhile.
        self.held.sort_by_key(|held| (held.end_us, held.start_us));
        Taken::of(true, asked)
    }

    /// Unites a session with one that begins behind it if they touch now and that one was not
    /// emitted.
    pub(super) fn unite(&mut self, at: usize, gap_us: i64, length_max_us: i64, asked: &Asked<'_>) {
        let (start_us, end_us) = (self.held[at].start_us, self.held[at].end_us);
        let touched = self.held.iter().position(|next| {
            let behind = (start_us, end_us) < (next.start_us, next.end_us);
            let last_us = next.end_us.max(end_us).saturating_sub(gap_us);
            let fits = last_us.saturating_sub(start_us) < length_max_us;
            behind && next.start_us < end_us && next.emitted == 0 && fits
        });
        let Some(touched) = touched else {
            return;
        };
        let next = self.held.remove(touched);
        let held = &mut self.held[if touched < at { at - 1 } else { at }];
        held.end_us = held.end_us.max(next.end_us);
        held.fresh += next.fresh;
        held.changed |= next.changed;
        held.clock = held.clock.max(next.clock);
        held.partial |= next.partial;
        if let (Columns::One(mine), Columns::One(other)) = (&mut held.columns, next.columns) {
            mine.merge(other, &asked.measure);
        }
    }

    /// Index of the window of a number of samples that takes more: not one that the device's end
    /// closed, when the rule drops what comes behind.
    pub(super) fn unfilled(&self, window: &Window) -> Option<usize> {
        let takes = |held: &Held| !held.full && held.takes(window.late);
        self.held.iter().position(takes)
    }

    pub(super) fn count(&mut self, samples: u64, sample: &Sample, asked: &Asked<'_>, tide: &Tide) {
        let (time_us, end_us) = (sample.time_us, sample.time_us.saturating_add(1));
        let at = self.unfilled(asked.window).unwrap_or_else(|| {
            let at = self.held.len();
            self.insert(at, (time_us, end_us), asked, tide);
            self.held[at].first = Some(Box::new(tide.identity(sample)));
            at
        });
        self.fold(at, sample, asked, tide, asked.counts);
        let held = &mut self.held[at];
        held.start_us = held.start_us.min(time_us);
        held.end_us = held.end_us.max(end_us);
        let Columns::One(taken) = &held.columns else {
            return;
        };
        held.full = taken.count >= samples;
    }
}
