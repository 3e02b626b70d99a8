//! The spool: what waits for the sinks, a queue per sink and priority class.
//!
//! Terms: an *index* numbers the records of a queue from 1, its *mark* is the highest place ever
//! put into it. A record *waits* until it is *done*: confirmed, refused, evicted or lost. The
//! *budget* of a sink is the sum of its queues' budgets.
//!
//! Invariants:
//! - A record is put into a queue once: what is not above the mark is dropped silently, so replay
//!   may derive it again. The mark never claims what is not there: after a torn tail it is lower.
//! - Only records that are durable in the queue are read. A record leaves when [`Spool::commit`]
//!   or an eviction says so; its segment is recycled only after a durable base says so too.
//! - Counters follow from what is durable (base, journal, queues), so they agree with the queues
//!   after any cut, and folded = spooled + dropped, spooled = delivered + refused + evicted +
//!   waiting, exactly. What the disk lost is taken out of spooled: the ledger finds it as the
//!   difference to what the pipeline folded.
//! - When a sink's budget is full, segments that are done go first, then the oldest segment of its
//!   lowest class; but a record never displaces one of a higher class: then it is dropped.
//!
//! ```text
//! spool/cloud.normal-1-…1-…     records 1..900 of queue (cloud, normal)
//! spool/cloud.normal-2-…900-…   records 900..
//! journal/segment-…, base-…     what left the queues; bases: marks, done ranges, counters
//!
//! append ─► pending ──sync──► waiting ──commit / evict──► done ──base──► segment recycled
//! ```

pub mod bill;
pub mod counters;
pub mod extent;
pub mod journal;
mod leaving;
pub mod letters;
mod open;
mod queue;
mod ranges;
mod room;
mod state;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod week_tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

pub use self::extent::Extent;
pub use self::journal::{Delivery, Journaled, Outcome};
pub use self::queue::Waiting;

use self::bill::Bill;
use self::counters::{Counted, Counters, Fate};
use self::journal::{Dropped, Journal};
use self::letters::Letters;
use self::queue::{Found, Pending, Queue};
use crate::disk::Disk;
use crate::log::LogError;
use crate::record::{Emitted, Place, RecordId};
use crate::rules::Priority;
use crate::time::Timestamp;

/// A queue is looked through from its last base at opening: a base is due when the queues have
/// grown by this much, or four times the base.
const GROWTH_BYTES: u64 = 16 << 20;
const GROWTH_PER_BASE: u64 = 4;
/// Syncs to let pass after a base that could not be written.
const BASE_RETRY_SYNCS: u32 = 64;

/// Ranges of done records that a queue remembers. Delivery commits oldest first, which makes one;
/// each stretch that the disk lost, or that was evicted out of order, makes another. Beyond, the
/// waiting records between the two oldest are evicted, and counted as that.
pub const DONE_RANGES_MAX: usize = 1_024;
/// Queues without a sink that a report lists; more are only counted.
pub const ORPHANS_MAX: usize = 64;

/// Why the spool could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// A file of a queue or of the journal could not be used.
    #[error(
        "the spool's files could not be used: no record was lost, what was not written yet is kept and tried again"
    )]
    Files(#[from] LogError),
    /// A queue that does not exist.
    #[error("there is no queue {0:?} in this spool")]
    UnknownQueue(QueueId),
    /// Indices that were never in the queue, or are not durable yet.
    #[error(
        "records {first} to {last} are not in the queue, which ends before {next}: nothing was committed"
    )]
    UnknownRecords {
        /// First index given.
        first: u64,
        /// Last index given.
        last: u64,
        /// Index after the last durable record.
        next: u64,
    },
    /// A record or state that cannot be encoded.
    #[error("a record could not be encoded: nothing was written")]
    Unencodable,
}

/// Names a queue of an open spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(usize);

/// A queue as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSettings {
    /// The sink's name.
    pub sink: String,
    /// The class.
    pub priority: Priority,
    /// Its budget; the queues of a sink share theirs. At least two segments (8 KiB) per queue make
    /// sense.
    pub bytes_max: u64,
    /// Dead letters that its sink may have.
    pub letters_max: u64,
}

