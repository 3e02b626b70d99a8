//! Extents: how far each queue has come, as the log's bases remember it.
//!
//! A queue whose newest segment is gone looks like one that never had it. A base of the log is
//! written when the records of all that it covers are synced, so it knows better: what a queue
//! had then and has no longer is lost, and replay, which begins behind the base, will not derive
//! it again.

use serde::{Deserialize, Serialize};

use super::{QueueId, Spool, SpoolError};
use crate::record::Place;
use crate::rules::Priority;

/// How far a queue has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Sink of the queue.
    pub sink: String,
    /// Class of the queue.
    pub priority: Priority,
    /// Index after its last durable record.
    pub next: u64,
    /// Highest place it was ever given, durably.
    pub mark: Option<Place>,
}

impl Spool {
    /// How far the queues have come.
    pub fn extents(&self) -> impl Iterator<Item = Extent> {
        self.queues.iter().map(|queue| Extent {
            sink: queue.sink.clone(),
            priority: queue.priority,
            next: queue.next(),
            mark: queue.mark_durable,
        })
    }

    /// Counts as lost what a queue had by an extent and has no longer. Returns how many records
    /// that is.
    ///
    /// # Errors
    /// The queue's files cannot be read.
    pub fn measure(&mut self, extent: &Extent) -> Result<u64, SpoolError> {
        let known = self.queue(&extent.sink, extent.priority).is_some();
        if !known && extent.next <= 1 {
            return Ok(0);
        }
        let id: QueueId = self.queue_or_none(&extent.sink, extent.priority)?;
        let queue = self.get_mut(id)?;
        let next = queue.next();
        if extent.next <= next {
            return Ok(0);
        }
        queue.segments.advance_to(extent.next);
        queue.mark = queue.mark.max(extent.mark);
        queue.mark_durable = queue.mark_durable.max(extent.mark);
        self.lose(id, &[next..=extent.next - 1])?;
        Ok(extent.next - next)
    }
}
