//! Room for new segments: recycling what is done, evicting what must go, and the bases between.

use super::journal::Shares;
use super::journal::{Delivery, Journaled, Outcome};
use super::{
    BASE_RETRY_SYNCS, DONE_RANGES_MAX, GROWTH_BYTES, GROWTH_PER_BASE, QueueId, Spool, SpoolError,
    state,
};
use crate::log::Base;
use crate::rules::Priority;
use crate::time::Timestamp;

impl Spool {
    /// Begins a new segment for a queue's pending records, within the sink's budget. Drops the
    /// pending records when only higher classes hold it.
    pub(super) fn make_room(
        &mut self,
        id: QueueId,
        now: Timestamp,
        bytes: u64,
    ) -> Result<(), SpoolError> {
        let capacity = self.get(id)?.segment_bytes().max(bytes);
        let mut disk_full = None;
        loop {
            let count = self.get(id)?.segments.list().len();
            let queue = self.get_mut(id)?;
            if let Some(at) = (0..count).find(|at| queue.is_covered(*at)) {
                return Ok(queue.segments.start(capacity, Some(at))?);
            }
            if disk_full.is_none() && self.fits(id, capacity)? {
                match self.get_mut(id)?.segments.start(capacity, None) {
                    // What is done may give its space; what waits is not evicted for others' files.
                    Err(error) if error.is_storage_full() => disk_full = Some(error),
                    started => return Ok(started?),
                }
            }
            if let Some(error) = disk_full {
                return if self.recycle_done(id)? {
                    self.make_room(id, now, bytes)
                } else {
                    Err(error.into())
                };
            }
            if !self.recycle_done(id)? && !self.evict(id, now)? {
                self.get_mut(id)?.drop_pending();
                return Ok(());
            }
        }
    }

    /// Whether a new file of so many bytes keeps within the budget of the queue's sink.
    fn fits(&self, id: QueueId, more: u64) -> Result<bool, SpoolError> {
        let sink = &self.get(id)?.sink;
        let of_sink = || self.queues.iter().filter(|queue| queue.sink == *sink);
        let budget: u64 = of_sink().filter_map(|queue| queue.bytes_max).sum();
        let held: u64 = of_sink().map(|queue| queue.segments.bytes()).sum();
        Ok(held == 0 || held + more <= budget)
    }

    /// Makes the done segments of a sink recyclable; those of other queues than `id` give their
    /// space back. Returns whether there were any.
    fn recycle_done(&mut self, id: QueueId) -> Result<bool, SpoolError> {
        let sink = self.get(id)?.sink.clone();
        let ids = self.ids_of(&sink);
        let any = ids
            .iter()
            .any(|other| !self.queues[other.0].done_segments(true).is_empty());
        if any {
            self.write_base()?;
            for other in ids.into_iter().filter(|other| *other != id) {
                self.remove_covered(other, 0)?;
            }
        }
        Ok(any)
    }

    fn ids_of(&self, sink: &str) -> Vec<QueueId> {
        let by_class = self.by_name.get(sink);
        by_class
            .map(|classes| classes.values().copied().collect())
            .unwrap_or_default()
    }

    /// Removes a queue's recyclable segments but for the oldest `keep`.
    fn remove_covered(&mut self, id: QueueId, keep: usize) -> Result<(), SpoolError> {
        let queue = self.get_mut(id)?;
        let count = queue.segments.list().len();
        let covered: Vec<usize> = (0..count).filter(|at| queue.is_covered(*at)).collect();
        for at in covered.iter().skip(keep).rev() {
            queue.segments.remove(*at)?;
        }
        if covered.len() > keep {
            queue.segments.sync_names()?;
        }
        Ok(())
    }

