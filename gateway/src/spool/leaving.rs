//! Leaving a queue: commits, evictions and losses, counted once.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};

use super::counters::{Counted, Counters, Fate};
use super::journal::{Delivery, Journaled, Left, Outcome, Shares};
use super::queue::Found;
use super::{QueueId, Spool, SpoolError};
use crate::record::Place;

/// Indices that were waiting and cannot be read.
type Unread = Vec<RangeInclusive<u64>>;

impl Spool {
    /// Notes that a batch left its queue, `range` being the indices of its first and last record.
    /// Returns how many records that were: those done before, by an eviction for instance, do not
    /// count again.
    ///
    /// It is written at once; see [the journal](super::journal) for what a power cut may forget.
    pub fn commit(
        &mut self,
        id: QueueId,
        range: RangeInclusive<u64>,
        delivery: Delivery,
    ) -> Result<u64, SpoolError> {
        let next = self.get(id)?.next();
        let (first, last) = (*range.start(), *range.end());
        if first == 0 || first > last || last >= next {
            return Err(SpoolError::UnknownRecords { first, last, next });
        }
        self.journal.make_room()?;
        let Some(left) = self.leave(id, range, delivery)? else {
            return Ok(0);
        };
        let records = left.records;
        self.journal.hold(&Journaled::Left(left))?;
        if let Err(error) = self.journal.write() {
            tracing::warn!(%error, "a commit could not be journaled yet; it is kept and tried again");
        }
        Ok(records)
    }

    /// [`Self::finish`], with what cannot be read any more counted as lost.
    pub(super) fn leave(
        &mut self,
        id: QueueId,
        range: RangeInclusive<u64>,
        delivery: Delivery,
    ) -> Result<Option<Left>, SpoolError> {
        let Some((left, lost)) = self.finish(id, range, delivery)? else {
            return Ok(None);
        };
        if !lost.is_empty() {
            self.lose(id, &lost)?;
        }
        Ok(Some(left))
    }

    /// Takes the waiting records of a range out of the queue and counts them. `None` when nothing
    /// of it was waiting. Beside what left are the indices that were waiting and cannot be read.
    pub(super) fn finish(
        &mut self,
        id: QueueId,
        range: RangeInclusive<u64>,
        delivery: Delivery,
    ) -> Result<Option<(Left, Unread)>, SpoolError> {
        let fate = match delivery.outcome {
            Outcome::Confirmed => Fate::Delivered,
            Outcome::Refused => Fate::Refused,
            Outcome::Evicted => Fate::Evicted,
        };
        let (first, last) = range.into_inner();
        let queue = self
            .queues
            .get_mut(id.0)
            .ok_or(SpoolError::UnknownQueue(id))?;
        let sink = queue.sink.clone();
        let mut places: Option<(Place, Place)> = None;
        let (mut records, mut lost) = (0, Vec::new());
        let mut weights: BTreeMap<String, u64> = BTreeMap::new();
        let mut shares = Shares::new();
        let counters = &mut self.counters;
        let before = queue.done.count();
        queue.walk(first, last + 1, |found| {
            match found {
                Found::Lost(range) => lost.push(range),
                Found::Record {
                    place,
                    record,
                    bytes,
                    ..
                } => {
                    places = Some((places.map_or(place, |(first, _)| first), place));
                    records += 1;
                    counters.count(&sink, &Counted::from(&record), fate);
                    *weights.entry(record.rule.clone()).or_default() += bytes.len() as u64;
                    let sensors = shares.entry(record.rule).or_default();
                    let sensors = sensors.entry(record.device).or_default();
                    *sensors.entry(record.sensor).or_default() += record.fresh;
                }
            }
            ControlFlow::Continue(())
        })?;
        queue
            .done
            .insert(first..=last, places.map(|(_, last)| last));
        let newly = queue.done.count() - before;
        if !weights.is_empty() {
            let bytes = (
                delivery.bytes_before,
                delivery.bytes_after,
                delivery.header_bytes,
            );
            self.counters.share_bytes(&sink, &weights, bytes);
        }
        let (first_place, last_place) = places.unwrap_or_default();
        let left = Left {
            sink,
            priority: self.get(id)?.priority,
            first,
            last,
            first_place,
            last_place,
            records,
            shares,
            delivery,
        };
        Ok((newly > 0).then_some((left, lost)))
    }

    /// Reads every queue through and counts what cannot be read any more. Returns how many
    /// records that are.
    pub fn find_losses(&mut self) -> Result<u64, SpoolError> {
        let mut records = 0;
        for at in 0..self.queues.len() {
            let id = QueueId(at);
            let mut lost = Vec::new();
            self.get_mut(id)?.walk(1, u64::MAX, |found| {
                if let Found::Lost(range) = found {
                    lost.push(range);
                }
                ControlFlow::Continue(())
            })?;
            if !lost.is_empty() {
                records += lost
                    .iter()
                    .map(|range| range.end() - range.start() + 1)
                    .sum::<u64>();
                self.lose(id, &lost)?;
            }
        }
        Ok(records)
    }

    /// Notes that records cannot be read any more.
    pub(super) fn lose(
        &mut self,
        id: QueueId,
        lost: &[RangeInclusive<u64>],
    ) -> Result<(), SpoolError> {
        let queue = self.get_mut(id)?;
        let sink = queue.sink.clone();
        let records: u64 = lost
            .iter()
            .map(|range| range.end() - range.start() + 1)
            .sum();
        queue.lost_records += records;
        for range in lost {
            let is_last = range.end() + 1 == queue.next();
            queue
                .done
                .insert(range.clone(), queue.mark_durable.filter(|_| is_last));
        }
        tracing::error!(
            sink,
            records,
            "records in the spool can no longer be read and are lost"
        );
        self.recount(&sink)?;
        self.base_due = true;
        Ok(())
    }

    /// Finds what waits at a sink by reading its queues: what the disk lost is taken out of what
    /// was spooled.
    pub(super) fn recount(&mut self, sink: &str) -> Result<(), SpoolError> {
        let mut waiting = Counters::default();
        for queue in self.queues.iter_mut().filter(|queue| queue.sink == sink) {
            queue.walk(1, u64::MAX, |found| {
                if let Found::Record { record, .. } = found {
                    waiting.count(sink, &Counted::from(&record), Fate::Spooled);
                }
                ControlFlow::Continue(())
            })?;
        }
        self.counters.set_waiting(sink, waiting);
        Ok(())
    }
}
