//! The spool as one sink's delivery sees it: that sink's queues, behind the store's lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rules::Priority;
use crate::sinks::queue::CLASSES;
use crate::sinks::{Delivery, Queue, SinkError, Waiting};
use crate::spool::{self, Outcome, QueueId, Spool};

/// One sink's queues.
pub struct SpoolQueue {
    spool: Arc<Mutex<Spool>>,
    sink: String,
}

impl SpoolQueue {
    /// The queues of `sink` in a shared spool.
    pub fn new(spool: Arc<Mutex<Spool>>, sink: &str) -> Self {
        Self {
            spool,
            sink: sink.to_owned(),
        }
    }

    fn spool(&self) -> MutexGuard<'_, Spool> {
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, spool: &Spool, class: Priority) -> Result<QueueId, SinkError> {
        spool
            .queue(&self.sink, class)
            .ok_or_else(|| failed(&format!("sink {} has no {class:?} queue", self.sink)))
    }
}

fn failed(why: &dyn ToString) -> SinkError {
    SinkError::Queue {
        why: why.to_string(),
    }
}

impl Queue for SpoolQueue {
    fn read(
        &self,
        class: Priority,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Waiting>, SinkError> {
        let mut spool = self.spool();
        let id = self.id(&spool, class)?;
        let waiting = spool.read(id, 0, records_max, bytes_max);
        let waiting = waiting.map_err(|error| failed(&error))?;
        Ok(waiting
            .into_iter()
            .map(|one| Waiting {
                index: one.index,
                place: one.place,
                record: one.record,
            })
            .collect())
    }

    fn commit(
        &self,
        class: Priority,
        first: u64,
        last: u64,
        delivery: &Delivery,
    ) -> Result<(), SinkError> {
        let mut spool = self.spool();
        let id = self.id(&spool, class)?;
        let journaled = spool::Delivery {
            outcome: Outcome::Confirmed,
            at: delivery.at,
            bytes_before: delivery.bytes_before,
            bytes_after: delivery.bytes_after,
            header_bytes: delivery.header_bytes,
            attempts: delivery.attempts,
        };
        let committed = spool.commit(id, first..=last, journaled);
        committed.map(drop).map_err(|error| failed(&error))
    }

    /// Not while the store holds the spool: a status is not worth waiting for its disk.
    fn waiting(&self) -> Option<u64> {
        let spool = self.spool.try_lock().ok()?;
        let classes = CLASSES.into_iter();
        classes
            .map(|class| {
                let id = spool.queue(&self.sink, class)?;
                Some(spool.waiting(id).ok()?.records)
            })
            .sum()
    }
}
