//! What delivery needs of a spool: read the oldest, note what begins, was confirmed or refused.
//!
//! [`MemoryQueue`] is its twin in memory, with a switch that makes it fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::SinkError;
use super::batch::Batch;
use super::delivery::{Effect, Event};
use crate::record::{Place, Record};
use crate::rules::Priority;
use crate::time::Timestamp;

/// The classes of a sink's queues, highest first.
pub const CLASSES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// A record that waits for its sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its number in its queue, ascending without a gap between neighbours of one read.
    pub index: u64,
    /// Its place in the order of emission, over all queues of the sink.
    pub place: Place,
    /// The record.
    pub record: Record,
}

/// What a queue holds.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Found {
    /// Its oldest records, oldest first.
    pub waiting: Vec<Waiting>,
    /// Index of the last record of a batch that begins with the first of them and was begun
    /// before: by a gateway that was ended, or of which part was taken.
    pub bound: Option<u64>,
    /// A dead letter that a person wants sent again: it goes before anything else.
    pub letter: Option<Box<Letter>>,
}

/// A record that was refused, and whence it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// Class of its queue.
    pub class: Priority,
    /// Its index there.
    pub index: u64,
    /// The record.
    pub record: Record,
}

/// What became of something to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is.
    Done,
    /// There are as many dead letters as may be: the record stays in its queue.
    NoRoom {
        /// How many.
        letters_max: u64,
    },
}

/// What attempts at a batch took: a line of the delivery journal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// When the sink confirmed.
    pub at: Timestamp,
    /// Body bytes before compression, over the attempts not charged before that reached someone.
    pub bytes_before: u64,
    /// Body bytes as sent, over the same attempts.
    pub bytes_after: u64,
    /// Bytes of request and response heads over the same attempts, estimated; without TLS and TCP.
    pub header_bytes: u64,
    /// Attempts, the last one included.
    pub attempts: u32,
}

/// The queues of one sink, one for each class. Calls may block on a disk.
///
/// Records become visible in order of [`Place`] over all classes (or several at once): what a
/// later read of any class adds is newer than all that an earlier read of another class held.
pub trait Queue: Send + Sync + 'static {
    /// The oldest records of a class that are not committed: at most `records_max` of them and
    /// about `bytes_max` bytes as stored, but one where there is one, and all of a batch that was
    /// begun before.
    fn read(
        &self,
        class: Priority,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Found, SinkError>;

    /// Notes that a batch is about to be sent for the first time: written on return, so that a
    /// gateway that is ended takes it up again.
    fn begin(&self, batch: &Batch, now: Timestamp) -> Result<(), SinkError>;

    /// Takes a batch for delivered: written on return. Some of its records may have been evicted
    /// while they were sent.
    fn commit(&self, batch: &Batch, delivery: &Delivery) -> Result<(), SinkError>;

    /// Puts the only record of a batch among the dead letters, with what the sink said: durable
    /// on return.
    fn bury(&self, batch: &Batch, why: &str, delivery: &Delivery) -> Result<Written, SinkError>;

    /// Notes what became of a dead letter that was sent again: delivered, or refused and why.
    fn settle(
        &self,
        batch: &Batch,
        refused: Option<&str>,
        delivery: &Delivery,
    ) -> Result<(), SinkError>;

    /// Charges what failed attempts at a batch took.
    fn charge(&self, batch: &Batch, delivery: &Delivery);

    /// How many records wait over all classes; none when that cannot be said at once.
    fn waiting(&self) -> Option<u64> {
        None
    }

    /// How many dead letters there are; none when that cannot be said at once.
    fn letters(&self) -> Option<u64> {
        None
    }
}

/// Has a queue do what delivery asks of it; returns what it answers, or the effect if it is none
/// of a queue's.
pub fn carry_out(queue: &dyn Queue, effect: Effect) -> Result<Option<Event>, Effect> {
    let recorded = |result: Result<(), SinkError>| Event::Recorded(result.map(|()| Written::Done));
    Ok(Some(match effect {
        Effect::Read {
            class,
            records_max,
            bytes_max,
        } => Event::Read {
            class,
            result: queue.read(class, records_max, bytes_max),
        },
        Effect::Begin { batch, now } => recorded(queue.begin(&batch, now)),
        Effect::Commit { batch, delivery } => recorded(queue.commit(&batch, &delivery)),
        Effect::Bury {
            batch,
            why,
            delivery,
        } => Event::Recorded(queue.bury(&batch, &why, &delivery)),
        Effect::Settle {
            batch,
            refused,
            delivery,
        } => recorded(queue.settle(&batch, refused.as_deref(), &delivery)),
        Effect::Charge { batch, delivery } => {
            queue.charge(&batch, &delivery);
            return Ok(None);
        }
        other @ (Effect::Send(_) | Effect::Tell(_)) => return Err(other),
    }))
}

/// A commit that a [`MemoryQueue`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Class.
    pub class: Priority,
    /// First index.
    pub first: u64,
    /// Last index.
    pub last: u64,
    /// What it took.
    pub delivery: Delivery,
}