/// What opening a spool has found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct SpoolReport {
    /// Queues of sinks that are no longer configured: kept, not sent. Sink, class, records; at
    /// most [`ORPHANS_MAX`].
    pub orphans: Vec<(String, Priority, u64)>,
    /// Queues like these that are not among them.
    pub orphans_unlisted: u64,
    /// Records that were durable and cannot be read any more.
    pub records_lost: u64,
    /// Bytes of a batch whose write was cut; replay derives its records again.
    pub torn_bytes: u64,
    /// Commits that a power cut forgot: their records are sent again under the same ids.
    pub commits_lost: u64,
    /// Commits whose records cannot be counted any more, as the base that had them is damaged.
    pub commits_uncounted: u64,
    /// Parts of the state (a queue, a rule's counters), or whole bases, that were damaged.
    pub parts_damaged: u64,
    /// Dead letters that are kept.
    pub letters: u64,
    /// Files of dead letters that hold none.
    pub letters_unreadable: u64,
    /// Whether counters of some sink had to be found by reading its queues.
    pub recounted: bool,
}

/// How much waits in a queue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Records that are durable and not done.
    pub records: u64,
    /// Bytes of the queue's files.
    pub bytes: u64,
    /// Records the disk lost, ever.
    pub lost_records: u64,
}

/// All queues and their journal.
pub struct Spool {
    queues: Vec<Queue>,
    by_name: BTreeMap<String, BTreeMap<Priority, QueueId>>,
    journal: Journal,
    counters: Counters,
    letters: Letters,
    /// Letters whose delivery is held in the journal and counted, but not durable yet.
    resending: BTreeSet<(String, RecordId)>,
    bill: Bill,
    drops_held: bool,
    base_due: bool,
    base_wait: u32,
    base_bytes: u64,
    grown: u64,
    synced_us: u64,
    disk: Arc<dyn Disk>,
}

impl Spool {
    /// The queues: those configured in their order, then those of sinks no longer configured.
    pub fn queues(&self) -> impl Iterator<Item = (QueueId, &str, Priority)> {
        let numbered = self.queues.iter().enumerate();
        numbered.map(|(at, queue)| (QueueId(at), queue.sink.as_str(), queue.priority))
    }

    /// The queue of a sink and class.
    pub fn queue(&self, sink: &str, priority: Priority) -> Option<QueueId> {
        self.by_name.get(sink)?.get(&priority).copied()
    }

    fn get(&self, id: QueueId) -> Result<&Queue, SpoolError> {
        self.queues.get(id.0).ok_or(SpoolError::UnknownQueue(id))
    }

    fn get_mut(&mut self, id: QueueId) -> Result<&mut Queue, SpoolError> {
        self.queues
            .get_mut(id.0)
            .ok_or(SpoolError::UnknownQueue(id))
    }

    /// Records that the disk lost, ever.
    pub fn lost_records(&self) -> u64 {
        self.queues.iter().map(|queue| queue.lost_records).sum()
    }

    /// Whether a record waits, by the name of its queue's files and its index.
    pub fn holds(&self, prefix: &str, index: u64) -> bool {
        let name = queue::parse_prefix(prefix);
        let id = name.and_then(|(sink, priority)| self.queue(&sink, priority));
        let queue = id.and_then(|id| self.queues.get(id.0));
        queue.is_some_and(|queue| index < queue.next() && !queue.done.contains(index))
    }

    /// Index of the last record of the batch that was begun with a queue's oldest record, or
    /// before it, if that is not done.
    pub fn begun(&self, id: QueueId) -> Result<Option<(u64, u64)>, SpoolError> {
        let queue = self.get(id)?;
        let head = queue.done.next_free(1);
        let begun = queue.begun;
        Ok(begun.filter(|(first, last)| (*first..=*last).contains(&head)))
    }

    /// Whether a sink is configured: records of others wait, and nothing is sent there.
    pub fn is_configured(&self, sink: &str) -> bool {
        let mut queues = self.queues.iter().filter(|queue| queue.sink == sink);
        queues.any(|queue| queue.bytes_max.is_some())
    }

    /// The dead letters.
    pub fn letters(&self) -> &Letters {
        &self.letters
    }

