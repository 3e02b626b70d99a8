//! The spool as one sink's delivery sees it: that sink's queues, behind the store's lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rules::Priority;
use crate::sinks::batch::Batch;
use crate::sinks::framing::{Framing, Request};
use crate::sinks::queue::{CLASSES, Found, Letter, Written};
use crate::sinks::{Delivery, Queue, SinkError, Waiting};
use crate::spool::letters::Stored;
use crate::spool::{self, Outcome, QueueId, Spool};
use crate::time::Timestamp;

/// One sink's queues.
pub struct SpoolQueue {
    spool: Arc<Mutex<Spool>>,
    sink: String,
    framing: Framing,
    /// When something was sent last, on the monotonic clock in µs.
    sent_us: Mutex<Option<u64>>,
}

impl SpoolQueue {
    /// The queues of `sink` in a shared spool.
    pub fn new(spool: Arc<Mutex<Spool>>, sink: &str) -> Self {
        Self {
            spool,
            sink: sink.to_owned(),
            framing: Framing::default(),
            sent_us: Mutex::new(None),
        }
    }

    /// The same for a sink whose requests travel in a framing, which is charged beside their heads.
    #[must_use]
    pub fn framed(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// A delivery as it is journaled: what travelled around its bodies is among its header bytes.
    fn journaled(&self, outcome: Outcome, delivery: &Delivery) -> spool::Delivery {
        spool::Delivery {
            outcome,
            at: delivery.at,
            bytes_before: delivery.bytes_before,
            bytes_after: delivery.bytes_after,
            header_bytes: self.framing_bytes(delivery),
            attempts: delivery.attempts,
        }
    }

    /// What travelled around the bodies of attempts; an estimate.
    fn framing_bytes(&self, delivery: &Delivery) -> u64 {
        if delivery.bytes_after + delivery.header_bytes == 0 {
            // It reached nobody, or was charged before.
            return 0;
        }
        let now_us = delivery.at.mono_us;
        let mut sent_us = self.sent_us.lock().unwrap_or_else(PoisonError::into_inner);
        let idle_us = sent_us.replace(now_us).map(|us| now_us.saturating_sub(us));
        self.framing.estimate(&Request {
            body_bytes: delivery.bytes_after,
            head_bytes: delivery.header_bytes,
            idle_us,
        })
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
    ) -> Result<Found, SinkError> {
        let mut spool = self.spool();
        let id = self.id(&spool, class)?;
        let begun = spool.begun(id).map_err(|error| failed(&error))?;
        let (records_max, bytes_max) = match begun {
            // All of the batch that was begun, and whether there is more behind it.
            Some((first, last)) => {
                let begun = (last + 1 - first) as usize;
                (records_max.max(begun + 1), usize::MAX)
            }
            None => (records_max, bytes_max),
        };
        let waiting = spool.read(id, 0, records_max, bytes_max);
        let waiting = waiting.map_err(|error| failed(&error))?;
        let letter = spool.letters_mut().again(&self.sink);
        Ok(Found {
            waiting: waiting
                .into_iter()
                .map(|one| Waiting {
                    index: one.index,
                    place: one.place,
                    record: one.record,
                })
                .collect(),
            bound: begun.map(|(_, last)| last),
            letter: letter.map(|stored| {
                Box::new(Letter {
                    class: stored.priority,
                    index: stored.index,
                    record: stored.record,
                })
            }),
        })
    }

    fn begin(&self, batch: &Batch, now: Timestamp) -> Result<(), SinkError> {
        let mut spool = self.spool();
        let id = self.id(&spool, batch.class)?;
        let begun = spool.begin(id, batch.first..=batch.last, now);
        begun.map_err(|error| failed(&error))
    }

    fn commit(&self, batch: &Batch, delivery: &Delivery) -> Result<(), SinkError> {
        let mut spool = self.spool();
        let id = self.id(&spool, batch.class)?;
        let delivery = self.journaled(Outcome::Confirmed, delivery);
        let committed = spool.commit(id, batch.first..=batch.last, delivery, &batch.shares());
        committed.map(drop).map_err(|error| failed(&error))
    }

    fn bury(&self, batch: &Batch, why: &str, delivery: &Delivery) -> Result<Written, SinkError> {
        let mut spool = self.spool();
        let id = self.id(&spool, batch.class)?;
        let letter = Stored {
            sink: self.sink.clone(),
            priority: batch.class,
            index: batch.first,
            at: delivery.at,
            attempts: delivery.attempts,
            why: why.to_owned(),
            record: batch.records[0].clone(),
        };
        let delivery = self.journaled(Outcome::Refused, delivery);
        let buried = spool.bury(id, &letter, &batch.shares(), delivery);
        Ok(match buried.map_err(|error| failed(&error))? {
            Some(letters_max) => Written::NoRoom { letters_max },
            None => Written::Done,
        })
    }

    fn settle(
        &self,
        batch: &Batch,
        refused: Option<&str>,
        delivery: &Delivery,
    ) -> Result<(), SinkError> {
        let mut spool = self.spool();
        let id = batch.records[0].id;
        let delivery = self.journaled(Outcome::Refused, delivery);
        let settled = match refused {
            None => {
                let of = (batch.class, &batch.records[0]);
                spool.resent(&self.sink, of, &batch.shares(), delivery.cost())
            }
            Some(why) => {
                let queue = self.id(&spool, batch.class)?;
                spool.refused_again(queue, id, why, &batch.shares(), delivery)
            }
        };
        settled.map_err(|error| failed(&error))
    }

    fn charge(&self, batch: &Batch, delivery: &Delivery) {
        let mut spool = self.spool();
        let cost = self.journaled(Outcome::Confirmed, delivery).cost();
        let charged = self.id(&spool, batch.class).and_then(|id| {
            spool
                .tried(id, &batch.shares(), cost)
                .map_err(|error| failed(&error))
        });
        if let Err(error) = charged {
            tracing::warn!(sink = self.sink, %error, "the bytes of failed attempts are not charged");
        }
    }

    fn letters(&self) -> Option<u64> {
        let spool = self.spool.try_lock().ok()?;
        Some(spool.letters().count(&self.sink))
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