/// Queues in memory, unbounded: for tests and simulations, which bound what they put in.
#[derive(Debug, Default)]
pub struct MemoryQueue(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    waiting: BTreeMap<Priority, VecDeque<Waiting>>,
    next: BTreeMap<Priority, u64>,
    begun: BTreeMap<Priority, (u64, u64)>,
    commits: Vec<Commit>,
    letters: Vec<(Letter, String)>,
    letters_max: Option<u64>,
    again: VecDeque<Letter>,
    charged: Vec<Delivery>,
    failing: bool,
}

impl Contents {
    fn works(&self) -> Result<(), SinkError> {
        if self.failing {
            return Err(SinkError::Queue {
                why: "switched to fail".into(),
            });
        }
        Ok(())
    }

    fn remove(&mut self, batch: &Batch) {
        if let Some(waiting) = self.waiting.get_mut(&batch.class) {
            waiting.retain(|waiting| !(batch.first..=batch.last).contains(&waiting.index));
        }
    }
}

impl MemoryQueue {
    /// Appends a record to a class.
    pub fn append(&self, class: Priority, place: Place, record: Record) {
        let mut contents = self.contents();
        let next = contents.next.entry(class).or_default();
        let index = *next;
        *next += 1;
        contents
            .waiting
            .entry(class)
            .or_default()
            .push_back(Waiting {
                index,
                place,
                record,
            });
    }

    /// Makes every call fail, or work again.
    pub fn fail(&self, failing: bool) {
        self.contents().failing = failing;
    }

    /// Sets how many dead letters may be kept; any number without.
    pub fn set_letters_max(&self, letters_max: Option<u64>) {
        self.contents().letters_max = letters_max;
    }

    /// Has a dead letter sent again.
    pub fn resend(&self, letter: Letter) {
        self.contents().again.push_back(letter);
    }

    /// The commits taken so far.
    pub fn commits(&self) -> Vec<Commit> {
        self.contents().commits.clone()
    }

    /// The dead letters, with what the sink said.
    pub fn dead(&self) -> Vec<(Letter, String)> {
        self.contents().letters.clone()
    }

    /// What failed attempts took, as charged.
    pub fn charged(&self) -> Vec<Delivery> {
        self.contents().charged.clone()
    }

    /// Records that wait.
    pub fn len(&self) -> usize {
        self.contents().waiting.values().map(VecDeque::len).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue for MemoryQueue {
    fn waiting(&self) -> Option<u64> {
        Some(self.len() as u64)
    }

    fn read(
        &self,
        class: Priority,
        records_max: usize,
        _bytes_max: usize,
    ) -> Result<Found, SinkError> {
        let contents = self.contents();
        contents.works()?;
        let waiting = contents.waiting.get(&class).into_iter().flatten();
        let head = waiting.clone().next().map(|waiting| waiting.index);
        let bound = contents
            .begun
            .get(&class)
            .and_then(|(first, last)| (*first..=*last).contains(&head?).then_some(*last));
        let more = bound.map_or(0, |last| (last + 2 - head.unwrap_or(last)) as usize);
        Ok(Found {
            waiting: waiting.take(records_max.max(more)).cloned().collect(),
            bound,
            letter: contents.again.front().cloned().map(Box::new),
        })
    }

    fn begin(&self, batch: &Batch, _now: Timestamp) -> Result<(), SinkError> {
        let mut contents = self.contents();
        contents.works()?;
        contents
            .begun
            .insert(batch.class, (batch.first, batch.last));
        Ok(())
    }

    fn commit(&self, batch: &Batch, delivery: &Delivery) -> Result<(), SinkError> {
        let mut contents = self.contents();
        contents.works()?;
        contents.remove(batch);
        contents.commits.push(Commit {
            class: batch.class,
            first: batch.first,
            last: batch.last,
            delivery: *delivery,
        });
        Ok(())
    }

    fn bury(&self, batch: &Batch, why: &str, _delivery: &Delivery) -> Result<Written, SinkError> {
        let mut contents = self.contents();
        contents.works()?;
        if let Some(letters_max) = contents.letters_max
            && contents.letters.len() as u64 >= letters_max
        {
            return Ok(Written::NoRoom { letters_max });
        }
        contents.remove(batch);
        let letter = Letter {
            class: batch.class,
            index: batch.first,
            record: batch.records[0].clone(),
        };
        contents.letters.push((letter, why.to_owned()));
        Ok(Written::Done)
    }

    fn settle(
        &self,
        batch: &Batch,
        refused: Option<&str>,
        _delivery: &Delivery,
    ) -> Result<(), SinkError> {
        let mut contents = self.contents();
        contents.works()?;
        contents.again.pop_front();
        let id = batch.records[0].id;
        match refused {
            Some(why) => {
                let known = contents.letters.iter_mut();
                for (_, said) in known.filter(|(letter, _)| letter.record.id == id) {
                    why.clone_into(said);
                }
            }
            None => contents
                .letters
                .retain(|(letter, _)| letter.record.id != id),
        }
        Ok(())
    }

    fn charge(&self, _batch: &Batch, delivery: &Delivery) {
        self.contents().charged.push(*delivery);
    }

    fn letters(&self) -> Option<u64> {
        Some(self.contents().letters.len() as u64)
    }
}