    /// The dead letters, to be resent or dropped.
    pub fn letters_mut(&mut self) -> &mut Letters {
        &mut self.letters
    }

    /// How much waits in a queue.
    pub fn waiting(&self, id: QueueId) -> Result<Backlog, SpoolError> {
        let queue = self.get(id)?;
        Ok(Backlog {
            records: queue.waiting(),
            bytes: queue.segments.bytes(),
            lost_records: queue.lost_records,
        })
    }

    /// A queue's mark: the highest place ever put into it.
    pub fn mark(&self, id: QueueId) -> Result<Option<Place>, SpoolError> {
        Ok(self.get(id)?.mark)
    }

    /// Whether a queue has (had) the record of a place, pending ones included.
    pub fn has(&self, sink: &str, priority: Priority, place: Place) -> bool {
        let queue = self.queue(sink, priority);
        queue.is_some_and(|id| self.queues[id.0].has(place))
    }

    /// The highest place in any queue. The log must not end before its position: then it lost its
    /// tail, and [`crate::log::LocalLog::advance_to`] the position behind keeps new records above the marks.
    pub fn highest_mark(&self) -> Option<Place> {
        self.queues.iter().filter_map(|queue| queue.mark).max()
    }

    /// Every counter, with records that are not durable yet among those spooled.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters.clone();
        counters.journaled = self.journal.taken();
        for queue in &self.queues {
            if queue.lost_records > 0 {
                let lost = counters.lost.entry(queue.sink.clone()).or_default();
                *lost += queue.lost_records;
            }
            for pending in &queue.pending {
                counters.count(&queue.sink, &pending.counted, Fate::Spooled);
            }
            for (_, counted) in &queue.dropped {
                counters.count(&queue.sink, counted, Fate::Dropped);
            }
        }
        counters
    }

    /// What became of each rule's records that are durable, over all sinks.
    pub fn sums(&self) -> BTreeMap<&str, counters::Sum> {
        self.counters.sums()
    }

    /// What was sent to which sink, month by month.
    pub fn bill(&self) -> &Bill {
        &self.bill
    }

    /// Puts records into the queues of the sinks they go to; what is not above a queue's mark is
    /// there already and skipped. They come in the order of their places. Durable, and readable,
    /// after [`Self::sync`].
    ///
    /// After an error records up to some place are in; the same call again puts in the rest.
    pub fn append(&mut self, now: Timestamp, emitted: &[Emitted]) -> Result<(), SpoolError> {
        for one in emitted {
            for sink in &one.forward {
                let id = self.queue_or_none(sink, one.priority)?;
                if self.get(id)?.has(one.place) {
                    continue;
                }
                let bytes = postcard::to_stdvec(&(one.place, &one.record))
                    .map_err(|_| SpoolError::Unencodable)?;
                if self.get(id)?.batch_is_full(bytes.len() as u64) {
                    self.flush(id, now)?;
                }
                self.get_mut(id)?.push(Pending {
                    place: one.place,
                    bytes,
                    counted: Counted::from(&one.record),
                });
            }
        }
        Ok(())
    }

    /// The queue of a sink, made without room if there is none: what goes there is counted.
    fn queue_or_none(&mut self, sink: &str, priority: Priority) -> Result<QueueId, SpoolError> {
        if let Some(id) = self.queue(sink, priority) {
            return Ok(id);
        }
        let disk = Arc::clone(&self.disk);
        let mut queue = Queue::open(disk, sink, priority, None, &state::QueueState::default())?;
        queue.find_end(&state::QueueState::default())?;
        Ok(self.add(queue))
    }

    fn add(&mut self, queue: Queue) -> QueueId {
        let id = QueueId(self.queues.len());
        let of_sink = self.by_name.entry(queue.sink.clone()).or_default();
        of_sink.insert(queue.priority, id);
        self.queues.push(queue);
        id
    }

    /// Makes everything appended durable. After an error it is kept and the next call tries again;
    /// until one returns Ok no base of the log may cover it.
    pub fn sync(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        for at in 0..self.queues.len() {
            // Before a base says that it is there, what opening found must be durable too.
            self.queues[at].segments.settle()?;
            self.bound_ranges(QueueId(at), now)?;
            self.flush(QueueId(at), now)?;
        }
        self.journal.write()?;
        let due = now.mono_us.saturating_sub(self.synced_us) >= journal::SYNC_US;
        if self.drops_held || (due && self.journal.is_unsynced()) {
            self.journal.sync()?;
            self.synced_us = now.mono_us;
            self.drops_held = false;
        }
        if self.base_wait > 0 {
            self.base_wait -= 1;
        } else if self.is_base_due() {
            self.try_base();
        }
        Ok(())
    }

    /// Makes a queue's pending records durable as one batch.
    fn flush(&mut self, id: QueueId, now: Timestamp) -> Result<(), SpoolError> {
        let queue = self.get(id)?;
        let bytes = queue.batch_bytes();
        if !queue.pending.is_empty() && queue.segments.is_full(bytes) {
            self.make_room(id, now, bytes)?;
        }
        let queue = &mut self.queues[id.0];
        let capacity = queue.segment_bytes();
        self.grown += queue.segments.append(&queue.pending, capacity, true)?;
        for pending in queue.take_pending() {
            self.counters
                .count(&queue.sink, &pending.counted, Fate::Spooled);
        }
        self.journal_drops(id, now)
    }

    /// Counts and journals what found no room, now that everything before it is durable.
    fn journal_drops(&mut self, id: QueueId, now: Timestamp) -> Result<(), SpoolError> {
        if self.get(id)?.dropped.is_empty() {
            return Ok(());
        }
        self.journal.make_room()?;
        let queue = self.get_mut(id)?;
        let records = std::mem::take(&mut queue.dropped);
        let entry = Journaled::Dropped(Dropped {
            sink: queue.sink.clone(),
            priority: queue.priority,
            at: now,
            records,
        });
        self.journal.hold(&entry)?;
        self.drops_held = true;
        if let Journaled::Dropped(dropped) = entry {
            self.apply_dropped(id, &dropped)?;
        }
        Ok(())
    }

    fn apply_dropped(&mut self, id: QueueId, dropped: &Dropped) -> Result<(), SpoolError> {
        let queue = self
            .queues
            .get_mut(id.0)
            .ok_or(SpoolError::UnknownQueue(id))?;
        for (place, counted) in &dropped.records {
            if Some(*place) > queue.dropped_through {
                self.counters.count(&queue.sink, counted, Fate::Dropped);
                queue.dropped_through = Some(*place);
            }
        }
        queue.mark_durable = queue.mark_durable.max(queue.dropped_through);
        Ok(())
    }

    /// Reads records that wait in a queue, from the first behind `after_index` (0: from the
    /// start): at most `records_max` of them and `bytes_max` of their stored bytes, but one at
    /// least if there is any.
    pub fn read(
        &mut self,
        id: QueueId,
        after_index: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Waiting>, SpoolError> {
        let mut waiting: Vec<Waiting> = Vec::new();
        let mut lost = Vec::new();
        let mut held = 0;
        let from = after_index.saturating_add(1);
        self.get_mut(id)?
            .walk(from, u64::MAX, |found| match found {
                Found::Lost(range) => {
                    lost.push(range);
                    ControlFlow::Continue(())
                }
                Found::Record {
                    index,
                    place,
                    record,
                    bytes,
                } => {
                    held += bytes.len();
                    if waiting.len() >= records_max || (held > bytes_max && !waiting.is_empty()) {
                        return ControlFlow::Break(());
                    }
                    waiting.push(Waiting {
                        index,
                        place,
                        record,
                    });
                    ControlFlow::Continue(())
                }
            })?;
        if !lost.is_empty() {
            self.lose(id, &lost)?;
        }
        Ok(waiting)
    }

    /// The delivery journal from an entry on, with the entries' numbers.
    pub fn journal(
        &self,
        from: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, Journaled), SpoolError>> + use<>, SpoolError>
    {
        self.journal.read(from)
    }

    /// Clean stop: makes everything durable, the state included.
    pub fn stop(&mut self, now: Timestamp) -> Result<(), SpoolError> {
        self.sync(now)?;
        self.journal.sync()?;
        let base = self.base()?;
        self.journal.stop(&base)
    }
}
