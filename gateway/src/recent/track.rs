//! Tracks: the newest samples of one sensor, and the records made of them.

use std::collections::VecDeque;

use super::SAMPLES_PER_BAR;
use crate::pipeline::Observed;
use crate::plant::Bar;

/// The newest samples and records of one sensor, in one epoch.
#[derive(Debug, Default)]
pub struct Track {
    epoch: u32,
    room: usize,
    samples: VecDeque<(i64, f64)>,
    bars: VecDeque<Bar>,
}

impl Track {
    /// One with room for so many samples.
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    /// Gives it room for so many samples; the oldest go where that is less.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room;
        cut(&mut self.samples, room);
        cut(&mut self.bars, room / SAMPLES_PER_BAR);
        self.samples.shrink_to(room);
        self.bars.shrink_to(room / SAMPLES_PER_BAR);
    }

    /// Takes samples. Those of another epoch have another time: what was before is forgotten.
    pub(super) fn push(&mut self, observed: &Observed) {
        if observed.epoch != self.epoch {
            self.samples.clear();
            self.bars.clear();
            self.epoch = observed.epoch;
        }
        let newest = observed.samples.len().saturating_sub(self.room);
        let newest = &observed.samples[newest..];
        cut(&mut self.samples, self.room - newest.len());
        self.samples.extend(newest);
    }

    /// Takes a record; one that stands for the same window replaces what was told of it.
    pub(super) fn push_bar(&mut self, bar: Bar, epoch: u32) {
        if epoch != self.epoch {
            return;
        }
        let is_same = |one: &&mut Bar| {
            (&one.rule, one.start_us, one.alert) == (&bar.rule, bar.start_us, bar.alert)
        };
        if let Some(known) = self.bars.iter_mut().rev().find(is_same) {
            *known = bar;
            return;
        }
        cut(
            &mut self.bars,
            (self.room / SAMPLES_PER_BAR).saturating_sub(1),
        );
        self.bars.push_back(bar);
    }

    /// The samples, in the order they came: event time, UTC in µs, and value.
    pub fn samples(&self) -> &VecDeque<(i64, f64)> {
        &self.samples
    }

    /// The records, in the order they came.
    pub fn bars(&self) -> &VecDeque<Bar> {
        &self.bars
    }

    /// The newest values, oldest first, at most so many.
    pub fn newest(&self, most: usize) -> Vec<f64> {
        let over = self.samples.len().saturating_sub(most);
        let newest = self.samples.iter().skip(over);
        newest.map(|(_, value)| *value).collect()
    }

    /// The largest gap but one between its newest samples, in µs; none where there are not three.
    pub fn usual_us(&self) -> Option<i64> {
        /// Gaps that say what is usual.
        const GAPS: usize = 8;
        let over = self.samples.len().saturating_sub(GAPS + 1);
        let newest = self.samples.iter().skip(over);
        let times: Vec<i64> = newest.map(|(time_us, _)| *time_us).collect();
        let gaps = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0]));
        let mut gaps: Vec<i64> = gaps.collect();
        gaps.sort_unstable();
        gaps.iter().rev().nth(1).copied()
    }
}

fn cut<T>(kept: &mut VecDeque<T>, most: usize) {
    let over = kept.len().saturating_sub(most);
    kept.drain(..over);
}