    /// Evicts the oldest segment of the lowest class of the queue's sink, if that is not a higher
    /// class than the queue's own. Returns whether there was one.
    fn evict(&mut self, id: QueueId, now: Timestamp) -> Result<bool, SpoolError> {
        let own: Priority = self.get(id)?.priority;
        let sink = self.get(id)?.sink.clone();
        let victim = self
            .ids_of(&sink)
            .into_iter()
            .find(|other| self.queues[other.0].segments.list().len() > 0);
        let Some(victim) = victim.filter(|victim| self.queues[victim.0].priority <= own) else {
            return Ok(false);
        };
        let Some(range) = self.get(victim)?.segments.range(0) else {
            return Ok(false);
        };
        if range.is_empty() {
            return Ok(true);
        }
        self.journal.make_room()?;
        if let Some(left) = self.leave(
            victim,
            range.start..=range.end - 1,
            evicted(now),
            &Shares::default(),
        )? {
            tracing::error!(
                sink,
                records = left.records,
                "the sink's budget is full: its oldest records of the lowest class were evicted"
            );
            self.journal.hold(&Journaled::Left(left))?;
        }
        Ok(true)
    }

    /// Evicts what waits between the oldest ranges of a queue that remembers too many.
    pub(super) fn bound_ranges(&mut self, id: QueueId, now: Timestamp) -> Result<(), SpoolError> {
        while let Some(gap) = self.get(id)?.done.first_gap_beyond(DONE_RANGES_MAX) {
            self.journal.make_room()?;
            if let Some(left) = self.leave(id, gap, evicted(now), &Shares::default())? {
                tracing::error!(
                    sink = left.sink,
                    records = left.records,
                    "the queue is damaged in too many places: its oldest records were evicted"
                );
                self.journal.hold(&Journaled::Left(left))?;
            }
        }
        Ok(())
    }

    pub(super) fn is_base_due(&self) -> bool {
        let done: u64 = self.queues.iter().map(uncovered_bytes).sum();
        let grown_max = GROWTH_BYTES.max(GROWTH_PER_BASE * self.base_bytes);
        self.base_due
            || self.grown >= grown_max
            || self.journal.base_is_due()
            || (done > 0 && done >= GROWTH_PER_BASE * self.base_bytes)
    }

    /// Writes a base if that works; if not, all it would hold is in the journal and the queues.
    pub(super) fn try_base(&mut self) {
        let written = self.write_base().and_then(|()| {
            // One segment stays with its queue, to be written again.
            (0..self.queues.len()).try_for_each(|at| self.remove_covered(QueueId(at), 1))
        });
        if let Err(error) = written {
            tracing::warn!(%error, "the spool's base could not be written; it will be tried again");
            self.base_wait = BASE_RETRY_SYNCS;
        }
    }

    /// The state up to the journal's end.
    pub(super) fn base(&self) -> Result<Base, SpoolError> {
        let end = self.journal.end();
        state::encode(end, &self.queues, &self.counters, &self.bill)
    }

    /// Writes the state as a base of the journal.
    pub(super) fn write_base(&mut self) -> Result<(), SpoolError> {
        self.journal.sync()?;
        let base = self.base()?;
        self.journal.checkpoint(&base)?;
        self.base_bytes = base.bytes();
        self.grown = 0;
        self.base_due = false;
        self.base_wait = 0;
        for queue in &mut self.queues {
            queue.cover();
        }
        Ok(())
    }
}

/// How an evicted record left its queue.
fn evicted(now: Timestamp) -> Delivery {
    Delivery {
        outcome: Outcome::Evicted,
        at: now,
        bytes_before: 0,
        bytes_after: 0,
        header_bytes: 0,
        attempts: 0,
    }
}

/// Bytes of the segments that are done and that no base knows of.
fn uncovered_bytes(queue: &super::queue::Queue) -> u64 {
    let done = queue.done_segments(false);
    let uncovered = done.into_iter().filter(|at| !queue.is_covered(*at));
    uncovered
        .filter_map(|at| queue.segments.list().nth(at))
        .map(|segment| segment.bytes)
        .sum()
}
