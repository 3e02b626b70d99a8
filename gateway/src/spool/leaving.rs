//! Leaving a queue: commits, evictions and losses, counted once.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, RangeInclusive};

use super::counters::{Counted, Counters, Fate};
use super::journal::{
    Begun, Cost, Delivery, Journaled, Left, Outcome, Resent, Share, Shares, Tried,
};
use super::letters::Stored;
use super::queue::Found;
use super::{QueueId, Spool, SpoolError};
use crate::record::{Place, Record, RecordId};
use crate::rules::Priority;
use crate::time::Timestamp;

/// Indices that were waiting and cannot be read.
type Unread = Vec<RangeInclusive<u64>>;

impl Spool {
    /// Notes that a batch left its queue, `range` being the indices of its first and last record.
    /// `pieces` says what each sensor had of the body. Returns how many records left: those done
    /// before, by an eviction for instance, do not count again.
    ///
    /// It is written at once; see [the journal](super::journal) for what a power cut may forget.
    pub fn commit(
        &mut self,
        id: QueueId,
        range: RangeInclusive<u64>,
        delivery: Delivery,
        pieces: &Shares,
    ) -> Result<u64, SpoolError> {
        self.check(id, &range)?;
        self.journal.make_room()?;
        let Some(left) = self.leave(id, range, delivery, pieces)? else {
            // Evicted to the last record while it was sent: the bytes were spent all the same.
            self.tried(id, pieces, delivery.cost())?;
            return Ok(0);
        };
        let records = left.records;
        self.journal.hold(&Journaled::Left(left))?;
        if let Err(error) = self.journal.write() {
            tracing::warn!(%error, "a commit could not be journaled yet; it is kept and tried again");
        }
        Ok(records)
    }

    /// Puts a record among the dead letters and takes it out of its queue. Returns how many may be
    /// kept when that many are: then nothing happens.
    pub fn bury(
        &mut self,
        id: QueueId,
        letter: &Stored,
        pieces: &Shares,
        delivery: Delivery,
    ) -> Result<Option<u64>, SpoolError> {
        self.check(id, &(letter.index..=letter.index))?;
        let letters_max = self.get(id)?.letters_max;
        if self.letters.count(&letter.sink) >= letters_max {
            return Ok(Some(letters_max));
        }
        self.letters.bury(letter)?;
        let left = self.commit(id, letter.index..=letter.index, delivery, pieces);
        if !matches!(left, Ok(1)) {
            // Evicted meanwhile, or not written down: it is not a dead letter then.
            self.letters.remove(&letter.sink, letter.record.id)?;
        }
        left.map(|_| None)
    }

    /// Notes that a dead letter was delivered after all, also one that was dropped meanwhile. After
    /// an error the same call again does what is left.
    pub fn resent(
        &mut self,
        sink: &str,
        (priority, record): (Priority, &Record),
        pieces: &Shares,
        cost: Cost,
    ) -> Result<(), SpoolError> {
        let name = (sink.to_owned(), record.id);
        if !self.resending.contains(&name) {
            self.letters.sent(sink, record.id)?;
            let resent = Resent {
                sink: sink.to_owned(),
                priority,
                id: record.id,
                counted: Counted::from(record),
                shares: pieces.clone(),
                cost,
            };
            self.journal.hold(&Journaled::Resent(resent.clone()))?;
            // Counted when it is held: a base that covers the entry has its counts, too.
            self.apply_resent(&resent);
            self.resending.insert(name.clone());
        }
        self.letters.supersede(sink, record)?;
        self.journal.sync()?;
        self.letters.remove(sink, record.id)?;
        self.resending.remove(&name);
        Ok(())
    }

    /// Notes that a dead letter was refused again, and what that took.
    pub fn refused_again(
        &mut self,
        queue: QueueId,
        id: RecordId,
        why: &str,
        pieces: &Shares,
        delivery: Delivery,
    ) -> Result<(), SpoolError> {
        let sink = self.get(queue)?.sink.clone();
        let said = (why, delivery.at, delivery.attempts);
        self.letters.refused_again(&sink, id, said)?;
        self.tried(queue, pieces, delivery.cost())
    }

    pub(super) fn apply_resent(&mut self, resent: &Resent) {
        self.counters.revive(&resent.sink, &resent.counted);
        self.charge(&resent.sink, &resent.shares, &resent.cost, true);
    }

    /// Counts and bills what attempts took; `confirmed` says whether their records were taken.
    pub(super) fn charge(&mut self, sink: &str, shares: &Shares, cost: &Cost, confirmed: bool) {
        self.counters.charge(sink, shares, cost);
        self.bill.charge(sink, shares, cost, confirmed);
    }

    /// Brings to an end what a crash left half done with dead letters.
    pub(super) fn settle_letters(&mut self) -> Result<(), SpoolError> {
        let buried = self.letters.half_buried(|sink, priority, index| {
            let queue = self.queue(sink, priority).map(|id| &self.queues[id.0]);
            queue.is_some_and(|queue| index < queue.next() && !queue.done.contains(index))
        });
        for (sink, id) in buried {
            self.letters.remove(&sink, id)?;
        }
        let sent = self.letters.half_sent();
        if sent.is_empty() {
            return Ok(());
        }
        let mut journaled = BTreeSet::new();
        for entry in self.journal(0)? {
            if let Journaled::Resent(resent) = entry?.1 {
                journaled.insert((resent.sink, resent.id));
            }
        }
        for (sink, id) in sent {
            if journaled.contains(&(sink.clone(), id)) {
                self.letters.remove(&sink, id)?;
            } else if let Some((_, letter)) = self.letters.get(&sink, id)? {
                let of = (letter.priority, &letter.record);
                self.resent(&sink, of, &Shares::default(), Cost::default())?;
            }
        }
        Ok(())
    }

    /// Whether indices are those of durable records.
    fn check(&self, id: QueueId, range: &RangeInclusive<u64>) -> Result<(), SpoolError> {
        let next = self.get(id)?.next();
        let (first, last) = (*range.start(), *range.end());
        if first == 0 || first > last || last >= next {
            return Err(SpoolError::UnknownRecords { first, last, next });
        }
        Ok(())
    }

    /// Notes that a batch of these indices is about to be sent for the first time.
    pub fn begin(
        &mut self,
        id: QueueId,
        range: RangeInclusive<u64>,
        now: Timestamp,
    ) -> Result<(), SpoolError> {
        self.check(id, &range)?;
        self.journal.make_room()?;
        let queue = self.get(id)?;
        let begun = Journaled::Begun(Begun {
            sink: queue.sink.clone(),
            priority: queue.priority,
            at: now,
            first: *range.start(),
            last: *range.end(),
        });
        self.journal.hold(&begun)?;
        self.journal.write()?;
        self.get_mut(id)?.begun = Some((*range.start(), *range.end()));
        Ok(())
    }

    /// Charges what failed attempts took.
    pub fn tried(&mut self, id: QueueId, pieces: &Shares, cost: Cost) -> Result<(), SpoolError> {
        if cost.bytes_after + cost.header_bytes == 0 {
            return Ok(());
        }
        self.journal.make_room()?;
        let queue = self.get(id)?;
        let tried = Tried {
            sink: queue.sink.clone(),
            priority: queue.priority,
            shares: pieces.clone(),
            cost,
        };
        self.charge(&tried.sink, &tried.shares, &cost, false);
        self.journal.hold(&Journaled::Tried(tried))?;
        if let Err(error) = self.journal.write() {
            tracing::warn!(%error, "failed attempts could not be journaled yet; tried again");
        }
        Ok(())
    }

    /// [`Self::finish`], with what cannot be read any more counted as lost.
    pub(super) fn leave(
        &mut self,
        id: QueueId,
        range: RangeInclusive<u64>,
        delivery: Delivery,
        pieces: &Shares,
    ) -> Result<Option<Left>, SpoolError> {
        let Some((mut left, lost)) = self.finish(id, range, delivery)? else {
            return Ok(None);
        };
        left.shares.set_bytes(pieces);
        let cost = delivery.cost();
        let confirmed = delivery.outcome == Outcome::Confirmed;
        self.charge(&left.sink, &left.shares, &cost, confirmed);
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
        let mut shares = Shares::default();
        let (counters, letters) = (&mut self.counters, &mut self.letters);
        let mut superseded = Ok(());
        let before = queue.done.count();
        queue.walk(first, last + 1, |found| {
            match found {
                Found::Lost(range) => lost.push(range),
                Found::Record { place, record, .. } => {
                    places = Some((places.map_or(place, |(first, _)| first), place));
                    records += 1;
                    counters.count(&sink, &Counted::from(&record), fate);
                    if fate == Fate::Delivered && superseded.is_ok() {
                        superseded = letters.supersede(&sink, &record);
                    }
                    shares.add(
                        &record,
                        Share {
                            records: 1,
                            fresh: record.fresh,
                            bytes: 0,
                        },
                    );
                }
            }
            ControlFlow::Continue(())
        })?;
        if let Err(error) = superseded {
            tracing::warn!(%error, "a dead letter is older than what was delivered, which could not be noted: do not resend it");
        }
        queue
            .done
            .insert(first..=last, places.map(|(_, last)| last));
        let newly = queue.done.count() - before;
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
